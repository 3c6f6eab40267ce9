//! The container: every cut, every changed byte, blocks in other places; and the exchange of states, interrupted at every step.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use linkage_agreement::RoleId;
use linkage_crypto::seal::SealingKey;
use zeroize::Zeroizing;

use super::archive::{pack, unpack};
use super::seal::{SealReader, SealWriter};
use super::*;
use crate::fsx;

mod signed;
use signed::{agreement, signer};

/// Bytes of a block in these tests, and of one sealed.
const BLOCK: usize = 64;
const SEALED: usize = BLOCK + linkage_crypto::storage::OVERHEAD;
const HEAD: usize = 18 + 80;

fn key() -> SealingKey {
    SealingKey::from_bytes(&[7; 32])
}

fn sealed(plain: &[u8]) -> Vec<u8> {
    let mut writer = SealWriter::in_blocks(Vec::new(), &key().public_key(), BLOCK).unwrap();
    writer.write_all(plain).unwrap();
    writer.finish().unwrap()
}

fn opened(sealed: &[u8]) -> Result<Vec<u8>, BackupError> {
    let mut plain = Vec::new();
    SealReader::in_blocks(sealed, &key(), BLOCK)?.read_to_end(&mut plain)?;
    Ok(plain)
}

/// Four blocks: three whole ones and a short one.
fn four() -> Vec<u8> {
    sealed(&(0..3 * BLOCK + 10).map(|n| n as u8).collect::<Vec<_>>())
}

#[test]
fn a_stream_of_any_length_reads_back() {
    for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 5 * BLOCK + 3] {
        let plain = vec![3; length];
        assert_eq!(opened(&sealed(&plain)), Ok(plain), "{length}");
    }
}

#[test]
fn every_cut_is_found_and_named() {
    let whole = four();
    for length in 0..whole.len() {
        let expected = match length {
            0..18 => BackupError::NotABackup,
            18..HEAD => BackupError::Truncated { block: 1 },
            _ => {
                let (blocks, rest) = (((length - HEAD) / SEALED) as u64, (length - HEAD) % SEALED);
                if rest == 0 { BackupError::Truncated { block: blocks + 1 } } else { BackupError::Cut { block: blocks + 1 } }
            }
        };
        assert_eq!(opened(&whole[..length]), Err(expected), "{length}");
    }
}

#[test]
fn every_changed_byte_is_found_and_its_block_named() {
    let whole = four();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        let expected = match at {
            0..18 => BackupError::NotABackup,
            18..HEAD => BackupError::OtherKey,
            _ => match ((at - HEAD) / SEALED) as u64 + 1 {
                4 => BackupError::Cut { block: 4 },
                block => BackupError::Altered { block },
            },
        };
        assert_eq!(opened(&changed), Err(expected), "{at}");
    }
}

#[test]
fn blocks_in_other_places_are_found_and_named() {
    let whole = four();
    let block = |n: usize| whole[HEAD + n * SEALED..whole.len().min(HEAD + (n + 1) * SEALED)].to_vec();
    let of = |blocks: &[usize]| blocks.iter().fold(whole[..HEAD].to_vec(), |all, n| [all, block(*n)].concat());
    assert_eq!(opened(&of(&[1, 0, 2, 3])), Err(BackupError::Moved { block: 1, found: 2 }));
    assert_eq!(opened(&of(&[0, 2, 1, 3])), Err(BackupError::Moved { block: 2, found: 3 }));
    assert_eq!(opened(&of(&[0, 0, 1, 2, 3])), Err(BackupError::Moved { block: 2, found: 1 }), "one twice");
    assert_eq!(opened(&of(&[0, 2, 3])), Err(BackupError::Moved { block: 2, found: 3 }), "one left out");
    assert_eq!(opened(&of(&[0, 1, 3])), Err(BackupError::Moved { block: 3, found: 4 }));
    // A last block that is full, and something after it.
    let mut full = sealed(&[5; 2 * BLOCK]);
    full.push(0);
    assert_eq!(opened(&full), Err(BackupError::Trailing { block: 2 }));
    // Of another backup to the same key.
    let mut other = four();
    other.splice(HEAD..HEAD + SEALED, block(0));
    assert_eq!(opened(&other), Err(BackupError::Altered { block: 1 }));
    let stranger = SealReader::new(whole.as_slice(), &SealingKey::from_bytes(&[8; 32]));
    assert_eq!(stranger.err(), Some(BackupError::OtherKey));
}

