//! A rotation interrupted at every step, and what may not go on beside it.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

const FILES: [&str; 4] = ["refs", "archive/index", "archive/segment-00000000", "rights/list"];

struct Site {
    dir: tempfile::TempDir,
    config: NodeConfig,
}

fn site() -> Site {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("storage.key");
    write_secret(&key, &[5; 32]).unwrap();
    let none = || SecretSource::default();
    let folder = dir.path().join("state");
    let config = NodeConfig {
        party: "ccas".parse().unwrap(),
        state_dir: folder.clone(),
        inbox_dir: None,
        attributes: None,
        mapping: PathBuf::new(),
        pass_set: None,
        clk_schema: None,
        clk_secret: None,
        hash_keys_key: None,
        line_file: false,
        broker_url: String::new(),
        custodian_url: String::new(),
        analyst_urls: Default::default(),
        checkpoint_minutes: 60,
        agreement: linkage_common::AgreementFiles { agreement: PathBuf::new(), signatures: PathBuf::new(), terminations: None },
        audit: Default::default(),
        tls: linkage_common::tls::TlsFiles { ca: PathBuf::new(), certificate: PathBuf::new(), key: PathBuf::new() },
        ops: None,
        storage_key: SecretSource::from_file(&key),
        signing_key: none(),
        sealing_key: none(),
        group_contribution: None,
    };
    let vault = Vault::open(&folder, &[5; 32]).unwrap();
    for name in FILES {
        vault.put(name, name.as_bytes()).unwrap();
    }
    Site { dir, config }
}

