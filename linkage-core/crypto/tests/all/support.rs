//! Vector files, hexadecimal, and a generator that gives chosen scalars.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::PathBuf;

use rand_chacha::ChaCha20Rng;
use rand_core::{SeedableRng, TryCryptoRng, TryRng};
use serde_json::Value;

/// A path under tests/vectors.
pub(crate) fn vectors_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(name)
}

/// A parsed file under tests/vectors.
pub(crate) fn vectors(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(vectors_path(name)).unwrap()).unwrap()
}

/// The bytes of a hexadecimal JSON string.
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// The same with a length known beforehand.
pub(crate) fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

/// The bytes of each string of a JSON array.
pub(crate) fn list(value: &Value) -> Vec<Vec<u8>> {
    value.as_array().unwrap().iter().map(bytes).collect()
}

/// A seeded generator.
pub(crate) fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

/// A generator that gives chosen scalars: 32 bytes and 32 zeros for each, which is how the crate draws one.
pub(crate) struct Scalars(VecDeque<Vec<u8>>);

impl Scalars {
    pub(crate) fn new(scalars: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self(scalars.into_iter().collect())
    }
}
impl TryRng for Scalars {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("a scalar is drawn as 64 bytes")
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("a scalar is drawn as 64 bytes")
    }
    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        assert_eq!(to.len(), 64);
        to.fill(0);
        to[..32].copy_from_slice(&self.0.pop_front().unwrap());
        Ok(())
    }
}
impl TryCryptoRng for Scalars {}
