//! The block keys of identities: candidates of every pass, those that tell enough, none implied by another.
//!
//! Contract and rules in [`crate::passes`]. Keys hold name parts: they are zeroised on drop and their `Debug` shows the
//! pass only. A [`KeyMaker`] makes the keys of many records of one agreement: it keeps words, and room for one record at a
//! time, so that a record costs a few microseconds. What it leaves in that room the next record overwrites, and it is
//! erased with the maker.

use std::fmt;
use std::sync::Arc;

use linkage_agreement::DateQuality;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::candidates::{Made, Record};
use crate::further::Further;
use crate::identity::Identity;
use crate::passes::PassSet;
use crate::plan::Plan;
use crate::words::Words;

/// Places for a word in the tables of one record; a pair of words has place `first * WORDS + second`.
pub(crate) const WORDS: usize = 8;

/// What names one block: a pass and its parts. Zeroised on drop; `Debug` shows the pass only.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Zeroize, ZeroizeOnDrop)]
pub struct BlockKey {
    #[zeroize(skip)]
    pass: Arc<str>,
    parts: String,
}

impl BlockKey {
    /// The pass.
    pub fn pass(&self) -> &str {
        &self.pass
    }
    /// The input of the key's OPRF evaluation: `linkage/block-scoped/1/input`, agreement, epoch in decimal, pass and
    /// parts, separated by 0x00, the parts among themselves by 0x1f. It tells names: erase it after use.
    pub fn oprf_input(&self, agreement_id: &str, epoch: u32) -> Vec<u8> {
        let mut input = input_head(agreement_id, epoch);
        push_input(&mut input, &self.pass, &self.parts);
        input
    }
    #[cfg(test)]
    pub(crate) fn of_parts(pass: &str, parts: &str) -> Self {
        Self { pass: pass.into(), parts: parts.to_owned() }
    }
}

impl fmt::Debug for BlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockKey({}, ..)", self.pass)
    }
}

/// What all inputs of one agreement and epoch begin with.
fn input_head(agreement_id: &str, epoch: u32) -> Vec<u8> {
    [b"linkage/block-scoped/1/input\0", agreement_id.as_bytes(), b"\0", epoch.to_string().as_bytes(), b"\0"].concat()
}

fn push_input(out: &mut Vec<u8>, pass: &str, parts: &str) {
    out.extend_from_slice(pass.as_bytes());
    out.push(0);
    out.extend_from_slice(parts.as_bytes());
}

/// OPRF inputs (see [`BlockKey::oprf_input`]) of several records, one after the other in one buffer, erased on drop.
pub struct BlockInputs {
    head: Vec<u8>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    records: Vec<usize>,
}

impl BlockInputs {
    /// Room for inputs of one agreement and epoch.
    pub fn new(agreement_id: &str, epoch: u32) -> Self {
        Self { head: input_head(agreement_id, epoch), bytes: Vec::new(), ends: Vec::new(), records: Vec::new() }
    }
    /// How many inputs there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
    /// All inputs, in the order in which they were made.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        self.ends.iter().zip(starts).map(|(end, start)| self.bytes.get(*start..*end).unwrap_or_default())
    }
    /// How many of the inputs each record has.
    pub fn per_record(&self) -> impl Iterator<Item = usize> {
        let starts = std::iter::once(&0).chain(&self.records);
        self.records.iter().zip(starts).map(|(end, start)| end - start)
    }
    /// Adds a record that has none.
    pub fn skip(&mut self) {
        self.records.push(self.ends.len());
    }
    /// Makes room for other records.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.records.clear();
    }

    fn push(&mut self, pass: &str, parts: &str) {
        let more = self.head.len() + pass.len() + 1 + parts.len();
        if self.bytes.capacity() - self.bytes.len() < more {
            // A vector that grows by itself would leave a copy of the inputs behind.
            let mut roomy = Vec::with_capacity(2 * self.bytes.capacity() + more.max(1 << 12));
            roomy.extend_from_slice(&self.bytes);
            self.bytes.zeroize();
            self.bytes = roomy;
        }
        self.bytes.extend_from_slice(&self.head);
        push_input(&mut self.bytes, pass, parts);
        self.ends.push(self.bytes.len());
    }
}

