//! JWTs: a token is accepted only with the expected issuer and audience, within its lifetime, and signed with the
//! algorithm of its key.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::RSA_PKCS1_SHA512;
use reqwest::Method;
use reqwest::header::WWW_AUTHENTICATE;
use serde_json::{Value, json};
use tokenrill::domain::Timestamp;
use tokenrill::settings::{JwtSettings, Settings};

use crate::support::issuer::{AUDIENCE, ISSUER, Issuer, SECRET, base64, claims, header, hs256, now, token, trusting};
use crate::support::{Answer, Service, Upstream};

/// A key file of one test, removed on drop.
struct KeyFile(PathBuf);

impl KeyFile {
    fn new(text: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("jwks-{}-{}.json", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, text).expect("written");
        Self(path)
    }

    fn settings(&self) -> Settings {
        trusting(JwtSettings { jwks_file: Some(self.0.to_str().expect("UTF-8").to_owned()), ..JwtSettings::default() })
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.0);
    }
}

async fn status(service: &Service, token: &str) -> u16 {
    let answer = Answer::to(service.request(Method::GET, "/v1/generations").bearer_auth(token)).await;
    let challenge = answer.header(WWW_AUTHENTICATE.as_str());
    let is_expected = match answer.status {
        401 => challenge.starts_with("Bearer error=\"invalid_token\", error_description=\""),
        403 => challenge.starts_with("Bearer error=\"insufficient_scope\""),
        _ => challenge.is_empty(),
    };
    assert!(is_expected, "{token}: {challenge}");
    answer.status
}

