//! The usage ledger: every attempt at an upstream, once when it begins and once when it ends, and the sums of
//! `GET /v1/usage`.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokenrill::settings::{ModelPrice, Settings};
use tokio::time::sleep;

use crate::support::{Answer, Call, Service, ServiceProcess, Upstream, soon};

/// Settings with prices in dollars for a million tokens.
fn priced(upstream: &Upstream) -> Settings {
    let price = |text: &str| Some(text.parse().expect("a price"));
    let price =
        ModelPrice { input: price("2"), cache_read: price("0.5"), output: price("10"), ..ModelPrice::default() };
    Settings { prices: [("scripted/m".to_owned(), price)].into(), ..Service::settings(&upstream.base_url()) }
}

/// How the scripted upstream and the test end a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    Cancelled,
    Failed,
    Refused,
}

/// What the scripted upstream would bill.
#[derive(Debug, Default, PartialEq, Eq)]
struct Bill {
    attempts: u64,
    input: u64,
    cached: u64,
    output: u64,
    /// Nano-dollars.
    cost: u64,
}

/// Makes one generation with these figures, and adds what the upstream counts for it.
async fn generate(
    (service, upstream, key): (&Service, &Upstream, &str),
    end: End,
    (input, cached, output): (u64, u64, u64),
    bill: &mut Bill,
) {
    let body = json!({"input": "Hello", "model": "m"});
    let mut viewer = Answer::to(service.generation(&body).bearer_auth(key)).await;
    let id = viewer.expect("start").await.generation().to_owned();
    let mut call: Call = upstream.call().await;
    bill.attempts += 1;
    if end == End::Refused {
        call.refuse(401, "content-type: application/json\r\n", r#"{"error":{"message":"no"}}"#).await;
        viewer.expect("failed").await;
        return;
    }
    bill.input += input;
    bill.cached += cached;
    bill.output += output;
    // Two dollars for a million tokens are 2,000 nano-dollars for one.
    bill.cost += (input - cached) * 2_000 + cached * 500 + output * 10_000;
    call.ok().await;
    call.data(json!({"choices": [], "usage": {
        "prompt_tokens": input, "completion_tokens": output, "prompt_tokens_details": {"cached_tokens": cached},
    }}))
    .await;
    call.text("words").await;
    viewer.expect("delta").await;
    match end {
        End::Cancelled => {
            let path = format!("/v1/generations/{id}/cancel");
            Answer::to(service.request(Method::POST, &path).bearer_auth(key)).await;
            viewer.expect("cancelled").await;
        }
        End::Failed => {
            drop(call);
            viewer.expect("failed").await;
        }
        End::Done | End::Refused => {
            call.finish("stop").await;
            call.done().await;
            viewer.expect("done").await;
        }
    }
}

async fn usage(service: &Service, key: &str, query: &str) -> Answer {
    Answer::to(service.request(Method::GET, &format!("/v1/usage{query}")).bearer_auth(key)).await
}

/// Checks a row, whose cost is compared digit for digit.
fn assert_row(row: &Value, bill: &Bill) {
    let number = |name: &str| row[name].as_u64().expect("a number");
    let found = Bill {
        attempts: number("attempts"),
        input: number("input_tokens"),
        cached: number("cache_read_tokens"),
        output: number("output_tokens"),
        cost: row["cost"].to_string().parse::<tokenrill::domain::Usd>().expect("a cost").nanos(),
    };
    assert_eq!(found, *bill, "{row}");
}

#[tokio::test]
async fn sums_equal_what_the_upstream_counts_and_each_caller_sees_its_own() {
    let upstream = Upstream::start().await;
    let scopes: &[&str] = &["generate", "follow", "stop"];
    let (service, keys) =
        Service::guarded(priced(&upstream), &[("web", scopes), ("batch", scopes), ("ops", &["admin"])]).await;
    let (mut web, mut batch) = (Bill::default(), Bill::default());
    let ends = [End::Done, End::Cancelled, End::Failed, End::Refused];
    for (number, end) in (1..).zip(ends.into_iter().cycle().take(12)) {
        generate((&service, &upstream, &keys["web"]), end, (1_000 + number, 7 * number, 3 * number), &mut web).await;
    }
    generate((&service, &upstream, &keys["batch"]), End::Done, (11, 0, 13), &mut batch).await;

    let own = usage(&service, &keys["web"], "?by=principal,model,upstream").await.json().await;
    let [row] = own["data"].as_array().expect("rows").as_slice() else { panic!("one row: {own}") };
    assert_row(row, &web);
    let names = [("principal", "web"), ("model", "m"), ("upstream", "scripted")];
    assert!(names.iter().all(|(name, value)| row[*name] == *value), "{row}");
    assert_eq!((&row["done"], &row["cancelled"], &row["failed"]), (&json!(3), &json!(3), &json!(6)));
    assert_eq!((&row["unpriced"], &row["estimated"]), (&json!(0), &json!(0)));
    assert!(own["replica"].as_str().is_some_and(|replica| replica.starts_with("rep_")));

    let other = usage(&service, &keys["batch"], "").await.json().await;
    assert_row(&other["data"][0], &batch);
    assert_eq!(other["data"][0].get("principal"), None, "rows are not grouped by it");

    let all = usage(&service, &keys["ops"], "?by=principal").await.json().await;
    let rows = all["data"].as_array().expect("rows");
    assert_eq!(rows.iter().map(|row| row["principal"].as_str()).collect::<Vec<_>>(), [Some("batch"), Some("web")]);
    assert_row(&rows[1], &web);

    let metrics = Answer::to(service.request(Method::GET, "/metrics").bearer_auth(&keys["ops"])).await.text().await;
    let line = "tokenrill_cost_usd_total{upstream=\"scripted\",model=\"m\"} ";
    let cost = metrics.lines().find_map(|metric| metric.strip_prefix(line)).expect("the counter");
    let expected = tokenrill::domain::Usd::from_nanos(web.cost + batch.cost).to_string();
    assert_eq!(cost.parse::<f64>().expect("a number").to_bits(), expected.parse::<f64>().expect("one").to_bits());
}

#[tokio::test]
async fn days_are_selected_and_an_invalid_query_is_refused_by_name() {
    let upstream = Upstream::start().await;
    let service = Service::with(priced(&upstream)).await;
    generate((&service, &upstream, "any"), End::Done, (10, 0, 1), &mut Bill::default()).await;
    let by_day = service.get("/v1/usage?by=day,principal").await.json().await;
    let row = &by_day["data"][0];
    assert_eq!(row["principal"], "anonymous");
    let day = row["day"].as_str().expect("a day").to_owned();
    let count = |answer: Value| answer["data"].as_array().expect("rows").len();
    for (query, rows) in [
        (format!("from={day}&to={day}"), 1),
        (format!("from={day}"), 1),
        ("to=2020-01-01".to_owned(), 0),
        ("from=9000-01-01".to_owned(), 0),
    ] {
        assert_eq!(count(service.get(&format!("/v1/usage?{query}")).await.json().await), rows, "{query}");
    }
    for (query, detail) in [
        ("by=hour", "by must name principal, model, upstream or day, separated by commas."),
        ("by=", "by must name principal, model, upstream or day, separated by commas."),
        ("from=yesterday", "from must be a day such as 2026-12-01."),
        ("to=2026-02-30", "to must be a day such as 2026-12-31."),
        ("from=2026-12-02&to=2026-12-01", "from must not be after to."),
        ("month=12", "The query is invalid. It accepts by, from and to."),
    ] {
        let refused = service.get(&format!("/v1/usage?{query}")).await;
        assert_eq!(refused.status, 400, "{query}");
        assert_eq!(refused.json().await["detail"], detail, "{query}");
    }
}

#[tokio::test]
async fn table_as_csv_quotes_names() {
    let upstream = Upstream::start().await;
    let name = "shop, \"north\"";
    let (service, keys) = Service::guarded(priced(&upstream), &[(name, &["generate", "follow"])]).await;
    generate((&service, &upstream, &keys[name]), End::Done, (1_000, 400, 50), &mut Bill::default()).await;
    let request = service.request(Method::GET, "/v1/usage?by=upstream,principal").bearer_auth(&keys[name]);
    let answer = Answer::to(request.header(ACCEPT, "text/csv")).await;
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8; header=present");
    assert_eq!(
        answer.text().await,
        "principal,issuer,upstream,attempts,done,cancelled,failed,input_tokens,cache_read_tokens,cache_write_tokens,\
         input_audio_tokens,output_tokens,reasoning_tokens,output_audio_tokens,estimated,cost,unpriced\r\n\
         \"shop, \"\"north\"\"\",,scripted,1,1,0,0,1000,400,0,0,50,0,0,0,0.0019,0\r\n"
    );
}

#[tokio::test]
async fn whole_answer_that_is_cut_off_counts_at_its_reservation() {
    let upstream = Upstream::start().await;
    let service = Service::with(priced(&upstream)).await;
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 100});
    let asked = Answer::to(service.request(Method::POST, "/v1/chat/completions").json(&body));
    let (answer, ()) = tokio::join!(asked, async { drop(upstream.call().await) });
    assert_eq!(answer.status, 502);
    let row = service.get("/v1/usage").await.json().await["data"][0].clone();
    assert_eq!(
        (&row["failed"], &row["output_tokens"], &row["estimated"]),
        (&json!(1), &json!(100), &json!(1)),
        "{row}"
    );
}

