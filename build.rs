//! Puts the playground into the binary: the bundle that `make playground` wrote, or else a page that
//! says how to build it, so that `cargo run` needs no Node.

use std::path::Path;
use std::{env, fs, io};

const FALLBACK: &str = "<!doctype html><meta charset=utf-8><title>Tokenrill</title>\
    <p>The playground is not built. Run <code>make run</code>, which needs Node 20, and load this page again.\
    <p>Everything else is here: <a href=/docs>the API's documentation</a>, <a href=/openapi.json>its OpenAPI document</a>.";
const FALLBACK_POLICY: &str = "default-src 'none'";

fn main() -> io::Result<()> {
    let bundle = Path::new("playground/dist");
    println!("cargo:rerun-if-changed={}", bundle.display());
    println!("cargo:rerun-if-changed=build.rs");
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    for (from, to, fallback) in
        [("index.html", "playground.html", FALLBACK), ("csp.txt", "playground.csp", FALLBACK_POLICY)]
    {
        let text = fs::read_to_string(bundle.join(from)).unwrap_or_else(|_| fallback.to_owned());
        fs::write(Path::new(&out).join(to), text.trim_end())?;
    }
    Ok(())
}
