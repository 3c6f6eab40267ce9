//! Measures the broker's work alone: from received batches to clusters, in time and memory.
//!
//! `scale make AGREEMENT FOLDER PARTY=FILE ...` encodes CSV files with canonical headers into batches as nodes upload them,
//! block secrets from a fixed shared key in place of the OPRF; `scale link AGREEMENT FOLDER [MEMORY_MIB]` links them and
//! prints one line of JSON: records, pairs, seconds and processor seconds of each step, and the process's largest memory.
//! `scale increment AGREEMENT FOLDER [RECORDS]` holds all but the last records of the last party, writes the index of tokens,
//! and measures linking those RECORDS (10,000) against what is held, everything read back from disk.
//! AGREEMENT is the `agreement.toml` that a trial of the same parties writes. docs/performance.md gives the figures.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic, missing_docs)]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use linkage_agreement::{Agreement, Handle, ParsedAgreement, PartyId};
use linkage_broker::held::HeldTokens;
use linkage_broker::pipeline::{Fault, Uploads, cluster_run, compare};
use linkage_broker::spill::SpillFolder;
use linkage_common::error::ServiceError;
use linkage_crypto::derive::{BlockSecret, RunKey, SharedKey};
use linkage_encoding::fields::{blind_entry, encode_payload, header};
use linkage_encoding::records::encode_record;
use linkage_encoding::{Identity, Normaliser, PassSet, block_keys};
use linkage_linking::{
    Base, Comparer, Comparisons, Dimensions, Held, HeldRecords, LevelFrequencies, Model, Records, Settings, Source, classify,
    increment, index_tokens,
};
use linkage_proto::MAX_BATCH_BYTES;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

/// Records encoded at a time.
const CHUNK: usize = 50_000;
/// Records and random pairs of them from which level frequencies are counted.
const LEVEL_SAMPLE: usize = 20_000;
const LEVEL_PAIRS: usize = 200_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, agreement, folder) = (&arguments[0], &arguments[1], PathBuf::from(&arguments[2]));
    let text = std::fs::read_to_string(agreement).unwrap();
    let mut agreement = ParsedAgreement::parse(&text, agreement).unwrap().agreement().clone();
    match command.as_str() {
        "make" => {
            std::fs::create_dir_all(&folder).unwrap();
            let files: Vec<(&str, &str)> = arguments[3..].iter().map(|a| a.split_once('=').unwrap()).collect();
            // One line each, but for the header.
            let lines = |path: &str| std::io::BufRead::lines(std::io::BufReader::new(File::open(path).unwrap())).count() - 1;
            agreement.encoding.expected_records = files.iter().map(|(_, path)| lines(path)).sum::<usize>().max(1000) as u64;
            files.iter().for_each(|(party, path)| make(&agreement, &folder, party, path));
        }
        "link" => link(&agreement, &folder, arguments.get(3).map_or(4096, |mib| mib.parse().unwrap())),
        "increment" => add(&agreement, &folder, arguments.get(3).map_or(10_000, |records| records.parse().unwrap())),
        other => panic!("{other}: make, link or increment"),
    }
}

