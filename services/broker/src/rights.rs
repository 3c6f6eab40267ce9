//! A party withdraws one of its records (RGPD, articles 16, 18, 21): its uploads to runs that still collect are forgotten.
//!
//! The broker is not told which record: handles are new in each run. The node sends the upload again without it. Of a run
//! that is being linked the custodian drops the record, and its encodings go with the run's; of a run that is held for
//! increments the party's next increment takes it out. Rows and receipt are one transaction, the batches' files go after it:
//! a request that is repeated ends what was begun and gets the same receipt.

use linkage_agreement::{PartyId, RunId};
use linkage_common::blob::BlobPrefix;
use linkage_common::error::ServiceError;
use linkage_common::receipt::{Action, Receipt, RequestId, Signed};
use linkage_common::store::{db, id};
use linkage_proto::v1::{self, run_rights_server};
use sqlx::Row;
use tonic::{Request, Response, Status};

use crate::service::Broker;
use crate::store::Store;

/// Most requests that are held for one party.
const MAX_REQUESTS: i64 = 10_000;

/// What a request came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithdrawnUploads {
    /// The receipt.
    pub signed: Signed,
    /// Runs to which the party's upload was forgotten.
    pub restarted: Vec<RunId>,
    /// Whether files of those uploads may be left.
    pub files_left: bool,
}

/// What the receipt says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Uploads forgotten.
    pub uploads: i64,
    /// Records in them, decoys among them.
    pub records: i64,
    /// Runs being linked that the party has sent to.
    pub under_way: i64,
    /// Runs held for increments that the party has sent to.
    pub held: i64,
    /// Until when they are held at the latest, in seconds since 1970; 0 without any.
    pub held_until: i64,
}

