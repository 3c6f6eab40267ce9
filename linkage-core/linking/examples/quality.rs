//! Measures the whole linkage, encoding included, on files with known truth.
//!
//! `quality SET PARTY=FILE ... [truth=FILE period=AAAA-MM] [bits=256] [k=8] [tokens=18] [cap=16] [cost=20] [margin=30]
//! [duplicates=held|free] [records=N] [half=yes] [chance=no] [show=weights] [pairs=FILE]
//! [links=FILE]`
//!
//! SET is an embedded pass set. Files are CSV with canonical headers (French fields) or FEBRL's. Truth is a CSV of
//! party, month, local_id, person_id; without it, FEBRL record ids tell who is who. `half` drops the second party's
//! record of every other person. Block secrets come from a fixed shared key in place of the OPRF. Prints figures
//! only; `pairs` receives every pair that met, as party and position in the file, with levels, and `links` the clusters.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::time::Instant;

use linkage_agreement::model::{Identity as Fields, IdentityField};
use linkage_agreement::{FieldKind, Layout};
use linkage_crypto::derive::{BlockSecret, RunKey, SharedKey};
use linkage_encoding::fields::{blind_entry, encode_payload, header};
use linkage_encoding::records::encode_record;
use linkage_encoding::{Identity, Normaliser, PassSet, block_keys};
use linkage_linking::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Random pairs compared at each party.
const CHANCE_PAIRS: u64 = 300_000;

fn field(kind: FieldKind, column: &str) -> IdentityField {
    IdentityField { kind, column: column.into(), name_column: None, country_column: None }
}

fn fields_of(columns: &[String]) -> Vec<IdentityField> {
    if columns.iter().any(|c| c == "nom_naissance") {
        Fields::french().field
    } else {
        let known = [
            field(FieldKind::GivenNames, "given_name"),
            field(FieldKind::BirthName, "surname"),
            field(FieldKind::BirthDate, "date_of_birth"),
            field(FieldKind::Text, "suburb"),
            field(FieldKind::Text, "postcode"),
            field(FieldKind::Text, "address_1"),
        ];
        known.into_iter().filter(|f| columns.contains(&f.column)).collect()
    }
}

struct Party {
    name: String,
    identities: Vec<Identity>,
    /// Position in the file and person, by record.
    who: Vec<(usize, String)>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (mut files, mut options) = (Vec::new(), HashMap::new());
    for (key, value) in arguments.iter().skip(1).filter_map(|a| a.split_once('=')) {
        if std::fs::exists(value).unwrap() && !matches!(key, "truth" | "pairs" | "links") {
            files.push((key, value));
        } else {
            options.insert(key, value);
        }
    }
    let number = |key: &str, default: usize| options.get(key).map_or(default, |v| v.parse().unwrap());
    let is = |key: &str, value: &str| options.get(key) == Some(&value);
    let set = PassSet::named(&arguments[0]).unwrap();

