//! Tokens to bits: HKDF keys, double hashing (Schnell, Bachteler, Reiher 2011) or BLAKE2b, folding (clkhash's
//! `bloomfilter.py`, `key_derivation.py`).
//!
//! Files repeat themselves: a [`Worker`] keeps the bits of cells and of tokens that it has seen, so that a token is hashed once
//! for each feature and a common cell costs one look-up. What it keeps is bounded, and changes no bit.

use blake2::Blake2bMac512;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use zeroize::Zeroizing;

use crate::memo::Memo;
use crate::schema::{Feature, Hash, Hashing, Schema, SchemaError, Strategy};
use crate::tokens::{Comparison, Tokens};
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

    /// One that encodes rows on one thread.
    pub fn worker(&self) -> Worker<'_> {
        let words = (self.schema.bits << self.schema.folds).div_ceil(64);
        let fields = self.schema.features.iter().zip(&self.keys).filter_map(|(Feature { name, hashing }, keys)| {
            let hashing = hashing.as_ref()?;
            // A cell that is one token need not be kept twice.
            let tokens = if matches!(hashing.comparison, Comparison::Exact {}) { Memo::closed() } else { Memo::default() };
            Some(Field { name, hashing, keys, cells: Memo::default(), tokens, mask: vec![0; words] })
        });
        let ignored = self.schema.features.iter().map(|feature| feature.hashing.is_none()).collect();
        Worker { schema: &self.schema, fields: fields.collect(), ignored, bits: vec![0; words], tokens: Tokens::default() }
    }

    /// The filter of one row, as [`Worker::encode`] makes it.
    ///
    /// # Errors
    /// When the row does not follow the schema.
    pub fn encode<'c>(&self, row: impl ExactSizeIterator<Item = &'c str>) -> Result<Vec<u8>, RowError> {
        let mut filter = Vec::new();
        self.worker().encode(row, &mut filter)?;
        Ok(filter)
    }
}

/// Encodes rows on one thread, and keeps the bits of what it has seen: names and key material, in memory that is not shared.
pub struct Worker<'e> {
    schema: &'e Schema,
    /// Those that are not ignored, in order.
    fields: Vec<Field<'e>>,
    ignored: Vec<bool>,
    /// The filter before folding; bit `p` is bit `63 - p % 64` of word `p / 64`, so that bytes come out as clkhash writes them.
    bits: Vec<u64>,
    tokens: Tokens,
}

/// A feature and what was seen of it.
struct Field<'e> {
    name: &'e str,
    hashing: &'e Hashing,
    keys: &'e Keys,
    /// The bits of each cell.
    cells: Memo<u64>,
    /// The positions of each token, as many as were asked for.
    tokens: Memo<u16>,
    /// The bits of the cell at hand.
    mask: Vec<u64>,
}

impl Worker<'_> {
    /// Sets `filter` to the filter of a row: its bits in bytes, the first bit the highest, as clkhash writes them.
    ///
    /// # Errors
    /// When the row does not follow the schema; `filter` is then empty.
    pub fn encode<'c>(&mut self, row: impl ExactSizeIterator<Item = &'c str>, filter: &mut Vec<u8>) -> Result<(), RowError> {
        filter.clear();
        if row.len() != self.ignored.len() {
            return Err(RowError::Cells { found: row.len(), expected: self.ignored.len() });
        }
        self.bits.fill(0);
        let length = self.schema.bits << self.schema.folds;
        let cells = row.zip(&self.ignored).filter(|(_, ignored)| !**ignored).map(|(cell, _)| cell);
        for (cell, field) in cells.zip(&mut self.fields) {
            field
                .add(cell, length, &mut self.tokens, &mut self.bits)
                .map_err(|fault| RowError::Cell { column: field.name.to_owned(), fault })?;
        }
        for fold in (0..self.schema.folds).rev() {
            xor_upper_half(&mut self.bits, self.schema.bits << fold);
        }
        let bytes = self.bits.iter().flat_map(|word| word.to_be_bytes());
        filter.extend(bytes.take(self.schema.bits.div_ceil(8)));
        Ok(())
    }
}

