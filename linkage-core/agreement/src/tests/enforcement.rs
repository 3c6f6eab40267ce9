//! Signatures, notices of termination, and what the signed agreement permits.

use jiff::civil::Date;

use super::{agreement, all_signatures, id, parsed, signing_key};
use crate::{
    AgreementError, ParsedAgreement, Period, Refusal, RoleId, RunRequest, Signature, Signatures, SignedAgreement, Termination,
    TerminationError, VerifiedTermination, certificate_identity, sign,
};

fn day(text: &str) -> Date {
    text.parse().unwrap()
}

fn signed() -> SignedAgreement {
    SignedAgreement::verify(parsed(), &all_signatures(&parsed())).unwrap()
}

fn altered(change: impl FnOnce(&mut crate::Agreement)) -> ParsedAgreement {
    let mut agreement = agreement();
    change(&mut agreement);
    ParsedAgreement::parse(&agreement.to_toml(), "avenant.toml").unwrap()
}

#[test]
fn every_party_must_have_signed() {
    let all = all_signatures(&parsed());
    assert!(SignedAgreement::verify(parsed(), &all).is_ok());
    for missing in ["ccas", "siao", "caf"] {
        let fewer: Signatures = all.iter().filter(|s| s.party != id(missing)).cloned().collect();
        let refused = SignedAgreement::verify(parsed(), &fewer);
        assert_eq!(refused, Err(AgreementError::UnsignedParty { party: id(missing) }));
    }
    assert_eq!(
        SignedAgreement::verify(parsed(), &Signatures::default()),
        Err(AgreementError::UnsignedParty { party: id("ccas") })
    );
}

#[test]
fn one_value_changed_voids_all_signatures() {
    let other = altered(|a| a.disclosure.minimum_cell = 12);
    let refused = SignedAgreement::verify(other.clone(), &all_signatures(&parsed()));
    assert_eq!(refused, Err(AgreementError::OtherVersion { party: id("ccas") }));
    // The same signatures with the new hash written over the old one.
    let forged: Signatures =
        all_signatures(&parsed()).iter().map(|s| Signature { agreement_hash: other.hash(), ..s.clone() }).collect();
    assert_eq!(SignedAgreement::verify(other, &forged), Err(AgreementError::BadSignature { party: id("ccas") }));
}

#[test]
fn a_signature_is_bound_to_its_party_and_every_bit_of_it_counts() {
    let all = all_signatures(&parsed());
    let of = |name: &str| all.of(&id(name)).unwrap().clone();
    let mut borrowed = all.clone();
    borrowed.add(Signature { party: id("siao"), ..of("ccas") });
    assert_eq!(SignedAgreement::verify(parsed(), &borrowed), Err(AgreementError::BadSignature { party: id("siao") }));
    for bit in (0..512).step_by(37) {
        let mut flipped = of("caf");
        flipped.signature[bit / 8] ^= 1 << (bit % 8);
        let mut with = all.clone();
        with.add(flipped);
        assert_eq!(SignedAgreement::verify(parsed(), &with), Err(AgreementError::BadSignature { party: id("caf") }));
    }
}

#[test]
fn strangers_and_wrong_keys_are_told_apart() {
    let today = day("2023-12-15");
    let unknown = Err(AgreementError::UnknownParty { party: id("caisse") });
    assert_eq!(sign(&parsed(), &id("caisse"), &signing_key(1), today), unknown);
    let other = Err(AgreementError::OtherKey { party: id("siao") });
    assert_eq!(sign(&parsed(), &id("siao"), &signing_key(1), today), other);
    let mut with = all_signatures(&parsed());
    let first = with.of(&id("ccas")).unwrap().clone();
    with.add(Signature { party: id("caisse"), ..first });
    assert_eq!(SignedAgreement::verify(parsed(), &with), Err(AgreementError::UnknownParty { party: id("caisse") }));
}

#[test]
fn the_signatures_file_reads_back() {
    let all = all_signatures(&parsed());
    assert_eq!(Signatures::parse(&all.to_toml(), "s.toml"), Ok(all.clone()));
    assert_eq!(Signatures::parse(&Signatures::default().to_toml(), "s.toml"), Ok(Signatures::default()));
    let twice = format!("{}{}", all.to_toml(), all.to_toml().split_once("\n\n").unwrap().1);
    let faults = Signatures::parse(&twice, "s.toml").unwrap_err();
    let places: Vec<_> = faults.iter().map(|f| (f.line, f.path.as_str())).collect();
    assert_eq!(places, [(21, "signature[4].party"), (27, "signature[5].party"), (33, "signature[6].party")]);
    let hash = parsed().hash().to_string();
    for (from, to) in
        [(hash.as_str(), "00"), (hash.as_str(), &*hash.to_uppercase()), ("2023-12-15", "15/12/2023"), ("signed_on", "day")]
    {
        assert!(Signatures::parse(&all.to_toml().replacen(from, to, 1), "s.toml").is_err(), "{to}");
    }
}

