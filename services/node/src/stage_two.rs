//! Stage 2, for one run: archived records under the run's key, fresh handles, in batches. Needs no name.
//!
//! All choices follow from one random seed kept for the run, so that an upload that was interrupted goes on with the
//! same bytes.

use hmac::{Hmac, KeyInit, Mac};
use linkage_agreement::{Handle, Layout, RecordRef};
use linkage_crypto::derive::RunKey;
use linkage_crypto::entries::{EntryBlinder, PayloadShape};
use linkage_encoding::fields::EncodeError;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::archive::SECRET_LEN;
use crate::error::NodeError;
use crate::vault::hmac_sha256;

/// One run's seed.
pub struct RunSeed {
    bytes: Zeroizing<[u8; 32]>,
    /// HMAC-SHA256 under the seed, its key taken in already: a run has a handle for every record.
    keyed: Hmac<Sha256>,
}

impl RunSeed {
    /// Takes 32 random bytes.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        let mut block = Zeroizing::new([0; 64]);
        block.iter_mut().zip(bytes.iter()).for_each(|(to, from)| *to = *from);
        Self { keyed: Hmac::new((&*block).into()), bytes }
    }

    /// The handle of a record in this run: random to all who do not hold the seed.
    pub fn handle(&self, reference: &RecordRef) -> Handle {
        let mac: [u8; 32] = self.keyed.clone().chain_update(b"handle").chain_update(reference.0).finalize().into_bytes().into();
        let mut handle = [0; 16];
        handle.copy_from_slice(&mac[..16]);
        Handle(handle)
    }

    /// The handle of a record in an increment of this run, for which it has another identity: random likewise, and not to be
    /// told from any record's.
    pub fn changed_handle(&self, reference: &RecordRef, content: &[u8; 16]) -> Handle {
        let mac = hmac_sha256(&self.bytes, &[b"changed handle", &reference.0, content]);
        let mut handle = [0; 16];
        handle.copy_from_slice(&mac[..16]);
        Handle(handle)
    }

    /// Another seed, for one use.
    pub fn of(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(hmac_sha256(&self.bytes, &[purpose.as_bytes()]))
    }
}

/// Writes records of one run; each thread has its own.
pub struct RecordWriter {
    blinder: EntryBlinder,
    archived_len: usize,
    entry_len: usize,
}

impl RecordWriter {
    /// For records of `layout` under a run's key.
    ///
    /// # Errors
    /// When the layout is none that the profile allows.
    pub fn new(layout: &Layout, run: &RunKey) -> Result<Self, NodeError> {
        let shape = PayloadShape { filter_bits: layout.filter_bits, slots_at: layout.slots_start(), len: layout.payload_len };
        let blinder = EntryBlinder::new(run, shape).map_err(EncodeError::from)?;
        Ok(Self { blinder, archived_len: SECRET_LEN + layout.payload_len, entry_len: layout.entry_len() })
    }

    /// Appends a record in the layout that the broker reads: handle, header, and of every archived entry the token and
    /// the payload. An annex comes after.
    ///
    /// # Errors
    /// When `entries` are not whole entries.
    pub fn write(&mut self, handle: Handle, header: u32, entries: &[u8], out: &mut Vec<u8>) -> Result<(), NodeError> {
        out.extend_from_slice(&handle.0);
        out.extend_from_slice(&header.to_le_bytes());
        let start = out.len();
        out.resize(start + entries.len() / self.archived_len * self.entry_len, 0);
        let (_, room) = out.split_at_mut(start);
        self.blinder.blind(entries, room).map_err(|_| NodeError::Damaged("archive".to_owned()))
    }
}

/// Whole records of `record_len` bytes that fit a batch of `limit` bytes.
pub fn records_per_batch(record_len: usize, limit: usize) -> usize {
    (limit / record_len.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use linkage_agreement::FieldKind;
    use linkage_crypto::derive::BlockSecret;
    use linkage_crypto::group::GroupKey;
    use linkage_encoding::fields::blind_entry;

    fn layout() -> Layout {
        Layout::new(&[FieldKind::BirthName, FieldKind::BirthDate], 64, 4, 3)
    }

    fn written(run: &RunKey, seed: u8, reference: u8, entries: &[u8]) -> Vec<u8> {
        let handle = RunSeed::new(Zeroizing::new([seed; 32])).handle(&RecordRef([reference; 16]));
        let mut out = Vec::new();
        RecordWriter::new(&layout(), run).unwrap().write(handle, 7, entries, &mut out).unwrap();
        out
    }

    #[test]
    fn seed_and_run_key_decide_every_byte() {
        let layout = layout();
        let entries: Vec<u8> = (0..layout.tokens_per_record * (SECRET_LEN + layout.payload_len)).map(|i| i as u8).collect();
        let group = GroupKey::from_bytes(&[3; 32]);
        let (run, other) = (group.run_key(&[1; 32], "r1"), group.run_key(&[1; 32], "r2"));
        let record = written(&run, 5, 9, &entries);
        assert_eq!(record.len(), layout.record_len());
        assert_eq!(record, written(&run, 5, 9, &entries));
        // Another seed or record changes the handle and nothing else.
        for changed in [written(&run, 6, 9, &entries), written(&run, 5, 8, &entries)] {
            assert_ne!(record[..16], changed[..16]);
            assert_eq!(record[16..], changed[16..]);
        }
        // Another run changes every token and payload, not the header.
        let elsewhere = written(&other, 5, 9, &entries);
        assert_eq!(record[..20], elsewhere[..20]);
        let of = |bytes: &[u8]| bytes[20..].chunks_exact(layout.entry_len()).map(<[u8]>::to_vec).collect::<Vec<_>>();
        for (a, b) in of(&record).iter().zip(of(&elsewhere)) {
            assert_ne!(a[..16], b[..16]);
            assert_ne!(a[16..], b[16..]);
        }
    }

    #[test]
    fn a_handle_is_a_mac_of_the_reference() {
        let mac = hmac_sha256(&[5; 32], &[b"handle", &[9; 16]]);
        assert_eq!(RunSeed::new(Zeroizing::new([5; 32])).handle(&RecordRef([9; 16])).0, mac[..16]);
    }

    #[test]
    fn an_entry_is_what_its_definition_makes_of_it() {
        let layout = layout();
        let entries: Vec<u8> = (0..2 * (SECRET_LEN + layout.payload_len)).map(|i| i as u8 ^ 0x5a).collect();
        let run = GroupKey::from_bytes(&[3; 32]).run_key(&[1; 32], "r1");
        let record = written(&run, 5, 9, &entries);
        for (archived, entry) in
            entries.chunks_exact(SECRET_LEN + layout.payload_len).zip(record[20..].chunks_exact(layout.entry_len()))
        {
            let (secret, payload) = archived.split_first_chunk().unwrap();
            let mut payload = payload.to_vec();
            let token = blind_entry(&layout, &run, &BlockSecret::from_bytes(secret), &mut payload).unwrap();
            assert_eq!(entry, [token.0.as_slice(), &payload].concat());
        }
        let cut = RecordWriter::new(&layout, &run).unwrap().write(Handle::default(), 7, &entries[1..], &mut Vec::new());
        assert!(matches!(cut, Err(NodeError::Damaged(file)) if file == "archive"));
    }

    #[test]
    fn a_batch_holds_whole_records_and_at_least_one() {
        let len = layout().record_len();
        assert_eq!([1, len - 1, len, 2 * len - 1, 2 * len].map(|limit| records_per_batch(len, limit)), [1, 1, 1, 1, 2]);
    }
}
