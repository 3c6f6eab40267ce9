//! Workbooks of LibreOffice (.ods) and of old Excel (.xls), made by hand: what real ones hold is read as from a text, and what would
//! take more memory than a machine has is refused with an advice, in no time and without it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::io::Write as _;
use std::path::Path;

use linkage_node::intake::{Intake, IntakeError, IntakeLine, Mapping, WorkbookError, propose};
use zip::write::SimpleFileOptions;

const TEXT: &str = "local_id;nom_naissance;prenoms;sexe;date_naissance\n\
                    A1;DELORME;Ana;2;1980-02-03\n\
                    7;Le  Goff & Fils;Yannick;1;1975-11-30\n";

fn written(folder: &Path, name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn records(bytes: &[u8]) -> Result<Vec<Vec<String>>, IntakeError> {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), "livraison", bytes);
    let proposal = propose(&"ccas".parse().unwrap(), &path)?;
    let mut intake = Intake::open(&path, &Mapping::parse(&proposal.to_toml()).unwrap().confirm())?;
    let mut records = Vec::new();
    for line in &mut intake {
        if let IntakeLine::Record(record) = line? {
            records.push(record.values);
        }
    }
    intake.finish()?;
    Ok(records)
}

fn refusal(bytes: &[u8]) -> WorkbookError {
    let Err(IntakeError::Workbook(error)) = records(bytes) else { unreachable!("not refused as a workbook") };
    error
}

