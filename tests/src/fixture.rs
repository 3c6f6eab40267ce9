//! An agreement and its roles in one process: real keys, certificates and TLS on loopback, folders that vanish.
//!
//! A test takes the place of any role by its certificate and says to the others what no honest one would. The agreement is
//! small (4 tokens of 64-bit filters, so a record has 336 bytes) and can be altered before it is signed.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::date;
use linkage_agreement::model::{Analyst, AnalystRight, Attribute, Custodian, Identity, Party, Role, Rule};
use linkage_agreement::{
    Agreement, AgreementHash, Members, ParsedAgreement, PartyId, Period, RoleId, RunId, Signatures, Term, Termination,
    certificate_identity, sign, signature,
};
use linkage_analyst::config::AnalystConfig;
use linkage_broker::config::BrokerConfig;
use linkage_common::AgreementFiles;
use linkage_common::authority::{DevAuthority, Validity};
use linkage_common::config::{SecretSource, write_secret};
use linkage_common::error::ServiceError;
use linkage_common::order::{RunOrder, RunTerms};
use linkage_common::tls::Channel;
use linkage_common::tls::{ConnectError, Limits, TlsFiles};
use linkage_crypto::oprf::{Mode, ServerKey};
use linkage_crypto::pseudonym::{AnalystScalar, CustodianScalar};
use linkage_crypto::seal::SealingKey;
use linkage_crypto::signing::SigningKey;
use linkage_custodian::config::CustodianConfig;
use linkage_node::config::NodeConfig;
use linkage_proto::v1;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

/// Longest wait for what must come, reached by a test that fails.
pub const LONG: Duration = Duration::from_secs(120);
/// The month of all tests.
pub const PERIOD: &str = "2024-01";
/// The analysts' agreed attributes.
pub const ATTRIBUTES: [&str; 2] = ["composition", "nb_enfants"];
/// Names and dates of birth in the fixture's deliveries: no message may hold one.
pub const PERSONAL: [&str; 6] = ["MARZOUKI", "Le Goffic", "Annick", "Yasmina", "1971-03-09", "1988-11-23"];

/// The agreement's organisations on disk, and their addresses.
pub struct World {
    dir: TempDir,
    /// Issues certificates that everyone trusts.
    pub authority: DevAuthority,
    /// The signed agreement.
    pub agreement: Agreement,
    /// Its hash.
    pub hash: AgreementHash,
    addresses: [SocketAddr; 3],
}

/// A party's or role's identifier.
pub fn id(text: &str) -> PartyId {
    text.parse().unwrap()
}

/// A run's identifier.
pub fn run(text: &str) -> RunId {
    text.parse().unwrap()
}

/// The month of all tests.
pub fn period() -> Period {
    PERIOD.parse().unwrap()
}

/// A partner.
pub fn party(name: &str) -> RoleId {
    RoleId::Party(id(name))
}

/// An analyst.
pub fn analyst(name: &str) -> RoleId {
    RoleId::Analyst(id(name))
}

fn secret_name(role: &RoleId) -> String {
    role.to_string().replace('/', "-")
}

impl World {
    /// Parties `ccas` (coordinator), `siao`, `caf`; analysts `etude` and `audit`; in force.
    pub fn new() -> Self {
        Self::altered(|_| {})
    }

    /// The same with terms changed by `alter` before everyone signs.
    pub fn altered(alter: impl FnOnce(&mut Agreement)) -> Self {
        Self::of(&["ccas", "siao", "caf"], alter)
    }

    /// The same among other parties; the first is the coordinator.
    pub fn of(parties: &[&str], alter: impl FnOnce(&mut Agreement)) -> Self {
        linkage_common::tls::install_crypto();
        let dir = tempfile::tempdir().unwrap();
        let authority = DevAuthority::create("Autorité d'essai", Timestamp::now()).unwrap();
        let keys = dir.path().join("keys");
        std::fs::create_dir(&keys).unwrap();
        let mut agreement = agreement(&keys, parties);
        alter(&mut agreement);
        let text = agreement.to_toml();
        let parsed = ParsedAgreement::parse(&text, "convention.toml").unwrap();
        std::fs::write(dir.path().join("convention.toml"), &text).unwrap();
        std::fs::create_dir(dir.path().join("terminations")).unwrap();
        let hash = parsed.hash();
        let world = Self { dir, authority, agreement, hash, addresses: free_addresses() };
        world.sign_as(&world.parties());
        world
    }

