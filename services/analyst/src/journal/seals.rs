//! The journal's chain of seals, and its check against documents, columns and signatures.
//!
//! A seal is SHA-256 over the seal before it, the entry, the document's fingerprint and, since publications have a source, the
//! columns of the publication ([`Columns`]): what decides about budget, approvals and later protection cannot be changed
//! without a trace. Seals are without a key: they show what changed, the producers' signatures show who approved.

use std::collections::BTreeMap;

use linkage_agreement::{Agreement, PartyId, Period};
use linkage_common::error::ServiceError;
use linkage_common::store::{Connection, Row as StoreRow, db, id};
use sha2::{Digest, Sha256};
use sqlx::Row;

use super::{Journal, fingerprint_of, verdict};
use crate::export::day;
use crate::publish::{Document, Fingerprint, PublicationId, Release};

/// What the journal holds, checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Entries.
    pub entries: u64,
    /// Entries whose seal does not hold, or whose publication is not what its document says, or that publish without every
    /// approval: something else wrote to the database.
    pub altered: u64,
    /// Decisions whose signature does not hold under the agreement's keys.
    pub unsigned: u64,
}

/// One entry, without its number and seal.
pub(super) struct Entry<'e> {
    pub publication: &'e PublicationId,
    pub kind: &'e str,
    pub who: &'e str,
    pub party: Option<&'e PartyId>,
    pub at: i64,
    pub reason: &'e str,
    pub signature: Option<&'e [u8]>,
}

/// The columns of a publication that its seals cover.
struct Columns<'r> {
    analyst: &'r str,
    month: &'r str,
    title: &'r str,
    tables: i64,
    producers: &'r str,
    kept: Option<&'r [u8]>,
    /// None for what was put forward before seals covered columns.
    source: Option<&'r str>,
}

impl<'r> Columns<'r> {
    /// From a row that has them in this order, the first at `from`.
    fn of(row: &'r StoreRow, from: usize) -> Self {
        Self {
            analyst: row.get(from),
            month: row.get(from + 1),
            title: row.get(from + 2),
            tables: row.get(from + 3),
            producers: row.get(from + 4),
            kept: row.get(from + 5),
            source: row.get(from + 6),
        }
    }

