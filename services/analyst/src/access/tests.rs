//! The chain of the access log: what was removed, changed, put in or cut off is found, and where.

use std::path::PathBuf;

use linkage_common::audit::Place;
use linkage_common::clock::MockClock;

use super::*;

struct Kept {
    dir: tempfile::TempDir,
    clock: MockClock,
    log: AccessLog,
}

fn kept() -> Kept {
    let dir = tempfile::tempdir().unwrap();
    let clock = MockClock::at("2026-10-31T12:00:00Z".parse().unwrap());
    let log = AccessLog::open(dir.path(), Arc::new(clock.clone())).unwrap();
    Kept { dir, clock, log }
}

impl Kept {
    fn note(&self, subject: &str) {
        let who = Who::Login("sub \"1\"".to_owned());
        let access = Access { who: &who, action: Action::View, subject, query: None, publication: None, outcome: Outcome::Done };
        self.log.note(&access).unwrap();
    }

    fn file(&self, month: &str) -> PathBuf {
        self.dir.path().join(format!("access/{month}.jsonl"))
    }

    fn text(&self, month: &str) -> String {
        std::fs::read_to_string(self.file(month)).unwrap()
    }

    fn write(&self, month: &str, lines: &[&str]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fsx::write_atomic(&self.file(month), text.as_bytes()).unwrap();
    }

    /// Line and kind of the first fault, the audit log having been told `heads`.
    fn fault(&self, heads: &[Head]) -> Option<(u64, FaultKind)> {
        self.report(heads).fault.map(|fault| (fault.line, fault.kind))
    }

    fn report(&self, heads: &[Head]) -> Report {
        let told = heads.iter().map(|head| (head.number, hex::encode(head.value))).collect();
        self.log.verify_against(&told).unwrap()
    }
}

#[test]
fn what_was_changed_removed_or_put_in_is_found_with_its_line() {
    let kept = kept();
    for n in 1..=5 {
        kept.note(&format!("page {n}"));
    }
    let sound = kept.report(&[]);
    assert_eq!((sound.lines, sound.first, sound.last, sound.fault), (5, Some(1), Some(5), None));
    let text = kept.text("2026-10");
    let lines: Vec<&str> = text.lines().collect();
    let with = |lines: &[&str]| {
        kept.write("2026-10", lines);
        kept.fault(&[])
    };
    assert_eq!(
        with(&[lines[0], lines[1], lines[3], lines[4]]),
        Some((3, FaultKind::Missing { expected: 3, found: 4 })),
        "removed"
    );
    assert_eq!(with(&[lines[0], lines[2], lines[1], lines[3], lines[4]]).map(|f| f.0), Some(2), "exchanged");
    let changed = lines[2].replace("page 3", "page 9");
    assert_eq!(with(&[lines[0], lines[1], &changed, lines[3]]), Some((3, FaultKind::Changed { number: 3 })));
    assert_eq!(with(&[lines[0], "{}", lines[1]]), Some((2, FaultKind::Unreadable)));
    let buried = format!("{}{}", "x".repeat(1 << 20), lines[1]);
    assert_eq!(with(&[lines[0], &buried]), Some((2, FaultKind::Unreadable)), "put in before a line, without an end");
    assert_eq!(with(&lines), None, "not vacuous");
    // Any byte of any line.
    for at in (0..text.len()).step_by(7).filter(|at| text.as_bytes()[*at] != b'\n') {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        fsx::write_atomic(&kept.file("2026-10"), &bytes).unwrap();
        let report = kept.report(&[]);
        let head = report.last == Some(5) && report.fault.is_none();
        assert!(!head, "byte {at}");
    }
}

#[test]
fn a_log_that_was_cut_off_or_written_anew_is_not_the_one_that_the_audit_log_was_told_of() {
    let kept = kept();
    kept.note("a");
    kept.note("b");
    let told = kept.log.head().unwrap();
    kept.note("c");
    let text = kept.text("2026-10");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(kept.fault(&[told]), None);
    kept.write("2026-10", &lines[..1]);
    assert_eq!(kept.fault(&[told]), Some((1, FaultKind::CutOff { number: 2 })));
    // Written anew from its beginning, with a chain that holds.
    std::fs::remove_file(kept.file("2026-10")).unwrap();
    for subject in ["a", "x", "c"] {
        kept.note(subject);
    }
    assert_eq!(kept.fault(&[]), None);
    assert_eq!(kept.fault(&[told]), Some((2, FaultKind::Rewritten { number: 2 })));
}