    let truth: HashMap<(String, String), String> = options.get("truth").map_or_else(HashMap::new, |path| {
        let rows = csv::Reader::from_path(path).unwrap().into_records().map(Result::unwrap);
        rows.filter(|r| r[1] == *options["period"]).map(|r| ((r[0].to_owned(), r[2].to_owned()), r[3].to_owned())).collect()
    });
    let mut parties: Vec<Party> = Vec::new();
    let mut kinds = Vec::new();
    let mut set_aside: Vec<String> = Vec::new();
    for (number, (name, path)) in files.iter().enumerate() {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).unwrap();
        let columns: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let fields = fields_of(&columns);
        kinds = fields.iter().map(|f| f.kind).collect();
        let normaliser = Normaliser::new(&fields, &columns).unwrap();
        let mut party = Party { name: (*name).to_owned(), identities: Vec::new(), who: Vec::new() };
        for (position, row) in reader.records().map(Result::unwrap).enumerate() {
            let row: Vec<&str> = row.iter().collect();
            let person = truth.get(&((*name).to_owned(), row[0].to_owned())).cloned();
            let person = person.unwrap_or_else(|| row[0].split('-').take(2).collect());
            let digit: usize = person.bytes().filter(u8::is_ascii_digit).map(|b| usize::from(b - b'0')).sum();
            if is("half", "yes") && number == 1 && digit.is_multiple_of(2) {
                continue;
            }
            match normaliser.normalise(&row) {
                Ok(identity) => {
                    party.identities.push(identity);
                    party.who.push((position, person));
                }
                Err(_) => set_aside.push(person),
            }
        }
        parties.push(party);
    }

    let layout = Layout::new(&kinds, number("bits", 256), number("k", 8), number("tokens", 18));
    let total: usize = parties.iter().map(|p| p.identities.len()).sum();
    let expected = number("records", total) as u64;
    let mut rng = ChaCha20Rng::from_seed([7; 32]);
    let (key, run) = (SharedKey::from_bytes(&[1; 32]), RunKey::from_bytes(&[2; 32]));
    let start = Instant::now();
    let packed: Vec<Vec<u8>> = parties.iter().map(|p| encode(p, &layout, &set, expected, &key, &run, &mut rng)).collect();
    println!(
        "{total} records of {} bytes encoded in {:.1?}; {} set aside",
        layout.record_len(),
        start.elapsed(),
        set_aside.len()
    );
    let mut frequencies = LevelFrequencies::new(&layout);
    if !is("chance", "no") {
        for party in &parties {
            frequencies.merge(&chance(party, &layout, &mut rng)).unwrap();
        }
    }

    let start = Instant::now();
    let duplicate_free = is("duplicates", "free");
    let input: Vec<PartyInput<'_>> = packed.iter().map(|p| PartyInput::block_scoped(&layout, duplicate_free, vec![p])).collect();
    let settings = Settings {
        block_cap: number("cap", 16) as u32,
        false_link_cost: number("cost", 20) as u32,
        lead_margin_decibits: number("margin", 30) as u32,
        abstain_floor_permille: 500,
    };
    let Met { records, blocks, comparisons } = meet_in_memory(&layout, &input, settings.block_cap).unwrap();
    let model = classify(&records, &comparisons, &frequencies).unwrap();
    let (decided, clusters) = settle(&records, &comparisons, &model, &settings, &Dispositions::default()).unwrap();
    let report = report(&records, &blocks, &comparisons, &model, &decided, &clusters, &ReportTerms::new(settings));
    println!("linked in {:.1?}", start.elapsed());

    let who: Vec<(&str, usize, &str)> =
        parties.iter().flat_map(|p| p.who.iter().map(|(at, person)| (p.name.as_str(), *at, person.as_str()))).collect();
    let same = |a: u32, b: u32| who[a as usize].2 == who[b as usize].2;
    // A single file is looked through for duplicates; of several, pairs within one do not count.
    let alone = parties.len() == 1;
    let across = |a: u32, b: u32| alone || records.party(a) != records.party(b);
    let mut people: HashMap<&str, BTreeMap<&str, u64>> = HashMap::new();
    for (party, _, person) in &who {
        *people.entry(person).or_default().entry(party).or_default() += 1;
    }
    let of = |counts: &BTreeMap<&str, u64>| {
        let all: u64 = counts.values().sum();
        let within: u64 = counts.values().map(|n| n * (n - 1) / 2).sum();
        if alone { within } else { all * (all - 1) / 2 - within }
    };
    let mut true_pairs: u64 = people.values().map(of).sum();
    for person in &set_aside {
        true_pairs += people.get(person.as_str()).map_or(0, |counts| counts.values().sum());
    }
    let score = |name: &str, pairs: &mut dyn Iterator<Item = (u32, u32)>| {
        let (mut right, mut all) = (0, 0);
        for (a, b) in pairs.filter(|&(a, b)| across(a, b)) {
            all += 1;
            right += u64::from(same(a, b));
        }
        let (p, r) = (right as f64 / f64::from(all), right as f64 / true_pairs as f64);
        println!("{name:12} precision {p:.4}  recall {r:.4}  F1 {:.4}  ({all} pairs)", 2.0 * p * r / (p + r));
    };
    println!("{true_pairs} true pairs, {} candidates", report.candidates + report.candidates_within);
    score("met", &mut comparisons.rows.iter().map(|r| (r.a, r.b)));
    score("linked pairs", &mut decided.iter().filter(|d| d.outcome == Outcome::Link).map(|d| (d.a, d.b)));
    let linked: Vec<(u32, u32)> = clusters
        .clusters
        .iter()
        .flat_map(|c| c.members.iter().flat_map(|x| c.members.iter().map(|y| (x.record, y.record))))
        .filter(|(a, b)| a < b)
        .collect();
    score("clusters", &mut linked.iter().copied());
    println!("estimated precision {}  recall {}", json(&report.precision), json(&report.recall));
    println!("non-matching meetings a record {:.3}", report.non_matching_meetings_per_record);
    println!("abstained {}  blocks {}  reach {}", json(&report.abstained), json(&report.blocks), json(&report.reach));
    println!("across {}  within {}  rounds {}", json(&report.across), json(&report.within), model.rounds);
    let mut met = BTreeMap::<u8, (u32, u32)>::new();
    for row in comparisons.rows.iter().filter(|row| !row.within) {
        let counts = met.entry(row.met).or_default();
        counts.0 += 1;
        counts.1 += u32::from(same(row.a, row.b));
    }
    println!("blocks met in: (pairs, true) {met:?}");
    println!("bits: pairs, true, expected");
    for from in (-8..30).step_by(2) {
        let bin: Vec<_> =
            decided.iter().filter(|d| across(d.a, d.b) && (from..from + 2).contains(&d.millibits.div_euclid(1000))).collect();
        let expected: f64 = bin.iter().map(|d| linkage_linking::decide::probability(d.millibits)).sum();
        println!("{from:4} {:6} {:6} {expected:8.1}", bin.len(), bin.iter().filter(|d| same(d.a, d.b)).count());
    }
    if is("show", "weights") {
        for dimension in &report.weights {
            println!("{}", dimension.dimension);
            for l in &dimension.levels {
                println!("   {:26} m {:.5} u {:.7} {:7.2} bits {:6} pairs", l.level, l.m, l.u, l.weight_bits, l.pairs);
            }
        }
    }
    if let Some(path) = options.get("pairs") {
        let mut out = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
        let dimensions = Dimensions::of(&layout);
        let linked: std::collections::HashSet<(u32, u32)> = linked.into_iter().collect();
        for (pair, row) in decided.iter().zip(&comparisons.rows) {
            let kind = match (linked.contains(&(pair.a, pair.b)), same(pair.a, pair.b)) {
                (true, true) => "right",
                (true, false) => "wrong",
                (false, true) => "missed",
                (false, false) => "apart",
            };
            let levels: Vec<String> =
                dimensions.iter().enumerate().map(|(at, d)| d.kind.level_name(row.vector.level(at))).collect();
            let [a, b] = [pair.a, pair.b].map(|r| format!("{};{}", who[r as usize].0, who[r as usize].1));
            let bits = f64::from(pair.millibits) / 1000.0;
            writeln!(out, "{kind};{a};{b};{bits:.1};{:?};{}", pair.outcome, levels.join(";")).unwrap();
        }
    }
    if let Some(path) = options.get("links") {
        let mut out = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
        for (number, cluster) in clusters.clusters.iter().enumerate() {
            for member in &cluster.members {
                let (party, position, _) = who[member.record as usize];
                writeln!(out, "{number},{party},{position}").unwrap();
            }
        }
    }
}

