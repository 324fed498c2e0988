//! The OpenAPI document and the HTML pages agree with the behaviour of the service.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::Path;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value, json};
use tokenrill::api::openapi::{document, text};
use tokenrill::api::wire::channel;
use tokenrill::api::wire::native::{
    CancelledData, DeltaData, DoneData, EVENTS, FailedData, PartData, QueuedData, RestartData, StartData, TextData,
    ToolCallData,
};
use tokenrill::auth::{Grant, Resource, Scopes, Tickets};
use tokenrill::domain::{Principal, Timestamp};
use tokenrill::settings::{JwtSettings, LogBackend, Settings};

use crate::support::issuer::{SECRET, claims, hs256, trusting};
use crate::support::{Answer, Event, SOON, Service, TICKET_SECRET, Upstream, case};

#[test]
fn committed_openapi_document_matches_the_code() {
    let committed = include_str!("../../openapi/openapi.json");
    assert!(committed == text(), "openapi/openapi.json is not what the code says: run `make openapi`");
}

#[test]
fn every_operation_of_the_document_has_a_unique_id_a_summary_tags_and_its_path_parameters() {
    let document = document();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")));
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let tags: BTreeSet<_> =
        document["tags"].as_array().expect("tags").iter().map(|tag| &tag["name"]).map(word).collect();

    let mut ids = BTreeSet::new();
    for Operation { path, method, definition } in operations(&document) {
        let what = format!("{method} {path}");
        assert!(ids.insert(word(&definition["operationId"])), "{what}: the operation id is not unique");
        assert!(!word(&definition["summary"]).is_empty(), "{what}");
        let own = definition["tags"].as_array().expect("tags");
        assert!(!own.is_empty() && own.iter().all(|tag| tags.contains(word(tag))), "{what}: {own:?}");

        let parameters = definition["parameters"].as_array().into_iter().flatten();
        let in_path = parameters.filter(|parameter| parameter["in"] == "path");
        let declared: BTreeSet<_> =
            in_path.inspect(|it| assert_eq!(it["required"], true)).map(|it| word(&it["name"])).collect();
        let named = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        assert_eq!(declared, named, "{what}");
    }
}

#[tokio::test]
async fn every_example_request_is_answered_as_documented() {
    let service = Service::start().await;
    let document = document();
    let create = &document["paths"]["/v1/generations"]["post"];
    let examples = create["requestBody"]["content"]["application/json"]["examples"].as_object().expect("examples");
    let answers = examples.iter().map(async |(name, example)| {
        let answer = service.generate(&example["value"]).await;
        let documented = &create["responses"][answer.status.to_string()]["content"];
        assert_eq!(answer.status, 200, "{name}");
        assert!(documented.get(answer.header("content-type")).is_some(), "{name}");
        let events = answer.events().await;
        expect_stream(&events, name);
        let names: BTreeSet<_> = events.into_iter().map(|event| event.name).collect();
        // An example that is named after an event contains that event.
        assert!(!["reasoning", "tool_call"].contains(&name.as_str()) || names.contains(name), "{name}: {names:?}");
        assert!(names.contains(if name == "failure" { "failed" } else { "done" }), "{name}: {names:?}");
    });
    assert!(futures_util::future::join_all(answers).await.len() > 3);

    let example = &document["components"]["schemas"]["NewGeneration"]["example"];
    assert_eq!(service.generate(example).await.status, 200);
}

#[test]
fn every_example_stream_is_valid_and_every_event_has_an_example() {
    let document = document();
    let mut seen = BTreeSet::new();
    for (path, method) in [("/v1/generations", "post"), ("/v1/generations/{id}/events", "get")] {
        let content = &document["paths"][path][method]["responses"]["200"]["content"]["text/event-stream"];
        for (name, example) in content["examples"].as_object().expect("examples") {
            let events = Event::all(word(&example["value"]));
            expect_stream(&events, name);
            let first = events[0].sequence();
            assert_eq!(first == 1, events[0].name == "start", "{name}");
            let kept = events.iter().filter(|event| event.name != "queued");
            assert!(kept.zip(first..).all(|(event, sequence)| event.sequence() == sequence), "{name}");
            seen.extend(events.into_iter().map(|event| event.name));
        }
    }
    assert_eq!(seen, EVENTS.map(str::to_owned).into());

    let branches = document["components"]["schemas"]["GenerationEvent"]["oneOf"].as_array().expect("branches");
    let described: BTreeSet<_> = branches.iter().map(|branch| word(&branch["properties"]["event"]["const"])).collect();
    assert_eq!(described, EVENTS.into());
}

