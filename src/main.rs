//! The `tokenrill` binary: parses the command line, loads the settings, and serves until a signal ends it.

use std::collections::BTreeMap;
use std::future::pending;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use mimalloc::MiMalloc;
use tokenrill::api::{self, Admission};
use tokenrill::app::{self, AppError, Kept, Listeners, Reloadable, Replacement};
use tokenrill::auth::{NewKey, SCOPES, Scopes, Tickets};
use tokenrill::server::{self, StartedThreads, Threads};
use tokenrill::settings::{self, AuthMode, Changes, FileSource, Settings, SettingsWarning, Sources};
use tokenrill::shutdown::{Shutdown, ShutdownSignals};
use tokenrill::telemetry;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
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
    /// Starts the service; the default command.
    Serve(ServeFlags),
    /// Checks the settings and prints those in effect, secrets masked. Exits with 0, or with 2 and an error message.
    Check(CheckFlags),
    /// Prints every setting with its default, its environment variable and its description, as a settings file.
    Settings(ReferenceFlags),
    /// Prints the OpenAPI document.
    Openapi,
    /// Creates API keys.
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Prints a new key, which is not stored, and its entry for the settings file.
    New(NewKeyFlags),
}

#[derive(Args)]
struct NewKeyFlags {
    /// Owner of the key. Keys with the same name belong to the same caller.
    #[arg(long, default_value = "default")]
    name: String,
    /// A scope of the key; may be repeated. Default: generate, follow and stop.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
}

#[derive(Args, Default)]
struct ServeFlags {
    #[command(flatten)]
    config: ConfigFlag,
    /// The address to listen on; overrides the settings.
    #[arg(long, value_name = "ADDR", value_parser = settings::listen_address)]
    listen: Option<SocketAddr>,
}

#[derive(Args)]
struct CheckFlags {
    #[command(flatten)]
    config: ConfigFlag,
    /// Also requests the models of each upstream and prints one line for each. Exits with 2 if one fails.
    #[arg(long)]
    upstreams: bool,
}

#[derive(Args)]
struct ReferenceFlags {
    /// As a page in Markdown.
    #[arg(long)]
    markdown: bool,
}

#[derive(Args, Clone, Default)]
struct ConfigFlag {
    /// The settings file. Default: ./tokenrill.toml, if it exists.
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
        Some(Command::Settings(flags)) => {
            print(&if flags.markdown { settings::markdown_page() } else { settings::example_file() });
            Ok(())
        }
        Some(Command::Openapi) => {
            print(&api::openapi::text());
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartupError(reason)) => {
            write_line(&mut std::io::stderr(), &format!("tokenrill: {reason}"));
            ExitCode::from(2)
        }
    }
}

/// Why the command failed, in one sentence.
struct StartupError(String);

