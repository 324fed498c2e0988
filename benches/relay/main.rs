//! Cost of relaying: Tokenrill, with keys and limits, compared with nginx and `HAProxy`, which only copy bytes, and
//! with a direct connection, in front of the same model.
//!
//! `cargo bench --bench relay -- [--only NAME,...] [--peers NAME,...] [--rounds N] [--quick] [--litellm] [--plot]
//! [--program PATH]`; the default program is this build's. The model and the clients are two threads of this process,
//! on the same cores as the peer, and read the same clock. Each run starts a new peer process. The peers take turns,
//! and each round begins with another one. Figures are medians over the rounds; ratios are medians of the ratios of
//! each round. Exits with 1 if a token of Tokenrill is missing, duplicated or out of order, an answer is incomplete, or
//! a close does not reach the model.
#![expect(clippy::print_stdout, reason = "the tables are what this is for")]
#![expect(clippy::print_stderr, reason = "how far it is")]
#![expect(clippy::cast_precision_loss, reason = "figures of three digits")]
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "ranks and digits")]
#![expect(clippy::indexing_slicing, reason = "as much as was read")]

mod answer;
mod cancel;
mod client;
mod held;
mod marker;
mod peer;
mod plot;
mod process;
mod report;
mod script;
mod upstream;
mod viewers;
mod workload;

use std::fs;
use std::io::{self, Error};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Instant;

use tokio::runtime;

use client::Faults;
use peer::Kind;
use report::Table;
use upstream::Upstream;
use workload::{Bench, Row, Scale, Workload};

struct Options {
    only: Vec<String>,
    peers: Vec<String>,
    rounds: usize,
    scale: Scale,
    has_litellm: bool,
    plots: bool,
    program: PathBuf,
}

impl Options {
    fn read() -> io::Result<Self> {
        let names = |list: Option<String>| -> Vec<String> {
            list.unwrap_or_default().split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        let mut options = Self {
            only: Vec::new(),
            peers: names(Some("direct,tokenrill,tokenrill-native".to_owned())),
            rounds: 1,
            scale: Scale::Smoke,
            has_litellm: false,
            plots: false,
            program: PathBuf::from(env!("CARGO_BIN_EXE_tokenrill")),
        };
        let mut arguments = std::env::args().skip(1);
        // `cargo bench` passes `--bench`, and `cargo test --benches` does not.
        if std::env::args().any(|argument| argument == "--bench") {
            options = Self { peers: Vec::new(), rounds: 3, scale: Scale::Full, ..options };
        }
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => {}
                "--only" => options.only = names(arguments.next()),
                "--peers" => options.peers = names(arguments.next()),
                "--rounds" => {
                    let rounds = arguments.next().and_then(|rounds| rounds.parse().ok()).filter(|rounds| *rounds > 0);
                    options.rounds = rounds.ok_or_else(|| Error::other("--rounds takes a number"))?;
                }
                "--quick" => options.scale = Scale::Quick,
                "--litellm" => options.has_litellm = true,
                "--plot" => options.plots = true,
                "--program" => {
                    let program = arguments.next().ok_or_else(|| Error::other("--program takes a path"))?;
                    options.program = fs::canonicalize(program)?;
                }
                other => return Err(Error::other(format!("there is no option {other}"))),
            }
        }
        let workloads = workload::all();
        let unknown = options.only.iter().find(|name| workloads.iter().all(|workload| workload.name != name.as_str()));
        if let Some(unknown) = unknown {
            return Err(Error::other(format!("there is no workload {unknown}")));
        }
        let all_rows: Vec<Row> = workloads.iter().flat_map(Workload::rows).collect();
        let unknown = options.peers.iter().find(|name| all_rows.iter().all(|row| row.name() != name.as_str()));
        if let Some(unknown) = unknown {
            return Err(Error::other(format!("there is no peer {unknown}")));
        }
        Ok(options)
    }

    fn has(&self, row: Row) -> bool {
        if row.kind == Kind::LiteLlm {
            return self.has_litellm;
        }
        // Asked for by name only.
        (self.peers.is_empty() && row.kind != Kind::TokenrillTargets)
            || self.peers.iter().any(|name| name == row.name())
    }
}

fn main() -> io::Result<ExitCode> {
    let options = Options::read()?;
    rlimit::increase_nofile_limit(u64::MAX)?;
    let clock = Instant::now();
    let upstream = Upstream::start(clock)?;
    let mut bench =
        Bench { program: options.program.clone(), clock, upstream, scale: options.scale, watched: 0, recording: None };
    let (cores, rounds, program) = (available_parallelism()?, options.rounds, options.program.display());
    println!("{cores} cores, medians of {rounds} rounds; ÷ is the ratio to nginx in the same round\n{program}");
    let (mut tables, mut faults) = (Vec::new(), Faults::default());
    for workload in workload::all() {
        if !options.only.is_empty() && !options.only.iter().any(|name| name == workload.name) {
            continue;
        }
        let rows: Vec<Row> = workload.rows().into_iter().filter(|row| options.has(*row)).collect();
        if rows.is_empty() {
            continue;
        }
        let table = measure(&mut bench, &workload, &rows, rounds)?;
        println!("\n{}", table.markdown());
        faults.add(table.faults_of_ours());
        tables.push(table);
    }
    let path = report::write_json(&tables)?;
    println!("\nThe same as JSON: {}", path.display());
    let is_full = options.scale == Scale::Full && options.only.is_empty() && options.peers.is_empty();
    if is_full || options.plots {
        println!("As a picture: {}", plot::write(&tables)?.display());
    }
    Ok(if faults == Faults::default() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(bench: &mut Bench, workload: &Workload, rows: &[Row], rounds: usize) -> io::Result<Table> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Table::new(workload, rows);
    for round in 0..rounds {
        for turn in 0..rows.len() {
            let at = (round + turn) % rows.len();
            let row = rows[at];
            // LiteLLM takes minutes, so it runs in one round only.
            if row.kind == Kind::LiteLlm && round > 0 {
                continue;
            }
            eprintln!("{} {} {}", workload.name, row.name(), round + 1);
            let outcome = runtime.block_on(workload.run(bench, row));
            let outcome = outcome.map_err(|error| Error::other(format!("{} {}: {error}", workload.name, row.name())));
            table.note(at, outcome?);
        }
    }
    Ok(table)
}
