//! Overlaps of parties as an UpSet view (Lex, Gehlenborg, Strobelt, Vuillemot, Pfister 2014), turned so that each
//! combination is a line: dots say which parties, the bar how many.

use linkage_cohort::Shown;
use maud::{Markup, html};

use super::super::lang::{Lang, fill};
use super::{GRID, INK, SOFT, at, frame, ticks};

/// One exact combination of parties.
pub(in super::super) struct Combination {
    /// Its parties.
    pub(in super::super) parties: Vec<String>,
    /// How many are in these and no others.
    pub(in super::super) shown: Shown,
}

/// Combinations drawn; the table has all.
const MOST: usize = 25;
const WIDTH: f64 = 900.0;
const ROW: f64 = 26.0;
const COLUMN: f64 = 34.0;

fn size(shown: &Shown) -> f64 {
    match shown {
        Shown::Value { value, .. } => *value,
        _ => -1.0,
    }
}

/// Draws the combinations, the largest first.
pub(in super::super) fn upset(lang: Lang, id: &str, title: &str, parties: &[String], mut all: Vec<Combination>) -> Markup {
    let t = lang.texts();
    all.retain(|c| !matches!(c.shown, Shown::Missing) && size(&c.shown) != 0.0);
    all.sort_by(|a, b| size(&b.shown).total_cmp(&size(&a.shown)).then_with(|| a.parties.cmp(&b.parties)));
    let left_out = all.len().saturating_sub(MOST);
    all.truncate(MOST);
    let names = parties.iter().map(|p| p.chars().count()).max().unwrap_or(0) as f64;
    // Names stand slanted above their columns.
    let head = 24.0 + names * 5.4;
    let left = 16.0 + COLUMN * parties.len() as f64 + 10.0;
    let right = WIDTH - 130.0;
    let ticks = ticks(all.iter().map(|c| size(&c.shown)).fold(0.0, f64::max));
    let top = ticks.last().copied().unwrap_or(1.0).max(1e-9);
    let long = |v: f64| (right - left) * v.max(0.0) / top;
    let x = |party: usize| 24.0 + COLUMN * party as f64;
    let y = |row: usize| head + ROW * (row as f64 + 0.5);
    let foot = head + ROW * all.len() as f64;
    let drawing = html! {
        @for (p, name) in parties.iter().enumerate() {
            text x=(at(x(p))) y=(at(head - 8.0)) font-size="14" fill=(INK) transform=(format!("rotate(-50 {} {})", at(x(p)), at(head - 8.0))) { (name) }
        }
        @for tick in &ticks {
            @let place = left + long(*tick);
            line x1=(at(place)) x2=(at(place)) y1=(at(head)) y2=(at(foot)) stroke=(GRID) {}
            text x=(at(place)) y=(at(foot + 18.0)) font-size="13" fill=(SOFT) text-anchor="middle" { (lang.number(*tick)) }
        }
        @for (row, c) in all.iter().enumerate() {
            @if row % 2 == 0 { rect x="4" y=(at(y(row) - ROW / 2.0)) width=(at(left - 12.0)) height=(at(ROW)) fill="#f4f6f8" {} }
            @let on: Vec<usize> = (0..parties.len()).filter(|p| parties.get(*p).is_some_and(|name| c.parties.contains(name))).collect();
            @for p in 0..parties.len() {
                circle cx=(at(x(p))) cy=(at(y(row))) r="6" fill=(if on.contains(&p) { INK } else { "#cfd7de" }) {}
            }
            @if let (Some(first), Some(last)) = (on.first(), on.last()) {
                line x1=(at(x(*first))) x2=(at(x(*last))) y1=(at(y(row))) y2=(at(y(row))) stroke=(INK) stroke-width="3" {}
            }
            @match c.shown {
                Shown::Value { value, interval, .. } => {
                    @let end = left + long(value);
                    rect x=(at(left)) y=(at(y(row) - 8.0)) width=(at(long(value).max(1.0))) height="16" fill="#0b5d7a" {}
                    @if let Some([low, high]) = interval {
                        path d=(format!("M{} {} h{} m0 -4 v8 m{} 0 v-8", at(left + long(low)), at(y(row)), at(long(high.min(top)) - long(low)), at(long(low) - long(high.min(top))))) stroke="#0a1016" stroke-width="1.3" fill="none" {}
                    }
                    @let beside = end.max(interval.map_or(end, |i| left + long(i[1].min(top))));
                    text x=(at(beside + 8.0)) y=(at(y(row) + 5.0)) font-size="14" fill=(INK) { (lang.number(value)) }
                }
                _ => {
                    rect x=(at(left)) y=(at(y(row) - 8.0)) width="16" height="16" fill="#fff" stroke=(SOFT) stroke-dasharray="3 2" {}
                    text x=(at(left + 24.0)) y=(at(y(row) + 5.0)) font-size="14" fill=(SOFT) { (t.secret) }
                }
            }
        }
    };
    let largest: Vec<String> = all
        .iter()
        .filter(|c| size(&c.shown) > 0.0)
        .take(3)
        .map(|c| format!("{} : {}", c.parties.join(" + "), lang.number(size(&c.shown))))
        .collect();
    let hidden = all.iter().filter(|c| matches!(c.shown, Shown::Hidden)).count() as u64;
    let mut said = fill(t.upset_said, &[title, &lang.count(all.len() as u64), &largest.join(" ; ")]);
    if hidden > 0 {
        said = format!("{said} {}", fill(t.hidden_count, &[&lang.count(hidden)]));
    }
    if left_out > 0 {
        said = format!("{said} {}", fill(t.upset_left_out, &[&lang.count(left_out as u64)]));
    }
    frame(id, WIDTH as u32, (foot + 28.0) as u32, title, &said, &drawing)
}
