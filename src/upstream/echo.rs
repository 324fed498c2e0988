//! Takes out of an upstream's message what repeats the request: prompts are never logged.

use std::collections::HashSet;

/// What stands in place of what was taken out.
const ECHO: &str = "[request]";
/// Bytes in a row that are the same in a message and in the request are no coincidence.
const ECHO_LENGTH: usize = 24;
/// Of a longer request the beginning and the end are looked at.
const ECHO_SEARCHED: usize = 128 * 1024;

/// Takes out what repeats the request.
pub fn without_echo(text: &str, request: &[u8]) -> String {
    let bytes = text.as_bytes();
    let windows: HashSet<&[u8]> = bytes.windows(ECHO_LENGTH).collect();
    if windows.is_empty() {
        return text.to_owned();
    }
    let parts = [request.get(..ECHO_SEARCHED).unwrap_or(request), tail(request)];
    let repeated: HashSet<&[u8]> =
        parts.iter().flat_map(|part| part.windows(ECHO_LENGTH)).filter(|window| windows.contains(window)).collect();
    let mut marks = vec![false; bytes.len()];
    for (at, window) in bytes.windows(ECHO_LENGTH).enumerate() {
        if repeated.contains(window) {
            marks.iter_mut().skip(at).take(ECHO_LENGTH).for_each(|byte| *byte = true);
        }
    }
    let mut kept = String::new();
    let mut after_echo = false;
    for (at, char) in text.char_indices() {
        let is_echo = marks.get(at).copied().unwrap_or_default();
        if !is_echo {
            kept.push(char);
        } else if !after_echo {
            kept.push_str(ECHO);
        }
        after_echo = is_echo;
    }
    kept
}

/// The end of a request that is too long to be looked at as a whole.
fn tail(request: &[u8]) -> &[u8] {
    let start = request.len().saturating_sub(ECHO_SEARCHED).max(ECHO_SEARCHED.min(request.len()));
    request.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_the_request_is_taken_out() {
        let request = br#"{"messages":[{"role":"user","content":"The patient in room four is called Smith"}]}"#;
        let message = "Invalid content: 'The patient in room four is called Smith' is not allowed";
        assert_eq!(without_echo(message, request), "Invalid content: '[request]' is not allowed");
        assert_eq!(without_echo("too long", request), "too long");
    }
}
