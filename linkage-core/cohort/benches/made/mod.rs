//! A made-up study of any size, the same each time: for benches.
//!
//! Persons come, stay some months, leave, and some come back; each month of presence they have a record at one party or
//! more, about 1.3 on average, with eight attributes.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt8Array, UInt16Array, UInt32Array};
use arrow_schema::Schema;
use linkage_agreement::model::Rule;
use linkage_cohort::query::Inputs;
use linkage_cohort::study::{AttributeColumn, Column, InMemory, Month, Study};

/// Parties of the study.
pub(crate) const PARTIES: [&str; 6] = ["siao", "ccas", "caf", "departement", "mission-locale", "ase"];
/// Attributes and how many values each has.
const ATTRIBUTES: [(&str, u16); 8] = [
    ("sexe", 2),
    ("date_naissance", 80),
    ("nationalite", 3),
    ("hebergement", 6),
    ("ressources", 5),
    ("composition", 6),
    ("nb_enfants", 6),
    ("type_accompagnement", 4),
];

/// A study with a key for each person.
pub(crate) struct Made {
    /// The study.
    pub(crate) study: Study,
    /// Keys by person.
    pub(crate) keys: Vec<u64>,
}

impl Made {
    /// A study of `persons` over `months` from January 2022.
    pub(crate) fn new(persons: u32, months: u32) -> Self {
        let mut present: Vec<bool> = (0..persons).map(|p| draw(p, 0, 1) % 100 < 50).collect();
        let mut batches = Vec::new();
        let mut held = Vec::new();
        for month in 0..months {
            let batch = rows(&present, month);
            held.push(Month {
                period: format!("{}-{:02}", 2022 + month / 12, month % 12 + 1).parse().unwrap(),
                run: format!("r{month}").parse().unwrap(),
                delivered: vec![true; PARTIES.len()],
                rows: batch.num_rows() as u64,
            });
            batches.push(batch);
            for (person, here) in (0u32..).zip(&mut present) {
                let chance = draw(person, month, 2) % 100;
                *here = if *here { chance >= 7 } else { chance < 8 };
            }
        }
        let attributes = ATTRIBUTES.iter().map(|(name, values)| {
            let (rule, first) = match *name {
                "date_naissance" => (Rule::Year, 1935),
                "nb_enfants" => (Rule::Count { max: 20 }, 0),
                _ => (Rule::Code { values: (1..=*values).map(|v| v.to_string()).collect() }, 1),
            };
            AttributeColumn { name: (*name).to_owned(), rule, values: (first..first + values).map(|v| v.to_string()).collect() }
        });
        let study = Study {
            parties: PARTIES.iter().map(|p| p.parse().unwrap()).collect(),
            attributes: attributes.collect(),
            months: held,
            persons,
            source: Box::new(InMemory { months: batches, pseudonyms: Vec::new().into() }),
        };
        Self { keys: (0..persons).map(|p| draw(p, 0, 99)).collect(), study }
    }

    /// What queries take beside the study.
    pub(crate) fn inputs(&self) -> Inputs<'_> {
        Inputs { person_keys: &self.keys, households: None }
    }
}

/// A number that looks random (Steele, Lea, Flood 2014, SplitMix64).
fn draw(person: u32, month: u32, what: u32) -> u64 {
    let seed = u64::from(person) << 24 | u64::from(month) << 12 | u64::from(what);
    let number = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn rows(present: &[bool], month: u32) -> RecordBatch {
    let mut persons: Vec<u32> = Vec::new();
    let mut parties: Vec<u8> = Vec::new();
    for (person, _) in (0u32..).zip(present).filter(|(_, here)| **here) {
        let own = draw(person, 0, 3) % PARTIES.len() as u64;
        let second = draw(person, month / 4, 4) % 100;
        let mut at: Vec<u8> = vec![own as u8];
        if second < 30 {
            at.push(((own + 1 + second % 5) % 6) as u8);
        }
        at.sort_unstable();
        for party in at {
            persons.push(person);
            parties.push(party);
        }
    }
    let each = |what: u32, of: u64| persons.iter().zip(&parties).map(move |(p, q)| draw(*p, 0, what + u32::from(*q)) % of);
    let mut columns: Vec<(Column, ArrayRef)> = vec![
        (Column::Person, Arc::new(UInt32Array::from(persons.clone()))),
        (Column::Party, Arc::new(UInt8Array::from(parties.clone()))),
        (
            Column::Record,
            Arc::new(persons.iter().zip(&parties).map(|(p, q)| Some(p * 6 + u32::from(*q))).collect::<UInt32Array>()),
        ),
        (Column::Household, Arc::new(persons.iter().map(|p| Some(p / 2)).collect::<UInt32Array>())),
        (Column::MatchClass, Arc::new(each(20, 3).map(|c| Some(c as u8)).collect::<UInt8Array>())),
        (Column::Probability, Arc::new(each(30, 10_000).map(|p| Some(p as u16)).collect::<UInt16Array>())),
    ];
    for (at, (name, values)) in ATTRIBUTES.iter().enumerate() {
        // Where people stay changes; most of the rest does not. One value in ten is missing.
        let season = if *name == "hebergement" { month / 6 } else { 0 };
        let value = |(person, party): (&u32, &u8)| {
            let missing = draw(*person, 0, 100 + at as u32 * 8 + u32::from(*party)).is_multiple_of(10);
            (!missing).then(|| (draw(*person, season, 40 + at as u32) % u64::from(*values)) as u16)
        };
        let column: UInt16Array = persons.iter().zip(&parties).map(value).collect();
        columns.push((Column::Attribute(at), Arc::new(column)));
    }
    let schema = Schema::new(columns.iter().map(|(c, _)| c.field()).collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, a)| a).collect()).unwrap()
}

/// What a page or a report asks, by name.
pub(crate) const QUERIES: [(&str, &str); 11] = [
    ("stock by party", "measure = \"stock\"\nbreakdown = [\"party\"]"),
    ("stock by party and housing", "measure = \"stock\"\nbreakdown = [\"party\", \"hebergement\"]"),
    ("entries", "measure = \"entries\""),
    ("exits", "measure = \"exits\""),
    ("returns", "measure = \"returns\""),
    (
        "stock by sex and age, two conditions",
        "measure = \"stock\"\nbreakdown = [\"sexe\", \"age\"]\n[population]\nall = [{ party = \"ccas\" }, { where = { hebergement = [\"1\", \"2\"] } }]",
    ),
    ("overlaps", "measure = \"stock\"\nbreakdown = [\"parties\"]"),
    ("durations", "measure = \"durations\"\ngrain = \"year\"\nbreakdown = [\"sexe\"]"),
    ("transitions", "measure = \"transitions\"\nof = \"hebergement\""),
    ("delays of a month's cohort", "measure = \"delays\"\ngrain = \"year\"\n[population]\nparty = \"ase\"\nperiod = \"2022-06\""),
    ("paths", "measure = \"paths\"\ngrain = \"year\""),
];

/// The query of one of [`QUERIES`] over `months` from January 2022.
pub(crate) fn document(body: &str, months: u32) -> String {
    let last = months - 1;
    let (head, rest) = body.split_once("\n[population]").unwrap_or((body, ""));
    let to = format!("{}-{:02}", 2022 + last / 12, last % 12 + 1);
    let population = if rest.is_empty() { String::new() } else { format!("\n[population]{rest}") };
    format!("title = \"Mesure\"\n{head}\nperiods = {{ from = \"2022-01\", to = \"{to}\" }}{population}\n")
}
