//! What chunks have beside their text: citations and log probabilities.

use serde::Deserialize;
use serde_json::Value;

/// The citations of a delta in OpenAI's form.
#[derive(Deserialize)]
struct AnnotatedDelta {
    #[serde(default)]
    annotations: Vec<Value>,
}

/// Returns the citations of pages in a delta, in the form of this API.
pub fn citations(delta_json: &str) -> Vec<Value> {
    let delta = serde_json::from_str::<AnnotatedDelta>(delta_json).ok();
    delta.iter().flat_map(|delta| &delta.annotations).filter_map(url_citation).collect()
}

/// Returns a citation of a page in the form of this API.
fn url_citation(annotation: &Value) -> Option<Value> {
    let mut members = annotation.get("url_citation")?.as_object()?.clone();
    members.insert("type".to_owned(), "url_citation".into());
    Some(Value::Object(members))
}

/// Returns the log probabilities of a fragment in the form of this API; `None` if it has none.
pub fn logprobs_of(json: &str) -> Option<Value> {
    let mut logprobs = serde_json::from_str::<Value>(json).ok()?;
    logprobs.get_mut("content").map(Value::take).filter(Value::is_array)
}
