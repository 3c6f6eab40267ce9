//! Fetching link tables from the custodian: pseudonyms are finished and attributes unsealed here, nowhere else.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use linkage_agreement::model::{AnalystRight, Attribute};
use linkage_agreement::{PartyId, Pseudonym, RunId};
use linkage_cohort::MatchClass;
use linkage_cohort::supersede::{List, Move};
use linkage_common::attributes;
use linkage_common::error::{ErrorKind, ServiceError};
use linkage_common::gate::Gate;
use linkage_common::order::reference_party;
use linkage_common::tls::Channel;
use linkage_crypto::pseudonym::{AnalystScalar, PseudonymPoint};
use linkage_crypto::seal::{SealingKey, attributes_info};
use linkage_crypto::storage::StorageKey;
use linkage_proto::v1::{self, registry_client::RegistryClient};
use rayon::prelude::*;

use crate::retention;
use crate::rows::{NewRow, Rows};
use crate::study::{Added, StudyStore};
use crate::tables::{RunFacts, RunTables, Tables};

/// Rows taken from the stream before they are worked on, together on all cores.
const ROWS_AT_ONCE: usize = 8_192;
/// Points that one core finishes at a time: they share one inversion.
const POINTS_AT_ONCE: usize = 256;
/// Points whose pseudonyms are kept while several runs are fetched: most come again in the next one.
const MAX_KEPT: usize = 4_000_000;

/// Most attributes of an agreement.
const MAX_ATTRIBUTES: usize = 200;

/// What an analyst needs to read what is meant for it.
pub struct Keys {
    /// Opens the attribute keys.
    pub sealing: SealingKey,
    /// Finishes pseudonyms.
    pub scalar: Arc<AnalystScalar>,
}

/// Where what is fetched goes.
#[derive(Clone)]
pub struct Holdings {
    /// Runs, with their rows where the agreement lets the analyst hold them.
    pub tables: Tables,
    /// All months in columns.
    pub study: StudyStore,
    /// Whether the analyst may hold rows.
    pub row_level: bool,
}

impl Holdings {
    /// Whether nothing of a run is lacking.
    pub fn has(&self, run: &RunId) -> Result<bool, ServiceError> {
        Ok(self.tables.has(run) && self.study.has(run)?)
    }

