//! Paths of other APIs that do not exist here: what to use instead, and the dialect of their clients.

/// The first part of a path that clients of model providers call and that does not exist here, and what to use instead.
struct NotOffered {
    /// Below `/v1`, up to the next slash.
    first: &'static str,
    instead: &'static str,
}

const fn not_offered(first: &'static str, instead: &'static str) -> NotOffered {
    NotOffered { first, instead }
}

const START: &str = "Use POST /v1/chat/completions or POST /v1/generations.";
const CHAT_ALONE: &str = "Use POST /v1/chat/completions.";
const KEPT_BY_CLIENT: &str =
    "Conversations are kept by their clients: send all messages to POST /v1/chat/completions, with tools if needed.";
const FILES: &str = "Files are not kept. Send images, audio and documents as parts of a message, in base64.";
const NO_BATCHES: &str = "Send the requests of a batch one by one to POST /v1/generations, with the header Prefer: \
                          respond-async.";

/// Endpoints of OpenAI's API.
const OPENAI: [NotOffered; 21] = [
    not_offered("assistants", KEPT_BY_CLIENT),
    not_offered("audio", "Use POST /v1/chat/completions with a model that reads or writes audio."),
    not_offered("batches", NO_BATCHES),
    not_offered("chatkit", START),
    not_offered("completions", CHAT_ALONE),
    not_offered("containers", START),
    not_offered("conversations", KEPT_BY_CLIENT),
    not_offered("edits", CHAT_ALONE),
    not_offered("engines", "Use POST /v1/chat/completions, with the model in the body."),
    not_offered("evals", START),
    not_offered("files", FILES),
    not_offered("fine_tuning", "Models are trained at their provider. Then send the trained model's name in model."),
    not_offered("images", "Use POST /v1/chat/completions with a model that writes images."),
    not_offered("moderations", "Ask a model: POST /v1/chat/completions."),
    not_offered("organization", "GET /v1/usage has the usage, and GET /v1/models the models."),
    not_offered("realtime", "Use POST /v1/chat/completions with stream, or a channel: /v1/channels."),
    not_offered("skills", START),
    not_offered("threads", KEPT_BY_CLIENT),
    not_offered("uploads", FILES),
    not_offered("vector_stores", "Use POST /v1/embeddings, and keep the vectors in a database of your own."),
    not_offered("videos", START),
];

/// Endpoints of Anthropic's API. Below `messages` is what that wire does not serve.
const ANTHROPIC: [NotOffered; 4] = [
    not_offered("complete", "Use POST /v1/messages."),
    not_offered("agents", "Use POST /v1/messages, with tools."),
    not_offered("messages", "Use POST /v1/messages for each message: there are no batches."),
    not_offered("organizations", "GET /v1/usage has the usage, and GET /v1/models the models."),
];

/// Paths of other servers, and what people mistype: the beginning of the path, and what to use instead.
const ELSEWHERE: [(&str, &str); 10] = [
    ("/api/chat", "Use POST /v1/chat/completions."),
    ("/api/generate", "Use POST /v1/generations."),
    ("/api/embed", "Use POST /v1/embeddings."),
    ("/api/tags", "Use GET /v1/models."),
    ("/api/show", "Use GET /v1/models."),
    ("/api/v1/", "The paths begin with /v1 here, without /api."),
    ("/chat", "Use POST /v1/chat/completions."),
    ("/generate", "Use POST /v1/generations."),
    ("/v1/chat", "Use POST /v1/chat/completions."),
    ("/v1beta/", "The paths of Gemini do not exist here. Use POST /v1/chat/completions."),
];

/// The dialect of a path that does not exist, in which its client reads errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownPathDialect {
    OpenAi,
    Anthropic,
    Other,
}

/// Returns the dialect of a path that does not exist.
pub fn dialect_of_unknown(path: &str) -> UnknownPathDialect {
    let (below, is_versioned) = below_version(path);
    let first = first_part(below);
    let has = |table: &[NotOffered]| table.iter().any(|entry| entry.first == first);
    let is_chat = below == "/chat/completions" || below.starts_with("/chat/completions/");
    match first {
        "messages" if is_versioned || below == "/messages" || below == "/messages/count_tokens" => {
            UnknownPathDialect::Anthropic
        }
        _ if has(&ANTHROPIC) && first != "messages" && is_versioned => UnknownPathDialect::Anthropic,
        _ if is_chat
            || (has(&OPENAI) && is_versioned)
            || first == "embeddings"
            || (first == "responses" && !is_versioned) =>
        {
            UnknownPathDialect::OpenAi
        }
        _ => UnknownPathDialect::Other,
    }
}

/// Returns the path below `/v1`, and whether it began with that.
pub fn below_version(path: &str) -> (&str, bool) {
    match path.strip_prefix("/v1").filter(|below| below.is_empty() || below.starts_with('/')) {
        Some(below) => (below, true),
        None => (path, false),
    }
}

fn first_part(below: &str) -> &str {
    below.split('/').nth(1).unwrap_or_default()
}

/// Returns what to use instead of an endpoint that is not offered.
pub fn instead(below: &str) -> Option<&'static str> {
    let first = first_part(below);
    let mut entries = OPENAI.iter().chain(&ANTHROPIC);
    entries.find(|entry| entry.first == first).map(|entry| entry.instead)
}

/// Returns what to use instead of a path of another server.
pub fn elsewhere(path: &str) -> Option<&'static str> {
    let is_at = |wrong: &str| path.strip_prefix(wrong).is_some_and(|rest| rest.is_empty() || wrong.ends_with('/'));
    ELSEWHERE.iter().find(|(wrong, _)| is_at(wrong)).map(|(_, instead)| *instead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_of_an_unknown_path_is_in_the_dialect_of_its_clients() {
        for (path, dialect) in [
            ("/v1/completions", UnknownPathDialect::OpenAi),
            ("/v1/threads/t", UnknownPathDialect::OpenAi),
            ("/chat/completions", UnknownPathDialect::OpenAi),
            ("/v1/chat/completions/chatcmpl-1", UnknownPathDialect::OpenAi),
            ("/embeddings", UnknownPathDialect::OpenAi),
            ("/v1/complete", UnknownPathDialect::Anthropic),
            ("/v1/messages/batches", UnknownPathDialect::Anthropic),
            ("/messages", UnknownPathDialect::Anthropic),
            ("/files", UnknownPathDialect::Other),
            ("/messages/inbox", UnknownPathDialect::Other),
            ("/v1/generations/x/y/z", UnknownPathDialect::Other),
            ("/", UnknownPathDialect::Other),
        ] {
            assert_eq!(dialect_of_unknown(path), dialect, "{path}");
        }
    }
}
