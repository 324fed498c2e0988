//! Fetches an issuer's keys over HTTP.

use std::time::Duration;

use super::fetched_jwts::{Fetch, FetchError};

/// The longest key set that is accepted, in bytes.
pub const LONGEST_JWKS: usize = 256 << 10;
const CONNECT: Duration = Duration::from_secs(5);

/// Returns a function that fetches `url`. It follows no redirects and uses no proxy.
pub fn fetch_from(url: &str) -> Result<Fetch, FetchError> {
    let http = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|_| FetchError::Unreachable)?;
    let url = url.to_owned();
    Ok(Box::new(move || Box::pin(get(http.get(&url)))))
}

async fn get(request: reqwest::RequestBuilder) -> Result<String, FetchError> {
    let mut response = request.send().await.map_err(|_| FetchError::Unreachable)?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(FetchError::Status(response.status().as_u16()));
    }
    let mut text = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|_| FetchError::Broken)? {
        if text.len() + part.len() > LONGEST_JWKS {
            return Err(FetchError::TooLong);
        }
        text.extend_from_slice(&part);
    }
    String::from_utf8(text).map_err(|_| FetchError::Broken)
}
