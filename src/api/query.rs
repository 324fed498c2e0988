//! The query of a request, read into the struct that also describes it in the OpenAPI document.

use std::fmt;
use std::time::Duration;

use axum::extract::{FromRequestParts, Query};
use axum::http::Uri;
use axum::http::request::Parts;
use serde::de::value::{MapDeserializer, StringDeserializer};
use serde::de::{DeserializeOwned, Error, IntoDeserializer, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::problem::{ErrorCode, Problem};
use crate::domain::{Listed, Sequence};

/// The parameters of one operation's query: names, types and constraints, for parsing and for the OpenAPI document.
///
/// Unknown names, duplicates and values of another type are refused with the list of accepted parameters. A
/// deserializer that fails with [`Error::custom`] gives the whole text of the refusal.
pub trait QueryParameters: DeserializeOwned + IntoParams {
    /// Names that SDKs send and that change nothing here. They may be repeated.
    const IGNORED: &'static [&'static str] = &[];

    /// Returns the accepted parameters, for the text of a refusal.
    fn accepted() -> String;

    /// Refuses values that exclude each other.
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

/// The query of the request.
pub struct ApiQuery<T>(pub T);

impl<T: QueryParameters, S: Sync> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        read_checked(&parts.uri).map(Self).map_err(|error| {
            let detail = match error {
                QueryError::Form => format!("The query is invalid. It accepts {}.", T::accepted()),
                QueryError::Value(detail) => detail,
            };
            Problem::new(ErrorCode::InvalidRequest, detail)
        })
    }
}

/// Reads and checks the query.
fn read_checked<T: QueryParameters>(uri: &Uri) -> Result<T, QueryError> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| QueryError::Form)?;
    let pairs = pairs.into_iter().filter(|(name, _)| !T::IGNORED.contains(&name.as_str()));
    let pairs = pairs.map(|(name, value)| (name, ParameterValue(value)));
    let parameters = T::deserialize(MapDeserializer::new(pairs))?;
    parameters.check().map_err(|detail| QueryError::Value(detail.to_owned()))?;
    Ok(parameters)
}

/// Why a query is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum QueryError {
    /// An unknown or duplicate name, or a value of another type.
    #[error("the query has another form")]
    Form,
    /// A value that its parameter does not accept, with the text of the refusal.
    #[error("{0}")]
    Value(String),
}

impl Error for QueryError {
    fn custom<T: fmt::Display>(detail: T) -> Self {
        Self::Value(detail.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, _: &dyn serde::de::Expected) -> Self {
        Self::Form
    }

    fn invalid_value(_: Unexpected<'_>, _: &dyn serde::de::Expected) -> Self {
        Self::Form
    }

    fn invalid_length(_: usize, _: &dyn serde::de::Expected) -> Self {
        Self::Form
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self::Form
    }

    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self::Form
    }

    fn missing_field(_: &'static str) -> Self {
        Self::Form
    }

    fn duplicate_field(_: &'static str) -> Self {
        Self::Form
    }
}

/// The text of one parameter, read as the type of its field.
struct ParameterValue(String);

