//! A provider for tests whose answers are given.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::stream::StreamExt;

use super::{Answer, AttemptErrorKind, AttemptTerms, ListedModel, Provider, Sent, UpstreamIdentity};
use crate::domain::ChatRequest;

/// Answers its attempts in turn.
pub struct ScriptedProvider {
    identity: Arc<UpstreamIdentity>,
    answers: Mutex<VecDeque<Answer>>,
    open: Arc<AtomicUsize>,
}

/// An attempt whose stream was not dropped.
struct OpenStream(Arc<AtomicUsize>);

impl ScriptedProvider {
    pub fn new(name: &str, answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        let identity = UpstreamIdentity::new(name, &format!("http://{name}/v1/chat/completions"));
        let answers = Mutex::new(answers.into_iter().collect());
        Arc::new(Self { identity, answers, open: Arc::default() })
    }

    /// Returns the number of attempts whose streams were not dropped.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Returns the number of answers that no attempt has taken.
    pub fn remaining(&self) -> usize {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Provider for ScriptedProvider {
    fn identity(&self) -> &Arc<UpstreamIdentity> {
        &self.identity
    }

    fn attempt(&self, _: &Arc<ChatRequest>, terms: AttemptTerms) -> Answer {
        let answer = self.answers.lock().expect("a lock").pop_front().expect("an answer for each attempt");
        self.open.fetch_add(1, Ordering::SeqCst);
        let open = OpenStream(Arc::clone(&self.open));
        let answer = answer.inspect(move |item| {
            let _open = &open;
            if !matches!(item, Err(error) if error.sent == Sent::No) {
                terms.sent.set();
            }
        });
        answer.boxed()
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ListedModel>, AttemptErrorKind>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