impl<E: std::error::Error> From<E> for StartupError {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// From the second signal to the end of the process, even if tasks still run.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

type Environment = BTreeMap<String, String>;

impl ConfigFlag {
    fn source(self) -> FileSource {
        self.config.map_or(FileSource::Default, FileSource::Explicit)
    }
}

fn load(flag: ConfigFlag, listen: Option<SocketAddr>) -> Result<(Settings, Environment), StartupError> {
    let pairs = std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
    let environment: Environment = pairs.collect();
    let settings = settings::load(Sources { file: flag.source(), environment: environment.clone(), listen })?;
    app::check_connections(&settings, &environment)?;
    Ok((settings, environment))
}

/// Does not wait for an identity provider's keys. Contacts upstreams only with `--upstreams`.
#[tokio::main(flavor = "current_thread")]
async fn check(flags: CheckFlags) -> Result<(), StartupError> {
    let (settings, environment) = load(flags.config, None)?;
    admission(&settings, &environment)?;
    app::prices(&settings)?;
    print(&settings.effective());
    for warning in settings.warnings() {
        write_line(&mut std::io::stderr(), &format!("tokenrill: warning: {warning}"));
    }
    if !flags.upstreams {
        return Ok(());
    }
    let checks = app::check_upstreams(&settings, &environment).await?;
    print(if checks.is_empty() { "\nno upstreams: only the embedded model demo" } else { "" });
    for check in &checks {
        print(&check.to_string());
    }
    match checks.iter().filter(|check| !check.is_ok()).count() {
        0 => Ok(()),
        failed => Err(StartupError(format!("{failed} of {} upstreams failed: see above", checks.len()))),
    }
}

/// Returns the admission rules at the start. With `auth.mode = "required"` at least one credential must be configured.
/// A reload does not check this, so that an operator can remove the last key.
fn admission(settings: &Settings, environment: &Environment) -> Result<(Admission, Tickets), StartupError> {
    let tickets = app::tickets(settings, environment)?;
    if settings.auth.mode == Some(AuthMode::Required) && settings.auth.admits_nobody() {
        return Err(AppError::NoApiKeys.into());
    }
    let kept = Kept { tickets: tickets.clone(), issuer: None, prompts: None };
    Ok((app::admission(settings, environment, kept)?, tickets))
}

fn new_key(flags: &NewKeyFlags) -> Result<(), StartupError> {
    if let Some(unknown) = flags.scopes.iter().find(|scope| Scopes::read([scope.as_str()]).is_err()) {
        return Err(StartupError(format!("there is no scope {unknown}: {SCOPES}")));
    }
    if flags.name.is_empty() || flags.name.chars().any(char::is_control) {
        return Err(StartupError("a name has at least one character, and no control characters".to_owned()));
    }
    let NewKey { key, hash } = NewKey::random()?;
    let (name, scopes) = (toml(&flags.name), flags.scopes.iter().map(|scope| toml(scope)).collect::<Vec<_>>());
    let scopes = if scopes.is_empty() { String::new() } else { format!("\nscopes = [{}]", scopes.join(", ")) };
    print(&format!(
        "The key, for its owner. It is shown only once:\n\n  {key}\n\n\
         For the settings file, next to auth.mode = \"required\":\n\n\
         [[auth.api_keys]]\nname = {name}\nhash = \"{hash}\"{scopes}"
    ));
    Ok(())
}

/// Returns `text`, which has no control characters, as a basic string of TOML.
fn toml(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Serves with one thread for each core.
fn serve(flags: &ServeFlags) -> Result<(), StartupError> {
    let others = StartedThreads::beside(available_parallelism().unwrap_or(NonZeroUsize::MIN))?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async { serve_on(flags, others.and_current()).await });
    // Does not wait for blocking tasks that still run.
    runtime.shutdown_background();
    served
}

async fn serve_on(flags: &ServeFlags, threads: Threads) -> Result<(), StartupError> {
    // Must come first: until a handler is installed, SIGHUP terminates the process.
    let mut hangups = signal(SignalKind::hangup())?;
    let (settings, environment) = load(flags.config.clone(), flags.listen)?;
    telemetry::init(settings.telemetry.log_format);
    telemetry::log_panics();
    let (admission, tickets) = admission(&settings, &environment)?;
    let reloadable = Reloadable::new(&settings, admission)?;
    raise_descriptor_limit(&settings);
    let limits = app::limits(&settings);
    let public = listen(settings.server.listen, "--listen", &limits)?;
    let admin = settings.server.admin_listen.map(|address| listen(address, "server.admin_listen", &limits));
    let listeners = Listeners { public, admin: admin.transpose()? };
    let mut signals = ShutdownSignals::listen()?;
    log_start(flags, &settings);
    print_addresses(&listeners, &settings)?;

    let shutdown = Shutdown::new();
    let serving = app::serve(&settings, &environment, &reloadable, listeners, limits, threads, shutdown.clone());
    let signalled = async {
        signals.recv().await;
        shutdown.begin_drain();
        signals.recv().await;
        shutdown.close();
        // Leaves time to send the terminal events.
        tokio::time::sleep(CLOSE_TIMEOUT).await;
    };
    let reloading = async {
        let mut in_effect = settings.clone();
        while hangups.recv().await.is_some() {
            match reload(flags, &in_effect, reloadable.kept(&tickets)).await {
                Ok((replacement, read)) => {
                    let reads_files = replacement.is_of_files(&read);
                    reloadable.replace(replacement);
                    log_reload(&settings, &in_effect, &read, reads_files);
                    in_effect = read;
                }
                Err(StartupError(why)) => tracing::error!(%why, "SIGHUP: nothing was changed"),
            }
        }
        pending::<()>().await;
    };
    tokio::select! {
        served = serving => Ok(served?),
        () = signalled => Ok(()),
        () = reloading => Ok(()),
    }
}

/// Logs the names of the settings that a reload changed and of those that need a restart. `reads_files`: the reload
/// also read prompts, an issuer's keys or a list of prices again.
fn log_reload(started: &Settings, before: &Settings, read: &Settings, reads_files: bool) {
    let reloaded = Changes::between(before, read).reloaded.join(", ");
    // Compared with the settings at the start, since a changed setting needs a restart until the restart.
    let waiting = Changes::between(started, read).waiting.join(", ");
    if !reloaded.is_empty() {
        tracing::info!(changed = reloaded, "SIGHUP: the settings were read again");
    } else if reads_files {
        tracing::info!(
            "SIGHUP: the settings are unchanged; prompts, the issuer's keys and the list of prices were read again"
        );
    } else {
        tracing::info!(
            "SIGHUP: nothing to reload, since the settings are unchanged; a reload applies keys, limits, prices, \
             prompts, cors.origins and server.trusted_proxies"
        );
    }
    if !waiting.is_empty() {
        tracing::warn!("not applied before a restart: {waiting}");
    }
}

/// Reads the settings again, and everything that they define and a reload replaces. Fails if any setting is invalid, even
/// one that needs a restart.
async fn reload(flags: &ServeFlags, in_effect: &Settings, kept: Kept) -> Result<(Replacement, Settings), StartupError> {
    let (config, listen, before) = (flags.config.clone(), flags.listen, in_effect.auth.clone());
    // Reading files blocks, so it must not run on a runtime thread.
    let read = spawn_blocking(move || {
        let (read, environment) = load(config, listen)?;
        Ok::<_, StartupError>((Replacement::read(&read, &environment, &before, kept)?, read))
    });
    let (replacement, read) = read.await??;
    if read.auth.jwt != in_effect.auth.jwt {
        replacement.wait_for_keys().await?;
    }
    Ok((replacement, read))
}

/// Raises the limit of open files as far as the system allows. A connection needs one descriptor, and its generation
/// another.
fn raise_descriptor_limit(settings: &Settings) {
    let wanted = u64::from(settings.server.max_connections.get()) * 2;
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(allowed) if allowed < wanted => {
            tracing::warn!(allowed, wanted, "fewer open files are allowed than server.max_connections may need");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "could not raise the limit of open files"),
    }
}

