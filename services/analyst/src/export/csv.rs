//! CSV (RFC 4180): one line a figure, after comment lines that say what the file is.
//!
//! A report's lines begin with the section. Texts can come from anybody who may name a query or a code: none is ever read as a formula by a spreadsheet, whatever
//! character that spreadsheet takes for a separator.

use linkage_cohort::Shown;

use super::{About, Part, grid, labels};

/// Signs that begin a formula.
const FORMULA: [char; 4] = ['=', '+', '-', '@'];
/// Signs that some spreadsheet takes for the end of a cell.
const SEPARATORS: [char; 3] = [',', ';', '\t'];

/// The file. Comment lines begin with `#`; tables are parted by an empty line.
pub fn file(about: &About, parts: &[Part<'_>]) -> String {
    let mut out = String::new();
    comment(&mut out, &about.title);
    for (name, value) in about.lines() {
        comment(&mut out, &format!("{name} : {value}"));
    }
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        for text in [part.heading, part.text].into_iter().flatten() {
            comment(&mut out, text);
        }
        if part.table.title != about.title {
            comment(&mut out, &part.table.title);
        }
        comment(&mut out, &format!("Mesure : {}", labels::measure(part.table.unit, &part.table.measure)));
        comment(&mut out, &labels::method(part.table));
        for line in labels::legend(part.table).into_iter().chain(part.table.notes.iter().map(labels::note)) {
            comment(&mut out, &line);
        }
        table(&mut out, part, &about.standing.french());
    }
    out
}

fn table(out: &mut String, part: &Part<'_>, standing: &str) {
    let dimensions = &part.table.dimensions;
    let section = || part.heading.map(str::to_owned);
    let mut heads: Vec<String> = section().map(|_| "section".to_owned()).into_iter().collect();
    heads.extend(dimensions.iter().map(|d| labels::dimension(&d.name)));
    heads.extend(["valeur", "bas", "haut", "incertain", "statut"].map(str::to_owned));
    line(out, &heads);
    for at in grid::product(&dimensions.iter().map(|d| d.categories.len()).collect::<Vec<_>>()) {
        let category =
            |(d, i): (&linkage_cohort::Dimension, &usize)| d.categories.get(*i).map(labels::category).unwrap_or_default();
        let mut cells: Vec<String> = section().into_iter().chain(dimensions.iter().zip(&at).map(category)).collect();
        let (value, interval, uncertain) = match part.table.cell(&at).unwrap_or(Shown::Missing) {
            Shown::Value { value, interval, uncertain } => (value.to_string(), interval, uncertain),
            Shown::Hidden => (labels::HIDDEN.to_owned(), None, false),
            Shown::Missing => (labels::MISSING.to_owned(), None, false),
        };
        cells.push(value);
        cells.extend(interval.map_or([String::new(), String::new()], |ends| ends.map(|end| end.to_string())));
        cells.push(if uncertain { "oui" } else { "" }.to_owned());
        cells.push(standing.to_owned());
        line(out, &cells);
    }
}

fn line(out: &mut String, cells: &[String]) {
    let cells: Vec<String> = cells.iter().map(|c| quoted(c)).collect();
    out.push_str(&cells.join(","));
    out.push('\n');
}

/// A comment, on one line, in which nothing can be taken for a cell that begins a formula.
fn comment(out: &mut String, text: &str) {
    for text in text.lines() {
        out.push_str("# ");
        out.push_str(&disarmed(text));
        out.push('\n');
    }
}

/// A cell, quoted where RFC 4180 asks for it, and never read as a formula. A number is left as it is.
fn quoted(cell: &str) -> String {
    if cell.parse::<f64>().is_ok() {
        return cell.to_owned();
    }
    let mut cell = disarmed(cell);
    if cell.trim_start().starts_with(FORMULA) {
        cell.insert(0, '\'');
    }
    if cell.contains([',', '"', '\n', '\r', '#']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

/// Without control characters, and with an apostrophe before every sign that would begin a formula after a separator.
fn disarmed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut begins = false;
    for c in text.chars() {
        if begins && FORMULA.contains(&c) {
            out.push('\'');
        }
        begins = SEPARATORS.contains(&c) || (begins && (c.is_whitespace() || c == '"'));
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}