#[tokio::test]
async fn stopped_answer_counts_at_its_reservation_at_an_upstream_that_bills_all_of_it() {
    let upstream = Upstream::start().await;
    let mut settings = priced(&upstream);
    settings.upstreams[0].cancel_bills = toml::Value::from("all").try_into().expect("a setting");
    let service = Service::with(settings).await;
    let mut viewer = service.generate(&json!({"input": "Hello", "model": "m", "max_completion_tokens": 100})).await;
    let id = viewer.expect("start").await.generation().to_owned();
    let mut call = upstream.call().await;
    call.ok().await;
    call.data(json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}})).await;
    call.text("words").await;
    viewer.expect("delta").await;
    Answer::to(service.request(Method::POST, &format!("/v1/generations/{id}/cancel"))).await;
    let event = viewer.expect("cancelled").await;
    // What was produced, and what the provider may bill: 3 * 2 + 100 * 10 millionths.
    assert_eq!(event.data["usage"]["output_tokens"], 1);
    assert_eq!(event.data["cost"].to_string(), "0.001006");
    let row = service.get("/v1/usage").await.json().await["data"][0].clone();
    assert_eq!((&row["output_tokens"], &row["estimated"]), (&json!(100), &json!(1)), "{row}");
    assert_eq!(row["cost"].to_string(), "0.001006");
}

