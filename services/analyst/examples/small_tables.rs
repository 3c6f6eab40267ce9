//! Writes the tables of a small made-up study: `small_tables FOLDER` makes FOLDER/tables/RUN/ for three months.
//!
//! The examples of docs/tables.md read these files, and tests/python/examples.py holds what they print to what the page
//! says. Sixty persons, three parties; nothing is drawn at random.
#![allow(clippy::print_stdout)]

use std::path::Path;

use linkage_agreement::{PartyId, Pseudonym, RunId};
use linkage_analyst::rows::{NewRow, Rows};
use linkage_analyst::tables::{RunFacts, RunTables, Tables};
use linkage_cohort::MatchClass;
use linkage_cohort::supersede::{List, Move};

const PARTIES: [&str; 3] = ["ccas", "siao", "caf"];
const ATTRIBUTES: [&str; 3] = ["date_naissance", "composition", "hebergement"];
const HOUSING: [&str; 4] = ["RUE", "HEBERGE_TIERS", "CHRS", "LOGEMENT_AUTONOME"];
/// Two persons of January, one with a record of the CCAS alone, that February's run found to be one.
const MERGED: (u32, u32) = (43, 42);
/// A person of whose records March's run found two to be another person's.
const SPLIT: (u32, u32) = (18, 60);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("small_tables FOLDER")?;
    let tables = Tables::open(Path::new(&folder))?;
    for month in 0..3 {
        println!("{}", tables.write(&run(month)?, true)?.display());
    }
    Ok(())
}

/// A pseudonym that looks like one: `kind` keeps persons, records and households apart.
fn pseudonym(kind: u32, number: u32) -> Pseudonym {
    let mut bytes = [0; 16];
    let mut state = ((u64::from(kind) << 32) | u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for half in bytes.chunks_mut(8) {
        // SplitMix64 (Steele, Lea, Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        half.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    Pseudonym(bytes)
}

/// Whether a party knows a person in a month; everybody of a household of two comes and goes together at the CAF.
fn known(party: u32, person: u32, month: u32) -> bool {
    match party {
        0 => person % 3 != 1 && (person + 7 * month) % 10 < 8,
        1 => person % 4 == 2 && person % 9 >= month,
        _ => person / 2 % 5 != 3 && !(person / 2 + month).is_multiple_of(11),
    }
}

/// The person whom a month's table gives a record of, by what runs knew until then.
fn bearer(party: u32, person: u32, month: u32) -> u32 {
    if person == MERGED.1 && party == 0 && month == 0 {
        MERGED.0
    } else if person == SPLIT.1 && month < 2 {
        SPLIT.0
    } else {
        person
    }
}

fn run(month: u32) -> Result<RunTables, Box<dyn std::error::Error>> {
    let parties: Vec<PartyId> = PARTIES.iter().map(|p| p.parse()).collect::<Result<_, _>>()?;
    let period = format!("2024-{:02}", month + 1);
    let run: RunId = format!("{period}-full").parse()?;
    let mut rows = Rows::new(ATTRIBUTES.len());
    for person in 0..=SPLIT.1 {
        let knowing: Vec<u32> = (0..3).filter(|party| known(*party, person, month) && person != MERGED.0).collect();
        for party in &knowing {
            let linked = knowing.len() > 1;
            let born = format!("{}-{:02}", 1950 + person % 60, 1 + person % 12);
            let composition = ["personne seule", "couple avec enfants"][usize::from(person % 6 > 2)];
            let housing = HOUSING.get(((person / 4 + month) % 4) as usize).copied().filter(|_| *party < 2);
            let household = pseudonym(10 + party, person / 2).to_hex();
            rows.push(NewRow {
                person: pseudonym(0, bearer(*party, person, month)),
                party: u8::try_from(*party)?,
                record: pseudonym(1, person * 3 + party),
                match_class: match (linked, person % 7) {
                    (false, _) => MatchClass::Single,
                    (true, 0) => MatchClass::Probable,
                    (true, _) => MatchClass::Certain,
                },
                probability: if linked { 9_990 - 500 * u16::from(person % 7 == 0) } else { 0 },
                household: (*party != 1).then_some(household.as_str()),
                values: &[Some(born.as_str()), (*party == 2).then_some(composition), housing],
            });
        }
    }
    let mut supersessions = List { run: run.clone(), merges: Vec::new(), moves: Vec::new() };
    if month == 1 {
        supersessions.merges.push((pseudonym(0, MERGED.0), pseudonym(0, MERGED.1)));
    }
    if month == 2 {
        supersessions.moves.extend([0, 2].map(|party| Move {
            old: pseudonym(0, SPLIT.0),
            new: pseudonym(0, SPLIT.1),
            record: pseudonym(1, SPLIT.1 * 3 + party),
        }));
    }
    let facts = RunFacts {
        run,
        period: period.parse()?,
        parties,
        reference_party: None,
        position: u64::from(month),
        attributes: ATTRIBUTES.iter().map(|name| (*name).to_owned()).collect(),
    };
    Ok(RunTables { facts, rows, supersessions, report: b"{}".to_vec() })
}
