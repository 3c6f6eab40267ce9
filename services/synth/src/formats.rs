//! The files: one format per party, as their software exports them, and the canonical form of the same rows.
//!
//! Formats differ in encoding, separator, line end, order and names of columns, dates, codes and labels. A column is
//! described once (`Column`) and rendered from the same record as the canonical row, so that the two cannot disagree.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use encoding_rs::{Encoding, ISO_8859_15, UTF_8, WINDOWS_1252};
use jiff::civil::Date;
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook};

use super::SynthError;
use super::months::Record;
use super::parties::Party;
use super::places::Places;
use super::population::{HOUSING, Household, Person, STATUSES};
use super::text;

/// Columns of the canonical files.
pub const CANONICAL: [&str; 21] = [
    "local_id",
    "local_household_id",
    "nom_naissance",
    "nom_usage",
    "prenoms",
    "sexe",
    "date_naissance",
    "code_lieu_naissance",
    "lieu_naissance",
    "pays_naissance",
    "commune_residence",
    "nationalite",
    "composition",
    "nb_personnes",
    "nb_enfants",
    "statut",
    "hebergement",
    "ressources",
    "type_accompagnement",
    "date_entree",
    "date_sortie",
];

/// How a file writes dates.
#[derive(Clone, Copy)]
enum Dates {
    /// `31/12/1999`
    Slashes,
    /// `1999-12-31`
    Iso,
    /// `31121999`
    DayFirst,
    /// `19991231`
    YearFirst,
}

