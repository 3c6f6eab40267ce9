//! Files of hash keys: made from a delivery, written, read back. Every line is accounted for.
//!
//! A key file is what a partner hands over today: `numero_ligne;cle_primaire;cle_secondaire`, keys as 64 hexadecimal digits,
//! empty where there is none. The lines are sorted by key and numbered in that order, for the order of a delivery (by name,
//! most often) would tell names by itself. The correspondence of numbers to the partner's own records is a file apart that
//! stays with the partner. Both are written for their owner only: a key file is re-identifiable (docs/hash-keys.md).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, bail};
use linkage_agreement::PartyId;
use linkage_common::fsx;
use linkage_hash_keys::{GivenNames, HashKeys, Hashing, Values, texts};
use linkage_linking::KeyRecord;
use linkage_node::intake::{Intake, IntakeLine, Mapping, SetAsideReport};
use linkage_node::key_file::{COLUMNS, KeyLines};
use serde::Serialize;
use zeroize::Zeroize as _;

use crate::page::PartyCounts;

/// One record's keys.
pub struct Row {
    /// Line of the delivery.
    pub line: u64,
    /// The party's own identifier.
    pub local_id: String,
    /// The keys.
    pub keys: HashKeys,
}

/// What a delivery came to; `lines = records + set_aside`.
#[derive(Debug, Clone, Serialize)]
pub struct MadeCounts {
    /// Lines.
    #[serde(flatten)]
    pub delivery: PartyCounts,
    /// Records that have a secondary key only.
    pub without_primary: u64,
    /// Remarks on records that have keys, by kind.
    pub remarks: BTreeMap<String, u64>,
}

/// A delivery as keys.
pub struct Made {
    /// In the delivery's order.
    pub rows: Vec<Row>,
    /// Counts.
    pub counts: MadeCounts,
}

/// Reads a delivery and makes the keys of its records. Lines set aside go to `report`.
pub fn make(
    party: &PartyId,
    file: &Path,
    mapping: &Mapping,
    given_names: GivenNames,
    hashing: Hashing<'_>,
    report: &mut SetAsideReport,
) -> anyhow::Result<Made> {
    let mut intake = Intake::open(file, mapping)?;
    let columns = intake.columns().to_vec();
    let position = |name: &str| columns.iter().position(|c| c == name);
    let names = [position("nom_naissance"), position("nom_usage")];
    let (given, date, local_id) = (position("prenoms"), position("date_naissance"), position("local_id"));
    if names == [None, None] || date.is_none() {
        bail!("la correspondance ne donne ni nom (nom_naissance ou nom_usage) ni date_naissance : complétez-la");
    }
    let mut rows = Vec::new();
    let mut refused: BTreeMap<String, u64> = BTreeMap::new();
    let mut remarks: BTreeMap<String, u64> = BTreeMap::new();
    for line in &mut intake {
        let mut record = match line? {
            IntakeLine::SetAside { line, reason } => {
                report.set_aside(line, reason)?;
                continue;
            }
            IntakeLine::Record(record) => record,
        };
        let value = |at: Option<usize>| at.and_then(|at| record.values.get(at)).map_or("", String::as_str);
        let [birth, usage] = names;
        let values =
            Values { birth_name: value(birth), usage_name: value(usage), given_names: value(given), birth_date: value(date) };
        match texts(values, given_names) {
            Err(reason) => {
                report.row(record.line, &reason)?;
                *refused.entry(reason.to_string()).or_default() += 1;
            }
            Ok(made) => {
                for remark in &made.remarks {
                    *remarks.entry(remark.to_string()).or_default() += 1;
                }
                let local_id = value(local_id).trim().to_owned();
                rows.push(Row { line: record.line, local_id, keys: made.keys(hashing) });
            }
        }
        record.values.zeroize();
    }
    let read = intake.finish()?;
    let mut reasons: BTreeMap<String, u64> = read.reasons.iter().map(|(reason, n)| (reason.to_string(), *n)).collect();
    for (reason, n) in refused {
        *reasons.entry(reason).or_default() += n;
    }
    let records = rows.len() as u64;
    let without_primary = rows.iter().filter(|row| row.keys.primary.is_none()).count() as u64;
    let delivery = PartyCounts { party: party.to_string(), lines: read.lines, records, set_aside: read.lines - records, reasons };
    Ok(Made { rows, counts: MadeCounts { delivery, without_primary, remarks } })
}

