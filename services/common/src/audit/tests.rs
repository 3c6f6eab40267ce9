//! The log as written, killed, tampered with, pruned and countersigned.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use linkage_agreement::RoleId;
use tempfile::TempDir;

use super::*;
use crate::clock::MockClock;
use crate::config::{SecretSource, write_secret};
use crate::error::ErrorKind;
use crate::gate::Gate;
use crate::signer::Signer;

mod site;
mod witness;
use site::Site;

/// What a log's folder holds of entries, by file.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<String>)> {
    let months = super::months::months(folder).unwrap();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path, text.lines().map(str::to_owned).collect())
    };
    months.into_iter().map(|m| read(super::months::path(folder, m))).collect()
}

fn put(path: &Path, lines: &[String]) {
    std::fs::write(path, lines.iter().map(|l| format!("{l}\n")).collect::<String>()).unwrap();
}

#[test]
fn entries_are_chained_over_months_and_a_clock_that_goes_back() {
    let site = Site::new();
    let log = site.log();
    for at in ["2026-01-31T23:59:59Z", "2026-02-01T00:00:00Z", "2026-01-15T00:00:00Z", "2026-04-01T00:00:00Z"] {
        site.clock.set(at.parse().unwrap());
        log.note(Act::own("run.linked").records(3)).unwrap();
    }
    let found = files(&site.folder());
    let names: Vec<_> = found.iter().map(|(path, lines)| (path.file_stem().unwrap().to_str().unwrap(), lines.len())).collect();
    assert_eq!(names, [("2026-01", 1), ("2026-02", 2), ("2026-04", 1)]);
    let report = site.verify();
    assert_eq!((report.entries, report.first, report.last, report.fault.clone()), (4, Some(1), Some(4), None));
    assert_eq!(report.head, hex::encode(log.head().unwrap().chain));
    let mut seen = Vec::new();
    each::<std::io::Error>(&site.place(), |_, _, entry| {
        seen.push((entry.n, entry.who, entry.what, entry.records, entry.outcome));
        Ok(())
    })
    .unwrap();
    assert_eq!(seen[3], (4, "linkage://essai/broker/broker".to_owned(), "run.linked".to_owned(), Some(3), Outcome::Done));
}

#[test]
fn half_a_line_is_cut_off_and_said_and_breaks_nothing() {
    let site = Site::new();
    site.log().note(Act::own("a.done")).unwrap();
    let path = files(&site.folder())[0].0.clone();
    let append = |bytes: &[u8]| super::months::open_appending(&path).unwrap().write_all(bytes).unwrap();
    append(b"{\"n\":2,\"at\":17");
    assert!(site.verify().half_line);
    assert_eq!(site.verify().fault, None);
    // Both in a process that starts and in one that runs on.
    let log = site.log();
    log.by_operator().note(Act::own("b.done")).unwrap();
    let what = |site: &Site| {
        let mut all = Vec::new();
        each::<std::io::Error>(&site.place(), |_, _, e| {
            all.push(format!("{} {}", e.what, e.who.rsplit('/').next().unwrap()));
            Ok(())
        })
        .unwrap();
        all
    };
    assert_eq!(what(&site), ["a.done broker", "audit.half-line-cut broker", "b.done operator"]);
    let log = site.log();
    append(b"\0\0\0\0\0\0");
    log.note(Act::own("c.done")).unwrap();
    assert_eq!(what(&site).len(), 5);
    assert_eq!((site.verify().entries, site.verify().half_line, site.verify().fault), (5, false, None));
    // A whole line that is none is not ours to cut off: nothing is entered after it.
    append(b"garbage\n");
    assert_eq!(site.verify().fault.map(|f| (f.line, f.kind)), Some((6, FaultKind::Unreadable)));
    assert_eq!(log.note(Act::own("d.done")).unwrap_err().kind, ErrorKind::Unavailable);
    assert!(AuditLog::open(&site.place(), site.gate, RoleId::Broker).unwrap_err().message.contains("linkage audit verify"));
}

