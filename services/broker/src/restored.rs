//! A broker's state that comes from a backup: encodings are in no backup, so that no run that needs them can go on.
//!
//! Runs under way end, and are to be opened again under another name; the run held for increments is let go, and the next one is to be
//! a full one. Both are then deleted and certified as ever.

use linkage_agreement::RunId;
use linkage_common::error::ServiceError;
use linkage_common::store::{checkpoint, db, id};
use sqlx::Row;

use crate::store::{State, Store};

const REASON: &str = "courtier restauré d'une sauvegarde, qui ne contient aucun encodage : ouvrez un nouveau traitement";

impl Store {
    /// Makes a restored state one that may go on, and closes it: its file is then whole. May be repeated. Returns how many runs it ended or let go.
    ///
    /// # Errors
    /// The database's.
    pub async fn settle_restored(self) -> Result<u64, ServiceError> {
        let mut ended = 0;
        for run in self.runs().await?.iter().filter(|run| !run.state.is_final()) {
            ended += u64::from(self.end_run(&run.id, State::Failed, REASON).await?);
        }
        let held = sqlx::query("SELECT run_id FROM runs WHERE held_until IS NOT NULL").fetch_all(&self.pool).await.map_err(db)?;
        for row in held {
            let run: RunId = id(&row.get::<String, _>(0))?;
            ended += u64::from(self.let_go(&run).await?);
        }
        checkpoint(&self.pool).await?;
        self.pool.close().await;
        Ok(ended)
    }
}
