//! Six years under a clock that the test moves: each class of data is there on the last day of its term and in no file, and
//! on no page of a database, on the next; every deletion has a certificate; the agreement's end leaves nothing.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::ToSpan;
use jiff::civil::{Date, date};
use linkage_agreement::{Handle, PartyId, Period, PersonId, Pseudonym, RecordRef, RoleId, RunId};
use linkage_analyst::access::{Access, AccessLog, Action, Outcome, Who};
use linkage_analyst::journal::Journal;
use linkage_analyst::retention::Keeper;
use linkage_analyst::rows::{NewRow, Rows};
use linkage_analyst::study::StudyStore;
use linkage_analyst::tables::{RunFacts, RunTables, Tables};
use linkage_analyst::users::Users;
use linkage_broker::service::Broker;
use linkage_broker::spill::SpillFolder;
use linkage_broker::store::{Contribution, Run, State};
use linkage_broker::worker::Worker;
use linkage_cohort::MatchClass;
use linkage_cohort::supersede::List;
use linkage_common::MockClock;
use linkage_common::audit::AuditLog;
use linkage_common::batches::HeldBatch;
use linkage_common::blob::{BlobName, BlobStore};
use linkage_common::clock::Clock;
use linkage_common::deletion::series::Series;
use linkage_common::deletion::{Cause, Certificate, Draft, read};
use linkage_common::gate::Gate;
use linkage_common::signer::Signer;
use linkage_crypto::derive::SharedKey;
use linkage_crypto::oprf::ServerKey;
use linkage_crypto::pseudonym::CustodianScalar;
use linkage_crypto::storage::{Place, StorageKey};
use linkage_custodian::dispositions::{Half, Verdict};
use linkage_custodian::service::Custodian;
use linkage_custodian::store::{RecordUpload, RunRecord};
use linkage_node::Node;
use linkage_node::oprf::Evaluator;
use linkage_node::progress::Progress;
use linkage_proto::v1::dispositions_client::DispositionsClient;
use linkage_proto::v1::registry_client::RegistryClient;
use linkage_tests::federation::files;
use linkage_tests::fixture::{World, id, until};
use tokio::sync::Notify;

/// The agreement's terms in these tests: short ones, so that six years see each of them several times.
fn world() -> World {
    World::altered(|agreement| {
        agreement.agreement.end = date(2029, 12, 31);
        agreement.retention.names_days = 30;
        agreement.retention.archive_months = 24;
        agreement.retention.encodings_days = 7;
        agreement.retention.link_tables_months = 12;
        agreement.retention.access_log_months = 6;
        agreement.retention.last_contact_months = Some(24);
        agreement.retention.deceased_months = Some(6);
    })
}

fn months() -> Vec<Period> {
    let mut month: Period = "2024-01".parse().unwrap();
    let mut all = Vec::new();
    while month.year() < 2030 {
        all.push(month);
        month = month.next();
    }
    all
}

fn day(month: Period, day: i8) -> Date {
    date(i16::try_from(month.year()).unwrap(), i8::try_from(month.index() % 12 + 1).unwrap(), day)
}

fn set(clock: &MockClock, day: Date) {
    clock.set(format!("{day}T12:00:00Z").parse().unwrap());
}

fn gate(world: &World, clock: &MockClock) -> Arc<Gate> {
    Arc::new(Gate::load(&world.files(), Arc::new(clock.clone())).unwrap())
}

fn signer(world: &World, role: RoleId) -> Arc<Signer> {
    Arc::new(Signer::load(&world.secret(&role, "signing"), &world.agreement, *world.hash.as_bytes(), role).unwrap())
}

fn audit(gate: &Arc<Gate>, home: &Path, role: RoleId) -> AuditLog {
    AuditLog::open(&linkage_common::audit::AuditConfig::default().place(home).unwrap(), gate.clone(), role).unwrap()
}

