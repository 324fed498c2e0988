//! An upstream behind TLS, verified with the certificates that the system trusts.

use std::fs;

use serde_json::json;
use tokio::process::Command;

use super::{Program, WorkingDirectory};
use crate::support::{Tls, Upstream};

/// Starts the program with an upstream behind TLS. `change` may make it trust the certificate.
async fn program(place: &WorkingDirectory, tls: &Tls, change: impl FnOnce(&mut Command)) -> Program {
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
async fn tokens_over_tls_are_relayed_immediately_and_the_last_viewers_disconnect_closes_the_connection() {
    let (place, upstream) = (WorkingDirectory::new(), Upstream::start().await);
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

    // The next call reuses the connection if it is already idle. It is closed when the last viewer disconnects.
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
async fn upstream_with_an_untrusted_certificate_receives_no_request() {
    let (place, upstream) = (WorkingDirectory::new(), Upstream::start().await);
    let tls = Tls::before(upstream.address).await;
    let program = program(&place, &tls, |_| ()).await;
    let mut answer = program.generate(&json!({"model": "m", "input": "Hello"})).await;
    answer.expect("start").await;
    assert_eq!(answer.expect("failed").await.data["error"]["code"], "upstream_unreachable");
    assert!(!upstream.was_called());
}