fn notice(effective_on: &str) -> VerifiedTermination {
    Termination::sign(&parsed(), &id("siao"), &signing_key(2), day(effective_on)).unwrap().verify(&parsed()).unwrap()
}

#[test]
fn a_notice_of_termination_is_verified() {
    let written = Termination::sign(&parsed(), &id("siao"), &signing_key(2), day("2024-06-30")).unwrap();
    assert_eq!(Termination::parse(&written.to_toml(), "d.toml"), Ok(written.clone()));
    assert_eq!(written.clone().verify(&parsed()).unwrap().notice(), &written);

    let bad = Err(TerminationError::BadSignature { party: id("siao") });
    assert_eq!(Termination { effective_on: day("2024-06-29"), ..written.clone() }.verify(&parsed()), bad);
    let borrowed = Termination { party: id("ccas"), ..written.clone() }.verify(&parsed());
    assert_eq!(borrowed, Err(TerminationError::BadSignature { party: id("ccas") }));
    let stranger = Termination { party: id("x"), ..written.clone() }.verify(&parsed());
    assert_eq!(stranger, Err(TerminationError::UnknownParty { party: id("x") }));
    let amended = altered(|a| a.agreement.version = 2);
    assert_eq!(written.clone().verify(&amended), Err(TerminationError::OtherAgreement));
    assert_eq!(Termination { agreement: id("autre"), ..written }.verify(&parsed()), Err(TerminationError::OtherAgreement));
    let other = Termination::sign(&parsed(), &id("siao"), &signing_key(1), day("2024-06-30"));
    assert_eq!(other, Err(TerminationError::OtherKey { party: id("siao") }));
    // A signature of the agreement is no notice.
    let signature = all_signatures(&parsed()).of(&id("siao")).unwrap().signature;
    let misused = Termination { signature, ..notice("2024-06-30").notice().clone() }.verify(&parsed());
    assert_eq!(misused, Err(TerminationError::BadSignature { party: id("siao") }));
}

fn request(period: &str) -> RunRequest {
    RunRequest {
        agreement_hash: parsed().hash(),
        run: "2024-01-full".parse().unwrap(),
        period: period.parse().unwrap(),
        profile_version: 1,
    }
}

#[test]
fn a_run_within_the_agreement_is_permitted() {
    for (period, today) in [("2023-06", "2024-01-01"), ("2026-12", "2026-12-31"), ("2024-01", "2024-02-10")] {
        assert_eq!(signed().permit_run(&request(period), day(today), &[]), Ok(()));
    }
}

#[test]
fn a_run_outside_the_agreement_is_refused() {
    let run = |period: &str, today: &str| signed().permit_run(&request(period), day(today), &[]);
    assert_eq!(run("2024-01", "2023-12-31"), Err(Refusal::NotYetInForce { start: day("2024-01-01") }));
    assert_eq!(run("2024-01", "2027-01-01"), Err(Refusal::Expired { end: day("2026-12-31") }));
    let (first, last) = ("2023-06".parse().unwrap(), "2026-12".parse().unwrap());
    for period in ["2023-05", "2027-01"] {
        let period: Period = period.parse().unwrap();
        let refused = run(&period.to_string(), "2024-06-01");
        assert_eq!(refused, Err(Refusal::PeriodNotCovered { period, first, last }));
    }
    let other = RunRequest { agreement_hash: altered(|a| a.agreement.version = 2).hash(), ..request("2024-01") };
    assert_eq!(signed().permit_run(&other, day("2024-06-01"), &[]), Err(Refusal::OtherAgreement));
    let profile = RunRequest { profile_version: 2, ..request("2024-01") };
    let refused = signed().permit_run(&profile, day("2024-06-01"), &[]);
    assert_eq!(refused, Err(Refusal::OtherProfileVersion { asked: 2, agreed: 1 }));
}

