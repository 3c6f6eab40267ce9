//! What increments read of a held run: its tokens, one Arrow IPC stream for each partition, sorted by token; and its records, one
//! by one, from batches that are compared with the digests that the parties committed.
//!
//! As sensitive as the uploads that they come from, and kept no longer.

use std::collections::VecDeque;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use bytes::Bytes;
use linkage_agreement::{Agreement, PartyId, RunId};
use linkage_common::batches::HeldBatch;
use linkage_common::blob::{BlobName, BlobStore};
use linkage_common::error::ServiceError;
use linkage_common::fsx;
use linkage_linking::tokens::Partitions;
use linkage_linking::{HeldRecords, RecordIndex, TokenIndex};
use sha2::{Digest, Sha256};

use crate::pipeline::Fault;
use crate::spill::{failed, refused};

/// An index in a private folder.
#[derive(Debug)]
pub struct HeldTokens {
    folder: PathBuf,
    partitions: Partitions,
}

impl HeldTokens {
    /// The index in `folder`, of so many partitions.
    pub fn new(folder: &Path, partitions: Partitions) -> Self {
        Self { folder: folder.to_owned(), partitions }
    }

    /// Keeps one partition's sorted tokens in `folder`. The same again changes nothing.
    ///
    /// # Errors
    /// The disk is full, or refuses.
    pub fn keep(folder: &Path, partition: u32, batch: &RecordBatch) -> Result<(), ServiceError> {
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema()).map_err(|e| failed(&e))?;
        writer.write(batch).and_then(|()| writer.finish()).map_err(|e| failed(&e))?;
        drop(writer);
        Self::unpack(folder, partition, &bytes)
    }

    /// One partition of a run's own tokens, as it is kept; `None` when it has none.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn packed(folder: &Path, partition: u32) -> Result<Option<Vec<u8>>, ServiceError> {
        match std::fs::read(path(folder, partition)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(refused(&error)),
        }
    }

    /// Puts one partition that was packed back into `folder`.
    ///
    /// # Errors
    /// The disk is full, or refuses.
    pub fn unpack(folder: &Path, partition: u32, bytes: &[u8]) -> Result<(), ServiceError> {
        fsx::create_private_dir(folder).map_err(|e| refused(&e))?;
        fsx::write_atomic(&path(folder, partition), bytes).map_err(|e| refused(&e))
    }
}

fn path(folder: &Path, partition: u32) -> PathBuf {
    folder.join(format!("tokens-{partition:05}-00000.arrows"))
}

impl TokenIndex<Fault> for HeldTokens {
    fn partitions(&self) -> Partitions {
        self.partitions
    }

    fn partition(&self, number: u32) -> Result<Vec<RecordBatch>, Fault> {
        let file = File::open(path(&self.folder, number)).map_err(|error| Fault(refused(&error)))?;
        let reader = StreamReader::try_new(BufReader::with_capacity(1 << 20, file), None).map_err(|e| failed(&e))?;
        reader.map(|batch| batch.map_err(|e| Fault::from(failed(&e)))).collect()
    }
}

/// The batches of a run's committed uploads.
#[derive(Debug)]
pub struct Uploaded {
    /// By party, in order: the number of records of each batch.
    pub parties: Vec<(PartyId, Vec<u32>)>,
    /// All batches, in the same order.
    pub batches: Vec<(PartyId, HeldBatch)>,
}

/// Compares a batch with the digest that its party committed.
///
/// # Errors
/// `Invalid` when it is another one.
pub(crate) fn check_batch(party: &PartyId, batch: &HeldBatch, bytes: &[u8]) -> Result<(), ServiceError> {
    if Sha256::digest(bytes).as_slice() == batch.digest {
        return Ok(());
    }
    Err(ServiceError::invalid(format!(
        "le lot {} du partenaire {party} n'est plus celui qui a été reçu (disque, ou deux envois à la fois) ; ouvrez un nouveau traitement",
        batch.sequence
    )))
}

/// Batches that are kept while records are read one by one: readers go through them in order, some beside one another.
const KEPT_BATCHES: usize = 16;

/// Reads a run's records one by one from its uploads; each batch is read whole and compared with its digest.
pub struct OneByOne {
    blobs: BlobStore,
    runtime: tokio::runtime::Handle,
    run: RunId,
    batches: Vec<OfBatch>,
    /// The last ones read, by place, the latest at the end.
    kept: Mutex<VecDeque<(usize, Bytes)>>,
}

struct OfBatch {
    first: RecordIndex,
    record_len: usize,
    party: PartyId,
    batch: HeldBatch,
}