/// Writes the key file, and the correspondence of its numbers to the delivery.
pub fn write(rows: &[Row], keys: &Path, correspondence: &Path) -> anyhow::Result<()> {
    let mut sorted: Vec<&Row> = rows.iter().collect();
    // By the secondary key first: every record has one.
    sorted.sort_by_key(|row| (row.keys.secondary, row.keys.primary, row.line));
    let mut out = format!("{}\n", COLUMNS.join(";")).into_bytes();
    let mut private = b"numero_ligne;ligne_du_fichier;local_id\n".to_vec();
    for (number, row) in (1..).zip(sorted) {
        let primary = row.keys.primary.map(hex::encode).unwrap_or_default();
        writeln!(out, "{number};{primary};{}", hex::encode(row.keys.secondary))?;
        writeln!(private, "{number};{};\"{}\"", row.line, row.local_id.replace('"', "\"\""))?;
    }
    let written = |path: &Path| format!("{} : écriture impossible", path.display());
    fsx::write_atomic(correspondence, &private).with_context(|| written(correspondence))?;
    fsx::write_atomic(keys, &out).with_context(|| written(keys))?;
    Ok(())
}

/// A key file that was received.
pub struct KeyFile {
    /// The file's own numbers of its lines.
    pub numbers: Vec<String>,
    /// The keys of the same lines.
    pub records: Vec<KeyRecord>,
    /// Counts.
    pub counts: PartyCounts,
}

/// Reads a key file; a line that is not one of keys is set aside with its reason.
pub fn read(party: &str, path: &Path, mut report: Option<&mut SetAsideReport>) -> anyhow::Result<KeyFile> {
    let context = || path.display().to_string();
    let source = File::open(path).with_context(|| format!("{} : lecture impossible", path.display()))?;
    let mut file = KeyFile {
        numbers: Vec::new(),
        records: Vec::new(),
        counts: PartyCounts { party: party.to_owned(), lines: 0, records: 0, set_aside: 0, reasons: BTreeMap::new() },
    };
    for line in KeyLines::new(source).with_context(context)? {
        let (number, keys) = line.with_context(context)?;
        file.counts.lines += 1;
        match keys {
            Ok(keys) => {
                file.numbers.push(keys.number);
                file.records.push(KeyRecord { primary: keys.primary, secondary: keys.secondary });
                file.counts.records += 1;
            }
            Err(reason) => {
                file.counts.set_aside += 1;
                *file.counts.reasons.entry(reason.to_owned()).or_default() += 1;
                if let Some(report) = &mut report {
                    report.row(number, &reason)?;
                }
            }
        }
    }
    Ok(file)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use linkage_node::key_file::MAX_LINE;

    #[test]
    fn every_line_of_a_received_file_is_accounted_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cles.csv");
        let (a, b) = ("0a".repeat(32), "FF".repeat(32));
        let long = "x".repeat(3 * MAX_LINE);
        let text = format!(
            "\u{FEFF}numero_ligne;cle_secondaire;cle_primaire\r\n1;{a};{b}\r\n2;{a};\n\"3\";;\n4;xyz;\n5;{a}\n;{a};{b}\n1;{a};{b}\n{long}\n6;;\"{b}\"\n"
        );
        std::fs::write(&path, [text.as_bytes(), b"7;\xFF;\n"].concat()).unwrap();
        let report_path = folder.path().join("ecartees.csv");
        let mut report = SetAsideReport::create(&report_path).unwrap();
        let file = read("caf", &path, Some(&mut report)).unwrap();
        assert_eq!(report.finish().unwrap(), 7);
        assert_eq!(file.numbers, ["1", "2", "6"]);
        assert_eq!(file.records[0], KeyRecord { primary: Some([255; 32]), secondary: Some([10; 32]) });
        assert_eq!(file.records[1], KeyRecord { primary: None, secondary: Some([10; 32]) });
        assert_eq!(file.records[2], KeyRecord { primary: Some([255; 32]), secondary: None });
        assert_eq!((file.counts.lines, file.counts.records, file.counts.set_aside), (10, 3, 7));
        assert_eq!(file.counts.reasons.values().sum::<u64>(), 7);
        assert_eq!(file.counts.reasons.len(), 7);
        let listed = std::fs::read_to_string(report_path).unwrap();
        assert!(listed.contains("\r\n5;clé qui n'est pas") && listed.contains("\r\n9;ligne trop longue"), "{listed}");
    }

    #[test]
    fn a_file_without_the_columns_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "a;b;c\n", "numero_ligne;cle_primaire\n"] {
            let path = folder.path().join("cles.csv");
            std::fs::write(&path, text).unwrap();
            assert!(read("caf", &path, None).is_err(), "{text:?}");
        }
    }
}
