//! The binary in its own process, whose memory and CPU time can be measured.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokenrill::settings::Settings;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::sleep;

use super::metrics::sum_of_series;
use super::{Answer, Output, soon};

/// The polling interval while a test waits for the process. It leaves the cores to the process.
const POLL: Duration = Duration::from_millis(20);

/// A service in its own process. `TOKENRILL_PROGRAM` chooses another binary, for figures of a release build. The
/// process is killed at the end of the test. A test that panics prints its last log lines.
pub struct ServiceProcess {
    pub address: SocketAddr,
    http: reqwest::Client,
    directory: PathBuf,
    process: Child,
    _stdout: BufReader<ChildStdout>,
    _output: Output,
}

impl ServiceProcess {
    /// Starts the service with these settings, on its own port.
    pub async fn start(settings: &Settings) -> Self {
        Self::start_at(settings, 0).await
    }

    /// Starts the service with these settings on this port.
    pub async fn start_at(settings: &Settings, port: u16) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        super::service::raise_descriptor_limit();
        let name = format!("service-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join("tokenrill.toml"), settings.effective()).expect("written");
        let output = Output::of("the service");
        let program = std::env::var_os("TOKENRILL_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_tokenrill").into());
        let mut command = Command::new(program);
        command
            .args(["serve", "--listen", &format!("127.0.0.1:{port}")])
            .current_dir(&directory)
            .env_clear()
            .env("RUST_LOG", "warn");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(output.stream()).kill_on_drop(true);
        let mut process = command.spawn().expect("it starts");
        let mut stdout = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut greeting = String::new();
        while !greeting.contains("curl ") {
            let read = soon(stdout.read_line(&mut greeting)).await.expect("UTF-8");
            assert_ne!(read, 0, "it ended: {greeting}");
        }
        let address = greeting.split_whitespace().find_map(|word| word.strip_prefix("http://")?.parse().ok());
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let address = address.expect("an address");
        Self { address, http, directory, process, _stdout: stdout, _output: output }
    }

    /// Asks the process to end, and waits until it has.
    pub async fn terminate(mut self) -> ExitStatus {
        self.signal("-TERM").await;
        self.process.wait().await.expect("it ends")
    }

    /// Sends a signal, such as `-STOP`.
    pub async fn signal(&self, signal: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill {signal} {}", self.id())]).status().await;
        assert!(sent.expect("a shell").success(), "it runs");
    }

    /// Ends the process at once, without a signal that it could handle.
    pub async fn kill(mut self) {
        self.process.kill().await.expect("it runs");
    }

    pub async fn metrics(&self) -> String {
        Answer::to(self.http.get(format!("http://{}/metrics", self.address))).await.text().await
    }

    pub async fn metric(&self, name: &str) -> f64 {
        sum_of_series(&self.metrics().await, name)
    }

    /// Waits until a metric has a value.
    pub async fn metric_becomes(&self, name: &str, value: f64) {
        self.metric_is(name, |current| current.to_bits() == value.to_bits()).await;
    }

    /// Waits until `is_so` returns true for a metric.
    pub async fn metric_is(&self, name: &str, is_so: impl Fn(f64) -> bool) {
        soon(async {
            while !is_so(self.metric(name).await) {
                sleep(POLL).await;
            }
        })
        .await;
    }

    /// Returns the resident bytes.
    pub fn resident(&self) -> usize {
        self.status("VmRSS:")
    }

    /// Returns the peak of resident bytes since the start, or since [`forget_peak`](Self::forget_peak).
    pub fn peak(&self) -> usize {
        self.status("VmHWM:")
    }

    /// Resets the peak to the resident bytes (proc(5), `clear_refs`).
    pub fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.id()), "5").expect("a process of this user");
    }

    /// Returns the CPU time of the live threads. A thread that has ended does not count.
    pub fn cpu(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.id())).expect("Linux");
        let nanos = threads.flatten().map(|thread| {
            let line = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            line.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or_default()
        });
        Duration::from_nanos(nanos.sum())
    }

    fn id(&self) -> u32 {
        self.process.id().expect("it runs")
    }

    fn status(&self, name: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a figure");
        let kibibytes: usize = line.trim().trim_end_matches(" kB").parse().expect("kB");
        kibibytes << 10
    }
}

impl Drop for ServiceProcess {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.directory);
    }
}
