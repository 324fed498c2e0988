use std::iter;

/// One token of an answer. `Call` begins a tool call, whose arguments follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DemoToken {
    Reasoning(String),
    Text(String),
    Refusal(String),
    Call(String),
    Arguments(String),
}

pub(super) type DemoTokens = Box<dyn Iterator<Item = DemoToken> + Send>;

/// The most characters in a token.
pub(super) const LONGEST_PIECE: usize = 7;

/// Splits a text into tokens: pieces of words, each with the blanks before it. A piece ends between two characters, not
/// always between two graphemes, as with a real model.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    iter::from_fn(move || {
        let (piece, behind) = rest.split_at_checked(first_piece(rest))?;
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Returns the length of the first piece of a text, in bytes.
fn first_piece(text: &str) -> usize {
    let mut in_word = false;
    for (count, (at, character)) in text.char_indices().enumerate() {
        if count == LONGEST_PIECE || (in_word && character.is_whitespace()) {
            return at;
        }
        in_word |= !character.is_whitespace();
    }
    text.len()
}
