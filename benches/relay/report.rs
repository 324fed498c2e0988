//! Tables of results, in Markdown and in a machine-readable form.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::client::Faults;
use crate::peer::Kind;
use crate::workload::{Figure, Outcome, Row, Workload};

/// The results of one workload.
pub struct Table {
    pub name: &'static str,
    says: &'static str,
    rows: Vec<(Row, Vec<Outcome>)>,
}

impl Table {
    pub fn new(workload: &Workload, rows: &[Row]) -> Self {
        let rows = rows.iter().map(|row| (*row, Vec::new())).collect();
        Self { name: workload.name, says: workload.says, rows }
    }

    pub fn note(&mut self, row: usize, outcome: Outcome) {
        self.rows[row].1.push(outcome);
    }

    pub fn faults_of_ours(&self) -> Faults {
        let mut faults = Faults::default();
        for (_, outcomes) in
            self.rows.iter().filter(|(row, _)| matches!(row.kind, Kind::Tokenrill | Kind::TokenrillTargets))
        {
            for outcome in outcomes {
                faults.add(outcome.faults);
            }
        }
        faults
    }

    /// Returns the columns, which are the same in each row.
    pub fn columns(&self) -> Vec<Figure> {
        self.rows.iter().find_map(|(_, outcomes)| outcomes.first()).map_or_else(Vec::new, |first| first.figures.clone())
    }

    pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.rows.iter().map(|(row, _)| *row)
    }

    fn values(&self, row: Row, column: usize) -> Vec<Option<f64>> {
        let outcomes = self.rows.iter().find(|(other, _)| *other == row).map(|(_, outcomes)| outcomes);
        let values = outcomes.map(|outcomes| outcomes.iter().map(|outcome| outcome.figures[column].value).collect());
        values.unwrap_or_default()
    }

    pub fn median(&self, row: Row, column: usize) -> Option<f64> {
        median(self.values(row, column).into_iter().flatten().collect())
    }

    /// Returns the median of the ratios to nginx in the same round.
    pub fn ratio(&self, row: Row, column: usize) -> Option<f64> {
        let nginx = self.rows().find(|row| row.kind == Kind::Nginx)?;
        let pairs = self.values(row, column).into_iter().zip(self.values(nginx, column));
        median(pairs.filter_map(|(value, nginx)| Some(value? / nginx?)).filter(|ratio| ratio.is_finite()).collect())
    }

    pub fn markdown(&self) -> String {
        let columns = self.columns();
        let has_nginx = self.rows().any(|row| row.kind == Kind::Nginx);
        let mut text = format!("### {}\n\n{}.\n\n| |", self.name, self.says);
        let mut line = "| --- |".to_owned();
        for column in &columns {
            _ = write!(text, " {} |", column.name);
            line.push_str(" ---: |");
            if column.is_compared && has_nginx {
                text.push_str(" ÷ |");
                line.push_str(" ---: |");
            }
        }
        _ = write!(text, " missing, doubled, disordered, not whole, never closed |\n{line} ---: |");
        for (row, outcomes) in &self.rows {
            _ = write!(text, "\n| {} |", row.name());
            for (at, column) in columns.iter().enumerate() {
                _ = write!(text, " {} |", shown(self.median(*row, at)));
                if column.is_compared && has_nginx {
                    _ = write!(text, " {} |", shown(self.ratio(*row, at)));
                }
            }
            let mut faults = Faults::default();
            for outcome in outcomes {
                faults.add(outcome.faults);
            }
            let Faults { missing, doubled, disordered, broken, never } = faults;
            _ = write!(text, " {missing}, {doubled}, {disordered}, {broken}, {never} |");
        }
        text
    }

    fn json(&self) -> Value {
        let columns = self.columns();
        let rows = self.rows.iter().map(|(row, outcomes)| {
            let figures = columns.iter().enumerate().map(|(at, column)| {
                json!({
                    "name": column.name,
                    "rounds": self.values(*row, at),
                    "median": self.median(*row, at),
                    "to_nginx": if column.is_compared { self.ratio(*row, at) } else { None },
                })
            });
            let mut faults = Faults::default();
            for outcome in outcomes {
                faults.add(outcome.faults);
            }
            json!({
                "peer": row.name(),
                "figures": figures.collect::<Vec<_>>(),
                "missing": faults.missing,
                "doubled": faults.doubled,
                "disordered": faults.disordered,
                "not_whole": faults.broken,
                "never_closed": faults.never,
            })
        });
        json!({ "workload": self.name, "says": self.says, "rows": rows.collect::<Vec<_>>() })
    }
}

pub fn write_json(tables: &[Table]) -> io::Result<PathBuf> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("relay.json");
    let all: Vec<Value> = tables.iter().map(Table::json).collect();
    fs::write(&path, serde_json::to_string_pretty(&all)?)?;
    Ok(path)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied()?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[middle - 1], upper) })
}

/// Formats with three significant digits and separated thousands.
pub fn shown(value: Option<f64>) -> String {
    let Some(value) = value else { return "–".to_owned() };
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => {
            let digits = format!("{value:.0}");
            let mut text = String::new();
            for (at, digit) in digits.chars().enumerate() {
                if at > 0 && (digits.len() - at).is_multiple_of(3) {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
    }
}
