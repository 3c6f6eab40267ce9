//! What the commands share: printing, parsing of arguments.

use std::io::Write as _;
use std::path::PathBuf;

use linkage_agreement::PartyId;
use linkage_node::intake::MappingProposal;
use serde::Serialize;

/// Prints a line for people on standard output. A reader that went away (`linkage … | head`) is no fault.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
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
