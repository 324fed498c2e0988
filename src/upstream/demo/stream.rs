use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use thiserror::Error;

use super::{
    chunk::Chunks,
    completion::{Completion, Event},
    options::Fault,
    pace::Pace,
};

pub(super) type Body = UnsyncBoxBody<Bytes, Cut>;

/// Makes hyper close the connection without a last chunk: the `close_at` option.
#[derive(Debug, Error)]
#[error("the answer breaks off here, as the model's name asks")]
pub(super) struct Cut;

/// Tells a completion token by token. Nothing runs ahead: each token is made when it is due and the body is polled, so
/// dropping the body ends the answer.
pub(super) fn body(completion: Completion, chunks: Chunks, pace: Pace) -> Body {
    let frames = stream::unfold((completion, chunks), move |(mut completion, chunks)| async move {
        let (step, event) = completion.next()?;
        pace.wait(step).await;
        let frame = match event {
            Event::Fault(Fault::Stall) => std::future::pending().await,
            Event::Fault(Fault::Close) => Err(Cut),
            event => Ok(Frame::data(chunks.write(event))),
        };
        Some((frame, (completion, chunks)))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// A body that only breaks off.
pub(super) fn cut() -> Body {
    StreamBody::new(stream::iter([Err(Cut)])).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use serde_json::json;

    use super::{
        super::{chunk::AnswerId, request::Request},
        *,
    };

    fn told(model: &str) -> Body {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": true});
        let request = Request::parse(body.to_string().as_bytes()).unwrap_or_else(|refusal| panic!("{refusal}"));
        let chunks = Chunks::new(AnswerId { number: 1, created: 1 }, &request);
        super::body(Completion::new(&request), chunks, Pace::start(&request.options))
    }

    #[tokio::test]
    async fn each_token_is_a_write_of_its_own() {
        let mut body = told("demo?tokens=3&rate=max");
        let mut frames = 0;
        // Hyper writes out what it has when a body is not ready, so each frame must keep it waiting once.
        while body.frame().now_or_never().is_none() {
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(frame.windows(6).filter(|window| window == b"data: ").count(), 1);
            frames += 1;
        }
        assert_eq!(frames, 1 + 3 + 1 + 1, "role, tokens, finish reason, done");
    }
}
