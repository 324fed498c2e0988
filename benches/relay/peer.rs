//! The peer between the client and the model: another server, Tokenrill, or none.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Error};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::client::Target;
use crate::process::{self, Memory};
use crate::upstream::{Origin, Scheme, TLS_NAME};
use crate::workload::{self, Bench, Shape};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Direct,
    Nginx,
    Haproxy,
    Tokenrill,
    /// With two targets for each model, instead of one.
    TokenrillTargets,
    LiteLlm,
}

/// A running peer. Dropping it ends its process.
pub struct Peer {
    pub target: Target,
    process: Option<Child>,
    family: Vec<u32>,
    directory: PathBuf,
}

impl Peer {
    /// Starts a peer in front of the model.
    pub async fn start(kind: Kind, bench: &Bench, scheme: Scheme) -> io::Result<Self> {
        let model = bench.upstream.origin(scheme);
        let directory = directory()?;
        let (key, hash) = new_key(&bench.program)?;
        let key = if kind == Kind::LiteLlm { "sk-of-this-run".to_owned() } else { key };
        let target = Target::new(free_address()?, key, bench.clock);
        let mut peer = Self { target, process: None, family: Vec::new(), directory };
        let address = peer.target.address;
        let trusted = peer.write("trusted.pem", &bench.upstream.certificate)?;
        let mut command = match kind {
            Kind::Direct => {
                peer.target.address = model.address;
                return Ok(peer);
            }
            Kind::Nginx => {
                let file = peer.write("nginx.conf", &nginx(&peer.directory, address, model, &trusted))?;
                command("/usr/sbin/nginx", &["-c", &file, "-e", "/dev/null"])
            }
            Kind::Haproxy => {
                let file = peer.write("haproxy.cfg", &haproxy(address, model, &trusted))?;
                command("/usr/sbin/haproxy", &["-db", "-f", &file])
            }
            Kind::Tokenrill | Kind::TokenrillTargets => {
                let targets = if kind == Kind::Tokenrill { String::new() } else { two_targets(model) };
                let file = peer.write("tokenrill.toml", &(tokenrill(&hash, model) + &targets))?;
                let mut command =
                    command(&bench.program, &["serve", "--config", &file, "--listen", &address.to_string()]);
                command.env("SSL_CERT_FILE", &trusted);
                command
            }
            Kind::LiteLlm => {
                let file = peer.write("litellm.yaml", &litellm(model))?;
                let port = address.port().to_string();
                let program = format!("{ROOT}/.venv/bin/litellm");
                let mut command = command(&program, &["--config", &file, "--host", "127.0.0.1", "--port", &port]);
                command
                    .envs([("LITELLM_MASTER_KEY", peer.target.key.as_str()), ("LITELLM_LOCAL_MODEL_COST_MAP", "True")]);
                command.envs([("LITELLM_TELEMETRY", "False"), ("DISABLE_ADMIN_UI", "True"), ("NO_DOCS", "True")]);
                command
            }
        };
        let program = command.get_program().to_string_lossy().into_owned();
        let started = command.current_dir(&peer.directory).spawn();
        peer.process =
            Some(started.map_err(|error| Error::other(format!("{program}: {error}; tests/install installs it")))?);
        peer.ready(&program).await?;
        Ok(peer)
    }

    /// Starts a server of `body` as a file, at `/file`.
    pub async fn file_server(body: &[u8], clock: Instant) -> io::Result<Self> {
        let directory = directory()?;
        fs::write(directory.join("file"), body)?;
        let target = Target::new(free_address()?, String::new(), clock);
        let mut peer = Self { target, process: None, family: Vec::new(), directory };
        let file = peer.write("nginx.conf", &nginx_of_files(&peer.directory, peer.target.address))?;
        let mut command = command("/usr/sbin/nginx", &["-c", &file, "-e", "/dev/null"]);
        peer.process = Some(command.current_dir(&peer.directory).spawn()?);
        peer.ready("nginx").await?;
        Ok(peer)
    }

    pub fn cpu(&self) -> io::Result<Duration> {
        process::cpu(&self.family)
    }

    pub fn memory(&self) -> io::Result<Memory> {
        process::memory(&self.family)
    }

    fn write(&self, name: &str, text: &str) -> io::Result<String> {
        let path = self.directory.join(name);
        fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Waits until the peer accepts connections.
    async fn ready(&mut self, program: &str) -> io::Result<()> {
        let Some(process) = &mut self.process else { return Ok(()) };
        let began = Instant::now();
        while TcpStream::connect(self.target.address).await.is_err() {
            if let Some(status) = process.try_wait()? {
                return Err(Error::other(format!("{program} ended at once: {status}")));
            }
            if began.elapsed() > Duration::from_mins(2) {
                return Err(Error::other(format!("{program} does not listen")));
            }
            sleep(Duration::from_millis(20)).await;
        }
        // The workers start shortly after the listener.
        sleep(Duration::from_millis(200)).await;
        self.family = process::family(process.id());
        Ok(())
    }
}

impl Drop for Peer {
    #[expect(clippy::disallowed_methods, reason = "nothing else runs while a peer goes")]
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // Ends the master first, since it would restart a worker that ends.
            let family = process::family(process.id());
            // SIGTERM before SIGKILL, because a program built with `-Cprofile-generate` writes its counts when it
            // exits.
            end("-TERM", process.id());
            let asked = Instant::now();
            while matches!(process.try_wait(), Ok(None)) && asked.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(10));
            }
            if matches!(process.try_wait(), Ok(None)) {
                eprintln!("process {} did not end when it was asked", process.id());
            }
            for id in family {
                end("-KILL", id);
            }
            _ = process.wait();
        }
        _ = fs::remove_dir_all(&self.directory);
    }
}

