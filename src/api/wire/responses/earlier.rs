//! What a request refers to: an earlier response, and items of earlier ones.

use std::collections::HashMap;

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
        let input = value(fields, "input")?;
        let items = input.as_ref().and_then(Value::as_array).into_iter().flatten().enumerate();
        let mut loaded: HashMap<GenerationId, Vec<Value>> = HashMap::new();
        for (at, item) in items.filter(|(_, item)| item["type"] == "item_reference") {
            let id = item["id"].as_str().unwrap_or_default();
            let unknown = || {
                let detail = "names no item of a response that is kept: send the item itself";
                unsupported::invalid(&format!("/input/{at}"), detail)
            };
            let generation = generation_of_item(id).ok_or_else(unknown)?;
            if !loaded.contains_key(&generation) {
                if loaded.len() == MOST_NAMED {
                    return Err(unsupported::invalid("/input", "names items of too many responses"));
                }
                let response = match StoredResponse::load(api, &caller.principal, generation).await {
                    Ok(response) => response,
                    Err(FollowError::NotFound) => return Err(unknown()),
                    Err(error) => return Err(error.into()),
                };
                loaded.insert(generation, response.output().await?);
            }
            let known = loaded.get(&generation).into_iter().flatten().find(|item| item["id"] == id);
            earlier.items.insert(id.to_owned(), known.ok_or_else(unknown)?.clone());
        }
        Ok(earlier)
    }

    /// Returns the item that a reference names; `None` for any other item.
    pub fn resolve(&self, item: &Value) -> Option<&Value> {
        self.items.get(item["id"].as_str()?).filter(|_| item["type"] == "item_reference")
    }
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
    Ok(notes.conversation.into_iter().chain(answer.into_messages()).collect())
}
