//! A small federation on loopback: an authority, an agreement, and tonic's health service as the service under test.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use jiff::civil::date;
use linkage_agreement::model::{Agreement, Analyst, AnalystRight, Custodian, Identity, Party, Role};
use linkage_agreement::{
    Members, ParsedAgreement, PartyId, Period, RoleId, Signatures, SignedAgreement, Term, certificate_identity, keys, sign,
};
use linkage_common::authority::{DevAuthority, Validity};
use linkage_common::authz::peer_role;
use linkage_common::tls::Channel;
use linkage_common::tls::{ConnectError, Limits, ServeError, ServerTls, TlsFiles, connect, serve_with_limits};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status, Streaming};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// Long enough for a loaded machine; reached only by tests that fail.
pub const LONG: Duration = Duration::from_secs(120);
/// For calls whose error is final: they must not wait for it.
pub const AT_ONCE: Duration = Duration::from_secs(120);

pub fn id(text: &str) -> PartyId {
    text.parse().unwrap()
}

/// The URI of a role in the test agreement.
pub fn uri(role: &RoleId) -> String {
    certificate_identity(&id("essai"), role)
}

pub fn party_uri(name: &str) -> String {
    uri(&RoleId::Party(id(name)))
}

pub fn broker_uri() -> String {
    uri(&RoleId::Broker)
}

pub fn signing_key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn public(number: u8) -> String {
    keys::encode(signing_key(number).verifying_key().as_bytes())
}

fn sealing(number: u8) -> String {
    let mut point = [0; 32];
    point[0] = number;
    keys::encode(&point)
}

/// A loopback host of this process alone where the system has several: a port given up there is not taken by another
/// test before it is wanted again.
pub fn own_host() -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    if cfg!(target_os = "linux") { Ipv4Addr::new(127, 9, high, low) } else { Ipv4Addr::LOCALHOST }
}

/// An agreement between `ccas` (signing key 1) and `siao` (2), unsigned.
pub fn agreement() -> ParsedAgreement {
    let party = |name: &str, number: u8| Party {
        id: id(name),
        name: format!("Service {name}"),
        dpo_contact: format!("dpo@{name}.example"),
        certificate_identity: party_uri(name),
        signing_key: public(number),
        sealing_key: sealing(8 + number),
        duplicate_free: true,
        max_records: 1000,
        profile: None,
    };
    let role = |role: &RoleId, number: u8| Role {
        name: format!("Organisme {number}"),
        dpo_contact: format!("dpo@organisme{number}.example"),
        certificate_identity: uri(role),
        signing_key: public(number),
    };
    let custodian = role(&RoleId::Custodian, 4);
    let analyst = role(&RoleId::Analyst(id("etude")), 5);
    let members = Members {
        party: vec![party("ccas", 1), party("siao", 2)],
        broker: role(&RoleId::Broker, 3),
        custodian: Custodian {
            name: custodian.name,
            dpo_contact: custodian.dpo_contact,
            certificate_identity: custodian.certificate_identity,
            signing_key: custodian.signing_key,
            // The generator of ristretto255 (RFC 9496 section 4.1): a valid point.
            oprf_public_key: keys::encode(&[
                0xe2, 0xf2, 0xae, 0x0a, 0x6a, 0xbc, 0x4e, 0x71, 0xa8, 0x84, 0xa9, 0x61, 0xc5, 0x00, 0x51, 0x5f, 0x58, 0xe3, 0x0b,
                0x6a, 0xa5, 0x82, 0xdd, 0x8d, 0xb6, 0xa6, 0x59, 0x45, 0xe0, 0x8d, 0x2d, 0x76,
            ]),
        },
        analyst: vec![Analyst {
            id: id("etude"),
            name: analyst.name,
            dpo_contact: analyst.dpo_contact,
            certificate_identity: analyst.certificate_identity,
            signing_key: analyst.signing_key,
            sealing_key: sealing(20),
            purpose: "essai".to_owned(),
            may: vec![AnalystRight::Cohorts],
        }],
    };
    let term = Term { start: date(2024, 1, 1), end: date(2030, 12, 31), first_period: Period::new(2024, 1).unwrap() };
    let agreement = Agreement::for_trial(id("essai"), members, Identity::french(), Vec::new(), term).unwrap();
    ParsedAgreement::parse(&agreement.to_toml(), "convention.toml").unwrap()
}

