//! How many evaluations a party may ask for: declared, charged once for each distinct request.

use linkage_agreement::{PartyId, Period};
use linkage_common::error::ServiceError;
use linkage_common::store::db;
use sqlx::Row;

use crate::store::Store;

impl Store {
    /// Raises a party's declared records for a period (never lowers them); returns records declared and evaluations used.
    pub async fn declare(&self, party: &PartyId, period: Period, records: u64) -> Result<(u64, u64), ServiceError> {
        let row = sqlx::query(
            "INSERT INTO budgets (party, period, declared) VALUES ($1, $2, $3)
             ON CONFLICT (party, period) DO UPDATE SET declared =
             CASE WHEN excluded.declared > budgets.declared THEN excluded.declared ELSE budgets.declared END
             RETURNING declared, used",
        )
        .bind(party.as_str())
        .bind(period.to_string())
        .bind(records as i64)
        .fetch_one(&self.pool)
        .await
        .map_err(db)?;
        Ok((row.get::<i64, _>(0) as u64, row.get::<i64, _>(1) as u64))
    }

    /// Whether [`Self::charge`] would pass now; charges nothing.
    pub async fn affords(
        &self,
        party: &PartyId,
        period: Period,
        digest: &[u8],
        elements: u64,
        budget_of: impl Fn(u64) -> u64,
    ) -> Result<(), ServiceError> {
        self.charge_or_not(party, period, digest, elements, budget_of, false).await
    }

    /// Charges a batch of `elements` evaluations, once for each distinct request. `budget_of` turns declared records into
    /// evaluations. `Exhausted` when the budget does not hold it, `Refused` when nothing was declared.
    pub async fn charge(
        &self,
        party: &PartyId,
        period: Period,
        digest: &[u8],
        elements: u64,
        budget_of: impl Fn(u64) -> u64,
    ) -> Result<(), ServiceError> {
        self.charge_or_not(party, period, digest, elements, budget_of, true).await
    }

    async fn charge_or_not(
        &self,
        party: &PartyId,
        period: Period,
        digest: &[u8],
        elements: u64,
        budget_of: impl Fn(u64) -> u64,
        keep: bool,
    ) -> Result<(), ServiceError> {
        let mut tx = self.pool.begin("charge_or_not").await.map_err(db)?;
        let row = sqlx::query("SELECT declared, used FROM budgets WHERE party = $1 AND period = $2")
            .bind(party.as_str())
            .bind(period.to_string())
            .fetch_optional(&mut *tx)
            .await
            .map_err(db)?
            .ok_or_else(|| {
                ServiceError::refused(
                    "aucun nombre de fiches n'est déclaré pour ce mois ; déclarez-le avant de demander des évaluations",
                )
            })?;
        let (declared, used) = (row.get::<i64, _>(0) as u64, row.get::<i64, _>(1) as u64);
        let fresh = sqlx::query(
            "INSERT INTO evaluations (party, period, digest, elements) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        )
        .bind(party.as_str())
        .bind(period.to_string())
        .bind(digest)
        .bind(elements as i64)
        .execute(&mut *tx)
        .await
        .map_err(db)?
        .rows_affected()
            > 0;
        if fresh {
            let budget = budget_of(declared);
            if used + elements > budget {
                return Err(ServiceError::exhausted(format!(
                    "le budget de {budget} évaluations du mois ne suffit pas à ce lot ({used} déjà faites) : le nombre de fiches déclaré est trop petit, ou les mêmes fiches sont encodées de nouveau sans leur cache"
                )));
            }
            sqlx::query("UPDATE budgets SET used = used + $1 WHERE party = $2 AND period = $3")
                .bind(elements as i64)
                .bind(party.as_str())
                .bind(period.to_string())
                .execute(&mut *tx)
                .await
                .map_err(db)?;
        }
        if keep { tx.commit().await.map_err(db) } else { tx.rollback().await.map_err(db) }
    }
}
