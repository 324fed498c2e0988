use std::iter;

use serde_json::{Value, json};

use super::token::DemoToken;

/// Candidates for the alternatives to a token, which may itself be among them.
const ALTERNATIVES: [&str; 20] = [
    " the", " a", " of", " to", " and", " in", " is", " it", " that", " for", ".", ",", " on", " with", " as", " this",
    " an", " or", " not", " so",
];

/// Returns a token's entry in `logprobs.content`; only text tokens have one. It is derived from the text, so the same
/// token always has the same entry. The probabilities decrease, and their sum stays below 1. `top` is the number of
/// `top_logprobs`, of which the token itself is the first.
pub(super) fn entry(token: &DemoToken, top: u8) -> Option<Value> {
    let DemoToken::Text(text) = token else { return None };
    let probability = 0.5 + f64::from(hash(text) % 490) / 1000.0;
    let mut rest = 1.0 - probability;
    let others = ALTERNATIVES.into_iter().filter(|other| other != text).map(|other| {
        rest /= 2.0;
        candidate(other, rest)
    });
    let top: Vec<_> = iter::once(candidate(text, probability)).chain(others).take(usize::from(top)).collect();
    Some(json!({"token": text, "logprob": probability.ln(), "bytes": text.as_bytes(), "top_logprobs": top}))
}

fn candidate(token: &str, probability: f64) -> Value {
    json!({"token": token, "logprob": probability.ln(), "bytes": token.as_bytes()})
}

/// FNV-1a, 32 bits.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, top: u8) -> Value {
        entry(&DemoToken::Text(text.to_owned()), top).unwrap()
    }

    #[test]
    fn entry_has_the_token_first_and_the_requested_number_of_alternatives() {
        for text in ["Hello", " the", "👩", "ü"] {
            for top in [1, 5, 20] {
                let entry = of(text, top);
                assert_eq!(entry["top_logprobs"].as_array().unwrap().len(), usize::from(top));
                assert_eq!(entry["top_logprobs"][0]["token"], text);
                assert_eq!(entry["top_logprobs"][0]["logprob"], entry["logprob"]);
                assert_eq!(entry["bytes"], json!(text.as_bytes()));
            }
            assert_eq!(of(text, 0)["top_logprobs"], json!([]));
        }
    }

    #[test]
    fn probabilities_decrease_and_sum_to_less_than_one() {
        for text in ["Hello", " the", "ü"] {
            let entry = of(text, 20);
            let top = entry["top_logprobs"].as_array().unwrap();
            let probabilities: Vec<_> = top.iter().map(|each| each["logprob"].as_f64().unwrap().exp()).collect();
            assert!(probabilities.is_sorted_by(|one, next| one > next), "{probabilities:?}");
            assert!(probabilities.iter().sum::<f64>() < 1.0, "{probabilities:?}");
        }
    }

    #[test]
    fn only_text_tokens_have_an_entry() {
        assert_eq!(entry(&DemoToken::Reasoning("Hello".to_owned()), 5), None);
    }
}
