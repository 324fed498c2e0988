//! A chunk of a model's answer: its neutral part, and the provider's own JSON beside it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use compact_str::CompactString;
use memchr::{memchr, memchr2};
use serde::{Deserialize, Serialize};

/// One chunk of a provider's stream, or the part of one that a single event carries.
///
/// The chunks of a stream differ only in a few characters. Their common part is their [`Shape`]; the rest is the text,
/// which stays escaped as received. With its [`Raw`] JSON a chunk joins to the provider's bytes, so an unknown field is
/// preserved.
#[derive(Clone, PartialEq)]
pub struct Chunk {
    shape: Arc<Shape>,
    text: Escaped,
}

/// The common part of many chunks of one stream.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    pub part: Part,
    pub raw: Raw,
}

/// The provider's own JSON of a chunk, kept for a wire of the same dialect. Every other wire writes the chunk from its
/// part.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Raw {
    /// No wire has the provider's dialect.
    Absent,
    /// The provider's chunk has several parts, and a later entry has the last of them. That entry holds the JSON, so
    /// that it is kept and sent once.
    Later(ProviderDialect),
    Here {
        /// The chunks since the last entry that have no part, each with a line feed.
        silent: Box<str>,
        frame: Arc<Frame>,
    },
}

/// The dialect of a provider's JSON. A wire sends JSON of its own dialect unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProviderDialect {
    OpenAiChat,
}

/// The JSON of a chunk before and after its text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    pub dialect: ProviderDialect,
    pub before: Box<str>,
    pub after: Box<str>,
}

impl Frame {
    pub fn new(dialect: ProviderDialect, before: &str, after: &str) -> Self {
        Self { dialect, before: before.into(), after: after.into() }
    }
}

/// The JSON of a chunk in one dialect.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ChunkJson<'a> {
    /// `silent` holds the chunks before this one, each with a line feed. The pieces joined are this one.
    Here { silent: &'a str, pieces: [&'a str; 3] },
    /// Another entry of the same chunk holds it.
    Later,
    /// The chunk has no JSON in this dialect.
    Absent,
}

/// The neutral part of a chunk, which every wire can show. Members named `json` hold JSON as received.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// `text` is part of the answer.
    Text { choice: u32, logprobs_json: Option<Box<str>> },
    /// `text` is part of the model's reasoning.
    Reasoning { choice: u32 },
    /// `text` is part of a refusal.
    Refusal { choice: u32 },
    /// `text` is a fragment of the arguments, which are JSON text.
    ToolCall { choice: u32, index: u32, id: Option<Escaped>, name: Option<Escaped> },
    /// The rest of the delta: a JSON object of the members that the service does not know.
    Other { choice: u32, delta_json: Box<str> },
    /// No part: only the provider's JSON, once there is more of it than is held for the next entry.
    Silent,
}

impl Part {
    /// Returns the choice that this part belongs to; `None` for [`Part::Silent`].
    pub const fn choice(&self) -> Option<u32> {
        match self {
            Self::Text { choice, .. }
            | Self::Reasoning { choice }
            | Self::Refusal { choice }
            | Self::ToolCall { choice, .. }
            | Self::Other { choice, .. } => Some(*choice),
            Self::Silent => None,
        }
    }
}

impl Chunk {
    pub const fn new(shape: Arc<Shape>, text: Escaped) -> Self {
        Self { shape, text }
    }

    pub const fn shape(&self) -> &Arc<Shape> {
        &self.shape
    }

    pub fn part(&self) -> &Part {
        &self.shape.part
    }

    pub const fn text(&self) -> &Escaped {
        &self.text
    }

    /// Returns the provider's JSON, if it is of this dialect.
    pub fn json(&self, dialect: ProviderDialect) -> ChunkJson<'_> {
        match &self.shape.raw {
            Raw::Here { silent, frame } if frame.dialect == dialect => {
                ChunkJson::Here { silent, pieces: [&frame.before, self.text.as_str(), &frame.after] }
            }
            Raw::Later(other) if *other == dialect => ChunkJson::Later,
            Raw::Absent | Raw::Later(_) | Raw::Here { .. } => ChunkJson::Absent,
        }
    }
}

impl Shape {
    /// Creates a shape without silent chunks before it. Without a frame, it has no JSON of the provider.
    pub fn new(frame: Option<Frame>, part: Part) -> Self {
        let raw = frame.map_or(Raw::Absent, |frame| Raw::Here { silent: Box::default(), frame: Arc::new(frame) });
        Self { part, raw }
    }

