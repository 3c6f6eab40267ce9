//! Files that partners and their officers lay down: deliveries, filters, keys, their line files, settled pairs, names.
//!
//! They hold persons' data: no message, reason or debug text may repeat any of it. Names of columns may be shown once the row that
//! bears them has most of the columns that were agreed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Seek as _, Write as _};

use jiff::civil::date;
use linkage_agreement::{PartyId, Period};
use linkage_clk::{Filters, read_clks};
use linkage_clk_encode::{Encoder, Schema};
use linkage_encoding::identity::Normaliser;
use linkage_encoding::passes::{PassSet, block_keys};
use linkage_node::intake::{
    CANONICAL, Charset, ColumnMapping, FileFormat, FileKind, IntakeError, IntakeLine, Mapping, Separator, propose,
};
use linkage_node::key_file::KeyLines;
use linkage_node::untrusted;

use crate::fixed::{AGREEMENT, PARTIES};
use crate::{canary, silent, silent_debug, took};

/// Columns of the deliveries, as their mapping has them.
const COLUMNS: [(&str, &str); 8] = [
    ("id", "local_id"),
    ("nom", "nom_naissance"),
    ("prenoms", "prenoms"),
    ("sexe", "sexe"),
    ("ne_le", "date_naissance"),
    ("lieu", "lieu_naissance"),
    ("entree", "date_entree"),
    ("ressources", "ressources"),
];

fn party() -> PartyId {
    PARTIES[0].parse().expect("an identifier")
}

fn period() -> Period {
    "2026-03".parse().expect("a month")
}

fn mapped(file: FileFormat) -> Mapping {
    let column = |(source, target): (&str, &str)| ColumnMapping {
        source: source.to_owned(),
        target: Some(target.to_owned()),
        date_format: None,
        convert: None,
        name_order: None,
        values: BTreeMap::new(),
    };
    Mapping::new(party(), file, COLUMNS.into_iter().map(column).collect()).confirm()
}

/// A delivery as text. The first byte chooses encoding, separator, and whether the right header stands before the rest.
pub fn delivery(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let encoding = [Charset::Utf8, Charset::Utf16, Charset::Windows1252, Charset::Iso8859_15][usize::from(choice & 3)];
    let separator = Separator::ALL[usize::from(choice >> 2 & 3)];
    let file = FileFormat { kind: FileKind::Text, encoding: Some(encoding), separator: Some(separator), sheet: None };
    let mut text = Vec::new();
    let with_header = choice & 0x80 != 0;
    if with_header {
        let names = COLUMNS.map(|(source, _)| source).join(&char::from(separator.byte()).to_string());
        text = format!("{names}\r\n").into_bytes();
    }
    text.extend_from_slice(&canary(rest));
    taken_in(text, &mapped(file), with_header);
}

/// A delivery as a workbook.
pub fn workbook(bytes: &[u8]) {
    let file = FileFormat { kind: FileKind::Workbook, encoding: None, separator: None, sheet: Some("Feuil1".to_owned()) };
    // A byte of a packed file stands for itself.
    taken_in(bytes.to_vec(), &mapped(file), false);
}

fn taken_in(bytes: Vec<u8>, mapping: &Mapping, with_header: bool) {
    let about_rows = |error: &IntakeError| match error {
        // Named by the file's own header, which has most of the columns.
        IntakeError::HeaderChanged { .. } if !with_header => {}
        error => {
            silent(error);
            silent_debug(error);
        }
    };
    let mut intake = match untrusted::delivery(bytes, mapping) {
        Ok(intake) => intake,
        Err(error) => return about_rows(&error),
    };
    let columns = intake.columns().to_vec();
    assert!(columns.iter().all(|column| CANONICAL.contains(&column.as_str())));
    let (mut records, mut aside) = (0, 0);
    for line in &mut intake {
        match line {
            Ok(IntakeLine::Record(record)) => {
                records += 1;
                assert_eq!(record.values.len(), columns.len());
                silent_debug(&record);
            }
            Ok(IntakeLine::SetAside { reason, .. }) => {
                aside += 1;
                silent(&reason);
            }
            Err(error) => return about_rows(&error),
        }
    }
    match intake.finish() {
        Ok(summary) => {
            took();
            assert_eq!((summary.lines, summary.records, summary.set_aside), (records + aside, records, aside));
            silent_debug(&summary);
        }
        Err(error) => about_rows(&error),
    }
}

/// Any file, for which a mapping is proposed.
pub fn proposal(bytes: &[u8]) {
    let bytes = canary(bytes);
    with_file(&bytes, |path| match propose(&party(), path) {
        Ok(proposal) => {
            took();
            let read = Mapping::parse(&proposal.to_toml()).expect("a proposal is a mapping");
            assert!(!read.confirmed, "nobody has looked at it");
        }
        Err(error) => {
            silent(&error);
            silent_debug(&error);
        }
    });
}

