//! Pairs that their owners have settled: halves as each owner sent them, matched here, told to the broker as handles.
//!
//! Nobody settles a pair alone, unless both records are its own: a half counts once the partner that it names has sent
//! the other under the same dossier, with the same verdict. A pair that two dossiers settle to the contrary is told to
//! nobody. Dates count whole days, the last one included; of two halves the earlier holds.

use std::collections::BTreeMap;

use jiff::civil::Date;
use linkage_agreement::{Handle, PartyId, RecordRef, RunId};
use linkage_common::error::ServiceError;
use linkage_common::store::{Connection, db};
use sqlx::Row;

use crate::store::{Store, bytes16, note_missing_references};

mod service;
#[cfg(test)]
mod tests;

/// Most dispositions held for one party.
pub const MAX_HELD: u64 = 100_000;
/// Length of a dossier's digest in bytes.
pub const DOSSIER_LEN: usize = 32;

/// What owners say of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Verdict {
    /// One person's.
    Confirmed = 1,
    /// Two persons'.
    Refuted = 2,
}

/// One owner's half, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Half {
    /// Keyed digest of the code that the owners agreed on.
    pub dossier: [u8; DOSSIER_LEN],
    /// The other owner.
    pub partner: PartyId,
    /// The owner's record.
    pub reference: RecordRef,
    /// Its second record, when it is its own partner.
    pub second: Option<RecordRef>,
    /// What it says.
    pub verdict: Verdict,
    /// Last day.
    pub expiry: Date,
}

/// What a half has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HalfState {
    /// The other half is not here.
    Waiting,
    /// Both are here and agree.
    InForce,
    /// The other one says the contrary.
    Contradicted,
}

/// The settled pairs of a run: two handles in order, and whether they are one person's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettledPairs {
    /// In order, each once.
    pub pairs: Vec<(Handle, Handle, Verdict)>,
    /// Pairs that two dossiers settle to the contrary; told to nobody.
    pub contradicted: u64,
    /// Halves that had expired and are deleted.
    pub expired: u64,
}

/// State of a half: 0 waiting, 1 in force, 2 contradicted. `$1` is today, `$2` the party.
const STATE: &str = "
    SELECT a.dossier,
           CASE WHEN a.partner = a.party OR b.verdict = a.verdict THEN 1 WHEN b.verdict IS NULL THEN 0 ELSE 2 END
    FROM dispositions a
    LEFT JOIN dispositions b
           ON a.partner <> a.party AND b.dossier = a.dossier AND b.party = a.partner AND b.partner = a.party AND b.expiry >= $1
    WHERE a.expiry >= $1 AND a.party = $2";

/// The settled pairs among a run's handles, with their owners. `$1` is the run, `$2` today.
const PAIRS: &str = "
    WITH settled (party, ref, other_party, other_ref, verdict) AS (
        SELECT a.party, a.ref, b.party, b.ref, a.verdict
        FROM dispositions a
        JOIN dispositions b ON b.dossier = a.dossier AND b.party = a.partner AND b.partner = a.party
        WHERE a.party < b.party AND a.verdict = b.verdict AND a.expiry >= $2 AND b.expiry >= $2
        UNION ALL
        SELECT party, ref, party, second_ref, verdict FROM dispositions WHERE second_ref IS NOT NULL AND expiry >= $2
    )
    SELECT x.handle, y.handle, s.verdict, s.party, s.other_party
    FROM settled s
    JOIN handle_refs a ON a.run_id = $1 AND a.party = s.party AND a.ref = s.ref
    JOIN handle_refs b ON b.run_id = $1 AND b.party = s.other_party AND b.ref = s.other_ref
    JOIN handles x ON x.id = a.record
    JOIN handles y ON y.id = b.record";

