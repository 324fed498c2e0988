//! The service against its own OpenAPI document, by a tool that knows nothing else of it: it sends what
//! the document allows and what it forbids, and reads the answers as the document describes them.
//! `tests/clients/schemathesis.toml` says how, and what is left out; `schemathesis_hooks.py` knows the prompts.

use futures_util::future::join_all;
use serde_json::json;
use tokenrill::settings::Settings;
use tokio::process::Command;

use crate::support::{Service, installed, root, succeeds};

#[tokio::test]
async fn schemathesis_finds_no_deviation_from_the_openapi_document() {
    let mut settings = Settings::default();
    // Answers end at once, so that all of them are read to the end.
    settings.models.default = Some("demo?tokens=5&rate=max".to_owned());
    let service = Service::with(settings).await;

    // Some that can be closed.
    let endless = json!({"input": "Hello", "model": "demo?stall_at=1", "grace_ms": 0});
    let mut viewer = service.generate(&endless).await;
    let path = format!("/v1/generations/{}/events", viewer.expect("start").await.generation());
    let viewers = join_all((0..200).map(|_| service.get(&path))).await;

    let mut schemathesis = Command::new(installed(".venv-clients/bin/schemathesis"));
    schemathesis
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .arg("--config-file")
        .arg(root().join("tests/clients/schemathesis.toml"))
        .env("SCHEMATHESIS_HOOKS", "schemathesis_hooks")
        .env("PYTHONPATH", root().join("tests/clients"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args(["run", "--checks", "all", "--no-color"])
        .arg(format!("http://{}/openapi.json", service.address));
    let said = succeeds(&mut schemathesis).await;

    assert!(said.contains("No issues found"), "{said}");
    for phase in ["Examples (", "Coverage (", "Fuzzing (", "Stateful ("] {
        assert!(said.contains(&format!("✅  {phase}")), "{phase} did not run: {said}");
    }
    drop((viewer, viewers));
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}