fn make(agreement: &Agreement, folder: &Path, party: &str, path: &str) {
    let layout = agreement.layout();
    let passes = PassSet::agreed(&agreement.encoding.pass_set, None).unwrap();
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).unwrap();
    let columns: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let normaliser = Normaliser::new(&agreement.identity.field, &columns).unwrap();
    let (key, run) = (SharedKey::from_bytes(&[1; 32]), RunKey::from_bytes(&[2; 32]));
    let mut out = BufWriter::new(File::create(folder.join(format!("{party}.batches"))).unwrap());
    let mut rows = reader.records().map(Result::unwrap);
    let mut sample: Vec<Identity> = Vec::new();
    loop {
        let chunk: Vec<csv::StringRecord> = rows.by_ref().take(CHUNK).collect();
        if chunk.is_empty() {
            break;
        }
        let encoded: Vec<(Identity, Vec<u8>)> = chunk
            .par_iter()
            .filter_map(|row| {
                let identity = normaliser.normalise(&row.iter().collect::<Vec<_>>()).ok()?;
                let mut rng = linkage_common::rng();
                let keys = block_keys(&identity, &passes, agreement.encoding.expected_records, layout.tokens_per_record);
                let secrets: Vec<_> = keys.iter().map(|k| BlockSecret::shared(&key, &k.oprf_input("measurement", 1))).collect();
                let mut record = encode_record(&layout, &identity, &secrets, &mut rng).unwrap();
                let mut handle = Handle::default();
                rng.fill_bytes(&mut handle.0);
                let mut bytes = [&handle.0[..], &record.header.to_le_bytes()].concat();
                for entry in &mut record.entries {
                    bytes.extend(blind_entry(&layout, &run, &entry.secret, &mut entry.payload).unwrap().0);
                    bytes.extend(&entry.payload);
                }
                Some((identity, bytes))
            })
            .collect();
        for (identity, bytes) in encoded {
            out.write_all(&bytes).unwrap();
            if sample.len() < LEVEL_SAMPLE {
                sample.push(identity);
            }
        }
    }
    out.flush().unwrap();
    // As a node counts them (stage_one::level_frequencies), which this role cannot reach.
    let mut rng = ChaCha20Rng::from_seed([7; 32]);
    let block = BlockSecret::generate(&mut rng);
    let encoded: Vec<(u32, Vec<u8>)> =
        sample.iter().map(|i| (header(&layout, i), encode_payload(&layout, i, &block).unwrap())).collect();
    let (comparer, mut table) = (Comparer::new(&layout).unwrap(), LevelFrequencies::new(&layout));
    for _ in 0..LEVEL_PAIRS {
        let mut draw = || &encoded[(rng.next_u64() % encoded.len() as u64) as usize];
        let (x, y) = (draw(), draw());
        if !std::ptr::eq(x, y) {
            let vector = comparer.compare(x.0, y.0, [(x.1.as_slice(), y.1.as_slice())]).unwrap();
            table.observe(comparer.dimensions(), &vector);
        }
    }
    table.suppress();
    let levels = serde_json::to_vec(&table).unwrap();
    linkage_common::fsx::write_atomic(&folder.join(format!("{party}.levels")), &levels).unwrap();
}

/// What `make` left of all parties.
struct Made {
    record_len: usize,
    parties: Vec<(PartyId, Vec<u32>)>,
    levels: Vec<(PartyId, Vec<u8>)>,
    /// File, place and length of every batch.
    places: Vec<(Arc<File>, u64, usize)>,
    /// File of every party.
    files: Vec<Arc<File>>,
}

impl Made {
    /// All records, but for the last `left_out` of the last party.
    fn open(agreement: &Agreement, folder: &Path, left_out: usize) -> Self {
        let record_len = agreement.layout().record_len();
        let per_batch = MAX_BATCH_BYTES / record_len;
        let mut made = Self { record_len, parties: Vec::new(), levels: Vec::new(), places: Vec::new(), files: Vec::new() };
        let of = |party: &PartyId| folder.join(format!("{party}.batches"));
        let held: Vec<&PartyId> = agreement.party.iter().map(|p| &p.id).filter(|id| of(id).is_file()).collect();
        for (number, &party) in held.iter().enumerate() {
            let file = Arc::new(File::open(of(party)).unwrap());
            let all = file.metadata().unwrap().len() as usize / record_len;
            let records = if number + 1 == held.len() { all - left_out } else { all };
            made.add(&file, party, 0, records, per_batch);
            let levels = std::fs::read(folder.join(format!("{party}.levels"))).unwrap();
            made.levels.push((party.clone(), levels));
            made.files.push(file);
        }
        made
    }
    fn add(&mut self, file: &Arc<File>, party: &PartyId, from: usize, records: usize, per_batch: usize) {
        let batches: Vec<u32> = (0..records).step_by(per_batch).map(|at| per_batch.min(records - at) as u32).collect();
        let mut at = from;
        for &batch in &batches {
            self.places.push((file.clone(), (at * self.record_len) as u64, batch as usize * self.record_len));
            at += batch as usize;
        }
        self.parties.push((party.clone(), batches));
    }
    fn records(&self) -> u64 {
        self.parties.iter().flat_map(|(_, batches)| batches).map(|&n| u64::from(n)).sum()
    }
    fn uploads(&self, agreement: &Agreement) -> impl Source<Error = Fault> {
        Uploads::new(agreement, &self.parties, |number: usize| {
            let (file, at, len) = &self.places[number];
            let mut bytes = vec![0; *len];
            file.read_exact_at(&mut bytes, *at).map_err(ServiceError::internal)?;
            Ok(Bytes::from(bytes))
        })
    }
}

/// Reads held records one by one.
struct OneByOne<'m> {
    made: &'m Made,
    /// First record of each party.
    starts: Vec<u32>,
}

impl HeldRecords<Fault> for OneByOne<'_> {
    fn record(&self, record: u32) -> Result<Vec<u8>, Fault> {
        let party = self.starts.partition_point(|&start| start <= record) - 1;
        let mut bytes = vec![0; self.made.record_len];
        let at = u64::from(record - self.starts[party]) * self.made.record_len as u64;
        self.made.files[party].read_exact_at(&mut bytes, at).map_err(|e| Fault(ServiceError::internal(e)))?;
        Ok(bytes)
    }
}