/// What a column shows.
#[derive(Clone, Copy)]
enum Column {
    LocalId,
    Household,
    BirthName,
    UsageName,
    /// The usage name when there is one, or else the birth name.
    NameInUse,
    /// The birth name when a usage name hides it.
    MaidenName,
    Given,
    /// Surname, upper case, then given names, in one cell.
    FullName,
    /// Words for not known, man, woman.
    Sex([&'static str; 3]),
    Born,
    /// `Town`, `TOWN (COUNTRY)` or `(COUNTRY)`.
    PlaceInWords,
    TownUpper,
    PlaceCode,
    /// `Algerie`
    CountryCapitalised,
    Country,
    CommuneName,
    CommuneUpper,
    CommuneCode,
    Postcode,
    /// Words for French, European Union, other.
    Nationality([&'static str; 3]),
    Composition,
    Persons,
    Children,
    Status,
    Housing,
    HousingInWords,
    Income,
    IncomeWithCents,
    IncomeBracket,
    Programme,
    Role,
    Entered,
    Left,
}

/// A text file's dialect.
struct Dialect {
    encoding: &'static Encoding,
    byte_order_mark: bool,
    separator: u8,
    crlf: bool,
    dates: Dates,
}

/// One party's file.
struct FileFormat {
    /// Absent for a workbook.
    dialect: Option<Dialect>,
    columns: &'static [(&'static str, Column)],
    /// Canonical columns beyond names, sex, birth date and dates of stay that the party fills.
    holds: &'static [&'static str],
}

const HOUSING_WORDS: [&str; 9] = [
    "Locataire",
    "Hébergé chez un tiers",
    "Centre d'urgence",
    "Hôtel",
    "Résidence sociale",
    "Sans abri",
    "CHRS",
    "Squat/campement",
    "Établissement",
];

fn format_of(party: &str) -> FileFormat {
    use Column as C;
    match party {
        "ccas" => FileFormat {
            dialect: Some(Dialect {
                encoding: WINDOWS_1252,
                byte_order_mark: false,
                separator: b';',
                crlf: true,
                dates: Dates::Slashes,
            }),
            columns: &[
                ("N° dossier", C::LocalId),
                ("N° foyer", C::Household),
                ("Civilité", C::Sex(["", "M.", "Mme"])),
                ("Nom", C::NameInUse),
                ("Nom de jeune fille", C::MaidenName),
                ("Prénom", C::Given),
                ("Date de naissance", C::Born),
                ("Lieu de naissance", C::PlaceInWords),
                ("Commune", C::CommuneName),
                ("Code postal", C::Postcode),
                ("Situation familiale", C::Composition),
                ("Nb personnes au foyer", C::Persons),
                ("Nationalité", C::Nationality(["Française", "U.E.", "Hors U.E."])),
                ("Logement", C::HousingInWords),
                ("Ressources mensuelles", C::IncomeWithCents),
                ("Type d'aide", C::Programme),
                ("Date d'entrée", C::Entered),
                ("Date de sortie", C::Left),
            ],
            holds: &[
                "local_household_id",
                "lieu_naissance",
                "pays_naissance",
                "commune_residence",
                "nationalite",
                "composition",
                "nb_personnes",
                "hebergement",
                "ressources",
            ],
        },
        "siao" => FileFormat {
            dialect: Some(Dialect { encoding: UTF_8, byte_order_mark: false, separator: b',', crlf: false, dates: Dates::Iso }),
            columns: &[
                ("id_personne", C::LocalId),
                ("id_menage", C::Household),
                ("nom_naissance", C::BirthName),
                ("nom_usage", C::UsageName),
                ("prenom", C::Given),
                ("sexe", C::Sex(["Non renseigné", "Homme", "Femme"])),
                ("date_naissance", C::Born),
                ("pays_naissance", C::CountryCapitalised),
                ("commune_insee", C::CommuneCode),
                ("composition_menage", C::Composition),
                ("nb_enfants", C::Children),
                ("nationalite", C::Nationality(["France", "Union européenne", "Hors Union européenne"])),
                ("situation_hebergement", C::Housing),
                ("type_demande", C::Programme),
                ("date_entree", C::Entered),
                ("date_sortie", C::Left),
                ("ressources_tranche", C::IncomeBracket),
            ],
            holds: &[
                "local_household_id",
                "pays_naissance",
                "commune_residence",
                "nationalite",
                "composition",
                "nb_enfants",
                "hebergement",
                "ressources",
            ],
        },
        "departement" => FileFormat {
            dialect: Some(Dialect {
                encoding: UTF_8,
                byte_order_mark: true,
                separator: b';',
                crlf: true,
                dates: Dates::DayFirst,
            }),
            columns: &[
                ("MATRICULE", C::LocalId),
                ("DOSSIER", C::Household),
                ("NOM", C::BirthName),
                ("NOM_MARITAL", C::UsageName),
                ("PRENOMS", C::Given),
                ("SEXE", C::Sex(["", "M", "F"])),
                ("DDN", C::Born),
                ("CODE_COMMUNE_NAISS", C::PlaceCode),
                ("COMMUNE_RESID", C::CommuneUpper),
                ("DISPOSITIF", C::Programme),
                ("DATE_OUVERTURE", C::Entered),
                ("DATE_FERMETURE", C::Left),
                ("STATUT", C::Status),
                ("RESSOURCES", C::Income),
                ("NAT", C::Nationality(["F", "C", "A"])),
            ],
            holds: &["local_household_id", "code_lieu_naissance", "commune_residence", "nationalite", "statut", "ressources"],
        },
        "francetravail" => FileFormat {
            dialect: Some(Dialect {
                encoding: ISO_8859_15,
                byte_order_mark: false,
                separator: b';',
                crlf: true,
                dates: Dates::YearFirst,
            }),
            columns: &[
                ("IDENTIFIANT_DE", C::LocalId),
                ("NOM_NAISSANCE", C::BirthName),
                ("NOM_USAGE", C::UsageName),
                ("PRENOM", C::Given),
                ("CIVILITE", C::Sex(["", "M", "MME"])),
                ("DATE_NAISSANCE", C::Born),
                ("CODE_INSEE_NAISSANCE", C::PlaceCode),
                ("CODE_INSEE_RESIDENCE", C::CommuneCode),
                ("CODE_POSTAL", C::Postcode),
                ("MODALITE_SUIVI", C::Programme),
                ("DATE_INSCRIPTION", C::Entered),
                ("DATE_CESSATION", C::Left),
                ("STATUT", C::Status),
                ("NATIONALITE", C::Nationality(["FRANCAISE", "UE", "HORS UE"])),
            ],
            holds: &["code_lieu_naissance", "commune_residence", "nationalite", "statut"],
        },
        "caf" => FileFormat {
            dialect: Some(Dialect { encoding: UTF_8, byte_order_mark: false, separator: b'\t', crlf: false, dates: Dates::Iso }),
            columns: &[
                ("MATRICULE_CAF", C::LocalId),
                ("MATRICULE_FOYER", C::Household),
                ("ROLE", C::Role),
                ("NOM", C::BirthName),
                ("NOM_USAGE", C::UsageName),
                ("PRENOM", C::Given),
                ("SEXE", C::Sex(["", "1", "2"])),
                ("DTNAIS", C::Born),
                ("LIEUNAIS", C::TownUpper),
                ("INSEE_RESID", C::CommuneCode),
                ("SITFAM", C::Composition),
                ("NB_ENF", C::Children),
                ("PRESTATION", C::Programme),
                ("DT_DEBUT", C::Entered),
                ("DT_FIN", C::Left),
                ("RESS_MENS", C::Income),
                ("NATION", C::Nationality(["1", "2", "3"])),
            ],
            holds: &[
                "local_household_id",
                "lieu_naissance",
                "commune_residence",
                "nationalite",
                "composition",
                "nb_enfants",
                "ressources",
            ],
        },
        "mission-locale" => FileFormat {
            dialect: None,
            columns: &[
                ("Identifiant jeune", C::LocalId),
                ("Nom de famille", C::BirthName),
                ("Nom d'usage", C::UsageName),
                ("Prénom(s)", C::Given),
                ("Genre", C::Sex(["", "Masculin", "Féminin"])),
                ("Né(e) le", C::Born),
                ("Commune ou pays de naissance (INSEE)", C::PlaceCode),
                ("Commune (INSEE)", C::CommuneCode),
                ("Nationalité", C::Nationality(["Française", "UE", "Hors UE"])),
                ("Situation", C::Status),
                ("Mode d'hébergement", C::Housing),
                ("Accompagnement", C::Programme),
                ("Entrée", C::Entered),
                ("Sortie", C::Left),
            ],
            holds: &["code_lieu_naissance", "commune_residence", "nationalite", "statut", "hebergement"],
        },
        "association" => FileFormat {
            dialect: Some(Dialect {
                encoding: UTF_8,
                byte_order_mark: false,
                separator: b'|',
                crlf: true,
                dates: Dates::Slashes,
            }),
            columns: &[
                ("Réf", C::LocalId),
                ("Ménage", C::Household),
                ("Nom complet", C::FullName),
                ("H/F", C::Sex(["?", "H", "F"])),
                ("Naissance", C::Born),
                ("Pays d'origine", C::Country),
                ("Ville", C::CommuneName),
                ("Pers.", C::Persons),
                ("Service", C::Programme),
                ("Premier passage", C::Entered),
                ("Dernier passage", C::Left),
            ],
            holds: &["local_household_id", "pays_naissance", "commune_residence", "nb_personnes"],
        },
        _ => FileFormat {
            dialect: Some(Dialect { encoding: UTF_8, byte_order_mark: true, separator: b';', crlf: true, dates: Dates::Slashes }),
            columns: &[
                ("IPP", C::LocalId),
                ("Nom de naissance", C::BirthName),
                ("Nom utilisé", C::UsageName),
                ("Prénoms état civil", C::Given),
                ("Sexe", C::Sex(["I", "M", "F"])),
                ("DDN patient", C::Born),
                ("Ville naissance", C::TownUpper),
                ("Pays naissance", C::Country),
                ("CP", C::Postcode),
                ("Commune INSEE", C::CommuneCode),
                ("UF", C::Programme),
                ("Admission", C::Entered),
                ("Fin de prise en charge", C::Left),
            ],
            holds: &["lieu_naissance", "pays_naissance", "commune_residence"],
        },
    }
}

/// A record with all that its row shows.
pub(crate) struct Row<'a> {
    pub(crate) party: &'a Party,
    pub(crate) record: &'a Record,
    pub(crate) person: &'a Person,
    pub(crate) places: &'a Places,
    pub(crate) local_id: &'a str,
    pub(crate) household_id: &'a str,
    pub(crate) family: Family,
    pub(crate) housing: u8,
    /// Position of the person in the household.
    pub(crate) is_first: bool,
}

