//! What a request refers to: an earlier response, and items of earlier ones.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::chat_fields::value;
use super::input_items::ItemMessages;
use super::response_id::{generation_of_item, generation_of_response};
use super::response_notes::ResponseNotes;
use super::stored_response::{ResponseProgress, StoredResponse};
use super::unsupported;
use crate::api::caller::Caller;
use crate::api::problem::Problem;
use crate::api::state::Api;
use crate::domain::GenerationId;
use crate::generation::FollowError;
use crate::json::JsonObject;

/// Earlier responses of the caller that a request continues or names.
#[derive(Default)]
pub struct Earlier {
    /// The chat messages of the response that the request continues, with its answer.
    pub conversation: Vec<Value>,
    /// Items by their ids.
    items: HashMap<String, Value>,
}

/// The most responses whose items a request may name.
const MOST_NAMED: usize = 100;

impl Earlier {
    pub async fn load(api: &Api, caller: &Caller, fields: &JsonObject) -> Result<Self, Problem> {
        let mut earlier = Self::default();
        if let Some(previous) = value(fields, "previous_response_id")? {
            earlier.conversation = conversation(api, caller, previous.as_str().unwrap_or_default()).await?;
        }
        let mut bytes = 0;
        for (generation, ids) in named_items(api, fields).await? {
            let response = match StoredResponse::load(api, &caller.principal, generation).await {
                Ok(response) => response,
                Err(FollowError::NotFound) => return Err(unknown_item(&ids)),
                Err(error) => return Err(error.into()),
            };
            let mut output = response.output().await?;
            output.retain(|item| ids.values().any(|id| id == id_of(item)));
            bytes += json_size(&output);
            if bytes > api.body.size {
                return Err(unsupported::invalid("/input", "names more than a request may hold: leave out some items"));
            }
            if !ids.values().all(|id| output.iter().any(|item| id == id_of(item))) {
                return Err(unknown_item(&ids));
            }
            earlier.items.extend(output.into_iter().map(|item| (id_of(&item).to_owned(), item)));
        }
        Ok(earlier)
    }

    /// Returns the item that a reference names; `None` for any other item.
    pub fn resolve(&self, item: &Value) -> Option<&Value> {
        self.items.get(item["id"].as_str()?).filter(|_| item["type"] == "item_reference")
    }
}

/// References by their places in the input.
type ItemReferences = BTreeMap<usize, String>;

/// Returns the items that the input names, by their generations.
async fn named_items(api: &Api, fields: &JsonObject) -> Result<HashMap<GenerationId, ItemReferences>, Problem> {
    if !fields.get("input").is_some_and(|json| json.contains("item_reference")) {
        return Ok(HashMap::new());
    }
    let (length, body) = (fields.text_len(), fields.clone());
    let input = api.large_bodies.run(length, move || value(&body, "input")).await?;
    let mut named: HashMap<GenerationId, ItemReferences> = HashMap::new();
    for (at, item) in input.as_ref().and_then(Value::as_array).into_iter().flatten().enumerate() {
        let id = id_of(item);
        // Reasoning is left out, so it need not be known.
        if item["type"] != "item_reference" || id.starts_with("rs_") {
            continue;
        }
        let reference = BTreeMap::from([(at, id.to_owned())]);
        let Some(generation) = reference.values().next().and_then(|id| generation_of_item(id)) else {
            return Err(unknown_item(&reference));
        };
        named.entry(generation).or_default().extend(reference);
    }
    if named.len() > MOST_NAMED {
        return Err(unsupported::invalid("/input", "names items of too many responses"));
    }
    Ok(named)
}

fn id_of(item: &Value) -> &str {
    item.get("id").and_then(Value::as_str).unwrap_or_default()
}

fn unknown_item(references: &ItemReferences) -> Problem {
    let at = references.keys().next().copied().unwrap_or_default();
    unsupported::invalid(&format!("/input/{at}"), "names no item of a response that is kept: send the item itself")
}

/// Returns the bytes of values as JSON.
fn json_size(values: &[Value]) -> usize {
    serde_json::to_string(values).map_or(0, |json| json.len())
}

/// Returns the chat messages of an earlier response with its answer.
async fn conversation(api: &Api, caller: &Caller, id: &str) -> Result<Vec<Value>, Problem> {
    let unknown = || unsupported::previous_response("names no response that is kept: send the whole conversation");
    let generation = generation_of_response(id).ok_or_else(unknown)?;
    let response = match StoredResponse::load(api, &caller.principal, generation).await {
        Ok(response) => response,
        Err(FollowError::NotFound) => return Err(unknown()),
        Err(error) => return Err(error.into()),
    };
    if response.progress() == ResponseProgress::Running {
        return Err(unsupported::previous_response("names a response that is not complete: wait for its end"));
    }
    let notes = ResponseNotes::of(response.start()).ok_or_else(unknown)?;
    let mut answer = ItemMessages::default();
    for item in response.output().await? {
        answer.add(&item, "/previous_response_id")?;
    }
    let conversation: Vec<_> = notes.conversation.into_iter().chain(answer.into_messages()).collect();
    // A chain of responses would grow without a limit.
    if json_size(&conversation) > api.body.size {
        let detail = "names a conversation that is larger than a request may be: begin a new one";
        return Err(unsupported::invalid("/previous_response_id", detail));
    }
    Ok(conversation)
}
