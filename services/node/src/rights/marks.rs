//! The digest of each record's identity, for the objection list: kept beside the archive, so that a person can object after
//! the names were deleted and still be known under a new local id.

use std::collections::HashMap;

use linkage_agreement::RecordRef;

use super::list::Mark;
use crate::error::NodeError;
use crate::vault::Vault;

const FILE: &str = "rights/marks";

/// Marks by record.
#[derive(Default)]
pub(crate) struct Marks {
    by_record: HashMap<RecordRef, Mark>,
    changed: bool,
}

impl Marks {
    pub(crate) fn load(vault: &Vault) -> Result<Self, NodeError> {
        let Some(bytes) = vault.get(FILE)? else { return Ok(Self::default()) };
        let (pairs, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(NodeError::Damaged(FILE.to_owned()));
        }
        let pair = |pair: &[u8; 32]| {
            let (reference, mark) = pair.split_at(16);
            Some((RecordRef::from_slice(reference)?, mark.try_into().ok()?))
        };
        Ok(Self { by_record: pairs.iter().filter_map(pair).collect(), changed: false })
    }
    /// Notes the mark of a record as delivered; none when its identity gives none.
    pub(crate) fn set(&mut self, reference: RecordRef, mark: Option<Mark>) {
        self.changed |= match mark {
            Some(mark) => self.by_record.insert(reference, mark) != Some(mark),
            None => self.by_record.remove(&reference).is_some(),
        };
    }
    pub(super) fn get(&self, reference: &RecordRef) -> Option<Mark> {
        self.by_record.get(reference).copied()
    }
    pub(crate) fn save(&self, vault: &Vault) -> Result<(), NodeError> {
        if !self.changed {
            return Ok(());
        }
        let mut sorted: Vec<_> = self.by_record.iter().collect();
        sorted.sort_unstable();
        let bytes: Vec<u8> = sorted.into_iter().flat_map(|(reference, mark)| [reference.0, *mark].concat()).collect();
        vault.put(FILE, &bytes)
    }
}
