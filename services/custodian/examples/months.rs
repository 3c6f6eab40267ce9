//! Measures the registry over years: monthly runs of made-up records, from their upload to the table handed over.
//!
//! `cargo run --release -p linkage-custodian --example months -- FOLDER [PERSONS [MONTHS]]`. Six parties; a fifth of the
//! persons are with two of them; each month a twentieth of the records leaves and as many come; departed ones take part as
//! those of a node's archive do. Each month joins 100 pairs of persons and parts 100. One line a month: for upload,
//! registration and hand-over the seconds by the clock and of processor time (all threads, on Linux) and the megabytes
//! written to disk; rows, references, megabytes of the process and of the database, supersessions.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout)]

use std::fs::read_to_string;
use std::sync::Arc;
use std::time::Instant;

use linkage_agreement::{Handle, PartyId, Period, PersonId, RecordRef, RunId};
use linkage_common::batches::HeldBatch;
use linkage_crypto::pseudonym::{CustodianScalar, Domain};
use linkage_custodian::hand_over::{Domains, HandOver};
use linkage_custodian::store::{RecordUpload, RunRecord, Store};
use linkage_proto::v1::LinkTableChunk;
use sha2::{Digest, Sha256};
use tokio_stream::StreamExt;

/// Records of one batch.
const BATCH: usize = 4_000;
/// Bytes of a record's sealed attributes.
const SEALED: usize = 160;

/// A record of the made-up world.
struct Record {
    party: usize,
    reference: RecordRef,
    person: u32,
    present: bool,
    /// The month it came, which is its segment of the node's archive.
    segment: u64,
}

/// Cost of a step.
struct Spent {
    clock: Instant,
    processor: f64,
    written: u64,
}

impl Spent {
    fn start() -> Self {
        Self { clock: Instant::now(), processor: processor(), written: written() }
    }
    fn show(&self) -> String {
        let megabytes = (written() - self.written) >> 20;
        format!("{:.1} {:.1} {megabytes}", self.clock.elapsed().as_secs_f64(), processor() - self.processor)
    }
}

