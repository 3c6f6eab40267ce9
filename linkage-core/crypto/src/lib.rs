//! Keys and cryptographic constructions of the linkage protocol, profile `block-scoped` version 1.
//!
//! | module | what | source |
//! |---|---|---|
//! | [`oprf`] | ristretto255-SHA512, modes OPRF and VOPRF, batched | RFC 9497, RFC 9380, RFC 9496 |
//! | [`mod@derive`] | block secrets, run keys, entry keys | HMAC (RFC 2104), HKDF (RFC 5869) |
//! | [`fields`] | q-gram positions, levelled filters, slots, stage-2 permutation | this project |
//! | [`payloads`] | stage 1 of a record's payloads at once | this project |
//! | [`entries`] | stage 2 of a record's entries at once | this project |
//! | [`group`] | the group key, from a contribution of every partner | RFC 9180, RFC 8032 |
//! | [`seal`] | sealing to a recipient's key | RFC 9180, base mode |
//! | [`signing`] | Ed25519 keys and strict verification | RFC 8032 |
//! | [`pseudonym`] | pseudonyms that neither role alone can compute | this project |
//! | [`storage`] | encryption at rest, bound to its place | AES-256-GCM (SP 800-38D) |
//! | [`keyfile`] | keys as one line of base64 text | this project |
//!
//! Every derivation begins with the ASCII text `linkage/block-scoped/1/` (the profile and its version), so that two
//! versions can never yield one value. Published and project vectors are under `tests/vectors`; `check.py` there
//! recomputes them without this crate.
//!
//! Secrets are zeroised when dropped, have a `Debug` that shows nothing and no `Display`. Randomness is always a
//! parameter. Error messages are in French, since operators read them; none repeats an input or a key.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod mac;
mod permutation;
mod secret;

pub mod derive;
pub mod entries;
pub mod fields;
pub mod group;
pub mod keyfile;
pub mod oprf;
pub mod payloads;
pub mod pseudonym;
pub mod seal;
pub mod signing;
pub mod storage;

/// The profile's version, part of every label.
pub const PROFILE_VERSION: u32 = 1;

/// SHA-256 of the agreement's canonical form; every key of a run depends on it.
pub type AgreementHash = [u8; 32];

/// `label("x")`: the domain separation text `linkage/block-scoped/1/x` as bytes.
macro_rules! label {
    ($name:literal) => {
        concat!("linkage/block-scoped/1/", $name).as_bytes()
    };
}
pub(crate) use label;
