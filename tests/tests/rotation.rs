//! Keys that are replaced while a federation goes on: the group key when a partner joins or leaves, the custodian's OPRF key by a
//! new epoch, a node's storage key. Real processes, killed on the way; persons keep their pseudonyms.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use linkage_agreement::{Agreement, ParsedAgreement, PartyId, Signatures, sign, signature};
use linkage_common::config::{SecretSource, load_config, write_secret};
use linkage_common::database::Place;
use linkage_common::store::Pool;
use linkage_crypto::group::{Contribution, GroupKey, Route};
use linkage_crypto::seal::SealingKey;
use linkage_crypto::signing::{SigningKey, VerifyingKey};
use linkage_node::config::NodeConfig;
use linkage_node::vault::Vault;
use linkage_node::{Node, NodeError};
use linkage_tests::federation::{Federation, Role, binary, linkage, linkage_ok, wait_for};
use serde_json::Value;
use sqlx::Row as _;

const FIRST: &str = "2024-01";
const SECOND: &str = "2024-02";
/// By when some have left.
const LATER: &str = "2024-06";

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn node(party: &str) -> Role {
    Role::Node(party.to_owned())
}

fn agreement(federation: &Federation) -> ParsedAgreement {
    let text = fs::read_to_string(federation.folder.join("convention.toml")).unwrap();
    ParsedAgreement::parse(&text, "convention.toml").unwrap()
}

/// Writes an agreement and everyone's signatures in the place of the former; gives its hash.
fn put_in_force(federation: &Federation, agreement: &Agreement) -> [u8; 32] {
    let text = agreement.to_toml();
    let parsed = ParsedAgreement::parse(&text, "convention.toml").unwrap();
    let signed = |id: &PartyId| {
        let file = federation.home(&node(id.as_str())).join("cles/signing.key");
        let key = signature::SigningKey::from_bytes(&SecretSource::from_file(file).read_key().unwrap());
        sign(&parsed, id, &key, jiff::civil::date(2024, 1, 2)).unwrap()
    };
    let signatures: Signatures = parsed.agreement().party.iter().map(|party| signed(&party.id)).collect();
    fs::write(federation.folder.join("convention.toml"), &text).unwrap();
    fs::write(federation.folder.join("convention.signatures.toml"), signatures.to_toml()).unwrap();
    *parsed.hash().as_bytes()
}

/// Puts the next version in force, among `parties`; everything is stopped.
fn amend(federation: &mut Federation, all: &Agreement, parties: &[String], alter: impl FnOnce(&mut Agreement)) -> [u8; 32] {
    let former = agreement(federation);
    let mut next = former.agreement().clone();
    next.agreement.version += 1;
    next.party = all.party.iter().filter(|party| parties.iter().any(|id| id == party.id.as_str())).cloned().collect();
    alter(&mut next);
    federation.parties = parties.to_vec();
    let text = federation.folder.join("avant.toml");
    fs::write(&text, former.agreement().to_toml()).unwrap();
    let hash = put_in_force(federation, &next);
    let path = federation.folder.join("convention.toml");
    linkage_ok(["agreement", "check", path.to_str().unwrap(), "--amends", text.to_str().unwrap()]);
    hash
}

/// A demonstration draws its contributions beforehand, which serves one version only.
fn draw_contributions_anew(federation: &Federation, party: &str) {
    let path = federation.config(&node(party));
    let text = fs::read_to_string(&path).unwrap();
    let start = text.find("[group_contribution]").unwrap();
    let (head, rest) = text.split_at(start);
    let after = rest.find("\n[").unwrap();
    fs::write(&path, format!("{head}{}", rest.split_at(after).1)).unwrap();
}

fn at_node(federation: &Federation, party: &str, command: &str, options: &[&str]) -> std::process::Output {
    let config = federation.config(&node(party));
    let mut arguments = vec!["node", command, "--config", config.to_str().unwrap()];
    arguments.extend(options);
    linkage(arguments)
}

