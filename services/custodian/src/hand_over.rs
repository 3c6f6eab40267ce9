//! Handing a link table over: rows and supersessions under points made for one analyst, in messages of bounded size.
//!
//! A point costs a hash to the group and a multiplication. It is computed once for each person and record of an analyst's
//! purpose and kept: next month most of them come again.

use std::sync::Arc;

use linkage_agreement::{RecordRef, RunId};
use linkage_common::error::ServiceError;
use linkage_crypto::pseudonym::{CustodianScalar, Domain};
use linkage_proto::v1;
use rayon::prelude::*;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::link_tables::{HandedRow, Point, Supersession};
use crate::registry::Person;
use crate::store::Store;

/// Rows read, and their points made, at a time.
const ROWS_AT_ONCE: u64 = 8_192;
/// Rows of a link table in one message.
const ROWS_PER_CHUNK: usize = 500;
/// Persons and records of a supersession list in one message.
const CHANGES_PER_CHUNK: usize = 2_000;
/// Points that one core makes at a time: they share one inversion.
const POINTS_AT_ONCE: usize = 256;
/// The fixed id by whose point a domain is known.
const PROBE: [u8; 16] = [0; 16];

/// A message of the stream.
pub type Sent = Result<v1::LinkTableChunk, Status>;

/// The domains of an analyst's pseudonyms.
pub struct Domains {
    /// Of persons.
    pub persons: Domain,
    /// Of records.
    pub records: Domain,
}

/// A link table on its way to one analyst.
pub struct HandOver {
    store: Store,
    maker: Arc<Maker>,
    run: RunId,
    domain: i64,
    /// Position of the analyst in the agreement under which the run's records were sealed.
    analyst: usize,
}

/// Points that were computed now, of persons and of records.
type NewPoints = (Vec<(Person, Point)>, Vec<(RecordRef, Point)>);

/// Makes points.
struct Maker {
    scalar: Arc<CustodianScalar>,
    domains: Domains,
}

impl Maker {
    fn points(&self, domain: &Domain, ids: &[[u8; 16]]) -> Vec<Point> {
        let made: Vec<Vec<Point>> = ids
            .par_chunks(POINTS_AT_ONCE)
            .map(|ids| self.scalar.points(domain, ids).into_iter().map(|point| point.0).collect())
            .collect();
        made.concat()
    }

    /// Fills in the points that `rows` lack; returns those that are new.
    fn complete(&self, rows: &mut [HandedRow]) -> NewPoints {
        let mut persons: Vec<(Person, [u8; 16])> =
            rows.iter().filter(|r| r.person_point.is_none()).map(|r| (r.number, r.row.person.0)).collect();
        persons.sort_unstable();
        persons.dedup();
        let ids: Vec<[u8; 16]> = persons.iter().map(|(_, id)| *id).collect();
        let persons: Vec<(Person, Point)> =
            persons.iter().map(|(number, _)| *number).zip(self.points(&self.domains.persons, &ids)).collect();
        let mut lacking: Vec<RecordRef> = rows.iter().filter(|r| r.record_point.is_none()).map(|r| r.row.reference).collect();
        lacking.sort_unstable();
        lacking.dedup();
        let ids: Vec<[u8; 16]> = lacking.iter().map(|reference| reference.0).collect();
        let records: Vec<(RecordRef, Point)> = lacking.into_iter().zip(self.points(&self.domains.records, &ids)).collect();
        for row in rows {
            if row.person_point.is_none() {
                let at = persons.binary_search_by_key(&row.number, |(number, _)| *number).ok();
                row.person_point = at.and_then(|at| persons.get(at)).map(|(_, point)| *point);
            }
            if row.record_point.is_none() {
                let at = records.binary_search_by_key(&row.row.reference, |(reference, _)| *reference).ok();
                row.record_point = at.and_then(|at| records.get(at)).map(|(_, point)| *point);
            }
        }
        (persons, records)
    }

