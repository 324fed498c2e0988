//! Cost of one token in each step: decoding the upstream's bytes, appending to the log, waking and reading, and
//! encoding for the client.
//!
//! `cargo bench --bench token`. Uses no sockets and no runtime. `benches/gate.rs` measures the cost of a request before
//! its first token. `--count N STEP` runs only this step, N times, and `--names` lists the steps:
//! `benches/instructions` uses both to count instructions.
#![expect(clippy::expect_used, clippy::print_stdout, reason = "a table or nothing is what this is for")]
#![expect(clippy::cast_precision_loss, reason = "figures of three digits")]

use std::hint::black_box;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_util::{FutureExt, Stream};
use smallvec::smallvec;
use tokenrill::api::wire::{
    BlockIds, ChatEncoder, Encoder, Frames, MessagesEncoder, NativeEncoder, ResponsesEncoder, UiEncoder,
};
use tokenrill::domain::{
    Account, CancelReason, Cancelled, Chunk, Entry, Event, GenerationId, Principal, Sequence, Start, Timestamp,
    Timings, Usage, UsageRequest,
};
use tokenrill::event_log::{Created, EntryBatch, EventLog, LogTerms, Memory, MemoryLimits, ReadError, Writer, follow};
use tokenrill::upstream::{AnswerParser as _, AnswerReader, Signal, Signals};

/// The measured operation, with its state, which each round creates anew.
type Operation = Box<dyn FnMut()>;

/// A step, and the number of tokens that it processes each time.
struct Step {
    name: &'static str,
    what: &'static str,
    tokens: u32,
    prepare: fn() -> Operation,
}

const STEPS: [Step; 10] = [
    Step { name: "decode", what: "a read with one chunk is decoded", tokens: 1, prepare: || decode(1) },
    Step { name: "decode-8", what: "a read with eight chunks is decoded", tokens: 8, prepare: || decode(8) },
    Step { name: "parse", what: "the first chunk of an answer is parsed", tokens: 1, prepare: parse },
    Step { name: "append", what: "a chunk is appended", tokens: 1, prepare: append },
    Step {
        name: "wake",
        what: "a chunk is appended; its viewer wakes, reads it and waits again",
        tokens: 1,
        prepare: wake,
    },
    Step {
        name: "native",
        what: "an entry is encoded, native",
        tokens: 1,
        prepare: || encode(NativeEncoder::new(start().generation)),
    },
    Step {
        name: "openai",
        what: "an entry is encoded, OpenAI chat",
        tokens: 1,
        prepare: || encode(ChatEncoder::new(start(), BlockIds::Absent)),
    },
    Step {
        name: "responses",
        what: "an entry is encoded, OpenAI responses",
        tokens: 1,
        prepare: || encode(ResponsesEncoder::new(start(), BlockIds::Absent)),
    },
    Step {
        name: "messages",
        what: "an entry is encoded, Anthropic messages",
        tokens: 1,
        prepare: || encode(MessagesEncoder::new(start(), BlockIds::Absent)),
    },
    Step {
        name: "ui",
        what: "an entry is encoded, AI SDK UI stream",
        tokens: 1,
        prepare: || encode(UiEncoder::new(start(), BlockIds::Absent)),
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--names", ..] => STEPS.iter().for_each(|step| println!("{}", step.name)),
        ["--count", count, name, ..] => {
            let step = STEPS.iter().find(|step| step.name == *name);
            let Some((count, step)) = count.parse::<u64>().ok().zip(step) else { return ExitCode::FAILURE };
            let mut operation = (step.prepare)();
            (0..count).for_each(|_| operation());
        }
        others => table(others.contains(&"--bench")),
    }
    ExitCode::SUCCESS
}

/// Prints the medians of the rounds, so that an outlier does not change the result.
fn table(measuring: bool) {
    let (rounds, each) = if measuring { (50, 10_000) } else { (2, 10) };
    let size = chunk(WORDS[0]).len();
    println!("The upstream's chunks are {size} bytes and more, with the end of their lines.\n");
    println!("| step | ns | ns per token |\n| --- | ---: | ---: |");
    for Step { name, what, tokens, prepare } in STEPS {
        let mut times: Vec<Duration> = (0..rounds)
            .map(|_| {
                let mut operation = prepare();
                let began = Instant::now();
                (0..each).for_each(|_| operation());
                began.elapsed()
            })
            .collect();
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let nanos = median.as_nanos() as f64 / f64::from(each);
        println!("| `{name}`: {what} | {nanos:.0} | {:.0} |", nanos / f64::from(tokens));
    }
}

const WORDS: [&str; 8] = [" the", " model", "'s", " answer", ",", " token", " by", " token"];

/// Returns a chunk as OpenAI sends it.
fn chunk(text: &str) -> String {
    let id = "chatcmpl-CAbCdEfGhIjKlMnOpQrSt0";
    format!(
        r#"data: {{"id":"{id}","object":"chat.completion.chunk","created":1764171174,"model":"gpt-4.1-mini-2025-04-14","system_fingerprint":"fp_0123456789","choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}]}}"#
    ) + "\n\n"
}