#[test]
fn every_example_stream_of_a_channel_is_valid() {
    let document = document();
    let content = &document["paths"]["/v1/channels/{name}/events"]["get"]["responses"]["200"]["content"];
    let mut seen = BTreeSet::new();
    for (what, example) in content["text/event-stream"]["examples"].as_object().expect("examples") {
        let events = Event::all(word(&example["value"]));
        assert_eq!((events[0].name.as_str(), events[0].retry), ("connected", Some(1000)), "{what}");
        assert!(events.iter().filter(|event| event.id.is_some()).is_sorted_by_key(Event::sequence), "{what}");
        for event in events {
            expect_channel_data(&event, what);
            seen.insert(event.name);
        }
    }
    for name in channel::EVENTS.into_iter().chain(["message", "server-time", "metrics", "start", "done"]) {
        assert!(seen.contains(name), "{name}");
    }
}

/// Each example of a refusal has the same members, and the same values where a code has fixed values, as a refusal that
/// the service sends for that operation.
#[tokio::test]
async fn every_example_problem_matches_a_refusal_of_the_service() {
    let scenes = Scenes::set().await;
    let document = document();
    for Operation { path, method, definition } in operations(&document) {
        for (status, response) in definition["responses"].as_object().expect("responses") {
            let problems = response["content"]["application/problem+json"]["examples"].as_object();
            for (code, example) in problems.into_iter().flatten() {
                let what = format!("{method} {path}: {code}");
                let example = &example["value"];
                assert_eq!(
                    (word(&example["code"]), example["status"].to_string()),
                    (code.as_str(), status.clone()),
                    "{what}"
                );
                expect_data("failed", &json!({"error": example}), &what);
                let event = &response["content"]["text/event-stream"]["examples"][code]["value"];
                let [event] = Event::all(word(event)).try_into().expect("one event");
                assert_eq!((event.data, event.id), (json!({"error": example}), None), "{what}");
                assert_eq!(event.retry, example["retry_after_ms"].as_u64().or(Some(86_400_000)), "{what}");

                // `refusals.rs` tests the slow body; an internal error cannot be provoked.
                if ["request_timeout", "internal"].contains(&code.as_str()) {
                    continue;
                }
                // Nor can a shutdown during a subscription, or two slow prompts at the same time.
                let moments =
                    [("/v1/channels/{name}/events", "shutting_down"), ("/v1/prompts/{id}/render", "overloaded")];
                if moments.contains(&(path, code.as_str())) {
                    continue;
                }
                let answer = Answer::to(scenes.refused(method, path, code)).await;
                assert_eq!(answer.status.to_string(), *status, "{what}");
                assert_eq!(shape(&answer.json().await), shape(example), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn openapi_document_is_served() {
    let service = Service::start().await;
    let answer = service.get("/openapi.json").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.text().await, text());
}

#[tokio::test]
async fn swagger_ui_is_served_without_external_assets() {
    let service = Service::start().await;
    for path in ["/docs", "/docs/"] {
        let page = service.get(path).await;
        assert_eq!(page.status, 200);
        assert!(page.header("content-type").starts_with("text/html"));
        let html = page.text().await;
        let assets = links(&html);
        assert!(
            ["swagger-ui.css", "swagger-ui-bundle.js"]
                .iter()
                .all(|name| assets.iter().any(|link| link.ends_with(name)))
        );
        for asset in assets {
            let asset = asset.strip_prefix("./").unwrap_or(asset);
            assert!(!asset.contains("//"), "{asset} is of another host");
            let answer = service.get(&format!("/docs/{asset}")).await;
            assert_eq!(answer.status, 200, "{asset}");
            assert!(!answer.text().await.is_empty(), "{asset}");
        }
    }
    let setup = service.get("/docs/swagger-initializer.js").await.text().await;
    assert!(setup.contains(r#""/openapi.json""#) && !setup.contains("://"), "{setup}");
}

#[tokio::test]
async fn playground_pages_load_nothing_from_other_hosts() {
    let service = Service::start().await;
    for path in ["/", "/playground/feed", "/playground/progress", "/playground/room", "/playground/metrics"] {
        case(path, assert_same_origin_page(service.get(path).await)).await;
    }
    assert_eq!(service.get("/playground/nobodys").await.status, 404);
}

async fn assert_same_origin_page(page: Answer) {
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    let policy = page.header("content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    for directive in policy.split(';').map(str::trim) {
        let (name, sources) = directive.split_once(' ').expect("sources");
        for source in sources.split(' ') {
            let ours = ["'none'", "'self'"].contains(&source) || source.starts_with("'sha256-");
            assert!(ours || (name, source) == ("img-src", "data:"), "{directive}");
        }
    }
    for link in links(&page.text().await) {
        assert!(link.starts_with("data:") || !link.contains("//"), "{link} is of another host");
    }
}

struct Operation<'a> {
    path: &'a str,
    method: &'a str,
    definition: &'a Value,
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let paths = document["paths"].as_object().expect("paths").iter();
    let operations = paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("methods").iter();
        methods.map(move |(method, definition)| Operation { path, method, definition })
    });
    operations.collect()
}

/// The value as a string.
fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

/// The URLs in the `href` and `src` attributes of a page.
fn links(html: &str) -> Vec<&str> {
    let after = |attribute| html.split(attribute).skip(1).filter_map(|rest| rest.split('"').next());
    after(" href=\"").chain(after(" src=\"")).collect()
}

/// Checks a whole stream: ascending ids, data as documented, one terminal event at the end.
fn expect_stream(events: &[Event], what: &str) {
    let [first, .., last] = events else { panic!("{what}: {events:?}") };
    assert!(["start", "snapshot"].contains(&first.name.as_str()), "{what}");
    let kept = || events.iter().filter(|event| event.name != "queued");
    assert!(kept().is_sorted_by(|one, next| one.sequence() < next.sequence()), "{what}: {events:?}");
    assert!(kept().all(|event| event.generation() == first.generation()), "{what}");
    assert!(events.iter().all(|event| event.id.is_some() || event.name == "queued"), "{what}");
    for event in events {
        expect_data(&event.name, &event.data, what);
        let terminal = ["done", "cancelled", "failed"].contains(&event.name.as_str());
        assert_eq!(terminal, event == last, "{what}: {event:?}");
    }
}

/// Checks an event of a channel: its own events, those that the service writes, and those of generations, which name
/// their generation.
fn expect_channel_data(event: &Event, what: &str) {
    fn read<T: serde::de::DeserializeOwned>(data: &Value) -> Result<(), serde_json::Error> {
        serde_json::from_value::<T>(data.clone()).map(drop)
    }
    let data = &event.data;
    let read = match event.name.as_str() {
        "connected" => read::<channel::ConnectedData>(data),
        "joined" | "left" => read::<channel::PresenceData>(data),
        "gap" => read::<channel::GapData>(data),
        "server-time" => read::<channel::ServerTimeData>(data),
        "metrics" => read::<channel::MetricsData>(data),
        "message" | "said" | "typing" => Ok(()),
        name => {
            let mut own = data.clone();
            if name != "start" {
                own.as_object_mut().and_then(|own| own.shift_remove("generation")).expect("who says it");
            }
            expect_data(name, &own, what);
            Ok(())
        }
    };
    read.unwrap_or_else(|error| panic!("{what}: {error} in {event:?}"));
}

/// The events that the service writes match the document.
#[tokio::test]
async fn built_in_channels_match_the_document() {
    let service = Service::start().await;
    for (name, written) in [("system.time", "server-time"), ("system.metrics", "metrics")] {
        let mut stream = service.get(&format!("/v1/channels/{name}/events?history=1")).await;
        stream.expect("connected").await;
        for _ in 0..2 {
            expect_channel_data(&stream.expect(written).await, name);
        }
    }
}

/// Checks that the data has the documented type. These types refuse unknown members.
fn expect_data(name: &str, data: &Value, what: &str) {
    fn read<T: serde::de::DeserializeOwned>(data: &Value) -> Result<(), serde_json::Error> {
        serde_json::from_value::<T>(data.clone()).map(drop)
    }
    let read = match name {
        "start" => read::<StartData>(data),
        "queued" => read::<QueuedData>(data),
        "delta" => read::<DeltaData>(data),
        "reasoning" | "refusal" => read::<TextData>(data),
        "tool_call" => read::<ToolCallData>(data),
        "part" => read::<PartData>(data),
        "restart" => read::<RestartData>(data),
        "snapshot" => read::<tokenrill::api::SnapshotBody>(data),
        "done" => read::<DoneData>(data),
        "cancelled" => read::<CancelledData>(data),
        "failed" => read::<FailedData>(data),
        _ => panic!("{what}: nobody documents {name}"),
    };
    read.unwrap_or_else(|error| panic!("{what}: {error} in {name}: {data}"));
}

/// The members of a problem, with a placeholder for each value that a code does not fix.
fn shape(problem: &Value) -> Value {
    let members = problem.as_object().expect("a problem").iter().map(|(name, value)| {
        let value = match name.as_str() {
            "detail" | "request_id" => json!("..."),
            // Depends on the time that has passed.
            "retry_after_ms" if problem["code"] == "rate_limited" => json!("..."),
            "errors" => value.as_array().expect("errors").iter().map(|_| json!("pointer and detail")).collect(),
            _ => value.clone(),
        };
        (name.clone(), value)
    });
    // Sorted, because the order of members has no meaning.
    Value::Object(members.collect::<std::collections::BTreeMap<_, _>>().into_iter().collect::<Map<_, _>>())
}

/// Operations that every authenticated caller may use.
const KNOWN: [&str; 5] = ["/v1/models", "/v1/models/{id}", "/v1/tickets", "/v1/prompts", "/v1/prompts/{id}"];

/// The idempotency key of the running generation.
const USED_KEY: &str = "used";

/// One service in each state that causes a refusal.
struct Scenes {
    plain: Service,
    several_models: Service,
    full: Service,
    draining: Service,
    guarded: Service,
    /// An API key without scopes.
    powerless: String,
    sessions: Service,
    /// `limited` allows one request per caller, which is used up; `crowded` has one generation slot, which is taken.
    limited: Service,
    crowded: Service,
    /// `watched` allows one event stream per caller, `watched_in_all` one in total; each is open.
    watched: Service,
    watched_in_all: Service,
    without_issuer: Service,
    /// A running generation of `plain`.
    generation: String,
    viewers: [Answer; 5],
    /// Allows one subscriber per channel, which is connected, and has no memory for an event.
    packed: Service,
    /// Its event log does not respond; with the key of a caller.
    without_log: Service,
    caller: String,
    /// The embedded model has a price and others have none; with the key of a caller whose budget is too small for it.
    budgeted: Service,
    spender: String,
    _subscriber: Answer,
    _upstream: Upstream,
}

impl Scenes {
    async fn set() -> Self {
        let upstream = Upstream::start().await;
        let mut settings = Service::settings(&upstream.base_url());
        settings.models.default = None;
        settings.server.max_body = "1KiB".parse().expect("a size");
        let several_models = Service::with(settings).await;

        let mut settings = Settings::default();
        settings.event_log.memory.max_bytes = "1B".parse().expect("a size");
        let full = Service::with(settings).await;

        let endless = json!({"input": "Hello", "model": "demo?stall_at=1"});
        let (plain, draining) = (Service::start().await, Service::start().await);
        let first = Answer::to(plain.generation(&endless).header("idempotency-key", USED_KEY)).await;
        let mut settings = Settings::default();
        settings.limits.each.requests_per_minute = NonZeroU32::new(1);
        settings.limits.each.publishes_per_minute = NonZeroU32::new(1);
        let limited = Service::with(settings).await;
        crate::channels::publish(&limited, "any", &json!({"data": 1})).await;
        limited.generate(&json!({"input": "Hello", "model": "demo?tokens=1&rate=max"})).await.text().await;
        let mut settings = Settings::default();
        settings.limits.each.concurrent_generations = NonZeroU32::new(1);
        settings.limits.queue.max_waiting = 0;
        let crowded = Service::with(settings).await;
        let mut settings = Settings::default();
        settings.limits.each.connections = NonZeroU32::new(1);
        let watched = Service::with(settings).await;
        let mut settings = Settings::default();
        settings.limits.connections_total = NonZeroU32::new(1);
        let watched_in_all = Service::with(settings).await;
        let full_of = async |service: &Service| service.generate(&endless).await;
        let viewers = [
            first,
            full_of(&draining).await,
            full_of(&crowded).await,
            full_of(&watched).await,
            full_of(&watched_in_all).await,
        ];
        draining.shutdown.begin_drain();
        while draining.get("/readyz").await.status == 200 {
            tokio::task::yield_now().await;
        }
        let mut settings = Settings::default();
        settings.channels.max_subscribers = NonZeroU32::MIN;
        settings.channels.max_bytes_total = "1B".parse().expect("a size");
        settings.server.max_body = "1KiB".parse().expect("a size");
        let packed = Service::with(settings).await;
        let mut subscriber = packed.get("/v1/channels/any/events").await;
        subscriber.expect("connected").await;
        let generation = viewers[0].header("tokenrill-generation").to_owned();
        let (guarded, keys) = Service::guarded(Settings::default(), &[("powerless", &[])]).await;
        let powerless = keys["powerless"].clone();
        let mut settings = trusting(JwtSettings { secret_env: Some("SECRET".to_owned()), ..JwtSettings::default() });
        settings.auth.cookie = Some("session".to_owned());
        settings.cors.origins = Some(vec!["https://app.example".to_owned()]);
        let environment = [("SECRET".to_owned(), SECRET.to_owned())].into();
        let sessions = Service::in_environment(settings, environment).await;
        let nowhere = "http://127.0.0.1:1/jwks.json".parse().expect("a URL");
        let without_issuer =
            Service::with(trusting(JwtSettings { jwks_url: Some(nowhere), ..JwtSettings::default() })).await;
        let mut settings = Settings::default();
        let address = Path::new(env!("CARGO_TARGET_TMPDIR")).join("closed-port");
        std::fs::write(&address, "redis://127.0.0.1:1").expect("written");
        settings.event_log.backend = LogBackend::Redis;
        settings.event_log.redis.url_file = Some(address);
        let (without_log, keys) = Service::guarded(
            settings,
            &[("web", &["generate", "follow", "stop", "publish:*", "subscribe:*", "admin"])],
        )
        .await;
        let mut settings = Service::settings(&upstream.base_url());
        settings.prices.insert("demo".to_owned(), crate::budgets::price("1000", Some("10000")));
        let (budgeted, spender) = crate::budgets::with_budget(settings, "0.001").await;
        Self {
            plain,
            several_models,
            full,
            draining,
            guarded,
            powerless,
            sessions,
            limited,
            crowded,
            watched,
            watched_in_all,
            without_issuer,
            generation,
            viewers,
            packed,
            without_log,
            caller: keys["web"].clone(),
            budgeted,
            spender,
            _subscriber: subscriber,
            _upstream: upstream,
        }
    }

    /// A request to this operation that the service refuses with this code.
    fn refused(&self, method: &str, path: &str, code: &str) -> RequestBuilder {
        let good = json!({"input": "Hello"});
        let text = |service: &Service, body: String| service.generation(&good).body(body);
        let path = &path.replace("{name}", "any");
        let json = |request: RequestBuilder, body: &str| {
            request.header(CONTENT_TYPE, "application/json").body(body.to_owned())
        };
        match (method, path.as_str(), code) {
            (_, _, "misdirected") => {
                let method = method.to_uppercase().parse().expect("a method");
                self.plain.request(method, &path.replace("{id}", "any")).header("host", "evil.example")
            }
            (_, _, "event_log_unavailable") => {
                let kind = if path.starts_with("/v1/connections") { "conn" } else { "gen" };
                let path = path.replace("{id}", &format!("{kind}_AAAAAAAAAAAAAAAAAAAAAA"));
                let body = if path.starts_with("/v1/channels") { json!({"data": 1}) } else { good };
                let request = self.without_log.request(method.to_uppercase().parse().expect("a method"), &path);
                json(request.bearer_auth(&self.caller), &body.to_string())
            }
            ("post", "/v1/channels/any/events", "body_too_large" | "overloaded") => {
                let body = if code == "overloaded" { r#"{"data":1}"#.to_owned() } else { " ".repeat(2048) };
                json(self.packed.request(Method::POST, path), &body)
            }
            ("get", "/v1/channels/any/events", "channel_full") => self.packed.request(Method::GET, path),
            ("get", "/v1/channels/any/events", "too_many_connections") => self.watched.request(Method::GET, path),
            ("get", "/v1/channels/any/events", "overloaded") => self.watched_in_all.request(Method::GET, path),
            ("get", "/v1/channels/any/events", "invalid_request") => {
                self.plain.request(Method::GET, &format!("{path}?history=x"))
            }
            ("get", "/v1/channels/any/events", "not_acceptable") => {
                self.plain.request(Method::GET, path).header("accept", "text/html")
            }
            ("get", "/v1/channels/any", "invalid_request") => self.plain.request(Method::GET, "/v1/channels/a*"),
            ("post", "/v1/channels/any/events", "connection_not_found") => {
                let to = r#"{"data":1,"to":{"connection":"conn_AAAAAAAAAAAAAAAAAAAAAA"}}"#;
                json(self.plain.request(Method::POST, path), to)
            }
            (_, "/v1/prompts/{id}" | "/v1/prompts/{id}/render", "prompt_not_found") => {
                let method = method.to_uppercase().parse().expect("a method");
                json(self.plain.request(method, &path.replace("{id}", "nobodys")), "{}")
            }
            ("post", "/v1/prompts/{id}/render", "invalid_variables") => {
                json(self.plain.request(Method::POST, "/v1/prompts/summarise/render"), "{}")
            }
            ("post", "/v1/channels/any/events" | "/v1/prompts/{id}/render", "invalid_json" | "invalid_request") => {
                let body = if code == "invalid_json" { "{" } else { r#"{"nobodys":1}"# };
                json(self.plain.request(Method::POST, &path.replace("{id}", "summarise")), body)
            }
            ("post", "/v1/prompts/{id}/render", "body_too_large") => {
                json(self.packed.request(Method::POST, "/v1/prompts/summarise/render"), &" ".repeat(2048))
            }
            ("post", "/v1/channels/any/events" | "/v1/prompts/{id}/render", "unsupported_media_type") => {
                self.plain.request(Method::POST, &path.replace("{id}", "summarise")).body("{}")
            }
            (_, _, "unauthenticated" | "forbidden") => {
                let method: Method = method.to_uppercase().parse().expect("a method");
                let request = self.guarded.request(method, &path.replace("{id}", &self.generation));
                match code {
                    "unauthenticated" => request,
                    // Every authenticated caller may use these operations, but not with a ticket.
                    _ if KNOWN.contains(&path.as_str()) => {
                        let generation = self.generation.parse().expect("an id");
                        let (owner, expires_at) = (Principal::Anonymous, Timestamp::now().after(SOON));
                        let grant = Grant {
                            resource: Resource::Generation(generation),
                            owner,
                            scopes: Scopes::usual(),
                            connections: None,
                            publishes_per_minute: None,
                            expires_at,
                        };
                        request.query(&[("ticket", Tickets::new(TICKET_SECRET.as_bytes()).issue(&grant))])
                    }
                    _ => request.bearer_auth(&self.powerless),
                }
            }
            ("post", "/v1/generations", "rate_limited") => self.limited.generation(&good),
            ("post", "/v1/channels/any/events", "rate_limited") => {
                json(self.limited.request(Method::POST, path), "{\"data\":1}")
            }
            ("post", "/v1/generations", "too_many_connections") => {
                self.watched.generation(&good).header("accept", "*/*")
            }
            ("get", "/v1/generations/{id}/events", "too_many_connections" | "overloaded") => {
                let (service, viewer) = match code {
                    "overloaded" => (&self.watched_in_all, &self.viewers[4]),
                    _ => (&self.watched, &self.viewers[3]),
                };
                service.request(Method::GET, &path.replace("{id}", viewer.header("tokenrill-generation")))
            }
            (_, _, "connection_not_found") => {
                self.plain.request(Method::DELETE, &path.replace("{id}", "conn_AAAAAAAAAAAAAAAAAAAAAA"))
            }
            ("post", "/v1/generations", "too_many_generations") => self.crowded.generation(&good),
            (_, _, "issuer_unavailable") => {
                let method = method.to_uppercase().parse().expect("a method");
                self.without_issuer.request(method, &path.replace("{id}", "any")).bearer_auth("a.b.c")
            }
            (
                _,
                "/v1/generations/{id}" | "/v1/generations/{id}/cancel" | "/v1/connections/{id}",
                "unsupported_media_type",
            ) => {
                let method = method.to_uppercase().parse().expect("a method");
                let token = hs256(SECRET.as_bytes(), &json!({"alg": "HS256"}), &claims(&json!({})));
                let request = self.sessions.request(method, &path.replace("{id}", "any"));
                let request = request.header("cookie", format!("session={token}"));
                request.header("origin", "https://app.example").header(CONTENT_TYPE, "text/plain")
            }
            ("post", "/v1/tickets", _) => {
                let ticket = |id: &str| {
                    self.plain
                        .request(Method::POST, path)
                        .header(CONTENT_TYPE, "application/json")
                        .body(json!({"resource": "generation", "id": id}).to_string())
                };
                match code {
                    "invalid_json" => ticket("x").body("{"),
                    "invalid_request" => ticket("x").body(r#"{"resource":"generation"}"#),
                    "generation_not_found" => ticket("gen_AAAAAAAAAAAAAAAAAAAAAA"),
                    "body_too_large" => self
                        .several_models
                        .request(Method::POST, path)
                        .header(CONTENT_TYPE, "application/json")
                        .body(" ".repeat(2048)),
                    "unsupported_media_type" => self.plain.request(Method::POST, path).body("{}"),
                    _ => panic!("nobody knows how a ticket is refused with {code}"),
                }
            }
            ("get", "/v1/generations" | "/v1/connections", "invalid_request") => {
                self.plain.request(Method::GET, &format!("{path}?limit=0"))
            }
            ("get", "/v1/generations/{id}", "invalid_request" | "history_lost") => {
                let query = if code == "invalid_request" { "wait=20" } else { "after=999" };
                self.plain.request(Method::GET, &format!("/v1/generations/{}?{query}", self.generation))
            }
            ("post", "/v1/generations", _) => match code {
                "invalid_json" => text(&self.plain, "{".to_owned()),
                "invalid_request" => self.plain.generation(&json!({"messages": [{}]})),
                "model_required" => self.several_models.generation(&good),
                "model_not_found" => self.plain.generation(&json!({"input": "Hello", "model": "nobody's"})),
                "prompt_not_found" => self.plain.generation(&json!({"prompt": {"id": "nobodys"}})),
                "invalid_variables" => self.plain.generation(&json!({"prompt": {"id": "summarise"}})),
                "generation_not_found" => self.plain.generation(&good).header("last-event-id", "nobody's"),
                "not_acceptable" => self.plain.generation(&good).header("accept", "text/html"),
                "history_lost" => {
                    self.plain.generation(&good).header("last-event-id", format!("{}.999", self.generation))
                }
                "body_too_large" => text(&self.several_models, " ".repeat(2048)),
                "unsupported_media_type" => {
                    self.plain.request(Method::POST, path).header(CONTENT_TYPE, "text/plain").body("Hello")
                }
                "budget_exceeded" | "model_unpriced" => {
                    let model = if code == "budget_exceeded" { "demo" } else { "unpriced" };
                    self.budgeted.generation(&json!({"input": "Hello", "model": model})).bearer_auth(&self.spender)
                }
                "idempotency_conflict" => self.plain.generation(&good).header("idempotency-key", USED_KEY),
                "overloaded" => self.full.generation(&good),
                "shutting_down" => self.draining.generation(&good),
                _ => panic!("nobody knows how a generation is refused with {code}"),
            },
            ("get", "/v1/generations/{id}/events", "invalid_request" | "not_acceptable" | "history_lost") => {
                let path = path.replace("{id}", &self.generation);
                let get = |query| self.plain.request(Method::GET, &format!("{path}{query}"));
                match code {
                    "invalid_request" => get("?after=x"),
                    "not_acceptable" => get("").header("accept", "application/json"),
                    _ => get("?after=999"),
                }
            }
            ("get", "/readyz", "shutting_down") => self.draining.request(Method::GET, path),
            (_, path, "invalid_request") => {
                let method = method.to_uppercase().parse().expect("a method");
                self.plain.request(method, &path.replace("{id}", "any")).header("host", "user@localhost")
            }
            (_, path, "generation_not_found") => {
                let method = method.to_uppercase().parse().expect("a method");
                self.plain.request(method, &path.replace("{id}", "gen_AAAAAAAAAAAAAAAAAAAAAA"))
            }
            _ => panic!("nobody knows how {method} {path} is refused with {code}"),
        }
    }
}
