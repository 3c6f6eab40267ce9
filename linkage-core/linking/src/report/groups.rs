//! Rates by party and kind of record: how many of those with a default date, or a rare name, are linked and missed.
//!
//! The broker knows of a record what its header says in clear, the quality of its date and how rare its names are;
//! sex and age are the analyst's. Groups below the smallest count are suppressed, and others with them, because the
//! totals are shown. Missed pairs are estimates: of those that met, by their posteriors; of those that did not, as for
//! the whole run, from the errors of the group's pairs that met. A pair counts in every group that one of its records
//! is in, so that groups do not add up to the whole.

use std::collections::{BTreeMap, HashMap};

use linkage_agreement::disclosure::{Rule, protect_table};
use linkage_agreement::{DateQuality, Layout};
use rayon::prelude::*;
use serde::Serialize;

use super::kinds::{Kinds, never_met};
use super::outcomes::{Fate, Outcomes};
use crate::decide::probability;
use crate::{Comparison, Comparisons, Model, Records};

/// Rows that one task counts.
const CHUNK: usize = 1 << 16;

/// Counts and estimates of one group of records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct GroupCounts {
    /// Records, decoys among them.
    pub records: u64,
    /// Records that met another one.
    pub met: u64,
    /// Records in a cluster.
    pub linked: u64,
    /// Records in a pair left open.
    pub abstained: u64,
    /// Expected right pairs among those linked.
    pub found_pairs: f64,
    /// Expected matches among the pairs that met and were not linked.
    pub missed_met_pairs: f64,
    /// Expected matches that did not meet.
    pub missed_unmet_pairs: f64,
}

/// Ways in which a record can have met, be linked and be open.
const FATES: usize = 8;

/// One group before suppression.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    pub counts: GroupCounts,
    /// Its records by what became of them: as their sums are shown, too, they narrow what is hidden.
    fates: [u64; FATES],
}

/// One group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupReport {
    /// `full`, `default`, `partial`, `missing`; rarity classes `1` (very common) to `7`, `0` without a name.
    pub group: &'static str,
    /// Its counts; none where suppressed.
    pub counts: Option<GroupCounts>,
}

/// One way to divide records into groups.
pub(super) struct Division {
    pub names: &'static [&'static str],
    pub group_of: fn(&Layout, u32) -> usize,
    /// Whether to estimate what did not meet by group.
    pub unmet: bool,
}

/// By quality of the date of birth.
pub(super) const DATE_QUALITY: Division = Division {
    names: &["full", "default", "partial", "missing"],
    group_of: |_, header| match Layout::date_quality(header) {
        DateQuality::Full => 0,
        DateQuality::Default => 1,
        DateQuality::Partial => 2,
        DateQuality::Missing => 3,
    },
    unmet: true,
};

/// By rarity class of the rarest name.
pub(super) const RARITY: Division = Division {
    names: &["0", "1", "2", "3", "4", "5", "6", "7"],
    group_of: |layout, header| {
        let classes = layout.fields.iter().filter_map(|f| f.rarity_at).map(|at| Layout::rarity(header, at));
        usize::from(classes.max().unwrap_or(0))
    },
    unmet: false,
};

/// All records of a party as one group.
pub(super) const WHOLE: Division = Division { names: &["all"], group_of: |_, _| 0, unmet: true };

/// What the groups are counted from.
pub(super) struct Sources<'s> {
    pub records: &'s Records,
    pub comparisons: &'s Comparisons,
    pub model: &'s Model,
    pub kinds: &'s Kinds,
    pub outcomes: &'s Outcomes,
    /// Whether pairs are of one party.
    pub alone: bool,
}

