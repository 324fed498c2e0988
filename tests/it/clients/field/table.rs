//! The table of inputs and results.

use std::fmt::Write as _;

use super::input::Input;
use super::reading::{Reading, Wire, short};
use super::sdks::BothModes;
use super::{Shown, VIEWS};

pub struct Row<'a> {
    pub input: &'a Input,
    /// Results of Python's SDK and of JavaScript's.
    pub direct: [&'a BothModes; 2],
    /// In the order of [`VIEWS`].
    pub views: [Shown; 5],
}

const WIRES: [Wire; 5] = [Wire::Native, Wire::ChatStream, Wire::ChatWhole, Wire::Native, Wire::Snapshot];

impl Row<'_> {
    /// Returns the differences to the expected result, with the input's name and the view.
    pub fn faults(&self) -> Vec<String> {
        let views = VIEWS.iter().zip(WIRES).zip(&self.views);
        let faults = views.filter_map(|((view, wire), shown)| {
            let faults = self.faults_of(wire, shown);
            (!faults.is_empty()).then(|| format!("{}: {view}: {}", self.input.name, faults.join("; ")))
        });
        faults.chain(self.lost()).chain(self.idle_mark()).collect()
    }

    fn faults_of(&self, wire: Wire, shown: &Shown) -> Vec<String> {
        match shown {
            Ok(reading) => reading.faults(&self.input.expected, wire),
            Err(fault) => vec![short(fault)],
        }
    }

    /// Returns the texts and calls that both SDKs read and a view does not deliver, whatever the expected result.
    fn lost(&self) -> Vec<String> {
        let [python, javascript] = self.direct;
        let modes = [("stream", &python.stream, &javascript.stream), ("whole", &python.whole, &javascript.whole)];
        let mut lost = Vec::new();
        for (mode, python, javascript) in modes {
            if python.failure.is_some() || javascript.failure.is_some() {
                continue;
            }
            for (view, shown) in VIEWS.iter().zip(&self.views) {
                // An error status replaces the text before the failure.
                let Ok(shown) = shown else { continue };
                if shown.status.is_some() && self.input.expected.fail.is_some() {
                    continue;
                }
                let said = |reading: &Reading| !reading.text.is_empty() && reading.text == python.text;
                if said(python) && said(javascript) && shown.text != python.text {
                    lost.push(format!(
                        "{}: {view}: both SDKs read the text ({mode}) {:?}",
                        self.input.name,
                        short(&python.text)
                    ));
                }
                let calls = !python.calls.is_empty() && python.calls == javascript.calls;
                if calls && !self.input.calls_differ && !are_alike(&shown.calls, &python.calls) {
                    lost.push(format!(
                        "{}: {view}: both SDKs read the calls ({mode}) {:?}",
                        self.input.name, python.calls
                    ));
                }
            }
        }
        lost
    }

    /// A `~ calls` mark on an input whose calls the SDKs read correctly, or not at all.
    fn idle_mark(&self) -> Option<String> {
        let [python, javascript] = self.direct;
        let agree = python.stream.calls == javascript.stream.calls && !python.stream.calls.is_empty();
        let differ = agree && python.stream.calls != self.input.expected.calls;
        (self.input.calls_differ && !differ).then(|| format!("{}: the SDKs need no mark", self.input.name))
    }

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![self.input.name.clone()];
        for BothModes { stream, whole } in self.direct {
            cells.push(short(&stream.brief()));
            cells.push(short(&whole.brief()));
        }
        for (wire, shown) in WIRES.into_iter().zip(&self.views) {
            let cell = match shown {
                Ok(reading) if reading.faults(&self.input.expected, wire).is_empty() => {
                    format!("ok {}", reading.brief())
                }
                Ok(reading) => format!("WRONG {}", reading.brief()),
                Err(fault) => format!("WRONG {}", fault.lines().next().unwrap_or_default()),
            };
            cells.push(cell);
        }
        cells.push(self.input.remark.clone());
        cells
    }
}

/// Returns the table in Markdown.
pub fn text(rows: &[Row<'_>]) -> String {
    let mut text = String::from("| input | Python, stream | Python, whole | JavaScript, stream | JavaScript, whole |");
    for view in VIEWS {
        _ = write!(text, " {view} |");
    }
    text += " remark |\n|";
    text += &" --- |".repeat(6 + VIEWS.len());
    for row in rows {
        text += "\n|";
        for cell in row.cells() {
            let cell: String = cell.chars().take(60).collect();
            _ = write!(text, " {} |", cell.replace('|', "\\|").replace('\n', " "));
        }
    }
    text
}

/// Whether the calls are the SDKs', apart from an id where the upstream gave none: clients need one to send a result.
fn are_alike(shown: &[[String; 3]], sdks: &[[String; 3]]) -> bool {
    let alike = |(ours, theirs): (&[String; 3], &[String; 3])| {
        ours[1..] == theirs[1..] && (ours[0] == theirs[0] || theirs[0].is_empty())
    };
    shown.len() == sdks.len() && shown.iter().zip(sdks).all(alike)
}
