//! What became of every pair and every record, once for all parts of the report.

use std::collections::BTreeMap;

use crate::cluster::Clusters;
use crate::decide::Reason;
use crate::{Comparisons, RecordIndex, Records};

/// What became of a pair in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// Both records are in one cluster.
    Linked,
    /// Left open.
    Abstained(Reason),
    /// Not linked.
    Refused,
}

/// Fates of pairs and records.
pub(super) struct Outcomes {
    /// By row of the comparisons.
    pub fates: Vec<Fate>,
    /// By record: whether it met another one.
    pub met: Vec<bool>,
    /// By record: whether it is in a cluster.
    pub linked: Vec<bool>,
    /// By record: whether it is in a pair left open.
    pub open: Vec<bool>,
}

impl Outcomes {
    pub(super) fn of(records: &Records, comparisons: &Comparisons, clusters: &Clusters) -> Self {
        let cluster_of: BTreeMap<RecordIndex, usize> = clusters
            .clusters
            .iter()
            .enumerate()
            .flat_map(|(number, cluster)| cluster.members.iter().map(move |m| (m.record, number)))
            .collect();
        let reasons: BTreeMap<(RecordIndex, RecordIndex), Reason> =
            clusters.abstained.iter().map(|p| ((p.a, p.b), p.reason)).collect();
        let fate = |a: RecordIndex, b: RecordIndex| match (cluster_of.get(&a), cluster_of.get(&b)) {
            (Some(x), Some(y)) if x == y => Fate::Linked,
            _ => reasons.get(&(a, b)).map_or(Fate::Refused, |reason| Fate::Abstained(*reason)),
        };
        let flags = |which: &mut dyn Iterator<Item = RecordIndex>| {
            let mut flags = vec![false; records.len()];
            for record in which {
                if let Some(flag) = flags.get_mut(record as usize) {
                    *flag = true;
                }
            }
            flags
        };
        Self {
            fates: comparisons.rows.iter().map(|row| fate(row.a, row.b)).collect(),
            met: flags(&mut comparisons.rows.iter().flat_map(|row| [row.a, row.b])),
            linked: flags(&mut cluster_of.keys().copied()),
            open: flags(&mut reasons.keys().flat_map(|(a, b)| [*a, *b])),
        }
    }
}