#[test]
fn writers_of_one_process_and_of_several_make_one_chain() {
    let site = Site::new();
    // Each has the folder open on its own, as a service and a command have; and four threads write by each.
    let logs: Vec<AuditLog> = (0..3).map(|_| site.log()).collect();
    std::thread::scope(|scope| {
        for log in &logs {
            for _ in 0..4 {
                scope.spawn(move || (0..25).for_each(|_| log.note(Act::own("a.done")).unwrap()));
            }
        }
    });
    let report = site.verify();
    assert_eq!((report.entries, report.last, report.fault), (300, Some(300), None));
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_written_is_refused_and_entered_later() {
    let site = Site::new();
    let log = site.log();
    log.note(Act::own("a.done")).unwrap();
    let path = files(&site.folder())[0].0.clone();
    // A file that cannot be opened for appending stands for a disk that fails.
    let kept = path.with_extension("kept");
    std::fs::rename(&path, &kept).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert_eq!(log.note(Act::own("b.done")).unwrap_err().kind, ErrorKind::Unavailable);
    std::fs::remove_dir(&path).unwrap();
    std::fs::rename(&kept, &path).unwrap();
    log.note(Act::own("c.done")).unwrap();
    let mut what = Vec::new();
    each::<std::io::Error>(&site.place(), |_, _, e| {
        what.push(e.what);
        Ok(())
    })
    .unwrap();
    assert_eq!(what, ["a.done", "b.done", "c.done"]);
    assert_eq!(site.verify().fault, None);
}

/// Ten entries over two files, the sixth countersigned.
fn countersigned_site() -> Site {
    let site = Site::new();
    let log = site.log();
    for n in 1..=10 {
        if n == 5 {
            site.clock.set("2026-02-03T00:00:00Z".parse().unwrap());
        }
        log.note(Act::own("a.done").records(n)).unwrap();
        if n == 6 {
            site.countersign(&log, "caf");
        }
    }
    site
}

#[test]
fn wherever_a_line_is_taken_out_changed_put_in_or_moved_verify_says_where() {
    let site = countersigned_site();
    assert_eq!(site.verify().countersigned.into_iter().collect::<Vec<_>>(), [("caf".to_owned(), 6)]);
    let whole = files(&site.folder());
    for (path, lines) in &whole {
        for at in 0..lines.len() {
            let number = if path.ends_with("2026-01.jsonl") { at + 1 } else { at + 5 } as u64;
            let line = at as u64 + 1;
            let fault = |changed: &[String]| {
                put(path, changed);
                let found = site.verify().fault;
                put(path, lines);
                found.map(|f| (f.file, f.line, f.kind))
            };
            // Removed: seen at the entry after it, or at the end of the file.
            let mut removed = lines.clone();
            removed.remove(at);
            let (file, line_of_next) = if at + 1 < lines.len() { (path, line) } else { (&whole[1].0, 1) };
            let missing = FaultKind::Missing { expected: number, found: number + 1 };
            let expected = if number == 10 { None } else { Some((file.clone(), line_of_next, missing)) };
            assert_eq!(fault(&removed), expected, "removed {number}");
            // One byte of what it says.
            let mut changed = lines.clone();
            changed[at] = changed[at].replace(&format!("\"records\":{number}"), "\"records\":99");
            assert_eq!(fault(&changed), Some((path.clone(), line, FaultKind::Changed { number })), "changed {number}");
            // Twice.
            let mut twice = lines.clone();
            twice.insert(at, lines[at].clone());
            let again = FaultKind::OutOfOrder { expected: number + 1, found: number };
            assert_eq!(fault(&twice), Some((path.clone(), line + 1, again)), "repeated {number}");
            // Exchanged with the next.
            if at + 1 < lines.len() {
                let mut swapped = lines.clone();
                swapped.swap(at, at + 1);
                let missing = FaultKind::Missing { expected: number, found: number + 1 };
                assert_eq!(fault(&swapped), Some((path.clone(), line, missing)), "swapped {number}");
            }
        }
    }
    assert_eq!(site.verify().fault, None);
}

#[test]
fn what_was_countersigned_cannot_be_cut_off_or_written_anew() {
    let site = countersigned_site();
    let [(_, _), (second, lines)] = &files(&site.folder())[..] else { panic!("two files") };
    // The countersigned sixth entry is the second line of February.
    put(second, &lines[..2]);
    assert_eq!(site.verify().fault, None);
    put(second, &lines[..1]);
    let by = "caf".parse().unwrap();
    let cut = FaultKind::CutOff { number: 6, by };
    assert_eq!(site.verify().fault.map(|f| (f.file, f.line, f.kind)), Some((second.clone(), 1, cut)));
    // The whole log written anew, every value of the chain right.
    let anew = |site: &Site| {
        for (path, _) in files(&site.folder()) {
            std::fs::remove_file(path).unwrap();
        }
        let log = site.log();
        (0..10).for_each(|_| log.note(Act::own("a.done")).unwrap());
    };
    anew(&site);
    let fault = site.verify().fault.unwrap();
    assert_eq!((fault.line, &fault.kind), (6, &FaultKind::Rewritten { number: 6, by: "caf".parse().unwrap() }));
    assert!(fault.to_string().contains("ligne 6 : journal réécrit"), "{fault}");
    // And the countersignature with it: it is signed.
    let marks = super::marks::file(&site.folder());
    let text = std::fs::read_to_string(&marks).unwrap();
    std::fs::write(&marks, text.replace("\"number\":6", "\"number\":7")).unwrap();
    assert_eq!(site.verify().fault.map(|f| (f.file, f.line, f.kind)), Some((marks, 1, FaultKind::Signature)));
}

#[test]
fn a_role_that_runs_says_that_entries_are_missing() {
    let site = Site::new();
    let log = site.log();
    (0..3).for_each(|_| log.note(Act::own("a.done")).unwrap());
    let (path, lines) = files(&site.folder()).remove(0);
    put(&path, &lines[..1]);
    log.note(Act::own("b.done")).unwrap();
    let (_, lines) = files(&site.folder()).remove(0);
    assert!(lines.len() == 3 && lines[1].contains("audit.entries-missing"), "{lines:?}");
}

#[test]
fn months_past_their_term_go_and_what_stays_verifies() {
    let site = countersigned_site();
    let log = site.log();
    site.countersign(&log, "ccas");
    // Of six months, the access log's: January is kept to the end of July.
    site.clock.set("2026-07-31T00:00:00Z".parse().unwrap());
    assert_eq!(log.prune(&site.signer()).unwrap(), Pruned::default());
    site.clock.set("2026-08-01T00:00:00Z".parse().unwrap());
    assert_eq!(log.prune(&site.signer()).unwrap(), Pruned { months: 1, entries: 4 });
    let report = site.verify();
    assert_eq!((report.pruned_until, report.first, report.last, report.fault), (Some(4), Some(5), Some(11), None));
    assert_eq!(report.countersigned.len(), 2);
    // An anchor that is not the role's, and one that says another value.
    let path = site.folder().join("anchor.json");
    let anchor = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, anchor.replace("\"number\":4", "\"number\":5")).unwrap();
    assert_eq!(site.verify().fault.map(|f| f.kind), Some(FaultKind::Anchor));
    std::fs::write(&path, &anchor).unwrap();
    // The rest in its time; the log goes on.
    site.clock.set("2028-08-01T00:00:00Z".parse().unwrap());
    assert_eq!(log.prune(&site.signer()).unwrap(), Pruned { months: 2, entries: 7 });
    assert_eq!(log.prune(&site.signer()).unwrap(), Pruned::default());
    site.log().note(Act::own("b.done")).unwrap();
    let report = site.verify();
    assert_eq!((report.pruned_until, report.first, report.last, report.fault), (Some(11), Some(12), Some(13), None));
    // A log that does not verify keeps its traces.
    let (path, lines) = files(&site.folder()).remove(0);
    put(&path, &lines[1..]);
    site.clock.set("2032-08-01T00:00:00Z".parse().unwrap());
    assert_eq!(log.prune(&site.signer()).unwrap_err().kind, ErrorKind::Conflict);
}

