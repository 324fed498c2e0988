//! Verification of JSON Web Tokens (RFC 7519) that one issuer has signed for this service.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, errors::ErrorKind};
use serde::Deserialize;
use serde_json::Value;

use super::{CredentialError, Identity, Scopes};
use crate::domain::{AllowedModels, Budget, Principal, Quota, Timestamp};

/// Verifies the tokens of one issuer. Each key has one algorithm, which is never taken from the token (RFC 8725,
/// section 3.1). No URL that a token contains is fetched.
pub struct Jwts {
    trust: Trust,
    keys: Vec<VerificationKey>,
}

struct VerificationKey {
    id: Option<String>,
    verifies: DecodingKey,
    validation: Validation,
}

/// The issuer and the audience that a token must have, and the claims to read.
#[derive(Debug, Clone, PartialEq)]
pub struct Trust {
    pub issuer: Arc<str>,
    pub audience: String,
    /// The claim that holds the scopes.
    pub scope_claim: String,
    /// The claim that holds the subject's quota and budget, if configured.
    pub limits_claim: Option<String>,
}

impl Trust {
    pub fn new(issuer: &str, audience: &str) -> Self {
        Self { issuer: issuer.into(), audience: audience.to_owned(), scope_claim: SCOPE.to_owned(), limits_claim: None }
    }
}

/// Why a key set cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJwks {
    #[error("it is not a JWK set (RFC 7517)")]
    Syntax,
    #[error("one of its keys has an invalid length")]
    Length,
    #[error("none of its keys is for RS256, ES256 or EdDSA")]
    NoKey,
    #[error("two of its keys have the same kid, or one of several has none")]
    Ambiguous,
}

/// The claims that are read after `jsonwebtoken` has checked `iss`, `aud`, `exp` and `nbf`.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// Seconds since 1970, possibly with a fraction (RFC 7519, section 2).
    exp: f64,
    /// Deserialized to require a single issuer: [`jsonwebtoken`] would accept an array.
    #[serde(rename = "iss")]
    _issuer: String,
    /// Includes the scopes and the quota.
    #[serde(flatten)]
    others: HashMap<String, Value>,
}

/// The value of the limits claim.
#[derive(Default, Deserialize)]
struct ClaimedLimits {
    #[serde(flatten)]
    quota: Quota,
    budget: Option<Budget>,
}

/// The claim of RFC 8693, section 4.2.
const SCOPE: &str = "scope";
/// The longest accepted token, in bytes.
const MAX_TOKEN_BYTES: usize = 8 << 10;
/// The longest subject, in bytes. Each ticket that is issued with the token contains it.
const MAX_SUBJECT_BYTES: usize = 256;
/// The accepted clock skew, in seconds.
const LEEWAY: u64 = 30;

impl Jwts {
    /// Verifies with a secret that the issuer shares: HS256.
    pub fn of_secret(secret: &[u8], trust: Trust) -> Self {
        let key = DecodingKey::from_secret(secret);
        let keys = vec![VerificationKey { id: None, verifies: key, validation: validation(Algorithm::HS256, &trust) }];
        Self { trust, keys }
    }

    /// Verifies with the keys of this set (RFC 7517, section 5): RS256, ES256 or `EdDSA`. Ignores keys of other types
    /// or uses, and symmetric keys, which must not be published.
    pub fn of_jwks(text: &str, trust: Trust) -> Result<Self, InvalidJwks> {
        let set = parse_jwks(text)?;
        let ours: Vec<&Jwk> = set.keys.iter().filter(|jwk| algorithm(jwk).is_some()).collect();
        if !ours.iter().all(|jwk| is_usable(jwk)) {
            return Err(InvalidJwks::Length);
        }
        if !ours.iter().all(|jwk| is_unambiguous(jwk, &ours)) {
            return Err(InvalidJwks::Ambiguous);
        }
        Self::of_keys(&ours, trust)
    }

    /// Like [`Jwts::of_jwks`], for a set that the issuer publishes. Ignores keys that cannot be used (RFC 7517, section
    /// 5), so that they do not disable the others.
    pub fn published(text: &str, trust: Trust) -> Result<Self, InvalidJwks> {
        let set = parse_jwks(text)?;
        let usable: Vec<&Jwk> = set.keys.iter().filter(|jwk| algorithm(jwk).is_some() && is_usable(jwk)).collect();
        let unambiguous: Vec<&Jwk> = usable.iter().filter(|jwk| is_unambiguous(jwk, &usable)).copied().collect();
        Self::of_keys(&unambiguous, trust)
    }