fn status(federation: &Federation, party: &str) -> Value {
    let output = at_node(federation, party, "status", &["--json"]);
    assert!(output.status.success(), "{}", text_of(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Waits for the key of `version` at every node; its fingerprint, the same for all.
fn fingerprint(federation: &mut Federation, version: u32) -> String {
    let mut all = BTreeSet::new();
    for party in federation.parties.clone() {
        all.insert(wait_for(&format!("{party} has the key of version {version}"), || {
            federation.check();
            let status = status(federation, &party);
            assert_eq!(status["group_key"]["version"], version);
            status["fingerprint"].as_str().map(str::to_owned)
        }));
    }
    assert_eq!(all.len(), 1, "{all:?}");
    all.pop_first().unwrap()
}

fn confirm(federation: &Federation, fingerprint: &str) {
    for party in &federation.parties {
        let done = at_node(federation, party, "ceremony", &["--confirm", fingerprint]);
        assert!(done.status.success(), "{party}: {}", text_of(&done.stderr));
        let status = status(federation, party);
        assert_eq!(
            (&status["group_key"]["confirmed"], &status["group_key"]["former_held"]),
            (&true.into(), &Value::Array(vec![]))
        );
    }
}

fn opening(federation: &Federation, run: &str, month: &str, options: &[&str]) -> std::process::Output {
    let config = federation.coordinator();
    let fixed = ["run", "open", "--run", run, "--period", month, "--config", config.to_str().unwrap()];
    linkage(fixed.iter().chain(options))
}

fn refused(output: &std::process::Output, says: &str) {
    let text = text_of(&output.stderr);
    assert!(!output.status.success() && text.contains(says), "{says}: {text}");
}

/// Person of each record in a run's table at the analyst's, by pseudonyms.
fn persons(federation: &Federation, run: &str) -> HashMap<String, String> {
    let text = fs::read_to_string(federation.tables(run).join("link_table.csv")).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let column = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let (person, record) = (column("person"), column("record"));
    lines.map(|cells| (cells[record].to_owned(), cells[person].to_owned())).collect()
}

/// Records of both tables, and how many are of the same person in both.
fn carried(before: &HashMap<String, String>, after: &HashMap<String, String>) -> (usize, usize) {
    let both: Vec<_> = before.iter().filter_map(|(record, person)| Some((person, after.get(record)?))).collect();
    (both.len(), both.iter().filter(|(before, after)| before == after).count())
}

/// Envelopes that the broker relayed under a version: from, to, bytes.
fn envelopes(federation: &Federation, hash: &[u8; 32]) -> Vec<(String, String, Vec<u8>)> {
    let path = PathBuf::from(federation.setting(&Role::Broker, "data_dir")).join("broker.sqlite");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let pool = Pool::connect(&Place::of(None, &path).unwrap(), "").await.unwrap();
        let select = "SELECT sender, recipient, envelope FROM contributions WHERE agreement = $1";
        let rows = sqlx::query(select).bind(hash.to_vec()).fetch_all(&pool).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    })
}

#[test]
fn the_group_key_changes_when_a_partner_joins_and_when_one_leaves() {
    let mut federation = Federation::set_up(120, 2, 41);
    let all = agreement(&federation).agreement().clone();
    let [a, b, leaver, joiner] = [0, 1, 2, 3].map(|at| federation.parties[at].clone());
    let first_three = [a.clone(), b.clone(), leaver.clone()];
    let mut begun = all.clone();
    begun.party.retain(|party| first_three.iter().any(|id| id == party.id.as_str()));
    federation.parties = first_three.to_vec();
    let first = put_in_force(&federation, &begun);

    // Version 1, three partners. No confirmation is asked for the first key.
    federation.start_all();
    federation.deliver(FIRST);
    federation.wait_ingested(FIRST);
    federation.open_run_with("un", FIRST, &["--keep"]);
    federation.wait_closed("un");
    let first_fingerprint = fingerprint(&mut federation, 1);
    federation.stop_all();

    // Version 2: a fourth joins. What was drawn beforehand for version 1 does not serve again.
    let four = [a.clone(), b.clone(), leaver.clone(), joiner.clone()];
    amend(&mut federation, &all, &four, |_| {});
    federation.start(&Role::Broker);
    refused(&at_node(&federation, &b, "ceremony", &[]), "a déjà servi");
    for party in &all.party {
        draw_contributions_anew(&federation, party.id.as_str());
    }
    let missing = at_node(&federation, &b, "ceremony", &[]);
    assert!(text_of(&missing.stdout).contains("il manque la contribution de"), "{}", text_of(&missing.stderr));
    refused(&opening(&federation, "tot", SECOND, &[]), "pas encore établie");
    federation.start_all();
    federation.deliver(SECOND);
    federation.wait_ingested(SECOND);
    let second_fingerprint = fingerprint(&mut federation, 2);
    assert_ne!(second_fingerprint, first_fingerprint);
    refused(&opening(&federation, "tot", SECOND, &[]), "--confirm");
    refused(&at_node(&federation, &a, "ceremony", &["--confirm", &first_fingerprint]), "n'est pas celle");
    assert_eq!(status(&federation, &a)["group_key"]["former_held"], serde_json::json!([1]));
    assert_eq!(status(&federation, &joiner)["group_key"]["rotation"], false);
    confirm(&federation, &second_fingerprint);
    let state = PathBuf::from(federation.setting(&node(&a), "state_dir"));
    let keys = fs::read_dir(state.join("keys")).unwrap().count();
    assert_eq!(keys, 3, "ring, contribution and key of version 2");
    // What the broker holds of version 1 is under the former key.
    refused(&opening(&federation, "complement", SECOND, &["--since", "un"]), "ouvrez un traitement complet");
    federation.open_run("deux", SECOND);
    federation.wait_closed("deux");
    federation.stop_all();
    let (both, same) = carried(&persons(&federation, "un"), &persons(&federation, "deux"));
    println!("join: {same} of {both} records of both months are of the same person");
    assert!(both > 50 && same * 100 >= both * 95);

    // Version 3: one leaves; another has a new signing key, which the amendment names.
    let new_signing = SigningKey::generate(&mut linkage_common::rng());
    write_secret(&federation.home(&node(&b)).join("cles/signing.key"), &new_signing.to_bytes()).unwrap();
    let left: Node = Node::open(load_config(&federation.config(&node(&leaver))).unwrap()).unwrap();
    let leavers_key = left.group_key().unwrap().unwrap();
    drop(left);
    let former = agreement(&federation);
    let stay = [a, b.clone(), joiner];
    let third = amend(&mut federation, &all, &stay, |agreement| {
        let party = agreement.party.iter_mut().find(|party| party.id.as_str() == b).unwrap();
        party.signing_key = new_signing.verifying_key().to_base64();
    });
    federation.start_all();
    let third_fingerprint = fingerprint(&mut federation, 3);
    confirm(&federation, &third_fingerprint);
    federation.open_run("trois", SECOND);
    federation.wait_closed("trois");
    federation.stop_all();
    let (both, same) = carried(&persons(&federation, "deux"), &persons(&federation, "trois"));
    println!("leave: {same} of {both} records of both runs are of the same person");
    assert!(both > 50 && same * 100 >= both * 95);

    // With all its files, what it held and what the broker relays, who left derives nothing of the new key.
    let config: NodeConfig = load_config(&federation.config(&node(&leaver))).unwrap();
    let sealing = SealingKey::from_bytes(&config.sealing_key.read_key().unwrap());
    let vault = Vault::open(&config.state_dir, &config.storage_key.read_key().unwrap()).unwrap();
    let mut known: BTreeMap<String, Contribution> = BTreeMap::new();
    for name in vault.list("keys").unwrap().iter().filter(|name| name.starts_with("keys/contribution-")) {
        let bytes: [u8; 32] = vault.get(name).unwrap().unwrap().as_slice().try_into().unwrap();
        known.insert(leaver.clone(), Contribution::from_bytes(&bytes));
    }
    let verifying = |of: &Agreement, id: &str| {
        VerifyingKey::from_base64(&of.party.iter().find(|party| party.id.as_str() == id).unwrap().signing_key).unwrap()
    };
    let second = *former.hash().as_bytes();
    for (from, to, envelope) in envelopes(&federation, &second).into_iter().filter(|(_, to, _)| *to == leaver) {
        let route = Route { agreement: &second, from: &from, to: &to };
        known.insert(from.clone(), route.open(&envelope, &verifying(former.agreement(), &from), &sealing).unwrap());
    }
    let combined = |hash: &[u8; 32], parties: &[String]| {
        let named: Vec<(&str, &Contribution)> = parties.iter().map(|id| (id.as_str(), &known[id])).collect();
        GroupKey::combine(hash, &named).unwrap().fingerprint().to_string()
    };
    assert_eq!(combined(&second, &four), second_fingerprint, "it did have the former key");
    assert_eq!(leavers_key.fingerprint().to_string(), second_fingerprint);
    for parties in [&stay[..], &four[..]] {
        assert_ne!(combined(&third, parties), third_fingerprint);
    }
    let now = agreement(&federation);
    let relayed = envelopes(&federation, &third);
    assert_eq!(relayed.len(), 6, "three partners, each to the two others");
    for (from, to, envelope) in &relayed {
        for recipient in [to, &leaver] {
            let route = Route { agreement: &third, from, to: recipient };
            assert!(route.open(envelope, &verifying(now.agreement(), from), &sealing).is_err(), "{from} to {to}");
        }
    }
    assert!(envelopes(&federation, &first).iter().all(|(from, to, _)| first_three.contains(from) && first_three.contains(to)));
    assert!(matches!(Node::open(config), Err(NodeError::Configuration(_))), "the agreement names it no more");
}

/// Persons of the site; more for docs/rotation.md's figures.
fn scale() -> u64 {
    std::env::var("LINKAGE_ROTATION_PERSONS").map_or(120, |persons| persons.parse().unwrap())
}

/// Pairs of two parties' records, of all months, that the truth joins; and those of them with both records in `month`.
fn archived_pairs(federation: &Federation, month: &str) -> (usize, usize) {
    let truth = fs::read_to_string(federation.folder.join("donnees/truth/truth.csv")).unwrap();
    let mut records: BTreeMap<&str, BTreeMap<(&str, &str), bool>> = BTreeMap::new();
    for line in truth.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let present = records.entry(cells[3]).or_default().entry((cells[0], cells[2])).or_default();
        *present |= cells[1] == month;
    }
    let (mut all, mut both) = (0, 0);
    for same in records.values() {
        for (at, (one, present)) in same.iter().enumerate() {
            for (_, other_present) in same.iter().skip(at + 1).filter(|(other, _)| other.0 != one.0) {
                all += 1;
                both += usize::from(*present && *other_present);
            }
        }
    }
    (all, both)
}