impl OneByOne {
    /// Of the uploads of `run`; to be called on a thread of the runtime.
    pub fn new(agreement: &Agreement, blobs: &BlobStore, run: &RunId, of: &Uploaded) -> Self {
        let (layout, mut first) = (agreement.layout(), 0);
        let batches = of.batches.iter().map(|(party, batch)| {
            let record_len = agreement.shape(party).record_len(&layout);
            let at = OfBatch { first, record_len, party: party.clone(), batch: batch.clone() };
            first += batch.records as RecordIndex;
            at
        });
        Self {
            batches: batches.collect(),
            blobs: blobs.clone(),
            runtime: tokio::runtime::Handle::current(),
            run: run.clone(),
            kept: Mutex::default(),
        }
    }

    fn batch(&self, at: usize, of: &OfBatch) -> Result<Bytes, ServiceError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = kept.iter().find(|(known, _)| *known == at) {
            return Ok(bytes.clone());
        }
        drop(kept);
        let name = BlobName::new(&self.run, &of.party, u64::from(of.batch.sequence));
        let bytes = self.runtime.block_on(self.blobs.get(&name))?;
        check_batch(&of.party, &of.batch, &bytes)?;
        kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_BATCHES {
            kept.pop_front();
        }
        kept.push_back((at, bytes.clone()));
        Ok(bytes)
    }
}

impl HeldRecords<Fault> for OneByOne {
    fn record(&self, record: RecordIndex) -> Result<Vec<u8>, Fault> {
        let none = || Fault(ServiceError::internal("no such record"));
        let at = self.batches.partition_point(|of| of.first <= record).checked_sub(1).ok_or_else(none)?;
        let of = self.batches.get(at).ok_or_else(none)?;
        let bytes = self.batch(at, of).map_err(Fault)?;
        let from = (record - of.first) as usize * of.record_len;
        bytes.get(from..from + of.record_len).map(<[u8]>::to_vec).ok_or_else(none)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, UInt8Array};
    use linkage_common::error::ErrorKind;

    use super::*;

    #[test]
    fn what_is_kept_is_read_and_a_lost_part_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("tokens");
        let batch = |value| RecordBatch::try_from_iter([("entry", Arc::new(UInt8Array::from(vec![value])) as ArrayRef)]).unwrap();
        for (partition, value) in [(0, 1), (1, 2), (1, 2)] {
            HeldTokens::keep(&folder, partition, &batch(value)).unwrap();
        }
        let index = HeldTokens::new(&folder, Partitions::new(3).unwrap());
        assert_eq!((index.partition(0).unwrap(), index.partition(1).unwrap()), (vec![batch(1)], vec![batch(2)]));
        assert!(index.partition(2).is_err());
        let moved = dir.path().join("moved");
        HeldTokens::unpack(&moved, 1, &HeldTokens::packed(&folder, 1).unwrap().unwrap()).unwrap();
        assert_eq!(HeldTokens::new(&moved, Partitions::new(3).unwrap()).partition(1).unwrap(), [batch(2)]);
        assert_eq!(HeldTokens::packed(&folder, 2).unwrap(), None);
    }

    #[tokio::test]
    async fn a_record_is_of_the_batch_that_its_party_committed_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = BlobStore::local(dir.path()).unwrap();
        let (run, party): (RunId, PartyId) = ("r".parse().unwrap(), "ccas".parse().unwrap());
        let of_batch = |sequence: u32, bytes: &[u8]| OfBatch {
            first: sequence * 3,
            record_len: 2,
            party: party.clone(),
            batch: HeldBatch { sequence, records: 3, digest: Sha256::digest(bytes).to_vec() },
        };
        let written: [&[u8]; 3] = [b"aabbcc", b"ddeeff", b"gghhii"];
        for (sequence, bytes) in (0..).zip(written) {
            blobs.put(&BlobName::new(&run, &party, sequence), Bytes::from_static(bytes)).await.unwrap();
        }
        // What is there of the last one is not what was committed.
        let batches = vec![of_batch(0, written[0]), of_batch(1, written[1]), of_batch(2, b"gghhij")];
        let (runtime, kept) = (tokio::runtime::Handle::current(), Mutex::default());
        let read = OneByOne { blobs, runtime, run, batches, kept };
        let found = tokio::task::spawn_blocking(move || (0..10).map(|record| read.record(record)).collect::<Vec<_>>());
        let found = found.await.unwrap();
        let expected: [&[u8]; 6] = [b"aa", b"bb", b"cc", b"dd", b"ee", b"ff"];
        for (record, expected) in found.iter().zip(expected) {
            assert_eq!(record.as_ref().map_err(|fault| fault.0.kind), Ok(&expected.to_vec()));
        }
        let kinds: Vec<_> = found.iter().skip(6).map(|record| record.as_ref().unwrap_err().0.kind).collect();
        assert_eq!(kinds, [ErrorKind::Invalid; 4]);
    }
}
