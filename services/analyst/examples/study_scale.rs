//! Times a large study on disk: `cargo run --release -p linkage-analyst --example study_scale -- FOLDER 1000000 36`.
//!
//! Makes the study in FOLDER, run by run as the fetcher does, unless one is there already; then opens it as a service that
//! starts does and times what questions wait for. For each step: the time that passed and the processor time of all threads.
//! A configuration stands beside the study: `linkage analyst serve --config FOLDER/linkage.toml` opens its page.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../../../linkage-core/cohort/benches/made/mod.rs"]
#[allow(dead_code, reason = "benches take more of it")]
mod made;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{UInt8Type, UInt16Type, UInt32Type};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use linkage_agreement::model::{Analyst, AnalystRight, Attribute, Custodian, Identity, Party, Role};
use linkage_agreement::signature::SigningKey;
use linkage_agreement::{
    Agreement, Members, ParsedAgreement, PartyId, Pseudonym, RoleId, Signatures, Term, certificate_identity, sign,
};
use linkage_analyst::access::Who;
use linkage_analyst::config::AnalystConfig;
use linkage_analyst::desk::Desk;
use linkage_analyst::rows::{NewRow, Rows};
use linkage_analyst::study::StudyStore;
use linkage_analyst::tables::{RunFacts, RunTables};
use linkage_cohort::disclosure::keys::person_keys;
use linkage_cohort::households::Resolver;
use linkage_cohort::query::{Inputs, Query, evaluate};
use linkage_cohort::study::{Column, Households, Study};
use linkage_cohort::supersede::List;
use linkage_cohort::{FigureTable, MatchClass};
use linkage_common::AgreementFiles;
use linkage_common::authority::{DevAuthority, Validity};
use linkage_common::clock::{Clock as _, SystemClock};
use linkage_common::config::{SecretSource, write_secret};
use linkage_common::fsx;
use linkage_common::tls::TlsFiles;
use linkage_crypto::seal::SealingKey;
use linkage_crypto::signing::SigningKey as PartyKey;
use made::{Made, PARTIES, QUERIES, document};

/// What the page's overview asks, and questions about households.
const MORE: [(&str, &str); 3] = [
    ("overview: monthly stock", "measure = \"stock\""),
    ("households", "unit = \"households\"\nmeasure = \"stock\""),
    ("households by composition", "unit = \"households\"\nmeasure = \"stock\"\nbreakdown = [\"composition-menage\"]"),
];

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap());
    let mut number = |otherwise| arguments.next().map_or(otherwise, |a| a.parse::<u32>().unwrap());
    let (persons, months) = (number(1_000_000), number(36));
    let config = if folder.join("convention.toml").is_file() { config(&folder) } else { make(&folder, persons, months) };
    let agreement = ParsedAgreement::parse(&text(&config.agreement.agreement), "convention.toml").unwrap().agreement().clone();

    let store = timed("study: open", || StudyStore::open(&config.data_dir, &agreement).unwrap());
    let study = timed("study: read what it is", || store.study().unwrap());
    let rows: u64 = study.months.iter().map(|m| m.rows).sum();
    println!("{} persons, {} months, {rows} rows", study.persons, study.months.len());
    timed("one column of all months", || {
        for month in 0..study.months.len() {
            study.source.columns(month, &[Column::Person]).unwrap();
        }
    });
    let pseudonyms = timed("pseudonyms", || study.source.pseudonyms().unwrap());
    let keys = timed("person keys", || person_keys(&[7; 32], &pseudonyms));
    let households = Resolver::new(study.clone());
    for (name, body) in QUERIES.iter().chain(&MORE) {
        let query = Query::from_toml(&document(body, months)).unwrap();
        for run in ["first", "again"] {
            let ask = || figures(&study, &keys, &households, &query);
            timed(&format!("figures: {name}, {run}"), ask);
        }
    }
    drop((households, study, store));

    let (start, used) = (Instant::now(), processor());
    let desk = Arc::new(Desk::of(&config).await.unwrap());
    said("desk: open", start, used);
    let who = Who::Console("mesure".to_owned());
    for (name, body) in MORE.iter().chain(&QUERIES) {
        let query = Query::from_toml(&document(body, months)).unwrap();
        for run in ["first", "again"] {
            let (start, used) = (Instant::now(), processor());
            desk.answer_query(&query, &who).await.unwrap();
            said(&format!("desk: {name}, {run}"), start, used);
        }
    }
}

fn figures(study: &Study, keys: &[u64], households: &dyn Households, query: &Query) -> FigureTable {
    evaluate(query, study, Inputs { person_keys: keys, households: Some(households) }).unwrap()
}

