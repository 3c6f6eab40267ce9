//! Peers that only want to be in the way: thousands of connections that say nothing, garbage, half a handshake or a byte now and
//! then, and a partner that sends half messages. An honest client is served meanwhile, and the memory of the role is bounded.
//!
//! Ten thousand connections at a time against each listener, or as many as the limit of open files allows; it says how many.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::net::SocketAddr;
use std::time::Duration;

use linkage_common::tls::{TlsFiles, connect, look};
use linkage_proto::v1::runs_client::RunsClient;
use linkage_tests::federation::{Federation, Role, free_port, wait_for};
use linkage_tests::proxy::{Tls, connector};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

const LONG: Duration = Duration::from_secs(120);
const CONNECTIONS: usize = 10_000;
/// What a role's memory may grow by under any of this: a thousand handshakes, or a partner's calls with a message each.
const GROWTH: u64 = 256 << 20;
/// Connections that the broker allows known peers in the second test.
const PEERS: usize = 96;

fn tls_files(site: &Federation, role: &Role) -> TlsFiles {
    let folder = site.home(role).join("tls");
    TlsFiles { ca: folder.join("ca.pem"), certificate: folder.join("certificat.pem"), key: folder.join("certificat.key") }
}

fn append(site: &Federation, role: &Role, text: &str) {
    let path = site.config(role);
    let old = std::fs::read_to_string(&path).unwrap();
    linkage_common::fsx::write_atomic(&path, format!("{old}\n{text}").as_bytes()).unwrap();
}

/// Connections that this process may hold open at once.
fn allowed() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let soft = line.split_whitespace().next().unwrap().parse::<usize>().unwrap_or(usize::MAX);
    CONNECTIONS.min(soft.saturating_sub(500))
}

/// A stranger's connection number `n`, from an address of loopback that is its own, and what it says at once.
async fn stranger(to: SocketAddr, n: usize) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    // Its end leaves no port behind that the system would keep from other tests for a minute.
    socket.set_zero_linger().unwrap();
    let from = if n.is_multiple_of(2) { [127, 0, 0, 2] } else { [127, 0, 0, 1] };
    socket.bind(SocketAddr::from((from, 0))).ok()?;
    let mut stream = tokio::time::timeout(LONG, socket.connect(to)).await.ok()?.ok()?;
    // Nothing; what is no TLS; the head of a ClientHello whose rest never comes, or comes byte by byte.
    let says: &[u8] = match n % 8 {
        0 | 1 => b"",
        2 | 3 => &[0xff; 512],
        4 | 5 => &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
        _ => &[0x16],
    };
    let _ = stream.write_all(says).await;
    Some(stream)
}

/// All of them at once.
async fn flood(to: SocketAddr, count: usize) -> Vec<TcpStream> {
    let (mut all, mut opening) = (Vec::with_capacity(count), JoinSet::new());
    for n in 0..count {
        if opening.len() >= 256 {
            all.extend(opening.join_next().await.unwrap().unwrap());
        }
        opening.spawn(stranger(to, n));
    }
    while let Some(opened) = opening.join_next().await {
        all.extend(opened.unwrap());
    }
    all
}

/// A byte on each connection that is still open.
fn trickle(connections: &mut [TcpStream]) {
    for connection in connections.iter_mut().skip(6).step_by(8) {
        let _ = connection.try_write(&[3]);
    }
}

async fn page_answers(address: SocketAddr) -> String {
    let socket = TcpStream::connect(address).await.unwrap();
    let mut stream = connector(None).connect(ServerName::IpAddress(address.ip().into()), socket).await.unwrap();
    let request = format!("GET /connexion HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap().lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_strangers_shut_nobody_out() {
    linkage_common::tls::install_crypto();
    let mut site = Federation::set_up(60, 1, 83);
    let ops: SocketAddr = format!("127.0.0.1:{}", free_port()).parse().unwrap();
    append(&site, &Role::Broker, &format!("[ops]\nlisten = \"{ops}\"\n"));
    let page: SocketAddr = {
        let config = std::fs::read_to_string(site.config(&Role::Analyst)).unwrap();
        let section = config.split("[page]").nth(1).unwrap();
        section.lines().find_map(|line| line.strip_prefix("listen = ")).unwrap().trim_matches('"').parse().unwrap()
    };
    let servers = [Role::Broker, Role::Custodian, Role::Analyst];
    for role in [Role::Custodian, Role::Broker, Role::Analyst] {
        site.start(&role);
    }
    let honest = tls_files(&site, &Role::Node(site.parties[1].clone()));
    let count = allowed();
    let listeners: Vec<(&str, Role, SocketAddr)> = servers
        .iter()
        .map(|role| (role.command(), role.clone(), site.setting(role, "listen").parse().unwrap()))
        .chain([("page", Role::Analyst, page), ("operations", Role::Broker, ops)])
        .collect();
    for (name, role, address) in listeners {
        let before = site.memory(&role).0;
        let mut strangers = flood(address, count).await;
        assert!(strangers.len() * 10 > count * 9, "{name}: only {} of {count} connections were taken", strangers.len());
        let during = site.memory(&role).0;
        for _ in 0..3 {
            trickle(&mut strangers);
            match name {
                "page" => assert_eq!(page_answers(address).await, "HTTP/1.1 200 OK"),
                "operations" => {
                    let mut probe = TcpStream::connect(address).await.unwrap();
                    probe.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
                    let mut answer = String::new();
                    probe.read_to_string(&mut answer).await.unwrap();
                    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                }
                _ => {
                    let uri = tls_files(&site, &role).own_uri().unwrap();
                    look(&format!("https://{address}"), &honest, &uri, LONG).await.unwrap();
                }
            }
        }
        let grown = during.max(site.memory(&role).0).saturating_sub(before);
        assert!(grown < GROWTH, "{name}: {} MiB more than before", grown >> 20);
        println!("{name}: {} connections at once, {} MiB more", strangers.len(), grown >> 20);
        drop(strangers);
    }
    site.check();
    assert!(site.log_text(&Role::Broker).contains("connection limit reached"));
    site.stop_all();
}

/// HTTP/2 (RFC 9113 section 4.1): a frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The head of a call (RFC 7541 section 6.2.2: literals that no table keeps).
fn call(stream: u32, path: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let mut head = vec![0x83, 0x87];
    head.extend([&[0x04][..], &text(path)].concat());
    head.extend([&[0x01][..], &text("localhost")].concat());
    for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")] {
        head.extend([&[0x00][..], &text(name), &text(value)].concat());
    }
    frame(1, 0x4, stream, &head)
}

