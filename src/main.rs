//! The program: reads what it is told, serves until it is asked to end.

use std::collections::BTreeMap;
use std::future::pending;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use mimalloc::MiMalloc;
use tokenrill::api::{self, Admission};
use tokenrill::app::{self, AppError, Kept, Listeners};
use tokenrill::auth::{NewKey, SCOPES, Scopes, Tickets};
use tokenrill::server::{self, StartedThreads, Threads};
use tokenrill::settings::{self, AuthMode, Changes, FileSource, Jwt, Settings, Sources};
use tokenrill::shutdown::{Shutdown, Signals};
use tokenrill::telemetry;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The API between web front ends and a language model.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeFlags,
}

#[derive(Subcommand)]
enum Command {
    /// Serves; the default command.
    Serve(ServeFlags),
    /// Checks the settings and prints those in effect, secrets masked. Exits with 0, or with 2 and what is wrong.
    Check(CheckFlags),
    /// Prints the OpenAPI document.
    Openapi,
    /// Makes API keys.
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Prints a new key, which is kept nowhere, and what the settings know it by.
    New(NewKeyFlags),
}

#[derive(Args)]
struct NewKeyFlags {
    /// Whose it is; a key of the same name is of the same caller.
    #[arg(long, default_value = "default")]
    name: String,
    /// What it may do; may be repeated. Without this: generate, follow and stop.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
}

#[derive(Args, Default)]
struct ServeFlags {
    #[command(flatten)]
    config: ConfigFlag,
    /// The address to listen on, over what the settings say.
    #[arg(long, value_name = "ADDR", value_parser = settings::listen_address)]
    listen: Option<SocketAddr>,
}

#[derive(Args)]
struct CheckFlags {
    #[command(flatten)]
    config: ConfigFlag,
    /// Also asks each upstream for its models and prints one line for each. Exits with 2 where one fails.
    #[arg(long)]
    upstreams: bool,
}

#[derive(Args, Clone, Default)]
struct ConfigFlag {
    /// The settings file; without this ./tokenrill.toml, if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        None => serve(&cli.serve),
        Some(Command::Serve(flags)) => serve(&flags),
        Some(Command::Check(flags)) => check(flags),
        Some(Command::Key(KeyCommand::New(flags))) => new_key(&flags),
        Some(Command::Openapi) => {
            print(&api::openapi::text());
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refusal(reason)) => {
            say(&mut std::io::stderr(), &format!("tokenrill: {reason}"));
            ExitCode::from(2)
        }
    }
}

/// Why the program does not begin, in one sentence.
struct Refusal(String);

impl<E: std::error::Error> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// After a second signal, until the process ends whatever still runs.
const LAST_WORDS: Duration = Duration::from_millis(500);

type Environment = BTreeMap<String, String>;

impl ConfigFlag {
    fn source(self) -> FileSource {
        self.config.map_or(FileSource::Default, FileSource::Explicit)
    }
}

fn load(flag: ConfigFlag, listen: Option<SocketAddr>) -> Result<(Settings, Environment), Refusal> {
    let pairs = std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
    let environment: Environment = pairs.collect();
    Ok((settings::load(Sources { file: flag.source(), environment: environment.clone(), listen })?, environment))
}

/// Does not wait for an identity provider. Asks upstreams only where the flag says so.
#[tokio::main(flavor = "current_thread")]
async fn check(flags: CheckFlags) -> Result<(), Refusal> {
    let (settings, environment) = load(flags.config, None)?;
    admission(&settings, &environment)?;
    print(&settings.effective());
    for (upstream, warning) in warnings(&settings) {
        say(&mut std::io::stderr(), &format!("tokenrill: warning: upstream {upstream}: {warning}"));
    }
    if !flags.upstreams {
        return Ok(());
    }
    let checks = app::check_upstreams(&settings, &environment).await?;
    print(if checks.is_empty() { "\nno upstreams: the embedded model demo alone" } else { "" });
    for check in &checks {
        print(&check.to_string());
    }
    match checks.iter().filter(|check| !check.is_ok()).count() {
        0 => Ok(()),
        failed => Err(Refusal(format!("{failed} of {} upstreams failed: see above", checks.len()))),
    }
}

/// Upstreams whose settings are probably wrong, by name.
fn warnings(settings: &Settings) -> impl Iterator<Item = (&str, &'static str)> {
    let warning = |upstream: &settings::Upstream| upstream.base_url.warning();
    settings.upstreams.iter().filter_map(move |upstream| Some((upstream.name.as_str(), warning(upstream)?)))
}