impl Store {
    /// Takes over the halves of one party, all or none, each in place of the one held under its dossier.
    ///
    /// # Errors
    /// `Exhausted` when the party would hold more than [`MAX_HELD`].
    pub async fn put_dispositions(&self, party: &PartyId, halves: &[Half], today: Date) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin("put_dispositions").await.map_err(db)?;
        delete_expired(&mut tx, today).await?;
        for half in halves {
            sqlx::query(
                "INSERT INTO dispositions (party, dossier, partner, ref, second_ref, verdict, expiry) VALUES ($1, $2, $3, $4, $5, $6, $7)
                 ON CONFLICT (party, dossier) DO UPDATE SET partner = excluded.partner, ref = excluded.ref,
                 second_ref = excluded.second_ref, verdict = excluded.verdict, expiry = excluded.expiry",
            )
            .bind(party.as_str())
            .bind(&half.dossier[..])
            .bind(half.partner.as_str())
            .bind(&half.reference.0[..])
            .bind(half.second.as_ref().map(|r| r.0.to_vec()))
            .bind(i64::from(half.verdict as u8))
            .bind(half.expiry.to_string())
            .execute(&mut *tx)
            .await
            .map_err(db)?;
        }
        let held: i64 = sqlx::query("SELECT count(*) FROM dispositions WHERE party = $1")
            .bind(party.as_str())
            .fetch_one(&mut *tx)
            .await
            .map_err(db)?
            .get(0);
        if held.unsigned_abs() > MAX_HELD {
            return Err(ServiceError::exhausted(format!(
                "un partenaire détient au plus {MAX_HELD} décisions ; retirez celles qui ne servent plus (linkage node dispositions --withdraw)"
            )));
        }
        tx.commit().await.map_err(db)
    }

    /// Forgets halves of one party; returns how many there were.
    pub async fn withdraw_dispositions(&self, party: &PartyId, dossiers: &[[u8; DOSSIER_LEN]]) -> Result<u64, ServiceError> {
        let mut tx = self.pool.begin("withdraw_dispositions").await.map_err(db)?;
        let mut withdrawn = 0;
        for dossier in dossiers {
            withdrawn += sqlx::query("DELETE FROM dispositions WHERE party = $1 AND dossier = $2")
                .bind(party.as_str())
                .bind(&dossier[..])
                .execute(&mut *tx)
                .await
                .map_err(db)?
                .rows_affected();
        }
        tx.commit().await.map_err(db)?;
        Ok(withdrawn)
    }

    /// What each half of one party has come to, by dossier.
    pub async fn disposition_states(
        &self,
        party: &PartyId,
        today: Date,
    ) -> Result<BTreeMap<[u8; DOSSIER_LEN], HalfState>, ServiceError> {
        let rows = sqlx::query(STATE).bind(today.to_string()).bind(party.as_str()).fetch_all(&self.pool).await.map_err(db)?;
        rows.iter()
            .map(|row| {
                let dossier: Vec<u8> = row.get(0);
                let dossier = dossier.try_into().map_err(|_| ServiceError::internal("malformed dossier in the store"))?;
                let state = match row.get::<i64, _>(1) {
                    0 => HalfState::Waiting,
                    1 => HalfState::InForce,
                    _ => HalfState::Contradicted,
                };
                Ok((dossier, state))
            })
            .collect()
    }

    /// The settled pairs among the handles that `parties` brought to a run; deletes what has expired.
    pub async fn settled_pairs(&self, run: &RunId, parties: &[PartyId], today: Date) -> Result<SettledPairs, ServiceError> {
        let mut tx = self.pool.begin("settled_pairs").await.map_err(db)?;
        let expired = delete_expired(&mut tx, today).await?;
        note_missing_references(&mut tx, run).await?;
        let rows = sqlx::query(PAIRS).bind(run.as_str()).bind(today.to_string()).fetch_all(&mut *tx).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        let mut verdicts: BTreeMap<(Handle, Handle), Option<Verdict>> = BTreeMap::new();
        let takes_part = |row: &linkage_common::store::Row, column| {
            let party: &str = row.get(column);
            parties.iter().any(|known| known.as_str() == party)
        };
        for row in rows.iter().filter(|row| takes_part(row, 3) && takes_part(row, 4)) {
            let (a, b) = (Handle(bytes16(row, 0)?), Handle(bytes16(row, 1)?));
            let verdict = if row.get::<i64, _>(2) == 1 { Verdict::Confirmed } else { Verdict::Refuted };
            let held = verdicts.entry((a.min(b), a.max(b))).or_insert(Some(verdict));
            if *held != Some(verdict) {
                *held = None;
            }
        }
        let contradicted = verdicts.values().filter(|v| v.is_none()).count() as u64;
        let pairs = verdicts.into_iter().filter_map(|((a, b), verdict)| Some((a, b, verdict?))).collect();
        Ok(SettledPairs { pairs, contradicted, expired })
    }
}

async fn delete_expired(connection: &mut Connection, today: Date) -> Result<u64, ServiceError> {
    let done = sqlx::query("DELETE FROM dispositions WHERE expiry < $1")
        .bind(today.to_string())
        .execute(connection)
        .await
        .map_err(db)?;
    Ok(done.rows_affected())
}