    /// Returns this shape after silent chunks, each with a line feed. They are lost if it has no JSON itself.
    #[must_use]
    pub fn after_silent(&self, silent: &str) -> Self {
        let raw = match &self.raw {
            Raw::Here { frame, .. } => Raw::Here { silent: silent.into(), frame: Arc::clone(frame) },
            other => other.clone(),
        };
        Self { part: self.part.clone(), raw }
    }

    /// Returns the bytes of memory that this shape takes, without a text.
    pub fn size(&self) -> usize {
        let raw = match &self.raw {
            Raw::Here { silent, frame } => silent.len() + size_of::<Frame>() + frame.before.len() + frame.after.len(),
            Raw::Absent | Raw::Later(_) => 0,
        };
        let part = match &self.part {
            Part::Text { logprobs_json: Some(json), .. } | Part::Other { delta_json: json, .. } => json.len(),
            Part::ToolCall { id, name, .. } => [id, name].into_iter().flatten().map(|text| text.as_str().len()).sum(),
            _ => 0,
        };
        size_of::<Self>() + raw + part
    }
}

/// Prints lengths: answers are never logged.
impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk").field("shape", &self.shape).field("text", &self.text).finish()
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text { .. } => "Text",
            Self::Reasoning { .. } => "Reasoning",
            Self::Refusal { .. } => "Refusal",
            Self::ToolCall { .. } => "ToolCall",
            Self::Other { .. } => "Other",
            Self::Silent => "Silent",
        })
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} + {} bytes)", self.before.len(), self.after.len())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shape").field("size", &self.size()).finish_non_exhaustive()
    }
}

/// The content of a JSON string between its quotes, with its escapes.
///
/// Always the content of a valid JSON string, and always safe in one line of an event stream: U+2028, U+2029 and
/// U+0085, at which some clients end a line, are escaped too.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Escaped(CompactString);

/// The bytes are not the content of a JSON string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the content of a JSON string")]
pub struct InvalidText;

impl Escaped {
    /// Escapes `text`.
    pub fn from_text(text: &str) -> Self {
        let quoted = serde_json::Value::from(text).to_string();
        let content = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
        Self(safe_text(content))
    }

    /// Accepts the content of a JSON string that a JSON parser has accepted.
    ///
    /// A parser that only skips strings accepts a lone surrogate (`"\ud800"`), which is not text. It is an error here.
    pub fn from_json_content(content: &str) -> Result<Self, InvalidText> {
        Self::accept(safe_text(content))
    }

    /// As [`Escaped::from_json_content`], for bytes that have not been parsed.
    pub fn from_unparsed(content: &[u8]) -> Result<Self, InvalidText> {
        // Fast path for most tokens: no byte has a meaning in JSON or in an event stream.
        if content.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
            return CompactString::from_utf8(content).map(Self).map_err(|_| InvalidText);
        }
        let plain = !content.iter().any(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\');
        if !plain {
            let quoted = [b"\"".as_slice(), content, b"\""].concat();
            serde_json::from_slice::<Cow<'_, str>>(&quoted).map_err(|_| InvalidText)?;
        }
        std::str::from_utf8(content).map(|content| Self(safe_text(content))).map_err(|_| InvalidText)
    }

    /// Accepts the content of an `Escaped` that a log stored, without validation.
    pub fn from_stored(content: &str) -> Self {
        Self(content.into())
    }

    fn accept(content: CompactString) -> Result<Self, InvalidText> {
        let escaped = Self(content);
        escaped.try_unescape().map(|_| ()).ok_or(InvalidText)?;
        Ok(escaped)
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the unescaped text.
    pub fn unescape(&self) -> Cow<'_, str> {
        self.try_unescape().unwrap_or_default()
    }

    fn try_unescape(&self) -> Option<Cow<'_, str>> {
        let content = self.as_str();
        if memchr(b'\\', content.as_bytes()).is_none() {
            return Some(Cow::Borrowed(content));
        }
        serde_json::from_str::<String>(&format!("\"{content}\"")).ok().map(Cow::Owned)
    }
}

/// Prints a length: answers are never logged.
impl fmt::Debug for Escaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Escaped({} bytes)", self.0.len())
    }
}

/// As [`wire_safe`], for text, which stays valid UTF-8.
fn safe_text(content: &str) -> CompactString {
    match wire_safe(content.as_bytes()) {
        Cow::Borrowed(_) => content.into(),
        Cow::Owned(safe) => String::from_utf8(safe).unwrap_or_default().into(),
    }
}

