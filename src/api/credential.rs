//! Finds the credential of a request.

use axum::http::header::{ACCEPT, AUTHORIZATION, COOKIE, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, Uri};

use super::admission::Origins;
use super::credential_fault::CredentialFault;
use crate::auth::{ApiKeys, Credential, CredentialError, Gate};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The header in which clients for Azure send a key.
const API_KEY: HeaderName = HeaderName::from_static("api-key");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Returns the first credential that is present, in this order. If it is invalid, no other one is tried. `cookie` is
/// the name of the session cookie, if one is configured.
pub fn find<'a>(head: &'a Parts, cookie: Option<&str>) -> Result<Option<Credential<'a>>, CredentialFault> {
    if let Some(authorization) = only_value(&head.headers, &AUTHORIZATION)? {
        return bearer(authorization).map(|token| Some(Credential::Bearer(token)));
    }
    if let Some(key) = only_value(&head.headers, &X_API_KEY)? {
        return Ok(Some(Credential::ApiKey(key)));
    }
    if let Some(token) = cookie.map_or(Ok(None), |name| session(&head.headers, name))? {
        return Ok(Some(Credential::Session(token)));
    }
    Ok(ticket(&head.uri).map(Credential::Ticket))
}

/// Returns why `gate` refused the credential; `None` if the issuer's keys, which would decide that, are unavailable.
pub fn fault(
    refusal: CredentialError,
    shown: Option<Credential<'_>>,
    head: &Parts,
    gate: &Gate,
    cookie: Option<&str>,
) -> Option<CredentialFault> {
    let fault = match (refusal, shown) {
        (CredentialError::NoKeys, _) => return None,
        (CredentialError::Missing, _) | (_, None) => missing(head, cookie),
        (CredentialError::Expired, Some(Credential::Ticket(_))) => CredentialFault::ExpiredTicket,
        (_, Some(Credential::Ticket(_))) => CredentialFault::BadTicket,
        (_, Some(Credential::Bearer(text) | Credential::ApiKey(text))) if is_placeholder(text) => {
            CredentialFault::Placeholder
        }
        (_, Some(Credential::Bearer(text) | Credential::ApiKey(text))) if is_provider_key(text) => {
            CredentialFault::ProviderKey
        }
        (CredentialError::Malformed, Some(Credential::Bearer(text))) if is_token(text) && !gate.has_issuer() => {
            CredentialFault::TokensNotAccepted
        }
        (CredentialError::Malformed, Some(Credential::Bearer(text))) if !is_token(text) => CredentialFault::NoKey,
        (CredentialError::Malformed, Some(Credential::ApiKey(_))) => CredentialFault::NoKey,
        (CredentialError::Malformed, Some(Credential::Bearer(_) | Credential::Session(_))) => CredentialFault::NoToken,
        (CredentialError::UnknownKey, Some(Credential::Bearer(text))) if !ApiKeys::could_be(text) => {
            CredentialFault::UnknownSigner
        }
        (CredentialError::UnknownKey, Some(Credential::Session(_))) => CredentialFault::UnknownSigner,
        (CredentialError::UnknownKey, Some(Credential::Bearer(_) | Credential::ApiKey(_))) => {
            CredentialFault::UnknownKey
        }
        (CredentialError::Invalid, _) => CredentialFault::BadSignature,
        (CredentialError::Expired, _) => CredentialFault::ExpiredToken,
        (CredentialError::TooEarly, _) => CredentialFault::NotYetValid,
        (CredentialError::NotForUs, _) => CredentialFault::OtherIssuer,
    };
    Some(fault)
}

/// Guesses where the client sent its credential instead.
fn missing(head: &Parts, cookie: Option<&str>) -> CredentialFault {
    let is_event_source = || {
        let accept = head.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
        head.method == Method::GET && accept.is_some_and(|accept| accept.contains("text/event-stream"))
    };
    let names_key = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default();
        ["api_key", "api-key", "apikey", "key", "token", "access_token"].contains(&name)
    };
    if head.headers.contains_key(API_KEY) {
        CredentialFault::InApiKeyHeader
    } else if head.uri.query().is_some_and(|query| query.split('&').any(names_key)) {
        CredentialFault::InQuery
    } else if is_event_source() {
        CredentialFault::MissingTicket
    } else if cookie.is_some() {
        CredentialFault::MissingCookie
    } else {
        CredentialFault::Missing
    }
}

