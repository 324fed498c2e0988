//! Authentication and authorization: requests without a valid credential are refused. Scopes, tenants, tickets, CORS
//! and the admin listener restrict the others.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use futures_util::future::join_all;
use reqwest::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION,
    CONTENT_TYPE, ORIGIN, WWW_AUTHENTICATE,
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokenrill::api::openapi::document;
use tokenrill::auth::{Grant, NewKey, Resource, Scope, Tickets};
use tokenrill::domain::{Principal, Timestamp};
use tokenrill::settings::{ApiKeySettings, JwtSettings, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::issuer::{SECRET, claims, hs256, now, trusting};
use crate::support::{Answer, SOON, Service, TICKET_SECRET, Upstream, soon, text};

const ALL: &[&str] = &["generate", "follow", "stop", "admin", "publish:*", "subscribe:*"];
const PAGE: &str = "https://app.example";

async fn guarded(keys: &[(&str, &[&str])]) -> (Service, Vec<String>) {
    let (service, told) = Service::guarded(Settings::default(), keys).await;
    let keys = keys.iter().map(|(name, _)| told[*name].clone()).collect();
    (service, keys)
}

/// Asserts that the request is refused with 401 and a challenge, in the documented form.
async fn expect_unauthenticated(request: RequestBuilder, what: &str) {
    let answer = Answer::to(request).await;
    assert_eq!(answer.status, 401, "{what}");
    let challenge = answer.header(WWW_AUTHENTICATE.as_str()).to_owned();
    if what.starts_with("HEAD") {
        return;
    }
    let said = answer.text().await;
    // The AI SDK shows the body as it is.
    if what.contains("/v1/ui/") {
        assert!(said.ends_with('.') && !said.contains('{'), "{what}: {said}");
        return;
    }
    let problem: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{what}: {error}: {said}"));
    let reason = match problem.get("code") {
        Some(code) => {
            assert_eq!(code, "unauthenticated", "{what}");
            &problem["reason"]
        }
        None if problem["error"].get("details").is_some() => &problem["error"]["details"]["error_code"],
        None => &problem["error"]["code"],
    };
    match reason.as_str() {
        Some("credential_missing") => assert_eq!(challenge, "Bearer", "{what}"),
        Some("credential_invalid" | "token_expired" | "issuer_unknown") => {
            assert!(
                challenge.starts_with("Bearer error=\"invalid_token\", error_description=\""),
                "{what}: {challenge}"
            );
        }
        _ => panic!("{what}: {problem}"),
    }
}

/// Returns the reason, the detail and the challenge of a refused credential.
async fn denial(request: RequestBuilder) -> (String, String, String) {
    let answer = Answer::to(request).await;
    let challenge = answer.header(WWW_AUTHENTICATE.as_str()).to_owned();
    let problem = answer.json().await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&problem["reason"]), text(&problem["detail"]), challenge)
}

