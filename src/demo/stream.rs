use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use super::{
    chunk::DemoChunks,
    completion::{CompletionEvent, DemoCompletion},
    options::DemoFault,
    pace::Pace,
    response::{CutError, DemoBody},
};

/// Streams a completion token by token. Each token is generated when it is due and the body is polled, so dropping the
/// body ends the answer.
pub(super) fn body(completion: DemoCompletion, chunks: DemoChunks, pace: Pace) -> DemoBody {
    let frames = stream::unfold((completion, chunks), move |(mut completion, chunks)| async move {
        let (step, event) = completion.next()?;
        pace.wait(step).await;
        let frame = match event {
            CompletionEvent::Fault(DemoFault::Stall) => std::future::pending().await,
            CompletionEvent::Fault(DemoFault::Close) => Err(CutError),
            event => Ok(Frame::data(chunks.write(event))),
        };
        Some((frame, (completion, chunks)))
    });
    StreamBody::new(frames).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use serde_json::json;

    use super::{
        super::{chunk::AnswerId, request::Request},
        *,
    };

    fn answer_body(model: &str) -> DemoBody {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": true});
        let request = Request::parse(body.to_string().as_bytes()).unwrap_or_else(|refusal| panic!("{refusal}"));
        let chunks = DemoChunks::new(AnswerId { number: 1, created: 1 }, &request);
        super::body(DemoCompletion::new(&request), chunks, Pace::start(&request.options))
    }

    #[tokio::test]
    async fn each_token_is_a_frame_of_its_own() {
        let mut body = answer_body("demo?tokens=3&rate=max");
        let mut frames = 0;
        // Hyper flushes when the body is pending, so the body must be pending once before each frame.
        while body.frame().now_or_never().is_none() {
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(frame.windows(6).filter(|window| window == b"data: ").count(), 1);
            frames += 1;
        }
        assert_eq!(frames, 1 + 3 + 1 + 1, "role, tokens, finish reason, done");
    }
}