/// Whether the text is what a page sends if its variable holds no key.
fn is_placeholder(text: &str) -> bool {
    ["", "undefined", "null", "None", "[object Object]"].contains(&text.trim())
}

/// Whether the text has the prefix of a key of OpenAI, Anthropic, OpenRouter, Google, Groq, Hugging Face or xAI.
fn is_provider_key(text: &str) -> bool {
    ["sk-", "AIza", "gsk_", "hf_", "xai-"].iter().any(|prefix| text.starts_with(prefix))
}

/// Whether the text has the form of a JWT (RFC 7519, section 3).
fn is_token(text: &str) -> bool {
    text.split('.').count() == 3
}

/// Whether the request comes from an allowed page, or has a safe method.
///
/// Browsers attach cookies to requests of every page. A safe method is allowed from every origin, because it changes
/// nothing and a foreign page cannot read the response.
pub fn is_from_allowed_page(head: &Parts, origins: &Origins) -> bool {
    if head.method.is_safe() {
        return true;
    }
    let mut named = head.headers.get_all(ORIGIN).iter();
    let listed = match (named.next(), named.next()) {
        (Some(origin), None) => origins.allow(origin),
        _ => false,
    };
    // Pages cannot set this header (WHATWG Fetch, section 2.2.2, forbidden request-headers).
    listed || head.headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "same-origin")
}

/// Returns the header's only value. Two values are an error, because taking either would be a guess.
fn only_value<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, CredentialFault> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| CredentialFault::NotText),
        (Some(_), Some(_)) => Err(CredentialFault::Repeated),
    }
}

/// Parses `Bearer CREDENTIAL` (RFC 6750, section 2.1); the scheme is case-insensitive (RFC 9110, section 11.1).
fn bearer(authorization: &str) -> Result<&str, CredentialFault> {
    match authorization.split_once(' ') {
        Some((scheme, credential)) if scheme.eq_ignore_ascii_case("bearer") => Ok(credential.trim()),
        None if authorization.eq_ignore_ascii_case("bearer") || authorization.is_empty() => {
            Err(CredentialFault::Placeholder)
        }
        None => Err(CredentialFault::NoScheme),
        Some(_) => Err(CredentialFault::OtherScheme),
    }
}

/// Returns the only cookie with this name (RFC 6265, section 5.4). Two are an error: a sibling domain can set the
/// second. Cookies with other names are ignored, and may contain any bytes.
fn session<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, CredentialFault> {
    // HTTP/2 may split cookies into several headers (RFC 9113, section 8.2.3).
    let pairs = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => std::str::from_utf8(value).map(Some).map_err(|_| CredentialFault::NotText),
        (Some(_), Some(_)) => Err(CredentialFault::Repeated),
    }
}

/// Returns `?ticket=`, for clients that cannot set headers. A ticket has no characters that would need an escape.
fn ticket(uri: &Uri) -> Option<&str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix("ticket="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookie_is_found_by_its_exact_name_among_others() {
        let read = |cookies: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for cookie in cookies {
                headers.append(COOKIE, axum::http::HeaderValue::from_bytes(cookie).expect("a header value"));
            }
            session(&headers, "session").map(|token| token.map(str::to_owned))
        };
        for (cookies, expected) in [
            (&[][..], Ok(None)),
            (&[&b"session=a.b.c"[..]], Ok(Some("a.b.c"))),
            (&[b"x=1; session=a; y=2"], Ok(Some("a"))),
            (&[b"x=1", b"session=a=b"], Ok(Some("a=b"))),
            (&[b"name=\xff\xfe; session=a"], Ok(Some("a"))),
            (&[b"session="], Ok(Some(""))),
            (&[b"session"], Ok(None)),
            (&[b"xsession=a; session2=b; SESSION=c"], Ok(None)),
            (&[b"session=\xff"], Err(CredentialFault::NotText)),
            (&[b"session=a; session=a"], Err(CredentialFault::Repeated)),
            (&[b"session=a", b"session=b"], Err(CredentialFault::Repeated)),
        ] {
            assert_eq!(read(cookies), expected.map(|token| token.map(str::to_owned)), "{cookies:?}");
        }
    }
}
