//! What bad input gets: a clear refusal or a line set aside with its reason, no value in any message, counts that add up.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use linkage_agreement::ids::PartyId;
use linkage_node::intake::{
    Charset, Intake, IntakeError, IntakeLine, IntakeSummary, Mapping, MappingError, SetAsideReason, SetAsideReport,
    WorkbookError, propose,
};

const HEADER: &str = "N° dossier;Nom;Prénom;Date de naissance;Civilité\n";

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }
    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn party() -> PartyId {
    "ccas".parse().unwrap()
}

/// A confirmed mapping for `HEADER` in UTF-8.
fn mapping() -> Mapping {
    let place = Place::new();
    let rows = format!("{HEADER}D1;Montcalmé;Zoé;04/05/1987;Mme\nD2;Kovalik;Piotr;05/06/1990;M.\n");
    propose(&party(), &place.file("first.csv", rows)).unwrap().mapping.confirm()
}

type Outcome = (Vec<u64>, Vec<(u64, SetAsideReason)>, Result<IntakeSummary, IntakeError>);

fn drain<R: Read>(mut intake: Intake<R>) -> Outcome {
    let (mut records, mut aside) = (Vec::new(), Vec::new());
    for line in &mut intake {
        match line.unwrap() {
            IntakeLine::Record(record) => records.push(record.line),
            IntakeLine::SetAside { line, reason } => aside.push((line, reason)),
        }
    }
    let summary = intake.finish();
    if let Ok(summary) = &summary {
        assert_eq!(summary.lines, summary.records + summary.set_aside);
        assert_eq!((summary.records, summary.set_aside), (records.len() as u64, aside.len() as u64));
    }
    (records, aside, summary)
}

fn read(text: impl AsRef<[u8]>) -> Outcome {
    let place = Place::new();
    drain(Intake::open(&place.file("delivery.csv", text), &mapping()).unwrap())
}

fn refused(text: impl AsRef<[u8]>) -> IntakeError {
    let place = Place::new();
    let path = place.file("delivery.csv", text);
    match Intake::open(&path, &mapping()) {
        Err(error) => error,
        Ok(intake) => drain(intake).2.unwrap_err(),
    }
}

#[test]
fn every_bad_line_is_listed_with_its_reason() {
    let mut text = format!("{HEADER}D1;Aaa;Bbb;04/05/1987;Mme\nD2;Ccc;Ddd\n\nD3;E;F;G;H;I\n;Jjj;Kkk;;\nD1;Lll;Mmm;;\nD4;\"Nnn\nOoo\";Ppp;;\n;;;;\nD5;Qqq;Rrr;;;;\nD6;\"Sss;Ttt;;\nD7;").into_bytes();
    text.extend_from_slice(b"\xE9;;;\n");
    let (records, aside, summary) = read(text);
    assert_eq!(records, [2, 8, 11]);
    assert_eq!(
        aside,
        [
            (3, SetAsideReason::TooFewFields { found: 3, expected: 5 }),
            (4, SetAsideReason::Blank),
            (5, SetAsideReason::TooManyFields { found: 6, expected: 5 }),
            (6, SetAsideReason::EmptyLocalId),
            (7, SetAsideReason::DuplicateLocalId),
            (10, SetAsideReason::Blank),
            (12, SetAsideReason::UnclosedQuote),
            (13, SetAsideReason::Undecodable),
        ]
    );
    assert_eq!(summary.unwrap().lines, 11);
}

#[test]
fn files_without_content_are_refused() {
    assert_eq!(refused(""), IntakeError::Empty);
    assert_eq!(refused("\n\r\n;;;;\n"), IntakeError::Empty);
    assert_eq!(refused(HEADER), IntakeError::HeaderOnly);
    let place = Place::new();
    for (bytes, error) in [
        ("", IntakeError::Empty),
        ("\n \n", IntakeError::Empty),
        ("Montcalmé Zoé\nKovalik Piotr\n", IntakeError::NoSeparator),
        ("D1;Montcalmé;Zoé;04/05/1987\nD2;Kovalik;Piotr;05/06/1990\n", IntakeError::NoHeader { line: 1 }),
        ("id;nom\r1;a\r", IntakeError::CarriageReturns),
        ("nom;prenom;ddn\na;b;c\n", IntakeError::Mapping(MappingError::TargetMissing("local_id"))),
    ] {
        assert_eq!(propose(&party(), &place.file("x.csv", bytes)).unwrap_err(), error);
    }
    assert_eq!(propose(&party(), &place.dir.path().join("absent.csv")).unwrap_err(), IntakeError::Io(io::ErrorKind::NotFound));
}