    /// Takes a run in; `false` when the study had to be forgotten for it and every run must be fetched again.
    fn take(&self, run: &RunTables) -> Result<bool, ServiceError> {
        let added = self.study.add(run)?;
        self.tables.write(run, self.row_level)?;
        if added == Added::Unfit {
            tracing::warn!(run = %run.facts.run, "the study is made again: a run came late, or it was damaged");
            if self.row_level {
                self.study.rebuild(&self.tables)?;
            } else {
                self.study.clear()?;
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether the agreement lets an analyst hold rows.
pub fn row_level(gate: &Gate, analyst: &PartyId) -> bool {
    gate.agreement().analyst.iter().any(|a| a.id == *analyst && a.may.contains(&AnalystRight::RowLevel))
}

/// Fetches every link table that is ready and not here yet; returns their runs. A table that is refused leaves nothing and
/// does not hold up those after it; the first refusal is returned once all were tried.
pub async fn fetch_new(
    gate: &Gate,
    keys: &Keys,
    holdings: &Holdings,
    client: &mut RegistryClient<Channel>,
) -> Result<Vec<RunId>, ServiceError> {
    let request = v1::ListLinkTablesRequest { agreement: Some(gate.reference()) };
    let listed = client.list_link_tables(request).await.map_err(|s| ServiceError::from(&s))?.into_inner().tables;
    let mut finisher = Finisher { scalar: keys.scalar.clone(), kept: HashMap::new() };
    let (mut fetched, mut refused) = (Vec::new(), None);
    let mut at = 0;
    while let Some(table) = listed.get(at) {
        at += 1;
        let run: RunId = table.run_id.parse().map_err(|_| {
            ServiceError::invalid("le tiers de confiance annonce un traitement sans identifiant valable ; prévenez-le")
        })?;
        // What is over its term here is not asked for, also while the custodian still has it.
        let over = table.period.parse().is_ok_and(|period| !retention::may_hold(gate, period));
        if over || holdings.has(&run)? {
            continue;
        }
        let made = match fetch(gate, keys, finisher, client, &run, table).await {
            (known, Ok(made)) => {
                finisher = known;
                made
            }
            (_, Err(error)) if error.kind == ErrorKind::Unavailable => return Err(error),
            (known, Err(error)) => {
                finisher = known;
                tracing::error!(run = %run, %error, "link table refused; nothing of it is kept");
                refused.get_or_insert(error);
                continue;
            }
        };
        let rows = made.rows.len();
        let holder = holdings.clone();
        let kept = tokio::task::spawn_blocking(move || holder.take(&made)).await.map_err(ServiceError::internal)??;
        tracing::info!(run = %run, rows, "link table received");
        if !kept {
            // Supersessions follow one another in the order of runs: from the first one on.
            at = 0;
        }
        if !fetched.contains(&run) {
            fetched.push(run);
        }
    }
    refused.map_or(Ok(fetched), Err)
}

fn broken() -> ServiceError {
    ServiceError::invalid(
        "la table de liens reçue ne correspond pas à la convention, rien n'en est gardé ; comparez les empreintes avec le tiers de confiance (linkage agreement show)",
    )
}

fn incomplete() -> ServiceError {
    ServiceError::invalid(
        "la table de liens reçue est incomplète, rien n'en est gardé ; elle sera redemandée, sinon prévenez le tiers de confiance",
    )
}

/// Fetches one table; gives the finisher back with what it knows now.
async fn fetch(
    gate: &Gate,
    keys: &Keys,
    finisher: Finisher,
    client: &mut RegistryClient<Channel>,
    run: &RunId,
    announced: &v1::LinkTableInfo,
) -> (Finisher, Result<RunTables, ServiceError>) {
    let mut reader = match Reader::new(finisher, gate, run, announced) {
        Ok(reader) => reader,
        Err((finisher, error)) => return (finisher, Err(error)),
    };
    let request = v1::LinkTableRequest { agreement: Some(gate.reference()), run_id: run.to_string() };
    let mut stream = match client.get_link_table(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return (reader.finisher, Err(ServiceError::from(&status))),
    };
    let mut waiting = Vec::new();
    loop {
        let chunk = match stream.message().await {
            Ok(chunk) => chunk,
            Err(status) => return (reader.finisher, Err(ServiceError::from(&status))),
        };
        let ended = chunk.is_none();
        if let Some(chunk) = chunk {
            if let Err(error) = reader.open_keys(gate, keys, &chunk) {
                return (reader.finisher, Err(error));
            }
            waiting.push(chunk);
        }
        if ended || waiting.iter().map(|chunk| chunk.rows.len() + chunk.supersessions.len()).sum::<usize>() >= ROWS_AT_ONCE {
            let chunks = std::mem::take(&mut waiting);
            let worked = tokio::task::spawn_blocking(move || {
                let read = chunks.iter().try_for_each(|chunk| reader.read(chunk));
                (reader, read)
            });
            let read;
            (reader, read) = match worked.await {
                Ok(done) => done,
                Err(error) => {
                    let scalar = keys.scalar.clone();
                    return (Finisher { scalar, kept: HashMap::new() }, Err(ServiceError::internal(error)));
                }
            };
            if let Err(error) = read {
                return (reader.finisher, Err(error));
            }
        }
        if ended {
            // A stream that ends early ends like a whole one.
            let whole = reader.begun && reader.made.rows.len() as u64 == announced.rows && reader.changes == announced.changes;
            return (reader.finisher, if whole { Ok(reader.made) } else { Err(incomplete()) });
        }
    }
}

/// Makes pseudonyms of points.
struct Finisher {
    scalar: Arc<AnalystScalar>,
    kept: HashMap<PseudonymPoint, Pseudonym>,
}

impl Finisher {
    fn finish<'p>(&mut self, points: impl Iterator<Item = &'p [u8]>) -> Result<Vec<Pseudonym>, ServiceError> {
        let points: Vec<PseudonymPoint> =
            points.map(|p| p.try_into().map(PseudonymPoint).map_err(|_| broken())).collect::<Result<_, _>>()?;
        let mut new: Vec<PseudonymPoint> = points.iter().filter(|point| !self.kept.contains_key(point)).copied().collect();
        new.sort_unstable();
        new.dedup();
        if self.kept.len() + new.len() > MAX_KEPT {
            self.kept.clear();
            new = points.clone();
        }
        let made: Vec<Vec<[u8; 16]>> = new
            .par_chunks(POINTS_AT_ONCE)
            .map(|points| self.scalar.pseudonyms(points).map_err(|e| ServiceError::invalid(e.to_string())))
            .collect::<Result<_, _>>()?;
        self.kept.extend(new.into_iter().zip(made.into_iter().flatten().map(Pseudonym)));
        points.iter().map(|point| self.kept.get(point).copied().ok_or_else(broken)).collect()
    }
}

/// A table on its way in.
struct Reader {
    finisher: Finisher,
    attribute_keys: HashMap<String, StorageKey>,
    /// Whether the first chunk is here.
    begun: bool,
    /// Lines of the supersession list so far.
    changes: u64,
    made: RunTables,
}

impl Reader {
    fn new(
        finisher: Finisher,
        gate: &Gate,
        run: &RunId,
        announced: &v1::LinkTableInfo,
    ) -> Result<Self, (Finisher, ServiceError)> {
        let facts = || -> Result<RunFacts, ServiceError> {
            Ok(RunFacts {
                run: run.clone(),
                period: announced.period.parse().map_err(|_| broken())?,
                parties: announced.parties.iter().map(|party| party.parse().map_err(|_| broken())).collect::<Result<_, _>>()?,
                reference_party: reference_party(&announced.reference_party)?,
                position: announced.position,
                attributes: gate.agreement().travelling_attributes().into_iter().map(|a: Attribute| a.name).collect(),
            })
        };
        let facts = match facts() {
            Ok(facts) => facts,
            Err(error) => return Err((finisher, error)),
        };
        let rows = Rows::new(facts.attributes.len());
        let supersessions = List { run: run.clone(), merges: vec![], moves: vec![] };
        let made = RunTables { facts, rows, supersessions, report: vec![] };
        Ok(Self { finisher, attribute_keys: HashMap::new(), begun: false, changes: 0, made })
    }

    /// Opens what the first chunk alone holds.
    fn open_keys(&mut self, gate: &Gate, keys: &Keys, chunk: &v1::LinkTableChunk) -> Result<(), ServiceError> {
        if self.begun {
            return Ok(());
        }
        let agreement = match chunk.agreement_hash.as_ref() {
            [] => gate.agreement_hash(),
            hash => hash.try_into().map_err(|_| broken())?,
        };
        // Under a former agreement, the attributes were those that the custodian tells; under the current one, nobody's word counts.
        if agreement != gate.agreement_hash() {
            let names = &chunk.attributes;
            let distinct = names.iter().collect::<HashSet<_>>().len() == names.len();
            if !distinct || names.len() > MAX_ATTRIBUTES || !names.iter().all(|name| is_attribute(name)) {
                return Err(broken());
            }
            self.made.rows = Rows::new(names.len());
            self.made.facts.attributes.clone_from(names);
        }
        for (party, sealed) in &chunk.sealed_keys {
            let info = attributes_info(&agreement, self.made.facts.run.as_str(), party);
            let key = keys.sealing.open(&info, &[], sealed).map_err(|e| ServiceError::invalid(e.to_string()))?;
            let key: &[u8; 32] = key.as_slice().try_into().map_err(|_| broken())?;
            self.attribute_keys.insert(party.clone(), StorageKey::from_bytes(key));
        }
        self.made.report = chunk.report.to_vec();
        self.begun = true;
        Ok(())
    }

    fn read(&mut self, chunk: &v1::LinkTableChunk) -> Result<(), ServiceError> {
        self.read_changes(&chunk.supersessions)?;
        let persons = self.finisher.finish(chunk.rows.iter().map(|r| r.person_point.as_ref()))?;
        let records = self.finisher.finish(chunk.rows.iter().map(|r| r.record_point.as_ref()))?;
        let (facts, keys) = (&self.made.facts, &self.attribute_keys);
        let opened: Vec<Opened> = chunk
            .rows
            .par_iter()
            .map(|row| {
                let key = keys.get(&row.party).ok_or_else(broken)?;
                let plain =
                    key.open(attributes::PLACE, &row.sealed_attributes).map_err(|e| ServiceError::invalid(e.to_string()))?;
                read_attributes(&plain, facts.attributes.len()).ok_or_else(broken)
            })
            .collect::<Result<_, ServiceError>>()?;
        for (((row, (household, values)), person), record) in chunk.rows.iter().zip(&opened).zip(persons).zip(records) {
            let party = facts.parties.iter().position(|party| party.as_str() == row.party).ok_or_else(broken)?;
            let values: Vec<Option<&str>> = values.iter().map(Option::as_deref).collect();
            self.made.rows.push(NewRow {
                person,
                party: u8::try_from(party).map_err(|_| broken())?,
                record,
                match_class: MatchClass::from_code(row.match_class).ok_or_else(broken)?,
                probability: u16::try_from(row.probability).ok().filter(|p| *p <= 10_000).ok_or_else(broken)?,
                household: household.as_deref(),
                values: &values,
            });
        }
        Ok(())
    }

    fn read_changes(&mut self, changes: &[v1::Supersession]) -> Result<(), ServiceError> {
        let old = self.finisher.finish(changes.iter().map(|s| s.old_person_point.as_ref()))?;
        let new = self.finisher.finish(changes.iter().map(|s| s.new_person_point.as_ref()))?;
        let list = &mut self.made.supersessions;
        for (change, (old, new)) in changes.iter().zip(old.into_iter().zip(new)) {
            match change.kind {
                1 => {
                    list.merges.push((old, new));
                    self.changes += 1;
                }
                2 => {
                    let records = self.finisher.finish(change.record_points.iter().map(AsRef::as_ref))?;
                    self.changes += records.len() as u64;
                    list.moves.extend(records.into_iter().map(|record| Move { old, new, record }));
                }
                _ => return Err(broken()),
            }
        }
        Ok(())
    }
}

/// Whether an agreement may call an attribute so.
fn is_attribute(name: &str) -> bool {
    let lower = |byte: u8| byte.is_ascii_lowercase();
    name.len() <= 64
        && name.bytes().next().is_some_and(lower)
        && name.bytes().all(|byte| lower(byte) || byte.is_ascii_digit() || byte == b'_')
}

/// Household and attribute values.
type Opened = (Option<String>, Vec<Option<String>>);

/// Reads what a node sealed: a JSON array of household and attribute values, padded with spaces.
fn read_attributes(plain: &[u8], expected: usize) -> Option<Opened> {
    let mut values: Vec<Option<String>> = serde_json::from_slice(plain).ok()?;
    if values.len() != expected + 1 {
        return None;
    }
    let household = values.remove(0);
    Some((household, values))
}
