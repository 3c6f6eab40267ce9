//! Withdrawing one record of a party from all that the custodian holds, and putting it back (RGPD, articles 16, 18, 21).
//!
//! One request is one transaction with its receipt: killed anywhere, it has happened and is receipted, or not at all, and
//! repeating it gives the same receipt. A record that is taken out leaves a gap in the link tables of its runs, whose rows
//! keep their ids; a registration under way that read it begins again. Links of other records stay. A person whom only the
//! record held is forgotten with it.

use linkage_agreement::{PartyId, RecordRef, RunId};
use linkage_common::error::ServiceError;
use linkage_common::receipt::{Action, RequestId, Signed};
use linkage_common::store::db;
use sqlx::Row;

use crate::store::{Store, bytes16};

mod service;
mod work;

use work::{Work, find_row, person_of, tables};

/// Most requests that are held for one party.
pub const MAX_REQUESTS: i64 = 10_000;
/// Most withdrawals that one answer to an analyst holds.
const MAX_LISTED: i64 = 100;

/// What is done with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Out of everything, for good.
    Delete = 1,
    /// Out of everything, kept apart.
    SetAside = 2,
    /// What was set aside is put back.
    Restore = 3,
    /// Out of runs under way only.
    Void = 4,
}

impl Kind {
    /// What the custodian's receipt says.
    pub fn action(self) -> Action {
        match self {
            Self::Delete => Action::Delete,
            Self::SetAside => Action::SetAside,
            Self::Restore => Action::Restore,
            Self::Void => Action::Void,
        }
    }
}

/// A party's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// Whose records.
    pub party: PartyId,
    /// Its identifier.
    pub request: RequestId,
    /// What is done.
    pub kind: Kind,
    /// The party's references.
    pub references: Vec<RecordRef>,
    /// Runs to which the broker has forgotten the party's upload.
    pub restarted: Vec<RunId>,
}

/// What a request came to: counts only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// References that the registry knew as the party's, or had set aside.
    pub references: i64,
    /// Rows of link tables.
    pub rows: i64,
    /// Uploads to runs under way that were forgotten, to be sent again without the record.
    pub uploads: i64,
    /// Records taken out of runs under way.
    pub under_way: i64,
    /// Settled pairs forgotten.
    pub dispositions: i64,
    /// Persons whom no other record holds, forgotten.
    pub persons: i64,
}

impl Counts {
    /// By name, for the receipt.
    pub fn named(self) -> [(&'static str, i64); 6] {
        [
            ("references", self.references),
            ("link_rows", self.rows),
            ("uploads_forgotten", self.uploads),
            ("records_under_way", self.under_way),
            ("dispositions", self.dispositions),
            ("persons_forgotten", self.persons),
        ]
    }
}

/// A request that waits for an analyst's receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its identifier.
    pub request: RequestId,
    /// Records that the analyst may hold.
    pub references: Vec<RecordRef>,
    /// Whether they may be held again.
    pub restored: bool,
    /// Runs whose tables hold them again.
    pub runs: Vec<String>,
}