/// Binds `address`. `option` is the flag or setting with which an operator chooses another address.
fn listen(address: SocketAddr, option: &str, limits: &server::ListenerLimits) -> Result<TcpListener, StartupError> {
    let cannot = |error| StartupError(format!("cannot listen on {address} ({error}): choose another with {option}"));
    server::bind(address, limits).map_err(cannot)
}

/// Logs the version, the settings file, the authentication mode and the upstreams.
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
        let key = upstream.key_sources();
        tracing::info!(upstream = upstream.name, base_url, models, key, "upstream configured");
    }
    for (model, alias) in &settings.models.aliases {
        tracing::info!(model, targets = alias.target_names(), "model configured");
    }
    for SettingsWarning { upstream, text } in settings.warnings() {
        tracing::warn!(upstream, "{text}");
    }
}

/// Logs the addresses. Unless logs are JSON, also prints the addresses of the pages and a command to try.
fn print_addresses(listeners: &Listeners, settings: &Settings) -> Result<(), StartupError> {
    let address = listeners.public.local_addr()?;
    let admin = listeners.admin.as_ref().map(TcpListener::local_addr).transpose()?;
    tracing::info!(%address, admin_address = admin.map(tracing::field::display), "listening");
    if settings.telemetry.log_format == settings::LogFormat::Json {
        return Ok(());
    }
    let admin = admin.map(|address| format!("\n  operators   http://{address}/metrics")).unwrap_or_default();
    // With upstreams configured, `demo` is not the default model, and the example must not spend money on a real one.
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
    write_line(&mut std::io::stdout(), text);
}

/// Writes `text` and a newline. Ignores errors: a closed pipe must not fail the command.
fn write_line(out: &mut impl std::io::Write, text: &str) {
    _ = writeln!(out, "{}", text.trim_end());
}
