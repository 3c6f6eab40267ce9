//! Which units count in which period, and in which month their values are read.
//!
//! A period of several months is figured over what was observed of it: its observed months for counts, for flows the
//! steps between observed months that lie wholly in it. Where nothing of it was observed, it is missing. A step is from
//! an observed month to the next one observed; who is in before and after a month that was not observed neither left
//! nor came back. A unit counts once in a period, by the last of its months or steps there.

use rayon::prelude::*;

use super::bits::Bits;
use super::document::Measure;
use super::frame::Frame;
use super::periods::Span;
use super::sets::Sets;

/// Units of one part that count in one period, by values of one month.
pub(crate) struct Counted {
    pub part: usize,
    pub period: usize,
    /// Position of the month.
    pub month: usize,
    pub set: Bits,
}

/// Who counts.
pub(crate) struct Events {
    pub counted: Vec<Counted>,
    /// By part and period, whether nothing can be said.
    pub missing: Vec<Vec<bool>>,
}

/// A flow between two observed months.
struct Step {
    /// Months, by index, in which it may have happened.
    first: u32,
    last: u32,
    /// Position of the month whose values count.
    month: usize,
    set: Bits,
}

/// Who counts by `measure`, which is a count or a flow.
pub(crate) fn events(measure: Measure, sets: &Sets, spans: &[Span], frame: &Frame<'_>) -> Events {
    let by_part: Vec<(Vec<Counted>, Vec<bool>)> = sets
        .parts
        .par_iter()
        .enumerate()
        .map(|(part, months)| match measure {
            Measure::Entries | Measure::Exits | Measure::Returns => {
                let steps = steps(measure, months, frame);
                let within = |span: &Span| {
                    let inside = |step: &&Step| span.first <= step.first && step.last <= span.last;
                    steps.iter().filter(inside).map(|step| (step.month, &step.set)).collect()
                };
                last_first(part, spans, within)
            }
            Measure::Stock => last_first(part, spans, |span| {
                let last = frame.at(span.last);
                last.and_then(|at| Some((at, months.get(at)?.as_ref()?))).into_iter().collect()
            }),
            _ => last_first(part, spans, |span| {
                let held = (span.first..=span.last).filter_map(|index| frame.at(index));
                held.filter_map(|at| Some((at, months.get(at)?.as_ref()?))).collect()
            }),
        })
        .collect();
    let mut all = Events { counted: Vec::new(), missing: Vec::new() };
    for (counted, missing) in by_part {
        all.counted.extend(counted);
        all.missing.push(missing);
    }
    all
}

/// Each unit of a period once, by the last of the sets that it is in.
fn last_first<'s>(part: usize, spans: &[Span], within: impl Fn(&Span) -> Vec<(usize, &'s Bits)>) -> (Vec<Counted>, Vec<bool>) {
    let mut counted = Vec::new();
    let mut missing = Vec::new();
    for (period, span) in spans.iter().enumerate() {
        let sets = within(span);
        missing.push(sets.is_empty());
        let several = sets.len() > 1;
        let mut done: Option<Bits> = None;
        for (month, set) in sets.into_iter().rev() {
            let new = done.as_ref().map_or_else(|| set.clone(), |done| set.without(done));
            if several {
                done.get_or_insert_with(|| set.clone()).add(set);
            }
            counted.push(Counted { part, period, month, set: new });
        }
    }
    (counted, missing)
}

/// The flow over each step, in order.
fn steps(measure: Measure, months: &[Option<Bits>], frame: &Frame<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut seen = Bits::new(frame.size);
    let mut before: Option<(usize, u32, &Bits)> = None;
    for (month, (set, index)) in months.iter().zip(&frame.calendar).enumerate() {
        let Some(set) = set else { continue };
        if let Some((month_before, index_before, set_before)) = before {
            let (month, flow) = match measure {
                Measure::Entries => (month, set.without(&seen)),
                Measure::Returns => {
                    let mut back = set.without(set_before);
                    back.keep(&seen);
                    (month, back)
                }
                _ => (month_before, set_before.without(set)),
            };
            steps.push(Step { first: index_before + 1, last: *index, month, set: flow });
        }
        seen.add(set);
        before = Some((month, *index, set));
    }
    steps
}
