//! Who may call what: strangers, expired certificates, roles out of their place, agreements that are not, not yet or no
//! longer in force.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use std::time::Duration;

use jiff::civil::date;
use jiff::{SignedDuration, Timestamp};
use linkage_agreement::RoleId;
use linkage_common::authority::{DevAuthority, Validity};
use linkage_common::tls::{ConnectError, Refusal, TlsFiles};
use linkage_node::Node;
use linkage_proto::v1::{self, cohorts_client::CohortsClient};
use linkage_tests::fixture::{PERIOD, Served, World, analyst, id, party, proper, refused};
use linkage_tests::wire::{AtBroker, AtCustodian, batches, cluster, entry, handle, reference};
use tonic::Code;

const BROKER: RoleId = RoleId::Broker;
const CUSTODIAN: RoleId = RoleId::Custodian;

fn said(error: ConnectError) -> Refusal {
    match error {
        ConnectError::Refused { refusal, .. } => refusal,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn strangers_and_expired_certificates_do_not_get_in() {
    let world = World::new();
    let _served = (world.serve_broker(), world.serve_custodian());
    let now = Timestamp::now();
    let day = SignedDuration::from_hours(24);
    let folder = world.path("others");
    let uri = world.uri(&party("ccas"));
    let ours = world.tls(&party("ccas"));
    let other = DevAuthority::create("Autre autorité", now).unwrap();
    let theirs = other.issue_files(&uri, Validity::days(now, 1), &folder.join("stranger"), "c").unwrap();
    let stranger = TlsFiles { ca: ours.ca.clone(), ..theirs };
    let issue = |name: &str, not_before, not_after| {
        world.authority.issue_files(&uri, Validity { not_before, not_after }, &folder.join(name), "c").unwrap()
    };
    let expired = issue("expired", now - day - day, now - day);
    let future = issue("future", now + day, now + day + day);
    for server in [BROKER, CUSTODIAN] {
        for (files, refusal) in
            [(&stranger, Refusal::UnknownAuthority), (&expired, Refusal::Expired), (&future, Refusal::Expired)]
        {
            let error = world.connect_with(&server, files).await.unwrap_err();
            proper(&error.to_string(), "certificat");
            assert_eq!(said(error), refusal);
        }
        world.connect(&server, &party("ccas")).await;
    }
}

#[tokio::test]
async fn without_a_certificate_nobody_gets_in() {
    use rustls::pki_types::pem::PemObject;
    use tokio::io::AsyncReadExt;
    let world = World::new();
    let _served = world.serve_broker();
    world.connect(&BROKER, &party("ccas")).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(world.authority.certificate_pem().as_bytes()).unwrap()).unwrap();
    let mut config = rustls::ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_root_certificates(roots)
        .with_no_client_auth();
    // The name is not what the roles look at; this client looks at nothing else and would go on without it.
    config.dangerous().set_certificate_verifier(std::sync::Arc::new(trusting::Anyone));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let address = world.url(&BROKER).trim_start_matches("https://").to_owned();
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config)).connect(name, socket).await.unwrap();
    let mut byte = [0];
    let error = stream.read(&mut byte).await.unwrap_err();
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
}

mod trusting {
    //! A client that takes any server, to see what the server makes of a client without a certificate.
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    #[derive(Debug)]
    pub(super) struct Anyone;

