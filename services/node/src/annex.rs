//! The annex of every record where a party delivers filters or hash keys instead of names: what makes it comparable with
//! that party's records.
//!
//! **It is re-identifiable**, and every party's records carry it; the agreement says that its signatories accept that
//! (docs/threat-model.md). [`make`] gives it to records that still have names, [`run`] puts it under the run's key. Here it
//! is kept: a file beside each archive segment, `annex/segment-N`, sealed as all state is.
//!
//! ```text
//! version (1) | filter's recipe (16) | keys' recipe (16) | bytes of a filter (2) | bytes of the keys (2)
//! then for each record of the segment, in its order: reference (16) | filter | keys
//! ```
//! A part whose recipe is not the agreement's, or a segment without annexes (archived before an amendment asked for them),
//! reads as zeros, which stand for *absent* and are never compared. The next delivery that has the names mends it.

pub(crate) mod make;
pub(crate) mod named;
pub mod run;

pub use make::cell;

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use linkage_agreement::{Agreement, AnnexPlaces, RecordRef};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::annex::make::Made;
use crate::archive::{Index, TakenOut};
use crate::error::NodeError;
use crate::vault::Vault;

const FOLDER: &str = "annex";
const VERSION: u8 = 1;
const HEAD: usize = 1 + 16 + 16 + 2 + 2;
/// How a node writes names for the clkhash schema; a change makes other filters ([`make`]).
const CELLS: &[u8] = b"cells 1";

/// What a part of an annex was made by, as far as all parties know it.
type Recipe = [u8; 16];

/// The agreement's annex: places and recipes.
pub(crate) struct Annexes {
    /// Where the parts lie.
    pub(crate) places: AnnexPlaces,
    clk: Recipe,
    hash_keys: Recipe,
}

impl Annexes {
    /// The annexes that the agreement asks for; none when all its parties are block-scoped.
    pub(crate) fn of(agreement: &Agreement, hash: &[u8; 32]) -> Option<Self> {
        let places = agreement.annex();
        let clk = agreement
            .encoding
            .clk
            .as_ref()
            .map(|clk| recipe(&[b"clk", CELLS, clk.schema_sha256.as_bytes(), &clk.bits.to_le_bytes()]));
        // Keyed keys are made under a key of the agreement's version.
        let hash_keys = agreement.encoding.hash_keys.as_ref().map(|keys| match keys.keyed {
            true => recipe(&[b"hash-keys", b"keyed", hash]),
            false => recipe(&[b"hash-keys", b"plain"]),
        });
        (places.len > 0).then(|| Self { places, clk: clk.unwrap_or_default(), hash_keys: hash_keys.unwrap_or_default() })
    }

    /// Both recipes, for the digest that tells a changed record.
    pub(crate) fn recipes(&self) -> [u8; 32] {
        let mut both = [0; 32];
        both[..16].copy_from_slice(&self.clk);
        both[16..].copy_from_slice(&self.hash_keys);
        both
    }

    /// Writes the annexes of records just appended to `index`, segment by segment, before the index is saved: a process
    /// killed in between leaves files that the next append replaces. The segments are new and hold no other records. Gives
    /// how often a part is absent, by reason.
    pub(crate) fn write(
        &self,
        vault: &Vault,
        index: &Index,
        appended: impl Iterator<Item = RecordRef>,
        annex: impl Fn(&RecordRef) -> Made + Sync,
    ) -> Result<BTreeMap<String, u64>, NodeError> {
        let mut segments: BTreeMap<u32, Vec<(u32, RecordRef)>> = BTreeMap::new();
        for reference in appended {
            if let Some(at) = index.records.get(&reference) {
                segments.entry(at.segment).or_default().push((at.position, reference));
            }
        }
        let mut remarks: BTreeMap<String, u64> = BTreeMap::new();
        for (number, mut records) in segments {
            records.sort_unstable();
            let mut bytes = Zeroizing::new(Vec::with_capacity(HEAD + records.len() * (16 + self.places.len)));
            let len = |part: &Option<Range<usize>>| part.as_ref().map_or(0, ExactSizeIterator::len) as u16;
            bytes.push(VERSION);
            bytes.extend_from_slice(&self.recipes());
            bytes.extend_from_slice(&len(&self.places.clk).to_le_bytes());
            bytes.extend_from_slice(&len(&self.places.hash_keys).to_le_bytes());
            let all: Vec<Made> = records.par_iter().map(|(_, reference)| annex(reference)).collect();
            for ((_, reference), made) in records.iter().zip(all) {
                bytes.extend_from_slice(&reference.0);
                bytes.extend_from_slice(made.annex.get(..self.places.len).unwrap_or_default());
                for remark in made.remarks {
                    *remarks.entry(remark).or_default() += 1;
                }
            }
            vault.put(&name(number), &bytes)?;
        }
        Ok(remarks)
    }

