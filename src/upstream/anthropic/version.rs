//! The version of Anthropic's API.

use hyper::header::HeaderValue;

/// The value of the header `anthropic-version`, a date such as `2023-06-01`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiVersion {
    header: HeaderValue,
    sampling: SamplingParameters,
}

/// Whether an API accepts `temperature`, `top_p` and `top_k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SamplingParameters {
    Accepted,
    /// A request with one of them is refused, even with its default.
    Refused,
}

/// The version is not a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("anthropic_version is not a date such as 2023-06-01")]
pub struct InvalidVersionError;

/// The first version that refuses sampling parameters.
const NO_SAMPLING: &str = "2026-10-21";

impl ApiVersion {
    /// Reads a version. Dates of ten characters are in the order of their text.
    pub fn new(version: &str) -> Result<Self, InvalidVersionError> {
        let is_date = version.len() == 10
            && version.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        let header = HeaderValue::from_str(version).ok().filter(|_| is_date).ok_or(InvalidVersionError)?;
        let sampling = if version < NO_SAMPLING { SamplingParameters::Accepted } else { SamplingParameters::Refused };
        Ok(Self { header, sampling })
    }

    pub const fn header(&self) -> &HeaderValue {
        &self.header
    }

    pub const fn sampling(&self) -> SamplingParameters {
        self.sampling
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sampling_parameters_are_refused_from_the_version_of_october_2026() {
        for (version, sampling) in [
            ("2023-06-01", SamplingParameters::Accepted),
            ("2026-10-20", SamplingParameters::Accepted),
            ("2026-10-21", SamplingParameters::Refused),
            ("2027-01-01", SamplingParameters::Refused),
        ] {
            let version = ApiVersion::new(version).expect("a date");
            assert_eq!(version.sampling(), sampling, "{version:?}");
        }
    }

    #[test]
    fn version_that_is_not_a_date_is_refused() {
        for version in ["", "latest", "2023-6-1", "2023-06-01 ", "2023/06/01", "2023-06-0é"] {
            assert_eq!(ApiVersion::new(version), Err(InvalidVersionError), "{version}");
        }
    }
}
