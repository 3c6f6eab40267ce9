//! A confirmed mapping and a header, compiled into the steps that make a canonical record of each row.

use std::collections::HashMap;

use super::error::IntakeError;
use super::headers::{BIRTH_PARTS, CANONICAL, FULL_NAME, squash};
use super::mapping::{ColumnMapping, Conversion, Mapping};
use super::names::{NameOrder, split_full_name};
use super::reference;
use super::values::{self, DateFormat};
use crate::attributes::nationality_class;

/// Steps from a row's fields to a record's values.
pub(crate) struct Plan {
    columns: Vec<String>,
    steps: Vec<Step>,
    id: usize,
    /// Birth and usage name where a blank birth name takes the usage name.
    swap: Option<(usize, usize)>,
    /// Where a birth date that is given in parts goes.
    parts: Option<usize>,
    unread: Vec<u64>,
}

struct Step {
    source: usize,
    slot: usize,
    values: HashMap<String, String>,
    reading: Reading,
}

enum Reading {
    Text,
    Joined,
    Sex,
    Nationality,
    Housing,
    Date(Option<DateFormat>),
    BirthDate(Option<DateFormat>),
    /// Day, month or year (0 to 2) of the birth date.
    BirthPart(usize),
    Amount,
    Code,
    PlaceAndCountry {
        country: usize,
    },
    Commune {
        postcode: Option<usize>,
    },
    FullName {
        usage: usize,
        given: usize,
        order: NameOrder,
    },
}

/// Headers as the mapping names them: blank ones by their position, repeated ones by their count.
pub(crate) fn column_names(header: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(header.len());
    for (i, text) in header.iter().enumerate() {
        let bare = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let bare = if bare.is_empty() { format!("(colonne {})", i + 1) } else { bare };
        let mut name = bare.clone();
        let mut count = 1;
        while names.contains(&name) {
            count += 1;
            name = format!("{bare} ({count})");
        }
        names.push(name);
    }
    names
}

impl Plan {
    /// Compiles `mapping` for a file whose header, on line `line`, has the columns `names`.
    pub(crate) fn new(mapping: &Mapping, names: &[String], line: u64) -> Result<Self, IntakeError> {
        let missing: Vec<String> = mapping.column.iter().map(|c| &c.source).filter(|s| !names.contains(s)).cloned().collect();
        let new: Vec<String> = names.iter().filter(|n| !mapping.column.iter().any(|c| &c.source == *n)).cloned().collect();
        if !missing.is_empty() || !new.is_empty() {
            // Without most of its columns the row may be a person's: nothing of it is shown.
            let known = mapping.column.len() - missing.len();
            let is_header = known > 0 && known * 2 >= mapping.column.len();
            return Err(if is_header { IntakeError::HeaderChanged { missing, new } } else { IntakeError::NoHeader { line } });
        }
        let columns: Vec<String> = CANONICAL.iter().filter(|c| gives(mapping, c)).map(|c| (*c).to_owned()).collect();
        let slot = |column: &str| columns.iter().position(|c| c == column);
        let source_of = |target: &str| {
            let column = mapping.column.iter().find(|c| c.target.as_deref() == Some(target))?;
            names.iter().position(|n| n == &column.source)
        };
        let mut steps = Vec::new();
        for column in &mapping.column {
            let Some(target) = column.target.as_deref() else { continue };
            let first = match target {
                FULL_NAME => "nom_naissance",
                part if BIRTH_PARTS.contains(&part) => "date_naissance",
                own => own,
            };
            let (Some(source), Some(slot_at)) = (names.iter().position(|n| n == &column.source), slot(first)) else { continue };
            let reading = match target {
                FULL_NAME => Reading::FullName {
                    usage: slot("nom_usage").unwrap_or(slot_at),
                    given: slot("prenoms").unwrap_or(slot_at),
                    order: column.name_order.unwrap_or(NameOrder::SurnameFirst),
                },
                "lieu_naissance" if column.convert == Some(Conversion::PlaceAndCountry) => {
                    Reading::PlaceAndCountry { country: slot("pays_naissance").unwrap_or(slot_at) }
                }
                "commune_residence" if column.convert == Some(Conversion::CommuneName) => {
                    Reading::Commune { postcode: source_of("code_postal") }
                }
                "jour_naissance" => Reading::BirthPart(0),
                "mois_naissance" => Reading::BirthPart(1),
                "annee_naissance" => Reading::BirthPart(2),
                "prenoms" => Reading::Joined,
                "sexe" => Reading::Sex,
                "nationalite" => Reading::Nationality,
                "hebergement" => Reading::Housing,
                "ressources" => Reading::Amount,
                "code_lieu_naissance" | "commune_residence" | "code_postal" => Reading::Code,
                "date_naissance" => Reading::BirthDate(column.date_format),
                "date_entree" | "date_sortie" | "date_dernier_contact" | "date_deces" => Reading::Date(column.date_format),
                _ => Reading::Text,
            };
            steps.push(Step { source, slot: slot_at, values: folded_values(column), reading });
        }
        let swaps = mapping.column.iter().any(|c| c.convert == Some(Conversion::UsageOrBirthName));
        let swap = if swaps { slot("nom_naissance").zip(slot("nom_usage")) } else { None };
        let in_parts = steps.iter().any(|step: &Step| matches!(step.reading, Reading::BirthPart(_)));
        let parts = if in_parts { slot("date_naissance") } else { None };
        let id = slot("local_id").unwrap_or_default();
        Ok(Self { unread: vec![0; columns.len()], columns, steps, id, swap, parts })
    }

