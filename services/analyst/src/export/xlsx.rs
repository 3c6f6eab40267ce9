//! Workbooks: one sheet of figures, for a report one for each section, and one of notes, method and intervals.
//!
//! Texts are written as strings, which no spreadsheet computes; figures as numbers, hidden and missing ones as texts.

use linkage_cohort::Shown;
use linkage_common::error::ServiceError;
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, FormatAlign, FormatBorder, Workbook, Worksheet, XlsxError};

use super::{About, Part, grid, labels, sections};

/// Longest text of a cell; Excel takes 32,767 characters.
const LONGEST: usize = 32_000;
/// Longest name of a sheet.
const LONGEST_NAME: usize = 31;

struct Formats {
    title: Format,
    strong: Format,
    head: Format,
    text: Format,
    number: Format,
    decimal: Format,
    sign: Format,
    draft: Format,
}

impl Formats {
    fn new() -> Self {
        let cell = || Format::new().set_border(FormatBorder::Thin);
        Self {
            title: Format::new().set_bold().set_font_size(14),
            strong: Format::new().set_bold(),
            head: cell().set_bold().set_background_color(0xE8_ED_F2).set_text_wrap(),
            text: cell(),
            number: cell().set_num_format("#,##0"),
            decimal: cell().set_num_format("#,##0.0"),
            sign: cell().set_align(FormatAlign::Right).set_italic(),
            draft: Format::new().set_bold().set_font_color(0xA0_00_00),
        }
    }
    fn of(&self, value: f64) -> &Format {
        if value.fract() == 0.0 { &self.number } else { &self.decimal }
    }
}