impl Store {
    /// Forgets a party's uploads to runs that still collect. `sign` makes the receipt of the counts; a request that was done
    /// before gets the receipt of then.
    ///
    /// # Errors
    /// `Exhausted` over [`MAX_REQUESTS`].
    pub async fn withdraw_uploads(
        &self,
        party: &PartyId,
        request: RequestId,
        sign: impl FnOnce(Counts) -> Result<Signed, ServiceError>,
    ) -> Result<WithdrawnUploads, ServiceError> {
        let mut tx = self.pool.begin("withdraw_uploads").await.map_err(db)?;
        let known =
            sqlx::query("SELECT statement, signature, restarted, files_left FROM withdrawals WHERE party = $1 AND request = $2")
                .bind(party.as_str())
                .bind(&request.0[..])
                .fetch_optional(&mut *tx)
                .await
                .map_err(db)?;
        if let Some(row) = known {
            return Ok(WithdrawnUploads {
                signed: Signed { statement: row.get(0), signature: row.get(1) },
                restarted: serde_json::from_str(&row.get::<String, _>(2)).map_err(ServiceError::internal)?,
                files_left: row.get::<i64, _>(3) != 0,
            });
        }
        let held: i64 = sqlx::query("SELECT count(*) FROM withdrawals WHERE party = $1")
            .bind(party.as_str())
            .fetch_one(&mut *tx)
            .await
            .map_err(db)?
            .get(0);
        if held >= MAX_REQUESTS {
            return Err(ServiceError::exhausted(format!(
                "le courtier tient au plus {MAX_REQUESTS} demandes d'un partenaire ; prévenez son opérateur"
            )));
        }
        let mut counts = Counts::default();
        let mut restarted: Vec<RunId> = Vec::new();
        let runs = sqlx::query("SELECT run_id, parties, state, held_until FROM runs").fetch_all(&mut *tx).await.map_err(db)?;
        for run in &runs {
            let parties: Vec<PartyId> = serde_json::from_str(&run.get::<String, _>(1)).map_err(ServiceError::internal)?;
            if !parties.contains(party) {
                continue;
            }
            let name: RunId = id(&run.get::<String, _>(0))?;
            let held_until: Option<i64> = run.get(3);
            match run.get::<String, _>(2).as_str() {
                "collecting" => {
                    let records: i64 =
                        sqlx::query("SELECT coalesce(sum(records), 0) FROM batches WHERE run_id = $1 AND party = $2")
                            .bind(name.as_str())
                            .bind(party.as_str())
                            .fetch_one(&mut *tx)
                            .await
                            .map_err(db)?
                            .get(0);
                    for forget in [
                        "DELETE FROM uploads WHERE run_id = $1 AND party = $2",
                        "DELETE FROM batches WHERE run_id = $1 AND party = $2",
                    ] {
                        sqlx::query(forget).bind(name.as_str()).bind(party.as_str()).execute(&mut *tx).await.map_err(db)?;
                    }
                    counts.uploads += i64::from(records > 0);
                    counts.records += records;
                    restarted.push(name);
                }
                "linking" | "delivering" => counts.under_way += 1,
                _ => {
                    counts.held += i64::from(held_until.is_some());
                    counts.held_until = counts.held_until.max(held_until.unwrap_or_default());
                }
            }
        }
        let signed = sign(counts)?;
        let files_left = !restarted.is_empty();
        sqlx::query(
            "INSERT INTO withdrawals (party, request, statement, signature, restarted, files_left) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(party.as_str())
        .bind(&request.0[..])
        .bind(&signed.statement[..])
        .bind(&signed.signature[..])
        .bind(serde_json::to_string(&restarted).map_err(ServiceError::internal)?)
        .bind(i64::from(files_left))
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        tx.commit().await.map_err(db)?;
        Ok(WithdrawnUploads { signed, restarted, files_left })
    }

    /// Notes that no file of a request's uploads is left.
    pub async fn files_gone(&self, party: &PartyId, request: RequestId) -> Result<(), ServiceError> {
        sqlx::query("UPDATE withdrawals SET files_left = 0 WHERE party = $1 AND request = $2")
            .bind(party.as_str())
            .bind(&request.0[..])
            .execute(&self.pool)
            .await
            .map_err(db)
            .map(drop)
    }
}

#[tonic::async_trait]
impl run_rights_server::RunRights for Broker {
    async fn withdraw_uploads(
        &self,
        request: Request<v1::WithdrawUploadsRequest>,
    ) -> Result<Response<v1::WithdrawUploadsResponse>, Status> {
        let role = self.gate.peer(&request)?;
        let party = self.gate.party_deleting(&role, request.get_ref().agreement.as_ref())?;
        let id = RequestId::from_slice(&request.get_ref().request_id)?;
        let (hash, now) = (self.gate.agreement_hash(), self.gate.now());
        let sign = |counts: Counts| {
            let named = [
                ("uploads_forgotten", counts.uploads),
                ("records_forgotten", counts.records),
                ("runs_under_way", counts.under_way),
                ("runs_held", counts.held),
                ("held_until", counts.held_until),
            ];
            Receipt::sign(&self.signer, &hash, id, Action::Withdraw, now, named)
        };
        let done = self.store.withdraw_uploads(&party, id, sign).await?;
        if done.files_left {
            // The node sends nothing to these runs before it has the receipt.
            for run in &done.restarted {
                self.blobs.delete_prefix(&BlobPrefix::Party(run.clone(), party.clone())).await.map_err(ServiceError::from)?;
            }
            self.store.files_gone(&party, id).await?;
        }
        linkage_common::store::scrub(&self.store.pool).await;
        tracing::info!(party = %party, request = id.to_hex(), restarted = done.restarted.len(), "uploads withdrawn");
        let receipt = v1::SignedReceipt { statement: done.signed.statement.into(), signature: done.signed.signature.into() };
        let restarted = done.restarted.iter().map(ToString::to_string).collect();
        Ok(Response::new(v1::WithdrawUploadsResponse { receipt: Some(receipt), restarted }))
    }
}
