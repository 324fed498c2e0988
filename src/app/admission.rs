//! Builds the reloadable part of the configuration from the settings, as one value: authentication, origins, trusted
//! proxies, limits and prompts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::AppError;
use crate::api::{Admission, Origins, TrustedProxies};
use crate::auth::{
    ApiKey, FetchedJwts, Gate, Identity, Issuer, Jwts, LONGEST_JWKS, SCOPES, Scopes, Tickets, Trust, fetch_from,
};
use crate::domain::{AllowedModels, NamePattern, Principal, Quota};
use crate::limits::Policy;
use crate::prompts::{Catalog, CatalogError};
use crate::settings::{self, Settings};

/// The shortest secret for tickets and for JWTs, in bytes.
const MIN_SECRET_BYTES: usize = 32;
/// The longest name of a key, in bytes. Each ticket that is issued with the key contains its name.
const MAX_NAME_BYTES: usize = 256;

/// State that survives a reload of the settings.
#[derive(Clone)]
pub struct Kept {
    /// The signer of the process. Keeping it keeps the tickets valid that it has issued.
    pub tickets: Tickets,
    /// The issuer's fetched keys, if the reloaded settings trust the same issuer. Keeping them lets a reload succeed
    /// while the issuer is unreachable.
    pub issuer: Option<Arc<FetchedJwts>>,
    /// The directory of the prompts in use.
    pub prompts: Option<PathBuf>,
}

/// Returns the admission rules that the settings define.
pub fn admission(
    settings: &Settings,
    environment: &BTreeMap<String, String>,
    kept: Kept,
) -> Result<Admission, AppError> {
    let Kept { tickets, issuer: kept, prompts: directory } = kept;
    let keys = settings.auth.api_keys.iter().map(api_key).collect::<Result<_, _>>()?;
    let gate = match settings.auth.mode {
        Some(settings::AuthMode::Required) => {
            Gate::Required { keys, issuer: issuer(&settings.auth.jwt, environment, kept)?, tickets }
        }
        None | Some(settings::AuthMode::None) => Gate::Open { tickets },
    };
    let cookie = settings.auth.cookie.as_deref().map(Into::into);
    let proxies = settings.server.trusted_proxies.iter().map(|network| network.0).collect();
    Ok(Admission {
        gate: Arc::new(gate),
        origins: origins(settings),
        cookie,
        policy: Arc::new(policy(&settings.limits)),
        proxies: TrustedProxies(proxies),
        prompts: prompts(&settings.prompts, directory.as_deref())?,
    })
}

/// Returns the prompts of the directory that the settings name, else those of `./prompts` if it exists, else the
/// starter set of the binary. If `./prompts` was in use and no longer exists, this is an error, not a fallback to the
/// starter set.
fn prompts(settings: &settings::PromptSettings, in_use: Option<&Path>) -> Result<Catalog, CatalogError> {
    let default = || Some(PathBuf::from("prompts")).filter(|path| in_use == Some(path.as_path()) || path.is_dir());
    match settings.directory.clone().or_else(default) {
        Some(directory) => Catalog::load(&directory),
        None => Catalog::shipped(),
    }
}

/// Returns the signer of tickets, with the secret of `auth.ticket_secret_env` or a random one.
pub fn tickets(settings: &Settings, environment: &BTreeMap<String, String>) -> Result<Tickets, AppError> {
    let Some(variable) = &settings.auth.ticket_secret_env else {
        return Tickets::random().map_err(|error| AppError::Random(error.to_string()));
    };
    match environment.get(variable).map(|secret| secret.trim()) {
        Some(secret) if secret.len() >= MIN_SECRET_BYTES => Ok(Tickets::new(secret.as_bytes())),
        _ => Err(AppError::TicketSecret),
    }
}

