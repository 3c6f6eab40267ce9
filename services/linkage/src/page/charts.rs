//! Charts as inline SVG: no script, nothing from elsewhere. Each says in words what it shows, or stands beside the figure
//! that it draws and is hidden from screen readers.

use maud::{Markup, html};

use super::labels::{bits, count, percent};
use super::view::{Bin, Bounds, Estimate};

pub const LINKED: &str = "#0b5d7a";
pub const OPEN: &str = "#b45f06";
pub const REFUSED: &str = "#76838f";
const TRUTH: &str = "#1f6b3d";
const INK: &str = "#1b2733";
const SOFT: &str = "#52616f";

fn at(value: f64) -> String {
    format!("{value:.1}")
}

/// A share from 0 to 1 as a bar; the figure stands beside it.
pub fn bar(share: f64) -> Markup {
    html! {
        svg.bar viewBox="0 0 100 8" width="100" height="8" aria-hidden="true" focusable="false" {
            rect x="0" y="0" width="100" height="8" rx="2" fill="#e3e8ed" {}
            rect x="0" y="0" width=(at(100.0 * share.clamp(0.0, 1.0))) height="8" rx="2" fill=(LINKED) {}
        }
    }
}

/// An estimate with its interval, and the truth where it is known, on one scale from `from` to 1.
pub fn interval(estimate: Estimate, truth: Option<f64>, from: f64) -> Markup {
    let x = |share: f64| 10.0 + 220.0 * ((share - from) / (1.0 - from).max(1e-9)).clamp(0.0, 1.0);
    html! {
        svg.interval viewBox="0 0 240 34" width="240" height="34" aria-hidden="true" focusable="false" {
            line x1="10" y1="12" x2="230" y2="12" stroke="#c9d2da" stroke-width="1" {}
            line x1=(at(x(estimate.low))) y1="12" x2=(at(x(estimate.high))) y2="12" stroke=(LINKED) stroke-width="5" stroke-linecap="round" {}
            circle cx=(at(x(estimate.value))) cy="12" r="5" fill=(LINKED) stroke="#fff" stroke-width="1.5" {}
            @if let Some(truth) = truth {
                path d=(format!("M{0} 2 L{0} 22", at(x(truth)))) stroke=(TRUTH) stroke-width="2.5" {}
            }
            text x="10" y="32" font-size="10" fill=(SOFT) { (percent(from)) }
            text x="230" y="32" font-size="10" fill=(SOFT) text-anchor="end" { "100\u{a0}%" }
        }
    }
}

/// The lower end of a scale that shows all of `shares`.
pub fn scale_from(shares: impl Iterator<Item = f64>) -> f64 {
    let least = shares.fold(1.0, f64::min);
    ((least - 0.005) * 20.0).floor().clamp(0.0, 19.0) / 20.0
}

