//! From protected tables to the tables of a report: put side by side, cut by party, put in words.
//!
//! Nothing raw comes here. What is computed, the shares of delays, is computed from figures that are shown and from
//! nothing else, so that a share is hidden where one of its figures is.

use super::{Content, words};
use crate::figures::{Category, Dimension, Note};
use crate::public::{PublicTable, Shown};

/// Dimensions longer than this are shown without the values that no unit has.
const LONG: usize = 12;
/// Measure of tables that hold several.
const SEVERAL: &str = "lines";
/// Measure of tables of shares.
const SHARES: &str = "delay-shares";
/// Delays of a table of shares: name, and whether the delays that it ends with are of several months.
const WITHIN: [(&str, bool); 6] = [("0", false), ("1", false), ("2", false), ("3", false), ("6", true), ("12", true)];

/// The tables of a section, from the answers to its queries.
pub(super) fn tables(content: &Content, answers: &[PublicTable]) -> Vec<PublicTable> {
    let made = match content {
        Content::Absent(_) => Vec::new(),
        Content::Table(_) => answers.iter().flat_map(|table| [Some(table.clone()), shares(table)]).flatten().collect(),
        Content::ByParty(_) => answers.iter().flat_map(by_party).collect(),
        Content::Lines(lines) => {
            let labels: Vec<&str> = lines.iter().map(|(label, _)| label.as_str()).collect();
            side_by_side(&labels, answers).map_or_else(|| answers.to_vec(), |table| vec![table])
        }
    };
    made.into_iter().map(|table| in_words(without_empty(table))).collect()
}

/// One table of several over the same dimensions, the labels as a last dimension; none when they differ.
fn side_by_side(labels: &[&str], tables: &[PublicTable]) -> Option<PublicTable> {
    let first = tables.first()?;
    if labels.len() != tables.len() || tables.iter().any(|t| t.dimensions != first.dimensions) {
        return None;
    }
    let title = first.title.rsplit_once(" : ").map_or(first.title.as_str(), |(title, _)| title).to_owned();
    let categories = labels.iter().map(|label| Category::Value((*label).to_owned())).collect();
    let mut dimensions = first.dimensions.clone();
    dimensions.push(Dimension { name: "effectif".to_owned(), categories, partition: false });
    let cells = (0..first.cells.len())
        .flat_map(|at| tables.iter().map(move |table| table.cells.get(at).copied().unwrap_or(Shown::Missing)))
        .collect();
    let mut notes: Vec<Note> = tables.iter().flat_map(|table| table.notes.iter().cloned()).collect();
    notes.sort();
    notes.dedup();
    Some(PublicTable { title, measure: SEVERAL.to_owned(), dimensions, cells, notes, ..first.clone() })
}

/// One table for each party.
fn by_party(table: &PublicTable) -> Vec<PublicTable> {
    let Some(at) = table.dimensions.iter().position(|d| d.name == "party") else { return vec![table.clone()] };
    let Some(parties) = table.dimensions.get(at).map(|d| &d.categories) else { return Vec::new() };
    let stride: usize = table.dimensions.iter().skip(at + 1).map(|d| d.categories.len()).product();
    let of = |(number, party): (usize, &Category)| {
        let Category::Value(name) = party else { return None };
        let own = |(place, cell): (usize, &Shown)| (place / stride % parties.len() == number).then_some(*cell);
        let dimensions = table.dimensions.iter().enumerate().filter(|(d, _)| *d != at).map(|(_, d)| d.clone()).collect();
        let cells = table.cells.iter().enumerate().filter_map(own).collect();
        Some(PublicTable { title: format!("{} : {name}", table.title), dimensions, cells, ..table.clone() })
    };
    parties.iter().enumerate().filter_map(of).collect()
}

