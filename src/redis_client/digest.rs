//! Digests of what must not stand in the name of a key: callers, idempotency keys, names of channels.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::domain::{Account, Principal};

/// Returns the digest of an account and further parts, in the characters of base64 for URLs.
pub fn digest_of_account(account: &Account, parts: &[&str]) -> String {
    let address;
    let (kind, own): (&str, &[&str]) = match account {
        Account::Principal(Principal::Anonymous) => ("anonymous", &[]),
        Account::Principal(Principal::Key(name)) => ("key", &[name]),
        Account::Principal(Principal::Subject { issuer, subject }) => ("subject", &[issuer, subject]),
        Account::Address(of) => {
            address = of.to_string();
            ("address", &[&address])
        }
        Account::Service => ("service", &[]),
    };
    digest(&[&[kind], own, parts].concat())
}

/// Each part is preceded by its length, so that no two lists of parts have the same input.
pub fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    URL_SAFE_NO_PAD.encode(hash.finalize())
}
