//! The blocks of a message that are open or held back.

use super::provider_blocks::ProviderBlock;
use crate::domain::{Entry, Escaped};
use crate::generation::TextSpan;
use crate::json::JsonCheck;

#[derive(Debug)]
pub enum StreamedBlock {
    Text,
    Thinking,
    ToolUse { call: u32, arguments: CallArguments },
}

#[derive(Debug)]
pub enum HeldBlock {
    Text(TextSpan),
    Thinking(TextSpan),
    ToolUse(HeldCall),
    Provider(ProviderBlock),
}

#[derive(Debug)]
pub struct HeldCall {
    pub call: u32,
    pub id: Option<Escaped>,
    pub name: Option<Escaped>,
    pub arguments: CallArguments,
    /// `None` before its first fragment.
    pub span: Option<TextSpan>,
}

/// What the arguments of a call are so far.
#[derive(Debug, Default)]
pub enum CallArguments {
    /// Nothing: a call without arguments may end so.
    #[default]
    Empty,
    Begun(JsonCheck),
}

impl StreamedBlock {
    /// Whether another block may follow. A call without arguments may still get some.
    pub fn is_complete(&self) -> bool {
        match self {
            Self::Text | Self::Thinking => true,
            Self::ToolUse { arguments: CallArguments::Begun(check), .. } => check.whole().is_some(),
            Self::ToolUse { arguments: CallArguments::Empty, .. } => false,
        }
    }

    /// Whether it is a call whose arguments no client can parse.
    pub fn is_cut(&self) -> bool {
        matches!(self, Self::ToolUse { arguments: CallArguments::Begun(check), .. } if check.whole().is_none())
    }
}

impl CallArguments {
    pub fn push(&mut self, fragment: &str) {
        if let (Self::Empty, false) = (&self, fragment.trim().is_empty()) {
            *self = Self::Begun(JsonCheck::default());
        }
        if let Self::Begun(check) = self {
            check.push(fragment);
        }
    }
}

/// Returns a text that is not empty.
pub fn non_empty(text: Option<&Escaped>) -> Option<Escaped> {
    text.filter(|text| !text.as_str().is_empty()).cloned()
}

impl HeldCall {
    pub fn push(&mut self, fragment: &Escaped, entry: &Entry) {
        self.arguments.push(&fragment.unescape());
        match (&mut self.span, TextSpan::of(entry)) {
            (Some(span), Some(later)) => span.join(later),
            (span, first) => *span = first,
        }
    }
}