impl Store {
    /// Does what a party asks for with its records. `sign` makes the receipt of the counts; a request that was done before
    /// gets the receipt of then.
    ///
    /// # Errors
    /// `Conflict` for a request identifier that was used for something else; `Exhausted` over [`MAX_REQUESTS`].
    pub async fn withdraw(
        &self,
        asked: &Withdrawal,
        sign: impl FnOnce(Counts) -> Result<Signed, ServiceError>,
    ) -> Result<Signed, ServiceError> {
        let mut tx = self.pool.begin("withdraw").await.map_err(db)?;
        let known = sqlx::query("SELECT kind, statement, signature FROM withdrawals WHERE party = $1 AND request = $2")
            .bind(asked.party.as_str())
            .bind(&asked.request.0[..])
            .fetch_optional(&mut *tx)
            .await
            .map_err(db)?;
        if let Some(row) = known {
            if row.get::<i64, _>(0) != asked.kind as i64 {
                return Err(ServiceError::conflict(
                    "cet identifiant de demande a déjà servi pour une autre demande ; vérifiez la version du logiciel du nœud",
                ));
            }
            return Ok(Signed { statement: row.get(1), signature: row.get(2) });
        }
        let held: i64 = sqlx::query("SELECT count(*) FROM withdrawals WHERE party = $1")
            .bind(asked.party.as_str())
            .fetch_one(&mut *tx)
            .await
            .map_err(db)?
            .get(0);
        if held >= MAX_REQUESTS {
            return Err(ServiceError::exhausted(format!(
                "le tiers de confiance tient au plus {MAX_REQUESTS} demandes d'un partenaire ; prévenez son opérateur"
            )));
        }
        let mut work =
            Work { tx: &mut tx, party: asked.party.as_str(), counts: Counts::default(), known: Vec::new(), runs: Vec::new() };
        work.forget_uploads(&asked.restarted).await?;
        for reference in &asked.references {
            work.out_of_runs_under_way(reference).await?;
            match asked.kind {
                Kind::Delete => work.delete(reference).await?,
                Kind::SetAside => work.set_aside(reference).await?,
                Kind::Restore => work.restore(reference).await?,
                Kind::Void => {}
            }
        }
        let Work { counts, known, runs, .. } = work;
        let signed = sign(counts)?;
        sqlx::query(
            "INSERT INTO withdrawals (number, party, request, kind, runs, statement, signature)
             VALUES ((SELECT coalesce(max(number), 0) + 1 FROM withdrawals), $1, $2, $3, $4, $5, $6)",
        )
        .bind(asked.party.as_str())
        .bind(&asked.request.0[..])
        .bind(asked.kind as i64)
        .bind(serde_json::to_string(&runs).map_err(ServiceError::internal)?)
        .bind(&signed.statement[..])
        .bind(&signed.signature[..])
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        // Nobody is told of a reference that is not this party's: an analyst would take out another's record.
        for reference in &known {
            sqlx::query("INSERT INTO withdrawn_refs (party, request, ref) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                .bind(asked.party.as_str())
                .bind(&asked.request.0[..])
                .bind(&reference.0[..])
                .execute(&mut *tx)
                .await
                .map_err(db)?;
        }
        tx.commit().await.map_err(db)?;
        Ok(signed)
    }

    /// The requests that wait for an analyst's receipt, oldest first.
    pub async fn waiting_for(&self, analyst: &PartyId) -> Result<Vec<Waiting>, ServiceError> {
        let rows = sqlx::query(
            "SELECT w.party, w.request, w.kind, w.runs FROM withdrawals w WHERE w.kind IN (1, 2, 3) AND NOT EXISTS
             (SELECT 1 FROM withdrawal_receipts r WHERE r.party = w.party AND r.request = w.request AND r.analyst = $1)
             ORDER BY w.number LIMIT $2",
        )
        .bind(analyst.as_str())
        .bind(MAX_LISTED)
        .fetch_all(&self.pool)
        .await
        .map_err(db)?;
        let mut waiting = Vec::with_capacity(rows.len());
        for row in &rows {
            let request: Vec<u8> = row.get(1);
            let references = sqlx::query("SELECT ref FROM withdrawn_refs WHERE party = $1 AND request = $2 ORDER BY ref")
                .bind(row.get::<String, _>(0))
                .bind(&request[..])
                .fetch_all(&self.pool)
                .await
                .map_err(db)?;
            waiting.push(Waiting {
                request: RequestId::from_slice(&request)?,
                references: references.iter().map(|row| Ok(RecordRef(bytes16(row, 0)?))).collect::<Result<_, ServiceError>>()?,
                restored: row.get::<i64, _>(2) == Kind::Restore as i64,
                runs: serde_json::from_str(&row.get::<String, _>(3)).map_err(ServiceError::internal)?,
            });
        }
        Ok(waiting)
    }

    /// Whether a request waits for analysts, and whether they have to put its records back.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn withdrawal_restores(&self, request: RequestId) -> Result<bool, ServiceError> {
        let row = sqlx::query("SELECT kind FROM withdrawals WHERE request = $1 AND kind IN (1, 2, 3)")
            .bind(&request.0[..])
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?;
        let kind = row.ok_or_else(|| {
            ServiceError::not_found("aucune demande de cet identifiant n'attend d'accusé ; relisez la liste des retraits")
        })?;
        Ok(kind.get::<i64, _>(0) == Kind::Restore as i64)
    }