#[tokio::test]
async fn refused_credential_gets_a_reason_and_instructions() {
    let mut settings = trusting(JwtSettings { secret_env: Some("SECRET".to_owned()), ..JwtSettings::default() });
    settings.auth.cookie = Some("session".to_owned());
    let with_tokens = Service::in_environment(settings, [("SECRET".to_owned(), SECRET.to_owned())].into()).await;
    let (with_keys, _) = guarded(&[("a", ALL)]).await;
    let unknown = NewKey::random().expect("random bytes").key;
    let token = |secret: &str, but: Value| hs256(secret.as_bytes(), &json!({"alg": "HS256"}), &claims(&but));
    let path = "/v1/generations";
    let events = "/v1/generations/gen_AAAAAAAAAAAAAAAAAAAAAA/events";
    let signed = Tickets::new(TICKET_SECRET.as_bytes());
    let ticket = signed.issue(&Grant {
        resource: Resource::Channel("a".parse().expect("a name")),
        owner: Principal::Anonymous,
        scopes: [Scope::Follow].into_iter().collect(),
        connections: None,
        publishes_per_minute: None,
        expires_at: Timestamp::from_millis(1),
    });
    let get = |service: &Service, path: &str| service.request(Method::GET, path);
    let keys = || get(&with_keys, path);
    let tokens = || get(&with_tokens, path);
    let bearer = |text: &str| keys().bearer_auth(text);
    let jwt = |token: String| tokens().bearer_auth(token);
    for (what, request, reason, words) in [
        ("nothing", keys(), "credential_missing", "No credential was sent. Send the key or token as `Authorization"),
        ("nothing, with a cookie", tokens(), "credential_missing", "credentials: \"include\""),
        ("the header api-key", keys().header("api-key", &unknown), "credential_missing", "in the header api-key"),
        ("the query", keys().query(&[("api_key", &unknown)]), "credential_missing", "in the query"),
        ("no Bearer", keys().header(AUTHORIZATION, &unknown), "credential_invalid", "`Bearer ` is missing"),
        ("Basic", keys().basic_auth("a", Some("b")), "credential_invalid", "another scheme than Bearer"),
        ("undefined", bearer("undefined"), "credential_invalid", "undefined"),
        ("a provider's key", bearer("sk-proj-hunter2"), "credential_invalid", "begin with `trk_`"),
        ("an unknown key", bearer(&unknown), "credential_invalid", "unknown or was revoked"),
        ("a text", keys().header("x-api-key", "abc"), "credential_invalid", "not a key of this service"),
        ("a token without an issuer", bearer(&token(SECRET, json!({}))), "issuer_unknown", "no tokens"),
        ("an expired ticket", keys().query(&[("ticket", &ticket)]), "token_expired", "POST /v1/tickets"),
        (
            "an expired token",
            jwt(token(SECRET, json!({"exp": now() - 60}))),
            "token_expired",
            "The token has expired. Get a new one and repeat the request.",
        ),
        ("another issuer", jwt(token(SECRET, json!({"iss": "https://other"}))), "issuer_unknown", "another issuer"),
        ("another audience", jwt(token(SECRET, json!({"aud": "other"}))), "issuer_unknown", "another service"),
        (
            "another issuer's signature",
            jwt(token(&"x".repeat(32), json!({"iss": "https://other"}))),
            "credential_invalid",
            "signature",
        ),
        ("not yet valid", jwt(token(SECRET, json!({"nbf": now() + 600}))), "credential_invalid", "not valid yet"),
        ("no subject", jwt(token(SECRET, json!({"sub": null}))), "credential_invalid", "lacks a claim"),
    ] {
        let (found, detail, challenge) = denial(request).await;
        assert_eq!(found, reason, "{what}");
        assert!(detail.contains(words), "{what}: {detail}");
        let bare = reason == "credential_missing";
        assert_eq!(challenge == "Bearer", bare, "{what}: {challenge}");
        let description = detail.split(". ").next().unwrap_or_default();
        let whole = format!("Bearer error=\"invalid_token\", error_description=\"{description}\"");
        assert!(bare || challenge == whole, "{what}: {challenge}");
    }
    // The form that a browser's EventSource receives.
    let event =
        Answer::to(get(&with_keys, events).header("accept", "text/event-stream")).await.events().await.remove(0);
    let error = &event.data["error"];
    assert_eq!(error["reason"], "credential_missing");
    assert!(error["detail"].as_str().is_some_and(|detail| detail.contains("POST /v1/tickets")), "{error}");
    // The form that OpenAI's SDKs show.
    let expired = get(&with_tokens, "/v1/models").bearer_auth(token(SECRET, json!({"exp": now() - 60})));
    let said = Answer::to(expired).await.json().await;
    assert_eq!(said["error"]["code"], "token_expired");
    assert_eq!(said["error"]["type"], "authentication_error");
    assert_eq!(said["error"]["message"], "The token has expired. Get a new one and repeat the request.");
}

#[tokio::test]
async fn missing_scope_is_named_in_the_refusal() {
    let (service, keys) = guarded(&[("follower", &["follow", "subscribe:room-*"]), ("nothing", &[])]).await;
    for (key, method, path, scope) in [
        (&keys[0], Method::POST, "/v1/generations", "generate"),
        (&keys[0], Method::GET, "/metrics", "admin"),
        (&keys[0], Method::POST, "/v1/channels/room-1/events", "publish:room-1"),
        (&keys[0], Method::GET, "/v1/channels/hall/events", "subscribe:hall"),
        (&keys[1], Method::GET, "/v1/generations", "follow"),
    ] {
        let answer = Answer::to(service.request(method, path).bearer_auth(key)).await;
        assert_eq!(answer.status, 403, "{path}");
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
        assert_eq!(answer.header(WWW_AUTHENTICATE.as_str()), challenge);
        assert_eq!(answer.json().await["detail"], format!("Your credential lacks the scope `{scope}`."));
    }
    let answer = Answer::to(service.request(Method::GET, "/v1/models").bearer_auth(&keys[1])).await;
    assert_eq!(answer.header(WWW_AUTHENTICATE.as_str()), "Bearer error=\"insufficient_scope\"");
}