impl Site {
    fn key(&self) -> [u8; 32] {
        *self.config.storage_key.read_key().unwrap()
    }
    fn vault(&self) -> Vault {
        Vault::open(&self.config.state_dir, &self.key()).unwrap()
    }
    fn in_folder(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
    /// Every file opens under the old key or the new one.
    fn assert_readable(&self) {
        let keys: Vec<StorageKey> = ["storage.key", "storage.key.new", "storage.key.old"]
            .iter()
            .filter_map(|name| SecretSource::from_file(self.dir.path().join(name)).read_key().ok())
            .map(|key| StorageKey::from_bytes(&key))
            .collect();
        for name in FILES {
            let sealed = fs::read(self.config.state_dir.join(format!("{name}.enc"))).unwrap();
            let opened = keys.iter().find_map(|key| key.open(Place { table: name, row: b"" }, &sealed).ok());
            assert_eq!(opened.unwrap().as_slice(), name.as_bytes());
        }
    }
    fn assert_done(&self, digest: [u8; 16]) {
        assert_eq!(self.in_folder(), ["state", "storage.key"]);
        assert_ne!(self.key(), [5; 32]);
        let vault = self.vault();
        for name in FILES {
            assert_eq!(vault.get(name).unwrap().unwrap().as_slice(), name.as_bytes());
        }
        assert_eq!(vault.digest("local-id", &[b"x"]), digest, "records are known again");
        in_use(&self.config.state_dir).unwrap();
    }
}

#[test]
fn killed_at_any_step_it_stays_readable_and_a_repeat_ends_it() {
    let mut steps = 0;
    loop {
        let site = site();
        let digest = site.vault().digest("local-id", &[b"x"]);
        let mut left = steps;
        let mut last = None;
        let killed = rotate(&site.config, None, &mut |step| {
            last = Some(step);
            if left == 0 {
                return Err(NodeError::Refused("killed".to_owned()));
            }
            left -= 1;
            Ok(())
        });
        site.assert_readable();
        let Err(error) = killed else {
            site.assert_done(digest);
            break;
        };
        assert_eq!(error.to_string(), "killed");
        if last != Some(Step::KeyDrawn) {
            assert!(matches!(in_use(&site.config.state_dir), Err(NodeError::NotReady(_))), "{last:?}");
        }
        let done = rotate_storage_key(&site.config, None).unwrap();
        assert_eq!((done.resumed, done.key), (last != Some(Step::KeyDrawn), site.dir.path().join("storage.key")));
        site.assert_done(digest);
        steps += 1;
    }
    assert_eq!(steps, FILES.len() + 7);
}

#[test]
fn a_second_rotation_keeps_what_digests_are_made_by() {
    let site = site();
    let digest = site.vault().digest("local-id", &[b"x"]);
    for _ in 0..2 {
        let before = site.key();
        rotate_storage_key(&site.config, None).unwrap();
        assert_ne!(site.key(), before);
        site.assert_done(digest);
        assert!(matches!(Vault::open(&site.config.state_dir, &before), Err(NodeError::State { .. })));
    }
    let mode = fs::metadata(site.dir.path().join("storage.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_state_in_use_is_left_alone() {
    let site = site();
    let (first, second) = (in_use(&site.config.state_dir).unwrap(), in_use(&site.config.state_dir).unwrap());
    assert!(matches!(rotate_storage_key(&site.config, None), Err(NodeError::NotReady(_))));
    drop((first, second));
    let locked = site.vault().lock(Duration::ZERO).unwrap();
    assert!(matches!(rotate_storage_key(&site.config, None), Err(NodeError::NotReady(_))));
    assert_eq!((site.key(), site.in_folder()), ([5; 32], vec!["state".to_owned(), "storage.key".to_owned()]));
    drop(locked);
    rotate_storage_key(&site.config, None).unwrap();
}

#[test]
fn a_key_from_elsewhere_is_taken_and_named_by_the_configuration_afterwards() {
    let mut site = site();
    let digest = site.vault().digest("local-id", &[b"x"]);
    let next = site.dir.path().join("next.key");
    write_secret(&next, &[5; 32]).unwrap();
    let same = rotate_storage_key(&site.config, Some(&next)).unwrap_err();
    assert!(same.to_string().contains("tirez-en une autre"), "{same}");
    write_secret(&next, &[6; 32]).unwrap();
    assert_eq!(rotate_storage_key(&site.config, Some(&next)).unwrap().files, FILES.len() as u64 + 1);
    assert_eq!(site.key(), [5; 32], "the old file is its owner's to remove");
    site.config.storage_key = SecretSource::from_file(&next);
    assert_eq!(site.vault().digest("local-id", &[b"x"]), digest);
    site.config.storage_key = SecretSource::from_env("LINKAGE_TEST_NO_SUCH_KEY");
    let refused = rotate_storage_key(&site.config, None).unwrap_err();
    assert!(refused.to_string().contains("--new-key"), "{refused}");
}

#[test]
fn a_file_of_a_third_key_stops_it_before_the_keys_are_exchanged() {
    let site = site();
    let stray = Vault::open(&site.dir.path().join("elsewhere"), &[9; 32]).unwrap();
    stray.put("refs", b"x").unwrap();
    fs::copy(site.dir.path().join("elsewhere/refs.enc"), site.config.state_dir.join("refs.enc")).unwrap();
    let refused = rotate_storage_key(&site.config, None).unwrap_err();
    assert!(matches!(&refused, NodeError::State { file, .. } if file == "refs"), "{refused}");
    assert_eq!(site.key(), [5; 32]);
}

/// Stops at the first occurrence of a step.
fn killed_at(site: &Site, new_key: Option<&Path>, step: Step) {
    let killed = rotate(&site.config, new_key, &mut |at| {
        if at == step { Err(NodeError::Refused("killed".to_owned())) } else { Ok(()) }
    });
    assert_eq!(killed.unwrap_err().to_string(), "killed");
}

#[test]
fn what_was_begun_is_ended_in_the_same_way_and_with_the_same_key_only() {
    let mut site = site();
    let (next, other) = (site.dir.path().join("next.key"), site.dir.path().join("other.key"));
    write_secret(&next, &[6; 32]).unwrap();
    write_secret(&other, &[7; 32]).unwrap();
    // Half of the state is under the key from elsewhere.
    let mut left = 3;
    let killed = rotate(&site.config, Some(&next), &mut |_| {
        left -= 1;
        if left == 0 { Err(NodeError::Refused("killed".to_owned())) } else { Ok(()) }
    });
    assert_eq!(killed.unwrap_err().to_string(), "killed");
    let command = format!("rotate-storage --new-key {} »", next.display());
    let refusals = [
        rotate_storage_key(&site.config, None).unwrap_err(),
        rotate_storage_key(&site.config, Some(&other)).unwrap_err(),
        in_use(&site.config.state_dir).unwrap_err(),
    ];
    for refused in refusals {
        assert!(matches!(&refused, NodeError::NotReady(text) if text.contains(&command)), "{refused}");
    }
    // Nor is it over because the configuration names the new key.
    let former = std::mem::replace(&mut site.config.storage_key, SecretSource::from_file(&next));
    assert!(matches!(rotate_storage_key(&site.config, Some(&next)), Err(NodeError::State { .. })));
    site.config.storage_key = former;
    killed_at(&site, Some(&next), Step::Marked);
    let done = rotate_storage_key(&site.config, Some(&next)).unwrap();
    assert_eq!((done.resumed, done.files), (true, FILES.len() as u64 + 1));
    site.config.storage_key = SecretSource::from_file(&next);
    for name in FILES {
        assert_eq!(site.vault().get(name).unwrap().unwrap().as_slice(), name.as_bytes());
    }

    // The other way round.
    killed_at(&site, None, Step::OldKept);
    let refused = rotate_storage_key(&site.config, Some(&other)).unwrap_err();
    assert!(refused.to_string().contains("« linkage keys rotate-storage »"), "{refused}");
    rotate_storage_key(&site.config, None).unwrap();
    assert!(site.vault().get("refs").unwrap().is_some());
}

#[test]
fn the_old_key_stays_while_a_file_is_under_it() {
    let site = site();
    let former = fs::read(site.config.state_dir.join("refs.enc")).unwrap();
    killed_at(&site, None, Step::Exchanged);
    fs::write(site.config.state_dir.join("refs.enc"), former).unwrap();
    let refused = rotate_storage_key(&site.config, None).unwrap_err();
    assert!(matches!(&refused, NodeError::State { file, .. } if file == "refs"), "{refused}");
    assert!(site.in_folder().contains(&"storage.key.old".to_owned()));
}

#[test]
fn folders_behind_links_are_of_the_state_and_copies_made_ready_are_not() {
    let site = site();
    let state = &site.config.state_dir;
    let digest = site.vault().digest("local-id", &[b"x"]);
    let disk = tempfile::tempdir().unwrap();
    fs::rename(state.join("archive"), disk.path().join("archive")).unwrap();
    std::os::unix::fs::symlink(disk.path().join("archive"), state.join("archive")).unwrap();
    for copies in [backup::FOLDER, backup::COPIES] {
        fs::create_dir(state.join(copies)).unwrap();
        fs::write(state.join(copies).join("refs.enc"), b"of a backup").unwrap();
    }
    rotate_storage_key(&site.config, None).unwrap();
    site.assert_done(digest);
    assert!(state.join("archive").is_symlink());

    // What leads nowhere, or nowhere else, is refused before the first file is sealed.
    let before = site.key();
    let stray = state.join("rights/away");
    for target in [disk.path().join("gone"), state.join("rights"), state.join("refs.enc")] {
        let stray = if target.ends_with("refs.enc") { state.join("rights/away.enc") } else { stray.clone() };
        std::os::unix::fs::symlink(target, &stray).unwrap();
        let refused = rotate_storage_key(&site.config, None).unwrap_err();
        assert!(matches!(&refused, NodeError::Configuration(text) if text.contains("away")), "{refused}");
        in_use(state).unwrap();
        fs::remove_file(&stray).unwrap();
    }
    assert_eq!(site.key(), before);
    rotate_storage_key(&site.config, None).unwrap();
    site.assert_done(digest);
}