#[test]
fn a_terminated_agreement_permits_nothing_from_its_day_of_effect() {
    let notices = [notice("2024-09-01"), notice("2024-06-30")];
    assert_eq!(signed().permit_run(&request("2024-01"), day("2024-06-29"), &notices), Ok(()));
    let ended = Err(Refusal::Terminated { party: id("siao"), effective_on: day("2024-06-30") });
    assert_eq!(signed().permit_run(&request("2024-01"), day("2024-06-30"), &notices), ended);
    assert_eq!(signed().permit_run(&request("2024-01"), day("2025-01-01"), &notices), ended);
    // The amendment that all sign afterwards stands.
    let amended = altered(|a| a.agreement.version = 2);
    let signed = SignedAgreement::verify(amended.clone(), &all_signatures(&amended)).unwrap();
    let run = RunRequest { agreement_hash: amended.hash(), ..request("2024-01") };
    assert_eq!(signed.permit_run(&run, day("2025-01-01"), &notices), Ok(()));
}

#[test]
fn only_listed_attributes_travel() {
    assert_eq!(signed().permit_attributes(&["nationalite", "ressources"]), Ok(()));
    assert_eq!(signed().permit_attributes::<&str>(&[]), Ok(()));
    let refused = signed().permit_attributes(&["nationalite", "prenoms"]);
    assert_eq!(refused, Err(Refusal::UnlistedAttribute { name: "prenoms".to_owned() }));
}

#[test]
fn roles_follow_from_certificates() {
    let signed = signed();
    let roles = [RoleId::Party(id("caf")), RoleId::Broker, RoleId::Custodian, RoleId::Analyst(id("observatoire"))];
    for role in roles {
        assert_eq!(signed.role_of(&certificate_identity(&id("essai"), &role)), Some(role));
    }
    for stranger in
        ["linkage://essai/party/x", "linkage://autre/party/caf", "linkage://essai/analyst/caf", "", "linkage://essai/broker"]
    {
        assert_eq!(signed.role_of(stranger), None, "{stranger}");
    }
}

#[test]
fn only_the_coordinator_opens_runs() {
    assert_eq!(signed().may_open_runs(&id("ccas")), Ok(()));
    let other = Refusal::NotCoordinator { party: id("siao"), coordinator: id("ccas") };
    assert_eq!(signed().may_open_runs(&id("siao")), Err(other));
    assert_eq!(signed().may_open_runs(&id("x")), Err(Refusal::UnknownParty { party: id("x") }));
}

#[test]
fn failures_of_signature_become_refusals() {
    let party = || id("siao");
    for error in [
        AgreementError::UnsignedParty { party: party() },
        AgreementError::OtherVersion { party: party() },
        AgreementError::BadSignature { party: party() },
    ] {
        assert_eq!(Refusal::from(error), Refusal::UnsignedParty { party: party() });
    }
    assert_eq!(Refusal::from(AgreementError::UnknownParty { party: party() }), Refusal::UnknownParty { party: party() });
}

#[test]
fn refusals_read_in_english_and_in_french() {
    let refusal = Refusal::NotCoordinator { party: id("siao"), coordinator: id("ccas") };
    assert_eq!(refusal.to_string(), "siao is not the coordinator; ccas is");
    assert_eq!(refusal.french(), "siao n'est pas le coordonnateur : demander à ccas");
    let (start, end, month) = (day("2024-01-01"), day("2026-12-31"), Period::of(day("2023-06-01")));
    let all = [
        Refusal::OtherAgreement.french(),
        Refusal::NotYetInForce { start }.french(),
        Refusal::Expired { end }.french(),
        Refusal::Terminated { party: id("siao"), effective_on: end }.french(),
        Refusal::PeriodNotCovered { period: month, first: month, last: month }.french(),
        Refusal::UnsignedParty { party: id("siao") }.french(),
        Refusal::UnlistedAttribute { name: "prenoms".to_owned() }.french(),
        Refusal::UnknownParty { party: id("siao") }.french(),
        Refusal::OtherProfileVersion { asked: 2, agreed: 1 }.french(),
        AgreementError::UnsignedParty { party: id("siao") }.french(),
        AgreementError::OtherVersion { party: id("siao") }.french(),
        AgreementError::BadSignature { party: id("siao") }.french(),
        AgreementError::UnknownParty { party: id("siao") }.french(),
        AgreementError::OtherKey { party: id("siao") }.french(),
        TerminationError::OtherAgreement.french(),
        TerminationError::UnknownParty { party: id("siao") }.french(),
        TerminationError::BadSignature { party: id("siao") }.french(),
        TerminationError::OtherKey { party: id("siao") }.french(),
    ];
    // What is wrong, a colon, and what to do; no two alike but for the key that both kinds of signing can get wrong.
    assert!(all.iter().all(|text| text.split_once(" : ").is_some_and(|(what, advice)| what.len() > 10 && advice.len() > 10)));
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len() - 1);
}
