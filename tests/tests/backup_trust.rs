//! A backup that its role has not made, or not so, is not restored: made with nothing but the recovery key's public part, signed by
//! another role, changed and sealed again, under an agreement of somebody's own, of a program before signatures. And what jobs leave
//! behind that are killed, and what a folder holds that several roles are saved into.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use linkage_agreement::permit::RoleId;
use linkage_agreement::{ParsedAgreement, PartyId};
use linkage_common::backup::seal::{SealReader, SealWriter};
use linkage_common::backup::{self, BackupError, Content, Facts, FileFacts, Manifest, Source};
use linkage_common::config::SecretSource;
use linkage_common::signer::Signer;
use linkage_crypto::seal::{SealingKey, SealingPublicKey};
use linkage_crypto::signing::SigningKey;
use linkage_tests::federation::{Federation, Role, binary, files, linkage, linkage_ok};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A federation of which nothing runs, with the recovery key of its nodes.
struct Site {
    federation: Federation,
    node: Role,
    safe: PathBuf,
}

impl Site {
    fn new(seed: u64) -> Self {
        let federation = Federation::set_up(60, 1, seed);
        let safe = federation.folder.join("coffre");
        linkage_ok(["backup", "keys", "--out", safe.to_str().unwrap()]);
        let node = Role::Node(federation.parties[0].clone());
        Self { federation, node, safe }
    }

    fn key(&self) -> String {
        self.safe.join("secours.key").display().to_string()
    }
    fn public(&self) -> SealingPublicKey {
        SealingPublicKey::from_base64(fs::read_to_string(self.safe.join("secours.pub")).unwrap().trim()).unwrap()
    }
    fn config(&self, role: &Role) -> String {
        self.federation.config(role).display().to_string()
    }
    fn state(&self) -> PathBuf {
        PathBuf::from(self.federation.setting(&self.node, "state_dir"))
    }
    fn agreement(&self) -> ParsedAgreement {
        let path = self.federation.folder.join("convention.toml");
        ParsedAgreement::parse(&fs::read_to_string(path).unwrap(), "convention.toml").unwrap()
    }

    fn created(&self, role: &Role, to: &[&str]) -> Output {
        let (config, public) = (self.config(role), self.safe.join("secours.pub"));
        let fixed = ["backup", "create", "--json", "--config", &config, "--to", public.to_str().unwrap()];
        linkage(fixed.iter().chain(to))
    }
    fn saved(&self, name: &str) -> PathBuf {
        let file = self.safe.join(name);
        let output = self.created(&self.node, &["--out", file.to_str().unwrap()]);
        assert!(output.status.success(), "{}", errors(&output));
        file
    }
    fn restore(&self, file: &Path, more: &[&str]) -> Output {
        self.restore_of(&self.node, file, more)
    }
    fn restore_of(&self, role: &Role, file: &Path, more: &[&str]) -> Output {
        let (config, key) = (self.config(role), self.key());
        let fixed = ["backup", "restore", "--json", "--config", &config, "--key", &key, file.to_str().unwrap()];
        linkage(fixed.iter().chain(more))
    }
    fn restored(&self, file: &Path, more: &[&str]) -> Value {
        done(&self.restore(file, more))
    }
    fn object(&self, id: &str) {
        let mut child = Command::new(binary())
            .args(["rights", "object", "--json", "--config", &self.config(&self.node)])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        writeln!(child.stdin.take().unwrap(), "{id}").unwrap();
        assert!(child.wait().unwrap().success());
    }
    fn acts(&self) -> Vec<(String, String)> {
        let shown = linkage_ok(["audit", "show", "--json", "--config", &self.config(&self.node)]);
        let entries: Value = serde_json::from_str(&shown).unwrap();
        let text = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
        entries.as_array().unwrap().iter().map(|entry| (text(entry, "what"), text(entry, "outcome"))).collect()
    }
}

