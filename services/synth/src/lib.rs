//! Synthetic French social-service populations with their truth, and the measure of a linkage against that truth.
//!
//! [`generate`] writes, for two to eight parties and any number of months, the files that the parties' software would
//! export, the same rows in canonical form, and the truth. People do not exist: names come word by word from INSEE's
//! frequency tables (Licence Ouverte) and from lists of common names written for this crate. The same options give the
//! same bytes, on every machine; another seed gives others. It writes into `OUT`:
//!
//! ```text
//! <party>/<party>_<AAAA-MM>.csv|.xlsx    raw, each party in its own format
//! canonical/<party>_<AAAA-MM>.csv        the same rows under the canonical headers (UTF-8, comma, ISO dates)
//! truth/truth.csv                        party,month,local_id,person_id,household_id: one row per record and month
//! truth/truth_persons.csv                everyone as they are in the last month, with tags
//! truth/truth_attributes.csv             by month, for those whom some party recorded
//! truth/truth_events.csv, truth_errors.csv   what befell people; what was typed wrong
//! manifest.json                          options, formats and counts
//! ```
//!
//! [`evaluate::evaluate`] compares a link list with such a truth.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod dice;
mod errors;
pub mod evaluate;
mod events;
mod formats;
mod months;
mod names;
mod origins;
mod parties;
mod places;
mod population;
mod tables;
mod tags;
mod text;
mod truth;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use linkage_agreement::ids::Period;
use serde::Serialize;

use dice::Dice;
use errors::Desk;
use events::births_within;
pub use formats::CANONICAL;
use formats::{Delivery, Family, Row};
use months::{Month, Register, Typing};
use names::Names;
use parties::PARTIES;
use places::Places;
use population::{Maker, Population, day_of};
use truth::Truth;

/// Most persons that one simulation takes.
pub const MAX_PERSONS: u64 = 5_000_000;
/// Longest simulation, months.
pub const MAX_MONTHS: u32 = 120;

/// What to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct SynthOptions {
    /// Persons in all, those who are born during the simulation included.
    pub persons: u64,
    /// How many parties, 2 to 8, in the order of [`party_ids`].
    pub parties: usize,
    /// How many monthly deliveries.
    pub months: u32,
    /// Where every draw comes from.
    pub seed: u64,
    /// The month of the first delivery.
    pub base_month: Period,
    /// Mean number of slips in a record as it is typed, before the factors of parties and persons (0 to 5). With 0 only
    /// what the party's form imposes remains (case, accents, length).
    pub error_rate: f64,
}

impl SynthOptions {
    /// These numbers, from January 2024, with a quarter of a slip per record.
    pub fn new(persons: u64, parties: usize, months: u32, seed: u64) -> Option<Self> {
        Some(Self { persons, parties, months, seed, base_month: Period::new(2024, 1)?, error_rate: 0.25 })
    }

    fn check(&self) -> Result<(), SynthError> {
        let outside = |option, least, most| Err(SynthError::Option { option, least, most });
        match self {
            Self { persons, .. } if !(1..=MAX_PERSONS).contains(persons) => outside("--persons", 1, MAX_PERSONS),
            Self { parties, .. } if !(2..=PARTIES.len()).contains(parties) => outside("--parties", 2, PARTIES.len() as u64),
            Self { months, .. } if !(1..=MAX_MONTHS).contains(months) => outside("--months", 1, u64::from(MAX_MONTHS)),
            // Before 2000 the ages would not fit the births of 1925 to 2024.
            Self { base_month, .. } if !(2000..=2100).contains(&base_month.year()) => outside("--base-month (année)", 2000, 2100),
            Self { error_rate, .. } if !(0.0..=5.0).contains(error_rate) => outside("--error-rate", 0, 5),
            _ => Ok(()),
        }
    }
}