fn add(agreement: &Agreement, folder: &Path, new: usize) {
    let made = Made::open(agreement, folder, new);
    let (last, file) = (made.parties.last().unwrap().0.clone(), made.files.last().unwrap().clone());
    let held_of_last: u32 = made.parties.last().unwrap().1.iter().sum();
    let mut fresh =
        Made { record_len: made.record_len, parties: Vec::new(), levels: Vec::new(), places: Vec::new(), files: Vec::new() };
    for (party, _) in &made.parties {
        let records = if *party == last { new } else { 0 };
        fresh.add(&file, party, held_of_last as usize, records, MAX_BATCH_BYTES / made.record_len);
    }

    let layout = agreement.layout();
    let (uploads, tokens) = (made.uploads(agreement), folder.join("index"));
    let compared = compare(agreement, &uploads, &SpillFolder::new(&folder.join("spill")).unwrap(), 16 << 30).unwrap();
    let records = Records::from_bytes(&layout, uploads.parties(), &compared.records).unwrap();
    let comparisons = Comparisons::from_bytes(&compared.comparisons).unwrap();
    let mut levels = LevelFrequencies::new(&layout);
    for (_, table) in &made.levels {
        levels.merge(&serde_json::from_slice(table).unwrap()).unwrap();
    }
    let model = classify(&records, &comparisons, &levels).unwrap();
    let keep = |number, batch: &_| HeldTokens::keep(&tokens, number, batch).map_err(Fault);
    let partitions = index_tokens(&uploads, &Held::default(), keep).unwrap();
    let files = [("records", &compared.records), ("comparisons", &compared.comparisons), ("model", &model.to_bytes())];
    for (name, bytes) in files {
        linkage_common::fsx::write_atomic(&folder.join(name), bytes).unwrap();
    }
    drop((compared, comparisons, model, records));

    let (start, cpu) = (Instant::now(), processor_seconds());
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let records = Records::from_bytes(&layout, uploads.parties(), &read("records")).unwrap();
    let comparisons = Comparisons::from_bytes(&read("comparisons")).unwrap();
    let model = Model::from_bytes(&Dimensions::of(&layout), &read("model")).unwrap();
    let (held, loaded_s) = (records.len(), start.elapsed().as_secs_f64());
    let starts = (0..records.parties()).map(|party| records.of_party(party).start).collect();
    let made_anew = increment(
        Base { records, comparisons: &comparisons, model: &model, settled: &Default::default(), memory_bytes: u64::MAX },
        &HeldTokens::new(&tokens, partitions),
        &OneByOne { made: &made, starts },
        &fresh.uploads(agreement),
        &Default::default(),
        &Settings::of(agreement),
        &Default::default(),
    )
    .unwrap();
    println!(
        "{}",
        serde_json::json!({
            "held": held, "new": fresh.records(), "pairs": made_anew.comparisons.rows.len(), "touched": made_anew.touched.len(),
            "clusters": made_anew.clusters.clusters.len(), "loaded_s": loaded_s, "all_s": start.elapsed().as_secs_f64(),
            "cpu_s": processor_seconds() - cpu, "threads": rayon::current_num_threads(),
        })
    );
}

fn link(agreement: &Agreement, folder: &Path, memory_mib: u64) {
    let made = Made::open(agreement, folder, 0);
    let uploads = made.uploads(agreement);
    let spill = SpillFolder::new(&folder.join("spill")).unwrap();
    let start = Instant::now();
    let compared = compare(agreement, &uploads, &spill, memory_mib << 20).unwrap();
    let (compare_s, compare_cpu) = (start.elapsed().as_secs_f64(), processor_seconds());
    let start = Instant::now();
    let linked = cluster_run(agreement, &made.levels, &compared, &[]).unwrap();
    println!(
        "{}",
        serde_json::json!({
            "records": made.records(), "record_bytes": made.record_len, "memory_mib": memory_mib,
            "pairs": linked.report.candidates + linked.report.candidates_within, "clusters": linked.clusters.len(),
            "meetings_with_others": linked.report.non_matching_meetings_per_record,
            "precision": linked.report.precision.value, "recall": linked.report.recall.value,
            "compare_s": compare_s, "compare_cpu_s": compare_cpu,
            "cluster_s": start.elapsed().as_secs_f64(), "cluster_cpu_s": processor_seconds() - compare_cpu,
            "peak_mib": peak_mib(), "threads": rayon::current_num_threads(),
        })
    );
}

/// User and system time of this process so far (Linux; ticks are hundredths of a second).
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// Largest resident memory so far (Linux).
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) >> 10
}