/// All certificates of a role, verified, numbered without a gap.
fn certificates(world: &World, home: &Path) -> Vec<Certificate> {
    let paths = Series::new(home).files().unwrap();
    let texts = paths.iter().map(|path| fs::read_to_string(path).unwrap());
    let all: Vec<Certificate> = texts.map(|text| read(&text, &world.agreement, world.hash.as_bytes()).unwrap()).collect();
    assert_eq!(all.iter().map(|c| c.number).collect::<Vec<_>>(), (1..=all.len() as u64).collect::<Vec<_>>());
    all
}

fn by_rule(certificates: &[Certificate]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for certificate in certificates {
        *counts.entry(certificate.rule.clone()).or_default() += 1;
    }
    counts
}

/// Files below `folder`, but for those whose path begins with one of `but`, that hold `needle`.
fn holding(folder: &Path, but: &[&str], needle: &[u8]) -> Vec<String> {
    let held = |path: &Path| fs::read(path).unwrap().windows(needle.len()).any(|window| window == needle);
    let searched = files(folder).into_iter().filter(|(name, _)| !but.iter().any(|b| name.starts_with(b)));
    searched.filter(|(_, path)| held(path)).map(|(name, _)| name).collect()
}

/// Sealed files of a node that hold `reference`, in bytes or in hexadecimal.
fn sealed_holding(world: &World, state: &Path, reference: &RecordRef) -> Vec<String> {
    let key = StorageKey::from_bytes(&world.key(&RoleId::Party(id("ccas")), "storage"));
    let hex = reference.to_hex();
    let mut found = Vec::new();
    for (name, path) in files(state) {
        let Some(table) = name.strip_suffix(".enc") else { continue };
        let open = key.open(Place { table, row: b"" }, &fs::read(&path).unwrap()).unwrap();
        let holds = |needle: &[u8]| open.windows(needle.len()).any(|window| window == needle);
        if holds(&reference.0) || holds(hex.as_bytes()) {
            found.push(name);
        }
    }
    found
}

const HEADER: &str = "local_id,nom_naissance,nom_usage,prenoms,sexe,date_naissance,code_lieu_naissance,lieu_naissance,pays_naissance,\
    commune_residence,composition,nb_enfants,date_dernier_contact,date_deces\n";

/// The delivery of a month: who is in it, and what their dates are.
fn delivery(world: &World, month: Period) -> PathBuf {
    let text = month.to_string();
    let mut file = HEADER.to_owned();
    let mut line = |name: &str, born: &str, contact: &str, death: &str| {
        file.push_str(&format!(
            "{name},{name}SKI,,Anne,2,{born},34172,Montpellier,FRANCE,34172,personne seule,1,{contact},{death}\n"
        ));
    };
    line("TOUJOURS", "1980-05-17", &format!("{text}-02"), "");
    line("CONTACT", "1981-06-18", "2024-02-10", "");
    if text.as_str() < "2024-04" {
        line("PARTIE", "1982-07-19", "", "");
    }
    if text.as_str() < "2024-08" {
        line("ELOIGNEE", "1983-08-20", "2024-06-20", "");
    }
    if text.as_str() < "2025-09" {
        line("DECEDEE", "1984-09-21", "", if text.as_str() < "2024-12" { "" } else { "2024-12-15" });
    }
    let path = world.path("ccas.csv");
    fs::write(&path, file).unwrap();
    path
}

