//! Limits of the answer that a request may ask for, under every name that a known server reads.

use std::fmt;
use std::num::NonZeroU32;

use crate::json::JsonObject;

/// The maximum that one request may ask for. `None` is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLimits {
    /// Tokens of each choice.
    pub tokens: Option<NonZeroU32>,
    pub choices: Option<NonZeroU32>,
}

/// A request asks for more than its caller's limit, or for an amount that cannot be compared with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {demand}")]
pub struct TooMuch {
    /// A JSON pointer (RFC 6901) without its first slash: `max_tokens`, `options/num_predict`.
    pub field: String,
    pub demand: LimitDemand,
}

/// The value that a field must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitDemand {
    AtMost(NonZeroU32),
    Whole {
        least: u64,
        most: NonZeroU32,
    },
    /// The field is an object with repeated or too deeply nested members.
    Readable,
}

impl fmt::Display for LimitDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "must be at most {most} for this caller"),
            Self::Whole { least, most } => write!(f, "must be a whole number from {least} to {most} for this caller"),
            Self::Readable => f.write_str("must be an object without repeated or deeply nested members"),
        }
    }
}

/// The meaning of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Amount {
    MostTokens,
    FewestTokens,
    Choices,
}

/// Names in lower case and without `_`: servers that map JSON to protobuf read both `max_output_tokens` and
/// `maxOutputTokens`.
const FIELDS: &[(&str, Amount)] = &[
    // OpenAI's chat completions; `maxTokens`: AI21, Bedrock's Converse, LM Studio, Mistral's SDK.
    ("maxcompletiontokens", Amount::MostTokens),
    ("maxtokens", Amount::MostTokens),
    // OpenAI's Responses, Gemini.
    ("maxoutputtokens", Amount::MostTokens),
    // Hugging Face: Text Generation Inference, SGLang, LMDeploy, text-generation-webui.
    ("maxnewtokens", Amount::MostTokens),
    // Hugging Face, where the limit includes the prompt; KoboldCpp.
    ("maxlength", Amount::MostTokens),
    // Anthropic's text completions; Bedrock's Llama and Titan.
    ("maxtokenstosample", Amount::MostTokens),
    ("maxgenlen", Amount::MostTokens),
    ("maxtokencount", Amount::MostTokens),
    // llama.cpp, Ollama, NeMo, Triton.
    ("npredict", Amount::MostTokens),
    ("numpredict", Amount::MostTokens),
    ("tokenstogenerate", Amount::MostTokens),
    ("requestoutputlen", Amount::MostTokens),
    // vLLM, SGLang, Hugging Face: the server must not end an answer before that.
    ("mintokens", Amount::FewestTokens),
    ("minnewtokens", Amount::FewestTokens),
    ("minlength", Amount::FewestTokens),
    ("n", Amount::Choices),
    // OpenAI's completions, vLLM, Text Generation Inference: generated, though not returned.
    ("bestof", Amount::Choices),
    // Gemini, Hugging Face, Cohere, AI21.
    ("candidatecount", Amount::Choices),
    ("numreturnsequences", Amount::Choices),
    ("numgenerations", Amount::Choices),
    ("numresults", Amount::Choices),
    // Hugging Face, TensorRT-LLM: each beam costs as much as a choice.
    ("numbeams", Amount::Choices),
    ("beamwidth", Amount::Choices),
];

/// Objects in which servers read such fields, named as above: OpenAI's SDK and LiteLLM, Ollama, Text Generation Inference,
/// `SGLang`, Gemini, Bedrock.
const OBJECTS: &[&str] = &[
    "extrabody",
    "options",
    "parameters",
    "samplingparams",
    "generationconfig",
    "inferenceconfig",
    "textgenerationconfig",
    "additionalmodelrequestfields",
    "modelkwargs",
];

/// The maximum nesting of such objects. Each level is parsed again.
const DEEPEST: usize = 4;

impl OutputLimits {
    pub const fn is_none(self) -> bool {
        self.tokens.is_none() && self.choices.is_none()
    }

    /// Checks each field of a request, and of the objects in it that servers read.
    ///
    /// # Errors
    ///
    /// A field asks for more, or is neither a whole number nor `null`.
    pub fn check(self, fields: &JsonObject) -> Result<(), TooMuch> {
        self.check_at("", fields, DEEPEST)
    }

    fn check_at(self, place: &str, fields: &JsonObject, depth: usize) -> Result<(), TooMuch> {
        for (name, json) in fields.iter() {
            let Some(plain) = plain(name) else { continue };
            let refused = |demand| TooMuch { field: format!("{place}{name}"), demand };
            if let Some((_, amount)) = FIELDS.iter().find(|(known, _)| *known == plain) {
                self.check_amount(*amount, json).map_err(refused)?;
            } else if OBJECTS.contains(&plain.as_str()) && json.starts_with('{') {
                let depth = depth.checked_sub(1).ok_or_else(|| refused(LimitDemand::Readable))?;
                let inner = JsonObject::parse(json.as_bytes()).map_err(|_| refused(LimitDemand::Readable))?;
                self.check_at(&format!("{place}{name}/"), &inner, depth)?;
            }
        }
        Ok(())
    }

