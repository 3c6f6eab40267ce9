//! Fetching link tables from the custodian: pseudonyms are finished and attributes unsealed here, nowhere else.

use std::collections::HashMap;

use linkage_agreement::{Pseudonym, RunId};
use linkage_cohort::{LinkRow, MatchClass};
use linkage_common::attributes;
use linkage_common::error::{ErrorKind, ServiceError};
use linkage_common::gate::Gate;
use linkage_common::order::reference_party;
use linkage_crypto::pseudonym::{AnalystScalar, PseudonymPoint};
use linkage_crypto::seal::{SealingKey, attributes_info};
use linkage_crypto::storage::StorageKey;
use linkage_proto::v1::{self, registry_client::RegistryClient};
use tonic::transport::Channel;

use crate::tables::{AttributeRow, RunTables, SupersessionRow, Tables};

/// What an analyst needs to read what is meant for it.
pub struct Keys {
    /// Opens the attribute keys.
    pub sealing: SealingKey,
    /// Finishes pseudonyms.
    pub scalar: AnalystScalar,
}

/// Fetches every link table that is ready and not here yet; returns their runs. A table that is refused leaves nothing and
/// does not hold up those after it; the first refusal is returned once all were tried.
pub async fn fetch_new(
    gate: &Gate,
    keys: &Keys,
    tables: &Tables,
    client: &mut RegistryClient<Channel>,
) -> Result<Vec<RunId>, ServiceError> {
    let request = v1::ListLinkTablesRequest { agreement: Some(gate.reference()) };
    let listed = client.list_link_tables(request).await.map_err(|s| ServiceError::from(&s))?.into_inner();
    let (mut fetched, mut refused) = (Vec::new(), None);
    for table in listed.tables {
        let run: RunId = table.run_id.parse().map_err(|_| {
            ServiceError::invalid("le tiers de confiance annonce un traitement sans identifiant valable ; prévenez-le")
        })?;
        if tables.has(&run) {
            continue;
        }
        match fetch(gate, keys, client, &run, &table).await {
            Ok(made) => {
                tables.write(&made)?;
                tracing::info!(run = %run, rows = made.links.len(), "link table received");
                fetched.push(run);
            }
            Err(error) if error.kind == ErrorKind::Unavailable => return Err(error),
            Err(error) => {
                tracing::error!(run = %run, %error, "link table refused; nothing of it is kept");
                refused.get_or_insert(error);
            }
        }
    }
    refused.map_or(Ok(fetched), Err)
}

fn broken() -> ServiceError {
    ServiceError::invalid(
        "la table de liens reçue ne correspond pas à la convention, rien n'en est gardé ; comparez les empreintes avec le tiers de confiance (linkage agreement show)",
    )
}

async fn fetch(
    gate: &Gate,
    keys: &Keys,
    client: &mut RegistryClient<Channel>,
    run: &RunId,
    announced: &v1::LinkTableInfo,
) -> Result<RunTables, ServiceError> {
    let request = v1::LinkTableRequest { agreement: Some(gate.reference()), run_id: run.to_string() };
    let mut stream = client.get_link_table(request).await.map_err(|s| ServiceError::from(&s))?.into_inner();
    let period = announced.period.parse().map_err(|_| broken())?;
    let attribute_names: Vec<String> = gate.agreement().travelling_attributes().into_iter().map(|a| a.name).collect();
    let mut attribute_keys: HashMap<String, StorageKey> = HashMap::new();
    let mut made = RunTables {
        run: run.clone(),
        links: vec![],
        attribute_names,
        attributes: vec![],
        supersessions: vec![],
        report: vec![],
        reference_party: reference_party(&announced.reference_party)?,
    };
    let mut first = true;
    while let Some(chunk) = stream.message().await.map_err(|s| ServiceError::from(&s))? {
        if first {
            for (party, sealed) in &chunk.sealed_keys {
                let info = attributes_info(&gate.agreement_hash(), run.as_str(), party);
                let key = keys.sealing.open(&info, &[], sealed).map_err(|e| ServiceError::invalid(e.to_string()))?;
                let key: &[u8; 32] = key.as_slice().try_into().map_err(|_| broken())?;
                attribute_keys.insert(party.clone(), StorageKey::from_bytes(key));
            }
            made.report = chunk.report.to_vec();
            let old = pseudonyms(&keys.scalar, chunk.supersessions.iter().map(|s| s.old_person_point.as_ref()))?;
            let new = pseudonyms(&keys.scalar, chunk.supersessions.iter().map(|s| s.new_person_point.as_ref()))?;
            made.supersessions = chunk
                .supersessions
                .iter()
                .zip(old.into_iter().zip(new))
                .map(|(s, (old, new))| SupersessionRow { old, new, change: if s.kind == 1 { "merge" } else { "split" } })
                .collect();
            first = false;
        }
        let persons = pseudonyms(&keys.scalar, chunk.rows.iter().map(|r| r.person_point.as_ref()))?;
        let records = pseudonyms(&keys.scalar, chunk.rows.iter().map(|r| r.record_point.as_ref()))?;
        for (row, (person, record)) in chunk.rows.iter().zip(persons.into_iter().zip(records)) {
            let key = attribute_keys.get(&row.party).ok_or_else(broken)?;
            let plain = key.open(attributes::PLACE, &row.sealed_attributes).map_err(|e| ServiceError::invalid(e.to_string()))?;
            let (household, values) = read_attributes(&plain, made.attribute_names.len()).ok_or_else(broken)?;
            made.links.push(LinkRow {
                person,
                party: row.party.parse().map_err(|_| broken())?,
                record,
                period,
                match_class: MatchClass::from_code(row.match_class).ok_or_else(broken)?,
                probability: row.probability,
                run: run.clone(),
            });
            made.attributes.push(AttributeRow { record, household, values });
        }
    }
    // A stream that ends early ends like a whole one.
    if first || made.links.len() as u64 != announced.rows {
        return Err(ServiceError::invalid(
            "la table de liens reçue est incomplète, rien n'en est gardé ; elle sera redemandée, sinon prévenez le tiers de confiance",
        ));
    }
    // By pseudonym: the order in which rows came says nothing any more.
    made.links.sort_by(|a, b| (a.person, &a.party, a.record).cmp(&(b.person, &b.party, b.record)));
    made.attributes.sort_by_key(|a| a.record);
    Ok(made)
}

fn pseudonyms<'p>(scalar: &AnalystScalar, points: impl Iterator<Item = &'p [u8]>) -> Result<Vec<Pseudonym>, ServiceError> {
    let points: Vec<PseudonymPoint> =
        points.map(|p| p.try_into().map(PseudonymPoint).map_err(|_| broken())).collect::<Result<_, _>>()?;
    let made = scalar.pseudonyms(&points).map_err(|e| ServiceError::invalid(e.to_string()))?;
    Ok(made.into_iter().map(Pseudonym).collect())
}

/// Reads what a node sealed: a JSON array of household and attribute values, padded with spaces.
fn read_attributes(plain: &[u8], expected: usize) -> Option<(Option<String>, Vec<Option<String>>)> {
    let mut values: Vec<Option<String>> = serde_json::from_slice(plain).ok()?;
    if values.len() != expected + 1 {
        return None;
    }
    let household = values.remove(0);
    Some((household, values))
}