/// A household's make-up in one month.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Family {
    pub(crate) composition: &'static str,
    pub(crate) persons: usize,
    pub(crate) children: usize,
}

impl Family {
    pub(crate) fn of(household: &Household, persons: &[Person], month: u16) -> Self {
        let living = household.members.iter().filter_map(|at| persons.get(*at as usize)).filter(|person| person.lives(month));
        let (mut adults, mut children) = (0, 0);
        for person in living {
            if person.child { children += 1 } else { adults += 1 }
        }
        let composition = match (adults, children, household.couple) {
            (1, 0, _) => "personne seule",
            (1, _, _) => "famille monoparentale",
            (2, 0, true) => "couple sans enfant",
            (2, _, true) => "couple avec enfants",
            _ => "autre",
        };
        Self { composition, persons: adults + children, children }
    }
}

enum Cell<'a> {
    Text(Cow<'a, str>),
    Day(Option<Date>),
}

impl Row<'_> {
    /// Desks at the CCAS note the town of birth abroad for two records of five only.
    fn town(&self) -> &str {
        match self.record.typed.birthplace {
            Some(place) if place.is_abroad() && self.party.id == "ccas" && self.record.serial % 5 > 1 => "",
            Some(place) => place.town(self.places),
            None => "",
        }
    }

    fn cell(&self, column: Column) -> Cell<'_> {
        let typed = &self.record.typed;
        let commune = self.places.commune(self.record.commune);
        let number = |number: usize| Cow::Owned(number.to_string());
        let income = self.person.income;
        Cell::Text(match column {
            Column::Born => return Cell::Day(typed.born),
            Column::Entered => return Cell::Day(Some(self.record.entered)),
            Column::Left => return Cell::Day(self.record.left),
            Column::LocalId => self.local_id.into(),
            Column::Household => self.household_id.into(),
            Column::BirthName => (&*typed.birth_name).into(),
            Column::UsageName => (&*typed.usage_name).into(),
            Column::NameInUse => if typed.usage_name.is_empty() { &*typed.birth_name } else { &*typed.usage_name }.into(),
            Column::MaidenName => if typed.usage_name.is_empty() { "" } else { &*typed.birth_name }.into(),
            Column::Given => (&*typed.given).into(),
            Column::FullName => {
                format!("{} {}", typed.birth_name.to_uppercase(), text::title(&typed.given)).trim().to_owned().into()
            }
            Column::Sex(words) => words[usize::from(typed.sex)].into(),
            Column::PlaceInWords => match typed.birthplace {
                Some(place) if place.is_abroad() => {
                    format!("{} ({})", self.town(), place.country_name()).trim_start().to_owned().into()
                }
                _ => self.town().into(),
            },
            Column::TownUpper => text::plain(self.town()).into(),
            Column::PlaceCode => typed.birthplace.map_or("", |place| place.code(self.places)).into(),
            Column::CountryCapitalised => {
                let name = typed.birthplace.map_or("", |place| place.country_name());
                let mut letters = name.chars();
                letters.next().map_or_else(String::new, |first| format!("{first}{}", letters.as_str().to_lowercase())).into()
            }
            Column::Country => typed.birthplace.map_or("", |place| place.country_name()).into(),
            Column::CommuneName => (&*commune.name).into(),
            Column::CommuneUpper => text::plain(&commune.name).into(),
            Column::CommuneCode => (&*commune.code).into(),
            Column::Postcode => (&*commune.postcode).into(),
            Column::Nationality(words) => words[self.person.nationality as usize].into(),
            Column::Composition => self.family.composition.into(),
            Column::Persons => number(self.family.persons),
            Column::Children => number(self.family.children),
            Column::Status => STATUSES.get(usize::from(self.person.status)).copied().unwrap_or("").into(),
            Column::Housing => HOUSING.get(usize::from(self.housing)).copied().unwrap_or("").into(),
            Column::HousingInWords => HOUSING_WORDS.get(usize::from(self.housing)).copied().unwrap_or("").into(),
            Column::Income => number(usize::from(income)),
            Column::IncomeWithCents => format!("{income},00").into(),
            Column::IncomeBracket => match income {
                0 => "0",
                1..=500 => "1-500",
                501..=1000 => "501-1000",
                1001..=1500 => "1001-1500",
                _ => "1500+",
            }
            .into(),
            Column::Programme => self.party.programmes.get(usize::from(self.record.programme)).copied().unwrap_or("").into(),
            Column::Role => match (self.person.child, self.is_first) {
                (true, _) => "ENF",
                (false, true) => "RESP",
                (false, false) => "CONJ",
            }
            .into(),
        })
    }

    /// The canonical row: what the party's register holds, whatever its export makes of it.
    fn canonical(&self, holds: &[&str]) -> [Cow<'_, str>; 21] {
        let iso = |date: Option<Date>| date.map_or(Cow::Borrowed(""), |date| date.to_string().into());
        let as_text = |column| match self.cell(column) {
            Cell::Text(text) => text,
            Cell::Day(date) => iso(date),
        };
        CANONICAL.map(|name| match name {
            "local_id" => self.local_id.into(),
            "nom_naissance" => as_text(Column::BirthName),
            "nom_usage" if self.party.id == "association" => "".into(),
            "nom_usage" => as_text(Column::UsageName),
            "prenoms" => as_text(Column::Given),
            "sexe" => as_text(Column::Sex(["", "1", "2"])),
            "date_naissance" => as_text(Column::Born),
            "type_accompagnement" => as_text(Column::Programme),
            "date_entree" => as_text(Column::Entered),
            "date_sortie" => as_text(Column::Left),
            _ if !holds.contains(&name) => "".into(),
            "local_household_id" => self.household_id.into(),
            "code_lieu_naissance" => as_text(Column::PlaceCode),
            "lieu_naissance" => self.town().into(),
            "pays_naissance" => as_text(Column::Country),
            "commune_residence" => as_text(Column::CommuneCode),
            "nationalite" => self.person.nationality.word().into(),
            "composition" => as_text(Column::Composition),
            "nb_personnes" => as_text(Column::Persons),
            "nb_enfants" => as_text(Column::Children),
            "statut" => as_text(Column::Status),
            "hebergement" => as_text(Column::Housing),
            _ => as_text(Column::Income),
        })
    }
}