    /// What goes into seals; nothing of older publications.
    fn digest(&self) -> Option<[u8; 32]> {
        let source = self.source?;
        let mut digest = Sha256::new().chain_update(b"linkage publication columns v1\n").chain_update(self.tables.to_le_bytes());
        let texts = [self.analyst, self.month, self.title, self.producers, source].map(str::as_bytes);
        let kept = [u8::from(self.kept.is_some())];
        for part in texts.into_iter().chain([&kept, self.kept.unwrap_or_default()]) {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        Some(digest.finalize().into())
    }

    /// Whether they say what the document says. What is kept is in no document; the seal covers it.
    fn match_document(&self, id: &PublicationId, document: &Document, proposed: i64) -> bool {
        let producers: Option<Vec<PartyId>> = serde_json::from_str(self.producers).ok();
        let source: Option<Release> = self.source.and_then(|source| serde_json::from_str(source).ok());
        document.id().is_ok_and(|of| of == *id)
            && self.analyst == document.analyst.as_str()
            && self.title == document.question.title()
            && usize::try_from(self.tables).is_ok_and(|tables| tables == document.tables.len())
            && producers.as_ref() == Some(&document.producers)
            // The day and the second are read one after the other.
            && [proposed, proposed + 60].iter().any(|at| self.month == Period::of(day(*at)).to_string())
            && (self.source.is_none() || source.as_ref() == Some(&document.release))
    }
}

fn seal(before: &[u8], number: i64, entry: &Entry<'_>, fingerprint: &Fingerprint, columns: Option<[u8; 32]>) -> Vec<u8> {
    let label: &[u8] = if columns.is_some() { b"linkage journal v2\n" } else { b"linkage journal v1\n" };
    let mut digest = Sha256::new().chain_update(label).chain_update(number.to_le_bytes());
    let (at, party) = (entry.at.to_le_bytes(), entry.party.map_or("", PartyId::as_str));
    let texts = [entry.publication.as_str(), entry.kind, entry.who, party, entry.reason].map(str::as_bytes);
    let signature = entry.signature.unwrap_or_default();
    let columns = columns.as_ref().map(<[u8; 32]>::as_slice);
    for part in texts.into_iter().chain([before, &at, signature, &fingerprint.0]).chain(columns) {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().to_vec()
}

/// Adds an entry after the last.
pub(super) async fn add(connection: &mut Connection, entry: &Entry<'_>) -> Result<(), ServiceError> {
    let last: Option<(i64, Vec<u8>)> = sqlx::query_as("SELECT number, seal FROM entries ORDER BY number DESC LIMIT 1")
        .fetch_optional(&mut *connection)
        .await
        .map_err(db)?;
    let (number, before) = last.map_or((1, Vec::new()), |(number, seal)| (number + 1, seal));
    let row =
        sqlx::query("SELECT fingerprint, analyst, month, title, tables, producers, kept, source FROM publications WHERE id = $1")
            .bind(entry.publication.as_str())
            .fetch_one(&mut *connection)
            .await
            .map_err(db)?;
    let fingerprint = fingerprint_of(row.get(0))?;
    sqlx::query(
        "INSERT INTO entries (number, publication, kind, who, party, at, reason, signature, seal) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(number)
    .bind(entry.publication.as_str())
    .bind(entry.kind)
    .bind(entry.who)
    .bind(entry.party.map(PartyId::as_str))
    .bind(entry.at)
    .bind(entry.reason)
    .bind(entry.signature)
    .bind(seal(&before, number, entry, &fingerprint, Columns::of(&row, 1).digest()))
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}

/// What the entries of a publication have come to, up to the one that is checked.
#[derive(Default)]
struct Course {
    proposed: Option<i64>,
    approved: Vec<PartyId>,
    rejected: bool,
}

impl Journal {
    /// Checks seals, fingerprints, columns, approvals and signatures over the whole journal.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn check(&self, agreement: &Agreement, agreement_hash: &[u8; 32]) -> Result<Checked, ServiceError> {
        let mut tx = self.pool.snapshot().await.map_err(db)?;
        let rows = sqlx::query(
            "SELECT e.number, e.publication, e.kind, e.who, e.party, e.at, e.reason, e.signature, e.seal, p.document, p.fingerprint,
             p.analyst, p.month, p.title, p.tables, p.producers, p.kept, p.source
             FROM entries e JOIN publications p ON p.id = e.publication ORDER BY e.number",
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(db)?;
        let (mut checked, mut before) = (Checked::default(), Vec::new());
        let mut courses: BTreeMap<PublicationId, Course> = BTreeMap::new();
        for row in &rows {
            let fingerprint = Fingerprint::of(row.get(9));
            let publication: PublicationId = id(row.get(1))?;
            let party: Option<PartyId> = row.get::<Option<&str>, _>(4).map(id).transpose()?;
            let (number, kind): (i64, &str) = (row.get(0), row.get(2));
            let signature: Option<&[u8]> = row.get(7);
            checked.entries += 1;
            let entry = Entry {
                publication: &publication,
                kind,
                who: row.get(3),
                party: party.as_ref(),
                at: row.get(5),
                reason: row.get(6),
                signature,
            };
            let columns = Columns::of(row, 11);
            let seal = seal(&before, number, &entry, &fingerprint, columns.digest());
            let held: &[u8] = row.get(8);
            let document = Document::from_bytes(row.get(9)).ok();
            let course = courses.entry(publication.clone()).or_default();
            let in_order = course.enter(&entry, document.as_ref());
            let proposed = course.proposed.unwrap_or_default();
            let sound = seal == held
                && row.get::<&[u8], _>(10) == fingerprint.0
                && number.unsigned_abs() == checked.entries
                && document.as_ref().is_some_and(|document| columns.match_document(&publication, document, proposed))
                && in_order;
            checked.altered += u64::from(!sound);
            before = held.to_vec();
            let of_this_agreement = document.is_some_and(|document| document.agreement == hex::encode(agreement_hash));
            if let (Some(party), Some(signature), true) = (&party, signature, of_this_agreement) {
                let verdict = verdict(kind, row.get(6));
                let holds = verdict.verify(agreement, agreement_hash, &fingerprint, party, signature).is_ok();
                checked.unsigned += u64::from(!holds);
            }
        }
        Ok(checked)
    }
}

impl Course {
    /// Takes one entry more; whether it may stand where it does.
    fn enter(&mut self, entry: &Entry<'_>, document: Option<&Document>) -> bool {
        let producers = document.map_or(&[][..], |document| &document.producers);
        match (entry.kind, entry.party) {
            ("proposed", None) => self.proposed.replace(entry.at).is_none(),
            ("approved", Some(party)) => {
                self.approved.push(party.clone());
                self.proposed.is_some() && producers.contains(party)
            }
            ("rejected", Some(party)) => {
                self.rejected = true;
                self.proposed.is_some() && producers.contains(party)
            }
            ("published", None) => {
                self.proposed.is_some() && !self.rejected && producers.iter().all(|party| self.approved.contains(party))
            }
            _ => false,
        }
    }
}
