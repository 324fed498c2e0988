//! The state of a generation as JSON, streamed while the log is read.

use std::collections::VecDeque;

use serde::Serialize;

use super::output_pieces::OutputPieces;
use super::problem::ProblemBody;
use super::snapshot::StatusBody;
use super::wire::measures::{CostBody, TimingsBody, UsageBody};
use super::wire::native::data::CancelledData;
use super::wire::output_piece::{LoggedText, OutputPiece, TextForm};
use crate::domain::{EventId, Stated, wire_safe};
use crate::generation::{ChoiceOutline, GenerationState, Outline, Status, TextSpan, ToolCallOutline};

/// Returns the JSON of a [`SnapshotBody`](super::snapshot::SnapshotBody), without line breaks, as an event stream needs
/// it. Holds only the JSON between the texts.
pub fn state_json(state: &GenerationState, outline: &Outline) -> OutputPieces {
    let mut writer = StateWriter::default();
    writer.state(outline);
    writer.flush();
    OutputPieces::new(state.texts(), writer.pieces)
}

/// Collects the pieces in the order of the schema.
#[derive(Default)]
struct StateWriter {
    pieces: VecDeque<OutputPiece>,
    json: String,
}

impl StateWriter {
    fn state(&mut self, outline: &Outline) {
        let start = &outline.start;
        self.json.push('{');
        self.member("id", &start.generation.to_string());
        self.member("status", &StatusBody::of(&outline.status));
        self.member("model", &start.model);
        self.optional("prompt", start.prompt.as_ref().map(ToString::to_string));
        self.member("created_at", &start.created_at.to_string());
        let last = EventId { generation: start.generation, position: outline.position };
        self.member("last_event_id", &last.to_string());
        self.member("last_sequence", &outline.position.sequence.get());
        if let Some((index, first)) = outline.choices.first_key_value() {
            self.choice(*index, first, outline);
        }
        if outline.choices.len() > 1 {
            self.list("choices", &outline.choices, |writer, (index, choice)| {
                writer.member("choice", index);
                writer.choice(*index, choice, outline);
            });
        }
        match &outline.status {
            Status::Running | Status::Done(_) => {}
            Status::Cancelled(cancelled) => self.member("reason", &CancelledData::from(&**cancelled).reason),
            Status::Failed(failed) => self.member("error", &ProblemBody::from(&failed.failure)),
        }
        if let Some((usage, timings)) = outline.status.usage() {
            self.optional("usage", usage.map(UsageBody::from));
            self.optional("cost", usage.and_then(|usage| usage.cost).map(CostBody));
            self.member("timings", &TimingsBody::from(timings));
        }
        if !start.metadata.is_empty() {
            self.member("metadata", &start.metadata);
        }
        self.json.push('}');
    }

    fn choice(&mut self, index: u32, choice: &ChoiceOutline, outline: &Outline) {
        self.text("text", choice.text);
        for (name, text) in [("reasoning", choice.reasoning), ("refusal", choice.refusal)] {
            if text.is_some() {
                self.text(name, text);
            }
        }
        if !choice.tool_calls.is_empty() {
            self.list("tool_calls", &choice.tool_calls, |writer, call: &ToolCallOutline| {
                for (name, text) in [("id", &call.id), ("name", &call.name)] {
                    writer.name(name);
                    writer.json.push('"');
                    writer.json.push_str(text.as_ref().map_or("", |text| text.as_str()));
                    writer.json.push('"');
                }
                writer.text("arguments", call.arguments);
            });
        }
        if let Some(finish) = outline.finish(index) {
            self.member("finish_reason", &finish.reason.to_string());
            if finish.stated == Stated::No {
                self.member("finish_reason_missing", &true);
            }
        }
    }

    fn list<T>(&mut self, name: &str, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        self.name(name);
        self.json.push('[');
        for item in items {
            if !self.json.ends_with('[') {
                self.json.push(',');
            }
            self.json.push('{');
            write(self, item);
            self.json.push('}');
        }
        self.json.push(']');
    }

    fn member(&mut self, name: &str, value: &impl Serialize) {
        self.name(name);
        let json = serde_json::to_vec(value).unwrap_or_default();
        self.json.push_str(&String::from_utf8_lossy(&wire_safe(&json)));
    }

    fn optional(&mut self, name: &str, value: Option<impl Serialize>) {
        if let Some(value) = value {
            self.member(name, &value);
        }
    }

    fn text(&mut self, name: &str, text: Option<TextSpan>) {
        self.name(name);
        self.json.push('"');
        if let Some(span) = text {
            self.flush();
            self.pieces.push_back(OutputPiece::Logged(LoggedText { span, form: TextForm::StringContent }));
        }
        self.json.push('"');
    }

    fn name(&mut self, name: &str) {
        if !self.json.ends_with('{') {
            self.json.push(',');
        }
        self.json.push('"');
        self.json.push_str(name);
        self.json.push_str("\":");
    }

    fn flush(&mut self) {
        self.pieces.push_back(OutputPiece::Written(std::mem::take(&mut self.json).into()));
    }
}
