//! Starting a role: what it listens on, under which files, and what it says when it cannot.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, unreachable_pub)]

#[expect(dead_code, reason = "shared with the tests over TLS")]
mod support;

use std::net::{SocketAddr, TcpListener};

use jiff::Timestamp;
use linkage_common::role::{Listening, serve_on};
use linkage_common::tls::{ConnectError, Limits, Refusal, TlsFiles, connect};
use linkage_common::{ErrorKind, ServiceError};
use support::{AT_ONCE, World, broker_uri, check};
use tokio::sync::oneshot;
use tonic::service::Routes;

fn free_address() -> SocketAddr {
    TcpListener::bind((support::own_host(), 0)).unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_role_serves_health_until_it_is_told_to_stop() {
    let world = World::new();
    let (files, address) = (world.broker(), free_address());
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        let limits = Limits { shutdown_grace_s: 1, ..Limits::default() };
        let listening = Listening { address, tls: &files, crl: None, limits: &limits };
        serve_on(listening, Routes::builder(), async { drop(stopped.await) }).await
    });
    let channel = connect(&format!("https://{address}"), &world.party("ccas"), &broker_uri(), AT_ONCE).await.unwrap();
    check(&channel).await.unwrap();
    drop(stop);
    task.await.unwrap().unwrap();
    TcpListener::bind(address).unwrap();
}

#[tokio::test]
async fn certificates_on_the_list_are_refused_and_limits_hold() {
    let world = World::new();
    let (files, address) = (world.broker(), free_address());
    let revoked = world.party("siao");
    let list = world.path("revoked.pem");
    let certificate = std::fs::read_to_string(&revoked.certificate).unwrap();
    std::fs::write(&list, world.authority.revoke(&[&certificate], Timestamp::now()).unwrap()).unwrap();
    let task = tokio::spawn(async move {
        let limits = Limits { max_connections: 1, ..Limits::default() };
        let listening = Listening { address, tls: &files, crl: Some(&list), limits: &limits };
        serve_on(listening, Routes::builder(), std::future::pending()).await
    });
    let url = format!("https://{address}");
    let error = connect(&url, &revoked, &broker_uri(), AT_ONCE).await.unwrap_err();
    assert_eq!(error, ConnectError::Refused { url: url.clone(), refusal: Refusal::Revoked });
    let first = connect(&url, &world.party("ccas"), &broker_uri(), AT_ONCE).await.unwrap();
    let second = connect(&url, &world.party("caf"), &broker_uri(), std::time::Duration::from_millis(300)).await.unwrap_err();
    assert!(second.is_passing(), "{second}");
    check(&first).await.unwrap();
    task.abort();
}

async fn fault(address: SocketAddr, files: &TlsFiles, crl: Option<&std::path::Path>) -> ServiceError {
    let limits = Limits::default();
    let listening = Listening { address, tls: files, crl, limits: &limits };
    serve_on(listening, Routes::builder(), std::future::pending()).await.unwrap_err()
}

#[tokio::test]
async fn what_is_wrong_is_said_before_anything_is_served() {
    let world = World::new();
    let files = world.broker();
    let held = TcpListener::bind((support::own_host(), 0)).unwrap();
    let error = fault(held.local_addr().unwrap(), &files, None).await;
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.contains("le port est-il déjà pris"), "{error}");
    let absent = TlsFiles { certificate: world.path("absent.pem"), ..files.clone() };
    assert!(fault(free_address(), &absent, None).await.message.contains("absent.pem"));
    let error = fault(free_address(), &files, Some(&files.certificate)).await;
    assert!(error.message.contains("X509 CRL"), "{error}");
}
