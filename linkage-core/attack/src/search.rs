//! The search: rounds that widen, secondary keys first, on all cores.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rayon::prelude::*;

use crate::block::{DATE, Text, Words, words};
use crate::{Dictionary, Findings, Limits, Standing, Target};

/// Years before this one are tried last: few people served were born then.
const LIKELY_FROM: u16 = 1930;
/// Surnames and given names of the rounds: the frequent first, everything in the end.
const SURNAME_ROUNDS: [usize; 3] = [20_000, 80_000, usize::MAX];
const GIVEN_ROUNDS: [usize; 3] = [300, 2_000, usize::MAX];
/// Given names tried two by two, for files that keep all given names.
const PAIRED: usize = 300;

/// What is known of a line.
#[derive(Clone, Copy)]
struct Known {
    surname: usize,
    month: u16,
    year: u16,
}

/// Reverses as many of `targets` as the limits allow. `clock` tells the time since the start; `told` hears how far the search
/// is after each step.
pub fn reverse(
    targets: &[Target],
    dictionary: &Dictionary,
    limits: Limits,
    clock: &(dyn Fn() -> Duration + Sync),
    told: &mut dyn FnMut(&Standing),
) -> Findings {
    let mut search = Search {
        dictionary,
        limits,
        clock,
        tried: AtomicU64::new(0),
        wanted: Wanted::new(targets),
        primaries: targets.iter().map(|t| t.primary.as_ref().map(words)).collect(),
        known: vec![None; targets.len()],
        reversed: vec![false; targets.len()],
        given_done: vec![0; targets.len()],
    };
    let mut steps = Vec::new();
    let mut step = |search: &Search<'_>| {
        let standing = search.standing();
        told(&standing);
        steps.push(standing);
    };
    let recent = limits.first_year.max(LIKELY_FROM);
    let mut from = 0;
    for (surnames, given) in SURNAME_ROUNDS.into_iter().zip(GIVEN_ROUNDS.into_iter().map(|n| n.min(GIVEN_ROUNDS[1]))) {
        search.secondary(from..surnames, recent..=limits.last_year);
        step(&search);
        search.primary(given);
        step(&search);
        from = surnames;
    }
    if limits.first_year < recent {
        search.secondary(0..usize::MAX, limits.first_year..=recent - 1);
        step(&search);
    }
    search.primary(usize::MAX);
    step(&search);
    search.primary_pairs();
    step(&search);
    let exhausted = !search.over();
    Findings {
        primary_keys: targets.iter().filter(|t| t.primary.is_some()).count() as u64,
        secondary_keys: targets.iter().filter(|t| t.secondary.is_some()).count() as u64,
        end: search.standing(),
        steps,
        exhausted,
    }
}

struct Search<'s> {
    dictionary: &'s Dictionary,
    limits: Limits,
    clock: &'s (dyn Fn() -> Duration + Sync),
    tried: AtomicU64,
    wanted: Wanted,
    primaries: Vec<Option<Words>>,
    known: Vec<Option<Known>>,
    reversed: Vec<bool>,
    /// How many given names were tried for each line.
    given_done: Vec<usize>,
}

