//! A trial's uploads, in a file without a name under the results' folder: it is gone with the process, however that ends.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use linkage_agreement::{Agreement, PartyId};
use linkage_broker::pipeline::{Fault, Uploads};
use linkage_common::error::ServiceError;
use linkage_linking::Source;

/// The batches of all parties, party by party.
pub struct Kept {
    file: File,
    end: u64,
    /// Each party, the numbers of records of its batches, and its level frequencies (JSON).
    parties: Vec<(PartyId, Vec<u32>, Vec<u8>)>,
    /// Place and length of every batch.
    places: Vec<(u64, usize)>,
}

impl Kept {
    /// Nothing yet; the file lies on the disk of `folder`.
    pub fn new(folder: &Path) -> std::io::Result<Self> {
        Ok(Self { file: tempfile::tempfile_in(folder)?, end: 0, parties: Vec::new(), places: Vec::new() })
    }
    /// The batches that follow are of `party`.
    pub fn begin(&mut self, party: PartyId, level_frequencies: Vec<u8>) {
        self.parties.push((party, Vec::new(), level_frequencies));
    }
    /// Keeps a batch of whole records.
    pub fn push(&mut self, batch: &[u8], records: u32) -> std::io::Result<()> {
        self.file.write_all(batch)?;
        self.places.push((self.end, batch.len()));
        self.end += batch.len() as u64;
        if let Some((_, batches, _)) = self.parties.last_mut() {
            batches.push(records);
        }
        Ok(())
    }
    /// The parties and their level frequencies, in order.
    pub fn parties(&self) -> Vec<(PartyId, Vec<u8>)> {
        self.parties.iter().map(|(party, _, levels)| (party.clone(), levels.clone())).collect()
    }
    /// Every batch with its party.
    pub fn batches(&self) -> impl Iterator<Item = std::io::Result<(&PartyId, Bytes)>> {
        let parties = self.parties.iter().flat_map(|(party, batches, _)| batches.iter().map(move |_| party));
        parties.zip(0..).map(|(party, number)| Ok((party, self.read(number)?)))
    }
    /// What the broker's steps read.
    pub fn source(&self, agreement: &Agreement) -> impl Source<Error = Fault> {
        let parties: Vec<_> = self.parties.iter().map(|(party, batches, _)| (party.clone(), batches.clone())).collect();
        Uploads::new(agreement, &parties, |number| self.read(number).map_err(ServiceError::internal))
    }

    fn read(&self, number: usize) -> std::io::Result<Bytes> {
        let (at, len) = self.places.get(number).copied().ok_or(std::io::ErrorKind::NotFound)?;
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes.into())
    }
}
