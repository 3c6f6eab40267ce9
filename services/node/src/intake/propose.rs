//! Proposes a mapping for a file never seen before: headers known as a whole, then headers read word by word, then what
//! the values of the first rows say.
//!
//! A proposal is never used by itself: the operator reviews the file that `MappingProposal::write` makes. It holds
//! header names and the values of coded columns (sex, nationality, housing) only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::path::Path;

use super::charset::{Charset, CharsetGuess, CharsetScan};
use super::error::{IntakeError, MappingError};
use super::guess;
use super::headers::{self, BIRTH_PARTS, FULL_NAME, squash};
use super::lines::{Row, RowRead, RowReader};
use super::mapping::{ColumnMapping, Conversion, FileFormat, FileKind, Mapping, Separator};
use super::names::NameOrder;
use super::plan::column_names;
use super::source::ByteSource;
use super::values::{self, DateFormat};
use super::words;
use super::{read_limited, read_start, workbook};
use crate::attributes::{NationalityClass, nationality_class};
use linkage_agreement::ids::PartyId;
use linkage_common::clock::{Clock, SystemClock};

const SAMPLE_BYTES: u64 = 256 << 10;
const SAMPLE_ROWS: usize = 1000;

/// A proposed mapping and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingProposal {
    /// The mapping, not confirmed.
    pub mapping: Mapping,
    /// What was thought of each column, in the file's order.
    pub columns: Vec<ProposedColumn>,
    /// The guess of the encoding, for a text.
    pub encoding: Option<CharsetGuess>,
    /// Physical line of the header.
    pub header_line: u64,
}

/// What was thought of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedColumn {
    /// Header.
    pub source: String,
    /// Canonical column, or none.
    pub target: Option<String>,
    /// Confidence in percent; 0 without a target.
    pub confidence: u8,
    /// Why, in French.
    pub reason: String,
}

impl MappingProposal {
    /// The mapping file's text, with the reasons as comments.
    pub fn to_toml(&self) -> String {
        self.mapping.to_toml(|column| {
            let thought = self.columns.iter().find(|c| c.source == column.source)?;
            Some(match &thought.target {
                Some(_) => format!("confiance {} % : {}", thought.confidence, thought.reason),
                None => format!("non reprise : {}", thought.reason),
            })
        })
    }

    /// Writes the mapping file; refuses to replace one that is there.
    pub fn write(&self, path: &Path) -> Result<(), MappingError> {
        let io = |e: std::io::Error| MappingError::Io(e.kind());
        let mut file = File::create_new(path).map_err(io)?;
        std::io::Write::write_all(&mut file, self.to_toml().as_bytes()).map_err(io)
    }
}

/// Proposes a mapping for the file at `path`, delivered by `party`.
pub fn propose(party: &PartyId, path: &Path) -> Result<MappingProposal, IntakeError> {
    let mut file = File::open(path)?;
    if fs::metadata(path)?.is_dir() {
        return Err(IntakeError::Io(std::io::ErrorKind::IsADirectory));
    }
    let mut start = [0u8; 8];
    let known = read_start(&mut file, &mut start)?;
    if known == 0 {
        return Err(IntakeError::Empty);
    }
    let is_workbook = workbook::is_workbook(start.get(..known).unwrap_or_default());
    let (format, encoding, table) = if is_workbook { workbook_table(path)? } else { text_table(path)? };
    let names = column_names(&table.header);
    let mut columns = assign(&names, &table);
    settle_names(&names, &table, &mut columns);
    settle_birth(&mut columns);
    let recognised = columns.iter().filter(|c| c.target.is_some()).count();
    if !is_header(&table, recognised) {
        return Err(IntakeError::NoHeader { line: table.line });
    }
    guess::fill(&table, SystemClock.today().year(), &mut columns);
    let mapped = columns.iter().enumerate().map(|(i, column)| map_column(column, &table.values(i))).collect();
    let mut mapping = Mapping::new(party.clone(), format, mapped);
    drop_clashes(&mut mapping);
    mapping.validate()?;
    Ok(MappingProposal { mapping, columns, encoding, header_line: table.line })
}

/// The header and the first rows.
pub(super) struct Table {
    line: u64,
    header: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    /// Values of one column that are not blank.
    pub(super) fn values(&self, column: usize) -> Vec<&str> {
        self.rows.iter().filter_map(|row| row.get(column)).map(|v| v.trim()).filter(|v| !v.is_empty()).collect()
    }
}