/// Who may call from the start on. Later the last key may be withdrawn; to begin without one would be a mistake.
fn admission(settings: &Settings, environment: &Environment) -> Result<(Admission, Tickets), Refusal> {
    let tickets = app::tickets(settings, environment)?;
    if settings.auth.mode == Some(AuthMode::Required) && settings.auth.admits_nobody() {
        return Err(AppError::NoApiKeys.into());
    }
    let kept = Kept { tickets: tickets.clone(), issuer: None, prompts: None };
    Ok((app::admission(settings, environment, kept)?, tickets))
}

fn new_key(flags: &NewKeyFlags) -> Result<(), Refusal> {
    if let Some(unknown) = flags.scopes.iter().find(|scope| Scopes::read([scope.as_str()]).is_err()) {
        return Err(Refusal(format!("there is no scope {unknown}: {SCOPES}")));
    }
    if flags.name.is_empty() || flags.name.chars().any(char::is_control) {
        return Err(Refusal("a name has at least one character, and none that controls a terminal".to_owned()));
    }
    let NewKey { key, hash } = NewKey::random()?;
    let (name, scopes) = (toml(&flags.name), flags.scopes.iter().map(|scope| toml(scope)).collect::<Vec<_>>());
    let scopes = if scopes.is_empty() { String::new() } else { format!("\nscopes = [{}]", scopes.join(", ")) };
    print(&format!(
        "The key, to be kept by its owner. It is told this once:\n\n  {key}\n\n\
         For the settings file, beside auth.mode = \"required\":\n\n\
         [[auth.api_keys]]\nname = {name}\nhash = \"{hash}\"{scopes}"
    ));
    Ok(())
}

/// A text without control characters as a basic string of TOML.
fn toml(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// One thread for each core.
fn serve(flags: &ServeFlags) -> Result<(), Refusal> {
    let others = StartedThreads::beside(available_parallelism().unwrap_or(NonZeroUsize::MIN))?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async { serve_on(flags, others.and_current()).await });
    // Nobody waits for what still runs beside it.
    runtime.shutdown_background();
    served
}

async fn serve_on(flags: &ServeFlags, threads: Threads) -> Result<(), Refusal> {
    // First of all: unhandled, SIGHUP ends the process.
    let mut hangups = signal(SignalKind::hangup())?;
    let (settings, environment) = load(flags.config.clone(), flags.listen)?;
    telemetry::init(match settings.telemetry.log_format {
        settings::LogFormat::Pretty => telemetry::LogFormat::Pretty,
        settings::LogFormat::Json => telemetry::LogFormat::Json,
    });
    telemetry::log_panics();
    let (admission, tickets) = admission(&settings, &environment)?;
    let (admissions, admission) = watch::channel(admission);
    take_descriptors(&settings);
    let limits = app::limits(&settings);
    let public = listen(settings.server.listen, "--listen", &limits)?;
    let admin = settings.server.admin_listen.map(|address| listen(address, "server.admin_listen", &limits));
    let listeners = Listeners { public, admin: admin.transpose()? };
    let mut signals = Signals::listen()?;
    log_start(flags, &settings);
    greet(&listeners, &settings)?;

    let shutdown = Shutdown::new();
    let serving = app::serve(&settings, &environment, admission, listeners, limits, threads, shutdown.clone());
    let asked = async {
        signals.asked().await;
        shutdown.begin_drain();
        signals.asked().await;
        shutdown.close();
        // Long enough to tell every reader, and no longer.
        tokio::time::sleep(LAST_WORDS).await;
    };
    let reloading = async {
        let mut in_effect = settings.clone();
        while hangups.recv().await.is_some() {
            let kept = {
                let in_use = admissions.borrow();
                let prompts = in_use.prompts.directory().map(Path::to_owned);
                Kept { tickets: tickets.clone(), issuer: in_use.gate.fetching(), prompts }
            };
            match reload(flags, &in_effect, kept).await {
                Ok((admission, read)) => {
                    let reads_files = admission.prompts.directory().is_some() || read.auth.jwt != Jwt::default();
                    admissions.send_replace(admission);
                    log_reload(&settings, &in_effect, &read, reads_files);
                    in_effect = read;
                }
                Err(Refusal(why)) => tracing::error!(%why, "SIGHUP: nothing was changed"),
            }
        }
        pending::<()>().await;
    };
    tokio::select! {
        served = serving => Ok(served?),
        () = asked => Ok(()),
        () = reloading => Ok(()),
    }
}

