//! Gets an issuer's keys over HTTP.

use std::time::Duration;

use super::fetched_jwts::{Fetch, FetchError};

/// The longest set of keys that is read, in bytes.
pub const LONGEST_JWKS: usize = 256 << 10;
const CONNECT: Duration = Duration::from_secs(5);

/// Gets `url`, and only that: no redirect is followed, and no proxy asked.
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
