//! What increments read of a held run: its tokens, one Arrow IPC stream for each partition and addition, sorted by token; and its
//! records, one by one.
//!
//! As sensitive as the uploads that they come from, and kept no longer.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use linkage_agreement::{Agreement, PartyId, RunId};
use linkage_common::batches::HeldBatch;
use linkage_common::blob::{BlobName, BlobStore};
use linkage_common::error::ServiceError;
use linkage_common::fsx;
use linkage_linking::tokens::Partitions;
use linkage_linking::{HeldRecords, RecordIndex, TokenIndex};

use crate::pipeline::Fault;
use crate::spill::{failed, refused};

/// An index in a private folder.
#[derive(Debug)]
pub struct HeldTokens {
    folder: PathBuf,
    partitions: Partitions,
    additions: u32,
}

impl HeldTokens {
    /// The index in `folder`, of so many partitions, to which increments were added `additions` times.
    pub fn new(folder: &Path, partitions: Partitions, additions: u32) -> Self {
        Self { folder: folder.to_owned(), partitions, additions }
    }

    /// Keeps one partition's sorted tokens of addition number `addition` in `folder`: the run itself is 0. The same again
    /// changes nothing.
    ///
    /// # Errors
    /// The disk is full, or refuses.
    pub fn keep(folder: &Path, addition: u32, partition: u32, batch: &RecordBatch) -> Result<(), ServiceError> {
        fsx::create_private_dir(folder).map_err(|e| refused(&e))?;
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema()).map_err(|e| failed(&e))?;
        writer.write(batch).and_then(|()| writer.finish()).map_err(|e| failed(&e))?;
        drop(writer);
        fsx::write_atomic(&path(folder, addition, partition), &bytes).map_err(|e| refused(&e))
    }

    /// One partition of a run's own tokens, as it is kept; `None` when it has none.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn packed(folder: &Path, partition: u32) -> Result<Option<Vec<u8>>, ServiceError> {
        match std::fs::read(path(folder, 0, partition)) {
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
        fsx::write_atomic(&path(folder, 0, partition), bytes).map_err(|e| refused(&e))
    }
}

fn path(folder: &Path, addition: u32, partition: u32) -> PathBuf {
    folder.join(format!("tokens-{partition:05}-{addition:05}.arrows"))
}

impl TokenIndex<Fault> for HeldTokens {
    fn partitions(&self) -> Partitions {
        self.partitions
    }

    fn partition(&self, number: u32) -> Result<Vec<RecordBatch>, Fault> {
        let mut batches = Vec::new();
        for addition in 0..=self.additions {
            let file = match File::open(path(&self.folder, addition, number)) {
                Ok(file) => file,
                // An addition need not have a token in every partition, but the run itself does.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && addition > 0 => continue,
                Err(error) => return Err(Fault(refused(&error))),
            };
            let reader = StreamReader::try_new(BufReader::with_capacity(1 << 20, file), None).map_err(|e| failed(&e))?;
            for batch in reader {
                batches.push(batch.map_err(|e| failed(&e))?);
            }
        }
        Ok(batches)
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

/// Reads a run's records one by one from its uploads.
pub struct OneByOne {
    blobs: BlobStore,
    runtime: tokio::runtime::Handle,
    /// Of every batch: its first record, its name, the length of its records.
    batches: Vec<(RecordIndex, BlobName, u64)>,
}

impl OneByOne {
    /// Of the uploads of `run`; to be called on a thread of the runtime.
    pub fn new(agreement: &Agreement, blobs: &BlobStore, run: &RunId, of: &Uploaded) -> Self {
        let (layout, mut first) = (agreement.layout(), 0);
        let batches = of.batches.iter().map(|(party, batch)| {
            let record_len = agreement.shape(party).record_len(&layout) as u64;
            let at = (first, BlobName::new(run, party, u64::from(batch.sequence)), record_len);
            first += batch.records as RecordIndex;
            at
        });
        Self { batches: batches.collect(), blobs: blobs.clone(), runtime: tokio::runtime::Handle::current() }
    }
}

impl HeldRecords<Fault> for OneByOne {
    fn record(&self, record: RecordIndex) -> Result<Vec<u8>, Fault> {
        let of = self.batches.partition_point(|(first, ..)| *first <= record);
        let (first, name, len) = of
            .checked_sub(1)
            .and_then(|at| self.batches.get(at))
            .ok_or_else(|| Fault(ServiceError::internal("no such record")))?;
        let at = u64::from(record - first) * len;
        let bytes = self.runtime.block_on(self.blobs.get_range(name, at..at + len)).map_err(ServiceError::from)?;
        Ok(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, UInt8Array};

    use super::*;

    #[test]
    fn additions_stand_beside_the_run_and_a_lost_part_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("tokens");
        let batch = |value| RecordBatch::try_from_iter([("entry", Arc::new(UInt8Array::from(vec![value])) as ArrayRef)]).unwrap();
        for (addition, partition, value) in [(0, 0, 1), (0, 1, 2), (2, 1, 3), (2, 1, 3)] {
            HeldTokens::keep(&folder, addition, partition, &batch(value)).unwrap();
        }
        let index = HeldTokens::new(&folder, Partitions::new(3).unwrap(), 2);
        assert_eq!(index.partition(0).unwrap(), [batch(1)]);
        assert_eq!(index.partition(1).unwrap(), [batch(2), batch(3)]);
        assert!(index.partition(2).is_err());
    }
}
