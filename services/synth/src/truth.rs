//! The truth that measurements need and no party knows: whose record is whose, who the persons are, what befell them.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use super::SynthError;
use super::events::Event;
use super::formats::{Family, create, finish};
use super::months::{Month, Typing};
use super::origins::origins;
use super::places::Places;
use super::population::{HOUSING, NEVER, Population, STATUSES};

struct Table {
    writer: csv::Writer<BufWriter<File>>,
    path: PathBuf,
}

impl Table {
    fn open(folder: &Path, name: &str, header: &[&str]) -> Result<Self, SynthError> {
        let path = folder.join(name);
        let mut table = Self { writer: csv::Writer::from_writer(create(&path)?), path };
        table.row(header)?;
        Ok(table)
    }
    fn row<T: AsRef<[u8]>>(&mut self, fields: impl IntoIterator<Item = T>) -> Result<(), SynthError> {
        self.writer.write_record(fields).map_err(|error| SynthError::table(&self.path, error))
    }
    fn finish(self) -> Result<(), SynthError> {
        finish(self.writer, &self.path)
    }
}

/// The files of `OUT/truth`.
pub(crate) struct Truth {
    folder: PathBuf,
    records: Table,
    attributes: Table,
    events: Table,
    errors: Table,
}

/// A person's identifier in the truth.
pub(crate) fn person_id(number: u32) -> String {
    format!("P{number:07}")
}

/// A household's identifier in the truth.
pub(crate) fn household_id(number: u32) -> String {
    format!("H{number:07}")
}

impl Truth {
    pub(crate) fn open(out: &Path) -> Result<Self, SynthError> {
        let folder = out.join("truth");
        Ok(Self {
            records: Table::open(&folder, "truth.csv", &["party", "month", "local_id", "person_id", "household_id"])?,
            attributes: Table::open(
                &folder,
                "truth_attributes.csv",
                &[
                    "person_id",
                    "month_index",
                    "household_id",
                    "commune",
                    "statut",
                    "hebergement",
                    "ressources",
                    "nationalite",
                    "composition",
                ],
            )?,
            events: Table::open(&folder, "truth_events.csv", &["person_id", "month_index", "evenement", "detail"])?,
            errors: Table::open(&folder, "truth_errors.csv", &["party", "local_id", "month_index", "person_id", "ops"])?,
            folder,
        })
    }

    /// Whose record this is.
    pub(crate) fn record(
        &mut self,
        party: &str,
        month: &str,
        local_id: &str,
        person: u32,
        household: u32,
    ) -> Result<(), SynthError> {
        self.records.row([party, month, local_id, &person_id(person), &household_id(household)])
    }

    /// What was typed in a month, and how it differs from what is true.
    pub(crate) fn typings(&mut self, party: &super::parties::Party, month: Month, typings: &[Typing]) -> Result<(), SynthError> {
        for typing in typings {
            let fields =
                [party.id, &party.local_id(typing.number), &month.index.to_string(), &person_id(typing.person), &typing.what];
            self.errors.row(fields)?;
        }
        Ok(())
    }

    /// What befell people in a month.
    pub(crate) fn events(&mut self, month: Month, events: &[Event]) -> Result<(), SynthError> {
        for event in events {
            self.events.row([&*person_id(event.person), &month.index.to_string(), event.what, &event.detail])?;
        }
        Ok(())
    }

    /// What is true in a month of the persons that some party recorded.
    pub(crate) fn attributes(
        &mut self,
        people: &Population,
        places: &Places,
        month: Month,
        recorded: &[bool],
    ) -> Result<(), SynthError> {
        for (at, person) in people.persons.iter().enumerate() {
            let Some(household) =
                people.households.get(person.household as usize).filter(|_| recorded.get(at).is_some_and(|recorded| *recorded))
            else {
                continue;
            };
            self.attributes.row([
                &*person_id(at as u32),
                &month.index.to_string(),
                &household_id(person.household),
                &places.commune(household.commune).code,
                STATUSES[usize::from(person.status)],
                HOUSING[usize::from(household.housing)],
                &person.income.to_string(),
                person.nationality.word(),
                Family::of(household, &people.persons, month.index).composition,
            ])?;
        }
        Ok(())
    }

    /// Every person as they are at the end, and closes the files.
    pub(crate) fn finish(self, people: &Population, places: &Places) -> Result<(), SynthError> {
        let header = [
            "person_id",
            "household_id",
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
            "origine",
            "tags",
            "mois_naissance",
            "mois_deces",
        ];
        let mut table = Table::open(&self.folder, "truth_persons.csv", &header)?;
        for (at, person) in people.persons.iter().enumerate() {
            let commune =
                people.households.get(person.household as usize).map_or("", |household| &places.commune(household.commune).code);
            table.row([
                &*person_id(at as u32),
                &household_id(person.household),
                &person.birth_name,
                &person.usage_name,
                &person.given,
                if person.woman { "2" } else { "1" },
                &person.born.to_string(),
                person.birthplace.code(places),
                person.birthplace.town(places),
                person.birthplace.country_name(),
                commune,
                person.nationality.word(),
                origins()[usize::from(person.origin)].key,
                &person.tags.words(),
                &if person.born_month == 0 { String::new() } else { person.born_month.to_string() },
                &if person.died_month == NEVER { String::new() } else { person.died_month.to_string() },
            ])?;
        }
        for table in [table, self.records, self.attributes, self.events, self.errors] {
            table.finish()?;
        }
        Ok(())
    }
}
