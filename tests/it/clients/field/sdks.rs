//! The official SDKs, connected to the upstream directly.

use std::collections::BTreeMap;
use std::process::Stdio;

use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::input::Input;
use super::reading::Reading;
use crate::support::{SOON, installed, root};

/// Results by input name: Python's SDK, then JavaScript's.
pub struct Direct([BTreeMap<String, BothModes>; 2]);

/// Results with and without `stream: true`.
#[derive(Debug, Default, Clone, Deserialize)]
pub struct BothModes {
    pub stream: Reading,
    pub whole: Reading,
}

#[derive(Deserialize)]
struct Line {
    name: String,
    #[serde(flatten)]
    read: BothModes,
}

impl Direct {
    pub async fn read(inputs: &[Input], base_url: &str) -> Self {
        let mut python = Command::new(installed(".venv-clients/bin/python"));
        python.arg("-B").arg(root().join("tests/clients/field.py"));
        let mut node = Command::new(installed("tests/clients/node_modules/.bin/node"));
        node.arg(root().join("tests/clients/field.mjs"));
        let (python, node) = tokio::join!(ask(python, inputs, base_url), ask(node, inputs, base_url));
        Self([python, node])
    }

    pub fn of(&self, name: &str) -> [&BothModes; 2] {
        self.0.each_ref().map(|sdk| sdk.get(name).unwrap_or_else(|| panic!("nothing of {name}")))
    }
}

/// Runs one process for all inputs: names on stdin, one JSON line for each on stdout.
async fn ask(mut program: Command, inputs: &[Input], base_url: &str) -> BTreeMap<String, BothModes> {
    program.arg(base_url).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut program = program.spawn().expect("it starts");
    let names: String = inputs.iter().map(|input| input.name.clone() + "\n").collect();
    let mut stdin = program.stdin.take().expect("its input");
    stdin.write_all(names.as_bytes()).await.expect("it reads");
    drop(stdin);
    let output = tokio::time::timeout(SOON * 6, program.wait_with_output()).await.expect("it ends in time");
    let output = output.expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    let read = |line: &str| {
        let Line { name, read } = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        (name, read)
    };
    lines.lines().map(read).collect()
}
