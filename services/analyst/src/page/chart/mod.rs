//! Charts as inline SVG, drawn from tables that may be shown: no script, nothing from elsewhere.
//!
//! Each says in words what it shows (its text alternative) and stands above the table of its figures. What is told by
//! colour is told by shape as well. A hidden figure leaves a mark and no height; a missing one leaves a gap, never a zero.

mod lines;
mod ribbon;
mod upset;

pub(super) use lines::{Series, lines};
pub(super) use ribbon::{Flow, ribbon};
pub(super) use upset::{Combination, upset};

use maud::{Markup, html};

/// Colours that keep 3 to 1 against white and differ in lightness; each series has its dash and its mark as well.
const COLOURS: [&str; 6] = ["#0b5d7a", "#b45f06", "#1f6b3d", "#6b3fa0", "#a3195b", "#52616f"];
const DASHES: [&str; 6] = ["none", "7 4", "2 3", "10 3 2 3", "5 2", "1 4"];
const INK: &str = "#1b2733";
const SOFT: &str = "#52616f";
const GRID: &str = "#dfe5ea";

fn colour(at: usize) -> &'static str {
    COLOURS.get(at % COLOURS.len()).copied().unwrap_or(INK)
}

fn dash(at: usize) -> &'static str {
    DASHES.get(at % DASHES.len()).copied().unwrap_or("none")
}

fn at(value: f64) -> String {
    format!("{value:.1}")
}

/// Round numbers from 0 to at least `top`, at most seven.
fn ticks(top: f64) -> Vec<f64> {
    let rough = (top.max(1.0)) / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= rough).unwrap_or(10.0 * power).max(1.0);
    let mut ticks = vec![0.0];
    while ticks.last().is_some_and(|last| *last < top.max(1.0)) && ticks.len() < 8 {
        ticks.push(step * ticks.len() as f64);
    }
    ticks
}

/// A mark at a point: circle, square, triangle or diamond.
fn mark(kind: usize, x: f64, y: f64, fill: &str, stroke: &str) -> Markup {
    html! {
        @match kind % 4 {
            0 => { circle cx=(at(x)) cy=(at(y)) r="3.6" fill=(fill) stroke=(stroke) {} }
            1 => { rect x=(at(x - 3.4)) y=(at(y - 3.4)) width="6.8" height="6.8" fill=(fill) stroke=(stroke) {} }
            2 => { path d=(format!("M{} {} l4.4 7.6 h-8.8 z", at(x), at(y - 4.6))) fill=(fill) stroke=(stroke) {} }
            _ => { path d=(format!("M{} {} l4.4 4.6 l-4.4 4.6 l-4.4 -4.6 z", at(x), at(y - 4.6))) fill=(fill) stroke=(stroke) {} }
        }
    }
}

/// The figure around a drawing: drawing with its text alternative, then its caption.
fn frame(id: &str, width: u32, height: u32, title: &str, said: &str, drawing: &Markup) -> Markup {
    let (title_id, said_id) = (format!("{id}-titre"), format!("{id}-texte"));
    html! {
        figure.chart {
            div.wide tabindex="0" role="group" aria-label=(title) {
                svg viewBox=(format!("0 0 {width} {height}")) width=(width) height=(height) role="img" aria-labelledby=(title_id) aria-describedby=(said_id) {
                    title id=(title_id) { (title) }
                    (drawing)
                }
            }
            figcaption id=(said_id) { (said) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_top() {
        assert_eq!(ticks(0.0), [0.0, 1.0]);
        assert_eq!(ticks(7.0), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(ticks(101.0), [0.0, 50.0, 100.0, 150.0]);
        for top in [3.0, 12.0, 99.0, 1_234.0, 987_654.0] {
            let ticks = ticks(top);
            assert!(ticks.len() <= 8 && ticks.last().is_some_and(|last| *last >= top), "{top} {ticks:?}");
        }
    }
}