impl Sources<'_> {
    /// Counts by party and group, and by group over all parties, without suppression.
    pub(super) fn counts(&self, division: &Division) -> (Vec<Vec<Counted>>, Vec<Counted>) {
        let layout = self.records.layout();
        let width = division.names.len();
        let parties = self.records.parties();
        let mut counts = vec![vec![Counted::default(); width]; parties + 1];
        // Record by record; the last row is of all parties.
        let place = |record: u32| {
            let group = self.records.header(record).map_or(0, |header| (division.group_of)(layout, header));
            (self.records.party(record), group)
        };
        let flag = |flags: &[bool], record: u32| u64::from(flags.get(record as usize).copied().unwrap_or(false));
        for record in 0..self.records.len() as u32 {
            let (party, group) = place(record);
            for row in [party, parties] {
                if let Some(Counted { counts: cell, fates }) = counts.get_mut(row).and_then(|row| row.get_mut(group)) {
                    let [met, linked, open] =
                        [&self.outcomes.met, &self.outcomes.linked, &self.outcomes.open].map(|flags| flag(flags, record));
                    cell.records += 1;
                    cell.met += met;
                    cell.linked += linked;
                    cell.abstained += open;
                    fates.get_mut((met + 2 * linked + 4 * open) as usize).into_iter().for_each(|records| *records += 1);
                }
            }
        }
        // Pairs by cell (row of `counts` and group) and kind.
        let tally = |mut cells: HashMap<(usize, usize, u32), u64>, (row, kind): (&Comparison, &u32)| {
            if row.within == self.alone {
                let ((party_a, group_a), (party_b, group_b)) = (place(row.a), place(row.b));
                let mut places = [(party_a, group_a), (party_b, group_b), (parties, group_a), (parties, group_b)];
                places.sort_unstable();
                let (mut before, mut count) = (None, |place| *cells.entry(place).or_default() += 1);
                for (party, group) in places {
                    if before.replace((party, group)) != Some((party, group)) {
                        count((party, group, *kind));
                    }
                }
            }
            cells
        };
        let rows = self.comparisons.rows.par_iter().zip(&self.kinds.of_row);
        let counted = rows.fold_chunks(CHUNK, HashMap::new, tally).reduce(HashMap::new, |mut all, part| {
            part.into_iter().for_each(|(place, pairs)| *all.entry(place).or_default() += pairs);
            all
        });
        let mut sorted: Vec<((usize, usize, u32), u64)> = counted.into_iter().collect();
        sorted.par_sort_unstable();
        let mut cells = sorted.chunk_by(|x, y| (x.0.0, x.0.1) == (y.0.0, y.0.1)).peekable();
        for (row, groups) in counts.iter_mut().enumerate() {
            for (group, cell) in groups.iter_mut().enumerate() {
                let is_here = |rows: &&[((usize, usize, u32), u64)]| rows.first().is_some_and(|r| (r.0.0, r.0.1) == (row, group));
                let found = cells.next_if(is_here).unwrap_or(&[]);
                self.estimate(&mut cell.counts, found, division.unmet);
            }
        }
        let all = counts.pop().unwrap_or_default();
        (counts, all)
    }

    /// Sets what the pairs of a cell come to, given by kind in order.
    fn estimate(&self, cell: &mut GroupCounts, found: &[((usize, usize, u32), u64)], unmet: bool) {
        let kind = |row: &((usize, usize, u32), u64)| Some((self.kinds.all.get(row.0.2 as usize)?, row.1));
        // Summed weight by weight in order, and from zero: the sum of no floats is minus zero, which would show.
        let expected = |linked: bool| {
            let mut by_weight: BTreeMap<i32, u64> = BTreeMap::new();
            for (kind, pairs) in found.iter().filter_map(kind).filter(|(kind, _)| (kind.fate == Fate::Linked) == linked) {
                *by_weight.entry(kind.millibits).or_default() += pairs;
            }
            by_weight.iter().fold(0.0, |sum, (&w, &n)| sum + probability(w) * n as f64)
        };
        cell.found_pairs = expected(true);
        cell.missed_met_pairs = expected(false);
        if unmet {
            cell.missed_unmet_pairs = never_met(self.model, found.iter().filter_map(kind));
        }
    }

    /// The same after suppression of groups with fewer than `minimum` records, and of what would give them away.
    pub(super) fn groups(&self, division: &Division, minimum: u64) -> (Vec<Vec<GroupReport>>, Vec<GroupReport>) {
        let (parties, all) = self.counts(division);
        let table: Vec<Vec<[u64; FATES]>> = parties.iter().map(|row| row.iter().map(|c| c.fates).collect()).collect();
        let (hidden, hidden_all) = protect_table(&table, &[], Rule::sum(minimum));
        let show = |row: Vec<Counted>, hidden: Vec<bool>| -> Vec<GroupReport> {
            let shown = |((group, cell), hidden): ((&&'static str, Counted), bool)| {
                // An empty group is shown as such.
                GroupReport { group, counts: (!hidden || cell.counts.records == 0).then_some(cell.counts) }
            };
            division.names.iter().zip(row).zip(hidden).map(shown).collect()
        };
        (parties.into_iter().zip(hidden).map(|(row, hidden)| show(row, hidden)).collect(), show(all, hidden_all))
    }
}