fn timed<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let (start, used) = (Instant::now(), processor());
    let made = work();
    said(name, start, used);
    made
}

fn said(name: &str, start: Instant, used: f64) {
    println!("{name:<60} {:7.2} s, processor {:7.2} s", start.elapsed().as_secs_f64(), processor() - used);
}

/// Processor time of this process in seconds; Linux counts it in hundredths.
fn processor() -> f64 {
    let text = text(Path::new("/proc/self/stat"));
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Makes agreement, study and secrets.
fn make(folder: &Path, persons: u32, months: u32) -> AnalystConfig {
    let made = timed("rows made up", || Made::new(persons, months));
    let agreement = agreement(&made.study);
    let config = config(folder);
    fsx::create_private_dir(&config.data_dir).unwrap();
    let store = StudyStore::open(&config.data_dir, &agreement).unwrap();
    for month in 0..made.study.months.len() {
        let run = tables(&made.study, month);
        let period = run.facts.period;
        timed(&format!("run taken in: {period}"), || store.add(&run).unwrap());
    }
    let written = agreement.to_toml();
    let parsed = ParsedAgreement::parse(&written, "convention.toml").unwrap();
    let mut signatures = Signatures::default();
    for (party, number) in agreement.party.iter().zip(1..) {
        signatures.add(sign(&parsed, &party.id, &SigningKey::from_bytes(&[number; 32]), SystemClock.today()).unwrap());
    }
    fsx::write_atomic(&config.agreement.signatures, signatures.to_toml().as_bytes()).unwrap();
    serve_by(folder, &agreement);
    fsx::write_atomic(&config.agreement.agreement, written.as_bytes()).unwrap();
    config
}

/// Writes what the service needs to open the study's page. There is no custodian: no further run comes.
fn serve_by(folder: &Path, agreement: &Agreement) {
    let authority = DevAuthority::create("Mesure", SystemClock.now()).unwrap();
    let days = Validity::days(SystemClock.now(), 30);
    authority.issue_files(&agreement.analyst[0].certificate_identity, days, folder, "analyste").unwrap();
    let (certificate, key) = authority.issue_local_server(days).unwrap();
    fsx::write_atomic(&folder.join("page.pem"), certificate.as_bytes()).unwrap();
    fsx::write_atomic(&folder.join("page.key"), key.as_bytes()).unwrap();
    let at = |name: &str| format!("{:?}", std::path::absolute(folder.join(name)).unwrap());
    let mut written = format!("analyst = \"etude\"\nlisten = \"127.0.0.1:{}\"\n", port());
    written += &format!("data_dir = {}\ncustodian_url = \"https://127.0.0.1:1\"\n", at("donnees"));
    for (section, number) in [("sealing_key", 23), ("pseudonym_key", 7), ("signing_key", 23)] {
        write_secret(&folder.join(section), &[number; 32]).unwrap();
        written += &format!("[{section}]\nfile = {}\n", at(section));
    }
    written += &format!("[agreement]\nagreement = {}\nsignatures = {}\n", at("convention.toml"), at("signatures.toml"));
    let tls = |name: &str| {
        format!("ca = {}\ncertificate = {}\nkey = {}\n", at("ca.pem"), at(&format!("{name}.pem")), at(&format!("{name}.key")))
    };
    written += &format!("[tls]\n{}", tls("analyste"));
    let port = port();
    written += &format!("[page]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"https://127.0.0.1:{port}\"\nlocal_link = true\n");
    written += &format!("[page.tls]\n{}", tls("page"));
    fsx::write_atomic(&folder.join("linkage.toml"), written.as_bytes()).unwrap();
}

/// A port of the loopback interface that nothing listens on now.
fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn config(folder: &Path) -> AnalystConfig {
    let at = |name: &str| folder.join(name);
    AnalystConfig {
        analyst: "etude".parse().unwrap(),
        listen: "127.0.0.1:0".parse().unwrap(),
        data_dir: at("donnees"),
        database: None,
        custodian_url: "https://localhost:1".to_owned(),
        agreement: AgreementFiles { agreement: at("convention.toml"), signatures: at("signatures.toml"), terminations: None },
        tls: TlsFiles { ca: at("ca.pem"), certificate: at("analyste.pem"), key: at("analyste.key") },
        crl: None,
        limits: linkage_common::tls::Limits::default(),
        audit: Default::default(),
        ops: None,
        page: None,
        sealing_key: SecretSource::default(),
        pseudonym_key: SecretSource::default(),
        signing_key: SecretSource::default(),
    }
}

/// A trial agreement of the study's parties and attributes.
fn agreement(study: &Study) -> Agreement {
    let id: PartyId = "mesure".parse().unwrap();
    let uri = |role: RoleId| certificate_identity(&id, &role);
    let signing = |number: u8| PartyKey::from_bytes(&[number; 32]).verifying_key().to_base64();
    let sealing = |number: u8| SealingKey::from_bytes(&[number; 32]).public_key().to_base64();
    let (name, dpo_contact) = ("Organisme".to_owned(), "dpo@organisme.example".to_owned());
    let party = |(party, number): (&&str, u8)| Party {
        id: party.parse().unwrap(),
        name: format!("Service {number}"),
        dpo_contact: dpo_contact.clone(),
        certificate_identity: uri(RoleId::Party(party.parse().unwrap())),
        signing_key: signing(number),
        sealing_key: sealing(number),
        duplicate_free: false,
        max_records: 1_000_000,
        profile: None,
    };
    let members = Members {
        party: PARTIES.iter().zip(1..).map(party).collect(),
        broker: Role {
            name: name.clone(),
            dpo_contact: dpo_contact.clone(),
            certificate_identity: uri(RoleId::Broker),
            signing_key: signing(21),
        },
        custodian: Custodian {
            name: name.clone(),
            dpo_contact: dpo_contact.clone(),
            certificate_identity: uri(RoleId::Custodian),
            signing_key: signing(22),
            // The generator of ristretto255 (RFC 9496, section 4.1): a valid point.
            oprf_public_key: STANDARD
                .encode(hex::decode("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76").unwrap()),
        },
        analyst: vec![Analyst {
            id: "etude".parse().unwrap(),
            name,
            dpo_contact: dpo_contact.clone(),
            certificate_identity: uri(RoleId::Analyst("etude".parse().unwrap())),
            signing_key: signing(23),
            sealing_key: sealing(23),
            purpose: "mesure".to_owned(),
            may: vec![AnalystRight::Cohorts],
        }],
    };
    let today = SystemClock.today();
    let term = Term {
        start: jiff::civil::date(2022, 1, 1),
        end: jiff::civil::date(today.year() + 1, 12, 31),
        first_period: "2022-01".parse().unwrap(),
    };
    let attributes = study.attributes.iter().map(|a| Attribute { name: a.name.clone(), rule: a.rule.clone() }).collect();
    Agreement::for_trial(id, members, Identity::french(), attributes, term).unwrap()
}

/// A pseudonym that looks like one: `kind` keeps persons and records apart.
fn pseudonym(kind: u64, number: u32) -> Pseudonym {
    let mut bytes = [0; 16];
    let mut state = ((kind << 32) | u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for half in bytes.chunks_mut(8) {
        // SplitMix64 (Steele, Lea, Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        half.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    Pseudonym(bytes)
}

/// A month as the fetcher hands it over.
fn tables(study: &Study, at: usize) -> RunTables {
    let month = &study.months[at];
    let count = study.attributes.len();
    let mut wanted =
        vec![Column::Person, Column::Party, Column::Record, Column::Household, Column::MatchClass, Column::Probability];
    wanted.extend((0..count).map(Column::Attribute));
    let batch = study.source.columns(at, &wanted).unwrap();
    let numbers = |at: usize| batch.column(at).as_primitive::<UInt32Type>();
    let (parties, classes) = (batch.column(1).as_primitive::<UInt8Type>(), batch.column(4).as_primitive::<UInt8Type>());
    let probabilities = batch.column(5).as_primitive::<UInt16Type>();
    let mut rows = Rows::new(count);
    let mut values: Vec<Option<&str>> = vec![None; count];
    for row in 0..batch.num_rows() {
        for (number, (place, attribute)) in values.iter_mut().zip(&study.attributes).enumerate() {
            let codes = batch.column(6 + number).as_primitive::<UInt16Type>();
            *place = codes.is_valid(row).then(|| attribute.values[usize::from(codes.value(row))].as_str());
        }
        let household = numbers(3).value(row).to_string();
        rows.push(NewRow {
            person: pseudonym(1, numbers(0).value(row)),
            party: parties.value(row),
            record: pseudonym(2, numbers(2).value(row)),
            match_class: [MatchClass::Single, MatchClass::Certain, MatchClass::Probable][usize::from(classes.value(row))],
            probability: probabilities.value(row),
            household: Some(&household),
            values: &values,
        });
    }
    RunTables {
        facts: RunFacts {
            run: month.run.clone(),
            period: month.period,
            parties: study.parties.clone(),
            reference_party: None,
            position: at as u64 + 1,
            attributes: study.attributes.iter().map(|a| a.name.clone()).collect(),
        },
        rows,
        supersessions: List { run: month.run.clone(), merges: Vec::new(), moves: Vec::new() },
        report: b"{}".to_vec(),
    }
}
