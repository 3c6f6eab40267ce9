//! Workbooks (.xlsx, .xls, .ods), held in memory within declared limits.
//!
//! A compressed workbook may unfold to a thousand times its size: before it is opened, every part is inflated to nowhere
//! and counted (the sizes written in the archive are not trusted). It is read cell by cell; an old .xls is laid out as a
//! whole by its parser, which sees it only when that is known to fit. Dates come out as `AAAA-MM-JJ`, whole numbers without decimals. Empty rows of a sheet are not lines: most sheets end in
//! thousands of formatted rows that hold nothing.

use std::io::{Cursor, Read};

use calamine::{Cell, Data, DataRef, ExcelDateTime, Reader, Xls, XlsError, Xlsb, Xlsx, XlsxError};

use super::error::WorkbookError;

mod ods;
mod xls;

/// Largest file, in bytes.
pub(crate) const MAX_FILE: u64 = 64 << 20;
const MAX_INFLATED: u64 = 1 << 30;
const MAX_CELLS: usize = 16_000_000;
const MAX_TEXT: usize = 256 << 20;
const MAX_COLUMNS: u32 = 512;

/// One sheet's rows, each with its line number in the sheet, from 1.
pub(crate) struct SheetRows {
    pub(crate) name: String,
    pub(crate) rows: Vec<(u64, Vec<String>)>,
}

/// Whether a file that starts so is a workbook.
pub(crate) fn is_workbook(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04") || start.starts_with(&[0xD0, 0xCF, 0x11, 0xE0])
}

/// Reads one sheet: the one named, or the first that holds anything.
pub(crate) fn read_sheet(file: &[u8], sheet: Option<&str>) -> Result<SheetRows, WorkbookError> {
    if file.len() as u64 > MAX_FILE {
        return Err(WorkbookError::TooLarge { limit: "64 Mio" });
    }
    if file.starts_with(b"PK") && inflated_size(file).ok_or(WorkbookError::Unreadable)? > MAX_INFLATED {
        return Err(WorkbookError::TooLarge { limit: "1 Gio une fois décompressé" });
    }
    if file.starts_with(b"PK") {
        return match ods::open(file) {
            Some(archive) => ods::read_sheet(archive, sheet),
            None => read_xlsx(Cursor::new(file), sheet),
        };
    }
    // An encrypted XLSX is a compound file that holds this part (MS-OFFCRYPTO, section 2.3.4.4).
    let encrypted: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
    if file.windows(encrypted.len()).any(|w| w == encrypted) {
        return Err(WorkbookError::Protected);
    }
    read_xls(file, sheet)
}

/// Excel's compressed workbooks, cell by cell: .xlsx, and .xlsb, which is the same archive with binary parts.
fn read_xlsx(file: Cursor<&[u8]>, sheet: Option<&str>) -> Result<SheetRows, WorkbookError> {
    match Xlsx::new(file.clone()) {
        Ok(mut book) => first_sheet(&book.sheet_names(), sheet, |name| {
            let mut cells = match book.worksheet_cells_reader(name) {
                Ok(cells) => cells,
                // A sheet that is a chart has no cells.
                Err(XlsxError::NotAWorksheet(_)) => return Ok(Vec::new()),
                Err(_) => return Err(WorkbookError::Unreadable),
            };
            streamed(|| cells.next_cell().map_err(|_| WorkbookError::Unreadable))
        }),
        Err(XlsxError::Password) => Err(WorkbookError::Protected),
        Err(_) => {
            let mut book = Xlsb::new(file).map_err(|_| WorkbookError::Unreadable)?;
            first_sheet(&book.sheet_names(), sheet, |name| {
                let mut cells = book.worksheet_cells_reader(name).map_err(|_| WorkbookError::Unreadable)?;
                streamed(|| cells.next_cell().map_err(|_| WorkbookError::Unreadable))
            })
        }
    }
}

fn read_xls(file: &[u8], sheet: Option<&str>) -> Result<SheetRows, WorkbookError> {
    xls::check(file)?;
    // calamine trusts lengths within records and panics where they are wrong.
    let opened = std::panic::catch_unwind(|| Xls::new(Cursor::new(file))).map_err(|_| WorkbookError::Unreadable)?;
    let mut book = opened.map_err(|error| match error {
        XlsError::Password => WorkbookError::Protected,
        _ => WorkbookError::Unreadable,
    })?;
    first_sheet(&book.sheet_names(), sheet, |name| {
        let range = book.worksheet_range(name).map_err(|_| WorkbookError::Unreadable)?;
        let (top, left) = range.start().unwrap_or_default();
        let mut rows = RowBuilder::default();
        for (row, column, value) in range.used_cells() {
            rows.add(top + row as u32, left + column as u32, text(value))?;
        }
        Ok(rows.finish())
    })
}

type Rows = Vec<(u64, Vec<String>)>;

/// The sheet named, or the first that holds anything.
fn first_sheet(
    names: &[String],
    sheet: Option<&str>,
    mut rows: impl FnMut(&str) -> Result<Rows, WorkbookError>,
) -> Result<SheetRows, WorkbookError> {
    let wanted: Vec<&String> = names.iter().filter(|name| sheet.is_none_or(|sheet| sheet == name.as_str())).collect();
    let Some(first) = wanted.first() else {
        return Err(WorkbookError::SheetMissing { sheet: sheet.unwrap_or_default().to_owned() });
    };
    for name in &wanted {
        let rows = rows(name)?;
        if !rows.is_empty() {
            return Ok(SheetRows { name: (*name).clone(), rows });
        }
    }
    Ok(SheetRows { name: (*first).clone(), rows: Vec::new() })
}

