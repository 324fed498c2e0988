//! JSON Web Tokens (RFC 7519) that one issuer has made for this service.

use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, errors::ErrorKind};
use serde::Deserialize;

use super::{Identity, Refusal, Scopes};
use crate::domain::{AllowedModels, Principal};

/// The tokens of one issuer. Each key verifies by one algorithm, which is the key's and never the token's
/// (RFC 8725, section 3.1); nothing that a token names is fetched.
pub struct Jwts {
    issuer: String,
    keys: Vec<Key>,
}

struct Key {
    id: Option<String>,
    verifies: DecodingKey,
    validation: Validation,
}

/// Whose tokens, and for whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Trust {
    pub issuer: String,
    pub audience: String,
}

/// Why a set of keys is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJwks {
    #[error("it is no JWK set (RFC 7517)")]
    Syntax,
    #[error("none of its keys is for RS256, ES256 or EdDSA")]
    NoKey,
    #[error("two of its keys have one kid, or one has none beside others")]
    Ambiguous,
}

/// What is read of a token beside `iss`, `aud`, `exp` and `nbf`.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// One, though [`jsonwebtoken`] would take several.
    #[serde(rename = "iss")]
    _issuer: String,
    /// RFC 8693, section 4.2. Absent: the token is for nothing here.
    #[serde(default)]
    scope: String,
}

/// The longest that is looked at.
const LONGEST: usize = 8 << 10;
/// The longest subject, in bytes: it is part of each ticket that is made with the token.
const LONGEST_SUBJECT: usize = 256;
/// How far the clocks may differ, in seconds.
const LEEWAY: u64 = 30;

impl Jwts {
    /// Signed with a secret that the issuer shares: HS256.
    pub fn of_secret(secret: &[u8], trust: Trust) -> Self {
        let key = DecodingKey::from_secret(secret);
        let keys = vec![Key { id: None, verifies: key, validation: validation(Algorithm::HS256, &trust) }];
        Self { issuer: trust.issuer, keys }
    }

    /// Signed with a key of this set (RFC 7517, section 5): RS256, ES256 or `EdDSA`. Keys for something else are
    /// passed over, among them secrets, which are nothing to publish.
    pub fn of_jwks(text: &str, trust: Trust) -> Result<Self, InvalidJwks> {
        let set: JwkSet = serde_json::from_str(text).map_err(|_| InvalidJwks::Syntax)?;
        let mut keys: Vec<Key> = Vec::new();
        for jwk in &set.keys {
            let Some(algorithm) = algorithm(jwk) else { continue };
            let key = DecodingKey::from_jwk(jwk).map_err(|_| InvalidJwks::Syntax)?;
            let id = jwk.common.key_id.clone();
            if keys.iter().any(|other| other.id.is_none() || id.is_none() || other.id == id) {
                return Err(InvalidJwks::Ambiguous);
            }
            keys.push(Key { id, verifies: key, validation: validation(algorithm, &trust) });
        }
        if keys.is_empty() { Err(InvalidJwks::NoKey) } else { Ok(Self { issuer: trust.issuer, keys }) }
    }

    pub fn identify(&self, token: &str) -> Result<Identity, Refusal> {
        if token.len() > LONGEST {
            return Err(Refusal::Malformed);
        }
        let header = decode_header(token).map_err(|_| Refusal::Malformed)?;
        // RFC 7515, section 4.1.11: no extension is understood here.
        if header.crit.is_some() {
            return Err(Refusal::Malformed);
        }
        let key = self.key(header.kid.as_deref()).ok_or(Refusal::UnknownKey)?;
        let Claims { sub, scope, .. } =
            decode(token, &key.verifies, &key.validation).map_err(|error| refusal(&error))?.claims;
        if !(1..=LONGEST_SUBJECT).contains(&sub.len()) || sub.chars().any(char::is_control) {
            return Err(Refusal::Malformed);
        }
        // No key's name holds a line's end, so none is somebody's from another house.
        let principal = Principal::Named(format!("{}\n{sub}", self.issuer).into());
        Ok(Identity { principal, scopes: Scopes::of_claim(&scope), models: AllowedModels::All, only: None })
    }

    /// By its id. One that is alone and has none is every token's.
    fn key(&self, id: Option<&str>) -> Option<&Key> {
        match (self.keys.as_slice(), id) {
            ([only], None) => Some(only),
            ([only], _) if only.id.is_none() => Some(only),
            (keys, Some(id)) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
            (_, None) => None,
        }
    }
}

fn validation(algorithm: Algorithm, trust: &Trust) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = LEEWAY;
    validation.validate_nbf = true;
    validation.set_issuer(&[&trust.issuer]);
    validation.set_audience(&[&trust.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation
}

/// The one algorithm that a key is for, where it is one of ours.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    if jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    jwk.common.key_algorithm.is_none_or(|named| named == name).then_some(algorithm)
}

fn refusal(error: &jsonwebtoken::errors::Error) -> Refusal {
    match error.kind() {
        ErrorKind::ExpiredSignature => Refusal::Expired,
        ErrorKind::ImmatureSignature => Refusal::TooEarly,
        ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => Refusal::Invalid,
        ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience => Refusal::NotForUs,
        _ => Refusal::Malformed,
    }
}

/// Shows the issuer alone.
impl fmt::Debug for Jwts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jwts({})", self.issuer)
    }
}
