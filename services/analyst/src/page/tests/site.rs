//! A page that listens on the loopback interface, and browsers that ask it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use jiff::civil::date;
use linkage_agreement::model::{Analyst, AnalystRight, Attribute, Custodian, Identity, Party, Role};
use linkage_agreement::signature::SigningKey;
use linkage_agreement::{Agreement, Members, ParsedAgreement, PartyId, RoleId, Signatures, Term, certificate_identity, sign};
use linkage_common::authority::{DevAuthority, Validity};
use linkage_common::clock::{Clock as _, MockClock, SystemClock};
use linkage_common::config::SecretSource;
use linkage_common::gate::Gate;
use linkage_common::tls::TlsFiles;
use linkage_common::{AgreementFiles, fsx};
use linkage_crypto::seal::SealingKey;
use linkage_crypto::signing::SigningKey as PartyKey;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::super::config::{OidcConfig, PageConfig};
use super::super::guard::SESSION_COOKIE;
use super::super::{Page, open};
use super::provider::Provider;
use crate::access::{AccessLog, Line, Who};
use crate::config::AnalystConfig;
use crate::desk::Desk;
use crate::users::{Switch, UserId};

/// The test's time: certificates are checked against the machine's clock, everything else against this one.
pub(super) const NOW: &str = "2025-03-10T09:00:00Z";

pub(super) struct Site {
    folder: TempDir,
    page: Arc<Page>,
    clock: MockClock,
    address: SocketAddr,
    authority: DevAuthority,
    pub(super) title: String,
    pub(super) link: Option<String>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

fn agreement() -> Agreement {
    let id: PartyId = "essai".parse().unwrap();
    let signing = |number: u8| PartyKey::from_bytes(&[number; 32]).verifying_key().to_base64();
    let sealing = |number: u8| SealingKey::from_bytes(&[number; 32]).public_key().to_base64();
    let uri = |role: RoleId| certificate_identity(&id, &role);
    let party = |name: &str, number: u8| Party {
        id: name.parse().unwrap(),
        name: format!("Service {number}"),
        dpo_contact: "dpo@service.example".to_owned(),
        certificate_identity: uri(RoleId::Party(name.parse().unwrap())),
        signing_key: signing(number),
        sealing_key: sealing(number),
        duplicate_free: false,
        max_records: 1000,
        profile: None,
    };
    let (name, dpo_contact) = ("Organisme".to_owned(), "dpo@organisme.example".to_owned());
    let analyst = |id: &str, number: u8| Analyst {
        id: id.parse().unwrap(),
        name: name.clone(),
        dpo_contact: dpo_contact.clone(),
        certificate_identity: uri(RoleId::Analyst(id.parse().unwrap())),
        signing_key: signing(number),
        sealing_key: sealing(number),
        purpose: format!("essai-{id}"),
        may: vec![AnalystRight::Cohorts],
    };
    let members = Members {
        party: vec![party("ccas", 1), party("siao", 2)],
        broker: Role {
            name: name.clone(),
            dpo_contact: dpo_contact.clone(),
            certificate_identity: uri(RoleId::Broker),
            signing_key: signing(3),
        },
        custodian: Custodian {
            name: name.clone(),
            dpo_contact: dpo_contact.clone(),
            certificate_identity: uri(RoleId::Custodian),
            signing_key: signing(4),
            // The generator of ristretto255 (RFC 9496, section 4.1): a valid point.
            oprf_public_key: STANDARD
                .encode(hex::decode("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76").unwrap()),
        },
        analyst: vec![analyst("etude", 5), analyst("autre", 6)],
    };
    let term = Term { start: date(2024, 1, 1), end: date(2029, 12, 31), first_period: "2024-01".parse().unwrap() };
    let mut agreement = Agreement::for_trial(id.clone(), members, Identity::french(), Attribute::french(), term).unwrap();
    agreement.agreement.title = "Convention d'essai de la page".to_owned();
    agreement
}

impl Site {
    pub(super) async fn start(change: impl FnOnce(&mut PageConfig)) -> Self {
        Self::build(None, change).await
    }