fn archive(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, part) in parts {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(part.as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn ods_with(manifest: &str, rows: &str) -> Vec<u8> {
    let content = format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><office:document-content><office:body><office:spreadsheet><table:table table:name="Vide"><table:table-row table:number-rows-repeated="1048576"><table:table-cell table:number-columns-repeated="16384"/></table:table-row></table:table><table:table table:name="Fiches &amp; co"><table:table-column table:number-columns-repeated="16384"/>{rows}</table:table></office:spreadsheet></office:body></office:document-content>"#
    );
    archive(&[
        ("mimetype", "application/vnd.oasis.opendocument.spreadsheet"),
        ("META-INF/manifest.xml", manifest),
        ("content.xml", &content),
    ])
}

fn ods(rows: &str) -> Vec<u8> {
    ods_with("<manifest:manifest/>", rows)
}

fn cell(text: &str) -> String {
    format!(r#"<table:table-cell office:value-type="string"><text:p>{text}</text:p></table:table-cell>"#)
}

/// The table of `TEXT` as LibreOffice writes it.
fn table() -> String {
    let header: String = TEXT.lines().next().unwrap().split(';').map(cell).collect();
    let day = |day: &str| {
        format!(r#"<table:table-cell office:value-type="date" office:date-value="{day}"><text:p>x</text:p></table:table-cell>"#)
    };
    let number = |number: &str| {
        format!(r#"<table:table-cell office:value-type="float" office:value="{number}"><text:p>x</text:p></table:table-cell>"#)
    };
    let comment = "<office:annotation><dc:date>2026-01-01T00:00:00</dc:date><text:p>relire</text:p></office:annotation>";
    let first = format!(
        r#"{}<table:table-cell office:value-type="string">{comment}<text:p>DELORME</text:p></table:table-cell>{}{}{}"#,
        cell("A1"),
        cell("<text:span>An</text:span>a"),
        number("2"),
        day("1980-02-03T00:00:00")
    );
    let second =
        [number("7.0"), cell("Le <text:s/>Goff &amp; F&#105;ls"), cell("Yannick"), number("1"), day("1975-11-30")].concat();
    let end = r#"<table:table-cell table:style-name="ce1" table:number-columns-repeated="900"/><table:table-cell table:number-columns-repeated="15479"/>"#;
    [header, first, second].map(|row| format!("<table:table-row>{row}{end}</table:table-row>")).concat()
}

const EMPTY_ROW: &str = r#"<table:table-row table:number-rows-repeated="1048000"><table:table-cell table:number-columns-repeated="16384"/></table:table-row>"#;

#[test]
fn a_sheet_of_libreoffice_with_a_million_empty_rows_is_read() {
    let expected = records(TEXT.as_bytes()).unwrap();
    assert_eq!(expected.len(), 2);
    assert_eq!(records(&ods(&table())).unwrap(), expected);
    assert_eq!(records(&ods(&format!("{}{EMPTY_ROW}{EMPTY_ROW}", table()))).unwrap(), expected);
    assert_eq!(records(&ods(&format!("{EMPTY_ROW}{}", table()))).unwrap(), expected);
}

#[test]
fn a_line_far_below_costs_nothing() {
    let cells = ["Z9", "MARTINET", "Lou", "1", "1990-01-01"].map(cell).concat();
    let far = ods(&format!("{}{EMPTY_ROW}<table:table-row>{cells}</table:table-row>", table()));
    assert_eq!(records(&far).unwrap().len(), 3);
}

#[test]
fn a_workbook_of_libreoffice_that_unfolds_without_end_is_refused() {
    let cells = "16 millions de cellules ou 256 Mio de texte";
    let row = "1 Mio de texte dans une ligne";
    let cases = [
        (
            format!(
                r#"<table:table-row><table:table-cell table:number-columns-repeated="16383"/>{}</table:table-row>"#,
                cell("x")
            ),
            "512 colonnes",
        ),
        (
            cell("x")
                .replace("<table:table-cell", r#"<table:table-row><table:table-cell table:number-columns-repeated="4294967295""#)
                + "</table:table-row>",
            "512 colonnes",
        ),
        (format!(r#"<table:table-row table:number-rows-repeated="1000000">{}</table:table-row>"#, cell("x").repeat(20)), cells),
        (
            format!(r#"<table:table-row table:number-rows-repeated="1000000">{}</table:table-row>"#, cell(&"x".repeat(1000))),
            cells,
        ),
        (format!(r#"{EMPTY_ROW}{EMPTY_ROW}<table:table-row>{}</table:table-row>"#, cell("x")), "1 048 576 lignes"),
        (format!("<table:table-row>{}</table:table-row>", cell(r#"x<text:s text:c="4000000000"/>"#)), row),
        (format!("<table:table-row>{}</table:table-row>", cell(&"x".repeat(3 << 20))), row),
        (format!("<table:table-row>{}</table:table-row>", cell(&"<text:line-break/>".repeat(2 << 20))), row),
    ];
    for (rows, limit) in cases {
        assert_eq!(refusal(&ods(&(table() + &rows))), WorkbookError::TooLarge { limit });
    }
}

#[test]
fn a_protected_or_damaged_workbook_of_libreoffice_is_refused() {
    let manifest =
        "<manifest:manifest><manifest:file-entry><manifest:encryption-data/></manifest:file-entry></manifest:manifest>";
    assert_eq!(refusal(&ods_with(manifest, &table())), WorkbookError::Protected);
    assert_eq!(refusal(&ods("<table:table-row><table:table-cell")), WorkbookError::Unreadable);
    assert_eq!(refusal(&ods(&format!("<table:table-row>{}</table:table-row>", cell("&laugh;")))), WorkbookError::Unreadable);
    assert_eq!(refusal(&ods(r#"<table:table-row table:number-rows-repeated="-1"/>"#)), WorkbookError::Unreadable);
}

fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes(), &(data.len() as u16).to_le_bytes(), data].concat()
}

fn label(row: u16, column: u16, text: &str) -> Vec<u8> {
    let head = [row, column, 0, text.len() as u16].map(u16::to_le_bytes).concat();
    record(0x0204, &[&head, &[0][..], text.as_bytes()].concat())
}

fn dimensions(rows: u32, columns: u16) -> Vec<u8> {
    record(0x0200, &[&[0; 4][..], &rows.to_le_bytes(), &[0; 2], &columns.to_le_bytes(), &[0; 2]].concat())
}

fn labels() -> Vec<u8> {
    let rows = TEXT.lines().enumerate();
    rows.flat_map(|(row, line)| {
        line.split(';').enumerate().flat_map(move |(column, text)| label(row as u16, column as u16, text))
    })
    .collect()
}

/// A compound file with one stream: tables of sectors, the directory, the stream (MS-CFB).
fn compound(mut stream: Vec<u8>) -> Vec<u8> {
    let length = stream.len().max(4096);
    stream.resize(length.next_multiple_of(512), 0);
    let sectors = stream.len() / 512;
    let tables = (sectors + 1).div_ceil(127);
    assert!(tables <= 109);
    let mut header =
        [&[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1][..], &[0; 16], &[0x3E, 0, 3, 0, 0xFE, 0xFF, 9, 0, 6, 0]].concat();
    header.resize(44, 0);
    for number in [tables, tables, 0, 4096, 0xFFFF_FFFE, 0, 0xFFFF_FFFE, 0] {
        header.extend((number as u32).to_le_bytes());
    }
    let mut next = Vec::new();
    for table in 0..109 {
        header.extend(if table < tables { table as u32 } else { u32::MAX }.to_le_bytes());
    }
    for _ in 0..tables {
        next.extend(0xFFFF_FFFDu32.to_le_bytes());
    }
    next.extend(0xFFFF_FFFEu32.to_le_bytes());
    for sector in 1..=sectors {
        let after = if sector == sectors { 0xFFFF_FFFE } else { (tables + 1 + sector) as u32 };
        next.extend(after.to_le_bytes());
    }
    next.resize(tables * 512, 0xFF);
    let entry = |name: &str, kind: u8, start: u32, length: u32| {
        let mut entry: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        entry.resize(66, 0);
        entry[64] = 2 * (name.len() as u8 + 1);
        entry[66 - 1] = 0;
        entry.push(kind);
        entry.resize(116, 0);
        entry.extend(start.to_le_bytes());
        entry.extend(length.to_le_bytes());
        entry.resize(128, 0);
        entry
    };
    let directory =
        [entry("Root Entry", 5, 0xFFFF_FFFE, 0), entry("Workbook", 2, tables as u32 + 1, length as u32), vec![0; 256]].concat();
    [header, next, directory, stream].concat()
}

/// A workbook whose sheets all begin at one place.
fn xls(sheets: usize, strings: &[u8], cells: &[u8]) -> Vec<u8> {
    let begin = record(0x0809, &[0, 6, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let end = record(0x000A, &[]);
    let named = |start: u32, sheet: usize| {
        let name = format!("F{sheet:06}");
        record(0x0085, &[&start.to_le_bytes()[..], &[0, 0, name.len() as u8, 0], name.as_bytes()].concat())
    };
    let start = begin.len() + sheets * named(0, 0).len() + strings.len() + end.len();
    let names: Vec<u8> = (0..sheets).flat_map(|sheet| named(start as u32, sheet)).collect();
    compound([begin.clone(), names, strings.to_vec(), end.clone(), begin, cells.to_vec(), end].concat())
}

#[test]
fn an_old_excel_workbook_is_read() {
    let expected = records(TEXT.as_bytes()).unwrap();
    assert_eq!(records(&xls(1, &[], &[dimensions(3, 5), labels()].concat())).unwrap(), expected);
    assert_eq!(records(&xls(2, &[], &[dimensions(0, 0), labels()].concat())).unwrap(), expected);
    // As large as a sheet may say that it is.
    assert_eq!(records(&xls(1, &[], &[dimensions(65_536, 256), labels(), label(60_000, 4, " ")].concat())).unwrap(), expected);
}

#[test]
fn shared_strings_over_several_records_are_read() {
    let string = |text: &str| [&(text.len() as u16).to_le_bytes()[..], &[0], text.as_bytes()].concat();
    let texts: Vec<&str> = TEXT.lines().flat_map(|line| line.split(';')).collect();
    let all: Vec<u8> = texts.iter().flat_map(|text| string(text)).collect();
    // The second record begins within the first string and says again how wide its letters are.
    let strings = [record(0x00FC, &[&[0; 8], &all[..5]].concat()), record(0x003C, &[&[0], &all[5..]].concat())].concat();
    let cells: Vec<u8> = (0..texts.len() as u16)
        .flat_map(|index| record(0x00FD, &[index / 5, index % 5, 0, index, 0].map(u16::to_le_bytes).concat()))
        .collect();
    assert_eq!(records(&xls(1, &strings, &cells)).unwrap(), records(TEXT.as_bytes()).unwrap());
}

#[test]
fn an_old_excel_workbook_that_asks_for_all_memory_is_refused() {
    let corners = [labels(), label(u16::MAX, u16::MAX, "x")].concat();
    assert_eq!(refusal(&xls(1, &[], &corners)), WorkbookError::Spread);
    assert_eq!(refusal(&xls(1, &[], &[labels(), label(u16::MAX, 255, "x")].concat())), WorkbookError::Spread);
    // Ten thousand lines of ten columns in each of a thousand sheets.
    assert_eq!(refusal(&xls(1000, &[], &[labels(), label(10_000, 9, "x")].concat())), WorkbookError::Spread);
    assert_eq!(refusal(&xls(1025, &[], &labels())), WorkbookError::TooLarge { limit: "1 024 feuilles" });
    assert_eq!(refusal(&xls(1, &[], &[dimensions(u32::MAX, u16::MAX), labels()].concat())), WorkbookError::Spread);
    // The text of a formula stands in the first cell when no formula came before it.
    let text = record(0x0207, &[1, 0, 0, b'x']);
    assert_eq!(refusal(&xls(1, &[], &[label(u16::MAX, 255, "x"), text].concat())), WorkbookError::Spread);
    // One long text, shared by many cells.
    let long = [&[0; 8][..], &8000u16.to_le_bytes(), &[0], &[b'x'; 8000]].concat();
    let shared: Vec<u8> =
        (0..20_000u16).flat_map(|row| record(0x00FD, &[row, 0, 0, 0, 0].map(u16::to_le_bytes).concat())).collect();
    assert_eq!(refusal(&xls(1, &record(0x00FC, &long), &shared)), WorkbookError::Spread);
}

#[test]
fn a_compound_file_whose_sectors_go_in_circles_is_refused() {
    let good = xls(1, &[], &labels());
    assert!(records(&good).is_ok());
    // The directory follows itself; the stream does, and claims 4 GiB.
    for (sector, length) in [(1usize, 4096u32), (2, u32::MAX)] {
        let mut circle = good.clone();
        circle[512 + 4 * sector..][..4].copy_from_slice(&(sector as u32).to_le_bytes());
        circle[1024 + 128 + 120..][..4].copy_from_slice(&length.to_le_bytes());
        assert_eq!(refusal(&circle), WorkbookError::Unreadable);
    }
    assert_eq!(refusal(&good[..600]), WorkbookError::Unreadable);
    // A sheet that begins after the end.
    let cut = xls(1, &[], &[labels(), vec![0x04, 2, 0xFF, 0xFF]].concat());
    assert_eq!(refusal(&cut), WorkbookError::Unreadable);
}
