//! Under which agreement the records of a run were sealed, and how many uploads a party may have open.
//!
//! A node seals attributes to the analysts of the agreement in force when it sends them, in that agreement's order and bound to
//! its hash. A run keeps what says so: after an amendment its table is handed over as it was sealed, and it takes no record that
//! is sealed otherwise.

use std::collections::{HashMap, HashSet};

use linkage_agreement::{PartyId, RunId};
use linkage_common::error::ServiceError;
use linkage_common::gate::Gate;
use linkage_common::store::{db, id};
use serde::{Deserialize, Serialize};
use sqlx::Row;

use crate::link_tables::ReadyRun;
use crate::store::Store;

/// Most uploads that a party has begun and not committed: a node sends one after the other, and one that was cut off is ended
/// with its run.
const MAX_UNCOMMITTED: i64 = 8;
/// Most runs that take records for which a party has sent some: years of months opened at once.
const MAX_OPEN: i64 = 64;

/// What records of a run are sealed under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The agreement's hash, hexadecimal.
    pub agreement: String,
    /// Its analysts, in its order.
    pub analysts: Vec<PartyId>,
    /// Names of the attributes, in its order.
    pub attributes: Vec<String>,
}

impl Terms {
    /// Those of the agreement in force.
    pub fn of(gate: &Gate) -> Self {
        let agreement = gate.agreement();
        Self {
            agreement: hex::encode(gate.agreement_hash()),
            analysts: agreement.analyst.iter().map(|analyst| analyst.id.clone()).collect(),
            attributes: agreement.travelling_attributes().into_iter().map(|attribute| attribute.name).collect(),
        }
    }
}

impl Store {
    /// Begins a party's upload to a run, or goes on with it. The first one says what the run's records are sealed under.
    ///
    /// # Errors
    /// `Conflict` when that is something else; `Exhausted` when the party has too many uploads open.
    pub async fn begin_upload(&self, run: &RunId, party: &PartyId, terms: &Terms) -> Result<(), ServiceError> {
        let terms = serde_json::to_string(terms).map_err(ServiceError::internal)?;
        let mut tx = self.pool.begin("begin_upload").await.map_err(db)?;
        let row = sqlx::query(
            "SELECT count(*), count(u.run_id) FROM runs
             LEFT JOIN record_uploads u ON u.run_id = runs.run_id AND u.party = $1
             WHERE runs.state = 'collecting' AND runs.run_id <> $2 AND (u.run_id IS NOT NULL OR EXISTS
             (SELECT 1 FROM record_batches b WHERE b.run_id = runs.run_id AND b.party = $1))",
        )
        .bind(party.as_str())
        .bind(run.as_str())
        .fetch_one(&mut *tx)
        .await
        .map_err(db)?;
        let (open, committed): (i64, i64) = (row.get(0), row.get(1));
        if open - committed >= MAX_UNCOMMITTED || open >= MAX_OPEN {
            return Err(ServiceError::exhausted(format!(
                "ce partenaire a déjà des envois ouverts pour {open} traitements, dont {committed} clos (au plus {MAX_UNCOMMITTED} non clos, {MAX_OPEN} en tout) ; achevez-les, ou demandez au coordonnateur d'annuler les traitements abandonnés (linkage run cancel)"
            )));
        }
        sqlx::query("INSERT INTO runs (run_id, state, terms) VALUES ($1, 'collecting', $2) ON CONFLICT DO NOTHING")
            .bind(run.as_str())
            .bind(&terms)
            .execute(&mut *tx)
            .await
            .map_err(db)?;
        let row = sqlx::query("SELECT terms FROM runs WHERE run_id = $1").bind(run.as_str()).fetch_one(&mut *tx).await;
        let held: String = row.map_err(db)?.get(0);
        if !held.is_empty() && held != terms {
            return Err(ServiceError::conflict(
                "ce traitement a commencé sous une autre convention ; ouvrez-en un nouveau sous celle en vigueur",
            ));
        }
        tx.commit().await.map_err(db)
    }

    /// What a run's records are sealed under; `None` for a run of before this was kept.
    ///
    /// # Errors
    /// The database.
    pub async fn terms(&self, run: &RunId) -> Result<Option<Terms>, ServiceError> {
        let row = sqlx::query("SELECT terms FROM runs WHERE run_id = $1 AND terms <> ''")
            .bind(run.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?;
        row.map(|row| serde_json::from_str(row.get(0)).map_err(|_| ServiceError::internal("malformed terms in the store")))
            .transpose()
    }

    /// The runs of [`Store::ready`] whose every party has sealed its attribute key to `analyst`.
    ///
    /// # Errors
    /// The database.
    pub async fn ready_for(&self, analyst: &PartyId) -> Result<Vec<ReadyRun>, ServiceError> {
        let mut ready = self.ready().await?;
        let rows = sqlx::query(
            "SELECT u.run_id, u.party, u.sealed_keys FROM record_uploads u JOIN runs ON runs.run_id = u.run_id
             WHERE runs.state = 'ready'",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(db)?;
        let mut lacking: HashSet<(RunId, PartyId)> = HashSet::new();
        for row in &rows {
            let keys: HashMap<&str, &str> = serde_json::from_str(row.get(2)).map_err(ServiceError::internal)?;
            if !keys.contains_key(analyst.as_str()) {
                lacking.insert((id(row.get(0))?, id(row.get(1))?));
            }
        }
        ready.retain(|run| !run.parties.iter().any(|party| lacking.contains(&(run.run.clone(), party.clone()))));
        Ok(ready)
    }
}