    fn of_keys(keys: &[&Jwk], trust: Trust) -> Result<Self, InvalidJwks> {
        let keys = keys.iter().filter_map(|jwk| {
            let validation = validation(algorithm(jwk)?, &trust);
            let verifies = DecodingKey::from_jwk(jwk).map_err(|_| InvalidJwks::Syntax);
            Some(verifies.map(|verifies| VerificationKey { id: jwk.common.key_id.clone(), verifies, validation }))
        });
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(InvalidJwks::NoKey);
        }
        Ok(Self { trust, keys })
    }

    /// Returns whether there is only one key. Tokens without a `kid` are then verified with it, so that an invalid
    /// signature can mean that the issuer has rotated its key.
    pub const fn has_single_key(&self) -> bool {
        self.keys.len() == 1
    }

    pub fn identify(&self, token: &str) -> Result<Identity, CredentialError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(CredentialError::Malformed);
        }
        let header = decode_header(token).map_err(|_| CredentialError::Malformed)?;
        // RFC 7515, section 4.1.11: a token with critical extensions must be refused, as none is supported.
        if header.crit.is_some() {
            return Err(CredentialError::Malformed);
        }
        let key = self.key(header.kid.as_deref()).ok_or(CredentialError::UnknownKey)?;
        let Claims { sub, exp, mut others, .. } =
            decode(token, &key.verifies, &key.validation).map_err(|error| refusal(&error))?.claims;
        if !(1..=MAX_SUBJECT_BYTES).contains(&sub.len()) || sub.chars().any(char::is_control) {
            return Err(CredentialError::Malformed);
        }
        let principal = Principal::Subject { issuer: Arc::clone(&self.trust.issuer), subject: sub.into() };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates; it is not negative"
        )]
        let until = Some(Timestamp::from_millis((exp * 1000.0) as u64));
        // An unreadable limit must not lift the limit: the token is refused.
        let claimed = self.trust.limits_claim.as_ref().and_then(|claim| others.remove(claim));
        let ClaimedLimits { quota, budget } = match claimed {
            None | Some(Value::Null) => ClaimedLimits::default(),
            Some(limits @ Value::Object(_)) => {
                ClaimedLimits::deserialize(limits).map_err(|_| CredentialError::Malformed)?
            }
            Some(_) => return Err(CredentialError::Malformed),
        };
        let scopes = self.scopes(&others)?;
        Ok(Identity { principal, scopes, models: AllowedModels::All, only: None, until, quota, budget })
    }

    /// Returns the scopes that the token grants. Without a scope claim it grants none.
    fn scopes(&self, claims: &HashMap<String, Value>) -> Result<Scopes, CredentialError> {
        let named = |name: &str| claims.get(name).filter(|value| !value.is_null());
        // Okta and Entra ID use `scp`.
        let other = || if self.trust.scope_claim == SCOPE { named("scp") } else { None };
        match named(&self.trust.scope_claim).or_else(other) {
            None => Ok(Scopes::default()),
            // RFC 8693, section 4.2.
            Some(Value::String(words)) => Ok(Scopes::of_claim(words.split(' '))),
            Some(Value::Array(words)) => Ok(Scopes::of_claim(words.iter().filter_map(Value::as_str))),
            Some(_) => Err(CredentialError::Malformed),
        }
    }

    /// Finds the key of a token by its `kid`. A sole key also verifies tokens without a `kid`, and a sole key without
    /// an id verifies all tokens.
    fn key(&self, id: Option<&str>) -> Option<&VerificationKey> {
        match (self.keys.as_slice(), id) {
            ([only], None) => Some(only),
            ([only], _) if only.id.is_none() => Some(only),
            (keys, Some(id)) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
            (_, None) => None,
        }
    }
}

fn parse_jwks(text: &str) -> Result<JwkSet, InvalidJwks> {
    serde_json::from_str(text).map_err(|_| InvalidJwks::Syntax)
}