/// Processor seconds of this process: user and system time in hundredths (proc(5)).
fn processor() -> f64 {
    let stat = read_to_string("/proc/self/stat").unwrap();
    let (_, after) = stat.rsplit_once(')').unwrap();
    after.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

/// Bytes that this process had written to disk.
fn written() -> u64 {
    let io = read_to_string("/proc/self/io").unwrap();
    io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap().parse().unwrap()
}

fn name(kind: &str, a: u64, b: u64) -> [u8; 16] {
    let digest = Sha256::new().chain_update(kind).chain_update(a.to_le_bytes()).chain_update(b.to_le_bytes()).finalize();
    digest[..16].try_into().unwrap()
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let folder = std::path::PathBuf::from(args.first().expect("a folder"));
    let number = |at: usize, default: u64| args.get(at).map_or(default, |text| text.parse().unwrap());
    let (persons, months) = (number(1, 1_000_000), number(2, 36));
    let database = folder.join("custodian.sqlite");
    let store = Store::open(&database).await.unwrap();
    let scalar = Arc::new(CustodianScalar::generate(&mut linkage_common::rng()));
    let parties: Vec<PartyId> = ["ccas", "siao", "caf", "cd", "adil", "spip"].iter().map(|p| p.parse().unwrap()).collect();
    let mut records: Vec<Record> = Vec::new();
    let come = |records: &mut Vec<Record>, person: u64, segment: u64| {
        let count = records.len() as u64;
        let party = (count % 6) as usize;
        let reference = RecordRef(name("ref", count, 0));
        records.push(Record { party, reference, person: person as u32, present: true, segment });
    };
    for n in 0..persons * 6 / 5 {
        come(&mut records, n % persons, 0);
    }
    let mut next = persons;
    println!(
        "month upload: clock processor written register: clock processor written hand-over: clock processor written rows references rss_mb database_mb changes"
    );
    for month in 0..months {
        if month > 0 {
            // One in twenty leaves; half of those who come are known, under a new record.
            let present: Vec<usize> = (0..records.len()).filter(|at| records[*at].present).collect();
            for at in present.iter().filter(|at| (**at as u64 + month).is_multiple_of(20)) {
                records[*at].present = false;
                let known = u64::from(records[(*at * 7) % records.len()].person);
                let person = if at % 2 == 0 { known } else { next };
                next += 1;
                come(&mut records, person, month);
            }
            for n in 0..100 {
                let (a, b) = ((n * 977 + month as usize * 31) % records.len(), (n * 1_409 + month as usize * 17) % records.len());
                records[a].person = records[b].person;
                let alone = (n * 2_003 + month as usize * 7) % records.len();
                records[alone].person = next as u32;
                next += 1;
            }
        }
        let period: Period = format!("{}-{:02}", 2021 + month / 12, month % 12 + 1).parse().unwrap();
        let run: RunId = period.to_string().parse().unwrap();
        let handle = |at: usize| Handle(name("handle", month, at as u64));
        let started = Spent::start();
        for (number, party) in parties.iter().enumerate() {
            // As a node sends them: segment by segment, each in the order of the run's handles.
            let mut own: Vec<(u64, Handle, &Record)> = records
                .iter()
                .enumerate()
                .filter(|(_, record)| record.party == number)
                .map(|(at, record)| (record.segment, handle(at), record))
                .collect();
            own.sort_unstable_by_key(|(segment, handle, _)| (*segment, *handle));
            let own: Vec<RunRecord> = own
                .into_iter()
                .map(|(_, handle, record)| {
                    let length = (SEALED as u16).to_le_bytes();
                    let sealed = if record.present { [&length[..], &[7; SEALED]].concat() } else { Vec::new() };
                    RunRecord { handle, reference: record.reference, present: record.present, sealed }
                })
                .collect();
            for (sequence, batch) in own.chunks(BATCH).enumerate() {
                let held = HeldBatch { sequence: sequence as u32, records: batch.len() as u64, digest: vec![0; 32] };
                store.put_records(&run, party, &held, batch, u64::MAX).await.unwrap();
            }
            let upload = RecordUpload { digest: vec![0; 32], records: own.len() as u64, period, reference_party: None };
            store.commit_records(&run, party, &upload, "{}").await.unwrap();
        }
        let uploaded = started.show();

        let mut order: Vec<usize> = (0..records.len()).collect();
        order.sort_by_key(|at| records[*at].person);
        let groups: Vec<&[usize]> =
            order.chunk_by(|a, b| records[*a].person == records[*b].person).filter(|group| group.len() > 1).collect();
        let batches: Vec<&[&[usize]]> = groups.chunks(10_000).collect();
        for (sequence, batch) in batches.iter().enumerate() {
            let mut packed = Vec::new();
            for group in *batch {
                packed.extend((group.len() as u16).to_le_bytes());
                for at in *group {
                    packed.extend(handle(*at).0);
                    packed.push(1);
                    packed.extend(9_990_u16.to_le_bytes());
                }
            }
            store
                .put_clusters(&run, sequence as u32, sequence + 1 == batches.len(), &[sequence as u8; 32], &packed)
                .await
                .unwrap();
        }
        assert!(store.clusters_complete(&run, period, &parties, None, b"{}").await.unwrap());
        let started = Spent::start();
        let mut count = 0_u64;
        store
            .register(&run, || {
                count += 1;
                PersonId(name("person", month, count))
            })
            .await
            .unwrap();
        let registered = started.show();

        let started = Spent::start();
        let domains = Domains { persons: Domain::persons("mesure", "etude"), records: Domain::records("mesure", "etude") };
        let table = HandOver::new(&store, scalar.clone(), domains, run.clone(), 0).await.unwrap();
        let mut stream = table.start(LinkTableChunk::default());
        let mut rows = 0;
        while let Some(chunk) = stream.next().await {
            rows += chunk.unwrap().rows.len();
        }
        let handed = started.show();
        let ready = store.ready().await.unwrap().pop().unwrap();
        assert_eq!(ready.rows, rows as u64);
        let rss = read_to_string("/proc/self/status").unwrap();
        let rss =
            rss.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("0 kB").trim().split(' ').next().unwrap().to_owned();
        println!(
            "{period} {uploaded} {registered} {handed} {rows} {} {} {} {}",
            records.len(),
            rss.parse::<u64>().unwrap() / 1024,
            std::fs::metadata(&database).unwrap().len() >> 20,
            ready.changes,
        );
    }
}
