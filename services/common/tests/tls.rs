//! Mutual TLS on loopback, over real sockets: who gets in, who does not, and what each is told.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, unreachable_pub)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use linkage_agreement::RoleId;
use linkage_common::authority::{DevAuthority, Validity};
use linkage_common::tls::{
    ConnectError, IdentityError, Limits, Refusal, ServerTls, TlsFileError, TlsFiles, connect, connect_lazy, retry,
};
use linkage_common::{ErrorKind, ServiceError, fsx};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, RootCertStore, ServerConfig};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;

fn refused(server: &Running, refusal: Refusal) -> ConnectError {
    ConnectError::Refused { url: server.url.clone(), refusal }
}

fn past() -> Validity {
    let now = Timestamp::now();
    Validity { not_before: now - SignedDuration::from_hours(48), not_after: now - SignedDuration::from_hours(24) }
}

fn future() -> Validity {
    let now = Timestamp::now();
    Validity { not_before: now + SignedDuration::from_hours(24), not_after: now + SignedDuration::from_hours(48) }
}

#[tokio::test]
async fn each_peer_is_known_by_its_certificate() {
    let world = World::new();
    let server = Running::start(&world.broker(), None, Limits::default()).await;
    for name in ["ccas", "siao"] {
        let channel = server.connect(&world.party(name)).await.unwrap();
        check(&channel).await.unwrap();
        check(&channel).await.unwrap();
    }
    let party = |name| RoleId::Party(id(name));
    assert_eq!(*server.callers.lock().unwrap(), [party("ccas"), party("ccas"), party("siao"), party("siao")]);
    server.stop().await;
}

#[tokio::test]
async fn a_certificate_of_the_authority_that_the_agreement_does_not_name_gets_nothing() {
    let world = World::new();
    let server = Running::start(&world.broker(), None, Limits::default()).await;
    for uri in [party_uri("departement"), party_uri("ccas") + "/", party_uri("ccas").to_uppercase()] {
        let channel = server.connect(&world.files(&uri, "other")).await.unwrap();
        assert_eq!(check(&channel).await.unwrap_err().code(), Code::PermissionDenied);
    }
    assert!(server.callers.lock().unwrap().is_empty());
}

#[tokio::test]
async fn strangers_are_refused_on_both_sides() {
    let (world, other) = (World::new(), World::new());
    let server = Running::start(&world.broker(), None, Limits::default()).await;
    let ours = world.party("ccas");
    let theirs = other.party("ccas");
    let client = TlsFiles { ca: ours.ca.clone(), ..theirs.clone() };
    assert_eq!(server.connect(&client).await.unwrap_err(), refused(&server, Refusal::UnknownAuthority));
    let client = TlsFiles { ca: theirs.ca, ..ours };
    assert_eq!(server.connect(&client).await.unwrap_err(), ConnectError::ServerStranger { url: server.url.clone() });
    assert!(server.callers.lock().unwrap().is_empty());
}

#[tokio::test]
async fn certificates_count_only_within_their_dates() {
    let world = World::new();
    let server = Running::start(&world.broker(), None, Limits::default()).await;
    for validity in [past(), future()] {
        let client = world.files_for(&party_uri("ccas"), "ccas", validity);
        assert_eq!(server.connect(&client).await.unwrap_err(), refused(&server, Refusal::Expired));
    }
    let client = world.party("siao");
    let expired = Running::start(&world.files_for(&broker_uri(), "past", past()), None, Limits::default()).await;
    assert_eq!(expired.connect(&client).await.unwrap_err(), ConnectError::ServerExpired { url: expired.url.clone() });
    let early = Running::start(&world.files_for(&broker_uri(), "future", future()), None, Limits::default()).await;
    assert_eq!(early.connect(&client).await.unwrap_err(), ConnectError::ServerNotYetValid { url: early.url.clone() });
}

