//! Tokens to bits: HKDF keys, double hashing (Schnell, Bachteler, Reiher 2011) or BLAKE2b, folding (clkhash's
//! `bloomfilter.py`, `key_derivation.py`).

use blake2::Blake2bMac512;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use zeroize::Zeroizing;

use crate::schema::{Feature, Hash, Hashing, Schema, SchemaError, Strategy};
use crate::{CellFault, RowError};

/// A schema with the keys of a secret. Holds key material: it has no `Debug`.
pub struct Encoder {
    schema: Schema,
    keys: Vec<Keys>,
}

enum Keys {
    None,
    Double { sha1: Box<Hmac<Sha1>>, md5: Box<Hmac<Md5>>, prevent_singularity: bool },
    Blake(Zeroizing<Vec<u8>>),
}

impl Encoder {
    /// Derives the keys: two for each feature, ignored ones too.
    ///
    /// # Errors
    /// When the schema asks for more or longer keys than HKDF gives.
    pub fn new(schema: Schema, secret: &[u8]) -> Result<Self, SchemaError> {
        const TOO_LONG: SchemaError = SchemaError::Config("« keySize » : HKDF ne donne pas autant d'octets");
        let kdf = &schema.kdf;
        let size = kdf.key_size;
        let total = size.checked_mul(2 * schema.features.len()).filter(|n| *n <= 255 * 64).ok_or(TOO_LONG)?;
        let mut bytes = Zeroizing::new(vec![0; total]);
        let salt = kdf.salt.as_deref();
        if kdf.sha512 {
            Hkdf::<Sha512>::new(salt, secret).expand(&kdf.info, &mut bytes)
        } else {
            Hkdf::<Sha256>::new(salt, secret).expand(&kdf.info, &mut bytes)
        }
        .map_err(|_| TOO_LONG)?;
        let keys = schema.features.iter().zip(bytes.chunks_exact(2 * size)).map(|(feature, pair)| {
            let (first, second) = pair.split_at(size);
            Ok(match feature.hashing.as_ref().map(|hashing| hashing.hash) {
                None => Keys::None,
                Some(Hash::Blake) => Keys::Blake(Zeroizing::new(first.to_vec())),
                Some(Hash::Double { prevent_singularity }) => Keys::Double {
                    sha1: Box::new(Hmac::new_from_slice(first).map_err(|_| TOO_LONG)?),
                    md5: Box::new(Hmac::new_from_slice(second).map_err(|_| TOO_LONG)?),
                    prevent_singularity,
                },
            })
        });
        let keys = keys.collect::<Result<_, _>>()?;
        Ok(Self { schema, keys })
    }

    /// The schema.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The filter of a row: its bits in bytes, the first bit the highest, as clkhash writes them.
    ///
    /// # Errors
    /// When the row does not follow the schema.
    pub fn encode<'c>(&self, row: impl ExactSizeIterator<Item = &'c str>) -> Result<Vec<u8>, RowError> {
        let features = &self.schema.features;
        if row.len() != features.len() {
            return Err(RowError::Cells { found: row.len(), expected: features.len() });
        }
        let mut bits = vec![false; self.schema.bits << self.schema.folds];
        for ((cell, Feature { name, hashing }), keys) in row.zip(features).zip(&self.keys) {
            if let Some(hashing) = hashing {
                add(&mut bits, cell, hashing, keys).map_err(|fault| RowError::Cell { column: name.clone(), fault })?;
            }
        }
        for _ in 0..self.schema.folds {
            let upper = bits.split_off(bits.len() / 2);
            bits.iter_mut().zip(upper).for_each(|(low, high)| *low ^= high);
        }
        Ok(bits
            .chunks(8)
            .map(|eight| eight.iter().zip((0..8).rev()).fold(0, |byte, (bit, at)| byte | u8::from(*bit) << at))
            .collect())
    }
}

fn add(bits: &mut [bool], cell: &str, hashing: &Hashing, keys: &Keys) -> Result<(), CellFault> {
    let text = match &hashing.missing {
        Some(missing) if missing.sentinel == cell => missing.replace_with.as_deref().unwrap_or(cell).into(),
        _ => hashing.format.text(cell, hashing.encoding)?,
    };
    let tokens = hashing.comparison.tokens(&text)?;
    for (at, token) in tokens.iter().enumerate() {
        let times = match hashing.strategy {
            Strategy::Token(times) => times as usize,
            // The first tokens take what does not divide.
            Strategy::Feature(all) => all as usize / tokens.len() + usize::from(at < all as usize % tokens.len()),
        };
        let token = hashing.encoding.bytes(token).ok_or(CellFault::Encoding)?;
        insert(bits, &token, times, keys);
    }
    Ok(())
}

fn insert(bits: &mut [bool], token: &[u8], times: usize, keys: &Keys) {
    let length = bits.len();
    let mut set = |at: usize| bits.iter_mut().skip(at % length).take(1).for_each(|bit| *bit = true);
    match keys {
        Keys::None => {}
        Keys::Double { sha1, md5, prevent_singularity } => {
            let first = modulo(&sha1.as_ref().clone().chain_update(token).finalize().into_bytes(), length);
            let second = |tail: &[u8]| {
                modulo(&md5.as_ref().clone().chain_update(token).chain_update(tail).finalize().into_bytes(), length)
            };
            let mut step = second(&[]);
            if *prevent_singularity {
                let mut tails = '\0'..;
                while step == 0
                    && length > 1
                    && let Some(tail) = tails.next()
                {
                    step = second(tail.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
            (0..times).for_each(|i| set(first + i * step));
        }
        Keys::Blake(key) => {
            for (call, done) in (0..times).step_by(32).enumerate() {
                // Key and salt are short enough: the schema was checked, and the salt is a number below 3200.
                if let Ok(mac) = Blake2bMac512::new_with_salt_and_personal(Some(key), call.to_string().as_bytes(), &[]) {
                    let digest = mac.chain_update(token).finalize().into_bytes();
                    let (shorts, _) = digest.as_chunks::<2>();
                    shorts.iter().take(times - done).for_each(|short| set(u16::from_le_bytes(*short).into()));
                }
            }
        }
    }
}

/// A big-endian number modulo `length`.
fn modulo(bytes: &[u8], length: usize) -> usize {
    bytes.iter().fold(0, |rest, byte| (rest * 256 + usize::from(*byte)) % length)
}
