//! Files of dispositions, line by line, and what both owners make of one code.

use jiff::civil::date;
use linkage_agreement::RecordRef;

use super::file::{Agreed, Context, Fault, FileRead};
use super::*;
use crate::intake::SetAsideReason;

fn id(text: &str) -> PartyId {
    text.parse().unwrap()
}

/// Reads as `ccas` on 2026-03-10; `A1` to `A9` are its records, the agreement ends with 2026.
fn read(bytes: &[u8]) -> Result<FileRead, NodeError> {
    let context = Context {
        parties: ["ccas", "siao", "caf"].map(id).into(),
        party: &id("ccas"),
        today: date(2026, 3, 10),
        last_day: date(2026, 12, 31),
        reference: |local: &str| {
            local.strip_prefix('A').and_then(|n| n.parse().ok()).filter(|n| (1..10).contains(n)).map(|n| RecordRef([n; 16]))
        },
    };
    context.read_bytes(bytes)
}

fn lines(text: &str) -> FileRead {
    read(format!("identifiant_local;partenaire;dossier;verdict;echeance\n{text}").as_bytes()).unwrap()
}

fn code(text: &str) -> Code {
    Code::read(text).unwrap()
}

fn agreed(text: &str, partner: &str, references: &[u8], verdict: Verdict, lines: &[u64]) -> Agreed {
    Agreed {
        code: code(text),
        partner: id(partner),
        references: references.iter().map(|n| RecordRef([*n; 16])).collect(),
        verdict,
        expiry: date(2026, 12, 1),
        lines: lines.to_vec(),
    }
}

#[test]
fn every_line_is_taken_or_set_aside_with_its_number_and_reason() {
    let found = lines(
        "A1;siao;k7f2-9qx3;refute;2026-12-01\n\
         A2;caf;K7F2 9QX4;Confirmé;01/12/2026\n\
         B7;siao;K7F29QX5;refute;2026-12-01\n\
         ;siao;K7F29QX5;refute;2026-12-01\n\
         A1;departement;K7F29QX5;refute;2026-12-01\n\
         A1;siao;K7F29Q;refute;2026-12-01\n\
         A1;siao;DUPONTMARIE;refute;2026-12-01\n\
         A1;siao;K7F29QX5;peut-etre;2026-12-01\n\
         A1;siao;K7F29QX5;refute;demain\n\
         A1;siao;K7F29QX5;refute;2026-03-09\n\
         A1;siao;K7F29QX5;refute;2027-01-01\n\
         \n\
         A1;siao;K7F29QX5\n\
         A1;siao;K7F29QX5;refute;2026-12-01;encore\n",
    );
    assert_eq!(
        found.agreed,
        [agreed("K7F29QX3", "siao", &[1], Verdict::Refuted, &[2]), agreed("K7F29QX4", "caf", &[2], Verdict::Confirmed, &[3])]
    );
    let line = |reason| Fault::Line(reason);
    assert_eq!(
        found.aside,
        [
            (4, Fault::UnknownRecord),
            (5, line(SetAsideReason::EmptyLocalId)),
            (6, Fault::UnknownPartner),
            (7, Fault::Code),
            (8, Fault::Code),
            (9, Fault::Verdict),
            (10, Fault::Date),
            (11, Fault::Past),
            (12, Fault::BeyondAgreement),
            (13, line(SetAsideReason::Blank)),
            (14, line(SetAsideReason::TooFewFields { found: 3, expected: 5 })),
            (15, line(SetAsideReason::TooManyFields { found: 6, expected: 5 })),
        ]
    );
    for (_, fault) in &found.aside {
        let text = fault.to_string();
        assert!(!["A1", "B7", "K7F2", "DUPONT", "demain"].iter().any(|value| text.contains(value)), "{text}");
    }
    // The days at either end are good ones.
    let edges = lines("A1;siao;K7F29QX3;refute;2026-03-10\nA1;caf;K7F29QX4;refute;2026-12-31\n");
    assert_eq!((edges.agreed.len(), edges.aside.len()), (2, 0));
}

