//! Embeddings of the demo model: sums of hashed words, of length 1.
//!
//! Each word is hashed to one place of the vector and a sign (feature hashing), so texts with the same words are near each
//! other. No other meaning is in them: they are for rehearsing a client, not for search.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    options::Options,
    refusal::DemoRefusal,
    request::{MODEL, check_model},
    token::pieces,
};

const DEFAULT_DIMENSIONS: usize = 256;
const MOST_DIMENSIONS: usize = 4096;
const MOST_INPUTS: usize = 2048;

/// A request for embeddings. Does not implement `Debug`, because it holds texts.
pub(super) struct EmbeddingsRequest {
    pub options: Options,
    inputs: Vec<EmbeddingsInput>,
    dimensions: usize,
    encoding: EmbeddingsEncoding,
}

/// The request body on the wire. Error messages, which callers read, keep the name in `expecting`.
#[derive(Deserialize)]
#[serde(expecting = "struct EmbeddingsRequest")]
struct EmbeddingsRequestBody {
    model: String,
    input: EmbeddingsInputs,
    dimensions: Option<usize>,
    #[serde(default)]
    encoding_format: Option<EmbeddingsEncoding>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "`input` must be a string, a list of strings, or tokens")]
enum EmbeddingsInputs {
    One(String),
    Tokens(Vec<u32>),
    Several(Vec<EmbeddingsInput>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum EmbeddingsInput {
    Text(String),
    Tokens(Vec<u32>),
}

#[derive(Deserialize, Clone, Copy, Default)]
#[serde(rename_all = "lowercase")]
enum EmbeddingsEncoding {
    #[default]
    Float,
    /// Of 32-bit floats, little-endian.
    Base64,
}

impl EmbeddingsRequest {
    /// Parses the body of a request.
    ///
    /// # Errors
    ///
    /// Returns an error if the body is not JSON of this shape, names another model, or has a value out of range.
    pub(super) fn parse(body: &[u8]) -> Result<Self, DemoRefusal> {
        let body: EmbeddingsRequestBody =
            serde_json::from_slice(body).map_err(|error| DemoRefusal::malformed_embeddings(&error))?;
        let options = check_model(&body.model)?;
        let inputs = match body.input {
            EmbeddingsInputs::One(text) => vec![EmbeddingsInput::Text(text)],
            EmbeddingsInputs::Tokens(tokens) if !tokens.is_empty() => vec![EmbeddingsInput::Tokens(tokens)],
            EmbeddingsInputs::Tokens(_) => Vec::new(),
            EmbeddingsInputs::Several(inputs) => inputs,
        };
        if !(1..=MOST_INPUTS).contains(&inputs.len()) {
            return Err(DemoRefusal::OutOfRange { param: "input", accepts: "from 1 to 2048 texts" });
        }
        let dimensions = body.dimensions.unwrap_or(DEFAULT_DIMENSIONS);
        if !(1..=MOST_DIMENSIONS).contains(&dimensions) {
            return Err(DemoRefusal::OutOfRange { param: "dimensions", accepts: "a number from 1 to 4096" });
        }
        let encoding = body.encoding_format.unwrap_or_default();
        Ok(Self { options, inputs, dimensions, encoding })
    }

    /// Returns the answer, which is always the same for the same request.
    pub(super) fn answer(&self) -> Value {
        let embedding = |input: &EmbeddingsInput| {
            let vector = input.vector(self.dimensions);
            match self.encoding {
                EmbeddingsEncoding::Float => json!(vector),
                EmbeddingsEncoding::Base64 => {
                    json!(STANDARD.encode(vector.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>()))
                }
            }
        };
        let data = (0..)
            .zip(&self.inputs)
            .map(|(index, input)| json!({"object": "embedding", "index": index, "embedding": embedding(input)}));
        let data: Vec<_> = data.collect::<Vec<Value>>();
        let tokens: usize = self.inputs.iter().map(EmbeddingsInput::tokens).sum();
        json!({
            "object": "list",
            "data": data,
            "model": format!("{MODEL} (hashed words)"),
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        })
    }
}

impl EmbeddingsInput {
    fn tokens(&self) -> usize {
        match self {
            Self::Text(text) => pieces(text).count(),
            Self::Tokens(tokens) => tokens.len(),
        }
    }

    /// Returns a vector of length 1.
    #[expect(clippy::cast_possible_truncation, reason = "the result has the precision of the wire")]
    fn vector(&self, dimensions: usize) -> Vec<f32> {
        let mut sums = vec![0.0_f64; dimensions];
        let mut add = |feature: &[u8]| {
            let hash = fnv1a(feature);
            let place = usize::try_from(hash >> 1).unwrap_or_default() % dimensions;
            if let Some(sum) = sums.get_mut(place) {
                *sum += if hash & 1 == 0 { 1.0 } else { -1.0 };
            }
        };
        match self {
            Self::Text(text) => {
                let words = text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty());
                words.for_each(|word| add(word.to_lowercase().as_bytes()));
            }
            Self::Tokens(tokens) => tokens.iter().for_each(|token| add(&token.to_le_bytes())),
        }
        let length = sums.iter().map(|sum| sum * sum).sum::<f64>().sqrt();
        // A text without words, or whose words cancel each other.
        if length == 0.0 {
            if let Some(first) = sums.first_mut() {
                *first = 1.0;
            }
            return sums.into_iter().map(|sum| sum as f32).collect();
        }
        sums.into_iter().map(|sum| (sum / length) as f32).collect()
    }
}

/// FNV-1a with 64 bits: the same on every machine and in every version, which the standard library's hash is not.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors(body: &Value) -> Vec<Vec<f64>> {
        let answer = EmbeddingsRequest::parse(body.to_string().as_bytes()).expect("a request").answer();
        serde_json::from_value(
            answer["data"].as_array().unwrap().iter().map(|item| item["embedding"].clone()).collect(),
        )
        .unwrap()
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn vectors_have_length_one_and_texts_with_the_same_words_are_near() {
        let inputs = json!(["A red car", "The car is red!", "Completely different words", ""]);
        let vectors = vectors(&json!({"model": "demo", "input": inputs}));
        for vector in &vectors {
            assert_eq!(vector.len(), 256);
            assert!((dot(vector, vector) - 1.0).abs() < 1e-6, "length 1");
        }
        assert!(dot(&vectors[0], &vectors[1]) > 0.4 && dot(&vectors[0], &vectors[2]).abs() < 0.2);
    }

