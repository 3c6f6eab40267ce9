//! What an old Excel workbook (.xls) would take in memory, found before it is opened.
//!
//! calamine 0.38 lays each sheet out as one dense table from its first cell to its last, reserves what the sheet says that it needs,
//! and follows chains of sectors without looking whether they come back. A few kilobytes may so ask for 100 GB, and the process ends.
//! This walks the same sectors (MS-CFB) and records (MS-XLS) in the same way and refuses such a file; it reads no value.

use super::super::error::WorkbookError;
use super::{MAX_CELLS, MAX_TEXT};

const MAX_SHEETS: usize = 1024;
/// Records walked over all sheets: several may claim the same place.
const MAX_RECORDS: usize = 64_000_000;
/// A formula is written out as text, up to 150 times as long where it names other cells.
const MAX_FORMULAS: usize = 16 << 20;
const SHEET_ROWS: u32 = 1 << 16;
const SHEET_COLUMNS: u32 = 256;

/// Refuses a workbook that would not be read within the limits.
pub(super) fn check(file: &[u8]) -> Result<(), WorkbookError> {
    let stream = workbook_stream(file).ok_or(WorkbookError::Unreadable)?;
    let globals = Globals::read(&stream).ok_or(WorkbookError::Unreadable)?;
    if globals.sheets.len() > MAX_SHEETS {
        return Err(WorkbookError::TooLarge { limit: "1 024 feuilles" });
    }
    let mut sums = Sums::default();
    for start in globals.sheets {
        let sheet = stream.get(start..).ok_or(WorkbookError::Unreadable)?;
        sums.add_sheet(sheet, &globals.strings)?;
    }
    Ok(())
}

/// What the sheets come to, all of them: they are in memory together.
#[derive(Default)]
struct Sums {
    cells: usize,
    text: usize,
    formulas: usize,
    records: usize,
}

impl Sums {
    fn add_sheet(&mut self, sheet: &[u8], strings: &[usize]) -> Result<(), WorkbookError> {
        let mut area = Area::default();
        // Charts within the sheet have records of their own.
        let (mut begun, mut nested, mut formula) = (false, 0usize, false);
        for record in (Records { rest: sheet }) {
            let Record { kind, data, .. } = record.ok_or(WorkbookError::Unreadable)?;
            self.records += 1;
            if self.records > MAX_RECORDS {
                return Err(WorkbookError::Spread);
            }
            match kind {
                0x0809 if begun => nested += 1,
                0x0809 => begun = true,
                0x000A if nested == 0 => break,
                0x000A => nested -= 1,
                _ if nested > 0 => {}
                0x0200 => reserved(data)?,
                // Number, Label, RString, BoolErr, Rk
                0x0203 | 0x0204 | 0x00D6 | 0x0205 | 0x027E => area.add(data, 1)?,
                0x00FD => {
                    area.add(data, 1)?;
                    let index = number(data, 6, 4).ok_or(WorkbookError::Unreadable)?;
                    self.text += strings.get(index).copied().unwrap_or_default();
                }
                // MulRk: six bytes for each cell of a row
                0x00BD => area.add(data, (data.len().saturating_sub(6) / 6) as u32)?,
                // A formula's text stands at the last formula, or at the top when there was none.
                0x0207 if !formula => area.add(&[0; 4], 1)?,
                0x0006 => {
                    formula = true;
                    area.add(data, 1)?;
                    self.formulas += data.len();
                }
                _ => {}
            }
        }
        self.cells += area.cells();
        if self.cells > MAX_CELLS || self.text > MAX_TEXT / 2 || self.formulas > MAX_FORMULAS {
            return Err(WorkbookError::Spread);
        }
        Ok(())
    }
}

/// The smallest rectangle with every cell seen: first row, last row, first column, last column.
#[derive(Default)]
struct Area(Option<[u32; 4]>);