pub fn signatures(parsed: &ParsedAgreement) -> Signatures {
    [("ccas", 1), ("siao", 2)]
        .into_iter()
        .map(|(name, number)| sign(parsed, &id(name), &signing_key(number), date(2024, 1, 2)).unwrap())
        .collect()
}

pub fn signed_agreement() -> SignedAgreement {
    let parsed = agreement();
    let signatures = signatures(&parsed);
    SignedAgreement::verify(parsed, &signatures).unwrap()
}

/// Certificates of one authority in a directory of their own.
pub struct World {
    pub dir: tempfile::TempDir,
    pub authority: DevAuthority,
}

impl World {
    pub fn new() -> Self {
        linkage_common::tls::install_crypto();
        let dir = tempfile::tempdir().unwrap();
        let authority = DevAuthority::create("autorite", Timestamp::now()).unwrap();
        Self { dir, authority }
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    /// Files of the holder of `uri`, valid now.
    pub fn files(&self, uri: &str, stem: &str) -> TlsFiles {
        self.files_for(uri, stem, Validity::days(Timestamp::now(), 1))
    }
    pub fn files_for(&self, uri: &str, stem: &str, validity: Validity) -> TlsFiles {
        self.authority.issue_files(uri, validity, self.dir.path(), stem).unwrap()
    }
    pub fn broker(&self) -> TlsFiles {
        self.files(&broker_uri(), "broker")
    }
    pub fn party(&self, name: &str) -> TlsFiles {
        self.files(&party_uri(name), name)
    }
}

/// A health service that only peers with a role in the agreement may call; it notes each one's role.
pub struct Running {
    pub address: SocketAddr,
    pub url: String,
    pub tls: ServerTls,
    pub callers: Arc<std::sync::Mutex<Vec<RoleId>>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    pub async fn start(files: &TlsFiles, crl: Option<&std::path::Path>, limits: Limits) -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap(), files, crl, limits).await
    }
    pub async fn start_on(address: SocketAddr, files: &TlsFiles, crl: Option<&std::path::Path>, limits: Limits) -> Self {
        let tls = ServerTls::load(files, crl).unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let callers = Arc::new(std::sync::Mutex::new(Vec::new()));
        let noted = callers.clone();
        let agreement = signed_agreement();
        let (_, health) = tonic_health::server::health_reporter();
        let guarded = InterceptedService::new(health, move |request: Request<()>| {
            let role = peer_role(&request, &agreement)?;
            noted.lock().unwrap().push(role);
            Ok(request)
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tls.clone();
        let task = tokio::spawn(async move {
            serve_with_limits(listener, served, Routes::new(guarded), &limits, async {
                let _ = stopped.await;
            })
            .await
        });
        Self { address, url: format!("https://{address}"), tls, callers, stop, task }
    }
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
    /// Connects as the holder of `files`, expecting the broker.
    pub async fn connect(&self, files: &TlsFiles) -> Result<Channel, ConnectError> {
        connect(&self.url, files, &broker_uri(), AT_ONCE).await
    }
}

/// One call, whether it was answered.
pub async fn check(channel: &Channel) -> Result<(), Status> {
    HealthClient::new(channel.clone()).check(HealthCheckRequest { service: String::new() }).await.map(drop)
}

/// The endless stream of the health service.
pub async fn watch(channel: &Channel) -> Streaming<HealthCheckResponse> {
    HealthClient::new(channel.clone()).watch(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner()
}
