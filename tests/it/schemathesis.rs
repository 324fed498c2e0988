//! The service against its own OpenAPI document, by a tool that knows nothing else of it: it sends what
//! the document allows and what it forbids, and reads the answers as the document describes them.
//! `tests/clients/schemathesis.toml` says how, and what is left out.

use tokenrill::settings::Settings;
use tokio::process::Command;

use crate::support::{Service, installed, root, succeeds};

#[tokio::test]
async fn the_service_does_what_its_document_says() {
    let mut settings = Settings::default();
    // Answers end at once, so that all of them are read to the end.
    settings.models.default = Some("demo?tokens=5&rate=max".to_owned());
    let service = Service::with(settings).await;

    let mut schemathesis = Command::new(installed(".venv-clients/bin/schemathesis"));
    schemathesis
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .arg("--config-file")
        .arg(root().join("tests/clients/schemathesis.toml"))
        .args(["run", "--checks", "all", "--no-color"])
        .arg(format!("http://{}/openapi.json", service.address));
    let said = succeeds(&mut schemathesis).await;

    assert!(said.contains("No issues found"), "{said}");
    for phase in ["Examples (", "Coverage (", "Fuzzing (", "Stateful ("] {
        assert!(said.contains(&format!("✅  {phase}")), "{phase} did not run: {said}");
    }
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}