/// Logs what a reload changed, and what waits for a restart, by the names of the settings. `reads_files`: prompts or an
/// issuer's keys were read again too.
fn log_reload(started: &Settings, before: &Settings, read: &Settings, reads_files: bool) {
    let reloaded = Changes::between(before, read).reloaded.join(", ");
    // Against those at the start: what waits goes on waiting.
    let waiting = Changes::between(started, read).waiting.join(", ");
    if !reloaded.is_empty() {
        tracing::info!(changed = reloaded, "SIGHUP: the settings were read again");
    } else if reads_files {
        tracing::info!("SIGHUP: the settings are unchanged; prompts and the issuer's keys were read again");
    } else {
        tracing::info!(
            "SIGHUP: nothing to reload, since the settings are unchanged: keys, limits, prompts, cors.origins and \
             server.trusted_proxies are what is reloaded"
        );
    }
    if !waiting.is_empty() {
        tracing::warn!("not applied before a restart: {waiting}");
    }
}

/// Who may call, as the settings say it now. All of them must be good, also those that wait for a start.
async fn reload(flags: &ServeFlags, in_effect: &Settings, kept: Kept) -> Result<(Admission, Settings), Refusal> {
    let (config, listen, before) = (flags.config.clone(), flags.listen, in_effect.auth.clone());
    // Nobody waits for a file that is slow to come.
    let read = spawn_blocking(move || {
        let (read, environment) = load(config, listen)?;
        if read.auth.mode != before.mode {
            // What the listener trusts goes with it.
            return Err(Refusal("auth.mode takes effect at a start alone".to_owned()));
        }
        app::tickets(&read, &environment)?;
        let issuer = kept.issuer.filter(|_| read.auth.jwt == before.jwt);
        Ok((app::admission(&read, &environment, Kept { issuer, ..kept })?, read))
    });
    let (admission, read) = read.await??;
    if read.auth.jwt != in_effect.auth.jwt {
        admission.gate.fetched().await.map_err(AppError::JwksUrl)?;
    }
    Ok((admission, read))
}

/// As many descriptors as the system allows: a connection takes one, and its generation another.
fn take_descriptors(settings: &Settings) {
    let wanted = u64::from(settings.server.max_connections.get()) * 2;
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(allowed) if allowed < wanted => {
            tracing::warn!(allowed, wanted, "fewer open files are allowed than server.max_connections may take");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
}

/// `choice` is how another address is chosen.
fn listen(address: SocketAddr, choice: &str, limits: &server::Limits) -> Result<TcpListener, Refusal> {
    let cannot = |error| Refusal(format!("cannot listen on {address} ({error}): choose another with {choice}"));
    server::bind(address, limits).map_err(cannot)
}

/// Logs what an operator asks first: the version, the file, who may call and which upstreams there are.
fn log_start(flags: &ServeFlags, settings: &Settings) {
    let source = flags.config.clone().source();
    let file = source.path().map_or_else(|| "none".to_owned(), |path| path.display().to_string());
    let authentication = match settings.auth.mode {
        Some(AuthMode::Required) => "required",
        Some(AuthMode::None) => "none",
        None => "none, loopback only",
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), settings = file, authentication, "starting");
    for upstream in &settings.upstreams {
        let (base_url, models) = (upstream.base_url.without_query(), upstream.models.join(", "));
        let key = upstream.api_key_env.as_deref().unwrap_or("none");
        tracing::info!(upstream = upstream.name, base_url, models, key, "upstream configured");
    }
    for (upstream, warning) in warnings(settings) {
        tracing::warn!(upstream, "{warning}");
    }
}

/// What a newcomer needs: the address, the pages and one line that works. In JSON it is a log line.
fn greet(listeners: &Listeners, settings: &Settings) -> Result<(), Refusal> {
    let address = listeners.public.local_addr()?;
    let admin = listeners.admin.as_ref().map(TcpListener::local_addr).transpose()?;
    tracing::info!(%address, admin_address = admin.map(tracing::field::display), "listening");
    if settings.telemetry.log_format == settings::LogFormat::Json {
        return Ok(());
    }
    let admin = admin.map(|address| format!("\n  operators   http://{address}/metrics")).unwrap_or_default();
    // Beside real models `demo` is not the default, and what the default costs is not ours to spend.
    let model = if settings.upstreams.is_empty() { "" } else { "\"model\":\"demo\"," };
    let key = match settings.auth.mode {
        Some(AuthMode::Required) => " -H \"authorization: Bearer $KEY\"",
        None | Some(AuthMode::None) => "",
    };
    print(&format!(
        "Tokenrill listens on http://{address}\n  \
           playground  http://{address}/\n  \
           docs        http://{address}/docs\n  \
           try it      curl -N http://{address}/v1/generations{key} -H 'content-type: application/json' -d '{{{model}\"input\":\"Hello\"}}'{admin}"
    ));
    Ok(())
}

fn print(text: &str) {
    say(&mut std::io::stdout(), text);
}

/// A reader who has gone is no reason to fail.
fn say(out: &mut impl std::io::Write, text: &str) {
    _ = writeln!(out, "{}", text.trim_end());
}
