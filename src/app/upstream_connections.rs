//! How an upstream of the settings is connected to.

use std::collections::BTreeMap;

use super::AppError;
use crate::settings::{Settings, UpstreamSettings};
use crate::upstream::{ConnectionTerms, InvalidPemError, Proxy, TlsTerms};

/// Checks the proxies and the certificate files of all upstreams. The error names the setting.
pub fn check_connections(settings: &Settings, environment: &BTreeMap<String, String>) -> Result<(), AppError> {
    settings.upstreams.iter().try_for_each(|upstream| connection_terms(upstream, environment).map(drop))
}

/// Returns the terms of an upstream's connections. Reads the certificate files.
pub fn connection_terms(
    upstream: &UpstreamSettings,
    environment: &BTreeMap<String, String>,
) -> Result<ConnectionTerms, AppError> {
    let terms = ConnectionTerms::direct(upstream.connect_timeout, upstream.keepalive);
    Ok(ConnectionTerms { proxy: proxy(upstream, environment)?, tls: tls_terms(upstream)?, ..terms })
}

fn proxy(upstream: &UpstreamSettings, environment: &BTreeMap<String, String>) -> Result<Option<Proxy>, AppError> {
    let Some(configured) = upstream.configured_proxy(environment)? else { return Ok(None) };
    let server = upstream.base_url.without_query();
    Proxy::between(configured.url.expose(), &configured.no_proxy, server)
        .map_err(|error| AppError::Upstream { name: upstream.name.clone(), reason: format!("proxy: {error}") })
}

fn tls_terms(upstream: &UpstreamSettings) -> Result<TlsTerms, AppError> {
    let failed = |setting: &str, error: InvalidPemError| AppError::Upstream {
        name: upstream.name.clone(),
        reason: format!("the file that {setting} names cannot be used ({error}): write a file in PEM there"),
    };
    let mut terms = TlsTerms::SYSTEM;
    if let Some(issuers) = upstream.read_ca_file()? {
        terms = terms.trusting(&issuers).map_err(|error| failed("ca_file", error))?;
    }
    if let Some(files) = upstream.read_client_certificate()? {
        let presented = terms.presenting(&files.certificate, files.private_key.expose());
        terms = presented.map_err(|error| {
            let setting = match error {
                InvalidPemError::NoKey | InvalidPemError::Key | InvalidPemError::OtherKey => "private_key",
                _ => "certificate",
            };
            failed(&format!("client_certificate.{setting}"), error)
        })?;
    }
    Ok(terms)
}
