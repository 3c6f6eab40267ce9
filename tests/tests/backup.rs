//! Every role of a federation is saved while it serves, destroyed and restored; the next month is linked and persons keep their
//! pseudonyms. A newer state, another role's backup, a running service are refused; an objection made after the backup stays in
//! force; a restoration that is killed leaves the old state, or one that says how to go on.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use linkage_agreement::signature::SigningKey;
use linkage_agreement::{ParsedAgreement, Signatures, Termination, sign};
use linkage_common::config::{SecretSource, load_config};
use linkage_node::Node;
use linkage_tests::federation::{Federation, Role, binary, files, linkage, linkage_ok, wait_for};
use serde_json::Value;

const MONTHS: [&str; 3] = ["2024-01", "2024-02", "2024-03"];

/// A safe with the recovery key, and the backups that were made.
struct Safe {
    key: PathBuf,
    public: PathBuf,
    folder: PathBuf,
}

impl Safe {
    fn new(federation: &Federation) -> Self {
        let folder = federation.folder.join("coffre");
        linkage_ok(["backup", "keys", "--out", folder.to_str().unwrap()]);
        Self { key: folder.join("secours.key"), public: folder.join("secours.pub"), folder }
    }

    fn save(&self, federation: &Federation, role: &Role, name: &str) -> PathBuf {
        let file = self.folder.join(format!("{name}-{}", role.home().replace('/', "-")));
        let config = federation.config(role);
        let paths = [("--config", &config), ("--out", &file), ("--to", &self.public)];
        linkage_ok(
            ["backup", "create"].map(PathBuf::from).into_iter().chain(paths.into_iter().flat_map(|(k, p)| [k.into(), p.clone()])),
        );
        file
    }

    fn arguments(&self, federation: &Federation, role: &Role, file: &Path, more: &[&str]) -> Vec<String> {
        let config = federation.config(role);
        let fixed = ["backup", "restore", "--json", "--config", config.to_str().unwrap(), "--key", self.key.to_str().unwrap()];
        fixed.iter().chain(more).copied().map(str::to_owned).chain([file.to_str().unwrap().to_owned()]).collect()
    }

    fn restore(&self, federation: &Federation, role: &Role, file: &Path, more: &[&str]) -> Output {
        linkage(self.arguments(federation, role, file, more))
    }