    /// The annexes of segment `number`.
    pub(crate) fn segment(&self, vault: &Vault, number: u32) -> Result<AnnexSegment<'_>, NodeError> {
        let name = name(number);
        let damaged = || NodeError::Damaged(name.clone());
        let Some(bytes) = vault.get(&name)? else { return Ok(AnnexSegment { of: self, kept: None, name }) };
        let head = bytes.get(..HEAD).filter(|head| head.first() == Some(&VERSION)).ok_or_else(damaged)?;
        let number = |at: usize| head.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_le_bytes).unwrap_or_default();
        let (clk_len, keys_len) = (usize::from(number(33)), usize::from(number(35)));
        let record_len = 16 + clk_len + keys_len;
        if !(bytes.len() - HEAD).is_multiple_of(record_len) {
            return Err(damaged());
        }
        // A part of another recipe or length is absent.
        let same = |recipe: &Recipe, at: usize, part: &Option<Range<usize>>, len: usize| {
            len > 0 && head.get(at..at + 16) == Some(recipe.as_slice()) && part.as_ref().is_some_and(|part| part.len() == len)
        };
        let clk = same(&self.clk, 1, &self.places.clk, clk_len);
        let hash_keys = same(&self.hash_keys, 17, &self.places.hash_keys, keys_len);
        Ok(AnnexSegment { of: self, kept: Some(Kept { bytes, record_len, clk_len, clk, hash_keys }), name })
    }

    /// Does with annexes what [`Index::take_out`] did with their segment; gives the record's own, packed as a segment's file.
    pub(crate) fn take_out(vault: &Vault, taken: &TakenOut) -> Result<Option<Zeroizing<Vec<u8>>>, NodeError> {
        let from = name(taken.at.segment);
        let Some(bytes) = vault.get(&from)? else { return Ok(None) };
        let damaged = || NodeError::Damaged(from.clone());
        let (head, records) = bytes.split_at_checked(HEAD).ok_or_else(damaged)?;
        let number = |at: usize| head.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_le_bytes).unwrap_or_default();
        let record_len = 16 + usize::from(number(33)) + usize::from(number(35));
        let record = |position: u32| records.chunks_exact(record_len).nth(position as usize).ok_or_else(damaged);
        let own = Zeroizing::new([head, record(taken.at.position)?].concat());
        if !taken.positions.is_empty() {
            let mut others = Zeroizing::new(head.to_vec());
            for position in &taken.positions {
                others.extend_from_slice(record(*position)?);
            }
            vault.put(&name(taken.to), &others)?;
        }
        Ok(Some(own))
    }

    /// Puts back what [`Self::take_out`] gave, beside the record's new segment.
    pub(crate) fn put_back(vault: &Vault, segment: u32, own: &[u8]) -> Result<(), NodeError> {
        vault.put(&name(segment), own)
    }

    /// Removes the annexes of segments that the index does not name any more.
    pub(crate) fn drop_unnamed(vault: &Vault, index: &Index) -> Result<(), NodeError> {
        let named: HashSet<String> = index.records.values().map(|at| name(at.segment)).collect();
        for file in vault.list(FOLDER)? {
            if !named.contains(&file) {
                vault.remove(&file)?;
            }
        }
        Ok(())
    }
}

/// The annexes of one archive segment.
pub(crate) struct AnnexSegment<'a> {
    of: &'a Annexes,
    kept: Option<Kept>,
    name: String,
}

struct Kept {
    bytes: Zeroizing<Vec<u8>>,
    record_len: usize,
    clk_len: usize,
    clk: bool,
    hash_keys: bool,
}

impl AnnexSegment<'_> {
    /// The annex of the record at `position`, which must be `reference`.
    pub(crate) fn annex(&self, position: u32, reference: &RecordRef) -> Result<Zeroizing<Vec<u8>>, NodeError> {
        let mut annex = Zeroizing::new(vec![0; self.of.places.len]);
        let Some(kept) = &self.kept else { return Ok(annex) };
        let damaged = || NodeError::Damaged(self.name.clone());
        let records = kept.bytes.get(HEAD..).unwrap_or_default();
        let record = records.chunks_exact(kept.record_len).nth(position as usize).ok_or_else(damaged)?;
        let (of, parts) = record.split_at_checked(16).ok_or_else(damaged)?;
        if of != reference.0 {
            return Err(damaged());
        }
        let (clk, hash_keys) = parts.split_at_checked(kept.clk_len).ok_or_else(damaged)?;
        for (wanted, place, part) in
            [(kept.clk, &self.of.places.clk, clk), (kept.hash_keys, &self.of.places.hash_keys, hash_keys)]
        {
            if let (true, Some(place)) = (wanted, place) {
                annex.get_mut(place.clone()).ok_or_else(damaged)?.copy_from_slice(part);
            }
        }
        Ok(annex)
    }
}

fn name(segment: u32) -> String {
    format!("{FOLDER}/segment-{segment:08}")
}

/// The first half of SHA-256 over length-prefixed parts.
fn recipe(parts: &[&[u8]]) -> Recipe {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let mut recipe = [0; 16];
    recipe.copy_from_slice(&digest.finalize()[..16]);
    recipe
}

#[cfg(test)]
mod tests;