fn workbook_table(path: &Path) -> Result<(FileFormat, Option<CharsetGuess>, Table), IntakeError> {
    let (bytes, _) = read_limited(&mut File::open(path)?)?;
    let sheet = workbook::read_sheet(&bytes, None)?;
    let mut rows = sheet.rows.into_iter();
    let (line, header) = rows.next().ok_or(IntakeError::Empty)?;
    let rows = rows.take(SAMPLE_ROWS).map(|(_, row)| row).collect();
    let format = FileFormat { kind: FileKind::Workbook, encoding: None, separator: None, sheet: Some(sheet.name) };
    Ok((format, None, Table { line, header, rows }))
}

fn text_table(path: &Path) -> Result<(FileFormat, Option<CharsetGuess>, Table), IntakeError> {
    let mut scan = CharsetScan::new();
    let (mut file, mut chunk) = (File::open(path)?, vec![0u8; 64 << 10]);
    loop {
        let read = read_start(&mut file, &mut chunk)?;
        if read == 0 {
            break;
        }
        scan.feed(chunk.get(..read).unwrap_or_default());
    }
    scan.refused()?;
    let guess = scan.guess();
    let mut sample = Vec::new();
    ByteSource::new(File::open(path)?, guess.charset == Charset::Utf16).take(SAMPLE_BYTES).read_to_end(&mut sample)?;
    if sample.len() as u64 == SAMPLE_BYTES
        && let Some(end) = sample.iter().rposition(|b| *b == b'\n')
    {
        sample.truncate(end);
    }
    if !sample.contains(&b'\n') && sample.contains(&b'\r') {
        return Err(IntakeError::CarriageReturns);
    }
    if sample.iter().all(u8::is_ascii_whitespace) {
        return Err(IntakeError::Empty);
    }
    let mut best: Option<((bool, usize), Separator, Table)> = None;
    for separator in Separator::ALL {
        let Some(table) = read_table(&sample, separator, guess.charset)? else { continue };
        let width = table.header.len();
        let fitting = table.rows.iter().filter(|row| row.len() == width).count();
        let score = (fitting * 10 >= table.rows.len() * 8, width);
        if width >= 2 && best.as_ref().is_none_or(|(other, ..)| score > *other) {
            best = Some((score, separator, table));
        }
    }
    let (_, separator, table) = best.ok_or(IntakeError::NoSeparator)?;
    let format = FileFormat { kind: FileKind::Text, encoding: Some(guess.charset), separator: Some(separator), sheet: None };
    Ok((format, Some(guess), table))
}

fn read_table(sample: &[u8], separator: Separator, charset: Charset) -> Result<Option<Table>, IntakeError> {
    let mut reader = RowReader::new(Cursor::new(sample), separator.byte());
    let (mut row, mut table) = (Row::default(), None::<Table>);
    loop {
        match reader.next_row(&mut row)? {
            RowRead::End => return Ok(table),
            RowRead::Blank | RowRead::TooLong | RowRead::UnclosedQuote => {}
            RowRead::Row => {
                let fields: Vec<String> = row.fields().map(|f| charset.decode(f).unwrap_or_default()).collect();
                match &mut table {
                    None => {
                        reader.expect_fields(fields.len());
                        table = Some(Table { line: row.line, header: fields, rows: Vec::new() });
                    }
                    Some(table) if table.rows.len() < SAMPLE_ROWS => table.rows.push(fields),
                    Some(_) => return Ok(table),
                }
            }
        }
    }
}

/// Whether the first row names columns. Headers that say something do (two at least); but a row that looks like those
/// below it does not: a cell with digits, written as most of its column is (`D1` over `D2`), is a value. Where headers say
/// nothing, two of them without digits over columns of digits do.
fn is_header(table: &Table, recognised: usize) -> bool {
    let figures = |text: &str| text.bytes().any(|b| b.is_ascii_digit());
    let mut apart = 0;
    for (i, cell) in table.header.iter().map(|c| c.trim()).enumerate() {
        let values = table.values(i);
        if cell.is_empty() || percent(&values, figures) < 80 {
            continue;
        }
        let form = shape(cell);
        let year = cell.len() == 4 && values::year_month(cell).is_some();
        if figures(cell) && !year && percent(&values, |v| shape(v) == form) >= 50 {
            return false;
        }
        apart += usize::from(!figures(cell) && values.len() >= 5);
    }
    recognised >= 2 || apart >= 2
}