    /// Messages of a supersession list, whose lines of one pair of persons stand together.
    fn supersessions(&self, lines: &[Supersession]) -> Vec<v1::LinkTableChunk> {
        let persons =
            |of: fn(&Supersession) -> [u8; 16]| self.points(&self.domains.persons, &lines.iter().map(of).collect::<Vec<_>>());
        let (old, new) = (persons(|line| line.old.0), persons(|line| line.new.0));
        let moved: Vec<[u8; 16]> = lines.iter().filter_map(|line| line.moved).map(|reference| reference.0).collect();
        let mut moved = self.points(&self.domains.records, &moved).into_iter();
        let mut chunks = Vec::new();
        for lines in lines.iter().zip(old.iter().zip(&new)).collect::<Vec<_>>().chunks(CHANGES_PER_CHUNK) {
            let mut supersessions: Vec<v1::Supersession> = Vec::new();
            let same = |a: &Supersession, b: &Supersession| {
                (a.old, a.new, a.moved.is_some()) == (b.old, b.new, b.moved.is_some()) && a.moved.is_some()
            };
            for group in lines.chunk_by(|a, b| same(a.0, b.0)) {
                let Some((line, (old, new))) = group.first() else { continue };
                let records = group.iter().filter(|(line, _)| line.moved.is_some());
                supersessions.push(v1::Supersession {
                    old_person_point: old.to_vec().into(),
                    new_person_point: new.to_vec().into(),
                    kind: if line.moved.is_some() { 2 } else { 1 },
                    record_points: records.filter_map(|_| moved.next()).map(|point| point.to_vec().into()).collect(),
                });
            }
            chunks.push(v1::LinkTableChunk { supersessions, ..Default::default() });
        }
        chunks
    }
}

impl HandOver {
    /// The table of `run` for the analyst at position `analyst` of the agreement under which its records were sealed.
    pub async fn new(
        store: &Store,
        scalar: Arc<CustodianScalar>,
        domains: Domains,
        run: RunId,
        analyst: usize,
    ) -> Result<Self, ServiceError> {
        let maker = Arc::new(Maker { scalar, domains });
        let probe = maker.points(&maker.domains.persons, &[PROBE]);
        let probe = probe.first().ok_or_else(|| ServiceError::internal("no point"))?;
        let domain = store.point_domain(probe).await?;
        Ok(Self { store: store.clone(), maker, run, domain, analyst })
    }

    /// Sends the table after `first`, until it is whole or the analyst is gone.
    pub fn start(self, first: v1::LinkTableChunk) -> ReceiverStream<Sent> {
        let (send, receive) = mpsc::channel(4);
        tokio::spawn(async move {
            if send.send(Ok(first)).await.is_err() {
                return;
            }
            // A stream that just ended here would look whole.
            if let Err(error) = self.send(&send).await {
                let _ = send.send(Err(error.into())).await;
            }
        });
        ReceiverStream::new(receive)
    }

    async fn send(&self, to: &mpsc::Sender<Sent>) -> Result<(), ServiceError> {
        let lines = self.store.supersessions(&self.run).await?;
        let maker = self.maker.clone();
        let chunks = tokio::task::spawn_blocking(move || maker.supersessions(&lines)).await.map_err(ServiceError::internal)?;
        for chunk in chunks {
            if to.send(Ok(chunk)).await.is_err() {
                return Ok(());
            }
        }
        let span = self.store.row_span(&self.run).await?;
        for offset in (0..span).step_by(ROWS_AT_ONCE as usize) {
            let mut page = self.store.handed_rows(&self.run, offset, ROWS_AT_ONCE, self.domain).await?;
            let (maker, analyst) = (self.maker.clone(), self.analyst);
            let made = tokio::task::spawn_blocking(move || {
                let (persons, records) = maker.complete(&mut page);
                let chunks: Vec<v1::LinkTableChunk> = page
                    .chunks(ROWS_PER_CHUNK)
                    .map(|rows| v1::LinkTableChunk {
                        rows: rows.iter().map(|row| handed(row, analyst)).collect(),
                        ..Default::default()
                    })
                    .collect();
                (persons, records, chunks)
            });
            let (persons, records, chunks) = made.await.map_err(ServiceError::internal)?;
            // Points that could not be kept are computed again next time.
            if let Err(error) = self.store.keep_points(self.domain, &persons, &records).await {
                tracing::warn!(%error, "points of a link table could not be kept");
            }
            for chunk in chunks {
                if to.send(Ok(chunk)).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// A row as the analyst number `analyst` receives it.
fn handed(handed: &HandedRow, analyst: usize) -> v1::LinkRow {
    let point = |point: &Option<Point>| point.map(|point| point.to_vec()).unwrap_or_default().into();
    v1::LinkRow {
        party: handed.row.party.to_string(),
        person_point: point(&handed.person_point),
        record_point: point(&handed.record_point),
        match_class: u32::from(handed.row.match_class),
        probability: u32::from(handed.row.probability),
        sealed_attributes: sealed_for(&handed.row.sealed, analyst).unwrap_or_default().to_vec().into(),
    }
}

/// The sealed attributes of analyst number `index` within [`RunRecord::sealed`].
fn sealed_for(mut sealed: &[u8], index: usize) -> Option<&[u8]> {
    for position in 0.. {
        let (length, rest) = sealed.split_at_checked(2)?;
        let (mine, after) = rest.split_at_checked(usize::from(u16::from_le_bytes([length[0], length[1]])))?;
        if position == index {
            return Some(mine);
        }
        sealed = after;
    }
    None
}
