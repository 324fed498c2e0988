//! The parts of async-openai that the adapter uses: the configuration of an endpoint, and the execution of a request.

use std::task::{Context, Poll};

use async_openai::config::Config;
use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use reqwest::header::HeaderMap;
use reqwest::{Method, Request};
use secrecy::SecretString;
use tower::Service;

use super::super::endpoint::Endpoint;
use super::super::exchange::Exchange;
use super::super::transport::{InvalidUrlError, Response, UpstreamRequest};
use super::super::{AttemptError, AttemptErrorKind, Sent, SentMark};

/// Replaces the configuration type of async-openai, which reads the environment of the process, panics on a key that is
/// not a header value, and does not mark the key as sensitive.
impl Config for Endpoint {
    fn headers(&self) -> HeaderMap {
        Self::headers(self).clone()
    }

    fn url(&self, path: &str) -> String {
        Self::url(self, path)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    fn api_base(&self) -> &str {
        self.base_url()
    }

    fn api_key(&self) -> &SecretString {
        self.key()
    }
}

/// Replaces the default executor of async-openai, which retries a refused request up to three times, sleeps for the
/// `Retry-After` of the upstream, and loses status and headers of a refusal with an unknown body.
impl Service<HttpRequestFactory> for Exchange {
    type Response = Response;
    type Error = AttemptError;
    type Future = BoxFuture<'static, Result<Response, AttemptError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequestFactory) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let unsendable = || {
                let cause = "the request cannot be built".into();
                AttemptError::new(AttemptErrorKind::Unreachable { cause }, Sent::No)
            };
            let request = request.build().await.map_err(|_| unsendable())?;
            let body = request.body().and_then(reqwest::Body::as_bytes).map(Bytes::copy_from_slice).unwrap_or_default();
            let request = upstream_request(&request).map_err(|_| unsendable())?;
            this.send(&request, body, &SentMark::default()).await
        })
    }
}

/// Returns a `GET` of this path of the API.
pub fn get<C: Config + Clone + 'static>(config: &C, path: &'static str) -> HttpRequestFactory {
    let config = config.clone();
    HttpRequestFactory::new(move || {
        let url = config.url(path).parse().map_err(|_| OpenAIError::InvalidArgument(InvalidUrlError.to_string()));
        let request = url.map(|url| {
            let mut request = Request::new(Method::GET, url);
            *request.headers_mut() = config.headers();
            request
        });
        async move { request }
    })
}

/// Converts a request for the transport, without its body.
fn upstream_request(request: &Request) -> Result<UpstreamRequest, InvalidUrlError> {
    UpstreamRequest::new(request.method().clone(), request.url().clone(), request.headers().clone())
}