impl IntoDeserializer<'_, QueryError> for ParameterValue {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for ParameterValue {
    type Error = QueryError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, QueryError> {
        visitor.visit_string(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, QueryError> {
        visitor.visit_some(self)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, QueryError> {
        visitor.visit_bool(self.0.parse().map_err(|_| QueryError::Form)?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, QueryError> {
        visitor.visit_u64(self.0.parse().map_err(|_| QueryError::Form)?)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, QueryError> {
        StringDeserializer::new(self.0).deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct seq
        tuple tuple_struct map struct identifier ignored_any
    }
}

/// The parameter `limit`: the most entries of a page, from 1 to `MOST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit<const DEFAULT: usize, const MOST: usize>(usize);

impl<const DEFAULT: usize, const MOST: usize> PageLimit<DEFAULT, MOST> {
    pub const fn get(self) -> usize {
        self.0
    }
}

impl<const DEFAULT: usize, const MOST: usize> Default for PageLimit<DEFAULT, MOST> {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl<'de, const DEFAULT: usize, const MOST: usize> Deserialize<'de> for PageLimit<DEFAULT, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let limit = usize::deserialize(deserializer)?;
        if (1..=MOST).contains(&limit) {
            Ok(Self(limit))
        } else {
            Err(D::Error::custom(format_args!("limit must be from 1 to {MOST}.")))
        }
    }
}

impl<const DEFAULT: usize, const MOST: usize> PartialSchema for PageLimit<DEFAULT, MOST> {
    fn schema() -> RefOr<Schema> {
        whole_number(1, MOST)
    }
}

impl<const DEFAULT: usize, const MOST: usize> ToSchema for PageLimit<DEFAULT, MOST> {}

/// Returns the schema of a whole number in a range.
pub fn whole_number(least: usize, most: usize) -> RefOr<Schema> {
    let schema = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(least))
        .maximum(Some(most));
    RefOr::T(Schema::Object(schema.build()))
}

/// Reads the parameter `after`.
pub fn sequence<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Sequence>, D::Error> {
    let after = String::deserialize(deserializer)?.parse();
    let detail = "after must be a sequence number: the digits after the dot of an event's id.";
    after.map(Some).map_err(|_| D::Error::custom(detail))
}

/// Reads the parameter `cursor`.
pub fn cursor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Listed>, D::Error> {
    let cursor = String::deserialize(deserializer)?.parse();
    cursor.map(Some).map_err(|_| D::Error::custom("cursor must be the value of next in the previous page."))
}

/// The longest `wait`, so short that no proxy times out.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Reads the parameter `wait`, a duration with its unit (`20s`, `500ms`, `1m`), clamped to [`LONGEST_WAIT`].
pub fn wait<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let wait = String::deserialize(deserializer)?;
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000)];
    let millis = units.iter().find_map(|(unit, millis)| Some(digits(wait.strip_suffix(unit)?, 6)? * millis));
    let detail = "wait must be a duration with its unit, such as 20s or 500ms.";
    let wait = millis.map(Duration::from_millis).ok_or_else(|| D::Error::custom(detail))?;
    Ok(wait.min(LONGEST_WAIT))
}

/// Parses a whole number of at most `most` digits.
pub fn digits(text: &str, most: usize) -> Option<u64> {
    let valid = text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, IntoParams)]
    #[serde(deny_unknown_fields)]
    struct ExampleQuery {
        limit: Option<PageLimit<2, 3>>,
        flag: Option<bool>,
        #[serde(default, deserialize_with = "wait")]
        #[param(value_type = Option<String>)]
        wait: Duration,
    }

    impl QueryParameters for ExampleQuery {
        fn accepted() -> String {
            "limit, flag and wait".to_owned()
        }

        fn check(&self) -> Result<(), &'static str> {
            if self.flag == Some(true) && self.limit.is_some() { Err("flag excludes limit.") } else { Ok(()) }
        }
    }

    fn read(query: &str) -> Result<ExampleQuery, QueryError> {
        read_checked(&format!("/?{query}").parse().expect("a URI"))
    }

    #[test]
    fn unknown_and_duplicate_names_and_other_types_are_of_another_form() {
        for query in ["other=1", "flag=true&flag=true", "flag=1", "limit=x", "limit=-1", "limit=1.0", "limit", "=1"] {
            assert_eq!(read(query).err(), Some(QueryError::Form), "{query}");
        }
    }

    #[test]
    fn refused_value_and_combination_give_the_text() {
        for (query, detail) in [
            ("limit=0", "limit must be from 1 to 3."),
            ("limit=4", "limit must be from 1 to 3."),
            ("wait=5", "wait must be a duration with its unit, such as 20s or 500ms."),
            ("flag=true&limit=1", "flag excludes limit."),
        ] {
            assert_eq!(read(query).err(), Some(QueryError::Value(detail.to_owned())), "{query}");
        }
    }

    #[test]
    fn values_are_decoded_and_a_long_wait_is_clamped() {
        for (query, wait) in [("", 0), ("wait=500ms", 500), ("wait=2%73", 2_000), ("wait=5m&flag=false", 60_000)] {
            assert_eq!(read(query).expect(query).wait, Duration::from_millis(wait), "{query}");
        }
        assert_eq!(read("limit=3").expect("a limit").limit.map(PageLimit::get), Some(3));
        assert_eq!(PageLimit::<2, 3>::default().get(), 2);
    }
}