/// Pairs of a month's records that the truth joins and those that the links join among them.
fn recall(federation: &Federation, links: &str, month: &str) -> (usize, usize) {
    let mut person_of: HashMap<(String, String), String> = HashMap::new();
    for line in links.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        person_of.insert((cells[1].to_owned(), cells[2].to_owned()), cells[0].to_owned());
    }
    let truth = fs::read_to_string(federation.folder.join("donnees/truth/truth.csv")).unwrap();
    let mut records: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for line in truth.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        if cells[1] == month {
            records.entry(cells[3].to_owned()).or_default().push((cells[0].to_owned(), cells[2].to_owned()));
        }
    }
    let (mut pairs, mut found) = (0, 0);
    for same in records.values() {
        for (at, one) in same.iter().enumerate() {
            for other in same.iter().skip(at + 1).filter(|other| other.0 != one.0) {
                pairs += 1;
                let linked = person_of.get(one).zip(person_of.get(other)).is_some_and(|(a, b)| a == b);
                found += usize::from(linked);
            }
        }
    }
    (found, pairs)
}

fn report(federation: &Federation, run: &str) -> Value {
    serde_json::from_slice(&fs::read(federation.tables(run).join("report.json")).unwrap()).unwrap()
}

/// Records of a past epoch by what the nodes say, in all; the report of `run`, as the analyst has it, counts the same ones, small counts
/// hidden.
fn left_out(federation: &Federation, run: &str) -> u64 {
    let report = report(federation, run);
    let said: Vec<u64> = report["parties"]
        .as_array()
        .unwrap()
        .iter()
        .map(|party| status(federation, party.as_str().unwrap())["past_epoch"].as_u64().unwrap())
        .collect();
    assert_eq!(said.len(), federation.parties.len());
    let (past, all) = (&report["past_epoch"], said.iter().sum::<u64>());
    let minimum = u64::from(agreement(federation).agreement().disclosure.minimum_cell);
    println!("left out: {said:?}; reported: {past}");
    assert_eq!(past["epoch"], 2);
    match past["all"].as_u64() {
        Some(shown) => assert!(shown == all && (shown == 0 || shown >= minimum), "{past}"),
        None => assert!(past["all"].is_null() && said.iter().any(|said| (1..minimum).contains(said)), "{past}"),
    }
    for (at, said) in said.iter().enumerate() {
        match past["parties"][at].as_u64() {
            Some(shown) => assert!(shown == *said && (shown == 0 || shown >= minimum), "{past}"),
            None => assert!(past["parties"][at].is_null() && *said > 0, "{past}"),
        }
    }
    all
}