/// How a text is written: `A` for letters, `9` for digits, other signs as they are.
fn shape(text: &str) -> String {
    let mut out = String::new();
    for sign in text.chars() {
        let class = match sign {
            c if c.is_ascii_digit() => '9',
            c if c.is_alphabetic() => 'A',
            other => other,
        };
        if !out.ends_with(class) {
            out.push(class);
        }
    }
    out
}

/// Share of the values, in percent, that fit; 0 without values.
pub(super) fn percent(values: &[&str], fits: impl Fn(&str) -> bool) -> usize {
    values.iter().filter(|v| fits(v)).count() * 100 / values.len().max(1)
}

/// Gives each column its best target that no better column took.
fn assign(names: &[String], table: &Table) -> Vec<ProposedColumn> {
    let mut offers: Vec<(u8, usize, &'static str, &'static str)> = Vec::new();
    for (i, name) in names.iter().enumerate() {
        // A header for the second time is another person's more often than not.
        if repeated(names, name) {
            continue;
        }
        let values = table.values(i);
        for (target, worth) in headers::candidates(name) {
            let (target, confidence, reason) = confirm(target, worth, &values);
            offers.push((confidence, i, target, reason));
            if target == "local_id" && distinct_percent(&values) < 90 && !values.is_empty() {
                offers.push((SHARED_ID, i, "local_household_id", "identifiant que plusieurs lignes partagent"));
            }
        }
    }
    offers.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut columns: Vec<ProposedColumn> = names.iter().map(|source| untaken(names, source)).collect();
    let mut taken: BTreeMap<&str, String> = BTreeMap::new();
    for (confidence, i, target, reason) in offers {
        let Some(column) = columns.get_mut(i).filter(|c| c.target.is_none()) else { continue };
        if confidence < LEAST_CONFIDENCE {
            column.reason = reason.to_owned();
            continue;
        }
        let joined = target == "prenoms" && words::further_given(&column.source);
        match taken.get(target) {
            Some(other) if !joined => {
                column.reason = format!("« {other} » convient mieux pour {target}");
                continue;
            }
            Some(other) => column.reason = format!("prénoms joints à ceux de « {other} », dans l'ordre du fichier"),
            None => {
                taken.insert(target, column.source.clone());
                column.reason = reason.to_owned();
            }
        }
        column.target = Some(target.to_owned());
        column.confidence = confidence;
    }
    columns
}

/// Below this a header's target is not proposed.
const LEAST_CONFIDENCE: u8 = 30;
/// Confidence in a household's identifier that was called a person's.
const SHARED_ID: u8 = 50;

/// Whether the name is that of an earlier column with its count added.
fn repeated(names: &[String], name: &str) -> bool {
    let counted = name.strip_suffix(')').and_then(|n| n.rsplit_once(" ("));
    counted.is_some_and(|(bare, count)| count.parse::<u32>().is_ok() && names.iter().any(|n| n == bare))
}

fn untaken(names: &[String], source: &str) -> ProposedColumn {
    let reason = if headers::forbidden(source) {
        "donnée que nulle convention ne peut demander"
    } else if repeated(names, source) {
        "en-tête déjà présent plus à gauche"
    } else if words::other(source) {
        "semble concerner une autre personne ou un autre objet (proche, référent, structure, saisie, titre…)"
    } else {
        "en-tête inconnu"
    };
    ProposedColumn { source: source.to_owned(), target: None, confidence: 0, reason: reason.to_owned() }
}

fn distinct_percent(values: &[&str]) -> usize {
    values.iter().collect::<BTreeSet<_>>().len() * 100 / values.len().max(1)
}

