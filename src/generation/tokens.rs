//! Counts tokens if the provider does not, usually for an answer that was stopped or cut off.

use std::sync::Arc;
use std::time::Duration;

use tiktoken::CoreBpe;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::answer_text::AnswerText;
use crate::domain::{Prompt, Usage};

/// Of a longer prompt or answer only this many bytes are counted; the count is scaled for the rest.
pub const COUNTED_BYTES: usize = 64 * 1024;
/// Tokens that OpenAI's chat format adds to each message, and for the beginning of the answer.
const TOKENS_PER_MESSAGE: u64 = 3;
const TOKENS_BEFORE_ANSWER: u64 = 3;
/// Used without a vocabulary: a token has about four bytes.
const BYTES_PER_TOKEN: usize = 4;

/// Counts on blocking threads, a few answers at a time: many clients that disconnect at once must not take the CPU from
/// the remaining ones.
#[derive(Debug, Clone)]
pub struct TokenCounter {
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
}

/// Number of answers that are counted at the same time.
const SLOTS: usize = 2;
/// The longest time that an ending waits for its count; after that it is sent with a guess.
const COUNT_TIMEOUT: Duration = Duration::from_millis(250);

impl TokenCounter {
    pub fn new(tasks: TaskTracker) -> Self {
        Self { slots: Arc::new(Semaphore::new(SLOTS)), tasks }
    }

    /// Returns the tokens that `model` read and wrote.
    pub async fn count(&self, model: &str, prompt: &Arc<Prompt>, answer: AnswerText) -> Usage {
        let guess = guess(prompt, &answer);
        if guess.total() == 0 {
            return guess;
        }
        let counted = async {
            let slot = Arc::clone(&self.slots).acquire_owned().await.ok()?;
            let (model, prompt) = (model.to_owned(), Arc::clone(prompt));
            let counting = self.tasks.spawn_blocking(move || {
                let _slot = slot;
                count(&model, &prompt, &answer)
            });
            counting.await.ok()
        };
        timeout(COUNT_TIMEOUT, counted).await.ok().flatten().unwrap_or(guess)
    }
}

/// Counts with the vocabulary of the model's family, or the nearest that is available.
///
/// Takes about 10 ms for each long text, and once 100 ms for each vocabulary: must not run on a runtime thread.
fn count(model: &str, prompt: &Prompt, answer: &AnswerText) -> Usage {
    let vocabulary = vocabulary(model);
    let tokens = |text: &str| {
        vocabulary.map_or(text.len().div_ceil(BYTES_PER_TOKEN), |vocabulary| vocabulary.count(text)) as u64
    };
    // The line ends between the texts count as a token each but are not part of the prompt.
    let line_ends = prompt.texts.saturating_sub(1);
    let text = prompt.text.get(..prompt.text.floor_char_boundary(COUNTED_BYTES)).unwrap_or_default();
    let kept = scaled(tokens(text), prompt.text.len(), text.len()).saturating_sub(line_ends as u64);
    let beginnings = || answer.choices.values().map(|choice| choice.beginning.as_str());
    let counted = beginnings().map(str::len).sum();
    Usage {
        input_tokens: scaled(kept, prompt.bytes, prompt.text.len() - line_ends)
            + TOKENS_PER_MESSAGE * prompt.messages as u64
            + TOKENS_BEFORE_ANSWER,
        output_tokens: Some(scaled(beginnings().map(tokens).sum(), answer.bytes(), counted)),
        ..Usage::default()
    }
}

/// Estimates a prompt's tokens from its bytes, without a vocabulary.
pub const fn guess_prompt(prompt: &Prompt) -> u64 {
    prompt.bytes.div_ceil(BYTES_PER_TOKEN) as u64
}

/// Estimates the usage from the bytes, without a vocabulary.
pub fn guess(prompt: &Prompt, answer: &AnswerText) -> Usage {
    let output_tokens = Some(answer.bytes().div_ceil(BYTES_PER_TOKEN) as u64);
    Usage { input_tokens: guess_prompt(prompt), output_tokens, ..Usage::default() }
}

fn scaled(tokens: u64, bytes: usize, counted: usize) -> u64 {
    if counted == bytes { tokens } else { (tokens * bytes as u64).div_ceil(counted.max(1) as u64) }
}

