//! From blocks to clusters: join on tokens, comparison, classification, decision, clustering. Broker's side.
//!
//! Everything here is a pure function of the bytes that parties sent, the agreement's layout and decision rule, and the
//! nodes' level frequencies. There is no name, no key and no clock; nothing depends on handles or on the order in
//! which records, batches or parties arrive. Each step's output can be packed (`to_bytes`) and the next one started
//! from it, so that a broker resumes where it was stopped; [`link`] runs them all, in memory.
//!
//! ```text
//! Source -> meet -> Records, Comparisons -> classify -> Model
//!                               '-> decide -> cluster -> Clusters -> report
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod beside;
pub mod classify;
pub mod cluster;
pub mod compare;
pub mod decide;
pub mod dispositions;
pub mod drift;
mod filters;
pub mod frequencies;
pub mod hash_keys;
pub mod increment;
pub mod join;
pub mod levels;
pub mod meet;
pub mod outside;
mod pack;
pub mod payloads;
mod prior;
pub mod records;
pub mod report;
pub mod spill;
pub mod tokens;
mod vectors;

pub use classify::{Comparison, Comparisons, Model, classify};
pub use cluster::{Abstained, Cluster, Clusters, MatchClass, Member, cluster};
pub use compare::{Comparer, compare_payloads};
pub use decide::{Decided, Outcome, Reason, Settings, decide};
pub use dispositions::{Applied, Dispositions, Verdict};
pub use drift::{Drift, Snapshot, drift};
pub use frequencies::LevelFrequencies;
pub use hash_keys::{KeyLinks, KeyRecord, link_keys};
pub use increment::{Base, HeldRecords, Increment, TokenIndex, increment, index_tokens};
pub use join::{Meeting, Meetings, join};
pub use levels::{ComparisonVector, Dimension, DimensionKind, Dimensions, MAX_DIMENSIONS};
pub use meet::{MeetTerms, Met, meet};
pub use outside::{OutsideCounts, OutsideParty, OutsideTerms, outside_counts, outside_decided, outside_parties};
pub use records::{BatchAt, InMemory, PartyInput, PartyTerms, RecordIndex, Records, Source};
pub use report::{Report, ReportTerms, report};
pub use spill::{Held, Place, Spill};

use linkage_agreement::Layout;

/// Why a step refused its input. Never repeats a record's bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The layout is not one that this crate compares.
    #[error("layout: {0}")]
    Layout(&'static str),
    /// A batch is not a whole number of records.
    #[error("party number {party}: a batch of {len} bytes is not a whole number of records of {record_len} bytes")]
    BatchLength {
        /// The party's number in the input.
        party: usize,
        /// The batch's length in bytes.
        len: usize,
        /// The length of one record in bytes.
        record_len: usize,
    },
    /// A payload of another length than the layout's.
    #[error("a payload is not {expected} bytes long")]
    PayloadLength {
        /// The layout's payload length in bytes.
        expected: usize,
    },
    /// More records than can be numbered.
    #[error("more than 4,294,967,295 records")]
    TooManyRecords,
    /// A record number beyond the last record.
    #[error("no record has the number {0}")]
    NoSuchRecord(RecordIndex),
    /// An entry number beyond a record's last entry.
    #[error("record {record} has no entry {entry}")]
    NoSuchEntry {
        /// The record.
        record: RecordIndex,
        /// The entry.
        entry: u8,
    },
    /// The budget of memory cannot hold what has to be there.
    #[error("this linkage takes {} MiB of memory at least", least.div_ceil(1 << 20))]
    Memory {
        /// Bytes that it takes at least.
        least: u64,
    },
    /// Level frequencies that cannot be used.
    #[error("level frequencies: {0}")]
    Frequencies(&'static str),
    /// Settled pairs that cannot be used.
    #[error("dispositions: {0}")]
    Dispositions(&'static str),
    /// Packed bytes that cannot be read.
    #[error("packed step output: {0}")]
    Packed(&'static str),
}

/// What a whole linkage gives.
#[derive(Debug, Clone)]
pub struct Linkage {
    /// Clusters and pairs left open.
    pub clusters: Clusters,
    /// The classifier.
    pub model: Model,
    /// The run's report.
    pub report: Report,
}

/// Finds and compares the pairs of uploads that are all in memory.
pub fn meet_in_memory(layout: &Layout, parties: &[PartyInput<'_>], block_cap: u32) -> Result<Met, LinkError> {
    meet(&InMemory::new(layout, parties)?, &Held::default(), &MeetTerms { block_cap, memory_bytes: u64::MAX })
}

/// Runs every step in one go.
pub fn link(
    layout: &Layout,
    parties: &[PartyInput<'_>],
    frequencies: &LevelFrequencies,
    settings: &Settings,
    dispositions: &Dispositions,
) -> Result<Linkage, LinkError> {
    let Met { records, blocks, comparisons } = meet_in_memory(layout, parties, settings.block_cap)?;
    let model = classify(&records, &comparisons, frequencies)?;
    let (decided, clusters) = settle(&records, &comparisons, &model, settings, dispositions)?;
    let terms = ReportTerms::new(*settings);
    let report = report(&records, &blocks, &comparisons, &model, &decided, &clusters, &terms);
    Ok(Linkage { clusters, model, report })
}

/// Decides on every pair and clusters: once by the pairs alone, and once more with what the clusters tell of the pairs that
/// were left open as twins.
pub fn settle(
    records: &Records,
    comparisons: &Comparisons,
    model: &Model,
    settings: &Settings,
    dispositions: &Dispositions,
) -> Result<(Vec<Decided>, Clusters), LinkError> {
    settle_with(records, comparisons, model, settings, dispositions, &[])
}

/// As [`settle`], with the pairs that were decided on outside the blocks ([`outside_decided`]); they stand last in the rows.
pub fn settle_with(
    records: &Records,
    comparisons: &Comparisons,
    model: &Model,
    settings: &Settings,
    dispositions: &Dispositions,
    outside: &[Decided],
) -> Result<(Vec<Decided>, Clusters), LinkError> {
    let mut decided = decide(records, comparisons, model, settings, dispositions);
    decided.extend_from_slice(outside);
    let clusters = cluster(records, &decided, dispositions)?;
    let decided = beside::reconsider(records, comparisons, model, &decided, &clusters, settings);
    let clusters = cluster(records, &decided, dispositions)?;
    Ok((decided, clusters))
}
