//! Measures a pass set on files with known truth: pairs found, non-matching meetings, and what each pass adds.
//!
//! `blocking SET PARTY=FILE ... [truth=FILE period=AAAA-MM] [records=N] [tokens=T] [cap=B] [missed=FILE]
//! [search=FILE meetings=M]`
//!
//! SET is an embedded set's name or a TOML file. Files are CSV with canonical headers (French fields) or FEBRL's. Truth is
//! a CSV of party, month, local_id, person_id; without it, FEBRL record ids tell who is who (rec-7-org, rec-7-dup-0).
//! With `search`, chooses a set first (see `linkage passes search`), writes it to the file and measures it.
//! Prints figures only; `missed` receives the pairs not met as party and position in the file (0 the first record).
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap, HashSet};

use linkage_agreement::model::{Identity as Fields, IdentityField};
use linkage_agreement::{DateQuality, FieldKind};
use linkage_encoding::check::check_passes;
use linkage_encoding::search::{Aims, Labelled, search};
use linkage_encoding::{BlockKey, Identity, Normaliser, PassSet, block_keys};

fn field(kind: FieldKind, column: &str) -> IdentityField {
    IdentityField { kind, column: column.into(), name_column: None, country_column: None }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (mut files, mut options) = (Vec::new(), HashMap::new());
    for (key, value) in arguments.iter().skip(1).filter_map(|a| a.split_once('=')) {
        if matches!(
            key,
            "truth" | "missed" | "period" | "records" | "tokens" | "cap" | "margin" | "namecap" | "rank" | "search" | "meetings"
        ) {
            options.insert(key, value);
        } else {
            files.push((key, value));
        }
    }
    let name = &arguments[0];
    let mut set =
        if name.ends_with(".toml") { PassSet::from_toml(&std::fs::read_to_string(name).unwrap()) } else { PassSet::named(name) }
            .unwrap();
    let number = |key: &str, default: usize| options.get(key).map_or(default, |v| v.parse().unwrap());
    if let Some(margin) = options.get("margin") {
        set.margin_bits = margin.parse().unwrap();
    }
    if let Some(cap) = options.get("namecap") {
        set.name_cap_bits = cap.parse().unwrap();
    }
    if let Some(rank) = options.get("rank") {
        set.rank_weight = rank.parse().unwrap();
    }
    let truth: HashMap<(String, String), String> = options.get("truth").map_or_else(HashMap::new, |path| {
        let period = options["period"];
        let mut rows = csv::Reader::from_path(path).unwrap();
        rows.records()
            .map(Result::unwrap)
            .filter(|r| &r[1] == period)
            .map(|r| ((r[0].to_owned(), r[2].to_owned()), r[3].to_owned()))
            .collect()
    });

    let mut records: Vec<(usize, String, Identity)> = Vec::new();
    let mut set_aside = 0;
    for (party, (name, path)) in files.iter().enumerate() {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).unwrap();
        let columns: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let fields = if columns.iter().any(|c| c == "nom_naissance") {
            Fields::french().field
        } else {
            vec![
                field(FieldKind::GivenNames, "given_name"),
                field(FieldKind::BirthName, "surname"),
                field(FieldKind::BirthDate, "date_of_birth"),
                field(FieldKind::Text, "suburb"),
                field(FieldKind::Text, "postcode"),
            ]
        };
        let normaliser = Normaliser::new(&fields, &columns).unwrap();
        for row in reader.records() {
            let row: Vec<String> = row.unwrap().iter().map(str::to_owned).collect();
            let person =
                truth.get(&((*name).to_owned(), row[0].clone())).cloned().unwrap_or_else(|| row[0].split('-').take(2).collect());
            match normaliser.normalise(&row) {
                Ok(identity) => records.push((party, person, identity)),
                Err(_) => {
                    set_aside += 1;
                    let nobody = Identity::from_values(Vec::new());
                    records.push((party, person, nobody));
                }
            }
        }
    }
    let n = records.len();
    let (expected, tokens, cap) = (number("records", n), number("tokens", 20), number("cap", 12));
    if let Some(path) = options.get("search") {
        let mut numbers: HashMap<&str, u64> = HashMap::new();
        let labelled = records.iter().map(|(party, person, identity)| {
            let next = numbers.len() as u64;
            Labelled { identity: identity.clone(), party: *party, person: *numbers.entry(person).or_insert(next) }
        });
        let meetings = options["meetings"].parse().unwrap();
        let aims = Aims { expected_records: expected as u64, meetings, tokens, block_cap: cap };
        let labelled: Vec<Labelled> = labelled.collect();
        let found = search(&labelled, &set, &aims, &mut |step| {
            let f = &step.figures;
            println!("{:24} {:.4} {:.3} {:.2}", step.change, f.recall, f.meetings_per_record, f.keys_per_record);
        })
        .unwrap();
        println!("searched {:?}\nheld out {:?}\nstart {:?}", found.searched, found.held_out, found.start_held_out);
        set = found.set;
        std::fs::write(path, set.to_toml().unwrap()).unwrap();
    }
    let started = std::time::Instant::now();
    let keys: Vec<Vec<BlockKey>> =
        records.iter().map(|(_, _, identity)| block_keys(identity, &set, expected as u64, tokens)).collect();
    let elapsed = started.elapsed().as_secs_f64();

    let mut people: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut blocks: HashMap<&BlockKey, Vec<usize>> = HashMap::new();
    for (i, (_, person, _)) in records.iter().enumerate() {
        people.entry(person).or_default().push(i);
        keys[i].iter().for_each(|key| blocks.entry(key).or_default().push(i));
    }
    let cross = |list: &[usize]| -> Vec<(usize, usize)> {
        let pairs = list.iter().enumerate().flat_map(|(at, &a)| list[at + 1..].iter().map(move |&b| (a.min(b), a.max(b))));
        pairs.filter(|&(a, b)| records[a].0 != records[b].0).collect()
    };
    let matches: HashSet<(usize, usize)> = people.values().flat_map(|list| cross(list)).collect();
    // Keys emitted and pairs met.
    type Met = (usize, HashSet<(usize, usize)>);
    let mut by_pass: BTreeMap<&str, Met> = BTreeMap::new();
    let (mut dropped, mut dropped_matches) = (0, HashSet::new());
    for (key, list) in &blocks {
        let pass = by_pass.entry(key.pass()).or_default();
        pass.0 += list.len();
        if list.len() <= cap {
            pass.1.extend(cross(list));
        } else {
            dropped += 1;
            dropped_matches.extend(cross(list).into_iter().filter(|p| matches.contains(p)));
        }
    }
    let met: HashSet<(usize, usize)> = by_pass.values().flat_map(|(_, pairs)| pairs.iter().copied()).collect();
    let found = met.intersection(&matches).count();
    let mut lost_to_cap = dropped_matches;
    lost_to_cap.retain(|p| !met.contains(p));
    let doubtful = |p: &&(usize, usize)| [p.0, p.1].iter().any(|&i| records[i].2.date_quality() == DateQuality::Default);
    let default_all = matches.iter().filter(doubtful).count();
    let default_found = matches.iter().filter(doubtful).filter(|p| met.contains(p)).count();
    println!(
        "{n} records ({set_aside} set aside), {} true pairs; recall {:.4}, default dates {:.4}; non-matching meetings a record {:.3}; keys a record {:.2}; blocks dropped {dropped} (true pairs only there {}); {:.0} records/s",
        matches.len(),
        found as f64 / matches.len() as f64,
        default_found as f64 / default_all.max(1) as f64,
        2.0 * (met.len() - found) as f64 / n as f64,
        keys.iter().map(Vec::len).sum::<usize>() as f64 / n as f64,
        lost_to_cap.len(),
        n as f64 / elapsed,
    );
    let full = keys.iter().filter(|k| k.len() == tokens).count();
    println!("records with all {tokens} tokens used: {:.3}", full as f64 / n as f64);
    if let Some(path) = options.get("missed") {
        let first: Vec<usize> = (0..files.len()).map(|p| records.iter().position(|r| r.0 == p).unwrap_or(0)).collect();
        let place = |i: usize| format!("{},{}", files[records[i].0].0, i - first[records[i].0]);
        let lines: Vec<String> = matches.difference(&met).map(|&(a, b)| format!("{},{}\n", place(a), place(b))).collect();
        std::fs::write(path, lines.concat()).unwrap();
    }
    let mut times: HashMap<(usize, usize), usize> = HashMap::new();
    by_pass.values().flat_map(|(_, pairs)| pairs).for_each(|p| *times.entry(*p).or_default() += 1);
    for pass in &set.pass {
        let Some((emitted, pairs)) = by_pass.get(pass.id.as_str()) else { continue };
        let true_pairs = pairs.intersection(&matches).count();
        let alone = |matching: bool| pairs.iter().filter(|p| times[*p] == 1 && matches.contains(p) == matching).count();
        println!(
            "  {:12} keys a record {:5.2}  recall {:.4}  false {:6}  alone: {:5} true {:6} false",
            pass.id,
            *emitted as f64 / n as f64,
            true_pairs as f64 / matches.len() as f64,
            pairs.len() - true_pairs,
            alone(true),
            alone(false)
        );
    }
    if options.contains_key("period") {
        let of_first: Vec<Identity> = records.iter().filter(|r| r.0 == 0).map(|r| r.2.clone()).collect();
        let check = check_passes(&of_first, &set, expected as u64, tokens, cap);
        println!(
            "check of the first party: accepted {}, meetings {:.3}, faults {:?}",
            check.accepted, check.meetings_per_record, check.faults
        );
    }
}
