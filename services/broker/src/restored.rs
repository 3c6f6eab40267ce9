//! A broker's state that comes from a backup: encodings are in no backup, so that no run that needs them can go on.
//!
//! Runs under way end, and are to be opened again under another name; the run held for increments is let go, and the next one is to be
//! a full one. Both are then deleted and certified as ever. A database or a folder that was put back by itself, without that, tells
//! of other uploads than are there: `linkage doctor` looks for it.

use std::collections::BTreeSet;

use linkage_agreement::{PartyId, RunId};
use linkage_common::backup::{last_noted, note_begun, note_complete};
use linkage_common::blob::{BlobName, BlobPrefix, BlobStore};
use linkage_common::database::Place;
use linkage_common::error::ServiceError;
use linkage_common::store::{Pool, checkpoint, db, id};
use sqlx::Row;

use crate::store::{State, Store};

const REASON: &str = "courtier restauré d'une sauvegarde, qui ne contient aucun encodage : ouvrez un nouveau traitement";

impl Store {
    /// The last restoration of this database ([`linkage_common::backup::last_noted`]).
    ///
    /// # Errors
    /// `Configuration` while one is not complete; the database's.
    pub async fn restored(&self) -> Result<Option<String>, ServiceError> {
        last_noted(&self.pool).await
    }

    /// Keeps the database from being worked on until the restoration `moment` is settled.
    ///
    /// # Errors
    /// The database's.
    pub async fn begin_restored(&self, moment: &str) -> Result<(), ServiceError> {
        note_begun(&self.pool, moment).await
    }

    /// Makes a state, restored at `moment`, one that may go on, and closes it: its file is then whole. May be repeated. Returns how many
    /// runs it ended or let go.
    ///
    /// # Errors
    /// The database's.
    pub async fn settle_restored(self, moment: &str) -> Result<u64, ServiceError> {
        let mut ended = 0;
        for run in self.runs().await?.iter().filter(|run| !run.state.is_final()) {
            ended += u64::from(self.end_run(&run.id, State::Failed, REASON).await?);
        }
        let held = sqlx::query("SELECT run_id FROM runs WHERE held_until IS NOT NULL").fetch_all(&self.pool).await.map_err(db)?;
        for row in held {
            let run: RunId = id(&row.get::<String, _>(0))?;
            ended += u64::from(self.let_go(&run).await?);
        }
        let mut tx = self.pool.begin("settle_restored").await.map_err(db)?;
        note_complete(&mut tx, moment).await?;
        tx.commit().await.map_err(db)?;
        checkpoint(&self.pool).await?;
        self.pool.close().await;
        Ok(ended)
    }

    /// The database at `place` with the schema that it has: to look at, not to work with.
    ///
    /// # Errors
    /// The database's.
    pub async fn as_it_is(place: &Place) -> Result<Self, ServiceError> {
        Ok(Self { pool: Pool::connect(place, "").await? })
    }

    /// Runs that need their uploads, and that `uploads` does not have whole; none of it is there without a store. A role that works
    /// meanwhile changes both: only what is missing before and after counts.
    ///
    /// # Errors
    /// The database's, the object store's.
    pub async fn runs_without_uploads(&self, uploads: Option<&BlobStore>) -> Result<Vec<RunId>, ServiceError> {
        let mut without = Vec::new();
        for run in self.runs().await?.into_iter().filter(|run| !run.state.is_final() || run.held) {
            let named = self.named(&run.id).await?;
            let there = match uploads {
                Some(uploads) => uploads.list(&BlobPrefix::Run(run.id.clone())).await?,
                None => Vec::new(),
            };
            let there: BTreeSet<BlobName> = there.into_iter().map(|(name, _)| name).collect();
            if named.is_subset(&there) {
                continue;
            }
            let (now, still) = (self.run(&run.id).await?, self.named(&run.id).await?);
            if (now.state, now.held) == (run.state, run.held) && named.difference(&there).any(|name| still.contains(name)) {
                without.push(run.id);
            }
        }
        Ok(without)
    }