/// Pairs by weight and fate, on a logarithmic scale, with the bounds of the decision.
pub fn histogram(bins: &[Bin], bounds: Option<Bounds>) -> Markup {
    let total = |b: &Bin| b.linked + b.abstained + b.refused;
    let first = bins.iter().position(|b| total(b) > 0).unwrap_or(0);
    let last = bins.iter().rposition(|b| total(b) > 0).unwrap_or(0);
    let bins = bins.get(first..=last).unwrap_or(&[]);
    let top = bins.iter().map(total).max().unwrap_or(1).max(9) as f64;
    let (left, bottom, height) = (52.0, 230.0, 190.0);
    let width = 840.0 / bins.len().max(1) as f64;
    let from = bins.first().map_or(0, |b| b.from_bits);
    let x = |weight: f64| left + (weight - f64::from(from)) * width;
    let tall = |pairs: f64| height * (1.0 + pairs).ln() / (1.0 + top).ln();
    let sums = bins.iter().fold((0, 0, 0), |s, b| (s.0 + b.linked, s.1 + b.abstained, s.2 + b.refused));
    let said = format!(
        "Histogramme des poids : {} paires rapprochées, {} laissées ouvertes, {} écartées. {}",
        count(sums.0),
        count(sums.1),
        count(sums.2),
        bounds.map_or_else(String::new, |b| format!(
            "Seuil de lien {} bits, seuil d'abstention {} bits.",
            bits(b.link_millibits),
            bits(b.abstain_millibits)
        ))
    );
    let ticks: Vec<u64> = (0..8).map(|n| 10_u64.pow(n)).filter(|n| *n as f64 <= top).collect();
    html! {
        svg viewBox="0 0 900 285" role="img" aria-label=(said) {
            @for tick in ticks {
                @let y = bottom - tall(tick as f64);
                line x1="52" x2="892" y1=(at(y)) y2=(at(y)) stroke="#e3e8ed" {}
                text x="46" y=(at(y + 4.0)) font-size="11" fill=(SOFT) text-anchor="end" { (count(tick)) }
            }
            @for bin in bins {
                @let whole = tall(total(bin) as f64);
                @let part = |pairs: u64| whole * pairs as f64 / total(bin).max(1) as f64;
                @let (refused, abstained, linked) = (part(bin.refused), part(bin.abstained), part(bin.linked));
                @for (tall, under, colour) in [(refused, 0.0, REFUSED), (abstained, refused, OPEN), (linked, refused + abstained, LINKED)] {
                    @if tall > 0.0 {
                        rect x=(at(x(f64::from(bin.from_bits)))) y=(at(bottom - under - tall)) width=(at((width - 1.0).max(0.5))) height=(at(tall)) fill=(colour) {}
                    }
                }
                @if bin.from_bits % 10 == 0 {
                    text x=(at(x(f64::from(bin.from_bits)))) y="246" font-size="12" fill=(SOFT) text-anchor="middle" { (bin.from_bits.to_string().replace('-', "\u{2212}")) }
                }
            }
            line x1="52" x2="892" y1="230" y2="230" stroke=(SOFT) {}
            @if let Some(bounds) = bounds {
                @for (millibits, name, anchor, y) in [(bounds.abstain_millibits, "abstention", "end", 18), (bounds.link_millibits, "lien", "start", 18)] {
                    @let place = x(f64::from(millibits) / 1000.0);
                    line x1=(at(place)) x2=(at(place)) y1="8" y2="230" stroke=(INK) stroke-width="1.5" stroke-dasharray="5 4" {}
                    text x=(at(if anchor == "end" { place - 5.0 } else { place + 5.0 })) y=(y) font-size="12" fill=(INK) text-anchor=(anchor) {
                        "seuil : " (name) " (" (bits(millibits)) ")"
                    }
                }
            }
            @for (n, (colour, name)) in [(LINKED, "rapprochées"), (OPEN, "laissées ouvertes"), (REFUSED, "écartées")].into_iter().enumerate() {
                @let place = 250.0 + 150.0 * n as f64;
                rect x=(at(place)) y="262" width="12" height="12" fill=(colour) {}
                text x=(at(place + 18.0)) y="273" font-size="13" fill=(INK) { (name) }
            }
        }
    }
}

/// One floating bar of a waterfall, from `before` to `after`, in thousandths of a bit, within `range`.
pub fn step(before: i32, after: i32, range: (i32, i32), whole: bool) -> Markup {
    let x = |millibits: i32| 300.0 * f64::from(millibits - range.0) / f64::from((range.1 - range.0).max(1));
    let (low, high) = (x(before.min(after)), x(before.max(after)));
    let colour = if whole {
        INK
    } else if after >= before {
        LINKED
    } else {
        OPEN
    };
    html! {
        svg.step viewBox="0 0 300 14" width="300" height="14" aria-hidden="true" focusable="false" preserveAspectRatio="none" {
            line x1=(at(x(0))) x2=(at(x(0))) y1="0" y2="14" stroke="#76838f" {}
            rect x=(at(low)) y="2" width=(at((high - low).max(1.5))) height="10" fill=(colour) {}
        }
    }
}
