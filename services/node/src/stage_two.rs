//! Stage 2, for one run: archived records under the run's key, fresh handles, in batches. Needs no name.
//!
//! All choices follow from one random seed kept for the run, so that an upload that was interrupted goes on with the
//! same bytes. Memory holds one segment and one batch.

use linkage_agreement::{Handle, Layout, RecordRef};
use linkage_crypto::derive::{BlockSecret, RunKey};
use linkage_encoding::fields::blind_entry;
use zeroize::Zeroizing;

use crate::archive::SECRET_LEN;
use crate::error::NodeError;
use crate::vault::hmac_sha256;

/// One run's seed.
pub struct RunSeed(pub Zeroizing<[u8; 32]>);

impl RunSeed {
    /// The handle of a record in this run: random to all who do not hold the seed.
    pub fn handle(&self, reference: &RecordRef) -> Handle {
        let mac = hmac_sha256(&self.0, &[b"handle", &reference.0]);
        let mut handle = [0; 16];
        handle.copy_from_slice(&mac[..16]);
        Handle(handle)
    }
}

/// Appends one record in the layout that the broker reads: handle, header, and every entry's token and payload.
pub fn write_record(
    layout: &Layout,
    run: &RunKey,
    handle: Handle,
    header: u32,
    entries: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), NodeError> {
    out.extend_from_slice(&handle.0);
    out.extend_from_slice(&header.to_le_bytes());
    for entry in entries.chunks_exact(SECRET_LEN + layout.payload_len) {
        let (secret, payload) = entry.split_at(SECRET_LEN);
        let secret: &[u8; SECRET_LEN] = secret.try_into().map_err(|_| NodeError::Damaged("archive".to_owned()))?;
        let start = out.len() + 16;
        out.extend_from_slice(&[0; 16]);
        out.extend_from_slice(payload);
        let token = blind_entry(layout, run, &BlockSecret::from_bytes(secret), &mut out[start..])?;
        out[start - 16..start].copy_from_slice(&token.0);
    }
    Ok(())
}

/// Whole records that fit a batch of `limit` bytes.
pub fn records_per_batch(layout: &Layout, limit: usize) -> usize {
    (limit / layout.record_len()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use linkage_agreement::FieldKind;
    use linkage_crypto::group::GroupKey;

    fn layout() -> Layout {
        Layout::new(&[FieldKind::BirthName, FieldKind::BirthDate], 64, 4, 3)
    }

    fn written(run: &RunKey, seed: u8, reference: u8, entries: &[u8]) -> Vec<u8> {
        let handle = RunSeed(Zeroizing::new([seed; 32])).handle(&RecordRef([reference; 16]));
        let mut out = Vec::new();
        write_record(&layout(), run, handle, 7, entries, &mut out).unwrap();
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
    fn a_batch_holds_whole_records_and_at_least_one() {
        let len = layout().record_len();
        assert_eq!([1, len - 1, len, 2 * len - 1, 2 * len].map(|limit| records_per_batch(&layout(), limit)), [1, 1, 1, 1, 2]);
    }
}
