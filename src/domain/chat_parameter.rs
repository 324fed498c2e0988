//! OpenAI's chat parameters: one table for requests, stored prompts and the OpenAPI document.

use super::FieldKind;

/// A parameter of a chat completion that the service checks and forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChatParameter {
    pub name: &'static str,
    pub kind: FieldKind,
    pub set_by: SetBy,
    pub description: &'static str,
}

/// Where a parameter may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetBy {
    RequestOrPrompt,
    /// Not by a prompt: the parameter does not shape the answer. Permission to write a prompt must not give control over
    /// the service.
    Request,
}

/// All chat parameters that are checked.
pub const CHAT_PARAMETERS: &[ChatParameter] = &[
    shapes("temperature", FieldKind::Number, "The sampling temperature."),
    shapes(
        "top_p",
        FieldKind::Number,
        "Samples only from the most probable tokens that together have this probability.",
    ),
    shapes("frequency_penalty", FieldKind::Number, "Penalizes tokens by how often they occurred before."),
    shapes("presence_penalty", FieldKind::Number, "Penalizes tokens that occurred before."),
    shapes(
        "max_tokens",
        FieldKind::TokenLimit,
        "The maximum number of tokens of each choice; the older name of `max_completion_tokens`.",
    ),
    shapes(
        "max_completion_tokens",
        FieldKind::TokenLimit,
        "The maximum number of tokens of each choice. -1, which some servers read as \"no limit\", is replaced by the \
         caller's own limit, if there is one.",
    ),
    shapes("n", FieldKind::Positive, "The number of choices."),
    shapes("seed", FieldKind::Integer, "The seed of the sampling."),
    shapes("stop", FieldKind::TextOrTexts, "The sequences at which the model stops: a string, or an array of strings."),
    shapes("response_format", FieldKind::Object, "The format of the answer, such as a JSON Schema."),
    shapes("reasoning_effort", FieldKind::Text, "How much a reasoning model reasons, such as `low`."),
    shapes("verbosity", FieldKind::Text, "How long the answer is: `low`, `medium` or `high`."),
    shapes("logit_bias", FieldKind::Object, "Biases of tokens, by their ids."),
    shapes("logprobs", FieldKind::Flag, "Whether to return the log probabilities of the tokens."),
    shapes("top_logprobs", FieldKind::Natural, "How many alternatives of each token to return; requires `logprobs`."),
    shapes("tools", FieldKind::Objects, "The tools that the model may call."),
    shapes("tool_choice", FieldKind::TextOrObject, "`none`, `auto`, `required`, or a tool by name."),
    shapes("parallel_tool_calls", FieldKind::Flag, "Whether the model may call several tools at once."),
    controls("stream_options", FieldKind::Object, "Options of the stream, such as `include_usage`."),
    controls("user", FieldKind::Text, "The id of the end user, for the model's server."),
];

const fn shapes(name: &'static str, kind: FieldKind, description: &'static str) -> ChatParameter {
    ChatParameter { name, kind, set_by: SetBy::RequestOrPrompt, description }
}

const fn controls(name: &'static str, kind: FieldKind, description: &'static str) -> ChatParameter {
    ChatParameter { name, kind, set_by: SetBy::Request, description }
}