/// Decodes UTF-8 and replaces invalid sequences by U+FFFD (WHATWG HTML 9.2.6).
///
/// Faster than `String::from_utf8_lossy` for valid text, which that function validates byte by byte.
pub fn decode_utf8(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// Makes JSON safe in one line of an event stream: U+2028, U+2029 and U+0085 become escapes, line feeds and carriage
/// returns become spaces.
///
/// In valid JSON the former occur only in strings and the latter only between tokens, so the value does not change.
pub fn wire_safe(json: &[u8]) -> Cow<'_, [u8]> {
    let unsafe_at = |at: usize| match json.get(at..).unwrap_or_default() {
        [0xE2, 0x80, 0xA8, ..] => Some((&b"\\u2028"[..], 3)),
        [0xE2, 0x80, 0xA9, ..] => Some((&b"\\u2029"[..], 3)),
        [0xC2, 0x85, ..] => Some((&b"\\u0085"[..], 2)),
        [b'\n' | b'\r', ..] => Some((&b" "[..], 1)),
        _ => None,
    };
    let suspicious = memchr2(b'\n', b'\r', json).is_some() || memchr2(0xE2, 0xC2, json).is_some();
    if !suspicious || !(0..json.len()).any(|at| unsafe_at(at).is_some()) {
        return Cow::Borrowed(json);
    }
    let mut safe = Vec::with_capacity(json.len() + 16);
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        if let Some((escape, length)) = unsafe_at(at) {
            safe.extend_from_slice(escape);
            at += length;
        } else {
            safe.push(byte);
            at += 1;
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_escaping() {
        for text in ["", "plain", "\"quoted\" \\ back", "line\nfeed\r\u{2028}\u{2029}\u{85}\u{0}", "Zürich 東京 👩‍👩‍👧"]
        {
            let escaped = Escaped::from_text(text);
            assert_eq!(escaped.unescape(), text);
            assert!(!escaped.as_str().contains(['\n', '\r', '\u{2028}', '\u{2029}', '\u{85}']));
        }
    }

    #[test]
    fn unparsed_content_is_accepted_only_if_it_is_the_content_of_a_string() {
        for good in ["", "Hel", r"a\nb", "\\ud83d\\ude00", "Zürich", r#"{\"ci"#] {
            let text = Escaped::from_unparsed(good.as_bytes()).expect(good);
            assert_eq!(Escaped::from_json_content(good).as_ref(), Ok(&text));
        }
        for bad in [&b"a\"b"[..], b"\\", b"a\nb", b"\xff", b"\\ud800", b"\\x"] {
            assert_eq!(Escaped::from_unparsed(bad), Err(InvalidText), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn wire_safe_json_is_one_line_with_the_same_value() {
        let json = "{\r\n \"a\":\n\"x\u{2028}y\u{85}z\u{2029}é…\"}";
        let safe = wire_safe(json.as_bytes()).into_owned();
        assert!(!safe.contains(&b'\n'));
        let parse = |json: &[u8]| serde_json::from_slice::<serde_json::Value>(json).expect("JSON");
        assert_eq!(parse(&safe), parse(json.as_bytes()));
        assert!(!String::from_utf8(safe).expect("UTF-8").contains(['\u{2028}', '\u{2029}', '\u{85}']));
    }

    fn shape(part: Part) -> Shape {
        let frame = Frame::new(ProviderDialect::OpenAiChat, "{\"secret\":\"", "\"}");
        Shape::new(Some(frame), part).after_silent("{\"secret\":1}\n")
    }

    #[test]
    fn debug_prints_no_text() {
        let chunk =
            Chunk::new(Arc::new(shape(Part::Text { choice: 0, logprobs_json: None })), Escaped::from_text("secret"));
        assert!(!format!("{chunk:?}").contains("secret"));
    }

    #[test]
    fn json_of_a_chunk_is_joined_from_its_frame_and_its_text() {
        let chunk = Chunk::new(Arc::new(shape(Part::Reasoning { choice: 0 })), Escaped::from_text("x"));
        let ChunkJson::Here { silent, pieces } = chunk.json(ProviderDialect::OpenAiChat) else { panic!("no JSON") };
        assert_eq!((silent, pieces.concat().as_str()), ("{\"secret\":1}\n", "{\"secret\":\"x\"}"));
        for (raw, expected) in
            [(Raw::Absent, ChunkJson::Absent), (Raw::Later(ProviderDialect::OpenAiChat), ChunkJson::Later)]
        {
            let shape = Shape { part: Part::Reasoning { choice: 0 }, raw };
            let chunk = Chunk::new(Arc::new(shape), Escaped::default());
            assert!(chunk.json(ProviderDialect::OpenAiChat) == expected);
        }
    }
}