/// The workbook.
///
/// # Errors
/// `Internal`: it could not be written.
pub fn file(about: &About, parts: &[Part<'_>]) -> Result<Vec<u8>, ServiceError> {
    written(about, parts).map_err(ServiceError::internal)
}

fn written(about: &About, parts: &[Part<'_>]) -> Result<Vec<u8>, XlsxError> {
    let formats = Formats::new();
    let mut book = Workbook::new();
    // The same tables make the same bytes: nothing in a file says when or where it was made.
    let created = ExcelDateTime::from_ymd(2000, 1, 1)?;
    book.set_properties(&DocProperties::new().set_title(limited(&about.title)).set_creation_datetime(&created));
    let report = parts.iter().any(|part| part.heading.is_some());
    let sheets = if report { sections(parts) } else { vec![parts] };
    for (number, parts) in (1..).zip(sheets) {
        let name = parts.first().and_then(|part| part.heading).map_or_else(|| "Chiffres".to_owned(), |h| sheet_name(number, h));
        let mut figures = Worksheet::new();
        figures.set_name(name)?.set_landscape().set_print_fit_to_pages(1, 0);
        let mut row = heading(&mut figures, about, &formats)?;
        for part in parts {
            row = figures_of(&mut figures, row, part, &formats)? + 2;
        }
        figures.set_autofit_max_width(240);
        figures.autofit();
        book.push_worksheet(figures);
    }
    let mut notes = Worksheet::new();
    notes.set_name("Notes")?.set_landscape().set_print_fit_to_pages(1, 0);
    let mut row = heading(&mut notes, about, &formats)?;
    for part in parts {
        row = notes_of(&mut notes, row, part, &formats)? + 2;
    }
    notes.set_column_width(0, 40)?;
    book.push_worksheet(notes);
    book.save_to_buffer()
}

/// Name of a section's sheet: no two are the same, and none is longer or of other signs than spreadsheets admit.
fn sheet_name(number: usize, heading: &str) -> String {
    let admitted = heading.chars().filter(|c| !matches!(c, '[' | ']' | ':' | '*' | '?' | '/' | '\\' | '\''));
    format!("{number} ").chars().chain(admitted).take(LONGEST_NAME).collect::<String>().trim_end().to_owned()
}

fn limited(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

fn heading(sheet: &mut Worksheet, about: &About, formats: &Formats) -> Result<u32, XlsxError> {
    sheet.write_string_with_format(0, 0, limited(&about.title), &formats.title)?;
    let mut row = 1;
    for (name, value) in about.lines() {
        let draft = name == "Statut" && !about.standing.is_published();
        let format = if draft { &formats.draft } else { &Format::default() };
        sheet.write_string_with_format(row, 0, limited(&format!("{name} : {value}")), format)?;
        row += 1;
    }
    if !about.standing.is_published() {
        sheet.set_header("&C&\"Arial,Bold\"Brouillon, non publié");
    }
    Ok(row + 1)
}

/// Heading, text and title of a part; the row after them.
fn part_heading(sheet: &mut Worksheet, mut row: u32, part: &Part<'_>, formats: &Formats) -> Result<u32, XlsxError> {
    let measure = labels::measure(part.table.unit, &part.table.measure);
    if let Some(heading) = part.heading {
        sheet.write_string_with_format(row, 0, limited(heading), &formats.title)?;
        row += 1;
    }
    sheet.write_string_with_format(row, 0, limited(&part.table.title), &formats.strong)?;
    sheet.write_string(row + 1, 0, measure)?;
    Ok(row + 2)
}

fn figures_of(sheet: &mut Worksheet, row: u32, part: &Part<'_>, formats: &Formats) -> Result<u32, XlsxError> {
    let grid = grid::grid(part.table);
    let mut row = part_heading(sheet, row, part, formats)?;
    for (column, head) in (0..).zip(grid.heads.iter().chain(&grid.columns)) {
        sheet.write_string_with_format(row, column, limited(head), &formats.head)?;
    }
    for line in &grid.rows {
        row += 1;
        let mut column = 0;
        for head in &line.heads {
            sheet.write_string_with_format(row, column, limited(head), &formats.text)?;
            column += 1;
        }
        for cell in &line.cells {
            match cell {
                Shown::Value { value, .. } => sheet.write_number_with_format(row, column, *value, formats.of(*value))?,
                Shown::Hidden | Shown::Missing => {
                    sheet.write_string_with_format(row, column, labels::cell(cell), &formats.sign)?
                }
            };
            column += 1;
        }
    }
    for line in labels::legend(part.table) {
        row += 1;
        sheet.write_string(row, 0, line)?;
    }
    Ok(row + 1)
}

fn notes_of(sheet: &mut Worksheet, row: u32, part: &Part<'_>, formats: &Formats) -> Result<u32, XlsxError> {
    let mut row = part_heading(sheet, row, part, formats)?;
    let notes = part.table.notes.iter().map(labels::note);
    let lines = part.text.map(str::to_owned).into_iter().chain([labels::method(part.table)]).chain(labels::legend(part.table));
    for line in lines.chain(notes) {
        sheet.write_string(row, 0, limited(&line))?;
        row += 1;
    }
    let dimensions = &part.table.dimensions;
    let names =
        dimensions.iter().map(|d| labels::dimension(&d.name)).chain(["valeur", "bas", "haut", "incertain"].map(str::to_owned));
    for (column, name) in (0..).zip(names) {
        sheet.write_string_with_format(row, column, limited(&name), &formats.head)?;
    }
    for at in grid::product(&dimensions.iter().map(|d| d.categories.len()).collect::<Vec<_>>()) {
        let Some(Shown::Value { value, interval: Some(ends), uncertain }) = part.table.cell(&at) else { continue };
        row += 1;
        let mut column = 0;
        for (dimension, index) in dimensions.iter().zip(&at) {
            let category = dimension.categories.get(*index).map(labels::category).unwrap_or_default();
            sheet.write_string_with_format(row, column, limited(&category), &formats.text)?;
            column += 1;
        }
        for figure in [value, ends[0], ends[1]] {
            sheet.write_number_with_format(row, column, figure, formats.of(figure))?;
            column += 1;
        }
        sheet.write_string_with_format(row, column, if uncertain { "oui" } else { "" }, &formats.text)?;
    }
    Ok(row + 1)
}