#[test]
fn another_header_is_refused_with_the_difference() {
    let error = refused("N° dossier;Nom;Prénoms;Date de naissance;Civilité\nD1;Montcalmé;Zoé;04/05/1987;Mme\n");
    assert_eq!(error, IntakeError::HeaderChanged { missing: vec!["Prénom".to_owned()], new: vec!["Prénoms".to_owned()] });
    assert!(error.to_string().contains("[Prénom]") && error.to_string().contains("[Prénoms]"));
    let error = refused("N° dossier;Nom;Date de naissance;Civilité\nD1;Montcalmé;04/05/1987;Mme\n");
    assert_eq!(error, IntakeError::HeaderChanged { missing: vec!["Prénom".to_owned()], new: vec![] });
    // Another order is no other header.
    let (records, _, summary) = read("Civilité;Prénom;N° dossier;Nom;Date de naissance\nMme;Zoé;D1;Montcalmé;04/05/1987\n");
    assert_eq!((records, summary.unwrap().records), (vec![2], 1));
}

#[test]
fn a_file_without_header_shows_nothing_of_its_first_person() {
    let error = refused("D1;Montcalmé;Zoé;04/05/1987;Mme\nD2;Kovalik;Piotr;05/06/1990;M.\n");
    assert_eq!(error, IntakeError::NoHeader { line: 1 });
    for word in ["D1", "Montcalmé", "Zoé", "1987"] {
        assert!(!error.to_string().contains(word) && !format!("{error:?}").contains(word));
    }
}

#[test]
fn a_wrong_declared_encoding_is_refused_and_the_right_one_suggested() {
    let rows: String = (0..20).map(|i| format!("D{i};Brunœil;Hélène;04/05/1987;Mme\n")).collect();
    let ascii_header = |m: &mut Mapping| {
        for column in &mut m.column {
            column.source = column.source.replace('°', "").replace('é', "e");
        }
    };
    let header = HEADER.replace('°', "").replace('é', "e");
    let place = Place::new();
    let outcome = |charset: Charset, bytes: &[u8]| {
        let mut mapping = mapping();
        ascii_header(&mut mapping);
        mapping.file.encoding = Some(charset);
        drain(Intake::open(&place.file("d.csv", [header.as_bytes(), bytes].concat()), &mapping).unwrap()).2
    };
    let western = encoding_rs::WINDOWS_1252.encode(&rows).0.into_owned();
    let latin9: Vec<u8> = western.iter().map(|b| if *b == 0x9C { 0xBD } else { *b }).collect();
    let wrong = |declared, suggested| Err(IntakeError::WrongCharset { declared, suggested: Some(suggested), records: 20 });
    assert_eq!(outcome(Charset::Utf8, &western), wrong(Charset::Utf8, Charset::Windows1252));
    assert_eq!(outcome(Charset::Windows1252, rows.as_bytes()), wrong(Charset::Windows1252, Charset::Utf8));
    assert_eq!(outcome(Charset::Iso8859_15, &western), wrong(Charset::Iso8859_15, Charset::Windows1252));
    assert_eq!(outcome(Charset::Windows1252, &latin9), wrong(Charset::Windows1252, Charset::Iso8859_15));
    assert_eq!(outcome(Charset::Windows1252, &western).map(|s| s.records), Ok(20));
    assert_eq!(outcome(Charset::Iso8859_15, &latin9).map(|s| s.records), Ok(20));
    assert_eq!(outcome(Charset::Utf8, rows.as_bytes()).map(|s| s.records), Ok(20));
}

