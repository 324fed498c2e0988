//! What a request refers to: an earlier response, and items of earlier ones.

use std::collections::{BTreeMap, HashMap};

use futures_util::StreamExt;
use serde_json::Value;

use super::members::value;
use super::response_id::{generation_of_item, generation_of_response};
use super::response_notes::ResponseInput;
use super::response_object::ResponseState;
use super::stored_response::StoredResponse;
use super::unsupported;
use crate::api::body_memory::{FinishedBody, UnfinishedBody};
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
    /// The bytes of both as JSON.
    pub size: usize,
    /// What they count as memory of the caller.
    pub memory: Option<FinishedBody>,
}

/// The most responses whose items a request may name.
const MOST_NAMED: usize = 100;

impl Earlier {
    /// Loads what a request refers to: at most as many bytes as a request may have.
    pub async fn load(api: &Api, caller: &Caller, fields: &JsonObject) -> Result<Self, Problem> {
        let mut loading = Loading::new(api, caller);
        let mut earlier = Self::default();
        if let Some(previous) = value(fields, "previous_response_id")? {
            let id =
                previous.as_str().ok_or_else(|| unsupported::invalid("/previous_response_id", "must be a text"))?;
            earlier.conversation = conversation(&mut loading, id).await?;
        }
        for (generation, references) in named_items(api, fields).await? {
            earlier.items.extend(items(&mut loading, generation, &references).await?);
        }
        (earlier.size, earlier.memory) = loading.finish()?;
        Ok(earlier)
    }

    /// Returns the item that a reference names; `None` for any other item.
    pub fn resolve(&self, item: &Value) -> Option<&Value> {
        self.items.get(item["id"].as_str()?).filter(|_| item["type"] == "item_reference")
    }
}

/// Counts what is loaded, and parses it outside the runtime threads that serve streams.
struct Loading<'a> {
    api: &'a Api,
    caller: &'a Caller,
    memory: UnfinishedBody,
    size: usize,
}

impl<'a> Loading<'a> {
    fn new(api: &'a Api, caller: &'a Caller) -> Self {
        Self { api, caller, memory: api.body_memory.begin(caller.spender.account.clone()), size: 0 }
    }

    /// Loads a response; `None` if it is not kept.
    async fn response(&self, generation: GenerationId) -> Result<Option<StoredResponse>, Problem> {
        match StoredResponse::load(self.api, &self.caller.principal, generation).await {
            Ok(response) => Ok(Some(response)),
            Err(FollowError::NotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Counts bytes that the field at `pointer` refers to.
    fn count(&mut self, bytes: usize, pointer: &str) -> Result<(), Problem> {
        self.size += bytes;
        if self.size > self.api.body.size {
            let detail = "refers to more than a request may hold (the setting server.max_body): leave out what is old";
            return Err(unsupported::invalid(pointer, detail));
        }
        let reserved = self.memory.grow_to(self.size);
        reserved.inspect_err(|_| self.api.metrics.refused("body_memory"))?;
        Ok(())
    }

    /// Reads the items of an answer.
    async fn output(&mut self, response: &StoredResponse, pointer: &str) -> Result<Vec<Value>, Problem> {
        let mut json = Vec::new();
        let mut pieces = response.output_json();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| Problem::history_lost())?;
            self.count(piece.len(), pointer)?;
            json.extend_from_slice(&piece);
        }
        self.api
            .large_bodies
            .run(json.len(), move || serde_json::from_slice(&json).map_err(|_| Problem::history_lost()))
            .await
    }

    /// Returns what was loaded, in bytes, and its memory.
    fn finish(self) -> Result<(usize, Option<FinishedBody>), Problem> {
        if self.size == 0 {
            return Ok((0, None));
        }
        let memory = self.memory.finish(self.size);
        Ok((self.size, Some(memory.inspect_err(|_| self.api.metrics.refused("body_memory"))?)))
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
        let Some(generation) = generation_of_item(id) else { return Err(unknown_item(at)) };
        named.entry(generation).or_default().insert(at, id.to_owned());
    }
    if named.len() > MOST_NAMED {
        let detail = format!("names items of more than {MOST_NAMED} responses: send the older items themselves");
        return Err(unsupported::invalid("/input", &detail));
    }
    Ok(named)
}

/// Returns the items of a generation that a request names, by their ids.
async fn items(
    loading: &mut Loading<'_>,
    generation: GenerationId,
    references: &ItemReferences,
) -> Result<Vec<(String, Value)>, Problem> {
    let first = references.keys().next().copied().unwrap_or_default();
    let Some(response) = loading.response(generation).await? else { return Err(unknown_item(first)) };
    if *response.state() == ResponseState::InProgress {
        return Err(unsupported::invalid(
            &format!("/input/{first}"),
            "names an item of a response that is not complete: wait for its end",
        ));
    }
    let output = loading.output(&response, "/input").await?;
    let mut items = HashMap::new();
    for (at, id) in references {
        let item = output.iter().find(|item| id == id_of(item)).ok_or_else(|| unknown_item(*at))?;
        // The request holds an item as often as it names it.
        loading.count(json_size(item), "/input")?;
        items.entry(id.clone()).or_insert_with(|| item.clone());
    }
    Ok(items.into_iter().collect())
}

fn id_of(item: &Value) -> &str {
    item.get("id").and_then(Value::as_str).unwrap_or_default()
}

fn unknown_item(at: usize) -> Problem {
    unsupported::invalid(&format!("/input/{at}"), "names no item of a response that is kept: send the item itself")
}

/// Returns the bytes of a value as JSON.
fn json_size(value: &Value) -> usize {
    serde_json::to_vec(value).map_or(0, |json| json.len())
}

/// Returns the chat messages of an earlier response with its answer.
async fn conversation(loading: &mut Loading<'_>, id: &str) -> Result<Vec<Value>, Problem> {
    const POINTER: &str = "/previous_response_id";
    let unknown = || unsupported::previous_response("names no response that is kept: send the whole conversation");
    let generation = generation_of_response(id).ok_or_else(unknown)?;
    let response = loading.response(generation).await?.ok_or_else(unknown)?;
    if *response.state() == ResponseState::InProgress {
        return Err(unsupported::previous_response("names a response that is not complete: wait for its end"));
    }
    let notes = response.start().notes.clone().ok_or_else(unknown)?;
    loading.count(notes.size(), POINTER)?;
    let answer = loading.output(&response, POINTER).await?;
    let work = move || Ok(ResponseInput::of(&notes).map(|input| input.conversation(&answer)));
    loading.api.large_bodies.run(loading.size, work).await?.ok_or_else(unknown)
}