    fn restored(&self, federation: &Federation, role: &Role, file: &Path, more: &[&str]) -> Value {
        let output = self.restore(federation, role, file, more);
        assert!(output.status.success(), "{role:?}: {}", errors(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn state(federation: &Federation, role: &Role) -> PathBuf {
    let key = if matches!(role, Role::Node(_)) { "state_dir" } else { "data_dir" };
    PathBuf::from(federation.setting(role, key))
}

/// The pseudonym of each record's person.
fn persons(federation: &Federation, run: &str) -> BTreeMap<(String, String), String> {
    federation.link_table(run).into_iter().map(|row| ((row[1].clone(), row[2].clone()), row[0].clone())).collect()
}

/// Every file below a folder and its bytes; locks aside.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let lock = |name: &str| name.ends_with("lock") || name.ends_with("in-use");
    files(folder).into_iter().filter(|(name, _)| !lock(name)).map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

fn acts(federation: &Federation, role: &Role) -> Vec<String> {
    let shown = linkage_ok(["audit", "show", "--json", "--config", federation.config(role).to_str().unwrap()]);
    let entries: Value = serde_json::from_str(&shown).unwrap();
    entries.as_array().unwrap().iter().map(|entry| entry["what"].as_str().unwrap().to_owned()).collect()
}

fn rights(federation: &Federation, command: &str, party: &str, id: &str, more: &[&str]) -> Output {
    let config = federation.config(&Role::Node(party.to_owned()));
    let mut child = Command::new(binary())
        .args(["rights", command, "--json", "--config"])
        .arg(config)
        .args(more)
        .env("LINKAGE_LOG", "warn")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{id}").unwrap();
    child.wait_with_output().unwrap()
}

fn reference_of(federation: &Federation, party: &str, id: &str) -> Option<linkage_agreement::RecordRef> {
    let node = Node::open(load_config(&federation.config(&Role::Node(party.to_owned()))).unwrap()).unwrap();
    node.references_of([id].into_iter()).unwrap()[0]
}

/// Records that a run's links hold, with the local id.
fn linked(federation: &Federation, run: &str, month: &str) -> BTreeSet<(String, String)> {
    let links = federation.links(run, month);
    links.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>()).map(|c| (c[1].to_owned(), c[2].to_owned())).collect()
}

fn run(federation: &mut Federation, run: &str, month: &str) {
    federation.deliver(month);
    federation.wait_ingested(month);
    federation.open_run(run, month);
    federation.wait_closed(run);
}

#[test]
fn roles_are_saved_while_they_serve_destroyed_and_restored() {
    let mut federation = Federation::set_up(150, 3, 41);
    let safe = Safe::new(&federation);
    // The nodes look at the logs every time: they will see the restoration, and ask the custodian again.
    for node in federation.nodes() {
        let path = federation.config(&node);
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("checkpoint_minutes"));
        fs::write(&path, format!("checkpoint_minutes = 0\n{text}")).unwrap();
    }
    federation.start_all();
    run(&mut federation, "un", MONTHS[0]);
    let first = persons(&federation, "un");
    let backups: BTreeMap<Role, PathBuf> =
        federation.roles().into_iter().map(|role| (role.clone(), safe.save(&federation, &role, "un"))).collect();
    federation.check();

    // No name, evaluation, encoding or table of rows is in a backup; a file is never replaced; what cannot be opened is not.
    for (role, file) in &backups {
        let (config, key) = (federation.config(role), safe.key.to_str().unwrap());
        let out = linkage_ok([
            "backup",
            "verify",
            "--json",
            "--key",
            key,
            "--config",
            config.to_str().unwrap(),
            file.to_str().unwrap(),
        ]);
        let manifest: Value = serde_json::from_str(&out).unwrap();
        let names: Vec<&str> = manifest["files"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
        let left_out = ["names", "cache", "sent", "uploads", "outputs", "held", "spill", "tables", "study"];
        for name in &names {
            let parts: Vec<&str> = name.split('/').collect();
            assert!(!(parts[0] == "state" && left_out.contains(&parts[1])), "{role:?}: {name}");
        }
        assert!(
            names.contains(&"settings/signing_key") && names.iter().any(|name| name.starts_with("audit/principal/")),
            "{names:?}"
        );
        let again = linkage(["backup", "create", "--config"].map(PathBuf::from).into_iter().chain([
            federation.config(role),
            "--out".into(),
            file.clone(),
            "--to".into(),
            safe.public.clone(),
        ]));
        assert!(!again.status.success() && errors(&again).contains("existe déjà"), "{}", errors(&again));
    }
    let broker_file = &backups[&Role::Broker];
    let mut cut = fs::read(broker_file).unwrap();
    cut.truncate(cut.len() - 1);
    let cut_file = safe.folder.join("coupee");
    fs::write(&cut_file, cut).unwrap();

    // An objection after the backup, carried out everywhere.
    // Somebody who is delivered again next month.
    let later: BTreeMap<String, Vec<u8>> =
        federation.deliveries(MONTHS[1]).into_iter().map(|d| (d.party, fs::read(&d.file).unwrap())).collect();
    let delivered = |party: &str, id: &str| later[party].windows(id.len()).any(|window| window == id.as_bytes());
    let victim = linked(&federation, "un", MONTHS[0]).into_iter().find(|(party, id)| delivered(party, id)).unwrap();
    let node = Role::Node(victim.0.clone());
    let output = rights(&federation, "object", &victim.0, &victim.1, &["--wait", "300"]);
    assert!(output.status.success(), "{}", errors(&output));

    // A running service, a newer state, another role's backup, a cut one: refused, and nothing is changed.
    let refused = |federation: &Federation, role: &Role, file: &Path, why: &str| {
        let before = contents(&state(federation, role));
        let output = safe.restore(federation, role, file, &[]);
        assert!(!output.status.success() && errors(&output).contains(why), "{role:?}: {}", errors(&output));
        before == contents(&state(federation, role))
    };
    refused(&federation, &Role::Broker, broker_file, "le service tourne");
    federation.stop_all();
    // What an analyst does by itself is in its access log: somebody has asked since.
    let access = state(&federation, &Role::Analyst).join("access");
    fs::create_dir_all(&access).unwrap();
    fs::write(access.join("2099-01.jsonl"), "{}\n").unwrap();
    // To the other nodes nothing has happened since: their backups are as new as their states.
    for role in [Role::Broker, Role::Custodian, Role::Analyst, node.clone()] {
        assert!(refused(&federation, &role, &backups[&role], "plus récent que la sauvegarde"), "{role:?}");
    }
    assert!(refused(&federation, &Role::Custodian, broker_file, "prenez l'autre"));
    assert!(refused(&federation, &Role::Broker, &cut_file, "sauvegarde coupée"));

    // The node of the person who objected is moved aside, all others are lost with their logs; keys and settings of one, too.
    let aside = state(&federation, &node).with_extension("ancien");
    fs::rename(state(&federation, &node), &aside).unwrap();
    for role in federation.roles().iter().filter(|role| **role != node) {
        fs::remove_dir_all(state(&federation, role)).unwrap();
    }
    let configuration = fs::read(federation.config(&Role::Custodian)).unwrap();
    let keys = federation.home(&Role::Custodian).join("cles");
    let saved_keys = contents(&keys);
    assert!(!saved_keys.is_empty());
    fs::remove_dir_all(&keys).unwrap();
    fs::remove_file(federation.config(&Role::Custodian)).unwrap();
    // Without its configuration nothing there says which agreement is the custodian's, and what is saved names paths elsewhere.
    let hash = agreement(&federation).hash().to_string();
    let whole_again = ["--agreement-hash", &hash, "--role", "custodian", "--paths-accepted"];
    let nobody_s = "0".repeat(64);
    let other_hash = ["--agreement-hash", &nobody_s, "--role", "custodian", "--paths-accepted"];
    let refusals: [(&[&str], &str); 5] = [
        (&[], "--agreement-hash"),
        (&["--paths-accepted"], "--agreement-hash"),
        (&other_hash, "sous une autre convention"),
        (&whole_again[..2], "donnez --role"),
        (&whole_again[..4], "convention.toml"),
    ];
    for (more, why) in refusals {
        let output = safe.restore(&federation, &Role::Custodian, &backups[&Role::Custodian], more);
        assert!(!output.status.success() && errors(&output).contains(why), "{why}: {}", errors(&output));
        assert!(!federation.config(&Role::Custodian).exists() && !keys.exists(), "{why}");
    }
    for (role, file) in &backups {
        let aside = ["--former", aside.to_str().unwrap()];
        let more: &[&str] = match role {
            Role::Custodian => &whole_again,
            role if *role == node => &aside,
            _ => &[],
        };
        let facts = safe.restored(&federation, role, file, more);
        assert_eq!(facts["done"]["signed"], true);
        let kept = &facts["done"];
        assert_eq!(kept["newer_log_kept"], *role == node, "{facts}");
        assert_eq!(kept["requests_repeated"], u64::from(*role == node), "{facts}");
    }
    assert_eq!(fs::read(federation.config(&Role::Custodian)).unwrap(), configuration);
    let restored_keys = contents(&keys);
    assert!(saved_keys.iter().filter(|(name, _)| name.ends_with(".key")).all(|(name, key)| restored_keys.get(name) == Some(key)));
    // The same restoration again finds the state as it made it, with one more entry: newer.
    assert!(refused(&federation, &Role::Broker, broker_file, "plus récent que la sauvegarde"));

    federation.start_all();
    wait_for("the objection is carried out again", || {
        let status: Value = serde_json::from_slice(&rights(&federation, "status", &victim.0, &victim.1, &[]).stdout).ok()?;
        (status["requests"][0]["complete"] == true).then_some(())
    });
    assert_eq!(reference_of(&federation, &victim.0, &victim.1), None);
    wait_for("the analyst has the first table again", || federation.tables("un").join("report.json").is_file().then_some(()));
    let again = persons(&federation, "un");
    let gone: Vec<_> = first.iter().filter(|(record, _)| !again.contains_key(record)).collect();
    assert_eq!((gone.len(), gone[0].0.0.as_str()), (1, victim.0.as_str()), "the person who objected, nobody else");
    assert!(again.iter().all(|(record, person)| first.get(record) == Some(person)));

    // The next month: pseudonyms are the same, the objection holds.
    run(&mut federation, "deux", MONTHS[1]);
    let second = persons(&federation, "deux");
    let common: Vec<_> = second.iter().filter(|(record, _)| again.contains_key(record)).collect();
    let same = common.iter().filter(|(record, person)| again.get(*record) == Some(person)).count();
    assert!(common.len() > 50 && same * 100 >= common.len() * 95, "{same} of {} persons kept their pseudonym", common.len());
    assert!(!linked(&federation, "deux", MONTHS[1]).contains(&victim));

    // Logs: whole, going on under another name, and partners have seen why.
    for role in federation.roles() {
        let text = linkage_ok(["audit", "verify", "--config", federation.config(&role).to_str().unwrap()]);
        assert!(text.contains("intact") && text.contains("repris après une restauration"), "{role:?}: {text}");
        let acts = acts(&federation, &role);
        let position = |what: &str| acts.iter().position(|act| act == what);
        assert!(position("backup.begun").is_some_and(|at| Some(at) < position("backup.restored")), "{role:?}: {acts:?}");
        // What came of it is entered when it is made, and is in the log that was kept.
        assert_eq!(position("backup.created").is_some(), role == node, "{role:?}: {acts:?}");
    }
    for node in federation.nodes() {
        wait_for("the nodes have seen both restorations", || {
            let seen = acts(&federation, &node);
            (seen.iter().filter(|act| *act == "checkpoint.restored").count() >= 2).then_some(())
        });
        assert!(!acts(&federation, &node).iter().any(|act| act == "checkpoint.rewritten"));
    }
    // Nothing that was saved or restored lies about.
    for role in federation.roles() {
        for (name, _) in files(&state(&federation, &role)) {
            assert!(!name.starts_with(".restore") && !name.starts_with(".backup"), "{role:?}: {name}");
        }
    }

    // A database put back by itself is not of one moment with what lies beside it.
    for role in [Role::Broker, Role::Custodian] {
        assert_eq!(agreeing(&federation, &role).unwrap()["level"], "good", "{role:?}");
    }
    federation.stop_all();
    let (out, config) = (safe.folder.join("sorti"), federation.config(&Role::Custodian));
    let paths = [("--key", &safe.key), ("--config", &config), ("--out", &out)];
    let fixed = ["backup", "extract", backups[&Role::Custodian].to_str().unwrap()].map(PathBuf::from);
    linkage_ok(fixed.into_iter().chain(paths.into_iter().flat_map(|(name, path)| [name.into(), path.clone()])));
    let home = state(&federation, &Role::Custodian);
    for (name, path) in files(&home).into_iter().filter(|(name, _)| name.contains(".sqlite")) {
        fs::remove_file(&path).unwrap();
        if name.ends_with(".sqlite") {
            fs::copy(out.join("state").join(&name), path).unwrap();
        }
    }
    let found = agreeing(&federation, &Role::Custodian).unwrap();
    assert!(found["level"] == "fault" && found["text"].as_str().unwrap().contains("1 traitement(s) (deux)"), "{found}");
    // Once a notice has ended the agreement the custodian deletes all that it has, and its log stays: nothing is to be restored. One
    // that somebody else has signed, or of a day to come, ends nothing.
    let parsed = agreement(&federation);
    let (first, second) = (&parsed.agreement().party[0].id, &parsed.agreement().party[1].id);
    let sign = |effective| Termination::sign(&parsed, first, &signing_key(&federation, first), effective).unwrap();
    let (past, to_come) = (sign(jiff::civil::date(2024, 1, 2)), sign(jiff::civil::date(2099, 1, 1)));
    let forged = Termination { party: second.clone(), ..past.clone() };
    let folder = notices(&config);
    fs::create_dir_all(&folder).unwrap();
    for (notice, over) in [(forged, false), (to_come, false), (past, true)] {
        fs::write(folder.join("avis.toml"), notice.to_toml()).unwrap();
        assert_eq!(agreeing(&federation, &Role::Custodian).is_none(), over, "{notice:?}");
    }
}

/// Where the configuration at `config` says that notices of termination are.
fn notices(config: &Path) -> PathBuf {
    let text = fs::read_to_string(config).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("terminations = ")).unwrap();
    PathBuf::from(line.trim_matches('"'))
}

/// What `linkage doctor` says of a role's database and what lies beside it.
fn agreeing(federation: &Federation, role: &Role) -> Option<Value> {
    let output = linkage(["doctor", "--json", "--config", federation.config(role).to_str().unwrap()]);
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    findings.as_array().unwrap().iter().find(|finding| finding["check"] == "cohérence").cloned()
}

/// The next version of the agreement in force, with the OPRF key that the custodian has drawn for its next epoch.
fn new_epoch(federation: &Federation, public_key: &str) -> ParsedAgreement {
    let path = federation.folder.join("convention.toml");
    let former = agreement(federation);
    let mut agreement = former.agreement().clone();
    agreement.agreement.version += 1;
    agreement.custodian.oprf_public_key = public_key.to_owned();
    agreement.encoding.oprf_epoch = Some(agreement.oprf_epoch() + 1);
    let parsed = ParsedAgreement::parse(&agreement.to_toml(), "convention.toml").unwrap();
    let today = jiff::civil::date(2024, 1, 2);
    let signed = |id| sign(&parsed, id, &signing_key(federation, id), today).unwrap();
    let signatures: Signatures = agreement.party.iter().map(|party| signed(&party.id)).collect();
    fs::write(&path, agreement.to_toml()).unwrap();
    fs::write(federation.folder.join("convention.signatures.toml"), signatures.to_toml()).unwrap();
    parsed
}

fn agreement(federation: &Federation) -> ParsedAgreement {
    let path = federation.folder.join("convention.toml");
    ParsedAgreement::parse(&fs::read_to_string(path).unwrap(), "convention.toml").unwrap()
}

fn signing_key(federation: &Federation, party: &linkage_agreement::PartyId) -> SigningKey {
    let file = federation.home(&Role::Node(party.to_string())).join("cles/signing.key");
    SigningKey::from_bytes(&SecretSource::from_file(file).read_key().unwrap())
}

#[test]
fn the_oprf_keys_that_count_and_notices_of_termination_come_back() {
    let mut federation = Federation::set_up(60, 1, 43);
    let safe = Safe::new(&federation);
    let custodian = Role::Custodian;
    let keys = federation.home(&custodian).join("cles");
    let config = federation.config(&custodian);
    let next = || {
        let said = linkage_ok(["custodian", "oprf-key", "next", "--config", config.to_str().unwrap()]);
        said.lines().find_map(|line| line.strip_prefix("oprf_public_key = ")).unwrap().trim_matches('"').to_owned()
    };
    // In force is the second key, beside the first; a third is drawn.
    let parsed = new_epoch(&federation, &next());
    let first = fs::read(keys.join("oprf.key")).unwrap();
    let (second, _) = (fs::read(keys.join("oprf-2.key")).unwrap(), next());
    let third = fs::read(keys.join("oprf-3.key")).unwrap();
    let (party, signer) = (&parsed.agreement().party[0].id, signing_key(&federation, &parsed.agreement().party[0].id));
    let notice = Termination::sign(&parsed, party, &signer, jiff::civil::date(2099, 1, 1)).unwrap().to_toml();
    let notices = notices(&config);
    fs::create_dir_all(&notices).unwrap();
    fs::write(notices.join("avis.toml"), &notice).unwrap();
    federation.start(&custodian);
    federation.stop(&custodian);
    let saved = safe.save(&federation, &custodian, "epoque");

    // Without the key in force nothing is saved.
    fs::remove_file(keys.join("oprf-2.key")).unwrap();
    let useless = linkage(["backup", "create", "--config"].map(PathBuf::from).into_iter().chain([
        config.clone(),
        "--out".into(),
        safe.folder.join("inutile"),
        "--to".into(),
        safe.public.clone(),
    ]));
    assert!(!useless.status.success() && errors(&useless).contains("clé OPRF"), "{}", errors(&useless));

    // All is lost but the agreement: the key in force is where the configuration names it, the former one is not brought back.
    fs::remove_dir_all(state(&federation, &custodian)).unwrap();
    fs::remove_dir_all(&keys).unwrap();
    fs::remove_dir_all(&notices).unwrap();
    let output = safe.restore(&federation, &custodian, &saved, &["--former", notices.parent().unwrap().to_str().unwrap()]);
    assert!(!output.status.success() && errors(&output).contains("rien n'en serait repris"), "{}", errors(&output));
    let _: Value = safe.restored(&federation, &custodian, &saved, &[]);
    assert_eq!(fs::read(keys.join("oprf.key")).unwrap(), second);
    assert_eq!(fs::read(keys.join("oprf-3.key")).unwrap(), third);
    assert!(contents(&keys).values().all(|key| *key != first));
    assert_eq!(fs::read_to_string(notices.join("avis.toml")).unwrap(), notice);
    federation.start(&custodian);
    federation.stop(&custodian);
}

#[test]
fn a_restoration_killed_anywhere_leaves_the_old_state_or_one_that_says_how_to_go_on() {
    let federation = Federation::set_up(60, 1, 42);
    let safe = Safe::new(&federation);
    let node = Role::Node(federation.parties[0].clone());
    let config = federation.config(&node);
    let ingest = || {
        let file = federation.deliveries(MONTHS[0]).into_iter().find(|d| d.party == federation.parties[0]).unwrap().file;
        (config.clone(), file)
    };
    // A state of one kind to be saved, then an older one of another kind to be restored over.
    let home = state(&federation, &node);
    let status = || linkage(["node", "status", "--json", "--config", config.to_str().unwrap()]);
    assert!(status().status.success());
    let old = safe.save(&federation, &node, "ancien");
    let (_, delivered) = ingest();
    fs::create_dir_all(home.join("reports")).unwrap();
    fs::copy(delivered, home.join("reports/essai.csv")).unwrap();
    let new = safe.save(&federation, &node, "nouveau");
    let marked = || home.join("reports/essai.csv").is_file();

    let mut interrupted = 0;
    for round in 0..12_u32 {
        // The old state, without the mark.
        fs::remove_dir_all(&home).unwrap();
        let _: Value = safe.restored(&federation, &node, &old, &[]);
        // Its log went on; that of the new backup does not know it: as an older state it is the backup's own log that counts.
        fs::remove_dir_all(home.join("audit")).unwrap();
        linkage_ok([
            "backup",
            "extract",
            "--config",
            config.to_str().unwrap(),
            "--key",
            safe.key.to_str().unwrap(),
            "--out",
            federation.folder.join(format!("sorti-{round}")).to_str().unwrap(),
            old.to_str().unwrap(),
        ]);
        fs::rename(federation.folder.join(format!("sorti-{round}/audit")), home.join("audit")).unwrap();
        assert!(!marked());
        let mut child = Command::new(binary())
            .args(safe.arguments(&federation, &node, &new, &[]))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Killed as soon as a step of its work is seen, a little later each round.
        let seen = ["", ".restore", ".restore/new/reports", ".restore/ready.json"][round as usize % 4];
        while child.try_wait().unwrap().is_none() && !home.join(seen).exists() {}
        std::thread::sleep(Duration::from_micros(u64::from(round / 4) * 400));
        child.kill().unwrap();
        let ended = child.wait().unwrap().success();
        if home.join(".restore/ready.json").is_file() {
            interrupted += 1;
            let output = status();
            let text = errors(&output);
            assert!(!output.status.success() && text.contains("restauration inachevée") && text.contains("relancez"), "{text}");
            let facts = safe.restored(&federation, &node, &new, &[]);
            assert_eq!(facts["done"]["completed_earlier"], true);
            assert!(marked());
        } else {
            assert!(status().status.success(), "{}", errors(&status()));
            assert!(!ended || marked());
        }
        assert!(!home.join(".restore").exists());
        let verified = linkage(["audit", "verify", "--config", config.to_str().unwrap()]);
        assert!(verified.status.success(), "{}", errors(&verified));
    }
    println!("{interrupted} restorations were half done");
}