    /// Canonical columns of the records, in canonical order.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Where the local identifier stands in a record.
    pub(crate) fn id(&self) -> usize {
        self.id
    }

    /// Columns with values that could not be read and were left blank, with their number.
    pub(crate) fn unread(&self) -> Vec<(String, u64)> {
        self.columns.iter().zip(&self.unread).filter(|(_, count)| **count > 0).map(|(c, n)| (c.clone(), *n)).collect()
    }

    /// A record's values, one for each column.
    pub(crate) fn convert(&mut self, fields: &[String]) -> Vec<String> {
        let mut record = vec![String::new(); self.columns.len()];
        let mut birth = [""; 3];
        for step in &self.steps {
            let text = fields.get(step.source).map(|f| f.trim()).unwrap_or_default();
            if text.is_empty() {
                continue;
            }
            let mut put = |slot: usize, value: String| {
                if let Some(place) = record.get_mut(slot) {
                    *place = value;
                }
            };
            if let Reading::BirthPart(at) = &step.reading {
                if let Some(part) = birth.get_mut(*at) {
                    *part = step.values.get(&value_key(text)).map_or(text, String::as_str);
                }
                continue;
            }
            if !step.values.is_empty()
                && let Some(value) = step.values.get(&value_key(text))
            {
                put(step.slot, value.clone());
                continue;
            }
            match &step.reading {
                Reading::Text => put(step.slot, text.to_owned()),
                Reading::Joined => {
                    if let Some(place) = record.get_mut(step.slot) {
                        if !place.is_empty() {
                            place.push(' ');
                        }
                        place.push_str(text);
                    }
                }
                Reading::Sex | Reading::Nationality => {
                    let read = match step.reading {
                        Reading::Sex => values::sex(text),
                        _ if values::says_unknown(text) => Some(""),
                        _ => nationality_class(text).map(crate::attributes::NationalityClass::as_str),
                    };
                    if read.is_none()
                        && let Some(count) = self.unread.get_mut(step.slot)
                    {
                        *count += 1;
                    }
                    put(step.slot, read.unwrap_or_default().to_owned());
                }
                Reading::Housing => put(step.slot, values::housing(text).unwrap_or(text).to_owned()),
                Reading::Date(format) => put(step.slot, format.and_then(|f| f.to_iso(text)).unwrap_or_else(|| text.to_owned())),
                // Guessing at what the declared format refuses would change day and month of half a file.
                Reading::BirthDate(format) => put(step.slot, format.map_or_else(|| text.to_owned(), |f| f.birth_date(text))),
                // Taken before.
                Reading::BirthPart(_) => {}
                Reading::Amount => put(step.slot, values::amount(text)),
                Reading::Code => put(step.slot, values::five_characters(text)),
                Reading::PlaceAndCountry { country } => {
                    let (place, land) = values::birth_place(text);
                    put(step.slot, place);
                    put(*country, land);
                }
                Reading::Commune { postcode } => {
                    let postcode = postcode.and_then(|i| fields.get(i)).map(|p| values::five_characters(p.trim()));
                    let code = if values::is_insee(text) { None } else { reference::commune_code(text, postcode.as_deref()) };
                    put(step.slot, code.unwrap_or_else(|| values::five_characters(text)));
                }
                Reading::FullName { usage, given, order } => {
                    let name = split_full_name(text, *order, &reference::is_given_name);
                    put(step.slot, name.birth);
                    put(*usage, name.usage);
                    put(*given, name.given);
                }
            }
        }
        if let Some(place) = self.parts.and_then(|slot| record.get_mut(slot)) {
            *place = values::birth_date(birth);
        }
        if let Some((birth, usage)) = self.swap
            && record.get(birth).is_some_and(String::is_empty)
        {
            record.swap(birth, usage);
        }
        record
    }
}

/// Whether the mapping fills a canonical column.
fn gives(mapping: &Mapping, canonical: &str) -> bool {
    mapping.column.iter().any(|column| match column.target.as_deref() {
        Some(FULL_NAME) => matches!(canonical, "nom_naissance" | "nom_usage" | "prenoms"),
        Some("lieu_naissance") if column.convert == Some(Conversion::PlaceAndCountry) => {
            matches!(canonical, "lieu_naissance" | "pays_naissance")
        }
        Some("nom_usage") if column.convert == Some(Conversion::UsageOrBirthName) => {
            matches!(canonical, "nom_naissance" | "nom_usage")
        }
        Some(part) if BIRTH_PARTS.contains(&part) => canonical == "date_naissance",
        Some(target) => target == canonical,
        None => false,
    })
}

fn folded_values(column: &ColumnMapping) -> HashMap<String, String> {
    column.values.iter().map(|(from, to)| (value_key(from), to.clone())).collect()
}

/// Values are compared by letters and digits; those that have none, as they are.
fn value_key(text: &str) -> String {
    let key = squash(text);
    if key.is_empty() { text.to_owned() } else { key }
}