/// Returns whether the key is the only one, or has a `kid` that no other key of `among` has.
fn is_unambiguous(jwk: &Jwk, among: &[&Jwk]) -> bool {
    let id = &jwk.common.key_id;
    among.len() == 1 || (id.is_some() && among.iter().filter(|other| other.common.key_id == *id).count() == 1)
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

/// Returns the algorithm of a key, or `None` if it is not for verifying with a supported algorithm.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    if jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    let operations = jwk.common.key_operations.as_ref();
    if operations.is_some_and(|operations| !operations.contains(&KeyOperations::Verify)) {
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

/// Returns whether the key's parameters have valid lengths (RFC 7518, section 6; RFC 8037, section 2). A key with wrong
/// lengths would refuse every token, without a hint at the reason.
fn is_usable(jwk: &Jwk) -> bool {
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    let number = |text: &str| Some(bytes(text)).filter(|bytes| bytes.first().is_some_and(|first| *first != 0));
    match &jwk.algorithm {
        AlgorithmParameters::RSA(key) => {
            // 2048 to 8192 bits.
            number(&key.e).is_some() && number(&key.n).is_some_and(|modulus| (256..=1024).contains(&modulus.len()))
        }
        AlgorithmParameters::EllipticCurve(key) => bytes(&key.x).len() == 32 && bytes(&key.y).len() == 32,
        AlgorithmParameters::OctetKeyPair(key) => bytes(&key.x).len() == 32,
        _ => false,
    }
}

fn refusal(error: &jsonwebtoken::errors::Error) -> CredentialError {
    match error.kind() {
        ErrorKind::ExpiredSignature => CredentialError::Expired,
        ErrorKind::ImmatureSignature => CredentialError::TooEarly,
        ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => CredentialError::Invalid,
        ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience => CredentialError::NotForUs,
        _ => CredentialError::Malformed,
    }
}

/// Prints only the issuer.
impl fmt::Debug for Jwts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jwts({})", self.trust.issuer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(key: &Value) -> Result<(), InvalidJwks> {
        let trust = Trust::new("i", "a");
        Jwts::of_jwks(&json!({"keys": [key]}).to_string(), trust).map(drop)
    }

    #[test]
    fn of_jwks_refuses_keys_of_invalid_length_or_use() {
        let of = |bytes: usize, first: u8| {
            let mut number = vec![1; bytes];
            number[0] = first;
            URL_SAFE_NO_PAD.encode(number)
        };
        let rsa = |modulus: String| json!({"kty": "RSA", "kid": "k", "n": modulus, "e": "AQAB"});
        assert_eq!(read(&rsa(of(256, 1))), Ok(()));
        for modulus in [of(128, 1), of(255, 1), of(257, 0), of(1025, 1), String::new(), "!".repeat(342)] {
            assert_eq!(read(&rsa(modulus)), Err(InvalidJwks::Length));
        }
        for (x, y, expected) in
            [(32, 32, Ok(())), (31, 32, Err(InvalidJwks::Length)), (32, 33, Err(InvalidJwks::Length))]
        {
            assert_eq!(read(&json!({"kty": "EC", "crv": "P-256", "x": of(x, 1), "y": of(y, 1)})), expected);
        }
        assert_eq!(read(&json!({"kty": "OKP", "crv": "Ed25519", "x": of(31, 1)})), Err(InvalidJwks::Length));
        for other in [
            json!({"kty": "RSA", "use": "enc", "n": of(256, 1), "e": "AQAB"}),
            json!({"kty": "RSA", "key_ops": ["wrapKey"], "n": of(256, 1), "e": "AQAB"}),
            json!({"kty": "RSA", "alg": "PS256", "n": of(256, 1), "e": "AQAB"}),
            json!({"kty": "EC", "crv": "P-384", "x": of(48, 1), "y": of(48, 1)}),
            json!({"kty": "oct", "k": of(32, 1)}),
        ] {
            assert_eq!(read(&other), Err(InvalidJwks::NoKey), "{other}");
        }
    }

    #[test]
    fn ambiguous_key_ids_are_refused() {
        let key = |id: Option<&str>| {
            let mut key = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([1; 32])});
            if let Some(id) = id {
                key["kid"] = id.into();
            }
            key
        };
        let read = |keys: &[Value]| {
            let trust = Trust::new("i", "a");
            Jwts::of_jwks(&json!({"keys": keys}).to_string(), trust).map(|jwts| jwts.keys.len())
        };
        assert_eq!(read(&[key(None)]), Ok(1));
        assert_eq!(read(&[key(Some("a")), key(Some("b"))]), Ok(2));
        assert_eq!(read(&[key(Some("a")), key(Some("a"))]), Err(InvalidJwks::Ambiguous));
        assert_eq!(read(&[key(Some("a")), key(None)]), Err(InvalidJwks::Ambiguous));
        assert_eq!(read(&[]), Err(InvalidJwks::NoKey));

        // `published` ignores unusable keys and keeps the others.
        let published = |keys: &[Value]| {
            Jwts::published(&json!({"keys": keys}).to_string(), Trust::new("i", "a")).map(|jwts| jwts.keys.len())
        };
        let short = json!({"kty": "RSA", "kid": "short", "n": URL_SAFE_NO_PAD.encode([1; 128]), "e": "AQAB"});
        assert_eq!(published(&[key(Some("a")), short.clone(), key(Some("b"))]), Ok(2));
        assert_eq!(published(&[key(Some("a")), key(None)]), Ok(1));
        assert_eq!(published(&[key(Some("a")), key(Some("a")), key(Some("b"))]), Ok(1));
        assert_eq!(published(&[key(None), short.clone()]), Ok(1));
        assert_eq!(published(&[short]), Err(InvalidJwks::NoKey));
    }
}