#[tokio::test]
async fn token_is_accepted_only_if_algorithm_key_claims_and_encoding_are_valid() {
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    let file = KeyFile::new(&issuer.jwks());
    let service = Service::with(file.settings()).await;
    let good = claims(&json!({}));
    let rsa = header("RS256", "rsa");
    let with = |but: &Value| issuer.rs256(&rsa, &claims(but));
    let headed = |header: &Value| issuer.rs256(header, &good);
    let whole = with(&json!({}));
    let [head, body, signature] = whole.split('.').collect::<Vec<_>>().try_into().expect("three parts");
    let other_body = base64(claims(&json!({"sub": "bob"})).to_string());
    let kid = |kid: Value| headed(&json!({"alg": "RS256", "kid": kid}));
    let public_key = issuer.modulus();

    for (what, token, expected) in [
        // Accepted.
        ("RS256", whole.clone(), 200),
        ("ES256", issuer.es256(&header("ES256", "ec"), &good), 200),
        ("EdDSA", issuer.eddsa(&header("EdDSA", "ed"), &good), 200),
        ("one audience of several", with(&json!({"aud": ["else", AUDIENCE]})), 200),
        ("expired within the leeway", with(&json!({"exp": now() - 20})), 200),
        ("valid within the leeway", with(&json!({"nbf": now() + 20})), 200),
        ("an access token (RFC 9068)", headed(&json!({"alg": "RS256", "typ": "at+jwt", "kid": "rsa"})), 200),
        // Without a scope of this service.
        ("no scope", with(&json!({"scope": null})), 403),
        ("scopes of others", with(&json!({"scope": "openid email Follow"})), 403),
        // The algorithm must be that of the key.
        ("none", token(&json!({"alg": "none", "kid": "rsa"}), &good, |_| Vec::new()), 401),
        ("None", token(&json!({"alg": "None", "kid": "rsa"}), &good, |_| Vec::new()), 401),
        ("nOnE with a signature", headed(&json!({"alg": "nOnE", "kid": "rsa"})), 401),
        ("no algorithm", headed(&json!({"kid": "rsa"})), 401),
        ("HS256 with the public key's modulus", hs256(&public_key, &header("HS256", "rsa"), &good), 401),
        ("HS256 with the set itself", hs256(issuer.jwks().as_bytes(), &header("HS256", "rsa"), &good), 401),
        ("HS256 with an empty key", hs256(b"", &header("HS256", "rsa"), &good), 401),
        ("HS256 with the published secret", hs256(SECRET.as_bytes(), &header("HS256", "secret"), &good), 401),
        ("RS512 by name alone", headed(&header("RS512", "rsa")), 401),
        ("RS512", token(&header("RS512", "rsa"), &good, |text| issuer.rsa(text, &RSA_PKCS1_SHA512)), 401),
        ("a key for RS512", token(&header("RS512", "another"), &good, |text| issuer.rsa(text, &RSA_PKCS1_SHA512)), 401),
        ("rs256 in small letters", headed(&header("rs256", "rsa")), 401),
        ("ES256 named RS256", issuer.es256(&header("RS256", "rsa"), &good), 401),
        ("an RSA signature for the other key", headed(&header("ES256", "ec")), 401),
        ("a key for encryption", headed(&header("RS256", "encryption")), 401),
        // The key must be in the configured set.
        ("another's key", stranger.rs256(&rsa, &good), 401),
        ("another's ES256", stranger.es256(&header("ES256", "ec"), &good), 401),
        ("another's EdDSA", stranger.eddsa(&header("EdDSA", "ed"), &good), 401),
        ("an unknown kid", kid(json!("unknown")), 401),
        ("no kid beside several keys", headed(&json!({"alg": "RS256"})), 401),
        ("an empty kid", kid(json!("")), 401),
        ("a kid with a path", kid(json!("../../../../dev/null")), 401),
        ("a kid with a query", kid(json!("rsa' OR '1'='1")), 401),
        ("a kid in another case", kid(json!("RSA")), 401),
        ("a kid that is no text", kid(json!(5)), 401),
        (
            "a key of its own",
            stranger.rs256(&json!({"alg": "RS256", "jwk": serde_json::from_str::<Value>(&stranger.jwks()).expect("JSON")["keys"][0]}), &good),
            401,
        ),
        ("jku", stranger.rs256(&json!({"alg": "RS256", "kid": "rsa", "jku": format!("http://{}/", service.address)}), &good), 401),
        ("x5u", stranger.rs256(&json!({"alg": "RS256", "kid": "rsa", "x5u": "https://id.example/"}), &good), 401),
        ("a critical extension", headed(&json!({"alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": false})), 401),
        // Claims.
        ("expired", with(&json!({"exp": now() - 60})), 401),
        ("expired in 1970", with(&json!({"exp": 0})), 401),
        ("never expiring", with(&json!({"exp": null})), 401),
        ("an end that is text", with(&json!({"exp": (now() + 60).to_string()})), 401),
        ("an end before 1970", with(&json!({"exp": -1})), 401),
        ("an end beyond numbers", with(&json!({"exp": 1e300})), 401),
        ("not yet valid", with(&json!({"nbf": now() + 120})), 401),
        ("a beginning that is text", with(&json!({"nbf": "now"})), 401),
        ("another audience", with(&json!({"aud": "else"})), 401),
        ("an audience in another case", with(&json!({"aud": "Tokenrill"})), 401),
        ("several other audiences", with(&json!({"aud": ["else", "other"]})), 401),
        ("no audience", with(&json!({"aud": null})), 401),
        ("an empty list of audiences", with(&json!({"aud": []})), 401),
        ("an audience that is no text", with(&json!({"aud": 5})), 401),
        ("another issuer", with(&json!({"iss": "https://evil.example/"})), 401),
        ("an issuer with more behind it", with(&json!({"iss": "https://id.example/evil"})), 401),
        ("no issuer", with(&json!({"iss": null})), 401),
        ("several issuers", with(&json!({"iss": [ISSUER, "https://evil.example/"]})), 401),
        ("no subject", with(&json!({"sub": null})), 401),
        ("an empty subject", with(&json!({"sub": ""})), 401),
        ("a subject that is no text", with(&json!({"sub": 5})), 401),
        ("a subject with a line's end", with(&json!({"sub": "alice\nbob"})), 401),
        ("a subject without end", with(&json!({"sub": "a".repeat(257)})), 401),
        ("scopes as a list", with(&json!({"scope": ["follow"]})), 200),
        ("scopes that are neither text nor a list", with(&json!({"scope": 5})), 401),
        ("claims that are no object", issuer.rs256(&rsa, &json!([])), 401),
        // Encoding.
        ("other claims under the signature", format!("{head}.{other_body}.{signature}"), 401),
        ("without its signature", format!("{head}.{body}."), 401),
        ("two parts", format!("{head}.{body}"), 401),
        ("one part", head.to_owned(), 401),
        ("five parts, as if encrypted", format!("{whole}.x.y"), 401),
        ("cut", whole[..whole.len() - 1].to_owned(), 401),
        ("padded", format!("{whole}="), 401),
        ("in another case", whole.to_lowercase(), 401),
        ("no header", format!(".{body}.{signature}"), 401),
        ("a header that is no JSON", format!("{}.{body}.{signature}", base64("hunter2")), 401),
        ("8 KiB", with(&json!({"pad": "x".repeat(8 << 10)})), 401),
        ("1 MB", with(&json!({"pad": "x".repeat(1 << 20)})), 431),
    ] {
        assert_eq!(status(&service, &token).await, expected, "{what}");
    }
    let powerless = with(&json!({"scope": "openid"}));
    let models = Answer::to(service.request(Method::GET, "/v1/models").bearer_auth(powerless)).await;
    assert_eq!(models.status, 403, "a token of another kind is refused");
}