#[test]
fn a_dossier_stands_on_one_line_with_each_partner_and_on_two_within_the_own_list() {
    let found = lines(
        "A1;siao;K7F29QX3;refute;2026-12-01\n\
         A2;siao;k7f29qx3;refute;2026-12-01\n\
         A1;caf;K7F29QX3;refute;2026-12-01\n\
         A3;ccas;K7F29QX4;confirme;2026-12-01\n\
         A4;ccas;K7F29QX4;confirme;2026-12-01\n\
         A5;ccas;K7F29QX5;confirme;2026-12-01\n\
         A6;ccas;K7F29QX6;confirme;2026-12-01\n\
         A7;ccas;K7F29QX6;refute;2026-12-01\n\
         A8;ccas;K7F29QX7;refute;2026-12-01\n\
         A8;ccas;K7F29QX7;refute;2026-12-01\n",
    );
    assert_eq!(
        found.agreed,
        [
            agreed("K7F29QX3", "caf", &[1], Verdict::Refuted, &[4]),
            agreed("K7F29QX4", "ccas", &[3, 4], Verdict::Confirmed, &[5, 6])
        ]
    );
    let (twice, own) = (Fault::DossierTwice, Fault::OwnPair);
    assert_eq!(found.aside, [(2, twice), (3, twice), (7, Fault::OneOfTwo), (8, own), (9, own), (10, own), (11, own)]);
}

#[test]
fn files_are_read_as_offices_write_them() {
    let plain = "Échéance,Verdict,Dossier,Partenaire,Identifiant local,Remarque\r\n2026-12-01,Réfuté,K7F29QX3,SIAO,A1,\r\n";
    let utf16: Vec<u8> = std::iter::once(0xFEFF).chain(plain.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let marked = [b"\xEF\xBB\xBF", plain.as_bytes()].concat();
    let (windows, _, _) = encoding_rs::WINDOWS_1252.encode(plain);
    for bytes in [plain.as_bytes(), &utf16, &marked, &windows] {
        let found = read(bytes).unwrap();
        assert_eq!(found.agreed, [agreed("K7F29QX3", "siao", &[1], Verdict::Refuted, &[2])]);
        assert_eq!(found.aside, []);
    }
    for bytes in [&b""[..], b"\n\n", b"identifiant_local;partenaire;dossier;verdict\nA1;siao;K7F29QX3;refute\n", b"A1;siao\n"] {
        let error = read(bytes).unwrap_err().to_string();
        assert!(error.contains("identifiant_local;partenaire;dossier;verdict;echeance"), "{error}");
        assert!(!error.contains("A1"), "{error}");
    }
}

#[test]
fn codes_have_one_spelling_and_never_show() {
    assert_eq!(code(" k7f2-9qx3 "), code("K7F29QX3"));
    for wrong in ["", "K7F29QX", "ABCDEFGH", "K7F29QX3é", "K7F2_9QX3", &"A1".repeat(33)] {
        assert_eq!(Code::read(wrong), None, "{wrong}");
    }
    assert_eq!(format!("{:?}", code("K7F29QX3")), "Code(..)");
}

#[test]
fn both_owners_make_one_dossier_and_nobody_else_the_same() {
    let group = GroupKey::from_bytes(&[3; 32]);
    let made = |a: &str, b: &str, text: &str| dossier(&group, &[1; 32], &id(a), &id(b), &code(text));
    let one = made("ccas", "siao", "K7F29QX3");
    assert_eq!(one, made("siao", "ccas", "k7f2 9qx3"));
    for other in [
        made("ccas", "caf", "K7F29QX3"),
        made("ccas", "ccas", "K7F29QX3"),
        made("ccas", "siao", "K7F29QX4"),
        dossier(&GroupKey::from_bytes(&[4; 32]), &[1; 32], &id("ccas"), &id("siao"), &code("K7F29QX3")),
        dossier(&group, &[2; 32], &id("ccas"), &id("siao"), &code("K7F29QX3")),
    ] {
        assert_ne!(one, other);
    }
}