/// The folder of a test's ledger, which is removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        _ = fs::remove_dir_all(&path);
        Self(path)
    }

    /// Returns the lines of all files.
    fn lines(&self) -> Vec<Value> {
        let Ok(files) = fs::read_dir(&self.0) else { return Vec::new() };
        let paths = files.map(|file| file.expect("a file").path());
        let files = paths.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        let text: String = files.map(|path| fs::read_to_string(path).expect("text")).collect();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until the files have this many lines. They are written once a second.
    async fn has_lines(&self, count: usize) {
        soon(async {
            while self.lines().len() < count {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn post(client: &Client, process: &ServiceProcess, body: &Value) -> RequestBuilder {
    client.post(format!("http://{}/v1/generations", process.address)).json(body)
}

/// Returns the sum of everything.
async fn total(client: &Client, process: &ServiceProcess) -> Value {
    let answer = Answer::to(client.get(format!("http://{}/v1/usage", process.address))).await;
    answer.json().await["data"][0].clone()
}

#[tokio::test]
async fn killed_process_keeps_its_lines_and_open_attempts_count_at_their_reservation() {
    let (upstream, folder) = (Upstream::start().await, Folder::new("killed-ledger"));
    let mut settings = priced(&upstream);
    settings.usage.path = Some(folder.0.clone());
    let client = Client::builder().no_proxy().build().expect("a client");
    let process = ServiceProcess::start(&settings).await;
    let body = json!({"input": "a secret question", "model": "m", "max_tokens": 100});
    for _ in 0..3 {
        let mut viewer = Answer::to(post(&client, &process, &body)).await;
        viewer.expect("start").await;
        upstream.call().await.answer(&["a secret answer"]).await;
        viewer.expect("delta").await;
        viewer.expect("done").await;
    }
    let mut open = Answer::to(post(&client, &process, &body)).await;
    open.expect("start").await;
    let mut call = upstream.call().await;
    call.ok().await;
    call.text("cut off").await;
    open.expect("delta").await;
    let before = total(&client, &process).await;
    folder.has_lines(7).await;
    process.kill().await;

    let lines = folder.lines();
    let outcomes: Vec<_> = lines.iter().map(|line| line["outcome"].as_str().expect("text").to_owned()).collect();
    assert_eq!(outcomes, ["open", "done", "open", "done", "open", "done", "open"]);
    let text = lines.iter().map(Value::to_string).collect::<String>();
    assert!(!text.contains("secret") && !text.contains("gen_"), "{text}");
    let files = fs::read_dir(&folder.0).expect("a folder").map(|file| file.expect("a file"));
    let modes: HashSet<_> = files.map(|file| file.metadata().expect("a file").permissions().mode() & 0o777).collect();
    assert_eq!(modes, HashSet::from([0o600]));

    // The end of a line that was being written when the machine lost its power.
    let file = format!("{}.jsonl", &lines[0]["time"].as_str().expect("a time")[..10]);
    let torn = fs::read_to_string(folder.0.join(&file)).expect("text") + r#"{"time":"2026"#;
    fs::write(folder.0.join(&file), torn).expect("written");

    let process = ServiceProcess::start(&settings).await;
    let after = total(&client, &process).await;
    let reserved = &lines[6];
    assert_eq!((&reserved["output_tokens"], &reserved["estimated"]), (&json!(100), &json!(true)));
    let sum = |name: &str| before[name].as_u64().expect("a number") + reserved[name].as_u64().expect("a number");
    assert_eq!((&after["done"], &after["failed"], &after["attempts"]), (&json!(3), &json!(1), &json!(4)));
    for name in ["input_tokens", "output_tokens"] {
        assert_eq!(after[name], sum(name), "{name}");
    }
    let nanos = |row: &Value| row["cost"].to_string().parse::<tokenrill::domain::Usd>().expect("a cost").nanos();
    assert_eq!(nanos(&after), nanos(&before) + nanos(reserved));
    assert_eq!(process.terminate().await.code(), Some(0));

    // What was settled at the start is settled once.
    let process = ServiceProcess::start(&settings).await;
    assert_eq!(total(&client, &process).await, after);
    let by_outcome = folder.lines().iter().fold(BTreeMap::<_, u64>::new(), |mut counts, line| {
        *counts.entry(line["outcome"].as_str().expect("text").to_owned()).or_default() += 1;
        counts
    });
    assert_eq!(by_outcome, BTreeMap::from([("done".into(), 3), ("failed".into(), 1), ("open".into(), 4)]));
}

#[tokio::test]
async fn shutdown_writes_the_last_lines() {
    let (upstream, folder) = (Upstream::start().await, Folder::new("stopped-ledger"));
    let mut settings = priced(&upstream);
    settings.usage.path = Some(folder.0.clone());
    let client = Client::builder().no_proxy().build().expect("a client");
    let process = ServiceProcess::start(&settings).await;
    let mut viewer = Answer::to(post(&client, &process, &json!({"input": "Hello", "model": "m"}))).await;
    viewer.expect("start").await;
    upstream.call().await.answer(&["Hi"]).await;
    viewer.expect("delta").await;
    viewer.expect("done").await;
    assert_eq!(process.terminate().await.code(), Some(0));
    let outcomes: Vec<_> = folder.lines().iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(outcomes, [json!("open"), json!("done")]);
}

#[tokio::test]
async fn sums_without_authentication_are_on_the_admin_listener_if_there_is_one() {
    let mut settings = Settings::default();
    settings.server.admin_listen = Some(([127, 0, 0, 1], 0).into());
    let service = Service::with(settings).await;
    assert_eq!(service.get("/v1/usage").await.status, 403);
    let admin = format!("http://{}/v1/usage", service.admin.expect("an address"));
    let client = Client::builder().no_proxy().build().expect("a client");
    let sums = Answer::to(client.get(admin)).await;
    assert_eq!((sums.status, sums.json().await["data"].clone()), (200, json!([])));
}