#[test]
fn a_header_in_another_encoding_is_refused_at_once() {
    let western = encoding_rs::WINDOWS_1252.encode(HEADER).0.into_owned();
    assert_eq!(
        refused(&western),
        IntakeError::WrongCharset { declared: Charset::Utf8, suggested: Some(Charset::Windows1252), records: 0 }
    );
    let utf16: Vec<u8> = std::iter::once(0xFEFF).chain(HEADER.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    assert_eq!(
        refused(&utf16),
        IntakeError::WrongCharset { declared: Charset::Utf8, suggested: Some(Charset::Utf16), records: 0 }
    );
}

#[test]
fn a_mark_before_a_quoted_header_is_no_part_of_it() {
    let text = "\u{FEFF}\"N° dossier\";Nom;Prénom;Date de naissance;Civilité\nD1;Aaa;Bbb;;\n";
    assert_eq!(read(text).0, [2]);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused_whole() {
    let rows: String = (0..5000).map(|i| format!("D{i};Aaa;Bbb;04/05/1987;Mme\n")).collect();
    let place = Place::new();
    let start = |name: &str| {
        let path = place.file(name, format!("{HEADER}{rows}"));
        let mut intake = Intake::open(&path, &mapping()).unwrap();
        assert!(matches!(intake.next(), Some(Ok(IntakeLine::Record(_)))));
        (path, intake)
    };
    let append = |path: &Path| OpenOptions::new().append(true).open(path).unwrap().write_all(b"D9999;Ccc;Ddd;;\n").unwrap();

    let (path, intake) = start("appended.csv");
    append(&path);
    assert_eq!(drain(intake).2, Err(IntakeError::Changed));

    let (path, mut intake) = start("appended-at-the-end.csv");
    (&mut intake).for_each(drop);
    append(&path);
    assert_eq!(intake.finish(), Err(IntakeError::Changed));

    // Same length and same date: the digest alone tells.
    let (path, mut intake) = start("rewritten.csv");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    (&mut intake).for_each(drop);
    fs::write(&path, format!("{HEADER}{}", rows.replace("D4999", "E4999"))).unwrap();
    OpenOptions::new().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    assert_eq!(intake.finish(), Err(IntakeError::Changed));

    let (path, intake) = start("removed.csv");
    fs::remove_file(&path).unwrap();
    assert_eq!(drain(intake).2, Err(IntakeError::Changed));

    let (_, intake) = start("left.csv");
    assert_eq!(intake.finish(), Err(IntakeError::Unfinished));
}

/// A header, 1 GiB of `A` on one line, then one good line.
struct Flood {
    before: io::Cursor<Vec<u8>>,
    left: usize,
    after: io::Cursor<Vec<u8>>,
}

impl Read for Flood {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.before.read(buffer)?;
        if read > 0 {
            return Ok(read);
        }
        if self.left == 0 {
            return self.after.read(buffer);
        }
        let count = buffer.len().min(self.left);
        buffer[..count].fill(b'A');
        self.left -= count;
        Ok(count)
    }
}

#[test]
fn a_line_of_one_gigabyte_is_one_line_set_aside() {
    let flood = Flood {
        before: io::Cursor::new(format!("{HEADER}D1;Aaa;Bbb;;\n").into_bytes()),
        left: 1 << 30,
        after: io::Cursor::new(b"\nD2;Ccc;Ddd;;\n".to_vec()),
    };
    let (records, aside, summary) = drain(Intake::from_reader(flood, &mapping()).unwrap());
    assert_eq!((records, aside), (vec![2, 4], vec![(3, SetAsideReason::TooLong)]));
    assert_eq!(summary.unwrap().lines, 3);
}

#[test]
fn an_error_of_the_disk_ends_the_reading() {
    struct Broken(usize);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            if self.0 > 1 { Err(io::ErrorKind::TimedOut.into()) } else { HEADER.as_bytes().read(buffer) }
        }
    }
    let mut intake = Intake::from_reader(Broken(0), &mapping()).unwrap();
    assert_eq!(intake.next(), Some(Err(IntakeError::Io(io::ErrorKind::TimedOut))));
    assert_eq!(intake.finish(), Err(IntakeError::Unfinished));
}