/// Calls with half a message each: so much is announced, a part of it comes, and no more.
async fn half_messages(mut io: impl AsyncRead + AsyncWrite + Unpin, calls: u32, announced: u32, sent: usize) {
    let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[])].concat();
    // The server's settings, with the size of its windows, hold once they are acknowledged (RFC 9113 section 6.5.3).
    let mut settings = [0; 9];
    if io.write_all(&preface).await.is_err() || io.flush().await.is_err() || io.read_exact(&mut settings).await.is_err() {
        return;
    }
    let mut bytes = frame(4, 1, 0, &[]);
    for number in 0..calls {
        let stream = 2 * number + 1;
        bytes.extend(call(stream, "/linkage.v1.Runs/PutBatches"));
        let mut message = vec![0];
        message.extend_from_slice(&announced.to_be_bytes());
        message.resize(sent, 0x2a);
        for piece in message.chunks(16_384) {
            bytes.extend(frame(0, 0, stream, piece));
        }
    }
    let (mut read, mut write) = tokio::io::split(&mut io);
    let said = async {
        let _ = write.write_all(&bytes).await;
        let _ = write.flush().await;
        std::future::pending::<()>().await;
    };
    let heard = async {
        let mut buffer = vec![0; 4096];
        while read.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
    };
    tokio::select! {
        () = said => {}
        () = heard => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wild_partner_takes_neither_the_places_nor_the_memory_of_the_others() {
    linkage_common::tls::install_crypto();
    let mut site = Federation::set_up(60, 1, 89);
    append(&site, &Role::Broker, &format!("[limits]\nmax_connections = {PEERS}\n"));
    site.start(&Role::Custodian);
    site.start(&Role::Broker);
    let broker = tls_files(&site, &Role::Broker).own_uri().unwrap();
    let address: SocketAddr = site.setting(&Role::Broker, "listen").parse().unwrap();
    let url = format!("https://{address}");
    let honest = tls_files(&site, &Role::Node(site.parties[1].clone()));
    let wild_home = site.home(&Role::Node(site.parties[2].clone())).join("tls");
    let wild = connector(Some(Tls(&wild_home)));
    let enter = async || {
        let socket = TcpStream::connect(address).await.ok()?;
        tokio::time::timeout(LONG, wild.connect(ServerName::IpAddress(address.ip().into()), socket)).await.ok()?.ok()
    };
    // An honest upload's connection stands before, and goes on.
    let before = connect(&url, &honest, &broker, LONG).await.unwrap();
    let ask = async |channel: &linkage_common::tls::Channel| {
        let answer = RunsClient::new(channel.clone()).list_runs(linkage_proto::v1::ListRunsRequest::default()).await;
        // It names no agreement: an answer of the service, not of the line.
        assert_eq!(answer.unwrap_err().code(), tonic::Code::PermissionDenied);
    };
    ask(&before).await;
    let started = site.memory(&Role::Broker).0;
    let mut hostile = JoinSet::new();
    for n in 0..2 * PEERS {
        let Some(mut io) = enter().await else { continue };
        hostile.spawn(async move {
            match n % 4 {
                // Says nothing, or a byte now and then of HTTP/2's preface.
                0 => drop(io.read_u8().await),
                1 => {
                    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\xff" {
                        if io.write_u8(*byte).await.is_err() || io.flush().await.is_err() {
                            return;
                        }
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                    drop(io.read_u8().await);
                }
                // A message larger than any may be.
                2 => half_messages(io, 4, u32::MAX, 64 << 10).await,
                _ => half_messages(io, 4, 1_048_576, 900_000).await,
            }
        });
        if n == PEERS {
            ask(&before).await;
        }
    }
    wait_for("the broker refuses calls beyond those at a time", || {
        site.log_text(&Role::Broker).contains("appels en cours").then_some(())
    });
    for _ in 0..5 {
        ask(&before).await;
        let newcomer = connect(&url, &honest, &broker, LONG).await.unwrap();
        ask(&newcomer).await;
    }
    let (now, most) = site.memory(&Role::Broker);
    let grown = now.saturating_sub(started);
    println!("wild partner: {} connections tried, {} MiB more, {} MiB at most", 2 * PEERS, grown >> 20, most >> 20);
    assert!(grown < GROWTH, "{} MiB more than before", grown >> 20);
    hostile.shutdown().await;
    site.check();
    site.stop_all();
}