    fn check_amount(self, amount: Amount, json: &str) -> Result<(), LimitDemand> {
        let (most, least) = match amount {
            Amount::MostTokens => (self.tokens, 1_u8),
            Amount::FewestTokens => (self.tokens, 0),
            Amount::Choices => (self.choices, 1),
        };
        let Some(most) = most.filter(|_| json != "null") else { return Ok(()) };
        let whole = json.parse::<f64>().ok().filter(|number| number.fract() == 0.0);
        match whole {
            Some(number) if number > f64::from(most.get()) => Err(LimitDemand::AtMost(most)),
            // Some servers read 0 or a negative number as "no limit", and a string as the number in it.
            Some(number) if number >= f64::from(least) => Ok(()),
            _ => Err(LimitDemand::Whole { least: least.into(), most }),
        }
    }
}

/// Returns a name in lower case and without `_`; `None` if it is longer than any known name.
fn plain(name: &str) -> Option<String> {
    const LONGEST: usize = 40;
    let plain = || name.chars().filter(|character| *character != '_').map(|character| character.to_ascii_lowercase());
    (name.len() <= LONGEST).then(|| plain().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: OutputLimits = OutputLimits { tokens: NonZeroU32::new(100), choices: NonZeroU32::new(2) };

    fn check(limits: OutputLimits, fields: &str) -> Result<(), (String, LimitDemand)> {
        let fields = JsonObject::parse(fields.as_bytes()).expect("an object");
        limits.check(&fields).map_err(|refused| (refused.field, refused.demand))
    }

    #[test]
    fn each_name_of_a_limit_is_checked_in_each_object_that_servers_read() {
        for (name, amount) in FIELDS {
            let most = if *amount == Amount::Choices { 2 } else { 100 };
            let too_much = LimitDemand::AtMost(NonZeroU32::new(most).expect("not 0"));
            for (before, place, after) in [("", "", ""), ("\"options\":{", "options/", "}")] {
                let sent = |value: &str| format!("{{{before}\"{name}\":{value}{after}}}");
                assert_eq!(check(LIMITS, &sent(&most.to_string())), Ok(()), "{name}");
                assert_eq!(check(LIMITS, &sent("null")), Ok(()), "{name}");
                for more in [(most + 1).to_string(), "1e30".to_owned()] {
                    assert_eq!(check(LIMITS, &sent(&more)), Err((format!("{place}{name}"), too_much)), "{more}");
                }
                for odd in ["-1", "1.5", "\"1\"", "true", "false", "[1]", "{}"] {
                    assert!(check(LIMITS, &sent(odd)).is_err(), "{name} {odd}");
                }
                assert_eq!(check(LIMITS, &sent("0")).is_ok(), *amount == Amount::FewestTokens, "{name}");
                let unlimited = OutputLimits { tokens: None, choices: None };
                assert_eq!(check(unlimited, &sent("1e30")), Ok(()), "{name}");
            }
        }
    }

    #[test]
    fn camel_case_and_escapes_are_the_same_name() {
        for name in ["maxOutputTokens", "MaxNewTokens", "max_t\\u006fkens", "bestOf", "candidateCount"] {
            assert!(check(LIMITS, &format!("{{\"{name}\":101}}")).is_err(), "{name}");
        }
    }

    #[test]
    fn an_object_that_cannot_be_read_is_refused() {
        let readable = |field: &str| Err((field.to_owned(), LimitDemand::Readable));
        assert_eq!(check(LIMITS, r#"{"options":{"num_predict":1,"num_\u0070redict":2}}"#), readable("options"));
        let nested = |depth| format!("{}1{}", "{\"options\":".repeat(depth), "}".repeat(depth));
        assert_eq!(check(LIMITS, &nested(DEEPEST + 1)), Ok(()));
        assert_eq!(check(LIMITS, &nested(DEEPEST + 2)), readable("options/options/options/options/options"));
    }

    #[test]
    fn each_limit_applies_alone() {
        let tokens = OutputLimits { choices: None, ..LIMITS };
        assert_eq!((check(tokens, "{\"n\":9}"), check(tokens, "{\"min_tokens\":101}").is_err()), (Ok(()), true));
        let choices = OutputLimits { tokens: None, ..LIMITS };
        assert_eq!((check(choices, "{\"max_tokens\":999}"), check(choices, "{\"n\":9}").is_err()), (Ok(()), true));
    }
}
