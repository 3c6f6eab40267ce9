//! Neither the wire nor the disk of broker, custodian or analyst, nor any log, holds a name, a date of birth or an identifier
//! of the data. All traffic of a month passes proxies that open its TLS with the roles' own keys and record it.
//!
//! The search is one that finds: the same needles are found in the delivered files, and in a recording with one planted.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use linkage_tests::federation::{Federation, Role, files, free_port, wait_for};
use linkage_tests::needles::{Kind, Needles};
use linkage_tests::proxy::{Proxies, Tls, data_streams};

const MONTH: &str = "2024-01";
const RUN: &str = "ecoute-du-reseau";

fn address(federation: &Federation, role: &Role) -> SocketAddr {
    federation.setting(role, "listen").parse().unwrap()
}

/// Puts a proxy between every pair of roles that talk.
fn tap(federation: &Federation) -> Proxies {
    let proxies = Proxies::default();
    let mut pairs: Vec<(Role, Role, &str)> =
        vec![(Role::Broker, Role::Custodian, "custodian_url"), (Role::Analyst, Role::Custodian, "custodian_url")];
    for node in federation.nodes() {
        pairs.push((node.clone(), Role::Broker, "broker_url"));
        pairs.push((node, Role::Custodian, "custodian_url"));
    }
    for (client, server, key) in pairs {
        let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (client_tls, server_tls) = (federation.home(&client).join("tls"), federation.home(&server).join("tls"));
        proxies.start(
            listen,
            address(federation, &server),
            (&client.home(), Tls(&client_tls)),
            (&server.home(), Tls(&server_tls)),
        );
        federation.set(&client, key, &format!("https://{listen}"));
    }
    proxies
}

/// The needles of every canonical file under `folder`.
fn needles(federation: &mut Federation, folder: &Path) -> Needles {
    let canonical: Vec<PathBuf> =
        files(folder).into_iter().map(|f| f.1).filter(|p| p.extension().is_some_and(|e| e == "csv")).collect();
    assert!(!canonical.is_empty(), "{} holds no canonical file", folder.display());
    // What the programs say before they have seen any data is no name either, whatever it is spelt like.
    federation.start_all();
    wait_for("the group key", || {
        federation.check();
        let derived = |node: &Role| federation.log_text(node).contains("group key derived");
        federation.nodes().iter().all(derived).then_some(())
    });
    federation.stop_all();
    let mut public = federation.public_text();
    for role in federation.roles() {
        public.push_str(&federation.log_text(&role));
    }
    Needles::of_canonical(canonical.iter().map(PathBuf::as_path), &public)
}

/// A file that cannot be taken in: its names would be in the log if a message ever quoted a line.
fn deliver_broken_files(federation: &mut Federation) {
    let mut spoilt = Vec::new();
    for delivery in federation.deliveries(MONTH) {
        let bytes = fs::read(&delivery.file).unwrap();
        let header_end = bytes.iter().position(|&b| b == b'\n').unwrap();
        let path = federation.folder.join(format!("sans-entete-{}.csv", delivery.party));
        // Without its header, the first person's line stands in the header's place.
        fs::write(&path, &bytes[header_end + 1..]).unwrap();
        spoilt.push((delivery.party.clone(), federation.put(&delivery.party, MONTH, &path)));
        fs::remove_file(&path).unwrap();
    }
    for (party, put) in spoilt {
        let node = Role::Node(party.clone());
        wait_for(&format!("{party} refuses a file without header"), || {
            federation.check();
            federation.log_text(&node).contains("delivery not taken in").then_some(())
        });
        fs::remove_file(put).unwrap();
    }
}

/// Searches a folder; what is found is told by file.
fn search(needles: &Needles, folder: &Path, found: &mut Vec<String>) -> usize {
    let mut searched = 0;
    for (name, path) in files(folder) {
        let (hits, bytes) = needles.scan_file(&path);
        searched += bytes;
        found.extend(hits.iter().map(|hit| format!("{}: {hit:?}", path.display())));
        found.extend(
            needles.scan(name.as_bytes()).iter().map(|hit| format!("name of a file below {}: {hit:?}", folder.display())),
        );
    }
    searched
}

