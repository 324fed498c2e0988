//! What a request shows of who sends it.

use axum::http::header::{AUTHORIZATION, COOKIE, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Uri};

use super::cors::Origins;
use crate::auth::{Credential, Refusal};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The first credential present, in this order; where it is not good, nothing else is tried. `cookie` is the name
/// of the cookie that is one, where there is one.
pub fn shown<'a>(head: &'a Parts, cookie: Option<&str>) -> Result<Option<Credential<'a>>, Refusal> {
    if let Some(authorization) = sole(&head.headers, &AUTHORIZATION)? {
        return bearer(authorization).map(|token| Some(Credential::Bearer(token)));
    }
    if let Some(key) = sole(&head.headers, &X_API_KEY)? {
        return Ok(Some(Credential::ApiKey(key)));
    }
    if let Some(token) = cookie.map_or(Ok(None), |name| session(&head.headers, name))? {
        return Ok(Some(Credential::Session(token)));
    }
    Ok(ticket(&head.uri).map(Credential::Ticket))
}

/// Whether a page that may call has sent this, or nothing can come of it.
///
/// A browser sends a cookie along whatever page asks it to. What changes nothing may be asked by any: what it is
/// told, a foreign page cannot read.
pub fn is_from_a_page_of_ours(head: &Parts, origins: &Origins) -> bool {
    if head.method.is_safe() {
        return true;
    }
    let mut named = head.headers.get_all(ORIGIN).iter();
    let listed = match (named.next(), named.next()) {
        (Some(origin), None) => origins.allow(origin),
        _ => false,
    };
    // No page can write this header (WHATWG Fetch, section 2.2.2, forbidden request-headers).
    listed || head.headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "same-origin")
}

/// The header's one value; that there are two is no reason to take either.
fn sole<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Refusal::Malformed),
        (Some(_), Some(_)) => Err(Refusal::Malformed),
    }
}

/// `Bearer` and the credential (RFC 6750, section 2.1); the scheme in any case (RFC 9110, section 11.1).
fn bearer(authorization: &str) -> Result<&str, Refusal> {
    let (scheme, credential) = authorization.split_once(' ').ok_or(Refusal::Malformed)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(credential.trim()) } else { Err(Refusal::Malformed) }
}

/// The one cookie of this name (RFC 6265, section 5.4). Of two, which a neighbouring domain can bring about, neither
/// is taken. The others are not ours, and may hold any bytes.
fn session<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    // Over HTTP/2 they may stand in several headers (RFC 9113, section 8.2.3).
    let pairs = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => std::str::from_utf8(value).map(Some).map_err(|_| Refusal::Malformed),
        (Some(_), Some(_)) => Err(Refusal::Malformed),
    }
}

/// `?ticket=`, for clients that can set no header. It holds no character that would have to be escaped.
fn ticket(uri: &Uri) -> Option<&str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix("ticket="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name_among_any_others() {
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
            (&[b"session=\xff"], Err(Refusal::Malformed)),
            (&[b"session=a; session=a"], Err(Refusal::Malformed)),
            (&[b"session=a", b"session=b"], Err(Refusal::Malformed)),
        ] {
            assert_eq!(read(cookies), expected.map(|token| token.map(str::to_owned)), "{cookies:?}");
        }
    }
}