    /// Keeps an analyst's receipt, verified; once those of all `analysts` are here, the request's references are forgotten.
    pub async fn keep_receipt(
        &self,
        request: RequestId,
        analyst: &PartyId,
        signed: &Signed,
        analysts: &[PartyId],
    ) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin("keep_receipt").await.map_err(db)?;
        sqlx::query(
            "INSERT INTO withdrawal_receipts (party, request, analyst, statement, signature)
             SELECT party, request, $2, $3, $4 FROM withdrawals WHERE request = $1 ON CONFLICT DO NOTHING",
        )
        .bind(&request.0[..])
        .bind(analyst.as_str())
        .bind(&signed.statement[..])
        .bind(&signed.signature[..])
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        let rows = sqlx::query("SELECT analyst FROM withdrawal_receipts WHERE request = $1")
            .bind(&request.0[..])
            .fetch_all(&mut *tx)
            .await
            .map_err(db)?;
        let here: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        if analysts.iter().all(|analyst| here.iter().any(|known| known == analyst.as_str())) {
            sqlx::query("DELETE FROM withdrawn_refs WHERE request = $1")
                .bind(&request.0[..])
                .execute(&mut *tx)
                .await
                .map_err(db)?;
        }
        tx.commit().await.map_err(db)
    }

    /// The analysts' receipts of one of a party's requests.
    pub async fn receipts(&self, party: &PartyId, request: RequestId) -> Result<Vec<(String, Signed)>, ServiceError> {
        let rows = sqlx::query(
            "SELECT analyst, statement, signature FROM withdrawal_receipts WHERE party = $1 AND request = $2 ORDER BY analyst",
        )
        .bind(party.as_str())
        .bind(&request.0[..])
        .fetch_all(&self.pool)
        .await
        .map_err(db)?;
        Ok(rows.iter().map(|row| (row.get(0), Signed { statement: row.get(1), signature: row.get(2) })).collect())
    }

    /// Whether the registry knows references as the party's, whether any is set aside, and the runs whose tables hold them.
    pub async fn describe(
        &self,
        party: &PartyId,
        references: &[RecordRef],
    ) -> Result<(bool, bool, Vec<(String, String)>), ServiceError> {
        let mut tx = self.pool.snapshot().await.map_err(db)?;
        let (mut registered, mut set_aside, mut runs) = (false, false, Vec::new());
        for reference in references {
            registered |= person_of(&mut tx, "SELECT person FROM refs WHERE ref = $1 AND party = $2", reference, party.as_str())
                .await?
                .is_some();
            set_aside |=
                person_of(&mut tx, "SELECT person FROM set_aside_refs WHERE ref = $1 AND party = $2", reference, party.as_str())
                    .await?
                    .is_some();
            for table in tables(&mut tx).await? {
                if find_row(&mut tx, &table, reference, party.as_str()).await?.is_some() {
                    let period: String = sqlx::query("SELECT period FROM runs WHERE run_id = $1")
                        .bind(&table.0)
                        .fetch_one(&mut *tx)
                        .await
                        .map_err(db)?
                        .get(0);
                    runs.push((table.0, period));
                }
            }
        }
        Ok((registered, set_aside, runs))
    }
}
