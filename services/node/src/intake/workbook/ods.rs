//! LibreOffice's workbooks (.ods), read cell by cell: what is empty costs nothing, however often it is repeated.
//!
//! A cell or row may say that it stands for a million (OpenDocument 1.3 part 3, sections 19.677.2 and 19.679): real files end so,
//! and a few hundred bytes may claim more cells than a machine can hold. Empty ones are counted and passed over, others are written
//! out under the limits of every workbook. Nothing read here is believed: not the sizes in the archive, not the counts.

use std::io::{BufReader, Cursor, Read};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use zip::ZipArchive;

use super::super::error::WorkbookError;
use super::{MAX_COLUMNS, MAX_INFLATED, RowBuilder, Rows, SheetRows, iso_day, number_text};

const MIME: &[u8] = b"application/vnd.oasis.opendocument.spreadsheet";
const MAX_ROWS: u32 = 1 << 20;
const MAX_MANIFEST: u64 = 1 << 20;
/// Largest text of one row; twice that may one element take with its attributes.
const MAX_ROW_TEXT: usize = 1 << 20;

type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;
type Xml<R> = Reader<BufReader<Paced<R>>>;

/// Reads at most so much until it is allowed more: the parser holds one event in memory, whatever its length.
struct Paced<R> {
    from: R,
    left: usize,
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(self.left);
        if most == 0 && !buffer.is_empty() {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        let read = self.from.read(buffer.get_mut(..most).unwrap_or_default())?;
        self.left -= read;
        Ok(read)
    }
}

/// The archive, when it says that it is such a workbook.
pub(super) fn open(file: &[u8]) -> Option<Archive<'_>> {
    let mut archive = ZipArchive::new(Cursor::new(file)).ok()?;
    let mut mime = [0; MIME.len()];
    archive.by_name("mimetype").ok()?.read_exact(&mut mime).ok()?;
    (mime == MIME).then_some(archive)
}

/// Reads one sheet: the one named, or the first that holds anything.
pub(super) fn read_sheet(mut archive: Archive<'_>, sheet: Option<&str>) -> Result<SheetRows, WorkbookError> {
    let mut manifest = Vec::new();
    if let Ok(part) = archive.by_name("META-INF/manifest.xml") {
        part.take(MAX_MANIFEST).read_to_end(&mut manifest).map_err(|_| WorkbookError::Unreadable)?;
    }
    let encrypted = b"manifest:encryption-data";
    if manifest.windows(encrypted.len()).any(|part| part == encrypted) {
        return Err(WorkbookError::Protected);
    }
    let content = archive.by_name("content.xml").map_err(|_| WorkbookError::Unreadable)?.take(MAX_INFLATED);
    let mut xml = Reader::from_reader(BufReader::new(Paced { from: content, left: 2 * MAX_ROW_TEXT }));
    xml.config_mut().expand_empty_elements = true;

    let mut buffer = Vec::new();
    let mut first = None;
    loop {
        match next(&mut xml, &mut buffer)? {
            Event::Eof => break,
            Event::Start(element) if element.name().as_ref() == "table:table" => {
                let Some(name) = attribute(&element, "table:name")? else { continue };
                if sheet.is_some_and(|wanted| wanted != name) {
                    continue;
                }
                let rows = table(&mut xml)?;
                if sheet.is_some() || !rows.is_empty() {
                    return Ok(SheetRows { name, rows });
                }
                first.get_or_insert(name);
            }
            _ => {}
        }
    }
    match (first, sheet) {
        (Some(name), None) => Ok(SheetRows { name, rows: Vec::new() }),
        _ => Err(WorkbookError::SheetMissing { sheet: sheet.unwrap_or_default().to_owned() }),
    }
}

fn next<'b, R: Read>(xml: &mut Xml<R>, buffer: &'b mut Vec<u8>) -> Result<Event<'b>, WorkbookError> {
    xml.get_mut().get_mut().left = 2 * MAX_ROW_TEXT;
    buffer.clear();
    match xml.read_event_into(buffer) {
        Err(quick_xml::Error::Io(error)) if error.kind() == std::io::ErrorKind::FileTooLarge => Err(ROW_TOO_LARGE),
        event => event.map_err(|_| WorkbookError::Unreadable),
    }
}

const ROW_TOO_LARGE: WorkbookError = WorkbookError::TooLarge { limit: "1 Mio de texte dans une ligne" };

fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, WorkbookError> {
    for attribute in element.attributes().with_checks(false) {
        let attribute = attribute.map_err(|_| WorkbookError::Unreadable)?;
        if attribute.key.as_ref() == name {
            let value = quick_xml::escape::unescape(&attribute.value).map_err(|_| WorkbookError::Unreadable)?;
            return Ok(Some(value.into_owned()));
        }
    }
    Ok(None)
}

/// How often an element stands for itself; once when it does not say.
fn times(element: &BytesStart<'_>, name: &str) -> Result<u32, WorkbookError> {
    attribute(element, name)?.map_or(Ok(1), |count| count.trim().parse().map_err(|_| WorkbookError::Unreadable))
}

