//! Taking records out of everything that the node keeps of them.
//!
//! The index goes last: a process killed on the way finds the records in it and begins again. Segments that hold one of the
//! records are written anew without it and the old files removed, so that no file holds its bytes.

use std::collections::HashSet;

use linkage_agreement::{Period, RecordRef};
use zeroize::Zeroizing;

use crate::annex::Annexes;
use crate::annex::make::Made;
use crate::archive::{ArchivedRecord, Index, Indexed, Segment};
use crate::error::NodeError;
use crate::node::{Node, Refs};
use crate::retention::terms::Terms;
use crate::rights::Marks;

/// Forgets `gone` in deliveries, local ids, terms, marks, archive and annexes.
pub(super) fn records(node: &Node, gone: &HashSet<RecordRef>) -> Result<(), NodeError> {
    let vault = &node.vault;
    let mut index = Index::load(vault)?;
    if !gone.is_empty() {
        for period in node.periods()? {
            let Some(mut state) = node.delivery(period)? else { continue };
            let before = state.records.len();
            state.records.retain(|record| RecordRef::from_hex(&record.reference).is_none_or(|r| !gone.contains(&r)));
            if state.records.len() != before {
                node.keep_delivery(&state)?;
            }
        }
        let mut refs = Refs::load(vault)?;
        let mut terms = Terms::load(vault)?;
        let mut marks = Marks::load(vault)?;
        refs.forget_all(gone);
        terms.forget(gone);
        for reference in gone {
            marks.set(*reference, None);
        }
        refs.save(vault)?;
        marks.save(vault)?;
        rewrite(node, &mut index, gone)?;
        index.save(vault)?;
        // A record is due by its term until the index has forgotten it.
        terms.save(vault)?;
    }
    index.drop_unnamed(vault)?;
    Annexes::drop_unnamed(vault, &index)
}

/// Moves what stays of every segment that holds one of `gone` to new segments.
fn rewrite(node: &Node, index: &mut Index, gone: &HashSet<RecordRef>) -> Result<(), NodeError> {
    let vault = &node.vault;
    let layout = node.layout();
    let annexes = Annexes::of(node.gate.agreement(), &node.gate.agreement_hash());
    let touched: HashSet<u32> = gone.iter().filter_map(|reference| index.records.get(reference)).map(|at| at.segment).collect();
    let segments = index.segments(|at| touched.contains(&at.segment));
    for (number, records) in segments {
        let segment = Segment::load(vault, &layout, number)?;
        let held = annexes.as_ref().map(|annexes| annexes.segment(vault, number)).transpose()?;
        let mut stay: Vec<(ArchivedRecord, Indexed, Zeroizing<Vec<u8>>)> = Vec::new();
        for (position, reference, _) in records {
            let Some(at) = index.records.get(&reference).filter(|_| !gone.contains(&reference)) else { continue };
            let (header, entries) = segment.record(position, &reference)?;
            let annex = held.as_ref().map(|held| held.annex(position, &reference)).transpose()?.unwrap_or_default();
            stay.push((ArchivedRecord { reference, header, entries: Zeroizing::new(entries.to_vec()) }, *at, annex));
        }
        let (archived, kept): (Vec<ArchivedRecord>, Vec<_>) =
            stay.into_iter().map(|(record, at, annex)| (record, (at, annex))).unzip();
        // Which month and epoch does not matter: what the index had of each record is put back.
        index.append(vault, Period::of(node.gate.today()), 1, &archived, |_| ([0; 16], false))?;
        let mut annex_of = std::collections::HashMap::new();
        for (record, (at, annex)) in archived.iter().zip(kept) {
            if let Some(now) = index.records.get_mut(&record.reference) {
                *now = Indexed { segment: now.segment, position: now.position, ..at };
            }
            annex_of.insert(record.reference, annex);
        }
        if let Some(annexes) = &annexes {
            let made = |reference: &RecordRef| {
                let annex = annex_of.get(reference).cloned();
                Made { annex: annex.unwrap_or_else(|| Zeroizing::new(vec![0; annexes.places.len])), remarks: Vec::new() }
            };
            annexes.write(vault, index, archived.iter().map(|record| record.reference), made)?;
        }
    }
    index.records.retain(|reference, _| !gone.contains(reference));
    Ok(())
}
