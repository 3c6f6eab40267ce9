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