impl Dates {
    fn write(self, date: Date) -> String {
        let (year, month, day) = (date.year(), date.month(), date.day());
        match self {
            Self::Slashes => format!("{day:02}/{month:02}/{year:04}"),
            Self::Iso => format!("{year:04}-{month:02}-{day:02}"),
            Self::DayFirst => format!("{day:02}{month:02}{year:04}"),
            Self::YearFirst => format!("{year:04}{month:02}{day:02}"),
        }
    }
}

/// The raw and the canonical file of one party and month, written row by row.
pub(crate) struct Delivery {
    format: FileFormat,
    raw: Raw,
    raw_path: PathBuf,
    canonical: csv::Writer<BufWriter<File>>,
    canonical_path: PathBuf,
    rows: u32,
}

enum Raw {
    Text(Box<csv::Writer<BufWriter<File>>>, csv::ByteRecord),
    Workbook(Box<Workbook>),
}

impl Delivery {
    /// Opens `OUT/<party>/<party>_<month>.csv|.xlsx` and `OUT/canonical/<party>_<month>.csv`.
    pub(crate) fn open(out: &Path, party: &Party, month: &str) -> Result<Self, SynthError> {
        let format = format_of(party.id);
        let extension = if format.dialect.is_some() { "csv" } else { "xlsx" };
        let raw_path = out.join(party.id).join(format!("{}_{month}.{extension}", party.id));
        let canonical_path = out.join("canonical").join(format!("{}_{month}.csv", party.id));
        let raw = match &format.dialect {
            Some(dialect) => {
                let mut file = create(&raw_path)?;
                if dialect.byte_order_mark {
                    file.write_all(b"\xef\xbb\xbf").map_err(|error| SynthError::write(&raw_path, &error))?;
                }
                let end = if dialect.crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
                Raw::Text(
                    Box::new(csv::WriterBuilder::new().delimiter(dialect.separator).terminator(end).from_writer(file)),
                    csv::ByteRecord::new(),
                )
            }
            None => Raw::Workbook(Box::new(workbook(&raw_path)?)),
        };
        let canonical = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(create(&canonical_path)?);
        let mut delivery = Self { format, raw, raw_path, canonical, canonical_path, rows: 0 };
        delivery.canonical.write_record(CANONICAL).map_err(|error| SynthError::table(&delivery.canonical_path, error))?;
        let header: Vec<Cell<'_>> = delivery.format.columns.iter().map(|(name, _)| Cell::Text((*name).into())).collect();
        delivery.write_raw(&header)?;
        Ok(delivery)
    }