impl Search<'_> {
    fn over(&self) -> bool {
        (self.clock)() >= self.limits.budget
    }

    fn standing(&self) -> Standing {
        Standing {
            seconds: (self.clock)().as_secs_f64(),
            tried: self.tried.load(Ordering::Relaxed),
            secondary_reversed: self.known.iter().flatten().count() as u64,
            primary_reversed: self.reversed.iter().filter(|r| **r).count() as u64,
        }
    }

    /// Surname x year x month.
    fn secondary(&mut self, surnames: std::ops::Range<usize>, years: std::ops::RangeInclusive<u16>) {
        let end = surnames.end.min(self.dictionary.surnames.len());
        let range = surnames.start.min(end)..end;
        let search = &*self;
        let hits: Vec<(Words, Known)> = range
            .into_par_iter()
            .flat_map_iter(|surname| {
                let mut hits = Vec::new();
                let name = search.dictionary.surnames.get(surname).map_or("", AsRef::as_ref);
                if search.over() {
                    return hits;
                }
                if let Some(mut text) = Text::new(&[name], DATE - 2) {
                    for year in years.clone() {
                        text.year(2, year);
                        for month in 1..=12 {
                            text.two(0, month);
                            let found = text.hash();
                            if search.wanted.maybe(&found) {
                                hits.push((found, Known { surname, month, year }));
                            }
                        }
                    }
                    search.tried.fetch_add(12 * years.clone().count() as u64, Ordering::Relaxed);
                }
                hits
            })
            .collect();
        for (found, known) in hits {
            for line in self.wanted.lines.get(&found).into_iter().flatten() {
                if let Some(place) = self.known.get_mut(*line) {
                    place.get_or_insert(known);
                }
            }
        }
    }

    /// Given name x day, up to the `upto`-th given name, for the lines whose surname, month and year are known.
    fn primary(&mut self, upto: usize) {
        let upto = upto.min(self.dictionary.given_names.len());
        let done = self.given_done.clone();
        let hits = self.each_open(|search, line, known, wanted| {
            let from = done.get(line).copied().unwrap_or(0).min(upto);
            let given = search.dictionary.given_names.get(from..upto).unwrap_or_default();
            given.iter().any(|name| search.try_days(known, &[name], wanted))
        });
        for (line, done) in self.given_done.iter_mut().enumerate() {
            if self.known.get(line).is_some_and(Option::is_some) {
                *done = upto.max(*done);
            }
        }
        self.note(&hits);
    }

    /// Two given names x day, for files that keep all given names of a person.
    fn primary_pairs(&mut self) {
        let hits = self.each_open(|search, _, known, wanted| {
            let given = search.dictionary.given_names.get(..PAIRED).unwrap_or(&search.dictionary.given_names);
            given
                .iter()
                .any(|first| !search.over() && given.iter().any(|second| search.try_days(known, &[first, second], wanted)))
        });
        self.note(&hits);
    }

    /// The lines with a known surname and an open primary key for which `tries` is true.
    fn each_open(&self, tries: impl Fn(&Self, usize, Known, &Words) -> bool + Sync) -> Vec<usize> {
        (0..self.known.len())
            .into_par_iter()
            .filter(|&line| {
                let (Some(Some(known)), Some(Some(wanted)), Some(false)) =
                    (self.known.get(line), self.primaries.get(line), self.reversed.get(line))
                else {
                    return false;
                };
                !self.over() && tries(self, line, *known, wanted)
            })
            .collect()
    }

    fn try_days(&self, known: Known, given: &[&str], wanted: &Words) -> bool {
        let surname = self.dictionary.surnames.get(known.surname).map_or("", AsRef::as_ref);
        let text = match given {
            [one] => Text::new(&[surname, one], DATE),
            [one, two] => Text::new(&[surname, one, two], DATE),
            _ => None,
        };
        let Some(mut text) = text else { return false };
        text.two(2, known.month);
        text.year(4, known.year);
        self.tried.fetch_add(31, Ordering::Relaxed);
        (1..=31).any(|day| {
            text.two(0, day);
            text.hash() == *wanted
        })
    }

    fn note(&mut self, hits: &[usize]) {
        for line in hits {
            if let Some(reversed) = self.reversed.get_mut(*line) {
                *reversed = true;
            }
        }
    }
}

/// The secondary keys that are looked for: a small bit table that nearly every candidate fails, then the exact map.
struct Wanted {
    bits: Vec<u64>,
    mask: u32,
    lines: HashMap<Words, Vec<usize>>,
}

impl Wanted {
    fn new(targets: &[Target]) -> Self {
        let mut lines: HashMap<Words, Vec<usize>> = HashMap::new();
        for (line, target) in targets.iter().enumerate() {
            if let Some(secondary) = &target.secondary {
                lines.entry(words(secondary)).or_default().push(line);
            }
        }
        let size = (lines.len() * 64).next_power_of_two().clamp(1 << 12, 1 << 28);
        let mask = (size - 1) as u32;
        let mut bits = vec![0u64; size / 64];
        for key in lines.keys() {
            let bit = key[0] & mask;
            if let Some(word) = bits.get_mut((bit / 64) as usize) {
                *word |= 1 << (bit % 64);
            }
        }
        Self { bits, mask, lines }
    }

    fn maybe(&self, found: &Words) -> bool {
        let bit = found[0] & self.mask;
        self.bits.get((bit / 64) as usize).is_some_and(|word| word & (1 << (bit % 64)) != 0) && self.lines.contains_key(found)
    }
}
