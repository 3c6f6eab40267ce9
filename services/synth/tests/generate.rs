//! What `generate` promises: same seed, same bytes; counts that add up; formats that decode back to the canonical rows;
//! shares and error rates near those asked for.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::string_slice, missing_docs)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::Path;

use calamine::{Data, Reader, Xlsx, open_workbook};
use encoding_rs::{Encoding, ISO_8859_15, UTF_8, WINDOWS_1252};
use linkage_synth::evaluate::evaluate;
use linkage_synth::{CANONICAL, SynthError, SynthOptions, SynthSummary, generate, party_ids};

type Rows = Vec<HashMap<String, String>>;

fn run(options: &SynthOptions, out: &Path) -> SynthSummary {
    generate(options, out, &mut |_, _| {}).unwrap()
}

fn options(persons: u64, parties: usize, months: u32, seed: u64) -> SynthOptions {
    SynthOptions::new(persons, parties, months, seed).unwrap()
}

/// Every file below a folder with its content.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn parse(text: &str, separator: u8) -> Rows {
    let mut reader = csv::ReaderBuilder::new().delimiter(separator).from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    reader
        .records()
        .map(|row| header.iter().zip(row.unwrap().iter()).map(|(name, field)| (name.to_owned(), field.to_owned())).collect())
        .collect()
}

fn table(path: &Path) -> Rows {
    parse(&fs::read_to_string(path).unwrap(), b',')
}