impl Area {
    fn add(&mut self, data: &[u8], columns: u32) -> Result<(), WorkbookError> {
        let (Some(row), Some(column)) = (number(data, 0, 2), number(data, 2, 2)) else { return Err(WorkbookError::Unreadable) };
        let (row, first) = (row as u32, column as u32);
        let last = first + columns.max(1) - 1;
        let [top, bottom, left, right] = self.0.unwrap_or([row, row, first, last]);
        self.0 = Some([top.min(row), bottom.max(row), left.min(first), right.max(last)]);
        Ok(())
    }

    fn cells(&self) -> usize {
        self.0.map_or(0, |[top, bottom, left, right]| (bottom - top + 1) as usize * (right - left + 1) as usize)
    }
}

/// A sheet's declared dimensions (MS-XLS 2.4.90), for which room is reserved: never touched, yet refused when it is too much.
fn reserved(data: &[u8]) -> Result<(), WorkbookError> {
    let wide = if data.len() == 10 { 2 } else { 4 };
    let field =
        |at, length| number(data, at, length).and_then(|value| u32::try_from(value).ok()).ok_or(WorkbookError::Unreadable);
    let (top, bottom) = (field(0, wide)?, field(wide, wide)?);
    let (mut left, right) = (field(2 * wide, 2)?, field(2 * wide + 2, 2)?);
    if left >= SHEET_COLUMNS || right < left {
        left = 0;
    }
    let empty = bottom == 0 || right == 0;
    let fits = bottom <= SHEET_ROWS && right <= SHEET_COLUMNS && top < bottom && left < right;
    if empty || fits { Ok(()) } else { Err(WorkbookError::Spread) }
}

/// Where the sheets begin, and how many characters each shared string has.
#[derive(Default)]
struct Globals {
    sheets: Vec<usize>,
    strings: Vec<usize>,
}

impl Globals {
    fn read(stream: &[u8]) -> Option<Self> {
        let mut globals = Self::default();
        for record in (Records { rest: stream }) {
            let mut record = record?;
            match record.kind {
                0x0085 => globals.sheets.push(number(record.data, 0, 4)?),
                0x00FC => globals.strings = strings(&mut record)?,
                0x000A => break,
                _ => {}
            }
        }
        Some(globals)
    }
}

/// Lengths of the shared strings (MS-XLS 2.4.265 and 2.5.293).
fn strings(record: &mut Record<'_>) -> Option<Vec<usize>> {
    let mut lengths = Vec::new();
    record.data = record.data.get(8..)?;
    while !record.data.is_empty() || record.go_on() {
        if record.data.is_empty() {
            lengths.push(0);
            continue;
        }
        let length = number(record.data, 0, 2)?;
        let flags = number(record.data, 2, 1)?;
        record.data = record.data.get(3..)?;
        let mut after = 0;
        if flags & 8 != 0 {
            after += 4 * number(record.data, 0, 2)?;
            record.data = record.data.get(2..)?;
        }
        if flags & 4 != 0 {
            after += i32::try_from(number(record.data, 0, 4)?).ok()? as usize;
            record.data = record.data.get(4..)?;
        }
        let (mut left, mut wide) = (length, flags & 1 != 0);
        while left > 0 {
            let bytes = if wide { 2 } else { 1 };
            let taken = left.min(record.data.len() / bytes);
            record.data = record.data.get(taken * bytes..)?;
            left -= taken;
            if left > 0 {
                if !record.go_on() {
                    return None;
                }
                wide = number(record.data, 0, 1)? & 1 != 0;
                record.data = record.data.get(1..)?;
            }
        }
        while after > 0 {
            if record.data.is_empty() && !record.go_on() {
                return None;
            }
            let taken = after.min(record.data.len());
            record.data = record.data.get(taken..)?;
            after -= taken;
        }
        lengths.push(length);
    }
    Some(lengths)
}

/// One record (MS-XLS 2.1.4) and what follows it of records that continue it.
struct Record<'a> {
    kind: usize,
    data: &'a [u8],
    more: &'a [u8],
}

impl Record<'_> {
    /// Goes to the next record that continues this one.
    fn go_on(&mut self) -> bool {
        match split_record(self.more) {
            Some((0x003C, data, rest)) if self.more.len() > 4 => {
                (self.data, self.more) = (data, rest);
                true
            }
            _ => false,
        }
    }
}

struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = Option<Record<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((kind, data, more)) = split_record(self.rest) else {
            self.rest = &[];
            return Some(None);
        };
        self.rest = more;
        while let (true, Some((0x003C, _, rest))) = (self.rest.len() > 4, split_record(self.rest)) {
            self.rest = rest;
        }
        Some(Some(Record { kind, data, more }))
    }
}

fn split_record(stream: &[u8]) -> Option<(usize, &[u8], &[u8])> {
    let end = 4 + number(stream, 2, 2)?;
    Some((number(stream, 0, 2)?, stream.get(4..end)?, stream.get(end..)?))
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte)))
}

const END_OF_CHAIN: usize = 0xFFFF_FFFE;

/// The stream with the workbook's records, out of the compound file (MS-CFB, sections 2.2 to 2.6).
fn workbook_stream(file: &[u8]) -> Option<Vec<u8>> {
    let size = if number(file, 30, 2)? == 12 { 4096 } else { 512 };
    let body = file.get(size..)?;
    let most = file.len() / size + 1;
    let numbers = |bytes: &[u8]| bytes.chunks_exact(4).filter_map(|part| number(part, 0, 4)).collect::<Vec<_>>();

    let mut tables = numbers(file.get(76..512)?);
    let (mut at, mut seen) = (number(file, 68, 4)?, 0);
    while at < 0xFFFF_FFFA {
        seen += 1;
        if seen > most {
            return None;
        }
        tables.extend(numbers(sector(body, at, size)?));
        at = tables.pop()?;
    }
    // A table listed more often than the file has sectors is a table listed twice.
    let tables: Vec<usize> = tables.into_iter().filter(|id| *id < 0xFFFF_FFFC).collect();
    if tables.len() > most {
        return None;
    }
    let mut next = Vec::new();
    for id in tables {
        next.extend(numbers(sector(body, id, size)?));
    }
    let directory = chain(body, number(file, 48, 4)?, size, &next, None)?;
    let entries: Vec<&[u8]> = directory.chunks_exact(128).collect();
    let length = |entry: &[u8]| number(entry, 120, if size == 512 { 4 } else { 8 });
    let (mut small, mut next_small) = (Vec::new(), Vec::new());
    let small_tables = number(file, 64, 4)?;
    if small_tables > 0 {
        let root = entries.first()?;
        small = chain(body, number(root, 116, 4)?, size, &next, Some(length(root)?))?;
        next_small = numbers(&chain(body, number(file, 60, 4)?, size, &next, Some(small_tables.checked_mul(size)?))?);
    }
    let named = |wanted: &str| {
        entries.iter().find(|entry| {
            let name = encoding_rs::UTF_16LE.decode(entry.get(..64).unwrap_or_default()).0;
            name.split('\0').next().unwrap_or_default().eq_ignore_ascii_case(wanted)
        })
    };
    let entry = named("Workbook").or_else(|| named("Book"))?;
    let (start, length) = (number(entry, 116, 4)?, length(entry)?);
    if length < 4096 {
        chain(&small, start, 64, &next_small, Some(length))
    } else {
        chain(body, start, size, &next, Some(length))
    }
}

/// A sector; the last of a file may be short.
fn sector(body: &[u8], id: usize, size: usize) -> Option<&[u8]> {
    let start = id.checked_mul(size)?;
    body.get(start..body.len().min(start.checked_add(size)?)).filter(|sector| !sector.is_empty())
}

/// The sectors of a chain in order, up to a length; `None` when it leaves the file or comes back to itself.
fn chain(body: &[u8], start: usize, size: usize, next: &[usize], length: Option<usize>) -> Option<Vec<u8>> {
    let (mut bytes, mut at) = (Vec::new(), start);
    while at != END_OF_CHAIN {
        let sector = sector(body, at, size)?;
        let wanted = length.map_or(sector.len(), |length| sector.len().min(length - bytes.len()));
        bytes.extend_from_slice(sector.get(..wanted)?);
        if length.is_some_and(|length| bytes.len() >= length) {
            break;
        }
        if bytes.len() > body.len() {
            return None;
        }
        at = *next.get(at)?;
    }
    Some(bytes)
}