/// Why nothing, or not everything, was generated.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// An option outside its range.
    #[error("{option} doit être compris entre {least} et {most}")]
    Option {
        /// The option as on the command line.
        option: &'static str,
        /// Its least value.
        least: u64,
        /// Its greatest value.
        most: u64,
    },
    /// A file or folder could not be written.
    #[error("écriture impossible de {path} : {source} ; vérifiez les droits et la place sur le disque")]
    Write {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A text that a file's encoding cannot hold.
    #[error("un texte ne peut être écrit dans l'encodage de {path} : défaut des tables de noms, à signaler")]
    Encoding {
        /// The file.
        path: PathBuf,
    },
    /// A workbook could not be made.
    #[error("le classeur {path} n'a pu être écrit ; réduisez --persons s'il dépasse 1 048 575 lignes")]
    Workbook {
        /// The file.
        path: PathBuf,
    },
    /// The tables that are part of the program are damaged.
    #[error("les tables de noms et de communes du programme sont abîmées : réinstallez-le")]
    Tables,
}

impl SynthError {
    pub(crate) fn write(path: &Path, error: &std::io::Error) -> Self {
        let source = error.raw_os_error().map_or_else(|| error.kind().into(), std::io::Error::from_raw_os_error);
        Self::Write { path: path.to_owned(), source }
    }
    pub(crate) fn table(path: &Path, error: csv::Error) -> Self {
        match error.into_kind() {
            csv::ErrorKind::Io(source) => Self::Write { path: path.to_owned(), source },
            _ => Self::Write { path: path.to_owned(), source: std::io::ErrorKind::InvalidData.into() },
        }
    }
}

/// One file that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileSummary {
    /// Party identifier.
    pub party: String,
    /// Month, `AAAA-MM`.
    pub month: String,
    /// Records in it.
    pub records: u64,
    /// The raw file.
    pub raw: PathBuf,
}

/// What was generated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SynthSummary {
    /// Persons in the truth.
    pub persons: u64,
    /// Households in the truth.
    pub households: u64,
    /// Parties, in order.
    pub parties: Vec<String>,
    /// Months, in order.
    pub months: Vec<String>,
    /// Every raw file, by month, then party.
    pub files: Vec<FileSummary>,
    /// Records in all files: rows of `truth/truth.csv`.
    pub records: u64,
}

/// The parties' identifiers, in the order in which [`SynthOptions::parties`] takes them.
pub fn party_ids() -> impl ExactSizeIterator<Item = &'static str> {
    PARTIES.iter().map(|party| party.id)
}

