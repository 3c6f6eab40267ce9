//! A run's records in parts that are clustered apart.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::{Abstained, Cluster, Groups};
use crate::decide::{Decided, Outcome};
use crate::dispositions::{Dispositions, Pair};
use crate::payloads::Components;
use crate::{RecordIndex, Records};

/// Pairs from which a part is clustered by itself.
const PART_ROWS: usize = 4096;

/// The records that a link or a confirmation joins to others, in parts that have nothing to do with one another: whole
/// components of the graph of all pairs between such records. A part is clustered by itself.
pub(super) struct Parts<'s> {
    /// By record.
    linked: Vec<bool>,
    /// By component, then by row: root and number of each decided pair between linked records.
    rows: Vec<(u32, u32)>,
    pub(super) parts: Vec<PartOf<'s>>,
}

/// What a part is made of.
#[derive(Default)]
pub(super) struct PartOf<'s> {
    /// Of `Parts::rows`.
    pub(super) rows: std::ops::Range<usize>,
    pub(super) confirmed: Vec<Pair>,
    pub(super) refuted: Vec<Pair>,
    pub(super) must_link: Vec<&'s BTreeSet<RecordIndex>>,
}

/// What clustering a part gives.
pub(super) struct Part {
    pub(super) clusters: Vec<Cluster>,
    pub(super) abstained: Vec<Abstained>,
}

impl<'s> Parts<'s> {
    pub(super) fn of(
        records: usize,
        decided: &[Decided],
        dispositions: &Dispositions,
        must_link: &'s [BTreeSet<RecordIndex>],
    ) -> Self {
        let mut linked = vec![false; records];
        let links = decided.iter().filter(|p| p.outcome == Outcome::Link).map(|p| (p.a, p.b));
        for record in links.chain(dispositions.confirmed()).flat_map(|(a, b)| [a, b]) {
            if let Some(flag) = linked.get_mut(record as usize) {
                *flag = true;
            }
        }
        let is_linked = |record: u32| linked.get(record as usize).copied().unwrap_or(false);
        let mut components = Components::new(records);
        let met = decided.iter().map(|pair| (pair.a, pair.b));
        for (a, b) in met.chain(dispositions.confirmed()).chain(dispositions.refuted()) {
            if is_linked(a) && is_linked(b) {
                components.join(a, b);
            }
        }
        let between = (0u32..).zip(decided).filter(|(_, pair)| is_linked(pair.a) && is_linked(pair.b));
        let mut rows: Vec<(u32, u32)> = between.map(|(row, pair)| (components.root(pair.a), row)).collect();
        rows.par_sort_unstable();
        // Where each component's part is; settled pairs are few.
        let (mut parts, mut from) = (Vec::new(), 0);
        let mut ends: Vec<u32> = Vec::new();
        while from < rows.len() {
            let most = rows.get(from + PART_ROWS).or(rows.last()).map_or(0, |row| row.0);
            let to = rows.partition_point(|row| row.0 <= most);
            parts.push(PartOf { rows: from..to, ..PartOf::default() });
            ends.push(most);
            from = to;
        }
        // Confirmed pairs that met nobody have components of their own, with no rows.
        parts.push(PartOf { rows: from..from, ..PartOf::default() });
        let part_of = |components: &mut Components, record: u32| {
            let root = components.root(record);
            let number = ends.partition_point(|&end| end < root);
            let held = rows.binary_search_by_key(&root, |row| row.0).is_ok();
            if held { number } else { ends.len() }
        };
        let mut places: Vec<(usize, Pair, bool)> = Vec::new();
        let settled = dispositions.confirmed().map(|pair| (pair, true)).chain(dispositions.refuted().map(|pair| (pair, false)));
        for ((a, b), confirmed) in settled.filter(|((a, b), _)| is_linked(*a) && is_linked(*b)) {
            places.push((part_of(&mut components, a), (a, b), confirmed));
        }
        let sets: Vec<usize> =
            must_link.iter().map(|set| set.first().map_or(ends.len(), |&first| part_of(&mut components, first))).collect();
        for (number, pair, confirmed) in places {
            if let Some(part) = parts.get_mut(number) {
                if confirmed { part.confirmed.push(pair) } else { part.refuted.push(pair) }
            }
        }
        for (number, set) in sets.into_iter().zip(must_link) {
            if let Some(part) = parts.get_mut(number) {
                part.must_link.push(set);
            }
        }
        Self { linked, rows, parts }
    }

    pub(super) fn is_linked(&self, record: RecordIndex) -> bool {
        self.linked.get(record as usize).copied().unwrap_or(false)
    }

    pub(super) fn cluster(&self, part: &PartOf<'_>, records: &Records, decided: &[Decided], dispositions: &Dispositions) -> Part {
        let rows = self.rows.get(part.rows.clone()).unwrap_or(&[]);
        let pairs: Vec<Decided> = rows.iter().filter_map(|&(_, row)| decided.get(row as usize)).copied().collect();
        let mut groups = Groups::new(records, &pairs, part);
        for set in &part.must_link {
            groups.join_confirmed(set);
        }
        groups.agglomerate();
        groups.outcome(&pairs, part, dispositions)
    }
}
