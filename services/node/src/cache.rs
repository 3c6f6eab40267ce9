//! Evaluations kept across deliveries, and across a killed one.
//!
//! Sealed files by the first bits of a keyed digest, each in the order of its digests, so that one part at a time is in
//! memory however many there are (48 bytes each: a gigabyte of disk for twenty million). What is new goes to one file
//! first, `cache/new`, and from there to its parts: it is kept as a whole or not at all, which the next delivery relies on
//! when it makes the same batches again (module [`crate::stage_one::secrets`]).

use linkage_crypto::derive::BlockSecret;
use zeroize::Zeroizing;

use crate::error::NodeError;
use crate::stage_one::secrets::{Digest, PARTS, part_of};
use crate::stage_one::{EvaluationCache, Kept};
use crate::vault::Vault;

/// The folder of its files.
pub(crate) const FOLDER: &str = "cache";
const NEW: &str = "cache/new";
/// Bytes of an evaluation: digest and secret.
const LEN: usize = 16 + 32;

fn part_name(part: usize) -> String {
    format!("{FOLDER}/part-{part:02}")
}

/// Deletes all evaluations: which of them are of one person's names only the names would tell.
pub(crate) fn clear(vault: &Vault) -> Result<(), NodeError> {
    vault.list(FOLDER)?.iter().try_for_each(|name| vault.remove(name))
}

/// The cache of a node.
pub(crate) struct Cache<'v> {
    vault: &'v Vault,
}

impl<'v> Cache<'v> {
    /// Opens the cache; ends what a killed process began.
    pub(crate) fn open(vault: &'v Vault) -> Result<Self, NodeError> {
        let cache = Self { vault };
        if vault.has(NEW) {
            cache.distribute(&cache.read(NEW)?)?;
        }
        Ok(cache)
    }

    fn read(&self, name: &str) -> Result<Vec<Kept>, NodeError> {
        let Some(bytes) = self.vault.get(name)? else { return Ok(Vec::new()) };
        let damaged = || NodeError::Damaged(name.to_owned());
        let (entries, rest) = bytes.as_chunks::<LEN>();
        let kept = |entry: &[u8; LEN]| {
            let (digest, secret) = entry.split_first_chunk::<16>()?;
            Some(Kept { digest: *digest, secret: BlockSecret::from_bytes(secret.first_chunk()?) })
        };
        let kept: Vec<Kept> = entries.iter().filter_map(kept).collect();
        if !rest.is_empty() || !kept.is_sorted_by(|a, b| a.digest < b.digest) {
            return Err(damaged());
        }
        Ok(kept)
    }

    fn write<'k>(&self, name: &str, kept: impl ExactSizeIterator<Item = &'k Kept>) -> Result<(), NodeError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(kept.len() * LEN));
        for kept in kept {
            bytes.extend_from_slice(&kept.digest);
            bytes.extend_from_slice(kept.secret.as_bytes());
        }
        self.vault.put(name, &bytes)
    }

    /// Takes what is new to its parts. May be done again: what a part has already is not added.
    fn distribute(&self, new: &[Kept]) -> Result<(), NodeError> {
        for more in new.chunk_by(|a, b| part_of(&a.digest) == part_of(&b.digest)) {
            let Some(part) = more.first().map(|kept| part_of(&kept.digest)) else { continue };
            let known = self.read(&part_name(part))?;
            let mut all: Vec<&Kept> = known.iter().chain(more).collect();
            all.sort_by_key(|kept| kept.digest);
            all.dedup_by_key(|kept| kept.digest);
            self.write(&part_name(part), all.into_iter())?;
        }
        self.vault.remove(NEW)
    }
}

impl EvaluationCache for Cache<'_> {
    fn digest(&self, input: &[u8]) -> Digest {
        self.vault.digest("evaluation", &[input])
    }
    fn part(&self, part: usize) -> Result<Vec<Kept>, NodeError> {
        debug_assert!(part < PARTS);
        self.read(&part_name(part))
    }
    fn keep(&mut self, made: &[Kept]) -> Result<(), NodeError> {
        if made.is_empty() {
            return Ok(());
        }
        self.write(NEW, made.iter())?;
        self.distribute(made)
    }
    fn secret(&self, purpose: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        self.vault.secret(purpose, parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(first: u8, last: u8) -> Kept {
        let mut digest = [0; 16];
        (digest[0], digest[15]) = (first, last);
        Kept { digest, secret: BlockSecret::from_bytes(&[last; 32]) }
    }
    fn digests(cache: &Cache, part: usize) -> Vec<u8> {
        cache.part(part).unwrap().iter().map(|k| k.digest[15]).collect()
    }

    #[test]
    fn evaluations_lie_in_their_parts_in_order_each_once() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path(), &[7; 32]).unwrap();
        let mut cache = Cache::open(&vault).unwrap();
        cache.keep(&[kept(0, 2), kept(3, 4), kept(255, 9)]).unwrap();
        cache.keep(&[kept(0, 1), kept(0, 2)]).unwrap();
        assert_eq!([digests(&cache, 0), digests(&cache, 1), digests(&cache, 63)], [vec![1, 2, 4], vec![], vec![9]]);
        assert_eq!(cache.part(63).unwrap()[0].secret, BlockSecret::from_bytes(&[9; 32]));
    }

    #[test]
    fn what_a_killed_process_kept_is_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path(), &[7; 32]).unwrap();
        let cache = Cache::open(&vault).unwrap();
        let new = [kept(0, 1), kept(200, 2)];
        cache.write(NEW, new.iter()).unwrap();
        cache.write(&part_name(0), new[..1].iter()).unwrap();
        let cache = Cache::open(&vault).unwrap();
        assert_eq!([digests(&cache, 0), digests(&cache, 50)], [vec![1], vec![2]]);
        assert!(!vault.has(NEW));
    }

    #[test]
    fn a_damaged_part_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path(), &[7; 32]).unwrap();
        vault.put(&part_name(0), &[0; LEN + 1]).unwrap();
        assert!(matches!(Cache::open(&vault).unwrap().part(0), Err(NodeError::Damaged(name)) if name == part_name(0)));
    }
}