fn facts() -> Facts {
    Facts {
        format: Facts::FORMAT,
        role: RoleId::Broker.to_string(),
        agreement: agreement().hash().to_string(),
        software: "1".to_owned(),
        schema: Some(7),
        at: 1_763_800_000,
        log: "principal".to_owned(),
        entry: 12,
        chain: "cd".repeat(32),
        database_elsewhere: false,
        objects_elsewhere: true,
    }
}

fn packed(sources: &[(&str, &[u8])]) -> Result<Vec<u8>, BackupError> {
    let writer = SealWriter::new(Vec::new(), &key().public_key())?;
    pack(writer, &signer(RoleId::Broker), facts(), these(sources)).map(|(bytes, _)| bytes)
}

fn these(sources: &[(&str, &[u8])]) -> Vec<Source> {
    let source = |(name, bytes): &(&str, &[u8])| Source {
        name: (*name).to_owned(),
        content: Content::Bytes(Zeroizing::new(bytes.to_vec())),
    };
    sources.iter().map(source).collect()
}

#[test]
fn files_come_back_under_their_names_with_their_digests() {
    let files: [(&str, &[u8]); 3] =
        [("settings/key", b"k"), ("audit/principal/2026-01.jsonl", b""), ("state/a/b.enc", &[9; 3000])];
    let backup = packed(&files).unwrap();
    let mut found = Vec::new();
    let read = unpack::<BackupError>(
        SealReader::new(backup.as_slice(), &key()).unwrap(),
        |known| (known == &facts()).then_some(()).ok_or(BackupError::NotABackup),
        |name, bytes| {
            let mut read = Vec::new();
            bytes.read_to_end(&mut read)?;
            found.push((name.to_owned(), read));
            Ok(())
        },
    )
    .unwrap();
    assert_eq!(found, files.map(|(name, bytes)| (name.to_owned(), bytes.to_vec())));
    assert_eq!(read.facts(), &facts());
    // Files that nobody reads are digested all the same.
    let unread = unpack::<BackupError>(SealReader::new(backup.as_slice(), &key()).unwrap(), |_| Ok(()), |_, _| Ok(()));
    assert_eq!(unread.as_ref(), Ok(&read));
    let manifest = read.signed(&agreement(), &RoleId::Broker).unwrap();
    assert_eq!(manifest.facts, facts());
    assert_eq!(manifest.files[0].sha256, "8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a");
}

#[test]
fn no_name_leads_out_of_its_folder() {
    for name in ["state/../x", "state//x", "/etc/x", "state/./x", "other/x", "state/", "x", "state/a\\b", "settings/a\0"] {
        assert_eq!(packed(&[(name, b"x")]), Err(BackupError::Malformed { what: "nom" }), "{name:?}");
    }
}

#[test]
fn a_backup_is_not_written_over_another_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup");
    let written = || write(&path, &key().public_key(), &signer(RoleId::Broker), facts(), Vec::new());
    written().unwrap();
    let before = fs::read(&path).unwrap();
    let again = written();
    assert_eq!(again.unwrap_err(), BackupError::Io(std::io::ErrorKind::AlreadyExists));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn what_a_killed_process_left_is_removed_and_what_another_writes_stays() {
    let dir = tempfile::tempdir().unwrap();
    let left = |name: &str| {
        let path = dir.path().join(format!(".{name}.0123456789abcdef.tmp"));
        put(&path, "half");
        path
    };
    let (killed, living, foreign) = (left("courtier-1"), left("courtier-2"), left("tiers-1"));
    let others = ["courtier-1", ".courtier-1.tmp", ".courtier-1.0123.tmp", ".courtier-1.0123456789abcdeg.tmp"];
    for name in others {
        put(&dir.path().join(name), "whole");
    }
    let writing = fs::File::options().append(true).open(&living).unwrap();
    leftovers::hold(&writing);
    let own = |name: &str| name.starts_with("courtier-");
    assert_eq!(sweep(dir.path(), own).unwrap(), 1);
    assert_eq!([killed, living.clone(), foreign].map(|path| path.exists()), [false, true, true]);
    assert!(others.iter().all(|name| dir.path().join(name).exists()));
    drop(writing);
    assert_eq!((sweep(dir.path(), own).unwrap(), living.exists()), (1, false));
    // A backup holds its own while it is written.
    let path = dir.path().join("courtier-3");
    fsx::write_atomic_with(&path, |file| {
        leftovers::hold(file);
        assert_eq!(sweep(dir.path(), own)?, 0);
        Ok::<_, std::io::Error>(())
    })
    .unwrap();
    assert!(path.exists() && sweep(&dir.path().join("gone"), own).is_err());
}