#[tokio::test]
async fn a_node_over_six_years() {
    let world = world();
    let clock = MockClock::at("2024-01-20T12:00:00Z".parse().unwrap());
    let january = delivery(&world, "2024-01".parse().unwrap());
    let config = world.node_config("ccas");
    let mapping = linkage_node::intake::propose(&id("ccas"), &january).unwrap().mapping.confirm();
    fs::write(&config.mapping, mapping.to_toml(|_| None)).unwrap();
    let node = Node::open_at(config, Arc::new(clock.clone())).unwrap();
    let state = node.config.state_dir.clone();
    let mut evaluator = Evaluator::Shared(SharedKey::from_bytes(&[5; 32]));

    // First day without, last day with: by the rule that ends each record's term.
    let ends = [
        ("PARTIE", date(2026, 4, 1)),   // last delivered in 2024-03, archive of 24 months
        ("CONTACT", date(2026, 2, 11)), // last contact on 2024-02-10, 24 months
        ("ELOIGNEE", date(2026, 6, 21)),
        ("DECEDEE", date(2025, 6, 16)),
        ("TOUJOURS", date(2030, 1, 1)), // the agreement's end
    ];
    let mut references: BTreeMap<&str, RecordRef> = BTreeMap::new();
    let mut today = date(2024, 1, 20);
    let mut deliveries = months().into_iter().peekable();
    let mut checked = 0;
    while today <= date(2030, 1, 2) {
        set(&clock, today);
        if deliveries.peek().is_some_and(|month| day(*month, 20) == today) {
            let month = deliveries.next().unwrap();
            let summary = node.ingest(&delivery(&world, month), month, &mut evaluator, &Progress::silent()).await.unwrap();
            let over = u64::from(today >= ends[1].1) + u64::from(today >= ends[3].1 && month.to_string().as_str() < "2025-09");
            assert_eq!(
                (summary.set_aside, summary.records + summary.set_aside),
                (over, summary.lines),
                "{month}: {:?}",
                summary.reasons
            );
            for (name, found) in ends.iter().map(|(n, _)| *n).zip(node.references_of(ends.iter().map(|(n, _)| *n)).unwrap()) {
                if let Some(found) = found {
                    assert_eq!(*references.entry(name).or_insert(found), found, "{name} was known by another reference");
                }
            }
        }
        node.delete_over_term().await.unwrap();
        // Names: for thirty days from the day on which they were taken in.
        for month in months() {
            let taken_in = day(month, 20);
            let there = today >= taken_in && today <= taken_in.checked_add(30.days()).unwrap() && today < date(2030, 1, 1);
            assert_eq!(state.join(format!("names/{month}.enc")).is_file(), there, "names of {month} on {today}");
        }
        let first = ends.iter().any(|(_, end)| today == *end || today.tomorrow().unwrap() == *end);
        if first || today.day() == 1 {
            checked += 1;
            for (name, end) in ends {
                let Some(reference) = references.get(name) else { continue };
                let found = sealed_holding(&world, &state, reference);
                assert_eq!(!found.is_empty(), today < end, "{name} on {today}: {found:?}");
                if today < end {
                    assert!(found.iter().any(|f| f.starts_with("archive/segment")), "{name} on {today}: {found:?}");
                }
            }
            for month in months() {
                let (from, to) = (day(month, 20), day(month, 1).checked_add(25.months()).unwrap());
                let there = today >= from && today < to && today < date(2030, 1, 1);
                assert_eq!(state.join(format!("deliveries/{month}.enc")).is_file(), there, "delivery of {month} on {today}");
            }
        }
        today = today.tomorrow().unwrap();
    }
    assert!(checked > 72, "{checked}");

    let sealed: Vec<String> = files(&state).into_iter().map(|f| f.0).filter(|f| f.ends_with(".enc")).collect();
    assert_eq!(sealed, Vec::<String>::new());
    let all = certificates(&world, &state);
    let rules = by_rule(&all);
    assert_eq!(rules["agreement.end"], 1);
    assert_eq!((rules["retention.last_contact_months"], rules["retention.deceased_months"]), (2, 1));
    assert!(rules["retention.names_days"] >= 71 && rules["retention.archive_months"] >= 46, "{rules:?}");
    assert!(all.iter().all(|c| c.role == "party/ccas" && !c.data.is_empty()));
    assert_eq!(all.last().unwrap().cause, Cause::End);
    // Nothing that identifies: neither names nor references.
    for reference in references.values() {
        assert_eq!(holding(&state.join("certificates"), &[], reference.to_hex().as_bytes()), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_node_goes_on_with_what_it_had_begun_and_deletes_all_when_a_partner_gives_notice() {
    let world = world();
    let clock = MockClock::at("2024-01-20T12:00:00Z".parse().unwrap());
    let month: Period = "2024-01".parse().unwrap();
    let path = delivery(&world, month);
    let config = world.node_config("ccas");
    let mapping = linkage_node::intake::propose(&id("ccas"), &path).unwrap().mapping.confirm();
    fs::write(&config.mapping, mapping.to_toml(|_| None)).unwrap();
    let node = Node::open_at(config, Arc::new(clock.clone())).unwrap();
    let state = node.config.state_dir.clone();
    let mut evaluator = Evaluator::Shared(SharedKey::from_bytes(&[5; 32]));
    node.ingest(&path, month, &mut evaluator, &Progress::silent()).await.unwrap();

    // Killed after it was written down, on the day of the term: the next round deletes and signs, under that number.
    let as_of = date(2024, 2, 20);
    let draft = Draft {
        rule: "retention.names_days".to_owned(),
        value: Some(30),
        cause: Cause::Term,
        as_of,
        run: None,
        data: vec![linkage_common::deletion::DataSet::files("names", 1)],
    };
    set(&clock, as_of);
    assert_eq!(Series::new(&state).begin(&draft).unwrap(), 1);
    set(&clock, date(2024, 2, 22));
    node.delete_over_term().await.unwrap();
    assert!(!state.join("names/2024-01.enc").is_file());
    let all = certificates(&world, &state);
    assert_eq!((all.len(), all[0].as_of), (1, as_of));
    node.delete_over_term().await.unwrap();
    assert_eq!(certificates(&world, &state).len(), 1);

    // A notice: all is there on the last day with the agreement, and nothing on the next.
    fs::create_dir_all(world.notices()).unwrap();
    fs::write(world.notices().join("siao.toml"), world.notice("siao", date(2024, 3, 1))).unwrap();
    set(&clock, date(2024, 2, 29));
    node.delete_over_term().await.unwrap();
    assert!(state.join("refs.enc").is_file());
    set(&clock, date(2024, 3, 1));
    node.delete_over_term().await.unwrap();
    let left: Vec<String> =
        files(&state).into_iter().map(|f| f.0).filter(|f| f.ends_with(".enc") || f.ends_with(".csv")).collect();
    assert_eq!(left, Vec::<String>::new());
    let last = certificates(&world, &state).pop().unwrap();
    assert_eq!((last.rule.as_str(), last.cause), ("agreement.end", Cause::Termination(id("siao"))));
    // An operator's deletion finds nothing left to certify.
    assert_eq!(node.delete_names().unwrap(), 0);
    assert_eq!(certificates(&world, &state).len(), 2);
}

/// 16 bytes of a kind for a month: nothing else in the database is like them.
fn name(kind: u8, month: Period) -> [u8; 16] {
    let mut bytes = [kind; 16];
    bytes[12..].copy_from_slice(&month.index().to_be_bytes());
    bytes
}

#[tokio::test]
async fn a_custodian_over_six_years() {
    let world = world();
    let clock = MockClock::at("2024-01-20T12:00:00Z".parse().unwrap());
    let (home, gate) = (world.path("custodian"), gate(&world, &clock));
    let key = |kind: &str| world.key(&RoleId::Custodian, kind);
    let custodian = Custodian {
        gate: gate.clone(),
        store: linkage_custodian::store::Store::open(&home.join("custodian.sqlite")).await.unwrap(),
        oprf: Arc::new(ServerKey::from_bytes(&key("oprf")).unwrap()),
        scalar: Arc::new(CustodianScalar::from_bytes(&key("pseudonym")).unwrap()),
        signer: signer(&world, RoleId::Custodian),
        audit: audit(&gate, &home, RoleId::Custodian),
        work: Arc::new(Notify::new()),
    };
    let retention = linkage_custodian::retention::Retention::new(&home);
    let store = &custodian.store;
    let (ccas, siao) = (id("ccas"), id("siao"));
    let half = |dossier: u8, expiry| Half {
        dossier: [dossier; 32],
        partner: siao.clone(),
        reference: RecordRef([0xd1; 16]),
        second: None,
        verdict: Verdict::Refuted,
        expiry,
    };
    store.put_dispositions(&ccas, &[half(0xd7, date(2025, 6, 30))], date(2024, 1, 20)).await.unwrap();
    let probe = store.point_domain(&[1; 32]).await.unwrap();

    // One record that stays, one of each month that is delivered once.
    let always = RecordRef([0xaa; 16]);
    let there = |needle: &[u8]| !holding(&home, &["certificates", "audit"], needle).is_empty();
    for month in months() {
        set(&clock, day(month, 20));
        let run: RunId = month.to_string().parse().unwrap();
        let once = RecordRef(name(0xbb, month));
        let sealed = |kind: u8| [&40_u16.to_le_bytes()[..], &name(kind, month), &[kind; 24], &0_u16.to_le_bytes()].concat();
        store.declare(&ccas, month, 10).await.unwrap();
        store.charge(&ccas, month, &name(0xee, month), 4, |declared| declared * 4).await.unwrap();
        for (party, reference, kind) in [(&ccas, always, 0xca), (&siao, once, 0xc1)] {
            let record = RunRecord { handle: Handle(name(kind, month)), reference, present: true, sealed: sealed(kind) };
            let held = HeldBatch { sequence: 0, records: 1, digest: vec![0; 32] };
            store.put_records(&run, party, &held, &[record], 10).await.unwrap();
            let upload = RecordUpload { digest: vec![0; 32], records: 1, period: month, reference_party: None };
            store.commit_records(&run, party, &upload, "{}").await.unwrap();
        }
        store.put_clusters(&run, 0, true, &[0; 32], &[]).await.unwrap();
        let report = [b"report".as_slice(), &name(0xf0, month)].concat();
        let parties = [ccas.clone(), siao.clone()];
        assert!(store.clusters_complete(&run, month, &parties, None, &report).await.unwrap());
        let mut minted = 0;
        let mint = || {
            minted += 1;
            PersonId(name(0x50 + minted, month))
        };
        store.register(&run, mint).await.unwrap();
        store
            .keep_points(probe, &[], &[(once, [name(0x99, month), name(0x98, month)].concat().try_into().unwrap())])
            .await
            .unwrap();
        retention.delete_over_term(&custodian).await.unwrap();

        // Of twelve months before: the table, its attributes and its report; of twenty-four: references, persons, points.
        let year_before = |n: u16| Period::new(month.year() - n, u8::try_from(month.index() % 12 + 1).unwrap()).unwrap();
        let last_day = day(month, 1).last_of_month();
        for (years, kinds) in [(1, vec![0xca, 0xc1, 0xf0]), (2, vec![0xbb, 0x99, 0xee])] {
            let old = year_before(years);
            if old.year() < 2024 {
                continue;
            }
            set(&clock, last_day);
            retention.delete_over_term(&custodian).await.unwrap();
            let present: Vec<bool> = kinds.iter().map(|kind| there(&name(*kind, old))).collect();
            assert_eq!(present, vec![true; kinds.len()], "{old} on {last_day}: {kinds:x?}");
        }
        set(&clock, last_day.tomorrow().unwrap());
        if month.to_string() == "2029-12" {
            break;
        }
        retention.delete_over_term(&custodian).await.unwrap();
        for (years, kinds) in [(1, vec![0xca, 0xc1, 0xf0]), (2, vec![0xbb, 0x99, 0xee])] {
            let old = year_before(years);
            if old.year() < 2024 {
                continue;
            }
            for kind in kinds {
                let found = holding(&home, &["certificates", "audit"], &name(kind, old));
                assert_eq!(found, Vec::<String>::new(), "{kind:x} of {old} the day after {last_day}");
            }
            let run: RunId = old.to_string().parse().unwrap();
            assert_eq!(store.run_state(&run).await.unwrap().as_deref(), Some("expired"));
        }
        assert!(there(&always.0), "{month}");
        assert_eq!(there(&[0xd7; 32]), clock.today() <= date(2025, 6, 30), "{month}");
    }
    // The end: no row is left, and the counts of evaluations go too.
    set(&clock, date(2030, 1, 1));
    retention.delete_over_term(&custodian).await.unwrap();
    assert!(!there(&always.0));
    assert_eq!(store.ready().await.unwrap().len(), 0);
    let all = certificates(&world, &home);
    let rules = by_rule(&all);
    assert_eq!((rules["agreement.end"], rules["dispositions.expiry"]), (1, 1));
    assert_eq!((rules["retention.link_tables_months"], rules["retention.archive_months"]), (59, 47));
    assert_eq!((all.last().unwrap().cause.clone(), all.len()), (Cause::End, rules.values().sum()));
    retention.delete_over_term(&custodian).await.unwrap();
    assert_eq!(certificates(&world, &home).len(), all.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_gives_up_runs_that_do_not_end_and_keeps_nothing_after_the_agreement() {
    let world = world();
    let _custodian = world.serve_custodian();
    let clock = MockClock::at("2024-02-01T12:00:00Z".parse().unwrap());
    let (home, gate) = (world.path("broker"), gate(&world, &clock));
    let blobs = BlobStore::local(&home.join("uploads")).unwrap();
    let broker = Broker {
        gate: gate.clone(),
        store: linkage_broker::store::Store::open(&home.join("broker.sqlite")).await.unwrap(),
        blobs: blobs.clone(),
        signer: signer(&world, RoleId::Broker),
        audit: audit(&gate, &home, RoleId::Broker),
        work: Arc::new(Notify::new()),
    };
    drop(SpillFolder::new(&home.join("spill")).unwrap());
    let url = world.url(&RoleId::Custodian);
    let channel = linkage_common::tls::connect_lazy(&url, &world.tls(&RoleId::Broker), &world.uri(&RoleId::Custodian)).unwrap();
    let worker = Worker {
        broker: broker.clone(),
        outputs: BlobStore::local(&home.join("outputs")).unwrap(),
        spill: home.join("spill"),
        held: home.join("held"),
        memory_bytes: 1 << 28,
        custodian: RegistryClient::new(channel.clone()),
        dispositions: DispositionsClient::new(channel),
        shared: false,
        retention: linkage_broker::retention::Retention::new(&home),
        owner: "essai".to_owned(),
    };
    let retention = linkage_broker::retention::Retention::new(&home);
    let worker = tokio::spawn(worker.run());
    let hash = gate.agreement_hash();
    let (ccas, siao): (PartyId, PartyId) = (id("ccas"), id("siao"));
    let open = |name: &str| Run {
        id: name.parse().unwrap(),
        period: "2024-01".parse().unwrap(),
        parties: vec![ccas.clone(), siao.clone()],
        reference_party: None,
        base_run: None,
        kept: false,
        held: false,
        state: State::Collecting,
        step: String::new(),
        reason: String::new(),
        order_signature: vec![1; 64],
    };
    let run = open("oublie");
    broker.store.insert_run(&run, &hash, gate.now()).await.unwrap();
    blobs.put(&BlobName::new(&run.id, &ccas, 0), vec![0xab; 4_000].into()).await.unwrap();
    let batch = HeldBatch { sequence: 0, records: 3, digest: vec![0xcd; 32] };
    broker.store.insert_batch(&run, &ccas, &batch, 100).await.unwrap();
    let envelope = Contribution { from: ccas.clone(), to: siao.clone(), envelope: vec![0xef; 144] };
    broker.store.put_contributions(&hash, &[envelope]).await.unwrap();

    // Thirty-one days after its opening it is there, and on the next day given up.
    clock.set("2024-03-03T11:59:59Z".parse().unwrap());
    retention.delete_over_term(&broker).await.unwrap();
    assert_eq!(broker.store.run(&run.id).await.unwrap().state, State::Collecting);
    assert!(home.join("uploads/oublie").is_dir());
    clock.set("2024-03-03T12:00:00Z".parse().unwrap());
    retention.delete_over_term(&broker).await.unwrap();
    let text = until("the certificate", || async { broker.store.deletion(&run.id).await.unwrap() }).await;
    let certificate = read(&text, &world.agreement, world.hash.as_bytes()).unwrap();
    assert_eq!((certificate.cause, certificate.run.unwrap()), (Cause::RunEnded, run.id.clone()));
    assert_eq!(broker.store.run(&run.id).await.unwrap().state, State::Failed);
    assert_eq!(holding(&home, &["certificates", "audit"], &[0xab; 400]), Vec::<String>::new());
    assert_eq!(holding(&home, &["certificates", "audit"], &[0xcd; 32]), Vec::<String>::new());

    // A run under way on the agreement's last day goes with everything else on the next.
    clock.set("2029-12-31T12:00:00Z".parse().unwrap());
    let late = open("tardif");
    broker.store.insert_run(&late, &hash, gate.now()).await.unwrap();
    blobs.put(&BlobName::new(&late.id, &siao, 0), vec![0xba; 4_000].into()).await.unwrap();
    retention.delete_over_term(&broker).await.unwrap();
    assert_eq!(broker.store.run(&late.id).await.unwrap().state, State::Collecting);
    assert!(!holding(&home, &["certificates", "audit"], &[0xef; 144]).is_empty());
    clock.set("2030-01-01T00:00:00Z".parse().unwrap());
    until("an empty database", || async {
        retention.delete_over_term(&broker).await.unwrap();
        broker.store.runs().await.unwrap().is_empty().then_some(())
    })
    .await;
    for needle in [[0xba; 144], [0xef; 144]] {
        assert_eq!(holding(&home, &["certificates", "audit"], &needle), Vec::<String>::new());
    }
    retention.delete_over_term(&broker).await.unwrap();
    worker.abort();
    let rules = by_rule(&certificates(&world, &home));
    assert_eq!((rules["agreement.end"], rules["retention.encodings_days"]), (1, 2));
}

/// A month's run of the analyst's: one person of all months, one of this month alone.
fn tables(month: Period) -> RunTables {
    let run: RunId = month.to_string().parse().unwrap();
    let mut rows = Rows::new(0);
    for (person, record) in [([0xaa; 16], [0xab; 16]), (name(0xbb, month), name(0xbc, month))] {
        rows.push(NewRow {
            person: Pseudonym(person),
            party: 0,
            record: Pseudonym(record),
            match_class: MatchClass::Probable,
            probability: 9_000,
            household: None,
            values: &[],
        });
    }
    let facts = RunFacts {
        run: run.clone(),
        period: month,
        parties: vec![id("ccas")],
        reference_party: None,
        position: u64::from(month.index()),
        attributes: Vec::new(),
    };
    RunTables { facts, rows, supersessions: List { run, merges: vec![], moves: vec![] }, report: b"{}".to_vec() }
}

#[test]
fn an_analysts_side_over_six_years() {
    let world = World::altered(|agreement| {
        agreement.agreement.end = date(2029, 12, 31);
        agreement.retention.link_tables_months = 12;
        agreement.retention.access_log_months = 6;
        agreement.retention.after_end_days = Some(10);
        agreement.attribute.clear();
    });
    let clock = MockClock::at("2024-01-20T12:00:00Z".parse().unwrap());
    let (home, gate) = (world.path("etude"), gate(&world, &clock));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    fs::create_dir_all(&home).unwrap();
    let journal = runtime.block_on(Journal::open(&home)).unwrap();
    let keeper = Keeper {
        gate: gate.clone(),
        data_dir: home.clone(),
        tables: Tables::open(&home).unwrap(),
        study: StudyStore::open(&home, gate.agreement()).unwrap(),
        access: AccessLog::open(&home, Arc::new(clock.clone())).unwrap(),
        signer: signer(&world, RoleId::Analyst(id("etude"))),
        audit: audit(&gate, &home, RoleId::Analyst(id("etude"))),
        users: Users::of(&journal),
        told: Arc::default(),
    };
    let who = Who::Console("essai".to_owned());
    let look =
        Access { who: &who, action: Action::View, subject: "page", query: None, publication: None, outcome: Outcome::Done };
    let studied = |month: Period| {
        let months = keeper.study.months().unwrap();
        let kept = months.iter().any(|(known, _)| *known == month);
        let named = [name(0xbb, month), name(0xbc, month)].map(|n| !holding(&home.join("study"), &[], &n).is_empty());
        let run: RunId = month.to_string().parse().unwrap();
        let of_month = linkage_analyst::retention::may_hold(&gate, month);
        assert_eq!([kept, named[0], named[1], keeper.tables.has(&run)], [of_month; 4], "{month} on {}", clock.today());
        of_month
    };
    for month in months() {
        set(&clock, day(month, 20));
        let run = tables(month);
        keeper.study.add(&run).unwrap();
        keeper.tables.write(&run, true).unwrap();
        keeper.access.note(&look).unwrap();
        for today in [day(month, 1).last_of_month(), day(month, 1).last_of_month().tomorrow().unwrap()] {
            if today == date(2030, 1, 1) {
                break;
            }
            set(&clock, today);
            keeper.delete_over_term().unwrap();
            for old in months().into_iter().filter(|old| *old <= month && old.index() + 14 > month.index()) {
                assert_eq!(studied(old), old.index() + 12 >= Period::of(today).index());
            }
            let logged = keeper.access.months().unwrap();
            assert!(logged.iter().all(|old| old.index() + 6 >= Period::of(today).index()), "{today}: {logged:?}");
            assert_eq!(
                logged.len(),
                (month.index() - months()[0].index() + 1).min(if today.day() == 1 { 6 } else { 7 }) as usize
            );
        }
        assert!(!holding(&home.join("study"), &[], &[0xaa; 16]).is_empty());
    }
    // The days after the end that the agreement gives: all is there on the tenth, nothing on the next.
    fs::write(home.join("shown.jsonl"), "{}\n").unwrap();
    set(&clock, date(2030, 1, 10));
    keeper.delete_over_term().unwrap();
    assert!(!holding(&home.join("study"), &[], &[0xaa; 16]).is_empty());
    set(&clock, date(2030, 1, 11));
    keeper.delete_over_term().unwrap();
    assert_eq!(holding(&home, &["certificates", "access"], &[0xaa; 16]), Vec::<String>::new());
    assert_eq!((keeper.study.months().unwrap().len(), keeper.tables.runs().unwrap().len()), (0, 0));
    assert!(!home.join("shown.jsonl").is_file());
    // The log of who looked goes in its own time.
    assert!(!keeper.access.months().unwrap().is_empty());
    set(&clock, date(2030, 7, 1));
    keeper.delete_over_term().unwrap();
    assert!(keeper.access.months().unwrap().is_empty());
    let rules = by_rule(&certificates(&world, &home));
    assert_eq!((rules["agreement.end"], rules["retention.link_tables_months"]), (1, 60));
}
