//! What the study's numbers and codes stand for, and a run's rows and supersessions under them.
//!
//! Numbers and codes are given once and in the order of arrival: those of earlier months keep theirs, what is new comes after.

use std::collections::{BTreeMap, HashMap};

use linkage_agreement::{PartyId, Pseudonym};
use linkage_cohort::supersede::{List, Move};
use linkage_common::error::ServiceError;

use super::Broken;
use super::month::Columns;
use super::numbers::{self, Numbers};
use crate::tables::RunTables;

/// Most values of one attribute: codes take two bytes.
const MAX_VALUES: usize = 65_535;

pub(super) fn read_values(bytes: &[u8]) -> Result<Vec<Vec<String>>, Broken> {
    serde_json::from_slice(bytes).map_err(|e| Broken::Damaged(e.to_string()))
}

/// Names by number, texts by code.
#[derive(Debug, Default)]
pub(super) struct Dictionaries {
    pub(super) persons: Numbers,
    pub(super) records: Numbers,
    pub(super) households: Numbers,
    /// By attribute of the files.
    pub(super) values: Vec<Vec<String>>,
}

impl Dictionaries {
    /// A run's rows under numbers; what is new gets one.
    pub(super) fn columns(
        &mut self,
        run: &RunTables,
        parties: &[PartyId],
        attributes: &mut Vec<String>,
    ) -> Result<Columns, Broken> {
        let broken = || {
            ServiceError::invalid(
                "une table de liens nomme un partenaire hors de la convention ; redemandez-la (linkage cohort rebuild)",
            )
        };
        let rows = &run.rows;
        let code = |party: &PartyId| parties.iter().position(|known| known == party).and_then(|at| u8::try_from(at).ok());
        let codes: Vec<Option<u8>> = run.facts.parties.iter().map(code).collect();
        let mut columns = Columns {
            persons: rows.persons.iter().map(|person| self.persons.of(person.0)).collect(),
            records: rows.records.iter().map(|record| self.records.of(record.0)).collect(),
            classes: rows.classes.iter().map(|class| *class as u8).collect(),
            probabilities: rows.probabilities.clone(),
            ..Columns::default()
        };
        let mut households: BTreeMap<(u8, u32), u32> = BTreeMap::new();
        for (row, party) in rows.parties.iter().enumerate() {
            let code = codes.get(usize::from(*party)).copied().flatten().ok_or_else(broken)?;
            columns.parties.push(code);
            let household = match (rows.households.code(row), rows.households.get(row), parties.get(usize::from(code))) {
                (Some(text), Some(name), Some(party)) => {
                    Some(*households.entry((code, text)).or_insert_with(|| self.households.of(numbers::household(party, name))))
                }
                _ => None,
            };
            columns.households.push(household);
        }
        for (name, texts) in run.facts.attributes.iter().zip(&rows.attributes) {
            let number = attributes.iter().position(|known| known == name).unwrap_or_else(|| {
                attributes.push(name.clone());
                attributes.len() - 1
            });
            if self.values.len() <= number {
                self.values.resize(number + 1, Vec::new());
            }
            let Some(values) = self.values.get_mut(number) else { continue };
            let mut known: HashMap<String, u16> = values.iter().cloned().zip(0..).collect();
            let mut codes = Vec::with_capacity(texts.values().len());
            for text in texts.values() {
                let code = match known.get(text) {
                    Some(code) => *code,
                    None if values.len() < MAX_VALUES => {
                        values.push(text.clone());
                        known.insert(text.clone(), (values.len() - 1) as u16);
                        (values.len() - 1) as u16
                    }
                    None => {
                        return Err(Broken::Failed(ServiceError::too_large(format!(
                            "l'attribut « {name} » a plus de {MAX_VALUES} valeurs distinctes ; convenez d'une règle plus grossière (avenant)"
                        ))));
                    }
                };
                codes.push(code);
            }
            let column = (0..rows.len()).map(|row| codes.get(texts.code(row)? as usize).copied()).collect();
            columns.attributes.push((number, column));
        }
        Ok(columns)
    }

    /// A list under the study's numbers. What it says of persons or records that no table held changes no row.
    pub(super) fn list(&mut self, list: &List<Pseudonym>) -> List<u32> {
        let mut numbered = List { run: list.run.clone(), merges: Vec::new(), moves: Vec::new() };
        for (old, new) in &list.merges {
            if let Some(old) = self.persons.known(old) {
                numbered.merges.push((old, self.persons.of(new.0)));
            }
        }
        for moved in &list.moves {
            if let (Some(old), Some(record)) = (self.persons.known(&moved.old), self.records.known(&moved.record)) {
                numbered.moves.push(Move { old, new: self.persons.of(moved.new.0), record });
            }
        }
        numbered
    }
}