#[tokio::test]
async fn a_server_in_another_role_than_expected_is_not_talked_to() {
    let world = World::new();
    let server = Running::start(&world.files(&party_uri("siao"), "siao"), None, Limits::default()).await;
    let client = world.party("ccas");
    let expected = ConnectError::ServerIdentity { url: server.url.clone(), expected: broker_uri(), presented: party_uri("siao") };
    let start = Instant::now();
    assert_eq!(server.connect(&client).await.unwrap_err(), expected);
    assert!(start.elapsed() < AT_ONCE / 2, "an error that cannot pass is not tried again");

    let channel = connect_lazy(&server.url, &client, &broker_uri()).unwrap();
    let status = retry(AT_ONCE, || check(&channel)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(ConnectError::of(&status), Some(&expected));
    let told = ServiceError::from(&status);
    assert_eq!((told.kind, told.message), (ErrorKind::Refused, expected.to_string().into()));
    assert!(start.elapsed() < AT_ONCE / 2);
}

/// A client made of rustls alone, for what `connect` refuses to send.
async fn raw_client(
    server: &Running,
    world: &World,
    versions: &[&'static rustls::SupportedProtocolVersion],
    identity: Option<(&str, &str)>,
) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(world.authority.certificate_pem().as_bytes()).unwrap()).unwrap();
    #[derive(Debug)]
    struct AnyName(Arc<rustls::client::WebPkiServerVerifier>);
    impl rustls::client::danger::ServerCertVerifier for AnyName {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.0.verify_tls12_signature(message, cert, dss)
        }
        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.0.verify_tls13_signature(message, cert, dss)
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.0.supported_verify_schemes()
        }
    }
    let verifier = rustls::client::WebPkiServerVerifier::builder(Arc::new(roots)).build().unwrap();
    let builder = ClientConfig::builder_with_protocol_versions(versions)
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyName(verifier)));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(server.address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let tls_error = |e: std::io::Error| e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()).unwrap().clone();
    let mut io = connector.connect(ServerName::try_from("localhost").unwrap(), socket).await.map_err(tls_error)?;
    // The server's SETTINGS, or its alert.
    io.read_u8().await.map(drop).map_err(tls_error)
}

#[tokio::test]
async fn clients_without_one_name_are_refused_by_alert() {
    use rustls::version::{TLS12, TLS13};
    let world = World::new();
    let server = Running::start(&world.broker(), None, Limits::default()).await;
    let alert = |alert| Err(rustls::Error::AlertReceived(alert));

    assert_eq!(raw_client(&server, &world, &[&TLS13], None).await, alert(AlertDescription::CertificateRequired));
    assert_eq!(raw_client(&server, &world, &[&TLS12], None).await, alert(AlertDescription::ProtocolVersion));
    for uris in [vec![], vec![party_uri("ccas"), party_uri("siao")], vec![party_uri("ccas"), party_uri("ccas")]] {
        let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
        let (certificate, key) = world.authority.issue_for_uris(&uris, Validity::days(Timestamp::now(), 1)).unwrap();
        assert_eq!(
            raw_client(&server, &world, &[&TLS13], Some((&certificate, &key))).await,
            alert(AlertDescription::AccessDenied),
            "{uris:?}"
        );
    }
    // The same client with one name gets in: the refusals above are about the names.
    let (certificate, key) = world.authority.issue(&party_uri("ccas"), Validity::days(Timestamp::now(), 1)).unwrap();
    assert_eq!(raw_client(&server, &world, &[&TLS13], Some((&certificate, &key))).await, Ok(()));
}

#[tokio::test]
async fn a_server_with_two_names_is_not_talked_to() {
    let world = World::new();
    let (certificate, key) =
        world.authority.issue_for_uris(&[&broker_uri(), &party_uri("siao")], Validity::days(Timestamp::now(), 1)).unwrap();
    let config = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let _ = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(socket).await;
    });
    let result = connect(&url, &world.party("ccas"), &broker_uri(), AT_ONCE).await;
    assert_eq!(result.unwrap_err(), ConnectError::ServerCertificate { url });

    // Nor does such a certificate start a server of ours.
    fsx::write_atomic(&world.path("two.pem"), certificate.as_bytes()).unwrap();
    fsx::write_atomic(&world.path("two.key"), key.as_bytes()).unwrap();
    let files = TlsFiles { ca: world.path("ca.pem"), certificate: world.path("two.pem"), key: world.path("two.key") };
    let expected = TlsFileError::Identity { path: world.path("two.pem"), reason: IdentityError::SeveralUris };
    assert_eq!(ServerTls::load(&files, None).unwrap_err(), expected);
}