#[test]
fn months_that_are_deleted_leave_where_the_chain_goes_on() {
    let kept = kept();
    kept.note("a");
    kept.note("b");
    kept.clock.set("2026-11-02T12:00:00Z".parse().unwrap());
    kept.note("c");
    let october: Period = "2026-10".parse().unwrap();
    let end = kept.log.end_of(october).unwrap().unwrap();
    assert_eq!(end.number, 2);
    kept.log.forget(october).unwrap();
    kept.log.forget(october).unwrap();
    let report = kept.report(&[end]);
    assert_eq!((report.first, report.deleted_until, report.fault), (Some(3), Some(2), None));
    // Another beginning than the audit log was told of.
    let first = Head { number: 1, value: [1; 32] };
    assert_eq!(kept.fault(&[first]).map(|f| f.1), Some(FaultKind::Beginning { number: 2 }));
    assert_eq!(kept.fault(&[Head { value: [1; 32], ..end }]).map(|f| f.1), Some(FaultKind::Beginning { number: 2 }));
    std::fs::remove_file(kept.dir.path().join("access/anchor.json")).unwrap();
    assert_eq!(kept.fault(&[end]).map(|f| f.1), Some(FaultKind::Missing { expected: 1, found: 3 }));
}

#[test]
fn a_log_from_before_the_chain_goes_on_and_a_clock_set_back_does_not_part_it() {
    let kept = kept();
    let old = "{\"at\":1,\"who\":{\"console\":\"alice\"},\"action\":\"view\",\"subject\":\"page\",\"outcome\":\"done\"}";
    kept.write("2026-11", &[old, "{\"at\":12", old]);
    kept.note("a");
    kept.note("b");
    let report = kept.report(&[]);
    assert_eq!((report.unchained, report.lines, report.fault), (3, 2, None));
    assert!(!kept.file("2026-10").is_file(), "lines stay in their order");
    assert_eq!(kept.log.lines("2026-11".parse().unwrap()).unwrap().0.len(), 4);
    // Once the chain has begun, no line is without it.
    let text = kept.text("2026-11");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.push(old);
    kept.write("2026-11", &lines);
    assert_eq!(kept.fault(&[]), Some((6, FaultKind::Unreadable)));
}

#[test]
fn two_processes_make_one_chain() {
    let kept = kept();
    let other = AccessLog::open(kept.dir.path(), Arc::new(kept.clock.clone())).unwrap();
    let two = Kept { dir: tempfile::tempdir().unwrap(), clock: kept.clock.clone(), log: other };
    for n in 0..20 {
        if n % 3 == 0 { kept.note("a") } else { two.note("b") }
    }
    assert_eq!(kept.report(&[]).lines, 20);
    let place = Place { folder: kept.dir.path().join("audit"), log: "principal".to_owned() };
    assert_eq!(kept.log.verify(&place).unwrap().told, None, "an audit log that is not there has been told nothing");
}

fn clock(day: &str) -> MockClock {
    MockClock::at(format!("{day}T12:00:00Z").parse().unwrap())
}

fn access<'a>(who: &'a Who, subject: &'a str) -> Access<'a> {
    Access { who, action: Action::Query, subject, query: Some("ab12"), publication: None, outcome: Outcome::Done }
}

#[test]
fn the_console_is_known_by_its_number() {
    let Who::Console(name) = Who::console() else { unreachable!() };
    let number = format!("uid {}", rustix::process::getuid().as_raw());
    assert_eq!(name.split_once(" (").map_or(name.as_str(), |(number, _)| number), number);
}

#[test]
fn lines_are_kept_in_order_and_half_a_line_joins_no_other() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock("2026-11-22"));
    let log = AccessLog::open(dir.path(), Arc::new(clock.clone())).unwrap();
    let month: Period = "2026-11".parse().unwrap();
    let who = Who::Login("a\"b\nc".to_owned());
    log.note(&access(&who, "première\nligne")).unwrap();
    std::io::Write::write_all(&mut months::open_appending(&months::path(&log.folder, month)).unwrap(), b"{\"at\":12").unwrap();
    log.note(&Access { outcome: Outcome::Refused, ..access(&who, "deux") }).unwrap();
    let (lines, unreadable) = log.lines(month).unwrap();
    assert_eq!(unreadable, 0, "half a line is nobody's access: what it was to show was not shown");
    assert_eq!(
        lines.iter().map(|l| (l.subject.as_str(), l.outcome)).collect::<Vec<_>>(),
        [("première\nligne", Outcome::Done), ("deux", Outcome::Refused)]
    );
    assert!(lines.iter().all(|l| l.who == who && l.at == clock.now().as_second()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(months::path(&log.folder, month)).unwrap().permissions().mode() & 0o077, 0);
    }
}