#[test]
fn what_the_disk_has_no_room_for_is_not_begun() {
    let dir = tempfile::tempdir().unwrap();
    room(dir.path(), 0).unwrap();
    let refused = room(dir.path(), 1 << 60).unwrap_err();
    assert!(matches!(&refused, BackupError::Room { folder, needed, .. } if folder == dir.path() && *needed > 1 << 60));
    assert!(refused.to_string().contains("faites de la place"), "{refused}");
}

#[test]
fn of_a_file_of_lines_half_a_line_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    for (text, kept) in [("", 0), ("half", 0), ("one\n", 4), ("one\nhalf", 4)] {
        fs::write(&path, text).unwrap();
        let source = Source::open("state/a.jsonl".to_owned(), &path).unwrap().unwrap();
        assert!(matches!(source.content, Content::File(_, length) if length == kept), "{text}");
    }
    assert!(Source::open(String::new(), &dir.path().join("gone")).unwrap().is_none());
}

fn tree(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(tree(&entry.path()).into_iter().map(|(below, text)| (format!("{name}/{below}"), text)));
        } else {
            found.push((name, fs::read_to_string(entry.path()).unwrap()));
        }
    }
    found.sort();
    found
}

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn origin() -> Origin {
    Origin { facts: facts(), signed: false }
}

/// A state with its log, and another ready to take its place.
fn ready(home: &Path) -> Staging {
    for (name, text) in [("db", "old"), ("db-wal", "old"), ("sub/a", "old"), ("audit/principal/2026-01.jsonl", "1\n")] {
        put(&home.join(name), text);
    }
    let staging = Staging::begin(home).unwrap();
    for (name, text) in [("db", "new"), ("sub/b", "new"), ("more", "new")] {
        put(&staging.state().join(name), text);
    }
    put(&staging.logs().join("principal/2026-01.jsonl"), "1\n2\n");
    assert!(staging.replaces().unwrap());
    staging.ready(&home.join("audit"), "principal.restored-1", "principal", 2, origin()).unwrap();
    staging
}

#[test]
fn a_restoration_killed_at_any_move_is_ended_by_the_next() {
    let expected: Vec<(String, String)> =
        [("audit/principal/2026-01.jsonl", "1\n2\n"), ("db", "new"), ("more", "new"), ("sub/b", "new")]
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .to_vec();
    // The moves that `finish` makes, in order; killed after each number of them.
    let moves = [
        ("", "old", "db"),
        ("", "old", "db-wal"),
        ("", "old", "sub"),
        ("new", "", "db"),
        ("new", "", "more"),
        ("new", "", "sub"),
    ];
    for done in 0..=moves.len() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path();
        drop(ready(home));
        let folder = |name: &str| if name.is_empty() { home.to_owned() } else { home.join(FOLDER).join(name) };
        for (from, to, name) in &moves[..done] {
            fs::rename(folder(from).join(name), folder(to).join(name)).unwrap();
        }
        let refused = whole(home).unwrap_err().to_string();
        assert!(refused.contains("restauration inachevée") && refused.contains("linkage backup restore"), "{refused}");
        for _ in 0..2 {
            let staging = Staging::begin(home).unwrap();
            let plan = staging.finish().unwrap();
            assert_eq!((plan.log.as_str(), plan.after.as_str(), plan.entry), ("principal.restored-1", "principal", 2));
            assert_eq!(plan.origin, Some(origin()));
        }
        assert!(whole(home).is_err(), "not before the log goes on");
        completed(Staging::begin(home).unwrap()).unwrap();
        whole(home).unwrap();
        assert_eq!(tree(home), expected, "killed after {done} moves");
    }
}