    /// Everyone signs the next version of the agreement, with terms changed by `alter`; roles that run hold the one before.
    pub fn amend(&mut self, alter: impl FnOnce(&mut Agreement)) {
        alter(&mut self.agreement);
        self.agreement.agreement.version += 1;
        std::fs::write(self.path("convention.toml"), self.agreement.to_toml()).unwrap();
        self.hash = self.parsed().hash();
        self.sign_as(&self.parties());
    }

    /// The parties' names.
    pub fn parties(&self) -> Vec<PartyId> {
        self.agreement.party.iter().map(|p| p.id.clone()).collect()
    }

    /// A path in the fixture's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the signatures of `signers` only.
    pub fn sign_as(&self, signers: &[PartyId]) {
        let parsed = self.parsed();
        let today = date(2024, 1, 2);
        let signatures: Signatures = signers.iter().map(|p| sign(&parsed, p, &self.agreement_key(p), today).unwrap()).collect();
        std::fs::write(self.path("signatures.toml"), signatures.to_toml()).unwrap();
    }

    fn parsed(&self) -> ParsedAgreement {
        ParsedAgreement::parse(&self.agreement.to_toml(), "convention.toml").unwrap()
    }

    fn agreement_key(&self, party: &PartyId) -> signature::SigningKey {
        signature::SigningKey::from_bytes(&self.key(&RoleId::Party(party.clone()), "signing"))
    }

    /// A notice by which `party` ends the agreement from `day` on.
    pub fn notice(&self, party: &str, day: jiff::civil::Date) -> String {
        Termination::sign(&self.parsed(), &id(party), &self.agreement_key(&id(party)), day).unwrap().to_toml()
    }

    /// Where notices of termination are looked for.
    pub fn notices(&self) -> PathBuf {
        self.path("terminations")
    }

    /// A role's secret as the files hold it.
    pub fn key(&self, role: &RoleId, kind: &str) -> [u8; 32] {
        *self.secret(role, kind).read_key().unwrap()
    }

    /// Where a role's secret is.
    pub fn secret(&self, role: &RoleId, kind: &str) -> SecretSource {
        SecretSource::from_file(self.path("keys").join(format!("{}.{kind}", secret_name(role))))
    }

    /// The agreement's files.
    pub fn files(&self) -> AgreementFiles {
        AgreementFiles {
            agreement: self.path("convention.toml"),
            signatures: self.path("signatures.toml"),
            terminations: Some(self.notices()),
        }
    }

    /// The URI of a role.
    pub fn uri(&self, role: &RoleId) -> String {
        certificate_identity(&self.agreement.agreement.id, role)
    }

    /// Certificate and key of a role, valid now.
    pub fn tls(&self, role: &RoleId) -> TlsFiles {
        let folder = self.path("tls").join(secret_name(role));
        self.authority.issue_files(&self.uri(role), Validity::days(Timestamp::now(), 1), &folder, "certificate").unwrap()
    }

    /// What requests carry.
    pub fn reference(&self) -> Option<v1::AgreementRef> {
        Some(v1::AgreementRef { hash: self.hash.as_bytes().to_vec().into() })
    }

    /// The order of a run by the coordinator; no party stands for all.
    pub fn order(&self, run: &str, period: &str, parties: &[&str]) -> RunOrder {
        let mut named: Vec<PartyId> = parties.iter().map(|p| id(p)).collect();
        if named.is_empty() {
            named = self.agreement.party.iter().map(|p| p.id.clone()).collect();
        }
        self.ordered(RunTerms::new(run.parse().unwrap(), period.parse().unwrap(), named))
    }

    /// The coordinator's order of any terms.
    pub fn ordered(&self, terms: RunTerms) -> RunOrder {
        let coordinator = RoleId::Party(self.agreement.agreement.coordinator.clone());
        let key = SigningKey::from_bytes(&self.key(&coordinator, "signing"));
        RunOrder::sign(self.hash.as_bytes(), terms, &key)
    }