    pub(super) async fn start_with(provider: &Provider, change: impl FnOnce(&mut PageConfig)) -> Self {
        Self::build(Some(provider), change).await
    }

    async fn build(provider: Option<&Provider>, change: impl FnOnce(&mut PageConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let agreement = agreement();
        let text = agreement.to_toml();
        let parsed = ParsedAgreement::parse(&text, "convention.toml").unwrap();
        let mut signatures = Signatures::default();
        let clock = MockClock::at(NOW.parse().unwrap());
        for (party, number) in agreement.party.iter().zip(1..) {
            let key = SigningKey::from_bytes(&[number; 32]);
            signatures.add(sign(&parsed, &party.id, &key, clock.today()).unwrap());
        }
        fsx::write_atomic(&path("convention.toml"), text.as_bytes()).unwrap();
        fsx::write_atomic(&path("signatures.toml"), signatures.to_toml().as_bytes()).unwrap();
        let authority = DevAuthority::create("Essai", SystemClock.now()).unwrap();
        authority.save(folder.path()).unwrap();
        let (certificate, key) = authority.issue_local_server(Validity::days(SystemClock.now(), 1)).unwrap();
        fsx::write_atomic(&path("page.pem"), certificate.as_bytes()).unwrap();
        fsx::write_atomic(&path("page.key"), key.as_bytes()).unwrap();
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], linkage_test_databases::free_port()));
        let oidc = provider.map(|provider| {
            fsx::write_atomic(&path("fournisseur.pem"), provider.ca.as_bytes()).unwrap();
            OidcConfig {
                issuer: provider.issuer(),
                client_id: "page".to_owned(),
                client_secret_file: None,
                audience: None,
                ca: path("fournisseur.pem"),
                roles_claim: "roles".to_owned(),
                cohorts_role: None,
                row_level_role: None,
                users_role: None,
            }
        });
        let tls = TlsFiles { ca: path("ca.pem"), certificate: path("page.pem"), key: path("page.key") };
        let uri = certificate_identity(&agreement.agreement.id, &RoleId::Analyst("etude".parse().unwrap()));
        let of_role = authority.issue_files(&uri, Validity::days(SystemClock.now(), 1), &path("role"), "role").unwrap();
        let mut page = PageConfig {
            listen: address,
            public_url: format!("https://localhost:{}", address.port()),
            tls: Some(tls),
            certificates: true,
            certificates_manage: false,
            broker_url: None,
            local_link: false,
            oidc,
            idle_minutes: 30,
            session_hours: 8,
        };
        change(&mut page);
        let config = AnalystConfig {
            analyst: "etude".parse().unwrap(),
            listen: "127.0.0.1:0".parse().unwrap(),
            data_dir: path("donnees"),
            database: None,
            custodian_url: "https://localhost:1".to_owned(),
            agreement: AgreementFiles {
                agreement: path("convention.toml"),
                signatures: path("signatures.toml"),
                terminations: None,
            },
            tls: of_role,
            crl: None,
            limits: linkage_common::tls::Limits::default(),
            audit: Default::default(),
            ops: None,
            page: Some(page),
            sealing_key: SecretSource::default(),
            pseudonym_key: SecretSource::from_file(path("pseudonym.key")),
            signing_key: SecretSource::default(),
        };
        linkage_common::config::write_secret(&path("pseudonym.key"), &[7; 32]).unwrap();
        fsx::create_private_dir(&config.data_dir).unwrap();
        let gate = Arc::new(Gate::load(&config.agreement, Arc::new(clock.clone())).unwrap());
        let access = AccessLog::open(&config.data_dir, Arc::new(clock.clone())).unwrap();
        let desk = Arc::new(Desk::open(&config, gate.clone(), access).await.unwrap());
        let ready = open(&config, gate, desk).await.unwrap().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (page, link) = (ready.page.clone(), ready.one_time_url.clone());
        let served = tokio::spawn(async move {
            ready
                .serve(async {
                    let _ = stopped.await;
                })
                .await
                .unwrap();
        });
        Self { title: agreement.agreement.title, folder, page, clock, address, authority, link, stop, served }
    }

    pub(super) fn origin(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
    pub(super) fn advance(&self, seconds: i64) {
        self.clock.advance(jiff::SignedDuration::from_secs(seconds));
    }
    /// What the agreement gives the analyst.
    pub(super) fn given(&self) -> Vec<AnalystRight> {
        self.page.gate.agreement().analyst[0].may.clone()
    }
    /// The rights of a browser's session.
    pub(super) fn rights(&self, browser: &Browser) -> Vec<AnalystRight> {
        let now = self.page.gate.now();
        self.page.sessions.find(&browser.cookies[SESSION_COOKIE], None, now).unwrap().visitor.rights
    }
    /// Who a browser's session by certificate is.
    pub(super) fn who(&self, browser: &Browser) -> Who {
        let agreement = self.page.gate.agreement();
        let uri = certificate_identity(&agreement.agreement.id, &RoleId::Analyst(agreement.analyst[0].id.clone()));
        self.page.sessions.find(&browser.cookies[SESSION_COOKIE], Some(&uri), self.page.gate.now()).unwrap().visitor.who
    }
    /// Switches an account off in the database, as the command line does.
    pub(super) async fn switch_off(&self, id: &UserId) {
        let by = Who::Console("uid 0".to_owned());
        let switch = Switch { id, on: false, by: &by, reason: "départ", unseen: false };
        self.page.desk.users().switch(switch, self.page.gate.now()).await.unwrap();
    }
    /// The lines of the access log.
    pub(super) fn access(&self) -> Vec<Line> {
        let log = self.page.desk.access();
        log.months().unwrap().into_iter().flat_map(|month| log.lines(month).unwrap().0).collect()
    }
    /// A browser with the certificate of an analyst or a party, or none.
    pub(super) fn browser(&self, holder: Option<&str>) -> Browser {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.certificate_pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match holder {
            None => builder.with_no_client_auth(),
            Some(holder) => {
                let id = holder.parse().unwrap();
                let role = if ["etude", "autre"].contains(&holder) { RoleId::Analyst(id) } else { RoleId::Party(id) };
                let uri = certificate_identity(&self.page.gate.agreement().agreement.id, &role);
                let (certificate, key) = self.authority.issue(&uri, Validity::days(SystemClock.now(), 1)).unwrap();
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
            }
        };
        let connector = TlsConnector::from(Arc::new(config));
        Browser { connector, address: self.address, host: self.page.host.clone(), cookies: BTreeMap::new() }
    }
    pub(super) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap();
        drop(self.folder);
    }
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) location: String,
    pub(super) body: String,
    headers: HeaderMap,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
    /// The token of the page's forms.
    pub(super) fn token(&self) -> String {
        let (_, rest) = self.body.split_once("name=\"csrf\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }
}

pub(super) struct Browser {
    connector: TlsConnector,
    address: SocketAddr,
    host: String,
    pub(super) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// As [`Self::get`], and keeps the cookies that are set.
    pub(super) async fn follow(&mut self, path: &str) -> Answer {
        let answer = self.get(path).await;
        for set in answer.headers.get_all(header::SET_COOKIE) {
            let set = set.to_str().unwrap();
            assert!(set.starts_with("__Host-") && set.contains("; Secure; HttpOnly; SameSite=Lax"), "{set}");
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        answer
    }

    pub(super) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let socket = TcpStream::connect(self.address).await.unwrap();
        let io = self.connector.connect(ServerName::try_from("localhost").unwrap(), socket).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(io)).await.unwrap();
        tokio::spawn(connection);
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = Request::builder().method(method.parse::<Method>().unwrap()).uri(path);
        let map = request.headers_mut().unwrap();
        map.insert(header::HOST, self.host.parse().unwrap());
        map.insert(header::COOKIE, cookies.join("; ").parse().unwrap());
        map.insert(header::CONTENT_TYPE, "application/x-www-form-urlencoded".parse().unwrap());
        for (name, value) in headers {
            map.insert(name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap());
        }
        let answer = sender.send_request(request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        let location = parts.headers.get(header::LOCATION).map_or("", |v| v.to_str().unwrap()).to_owned();
        Answer { status: parts.status, location, body: String::from_utf8(body).unwrap_or_default(), headers: parts.headers }
    }
}
