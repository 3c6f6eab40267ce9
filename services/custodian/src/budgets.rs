//! How many evaluations a party may ask for: declared, charged once for each distinct request.

use std::fmt::{self, Display};

use linkage_agreement::{PartyId, Period};
use linkage_common::error::ServiceError;
use linkage_common::store::db;
use sqlx::Row;

use crate::store::Store;

/// A month under the OPRF key of an epoch: what is encoded again under a new key has a budget of its own. Written `AAAA-MM`, and
/// `AAAA-MM#EPOCH` from the second epoch on, so that months stay in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetMonth {
    /// The month.
    pub period: Period,
    /// The epoch, from 1.
    pub epoch: u32,
}

impl Display for BudgetMonth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.epoch {
            1 => write!(f, "{}", self.period),
            epoch => write!(f, "{}#{epoch}", self.period),
        }
    }
}

impl Store {
    /// Raises a party's declared records for a period (never lowers them); returns records declared and evaluations used.
    pub async fn declare(&self, party: &PartyId, period: impl Display + Send, records: u64) -> Result<(u64, u64), ServiceError> {
        let period = period.to_string();
        let row = sqlx::query(
            "INSERT INTO budgets (party, period, declared) VALUES ($1, $2, $3)
             ON CONFLICT (party, period) DO UPDATE SET declared =
             CASE WHEN excluded.declared > budgets.declared THEN excluded.declared ELSE budgets.declared END
             RETURNING declared, used",
        )
        .bind(party.as_str())
        .bind(&period)
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
        period: impl Display + Send,
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
        period: impl Display + Send,
        digest: &[u8],
        elements: u64,
        budget_of: impl Fn(u64) -> u64,
    ) -> Result<(), ServiceError> {
        self.charge_or_not(party, period, digest, elements, budget_of, true).await
    }

    async fn charge_or_not(
        &self,
        party: &PartyId,
        period: impl Display + Send,
        digest: &[u8],
        elements: u64,
        budget_of: impl Fn(u64) -> u64,
        keep: bool,
    ) -> Result<(), ServiceError> {
        let period = period.to_string();
        let mut tx = self.pool.begin("charge_or_not").await.map_err(db)?;
        let row = sqlx::query("SELECT declared, used FROM budgets WHERE party = $1 AND period = $2")
            .bind(party.as_str())
            .bind(&period)
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
        .bind(&period)
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
                .bind(&period)
                .execute(&mut *tx)
                .await
                .map_err(db)?;
        }
        if keep { tx.commit().await.map_err(db) } else { tx.rollback().await.map_err(db) }
    }
}