/// Generates into `out`, which is made when it does not exist; files of the same names are replaced. `progress` is told
/// steps done and steps in all, a step being one file.
///
/// # Errors
/// An option out of range before anything is written; a file that can't be written, with its path.
pub fn generate(options: &SynthOptions, out: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<SynthSummary, SynthError> {
    options.check()?;
    let steps = u64::from(options.months) * options.parties as u64 + 1;
    progress(0, steps);

    let names = Names::load()?;
    let places = Places::load()?;
    let start = day_of(options.base_month.year() as i16, options.base_month.month() as i8, 1);
    let mut maker = Maker { names: &names, places: &places, start, dice: Dice::new(options.seed, "population") };
    let births = births_within(options.persons, options.months);
    let mut people = maker.population((options.persons - births) as usize);
    let mut truth = Truth::open(out)?;
    let mut registers: Vec<Register> = Vec::new();
    let mut summary = SynthSummary {
        persons: 0,
        households: 0,
        parties: party_ids().take(options.parties).map(str::to_owned).collect(),
        months: Vec::new(),
        files: Vec::new(),
        records: 0,
    };
    progress(1, steps);

    let mut period = options.base_month;
    for index in 0..options.months as u16 {
        let month = Month { index, first: day_of(period.year() as i16, period.month() as i8, 1) };
        if index > 0 {
            // The births of the whole simulation, spread evenly over its later months.
            let upto = |passed: u16| births * u64::from(passed) / u64::from(options.months - 1);
            let events = maker.pass_month(&mut people, month, upto(index) - upto(index - 1));
            truth.events(month, &events)?;
        }
        let mut recorded = vec![false; people.persons.len()];
        for (at, party) in PARTIES.iter().take(options.parties).enumerate() {
            let desk = Desk { names: &names, places: &places, party, rate: options.error_rate, today: month.first };
            let mut typings: Vec<Typing> = Vec::new();
            match registers.get_mut(at) {
                Some(register) => register.advance(&people, &desk, month, &mut typings),
                None => registers.push(Register::open(party, &people, &desk, month, options.seed, &mut typings)),
            }
            truth.typings(party, month, &typings)?;
            let Some(register) = registers.get(at) else { continue };
            let file = deliver(out, register, &people, &places, month, &period.to_string(), &mut truth, &mut recorded)?;
            summary.records += file.records;
            summary.files.push(file);
            progress(1 + summary.files.len() as u64, steps);
        }
        truth.attributes(&people, &places, month, &recorded)?;
        summary.months.push(period.to_string());
        period = period.next();
    }
    people.finish_tags(&names);
    truth.finish(&people, &places)?;
    summary.persons = people.persons.len() as u64;
    summary.households = people.households.len() as u64;
    write_manifest(options, &summary, out)?;
    Ok(summary)
}

/// Writes one party's files of one month and the truth of their rows.
#[allow(clippy::too_many_arguments)] // what is written, and the places it goes to
fn deliver(
    out: &Path,
    register: &Register,
    people: &Population,
    places: &Places,
    month: Month,
    name: &str,
    truth: &mut Truth,
    recorded: &mut [bool],
) -> Result<FileSummary, SynthError> {
    let party = register.party;
    let mut delivery = Delivery::open(out, party, name)?;
    for record in &register.active {
        let Some(person) = people.persons.get(record.person as usize) else { continue };
        let Some(household) = people.households.get(record.household as usize) else { continue };
        let local_id = party.local_id(record.number);
        let household_id = party.household_id(party.scatter(record.household, register.seed, 2));
        delivery.write(&Row {
            party,
            record,
            person,
            places,
            local_id: &local_id,
            household_id: &household_id,
            family: Family::of(household, &people.persons, month.index),
            housing: household.housing,
            is_first: household.members.first() == Some(&record.person),
        })?;
        truth.record(party.id, name, &local_id, record.person, record.household)?;
        if let Some(recorded) = recorded.get_mut(record.person as usize) {
            *recorded = true;
        }
    }
    let (records, raw) = delivery.finish()?;
    Ok(FileSummary { party: party.id.to_owned(), month: name.to_owned(), records, raw })
}

/// The manifest holds nothing that differs between two runs of the same options: no clock, no absolute path.
fn write_manifest(options: &SynthOptions, summary: &SynthSummary, out: &Path) -> Result<(), SynthError> {
    let records: BTreeMap<String, u64> =
        summary.files.iter().map(|file| (format!("{} {}", file.party, file.month), file.records)).collect();
    let manifest = serde_json::json!({
        "population": summary.persons,
        "households": summary.households,
        "parties": summary.parties,
        "months": options.months,
        "base_month": options.base_month.to_string(),
        "records": records,
        "total": summary.records,
        "error_rate": options.error_rate,
        "seed": options.seed.to_string(),
        "generator": concat!("linkage-synth ", env!("CARGO_PKG_VERSION")),
    });
    let path = out.join("manifest.json");
    let text = serde_json::to_string_pretty(&manifest).map_err(|error| SynthError::write(&path, &error.into()))?;
    #[expect(clippy::disallowed_methods, reason = "the last file of a folder made in one go, remade by the same seed")]
    std::fs::write(&path, text + "\n").map_err(|error| SynthError::write(&path, &error))
}
