//! Records that a person has had set aside end with the term of what they were taken from: a clock that the test moves, both
//! databases. Restriction (RGPD, article 18) keeps data apart; it does not keep them longer (article 5, 1, e).
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;

use jiff::civil::{Date, date};
use linkage_agreement::{Handle, Period, PersonId, RecordRef, RoleId};
use linkage_common::MockClock;
use linkage_common::audit::{AuditConfig, AuditLog};
use linkage_common::batches::HeldBatch;
use linkage_common::database::Place;
use linkage_common::deletion::series::Series;
use linkage_common::deletion::{Cause, Certificate, read};
use linkage_common::gate::Gate;
use linkage_common::receipt::{RequestId, Signed};
use linkage_common::signer::Signer;
use linkage_common::store::Pool;
use linkage_crypto::oprf::ServerKey;
use linkage_crypto::pseudonym::CustodianScalar;
use linkage_custodian::retention::Retention;
use linkage_custodian::rights::{Counts, Kind, Withdrawal};
use linkage_custodian::service::Custodian;
use linkage_custodian::store::{RecordUpload, RunRecord, Store};
use linkage_test_databases::{On, on_both};
use linkage_tests::fixture::{World, id};
use tokio::sync::Notify;

on_both!(what_is_set_aside_goes_with_its_table_and_its_archive, what_is_set_aside_goes_with_the_agreement);

struct Bench {
    world: World,
    clock: MockClock,
    custodian: Custodian,
    retention: Retention,
    pool: Pool,
    home: PathBuf,
    persons: u8,
    requests: u8,
}

/// The record of ccas, or of siao, of this number.
fn record(number: u8) -> RecordRef {
    RecordRef([number; 16])
}

impl Bench {
    /// Tables a year, references two; the agreement until the end of 2029.
    async fn new(on: On) -> Self {
        let world = World::altered(|agreement| {
            agreement.agreement.end = date(2029, 12, 31);
            agreement.retention.link_tables_months = 12;
            agreement.retention.archive_months = 24;
        });
        let clock = MockClock::at("2024-01-20T12:00:00Z".parse().unwrap());
        let home = world.path("custodian");
        std::fs::create_dir_all(&home).unwrap();
        let place = Place::of(on.url().as_deref(), &home.join("custodian.sqlite")).unwrap();
        let gate = Arc::new(Gate::load(&world.files(), Arc::new(clock.clone())).unwrap());
        let (role, key) = (RoleId::Custodian, |kind: &str| world.key(&RoleId::Custodian, kind));
        let signer = Signer::load(&world.secret(&role, "signing"), &world.agreement, *world.hash.as_bytes(), role.clone());
        let custodian = Custodian {
            gate: gate.clone(),
            store: Store::open_at(&place).await.unwrap(),
            oprf: Arc::new(ServerKey::from_bytes(&key("oprf")).unwrap()),
            scalar: Arc::new(CustodianScalar::from_bytes(&key("pseudonym")).unwrap()),
            signer: Arc::new(signer.unwrap()),
            audit: AuditLog::open(&AuditConfig::default().place(&home).unwrap(), gate, role).unwrap(),
            work: Arc::new(Notify::new()),
        };
        let pool = Pool::connect(&place, "").await.unwrap();
        Self { retention: Retention::new(&home), world, clock, custodian, pool, home, persons: 0, requests: 0 }
    }

    /// Takes a run into the registry in which ccas delivers records for `month`, each a person of its own.
    async fn registered(&mut self, month: &str, records: &[u8]) {
        let (store, period, ccas): (_, Period, _) = (&self.custodian.store, month.parse().unwrap(), id("ccas"));
        let run = month.parse().unwrap();
        let sealed = [&40_u16.to_le_bytes()[..], &[7; 40], &0_u16.to_le_bytes()].concat();
        let of = |number: &u8| RunRecord {
            handle: Handle([*number; 16]),
            reference: record(*number),
            present: true,
            sealed: sealed.clone(),
        };
        let (all, count): (Vec<RunRecord>, _) = (records.iter().map(of).collect(), records.len() as u64);
        let held = HeldBatch { sequence: 0, records: count, digest: vec![0; 32] };
        store.put_records(&run, &ccas, &held, &all, count).await.unwrap();
        let upload = RecordUpload { digest: vec![0; 32], records: count, period, reference_party: None };
        store.commit_records(&run, &ccas, &upload, "{}").await.unwrap();
        store.put_clusters(&run, 0, true, &[0; 32], &[]).await.unwrap();
        assert!(store.clusters_complete(&run, period, &[ccas], None, b"{}").await.unwrap());
        let persons = &mut self.persons;
        let mint = || {
            *persons += 1;
            PersonId([0x50 + *persons; 16])
        };
        store.register(&run, mint).await.unwrap();
    }