/// XORs the bits from `half` to `2 * half` onto the first ones and clears them.
fn xor_upper_half(bits: &mut [u64], half: usize) {
    if half.is_multiple_of(64) {
        let (low, high) = bits.split_at_mut(half / 64);
        low.iter_mut().zip(high).for_each(|(low, high)| *low ^= std::mem::take(high));
        return;
    }
    for at in 0..half {
        let upper = half + at;
        let bit = bits.get_mut(upper / 64).map_or(0, |word| {
            let bit = *word >> (63 - upper % 64) & 1;
            *word &= !(1 << (63 - upper % 64));
            bit
        });
        if let Some(word) = bits.get_mut(at / 64) {
            *word ^= bit << (63 - at % 64);
        }
    }
}

fn set(mask: &mut [u64], at: usize) {
    if let Some(word) = mask.get_mut(at / 64) {
        *word |= 1 << (63 - at % 64);
    }
}

impl Field<'_> {
    /// Adds the bits of a cell to a filter of `length` bits.
    fn add(&mut self, cell: &str, length: usize, tokens: &mut Tokens, bits: &mut [u64]) -> Result<(), CellFault> {
        let or = |bits: &mut [u64], mask: &[u64]| bits.iter_mut().zip(mask).for_each(|(to, from)| *to |= from);
        if let Some(mask) = self.cells.get(cell) {
            or(bits, mask);
            return Ok(());
        }
        self.mask.fill(0);
        let text = match &self.hashing.missing {
            Some(missing) if missing.sentinel == cell => missing.replace_with.as_deref().unwrap_or(cell).into(),
            _ => self.hashing.format.text(cell, self.hashing.encoding)?,
        };
        self.hashing.comparison.tokens(&text, tokens)?;
        let count = tokens.len();
        for (at, token) in tokens.iter().enumerate() {
            let times = match self.hashing.strategy {
                Strategy::Token(times) => times as usize,
                // The first tokens take what does not divide.
                Strategy::Feature(all) => all as usize / count + usize::from(at < all as usize % count),
            };
            self.insert(token, times, length)?;
        }
        or(bits, &self.mask);
        self.cells.put(cell, &self.mask);
        Ok(())
    }

    fn insert(&mut self, token: &str, times: usize, length: usize) -> Result<(), CellFault> {
        let seen = self.tokens.get(token).filter(|positions| positions.len() >= times);
        let found;
        let positions = match seen {
            Some(positions) => positions,
            None => {
                let bytes = self.hashing.encoding.bytes(token).ok_or(CellFault::Encoding)?;
                found = self.keys.positions(&bytes, times, length);
                self.tokens.put(token, &found);
                &found
            }
        };
        positions.iter().take(times).for_each(|at| set(&mut self.mask, (*at).into()));
        Ok(())
    }
}

impl Keys {
    /// The first `times` positions of a token, below `length`.
    fn positions(&self, token: &[u8], times: usize, length: usize) -> Vec<u16> {
        // Filters have at most 2^16 bits before folding.
        #[expect(clippy::cast_possible_truncation, reason = "below 2^16")]
        let within = |at: usize| (at % length) as u16;
        match self {
            Self::None => Vec::new(),
            Self::Double { sha1, md5, prevent_singularity } => {
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
                (0..times).map(|i| within(first + i * step)).collect()
            }
            Self::Blake(key) => {
                let mut positions = Vec::with_capacity(times);
                for (call, done) in (0..times).step_by(32).enumerate() {
                    // Key and salt are short enough: the schema was checked, and the salt is a number below 3200.
                    if let Ok(mac) = Blake2bMac512::new_with_salt_and_personal(Some(key), call.to_string().as_bytes(), &[]) {
                        let digest = mac.chain_update(token).finalize().into_bytes();
                        let (shorts, _) = digest.as_chunks::<2>();
                        positions.extend(shorts.iter().take(times - done).map(|short| within(u16::from_le_bytes(*short).into())));
                    }
                }
                positions
            }
        }
    }
}

/// A big-endian number modulo `length`.
fn modulo(bytes: &[u8], length: usize) -> usize {
    bytes.iter().fold(0, |rest, byte| (rest * 256 + usize::from(*byte)) % length)
}