#[test]
fn a_deletion_that_was_interrupted_is_none_of_the_faults() {
    let site = countersigned_site();
    let (path, lines) = files(&site.folder()).remove(0);
    site.clock.set("2026-08-01T00:00:00Z".parse().unwrap());
    let log = site.log();
    log.prune(&site.signer()).unwrap();
    // The anchor was written, the file is still there.
    put(&path, &lines);
    assert_eq!(site.verify().fault, None);
    assert_eq!(log.prune(&site.signer()).unwrap().months, 1);
    assert_eq!(files(&site.folder()).len(), 2);
}

#[test]
fn a_process_that_others_share_a_database_with_enters_a_restoration_that_it_did_not_make() {
    let site = Site::new();
    let moment = Some("20260110t110000000z");
    let log = site.log();
    for _ in 0..3 {
        log.note(Act::own("a.b")).unwrap();
    }
    let log = log.since(None).unwrap();
    assert_eq!((log.place().log.as_str(), log.head().unwrap().number), ("principal", 3), "no restoration");
    // Killed once it had made the folder of the log that it goes on in.
    std::fs::create_dir(site.folder().with_file_name("principal.restored-20260110t110000000z")).unwrap();
    drop(log);
    let log = site.log().since(moment).unwrap();
    assert_eq!((log.place().log.as_str(), log.head().unwrap().number), ("principal.restored-20260110t110000000z", 1));
    drop(log);
    // Once for each restoration, and not for one before the last.
    for known in [moment, Some("20250101t000000000z"), None] {
        assert_eq!(site.log().since(known).unwrap().head().unwrap().number, 1, "{known:?}");
    }
    let log = site.log().since(Some("20260110t113000000z")).unwrap();
    assert_eq!((log.place().log.as_str(), log.head().unwrap().number), ("principal.restored-20260110t113000000z", 1));
    let mut read = Vec::new();
    each::<std::io::Error>(&site.place(), |_, _, entry| {
        read.push((entry.what, entry.records));
        Ok(())
    })
    .unwrap();
    let restored = |records| ("backup.restored".to_owned(), Some(records));
    assert_eq!(read[3..], [restored(3), restored(1)], "with the last entry of the log before");
    assert_eq!(site.verify().fault, None);
}