/// Without the values of long dimensions that no unit has: that nobody has them is shown, so that nothing is told.
fn without_empty(mut table: PublicTable) -> PublicTable {
    for at in 1..table.dimensions.len() {
        let stride: usize = table.dimensions.iter().skip(at + 1).map(|d| d.categories.len()).product();
        let Some(dimension) = table.dimensions.get_mut(at).filter(|d| d.categories.len() > LONG) else { continue };
        let length = dimension.categories.len();
        let of = |place: usize| place / stride % length;
        let mut kept: Vec<bool> = dimension.categories.iter().map(|c| !matches!(c, Category::Value(_))).collect();
        for (place, cell) in table.cells.iter().enumerate() {
            if let Some(kept) = kept.get_mut(of(place)) {
                *kept |= !matches!(cell, Shown::Value { value, .. } if *value == 0.0);
            }
        }
        let keep = |at: usize| kept.get(at).copied().unwrap_or(false);
        let mut place = 0..;
        table.cells.retain(|_| place.next().is_some_and(|place| keep(of(place))));
        let mut number = 0..;
        dimension.categories.retain(|_| number.next().is_some_and(keep));
    }
    table
}

/// Shares of units found within each delay, in percent, of those that were not known before: Cutler and Ederer's, from
/// the life table that the measure `delays` gives. None of other measures.
fn shares(table: &PublicTable) -> Option<PublicTable> {
    let before = table.dimensions.len().checked_sub(2)?;
    let [delay, outcome] = table.dimensions.get(before..)? else { return None };
    if delay.name != "delay" || outcome.name != "outcome" {
        return None;
    }
    let mut dimensions: Vec<Dimension> = table.dimensions.iter().take(before).cloned().collect();
    let categories = WITHIN.iter().map(|(name, _)| Category::Value((*name).to_owned())).collect();
    dimensions.push(Dimension { name: "within".to_owned(), categories, partition: false });
    let (delays, outcomes) = (delay.categories.len(), outcome.categories.len());
    let cells = table.cells.chunks(delays * outcomes).flat_map(|life| shares_of(life, outcomes)).collect();
    Some(PublicTable {
        title: "Part trouvée au plus tard à ce délai, en %".to_owned(),
        measure: SHARES.to_owned(),
        dimensions,
        cells,
        ..table.clone()
    })
}

fn shares_of(life: &[Shown], outcomes: usize) -> [Shown; WITHIN.len()] {
    // The first delay is that of units known before, the last the total, likewise for outcomes.
    let cell = |delay: usize, outcome: usize| life.get(delay * outcomes + outcome).copied().unwrap_or(Shown::Missing);
    let number = |shown: Shown| match shown {
        Shown::Value { value, .. } => Ok(value),
        other => Err(other),
    };
    let total = number(cell((life.len() / outcomes.max(1)).saturating_sub(1), outcomes.saturating_sub(1)));
    let known = number(cell(0, 0));
    let mut at_risk = total.and_then(|total| Ok(total - known?));
    let mut not_found = 1.0;
    let mut made = [Shown::Missing; WITHIN.len()];
    for ((delay, (_, long)), made) in (1..).zip(WITHIN).zip(&mut made) {
        let step = at_risk.and_then(|n| Ok((n, number(cell(delay, 0))?, number(cell(delay, 1))?)));
        let (n, found, lost) = match step {
            Ok(step) => step,
            Err(other) => {
                at_risk = Err(other);
                *made = other;
                continue;
            }
        };
        // Nobody was followed for so long, or nobody to the end of it.
        let left = n - found - lost;
        if n <= 0.0 || (long && left <= 0.0 && lost > 0.0) {
            at_risk = Err(Shown::Missing);
            continue;
        }
        // Within several months those who were lost were followed for half of the time.
        let exposed = if long { n - lost / 2.0 } else { n };
        not_found *= (1.0 - found / exposed).clamp(0.0, 1.0);
        *made = Shown::Value { value: (100.0 * (1.0 - not_found)).round(), interval: None, uncertain: false };
        at_risk = Ok(left);
    }
    made
}

/// With words in place of codes.
fn in_words(mut table: PublicTable) -> PublicTable {
    table.dimensions = table.dimensions.iter().map(words::dimension).collect();
    table
}
