//! The query of a generation's event stream.

use std::borrow::Cow;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::IgnoredAny;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::extract::{invalid_form, invalid_query, query, sequence};
use super::problem::Problem;
use super::wire::table::{WIRES, WireEntry};
use crate::domain::Sequence;

/// The query of an event stream.
#[derive(Default)]
pub struct EventsQuery {
    /// `after=SEQ`, for clients that cannot set headers.
    pub after: Option<Sequence>,
    /// `format=native|openai`: the wire format.
    pub format: Format,
    /// `replay=events|snapshot`: how the past events are sent.
    pub replay: Replay,
}

/// How past events are sent to a viewer that starts at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
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
    fn named(name: &str, takes: &str) -> Result<Self, Problem> {
        WireEntry::named(name).map(Self).ok_or_else(|| invalid_form(takes))
    }

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

impl PartialSchema for Format {
    fn schema() -> RefOr<Schema> {
        let names = WIRES.iter().map(|wire| wire.name);
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("The wire formats in which a generation can be followed."))
            .enum_values(Some(names));
        RefOr::T(Schema::Object(schema.build()))
    }
}

impl ToSchema for Format {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Format")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for EventsQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Raw {
            after: Option<String>,
            format: Option<String>,
            #[serde(default)]
            replay: Replay,
            /// Accepted here because the gate reads it.
            #[serde(rename = "ticket")]
            _ticket: Option<IgnoredAny>,
        }
        let names: Vec<_> = WIRES.iter().map(|wire| wire.name).collect();
        let takes = format!("after, format ({}) and replay (events or snapshot)", names.join(" or "));
        let Raw { after, format, replay, .. } = query(parts, state, &takes).await?;
        let format = format.as_deref().map_or(Ok(Format::default()), |name| Format::named(name, &takes))?;
        if replay == Replay::Snapshot && !format.0.is_native() {
            return Err(invalid_query("replay=snapshot requires the native format: omit replay or format."));
        }
        Ok(Self { after: after.as_deref().map(sequence).transpose()?, format, replay })
    }
}