fn table<R: Read>(xml: &mut Xml<R>) -> Result<Rows, WorkbookError> {
    let mut rows = RowBuilder::default();
    let mut buffer = Vec::new();
    let mut row = 0u32;
    loop {
        match next(xml, &mut buffer)? {
            Event::Start(element) if element.name().as_ref() == "table:table-row" => {
                let repeated = times(&element, "table:number-rows-repeated")?;
                let cells = cells(xml)?;
                let after = row.saturating_add(repeated);
                if let Some((last, _)) = cells.last() {
                    if after > MAX_ROWS {
                        return Err(WorkbookError::TooLarge { limit: "1 048 576 lignes" });
                    }
                    let copies = (after - row) as usize;
                    let text: usize = cells.iter().map(|(_, text)| text.len()).sum();
                    rows.room(copies.saturating_mul(*last as usize + 1), copies.saturating_mul(text))?;
                    for line in row..after {
                        for (column, text) in &cells {
                            rows.add(line, *column, text.clone())?;
                        }
                    }
                }
                row = after;
            }
            Event::End(element) if element.name().as_ref() == "table:table" => return Ok(rows.finish()),
            Event::Eof => return Err(WorkbookError::Unreadable),
            _ => {}
        }
    }
}

/// The cells of a row that hold anything, each with its column.
fn cells<R: Read>(xml: &mut Xml<R>) -> Result<Vec<(u32, String)>, WorkbookError> {
    let mut cells = Vec::new();
    let mut buffer = Vec::new();
    let (mut column, mut length) = (0u32, 0);
    loop {
        match next(xml, &mut buffer)? {
            Event::Start(element) if matches!(element.name().as_ref(), "table:table-cell" | "table:covered-table-cell") => {
                let after = column.saturating_add(times(&element, "table:number-columns-repeated")?);
                let declared = declared(&element)?;
                let content = content(xml)?;
                let text = declared.unwrap_or(content);
                if !text.trim().is_empty() {
                    if after > MAX_COLUMNS {
                        return Err(WorkbookError::TooLarge { limit: "512 colonnes" });
                    }
                    length += text.len() * (after - column) as usize;
                    if length > MAX_ROW_TEXT {
                        return Err(ROW_TOO_LARGE);
                    }
                    cells.extend((column..after).map(|column| (column, text.clone())));
                }
                column = after;
            }
            Event::End(element) if element.name().as_ref() == "table:table-row" => return Ok(cells),
            Event::Eof => return Err(WorkbookError::Unreadable),
            _ => {}
        }
    }
}

/// What a cell's attributes say that it holds; `None` when its content says so.
fn declared(cell: &BytesStart<'_>) -> Result<Option<String>, WorkbookError> {
    // An error is no value, as in a workbook of Excel.
    if attribute(cell, "calcext:value-type")?.is_some_and(|kind| kind == "error") {
        return Ok(Some(String::new()));
    }
    if let Some(number) = attribute(cell, "office:value")? {
        return Ok(Some(number_text(number.trim().parse().map_err(|_| WorkbookError::Unreadable)?)));
    }
    if let Some(day) = attribute(cell, "office:date-value")? {
        return Ok(Some(iso_day(&day)));
    }
    if let Some(yes) = attribute(cell, "office:boolean-value")? {
        return Ok(Some(if yes.eq_ignore_ascii_case("true") { "1" } else { "0" }.to_owned()));
    }
    for name in ["office:time-value", "office:string-value"] {
        if let Some(text) = attribute(cell, name)? {
            return Ok(Some(text));
        }
    }
    let text = attribute(cell, "office:value-type")?.is_some_and(|kind| kind == "string");
    Ok(if text { None } else { Some(String::new()) })
}

/// The paragraphs of a cell without its comments, up to the cell's end.
fn content<R: Read>(xml: &mut Xml<R>) -> Result<String, WorkbookError> {
    let mut text = String::new();
    let mut buffer = Vec::new();
    // Elements open within the cell, the depth at which a comment began, paragraphs begun and open.
    let (mut depth, mut comment, mut begun, mut open) = (0usize, None, false, 0usize);
    loop {
        let event = next(xml, &mut buffer)?;
        match &event {
            Event::Eof => return Err(WorkbookError::Unreadable),
            Event::Start(element) => {
                depth += 1;
                match element.name().as_ref() {
                    _ if comment.is_some() => {}
                    "office:annotation" => comment = Some(depth),
                    "text:p" => {
                        if begun {
                            text.push('\n');
                        }
                        (begun, open) = (true, open + 1);
                    }
                    "text:s" => {
                        let spaces = times(element, "text:c")? as usize;
                        if spaces > MAX_ROW_TEXT {
                            return Err(ROW_TOO_LARGE);
                        }
                        text.extend(std::iter::repeat_n(' ', spaces));
                    }
                    "text:tab" => text.push('\t'),
                    "text:line-break" => text.push('\n'),
                    _ => {}
                }
            }
            Event::End(_) if depth == 0 => return Ok(text),
            Event::End(element) => {
                if comment == Some(depth) {
                    comment = None;
                } else if comment.is_none() && element.name().as_ref() == "text:p" {
                    open = open.saturating_sub(1);
                }
                depth -= 1;
            }
            Event::Text(part) if comment.is_none() && open > 0 => text.push_str(&part.xml10_content()),
            Event::GeneralRef(entity) if comment.is_none() && open > 0 => {
                let named = quick_xml::escape::resolve_xml_entity(entity.as_ref());
                match (named, entity.resolve_char_ref()) {
                    (Some(named), _) => text.push_str(named),
                    (None, Ok(Some(letter))) => text.push(letter),
                    _ => return Err(WorkbookError::Unreadable),
                }
            }
            _ => {}
        }
        if text.len() > MAX_ROW_TEXT {
            return Err(ROW_TOO_LARGE);
        }
    }
}