    /// The request that opens a run; texts that are no identifiers go out as they are, under a signature of another run.
    pub fn opening(&self, run: &str, period: &str, parties: &[&str]) -> v1::OpenRunRequest {
        let proper = run.parse::<RunId>().is_ok() && parties.iter().all(|p| p.parse::<PartyId>().is_ok());
        let order = if proper { self.order(run, period, parties) } else { self.order("other", period, &[]) };
        let mut request = order.opening(self.reference().unwrap());
        if !proper {
            request.run_id = run.to_owned();
            request.parties = parties.iter().map(|p| (*p).to_owned()).collect();
        }
        request
    }

    /// The broker's configuration.
    pub fn broker_config(&self) -> BrokerConfig {
        BrokerConfig {
            listen: self.addresses[0],
            data_dir: self.path("broker"),
            database: None,
            objects: None,
            custodian_url: self.url(&RoleId::Custodian),
            agreement: self.files(),
            audit: Default::default(),
            tls: self.tls(&RoleId::Broker),
            crl: None,
            limits: Limits::default(),
            ops: None,
            memory_mib: 256,
            signing_key: self.secret(&RoleId::Broker, "signing"),
        }
    }

    /// The custodian's configuration.
    pub fn custodian_config(&self) -> CustodianConfig {
        CustodianConfig {
            listen: self.addresses[1],
            data_dir: self.path("custodian"),
            database: None,
            agreement: self.files(),
            audit: Default::default(),
            tls: self.tls(&RoleId::Custodian),
            crl: None,
            limits: Limits::default(),
            ops: None,
            oprf_key: self.secret(&RoleId::Custodian, "oprf"),
            pseudonym_key: self.secret(&RoleId::Custodian, "pseudonym"),
            signing_key: self.secret(&RoleId::Custodian, "signing"),
        }
    }

    /// An analyst's configuration.
    pub fn analyst_config(&self, name: &str) -> AnalystConfig {
        let role = analyst(name);
        AnalystConfig {
            analyst: id(name),
            listen: self.addresses[2],
            data_dir: self.path(name),
            database: None,
            custodian_url: self.url(&RoleId::Custodian),
            agreement: self.files(),
            audit: Default::default(),
            tls: self.tls(&role),
            crl: None,
            limits: Limits::default(),
            ops: None,
            page: None,
            sealing_key: self.secret(&role, "sealing"),
            pseudonym_key: self.secret(&role, "pseudonym"),
            signing_key: self.secret(&role, "signing"),
        }
    }

    /// A node's configuration; it has no mapping until [`Self::deliver`] writes one.
    pub fn node_config(&self, name: &str) -> NodeConfig {
        let role = party(name);
        NodeConfig {
            party: id(name),
            state_dir: self.path(&format!("node-{name}")),
            inbox_dir: None,
            attributes: None,
            mapping: self.path(&format!("{name}.mapping.toml")),
            pass_set: None,
            clk_schema: None,
            clk_secret: None,
            hash_keys_key: None,
            line_file: false,
            analyst_urls: Default::default(),
            checkpoint_minutes: 60,
            broker_url: self.url(&RoleId::Broker),
            custodian_url: self.url(&RoleId::Custodian),
            agreement: self.files(),
            audit: Default::default(),
            tls: self.tls(&role),
            ops: None,
            storage_key: self.secret(&role, "storage"),
            signing_key: self.secret(&role, "signing"),
            sealing_key: self.secret(&role, "sealing"),
            group_contribution: None,
        }
    }