/// What the values say about a target: the target (codes and names of places change places), confidence, reason.
fn confirm(target: &'static str, worth: u8, values: &[&str]) -> (&'static str, u8, &'static str) {
    if values.is_empty() {
        return (target, worth, "en-tête reconnu, colonne vide dans les premières lignes");
    }
    let share = |fits: &dyn Fn(&str) -> bool| percent(values, fits);
    let codes = share(&values::is_insee);
    let dates = share(&|v| values::iso_date(v).is_some());
    let target = match target {
        "lieu_naissance" if codes >= 80 => "code_lieu_naissance",
        "code_lieu_naissance" if codes < 20 => "lieu_naissance",
        "jour_naissance" if dates >= 80 => "date_naissance",
        other => other,
    };
    if target == "local_id" && share(&values::looks_like_nir) >= 50 {
        return (target, 0, "valeurs écrites comme des numéros de sécurité sociale, que nulle convention ne peut demander");
    }
    if target == "commune_residence" && codes < 50 {
        // A column of codes is better than one of names.
        return (target, worth.saturating_sub(12), "en-tête reconnu, communes en toutes lettres");
    }
    let number = |v: &str| v.len() <= 3 && v.bytes().all(|b| b.is_ascii_digit());
    let up_to = |v: &str, most: u8| v.parse::<u8>().is_ok_and(|n| n <= most);
    let fitting = match target {
        "date_naissance" | "date_entree" | "date_sortie" | "date_dernier_contact" | "date_deces" => dates,
        "jour_naissance" => share(&|v| up_to(v, 31)),
        "mois_naissance" => share(&|v| up_to(v, 12)),
        "annee_naissance" => share(&|v| v.len() == 4 && values::year_month(v).is_some()),
        "sexe" => share(&|v| values::sex(v).is_some()),
        "nationalite" => share(&|v| values::says_unknown(v) || nationality_class(v).is_some()),
        "code_lieu_naissance" | "commune_residence" | "code_postal" => codes,
        "nb_personnes" | "nb_enfants" => share(&number),
        "ressources" => share(&|v| v.starts_with(|c: char| c.is_ascii_digit() || c == '-')),
        "nom_naissance" | "nom_usage" | "prenoms" | FULL_NAME => {
            share(&|v| v.chars().filter(char::is_ascii_digit).count() * 2 < v.chars().count())
        }
        // A few lines that came twice are no household.
        "local_id" => match distinct_percent(values) {
            98.. => 100,
            some => some.min(84),
        },
        _ => return (target, worth, "en-tête reconnu"),
    };
    match fitting {
        85.. => (target, (worth + 4).min(99), "en-tête reconnu, valeurs conformes"),
        50..85 => (target, worth.saturating_sub(10), "en-tête reconnu, valeurs en partie conformes : à vérifier"),
        _ => (target, worth.saturating_sub(50), "en-tête reconnu, mais valeurs d'une autre nature : à vérifier"),
    }
}

/// A birth date in one column, or in parts of which one is the year.
fn settle_birth(columns: &mut [ProposedColumn]) {
    let has = |target: &str| columns.iter().any(|c| c.target.as_deref() == Some(target));
    let [.., year] = BIRTH_PARTS;
    let reason = match (has("date_naissance"), has(year)) {
        (true, _) => "la date de naissance a sa colonne",
        (false, false) => "partie d'une date de naissance sans colonne d'année",
        (false, true) => return,
    };
    for column in columns.iter_mut().filter(|c| c.target.as_deref().is_some_and(|t| BIRTH_PARTS.contains(&t))) {
        column.target = None;
        column.confidence = 0;
        column.reason = reason.to_owned();
    }
}

/// What only the whole header can settle: full names, a lone case number.
fn settle_names(names: &[String], table: &Table, columns: &mut [ProposedColumn]) {
    let find = |columns: &[ProposedColumn], target: &str| columns.iter().position(|c| c.target.as_deref() == Some(target));
    let full = find(columns, FULL_NAME);
    let surname = find(columns, "nom_naissance").or(find(columns, "nom_usage"));
    let given = find(columns, "prenoms");
    let retarget = |columns: &mut [ProposedColumn], at: usize, target: Option<&str>, reason: &str| {
        if let Some(column) = columns.get_mut(at) {
            column.target = target.map(str::to_owned);
            column.confidence = if target.is_some() { column.confidence.min(70) } else { 0 };
            column.reason = reason.to_owned();
        }
    };
    match (full, surname, given) {
        (Some(full), Some(_), Some(_)) => retarget(columns, full, None, "nom et prénom ont déjà leur colonne"),
        (Some(_), ..) => {
            for part in ["nom_naissance", "nom_usage", "prenoms"] {
                while let Some(at) = find(columns, part) {
                    retarget(columns, at, None, "le nom complet a sa colonne");
                }
            }
        }
        (None, Some(at), None) => {
            let values = table.values(at);
            let two_words = values.iter().filter(|v| v.split_whitespace().count() >= 2).count();
            if !values.is_empty() && two_words * 10 >= values.len() * 8 {
                retarget(columns, at, Some(FULL_NAME), "aucune colonne de prénoms et plusieurs mots par nom : nom complet ?");
            }
        }
        _ => {}
    }
    if find(columns, "local_id").is_none() {
        let lone = names.iter().position(|n| squash(n) == "dossier").or(find(columns, "local_household_id"));
        if let Some(at) = lone {
            let values = table.values(at);
            let distinct = values.iter().collect::<BTreeSet<_>>().len();
            if distinct * 100 >= values.len() * 98 {
                retarget(columns, at, Some("local_id"), "seul identifiant du fichier, une valeur par ligne");
            }
        }
    }
}

