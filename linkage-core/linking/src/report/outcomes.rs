//! What became of every pair and every record, once for all parts of the report.

use rayon::prelude::*;

use crate::cluster::Clusters;
use crate::decide::Reason;
use crate::{Comparisons, RecordIndex, Records};

/// What became of a pair in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
        let cluster_of = clusters.numbers(records.len());
        let number = |record: RecordIndex| cluster_of.get(record as usize).copied().flatten();
        let open = &clusters.abstained;
        let fate = |a: RecordIndex, b: RecordIndex| match (number(a), number(b)) {
            (Some(x), Some(y)) if x == y => Fate::Linked,
            _ => {
                let at = open.binary_search_by_key(&(a, b), |pair| (pair.a, pair.b)).ok().and_then(|at| open.get(at));
                at.map_or(Fate::Refused, |pair| Fate::Abstained(pair.reason))
            }
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
            fates: comparisons.rows.par_iter().map(|row| fate(row.a, row.b)).collect(),
            met: flags(&mut comparisons.rows.iter().flat_map(|row| [row.a, row.b])),
            linked: cluster_of.iter().map(Option::is_some).collect(),
            open: flags(&mut open.iter().flat_map(|pair| [pair.a, pair.b])),
        }
    }
}
