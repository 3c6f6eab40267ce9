//! Withdrawing one record of a party from all that the custodian holds, and putting it back (RGPD, articles 16, 18, 21).
//!
//! One request is one transaction with its receipt: killed anywhere, it has happened and is receipted, or not at all, and
//! repeating it gives the same receipt. A record that is taken out leaves a gap in the link tables of its runs, whose rows
//! keep their ids; a registration under way that read it begins again. Links of other records stay. A person whom only the
//! record held is forgotten with it.

use linkage_agreement::{PartyId, RecordRef, RunId};
use linkage_common::error::ServiceError;
use linkage_common::receipt::{Action, RequestId, Signed};
use linkage_common::store::{Connection, db, id};
use sqlx::Row;

use crate::registry::Person;
use crate::store::{Store, bytes16};

mod service;

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

/// A run whose link table is here: its name, first row and number of ids.
type TableOf = (String, i64, i64);

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

/// A request being carried out.
struct Work<'w> {
    tx: &'w mut Connection,
    party: &'w str,
    counts: Counts,
    /// References that are the party's.
    known: Vec<RecordRef>,
    /// Runs whose tables hold a restored record again.
    runs: Vec<String>,
}

impl Work<'_> {
    /// Forgets the party's upload to runs that still collect.
    async fn forget_uploads(&mut self, runs: &[RunId]) -> Result<(), ServiceError> {
        for run in runs {
            let collects = sqlx::query("SELECT 1 FROM runs WHERE run_id = $1 AND state = 'collecting'")
                .bind(run.as_str())
                .fetch_optional(&mut *self.tx)
                .await
                .map_err(db)?;
            if collects.is_none() {
                continue;
            }
            let mut forgotten = 0;
            for forget in [
                "DELETE FROM handles WHERE run_id = $1 AND party = $2",
                "DELETE FROM handle_refs WHERE run_id = $1 AND party = $2",
                "DELETE FROM record_batches WHERE run_id = $1 AND party = $2",
                "DELETE FROM record_uploads WHERE run_id = $1 AND party = $2",
            ] {
                let done = sqlx::query(forget).bind(run.as_str()).bind(self.party).execute(&mut *self.tx).await.map_err(db)?;
                forgotten += done.rows_affected();
            }
            self.counts.uploads += i64::from(forgotten > 0);
        }
        Ok(())
    }

    /// A handle that the custodian does not know is a decoy's for it: whatever the run comes to, the record is not in it.
    async fn out_of_runs_under_way(&mut self, reference: &RecordRef) -> Result<(), ServiceError> {
        let runs = sqlx::query("SELECT run_id FROM runs WHERE state IN ('collecting', 'clustered')")
            .fetch_all(&mut *self.tx)
            .await
            .map_err(db)?;
        for run in &runs {
            let mut forgotten = 0;
            for forget in [
                "DELETE FROM handle_refs WHERE run_id = $1 AND party = $2 AND ref = $3",
                "DELETE FROM handles WHERE run_id = $1 AND party = $2 AND ref = $3",
            ] {
                let run: String = run.get(0);
                let done = sqlx::query(forget).bind(run).bind(self.party).bind(&reference.0[..]).execute(&mut *self.tx).await;
                forgotten = done.map_err(db)?.rows_affected();
            }
            self.counts.under_way += forgotten as i64;
        }
        Ok(())
    }

    async fn person(&mut self, select: &'static str, reference: &RecordRef) -> Result<Option<Person>, ServiceError> {
        person_of(self.tx, select, reference, self.party).await
    }

    async fn each(&mut self, statement: &'static str, reference: &RecordRef) -> Result<i64, ServiceError> {
        let done = sqlx::query(statement).bind(&reference.0[..]).bind(self.party).execute(&mut *self.tx).await.map_err(db)?;
        Ok(done.rows_affected() as i64)
    }

    async fn delete(&mut self, reference: &RecordRef) -> Result<(), ServiceError> {
        let person = self.person("SELECT person FROM refs WHERE ref = $1 AND party = $2", reference).await?;
        let aside = self.person("SELECT person FROM set_aside_refs WHERE ref = $1 AND party = $2", reference).await?;
        let rows = self.take_rows(reference, false).await?;
        let rows_aside = self.each("DELETE FROM set_aside_rows WHERE ref = $1 AND party = $2", reference).await?;
        if person.is_none() && aside.is_none() && rows + rows_aside == 0 {
            return Ok(());
        }
        self.counts.references += 1;
        self.counts.rows += rows + rows_aside;
        self.known.push(*reference);
        self.each("DELETE FROM refs WHERE ref = $1 AND party = $2", reference).await?;
        self.each("DELETE FROM set_aside_refs WHERE ref = $1 AND party = $2", reference).await?;
        self.counts.dispositions +=
            self.each("DELETE FROM dispositions WHERE (ref = $1 OR second_ref = $1) AND party = $2", reference).await?;
        // Which splits moved it: of no use without it.
        sqlx::query("DELETE FROM supersessions WHERE ref = $1")
            .bind(&reference.0[..])
            .execute(&mut *self.tx)
            .await
            .map_err(db)?;
        self.forget_points(reference).await?;
        for person in [person, aside].into_iter().flatten() {
            self.forget_person(person).await?;
        }
        Ok(())
    }

    async fn set_aside(&mut self, reference: &RecordRef) -> Result<(), ServiceError> {
        let person = self.person("SELECT person FROM refs WHERE ref = $1 AND party = $2", reference).await?;
        let rows = self.take_rows(reference, true).await?;
        self.counts.rows += rows;
        if person.is_none() {
            return Ok(());
        }
        self.counts.references += 1;
        self.known.push(*reference);
        let aside = "INSERT INTO set_aside_refs (party, ref, person, shown, last_month)
                     SELECT party, ref, person, shown, last_month FROM refs WHERE ref = $1 AND party = $2 ON CONFLICT DO NOTHING";
        self.each(aside, reference).await?;
        self.each("DELETE FROM refs WHERE ref = $1 AND party = $2", reference).await?;
        self.forget_points(reference).await
    }

    async fn restore(&mut self, reference: &RecordRef) -> Result<(), ServiceError> {
        let aside = self.person("SELECT person FROM set_aside_refs WHERE ref = $1 AND party = $2", reference).await?;
        let Some(mut person) = aside else { return Ok(()) };
        self.counts.references += 1;
        self.known.push(*reference);
        // Persons that were merged meanwhile took theirs along; merges go to an older person, so this ends.
        while let Some(row) =
            sqlx::query("SELECT new_person FROM supersessions WHERE old_person = $1 AND ref IS NULL AND new_person < $1 ORDER BY id DESC LIMIT 1")
                .bind(person)
                .fetch_optional(&mut *self.tx)
                .await
                .map_err(db)?
        {
            person = row.get(0);
        }
        sqlx::query(
            "INSERT INTO refs (ref, party, person, shown, last_month)
             SELECT ref, party, $3, shown, last_month FROM set_aside_refs WHERE ref = $1 AND party = $2 ON CONFLICT DO NOTHING",
        )
        .bind(&reference.0[..])
        .bind(self.party)
        .bind(person)
        .execute(&mut *self.tx)
        .await
        .map_err(db)?;
        for (run, first, span) in tables(self.tx).await? {
            let done = sqlx::query(
                "INSERT INTO link_rows (id, party, ref, person, match_class, probability, sealed)
                 SELECT row_id, party, ref, person, match_class, probability, sealed FROM set_aside_rows
                 WHERE party = $1 AND ref = $2 AND row_id >= $3 AND row_id < $4 ON CONFLICT DO NOTHING",
            )
            .bind(self.party)
            .bind(&reference.0[..])
            .bind(first)
            .bind(first + span)
            .execute(&mut *self.tx)
            .await
            .map_err(db)?
            .rows_affected() as i64;
            if done > 0 {
                self.counts.rows += done;
                self.gap(&run, -done).await?;
                self.runs.push(run);
            }
        }
        self.each("DELETE FROM set_aside_rows WHERE ref = $1 AND party = $2", reference).await?;
        self.each("DELETE FROM set_aside_refs WHERE ref = $1 AND party = $2", reference).await?;
        Ok(())
    }

    /// Takes a record's rows out of all link tables, to the side where they are to be kept.
    async fn take_rows(&mut self, reference: &RecordRef, keep: bool) -> Result<i64, ServiceError> {
        let mut taken = 0;
        for table in tables(self.tx).await? {
            let Some(row) = find_row(self.tx, &table, reference, self.party).await? else { continue };
            if keep {
                sqlx::query(
                    "INSERT INTO set_aside_rows (row_id, party, ref, person, match_class, probability, sealed)
                     SELECT id, party, ref, person, match_class, probability, sealed FROM link_rows WHERE id = $1
                     ON CONFLICT DO NOTHING",
                )
                .bind(row)
                .execute(&mut *self.tx)
                .await
                .map_err(db)?;
            }
            sqlx::query("DELETE FROM link_rows WHERE id = $1").bind(row).execute(&mut *self.tx).await.map_err(db)?;
            self.gap(&table.0, 1).await?;
            taken += 1;
        }
        Ok(taken)
    }

    /// Notes that a run's ids have so many rows less than they count.
    async fn gap(&mut self, run: &str, rows: i64) -> Result<(), ServiceError> {
        let done = sqlx::query("UPDATE runs SET withdrawn = withdrawn + $1 WHERE run_id = $2");
        done.bind(rows).bind(run).execute(&mut *self.tx).await.map_err(db).map(drop)
    }

    async fn forget_points(&mut self, reference: &RecordRef) -> Result<(), ServiceError> {
        for domain in domains(self.tx).await? {
            sqlx::query("DELETE FROM ref_points WHERE domain = $1 AND ref = $2")
                .bind(domain)
                .bind(&reference.0[..])
                .execute(&mut *self.tx)
                .await
                .map_err(db)?;
        }
        Ok(())
    }

    /// Forgets a person whom no record holds any more, unless a supersession list names it.
    async fn forget_person(&mut self, person: Person) -> Result<(), ServiceError> {
        let done = sqlx::query(
            "DELETE FROM persons WHERE number = $1 AND NOT EXISTS (SELECT 1 FROM refs WHERE person = $1)
             AND NOT EXISTS (SELECT 1 FROM set_aside_refs WHERE person = $1)
             AND NOT EXISTS (SELECT 1 FROM supersessions WHERE old_person = $1 OR new_person = $1)",
        )
        .bind(person)
        .execute(&mut *self.tx)
        .await
        .map_err(db)?
        .rows_affected() as i64;
        self.counts.persons += done;
        if done == 0 {
            return Ok(());
        }
        // Numbers of persons are given again when the newest is forgotten: no point may stand under one.
        for domain in domains(self.tx).await? {
            sqlx::query("DELETE FROM person_points WHERE domain = $1 AND person = $2")
                .bind(domain)
                .bind(person)
                .execute(&mut *self.tx)
                .await
                .map_err(db)?;
        }
        Ok(())
    }
}

