//! Inputs as real servers send them (`field/*.txt`): the results of the official SDKs, which read the same bytes
//! directly, beside those of a client of the service in five views. `--nocapture` prints the table.

mod chat_wire;
mod input;
mod native_wire;
mod player;
mod reading;
mod sdks;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::json;

use crate::support::Service;
use input::Input;
use player::Player;
use reading::Reading;
use sdks::Direct;
use table::Row;

/// Inputs in flight.
const AT_ONCE: usize = 16;

/// The ways in which a client can receive an answer.
pub const VIEWS: [&str; 5] = ["native", "chat stream", "chat whole", "replay", "snapshot"];

/// The answer in one view, or why the response is malformed.
type Shown = Result<Reading, String>;

#[tokio::test]
async fn an_answer_that_the_official_sdks_read_is_delivered_whole_in_every_view() {
    let inputs = Input::all();
    let player = Player::start(&inputs).await;
    let base_url = player.base_url();
    let service = Service::before(&base_url).await;
    let shown = stream::iter(&inputs).map(|input| views(&service, input)).buffer_unordered(AT_ONCE);
    let (mut shown, direct) = tokio::join!(shown.collect::<BTreeMap<_, _>>(), Direct::read(&inputs, &base_url));
    let rows = inputs.iter().map(|input| {
        let views = shown.remove(input.name.as_str()).expect("each input was asked for");
        Row { input, direct: direct.of(&input.name), views }
    });
    let rows: Vec<_> = rows.collect();

    println!("{}", table::text(&rows));
    let faults: Vec<_> = rows.iter().flat_map(Row::faults).collect();
    assert!(faults.is_empty(), "{} of {} inputs:\n{}", failed(&faults), inputs.len(), faults.join("\n"));
}

/// Returns the number of inputs that have a fault.
fn failed(faults: &[String]) -> usize {
    faults.iter().filter_map(|fault| fault.split(':').next()).collect::<BTreeSet<_>>().len()
}

/// Requests one input on each wire; returns the views in the order of [`VIEWS`].
async fn views<'a>(service: &Service, input: &'a Input) -> (&'a str, [Shown; 5]) {
    let body = json!({"model": input.name, "messages": [{"role": "user", "content": "Hello"}]});
    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    streamed["stream_options"] = json!({"include_usage": true});

    let native = async {
        let events = native_wire::follow(service.generation(&body).header("accept", "text/event-stream")).await;
        let path = events.as_ref().ok().and_then(native_wire::Events::path);
        let Some(path) = path else {
            let missing = || Err("no generation to look at".to_owned());
            return [events.and_then(native_wire::Events::reading), missing(), missing()];
        };
        let replayed = native_wire::follow(service.request(Method::GET, &format!("{path}/events"))).await;
        let same = matches!((&events, &replayed), (Ok(live), Ok(replayed)) if live == replayed);
        let replayed = replayed.and_then(native_wire::Events::reading);
        let replayed = if same { replayed } else { replayed.and(Err("a replay that is not what was live".to_owned())) };
        let snapshot = native_wire::snapshot(service.request(Method::GET, &path)).await;
        [events.and_then(native_wire::Events::reading), replayed, snapshot]
    };
    let chat = |body| service.request(Method::POST, "/v1/chat/completions").json(body);
    let (native, stream, whole) =
        tokio::join!(native, chat_wire::stream(chat(&streamed)), chat_wire::whole(chat(&body)));
    let [live, replayed, snapshot] = native;
    (&input.name, [live, stream, whole, replayed, snapshot])
}