    impl ServerCertVerifier for Anyone {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_once_the_list_names_it() {
    let world = World::new();
    let list = world.path("revoked.pem");
    let ours = world.tls(&party("siao"));
    std::fs::write(&list, world.authority.revoke(&[], Timestamp::now()).unwrap()).unwrap();
    let mut config = world.broker_config();
    config.crl = Some(list.clone());
    config.limits.reload_poll_ms = 20;
    let _served = Served::start(|stop| linkage_broker::serve(config, stop));
    world.connect_with(&BROKER, &ours).await.unwrap();
    let revoked = std::fs::read_to_string(&ours.certificate).unwrap();
    std::fs::write(&list, world.authority.revoke(&[&revoked], Timestamp::now()).unwrap()).unwrap();
    let error = loop {
        match world.connect_with(&BROKER, &ours).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => break error,
        }
    };
    proper(&error.to_string(), "révoqué");
    assert_eq!(said(error), Refusal::Revoked);
    world.connect(&BROKER, &party("ccas")).await;
}

#[test]
fn lists_and_limits_are_set_in_the_configuration_and_misspelt_ones_refused() {
    let files = "[agreement]\nagreement = \"a\"\nsignatures = \"s\"\n[tls]\nca = \"c\"\ncertificate = \"x\"\nkey = \"k\"\n";
    let head = "listen = \"127.0.0.1:1\"\ndata_dir = \"d\"\ncustodian_url = \"https://h:1\"\n";
    let read = |more: &str, limits: &str| {
        let text = format!("{head}{more}{files}[signing_key]\nfile = \"f\"\n{limits}");
        toml::from_str::<linkage_broker::config::BrokerConfig>(&text)
    };
    let plain = read("", "").unwrap();
    assert_eq!((plain.crl, plain.limits), (None, linkage_common::tls::Limits::default()));
    let set = read("crl = \"revoked.pem\"\n", "[limits]\nmax_connections = 7\n").unwrap();
    assert_eq!(set.crl, Some("revoked.pem".into()));
    assert_eq!(set.limits, linkage_common::tls::Limits { max_connections: 7, ..Default::default() });
    assert!(read("clr = \"revoked.pem\"\n", "").is_err());
    assert!(read("", "[limits]\nmax_conections = 7\n").is_err());
}

#[tokio::test]
async fn a_role_without_its_revocation_list_does_not_start() {
    let world = World::new();
    let mut config = world.broker_config();
    config.crl = Some(world.path("absent.pem"));
    let error = Served::start(|stop| linkage_broker::serve(config, stop)).refused().await;
    assert!(error.message.contains("absent.pem"), "{error}");
}

#[tokio::test]
async fn roles_out_of_their_place_are_refused() {
    let world = World::new();
    let _served = (world.serve_broker(), world.serve_custodian());
    let mut coordinator = AtBroker::party(&world, "ccas").await;
    coordinator.open("r", &["ccas", "siao"]).await;
    let records = batches(&world, 0, &[2]);

    // Analyst, custodian and broker at the broker.
    for role in [analyst("etude"), CUSTODIAN, BROKER] {
        let mut peer = AtBroker::of(&world, &role).await;
        let opening = peer.opening("other", &[]);
        refused(peer.runs.open_run(opening).await, Code::PermissionDenied, "n'a pas accès");
        refused(peer.cancel("r").await, Code::PermissionDenied, "n'a pas accès");
        let batch = peer.batch("r", 0, &records[0]);
        refused(peer.put(vec![batch]).await, Code::PermissionDenied, "n'a pas accès");
        let manifest = peer.manifest("r", &records);
        refused(peer.commit(manifest).await, Code::PermissionDenied, "n'a pas accès");
        let request = v1::GetContributionsRequest { agreement: world.reference() };
        refused(peer.keys.get_contributions(request).await, Code::PermissionDenied, "n'a pas accès");
        let request = v1::RunRequest { agreement: world.reference(), run_id: "r".to_owned() };
        refused(peer.runs.get_upload(request).await, Code::PermissionDenied, "n'a pas accès");
    }
    // A party that is not the coordinator; a party that does not take part.
    let mut siao = AtBroker::party(&world, "siao").await;
    let opening = siao.opening("other", &[]);
    refused(siao.runs.open_run(opening).await, Code::PermissionDenied, "siao");
    refused(siao.cancel("r").await, Code::PermissionDenied, "siao");
    let mut caf = AtBroker::party(&world, "caf").await;
    let batch = caf.batch("r", 0, &records[0]);
    refused(caf.put(vec![batch]).await, Code::PermissionDenied, "ne prend pas part");
    let manifest = caf.manifest("r", &[]);
    refused(caf.commit(manifest).await, Code::PermissionDenied, "ne prend pas part");

    // At the custodian: broker and analyst as nodes, a node and an analyst as broker, anyone else as analyst.
    for role in [BROKER, analyst("etude"), CUSTODIAN] {
        let mut peer = AtCustodian::of(&world, &role).await;
        refused(peer.declare(1).await, Code::PermissionDenied, "n'a pas accès");
        refused(peer.evaluate(&[2; 32]).await, Code::PermissionDenied, "n'a pas accès");
        let batch = peer.batch("r", 0, &entry(handle(1), reference(1), 0));
        refused(peer.put(vec![batch]).await, Code::PermissionDenied, "n'a pas accès");
    }
    for role in [party("ccas"), analyst("etude"), CUSTODIAN] {
        let mut peer = AtCustodian::of(&world, &role).await;
        let clusters = peer.clusters("r", &["ccas", "siao"], &cluster(&[handle(1), handle(2)]));
        refused(peer.put_clusters(vec![clusters]).await, Code::PermissionDenied, "n'a pas accès");
        let request = v1::CloseRunRequest { agreement: world.reference(), run_id: "r".to_owned() };
        refused(peer.registry.close_run(request).await, Code::PermissionDenied, "n'a pas accès");
    }
    for role in [party("ccas"), BROKER] {
        let mut peer = AtCustodian::of(&world, &role).await;
        let request = v1::ListLinkTablesRequest { agreement: world.reference() };
        refused(peer.registry.list_link_tables(request).await, Code::PermissionDenied, "n'a pas accès");
        refused(peer.table("r").await, Code::PermissionDenied, "n'a pas accès");
    }

    // Nothing of all this was kept.
    assert_eq!(siao.held("r").await, v1::UploadStatus::default());
    let request = v1::ListRunsRequest { agreement: world.reference(), ..Default::default() };
    let runs = coordinator.runs.list_runs(request).await.unwrap().into_inner().runs;
    assert_eq!(runs.iter().map(|r| (r.run_id.as_str(), r.state())).collect::<Vec<_>>(), [("r", v1::RunState::Collecting)]);
    siao.upload("r", &records).await;
    let mut node = AtCustodian::party(&world, "ccas").await;
    assert_eq!(node.declare(1).await.unwrap().used, 0);
    node.upload("r", "ccas", &[(1, 1)]).await;
}

#[tokio::test]
async fn a_party_writes_as_itself_only() {
    let world = World::new();
    let _served = (world.serve_broker(), world.serve_custodian());
    let mut ccas = AtBroker::party(&world, "ccas").await;
    ccas.open("r", &[]).await;
    let records = batches(&world, 0, &[2]);
    let batch = ccas.batch("r", 0, &records[0]);
    assert_eq!(ccas.put(vec![batch]).await.unwrap().held, [0]);
    // What ccas sent is its own: siao has nothing, and takes the same sequence for other bytes.
    let mut siao = AtBroker::party(&world, "siao").await;
    assert_eq!(siao.held("r").await.held, [0; 0]);
    siao.upload("r", &batches(&world, 100, &[3])).await;
    assert_eq!(ccas.held("r").await.records, 2);
    assert_eq!(ccas.run("r").await.committed, ["siao"]);
    // Envelopes in another party's name.
    let from_siao = |to: &str| v1::ContributionEnvelope { from: "siao".into(), to: to.into(), envelope: vec![0; 144].into() };
    let request =
        v1::PutContributionRequest { agreement: world.reference(), envelopes: vec![from_siao("ccas"), from_siao("caf")] };
    refused(ccas.keys.put_contribution(request).await, Code::InvalidArgument, "enveloppe");
    let request = v1::GetContributionsRequest { agreement: world.reference() };
    let held = ccas.keys.get_contributions(request).await.unwrap().into_inner();
    assert_eq!(held, v1::GetContributionsResponse::default());
}

#[tokio::test]
async fn another_agreement_is_not_this_one() {
    let world = World::new();
    let _served = (world.serve_broker(), world.serve_custodian(), world.serve_analyst("etude"));
    let mut ccas = AtBroker::party(&world, "ccas").await;
    let mut node = AtCustodian::party(&world, "ccas").await;
    ccas.open("r", &[]).await;
    let mut altered = world.hash.as_bytes().to_vec();
    altered[31] ^= 1;
    for hash in [altered, vec![], world.hash.as_bytes()[..31].to_vec()] {
        let agreement = Some(v1::AgreementRef { hash: hash.into() });
        let request = v1::OpenRunRequest { agreement: agreement.clone(), ..ccas.opening("r2", &[]) };
        refused(ccas.runs.open_run(request).await, Code::PermissionDenied, "autre convention");
        let batch = v1::Batch { agreement: agreement.clone(), ..ccas.batch("r", 0, &batches(&world, 0, &[1])[0]) };
        refused(ccas.put(vec![batch]).await, Code::PermissionDenied, "autre convention");
        let request = v1::DeclareRequest { agreement: agreement.clone(), period: PERIOD.to_owned(), records: 1 };
        refused(node.oprf.declare(request).await, Code::PermissionDenied, "autre convention");
        let batch = v1::RecordBatch { agreement, ..node.batch("r", 0, &entry(handle(1), reference(1), 0)) };
        refused(node.put(vec![batch]).await, Code::PermissionDenied, "autre convention");
    }
    refused(ccas.runs.get_run(v1::RunRequest { agreement: None, run_id: "r".into() }).await, Code::PermissionDenied, "autre");
    assert_eq!(ccas.held("r").await, v1::UploadStatus::default());
    assert_eq!(node.declare(1).await.unwrap().used, 0);

    // A federation whose text differs in one byte: its certificates have other holders or its hash differs.
    let other = World::altered(|a| a.agreement.title.push('.'));
    assert_ne!(other.hash, world.hash);
    let mut caller = AtBroker::party(&world, "siao").await;
    let request = v1::RunRequest { agreement: other.reference(), run_id: "r".to_owned() };
    refused(caller.runs.get_run(request).await, Code::PermissionDenied, "autre convention");
}

#[tokio::test]
async fn a_text_changed_by_one_byte_is_not_what_was_signed() {
    let world = World::new();
    let file = world.path("convention.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("max_records = 100", "max_records = 900", 1)).unwrap();
    let errors = [
        world.serve_broker().refused().await,
        world.serve_custodian().refused().await,
        world.serve_analyst("etude").refused().await,
    ];
    for error in errors {
        assert!(error.message.contains("ccas") && error.message.contains("autre version"), "{error}");
    }
    let error = Node::open(world.node_config("siao")).err().unwrap();
    assert!(error.to_string().contains("ccas"), "{error}");
    // Broken altogether: the fault is named by file and line.
    std::fs::write(&file, text.replacen("max_records = 100", "max_records = 1OO", 1)).unwrap();
    let error = world.serve_broker().refused().await;
    assert!(error.message.contains("convention.toml:"), "{error}");
    std::fs::write(&file, text).unwrap();
    let _served = world.serve_broker();
    AtBroker::party(&world, "ccas").await.open("r", &[]).await;
}

#[tokio::test]
async fn a_role_does_not_start_before_everyone_has_signed() {
    let world = World::new();
    world.sign_as(&[id("ccas"), id("caf")]);
    let errors = [
        world.serve_broker().refused().await.to_string(),
        world.serve_custodian().refused().await.to_string(),
        world.serve_analyst("etude").refused().await.to_string(),
        Node::open(world.node_config("ccas")).err().unwrap().to_string(),
    ];
    for error in errors {
        assert!(error.contains("siao n'a pas signé") && error.contains("linkage agreement sign"), "{error}");
    }
}

#[tokio::test]
async fn keys_that_the_agreement_does_not_name_are_refused_at_start() {
    let world = World::new();
    let mut config = world.broker_config();
    config.signing_key = world.secret(&party("ccas"), "signing");
    let error = Served::start(|stop| linkage_broker::serve(config, stop)).refused().await;
    proper(&error.message, "signing_key");
    let mut config = world.custodian_config();
    config.oprf_key = world.secret(&RoleId::Custodian, "pseudonym");
    let error = Served::start(|stop| linkage_custodian::serve(config, stop)).refused().await;
    proper(&error.message, "oprf_key");
    let mut config = world.analyst_config("etude");
    config.sealing_key = world.secret(&analyst("audit"), "sealing");
    let error = Served::start(|stop| linkage_analyst::serve(config, stop)).refused().await;
    proper(&error.message, "sealing_key");
}

#[tokio::test]
async fn an_attribute_that_the_agreement_lacks_is_refused_at_start() {
    let world = World::new();
    let mut config = world.node_config("ccas");
    config.attributes = Some(vec!["composition".to_owned(), "ressources".to_owned()]);
    proper(&Node::open(config.clone()).err().unwrap().to_string(), "ressources");
    config.attributes = Some(vec!["composition".to_owned()]);
    Node::open(config).unwrap();
}

async fn nothing_passes(world: &World, says: &str) {
    let mut ccas = AtBroker::party(world, "ccas").await;
    let opening = ccas.opening("late", &[]);
    refused(ccas.runs.open_run(opening).await, Code::PermissionDenied, says);
    let batch = ccas.batch("r", 0, &batches(world, 0, &[1])[0]);
    refused(ccas.put(vec![batch]).await, Code::PermissionDenied, says);
    let request = v1::GetContributionsRequest { agreement: world.reference() };
    refused(ccas.keys.get_contributions(request).await, Code::PermissionDenied, says);
    let mut node = AtCustodian::party(world, "ccas").await;
    refused(node.declare(1).await, Code::PermissionDenied, says);
    refused(node.evaluate(&[2; 32]).await, Code::PermissionDenied, says);
    let batch = node.batch("r", 0, &entry(handle(1), reference(1), 0));
    refused(node.put(vec![batch]).await, Code::PermissionDenied, says);
    let mut study = AtCustodian::of(world, &analyst("etude")).await;
    refused(study.table("r").await, Code::PermissionDenied, says);
    let channel = world.connect(&analyst("etude"), &party("ccas")).await;
    let request = v1::ListPeriodsRequest { agreement: world.reference() };
    refused(CohortsClient::new(channel).list_periods(request).await, Code::PermissionDenied, says);
}

#[tokio::test]
async fn an_agreement_that_has_expired_or_not_begun_allows_nothing() {
    let expired = World::altered(|a| a.agreement.end = date(2024, 6, 30));
    let _served = (expired.serve_broker(), expired.serve_custodian(), expired.serve_analyst("etude"));
    nothing_passes(&expired, "expiré le 2024-06-30").await;
    let future = World::altered(|a| {
        a.agreement.start = date(2098, 1, 1);
        a.agreement.first_period = "2098-01".parse().unwrap();
    });
    let _served = (future.serve_broker(), future.serve_custodian(), future.serve_analyst("etude"));
    nothing_passes(&future, "2098-01-01").await;
}

#[tokio::test]
async fn a_notice_dropped_into_the_folder_stops_everything_and_so_does_one_rewritten_in_place() {
    let world = World::new();
    let _served = (world.serve_broker(), world.serve_custodian(), world.serve_analyst("etude"));
    let mut ccas = AtBroker::party(&world, "ccas").await;
    ccas.open("r", &[]).await;
    ccas.open("r2", &[]).await;
    // Of effect later than any test: everything goes on.
    let file = world.notices().join("siao.toml");
    std::fs::write(&file, world.notice("siao", date(2099, 1, 1))).unwrap();
    ccas.upload("r", &batches(&world, 0, &[2])).await;
    // In place, same length, and put back to its old time: the folder's own time does not change.
    let time = std::fs::metadata(&file).unwrap().modified().unwrap();
    let text = world.notice("siao", date(2024, 2, 1));
    std::fs::write(&file, text).unwrap();
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    nothing_passes(&world, "dénoncée par siao").await;
    // Deleting is never out of date.
    let mut broker = AtCustodian::of(&world, &BROKER).await;
    let request = v1::CloseRunRequest { agreement: world.reference(), run_id: "r".to_owned() };
    broker.registry.close_run(request).await.unwrap();
    assert_eq!(ccas.cancel("r2").await.unwrap().state, v1::RunState::Cancelled as i32);
    let mut siao = AtBroker::party(&world, "siao").await;
    refused(siao.cancel("r").await, Code::PermissionDenied, "siao");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(ccas.held("r").await.records, 2);
}

#[tokio::test]
async fn a_notice_that_cannot_be_verified_stops_everything_and_tells_peers_no_path() {
    let world = World::new();
    let served = world.serve_broker();
    let mut ccas = AtBroker::party(&world, "ccas").await;
    ccas.open("r", &[]).await;
    let forged = world.notice("siao", date(2024, 2, 1)).replace("\"siao\"", "\"caf\"");
    std::fs::write(world.notices().join("forged.toml"), forged).unwrap();
    let request = v1::RunRequest { agreement: world.reference(), run_id: "r".to_owned() };
    refused(ccas.runs.get_run(request.clone()).await, Code::Unavailable, "dénonciation");
    served.stop().await;
    let error = world.serve_broker().refused().await;
    assert!(error.message.contains("forged.toml") && error.message.contains("caf"), "{error}");
    std::fs::remove_file(world.notices().join("forged.toml")).unwrap();
    let _served = world.serve_broker();
    let mut ccas = AtBroker::party(&world, "ccas").await;
    ccas.runs.get_run(request).await.unwrap();
}