/// Returns the vocabulary of the family that the model's name contains, without the vendor before a slash. The table
/// has the families whose vocabularies the library holds. All other models are counted with OpenAI's newest vocabulary,
/// which is as large as theirs.
fn vocabulary(model: &str) -> Option<&'static CoreBpe> {
    const FAMILIES: [(&str, &str); 12] = [
        ("gpt-3.5", "cl100k_base"),
        ("gpt-4-", "cl100k_base"),
        ("gpt-oss", "o200k_base"),
        ("llama", "llama3"),
        ("hermes", "llama3"),
        ("qwen", "qwen2"),
        ("qwq", "qwen2"),
        ("deepseek", "deepseek_v3"),
        ("mistral", "mistral_v3"),
        ("mixtral", "mistral_v3"),
        ("codestral", "mistral_v3"),
        ("ministral", "mistral_v3"),
    ];
    let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
    let family = FAMILIES.iter().find(|(word, _)| name.contains(word)).map(|(_, family)| *family);
    let family = family.or((name == "gpt-4").then_some("cl100k_base"));
    tiktoken::get_encoding(family.unwrap_or("o200k_base"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ChatRequest, TokenSource};
    use crate::json::JsonObject;

    fn answer(text: &str) -> AnswerText {
        let mut answer = AnswerText::default();
        let choice = answer.choices.entry(0).or_default();
        (choice.beginning, choice.bytes) = (text.into(), text.len());
        answer
    }

    fn prompt(texts: &[&str]) -> Prompt {
        let messages: Vec<_> = texts.iter().map(|text| serde_json::json!({"content": text})).collect();
        let mut fields = JsonObject::default();
        fields.set("messages", &messages);
        Prompt { messages: 1, ..ChatRequest::new("m".into(), fields).prompt() }
    }

    #[test]
    fn a_greeting_has_the_token_counts_that_openai_reports() {
        let usage = count("gpt-4o", &prompt(&["user", "Hello"]), &answer("Hello! How can I assist you today?"));
        assert_eq!((usage.input_tokens, usage.output_tokens), (8, Some(9)));
        assert_eq!(usage.source, TokenSource::Estimated);
    }

    #[test]
    fn each_family_is_counted_by_its_own_vocabulary() {
        let text = "東京都の天気は、明日は晴れのち曇りでしょう。Zürich: 21 °C.";
        let counts = [
            "openai/gpt-5",
            "gpt-4-turbo",
            "meta-llama/Llama-3.3-70B-Instruct",
            "qwen/qwen3-32b",
            "deepseek-chat",
            "mistral-large-latest",
        ]
        .map(|model| count(model, &Prompt::default(), &answer(text)).output_tokens.unwrap_or_default());
        let distinct = counts.iter().collect::<std::collections::BTreeSet<_>>();
        assert!(distinct.len() >= 4, "{counts:?}");
        assert!(counts.iter().all(|count| (10..60).contains(count)), "{counts:?}");
        assert_eq!(count("unknown-model", &Prompt::default(), &answer(text)).output_tokens, Some(counts[0]));
    }

    #[test]
    fn a_long_text_is_counted_by_its_beginning() {
        const SENTENCE: &str = "The quick brown fox jumps over the lazy dog. ";
        let mut answered = answer(&SENTENCE.repeat(1_000));
        answered.choices.entry(0).or_default().bytes *= 10;
        let usage = count("gpt-4o", &Prompt::default(), &answered);
        assert!((99_000..=101_000).contains(&usage.output_tokens.unwrap_or_default()), "{usage:?}");
        let kept = Prompt { bytes: SENTENCE.len() * 10_000, ..prompt(&[&SENTENCE.repeat(100)]) };
        let usage = count("gpt-4o", &kept, &answer(""));
        assert!((99_000..=101_500).contains(&usage.input_tokens), "{usage:?}");
    }

    #[test]
    fn a_guess_is_within_a_factor_of_two_of_the_count() {
        let text = "The quick brown fox jumps over the lazy dog. ";
        let (guessed, counted) = (guess(&prompt(&[text]), &answer(text)), count("m", &prompt(&[text]), &answer(text)));
        assert!(guessed.total() <= counted.total() * 2 && counted.total() <= guessed.total() * 2);
    }
}