/// A browser reads a response only after it has sent the whole body, so the service must read a refused body.
#[tokio::test]
async fn a_refusal_reaches_a_client_that_sends_a_large_body_first() {
    const BODY: usize = 3 << 20;
    let blanks = vec![b' '; 1 << 16];
    let (service, keys) = guarded(&[("follower", &["follow"])]).await;
    for (path, key, status) in [
        ("/v1/generations", "trk_bad", "401 "),
        ("/v1/chat/completions", keys[0].as_str(), "403 "),
        ("/v1/completions", "trk_bad", "404 "),
        ("/v1/models", "trk_bad", "405 "),
    ] {
        for framing in [format!("content-length: {BODY}"), "transfer-encoding: chunked".to_owned()] {
            let mut socket = soon(TcpStream::connect(service.address)).await.expect("a connection");
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {key}\r\n\
                 content-type: application/json\r\n{framing}\r\n\r\n",
                service.address
            );
            soon(socket.write_all(head.as_bytes())).await.expect("sent");
            if framing.starts_with("transfer") {
                soon(socket.write_all(format!("{BODY:x}\r\n").as_bytes())).await.expect("sent");
            }
            for _ in 0..BODY >> 16 {
                soon(socket.write_all(&blanks)).await.expect("all of it is read");
            }
            if framing.starts_with("transfer") {
                soon(socket.write_all(b"\r\n0\r\n\r\n")).await.expect("sent");
            }
            let mut line = [0; 13];
            soon(socket.read_exact(&mut line)).await.expect("an answer");
            assert_eq!(&line[9..], status.as_bytes(), "{path} {framing}");
        }
    }
}

/// All operations that need no credential; every other operation of the OpenAPI document must require one.
const PUBLIC: [&str; 2] = ["/healthz", "/readyz"];

#[tokio::test]
async fn every_operation_that_is_not_public_demands_a_credential_and_its_scope() {
    let document = document();
    let mut names = vec![("everything", ALL.to_vec()), ("nothing", vec![])];
    for scope in ALL {
        names.push((scope, vec![*scope]));
        let others = ALL.iter().filter(|other| *other != scope).copied().collect();
        names.push((Box::leak(format!("all but {scope}").into_boxed_str()), others));
    }
    let names: Vec<(&str, &[&str])> = names.iter().map(|(name, scopes)| (*name, scopes.as_slice())).collect();
    let (service, keys) = Service::guarded(Settings::default(), &names).await;
    let mut public = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, says) in operations.as_object().expect("operations") {
            let what = format!("{method} {path}");
            let request = |method: &str| {
                let method: Method = method.to_uppercase().parse().expect("a method");
                service.request(method, &path.replace("{id}", "gen_AAAAAAAAAAAAAAAAAAAAAA").replace("{name}", "a"))
            };
            let status = async |key: &str| {
                Answer::to(request(method).header(AUTHORIZATION, format!("Bearer {key}"))).await.status
            };
            let Some(security) = says.get("security") else {
                assert_eq!(Answer::to(request(method)).await.status, 200, "{what}");
                public.insert(path.as_str());
                continue;
            };
            assert!(security.as_array().is_some_and(|ways| ways.contains(&json!({"bearer": []}))), "{what}");
            expect_unauthenticated(request(method), &what).await;
            let slashed = format!("{}/", path.replace("{id}", "gen_AAAAAAAAAAAAAAAAAAAAAA").replace("{name}", "a"));
            let method_of = method.to_uppercase().parse().expect("a method");
            expect_unauthenticated(service.request(method_of, &slashed), &format!("{what}/")).await;
            if method == "get" {
                expect_unauthenticated(request("head"), &format!("HEAD {path}")).await;
            }
            let (with, without) = match says["x-scope"].as_str().map(|scope| scope.replace("{name}", "*")) {
                Some(scope) => (scope.clone(), format!("all but {scope}")),
                None => ("stop".to_owned(), "nothing".to_owned()),
            };
            // An authorized request may still fail: it has no body, and its generation does not exist.
            assert!(![401, 403].contains(&status(&keys[&with]).await), "{what} as {with}");
            assert_eq!(status(&keys[&without]).await, 403, "{what} as {without}");
        }
    }
    assert_eq!(public, PUBLIC.into());
}

