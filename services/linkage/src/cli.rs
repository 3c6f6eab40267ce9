//! What the commands share: printing, parsing of arguments.

use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;
use std::sync::OnceLock;

use linkage_agreement::PartyId;
use linkage_node::intake::MappingProposal;
use serde::Serialize;

/// Why standard output took no more, once it did not.
static OUTPUT_ENDED: OnceLock<ErrorKind> = OnceLock::new();

/// Prints a line for people on standard output. A command whose reader went away (`linkage … | head`) still does its work,
/// files and exit code included, without a word more.
pub fn say(text: &str) {
    if OUTPUT_ENDED.get().is_some() {
        return;
    }
    let mut output = io::stdout();
    if let Err(error) = writeln!(output, "{text}").and_then(|()| output.flush()) {
        let _ = OUTPUT_ENDED.set(error.kind());
    }
}

/// Prints a line on standard error; nobody may be there to read it, which is no fault either (`eprintln!` panics).
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// What kept standard output from being whole, a reader that went away apart: a full disk behind `linkage … > file`.
pub fn output_fault() -> Option<ErrorKind> {
    OUTPUT_ENDED.get().copied().filter(|kind| *kind != ErrorKind::BrokenPipe)
}

/// Prints facts as JSON on standard output.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    say(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Reads `PARTY=FILE`.
pub fn party_file(text: &str) -> Result<(PartyId, PathBuf), String> {
    let (party, file) = text.split_once('=').ok_or("attendu : PARTENAIRE=FICHIER")?;
    Ok((party.parse().map_err(|e: linkage_agreement::InvalidId| e.to_string())?, PathBuf::from(file)))
}

/// A proposed mapping for people: header names only, no value.
pub fn proposal_text(proposal: &MappingProposal) -> String {
    let mut lines = vec![format!("Correspondance proposée pour {} :", proposal.mapping.party)];
    for column in &proposal.columns {
        let target = column.target.as_deref().unwrap_or("(non reprise)");
        lines.push(format!("  {:<28} → {:<22} {:>3} %  {}", column.source, target, column.confidence, column.reason));
    }
    lines.join("\n")
}

/// Aligns rows of cells in columns; the first column to the left, the others to the right.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| -> String {
        let cells: Vec<String> = cells
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(i, (cell, width))| {
                let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
                if i == 0 { format!("{cell}{pad}") } else { format!("{pad}{cell}") }
            })
            .collect();
        format!("  {}", cells.join("  ")).trim_end().to_owned()
    };
    let mut out = vec![line(header.to_vec())];
    out.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    out.join("\n")
}