/// The domains that points are kept under.
async fn domains(connection: &mut Connection) -> Result<Vec<i64>, ServiceError> {
    let rows = sqlx::query("SELECT number FROM point_domains").fetch_all(connection).await.map_err(db)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn person_of(
    connection: &mut Connection,
    select: &'static str,
    reference: &RecordRef,
    party: &str,
) -> Result<Option<Person>, ServiceError> {
    let row = sqlx::query(select).bind(&reference.0[..]).bind(party).fetch_optional(connection).await.map_err(db)?;
    Ok(row.map(|row| row.get(0)))
}

/// The link tables that are held.
async fn tables(connection: &mut Connection) -> Result<Vec<TableOf>, ServiceError> {
    let rows = sqlx::query("SELECT run_id, first_row, row_count FROM runs WHERE state = 'ready' ORDER BY position")
        .fetch_all(connection)
        .await
        .map_err(db)?;
    rows.iter().map(|row| Ok((id::<RunId>(&row.get::<String, _>(0))?.to_string(), row.get(1), row.get(2)))).collect()
}

/// The row of a record in a link table: its rows are in the order of reference and party, with gaps.
async fn find_row(
    connection: &mut Connection,
    (_, first, span): &TableOf,
    reference: &RecordRef,
    party: &str,
) -> Result<Option<i64>, ServiceError> {
    let (mut from, mut to) = (*first, first + span);
    while from < to {
        let middle = from + (to - from) / 2;
        let row = sqlx::query("SELECT id, ref, party FROM link_rows WHERE id >= $1 AND id < $2 ORDER BY id LIMIT 1")
            .bind(middle)
            .bind(to)
            .fetch_optional(&mut *connection)
            .await
            .map_err(db)?;
        let Some(row) = row else {
            to = middle;
            continue;
        };
        let (found, of): ([u8; 16], String) = (bytes16(&row, 1)?, row.get(2));
        match (found, of.as_str()).cmp(&(reference.0, party)) {
            std::cmp::Ordering::Equal => return Ok(Some(row.get(0))),
            std::cmp::Ordering::Less => from = row.get::<i64, _>(0) + 1,
            std::cmp::Ordering::Greater => to = middle,
        }
    }
    Ok(None)
}
