//! Figures over time as lines, with their intervals as bands.

use linkage_cohort::Shown;
use maud::{Markup, html};

use super::super::lang::{Lang, fill};
use super::{GRID, INK, SOFT, at, colour, dash, frame, mark, ticks};

/// One line.
pub(in super::super) struct Series {
    /// Name.
    pub(in super::super) name: String,
    /// One figure for each period.
    pub(in super::super) points: Vec<Shown>,
}

const WIDTH: f64 = 900.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 880.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 250.0;

fn value(shown: &Shown) -> Option<f64> {
    match shown {
        Shown::Value { value, .. } => Some(*value),
        _ => None,
    }
}

/// A figure at its position, with its interval.
type Point = (usize, f64, Option<[f64; 2]>);

/// Runs of consecutive positions that have a figure.
fn runs(points: &[Shown]) -> Vec<Vec<Point>> {
    let mut runs: Vec<Vec<_>> = vec![Vec::new()];
    for (position, shown) in points.iter().enumerate() {
        match (shown, runs.last_mut()) {
            (Shown::Value { value, interval, .. }, Some(run)) => run.push((position, *value, *interval)),
            (_, Some(run)) if !run.is_empty() => runs.push(Vec::new()),
            _ => {}
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

fn said(lang: Lang, title: &str, periods: &[String], series: &[Series]) -> String {
    let t = lang.texts();
    let (first, last) = (periods.first().map_or("", String::as_str), periods.last().map_or("", String::as_str));
    let mut said = vec![fill(t.lines_said, &[title, first, last])];
    for s in series {
        let shown: Vec<f64> = s.points.iter().filter_map(value).collect();
        let (Some(from), Some(to)) = (shown.first(), shown.last()) else {
            said.push(fill(t.lines_nothing, &[&s.name]));
            continue;
        };
        let (low, high) = shown.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
        said.push(fill(
            t.lines_series,
            &[&s.name, &lang.number(*from), &lang.number(*to), &lang.number(low), &lang.number(high)],
        ));
    }
    let of = |wanted: fn(&Shown) -> bool| series.iter().flat_map(|s| &s.points).filter(|p| wanted(p)).count() as u64;
    for (count, text) in
        [(of(|p| matches!(p, Shown::Hidden)), t.hidden_count), (of(|p| matches!(p, Shown::Missing)), t.missing_count)]
    {
        if count > 0 {
            said.push(fill(text, &[&lang.count(count)]));
        }
    }
    said.join(" ")
}

/// Draws `series` over `periods`.
pub(in super::super) fn lines(lang: Lang, id: &str, title: &str, periods: &[String], series: &[Series]) -> Markup {
    let t = lang.texts();
    let highest = series.iter().flat_map(|s| &s.points).fold(0.0, |top: f64, shown| match shown {
        Shown::Value { value, interval, .. } => top.max(*value).max(interval.map_or(0.0, |i| i[1])),
        _ => top,
    });
    let ticks = ticks(highest);
    let top = ticks.last().copied().unwrap_or(1.0).max(1e-9);
    let slot = (RIGHT - LEFT) / periods.len().max(1) as f64;
    let x = |position: usize| LEFT + (position as f64 + 0.5) * slot;
    let y = |v: f64| BOTTOM - (BOTTOM - TOP) * v / top;
    // A label takes some 56 units.
    let every = (56.0 / slot).ceil().max(1.0) as usize;
    let missing: Vec<usize> = (0..periods.len())
        .filter(|p| !series.is_empty() && series.iter().all(|s| matches!(s.points.get(*p), Some(Shown::Missing) | None)))
        .collect();
    let per_row = 3;
    let height = 288 + 22 * series.len().div_ceil(per_row) as u32 + if missing.is_empty() { 0 } else { 22 };
    let drawing = html! {
        @for p in &missing {
            rect x=(at(x(*p) - slot / 2.0)) y=(at(TOP)) width=(at(slot)) height=(at(BOTTOM - TOP)) fill="#e9edf1" {}
        }
        @for tick in &ticks {
            line x1=(at(LEFT)) x2=(at(RIGHT)) y1=(at(y(*tick))) y2=(at(y(*tick))) stroke=(GRID) {}
            text x=(at(LEFT - 8.0)) y=(at(y(*tick) + 4.0)) font-size="13" fill=(SOFT) text-anchor="end" { (lang.number(*tick)) }
        }
        @for (position, period) in periods.iter().enumerate() {
            @if position % every == 0 {
                text x=(at(x(position))) y=(at(BOTTOM + 20.0)) font-size="13" fill=(SOFT) text-anchor="middle" { (period) }
            }
        }
        line x1=(at(LEFT)) x2=(at(RIGHT)) y1=(at(BOTTOM)) y2=(at(BOTTOM)) stroke=(SOFT) {}
        @for (number, s) in series.iter().enumerate() {
            @for run in runs(&s.points) {
                @let banded: Vec<(usize, [f64; 2])> = run.iter().filter_map(|(p, _, i)| i.map(|i| (*p, i))).collect();
                @if banded.len() == run.len() {
                    @let upper = banded.iter().map(|(p, i)| format!("{},{}", at(x(*p)), at(y(i[1].min(top)))));
                    @let lower = banded.iter().rev().map(|(p, i)| format!("{},{}", at(x(*p)), at(y(i[0].max(0.0)))));
                    polygon points=(upper.chain(lower).collect::<Vec<_>>().join(" ")) fill=(colour(number)) fill-opacity="0.16" stroke=(colour(number)) stroke-opacity="0.35" stroke-width="0.8" {}
                }
                polyline points=(run.iter().map(|(p, v, _)| format!("{},{}", at(x(*p)), at(y(*v)))).collect::<Vec<_>>().join(" ")) fill="none" stroke=(colour(number)) stroke-width="2.2" stroke-dasharray=(dash(number)) {}
                @for (p, v, _) in &run { (mark(number, x(*p), y(*v), colour(number), "#fff")) }
            }
            @for (p, shown) in s.points.iter().enumerate() {
                @if matches!(shown, Shown::Hidden) { (mark(number, x(p), BOTTOM - 6.0, "#fff", colour(number))) }
            }
        }
        @for (number, s) in series.iter().enumerate() {
            @let (left, line) = (LEFT + (number % per_row) as f64 * 270.0, BOTTOM + 44.0 + (number / per_row) as f64 * 22.0);
            line x1=(at(left)) x2=(at(left + 30.0)) y1=(at(line)) y2=(at(line)) stroke=(colour(number)) stroke-width="2.2" stroke-dasharray=(dash(number)) {}
            (mark(number, left + 15.0, line, colour(number), "#fff"))
            text x=(at(left + 38.0)) y=(at(line + 4.5)) font-size="14" fill=(INK) { (s.name) }
        }
        @if !missing.is_empty() {
            @let line = BOTTOM + 44.0 + 22.0 * series.len().div_ceil(per_row) as f64;
            rect x=(at(LEFT)) y=(at(line - 7.0)) width="30" height="14" fill="#e9edf1" stroke=(SOFT) stroke-width="0.6" {}
            text x=(at(LEFT + 38.0)) y=(at(line + 4.5)) font-size="14" fill=(INK) { (t.legend_missing) }
        }
    };
    frame(id, WIDTH as u32, height, title, &said(lang, title, periods, series), &drawing)
}
