//! What of a pass set does not depend on the record: thresholds, and which key makes which other one needless.
//!
//! A key is implied by a looser one of the same record: whoever shares it shares the looser one too. Whether two passes
//! stand so to each other, and which of the tighter key's words the looser one has, follows from the passes alone.

use std::sync::Arc;

use crate::keys::WORDS;
use crate::passes::{DatePart, Extra, Pass, PassSet, When};
use crate::tables::View;

/// Passes of a set, and sources of a further part, that a candidate can tell apart.
pub(crate) const MOST: usize = 1 << 12;

/// A pass set made ready for an agreement's size.
pub(crate) struct Plan {
    pub(crate) passes: Vec<Planned>,
    /// The views that some pass takes.
    pub(crate) views: Vec<View>,
    /// The pairs of views that some pass takes.
    pub(crate) pairs: Vec<[View; 2]>,
    /// The further parts that some pass takes.
    pub(crate) extras: Vec<Extra>,
    pub(crate) rank_weight: f32,
}

/// A pass made ready.
pub(crate) struct Planned {
    pub(crate) id: Arc<str>,
    /// Its name's place among the names.
    order: usize,
    pub(crate) names: Names,
    pub(crate) date: DatePart,
    /// Index of its further part in [`Plan::extras`].
    pub(crate) extra: Option<usize>,
    pub(crate) extra_bits: f32,
    pub(crate) doubtful_only: bool,
    /// Surprisal that a key must reach.
    pub(crate) threshold: f32,
    /// The passes whose keys make one of this pass needless.
    pub(crate) implied_by: Vec<Implied>,
}

/// The name words of a pass.
#[derive(Clone, Copy)]
pub(crate) enum Names {
    None,
    One(View),
    /// Two words; in one view they are unordered, in two views ordered.
    Two {
        /// Index in [`Plan::pairs`].
        pair: usize,
        views: [View; 2],
    },
    /// More words than any key takes.
    Many,
}

/// A looser pass, and where its words lie among those of the tighter key.
pub(crate) struct Implied {
    pub(crate) loose: usize,
    pub(crate) words: LooseWords,
    /// Whether its key must have the same source of the further part; else it has none.
    pub(crate) with_extra: bool,
}

#[derive(Clone, Copy)]
pub(crate) enum LooseWords {
    None,
    /// The tighter key's first or second word.
    One(usize),
    /// Both, in the order of the tighter key.
    Same,
    /// Both, the other way round.
    Crossed,
}

impl LooseWords {
    /// Place of the looser key for the tighter key's place.
    pub(crate) fn place(self, tight: usize) -> usize {
        let (first, second) = (tight / WORDS, tight % WORDS);
        match self {
            Self::None => 0,
            Self::One(0) => first * WORDS,
            Self::One(_) => second * WORDS,
            Self::Same => tight,
            Self::Crossed => second * WORDS + first,
        }
    }
    /// The tighter key's word that the looser one has in each of its places.
    fn of_tight(self) -> &'static [usize] {
        match self {
            Self::None => &[],
            Self::One(0) => &[0],
            Self::One(_) => &[1],
            Self::Same => &[0, 1],
            Self::Crossed => &[1, 0],
        }
    }
}

impl Plan {
    pub(crate) fn new(set: &PassSet, expected_records: u64) -> Self {
        let mut plan = Self {
            passes: Vec::with_capacity(set.pass.len()),
            views: set.pass.iter().flat_map(|p| p.names.iter().copied()).collect(),
            pairs: Vec::new(),
            extras: Vec::new(),
            rank_weight: set.rank_weight,
        };
        plan.views.sort_unstable();
        plan.views.dedup();
        for (index, pass) in set.pass.iter().take(MOST).enumerate() {
            let names = match *pass.names.as_slice() {
                [] => Names::None,
                [view] => Names::One(view),
                [first, second] => Names::Two { pair: index_of(&mut plan.pairs, [first, second]), views: [first, second] },
                _ => Names::Many,
            };
            let extra = pass.extra.map(|extra| index_of(&mut plan.extras, extra));
            plan.passes.push(Planned {
                id: pass.id.as_str().into(),
                order: set.pass.iter().filter(|p| p.id < pass.id).count(),
                names,
                date: pass.date,
                extra,
                extra_bits: pass.extra_bits,
                doubtful_only: pass.when == When::DoubtfulDate,
                threshold: set.threshold(pass, expected_records),
                implied_by: implied_by(set, index, pass),
            });
        }
        plan
    }

    /// The place of a pass's name among the names.
    pub(crate) fn order(&self, pass: usize) -> usize {
        self.passes.get(pass).map_or(0, |p| p.order)
    }
    /// The name of a pass.
    pub(crate) fn id(&self, pass: usize) -> &str {
        self.passes.get(pass).map_or("", |p| &p.id)
    }
}

fn index_of<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|known| *known == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}

/// Which keys of which passes make a key of `tight` needless. Of two that imply each other the first pass's stays.
fn implied_by(set: &PassSet, index: usize, tight: &Pass) -> Vec<Implied> {
    let mut found = Vec::new();
    for (loose_index, loose) in set.pass.iter().take(MOST).enumerate() {
        if loose_index == index || !tight.may_imply(loose) {
            continue;
        }
        for words in ways(tight, loose) {
            let mutual = loose.may_imply(tight)
                && tight.names.iter().enumerate().all(|(at, view)| {
                    let loose_names = words.of_tight().iter().zip(&loose.names);
                    loose_names.into_iter().any(|(of, loose_view)| *of == at && loose_view.refines(*view))
                });
            if loose_index < index || !mutual {
                found.push(Implied { loose: loose_index, words, with_extra: loose.extra.is_some() });
            }
        }
    }
    found
}

/// The ways in which a looser key can have its words from a tighter one, each in a view that the tighter one's refines.
fn ways(tight: &Pass, loose: &Pass) -> Vec<LooseWords> {
    let refines = |t: usize, l: usize| match (tight.names.get(t), loose.names.get(l)) {
        (Some(tight), Some(loose)) => tight.refines(*loose),
        _ => false,
    };
    let all: &[LooseWords] = match loose.names.len() {
        0 => &[LooseWords::None],
        1 => &[LooseWords::One(0), LooseWords::One(1)],
        2 => &[LooseWords::Same, LooseWords::Crossed],
        _ => &[],
    };
    let fits = |words: &&LooseWords| words.of_tight().iter().enumerate().all(|(l, t)| refines(*t, l));
    all.iter().filter(fits).copied().collect()
}