#[test]
fn a_restored_log_goes_on_beside_the_one_before() {
    let site = Site::new();
    let before = site.log();
    assert!(site.place().alone().unwrap().is_none(), "a restoration waits for the log to be closed");
    for _ in 0..3 {
        before.note(Act::own("a.b")).unwrap();
    }
    let dir = site.place().folder.parent().unwrap().to_owned();
    let role = RoleId::Broker;
    let at = position(&role, &parts(&dir, "principal").unwrap()).unwrap().unwrap();
    assert_eq!((at.log.as_str(), at.head), ("principal", before.head().unwrap()));
    drop(before);
    let alone = site.place().alone().unwrap().unwrap();
    assert!(
        AuditLog::open(&site.place(), site.gate.clone(), role.clone())
            .unwrap_err()
            .to_string()
            .contains("restauration est en cours")
    );
    drop(alone);

    let name = restored_name("principal", jiff::Timestamp::from_second(site.gate.now()).unwrap());
    assert_eq!(name, "principal.restored-20260110t120000000z");
    assert_eq!(restored_name(&name, jiff::Timestamp::UNIX_EPOCH), "principal.restored-19700101t000000000z");
    assert_eq!((restoration(&name), restoration("principal")), (Some("20260110t120000000z"), None));
    std::fs::create_dir(dir.join(&name)).unwrap();
    let there = parts(&dir, "principal").unwrap();
    assert_eq!(position(&role, &there).unwrap().unwrap(), at, "nothing is in the new part yet");
    let log = site.log();
    log.note(Act::own("backup.restored").records(3)).unwrap();
    assert_eq!((log.place().log, log.head().unwrap().number), (name.clone(), 1));
    assert_eq!(position(&role, &there).unwrap().unwrap(), Position { log: name, head: log.head().unwrap() });
    assert!(contains(&there, &at).unwrap());
    let other = Position { head: Head { chain: [0; 32], ..at.head }, ..at.clone() };
    assert!(!contains(&there, &other).unwrap() && !contains(&there[1..], &at).unwrap());

    // Each verifies for itself; both are read and both deleted at their term.
    assert_eq!((site.verify().fault, site.verify().last), (None, Some(1)));
    assert_eq!(site.place().before().unwrap(), there[..1]);
    let mut read = Vec::new();
    each::<std::io::Error>(&site.place(), |_, _, entry| {
        read.push(entry.what);
        Ok(())
    })
    .unwrap();
    assert_eq!(read, ["a.b", "a.b", "a.b", "backup.restored"]);
    site.clock.set("2026-08-01T12:00:00Z".parse().unwrap());
    log.note(Act::own("a.b")).unwrap();
    assert_eq!(log.prune(&site.signer()).unwrap(), Pruned { months: 2, entries: 4 });
    assert_eq!(site.verify().fault, None);
    assert!(contains(&there, &at).unwrap(), "deleted at its term, and known by the anchor");
}