#[tokio::test]
async fn certificates_are_replaced_without_closing_the_port_or_a_connection() {
    let world = World::new();
    let files = world.files(&party_uri("siao"), "server");
    let server = Running::start(&files, None, Limits::default()).await;
    let client = world.party("ccas");
    let before = connect(&server.url, &client, &party_uri("siao"), LONG).await.unwrap();
    check(&before).await.unwrap();

    // Half replaced: the new certificate with the old key is refused, the old pair stays in force.
    let (certificate, key) = world.authority.issue(&broker_uri(), Validity::days(Timestamp::now(), 1)).unwrap();
    fsx::write_atomic(&files.certificate, certificate.as_bytes()).unwrap();
    let mismatch = TlsFileError::KeyMismatch { key: files.key.clone(), certificate: files.certificate.clone() };
    assert_eq!(server.tls.reload().unwrap_err(), mismatch);
    assert_eq!(server.tls.reload_if_changed().unwrap_err(), mismatch, "tried again until it is whole");
    connect(&server.url, &client, &party_uri("siao"), LONG).await.unwrap();

    fsx::write_atomic(&files.key, key.as_bytes()).unwrap();
    assert_eq!(server.tls.reload_if_changed(), Ok(true));
    assert_eq!(server.tls.reload_if_changed(), Ok(false));
    let after = server.connect(&client).await.unwrap();
    check(&after).await.unwrap();
    check(&before).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn changed_files_are_taken_over_by_polling_and_on_sighup() {
    let world = World::new();
    let client = world.party("ccas");
    let becomes_broker = async |server: &Running| {
        let give_up = Instant::now() + LONG;
        while server.connect(&client).await.is_err() {
            assert!(Instant::now() < give_up, "the new certificate was not taken over");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let renew = |stem: &str| drop(world.files(&broker_uri(), stem));

    let polled = Limits { reload_poll_ms: 20, ..Limits::default() };
    let server = Running::start(&world.files(&party_uri("siao"), "polled"), None, polled).await;
    assert!(server.connect(&client).await.is_err());
    renew("polled");
    becomes_broker(&server).await;

    let signalled = Limits { reload_poll_ms: 3_600_000, ..Limits::default() };
    let server = Running::start(&world.files(&party_uri("siao"), "signalled"), None, signalled).await;
    assert!(server.connect(&client).await.is_err());
    renew("signalled");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(server.connect(&client).await.is_err(), "nothing has been asked yet");
    let pid = std::process::id().to_string();
    assert!(std::process::Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    becomes_broker(&server).await;
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_from_the_list_s_arrival_on() {
    let world = World::new();
    let (ccas, siao) = (world.party("ccas"), world.party("siao"));
    let crl = world.path("revoked.crl");
    fsx::write_atomic(&crl, world.authority.revoke(&[], Timestamp::now()).unwrap().as_bytes()).unwrap();
    let server = Running::start(&world.broker(), Some(&crl), Limits::default()).await;
    check(&server.connect(&ccas).await.unwrap()).await.unwrap();

    let certificate = std::fs::read_to_string(&ccas.certificate).unwrap();
    fsx::write_atomic(&crl, world.authority.revoke(&[&certificate], Timestamp::now()).unwrap().as_bytes()).unwrap();
    server.tls.reload().unwrap();
    assert_eq!(server.connect(&ccas).await.unwrap_err(), refused(&server, Refusal::Revoked));
    check(&server.connect(&siao).await.unwrap()).await.unwrap();

    // A list of another authority says nothing about ours: nobody can be told not revoked.
    let other = DevAuthority::create("autre", Timestamp::now()).unwrap();
    fsx::write_atomic(&crl, other.revoke(&[], Timestamp::now()).unwrap().as_bytes()).unwrap();
    server.tls.reload().unwrap();
    assert!(matches!(server.connect(&siao).await, Err(ConnectError::Refused { .. })));

    fsx::write_atomic(&crl, b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n").unwrap();
    assert_eq!(server.tls.reload().unwrap_err(), TlsFileError::Crl { path: crl.clone() });
    fsx::write_atomic(&crl, b"no list").unwrap();
    assert_eq!(server.tls.reload().unwrap_err(), TlsFileError::NotPem { path: crl, expected: "X509 CRL" });
}

#[tokio::test]
async fn whoever_does_not_speak_is_dropped_and_harms_nobody() {
    let world = World::new();
    let limits = Limits { handshake_timeout_ms: 300, ..Limits::default() };
    let server = Running::start(&world.broker(), None, limits).await;

    let start = Instant::now();
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(tokio::time::timeout(LONG, silent.read(&mut [0; 8])).await.unwrap().unwrap_or(0), 0);
    assert!(start.elapsed() >= Duration::from_millis(250), "{:?}", start.elapsed());

    for garbage in
        [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0xff; 4096], &[0x16, 3, 3, 0xff, 0xff]]
    {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(LONG, socket.read_to_end(&mut answer)).await.unwrap();
        // At most a TLS alert record: type 21, version, length 2.
        assert!(answer.is_empty() || (answer[0] == 21 && answer.len() == 7), "{answer:?}");
    }
    check(&server.connect(&world.party("ccas")).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn connections_over_the_limit_are_dropped_until_one_ends_or_is_idle() {
    let world = World::new();
    let limits = Limits { max_connections: 1, ..Limits::default() };
    let server = Running::start(&world.broker(), None, limits).await;
    let client = world.party("ccas");
    let first = server.connect(&client).await.unwrap();
    let mut at_work = watch(&first).await;
    assert!(at_work.message().await.unwrap().is_some());
    for other in [&client, &world.party("siao")] {
        let refused = connect(&server.url, other, &broker_uri(), Duration::from_millis(300)).await.unwrap_err();
        assert!(refused.is_passing(), "{refused}");
    }
    check(&first).await.unwrap();
    // Its work done, it stands idle and gives way.
    drop(at_work);
    let second = connect(&server.url, &world.party("siao"), &broker_uri(), LONG).await.unwrap();
    check(&second).await.unwrap();
    drop((first, second));
    check(&connect(&server.url, &client, &broker_uri(), LONG).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_client_waits_for_its_server_and_finds_it_again() {
    let world = World::new();
    let client = world.party("ccas");
    let vacant = TcpListener::bind((own_host(), 0)).await.unwrap();
    let address = vacant.local_addr().unwrap();
    drop(vacant);
    let url = format!("https://{address}");
    let nobody = connect(&url, &client, &broker_uri(), Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(nobody, ConnectError::Unreachable { url: url.clone(), kind: std::io::ErrorKind::ConnectionRefused });

    let lazy = connect_lazy(&url, &client, &broker_uri()).unwrap();
    let waiting = tokio::spawn({
        let (url, client) = (url.clone(), client.clone());
        async move { connect(&url, &client, &broker_uri(), LONG).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let files = world.broker();
    let server = Running::start_on(address, &files, None, Limits::default()).await;
    let channel = waiting.await.unwrap().unwrap();
    check(&channel).await.unwrap();
    retry(LONG, || check(&lazy)).await.unwrap();

    server.stop().await;
    assert_eq!(check(&channel).await.unwrap_err().code(), Code::Unavailable);
    let server = Running::start_on(address, &files, None, Limits::default()).await;
    retry(LONG, || check(&channel)).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_connection_ends_in_its_time_and_calls_go_on() {
    let world = World::new();
    let files = world.files(&party_uri("siao"), "server");
    let limits = Limits { connection_age_s: 3, ..Limits::default() };
    let server = Running::start(&files, None, limits).await;
    let channel = connect(&server.url, &world.party("ccas"), &party_uri("siao"), LONG).await.unwrap();
    check(&channel).await.unwrap();
    // The server becomes another role: the connection that stands does not see it, the next one does.
    drop(world.files(&broker_uri(), "server"));
    server.tls.reload().unwrap();
    check(&channel).await.unwrap();
    let give_up = Instant::now() + LONG;
    let status = loop {
        // Tried again when it meets the end of the connection; the next connection's fault is final.
        match retry(LONG, || check(&channel)).await {
            Ok(()) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(status) => break status,
        }
        assert!(Instant::now() < give_up, "the connection outlived its time");
    };
    assert!(matches!(ConnectError::of(&status), Some(ConnectError::ServerIdentity { .. })), "{status:?}");
    drop(world.files(&party_uri("siao"), "server"));
    server.tls.reload().unwrap();
    retry(LONG, || check(&channel)).await.unwrap();
}

#[tokio::test]
async fn a_request_without_end_is_cut_with_its_connection() {
    let world = World::new();
    let limits = Limits { connection_age_s: 1, request_timeout_s: 1, ..Limits::default() };
    let server = Running::start(&world.broker(), None, limits).await;
    let start = Instant::now();
    let channel = server.connect(&world.party("ccas")).await.unwrap();
    let mut watch = watch(&channel).await;
    assert!(watch.message().await.unwrap().is_some());
    tokio::time::timeout(LONG, watch.message()).await.unwrap().unwrap_err();
    assert!(start.elapsed() > Duration::from_millis(1500), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_stop_waits_for_requests_under_way_but_not_for_ever() {
    let world = World::new();
    let limits = Limits { shutdown_grace_s: 3, ..Limits::default() };
    let server = Running::start_on((own_host(), 0).into(), &world.broker(), None, limits).await;
    let address = server.address;
    let channel = server.connect(&world.party("ccas")).await.unwrap();
    // The health service's watch never ends by itself.
    let mut watch = watch(&channel).await;
    let start = Instant::now();
    let stopping = tokio::spawn(server.stop());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!stopping.is_finished());
    drop(TcpListener::bind(address).await.expect("the port is free while requests end"));
    assert!(watch.message().await.unwrap().is_some());
    tokio::time::timeout(LONG, stopping).await.unwrap().unwrap();
    assert!(start.elapsed() >= Duration::from_secs(3));
}

#[tokio::test]
async fn what_is_no_server_of_ours_is_told_apart() {
    let world = World::new();
    let client = world.party("ccas");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let _ = socket.read(&mut [0; 512]).await;
        let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    assert_eq!(connect(&url, &client, &broker_uri(), AT_ONCE).await.unwrap_err(), ConnectError::NotTls { url });
    for url in ["http://127.0.0.1:1", "127.0.0.1:1", "https://", "unix:/tmp/socket", "https://a b:1", ""] {
        let error = connect(url, &client, &broker_uri(), AT_ONCE).await.unwrap_err();
        assert_eq!(error, ConnectError::Url { url: url.to_owned() });
    }
}

#[tokio::test]
async fn every_fault_of_the_files_is_said_with_its_file() {
    use linkage_common::fsx::FileError;
    let world = World::new();
    let good = world.party("ccas");
    let load = |files: &TlsFiles| ServerTls::load(files, None).map(drop);
    assert_eq!(load(&good), Ok(()));
    assert_eq!(good.own_uri(), Ok(party_uri("ccas")));

    let absent = world.path("absent.pem");
    for files in [
        TlsFiles { ca: absent.clone(), ..good.clone() },
        TlsFiles { certificate: absent.clone(), ..good.clone() },
        TlsFiles { key: absent.clone(), ..good.clone() },
    ] {
        assert_eq!(load(&files), Err(TlsFileError::File(FileError::Missing { path: absent.clone() })));
    }
    // Each file in another's place.
    let swapped = TlsFiles { certificate: good.key.clone(), ..good.clone() };
    assert_eq!(load(&swapped), Err(TlsFileError::NotPem { path: good.key.clone(), expected: "CERTIFICATE" }));
    let copied = world.path("copy.key");
    fsx::write_atomic(&copied, &std::fs::read(&good.certificate).unwrap()).unwrap();
    let swapped = TlsFiles { key: copied.clone(), ..good.clone() };
    assert_eq!(load(&swapped), Err(TlsFileError::NotPem { path: copied, expected: "PRIVATE KEY" }));
    let other = world.party("siao");
    let mixed = TlsFiles { key: other.key.clone(), ..good.clone() };
    assert_eq!(load(&mixed), Err(TlsFileError::KeyMismatch { key: other.key, certificate: good.certificate.clone() }));
    let url = "https://127.0.0.1:1";
    assert!(matches!(connect_lazy(url, &mixed, "x"), Err(ConnectError::Files(TlsFileError::KeyMismatch { .. }))));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&good.key, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(load(&good), Err(TlsFileError::File(FileError::Exposed { path: good.key, mode: 0o640 })));
    }
}
