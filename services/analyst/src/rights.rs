//! What persons have asked for, at the analyst: records that the custodian names are taken out of tables and study, or
//! fetched again once a restriction is lifted; each time with a signed receipt.
//!
//! The custodian names a record by its half-made pseudonym, and not why. What is found is counted and written into the
//! journal before anything changes, with the number of publications that rest on it: those stay as they are, and the next
//! edition of their tables is computed without the record. A request is done with once the custodian has taken the receipt;
//! whatever interrupts it, it is followed again from the start, which changes nothing twice.

use std::collections::{BTreeMap, BTreeSet};

use linkage_agreement::{PartyId, Pseudonym, RunId};
use linkage_common::error::ServiceError;
use linkage_common::gate::Gate;
use linkage_common::receipt::{Action, Receipt, RequestId, Signed};
use linkage_common::signer::Signer;
use linkage_common::store::db;
use linkage_common::tls::Channel;
use linkage_crypto::pseudonym::PseudonymPoint;
use linkage_proto::v1::{self, registry_client::RegistryClient, rights_client::RightsClient};
use sqlx::Row;

use crate::fetch::{Holdings, Keys, fetch_new};
use crate::journal::{Journal, State};

/// Follows the custodian's list.
pub struct Follower {
    /// The custodian.
    pub client: RightsClient<Channel>,
    /// Signs receipts.
    pub signer: Signer,
    /// Where it is entered.
    pub journal: Journal,
}

/// What a request came to here: counts only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    /// Rows of link tables.
    table_rows: i64,
    /// Runs whose tables were changed, or fetched again.
    runs: i64,
    /// Rows of the study.
    study_rows: i64,
    /// Months of the study.
    months: i64,
    /// Publications that rest on the record.
    publications: i64,
}

