//! Batches of a run's encodings from the archive, in the run's order, made on all cores.
//!
//! Memory holds a few segments and the batches that they give, however many records there are.

use std::ops::ControlFlow;
use std::sync::Arc;

use linkage_agreement::{Handle, Layout, RecordRef};
use linkage_crypto::derive::RunKey;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::annex::run::RunAnnex;
use crate::annex::{AnnexSegment, Annexes};
use crate::archive::Segment;
use crate::error::NodeError;
use crate::stage_two::RecordWriter;
use crate::vault::Vault;

/// Segments read at a time, at most: 5 MB each in the default layout.
const MOST_AHEAD: usize = 16;

/// A record that takes part, where its segment has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    /// Position in the segment.
    pub(super) position: u32,
    /// The record.
    pub(super) reference: RecordRef,
    /// Its handle in the run.
    pub(super) handle: Handle,
    /// Made up to hide the number of records.
    pub(super) decoy: bool,
    /// Whether the broker has its encoding from the base of an increment.
    pub(super) held: bool,
}

/// The records of one segment that take part, in the run's order.
#[derive(Debug, Clone)]
pub(super) struct PlacedSegment {
    /// The segment's number.
    pub(super) number: u32,
    /// Its records.
    pub(super) records: Vec<Placed>,
}

/// One batch.
pub(super) struct EncodedBatch {
    /// Whole records.
    pub(super) bytes: Vec<u8>,
    /// SHA-256 of them.
    pub(super) digest: [u8; 32],
    /// How many.
    pub(super) records: u64,
    /// How many of them have no annex, where the agreement asks for one.
    pub(super) without_annex: u64,
}

/// What one run's encodings are made of.
pub(super) struct Encodings<'a> {
    /// The archive.
    pub(super) vault: &'a Vault,
    /// How records are laid out.
    pub(super) layout: &'a Layout,
    /// The run's key.
    pub(super) run: &'a RunKey,
    /// Records, in order.
    pub(super) segments: &'a [PlacedSegment],
    /// The agreement's annexes and what becomes of them in the run, if it asks for any.
    pub(super) annexes: Option<(&'a Annexes, &'a RunAnnex)>,
    /// Records of every batch but the last.
    pub(super) per_batch: usize,
}

/// A segment and its annexes.
type Opened<'a> = Arc<(Segment, Option<AnnexSegment<'a>>)>;

impl<'a> Encodings<'a> {
    /// Hands every batch to `take`, in order, until it breaks.
    ///
    /// # Errors
    /// A segment that cannot be opened, or is not what the index says.
    pub(super) fn make(&self, mut take: impl FnMut(EncodedBatch) -> ControlFlow<()>) -> Result<(), NodeError> {
        let ahead = rayon::current_num_threads().clamp(2, MOST_AHEAD);
        let mut waiting: Vec<(Opened<'a>, &Placed)> = Vec::new();
        let mut windows = self.segments.chunks(ahead).peekable();
        while let Some(window) = windows.next() {
            let segments: Vec<Opened<'a>> = window.par_iter().map(|placed| self.open(placed.number)).collect::<Result<_, _>>()?;
            for (segment, placed) in segments.iter().zip(window) {
                waiting.extend(placed.records.iter().map(|record| (Arc::clone(segment), record)));
            }
            // What does not fill a batch waits for the next window; its segment stays.
            let whole = if windows.peek().is_some() { waiting.len() / self.per_batch * self.per_batch } else { waiting.len() };
            let rest = waiting.split_off(whole);
            let made: Vec<EncodedBatch> =
                waiting.par_chunks(self.per_batch).map(|records| self.batch(records)).collect::<Result<_, _>>()?;
            waiting = rest;
            drop(segments);
            for batch in made {
                if take(batch).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn open(&self, number: u32) -> Result<Opened<'a>, NodeError> {
        let annexes = self.annexes.map(|(annexes, _)| annexes.segment(self.vault, number)).transpose()?;
        Ok(Arc::new((Segment::load(self.vault, self.layout, number)?, annexes)))
    }

    fn batch(&self, records: &[(Opened<'a>, &Placed)]) -> Result<EncodedBatch, NodeError> {
        let mut writer = RecordWriter::new(self.layout, self.run)?;
        let annex_len = self.annexes.map_or(0, |(annexes, _)| annexes.places.len);
        let mut bytes = Vec::with_capacity(records.len() * (self.layout.record_len() + annex_len));
        let mut without_annex = 0;
        for (opened, placed) in records {
            let (segment, annexes) = &**opened;
            let (header, entries) = segment.record(placed.position, &placed.reference)?;
            writer.write(placed.handle, header, entries, &mut bytes)?;
            if let (Some(annexes), Some((_, layer))) = (annexes, self.annexes) {
                let mut annex = annexes.annex(placed.position, &placed.reference)?;
                without_annex += u64::from(!layer.apply(&mut annex)?);
                bytes.extend_from_slice(&annex);
            }
        }
        Ok(EncodedBatch { digest: Sha256::digest(&bytes).into(), bytes, records: records.len() as u64, without_annex })
    }
}
