//! The file beside a delivery of filters or keys: whose each of them is, and the record's attributes, line by line.
//!
//! `NAME-lignes.csv` stands beside `NAME.json` or `NAME.csv`: UTF-8, a header of canonical columns, `;`, `,`, tabulation or `|`
//! between them, and as many rows as the delivery has filters or lines, in the same order. `local_id` must be among its
//! columns; `local_household_id` and columns of the agreement's attributes may; `numero_ligne` and `ligne_du_fichier`, which
//! `linkage hash-keys make` writes, are passed over. Any other column is refused: it could hold a name, and a node of this
//! profile takes none in.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use linkage_agreement::{Agreement, Period};

use crate::attributes::Minimiser;
use crate::error::NodeError;
use crate::intake::{ByteSource, Charset, FileGuard, RawRecord, Row, RowRead, RowReader, Separator, SetAsideReason};

const LOCAL_ID: &str = "local_id";
const HOUSEHOLD: &str = "local_household_id";
const PASSED_OVER: [&str; 2] = ["numero_ligne", "ligne_du_fichier"];

/// The line file of a delivery.
pub(crate) fn beside(delivery: &Path) -> Option<PathBuf> {
    let stem = delivery.file_stem()?.to_str()?;
    Some(delivery.with_file_name(format!("{stem}-lignes.csv")))
}

/// Whether a file's name is that of a line file.
pub(crate) fn is_one(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with("-lignes.csv"))
}

/// One record's line.
pub(crate) struct Line {
    /// Physical line, from 1.
    pub(crate) line: u64,
    pub(crate) local_id: String,
    pub(crate) household: Option<String>,
    /// Minimised, in the agreement's order.
    pub(crate) attributes: Vec<Option<String>>,
    /// Attributes with a value that the rule has no word for.
    pub(crate) outside: Vec<String>,
}

/// A line file, read whole.
pub(crate) struct LineFile {
    /// One for each row: the record, or the line and why it is set aside.
    pub(crate) lines: Vec<Result<Line, (u64, SetAsideReason)>>,
    /// SHA-256 of the file.
    pub(crate) digest: [u8; 32],
}

/// Reads the line file at `path`.
///
/// # Errors
/// Whatever makes it unusable as a whole.
pub(crate) fn read(path: &Path, agreement: &Agreement, period: Period) -> Result<LineFile, NodeError> {
    let refused = |why: String| NodeError::Refused(format!("{} : {why}", file_name(path)));
    let (mut file, guard) = FileGuard::open(path)?;
    let separator = separator(&mut file)?;
    let mut rows = RowReader::new(ByteSource::new(file, false), separator.byte());
    let mut row = Row::default();
    let header = match rows.next_row(&mut row)? {
        RowRead::Row => row.fields().map(|name| Charset::Utf8.decode(name).map(|name| name.trim().to_lowercase())).collect(),
        _ => None,
    };
    let columns: Vec<String> = header
        .ok_or_else(|| refused("la première ligne doit nommer les colonnes, en UTF-8, « local_id » parmi elles".to_owned()))?;
    let known: Vec<&str> =
        [LOCAL_ID, HOUSEHOLD].into_iter().chain(agreement.attribute.iter().map(|a| a.name.as_str())).chain(PASSED_OVER).collect();
    // A header could be a line of data: what is not known is told by its place only.
    if let Some(at) = columns.iter().position(|name| !known.contains(&name.as_str())) {
        return Err(refused(format!("colonne {} inconnue : retirez-la ; colonnes admises : {}", at + 1, known.join(", "))));
    }
    if let Some(at) = columns.iter().enumerate().position(|(at, name)| columns.iter().take(at).any(|before| before == name)) {
        return Err(refused(format!("colonne {} déjà nommée : retirez-la", at + 1)));
    }
    let position = |name: &str| columns.iter().position(|column| column == name);
    let local_id = position(LOCAL_ID).ok_or_else(|| refused("colonne « local_id » absente : ajoutez-la".to_owned()))?;
    let household = position(HOUSEHOLD);
    rows.expect_fields(columns.len());
    let minimiser = Minimiser::new(&agreement.attribute, &columns, period);
    let mut seen = HashSet::new();
    let mut lines = Vec::new();
    loop {
        let read = rows.next_row(&mut row)?;
        let aside = |reason| Err((row.line, reason));
        lines.push(match read {
            RowRead::End => break,
            RowRead::Blank => aside(SetAsideReason::Blank),
            RowRead::TooLong => aside(SetAsideReason::TooLong),
            RowRead::UnclosedQuote => aside(SetAsideReason::UnclosedQuote),
            RowRead::Row => match values(&row, columns.len()) {
                Err(reason) => aside(reason),
                Ok(values) => {
                    let value = |at: usize| values.get(at).map(|v| v.trim().to_owned()).unwrap_or_default();
                    let id = value(local_id);
                    if id.is_empty() {
                        aside(SetAsideReason::EmptyLocalId)
                    } else if !seen.insert(id.clone()) {
                        aside(SetAsideReason::DuplicateLocalId)
                    } else {
                        let household = household.map(value).filter(|h| !h.is_empty());
                        let minimised = minimiser.minimise(&RawRecord { line: row.line, values });
                        let (attributes, outside) = (minimised.values, minimised.outside);
                        Ok(Line { line: row.line, local_id: id, household, attributes, outside })
                    }
                }
            },
        });
    }
    let read = rows.inner().fingerprint();
    guard.verify(read)?;
    Ok(LineFile { lines, digest: read.digest })
}

/// A row's values; trailing blank ones beyond the header are a spreadsheet's and pass.
fn values(row: &Row, expected: usize) -> Result<Vec<String>, SetAsideReason> {
    let found = row.len();
    if found < expected {
        return Err(SetAsideReason::TooFewFields { found, expected });
    }
    let values: Option<Vec<String>> = row.fields().map(|field| Charset::Utf8.decode(field)).collect();
    let values = values.ok_or(SetAsideReason::Undecodable)?;
    if values.iter().skip(expected).any(|value| !value.trim().is_empty()) {
        return Err(SetAsideReason::TooManyFields { found, expected });
    }
    Ok(values)
}

/// The separator that stands most often in the file's first 4 KiB up to the first line's end.
fn separator(file: &mut std::fs::File) -> Result<Separator, NodeError> {
    use std::io::{Read as _, Seek as _};
    let mut start = Vec::with_capacity(4096);
    file.by_ref().take(4096).read_to_end(&mut start)?;
    file.rewind()?;
    let first = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |separator: &Separator| first.iter().filter(|byte| **byte == separator.byte()).count();
    Ok(Separator::ALL.into_iter().max_by_key(count).unwrap_or(Separator::Semicolon))
}

/// A file's name without its folder; names of files are the operator's own.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.display().to_string()).unwrap_or_default()
}
