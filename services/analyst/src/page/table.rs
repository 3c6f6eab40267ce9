//! A table that may be shown, as HTML: caption, headings with their scope, every cell in words where it has no figure.

use linkage_cohort::{Category, Dimension, Method, Note, PublicTable, Shown, Unit};
use maud::{Markup, html};

use super::lang::{Lang, fill};

/// Rows shown on a page; files have all.
const MOST_ROWS: usize = 400;
/// The last dimension runs across when it has no more values than this.
const MOST_COLUMNS: usize = 14;

/// A category in words.
pub(super) fn category(lang: Lang, category: &Category) -> String {
    match category {
        Category::Value(value) => value.clone(),
        Category::Unknown => lang.texts().unknown.to_owned(),
        Category::Absent => lang.texts().absent.to_owned(),
        Category::Others => lang.texts().others.to_owned(),
        Category::Total => lang.texts().all_together.to_owned(),
    }
}

/// A dimension, attribute or measure in words; an attribute without a word keeps its name.
pub(super) fn dimension(lang: Lang, name: &str) -> String {
    lang.texts().word(name).unwrap_or(name).to_owned()
}

/// What a table counts.
pub(super) fn unit(lang: Lang, unit: Unit) -> &'static str {
    match unit {
        Unit::Persons => lang.texts().persons,
        Unit::Households => lang.texts().households,
    }
}

/// A cell.
pub(super) fn cell(lang: Lang, shown: Option<Shown>) -> Markup {
    let t = lang.texts();
    html! {
        @match shown {
            Some(Shown::Value { value, interval, uncertain }) => {
                td {
                    (lang.number(value))
                    @if let Some([low, high]) = interval { small { (lang.number(low)) " – " (lang.number(high)) } }
                    @if uncertain { small.flag { (t.uncertain) } }
                }
            }
            Some(Shown::Hidden) => { td.secret { (t.secret) } }
            Some(Shown::Missing) | None => { td.missing { (t.missing) } }
        }
    }
}

/// All ways to choose one category of each of `dimensions`, the last running fastest.
fn combinations(dimensions: &[Dimension]) -> Vec<Vec<usize>> {
    dimensions.iter().fold(vec![Vec::new()], |rows, dimension| {
        rows.iter()
            .flat_map(|row| {
                (0..dimension.categories.len()).map(move |index| {
                    let mut row = row.clone();
                    row.push(index);
                    row
                })
            })
            .collect()
    })
}

/// The whole table with its notes.
pub(super) fn table(lang: Lang, table: &PublicTable) -> Markup {
    let t = lang.texts();
    let across = table.dimensions.last().filter(|d| table.dimensions.len() > 1 && d.categories.len() <= MOST_COLUMNS);
    let down = &table.dimensions[..table.dimensions.len() - usize::from(across.is_some())];
    let rows = combinations(down);
    let left_out = rows.len().saturating_sub(MOST_ROWS);
    let columns: Vec<Option<usize>> = across.map_or(vec![None], |d| (0..d.categories.len()).map(Some).collect());
    let counted = format!("{}, {}", unit(lang, table.unit), dimension(lang, &table.measure));
    // A query without a title of its own is named for what it counts.
    let said = table.title.to_lowercase() == counted.to_lowercase();
    html! {
        div.wide tabindex="0" role="group" aria-label=(table.title) {
            table.figures {
                caption { (table.title) @if !said { " – " (counted) } }
                thead { tr {
                    @for d in down { th.text scope="col" { (dimension(lang, &d.name)) } }
                    @match across {
                        Some(d) => { @for c in &d.categories { th scope="col" { (category(lang, c)) } } }
                        None => { th scope="col" { (t.figure) } }
                    }
                } }
                tbody {
                    @for row in rows.iter().take(MOST_ROWS) {
                        tr {
                            @for (d, index) in down.iter().zip(row) {
                                @let words = d.categories.get(*index).map(|c| category(lang, c)).unwrap_or_default();
                                th.text scope="row" { (words) }
                            }
                            @for column in &columns {
                                @let at: Vec<usize> = row.iter().copied().chain(*column).collect();
                                (cell(lang, table.cell(&at)))
                            }
                        }
                    }
                }
            }
        }
        @if left_out > 0 { p { (fill(t.rows_left_out, &[&lang.count(left_out as u64)])) } }
        (notes(lang, table))
    }
}

/// How to read the figures.
pub(super) fn notes(lang: Lang, table: &PublicTable) -> Markup {
    let t = lang.texts();
    let any = |wanted: fn(&Shown) -> bool| table.cells.iter().any(wanted);
    let mut missing: Vec<String> = table
        .notes
        .iter()
        .map(|note| match note {
            Note::NotDelivered { period, party } => fill(t.note_party, &[&period.to_string(), party.as_str()]),
            Note::NoRun { period } => fill(t.note_no_run, &[&period.to_string()]),
            Note::Partial { name, from, to } => fill(t.note_partial, &[name, &from.to_string(), &to.to_string()]),
        })
        .collect();
    missing.dedup();
    html! {
        ul.notes {
            @if any(|c| matches!(c, Shown::Hidden)) { li { (fill(t.note_hidden, &[&lang.count(table.minimum)])) } }
            @if table.method == Method::CellKey { li { (t.note_noise) } }
            @if any(|c| matches!(c, Shown::Value { interval: Some(_), .. })) { li { (t.note_interval) } }
            @if any(|c| matches!(c, Shown::Value { uncertain: true, .. })) { li { (t.note_uncertain) } }
            @for text in &missing { li.missing { (text) } }
        }
    }
}