/// Returns the issuer that the settings trust. Reads a JWKS file once; for a URL, starts the task that fetches it.
fn issuer(
    jwt: &settings::JwtSettings,
    environment: &BTreeMap<String, String>,
    kept: Option<Arc<FetchedJwts>>,
) -> Result<Option<Issuer>, AppError> {
    if let Some(kept) = kept {
        kept.refresh();
        return Ok(Some(Issuer::Fetched(kept)));
    }
    let (Some(issuer), Some(audience)) = (&jwt.issuer, &jwt.audience) else { return Ok(None) };
    let mut trust = Trust { limits_claim: jwt.limits_claim.clone(), ..Trust::new(issuer, audience) };
    if let Some(claim) = &jwt.scope_claim {
        trust.scope_claim.clone_from(claim);
    }
    if let Some(url) = &jwt.jwks_url {
        return Ok(Some(Issuer::Fetched(Arc::new(FetchedJwts::start(fetch_from(url.as_str())?, trust)))));
    }
    if let Some(variable) = &jwt.secret_env {
        return match environment.get(variable).map(|secret| secret.trim()) {
            Some(secret) if secret.len() >= MIN_SECRET_BYTES => {
                Ok(Some(Issuer::Fixed(Jwts::of_secret(secret.as_bytes(), trust))))
            }
            _ => Err(AppError::JwtSecret),
        };
    }
    let Some(path) = &jwt.jwks_file else { return Ok(None) };
    let mut text = String::new();
    let file = File::open(path).and_then(|file| file.take(LONGEST_JWKS as u64 + 1).read_to_string(&mut text));
    file.map_err(|error| AppError::Jwks(error.to_string()))?;
    if text.len() > LONGEST_JWKS {
        return Err(AppError::Jwks("it is longer than 256 KiB".to_owned()));
    }
    let jwts = Jwts::of_jwks(&text, trust).map_err(|error| AppError::Jwks(error.to_string()))?;
    Ok(Some(Issuer::Fixed(jwts)))
}

fn api_key(key: &settings::ApiKeySettings) -> Result<ApiKey, AppError> {
    let wrong = |what: String| AppError::ApiKey { name: key.name.clone(), what };
    let scopes = key.scopes.as_ref().map(|scopes| Scopes::read(scopes.iter().map(String::as_str)));
    let models = key.models.as_ref().map(|models| Arc::new(models.iter().map(NamePattern::new).collect()));
    if !(1..=MAX_NAME_BYTES).contains(&key.name.len()) || key.name.chars().any(char::is_control) {
        return Err(wrong("its name must have 1 to 256 bytes and no control characters".to_owned()));
    }
    Ok(ApiKey {
        hash: key.hash.parse().map_err(|_| wrong("copy its hash as `tokenrill key new` printed it".to_owned()))?,
        identity: Identity {
            principal: Principal::Key(key.name.as_str().into()),
            scopes: scopes
                .unwrap_or_else(|| Ok(Scopes::usual()))
                .map_err(|_| wrong(format!("it has an unknown scope; {SCOPES}")))?,
            models: models.map_or(AllowedModels::All, AllowedModels::These),
            quota: key.limits.unwrap_or_default(),
            budget: key.budget,
            ..Identity::anonymous()
        },
    })
}

fn policy(limits: &settings::LimitSettings) -> Policy {
    let models = limits.models.iter().map(|limits| {
        let settings::ModelLimitSettings {
            model,
            requests_per_minute,
            tokens_per_minute,
            max_output_tokens,
            max_choices,
        } = limits;
        let quota = Quota {
            requests_per_minute: *requests_per_minute,
            tokens_per_minute: *tokens_per_minute,
            max_output_tokens: *max_output_tokens,
            max_choices: *max_choices,
            ..Quota::NONE
        };
        (NamePattern::new(model), quota)
    });
    Policy {
        each: limits.each,
        models: models.collect(),
        generations: limits.concurrent_generations_total,
        connections: limits.connections_total,
        when_full: limits.connections_full,
        waiting: limits.queue.max_waiting as usize,
        wait: limits.queue.max_wait,
    }
}

fn origins(settings: &Settings) -> Origins {
    match (&settings.cors.origins, settings.auth.mode) {
        (Some(origins), _) => Origins::These(origins.as_slice().into()),
        (None, Some(settings::AuthMode::Required)) => Origins::These([].into()),
        (None, None | Some(settings::AuthMode::None)) => Origins::Loopback,
    }
}