/// Sends a signal. Ignores errors, since the process may have ended.
fn end(how: &str, id: u32) {
    _ = Command::new("/bin/kill").arg(how).arg(id.to_string()).stderr(Stdio::null()).status();
}

fn command(program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    // No peer logs successful requests.
    command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").env("RUST_LOG", "warn");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn directory() -> io::Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("tokenrill-relay-{}-{number}", std::process::id()));
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

fn free_address() -> io::Result<SocketAddr> {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Returns a new key and its hash for the settings.
fn new_key(program: &Path) -> io::Result<(String, String)> {
    let said = Command::new(program).args(["key", "new", "--name", "bench"]).output()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let key = said.lines().find_map(|line| line.strip_prefix("  "));
    let hash = said.lines().find_map(|line| line.strip_prefix("hash = "));
    let pair = key.zip(hash).map(|(key, hash)| (key.to_owned(), hash.to_owned()));
    pair.ok_or_else(|| Error::other("`tokenrill key new` said no key"))
}

fn tokenrill(hash: &str, model: Origin) -> String {
    format!(
        r#"
generation.grace = "0s"
auth.mode = "required"

[[auth.api_keys]]
name = "bench"
hash = {hash}
limits = {{ requests_per_minute = 1000000000, tokens_per_minute = 1000000000, concurrent_generations = 1000000, connections = 1000000 }}

[[upstreams]]
name = "bench"
base_url = "{model}/v1"
models = ["bench*"]
"#
    )
}

/// Returns a second upstream, and a model with a target on both for each script of a load.
fn two_targets(model: Origin) -> String {
    let scripts = workload::all().into_iter().filter_map(|workload| match workload.shape {
        Shape::Load(load) => Some(load.script.to_string()),
        _ => None,
    });
    let scripts: BTreeSet<_> = scripts.collect();
    let models = scripts.iter().map(|name| {
        format!("[models.\"{name}\"]\nstrategy = \"fastest\"\ntargets = [\"bench/{name}\", \"other/{name}\"]\n")
    });
    let other = format!("[[upstreams]]\nname = \"other\"\nbase_url = \"{model}/v1\"\nmodels = [\"none\"]\n");
    other + &models.collect::<String>()
}

fn nginx(directory: &Path, address: SocketAddr, model: Origin, trusted: &str) -> String {
    let (http, server) = (nginx_http(directory), model.address);
    let scheme = if model.scheme == Scheme::Http { "http" } else { "https" };
    format!(
        "{http}
  upstream model {{ server {server}; keepalive 2000; keepalive_requests 1000000000; keepalive_timeout 1h; }}
  server {{
    listen {address} reuseport backlog=4096;
    location / {{
      proxy_pass {scheme}://model;
      proxy_ssl_verify on;
      proxy_ssl_name {TLS_NAME};
      proxy_ssl_trusted_certificate {trusted};
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_buffering off;
      proxy_read_timeout 1h;
    }}
  }}
}}
"
    )
}

fn nginx_of_files(directory: &Path, address: SocketAddr) -> String {
    let (http, root) = (nginx_http(directory), directory.display());
    format!("{http}\n  sendfile on; tcp_nopush on;\n  server {{ listen {address} reuseport; root {root}; }}\n}}\n")
}

fn nginx_http(directory: &Path) -> String {
    let (directory, user) = (directory.display(), if is_root() { "user root;" } else { "" });
    format!(
        "daemon off; {user} worker_processes 2; worker_rlimit_nofile 20000; pid {directory}/nginx.pid; error_log /dev/null crit;
events {{ worker_connections 20000; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; tcp_nodelay on;
  client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};"
    )
}

fn is_root() -> bool {
    Command::new("/usr/bin/id").arg("-u").output().is_ok_and(|said| said.stdout.trim_ascii() == b"0")
}

fn haproxy(address: SocketAddr, model: Origin, trusted: &str) -> String {
    let (server, tls) = (model.address, format!("ssl verify required ca-file {trusted} verifyhost {TLS_NAME}"));
    let tls = if model.scheme == Scheme::Http { "" } else { &tls };
    // Each connection needs two descriptors.
    let most = rlimit::Resource::NOFILE.get_soft().unwrap_or(1024).saturating_sub(200) / 2;
    format!(
        "global
  nbthread 2
  maxconn {}
defaults
  mode http
  option abortonclose
  option http-no-delay
  http-reuse always
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
frontend in
  bind {address} backlog 4096
  default_backend out
backend out
  server model {server} {tls}
",
        most.min(20_000)
    )
}

fn litellm(model: Origin) -> String {
    format!(
        "model_list:
  - model_name: bench*
    litellm_params: {{ model: openai/bench*, api_base: {model}/v1, api_key: unused }}
litellm_settings: {{ telemetry: false, num_retries: 0 }}
"
    )
}