#[test]
fn an_unconfirmed_or_faulty_mapping_reads_nothing() {
    let place = Place::new();
    let path = place.file("d.csv", format!("{HEADER}D1;Aaa;Bbb;;\n"));
    let proposal = propose(&party(), &path).unwrap();
    assert_eq!(Intake::open(&path, &proposal.mapping).err(), Some(IntakeError::NotConfirmed));
    let text = proposal.to_toml();
    let faults = [
        (text.replace("confirmed = false", "confirmed = false\nconfirm = true"), "unknown field `confirm`"),
        (text.replace("\"nom_naissance\"", "\"nom\""), "inconnue"),
        (text.replace("\"prenoms\"", "\"local_id\""), "deux colonnes"),
        (text.replace("target = \"local_id\"", ""), "obligatoire"),
        (text.replace("version = 1", "version = 2"), "version 2"),
        (text.replace("separator = \";\"", ""), "separator"),
        (text.replace("source = \"Nom\"", "source = \"Prénom\""), "deux fois"),
    ];
    for (faulty, words) in faults {
        assert_ne!(faulty, text, "{words}");
        let error = Mapping::parse(&faulty).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let kept = place.dir.path().join("mapping.toml");
    proposal.write(&kept).unwrap();
    assert_eq!(proposal.write(&kept), Err(MappingError::Io(io::ErrorKind::AlreadyExists)));
    assert_eq!(Mapping::load(&kept).unwrap(), proposal.mapping);
}

#[test]
fn workbooks_that_are_none_are_refused() {
    let place = Place::new();
    let zip = place.file("x.xlsx", b"PK\x03\x04 not an archive");
    assert_eq!(propose(&party(), &zip).unwrap_err(), IntakeError::Workbook(WorkbookError::Unreadable));
    assert_eq!(Intake::open(&zip, &mapping()).err(), Some(IntakeError::OtherKind));
}

#[test]
fn a_workbook_that_unfolds_past_the_limit_is_refused_before_it_is_opened() {
    // A stored directory entry whose deflated data is 1.1 GiB of zeros.
    let mut deflated = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    let zeros = vec![0u8; 1 << 20];
    (0..1100).for_each(|_| deflated.write_all(&zeros).unwrap());
    let data = deflated.finish().unwrap();
    let name = b"xl/worksheets/sheet1.xml";
    let mut file = Vec::new();
    file.extend_from_slice(b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0\0\0\0\0");
    file.extend_from_slice(&(data.len() as u32).to_le_bytes());
    file.extend_from_slice(&10u32.to_le_bytes());
    file.extend_from_slice(&(name.len() as u16).to_le_bytes());
    file.extend_from_slice(&[0, 0]);
    file.extend_from_slice(name);
    file.extend_from_slice(&data);
    let directory = file.len() as u32;
    file.extend_from_slice(b"PK\x01\x02\x14\0\x14\0\0\0\x08\0\0\0\0\0\0\0\0\0");
    file.extend_from_slice(&(data.len() as u32).to_le_bytes());
    file.extend_from_slice(&10u32.to_le_bytes());
    file.extend_from_slice(&(name.len() as u16).to_le_bytes());
    file.extend_from_slice(&[0; 16]);
    file.extend_from_slice(name);
    let size = file.len() as u32 - directory;
    file.extend_from_slice(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    file.extend_from_slice(&size.to_le_bytes());
    file.extend_from_slice(&directory.to_le_bytes());
    file.extend_from_slice(&[0, 0]);
    let place = Place::new();
    let error = propose(&party(), &place.file("bomb.xlsx", file)).unwrap_err();
    assert_eq!(error, IntakeError::Workbook(WorkbookError::TooLarge { limit: "1 Gio une fois décompressé" }));
}

#[test]
fn a_list_that_is_not_finished_leaves_nothing_and_takes_nothing_away() {
    let place = Place::new();
    let path = place.dir.path().join("ecartees.csv");
    let mut report = SetAsideReport::create(&path).unwrap();
    report.row(2, &"ligne vide").unwrap();
    report.finish().unwrap();
    let before = fs::read(&path).unwrap();
    let mut report = SetAsideReport::create(&path).unwrap();
    report.row(3, &"ligne vide").unwrap();
    drop(report);
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 1);
}

#[test]
fn a_refusal_says_in_words_what_the_system_refused() {
    assert!(IntakeError::Io(io::ErrorKind::NotFound).to_string().starts_with("lecture impossible (fichier introuvable)"));
    let refused = |records| IntakeError::WrongCharset { declared: Charset::Utf8, suggested: None, records }.to_string();
    assert!(refused(0).starts_with("l'encodage déclaré (UTF-8) ne convient pas : corriger"), "{}", refused(0));
    assert!(refused(20).starts_with("l'encodage déclaré (UTF-8) ne convient pas à 20 fiches : corriger"), "{}", refused(20));
}

#[test]
fn values_that_no_conversion_reads_are_counted() {
    let summary = read(format!("{HEADER}D1;Aaa;Bbb;;Docteur\nD2;Ccc;Ddd;;Mme\n")).2.unwrap();
    assert_eq!(summary.unread, [("sexe".to_owned(), 1)]);
}

#[test]
fn the_list_of_faults_holds_lines_and_reasons() {
    let place = Place::new();
    let path = place.dir.path().join("ecartees.csv");
    let mut report = SetAsideReport::create(&path).unwrap();
    report.set_aside(3, SetAsideReason::TooFewFields { found: 3, expected: 5 }).unwrap();
    report.outside_rule(7, "nationalite").unwrap();
    report.row(9, &"date impossible ; à corriger").unwrap();
    assert!(!path.exists());
    assert_eq!(report.finish().unwrap(), 3);
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "\u{FEFF}ligne;motif\r\n3;champs manquants : 3 au lieu de 5\r\n7;attribut « nationalite » hors de la règle de la convention : valeur non transmise\r\n9;\"date impossible ; à corriger\"\r\n"
    );
}
