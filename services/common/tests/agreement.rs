//! The agreement's files, and what the agreement makes of a peer.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, unreachable_pub)]

#[expect(dead_code, reason = "shared with the tests over TLS")]
mod support;

use jiff::civil::date;
use linkage_agreement::{AgreementError, RoleId, Signatures, Termination, TerminationError, sign};
use linkage_common::authz::{peer_analyst, peer_party, peer_role};
use linkage_common::fsx::{self, FileError};
use linkage_common::{AgreementFileError, AgreementFiles, PeerIdentity};
use support::{agreement, broker_uri, id, party_uri, signatures, signed_agreement, signing_key, uri};
use tonic::{Code, Request};

fn from(uri: Option<String>) -> Request<()> {
    let mut request = Request::new(());
    if let Some(uri) = uri {
        request.extensions_mut().insert(PeerIdentity { uri });
    }
    request
}

#[test]
fn every_certificate_of_the_agreement_has_its_role_and_no_other_has_any() {
    let agreement = signed_agreement();
    let roles =
        [RoleId::Party(id("ccas")), RoleId::Party(id("siao")), RoleId::Broker, RoleId::Custodian, RoleId::Analyst(id("etude"))];
    for role in &roles {
        let request = from(Some(uri(role)));
        assert_eq!(&peer_role(&request, &agreement).unwrap(), role);
        assert_eq!(peer_party(&request, &agreement).is_ok(), matches!(role, RoleId::Party(_)));
        assert_eq!(peer_analyst(&request, &agreement).is_ok(), matches!(role, RoleId::Analyst(_)));
    }
    for stranger in [None, Some(String::new()), Some(party_uri("autre")), Some(broker_uri() + "/x")] {
        assert_eq!(peer_role(&from(stranger), &agreement).unwrap_err().code(), Code::PermissionDenied);
    }
}

#[test]
fn only_the_agreement_that_all_have_signed_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let files = AgreementFiles { agreement: at("convention.toml"), signatures: at("signatures.toml"), terminations: None };
    assert_eq!(
        files.load_signed_agreement().unwrap_err(),
        AgreementFileError::File(FileError::Missing { path: files.agreement.clone() })
    );
    let parsed = agreement();
    let text = parsed.agreement().to_toml();
    let write = |path, text: &str| fsx::write_atomic(path, text.as_bytes()).unwrap();
    write(&files.agreement, &text);
    write(&files.signatures, &signatures(&parsed).to_toml());
    assert_eq!(files.load_signed_agreement().unwrap().hash(), parsed.hash());

    let one: Signatures = [sign(&parsed, &id("ccas"), &signing_key(1), date(2024, 1, 2)).unwrap()].into_iter().collect();
    write(&files.signatures, &one.to_toml());
    let unsigned = AgreementError::UnsignedParty { party: id("siao") };
    assert_eq!(
        files.load_signed_agreement().unwrap_err(),
        AgreementFileError::Unsigned { path: files.signatures.clone(), reason: unsigned }
    );

    write(&files.signatures, &signatures(&parsed).to_toml());
    write(&files.agreement, &text.replacen("minimum_cell = 11", "minimum_cell = 12", 1));
    assert!(matches!(files.load_signed_agreement(), Err(AgreementFileError::Unsigned { .. })));
    write(&files.agreement, &text.replacen("minimum_cell", "minimum_cel", 1));
    let AgreementFileError::Faults(faults) = files.load_signed_agreement().unwrap_err() else { panic!("no faults") };
    assert!(faults[0].file.ends_with("convention.toml") && faults[0].line > 1, "{}", faults[0]);
}

#[test]
fn notices_of_termination_count_when_they_are_valid_and_stop_everything_when_they_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let notices = dir.path().join("denonciations");
    let files =
        AgreementFiles { agreement: dir.path().join("a"), signatures: dir.path().join("s"), terminations: Some(notices.clone()) };
    let signed = signed_agreement();
    assert_eq!(
        files.load_terminations(&signed).unwrap_err(),
        AgreementFileError::File(FileError::Missing { path: notices.clone() })
    );
    std::fs::create_dir(&notices).unwrap();
    assert_eq!(files.load_terminations(&signed).unwrap().len(), 0);

    let notice = Termination::sign(signed.parsed(), &id("siao"), &signing_key(2), date(2024, 6, 1)).unwrap();
    fsx::write_atomic(&notices.join("siao.toml"), notice.to_toml().as_bytes()).unwrap();
    fsx::write_atomic(&notices.join("lisez-moi.txt"), b"not a notice").unwrap();
    let loaded = files.load_terminations(&signed).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].notice().party, id("siao"));

    let forged = notice.to_toml().replace("2024-06-01", "2024-05-01");
    fsx::write_atomic(&notices.join("siao.toml"), forged.as_bytes()).unwrap();
    let error = files.load_terminations(&signed).unwrap_err();
    assert_eq!(
        error,
        AgreementFileError::Termination {
            path: notices.join("siao.toml"),
            reason: TerminationError::BadSignature { party: id("siao") }
        }
    );
}
