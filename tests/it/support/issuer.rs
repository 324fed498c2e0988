//! An identity provider: its keys, and the tokens that it signs.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use aws_lc_rs::{hmac, signature::RsaEncoding};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokenrill::domain::Timestamp;
use tokenrill::settings::{AuthMode, JwtSettings, Settings};

pub const ISSUER: &str = "https://id.example/";
pub const AUDIENCE: &str = "tokenrill";
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn now() -> u64 {
    Timestamp::now().millis() / 1000
}

/// An issuer's keys.
pub struct Issuer {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Issuer {
    pub fn new() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
            ed: Ed25519KeyPair::generate().expect("a key"),
        }
    }

    pub fn modulus(&self) -> Vec<u8> {
        self.rsa.public_key().modulus().big_endian_without_leading_zero().to_vec()
    }

    /// Returns the key set as an identity provider publishes it, including keys for other uses.
    pub fn jwks(&self) -> String {
        let exponent = self.rsa.public_key().exponent().big_endian_without_leading_zero().to_vec();
        let point = self.ec.public_key().as_ref();
        json!({"keys": [
            {"kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256", "n": base64(self.modulus()), "e": base64(&exponent)},
            {"kty": "EC", "kid": "ec", "crv": "P-256", "x": base64(&point[1..33]), "y": base64(&point[33..])},
            {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": base64(self.ed.public_key())},
            {"kty": "RSA", "kid": "encryption", "use": "enc", "n": base64(self.modulus()), "e": base64(&exponent)},
            {"kty": "RSA", "kid": "another", "alg": "RS512", "n": base64(self.modulus()), "e": base64(&exponent)},
            {"kty": "oct", "kid": "secret", "k": base64(SECRET)},
            {"kty": "new", "kid": "new"},
        ]})
        .to_string()
    }

    pub fn rsa(&self, signed: &str, padding: &'static dyn RsaEncoding) -> Vec<u8> {
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        self.rsa.sign(padding, &SystemRandom::new(), signed.as_bytes(), &mut signature).expect("a signature");
        signature
    }

    pub fn rs256(&self, header: &Value, claims: &Value) -> String {
        token(header, claims, |signed| self.rsa(signed, &RSA_PKCS1_SHA256))
    }

    pub fn es256(&self, header: &Value, claims: &Value) -> String {
        let sign = |signed: &str| self.ec.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        token(header, claims, |signed| sign(signed).as_ref().to_vec())
    }

    pub fn eddsa(&self, header: &Value, claims: &Value) -> String {
        token(header, claims, |signed| self.ed.sign(signed.as_bytes()).as_ref().to_vec())
    }
}

pub fn token(header: &Value, claims: &Value, sign: impl Fn(&str) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
    let signature = base64(sign(&signed));
    format!("{signed}.{signature}")
}

pub fn hs256(secret: &[u8], header: &Value, claims: &Value) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    token(header, claims, |signed| hmac::sign(&key, signed.as_bytes()).as_ref().to_vec())
}

/// Returns valid claims, overridden by those of `but`; null removes a claim.
pub fn claims(but: &Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now() + 60, "scope": "openid generate follow stop",
    });
    for (name, value) in but.as_object().expect("claims") {
        match value {
            Value::Null => drop(claims.as_object_mut().expect("claims").remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

pub fn header(algorithm: &str, key: &str) -> Value {
    json!({"alg": algorithm, "typ": "JWT", "kid": key})
}

/// Returns settings that trust this issuer, with the source of its keys in `jwt`.
pub fn trusting(jwt: JwtSettings) -> Settings {
    let mut settings = Settings::default();
    settings.auth.mode = Some(AuthMode::Required);
    settings.auth.jwt = JwtSettings { issuer: Some(ISSUER.to_owned()), audience: Some(AUDIENCE.to_owned()), ..jwt };
    settings
}
