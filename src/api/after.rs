//! The query parameter `after` of a generation.

use std::borrow::Cow;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, OneOfBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::problem::Problem;
use crate::domain::{EventId, EventPosition, GenerationId, InvalidId};

/// The position after which a client continues: an event's id, or the part of one after the generation's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After {
    generation: Option<GenerationId>,
    position: EventPosition,
}

impl After {
    /// Returns the position in the generation; [`EventPosition::START`] without the parameter.
    pub fn position(after: Option<Self>, id: GenerationId) -> Result<EventPosition, Problem> {
        match after {
            None => Ok(EventPosition::START),
            Some(Self { generation: Some(other), .. }) if other != id => Err(Problem::nothing_to_resume()),
            Some(Self { position, .. }) => Ok(position),
        }
    }

    /// Reads the parameter.
    pub fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        let after = String::deserialize(deserializer)?.parse();
        let detail = "after must be the id of an event, or the part of it after the generation's id.";
        after.map(Some).map_err(|_| D::Error::custom(detail))
    }
}

impl PartialSchema for After {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(0));
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(r"^(gen_[A-Za-z0-9_-]{21}[AQgw]\.)?([0-9]{1,9}\.)?[0-9]{1,15}$"));
        RefOr::T(Schema::OneOf(OneOfBuilder::new().item(number).item(text).build()))
    }
}

impl ToSchema for After {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("After")
    }
}

impl FromStr for After {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if let Ok(EventId { generation, position }) = text.parse() {
            return Ok(Self { generation: Some(generation), position });
        }
        Ok(Self { generation: None, position: text.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Epoch, Sequence};

    #[test]
    fn after_accepts_an_id_of_the_generation_and_its_parts() {
        let (id, other) = (GenerationId::random(), GenerationId::random());
        let third = EventPosition::first(Sequence::new(3));
        let later = EventPosition { epoch: Epoch::new(2), sequence: Sequence::new(3) };
        let position = |text: String| After::position(Some(text.parse().expect("a position")), id).ok();
        assert_eq!(After::position(None, id).ok(), Some(EventPosition::START));
        assert_eq!(position("3".to_owned()), Some(third));
        assert_eq!(position("2.3".to_owned()), Some(later));
        assert_eq!(position(format!("{id}.3")), Some(third));
        assert_eq!(position(format!("{id}.2.3")), Some(later));
        assert_eq!(position(format!("{other}.3")), None);
        for text in ["", "x", "1.3", "3.", &format!("{id}"), &format!("{id}.")] {
            assert_eq!(text.parse::<After>(), Err(InvalidId), "{text}");
        }
    }
}
