//! A Redis server of the tests.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tokenrill::domain::ReplicaId;
use tokenrill::redis_client::RedisClient;
use tokenrill::settings::{LogBackend, Settings};
use tokio_util::task::TaskTracker;

/// The environment variable with another program than `redis-server`, such as a `valkey-server`.
const PROGRAM: &str = "TOKENRILL_TEST_REDIS_SERVER";

/// The server that all tests share which need no server of their own; each uses its own prefix.
static SHARED: LazyLock<RedisServer> = LazyLock::new(RedisServer::start);

/// A server that ends with this value, or with the process of the tests.
pub struct RedisServer {
    port: u16,
    /// The path of a file with settings, or empty.
    file: String,
    options: String,
    process: String,
    /// A shell that ends the server when its input is closed.
    shell: Child,
}

impl RedisServer {
    pub fn shared() -> &'static Self {
        &SHARED
    }

    pub fn start() -> Self {
        Self::with_options("")
    }

    /// Starts a server with further options of its command line.
    pub fn with_options(options: &str) -> Self {
        Self::on_port(free_port(), "", options)
    }

    /// Starts a sentinel with a file of settings, which it changes.
    pub fn sentinel(file: &Path) -> Self {
        Self::on_port(free_port(), file.to_str().expect("UTF-8"), "--sentinel")
    }

    /// Starts a server on this port.
    pub fn start_at(port: u16) -> Self {
        Self::on_port(port, "", "")
    }

    /// Kills the server and starts another one at the same address.
    pub fn restart(&mut self) {
        self.kill();
        *self = Self::on_port(self.port, &self.file.clone(), &self.options.clone());
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        self.shell.stdin.take();
        self.shell.wait().expect("the shell ends");
    }

    #[expect(clippy::disallowed_methods, reason = "the server starts within milliseconds, once for many tests")]
    fn on_port(port: u16, file: &str, options: &str) -> Self {
        let program = env::var(PROGRAM).unwrap_or_else(|_| "redis-server".to_owned());
        let command = format!(
            "{program} {file} --port {port} --bind 127.0.0.1 --save '' --appendonly no --maxmemory-policy noeviction \
             --loglevel warning {options} >&2 & echo $!; read -r _; kill -CONT $!; kill -9 $!"
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = shell.spawn().expect("a shell");
        let mut process = String::new();
        let output = shell.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut process).expect("UTF-8");
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{program} (Debian: redis-server) does not start");
            sleep(Duration::from_millis(5));
        }
        let (file, options) = (file.to_owned(), options.to_owned());
        Self { port, file, options, process: process.trim().to_owned(), shell }
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns one process's client of this server. It runs as long as the test.
    pub fn client(&self, prefix: &str) -> RedisClient {
        client_of(self.port, prefix)
    }

    /// Makes a service use this server.
    pub fn serve(&self, settings: &mut Settings, environment: &mut BTreeMap<String, String>, prefix: &str) {
        use_redis(self.url(), settings, environment, prefix);
    }

    /// Sends one command, beside the service.
    pub fn command<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> T {
        let client = redis::Client::open(self.url()).expect("an address");
        let mut connection = client.get_connection().expect("the server runs");
        command.query(&mut connection).expect("a reply")
    }

    /// Stops all replies until [`RedisServer::resume`].
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent =
            Command::new("sh").args(["-c", &format!("kill {signal} {}", self.process)]).status().expect("a shell");
        assert!(sent.success(), "the server runs");
    }
}

/// Makes a service use the servers at this address.
pub fn use_redis(url: String, settings: &mut Settings, environment: &mut BTreeMap<String, String>, prefix: &str) {
    settings.event_log.backend = LogBackend::Redis;
    settings.event_log.redis.url_env = Some("REDIS".to_owned());
    prefix.clone_into(&mut settings.event_log.redis.prefix);
    environment.insert("REDIS".to_owned(), url);
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port()
}

/// Returns one process's client of the server at this port, or behind it. It runs as long as the test.
pub fn client_of(port: u16, prefix: &str) -> RedisClient {
    let client = RedisClient::new(&format!("redis://127.0.0.1:{port}"), prefix, ReplicaId::random());
    let client = client.expect("an address");
    let running = client.clone();
    TaskTracker::new().spawn(async move { running.run().await });
    client
}

/// Returns a prefix that no other test uses.
pub fn unique_prefix() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}