#[tokio::test]
async fn shared_secret_accepts_only_hs256() {
    let settings = trusting(JwtSettings { secret_env: Some("SECRET".to_owned()), ..JwtSettings::default() });
    let service = Service::in_environment(settings, BTreeMap::from([("SECRET".to_owned(), SECRET.to_owned())])).await;
    let (good, issuer) = (claims(&json!({})), Issuer::new());
    let hs384 = |signed: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA384, SECRET.as_bytes()), signed.as_bytes()).as_ref().to_vec()
    };
    for (what, token, expected) in [
        ("HS256", hs256(SECRET.as_bytes(), &json!({"alg": "HS256"}), &good), 200),
        ("HS256 with any kid", hs256(SECRET.as_bytes(), &header("HS256", "any"), &good), 200),
        ("another secret", hs256(b"another", &json!({"alg": "HS256"}), &good), 401),
        ("an empty secret", hs256(b"", &json!({"alg": "HS256"}), &good), 401),
        ("HS384", token(&json!({"alg": "HS384"}), &good, hs384), 401),
        ("HS384 named HS256", token(&json!({"alg": "HS256"}), &good, hs384), 401),
        ("none", token(&json!({"alg": "none"}), &good, |_| Vec::new()), 401),
        ("RS256", issuer.rs256(&json!({"alg": "RS256"}), &good), 401),
        ("expired", hs256(SECRET.as_bytes(), &json!({"alg": "HS256"}), &claims(&json!({"exp": now() - 60}))), 401),
    ] {
        assert_eq!(status(&service, &token).await, expected, "{what}");
    }
}

/// A generation of a subject belongs to that subject of the issuer, not to an API key of the same name.
#[tokio::test]
async fn jwt_subject_is_distinct_from_an_api_key_of_the_same_name() {
    let issuer = Issuer::new();
    let file = KeyFile::new(&issuer.jwks());
    let all: &[&str] = &["generate", "follow", "stop"];
    let names = [("alice", all), (ISSUER, all)];
    let (service, keys) = Service::guarded(file.settings(), &names).await;
    let of = |subject: &str| issuer.es256(&header("ES256", "ec"), &claims(&json!({"sub": subject})));
    let body = json!({"input": "Hello", "model": "demo?tokens=3&rate=max"});
    let answer = Answer::to(service.generation(&body).bearer_auth(of("alice"))).await;
    let path = format!("/v1/generations/{}", answer.header("tokenrill-generation"));
    answer.events().await;
    for (token, expected) in [
        (of("alice"), 200),
        (of("bob"), 404),
        (of("Alice"), 404),
        (keys["alice"].clone(), 404),
        (keys[ISSUER].clone(), 404),
    ] {
        assert_eq!(Answer::to(service.request(Method::GET, &path).bearer_auth(token)).await.status, expected);
    }
    // A ticket expires no later than the token that created it.
    let id = path.trim_start_matches("/v1/generations/");
    let ticket = async |lives: u64| {
        let end = now() + lives;
        let token = issuer.es256(&header("ES256", "ec"), &claims(&json!({"exp": end})));
        let body = json!({"resource": "generation", "id": id, "ttl_s": 600}).to_string();
        let request = service.request(Method::POST, "/v1/tickets").header("content-type", "application/json");
        let ticket = Answer::to(request.bearer_auth(token).body(body)).await.json().await;
        (ticket["expires_at"].as_str().expect("a time").to_owned(), Timestamp::from_millis(end * 1000).to_string())
    };
    let (expires, token_ends) = ticket(90).await;
    assert_eq!(expires, token_ends);
    let (expires, token_ends) = ticket(3600).await;
    assert!(expires < token_ends, "{expires} {token_ends}");

    let key_header = service.request(Method::GET, &path).header("x-api-key", of("alice"));
    assert_eq!(Answer::to(key_header).await.status, 401, "a token is not accepted as a key");
}