    /// Writes one record to both files.
    pub(crate) fn write(&mut self, row: &Row<'_>) -> Result<(), SynthError> {
        let fields = row.canonical(self.format.holds);
        self.canonical
            .write_record(fields.iter().map(|field| field.as_bytes()))
            .map_err(|error| SynthError::table(&self.canonical_path, error))?;
        let cells: Vec<Cell<'_>> = self.format.columns.iter().map(|(_, column)| row.cell(*column)).collect();
        self.write_raw(&cells)
    }

    fn write_raw(&mut self, cells: &[Cell<'_>]) -> Result<(), SynthError> {
        match (&mut self.raw, &self.format.dialect) {
            (Raw::Text(writer, bytes), Some(dialect)) => {
                bytes.clear();
                for cell in cells {
                    let text = match cell {
                        Cell::Text(text) => Cow::Borrowed(&**text),
                        Cell::Day(date) => date.map_or(Cow::Borrowed(""), |date| dialect.dates.write(date).into()),
                    };
                    let (encoded, _, replaced) = dialect.encoding.encode(&text);
                    if replaced {
                        return Err(SynthError::Encoding { path: self.raw_path.clone() });
                    }
                    bytes.push_field(&encoded);
                }
                writer.write_byte_record(bytes).map_err(|error| SynthError::table(&self.raw_path, error))?;
            }
            (Raw::Workbook(workbook), _) => {
                let wrong = |_| SynthError::Workbook { path: self.raw_path.clone() };
                let day = Format::new().set_num_format("dd/mm/yyyy");
                let sheet = workbook.worksheet_from_index(0).map_err(wrong)?;
                for (at, cell) in cells.iter().enumerate() {
                    let at = at as u16;
                    match cell {
                        Cell::Text(text) if text.is_empty() => {}
                        Cell::Text(text) => drop(sheet.write_string(self.rows, at, &**text).map_err(wrong)?),
                        Cell::Day(None) => {}
                        Cell::Day(Some(date)) => {
                            let date = ExcelDateTime::from_ymd(date.year().unsigned_abs(), date.month() as u8, date.day() as u8)
                                .map_err(wrong)?;
                            sheet.write_datetime_with_format(self.rows, at, date, &day).map_err(wrong)?;
                        }
                    }
                }
            }
            (Raw::Text(..), None) => return Err(SynthError::Workbook { path: self.raw_path.clone() }),
        }
        self.rows += 1;
        Ok(())
    }

    /// Finishes both files; returns the number of records and the raw file's path.
    pub(crate) fn finish(self) -> Result<(u64, PathBuf), SynthError> {
        finish(self.canonical, &self.canonical_path)?;
        match self.raw {
            Raw::Text(writer, _) => finish(*writer, &self.raw_path)?,
            Raw::Workbook(mut workbook) => {
                let file = create(&self.raw_path)?;
                workbook.save_to_writer(file).map_err(|_| SynthError::Workbook { path: self.raw_path.clone() })?;
            }
        }
        Ok((u64::from(self.rows - 1), self.raw_path))
    }
}

/// An empty workbook whose properties do not depend on the day it is made.
fn workbook(path: &Path) -> Result<Workbook, SynthError> {
    let wrong = |_| SynthError::Workbook { path: path.to_owned() };
    let made = ExcelDateTime::from_ymd(2024, 1, 1).map_err(wrong)?;
    let mut workbook = Workbook::new();
    workbook.set_properties(&DocProperties::new().set_creation_datetime(&made));
    workbook.add_worksheet().set_name("Export").map_err(wrong)?;
    Ok(workbook)
}

/// Creates a file with its folder.
pub(crate) fn create(path: &Path) -> Result<BufWriter<File>, SynthError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| SynthError::write(folder, &error))?;
    }
    let file = File::create(path).map_err(|error| SynthError::write(path, &error))?;
    Ok(BufWriter::with_capacity(1 << 17, file))
}

/// Writes out what a table still holds back.
pub(crate) fn finish(writer: csv::Writer<BufWriter<File>>, path: &Path) -> Result<(), SynthError> {
    let mut inner = writer.into_inner().map_err(|error| SynthError::write(path, error.error()))?;
    inner.flush().map_err(|error| SynthError::write(path, &error))
}