    #[test]
    fn base64_has_the_same_numbers_and_tokens_are_one_text_or_several() {
        let floats = vectors(&json!({"model": "demo", "input": [1, 2, 3], "dimensions": 8}));
        assert_eq!((floats.len(), floats[0].len()), (1, 8));
        assert_eq!(vectors(&json!({"model": "demo", "input": [[1, 2, 3], [4]], "dimensions": 8}))[0], floats[0]);
        let body = json!({"model": "demo", "input": [1, 2, 3], "dimensions": 8, "encoding_format": "base64"});
        let answer = EmbeddingsRequest::parse(body.to_string().as_bytes()).expect("a request").answer();
        let bytes = STANDARD.decode(answer["data"][0]["embedding"].as_str().unwrap()).unwrap();
        let decoded = bytes.chunks_exact(4).map(|four| f64::from(f32::from_le_bytes(four.try_into().unwrap())));
        assert!(decoded.zip(&floats[0]).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn request_out_of_range_is_refused() {
        for body in [
            json!({"model": "demo", "input": []}),
            json!({"model": "demo", "input": {}}),
            json!({"model": "demo", "input": "a", "dimensions": 0}),
            json!({"model": "demo", "input": "a", "encoding_format": "int8"}),
            json!({"model": "other", "input": "a"}),
        ] {
            assert!(EmbeddingsRequest::parse(body.to_string().as_bytes()).is_err(), "{body}");
        }
    }
}