fn streamed<'a>(mut next: impl FnMut() -> Result<Option<Cell<DataRef<'a>>>, WorkbookError>) -> Result<Rows, WorkbookError> {
    let mut rows = RowBuilder::default();
    while let Some(cell) = next()? {
        let (row, column) = cell.get_position();
        rows.add(row, column, text_ref(cell.get_value()))?;
    }
    Ok(rows.finish())
}

/// Collects cells into rows and holds to the limits.
#[derive(Default)]
struct RowBuilder {
    rows: Vec<(u64, Vec<String>)>,
    cells: usize,
    text: usize,
}

impl RowBuilder {
    fn add(&mut self, row: u32, column: u32, text: String) -> Result<(), WorkbookError> {
        if text.trim().is_empty() {
            return Ok(());
        }
        if column >= MAX_COLUMNS {
            return Err(WorkbookError::TooLarge { limit: "512 colonnes" });
        }
        let line = u64::from(row) + 1;
        if self.rows.last().is_none_or(|(last, _)| *last != line) {
            self.rows.push((line, Vec::new()));
        }
        let Some((_, fields)) = self.rows.last_mut() else { return Ok(()) };
        let column = column as usize;
        if fields.len() <= column {
            self.cells += column + 1 - fields.len();
            fields.resize(column + 1, String::new());
        }
        self.text += text.len();
        if let Some(field) = fields.get_mut(column) {
            *field = text;
        }
        self.room(0, 0)
    }

    /// Whether so many cells and bytes more would be within the limits.
    fn room(&self, cells: usize, text: usize) -> Result<(), WorkbookError> {
        if self.cells.saturating_add(cells) > MAX_CELLS || self.text.saturating_add(text) > MAX_TEXT {
            return Err(WorkbookError::TooLarge { limit: "16 millions de cellules ou 256 Mio de texte" });
        }
        Ok(())
    }

    fn finish(mut self) -> Rows {
        self.rows.sort_by_key(|(line, _)| *line);
        self.rows
    }
}

fn text(value: &Data) -> String {
    match value {
        Data::String(text) => text.clone(),
        Data::Float(number) => number_text(*number),
        Data::Int(number) => number.to_string(),
        Data::Bool(yes) => if *yes { "1" } else { "0" }.to_owned(),
        Data::DateTime(date) => date_text(date),
        Data::DateTimeIso(text) => iso_day(text),
        Data::DurationIso(text) => text.clone(),
        Data::Error(_) | Data::Empty => String::new(),
    }
}

fn text_ref(value: &DataRef<'_>) -> String {
    match value {
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::String(text) => text.clone(),
        DataRef::Float(number) => number_text(*number),
        DataRef::Int(number) => number.to_string(),
        DataRef::Bool(yes) => if *yes { "1" } else { "0" }.to_owned(),
        DataRef::DateTime(date) => date_text(date),
        DataRef::DateTimeIso(text) => iso_day(text),
        DataRef::DurationIso(text) => text.clone(),
        DataRef::Error(_) | DataRef::Empty => String::new(),
    }
}

fn number_text(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 { format!("{number:.0}") } else { format!("{number}") }
}

fn date_text(date: &ExcelDateTime) -> String {
    if !date.is_datetime() {
        return number_text(date.as_f64());
    }
    let (year, month, day, ..) = date.to_ymd_hms_milli();
    format!("{year:04}-{month:02}-{day:02}")
}

fn iso_day(text: &str) -> String {
    text.split('T').next().unwrap_or_default().to_owned()
}

/// Bytes that all parts of a ZIP archive unfold to, counted by inflating them; stops past the limit.
/// `None` when the archive's directory cannot be followed (APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16).
fn inflated_size(file: &[u8]) -> Option<u64> {
    let number = |at: usize, length: usize| {
        let bytes = file.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0usize, |value, byte| value << 8 | usize::from(*byte)))
    };
    let search_from = file.len().saturating_sub(66_000);
    let end = file.get(search_from..)?.windows(4).rposition(|w| w == b"PK\x05\x06")? + search_from;
    let entries = number(end + 10, 2)?;
    let mut at = number(end + 16, 4)?;
    let mut total = 0u64;
    for _ in 0..entries {
        if file.get(at..at + 4)? != b"PK\x01\x02" {
            return None;
        }
        let method = number(at + 10, 2)?;
        let stored = number(at + 24, 4)?;
        let header = number(at + 42, 4)?;
        let data = header + 30 + number(header + 26, 2)? + number(header + 28, 2)?;
        if method == 8 {
            let part = flate2::read::DeflateDecoder::new(file.get(data..)?).take(MAX_INFLATED + 1 - total);
            total += count(part);
        } else {
            total += stored as u64;
        }
        if total > MAX_INFLATED {
            return Some(total);
        }
        at += 46 + number(at + 28, 2)? + number(at + 30, 2)? + number(at + 32, 2)?;
    }
    Some(total)
}

/// Bytes until the end or the first fault; a faulty part is the reader's to refuse.
fn count(mut part: impl Read) -> u64 {
    let (mut buffer, mut total) = (vec![0u8; 64 << 10], 0u64);
    while let Ok(read @ 1..) = part.read(&mut buffer) {
        total += read as u64;
    }
    total
}
