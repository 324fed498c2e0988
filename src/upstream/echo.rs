//! Removes parts of the request from an upstream's message, because prompts are never logged.

use std::collections::HashSet;

/// Placeholder for the removed text.
const ECHO: &str = "[request]";
/// Shortest run of bytes, present in both the message and the request, that is not taken for a coincidence.
const ECHO_LENGTH: usize = 24;
/// Bytes that are searched at each end of a request; the middle of a longer request is not searched.
const ECHO_SEARCHED: usize = 128 * 1024;

/// Replaces each part of `text` that repeats the request with `[request]`.
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

/// Returns the end of a request that is longer than `ECHO_SEARCHED`, without the beginning that is searched already.
fn tail(request: &[u8]) -> &[u8] {
    let start = request.len().saturating_sub(ECHO_SEARCHED).max(ECHO_SEARCHED.min(request.len()));
    request.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_request_text_is_replaced() {
        let request = br#"{"messages":[{"role":"user","content":"The patient in room four is called Smith"}]}"#;
        let message = "Invalid content: 'The patient in room four is called Smith' is not allowed";
        assert_eq!(without_echo(message, request), "Invalid content: '[request]' is not allowed");
        assert_eq!(without_echo("too long", request), "too long");
    }
}