fn done(output: &Output) -> Value {
    assert!(output.status.success(), "{}", errors(output));
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["done"].clone()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A backup taken apart, to be put together by somebody else.
#[derive(Clone)]
struct Opened {
    facts: Facts,
    files: Vec<(String, Vec<u8>)>,
    signature: Vec<u8>,
}

impl Opened {
    fn of(site: &Site, file: &Path) -> Self {
        let key = SealingKey::from_key_file(&fs::read_to_string(site.key()).unwrap()).unwrap();
        let mut files = Vec::new();
        let read = backup::read::<BackupError>(
            file,
            &key,
            |_| Ok(()),
            |name, bytes| {
                let mut content = Vec::new();
                bytes.read_to_end(&mut content)?;
                files.push((name.to_owned(), content));
                Ok(())
            },
        );
        let mut plain = Vec::new();
        SealReader::new(fs::File::open(file).unwrap(), &key).unwrap().read_to_end(&mut plain).unwrap();
        Self { facts: read.unwrap().facts().clone(), files, signature: plain[plain.len() - 64..].to_vec() }
    }

    fn file(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.files.iter_mut().find(|(known, _)| known == name).unwrap().1
    }

    /// Sealed with a manifest that tells what is in it: for that the public part of the recovery key is enough.
    fn sealed(&self, site: &Site, name: &str) -> PathBuf {
        let json = |value: Vec<u8>| [&(value.len() as u32).to_le_bytes()[..], &value].concat();
        let mut plain = json(serde_json::to_vec(&self.facts).unwrap());
        let mut manifest = Manifest { facts: self.facts.clone(), files: Vec::new() };
        for (name, content) in &self.files {
            plain.extend((name.len() as u16).to_le_bytes());
            plain.extend(name.as_bytes());
            plain.extend((content.len() as u64).to_le_bytes());
            plain.extend(content);
            let sha256 = hex::encode(Sha256::digest(content));
            manifest.files.push(FileFacts { name: name.clone(), bytes: content.len() as u64, sha256 });
        }
        plain.extend([0, 0]);
        plain.extend(json(serde_json::to_vec(&manifest).unwrap()));
        plain.extend(&self.signature);
        let path = site.safe.join(name);
        let mut writer = SealWriter::new(fs::File::create(&path).unwrap(), &site.public()).unwrap();
        writer.write_all(&plain).unwrap();
        writer.finish().unwrap();
        path
    }

    fn signed_by(&self, site: &Site, signer: &Signer, name: &str) -> PathBuf {
        let source =
            |(name, bytes): &(String, Vec<u8>)| Source { name: name.clone(), content: Content::Bytes(bytes.clone().into()) };
        let path = site.safe.join(name);
        backup::write(&path, &site.public(), signer, self.facts.clone(), self.files.iter().map(source).collect()).unwrap();
        path
    }
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let lock = |name: &str| name.ends_with("lock") || name.ends_with("in-use");
    files(folder).into_iter().filter(|(name, _)| !lock(name)).map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

#[test]
fn what_the_role_has_not_made_is_not_restored() {
    let site = Site::new(44);
    let agreement = site.agreement();
    let hash = agreement.hash().to_string();
    let reports = site.state().join("reports");
    fs::create_dir_all(&reports).unwrap();
    fs::write(reports.join("essai.csv"), "a;b\n").unwrap();
    let genuine = site.saved("vraie");
    let opened = Opened::of(&site, &genuine);
    let of_party = |id: &str| id.parse::<PartyId>().unwrap();
    let own_role = RoleId::Party(of_party(&site.federation.parties[0]));
    assert_eq!(opened.facts.role, own_role.to_string());

    // By another role, with its own key; by somebody with a key and an agreement of their own, who moves what is restored elsewhere.
    let key_of = |role: &Role| SecretSource::from_file(site.federation.home(role).join("cles/signing.key"));
    let load = |role: &Role, id| Signer::load(&key_of(role), agreement.agreement(), *agreement.hash().as_bytes(), id).unwrap();
    let custodian = opened.signed_by(&site, &load(&Role::Custodian, RoleId::Custodian), "du-tiers");
    let other_node = Role::Node(site.federation.parties[1].clone());
    let other = opened.signed_by(&site, &load(&other_node, RoleId::Party(of_party(&site.federation.parties[1]))), "d-un-autre");
    let mut made_up = agreement.agreement().clone();
    let party = made_up.party.iter_mut().find(|party| party.id == of_party(&site.federation.parties[0])).unwrap();
    let stranger = site.safe.join("autre.key");
    linkage_common::config::write_secret(&stranger, &[7; 32]).unwrap();
    party.signing_key = SigningKey::from_bytes(&[7; 32]).verifying_key().to_base64();
    let made_up = ParsedAgreement::parse(&made_up.to_toml(), "convention.toml").unwrap();
    let made_up_hash = made_up.hash().to_string();
    let stranger = SecretSource::from_file(stranger);
    let stranger = Signer::load(&stranger, made_up.agreement(), *made_up.hash().as_bytes(), own_role).unwrap();
    let mut forged = opened.clone();
    forged.facts.agreement = made_up_hash.clone();
    *forged.file("settings/agreement") = made_up.agreement().to_toml().into_bytes();
    let forged = forged.signed_by(&site, &stranger, "contrefaite");
    // The agreement that everybody knows, and a key that it does not name.
    let claimed = opened.signed_by(&site, &stranger, "contrefaite-2");
    // Changed and sealed again, the signature kept; of a program that did not sign.
    let changed = |change: &dyn Fn(&mut Opened), name: &str| {
        let mut opened = opened.clone();
        change(&mut opened);
        opened.sealed(&site, name)
    };
    let later = changed(&|opened| opened.facts.at += 1, "rajeunie");
    let config = changed(&|opened| opened.file("settings/config").extend(b"\n# autre\n"), "reconfiguree");
    let unsigned = |opened: &mut Opened| {
        opened.facts.format = 1;
        opened.signature.clear();
    };
    let old = changed(&unsigned, "non-signee");
    let downgraded = changed(&|opened| opened.facts.format = 1, "retrogradee");

    let home = site.state();
    let before = contents(&home);
    let key = site.key();
    let config_file = site.config(&site.node);
    let out = site.safe.join("sorti");
    let refusals: [(&Path, &[&str], &str); 11] = [
        (&custodian, &[], "signature refusée"),
        (&other, &[], "signature refusée"),
        (&forged, &[], "sous une autre convention"),
        (&forged, &["--agreement-hash", &hash], "sous une autre convention"),
        // Whoever believes the backup about its agreement has lost; what is in place still says no.
        (&forged, &["--agreement-hash", &made_up_hash], "sous une autre convention"),
        (&claimed, &[], "signature refusée"),
        (&later, &[], "signature refusée"),
        (&config, &[], "signature refusée"),
        (&old, &[], "n'est pas signée"),
        (&downgraded, &[], "mal formé"),
        (&claimed, &["--accept-unsigned"], "signature refusée"),
    ];
    for (file, more, why) in refusals {
        let output = site.restore(file, more);
        assert!(!output.status.success() && errors(&output).contains(why), "{}: {}", file.display(), errors(&output));
        assert_eq!(contents(&home), before, "{}", file.display());
        if file == forged.as_path() {
            continue;
        }
        for command in [&["verify"][..], &["extract", "--out", out.to_str().unwrap()]] {
            let fixed = [file.to_str().unwrap(), "--key", &key, "--config", &config_file];
            let output = linkage(["backup"].iter().chain(command).chain(&fixed).chain(more));
            assert!(!output.status.success() && errors(&output).contains(why), "{command:?} {}", errors(&output));
            assert!(!out.exists());
        }
    }
    // Without anything in place to be held against, nothing is believed.
    let output = linkage(["backup", "verify", genuine.to_str().unwrap(), "--key", &key]);
    assert!(!output.status.success() && errors(&output).contains("rien ici ne dit"), "{}", errors(&output));
    let known = ["--key", &key, "--agreement-hash", &hash, "--role", &opened.facts.role];
    let told = linkage_ok(["backup", "verify", genuine.to_str().unwrap()].iter().chain(&known));
    assert!(told.contains("intacte") && told.contains("Signature de ce rôle vérifiée"), "{told}");

    // The same state, which only says that it was saved: what was saved of it goes in its place.
    let done = site.restored(&genuine, &[]);
    assert_eq!((&done["signed"], &done["newer_log_kept"]), (&Value::Bool(true), &Value::Bool(true)), "{done}");
    let output = site.restore(&genuine, &[]);
    assert!(!output.status.success() && errors(&output).contains("plus récent"), "restored since: {}", errors(&output));
    // Of the program before signatures, at the operator's own word.
    fs::rename(&home, home.with_extension("ancien")).unwrap();
    let done = site.restored(&old, &["--accept-unsigned"]);
    assert_eq!(done["signed"], false, "{done}");

    // An audit log that was changed before it was saved.
    let log = files(&home.join("audit")).into_iter().find(|(name, _)| name.starts_with("principal/") && name.ends_with(".jsonl"));
    let log = log.unwrap().1;
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replacen("\"at\":1", "\"at\":2", 1)).unwrap();
    let faulty = site.saved("journal-modifie");
    fs::rename(&home, home.with_extension("ancien-2")).unwrap();
    let output = site.restore(&faulty, &[]);
    let told = errors(&output);
    assert!(!output.status.success() && told.contains("a été modifiée") && told.contains("ligne 1"), "{told}");
    assert_eq!(contents(&home), BTreeMap::new());
    site.restored(&faulty, &["--accept-faulty-log"]);
}

#[test]
fn what_another_role_of_the_agreement_has_signed_as_its_own_is_not_taken() {
    let site = Site::new(48);
    let hash = site.agreement().hash().to_string();
    let [mine, theirs] = [0, 1].map(|at| format!("party/{}", site.federation.parties[at]));
    // A partner, sealing to the victim's recovery key: its own backup, its own configuration, its own keys, its own signature.
    let other = Role::Node(site.federation.parties[1].clone());
    let file = site.safe.join("d-un-partenaire");
    assert!(site.created(&other, &["--out", file.to_str().unwrap()]).status.success());
    let mut unsigned = Opened::of(&site, &file);
    unsigned.facts.format = 1;
    unsigned.signature.clear();
    let unsigned = unsigned.sealed(&site, "d-un-partenaire-non-signee");

    let (key, config, empty) = (site.key(), site.config(&site.node), site.federation.folder.join("neuf"));
    fs::create_dir(&empty).unwrap();
    let (nothing, out) = (empty.join("noeud.toml"), empty.join("sorti"));
    let (nothing, out) = (nothing.to_str().unwrap(), out.to_str().unwrap());
    let by_hash = ["--agreement-hash", &hash];
    let lost: [&[&str]; 3] = [
        &["restore", "--config", nothing, "--paths-accepted", "--accept-unsigned"],
        &["verify", "--accept-unsigned"],
        &["extract", "--out", out, "--accept-unsigned"],
    ];
    let there: [&[&str]; 3] = [
        &["restore", "--config", &config, "--accept-unsigned"],
        &["verify", "--config", &config, "--accept-unsigned"],
        &["extract", "--config", &config, "--out", out, "--accept-unsigned"],
    ];
    let home = site.state();
    let before = contents(&home);
    let refused = |file: &Path, command: &[&str], more: &[&str], why: &str| {
        let fixed = [file.to_str().unwrap(), "--key", &key];
        let output = linkage(["backup"].iter().chain(command).chain(&fixed).chain(more));
        assert!(!output.status.success() && errors(&output).contains(why), "{command:?} {more:?}: {}", errors(&output));
        assert!(contents(&empty).is_empty() && contents(&home) == before, "{command:?} {more:?}");
    };
    for file in [&file, &unsigned] {
        for command in lost {
            refused(file, command, &by_hash, "donnez --role");
            for role in [mine.as_str(), "custodian", "party/inconnu"] {
                refused(file, command, &["--agreement-hash", &hash, "--role", role], "prenez l'autre");
            }
            refused(file, command, &["--agreement-hash", &hash, "--role", "noeud"], "party/NOM");
        }
        for command in there {
            refused(file, command, &[], "prenez l'autre");
            // What the operator says does not overrule the configuration.
            refused(file, command, &["--agreement-hash", &hash, "--role", &theirs], "--role dit");
        }
    }
    // The partner's own, to the partner.
    let told = linkage_ok(["backup", "verify", file.to_str().unwrap(), "--key", &key, "--role", &theirs].iter().chain(&by_hash));
    assert!(told.contains("Signature de ce rôle vérifiée") && told.contains(&theirs), "{told}");
}

#[test]
fn an_interrupted_restoration_that_another_file_ends_is_told_as_what_it_was() {
    let site = Site::new(49);
    let home = site.state();
    fs::create_dir_all(&home).unwrap();
    // So many entries that it takes a while to put them in place.
    let marks: Vec<PathBuf> = (0..800).map(|number| home.join(format!("marque-{number}"))).collect();
    for mark in &marks {
        fs::write(mark, "x").unwrap();
    }
    let mut old = Opened::of(&site, &site.saved("ancienne"));
    old.facts.format = 1;
    old.signature.clear();
    let unsigned = old.sealed(&site, "non-signee");
    for mark in &marks {
        fs::remove_file(mark).unwrap();
    }
    let signed = site.saved("signee");
    let ready = home.join(".restore/ready.json");
    let interrupted = (0..20).any(|_| {
        fs::remove_dir_all(&home).unwrap();
        let mut child = Command::new(binary())
            .args(["backup", "restore", "--accept-unsigned", "--config", &site.config(&site.node), "--key", &site.key()])
            .arg(&unsigned)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while child.try_wait().unwrap().is_none() && !ready.exists() {}
        child.kill().unwrap();
        child.wait().unwrap();
        ready.is_file()
    });
    assert!(interrupted, "no restoration was killed between its mark and its end");
    let output = site.restore(&signed, &[]);
    assert!(!output.status.success() && errors(&output).contains("n'était pas celle de"), "{}", errors(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&told["done"]["signed"], &told["done"]["completed_earlier"]),
        (&Value::Bool(false), &Value::Bool(true)),
        "{told}"
    );
    assert_eq!((&told["facts"]["format"], &told["facts"]["entry"]), (&Value::from(1), &Value::from(old.facts.entry)), "{told}");
    assert!(marks.iter().all(|mark| mark.is_file()) && !ready.exists());
}

#[test]
fn a_killed_job_leaves_nothing_for_long_and_roles_leave_each_other_s_backups_alone() {
    let site = Site::new(45);
    let folder = site.federation.folder.join("sauvegardes");
    let into = ["--folder", folder.to_str().unwrap(), "--keep-days", "1"];
    let output = site.created(&site.node, &into);
    let told = errors(&output);
    assert!(!output.status.success() && told.contains("dossier introuvable") && told.contains("mkdir -p"), "{told}");
    fs::create_dir(&folder).unwrap();
    let other = Role::Node(site.federation.parties[1].clone());
    let name = |output: &Output| {
        assert!(output.status.success(), "{}", errors(output));
        let facts: Value = serde_json::from_slice(&output.stdout).unwrap();
        let path = PathBuf::from(facts["file"].as_str().unwrap());
        assert!(path.is_file());
        (path.file_name().unwrap().to_str().unwrap().to_owned(), facts)
    };
    let (mine, facts) = name(&site.created(&site.node, &into));
    assert_eq!((&facts["deleted"], &facts["unnamed"]), (&Value::from(0), &Value::from(0)));
    let (theirs, _) = name(&site.created(&other, &into));
    // The same names of long ago, and one of the names before.
    let dated = |name: &str, year: u32| {
        let (start, _) = name.split_once("-20").unwrap();
        format!("{start}-{year}0101T000000Z.linkage-backup")
    };
    let (my_old, their_old, unnamed) =
        (dated(&mine, 2020), dated(&theirs, 2020), "noeud-20200101T000000Z.linkage-backup".to_owned());
    assert!(my_old != their_old && my_old.starts_with("noeud-") && my_old != unnamed, "{my_old} {their_old}");
    for name in [&my_old, &their_old, &unnamed] {
        fs::write(folder.join(name), "old").unwrap();
    }
    let out = |name: &str, year| folder.join(dated(name, year)).display().to_string();

    // A state that takes a while to be read, and a job that is killed meanwhile.
    let large = site.state().join("reports");
    fs::create_dir_all(&large).unwrap();
    fs::File::create(large.join("grand.csv")).unwrap().set_len(1 << 29).unwrap();
    let half_written = || files(&folder).into_iter().filter(|(name, _)| name.ends_with(".tmp")).count();
    let mut child = Command::new(binary())
        .args(["backup", "create", "--config", &site.config(&site.node), "--to"])
        .arg(site.safe.join("secours.pub"))
        .args(["--out", &out(&mine, 2080)])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while child.try_wait().unwrap().is_none() && half_written() == 0 {}
    // Held still, it writes for as long as this takes.
    assert!(Command::new("kill").args(["-STOP", &child.id().to_string()]).status().unwrap().success());
    // While it writes, the other role's job does not take it for a leftover, nor does a job of the same role.
    name(&site.created(&other, &["--out", &out(&theirs, 2081)]));
    let meanwhile = site.created(&site.node, &["--out", &out(&mine, 2082)]);
    assert!(!meanwhile.status.success() && errors(&meanwhile).contains("en cours"), "{}", errors(&meanwhile));
    assert_eq!(half_written(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(half_written(), 1);
    fs::remove_file(large.join("grand.csv")).unwrap();
    name(&site.created(&other, &into));
    assert_eq!(half_written(), 1, "another role's");
    let output = site.created(&site.node, &into);
    let (_, facts) = name(&output);
    assert_eq!(half_written(), 0);
    assert_eq!((&facts["deleted"], &facts["unnamed"]), (&Value::from(1), &Value::from(1)), "{facts}");
    let told = errors(&output);
    assert!(told.contains("1 sauvegarde(s) inachevée(s)") && told.contains("supprimez-les vous-même"), "{told}");
    let there = |name: &String| folder.join(name).is_file();
    assert_eq!([there(&mine), there(&theirs), there(&my_old), there(&unnamed)], [true, true, false, true]);
    assert!(!there(&their_old), "their own job has deleted it");

    // The log says which were begun, which were done, which failed; of the one that was killed, only that it was begun.
    let acts: Vec<_> = site.acts().into_iter().filter(|(what, _)| what.starts_with("backup.")).collect();
    let entry = |what: &str, outcome: &str| (format!("backup.{what}"), outcome.to_owned());
    let expected = [
        entry("begun", "done"),
        entry("created", "done"),
        entry("begun", "done"),
        entry("begun", "done"),
        entry("created", "failed"),
        entry("begun", "done"),
        entry("created", "done"),
    ];
    assert_eq!(acts, expected);
}

#[test]
fn what_was_closed_since_the_backup_stays_closed_also_when_a_key_was_renewed() {
    let mut site = Site::new(46);
    // An account of the study switched off.
    site.federation.start(&Role::Analyst);
    site.federation.stop(&Role::Analyst);
    let saved = site.safe.join("etude");
    assert!(site.created(&Role::Analyst, &["--out", saved.to_str().unwrap()]).status.success());
    let config = site.config(&Role::Analyst);
    let disable = ["analyst", "users", "disable", "--config", &config, "--reason", "départ", "--never-seen", "login:ada"];
    linkage_ok(disable);
    let home = PathBuf::from(site.federation.setting(&Role::Analyst, "data_dir"));
    let aside = home.with_extension("ancien");
    fs::rename(&home, &aside).unwrap();
    let facts = done(&site.restore_of(&Role::Analyst, &saved, &["--former", aside.to_str().unwrap()]));
    assert_eq!(facts["accounts_off"], 1, "{facts}");
    let listed: Value = serde_json::from_str(&linkage_ok(["analyst", "users", "list", "--json", "--config", &config])).unwrap();
    assert_eq!((&listed[0]["id"], &listed[0]["enabled"]), (&Value::from("login:ada"), &Value::Bool(false)), "{listed}");

    // An objection, in a state that was sealed under another key meanwhile.
    site.object("avant");
    let saved = site.saved("noeud");
    linkage_ok(["keys", "rotate-storage", "--config", &site.config(&site.node)]);
    site.object("depuis");
    let (home, keys) = (site.state(), site.federation.home(&site.node).join("cles"));
    let (aside, later) = (home.with_extension("ancien"), keys.join("nouvelle.key"));
    fs::rename(&home, &aside).unwrap();
    fs::rename(keys.join("storage.key"), &later).unwrap();
    let former = ["--former", aside.to_str().unwrap(), "--former-key", later.to_str().unwrap()];
    let output = site.restore(&saved, &former[..2]);
    assert!(!output.status.success() && errors(&output).contains("--former-key"), "{}", errors(&output));
    // The key of the backup, which is the older one, is not the one that is meant, and the refusal says so.
    let older = site.safe.join("ancienne.key");
    let sources = Opened::of(&site, &saved).file("settings/storage_key").clone();
    linkage_common::fsx::write_atomic(&older, &sources).unwrap();
    let output = site.restore(&saved, &["--former", former[1], "--former-key", older.to_str().unwrap()]);
    let told = errors(&output);
    assert!(!output.status.success() && told.contains("en service à l'arrêt") && told.contains("non celle de la"), "{told}");
    let facts = site.restored(&saved, &former);
    assert_eq!((&facts["objections_kept"], &facts["newer_log_kept"]), (&Value::from(1), &Value::Bool(true)), "{facts}");
}
