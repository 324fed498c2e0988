//! The parts of an answer that only Anthropic's API has, in the members of a delta.

use crate::domain::json_values::raw;
use crate::json::{Object, RawText, Tree};

/// A part of an answer from an upstream with Anthropic's API.
#[derive(Debug, PartialEq, Eq)]
pub enum ProviderBlock {
    /// The signature of the thinking before it, as JSON.
    Signature(String),
    /// A citation of the text before it, as JSON.
    Citation(String),
    /// A block that is sent as a whole, as JSON.
    Whole(String),
}

/// Returns the parts in the members of a delta. Unknown members are left out.
pub fn provider_blocks(delta_json: &str) -> Vec<ProviderBlock> {
    let Ok(Tree::Object(delta)) = Tree::parse(delta_json) else { return Vec::new() };
    let list = |name: &str| delta.present(name).and_then(Tree::as_array).into_iter().flatten();
    let thinking = list("thinking_blocks").filter_map(Tree::as_object).filter_map(thinking_block);
    let citations = list("citations").map(|citation| ProviderBlock::Citation(citation.to_json()));
    let whole = list("content_blocks").map(|block| ProviderBlock::Whole(block.to_json()));
    thinking.chain(citations).chain(whole).collect()
}

fn thinking_block(block: &Object) -> Option<ProviderBlock> {
    match block.text("type").map(RawText::as_str) {
        Some("thinking") => Some(ProviderBlock::Signature(raw(block.text("signature")?).to_json())),
        Some("redacted_thinking") => Some(ProviderBlock::Whole(block.to_json())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_member_of_anthropics_deltas_is_a_part_and_others_are_left_out() {
        for (delta, expected) in [
            (
                r#"{"thinking_blocks":[{"type":"thinking","thinking":"hm","signature":"s\/"}]}"#,
                vec![ProviderBlock::Signature(r#""s\/""#.to_owned())],
            ),
            (
                r#"{"thinking_blocks":[{"type":"redacted_thinking","data":"d"}]}"#,
                vec![ProviderBlock::Whole(r#"{"type":"redacted_thinking","data":"d"}"#.to_owned())],
            ),
            (r#"{"citations":[{"a":1}]}"#, vec![ProviderBlock::Citation(r#"{"a":1}"#.to_owned())]),
            (
                r#"{"content_blocks":[{"type":"server_tool_use","id":"s"}]}"#,
                vec![ProviderBlock::Whole(r#"{"type":"server_tool_use","id":"s"}"#.to_owned())],
            ),
            (r#"{"audio":{},"thinking_blocks":[{"type":"thinking"}]}"#, vec![]),
        ] {
            assert_eq!(provider_blocks(delta), expected, "{delta}");
        }
    }
}