#[test]
fn what_the_version_before_had_made_ready_is_ended_without_a_word_of_where_it_comes_from() {
    let dir = tempfile::tempdir().unwrap();
    drop(ready(dir.path()));
    let path = dir.path().join(FOLDER).join("ready.json");
    let mut plan: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert!(plan.as_object_mut().unwrap().remove("origin").is_some());
    fs::write(&path, plan.to_string()).unwrap();
    let plan = Staging::begin(dir.path()).unwrap().finish().unwrap();
    assert_eq!((plan.origin, plan.entry), (None, 2));
}

#[test]
fn killed_before_it_is_ready_a_restoration_leaves_the_old_state() {
    let dir = tempfile::tempdir().unwrap();
    put(&dir.path().join("db"), "old");
    let staging = Staging::begin(dir.path()).unwrap();
    put(&staging.state().join("db"), "new");
    assert!(whole(dir.path()).unwrap_err().to_string().contains("en cours"), "the process that restores is there");
    assert!(Staging::begin(dir.path()).is_err(), "one at a time");
    drop(staging);
    assert!(!dir.path().join(FOLDER).exists(), "one that fails leaves nothing");
    put(&dir.path().join(FOLDER).join("new/db"), "of a process that was killed");
    put(&dir.path().join(COPIES).join("db"), "of a backup that was killed");
    whole(dir.path()).unwrap();
    assert_eq!(tree(dir.path()), [("db".to_owned(), "old".to_owned())]);
    let empty = tempfile::tempdir().unwrap();
    assert!(!Staging::begin(empty.path()).unwrap().replaces().unwrap());
}

#[test]
fn killed_once_it_had_written_keys_elsewhere_a_restoration_lets_nothing_begin_on_no_state() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |what: &str| {
        let told = whole(dir.path()).unwrap_err().to_string();
        assert!(told.contains("restauration inachevée") && told.contains("relancez"), "{what}: {told}");
    };
    let staging = Staging::begin(dir.path()).unwrap();
    put(&staging.state().join("half"), "new");
    staging.outside().unwrap();
    drop(staging);
    refused("one that failed");
    let staging = Staging::begin(dir.path()).unwrap();
    assert!(tree(&staging.state()).is_empty(), "what it had made ready is made again");
    drop(staging);
    refused("one that failed earlier");
    let staging = Staging::begin(dir.path()).unwrap();
    put(&staging.state().join("db"), "new");
    staging.ready(&dir.path().join("audit"), "principal.restored-1", "principal", 2, origin()).unwrap();
    assert_eq!(staging.finish().unwrap(), staging.plan().unwrap());
    completed(staging).unwrap();
    whole(dir.path()).unwrap();
    assert_eq!(tree(dir.path()), [("db".to_owned(), "new".to_owned())]);
}

#[tokio::test]
async fn a_database_is_copied_while_it_is_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let pool = crate::store::open_sqlite(&dir.path().join("a.sqlite")).await.unwrap();
    sqlx::query("CREATE TABLE t (n INTEGER)").execute(&pool).await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1)").execute(&pool).await.unwrap();
    let mut writing = pool.begin("test").await.unwrap();
    sqlx::query("INSERT INTO t VALUES (2)").execute(&mut *writing).await.unwrap();
    let copy = dir.path().join("copy ? 1.sqlite");
    copy_database(&pool, &copy).await.unwrap();
    writing.commit().await.unwrap();
    let copy = crate::store::open_sqlite(&copy).await.unwrap();
    let held: i64 = sqlx::query_scalar("SELECT sum(n) FROM t").fetch_one(&copy).await.unwrap();
    assert_eq!(held, 1, "what was not committed is not in it");
}