impl Counts {
    fn named(self) -> [(&'static str, i64); 5] {
        [
            ("link_rows", self.table_rows),
            ("runs", self.runs),
            ("study_rows", self.study_rows),
            ("months", self.months),
            ("publications", self.publications),
        ]
    }
}

impl Follower {
    /// Follows every request that waits for this analyst's receipt, oldest first.
    ///
    /// # Errors
    /// The custodian is away, or the disk.
    pub async fn follow(
        &mut self,
        gate: &Gate,
        keys: &Keys,
        holdings: &Holdings,
        registry: &mut RegistryClient<Channel>,
    ) -> Result<(), ServiceError> {
        let asked = v1::ListWithdrawalsRequest { agreement: Some(gate.reference()) };
        let waiting = self.client.list_withdrawals(asked).await.map_err(|s| ServiceError::from(&s))?.into_inner().withdrawals;
        if waiting.is_empty() {
            return Ok(());
        }
        for withdrawal in waiting {
            let request = RequestId::from_slice(&withdrawal.request_id)?;
            let (action, counts) = if withdrawal.restored {
                (Action::Restore, restore(gate, keys, holdings, registry, &withdrawal.runs).await?)
            } else {
                let records = pseudonyms(keys, &withdrawal)?;
                (Action::Withdraw, take_out(holdings.clone(), &self.journal, request, records, Under::now(gate)).await?)
            };
            let signed = Receipt::sign(&self.signer, &gate.agreement_hash(), request, action, gate.now(), counts.named())?;
            self.journal.keep_withdrawal_receipt(request, gate.now(), counts, signed.clone()).await?;
            let sent = v1::SignedReceipt { statement: signed.statement.into(), signature: signed.signature.into() };
            let put = v1::PutReceiptRequest {
                agreement: Some(gate.reference()),
                request_id: withdrawal.request_id,
                receipt: Some(sent),
            };
            self.client.put_receipt(put).await.map_err(|s| ServiceError::from(&s))?;
            tracing::info!(request = request.to_hex(), restored = withdrawal.restored, "request of a person followed");
        }
        Ok(())
    }
}

/// The records that a request names.
fn pseudonyms(keys: &Keys, withdrawal: &v1::Withdrawal) -> Result<Vec<Pseudonym>, ServiceError> {
    let malformed = || ServiceError::invalid("le tiers de confiance nomme une fiche par un point illisible ; prévenez-le");
    let point = |bytes: &[u8]| bytes.try_into().map(PseudonymPoint).map_err(|_| malformed());
    let points: Vec<PseudonymPoint> = withdrawal.record_points.iter().map(|bytes| point(bytes)).collect::<Result<_, _>>()?;
    let made = keys.scalar.pseudonyms(&points).map_err(|e| ServiceError::invalid(e.to_string()))?;
    Ok(made.into_iter().map(Pseudonym).collect())
}

/// Takes records out of all tables and the study.
async fn take_out(
    holdings: Holdings,
    journal: &Journal,
    request: RequestId,
    records: Vec<Pseudonym>,
    under: Under,
) -> Result<Counts, ServiceError> {
    let (found, held) = (records.clone(), holdings.clone());
    let looked = tokio::task::spawn_blocking(move || look(&held, &found));
    let Looked { mut counts, runs, parties } = looked.await.map_err(ServiceError::internal)??;
    counts.publications = journal.resting_on(runs, parties, under.agreement).await?;
    // Counted before anything is gone: a process that is killed in between finds these counts again.
    let counts = journal.enter_withdrawal(request, under.at, counts).await?;
    let holder = holdings;
    let done = tokio::task::spawn_blocking(move || -> Result<(), ServiceError> {
        for (run, ..) in holder.tables.find_records(&records)? {
            holder.tables.take_out(&run, &records)?;
        }
        if let Err(error) = holder.study.take_out(&records) {
            // Made again from tables that lack the record, or fetched from the custodian, who lacks it too.
            tracing::warn!(%error, "the study is made again");
            if holder.row_level {
                holder.study.rebuild(&holder.tables)?;
            } else {
                holder.study.clear()?;
            }
            holder.study.count_request()?;
        }
        Ok(())
    });
    done.await.map_err(ServiceError::internal)??;
    Ok(counts)
}

/// Under which agreement, and when.
struct Under {
    agreement: String,
    at: i64,
}

impl Under {
    fn now(gate: &Gate) -> Self {
        Self { agreement: hex::encode(gate.agreement_hash()), at: gate.now() }
    }
}

/// What is held of records.
struct Looked {
    counts: Counts,
    /// The runs it is of.
    runs: BTreeSet<RunId>,
    /// The parties whose rows they are, where rows may be held.
    parties: BTreeSet<PartyId>,
}

fn look(holdings: &Holdings, records: &[Pseudonym]) -> Result<Looked, ServiceError> {
    let tables = holdings.tables.find_records(records)?;
    // A study that is damaged is made again below.
    let study = holdings.study.find_records(records).unwrap_or_default();
    let counts = Counts {
        table_rows: tables.iter().map(|(.., rows)| *rows as i64).sum(),
        runs: tables.len() as i64,
        study_rows: study.rows as i64,
        months: study.months as i64,
        publications: 0,
    };
    let parties = tables.iter().flat_map(|(_, parties, _)| parties.iter().cloned()).collect();
    let runs = tables.into_iter().map(|(run, ..)| run).chain(study.runs).collect();
    Ok(Looked { counts, runs, parties })
}

/// Fetches the runs again that hold a restored record.
async fn restore(
    gate: &Gate,
    keys: &Keys,
    holdings: &Holdings,
    registry: &mut RegistryClient<Channel>,
    runs: &[String],
) -> Result<Counts, ServiceError> {
    let runs: Vec<RunId> = runs.iter().filter_map(|run| run.parse().ok()).collect();
    if runs.is_empty() {
        return Ok(Counts::default());
    }
    // One that is not here was never fetched, or forgotten by an attempt that was interrupted: it comes by itself.
    for run in runs.iter().filter(|run| holdings.tables.has(run)) {
        holdings.tables.forget(run)?;
    }
    if !holdings.row_level {
        holdings.study.clear()?;
    }
    fetch_new(gate, keys, holdings, registry).await?;
    if holdings.row_level {
        let holder = holdings.clone();
        let made = tokio::task::spawn_blocking(move || holder.study.rebuild(&holder.tables));
        made.await.map_err(ServiceError::internal)??;
    }
    holdings.study.count_request()?;
    Ok(Counts { runs: runs.len() as i64, ..Counts::default() })
}

impl Journal {
    /// How many publications that were not rejected hold figures of one of `runs` and of one of `parties`; of all parties
    /// where a publication, or the record, names none.
    async fn resting_on(
        &self,
        runs: BTreeSet<RunId>,
        parties: BTreeSet<PartyId>,
        agreement: String,
    ) -> Result<i64, ServiceError> {
        if runs.is_empty() {
            return Ok(0);
        }
        let mut resting = 0;
        for publication in self.list(0, u32::MAX).await? {
            let producers = &publication.producers;
            let of_party = parties.is_empty() || producers.is_empty() || producers.iter().any(|p| parties.contains(p));
            let of_run = publication.release.runs.iter().any(|run| runs.contains(run));
            if publication.state != State::Rejected && of_party && of_run {
                let document = self.get(&publication.id).await?.document()?;
                resting += i64::from(document.agreement == agreement);
            }
        }
        Ok(resting)
    }

