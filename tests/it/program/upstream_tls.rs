//! A model behind TLS, as OpenAI itself is: the certificates are those that the system trusts.

use std::fs;

use serde_json::json;
use tokio::process::Command;

use super::{Place, Program};
use crate::support::{Tls, Upstream};

/// The program before a model behind TLS, whose certificate it is told to trust or not.
async fn program(place: &Place, tls: &Tls, change: impl FnOnce(&mut Command)) -> Program {
    place.settings(&format!(
        "[generation]\ngrace = \"0s\"\n[[upstreams]]\nname = \"far\"\nbase_url = {:?}\napi_key_env = \"FAR_KEY\"\n",
        tls.base_url()
    ));
    let mut command = place.serve();
    command.env("FAR_KEY", "sk-far-away");
    change(&mut command);
    Program::start(&mut command, place).await
}

#[tokio::test]
async fn each_token_comes_when_it_is_said_and_the_connection_is_closed_with_the_last_viewer() {
    let (place, upstream) = (Place::new(), Upstream::start().await);
    let tls = Tls::before(upstream.address).await;
    let trusted = place.0.join("trusted.pem");
    fs::write(&trusted, &tls.certificate).expect("written");
    let program = program(&place, &tls, |command| _ = command.env("SSL_CERT_FILE", &trusted)).await;

    let mut answer = program.generate(&json!({"model": "m", "input": "Hello"})).await;
    let mut call = upstream.call().await;
    assert!(call.head.contains("authorization: bearer sk-far-away"), "{}", call.head);
    call.ok().await;
    answer.expect("start").await;
    for said in ["Zür", "ich", "!"] {
        call.text(said).await;
        assert_eq!(answer.expect("delta").await.data["text"], said);
    }
    call.finish("stop").await;
    call.done().await;
    answer.expect("done").await;

    // The connection serves the next one too, where it is free already, and ends with whom nobody hears.
    let mut answer = program.generate(&json!({"model": "m", "input": "Hello"})).await;
    let mut call = tokio::select! {
        Some(next) = call.next() => next,
        next = upstream.call() => next,
    };
    call.ok().await;
    call.text("Hel").await;
    answer.expect("start").await;
    assert_eq!(answer.expect("delta").await.data["text"], "Hel");
    drop(answer);
    call.closed().await;
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_told_nothing() {
    let (place, upstream) = (Place::new(), Upstream::start().await);
    let tls = Tls::before(upstream.address).await;
    let program = program(&place, &tls, |_| ()).await;
    let mut answer = program.generate(&json!({"model": "m", "input": "Hello"})).await;
    answer.expect("start").await;
    assert_eq!(answer.expect("failed").await.data["error"]["code"], "upstream_unreachable");
    assert!(!upstream.was_called());
}
