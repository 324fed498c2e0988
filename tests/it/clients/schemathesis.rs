//! Schemathesis against the OpenAPI document of the service: it sends requests that the document allows or forbids, and
//! checks the responses against it. `tests/clients/schemathesis.toml` configures it and its exclusions;
//! `schemathesis_hooks.py` knows the prompts.

use futures_util::future::join_all;
use tokenrill::settings::Settings;
use tokio::process::Command;

use crate::support::{Service, installed, root, succeeds};

#[tokio::test]
async fn schemathesis_finds_no_deviation_from_the_openapi_document() {
    let mut settings = Settings::default();
    // Answers are short, so that the tool reads each to its end.
    settings.models.default = Some("demo?tokens=5&rate=max".to_owned());
    let service = Service::with(settings).await;

    // Open connections for the tool to close.
    let subscribers = join_all((0..200).map(|_| service.get("/v1/channels/room/events"))).await;

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
    drop(subscribers);
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}
