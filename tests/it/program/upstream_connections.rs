//! The settings of an upstream's connections: proxy, trusted issuers, client certificate.

use std::fs;

use serde_json::json;

use super::{Program, WorkingDirectory};
use crate::support::{ConnectProxy, Tls, Upstream};

/// Of the user `user` and the password `hunter2`.
const AUTHORIZATION: &str = "Basic dXNlcjpodW50ZXIy";

/// A client certificate and its key in PEM.
fn client_certificate() -> (String, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut certificate = rcgen::CertificateParams::new(vec!["client".to_owned()]).expect("a name");
    certificate.is_ca = rcgen::IsCa::ExplicitNoCa;
    (certificate.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

/// Writes an upstream `far` with these settings.
fn far(place: &WorkingDirectory, base_url: &str, settings: &str) {
    place.settings(&format!(
        "[generation]\ngrace = \"0s\"\n[[upstreams]]\nname = \"far\"\nbase_url = {base_url:?}\nmax_retries = 0\n{settings}\n"
    ));
}

#[tokio::test]
async fn tokens_pass_through_a_proxy_and_mutual_tls_and_the_last_viewers_disconnect_closes_the_tunnel() {
    let (place, upstream) = (WorkingDirectory::new(), Upstream::start().await);
    let (certificate, key) = client_certificate();
    let tls = Tls::requiring(upstream.address, &certificate).await;
    let proxy = ConnectProxy::start(Some(AUTHORIZATION)).await;
    for (name, text) in [("ca.pem", &tls.certificate), ("client.pem", &certificate), ("client.key", &key)] {
        fs::write(place.0.join(name), text).expect("written");
    }
    let settings = format!(
        "proxy = \"http://user:hunter2@{}\"\nca_file = \"ca.pem\"\n\
         client_certificate = {{ certificate = \"client.pem\", private_key = \"client.key\" }}",
        proxy.address
    );
    far(&place, &tls.base_url(), &settings);
    let checked = place.run(&["check"]).await;
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""));
    assert!(checked.stdout.contains(&format!("proxy = \"http://***@{}\"", proxy.address)), "{}", checked.stdout);
    let program = Program::start(place.serve().env("RUST_LOG", "trace"), &place).await;

    let mut answer = program.generate(&json!({"model": "m", "input": "Hello"})).await;
    let mut call = upstream.call().await;
    call.ok().await;
    answer.expect("start").await;
    for said in ["Zür", "ich"] {
        call.text(said).await;
        assert_eq!(answer.expect("delta").await.data["text"], said);
    }
    drop(answer);
    call.closed().await;

    let heads = proxy.heads();
    let connect = format!("CONNECT {} HTTP/1.1\r\n", tls.address);
    assert!(heads.iter().all(|head| head.starts_with(&connect)) && !heads.is_empty(), "{heads:?}");
    let upstreams = program.get("/v1/upstreams").await.text().await;
    assert!(upstreams.contains("\"far\""), "{upstreams}");
    program.signal("TERM").await;
    let log = program.wait_for_exit().await.stderr;
    assert!(log.contains("connections go through a proxy") && log.contains(&proxy.address.to_string()), "{log}");
    for printed in [log, upstreams, checked.stdout] {
        for secret in ["hunter2", "dXNlcjpodW50ZXIy", "PRIVATE KEY"] {
            assert!(!printed.contains(secret), "{secret} in {printed}");
        }
    }
}

#[tokio::test]
async fn proxy_of_the_environment_is_used_only_where_it_is_asked_for_and_not_for_excepted_hosts() {
    for (settings, no_proxy, expected) in
        [("proxy = \"environment\"", "other.example", 1), ("proxy = \"environment\"", "127.0.0.0/8", 0), ("", "", 0)]
    {
        let (place, upstream) = (WorkingDirectory::new(), Upstream::start().await);
        let proxy = ConnectProxy::start(None).await;
        far(&place, &format!("http://{}/v1", upstream.address), settings);
        let variables = [("HTTP_PROXY", format!("http://{}", proxy.address)), ("NO_PROXY", no_proxy.to_owned())];
        let program = Program::start(place.serve().envs(variables), &place).await;
        let answer = program.generate(&json!({"model": "m", "input": "Hello"})).await;
        let mut call = upstream.call().await;
        call.ok().await;
        call.text("Hi").await;
        call.finish("stop").await;
        call.done().await;
        assert_eq!(answer.events().await.last().map(|event| event.name.clone()).as_deref(), Some("done"));
        assert_eq!(proxy.heads().len(), expected, "{settings} {no_proxy}");
    }
}

#[tokio::test]
async fn refusal_of_a_proxy_is_an_unreachable_upstream_with_its_cause_in_the_log() {
    let (place, upstream) = (WorkingDirectory::new(), Upstream::start().await);
    let proxy = ConnectProxy::start(Some(AUTHORIZATION)).await;
    let settings = format!("proxy = \"http://user:hunter3@{}\"", proxy.address);
    far(&place, &format!("http://{}/v1", upstream.address), &settings);
    let program = Program::start(&mut place.serve(), &place).await;
    let mut answer = program.generate(&json!({"model": "m", "input": "Hello"})).await;
    answer.expect("start").await;
    assert_eq!(answer.expect("failed").await.data["error"]["code"], "upstream_unreachable");
    program.wait_for_log("the proxy does not accept the credentials in its URL (407)", 1).await;
    assert!(!upstream.was_called());
    assert!(!program.log().contains("hunter3"), "{}", program.log());
}

#[tokio::test]
async fn unusable_proxy_or_certificate_file_is_an_error_at_start_that_names_the_setting() {
    let (certificate, key) = client_certificate();
    let (other_certificate, _) = client_certificate();
    for (settings, expected) in [
        (
            "proxy = \"socks5://user:hunter2@proxy\"",
            "`upstreams.proxy` in upstream 1 of tokenrill.toml must be an http or https URL",
        ),
        ("proxy = \"environment\"", "the environment variable `HTTPS_PROXY`, which proxy of upstream `far` refers to"),
        ("ca_file = \"none.pem\"", "ca_file of upstream `far` cannot be read from none.pem"),
        ("ca_file = \"client.key\"", "upstream far: the file that ca_file names cannot be used (it contains no cert"),
        (
            "client_certificate = \"client.pem\"",
            "`upstreams.client_certificate` in upstream 1 of tokenrill.toml must be a table",
        ),
        (
            "client_certificate = { certificate = \"client.pem\", private_key = \"none.key\" }",
            "client_certificate.private_key of upstream `far` cannot be read from none.key",
        ),
        (
            "client_certificate = { certificate = \"client.pem\" }",
            "upstream far: the file that client_certificate.private_key names cannot be used (it contains no private key",
        ),
        (
            "client_certificate = { certificate = \"other.pem\", private_key = \"client.key\" }",
            "upstream far: the file that client_certificate.private_key names cannot be used (the private key is not that of the first certificate)",
        ),
    ] {
        let place = WorkingDirectory::new();
        for (name, text) in [("client.pem", &certificate), ("client.key", &key), ("other.pem", &other_certificate)] {
            fs::write(place.0.join(name), text).expect("written");
        }
        far(&place, "https://far.example/v1", settings);
        for arguments in [&["check"][..], &["serve", "--listen", "127.0.0.1:0"]] {
            let mut command = place.tokenrill(arguments);
            let ended = command.env("HTTPS_PROXY", "ftp://user:hunter2@proxy").output().await.expect("it runs");
            let ended = super::ProcessOutput::from(ended);
            assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
            ended.expect_refusal(expected);
        }
    }
}
