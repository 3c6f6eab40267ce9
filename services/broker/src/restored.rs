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

#[cfg(test)]
mod tests {
    use linkage_common::database::Place;
    use linkage_test_databases::{On, on_both};

    use super::*;
    use crate::store::Run;

    on_both!(runs_that_need_encodings_end,);

    fn run(name: &str, kept: bool) -> Run {
        Run {
            id: name.parse().unwrap(),
            period: "2024-01".parse().unwrap(),
            parties: vec!["ccas".parse().unwrap(), "siao".parse().unwrap()],
            reference_party: None,
            base_run: None,
            kept,
            held: false,
            state: State::Collecting,
            step: String::new(),
            reason: String::new(),
            order_signature: vec![7; 64],
        }
    }

    async fn runs_that_need_encodings_end(on: On) {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(on.url().as_deref(), &dir.path().join("broker.sqlite")).unwrap();
        let store = Store::open_at(&place).await.unwrap();
        for (name, kept) in [("collects", false), ("held", true), ("ended", false)] {
            store.insert_run(&run(name, kept), b"agreement", 1).await.unwrap();
        }
        store.end_run(&"ended".parse().unwrap(), State::Cancelled, "essai").await.unwrap();
        sqlx::query("UPDATE runs SET state = 'closed', held_until = 99 WHERE run_id = 'held'")
            .execute(&store.pool)
            .await
            .unwrap();
        assert_eq!(store.settle_restored().await.unwrap(), 2);
        let again = Store::open_at(&place).await.unwrap();
        let of = async |name: &str| again.run(&name.parse().unwrap()).await.unwrap();
        let collected = of("collects").await;
        assert_eq!((collected.state, collected.step.as_str(), collected.reason.as_str()), (State::Failed, "delete", REASON));
        let held = of("held").await;
        assert_eq!((held.state, held.held, held.step.as_str()), (State::Closed, false, "delete"));
        assert_eq!((of("ended").await.state, of("ended").await.reason.as_str()), (State::Cancelled, "essai"));
        assert_eq!(again.settle_restored().await.unwrap(), 0, "the same again");
    }
}