/// The file beside a delivery of filters or keys.
pub fn line_file(bytes: &[u8]) {
    let bytes = canary(bytes);
    with_file(&bytes, |path| match untrusted::line_file(path, &AGREEMENT.0, period()) {
        Ok(reasons) => {
            took();
            reasons.iter().for_each(silent);
        }
        Err(error) => {
            silent(&error);
            silent_debug(&error);
        }
    });
}

/// A file of settled pairs.
pub fn decisions(bytes: &[u8]) {
    match untrusted::decisions(&canary(bytes), &AGREEMENT.0, &party(), date(2026, 3, 15)) {
        Ok(reasons) => {
            took();
            reasons.iter().for_each(silent);
        }
        Err(error) => {
            silent(&error);
            silent_debug(&error);
        }
    }
}

/// clkhash's filters: JSON.
pub fn filters(bytes: &[u8]) {
    let bytes = canary(bytes);
    match read_clks(bytes.as_slice()) {
        Ok(read) => {
            took();
            let again = read_clks(written(&read).as_bytes()).expect("what was written is a file of filters");
            assert_eq!((again.len(), again.bits(), again.counts()), (read.len(), read.bits(), read.counts()));
            assert!((0..read.len()).all(|at| again.row(at) == read.row(at)));
        }
        Err(error) => {
            silent(&error);
            silent_debug(&error);
        }
    }
}

fn written(filters: &Filters) -> String {
    let text = |at: usize| {
        let bytes: Vec<u8> = filters.row(at).iter().flat_map(|word| word.to_le_bytes()).take(filters.bits() / 8).collect();
        linkage_agreement::keys::encode(&bytes)
    };
    serde_json::json!({ "clks": (0..filters.len()).map(text).collect::<Vec<_>>() }).to_string()
}

/// clkhash's schema, and one row encoded by it.
pub fn clk_schema(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(schema) = Schema::parse(text) else { return };
    let (bits, columns) = (schema.bits(), schema.columns().count());
    let Ok(encoder) = Encoder::new(schema, b"essai") else { return };
    let row = vec!["1980-02-03"; columns];
    match encoder.encode(row.iter().copied()) {
        Ok(filter) => {
            took();
            assert_eq!(filter.len(), bits.div_ceil(8));
        }
        Err(error) => silent(&error),
    }
}

/// A file of hash keys.
pub fn key_file(bytes: &[u8]) {
    let bytes = canary(bytes);
    match KeyLines::new(bytes.as_slice()) {
        Ok(lines) => {
            for (before, line) in (2..).zip(lines) {
                let (number, keys) = line.expect("memory can be read");
                assert_eq!(number, before);
                match keys {
                    Ok(keys) => {
                        took();
                        assert!(keys.primary.is_some() || keys.secondary.is_some());
                    }
                    Err(reason) => silent(&reason),
                }
            }
        }
        Err(error) => silent(&error),
    }
}

/// One record's values, a line each: normalised, and its block keys made.
pub fn identity(bytes: &[u8]) {
    let bytes = canary(bytes);
    let Ok(text) = std::str::from_utf8(&bytes) else { return };
    let agreement = &AGREEMENT.0;
    let columns: Vec<String> = CANONICAL.iter().map(|column| (*column).to_owned()).collect();
    let normaliser = Normaliser::new(&agreement.identity.field, &columns).expect("the canonical columns have names");
    let mut values: Vec<&str> = text.split('\n').collect();
    values.resize(columns.len(), "");
    match normaliser.normalise(&values) {
        Ok(identity) => {
            took();
            let passes = PassSet::named("fr-1").expect("the profile's set");
            let most = agreement.encoding.tokens_per_record as usize;
            let keys = block_keys(&identity, &passes, agreement.encoding.expected_records, most);
            assert!(keys.len() <= most);
            identity.remarks().iter().for_each(silent);
            // The same again gives the same: what two nodes make of one person meets.
            let again = normaliser.normalise(&values).expect("as before");
            let inputs = |identity| -> Vec<Vec<u8>> {
                let keys = block_keys(identity, &passes, agreement.encoding.expected_records, most);
                keys.iter().map(|key| key.oprf_input("essai", 1)).collect()
            };
            assert_eq!(inputs(&identity), inputs(&again));
            silent_debug(&identity);
        }
        Err(reason) => silent(&reason),
    }
}

/// Runs `look` on a file that holds `bytes`; one file a thread, in memory where the machine has such a folder.
fn with_file(bytes: &[u8], look: impl FnOnce(&std::path::Path)) {
    thread_local!(static FILE: RefCell<Option<tempfile::NamedTempFile>> = const { RefCell::new(None) });
    FILE.with_borrow_mut(|kept| {
        let file = kept.get_or_insert_with(|| {
            let named = tempfile::Builder::new().suffix("-lignes.csv").to_owned();
            named.tempfile_in("/dev/shm").or_else(|_| named.tempfile()).expect("a temporary file")
        });
        file.as_file_mut().set_len(0).expect("an empty file");
        file.as_file_mut().rewind().expect("its start");
        file.as_file_mut().write_all(bytes).expect("room for it");
        look(file.path());
    });
}