/// Decodes an endless answer, in reads of this many chunks.
fn decode(chunks: usize) -> Operation {
    let words = |at| WORDS.iter().cycle().skip(at).take(chunks);
    let reads: Vec<String> = (0..WORDS.len()).map(|at| words(at).map(|word| chunk(word)).collect()).collect();
    let mut reader = reader();
    let mut at = 0;
    Box::new(move || {
        let mut signals = Signals::new();
        let read = reads.get(at).expect("a read");
        at = (at + 1) % reads.len();
        reader.feed(black_box(read.as_bytes()), &mut signals).expect("chunks");
        assert_eq!(black_box(signals).len(), chunks);
    })
}

/// Decodes the first chunk of an answer each time, which matches no chunk template yet.
fn parse() -> Operation {
    let read = chunk("Here");
    Box::new(move || {
        let (mut reader, mut signals) = (AnswerReader::new("m".to_owned(), 1, 1 << 20), Signals::new());
        reader.feed(black_box(read.as_bytes()), &mut signals).expect("a chunk");
        assert_eq!(black_box(signals).len(), 1);
    })
}

/// Returns a reader that has parsed a first chunk, so that it recognises chunks that differ only in their text.
fn reader() -> AnswerReader {
    let mut reader = AnswerReader::new("m".to_owned(), 1, 1 << 20);
    reader.feed(chunk("Here").as_bytes(), &mut Signals::new()).expect("a chunk");
    reader
}

/// Returns a decoded chunk.
fn token() -> Chunk {
    let mut signals = Signals::new();
    reader().feed(chunk(" token").as_bytes(), &mut signals).expect("a chunk");
    let Some(Signal::Chunk(chunk)) = signals.pop() else { unreachable!("it says something") };
    chunk
}

/// Returns the writer of a log that is never full, and its store.
fn log() -> (Memory, Box<dyn Writer>) {
    let memory = Memory::new(MemoryLimits {
        total: 1 << 40,
        generation: 1 << 40,
        running: 0,
        retention: Duration::from_hours(1),
    });
    let account = Account::Principal(Principal::Anonymous);
    let (usage, timings) = (Usage::default(), Timings::default());
    let cancelled = Cancelled { reason: CancelReason::Abandoned, usage, timings };
    let terms = LogTerms { account, claim: None, if_orphaned: Event::Cancelled(Arc::new(cancelled)), recovery: None };
    match memory.create(start(), terms).now_or_never() {
        Some(Ok(Created::New { writer, .. })) => (memory, writer),
        _ => unreachable!("there is room"),
    }
}

fn start() -> Arc<Start> {
    Arc::new(Start {
        generation: GenerationId::random(),
        owner: Principal::Anonymous,
        model: "m".to_owned(),
        created_at: Timestamp::from_millis(0),
        prompt: None,
        metadata: [].into(),
        usage: UsageRequest::Asked,
        notes: None,
        chat: None,
    })
}

fn append_to(writer: &mut dyn Writer, chunk: &Chunk) {
    writer.push(black_box(smallvec![Event::Chunk(chunk.clone())]));
    let appended = writer.poll_append(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(black_box(appended), Poll::Ready(Ok(()))), "there is room");
}

fn append() -> Operation {
    let ((memory, mut writer), chunk) = (log(), token());
    Box::new(move || {
        let _kept = &memory;
        append_to(&mut *writer, &chunk);
    })
}

fn wake() -> Operation {
    let ((memory, mut writer), chunk) = (log(), token());
    let mut pages = Box::pin(follow(Arc::clone(writer.log()), Sequence::new(1)));
    let woken = Arc::new(Wakes(AtomicU64::new(0)));
    let waker = Waker::from(Arc::clone(&woken));
    assert!(next_page(pages.as_mut(), &waker).is_pending());
    Box::new(move || {
        let _kept = &memory;
        let before = woken.0.load(Ordering::Relaxed);
        append_to(&mut *writer, &chunk);
        assert_eq!(woken.0.load(Ordering::Relaxed), before + 1);
        let Poll::Ready(Some(Ok(page))) = next_page(pages.as_mut(), &waker) else { unreachable!("a page") };
        assert_eq!(black_box(page).len(), 1);
        assert!(next_page(pages.as_mut(), &waker).is_pending());
    })
}

type Read = Result<EntryBatch, ReadError>;

fn next_page(pages: Pin<&mut impl Stream<Item = Read>>, waker: &Waker) -> Poll<Option<Read>> {
    pages.poll_next(&mut Context::from_waker(waker))
}

/// Counts wake-ups.
struct Wakes(AtomicU64);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Encodes the hundredth entry of an answer.
fn encode(mut encoder: impl Encoder) -> Operation {
    let entry = Entry::new(Sequence::new(100), Event::Chunk(token()));
    let mut frames = Frames::default();
    Box::new(move || {
        encoder.entry(black_box(&entry), &mut frames);
        assert!(!black_box(frames.take()).is_empty());
    })
}
