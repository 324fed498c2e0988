//! Escapes of UTF-16 surrogate halves in the content of a JSON string.

use std::borrow::Cow;

use memchr::memchr;

/// U+FFFD, escaped.
pub const REPLACEMENT: &str = "\\ufffd";

/// The length in bytes of an escape such as `\u00e9`.
const ESCAPE: usize = 6;

/// Replaces each surrogate half without its other half by U+FFFD, as JavaScript does when it encodes a string as UTF-8.
///
/// `content` is the content of a JSON string whose escapes are otherwise valid.
pub fn well_formed(content: &str) -> Cow<'_, str> {
    let mut halves = lone_halves(content).peekable();
    if halves.peek().is_none() {
        return Cow::Borrowed(content);
    }
    let (mut fixed, mut kept) = (String::with_capacity(content.len()), 0);
    for at in halves {
        fixed.push_str(content.get(kept..at).unwrap_or_default());
        fixed.push_str(REPLACEMENT);
        kept = at + ESCAPE;
    }
    fixed.push_str(content.get(kept..).unwrap_or_default());
    Cow::Owned(fixed)
}

/// Returns the start of a lone high half at the end of `content`: its other half may begin the next fragment.
pub fn trailing_high_half(content: &str) -> Option<usize> {
    let at = lone_halves(content).last()?;
    let is_high = unit_at(content, at).is_some_and(|unit| (0xD800..0xDC00).contains(&unit));
    Some(at).filter(|at| is_high && at + ESCAPE == content.len())
}

fn lone_halves(content: &str) -> impl Iterator<Item = usize> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let escape = at + memchr(b'\\', content.as_bytes().get(at..)?)?;
            match unit_at(content, escape) {
                Some(0xD800..0xDC00) => {
                    let low = unit_at(content, escape + ESCAPE);
                    if low.is_some_and(|low| (0xDC00..0xE000).contains(&low)) {
                        at = escape + 2 * ESCAPE;
                        continue;
                    }
                    at = escape + ESCAPE;
                    return Some(escape);
                }
                Some(0xDC00..0xE000) => {
                    at = escape + ESCAPE;
                    return Some(escape);
                }
                Some(_) => at = escape + ESCAPE,
                None => at = escape + 2,
            }
        }
    })
}

/// Returns the UTF-16 code unit of the escape (`\u` and four hexadecimal digits) at `at`.
fn unit_at(content: &str, at: usize) -> Option<u16> {
    let digits = content.get(at..at + ESCAPE)?.strip_prefix("\\u")?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_halves_become_replacement_characters() {
        for (content, expected) in [
            ("plain é", "plain é"),
            (r"\ud83d\ude00", r"\ud83d\ude00"),
            (r"\\ud83d", r"\\ud83d"),
            (r"a\ud83d", r"a\ufffd"),
            (r"\uDE00b", r"\ufffdb"),
            (r"\ude00\ud83d", r"\ufffd\ufffd"),
            (r"\ud83d\ud83d\ude00", r"\ufffd\ud83d\ude00"),
            (r"\ud83d\n\ude00", r"\ufffd\n\ufffd"),
            (r"\u00e9\ud83dé", r"\u00e9\ufffdé"),
        ] {
            assert_eq!(well_formed(content), expected, "{content}");
        }
    }

    #[test]
    fn only_a_lone_high_half_at_the_end_is_trailing() {
        for (content, expected) in [
            (r"a\ud83d", Some(1)),
            (r"\ud83d", Some(0)),
            (r"\ud83d\ud83d", Some(6)),
            (r"\ud83d\ude00", None),
            (r"\ude00", None),
            (r"\ud83d ", None),
            (r"\\ud83d", None),
            ("", None),
        ] {
            assert_eq!(trailing_high_half(content), expected, "{content}");
        }
    }
}
