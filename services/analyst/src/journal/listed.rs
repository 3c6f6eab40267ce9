//! Publications without their documents: what lists show.
//!
//! A document may be large and there are as many as six years' budgets allow, so a list reads columns and entries only. What
//! the columns say is held against the documents by the journal's check, and whenever one publication is read whole.

use std::collections::BTreeMap;

use linkage_agreement::PartyId;
use linkage_common::error::ServiceError;
use linkage_common::store::{Pool, Row as StoreRow, db, id};
use sqlx::Row;

use super::{Decision, State, fingerprint_of, verdict};
use crate::publish::{Document, Fingerprint, PublicationId, Release};

/// One publication without its document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Identifier.
    pub id: PublicationId,
    /// State.
    pub state: State,
    /// Title.
    pub title: String,
    /// Why.
    pub justification: String,
    /// Who put it forward.
    pub by: String,
    /// When, seconds since 1970.
    pub at: i64,
    /// When it was published.
    pub published_at: Option<i64>,
    /// Parties whose approval it needs.
    pub producers: Vec<PartyId>,
    /// What they said, in the order in which they did.
    pub decisions: Vec<Decision>,
    /// Fingerprint of its document.
    pub fingerprint: Fingerprint,
    /// What it was computed from.
    pub release: Release,
}

impl Listed {
    /// Producers that have said nothing yet.
    pub fn awaited(&self) -> Vec<&PartyId> {
        self.producers.iter().filter(|p| self.decisions.iter().all(|d| d.party != **p)).collect()
    }
}

/// What is read of the table of publications.
pub(super) struct Columns {
    pub id: PublicationId,
    pub title: String,
    pub producers: String,
    pub fingerprint: Vec<u8>,
    pub release: Release,
}

impl Columns {
    /// The publication with its entries, in order: publication, kind, who, party, at, reason, signature.
    pub(super) fn with(self, entries: &[&StoreRow]) -> Result<Listed, ServiceError> {
        let of_kind = |kind: &str| entries.iter().find(|e| e.get::<&str, _>(1) == kind);
        let proposed = of_kind("proposed").ok_or_else(|| ServiceError::internal("a publication without a proposal"))?;
        let producers: Vec<PartyId> =
            serde_json::from_str(&self.producers).map_err(|_| ServiceError::internal("malformed producers in the journal"))?;
        let decision = |row: &&StoreRow| -> Option<Result<Decision, ServiceError>> {
            let party: &str = row.get::<Option<&str>, _>(3)?;
            Some(id(party).map(|party| Decision {
                party,
                verdict: verdict(row.get(1), row.get(5)),
                at: row.get(4),
                signature: row.get::<Option<Vec<u8>>, _>(6).unwrap_or_default(),
            }))
        };
        let decisions: Vec<Decision> = entries.iter().filter_map(decision).collect::<Result<_, _>>()?;
        let approved = |party: &PartyId| decisions.iter().any(|d| d.party == *party && d.verdict.reason().is_empty());
        // An entry alone publishes nothing: every approval must be there.
        let published = of_kind("published").filter(|_| producers.iter().all(approved));
        let state = match (of_kind("rejected"), published) {
            (Some(_), _) => State::Rejected,
            (None, Some(_)) => State::Published,
            (None, None) => State::Proposed,
        };
        Ok(Listed {
            id: self.id,
            state,
            title: self.title,
            justification: proposed.get(5),
            by: proposed.get(2),
            at: proposed.get(4),
            published_at: published.filter(|_| state == State::Published).map(|e| e.get(4)),
            producers,
            decisions,
            fingerprint: fingerprint_of(&self.fingerprint)?,
            release: self.release,
        })
    }
}

/// See [`super::Journal::list`].
pub(super) async fn list(pool: &Pool, skip: u32, limit: u32) -> Result<Vec<Listed>, ServiceError> {
    let mut tx = pool.snapshot().await.map_err(db)?;
    let rows = sqlx::query(
        "SELECT p.id, p.title, p.producers, p.fingerprint, p.source, e.number FROM publications p
         JOIN entries e ON e.publication = p.id AND e.kind = 'proposed' ORDER BY e.number DESC LIMIT $1 OFFSET $2",
    )
    .bind(i64::from(limit))
    .bind(i64::from(skip))
    .fetch_all(&mut *tx)
    .await
    .map_err(db)?;
    // Entries of a publication follow its proposal.
    let Some(first) = rows.last().map(|row| row.get::<i64, _>(5)) else { return Ok(Vec::new()) };
    let entries = sqlx::query(
        "SELECT publication, kind, who, party, at, reason, signature FROM entries WHERE number >= $1 ORDER BY number",
    )
    .bind(first)
    .fetch_all(&mut *tx)
    .await
    .map_err(db)?;
    let mut of: BTreeMap<&str, Vec<&StoreRow>> = BTreeMap::new();
    for entry in &entries {
        of.entry(entry.get(0)).or_default().push(entry);
    }
    let mut all = Vec::with_capacity(rows.len());
    for row in &rows {
        let name: &str = row.get(0);
        let release = match row.get::<Option<&str>, _>(4) {
            Some(source) => {
                serde_json::from_str(source).map_err(|_| ServiceError::internal("malformed source in the journal"))?
            }
            // Put forward before lists had the column.
            None => {
                let document: Vec<u8> = sqlx::query_scalar("SELECT document FROM publications WHERE id = $1")
                    .bind(name)
                    .fetch_one(&mut *tx)
                    .await
                    .map_err(db)?;
                Document::from_bytes(&document).map_err(|_| ServiceError::internal("malformed document in the journal"))?.release
            }
        };
        let columns = Columns { id: id(name)?, title: row.get(1), producers: row.get(2), fingerprint: row.get(3), release };
        all.push(columns.with(of.get(name).map_or(&[], Vec::as_slice))?);
    }
    Ok(all)
}
