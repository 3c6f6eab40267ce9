//! Signed statements and the audit log. Nothing but what a role has signed is believed, to the byte.

use std::sync::LazyLock;

use jiff::civil::date;
use linkage_agreement::RoleId;
use linkage_common::audit::{Entry, Outcome, read_line, write_line};
use linkage_common::deletion::{self, Cause, DataSet, Draft};
use linkage_common::receipt::{Action, Receipt, RequestId, Signed};

use crate::fixed::{AGREEMENT, signer};
use crate::took;

/// The one certificate that was signed: its bytes are the first seed.
static CERTIFICATE: LazyLock<String> = LazyLock::new(|| {
    let months = ["2026-01", "2026-03"].map(|month| month.parse().expect("a month"));
    let draft = Draft {
        rule: "retention.archive_months".to_owned(),
        value: Some(60),
        cause: Cause::Term,
        as_of: date(2026, 4, 1),
        run: None,
        data: vec![DataSet::records("archive", 12).of_months(months), DataSet::files("deliveries", 2)],
    };
    let now = "2026-04-01T03:00:00Z".parse().expect("a moment");
    deletion::sign(&signer(RoleId::Broker), &AGREEMENT.0, &draft, 7, now).expect("a certificate")
});

/// The one receipt that was signed.
static RECEIPT: LazyLock<Signed> = LazyLock::new(|| {
    let counts = [("records", 2), ("runs", 1)];
    Receipt::sign(&signer(RoleId::Custodian), &AGREEMENT.1, RequestId([8; 16]), Action::Withdraw, 1_775_012_400, counts)
        .expect("a receipt")
});

/// The seeds of [`deletion_certificate`] and [`receipt`].
pub fn samples() -> (String, Vec<u8>) {
    (CERTIFICATE.clone(), [RECEIPT.signature.as_slice(), &RECEIPT.statement].concat())
}

/// A line of an audit log.
pub fn audit_sample() -> String {
    let entry = Entry {
        n: 7,
        at: 1_775_012_400,
        who: "linkage://essai-2026/party/ccas".to_owned(),
        peer: None,
        what: "/linkage.v1.Runs/CommitUpload".to_owned(),
        agreement: "ab".repeat(32),
        run: Some("2026-03".to_owned()),
        period: Some("2026-03".to_owned()),
        records: Some(12),
        fields: vec!["composition".to_owned()],
        outcome: Outcome::Done,
        code: None,
        digest: None,
        count: 1,
        salt: "cd".repeat(16),
    };
    write_line(&entry, &[3; 32]).expect("an entry has a JSON form").0
}

/// A deletion certificate.
pub fn deletion_certificate(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let lines = text.split('\n').count();
    match deletion::read(text, &AGREEMENT.0, &AGREEMENT.1) {
        Ok(_) => {
            took();
            assert_eq!(text, *CERTIFICATE, "another certificate than the one that was signed");
        }
        // The line at fault is one of the file's, or the one after its end.
        Err(deletion::CertificateError::Line { line, .. }) => assert!((1..=lines + 2).contains(&line), "line {line} of {lines}"),
        Err(_) => assert_ne!(text, *CERTIFICATE),
    }
}

/// A receipt: 64 bytes of signature, then the statement.
pub fn receipt(bytes: &[u8]) {
    let Some((signature, statement)) = bytes.split_first_chunk::<64>() else { return };
    let signed = Signed { statement: statement.to_vec(), signature: signature.to_vec() };
    let read = Receipt::verify(&AGREEMENT.0, &AGREEMENT.1, &RoleId::Custodian, RequestId([8; 16]), &signed);
    assert_eq!(read.is_ok(), signed == *RECEIPT);
    if read.is_ok() {
        took();
    }
}

/// A line of an audit log.
pub fn audit_line(bytes: &[u8]) {
    let Some(line) = read_line(bytes) else { return };
    took();
    // What is written from what was read chains: the same entry, another value of the chain only.
    let (again, chain) = write_line(&line.entry, &[0; 32]).expect("an entry has a JSON form");
    let read = read_line(again.as_bytes()).expect("what was written is a line");
    assert_eq!((&read.entry, read.chain), (&line.entry, chain));
}