/// A response of the issuer's server.
fn published(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

fn fetching(server: &Upstream) -> Settings {
    let url = format!("http://{}/jwks.json?tenant=1", server.address);
    trusting(JwtSettings { jwks_url: Some(url.parse().expect("a URL")), ..JwtSettings::default() })
}

#[tokio::test]
async fn issuer_keys_are_fetched_and_the_first_token_waits_for_them() {
    let (issuer, server) = (Issuer::new(), Upstream::start().await);
    let service = Service::with(fetching(&server)).await;
    let mut call = server.call().await;
    assert!(call.head.starts_with("get /jwks.json?tenant=1 http/1.1\r\n") && !call.head.contains("authorization"));
    let token = issuer.es256(&header("ES256", "ec"), &claims(&json!({})));
    let published = published("200 OK", "", &issuer.jwks());
    let (status, ()) = futures_util::join!(status(&service, &token), call.raw(published));
    assert_eq!(status, 200);
}

#[tokio::test]
async fn unavailable_issuer_keys_return_503_and_api_keys_still_work() {
    let issuer = Issuer::new();
    let token = issuer.es256(&header("ES256", "ec"), &claims(&json!({})));
    let (keys, elsewhere) = (issuer.jwks(), Upstream::start().await);
    let redirect = format!("location: http://{}/\r\n", elsewhere.address);
    for (what, answer) in [
        ("an error", published("500 No", "", &keys)),
        ("a redirect", published("302 Found", &redirect, "")),
        ("no JSON", published("200 OK", "", "<html>")),
        ("no keys", published("200 OK", "", r#"{"keys":[]}"#)),
        ("too much", published("200 OK", "", &(keys.clone() + &" ".repeat(256 << 10)))),
        ("half of it", published("200 OK", "", &keys)[..400].to_owned()),
    ] {
        let server = Upstream::start().await;
        let (service, told) = Service::guarded(fetching(&server), &[("web", &["follow"])]).await;
        server.call().await.blurt(answer).await;
        let answer = Answer::to(service.request(Method::GET, "/v1/generations").bearer_auth(&token)).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "5"), "{what}");
        assert_eq!(answer.json().await["code"], "issuer_unavailable", "{what}");
        let key = service.request(Method::GET, "/v1/generations").bearer_auth(&told["web"]);
        assert_eq!(Answer::to(key).await.status, 200, "{what}");
    }
    assert!(!elsewhere.was_called(), "a redirect is not followed");
}

#[tokio::test]
async fn scopes_are_read_as_words_or_a_list_from_scope_scp_or_the_configured_claim() {
    const WORDS: &str = "openid follow";
    let list = || json!(["openid", "follow", 5]);
    let none = || Value::Null;
    for (claim, granting, refused) in [
        (
            None,
            vec![
                json!({"scope": WORDS}),
                json!({"scope": list()}),
                json!({"scope": none(), "scp": WORDS}),
                json!({"scope": none(), "scp": list()}),
            ],
            vec![
                (json!({"scope": none()}), 403),
                (json!({"scope": "", "scp": WORDS}), 403),
                (json!({"scope": []}), 403),
                (json!({"scope": none(), "permissions": WORDS}), 403),
                (json!({"scope": 5}), 401),
                (json!({"scope": {"follow": true}}), 401),
            ],
        ),
        (
            Some("permissions"),
            vec![json!({"permissions": WORDS}), json!({"permissions": list(), "scope": none()})],
            vec![(json!({"scope": WORDS, "scp": WORDS}), 403), (json!({"permissions": true}), 401)],
        ),
    ] {
        let scope_claim = claim.map(str::to_owned);
        let settings =
            trusting(JwtSettings { secret_env: Some("SECRET".to_owned()), scope_claim, ..JwtSettings::default() });
        let service = Service::in_environment(settings, [("SECRET".to_owned(), SECRET.to_owned())].into()).await;
        let granting = granting.into_iter().map(|but| (but, 200));
        for (but, expected) in granting.chain(refused) {
            let token = hs256(SECRET.as_bytes(), &json!({"alg": "HS256"}), &claims(&but));
            let list = service.request(Method::GET, "/v1/generations").bearer_auth(token);
            assert_eq!(Answer::to(list).await.status, expected, "{claim:?} {but}");
        }
    }
}
