//! Prices and budgets of the program: over a restart, and after SIGHUP.

use serde_json::{Value, json};

use super::{Program, WorkingDirectory};
use crate::support::Answer;

/// A new key, and its entry for the settings file without the last line break.
async fn new_key(place: &WorkingDirectory) -> (String, String) {
    let made = place.run(&["key", "new", "--name", "web"]).await.stdout;
    let key = made.lines().find_map(|line| line.trim().strip_prefix("trk_")).expect("a key");
    (format!("trk_{key}"), format!("[[{}", made.split_once("[[").expect("what to write").1.trim_end()))
}

/// An answer of ten tokens by the embedded model, and a prompt of one or two.
fn body() -> Value {
    json!({"input": "Hello", "model": "demo?tokens=10&rate=max", "max_completion_tokens": 10})
}

impl Program {
    /// Starts a generation, waits for its end and returns its cost; the status and the code of a refusal.
    async fn cost(&self, key: &str) -> Result<String, (u16, Value)> {
        let answer = Answer::to(self.generation(&body()).bearer_auth(key)).await;
        if answer.status != 200 {
            return Err((answer.status, answer.json().await["code"].clone()));
        }
        let events = answer.events().await;
        let last = events.last().expect("events");
        assert_eq!(last.name, "done", "{}", last.data);
        Ok(last.data["cost"].to_string())
    }
}

/// Settings in which the embedded model costs nothing for the prompt, and a hundredth of a dollar for a token.
fn settings(key: &str, budget: &str, output: u32, more: &str) -> String {
    format!(
        "{more}[auth]\nmode = \"required\"\n{key}\nbudget = {budget}\n[prices.\"demo\"]\ninput = 0\noutput = {output}\n"
    )
}

fn exceeded() -> Result<String, (u16, Value)> {
    Err((429, json!("budget_exceeded")))
}

#[tokio::test]
async fn budget_is_kept_over_a_restart_and_a_changed_one_applies_at_sighup() {
    let place = WorkingDirectory::new();
    let (key, entry) = new_key(&place).await;
    let write = |usd: &str| {
        place.settings(&settings(
            &entry,
            &format!("{{ usd = {usd}, per = \"month\" }}"),
            10_000,
            "[usage]\npath = \"usage\"\n",
        ));
    };
    write("0.2");
    let program = Program::start(&mut place.serve(), &place).await;
    assert_eq!(program.cost(&key).await, Ok("0.1".to_owned()));
    program.signal("TERM").await;
    assert!(!program.wait_for_exit().await.stderr.contains("budget"), "the ledger keeps it: no warning");

    let program = Program::start(&mut place.serve(), &place).await;
    assert_eq!(program.cost(&key).await, Ok("0.1".to_owned()), "the second half");
    assert_eq!(program.cost(&key).await, exceeded());
    for (times, (usd, expected)) in
        (1..).zip([("0.3", Ok("0.1".to_owned())), ("0.29", exceeded()), ("0.4", Ok("0.1".to_owned()))])
    {
        write(usd);
        program.signal("HUP").await;
        program.wait_for_log("were read again", times).await;
        assert_eq!(program.cost(&key).await, expected, "{usd}");
    }
}

#[tokio::test]
async fn budget_that_a_restart_forgets_is_a_warning() {
    let place = WorkingDirectory::new();
    let (_, entry) = new_key(&place).await;
    place.settings(&settings(&entry, "{ usd = 1, per = \"day\" }", 10_000, ""));
    let warning = "a budget is kept in memory only, and is whole again after a restart: set usage.path or \
                   event_log.backend";
    assert!(place.run(&["check"]).await.stderr.contains(warning));
    let program = Program::start(&mut place.serve(), &place).await;
    program.wait_for_log(warning, 1).await;
}

#[tokio::test]
async fn sighup_applies_prices_and_the_list_of_prices_or_nothing() {
    let place = WorkingDirectory::new();
    let (key, entry) = new_key(&place).await;
    let budget = "{ usd = 1000, per = \"day\" }";
    let write = |output: u32, more: &str| place.settings(&settings(&entry, budget, output, more));
    let list = |price: &str| {
        let list = format!(r#"{{"demo": {{"input_cost_per_token": 0, "output_cost_per_token": {price}}}}}"#);
        std::fs::write(place.0.join("prices.json"), list).expect("written");
    };
    write(10_000, "");
    let program = Program::start(&mut place.serve(), &place).await;
    assert_eq!(program.cost(&key).await, Ok("0.1".to_owned()));
    write(20_000, "");
    program.signal("HUP").await;
    program.wait_for_log("were read again", 1).await;
    assert_eq!(program.cost(&key).await, Ok("0.2".to_owned()));

    // A valid price together with a list that cannot be read: neither takes effect.
    write(30_000, "[usage]\nprices_file = \"prices.json\"\n");
    program.signal("HUP").await;
    program.wait_for_log("nothing was changed", 1).await;
    assert_eq!(program.cost(&key).await, Ok("0.2".to_owned()));

    // The list alone.
    let only_list =
        format!("[usage]\nprices_file = \"prices.json\"\n[auth]\nmode = \"required\"\n{entry}\nbudget = {budget}\n");
    place.settings(&only_list);
    list("0.04");
    program.signal("HUP").await;
    program.wait_for_log("were read again", 2).await;
    assert_eq!(program.cost(&key).await, Ok("0.4".to_owned()));
    list("0.05");
    program.signal("HUP").await;
    program.wait_for_log("the list of prices were read again", 1).await;
    assert_eq!(program.cost(&key).await, Ok("0.5".to_owned()));

    // Without a price a caller with a budget is refused.
    std::fs::write(place.0.join("prices.json"), "{}").expect("written");
    program.signal("HUP").await;
    program.wait_for_log("the list of prices were read again", 2).await;
    assert_eq!(program.cost(&key).await, Err((403, json!("model_unpriced"))));
}