/// Starts a command, kills it after `delay`; whether it had ended by itself.
fn killed(arguments: &[&str], delay: Duration) -> bool {
    let mut child =
        Command::new(binary()).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(delay);
    let ended = child.try_wait().unwrap().is_some();
    let _ = child.kill();
    child.wait().unwrap();
    ended
}

fn rotate_storage(federation: &mut Federation, party: &str) {
    let config = federation.config(&node(party));
    let command = ["keys", "rotate-storage", "--config", config.to_str().unwrap()];
    refused(&linkage(command), "arrêtez-le");
    federation.stop(&node(party));
    let keys = federation.home(&node(party)).join("cles");
    let before = fs::read(keys.join("storage.key")).unwrap();
    let mut kills = 0;
    for milliseconds in [8, 12, 16, 20, 24, 28, 32, 40] {
        if killed(&command, Duration::from_millis(milliseconds)) {
            break;
        }
        kills += 1;
    }
    linkage_ok(command);
    assert_ne!(fs::read(keys.join("storage.key")).unwrap(), before);
    let left: BTreeSet<String> = fs::read_dir(&keys).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.ends_with(".old") || name.ends_with(".new")), "{left:?}");
    println!("rotate-storage: killed {kills} times");
    federation.start(&node(party));
}

#[test]
fn a_new_epoch_of_the_oprf_key_keeps_persons_and_what_is_linked_now() {
    let mut federation = Federation::set_up(scale(), 6, 43);
    let all = agreement(&federation).agreement().clone();
    let parties = federation.parties.clone();
    federation.start_all();
    federation.deliver(FIRST);
    federation.wait_ingested(FIRST);
    for party in &parties {
        assert!(at_node(&federation, party, "delete-names", &[]).status.success());
    }
    federation.deliver(LATER);
    federation.wait_ingested(LATER);
    federation.open_run("avant", LATER);
    federation.wait_closed("avant");
    let links_before = federation.links("avant", LATER);
    federation.stop_all();

    let custodian = federation.config(&Role::Custodian);
    let custodian = custodian.to_str().unwrap();
    let said = linkage_ok(["custodian", "oprf-key", "next", "--config", custodian]);
    assert_eq!(linkage_ok(["custodian", "oprf-key", "next", "--config", custodian]), said, "the same again");
    let key = said.lines().find_map(|line| line.strip_prefix("oprf_public_key = ")).unwrap().trim_matches('"').to_owned();
    assert!(said.ends_with("oprf_epoch = 2\n"), "{said}");
    for party in &parties {
        draw_contributions_anew(&federation, party);
    }
    let old_key = fs::read(federation.home(&Role::Custodian).join("cles/oprf.key")).unwrap();
    amend(&mut federation, &all, &parties, |agreement| {
        agreement.custodian.oprf_public_key = key;
        agreement.encoding.oprf_epoch = Some(2);
    });
    refused(&linkage(["custodian", "oprf-key", "destroy-former", "--config", custodian]), "n'ont pas encore appelé");

    // One node is killed while it encodes again, several times; another is driven by its operator alone.
    let (hit, by_hand) = (node(&parties[1]), node(&parties[2]));
    for role in federation.roles().into_iter().filter(|role| *role != by_hand) {
        federation.start(&role);
    }
    for _ in 0..4 {
        let done = |f: &Federation| f.log_text(&hit).contains("encoded again for a new epoch");
        let state = PathBuf::from(federation.setting(&hit, "state_dir"));
        wait_for("a step of encoding again", || {
            let step = fs::read(state.join("status.json")).ok().and_then(|s| serde_json::from_slice::<Value>(&s).ok());
            let under_way = step.is_some_and(|s| s["step"] == "oprf" || s["step"] == "encode");
            (under_way || done(&federation)).then_some(())
        });
        federation.kill(&hit);
        federation.start(&hit);
    }
    let re_encode = || at_node(&federation, &parties[2], "re-encode", &["--json"]);
    let done: Value = serde_json::from_slice(&re_encode().stdout).unwrap();
    let again: Value = serde_json::from_slice(&re_encode().stdout).unwrap();
    assert!(done["records"].as_u64().unwrap() > 10 && done["months"] == 1, "{done}");
    assert_eq!((&again["records"], &again["months"]), (&0.into(), &0.into()));
    assert_eq!(done["past_epoch"], again["past_epoch"]);
    federation.start(&by_hand);
    let fingerprint = fingerprint(&mut federation, 2);
    confirm(&federation, &fingerprint);
    for party in &parties {
        wait_for("encoded again", || {
            federation.check();
            federation.log_text(&node(party)).contains("encoded again").then_some(()).or((*party == parties[2]).then_some(()))
        });
    }
    federation.open_run("apres", LATER);
    federation.wait_closed("apres");
    let links_after = federation.links("apres", LATER);
    let past = left_out(&federation, "apres");
    assert_eq!(report(&federation, "avant").get("past_epoch"), None, "the first epoch has no former one");
    let ((found_before, pairs), (found_after, _)) =
        (recall(&federation, &links_before, LATER), recall(&federation, &links_after, LATER));
    let (archived, comparable) = archived_pairs(&federation, LATER);
    println!("pairs of all archived records: {archived}, {comparable} of them comparable after the new epoch");
    println!(
        "pairs of the month found: {found_before} before, {found_after} after, of {pairs}; {past} records of the past epoch"
    );
    assert!(past > 0 && pairs > 50);
    assert!(found_after * 100 >= found_before * 97, "{found_before} {found_after}");
    let (both, same) = carried(&persons(&federation, "avant"), &persons(&federation, "apres"));
    println!("epoch: {same} of {both} records are of the same person");
    assert!(both > 50 && same * 100 >= both * 97);
    // A budget of its own, charged once however often the node was killed.
    let charged = federation.evaluations(&format!("{LATER}#2"));
    let once = federation.evaluations(LATER);
    assert!(charged[&parties[1]] > 0 && charged[&parties[1]] <= once[&parties[1]] + federation.evaluations(FIRST)[&parties[1]]);

    // All have called under the amendment: the former key goes, and the file that the configuration names holds the new one.
    linkage_ok(["custodian", "oprf-key", "destroy-former", "--config", custodian]);
    linkage_ok(["custodian", "oprf-key", "destroy-former", "--config", custodian]);
    let keys = federation.home(&Role::Custodian).join("cles");
    assert_ne!(fs::read(keys.join("oprf.key")).unwrap(), old_key);
    assert!(!keys.join("oprf-2.key").is_file() && !keys.join("oprf.former").is_file());
    federation.stop(&Role::Custodian);
    federation.start(&Role::Custodian);

    // A new storage key in the middle of it changes nothing of what is linked.
    rotate_storage(&mut federation, &parties[1]);
    federation.open_run("enfin", LATER);
    federation.wait_closed("enfin");
    assert_eq!(federation.links("enfin", LATER), links_after);
    federation.stop_all();

    // Where the state tells, an epoch that goes back is refused, and a key that changes without its epoch.
    let (last, other) = (agreement(&federation).agreement().clone(), all.custodian.oprf_public_key);
    for (epoch, key, says) in
        [(None, None, "à l'époque 1"), (Some(2), Some(&other), "sans oprf_epoch"), (Some(3), None, "sans oprf_public_key")]
    {
        let mut altered = last.clone();
        altered.agreement.version += 1;
        altered.encoding.oprf_epoch = epoch;
        altered.custodian.oprf_public_key = key.unwrap_or(&last.custodian.oprf_public_key).clone();
        put_in_force(&federation, &altered);
        refused(&at_node(&federation, &parties[0], "status", &[]), says);
    }
    // A node that missed an epoch goes on with the one after it.
    let mut skipping = last;
    skipping.agreement.version += 1;
    skipping.encoding.oprf_epoch = Some(4);
    skipping.custodian.oprf_public_key = other;
    put_in_force(&federation, &skipping);
    assert!(status(&federation, &parties[0])["past_epoch"].as_u64().unwrap() > 0);
}

#[test]
fn roles_without_a_storage_key_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("linkage.toml");
    fs::write(&path, "listen = \"127.0.0.1:1\"\n").unwrap();
    let config = path.to_str().unwrap();
    refused(&linkage(["keys", "rotate-storage", "--config", config]), "pas de clé de stockage");
    assert!(Path::new(config).is_file());
}
