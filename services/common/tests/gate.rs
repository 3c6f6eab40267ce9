//! The gate of a role: what it makes of callers, texts, dates and notices, under a clock that the test moves.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, unreachable_pub)]

#[expect(dead_code, reason = "shared with the tests over TLS")]
mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::{Date, date};
use linkage_agreement::{RoleId, Termination};
use linkage_common::gate::Gate;
use linkage_common::{AgreementFiles, ErrorKind, MockClock, PeerIdentity, ServiceError};
use linkage_proto::v1::AgreementRef;
use support::{agreement, id, signatures, signing_key, uri};
use tonic::{Code, Request};

struct Bench {
    dir: tempfile::TempDir,
    clock: MockClock,
    files: AgreementFiles,
}

impl Bench {
    fn new(terminations: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let parsed = agreement();
        std::fs::write(at("convention.toml"), parsed.agreement().to_toml()).unwrap();
        std::fs::write(at("signatures.toml"), signatures(&parsed).to_toml()).unwrap();
        std::fs::create_dir(at("notices")).unwrap();
        let files = AgreementFiles {
            agreement: at("convention.toml"),
            signatures: at("signatures.toml"),
            terminations: terminations.then(|| at("notices")),
        };
        Self { dir, clock: MockClock::at("2024-03-01T12:00:00Z".parse().unwrap()), files }
    }
    fn gate(&self) -> Gate {
        Gate::load(&self.files, Arc::new(self.clock.clone())).unwrap()
    }
    fn notice(&self) -> PathBuf {
        self.dir.path().join("notices/siao.toml")
    }
}

fn notice(day: Date) -> String {
    Termination::sign(&agreement(), &id("siao"), &signing_key(2), day).unwrap().to_toml()
}

fn kind(result: Result<(), ServiceError>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind)
}

/// Long enough ago for a file to count as settled.
fn age(path: &Path) {
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    std::fs::File::options().write(true).open(path).unwrap().set_modified(hour_ago).unwrap();
}

#[test]
fn the_agreement_counts_from_its_first_day_to_its_last() {
    let bench = Bench::new(true);
    let gate = bench.gate();
    for (now, allowed) in [
        ("2023-12-31T23:59:59Z", false),
        ("2024-01-01T00:00:00Z", true),
        ("2030-12-31T23:59:59Z", true),
        ("2031-01-01T00:00:00Z", false),
    ] {
        bench.clock.set(now.parse().unwrap());
        assert_eq!(kind(gate.in_force()), (!allowed).then_some(ErrorKind::Refused), "{now}");
    }
    bench.clock.set("2024-03-01T00:00:00Z".parse().unwrap());
    assert_eq!((gate.today(), gate.now()), (date(2024, 3, 1), 1_709_251_200));
    for (period, allowed) in [("2023-12", false), ("2024-01", true), ("2030-12", true), ("2031-01", false)] {
        assert_eq!(kind(gate.period(period.parse().unwrap())), (!allowed).then_some(ErrorKind::Refused), "{period}");
    }
}

#[test]
fn a_notice_takes_effect_on_its_day_however_it_came_into_the_folder() {
    let bench = Bench::new(true);
    let gate = bench.gate();
    assert_eq!(kind(gate.in_force()), None);
    // Dropped into the folder.
    std::fs::write(bench.notice(), notice(date(2024, 3, 2))).unwrap();
    assert_eq!(kind(gate.in_force()), None, "of effect tomorrow");
    bench.clock.set("2024-03-02T00:00:00Z".parse().unwrap());
    assert_eq!(
        gate.in_force().unwrap_err().message,
        "la convention a été dénoncée par siao avec effet au 2024-03-02 : plus aucune exécution n'est possible"
    );
    // Rewritten in place, same length, same time of change: the folder does not change at all.
    let times = std::fs::metadata(bench.notice()).unwrap().modified().unwrap();
    std::fs::write(bench.notice(), notice(date(2024, 3, 9))).unwrap();
    std::fs::File::options().write(true).open(bench.notice()).unwrap().set_modified(times).unwrap();
    assert_eq!(kind(gate.in_force()), None);
    std::fs::write(bench.notice(), notice(date(2024, 3, 1))).unwrap();
    assert_eq!(kind(gate.in_force()), Some(ErrorKind::Refused));
    // Moved over, then away.
    let beside = bench.dir.path().join("new.toml");
    std::fs::write(&beside, notice(date(2024, 3, 9))).unwrap();
    age(&beside);
    std::fs::rename(&beside, bench.notice()).unwrap();
    assert_eq!(kind(gate.in_force()), None);
    std::fs::write(bench.notice(), notice(date(2024, 3, 1))).unwrap();
    assert_eq!(kind(gate.in_force()), Some(ErrorKind::Refused));
    std::fs::remove_file(bench.notice()).unwrap();
    assert_eq!(kind(gate.in_force()), None);
}

