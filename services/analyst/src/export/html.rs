//! Tables as HTML: parts for pages, and a page that is complete in itself, to read or to print.
//!
//! No script, nothing loaded from anywhere: the page's own policy forbids both. Tables have captions and scoped heads, and
//! what a sign means is said in words (RGAA 4.1, theme 5).

use std::collections::BTreeSet;

use linkage_cohort::{PublicTable, Shown};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{About, Part, grid, labels, sections};

/// Style of [`page`], also of use to pages that show [`table`].
pub const STYLE: &str = include_str!("style.css");

/// One table with its caption, for a page.
pub fn table(table: &PublicTable) -> Markup {
    let grid = grid::grid(table);
    html! {
        table.figures {
            caption {
                (table.title)
                span.measure { (labels::measure(table.unit, &table.measure)) }
            }
            thead {
                @if let Some(across) = &grid.across {
                    tr {
                        @for head in &grid.heads { th scope="col" rowspan="2" { (head) } }
                        th scope="colgroup" colspan=(grid.columns.len()) { (across) }
                    }
                    tr { @for column in &grid.columns { th scope="col" { (column) } } }
                } @else {
                    tr { @for head in grid.heads.iter().chain(&grid.columns) { th scope="col" { (head) } } }
                }
            }
            tbody {
                @for row in &grid.rows {
                    tr {
                        @for head in &row.heads { th scope="row" { (head) } }
                        @for shown in &row.cells { (cell(shown)) }
                    }
                }
            }
        }
    }
}

/// One figure.
fn cell(shown: &Shown) -> Markup {
    match shown {
        Shown::Value { value, interval, uncertain } => html! {
            td {
                @if *uncertain { abbr title="incertitude de rapprochement assez grande pour changer la lecture" { (labels::UNCERTAIN) } " " }
                (labels::number(*value))
                @if let Some([low, high]) = interval {
                    span.interval { "[" (labels::number(*low)) " à " (labels::number(*high)) "]" }
                }
            }
        },
        Shown::Hidden => html! { td.hidden { abbr title="masqué (secret statistique)" { (labels::HIDDEN) } } },
        Shown::Missing => html! { td.missing { abbr title="non disponible : une livraison manque" { (labels::MISSING) } } },
    }
}

/// What is to be read with a table: method, signs, what was not delivered.
pub fn notes(table: &PublicTable) -> Markup {
    html! {
        div.notes {
            p { (labels::method(table)) }
            @for line in labels::legend(table) { p { (line) } }
            @if !table.notes.is_empty() { ul { @for note in &table.notes { li { (labels::note(note)) } } } }
        }
    }
}

/// What is to be read with all tables of a report, each thing said once.
fn foot(parts: &[Part<'_>]) -> Markup {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        for line in [labels::method(part.table)].into_iter().chain(labels::legend(part.table)) {
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    let notes: BTreeSet<_> = parts.iter().flat_map(|part| &part.table.notes).collect();
    html! {
        section.notes {
            h2 { "Pour lire ce rapport" }
            @for line in lines { p { (line) } }
            @if !notes.is_empty() {
                p { "Ce qui manque ou n'est compté qu'en partie :" }
                ul { @for note in notes { li { (labels::note(note)) } } }
            }
        }
    }
}

/// A page of tables.
pub fn page(about: &About, parts: &[Part<'_>]) -> Markup {
    let draft = !about.standing.is_published();
    html! {
        (DOCTYPE)
        html lang="fr" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { @if draft { "Brouillon – " } (about.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                @if draft { p.draft role="note" { (about.standing.french()) } }
                main {
                    h1 { (about.title) }
                    dl.about { @for (name, value) in about.lines() { div { dt { (name) } dd { (value) } } } }
                    @for section in sections(parts) {
                        section {
                            @for (at, part) in section.iter().enumerate() {
                                @if let (0, Some(heading)) = (at, part.heading) { h2 { (heading) } }
                                @if let Some(text) = part.text { p { (text) } }
                                div.wide tabindex="0" role="region" aria-label=(part.table.title) { (table(part.table)) }
                                @if part.heading.is_none() { (notes(part.table)) }
                            }
                        }
                    }
                    @if parts.iter().any(|part| part.heading.is_some()) { (foot(parts)) }
                }
                @if draft { p.draft { (about.standing.french()) } }
            }
        }
    }
}
