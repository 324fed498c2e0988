//! Embeds the pages of the playground in the binary: those that `make playground` wrote, or else a page with build
//! instructions, so that `cargo run` does not need Node.

use std::path::Path;
use std::{env, fs, io};

const FALLBACK: &str = "<!doctype html><meta charset=utf-8><title>Tokenrill</title>\
    <p>The playground is not built. Run <code>make run</code>, which needs Node 20, and load this page again.\
    <p>Everything else works: <a href=/docs>the API's documentation</a>, <a href=/openapi.json>its OpenAPI document</a>.";
const FALLBACK_POLICY: &str = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Each page and its Content-Security-Policy in the bundle, and their name in the binary.
const PAGES: [(&str, &str, &str); 5] = [
    ("index.html", "csp.txt", "playground"),
    ("feed.html", "feed.csp.txt", "playground-feed"),
    ("progress.html", "progress.csp.txt", "playground-progress"),
    ("room.html", "room.csp.txt", "playground-room"),
    ("metrics.html", "metrics.csp.txt", "playground-metrics"),
];

fn main() -> io::Result<()> {
    let bundle = Path::new("playground/dist");
    println!("cargo:rerun-if-changed={}", bundle.display());
    println!("cargo:rerun-if-changed=build.rs");
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    for (page, policy, name) in PAGES {
        for (from, kind, fallback) in [(page, "html", FALLBACK), (policy, "csp", FALLBACK_POLICY)] {
            let text = fs::read_to_string(bundle.join(from)).unwrap_or_else(|_| fallback.to_owned());
            fs::write(Path::new(&out).join(format!("{name}.{kind}")), text.trim_end())?;
        }
    }
    Ok(())
}
