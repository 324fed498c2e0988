//! The in-memory backend: the contract, and further guarantees of its own.

use std::sync::Arc;

use tokenrill::domain::{Done, Event, Finish, GenerationId, Sequence, Timings, Trailer, Usage};
use tokenrill::event_log::{CloseOutcome, CreateError, EventLog, Memory, MemoryLimits, ReadError};
use tokio_util::task::TaskTracker;

use super::{
    Backend, OwnedLog, PLAIN, RETENTION, ROOMY, TERMINAL_BYTES, TIGHT, account, append, begun, create, create_for,
    ended, made, read, terms, token,
};

contract!(Memory);

impl Backend for Memory {
    fn start(limits: MemoryLimits) -> Self {
        let memory = Self::new(limits);
        TaskTracker::new().spawn({
            let memory = memory.clone();
            async move { memory.expire().await }
        });
        memory
    }

    fn replica(&self) -> Self {
        self.clone()
    }

    /// No other process takes a log in memory over, so its lease ends only with its writer.
    fn expire_lease(&self, log: Arc<OwnedLog>) -> Option<Arc<OwnedLog>> {
        drop(log);
        None
    }

    fn check(&self, limits: MemoryLimits) {
        assert!(self.bytes() <= limits.total + TERMINAL_BYTES, "{} bytes", self.bytes());
    }
}

#[tokio::test]
async fn removed_logs_leave_no_bytes_counted() {
    let memory = Memory::new(ROOMY);
    let mut logs = Vec::new();
    for _ in 0..10 {
        let (id, log) = create(&memory).await;
        append(&log, vec![token("Hello"); 10]).await.expect("room");
        logs.push((id, log));
    }
    assert_eq!(memory.count(), 10);
    for (at, (id, log)) in logs.iter().enumerate() {
        if at % 2 == 0 {
            log.close(ended(0)).await;
        }
        memory.remove(*id).await.expect("the log answers");
        memory.remove(*id).await.expect("the log answers");
        append(log, vec![token("nobody's")]).await.ok();
        log.close(ended(0)).await;
    }
    assert_eq!((memory.bytes(), memory.count()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn removed_log_keeps_only_its_last_page_whether_it_closed_before_or_after() {
    let memory = Memory::start(ROOMY);
    for closes_first in [true, false] {
        let (id, log) = create(&memory).await;
        append(&log, vec![token(&"x".repeat(1_000)); 100]).await.expect("room");
        if closes_first {
            log.close(ended(0)).await;
        }
        memory.remove(id).await.expect("the log answers");
        tokio::time::sleep(RETENTION).await;
        log.close(ended(0)).await;
        tokio::time::sleep(RETENTION).await;
        assert_eq!(log.read(Sequence::START).await, Err(ReadError::Lost), "closed first: {closes_first}");
        assert!(
            log.read(Sequence::new(100)).await.is_ok_and(|page| page.entries.len() == 2),
            "the last chunk and the end"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn expired_logs_leave_no_bytes_counted() {
    let memory = Memory::start(ROOMY);
    for _ in 0..10 {
        let (_, log) = create(&memory).await;
        append(&log, vec![token("Hello"); 10]).await.expect("room");
        log.close(ended(0)).await;
    }
    assert!(memory.bytes() > 0);
    tokio::time::sleep(RETENTION * 2).await;
    assert_eq!((memory.bytes(), memory.count()), (0, 0));
}

/// Each token costs 8 bytes beside its text: 1.2 MB in all, for a generation of the longest kind.
#[tokio::test]
async fn hundred_thousand_tokens_take_at_most_1_25_mb() {
    let memory = Memory::new(ROOMY);
    let (_, log) = create(&memory).await;
    for _ in 0..1000 {
        append(&log, vec![token("toks"); 100]).await.expect("room");
    }
    assert!(memory.bytes() >= 400_000, "the account is charged for what is kept");
    assert!(memory.bytes() <= 1_250_000, "{} bytes", memory.bytes());
}

#[tokio::test]
async fn a_shape_shared_by_chunks_is_stored_once() {
    let memory = Memory::new(ROOMY);
    let (_, log) = create(&memory).await;
    append(&log, vec![token("a")]).await.expect("room");
    let before = memory.bytes();
    append(&log, vec![token("b")]).await.expect("room");
    assert!(memory.bytes() - before < PLAIN.size(), "the second chunk of a shape is charged without the shape");
    for entry in &read(&log, Sequence::new(1)).await {
        let Event::Chunk(chunk) = &entry.event else { panic!("{entry:?}") };
        assert!(Arc::ptr_eq(chunk.shape(), &PLAIN));
    }
}

/// A terminal event evicts closed logs too, so the sum of all logs exceeds its limit by at most one such event.
#[tokio::test]
async fn closing_open_logs_exceeds_the_limit_by_at_most_one_terminal_event() {
    let memory = Memory::new(TIGHT);
    let mut open = Vec::new();
    loop {
        let id = GenerationId::random();
        match made(memory.create(begun(id), terms(&account(0), None)).await) {
            Ok(log) => open.push(log),
            Err(error) => break assert_eq!(error, CreateError::Full),
        }
    }
    for log in &open {
        assert_eq!(log.close(ended(0)).await, CloseOutcome::Won);
        memory.check(TIGHT);
    }
}

/// The terminal event of an answer that the upstream sent as a whole contains the answer.
#[tokio::test]
async fn large_terminal_events_pass_the_limit_by_64_kib_in_all() {
    let memory = Memory::new(TIGHT);
    let mut open = Vec::new();
    for number in 0..8 {
        open.push(create_for(&memory, number).await);
    }
    for (_, log) in &open {
        let trailer = Trailer { whole_json: Some("x".repeat(30 << 10).into()), ..Trailer::default() };
        let (usage, timings) = (Usage::default(), Timings::default());
        let done = Done { finish: [Finish::stated(0, "stop")].into(), trailer, usage, timings };
        assert_eq!(log.close(Event::Done(Arc::new(done))).await, CloseOutcome::Won);
        assert!(memory.bytes() <= TIGHT.total + (64 << 10), "{} bytes", memory.bytes());
        assert_eq!(read(log, Sequence::START).await.len(), 2, "its viewers continue to read");
    }
}
