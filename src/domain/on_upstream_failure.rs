//! What happens to a generation whose upstream fails in the middle of its answer.

/// What happens when an upstream fails after the first token of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnUpstreamFailure {
    /// The generation fails, with the text so far.
    #[default]
    Fail,
    /// The answer so far is withdrawn and another target begins anew, unless a tool was called.
    Restart,
}