#[test]
fn one_seed_gives_the_same_bytes_and_another_gives_others() {
    let (one, two, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(&options(1_500, 8, 3, 7), one.path());
    std::thread::sleep(std::time::Duration::from_millis(2_100)); // past the two-second clock of zip entries
    std::thread::scope(|scope| {
        scope.spawn(|| run(&options(1_500, 8, 3, 7), two.path()));
        scope.spawn(|| run(&options(1_500, 8, 3, 8), other.path()));
    });
    let (one, two, other) = (files(one.path()), files(two.path()), files(other.path()));
    assert_eq!(one.keys().collect::<Vec<_>>(), two.keys().collect::<Vec<_>>());
    for (name, content) in &one {
        assert!(content == &two[name], "{name} differs between two runs of one seed");
        assert!(content != &other[name], "{name} does not depend on the seed");
    }
    assert_eq!(one.len(), 8 * 3 * 2 + 5 + 1);
}

#[test]
fn counts_add_up_for_every_number_of_parties() {
    for parties in 2..=8 {
        let out = tempfile::tempdir().unwrap();
        let mut steps = Vec::new();
        let summary = generate(&options(900, parties, 2, 3), out.path(), &mut |done, all| steps.push((done, all))).unwrap();
        assert_eq!(steps.last(), Some(&(1 + 2 * parties as u64, 1 + 2 * parties as u64)));
        assert_eq!(summary.parties, party_ids().take(parties).collect::<Vec<_>>());
        assert_eq!(summary.files.len(), parties * 2);

        let persons = table(&out.path().join("truth/truth_persons.csv"));
        assert_eq!((persons.len(), summary.persons), (900, 900));
        let known: HashSet<_> = persons.iter().map(|row| row["person_id"].clone()).collect();
        assert_eq!(known.len(), 900);

        let truth = table(&out.path().join("truth/truth.csv"));
        assert_eq!(truth.len() as u64, summary.records);
        assert!(truth.iter().all(|row| known.contains(&row["person_id"])));
        let mut by_file: HashMap<(String, String), HashSet<String>> = HashMap::new();
        for row in &truth {
            let unique = by_file.entry((row["party"].clone(), row["month"].clone())).or_default().insert(row["local_id"].clone());
            assert!(unique, "a local id twice in one file");
        }
        for file in &summary.files {
            let canonical = table(&out.path().join(format!("canonical/{}_{}.csv", file.party, file.month)));
            assert_eq!(canonical.len() as u64, file.records);
            let ids: HashSet<_> = canonical.iter().map(|row| row["local_id"].clone()).collect();
            assert_eq!(Some(&ids), by_file.get(&(file.party.clone(), file.month.clone())));
            assert!(file.raw.is_file() && file.records > 10);
            assert!(file.party.parse::<linkage_agreement::PartyId>().is_ok());
        }
        let manifest: serde_json::Value = serde_json::from_slice(&fs::read(out.path().join("manifest.json")).unwrap()).unwrap();
        assert_eq!(manifest["total"], summary.records);
        assert_eq!(manifest["records"].as_object().unwrap().len(), parties * 2);
    }
}

/// What each party's file must look like, written down apart from the code that writes it.
struct Expected {
    party: &'static str,
    encoding: &'static Encoding,
    mark: bool,
    separator: u8,
    crlf: bool,
    id: &'static str,
    given: &'static str,
    born: &'static str,
    sex: (&'static str, [(&'static str, &'static str); 3]),
    /// Year, month and day within a date.
    date: [std::ops::Range<usize>; 3],
}

const EXPECTED: [Expected; 6] = [
    Expected {
        party: "ccas",
        encoding: WINDOWS_1252,
        mark: false,
        separator: b';',
        crlf: true,
        id: "N° dossier",
        given: "Prénom",
        born: "Date de naissance",
        sex: ("Civilité", [("M.", "1"), ("Mme", "2"), ("", "")]),
        date: [6..10, 3..5, 0..2],
    },
    Expected {
        party: "siao",
        encoding: UTF_8,
        mark: false,
        separator: b',',
        crlf: false,
        id: "id_personne",
        given: "prenom",
        born: "date_naissance",
        sex: ("sexe", [("Homme", "1"), ("Femme", "2"), ("Non renseigné", "")]),
        date: [0..4, 5..7, 8..10],
    },
    Expected {
        party: "departement",
        encoding: UTF_8,
        mark: true,
        separator: b';',
        crlf: true,
        id: "MATRICULE",
        given: "PRENOMS",
        born: "DDN",
        sex: ("SEXE", [("M", "1"), ("F", "2"), ("", "")]),
        date: [4..8, 2..4, 0..2],
    },
    Expected {
        party: "francetravail",
        encoding: ISO_8859_15,
        mark: false,
        separator: b';',
        crlf: true,
        id: "IDENTIFIANT_DE",
        given: "PRENOM",
        born: "DATE_NAISSANCE",
        sex: ("CIVILITE", [("M", "1"), ("MME", "2"), ("", "")]),
        date: [0..4, 4..6, 6..8],
    },
    Expected {
        party: "caf",
        encoding: UTF_8,
        mark: false,
        separator: b'\t',
        crlf: false,
        id: "MATRICULE_CAF",
        given: "PRENOM",
        born: "DTNAIS",
        sex: ("SEXE", [("1", "1"), ("2", "2"), ("", "")]),
        date: [0..4, 5..7, 8..10],
    },
    Expected {
        party: "hopital",
        encoding: UTF_8,
        mark: true,
        separator: b';',
        crlf: true,
        id: "IPP",
        given: "Prénoms état civil",
        born: "DDN patient",
        sex: ("Sexe", [("M", "1"), ("F", "2"), ("I", "")]),
        date: [6..10, 3..5, 0..2],
    },
];

#[test]
fn text_formats_decode_back_to_the_canonical_rows() {
    let out = tempfile::tempdir().unwrap();
    run(&options(4_000, 8, 1, 11), out.path());
    for format in EXPECTED {
        let party = format.party;
        let raw = fs::read(out.path().join(format!("{party}/{party}_2024-01.csv"))).unwrap();
        assert_eq!(raw.starts_with(b"\xef\xbb\xbf"), format.mark, "{party}");
        assert_eq!(raw.windows(2).any(|pair| pair == b"\r\n"), format.crlf, "{party}");
        if format.encoding != UTF_8 {
            assert!(std::str::from_utf8(&raw).is_err(), "{party}: has accents, so is not UTF-8");
        }
        if party == "caf" {
            assert!(raw.is_ascii());
        }
        let (text, wrong) = format.encoding.decode_with_bom_removal(&raw);
        assert!(!wrong);
        let rows = parse(&text, format.separator);
        let canonical = table(&out.path().join(format!("canonical/{party}_2024-01.csv")));
        assert_eq!(rows.len(), canonical.len());
        for (row, canonical) in rows.iter().zip(&canonical) {
            assert_eq!(row[format.id], canonical["local_id"]);
            assert_eq!(row[format.given], canonical["prenoms"]);
            let sex = format.sex.1.iter().find(|(word, _)| *word == row[format.sex.0]).unwrap().1;
            assert_eq!(sex, canonical["sexe"]);
            let born = &row[format.born];
            let iso = if born.is_empty() { String::new() } else { format.date.clone().map(|part| &born[part]).join("-") };
            assert_eq!(iso, canonical["date_naissance"]);
        }
        if party == "ccas" {
            for (row, canonical) in rows.iter().zip(&canonical) {
                // The name in use stands first; the birth name beside it when it differs.
                let (birth, usage) = match row["Nom de jeune fille"].as_str() {
                    "" => (row["Nom"].as_str(), ""),
                    maiden => (maiden, row["Nom"].as_str()),
                };
                assert_eq!((birth, usage), (canonical["nom_naissance"].as_str(), canonical["nom_usage"].as_str()));
            }
            assert!(canonical.iter().any(|row| !row["nom_usage"].is_empty()));
        }
    }
    let text = fs::read_to_string(out.path().join("association/association_2024-01.csv")).unwrap();
    for (row, canonical) in parse(&text, b'|').iter().zip(table(&out.path().join("canonical/association_2024-01.csv"))) {
        let full = format!("{} {}", canonical["nom_naissance"], canonical["prenoms"]);
        assert_eq!(row["Nom complet"].to_uppercase(), full.trim().to_uppercase());
    }
}

#[test]
fn the_workbook_holds_dates_as_serials() {
    let out = tempfile::tempdir().unwrap();
    run(&options(4_000, 6, 1, 5), out.path());
    let mut book: Xlsx<_> = open_workbook(out.path().join("mission-locale/mission-locale_2024-01.xlsx")).unwrap();
    let sheet = book.worksheet_range("Export").unwrap();
    let canonical = table(&out.path().join("canonical/mission-locale_2024-01.csv"));
    assert_eq!(sheet.height(), canonical.len() + 1);
    let header: Vec<String> = sheet.rows().next().unwrap().iter().map(ToString::to_string).collect();
    let at = |name: &str| header.iter().position(|column| column == name).unwrap();
    let mut dates = 0;
    for (row, canonical) in sheet.rows().skip(1).zip(&canonical) {
        assert_eq!(row[at("Identifiant jeune")].to_string(), canonical["local_id"]);
        assert_eq!(row[at("Nom de famille")].to_string(), canonical["nom_naissance"]);
        match &row[at("Né(e) le")] {
            Data::Empty => assert_eq!(canonical["date_naissance"], ""),
            Data::DateTime(serial) => {
                // Excel counts days from 1899-12-30 for every date after February 1900.
                let date: jiff::civil::Date = canonical["date_naissance"].parse().unwrap();
                let days = (date - jiff::civil::date(1899, 12, 30)).get_days();
                assert!(date.year() == 1900 || serial.as_f64() == f64::from(days));
                dates += 1;
            }
            other => panic!("a date of birth is {other:?}"),
        }
    }
    assert!(dates > 100);
}

#[test]
fn canonical_headers_and_values() {
    let out = tempfile::tempdir().unwrap();
    run(&options(3_000, 8, 2, 2), out.path());
    for party in party_ids() {
        let text = fs::read_to_string(out.path().join(format!("canonical/{party}_2024-02.csv"))).unwrap();
        assert_eq!(text.lines().next().unwrap(), CANONICAL.join(","));
        for row in parse(&text, b',') {
            assert!(["", "1", "2"].contains(&row["sexe"].as_str()));
            for date in ["date_naissance", "date_entree", "date_sortie"] {
                assert!(row[date].is_empty() || row[date].parse::<jiff::civil::Date>().is_ok());
            }
            assert!(!row["date_entree"].is_empty());
            assert!(
                row["date_sortie"].is_empty()
                    || (row["date_sortie"] >= row["date_entree"] && row["date_sortie"].starts_with("2024-02"))
            );
            assert!(row["commune_residence"].is_empty() || row["commune_residence"].len() == 5);
        }
    }
}

#[test]
fn shares_of_difficult_persons() {
    let out = tempfile::tempdir().unwrap();
    run(&options(30_000, 5, 1, 1), out.path());
    let persons = table(&out.path().join("truth/truth_persons.csv"));
    let count = |tag: &str| {
        persons.iter().filter(|row| row["tags"].split('|').any(|word| word == tag)).count() as f64 / persons.len() as f64
    };
    // 3 % are made namesakes, of them 8 % with one date, 20 % with one month, 45 % with one year; chance adds to the first.
    for (tag, least, most) in [
        ("homonyme", 0.03, 0.2),
        ("homonyme_meme_annee", 0.010, 0.03),
        ("homonyme_meme_mois", 0.004, 0.012),
        ("homonyme_meme_ddn", 0.0015, 0.006),
        ("jumeau", 0.007, 0.017),
        ("parent_enfant_meme_nom", 0.002, 0.012),
        ("fratrie", 0.15, 0.35),
        ("date_defaut", 0.015, 0.06),
        ("ne_etranger", 0.18, 0.32),
        ("nom_usage", 0.04, 0.15),
        ("translitteration", 0.3, 0.55),
    ] {
        let share = count(tag);
        assert!((least..=most).contains(&share), "{tag}: {share}");
    }
    let has = |row: &HashMap<String, String>, tag: &str| row["tags"].split('|').any(|word| word == tag);
    // Twins share household, date and surname, and differ in given name.
    let mut twins: HashMap<(String, String, String), Vec<String>> = HashMap::new();
    for row in persons.iter().filter(|row| has(row, "jumeau")) {
        twins
            .entry((row["household_id"].clone(), row["date_naissance"].clone(), row["nom_naissance"].clone()))
            .or_default()
            .push(row["prenoms"].clone());
    }
    assert!(!twins.is_empty() && twins.values().all(|given| given.len() == 2 && given[0] != given[1]));
    // Default dates are what they are called, and years are within the century asked for.
    for row in &persons {
        let year: i32 = row["date_naissance"][..4].parse().unwrap();
        assert!((1925..=2024).contains(&year));
        if has(row, "date_defaut") {
            assert!(row["date_naissance"].ends_with("-01-01") || row["date_naissance"].ends_with("-12-31"));
        }
    }
    // A tag of namesakes is true: somebody else has that name and date.
    let mut dated: HashMap<(String, String, String), usize> = HashMap::new();
    let key = |row: &HashMap<String, String>| {
        (row["nom_naissance"].clone(), row["prenoms"].split('|').next().unwrap().to_owned(), row["date_naissance"].clone())
    };
    persons.iter().for_each(|row| *dated.entry(key(row)).or_default() += 1);
    let exact = persons.iter().filter(|row| dated[&key(row)] > 1).count();
    assert!(exact > 20 && persons.iter().filter(|row| dated[&key(row)] > 1).all(|row| has(row, "homonyme_meme_ddn")));
}

/// Mean number of words in the `ops` of what was typed in the first month, by party.
fn slips(out: &Path, party: &str) -> f64 {
    let rows = table(&out.join("truth/truth_errors.csv"));
    let mine: Vec<_> = rows.iter().filter(|row| row["party"] == party).collect();
    mine.iter()
        .map(|row| row["ops"].split('+').filter(|word| !["", "translitteration", "usage_dans_naissance"].contains(word)).count())
        .sum::<usize>() as f64
        / mine.len() as f64
}

#[test]
fn slips_follow_the_rate() {
    let mut measured = Vec::new();
    for rate in [0.0, 0.1, 0.2, 0.4] {
        let out = tempfile::tempdir().unwrap();
        run(&SynthOptions { error_rate: rate, ..options(12_000, 5, 1, 4) }, out.path());
        measured.push(["ccas", "siao", "caf"].map(|party| slips(out.path(), party)));
    }
    assert_eq!(measured[0], [0.0; 3]);
    // CCAS desks slip 1.2 times the rate asked for, the CAF's 0.4 times; foreign births and children move it by a little.
    for (at, rate) in [(1, 0.1), (2, 0.2), (3, 0.4)] {
        for (party, factor) in [(0, 1.2), (1, 1.6), (2, 0.4)] {
            let ratio = measured[at][party] / (rate * factor);
            assert!((0.7..1.3).contains(&ratio), "rate {rate}, party {party}: {ratio}");
        }
    }
}

#[test]
fn records_keep_their_slips_and_people_move() {
    let out = tempfile::tempdir().unwrap();
    run(&options(6_000, 5, 12, 9), out.path());
    let month = |party: &str, month: u32| -> HashMap<String, HashMap<String, String>> {
        table(&out.path().join(format!("canonical/{party}_2024-{month:02}.csv")))
            .into_iter()
            .map(|row| (row["local_id"].clone(), row))
            .collect()
    };
    let (mut kept, mut both) = (0, 0);
    for party in ["ccas", "siao", "caf"] {
        let (first, second, last) = (month(party, 1), month(party, 2), month(party, 12));
        for (id, row) in &first {
            if let Some(next) = second.get(id) {
                both += 1;
                kept += u32::from(
                    ["nom_naissance", "prenoms", "date_naissance", "sexe"].iter().all(|field| row[*field] == next[*field]),
                );
            }
            if !row["date_sortie"].is_empty() {
                assert!(!second.contains_key(id), "left in January and still there in February");
            }
        }
        assert!(last.keys().any(|id| !first.contains_key(id)) && first.keys().any(|id| !last.contains_key(id)));
        let size = last.len() as f64 / first.len() as f64;
        assert!((0.75..1.3).contains(&size), "{party}: {size}");
    }
    assert!(both > 1_000 && f64::from(kept) / f64::from(both) > 0.98);
    let events = table(&out.path().join("truth/truth_events.csv"));
    for what in ["demenagement", "mariage", "naissance", "deces", "regularisation_ddn", "statut"] {
        assert!(events.iter().any(|row| row["evenement"] == what), "{what}");
    }
    // Some people come back under another number, or stand twice in one register.
    let truth = table(&out.path().join("truth/truth.csv"));
    let mut numbers: HashMap<(String, String), HashSet<String>> = HashMap::new();
    for row in &truth {
        numbers.entry((row["party"].clone(), row["person_id"].clone())).or_default().insert(row["local_id"].clone());
    }
    assert!(numbers.values().filter(|ids| ids.len() > 1).count() > 20);
}

#[test]
fn a_perfect_link_list_scores_one() {
    let out = tempfile::tempdir().unwrap();
    run(&options(2_000, 5, 2, 6), out.path());
    let truth = fs::read_to_string(out.path().join("truth/truth.csv")).unwrap();
    let mut links = String::from("person,party,local_id,match_class,probability\n");
    for row in parse(&truth, b',').iter().filter(|row| row["month"] == "2024-02") {
        links += &format!("{},{},{},match,1\n", row["person_id"], row["party"], row["local_id"]);
    }
    let mut persons = fs::File::open(out.path().join("truth/truth_persons.csv")).unwrap();
    let result = evaluate(links.as_bytes(), truth.as_bytes(), Some(&mut persons), Some("2024-02")).unwrap();
    assert_eq!((result.cross_party.precision, result.cross_party.recall, result.b_cubed.f1), (Some(1.0), Some(1.0), Some(1.0)));
    assert_eq!((result.records_missing_in_links, result.records_missing_in_truth), (0, 0));
    assert!(result.cross_party.true_pairs > 500 && result.all_pairs.true_pairs > result.cross_party.true_pairs);
    let homonyms = result.by_tag.iter().find(|tag| tag.tag == "homonyme").unwrap();
    assert_eq!((homonyms.pairs.precision, homonyms.pairs.recall), (Some(1.0), Some(1.0)));
}

#[test]
fn small_and_wrong_options() {
    for persons in [1, 2, 3, 50] {
        let out = tempfile::tempdir().unwrap();
        assert_eq!(run(&options(persons, 8, 14, 1), out.path()).persons, persons);
    }
    let out = tempfile::tempdir().unwrap();
    for (wrong, name) in [
        (options(0, 5, 1, 1), "--persons"),
        (options(10, 1, 1, 1), "--parties"),
        (options(10, 9, 1, 1), "--parties"),
        (options(10, 5, 0, 1), "--months"),
        (SynthOptions { error_rate: f64::NAN, ..options(10, 5, 1, 1) }, "--error-rate"),
    ] {
        match generate(&wrong, out.path(), &mut |_, _| {}) {
            Err(SynthError::Option { option, .. }) => assert_eq!(option, name),
            other => panic!("{other:?}"),
        }
    }
    assert!(files(out.path()).is_empty(), "nothing is written before the options are checked");
    let file = out.path().join("a-file");
    fs::write(&file, "").unwrap();
    assert!(matches!(generate(&options(10, 2, 1, 1), &file, &mut |_, _| {}), Err(SynthError::Write { .. })));
}