impl Drop for BlockInputs {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// The block keys of an identity, the most useful first, at most `max`, for an agreement of `expected_records`. For many
/// identities make a [`KeyMaker`].
pub fn block_keys(identity: &Identity, set: &PassSet, expected_records: u64, max: usize) -> Vec<BlockKey> {
    KeyMaker::new(set, expected_records, max).keys(identity)
}

/// A block key with what it is taken to tell.
pub(crate) struct ScoredKey {
    pub(crate) key: BlockKey,
    /// Index of the pass.
    pub(crate) pass: usize,
    /// Surprisal in bits.
    pub(crate) bits: f32,
}

/// Makes the block keys of one identity after the other.
pub struct KeyMaker {
    plan: Plan,
    max: usize,
    words: Words,
    further: Further,
    record: Record,
}

impl fmt::Debug for KeyMaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyMaker(..)")
    }
}

impl KeyMaker {
    /// For an agreement of `expected_records` and at most `max` keys a record.
    pub fn new(set: &PassSet, expected_records: u64, max: usize) -> Self {
        let plan = Plan::new(set, expected_records);
        let words = Words::new(plan.views.clone(), set.name_cap_bits);
        Self { plan, max, words, further: Further::default(), record: Record::default() }
    }

    /// The block keys of an identity, the most useful first.
    pub fn keys(&mut self, identity: &Identity) -> Vec<BlockKey> {
        self.scored(identity).into_iter().map(|k| k.key).collect()
    }

    /// Adds a record's inputs, those of [`Self::keys`] in their order, to `inputs`.
    pub fn inputs(&mut self, identity: &Identity, inputs: &mut BlockInputs) {
        self.make(identity);
        for made in &self.record.made {
            inputs.push(self.plan.id(made.pass), self.record.parts(made));
        }
        inputs.skip();
    }

    pub(crate) fn scored(&mut self, identity: &Identity) -> Vec<ScoredKey> {
        self.make(identity);
        self.made()
    }

    /// Every key that tells enough, implied or not, in the order of the passes; for choosing among passes.
    pub(crate) fn all(&mut self, identity: &Identity) -> Vec<ScoredKey> {
        self.consider(identity);
        let mut candidates = std::mem::take(&mut self.record.candidates);
        candidates.sort_unstable_by_key(|c| c.found());
        candidates.iter().for_each(|candidate| self.record.write(&self.plan, *candidate));
        self.record.candidates = candidates;
        self.record.take_all();
        self.made()
    }

    fn made(&self) -> Vec<ScoredKey> {
        let id = |pass: usize| self.plan.passes.get(pass).map_or_else(|| "".into(), |p| Arc::clone(&p.id));
        let key = |made: &Made| BlockKey { pass: id(made.pass), parts: self.record.parts(made).to_owned() };
        self.record.made.iter().map(|made| ScoredKey { key: key(made), pass: made.pass, bits: made.bits }).collect()
    }

    fn make(&mut self, identity: &Identity) {
        self.consider(identity);
        let (plan, record) = (&self.plan, &mut self.record);
        record.candidates.sort_unstable();
        let candidates = std::mem::take(&mut record.candidates);
        for equals in candidates.chunk_by(|a, b| a.score() == b.score()) {
            if record.made.len() >= self.max {
                break;
            }
            for candidate in equals {
                if !record.is_implied(plan, *candidate) {
                    record.write(plan, *candidate);
                }
            }
            record.take_group(plan, self.max);
        }
        record.candidates = candidates;
    }

    /// Fills the tables of a record.
    fn consider(&mut self, identity: &Identity) {
        let record = &mut self.record;
        record.clear(&mut self.words);
        record.take_words(identity, &mut self.words);
        record.weigh(identity, &self.plan);
        record.sources.resize_with(self.plan.extras.len(), Vec::new);
        for (extra, sources) in self.plan.extras.iter().zip(&mut record.sources) {
            self.further.sources(identity, *extra, &mut record.texts, sources);
        }
        record.find(&self.plan, identity.date_quality() != DateQuality::Full);
    }
}