fn encode(
    party: &Party,
    layout: &Layout,
    set: &PassSet,
    expected: u64,
    key: &SharedKey,
    run: &RunKey,
    rng: &mut ChaCha20Rng,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(party.identities.len() * layout.record_len());
    for identity in &party.identities {
        let keys = block_keys(identity, set, expected, layout.tokens_per_record);
        let secrets: Vec<BlockSecret> = keys.iter().map(|k| BlockSecret::shared(key, &k.oprf_input("measurement", 1))).collect();
        let mut record = encode_record(layout, identity, &secrets, rng).unwrap();
        let mut handle = [0; 16];
        rng.fill_bytes(&mut handle);
        out.extend(handle);
        out.extend(record.header.to_le_bytes());
        for entry in &mut record.entries {
            out.extend(blind_entry(layout, run, &entry.secret, &mut entry.payload).unwrap().0);
            out.extend(&entry.payload);
        }
    }
    out
}

/// What a node counts: random pairs of its own records under a throw-away block key.
fn chance(party: &Party, layout: &Layout, rng: &mut ChaCha20Rng) -> LevelFrequencies {
    let block = BlockSecret::generate(rng);
    let encoded: Vec<(u32, Vec<u8>)> =
        party.identities.iter().map(|i| (header(layout, i), encode_payload(layout, i, &block).unwrap())).collect();
    let comparer = Comparer::new(layout).unwrap();
    let mut table = LevelFrequencies::new(layout);
    for _ in 0..CHANCE_PAIRS {
        let mut draw = || &encoded[(rng.next_u64() % encoded.len() as u64) as usize];
        let (x, y) = (draw(), draw());
        if !std::ptr::eq(x, y) {
            let vector = comparer.compare(x.0, y.0, [(x.1.as_slice(), y.1.as_slice())]).unwrap();
            table.observe(comparer.dimensions(), &vector);
        }
    }
    table.suppress();
    table
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}