    /// Enters what is held of a request's records; the counts entered first are those that hold.
    async fn enter_withdrawal(&self, request: RequestId, at: i64, counts: Counts) -> Result<Counts, ServiceError> {
        let text =
            serde_json::to_string(&counts.named().into_iter().collect::<BTreeMap<_, _>>()).map_err(ServiceError::internal)?;
        sqlx::query("INSERT INTO withdrawals (request, entered_at, counts) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(request.to_hex())
            .bind(at)
            .bind(text)
            .execute(&self.pool)
            .await
            .map_err(db)?;
        let row = sqlx::query("SELECT counts FROM withdrawals WHERE request = $1")
            .bind(request.to_hex())
            .fetch_one(&self.pool)
            .await
            .map_err(db)?;
        let held = counts_of(&row.get::<String, _>(0))?;
        let of = |name: &str| held.get(name).copied().unwrap_or_default();
        Ok(Counts {
            table_rows: of("link_rows"),
            runs: of("runs"),
            study_rows: of("study_rows"),
            months: of("months"),
            publications: of("publications"),
        })
    }

    /// Enters the receipt of a request.
    async fn keep_withdrawal_receipt(
        &self,
        request: RequestId,
        at: i64,
        counts: Counts,
        signed: Signed,
    ) -> Result<(), ServiceError> {
        self.enter_withdrawal(request, at, counts).await?;
        sqlx::query("UPDATE withdrawals SET statement = $1, signature = $2 WHERE request = $3")
            .bind(signed.statement)
            .bind(signed.signature)
            .bind(request.to_hex())
            .execute(&self.pool)
            .await
            .map_err(db)
            .map(drop)
    }

    /// Requests of persons that were followed: when (seconds since 1970), and how many publications rest on their records.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn withdrawals(&self) -> Result<Vec<(i64, i64)>, ServiceError> {
        let rows = sqlx::query("SELECT entered_at, counts FROM withdrawals ORDER BY entered_at, request")
            .fetch_all(&self.pool)
            .await
            .map_err(db)?;
        let entry = |row: &linkage_common::store::Row| {
            let counts = counts_of(&row.get::<String, _>(1))?;
            Ok((row.get(0), counts.get("publications").copied().unwrap_or_default()))
        };
        rows.iter().map(entry).collect()
    }
}

fn counts_of(text: &str) -> Result<BTreeMap<String, i64>, ServiceError> {
    serde_json::from_str(text).map_err(|_| ServiceError::internal("malformed counts in the journal"))
}