#[tokio::test]
async fn malformed_or_misplaced_credentials_are_unauthenticated() {
    let (service, keys) = guarded(&[("a", ALL), ("b", ALL)]).await;
    let (key, other) = (keys[0].as_str(), keys[1].as_str());
    let get = || service.request(Method::GET, "/v1/generations");
    let bearer = |credential: &str| get().header(AUTHORIZATION, format!("Bearer {credential}"));
    for (what, request) in [
        ("bearer", bearer(key)),
        ("a scheme in another case (RFC 9110, section 11.1)", get().header(AUTHORIZATION, format!("bEARER {key}"))),
        ("X-Api-Key", get().header("x-api-key", key)),
        ("both, alike", bearer(key).header("x-api-key", key)),
    ] {
        assert_eq!(Answer::to(request).await.status, 200, "{what}");
    }

    let (id, secret) = key.split_at("trk_0123456789abcdef_".len());
    let unknown = NewKey::random().expect("random bytes");
    let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.";
    let long = "x".repeat(8 << 10);
    for credential in [
        "",
        " ",
        "trk_",
        "null",
        "undefined",
        "a",
        id,
        secret,
        jwt,
        &long,
        &unknown.key,
        &unknown.hash.to_string(),
        &key[..key.len() - 1],
        &key[1..],
        &format!("{key}A"),
        &format!("{key}="),
        &format!("{key}\t{key}"),
        &format!("{key} {key}"),
        &format!("{key},"),
        &format!("\"{key}\""),
        &format!("Bearer {key}"),
        &key.to_uppercase(),
        &key.to_lowercase(),
        &key.replace("trk_", "TRK_"),
        &key.replace("trk_", "trk-"),
        &format!("{id}{}", &other[id.len()..]),
        &format!("{}{secret}", &other[..id.len()]),
        &format!("{id}{}", "A".repeat(secret.len())),
    ] {
        expect_unauthenticated(bearer(credential), credential).await;
        expect_unauthenticated(get().header("x-api-key", credential), credential).await;
        if !credential.contains(|c: char| c.is_whitespace()) {
            expect_unauthenticated(get().query(&[("ticket", credential)]), credential).await;
        }
    }
    for (what, request) in [
        ("another scheme", get().header(AUTHORIZATION, format!("Basic {key}"))),
        ("no scheme", get().header(AUTHORIZATION, key)),
        ("a scheme alone", get().header(AUTHORIZATION, "Bearer")),
        ("a tab for the space", get().header(AUTHORIZATION, format!("Bearer\t{key}"))),
        ("two headers", bearer(key).header(AUTHORIZATION, format!("Bearer {key}"))),
        ("two headers of two callers", bearer(key).header(AUTHORIZATION, format!("Bearer {other}"))),
        ("two keys", get().header("x-api-key", key).header("x-api-key", other)),
        ("a good key behind a bad one", bearer("bad").header("x-api-key", key)),
        ("bytes", get().header(AUTHORIZATION, &b"Bearer \xff\xfe"[..])),
        ("a key in the query", get().query(&[("ticket", key)])),
        ("a key in another query", get().query(&[("api_key", key), ("access_token", key)])),
        ("a key in a cookie", get().header("cookie", format!("session={key}"))),
        ("a key for a proxy", get().header("proxy-authorization", format!("Bearer {key}"))),
        ("basic by the URL", get().basic_auth(key, Some(key))),
    ] {
        expect_unauthenticated(request, what).await;
    }
    // A request head above the limit is 431 (RFC 6585, section 5).
    assert_eq!(Answer::to(bearer(&"x".repeat(1 << 20))).await.status, 431);
}

#[tokio::test]
async fn unauthenticated_request_is_refused_before_its_body_is_read() {
    let (service, _) = guarded(&[("a", ALL)]).await;
    for body in ["{", "{}", r#"{"input":"Hello"}"#] {
        for path in ["/v1/generations", "/v1/chat/completions", "/v1/tickets"] {
            let request = service.request(Method::POST, path).header(CONTENT_TYPE, "text/plain").body(body);
            expect_unauthenticated(request, path).await;
        }
    }
    let event = Answer::to(service.generation(&json!({"input": "Hello"})).header("accept", "text/event-stream")).await;
    assert_eq!((event.status, event.header("content-type")), (401, "text/event-stream"));
    let event = event.events().await.remove(0);
    assert_eq!((event.name.as_str(), &event.data["error"]["code"]), ("failed", &json!("unauthenticated")));
    assert_eq!(event.retry, Some(86_400_000), "a reconnect with the same credential is useless, so the delay is a day");
}

#[tokio::test]
async fn two_keys_with_one_name_are_one_caller_during_rotation() {
    let new = NewKey::random().expect("random bytes");
    let mut settings = Settings::default();
    let hash = new.hash.to_string();
    settings.auth.api_keys.push(ApiKeySettings { name: "web".into(), hash, ..ApiKeySettings::default() });
    let (service, old) = Service::guarded(settings, &[("web", ALL)]).await;
    let body = json!({"input": "Hello", "model": "demo?tokens=3&rate=max"});
    let answer = Answer::to(service.generation(&body).bearer_auth(&old["web"])).await;
    let id = answer.events().await[0].generation().to_owned();
    let path = format!("/v1/generations/{id}");
    assert_eq!(Answer::to(service.request(Method::GET, &path).bearer_auth(&new.key)).await.status, 200);
}

