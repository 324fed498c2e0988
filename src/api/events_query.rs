//! The query of a generation's event stream.

use std::borrow::Cow;

use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};

use super::after::After;
use super::query::QueryParameters;
use super::wire::table::{WIRES, WireEntry};

/// The query of an event stream.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// The position after which to start: an event's id, or the part of it after the generation's id
    #[serde(default, deserialize_with = "After::read")]
    #[param(inline)]
    pub after: Option<After>,
    /// The wire format: `native`, `openai` for OpenAI's chunks, `messages` for Anthropic's events, `responses` for OpenAI's Responses, or `ui` for the AI SDK
    #[serde(default)]
    pub format: Format,
    /// `snapshot`: a stream from the beginning has one event `snapshot` in place of the past events; native format only
    #[serde(default)]
    pub replay: Replay,
    /// Accepted here because the gate reads it.
    #[serde(rename = "ticket")]
    #[param(ignore)]
    _ticket: Option<IgnoredAny>,
}

impl QueryParameters for EventsQuery {
    fn accepted() -> String {
        let formats: Vec<_> = WIRES.iter().map(|wire| wire.name).collect();
        format!("after, format ({}) and replay (events or snapshot)", formats.join(" or "))
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.replay == Replay::Snapshot && !self.format.0.is_native() {
            return Err("replay=snapshot requires the native format: omit replay or format.");
        }
        Ok(())
    }
}

/// How past events are sent to a viewer that starts at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Replay {
    /// As single events.
    #[default]
    Events,
    /// As one event with the state; native wire format only.
    Snapshot,
}

/// The wire in which a generation is followed.
#[derive(Clone, Copy)]
pub struct Format(&'static WireEntry);

impl Format {
    pub const fn wire(self) -> &'static WireEntry {
        self.0
    }
}

impl Default for Format {
    fn default() -> Self {
        let [default, ..] = &WIRES;
        Self(default)
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        WireEntry::named(&name).map(Self).ok_or_else(|| D::Error::unknown_variant(&name, &[]))
    }
}

impl utoipa::PartialSchema for Format {
    fn schema() -> RefOr<Schema> {
        let names = WIRES.iter().map(|wire| wire.name);
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("The wire formats in which a generation can be followed."))
            .enum_values(Some(names));
        RefOr::T(Schema::Object(schema.build()))
    }
}

impl utoipa::ToSchema for Format {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Format")
    }
}