    /// A delivery of `persons` made-up persons for `name`, and the confirmed mapping of its columns.
    pub fn deliver(&self, name: &str, persons: usize) -> PathBuf {
        let mut text = String::from(
            "local_id,nom_naissance,nom_usage,prenoms,sexe,date_naissance,code_lieu_naissance,lieu_naissance,pays_naissance,commune_residence,composition,nb_enfants\n",
        );
        for n in 0..persons {
            let (surname, given, sex, day) =
                if n % 2 == 0 { (PERSONAL[0], PERSONAL[3], 2, PERSONAL[4]) } else { (PERSONAL[1], PERSONAL[2], 2, PERSONAL[5]) };
            let suffix: String = [n / 26, n % 26].map(|l| char::from(b'A' + (l % 26) as u8)).iter().collect();
            text.push_str(&format!(
                "{name}-{n},{surname}{suffix},,{given},{sex},{day},34172,Montpellier,FRANCE,34172,personne seule,{}\n",
                n % 3
            ));
        }
        let path = self.path(&format!("{name}.csv"));
        std::fs::write(&path, text).unwrap();
        let mapping = linkage_node::intake::propose(&id(name), &path).unwrap().mapping.confirm();
        std::fs::write(self.path(&format!("{name}.mapping.toml")), mapping.to_toml(|_| None)).unwrap();
        path
    }

    /// Where broker, custodian or analyst is reached.
    pub fn url(&self, server: &RoleId) -> String {
        let at = match server {
            RoleId::Broker => 0,
            RoleId::Custodian => 1,
            _ => 2,
        };
        format!("https://{}", self.addresses[at])
    }

    /// A connection to `server` as the holder of `files`.
    pub async fn connect_with(&self, server: &RoleId, files: &TlsFiles) -> Result<Channel, ConnectError> {
        linkage_common::tls::connect(&self.url(server), files, &self.uri(server), LONG).await
    }

    /// A connection to `server` as `role`.
    pub async fn connect(&self, server: &RoleId, role: &RoleId) -> Channel {
        self.connect_with(server, &self.tls(role)).await.unwrap()
    }

    /// Serves the broker.
    pub fn serve_broker(&self) -> Served {
        Served::start(|stop| linkage_broker::serve(self.broker_config(), stop))
    }

    /// Serves the custodian.
    pub fn serve_custodian(&self) -> Served {
        Served::start(|stop| linkage_custodian::serve(self.custodian_config(), stop))
    }

    /// Serves an analyst.
    pub fn serve_analyst(&self, name: &str) -> Served {
        Served::start(|stop| linkage_analyst::serve(self.analyst_config(name), stop))
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

type Stop = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// A role that serves in a task; ends with the test.
pub struct Served {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), ServiceError>>,
}

impl Served {
    /// Serves what `serve` makes of the signal to stop.
    pub fn start<F>(serve: impl FnOnce(Stop) -> F) -> Self
    where
        F: Future<Output = Result<(), ServiceError>> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel::<()>();
        let served = serve(Box::pin(async {
            let _ = stopped.await;
        }));
        Self { stop: Some(stop), task: tokio::spawn(served) }
    }

    /// Stops the role and waits until its port is free.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        (&mut self.task).await.unwrap().unwrap();
    }

    /// Why the role did not start.
    pub async fn refused(self) -> ServiceError {
        let Self { stop, task } = self;
        let ended = tokio::time::timeout(LONG, task).await.expect("the role serves although it should have refused");
        drop(stop);
        ended.unwrap().unwrap_err()
    }
}

/// Asserts that a call was refused with `code`, that the message holds `says` and an advice, and gives nothing away.
#[track_caller]
pub fn refused<T>(answer: Result<T, Status>, code: Code, says: &str) {
    let Err(status) = answer else { panic!("the call passed; expected {code:?}: {says}") };
    assert_eq!(status.code(), code, "{}", status.message());
    proper(status.message(), says);
}

/// Asserts that a message holds `says` and an advice, and no personal data, identifier in hexadecimal or path.
#[track_caller]
pub fn proper(message: &str, says: &str) {
    assert!(message.contains(says), "« {says} » is not in: {message}");
    assert!([" ; ", " : ", ": "].iter().any(|mark| message.contains(mark)), "no advice in: {message}");
    assert!(PERSONAL.iter().all(|personal| !message.contains(personal)), "personal data in: {message}");
    let longest = message.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max();
    assert!(longest < Some(32), "an identifier in: {message}");
    assert!(!message.contains(&*std::env::temp_dir().to_string_lossy()), "a path in: {message}");
}

