//! A provider's chunk: its original bytes, and the few members that the service reads.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use compact_str::CompactString;
use memchr::{memchr, memchr2};

/// One chunk of a provider's stream, or the part of one that a single event carries.
///
/// The chunks of a stream differ only in a few characters. Their common part is their [`Shape`]; the rest is the text,
/// which stays escaped as received. Joined again they are the provider's bytes, so an unknown field is preserved.
#[derive(Clone, PartialEq)]
pub struct Chunk {
    shape: Arc<Shape>,
    text: Escaped,
}

/// The common part of many chunks of one stream.
#[derive(Clone, PartialEq, Eq)]
pub struct Shape {
    /// The chunks since the last entry that the native wire does not show, each with a line feed; empty if `frame` is
    /// `None`.
    pub silent: Box<str>,
    /// `None` if the provider's chunk has several parts and this is not the last one. The last part holds the JSON, so
    /// that it is kept and sent once.
    pub frame: Option<Arc<Frame>>,
    pub part: Part,
}

/// The JSON of a chunk before and after its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    pub before: Box<str>,
    pub after: Box<str>,
}

impl Frame {
    pub fn new(before: &str, after: &str) -> Self {
        Self { before: before.into(), after: after.into() }
    }
}

/// The part of a chunk that the native wire shows. Members named `json` hold JSON as received.
#[derive(Clone, PartialEq, Eq)]
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
    /// Chunks that the native wire does not show, once there are more of them than are held for the next entry.
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

    /// Returns the pieces of the provider's JSON, one line for each chunk; `None` if another entry of the same chunk
    /// holds it.
    pub fn json(&self) -> Option<[&str; 4]> {
        let Frame { before, after } = &**self.shape.frame.as_ref()?;
        Some([&self.shape.silent, before, self.text.as_str(), after])
    }
}

impl Shape {
    /// Creates a shape without silent chunks before it.
    pub fn new(frame: Option<Frame>, part: Part) -> Self {
        Self { silent: Box::default(), frame: frame.map(Arc::new), part }
    }

    /// Returns the bytes of memory that this shape takes, without a text.
    pub fn size(&self) -> usize {
        let frame = self.frame.as_ref().map_or(0, |frame| size_of::<Frame>() + frame.before.len() + frame.after.len());
        let part = match &self.part {
            Part::Text { logprobs_json: Some(json), .. } | Part::Other { delta_json: json, .. } => json.len(),
            Part::ToolCall { id, name, .. } => [id, name].into_iter().flatten().map(|text| text.as_str().len()).sum(),
            _ => 0,
        };
        size_of::<Self>() + self.silent.len() + frame + part
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
#[derive(Clone, PartialEq, Eq, Default)]
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

    #[test]
    fn debug_prints_no_text() {
        let shape = Shape {
            silent: "{\"secret\":1}\n".into(),
            ..Shape::new(Some(Frame::new("{\"secret\":\"", "\"}")), Part::Text { choice: 0, logprobs_json: None })
        };
        let chunk = Chunk::new(Arc::new(shape), Escaped::from_text("secret"));
        assert!(!format!("{chunk:?}").contains("secret"));
        assert_eq!(
            chunk.json().map(|parts| parts.concat()).as_deref(),
            Some("{\"secret\":1}\n{\"secret\":\"secret\"}")
        );
    }
}