    async fn asked(&mut self, kind: Kind, number: u8) -> Counts {
        self.requests += 1;
        let withdrawal = Withdrawal {
            party: id("ccas"),
            request: RequestId([self.requests; 16]),
            kind,
            references: vec![record(number)],
            restarted: Vec::new(),
        };
        let mut counted = Counts::default();
        let sign = |counts| {
            counted = counts;
            Ok(Signed { statement: Vec::new(), signature: Vec::new() })
        };
        self.custodian.store.withdraw(&withdrawal, sign).await.unwrap();
        counted
    }

    /// A round on that day; then rows of tables and references that are set aside, and rows, references and persons.
    async fn on(&self, day: Date) -> [i64; 5] {
        self.clock.set(format!("{day}T12:00:00Z").parse().unwrap());
        self.retention.delete_over_term(&self.custodian).await.unwrap();
        let mut counts = [0; 5];
        let tables = [
            "SELECT count(*) FROM set_aside_rows",
            "SELECT count(*) FROM set_aside_refs",
            "SELECT count(*) FROM link_rows",
            "SELECT count(*) FROM refs",
            "SELECT count(*) FROM persons",
        ];
        for (count, table) in counts.iter_mut().zip(tables) {
            *count = sqlx::query_scalar(table).fetch_one(&self.pool).await.unwrap();
        }
        counts
    }

    /// The last certificate: its rule, and what it counts of each set.
    fn certified(&self) -> (Certificate, Vec<(String, u64)>) {
        let path = Series::new(&self.home).files().unwrap().pop().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let certificate = read(&text, &self.world.agreement, self.world.hash.as_bytes()).unwrap();
        let sets = certificate.data.iter().map(|data| (data.set.clone(), data.records.unwrap())).collect();
        (certificate, sets)
    }
}

fn sets(named: &[(&str, u64)]) -> Vec<(String, u64)> {
    named.iter().map(|(set, records)| ((*set).to_owned(), *records)).collect()
}

async fn what_is_set_aside_goes_with_its_table_and_its_archive(on: On) {
    let mut bench = Bench::new(on).await;
    bench.registered("2024-01", &[1, 2, 3]).await;
    assert_eq!(bench.on(date(2024, 1, 20)).await, [0, 0, 3, 3, 3]);
    for number in [2, 3] {
        let counts = bench.asked(Kind::SetAside, number).await;
        assert_eq!((counts.references, counts.rows), (1, 1));
    }
    bench.registered("2024-06", &[4, 5]).await;
    bench.asked(Kind::SetAside, 5).await;
    assert_eq!(bench.on(date(2024, 6, 20)).await, [3, 3, 2, 2, 5]);

    // The table of January is there for a year: rows that were set aside as long, and not a day longer.
    assert_eq!(bench.on(date(2025, 1, 31)).await, [3, 3, 2, 2, 5]);
    assert_eq!(bench.on(date(2025, 2, 1)).await, [1, 3, 1, 2, 5]);
    let (certificate, counted) = bench.certified();
    assert_eq!(
        (certificate.rule.as_str(), counted),
        ("retention.link_tables_months", sets(&[("link-tables", 1), ("link-rows", 3)]))
    );
    // Lifted after that, a restriction gives the reference back, and no row.
    let counts = bench.asked(Kind::Restore, 3).await;
    assert_eq!((counts.references, counts.rows), (1, 0));
    assert_eq!(bench.on(date(2025, 6, 30)).await, [1, 2, 1, 3, 5]);
    assert_eq!(bench.on(date(2025, 7, 1)).await, [0, 2, 0, 3, 5]);

    // References two years, whether set aside or not, by the month that they were last delivered for.
    assert_eq!(bench.on(date(2026, 1, 31)).await, [0, 2, 0, 3, 5]);
    assert_eq!(bench.on(date(2026, 2, 1)).await, [0, 1, 0, 1, 2]);
    let (certificate, counted) = bench.certified();
    assert_eq!((certificate.rule.as_str(), counted), ("retention.archive_months", sets(&[("references", 3), ("persons", 3)])));
    assert_eq!(bench.on(date(2026, 7, 1)).await, [0; 5]);
    // What is gone cannot be put back.
    assert_eq!(bench.asked(Kind::Restore, 2).await, Counts::default());
    assert_eq!(bench.on(date(2026, 7, 2)).await, [0; 5]);
}

async fn what_is_set_aside_goes_with_the_agreement(on: On) {
    let mut bench = Bench::new(on).await;
    bench.clock.set("2029-12-20T12:00:00Z".parse().unwrap());
    bench.registered("2029-12", &[1, 2]).await;
    bench.asked(Kind::SetAside, 2).await;
    let last = date(2029, 12, 31);
    assert_eq!(bench.on(last).await, [1, 1, 1, 1, 2]);
    assert_eq!(bench.on(last.tomorrow().unwrap()).await, [0; 5]);
    let (certificate, counted) = bench.certified();
    assert_eq!((certificate.rule.as_str(), certificate.cause), ("agreement.end", Cause::End));
    for (set, records) in [("link-rows", 2), ("references", 3), ("persons", 2)] {
        assert!(counted.contains(&(set.to_owned(), records)), "{set}: {counted:?}");
    }
}
