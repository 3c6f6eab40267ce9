//! What a linkage cannot hold in memory, as files of one private folder: Arrow IPC streams, deleted with the folder.
//!
//! What is spilled are tokens and filters, as sensitive as the uploads beside them and deleted sooner: when the step is
//! done, or when the service next starts after it was killed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use linkage_common::error::ServiceError;
use linkage_common::fsx;
use linkage_linking::{Place, Spill};

use crate::pipeline::Fault;

type Stream = Arc<Mutex<StreamWriter<BufWriter<File>>>>;

/// Files of one linkage; the folder goes with the value.
pub struct SpillFolder {
    folder: PathBuf,
    open: Mutex<BTreeMap<Place, Stream>>,
}

impl SpillFolder {
    /// An empty folder at `folder`, in place of what was there; made when something is first spilled.
    ///
    /// # Errors
    /// The folder of an earlier linkage cannot be removed.
    pub fn new(folder: &Path) -> Result<Self, ServiceError> {
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(refused(&error)),
            _ => Ok(Self { folder: folder.to_owned(), open: Mutex::default() }),
        }
    }

    fn path(&self, place: Place) -> PathBuf {
        self.folder.join(match place {
            Place::Tokens(number) => format!("tokens-{number:05}.arrows"),
            Place::Payloads(number) => format!("payloads-{number:05}.arrows"),
        })
    }

    /// The stream of `place`, begun when there is none.
    fn stream(&self, place: Place, batch: &RecordBatch) -> Result<Stream, ServiceError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stream) = open.get(&place) {
            return Ok(Arc::clone(stream));
        }
        fsx::create_private_dir(&self.folder).map_err(|e| refused(&e))?;
        let file = File::create(self.path(place)).map_err(|e| refused(&e))?;
        let writer = StreamWriter::try_new_buffered(file, &batch.schema()).map_err(|e| failed(&e))?;
        let stream = Arc::new(Mutex::new(writer));
        open.insert(place, Arc::clone(&stream));
        Ok(stream)
    }
}

impl Spill<Fault> for SpillFolder {
    fn write(&self, place: Place, batch: &RecordBatch) -> Result<(), Fault> {
        let stream = self.stream(place, batch)?;
        let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.write(batch).map_err(|e| Fault(failed(&e)))
    }

    fn take(&self, place: Place) -> Result<Vec<RecordBatch>, Fault> {
        let stream = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&place);
        let Some(stream) = stream else { return Ok(Vec::new()) };
        stream.lock().unwrap_or_else(PoisonError::into_inner).finish().map_err(|e| failed(&e))?;
        drop(stream);
        let path = self.path(place);
        let file = File::open(&path).map_err(|e| refused(&e))?;
        let reader = StreamReader::try_new(BufReader::new(file), None).map_err(|e| failed(&e))?;
        let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|e| failed(&e))?;
        std::fs::remove_file(&path).map_err(|e| refused(&e))?;
        Ok(batches)
    }
}

impl Drop for SpillFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "the spill folder could not be removed; it is when the service next starts");
        }
    }
}

pub(crate) fn refused(error: &std::io::Error) -> ServiceError {
    if fsx::is_disk_full(error) {
        return ServiceError::exhausted("disque plein pendant le rapprochement ; faites de la place, l'étape est reprise");
    }
    ServiceError::internal(error)
}

pub(crate) fn failed(error: &arrow_schema::ArrowError) -> ServiceError {
    if fsx::is_disk_full_in(error) { refused(&std::io::ErrorKind::StorageFull.into()) } else { ServiceError::internal(error) }
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, UInt8Array};

    use super::*;

    fn batch(values: Vec<u8>) -> RecordBatch {
        RecordBatch::try_from_iter([("entry", Arc::new(UInt8Array::from(values)) as ArrayRef)]).unwrap()
    }

    #[test]
    fn batches_come_back_once_and_nothing_stays() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("spill");
        let spill = SpillFolder::new(&folder).unwrap();
        assert_eq!(spill.take(Place::Tokens(1)).unwrap(), []);
        for (place, values) in [(Place::Tokens(1), vec![1, 2]), (Place::Payloads(1), vec![9]), (Place::Tokens(1), vec![3])] {
            spill.write(place, &batch(values)).unwrap();
        }
        assert_eq!(spill.take(Place::Tokens(1)).unwrap(), [batch(vec![1, 2]), batch(vec![3])]);
        assert_eq!(spill.take(Place::Tokens(1)).unwrap(), []);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        // As after a kill: the next linkage begins with an empty folder.
        std::mem::drop(SpillFolder::new(&folder).unwrap());
        assert!(!folder.is_dir());
        drop(spill);
        assert!(!folder.is_dir());
    }
}