fn month_under_observation(federation: &mut Federation) {
    federation.log_filter = "debug".to_owned();
    let needles = &needles(federation, &federation.folder.join("donnees/canonical"));
    // What a test of absence is worth: the same search finds the needles where they are.
    let mut in_files = BTreeMap::new();
    for delivery in federation.deliveries(MONTH) {
        let (hits, bytes) = needles.scan_file(&delivery.file);
        let kinds = [Kind::Name, Kind::Birth, Kind::Identifier].map(|kind| hits.iter().filter(|h| h.kind == kind).count());
        assert!(kinds.iter().all(|&n| n > 0), "{}: {kinds:?} names, dates, identifiers in {bytes} bytes", delivery.party);
        in_files.insert(delivery.party, kinds);
    }

    let proxies = tap(federation);
    federation.start_all();
    deliver_broken_files(federation);
    federation.deliver(MONTH);
    federation.open_run(RUN, MONTH);
    federation.wait_closed(RUN);
    federation.wait_ingested(MONTH);
    let links = federation.links(RUN, MONTH);
    assert!(links.contains(",certain,"));
    federation.assert_once(RUN, &links);

    let mut found = Vec::new();
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    // While the roles run: write-ahead logs and temporary files are there.
    let servers = [Role::Broker, Role::Custodian, Role::Analyst];
    for role in &servers {
        *sizes.entry("disks, running").or_default() += search(needles, &federation.home(role), &mut found);
    }
    federation.stop_all();
    for role in &servers {
        *sizes.entry("disks, stopped").or_default() += search(needles, &federation.home(role), &mut found);
    }
    *sizes.entry("logs").or_default() += search(needles, &federation.folder.join("journaux"), &mut found);

    let recordings = proxies.plain();
    let mut ways: BTreeMap<String, usize> = BTreeMap::new();
    for (way, plain) in &recordings {
        *ways.entry(way.clone()).or_default() += plain.len();
        *sizes.entry("wire, frames").or_default() += plain.len();
        found.extend(needles.scan(plain).iter().map(|hit| format!("{way}: {hit:?}")));
        for stream in data_streams(plain) {
            *sizes.entry("wire, payloads").or_default() += stream.len();
            found.extend(needles.scan(&stream).iter().map(|hit| format!("{way}, payload: {hit:?}")));
        }
    }
    assert_eq!(found, Vec::<String>::new());
    // Everything passed the proxies: both ways of two servers' pairs and of every node's two.
    assert_eq!(ways.len(), 2 * (2 + 2 * federation.parties.len()), "{ways:?}");
    let payloads = sizes["wire, payloads"];
    assert!(payloads > 1000 * (links.lines().count() - 1), "{payloads} bytes are less than the encodings of {RUN}");
    let of_brokers: usize = ways.iter().filter(|(way, _)| way.ends_with("-> courtier")).map(|(_, n)| n).sum();
    assert!(of_brokers > payloads / 3, "{of_brokers} of {payloads} bytes went to the broker");

    // A planted name is found in the recording it is planted into, in a payload and in a log line.
    let holds = |hay: &[u8], needle: &[u8]| needles.scan(hay).iter().any(|hit| hit.length == needle.len());
    for kind in [Kind::Name, Kind::Birth, Kind::Identifier] {
        for needle in needles.samples(kind, 20) {
            let (_, plain) = recordings.iter().max_by_key(|(_, plain)| plain.len()).unwrap();
            let mut planted = plain.clone();
            let middle = planted.len() / 2;
            let field: Vec<u8> = [&[0x0a, needle.len() as u8], needle.as_slice(), &[0x12]].concat();
            planted.splice(middle..middle, field);
            assert!(holds(&planted[middle - 100..middle + 100], &needle), "a planted {kind:?} is not found");
        }
    }
    let name = needles.samples(Kind::Name, 1).remove(0);
    let line = [b"2026-01-01T00:00:00Z INFO refused: ", name.as_slice(), b"\n"].concat();
    assert!(holds(&line, &name));

    // A listener without the keys hears nothing, not even what is no secret: the run's name, the methods called.
    let sealed = proxies.sealed();
    let contains = |hay: &[u8], needle: &[u8]| hay.windows(needle.len()).any(|w| w == needle);
    for token in [RUN.as_bytes(), MONTH.as_bytes()] {
        assert!(recordings.iter().any(|(_, plain)| contains(plain, token)), "the recording holds no run");
        assert!(!contains(&sealed, token), "TLS lets {:?} be read", String::from_utf8_lossy(token));
    }
    assert_eq!(needles.scan(&sealed), []);
    println!("needles: {} distinct, {} more are words of agreement, mappings or idle logs", needles.count(), needles.public);
    println!("found in the deliveries (names, dates, identifiers): {in_files:?}");
    println!("bytes searched, nothing found: {sizes:?}; under TLS: {}", sealed.len());
}

#[test]
fn no_identity_leaves_a_node() {
    let mut federation = Federation::set_up(700, 1, 23);
    month_under_observation(&mut federation);
}

/// The same with the real formats of the sample, where it lies beside the repository.
#[test]
fn no_identity_of_the_sample_leaves_a_node() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/sample");
    if !sample.join("canonical").is_dir() {
        println!("no sample at {}: only synthetic data were searched for", sample.display());
        return;
    }
    // A population of the sample's size gives an agreement that allows its numbers, and mappings of the same formats.
    let mut federation = Federation::set_up(10_000, 1, 29);
    let data = federation.folder.join("donnees");
    let month_of = |name: &str| name.contains(MONTH) || name.starts_with("truth");
    fs::remove_dir_all(&data).unwrap();
    for (name, path) in files(&sample) {
        let leaf = path.file_name().unwrap().to_string_lossy().into_owned();
        if month_of(&leaf) {
            let to = data.join(&name);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(&path, &to).unwrap();
        }
    }
    month_under_observation(&mut federation);
}
