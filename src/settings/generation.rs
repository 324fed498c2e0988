//! The settings of generations and of their storage.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::keys::{DURATION, SIZE, SettingSection, TEXT, key};
use super::{AliasSettings, Size, units};
use crate::domain::OnDisconnect;

/// The choice of a model.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ModelSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// The models that stand for several targets, by name.
    #[serde(flatten)]
    pub aliases: BTreeMap<String, AliasSettings>,
}

pub(super) const MODEL_SECTION: SettingSection = SettingSection {
    name: "models",
    intro: "",
    keys: &[
        key(
            "models.default",
            TEXT,
            "The model of a request that names none. Default: absent; then the only available model, or the request is \
             refused.",
        )
        .with_example("\"demo\""),
        key(
            "models.*",
            "written as a table under [models.\"name\"]",
            "A model that stands for one or more models of upstreams. Callers see its name. It cannot be set by a \
             TOKENRILL_ variable. In each table:\n\
             targets: a list of \"upstream/model\", or of tables with target, weight (default: that of the upstream) and parameters, which \
             replace those of the request. Required.\n\
             strategy: \"fallback\" tries them in this order; \"weighted\" begins with each in the share of its weight; \
             \"fastest\" with the faster of two that are drawn. Default: \"fallback\".\n\
             affinity: whether a conversation stays with its target and key while they are healthy, for the sake of \
             prompt caches. Default: true.\n\
             fallback_on: the refusals after which another target is tried too: \"rejected\", \"context_length\", \
             \"content_filter\". Default: none.\n\
             first_token_timeout: how long an attempt may take until its first token if another target is left. Default: \
             as its upstream says.\n\
             hedge: a table with after (\"p95\", the 95th percentile of the target's recent times to the first token, or a \
             duration; default \"p95\") and budget (hedges per request, default 0.05): an attempt without a token for so \
             long gets a second one beside it, at another target or key. Both may be billed. Default: none.",
        )
        .with_example(
            "[models.\"fast\"]\n\
             targets = [\"openai/gpt-4.1-mini\", { target = \"ollama/qwen3\", parameters = { temperature = 0.2 } }]\n\
             first_token_timeout = \"10s\"",
        ),
    ],
};

/// The lifetime and size of a generation.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct GenerationSettings {
    pub on_disconnect: OnDisconnect,
    #[serde(with = "units::duration_or_none")]
    pub grace: Duration,
    #[serde(with = "units::duration")]
    pub retention: Duration,
    #[serde(with = "units::duration")]
    pub max_duration: Duration,
    pub max_bytes: Size,
    #[serde(with = "units::duration")]
    pub heartbeat: Duration,
    #[serde(with = "units::duration")]
    pub head_wait: Duration,
    #[serde(with = "units::duration")]
    pub write_timeout: Duration,
}

pub(super) const SECTION: SettingSection = SettingSection {
    name: "generation",
    intro: "",
    keys: &[
        key(
            "generation.on_disconnect",
            "\"cancel\" or \"continue\"",
            "How an answer continues after its last viewer has disconnected, unless the request sets it: \"cancel\" ends \
             it and stops the model, \"continue\" lets it run to its end.",
        ),
        key(
            "generation.grace",
            "a duration from \"0s\" to \"365d\" such as \"10s\"",
            "How long an answer waits for a viewer to reconnect before on_disconnect applies; \"0s\": no wait. A request \
             may ask for less, never for more. POST /v1/chat/completions waits only if the request asks for it.",
        ),
        key("generation.retention", DURATION, "How long a finished answer stays readable."),
        key("generation.max_duration", DURATION, "How long one answer may run."),
        key("generation.max_bytes", SIZE, "The maximum size of one answer, at most \"1GiB\"."),
        key(
            "generation.heartbeat",
            DURATION,
            "The longest silence on a viewer's stream. After it, a comment is sent, so that no proxy closes the stream \
             as idle.",
        ),
        key(
            "generation.head_wait",
            DURATION,
            "How long POST /v1/chat/completions delays its response head until the first token. Within this time, an \
             error of the upstream still becomes an HTTP status.",
        ),
        key(
            "generation.write_timeout",
            DURATION,
            "How long a viewer may read nothing of the data sent to it. Its connection is then closed, and the viewer \
             may reconnect and resume.",
        ),
    ],
};

impl Default for GenerationSettings {
    fn default() -> Self {
        Self {
            on_disconnect: OnDisconnect::default(),
            grace: Duration::from_secs(10),
            retention: Duration::from_mins(10),
            max_duration: Duration::from_mins(10),
            max_bytes: Size::mib(4),
            heartbeat: Duration::from_secs(15),
            head_wait: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
        }
    }
}