/// Waits until `ready` gives something.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ready: impl FnMut() -> F) -> T {
    let started = std::time::Instant::now();
    loop {
        if let Some(found) = ready().await {
            return found;
        }
        assert!(started.elapsed() < LONG, "{what}: waited in vain");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// Three ports of loopback that are free now, and that no client's own end takes while a role is away.
fn free_addresses() -> [SocketAddr; 3] {
    [(); 3].map(|()| (Ipv4Addr::LOCALHOST, crate::federation::free_port()).into())
}

fn draw_key(keys: &Path, role: &RoleId, kind: &str, bytes: &[u8; 32]) {
    write_secret(&keys.join(format!("{}.{kind}", secret_name(role))), bytes).unwrap();
}

/// Draws all keys into `keys` and writes the agreement that names them.
fn agreement(keys: &Path, parties: &[&str]) -> Agreement {
    let mut rng = linkage_common::rng();
    let name = id("essai");
    let signing = |role: &RoleId| {
        let key = SigningKey::generate(&mut linkage_common::rng());
        draw_key(keys, role, "signing", &key.to_bytes());
        key.verifying_key().to_base64()
    };
    let sealing = |role: &RoleId| {
        let key = SealingKey::generate(&mut linkage_common::rng());
        draw_key(keys, role, "sealing", &key.to_bytes());
        key.public_key().to_base64()
    };
    let dpo = |who: &RoleId| format!("dpo@{}.example", secret_name(who));
    let with_keys = |text: &&str| {
        let role = party(text);
        draw_key(keys, &role, "storage", &SealingKey::generate(&mut linkage_common::rng()).to_bytes());
        Party {
            id: id(text),
            name: format!("Service {text}"),
            dpo_contact: dpo(&role),
            certificate_identity: certificate_identity(&name, &role),
            signing_key: signing(&role),
            sealing_key: sealing(&role),
            duplicate_free: true,
            max_records: 100,
            profile: None,
        }
    };
    let parties: Vec<Party> = parties.iter().map(with_keys).collect();
    let broker = Role {
        name: "Courtier".to_owned(),
        dpo_contact: dpo(&RoleId::Broker),
        certificate_identity: certificate_identity(&name, &RoleId::Broker),
        signing_key: signing(&RoleId::Broker),
    };
    let oprf = ServerKey::derive(Mode::Voprf, &SealingKey::generate(&mut rng).to_bytes(), b"essai").unwrap();
    draw_key(keys, &RoleId::Custodian, "oprf", &oprf.to_bytes());
    draw_key(keys, &RoleId::Custodian, "pseudonym", &CustodianScalar::generate(&mut rng).to_bytes());
    let custodian = Custodian {
        name: "Tiers de confiance".to_owned(),
        dpo_contact: dpo(&RoleId::Custodian),
        certificate_identity: certificate_identity(&name, &RoleId::Custodian),
        signing_key: signing(&RoleId::Custodian),
        oprf_public_key: oprf.public_key().to_base64(),
    };
    let analysts = ["etude", "audit"].map(|text| {
        let role = analyst(text);
        draw_key(keys, &role, "pseudonym", &AnalystScalar::generate(&mut linkage_common::rng()).to_bytes());
        Analyst {
            id: id(text),
            name: format!("Équipe {text}"),
            dpo_contact: dpo(&role),
            certificate_identity: certificate_identity(&name, &role),
            signing_key: signing(&role),
            sealing_key: sealing(&role),
            purpose: "suivi".to_owned(),
            may: vec![AnalystRight::Cohorts, AnalystRight::RowLevel],
        }
    });
    let attributes = vec![
        Attribute { name: ATTRIBUTES[0].to_owned(), rule: Rule::Code { values: vec!["personne seule".to_owned()] } },
        Attribute { name: ATTRIBUTES[1].to_owned(), rule: Rule::Count { max: 6 } },
    ];
    let members = Members { party: parties, broker, custodian, analyst: analysts.to_vec() };
    let term = Term { start: date(2024, 1, 1), end: date(2099, 12, 31), first_period: period() };
    let mut agreement = Agreement::for_trial(name, members, Identity::french(), attributes, term).unwrap();
    agreement.agreement.history_months = 1;
    agreement.encoding.tokens_per_record = 4;
    agreement.encoding.filter_bits = 64;
    agreement.encoding.decoys_percent = 0;
    agreement.disclosure.minimum_cell = 5;
    agreement
}