    /// The uploads of a run that this database has rows of.
    async fn named(&self, run: &RunId) -> Result<BTreeSet<BlobName>, ServiceError> {
        let rows = sqlx::query("SELECT party, sequence FROM batches WHERE run_id = $1").bind(run.as_str());
        let rows = rows.fetch_all(&self.pool).await.map_err(db)?;
        let name = |row: &linkage_common::store::Row| {
            let party: PartyId = id(&row.get::<String, _>(0))?;
            Ok(BlobName::new(run, &party, row.get::<i64, _>(1).unsigned_abs()))
        };
        rows.iter().map(name).collect()
    }
}

#[cfg(test)]
mod tests {
    use linkage_common::database::Place;
    use linkage_test_databases::{On, on_both};

    use super::*;
    use crate::store::Run;

    on_both!(runs_that_need_encodings_end, a_database_without_its_uploads_is_told,);

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

    async fn a_database_without_its_uploads_is_told(on: On) {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(on.url().as_deref(), &dir.path().join("broker.sqlite")).unwrap();
        let store = Store::open_at(&place).await.unwrap();
        let uploads = BlobStore::local(&dir.path().join("uploads")).unwrap();
        let party: PartyId = "ccas".parse().unwrap();
        let states = [("a", "collecting", None), ("b", "closed", Some(9_i64)), ("c", "closed", None), ("d", "linking", None)];
        for (name, state, held) in states {
            store.insert_run(&run(name, true), b"agreement", 1).await.unwrap();
            let update = sqlx::query("UPDATE runs SET state = $1, held_until = $2 WHERE run_id = $3");
            update.bind(state).bind(held).bind(name).execute(&store.pool).await.unwrap();
            for sequence in 0..2_i64 {
                let insert = "INSERT INTO batches (run_id, party, sequence, records, digest) VALUES ($1, 'ccas', $2, 1, $3)";
                sqlx::query(insert).bind(name).bind(sequence).bind(vec![1_u8]).execute(&store.pool).await.unwrap();
                let blob = BlobName::new(&name.parse().unwrap(), &party, sequence.unsigned_abs());
                uploads.put(&blob, bytes::Bytes::from_static(b"x")).await.unwrap();
            }
        }
        let looked = Store::as_it_is(&place).await.unwrap();
        let without = async |uploads| -> Vec<String> {
            looked.runs_without_uploads(uploads).await.unwrap().iter().map(ToString::to_string).collect()
        };
        assert_eq!(without(Some(&uploads)).await, Vec::<String>::new());
        uploads.delete(&BlobName::new(&"b".parse().unwrap(), &party, 1)).await.unwrap();
        uploads.delete_prefix(&BlobPrefix::Run("c".parse().unwrap())).await.unwrap();
        assert_eq!(without(Some(&uploads)).await, ["b"], "what has ended needs none");
        assert_eq!(without(None).await, ["a", "b", "d"]);
        store.settle_restored("a").await.unwrap();
        assert_eq!(without(None).await, Vec::<String>::new(), "restored as a whole");
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
        store.begin_restored("a").await.unwrap();
        let refused = store.restored().await.unwrap_err().to_string();
        assert!(refused.contains("restauration inachevée") && refused.contains("relancez"), "{refused}");
        assert_eq!(store.settle_restored("b").await.unwrap(), 2);
        let again = Store::open_at(&place).await.unwrap();
        let of = async |name: &str| again.run(&name.parse().unwrap()).await.unwrap();
        let collected = of("collects").await;
        assert_eq!((collected.state, collected.step.as_str(), collected.reason.as_str()), (State::Failed, "delete", REASON));
        let held = of("held").await;
        assert_eq!((held.state, held.held, held.step.as_str()), (State::Closed, false, "delete"));
        assert_eq!((of("ended").await.state, of("ended").await.reason.as_str()), (State::Cancelled, "essai"));
        assert_eq!(again.restored().await.unwrap().as_deref(), Some("b"), "the one that was begun is given up");
        assert_eq!(again.settle_restored("b").await.unwrap(), 0, "the same again");
    }
}