#[tokio::test]
async fn key_with_a_model_list_is_refused_other_models() {
    let few = NewKey::random().expect("random bytes");
    let mut settings = Settings::default();
    settings.auth.api_keys.push(ApiKeySettings {
        name: "few".into(),
        hash: few.hash.to_string(),
        models: Some(vec!["demo?tokens=3*".into()]),
        ..ApiKeySettings::default()
    });
    let (service, keys) = Service::guarded(settings, &[("all", ALL)]).await;
    let models = async |key: &str| {
        let list = Answer::to(service.request(Method::GET, "/v1/models").bearer_auth(key)).await.json().await;
        list["data"].as_array().map(Vec::len)
    };
    assert_eq!((models(&keys["all"]).await, models(&few.key).await), (Some(1), Some(0)));
    for (model, expected) in [("demo?tokens=3&rate=max", 200), ("demo", 403), ("demo?tokens=4&rate=max", 403)] {
        let native = service.generation(&json!({"input": "Hello", "model": model})).bearer_auth(&few.key);
        let chat = service.request(Method::POST, "/v1/chat/completions").header(CONTENT_TYPE, "application/json");
        let chat = chat.body(json!({"model": model, "messages": [{"role": "user", "content": "Hello"}]}).to_string());
        for request in [native, chat.bearer_auth(&few.key)] {
            let answer = Answer::to(request).await;
            assert_eq!(answer.status, expected, "{model}");
            answer.text().await;
        }
    }
    // A router as upstream may read these fields and answer with another model than the one that was checked.
    for (field, status) in [("models", 400), ("route", 400), ("preset", 400), ("x", 400), ("tool_choice", 200)] {
        let body = json!({"input": "Hello", "model": "demo?tokens=3&rate=max", field: "auto"});
        for (key, status) in [(&few.key, status), (&keys["all"], 200)] {
            let answer = Answer::to(service.generation(&body).bearer_auth(key)).await;
            assert_eq!(answer.status, status, "{field}");
            answer.text().await;
        }
    }
    let chat = json!({"input": "Hello", "model": "demo"});
    let said = Answer::to(service.generation(&chat).bearer_auth(&few.key)).await.json().await;
    assert!(
        said["detail"].as_str().is_some_and(|detail| detail.contains("does not permit the model `demo`")),
        "{said}"
    );
    let unserved = json!({"input": "Hello", "model": "unserved"});
    for (key, words) in [(&keys["all"], "You may use `demo`."), (&few.key, "GET /v1/models lists")] {
        let said = Answer::to(service.generation(&unserved).bearer_auth(key)).await.json().await;
        assert_eq!(said["code"], "model_not_found");
        assert!(said["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{said}");
    }
    let shown = Answer::to(service.request(Method::GET, "/v1/models/demo").bearer_auth(&few.key)).await;
    assert_eq!(shown.status, 404, "a model that the key may not use is not found");
}

#[tokio::test]
async fn a_ticket_follows_one_generation_and_does_nothing_else() {
    let upstream = Upstream::start().await;
    let keys: [(&str, &[&str]); 3] = [("a", ALL), ("b", ALL), ("follower", &["follow"])];
    let (service, keys) = Service::guarded(Service::settings(&upstream.base_url()), &keys).await;
    let start = async || {
        let request = service.generation(&json!({"input": "Hello"})).header("prefer", "respond-async");
        let id = Answer::to(request.bearer_auth(&keys["a"])).await.json().await["id"].clone();
        (id.as_str().expect("an id").to_owned(), upstream.call().await)
    };
    let ask = async |tenant: &str, body: Value| {
        let request = service.request(Method::POST, "/v1/tickets").header(CONTENT_TYPE, "application/json");
        Answer::to(request.bearer_auth(&keys[tenant]).body(body.to_string())).await
    };
    let ((mine, mut call), (also_mine, _other_call)) = (start().await, start().await);

    let answer = ask("a", json!({"resource": "generation", "id": mine})).await;
    assert_eq!(answer.status, 201);
    let made = answer.json().await;
    let (ticket, url) = (made["ticket"].as_str().expect("a ticket"), made["url"].as_str().expect("a URL"));
    assert_eq!(url, format!("/v1/generations/{mine}/events?ticket={ticket}"));
    let mut viewer = service.get(url).await;
    assert_eq!(viewer.status, 200);
    let start_event = viewer.expect("start").await;
    call.ok().await;
    call.text("Hel").await;
    viewer.expect("delta").await;
    let back = service.request(Method::GET, url).header("last-event-id", start_event.id.expect("an id"));
    let mut back = Answer::to(back).await;
    assert_eq!(back.expect("delta").await.data["text"], "Hel");
    let path = format!("/v1/generations/{mine}");
    assert_eq!(service.get(&format!("{path}?ticket={ticket}&after=0&wait=1s")).await.status, 200);

    let other = format!("/v1/generations/{also_mine}");
    for (what, method, path) in [
        ("another generation", Method::GET, format!("{other}/events")),
        ("another generation", Method::GET, other.clone()),
        ("one that is not there", Method::GET, "/v1/generations/gen_AAAAAAAAAAAAAAAAAAAAAA/events".to_owned()),
        ("a text that is no id", Method::GET, "/v1/generations/any/events".to_owned()),
        ("to stop", Method::POST, format!("{path}/cancel")),
        ("to erase", Method::DELETE, path.clone()),
        ("to list", Method::GET, "/v1/generations".to_owned()),
        ("to start", Method::POST, "/v1/generations".to_owned()),
        ("to chat", Method::POST, "/v1/chat/completions".to_owned()),
        ("to make another ticket", Method::POST, "/v1/tickets".to_owned()),
        ("to see the models", Method::GET, "/v1/models".to_owned()),
        ("to see the figures", Method::GET, "/metrics".to_owned()),
    ] {
        let request = service.request(method, &path).query(&[("ticket", ticket)]);
        assert_eq!(Answer::to(request).await.status, 403, "{what}");
    }

    let signed = Tickets::new(TICKET_SECRET.as_bytes());
    let grant = |expires_at: Timestamp| Grant {
        resource: Resource::Generation(mine.parse().expect("an id")),
        owner: Principal::Key("a".into()),
        scopes: [Scope::Follow].into_iter().collect(),
        connections: None,
        publishes_per_minute: None,
        expires_at,
    };
    let later = Timestamp::now().after(SOON);
    let good = signed.issue(&grant(later));
    assert_eq!(service.get(&format!("{path}?ticket={good}")).await.status, 200);
    let (body, signature) = good.split_once('.').expect("two parts");
    for (what, ticket) in [
        ("expired", signed.issue(&grant(Timestamp::now()))),
        ("of another secret", Tickets::new(&[b'x'; 32]).issue(&grant(later))),
        ("cut", good[..good.len() - 1].to_owned()),
        ("without its signature", format!("{body}.")),
        ("a signature alone", format!(".{signature}")),
        ("with another's signature", format!("{body}.{}", ticket.split_once('.').expect("two parts").1)),
        ("signed twice", format!("{good}.{signature}")),
        ("padded", format!("{good}=")),
        ("escaped", good.replace('.', "%2E")),
    ] {
        expect_unauthenticated(service.request(Method::GET, &format!("{path}?ticket={ticket}")), what).await;
    }

    // A caller cannot issue a ticket for a scope that it lacks, nor for another caller's generation.
    let stop = json!({"resource": "generation", "id": mine, "scopes": ["stop"], "ttl_s": 60});
    assert_eq!(ask("follower", stop.clone()).await.status, 403);
    for body in [json!({"resource": "generation", "id": mine}), stop.clone()] {
        assert_eq!(ask("b", body).await.status, 404);
    }
    for wrong in [
        json!({}),
        json!({"resource": "generation"}),
        json!({"resource": "hunter2", "id": mine}),
        json!({"resource": "generation", "id": mine, "ttl_s": 0}),
        json!({"resource": "generation", "id": mine, "ttl_s": 1.5}),
        json!({"resource": "generation", "id": mine, "ttl_s": 3601}),
        json!({"resource": "generation", "id": mine, "scopes": ["generate"]}),
        json!({"resource": "generation", "id": mine, "scopes": []}),
        json!({"resource": "generation", "id": mine, "scope": "follow"}),
    ] {
        let answer = ask("a", wrong.clone()).await;
        assert_eq!(answer.status, 400, "{wrong}");
        assert!(!answer.text().await.contains("hunter2"));
    }
    let stop = ask("a", stop).await.json().await;
    let cancel = stop["url"].as_str().expect("a URL");
    let events = cancel.replace("/cancel", "/events");
    assert_eq!(service.get(&events).await.status, 403, "the ticket permits only a stop");
    assert_eq!(Answer::to(service.request(Method::POST, cancel)).await.status, 200);
    viewer.expect("cancelled").await;
}

#[tokio::test]
async fn tenants_see_only_their_own_generations() {
    const EACH: usize = 200;
    let upstream = Upstream::start().await;
    let (service, keys) = Service::guarded(Service::settings(&upstream.base_url()), &[("a", ALL), ("b", ALL)]).await;
    let canary = |tenant: &str, at: usize| format!("canary-{tenant}-{at}.");
    let generations = join_all((0..2 * EACH).map(|number| {
        let (tenant, at) = (["a", "b"][number % 2], number / 2);
        let canary = canary(tenant, at);
        // Both tenants use the same idempotency keys.
        let request = service.generation(&json!({"input": canary})).header("idempotency-key", at.to_string());
        let request = request.header("accept", "text/event-stream").bearer_auth(&keys[tenant]);
        async move {
            let events = Answer::to(request).await.events().await;
            assert_eq!(text(&events), canary);
            (tenant, canary, events[0].generation().to_owned())
        }
    }));
    let answering = async {
        let mut calls = Vec::new();
        for _ in 0..2 * EACH {
            calls.push(upstream.call().await);
        }
        for call in calls.iter_mut().rev() {
            let said = call.body["messages"][0]["content"].as_str().expect("a canary").to_owned();
            call.answer(&[&said]).await;
        }
        calls
    };
    let (generations, _calls) = tokio::join!(generations, answering);
    for (tenant, other) in [("a", "b"), ("b", "a")] {
        let get = async |path: &str| Answer::to(service.request(Method::GET, path).bearer_auth(&keys[tenant])).await;
        let (mut listed, mut cursor) = (BTreeSet::new(), String::new());
        loop {
            let page = get(&format!("/v1/generations?limit=100{cursor}")).await.json().await;
            let ids = page["data"].as_array().expect("data").iter().map(|one| one["id"].as_str().expect("an id"));
            listed.extend(ids.map(str::to_owned));
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        let own = generations.iter().filter(|(owner, ..)| *owner == tenant).map(|(_, _, id)| id.clone());
        assert_eq!(listed, own.collect());
        for (owner, canary, id) in &generations {
            let answer = get(&format!("/v1/generations/{id}")).await;
            let (status, said) = (answer.status, answer.text().await);
            assert_eq!((status, said.contains(canary)), if *owner == other { (404, false) } else { (200, true) });
        }
    }
}

#[tokio::test]
async fn cors_headers_follow_the_configured_origins() {
    let mut settings = Settings::default();
    settings.cors.origins = Some(vec![PAGE.into(), "http://localhost:*".into()]);
    let (listed, keys) = Service::guarded(settings, &[("a", ALL)]).await;
    let (unlisted, _) = guarded(&[("a", ALL)]).await;
    for (service, origin, allowed) in [
        (&listed, PAGE, true),
        (&listed, "http://localhost:5173", true),
        (&listed, "http://localhost.evil.example", false),
        (&listed, "https://app.example.evil.example", false),
        (&listed, "https://evilapp.example", false),
        (&listed, "http://app.example", false),
        (&listed, "null", false),
        (&unlisted, "http://localhost:5173", false),
        (&unlisted, PAGE, false),
    ] {
        let preflight = service
            .request(Method::OPTIONS, "/v1/generations")
            .header(ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .header(ACCESS_CONTROL_REQUEST_HEADERS, "authorization,content-type,last-event-id");
        // A preflight has no credential. The page must be able to read the 401 for a missing one.
        let refused = service.generation(&json!({"input": "Hello"}));
        let health = service.request(Method::GET, "/healthz");
        for (request, status) in [(preflight, 200), (refused, 401), (health, 200)] {
            let answer = Answer::to(request.header(ORIGIN, origin)).await;
            assert_eq!(answer.status, status, "{origin}");
            let told = answer.header(ACCESS_CONTROL_ALLOW_ORIGIN.as_str());
            assert_eq!(told, if allowed { origin } else { "" }, "{status}");
            assert!(answer.header("vary").contains("origin"), "{status}");
        }
    }
    let answer =
        Answer::to(listed.request(Method::GET, "/v1/models").bearer_auth(&keys["a"]).header(ORIGIN, PAGE)).await;
    assert_eq!((answer.status, answer.header(ACCESS_CONTROL_ALLOW_ORIGIN.as_str())), (200, PAGE));
}

#[tokio::test]
async fn every_response_has_its_security_headers() {
    let (service, _) = guarded(&[("a", ALL)]).await;
    for path in ["/", "/docs/", "/openapi.json", "/healthz", "/v1/models", "/nowhere"] {
        let answer = soon(service.get(path)).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(answer.header("server"), "", "{path}");
        assert_eq!(answer.header("cache-control") == "no-store", path == "/v1/models", "{path}");
        let policy = answer.header("content-security-policy").to_owned();
        let page = answer.header("content-type").starts_with("text/html");
        assert_eq!(page, ["/", "/docs/"].contains(&path), "{path}");
        for rule in ["default-src", "base-uri 'none'", "frame-ancestors 'none'"] {
            assert_eq!(policy.contains(rule), page, "{path}: {policy}");
        }
        assert!(!policy.contains("script-src 'unsafe") && !policy.contains('*'), "{path}: {policy}");
    }
}

#[tokio::test]
async fn admin_listener_serves_only_operator_routes_and_health() {
    let mut settings = Settings::default();
    settings.server.admin_listen = Some(([127, 0, 0, 1], 0).into());
    settings.cors.origins = Some(vec![PAGE.to_owned()]);
    let (service, keys) = Service::guarded(settings.clone(), &[("all", ALL), ("few", &ALL[..3])]).await;
    let admin = service.admin.expect("an address");
    let at = |door: SocketAddr, path: &str| reqwest::Client::new().get(format!("http://{door}{path}"));
    for (path, public, operators) in [
        ("/metrics", 404, 200),
        ("/v1/connections", 404, 200),
        ("/healthz", 200, 200),
        ("/readyz", 200, 200),
        ("/", 200, 404),
        ("/docs/", 200, 404),
        ("/openapi.json", 200, 404),
        ("/v1/models", 200, 404),
        ("/v1/generations", 200, 404),
    ] {
        let with_key = Answer::to(service.request(Method::GET, path).bearer_auth(&keys["all"])).await.status;
        let without = Answer::to(at(admin, path)).await.status;
        assert_eq!((with_key, without), (public, operators), "{path}");
    }
    // Every request that is not local needs a key: one that a proxy forwarded, even if its header states a local
    // address, and one of a page whose host name resolves to this machine (DNS rebinding).
    for (header, value) in [
        ("x-forwarded-for", "198.51.100.1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-for", "unknown"),
        ("forwarded", "for=198.51.100.1"),
        ("host", "evil.example"),
    ] {
        for (key, expected) in [(None, 401), (Some("few"), 403), (Some("all"), 200)] {
            let request = at(admin, "/v1/connections").header(header, value);
            let request = key.map_or(request.try_clone().expect("no body"), |key| request.bearer_auth(&keys[key]));
            assert_eq!(Answer::to(request).await.status, expected, "{header}: {value} with {key:?}");
        }
    }
    let page = Answer::to(at(admin, "/metrics").header(ORIGIN, PAGE)).await;
    assert_eq!(page.header(ACCESS_CONTROL_ALLOW_ORIGIN.as_str()), "", "operator routes have no CORS headers");

    let open = Service::with(settings).await;
    assert_eq!(open.get("/metrics").await.status, 404);
    let metrics = || at(open.admin.expect("an address"), "/metrics");
    assert_eq!(Answer::to(metrics()).await.status, 200);
    assert_eq!(Answer::to(metrics().header("host", "evil.example")).await.status, 403);
}

#[tokio::test]
async fn forwarded_request_for_metrics_is_not_treated_as_local() {
    let mut settings = Settings::default();
    settings.server.admin_listen = Some(([127, 0, 0, 1], 0).into());
    let guarded = Service::guarded(settings, &[]).await.0;
    let open = Service::start().await;
    let metrics = |service: &Service| {
        let door = service.admin.unwrap_or(service.address);
        reqwest::Client::new().get(format!("http://{door}/metrics"))
    };
    for header in [
        "CDN-Loop",
        "CF-Connecting-IP",
        "CF-Ray",
        "Client-IP",
        "DO-Connecting-IP",
        "Fastly-Client-IP",
        "Fly-Client-IP",
        "Forwarded",
        "Max-Forwards",
        "True-Client-IP",
        "Via",
        "X-Amzn-Trace-Id",
        "X-Appengine-User-IP",
        "X-Azure-ClientIP",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "X-Envoy-External-Address",
        "X-Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Proto",
        "X-Forwarded-Server",
        "X-Original-Forwarded-For",
        "X-Original-URL",
        "X-Real-IP",
        "X-Remote-Addr",
        "X-Scheme",
        "X-Vercel-Forwarded-For",
    ] {
        for value in ["127.0.0.1", ""] {
            let sent = |service: &Service| Answer::to(metrics(service).header(header, value));
            assert_eq!((sent(&open).await.status, sent(&guarded).await.status), (403, 401), "{header}: {value}");
        }
    }
    for service in [&open, &guarded] {
        let traced = metrics(service).header("traceparent", "00-1-1-00").header("x-request-id", "a");
        assert_eq!(Answer::to(traced).await.status, 200);
    }
}
