//! Writes the seeds of tests/fuzz/corpus that no person could write: signed, packed, compressed.
//!
//! `cargo run -p linkage-fuzz-targets --example seeds`, again after a format has changed. Persons in them are invented.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs;
use std::path::Path;

use linkage_common::authority::{DevAuthority, Validity, office};
use linkage_fuzz_targets as targets;
use linkage_proto::v1;
use prost::Message as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

fn put(target: &str, name: &str, bytes: impl AsRef<[u8]>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
}

fn main() {
    let (certificate, receipt) = targets::samples();
    put("deletion_certificate", "signed", certificate);
    put("receipt", "signed", receipt);
    let (agreement, signatures, termination) = targets::agreement_files();
    put("agreement", "trial", agreement);
    put("signatures", "all", signatures);
    put("termination", "one", termination);
    put("audit_line", "one", targets::audit_sample());
    certificates();
    workbooks();
    messages();
    for (name, bytes) in targets::packed_samples() {
        put("packed", name, bytes);
    }
    put("records", "families", (0..=255u8).flat_map(|n| [n % 3, n % 5, n % 7, n % 11, n, n % 4, n % 6, 0]).collect::<Vec<u8>>());
    let record = |present: u8, sealed: &[u8]| [&[1; 16][..], &[2; 16], &[present], sealed].concat();
    put("unpacked", "records", [vec![1], record(1, &[3, 0, 7, 7, 7]), record(0, &[])].concat());
    put("unpacked", "clusters", [&[0, 2, 0][..], &[1; 16], &[1, 0x10, 0x27], &[2; 16], &[2, 0, 0]].concat());
    for (choice, length) in [(0, 64), (1, 96), (2, 32), (3, 64), (4, 120), (5, 60)] {
        // The generator of ristretto255 (RFC 9496, section 4), again and again.
        let point = hex_of("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76");
        let bytes: Vec<u8> = point.iter().cycle().take(length).copied().collect();
        put("elements", &format!("points-{choice}"), [&[choice], bytes.as_slice()].concat());
    }
}

fn hex_of(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn certificates() {
    let now = "2026-04-01T00:00:00Z".parse().unwrap();
    let authority = DevAuthority::create("Essai", now).unwrap();
    let uri = "linkage://essai-2026/party/ccas";
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec();
    let (one, _) = authority.issue(uri, Validity::days(now, 30)).unwrap();
    let (two, _) = authority.issue_for_uris(&[uri, "linkage://essai-2026/broker"], Validity::days(now, 30)).unwrap();
    let (none, _) = authority.issue_local_server(Validity::days(now, 30)).unwrap();
    for (name, pem) in [("one-name", &one), ("two-names", &two), ("no-name", &none)] {
        put("certificate", name, der(pem));
        put("certificate", &format!("{name}-pem"), pem);
    }
    put("certificate", "list-pem", authority.revoke(&[&one], now).unwrap());
    put("certificate_request", "party", office::request(uri).unwrap().0);
}

fn workbooks() {
    let header = ["id", "nom", "prenoms", "sexe", "ne_le", "lieu", "entree", "ressources"];
    let rows = [
        ["A1", "DELORME", "Ana", "2", "03/02/1980", "Valmont", "2026-01-05", "512,40"],
        ["A2", "Le Goff", "Yannick", "1", "1975-11-30", "", "05/01/2026", ""],
    ];
    let mut book = rust_xlsxwriter::Workbook::new();
    let sheet = book.add_worksheet().set_name("Feuil1").unwrap();
    for (line, row) in [header].iter().chain(&rows).enumerate() {
        for (column, value) in row.iter().enumerate() {
            sheet.write_string(line as u32, column as u16, *value).unwrap();
        }
    }
    let date = rust_xlsxwriter::ExcelDateTime::from_ymd(1980, 2, 3).unwrap();
    sheet.write_datetime(3, 4, date).unwrap();
    sheet.write_number(3, 0, 7.0).unwrap();
    sheet.write_boolean(3, 3, true).unwrap();
    put("workbook", "written", book.save_to_buffer().unwrap());
}

fn messages() {
    let put = |choice: u8, name: &str, message: Vec<u8>| put("messages", name, [vec![choice], message].concat());
    let agreement = Some(v1::AgreementRef { hash: vec![1; 32].into() });
    let status = v1::RunStatus {
        run_id: "2026-03".to_owned(),
        period: "2026-03".to_owned(),
        parties: vec!["ccas".to_owned(), "siao".to_owned()],
        order_signature: vec![2; 64].into(),
        state: v1::RunState::Collecting.into(),
        ..Default::default()
    };
    put(0, "run", status.encode_to_vec());
    let checkpoint = v1::AuditCheckpoint {
        log: "principal".to_owned(),
        number: 7,
        chain: vec![3; 32].into(),
        at: 1_775_012_400,
        signature: vec![4; 64].into(),
        ..Default::default()
    };
    put(1, "checkpoint", checkpoint.encode_to_vec());
    let batch = v1::Batch {
        agreement: agreement.clone(),
        run_id: "2026-03".to_owned(),
        sequence: 1,
        records: vec![5; 40].into(),
        digest: vec![6; 32].into(),
    };
    put(3, "batch", batch.encode_to_vec());
    put(12, "evaluate", v1::EvaluateRequest { agreement, blinded: vec![7; 64].into(), ..Default::default() }.encode_to_vec());
}