#[test]
fn notices_that_cannot_be_read_stop_everything_and_peers_learn_no_path() {
    let bench = Bench::new(true);
    let gate = bench.gate();
    for content in [notice(date(2030, 1, 1)).replace("\"siao\"", "\"ccas\""), "pas du TOML".to_owned()] {
        std::fs::write(bench.notice(), content).unwrap();
        let error = gate.in_force().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(!error.message.contains('/'), "{error}");
        let error = Gate::load(&bench.files, Arc::new(bench.clock.clone())).unwrap_err();
        assert!(error.message.contains("siao.toml"), "{error}");
    }
    std::fs::remove_dir_all(bench.dir.path().join("notices")).unwrap();
    assert_eq!(kind(gate.in_force()), Some(ErrorKind::Unavailable), "a folder that vanished is no folder without notices");
    assert_eq!(kind(Bench::new(false).gate().in_force()), None);
}

#[test]
fn callers_are_held_to_their_role_the_text_and_the_dates() {
    let bench = Bench::new(true);
    let gate = bench.gate();
    let from = |role: &RoleId| {
        let mut request = Request::new(());
        request.extensions_mut().insert(PeerIdentity { uri: uri(role) });
        request
    };
    let right = gate.reference();
    let wrong = AgreementRef { hash: vec![0; 32].into() };
    let ccas = RoleId::Party(id("ccas"));
    let study = RoleId::Analyst(id("etude"));
    assert_eq!(gate.party(&from(&ccas), Some(&right)).unwrap(), id("ccas"));
    assert_eq!(gate.analyst(&from(&study), Some(&right)).unwrap(), id("etude"));
    for role in [&ccas, &study, &RoleId::Broker, &RoleId::Custodian] {
        let request = from(role);
        assert_eq!(&gate.member(&request, Some(&right)).unwrap(), role);
        for named in [Some(&wrong), None] {
            assert_eq!(gate.member(&request, named).unwrap_err().code(), Code::PermissionDenied);
        }
        assert_eq!(gate.party(&request, Some(&right)).is_ok(), role == &ccas);
        assert_eq!(gate.analyst(&request, Some(&right)).is_ok(), role == &study);
        assert_eq!(gate.party_of(role, Some(&right)).is_ok(), role == &ccas);
        assert_eq!(gate.broker_of(role, Some(&right)).is_ok(), role == &RoleId::Broker);
        assert_eq!(gate.broker_deleting(role, Some(&right)).is_ok(), role == &RoleId::Broker);
    }
    assert_eq!(gate.member(&from(&RoleId::Party(id("autre"))), Some(&right)).unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(gate.member(&Request::new(()), Some(&right)).unwrap_err().code(), Code::PermissionDenied);
    assert!(gate.coordinator(&id("ccas")).is_ok());
    assert_eq!(kind(gate.coordinator(&id("siao"))), Some(ErrorKind::Refused));
    // After the end only deleting is allowed, and under the right text only.
    bench.clock.set("2031-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(gate.party(&from(&ccas), Some(&right)).unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(kind(gate.broker_of(&RoleId::Broker, Some(&right))), Some(ErrorKind::Refused));
    assert_eq!(kind(gate.broker_deleting(&RoleId::Broker, Some(&right))), None);
    assert_eq!(kind(gate.broker_deleting(&RoleId::Broker, Some(&wrong))), Some(ErrorKind::Refused));
}