fn map_column(column: &ProposedColumn, values: &[&str]) -> ColumnMapping {
    let target = column.target.as_deref();
    let most = |fits: &dyn Fn(&str) -> bool| values.iter().filter(|v| fits(v)).count() * 2 > values.len();
    let convert = match target {
        Some("nom_usage") if words::bare_name(&column.source) => Some(Conversion::UsageOrBirthName),
        Some("lieu_naissance") if values.iter().any(|v| v.ends_with(')') && values::birth_place(v).1 != "FRANCE") => {
            Some(Conversion::PlaceAndCountry)
        }
        Some("commune_residence") if !values.is_empty() && !most(&values::is_insee) => Some(Conversion::CommuneName),
        _ => None,
    };
    let dated = target.is_some_and(|t| t.starts_with("date_"));
    let name_order = (target == Some(FULL_NAME))
        .then(|| if squash(&column.source).starts_with("prenom") { NameOrder::GivenFirst } else { NameOrder::SurnameFirst });
    ColumnMapping {
        source: column.source.clone(),
        target: column.target.clone(),
        date_format: if dated { declared_format(target, values) } else { None },
        convert,
        name_order,
        values: coded_values(target, values),
    }
}

/// The format to declare. Dates of birth of a declared format are held to it, so a column that mixes formats gets none:
/// each value is then recognised by itself.
fn declared_format(target: Option<&str>, values: &[&str]) -> Option<DateFormat> {
    let format = date_format(values)?;
    let strays = values.iter().filter(|v| format.misfits(v)).count();
    (target != Some("date_naissance") || strays * 100 <= values.len()).then_some(format)
}

/// The format that reads most values; none when it reads fewer than half.
pub(super) fn date_format(values: &[&str]) -> Option<DateFormat> {
    let reads = |format: DateFormat| values.iter().filter(|v| format.to_iso(v).is_some()).count();
    let mut best = None;
    for format in DateFormat::ALL {
        let count = reads(format);
        if count > 0 && count * 2 >= values.len() && best.is_none_or(|(most, _)| count > most) {
            best = Some((count, format));
        }
    }
    best.map(|(_, format)| format)
}

/// The values of a coded column and what they are read as, for the operator to see and correct.
fn coded_values(target: Option<&str>, values: &[&str]) -> BTreeMap<String, String> {
    let read: &dyn Fn(&str) -> Option<&'static str> = match target {
        Some("sexe") => &values::sex,
        Some("nationalite") => &|v| nationality_class(v).map(NationalityClass::as_str),
        Some("hebergement") => &values::housing,
        _ => return BTreeMap::new(),
    };
    let distinct: BTreeSet<&str> = values.iter().copied().collect();
    if distinct.len() > 40 {
        return BTreeMap::new();
    }
    let mut seen = BTreeSet::new();
    let pairs = distinct.into_iter().filter_map(|v| Some((v, read(v)?))).filter(|(v, to)| v != to && seen.insert(squash(v)));
    pairs.map(|(v, to)| (v.to_owned(), to.to_owned())).collect()
}

/// Takes back what `validate` would refuse together.
fn drop_clashes(mapping: &mut Mapping) {
    let country = mapping.column.iter().any(|c| c.target.as_deref() == Some("pays_naissance"));
    for column in &mut mapping.column {
        if country && column.convert == Some(Conversion::PlaceAndCountry) {
            column.convert = None;
        }
    }
}
