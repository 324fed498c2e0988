//! The service's future for one request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::Response;
use hyper::body::Body;
use pin_project_lite::pin_project;

use super::exchange::ServedExchange;
use super::stall::Watched;

pin_project! {
    /// The service's future for one request.
    pub(super) struct Responding<F> {
        #[pin]
        service: F,
        exchange: Option<Arc<ServedExchange>>,
    }
}

impl<F> Responding<F> {
    pub const fn new(service: F, exchange: Arc<ServedExchange>) -> Self {
        Self { service, exchange: Some(exchange) }
    }
}

impl<F, B, E> Future for Responding<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<Watched<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.service.poll(cx));
        let exchange = this.exchange.take();
        if let Some(exchange) = &exchange {
            exchange.count();
        }
        Poll::Ready(response.map(|response| response.map(|body| Watched::new(body, exchange))))
    }
}
