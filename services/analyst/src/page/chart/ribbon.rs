//! Paths between services as ribbons (Sankey): the width of a ribbon is how many went that way.
//!
//! A ribbon adds up figures that are shown; what is hidden is not drawn, so nothing can be had from a ribbon that the
//! table does not give.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::super::lang::{Lang, fill};
use super::{INK, SOFT, at, colour, frame};

/// A path and how many took it.
pub(in super::super) struct Flow {
    /// What was met, in order.
    pub(in super::super) steps: Vec<String>,
    /// How many.
    pub(in super::super) value: f64,
}

const WIDTH: f64 = 900.0;
/// What the bars of a stage share at least, the gaps between them apart.
const BARS: f64 = 260.0;
/// Between two bars: a line of text, or the names of thin bars lie over one another.
const GAP: f64 = 17.0;
const BAR: f64 = 14.0;
const SIDE: f64 = 245.0;
/// Longest name at the side of a bar, in characters; the table has it whole.
const LONGEST: usize = 24;

/// A bar: one service at one step.
struct Node {
    top: f64,
    value: f64,
    /// How far its left and its right side are taken by ribbons already drawn.
    taken: [f64; 2],
}

fn short(name: &str) -> String {
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    name.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// Draws the paths; `stages` names the steps, `hidden` counts the paths that are not drawn.
pub(in super::super) fn ribbon(lang: Lang, id: &str, title: &str, stages: &[&str], flows: &[Flow], hidden: u64) -> Markup {
    let t = lang.texts();
    let mut sizes: Vec<BTreeMap<&str, f64>> = vec![BTreeMap::new(); stages.len()];
    let mut links: BTreeMap<(usize, &str, &str), f64> = BTreeMap::new();
    for flow in flows.iter().filter(|f| f.value > 0.0) {
        for (stage, (sizes, step)) in sizes.iter_mut().zip(&flow.steps).enumerate() {
            *sizes.entry(step).or_default() += flow.value;
            if let Some(next) = flow.steps.get(stage + 1).filter(|_| stage + 1 < stages.len()) {
                *links.entry((stage, step.as_str(), next.as_str())).or_default() += flow.value;
            }
        }
    }
    let services: Vec<&str> = {
        let mut all: Vec<&str> = sizes.iter().flat_map(|s| s.keys().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    let hue = |name: &str| colour(services.iter().position(|s| *s == name).unwrap_or(0));
    let total = |s: &BTreeMap<&str, f64>| s.values().sum::<f64>();
    let most_nodes = sizes.iter().map(BTreeMap::len).max().unwrap_or(0).max(1);
    let tall = BARS + GAP * (most_nodes - 1) as f64;
    let scale = BARS / sizes.iter().map(total).fold(1.0, f64::max);
    let mut nodes: Vec<BTreeMap<&str, Node>> = Vec::new();
    for sizes in &sizes {
        let mut order: Vec<(&str, f64)> = sizes.iter().map(|(name, value)| (*name, *value)).collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
        let mut top = 44.0;
        let mut placed = BTreeMap::new();
        for (name, value) in order {
            placed.insert(name, Node { top, value, taken: [0.0; 2] });
            top += value * scale + GAP;
        }
        nodes.push(placed);
    }
    let x = |stage: usize| SIDE + (WIDTH - 2.0 * SIDE - BAR) * stage as f64 / (stages.len().max(2) - 1) as f64;
    // Ribbons leave and reach their bars in the order of the bars at the other end, so that few cross.
    let mut order: Vec<((usize, &str, &str), f64)> = links.iter().map(|(key, value)| (*key, *value)).collect();
    let place = |nodes: &[BTreeMap<&str, Node>], stage: usize, name: &str| {
        nodes.get(stage).and_then(|n| n.get(name)).map_or(0.0, |n| n.top)
    };
    order.sort_by(|(a, _), (b, _)| {
        let key = |l: &(usize, &str, &str)| (l.0, place(&nodes, l.0, l.1), place(&nodes, l.0 + 1, l.2));
        let (a, b) = (key(a), key(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.total_cmp(&b.2))
    });
    let mut bands = Vec::new();
    for ((stage, from, to), value) in order {
        let wide = value * scale;
        let mut leave = |stage: usize, name: &str, side: usize| {
            let node = nodes.get_mut(stage)?.get_mut(name)?;
            let taken = node.taken.get_mut(side)?;
            let top = node.top + *taken;
            *taken += wide;
            Some(top)
        };
        let (Some(start), Some(end)) = (leave(stage, from, 1), leave(stage + 1, to, 0)) else { continue };
        let (x1, x2) = (x(stage) + BAR, x(stage + 1));
        let middle = (x1 + x2) / 2.0;
        let path = format!(
            "M{x1:.1} {start:.1} C{middle:.1} {start:.1} {middle:.1} {end:.1} {x2:.1} {end:.1} V{:.1} C{middle:.1} {:.1} {middle:.1} {:.1} {x1:.1} {:.1} Z",
            end + wide,
            end + wide,
            start + wide,
            start + wide
        );
        bands.push((path, hue(from), format!("{from} → {to} : {}", lang.number(value))));
    }
    let drawing = html! {
        @for (stage, name) in stages.iter().enumerate() {
            text x=(at(x(stage) + BAR / 2.0)) y="22" font-size="14" font-weight="600" fill=(SOFT) text-anchor="middle" { (name) }
        }
        @for (path, colour, said) in &bands {
            path d=(path) fill=(colour) fill-opacity="0.38" stroke=(colour) stroke-opacity="0.6" stroke-width="0.7" { title { (said) } }
        }
        @for (stage, nodes) in nodes.iter().enumerate() {
            @for (name, node) in nodes {
                @let tall = (node.value * scale).max(1.5);
                rect x=(at(x(stage))) y=(at(node.top)) width=(at(BAR)) height=(at(tall)) fill=(hue(name)) {}
                @let last = stage + 1 == stages.len();
                @let (place, anchor) = if stage == 0 { (x(stage) - 8.0, "end") } else { (x(stage) + BAR + 8.0, "start") };
                text.halo x=(at(place)) y=(at(node.top + tall / 2.0 + 5.0)) font-size="14" fill=(INK) text-anchor=(if last { "start" } else { anchor }) {
                    (short(name)) " " tspan fill=(SOFT) { (lang.number(node.value)) }
                }
            }
        }
    };
    let mut largest: Vec<&Flow> = flows.iter().filter(|f| f.value > 0.0).collect();
    largest.sort_by(|a, b| b.value.total_cmp(&a.value).then_with(|| a.steps.cmp(&b.steps)));
    let first: Vec<String> =
        largest.iter().take(3).map(|f| format!("{} : {}", f.steps.join(" → "), lang.number(f.value))).collect();
    let mut said = fill(t.ribbon_said, &[title, &lang.count(largest.len() as u64), &first.join(" ; ")]);
    if hidden > 0 {
        said = format!("{said} {}", fill(t.hidden_paths, &[&lang.count(hidden)]));
    }
    frame(id, WIDTH as u32, (tall + 70.0) as u32, title, &said, &drawing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_bars_are_drawn_to_one_scale_and_inside_the_drawing() {
        let flow = |n: usize| Flow { steps: vec![format!("partenaire {n}"), "aucun autre".to_owned()], value: 11.0 };
        let flows: Vec<Flow> = (0..40).map(flow).collect();
        let drawn = ribbon(Lang::Fr, "essai", "Essai", &["premier", "deuxième"], &flows, 0).into_string();
        let numbers = |name: &str| -> Vec<f64> {
            let starts = format!(" {name}=\"");
            drawn.split(&starts).skip(1).filter_map(|rest| rest.split('"').next()?.parse().ok()).collect()
        };
        // The first height is the drawing's own.
        let (tops, tall) = (numbers("y"), numbers("height"));
        let height = tall.first().copied().unwrap();
        assert!(tops.iter().all(|y| (0.0..height).contains(y)), "{tops:?} in {height}");
        assert!(tall.iter().all(|t| *t > 0.0), "{tall:?}");
        // The names of neighbours do not lie over one another: 40 bars, a line of text for each.
        assert!(height >= 40.0 * GAP, "{height}");
    }
}
