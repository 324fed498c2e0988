//! OpenAPI links: from a response with the id of a resource to the operations on that resource.

use serde_json::{Value, json};

use super::super::wire::table::WIRES;
use super::paths::{pointer, set};

const NEXT: [&str; 4] = ["follow_generation", "inspect_generation", "cancel_generation", "erase_generation"];

/// Links each response that starts a generation, and the lists of prompts and connections, to the operations that take
/// the ids in them.
pub fn describe_links(document: &mut Value) {
    let link = |operation: &str| json!({"operationId": operation, "parameters": {"id": "$response.header.Tokenrill-Generation"}});
    let ticket = json!({
        "operationId": "create_ticket",
        "requestBody": {"resource": "generation", "id": "$response.header.Tokenrill-Generation"},
    });
    let links = NEXT.into_iter().map(|operation| (operation.to_owned(), link(operation)));
    let links: Value = links.chain([("create_ticket".to_owned(), ticket)]).collect();
    for ((path, method), status) in WIRES.iter().flat_map(|wire| [200, 202].map(|status| (wire.operation(), status))) {
        set(document, &pointer(path, method, &format!("/responses/{status}")), "links", links.clone());
    }
    let of_response = ["retrieve_response", "cancel_response", "delete_response", "list_response_input_items"];
    for operation in of_response {
        let link = json!({"operationId": operation, "parameters": {"id": "$response.body#/id"}});
        set(document, &pointer("/v1/responses", "post", "/responses/200/links"), operation, link);
    }
    let show = json!({"operationId": "show_prompt", "parameters": {"id": "$response.body#/data/0/id"}});
    set(document, &pointer("/v1/prompts", "get", "/responses/200"), "links", json!({"show_prompt": show}));
    let close = json!({"operationId": "close_connection", "parameters": {"id": "$response.body#/data/0/id"}});
    set(document, &pointer("/v1/connections", "get", "/responses/200"), "links", json!({"close_connection": close}));
}
