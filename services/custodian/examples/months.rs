//! Measures the registry over years: monthly runs of made-up records, from their upload to the table handed over.
//!
//! `cargo run --release -p linkage-custodian --example months -- FOLDER [PERSONS [MONTHS]]`. Six parties; a fifth of the
//! persons are with two of them; each month a twentieth of the records leaves and as many come; departed ones take part as
//! those of a node's archive do. Each month joins 100 pairs of persons and parts 100. One line a month: seconds of upload,
//! registration and hand-over (wall clock), megabytes of the process and of the database.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout)]

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
    let come = |records: &mut Vec<Record>, person: u64| {
        let count = records.len() as u64;
        let party = (count % 6) as usize;
        records.push(Record { party, reference: RecordRef(name("ref", count, 0)), person: person as u32, present: true });
    };
    for n in 0..persons * 6 / 5 {
        come(&mut records, n % persons);
    }
    let mut next = persons;
    println!("month upload_s register_s hand_over_s rows references rss_mb database_mb changes");
    for month in 0..months {
        if month > 0 {
            // One in twenty leaves; half of those who come are known, under a new record.
            let present: Vec<usize> = (0..records.len()).filter(|at| records[*at].present).collect();
            for at in present.iter().filter(|at| (**at as u64 + month).is_multiple_of(20)) {
                records[*at].present = false;
                let known = u64::from(records[(*at * 7) % records.len()].person);
                let person = if at % 2 == 0 { known } else { next };
                next += 1;
                come(&mut records, person);
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
        let started = Instant::now();
        for (number, party) in parties.iter().enumerate() {
            let own: Vec<RunRecord> = records
                .iter()
                .enumerate()
                .filter(|(_, record)| record.party == number)
                .map(|(at, record)| {
                    let length = (SEALED as u16).to_le_bytes();
                    let sealed = if record.present { [&length[..], &[7; SEALED]].concat() } else { Vec::new() };
                    RunRecord { handle: handle(at), reference: record.reference, present: record.present, sealed }
                })
                .collect();
            for (sequence, batch) in own.chunks(BATCH).enumerate() {
                let held = HeldBatch { sequence: sequence as u32, records: batch.len() as u64, digest: vec![0; 32] };
                store.put_records(&run, party, &held, batch).await.unwrap();
            }
            let upload = RecordUpload { digest: vec![0; 32], records: own.len() as u64, period, reference_party: None };
            store.commit_records(&run, party, &upload, "{}").await.unwrap();
        }
        let uploaded = started.elapsed();

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
        let started = Instant::now();
        let mut count = 0_u64;
        store
            .register(&run, || {
                count += 1;
                PersonId(name("person", month, count))
            })
            .await
            .unwrap();
        let registered = started.elapsed();

        let started = Instant::now();
        let domains = Domains { persons: Domain::persons("mesure", "etude"), records: Domain::records("mesure", "etude") };
        let table = HandOver::new(&store, scalar.clone(), domains, run.clone(), 0).await.unwrap();
        let mut stream = table.start(LinkTableChunk::default());
        let mut rows = 0;
        while let Some(chunk) = stream.next().await {
            rows += chunk.unwrap().rows.len();
        }
        let handed = started.elapsed();
        let ready = store.ready().await.unwrap().pop().unwrap();
        assert_eq!(ready.rows, rows as u64);
        let rss = std::fs::read_to_string("/proc/self/status").unwrap();
        let rss =
            rss.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("0 kB").trim().split(' ').next().unwrap().to_owned();
        println!(
            "{period} {:.1} {:.1} {:.1} {rows} {} {} {} {}",
            uploaded.as_secs_f64(),
            registered.as_secs_f64(),
            handed.as_secs_f64(),
            records.len(),
            rss.parse::<u64>().unwrap() / 1024,
            std::fs::metadata(&database).unwrap().len() >> 20,
            ready.changes,
        );
    }
}
