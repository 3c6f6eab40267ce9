//! Fifty nodes upload at once to one broker, which is killed in the middle: no batch is lost or counted twice, and its memory
//! does not grow with their number.
//!
//! Small in CI; `LINKAGE_LOAD=N` has every node send N records of the size that agreements have by default. The figures are in
//! docs/operations.md.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use linkage_agreement::RoleId;
use linkage_common::order::RunTerms;
use linkage_proto::v1;
use linkage_tests::federation::{LIMIT, binary, memory_of, wait_for};
use linkage_tests::fixture::{PERIOD, World, party};
use linkage_tests::wire::{AtBroker, handle, levels, sha256};
use tonic::Status;

const NODES: usize = 50;
const RUN: &str = "charge";
/// Batches of one call.
const A_CALL: usize = 4;
/// What the broker may need, whatever is sent: messages under way of every node, and what it needs idle.
const MEMORY: u64 = 384 << 20;

/// The broker as a process.
struct Broker {
    process: Child,
    config: PathBuf,
    log: PathBuf,
}

impl Broker {
    fn start(world: &World) -> Self {
        let quoted = |path: &Path| toml::Value::String(path.display().to_string()).to_string();
        let (of, files, tls) = (world.broker_config(), world.files(), world.tls(&RoleId::Broker));
        let key = world.path("keys").join("broker-broker.signing");
        let text = format!(
            "listen = \"{}\"\ndata_dir = {}\ncustodian_url = \"{}\"\n[agreement]\nagreement = {}\nsignatures = {}\n[tls]\nca = {}\ncertificate = {}\nkey = {}\n[signing_key]\nfile = {}\n",
            of.listen,
            quoted(&of.data_dir),
            of.custodian_url,
            quoted(&files.agreement),
            quoted(&files.signatures),
            quoted(&tls.ca),
            quoted(&tls.certificate),
            quoted(&tls.key),
            quoted(&key),
        );
        let (config, log) = (world.path("broker.toml"), world.path("broker.log"));
        linkage_common::fsx::write_atomic(&config, text.as_bytes()).unwrap();
        let mut broker = Self { process: Self::spawn(&config, &log), config, log };
        broker.listening();
        broker
    }
    fn spawn(config: &Path, log: &Path) -> Child {
        Command::new(binary())
            .args(["broker", "serve", "--config"])
            .arg(config)
            .env("LINKAGE_EXIT_WITH_PARENT", "1")
            .env("LINKAGE_LOG", "info")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(OpenOptions::new().create(true).append(true).open(log).unwrap())
            .spawn()
            .unwrap()
    }
    fn text(&self) -> String {
        String::from_utf8(std::fs::read(&self.log).unwrap()).unwrap()
    }
    fn listening(&mut self) {
        let process = self.process.id();
        wait_for("the broker listens", || {
            assert!(self.process.try_wait().unwrap().is_none(), "the broker {process} ended:\n{}", self.text());
            let started = self.text().matches("listening").count();
            (started > self.text().matches("killed here").count()).then_some(())
        });
    }
    /// Kills it and starts it again; its most memory and its processor time until then.
    fn kill_and_start(&mut self) -> (u64, f64) {
        let figures = self.figures();
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        writeln!(OpenOptions::new().append(true).open(&self.log).unwrap(), "killed here").unwrap();
        self.process = Self::spawn(&self.config, &self.log);
        self.listening();
        figures
    }
    /// Most memory, in bytes, and processor time, in seconds.
    fn figures(&self) -> (u64, f64) {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        // proc_pid_stat(5): user and system time are the 14th and 15th field, in hundredths of a second; the name may hold blanks.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = [11, 12].map(|n: usize| fields[n].parse::<u64>().unwrap()).iter().sum();
        (memory_of(self.process.id()).1, ticks as f64 / 100.0)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What all nodes have done so far.
#[derive(Default)]
struct Progress {
    batches: AtomicU64,
    retries: AtomicU64,
}

/// A node's records from `first` on: handles that are nobody else's, tokens and filters of no meaning.
fn records(world: &World, first: u64, count: u64) -> Vec<u8> {
    let length = world.agreement.layout().record_len();
    let mut bytes = Vec::with_capacity(length * count as usize);
    for n in first..first + count {
        let start = bytes.len();
        bytes.extend_from_slice(&handle(n).0);
        bytes.extend_from_slice(&1_u32.to_le_bytes());
        let mut state = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        while bytes.len() < start + length {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            bytes.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
        }
        bytes.truncate(start + length);
    }
    bytes
}

/// Sends everything, as nodes do: asks what is held, sends what is missing, and begins again when a call fails.
async fn upload(world: &World, name: &str, number: u64, all: u64, a_batch: u64, progress: &Progress) {
    let (mut broker, started) = (AtBroker::party(world, name).await, Instant::now());
    let sizes: Vec<u64> = (0..all.div_ceil(a_batch)).map(|n| a_batch.min(all - n * a_batch)).collect();
    let first = |sequence: usize| number * all + sequence as u64 * a_batch;
    let digests: Vec<_> = sizes.iter().enumerate().map(|(n, size)| sha256(&records(world, first(n), *size))).collect();
    let naming = v1::RunRequest { agreement: world.reference(), run_id: RUN.to_owned() };
    let manifest = v1::CommitUploadRequest {
        agreement: world.reference(),
        run_id: RUN.to_owned(),
        batches: sizes.len() as u32,
        records: all,
        digest: sha256(&digests.concat()),
        level_frequencies: levels(world),
        removed: Default::default(),
        past_epoch: Some(0),
    };
    loop {
        let done: Result<bool, Status> = async {
            let held: BTreeSet<u32> = broker.runs.get_upload(naming.clone()).await?.into_inner().held.into_iter().collect();
            let missing: Vec<usize> = (0..sizes.len()).filter(|n| !held.contains(&(*n as u32))).collect();
            for some in missing.chunks(A_CALL) {
                let messages: Vec<v1::Batch> =
                    some.iter().map(|&n| broker.batch(RUN, n as u32, &records(world, first(n), sizes[n]))).collect();
                broker.put(messages).await?;
                progress.batches.fetch_add(some.len() as u64, Ordering::Relaxed);
            }
            Ok(broker.commit(manifest.clone()).await?.committed)
        }
        .await;
        match done {
            Ok(committed) => return assert!(committed),
            Err(status) => {
                assert!(started.elapsed() < LIMIT, "{name} waited in vain: {status}");
                progress.retries.fetch_add(1, Ordering::Relaxed);
                assert!(
                    matches!(
                        status.code(),
                        tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Cancelled | tonic::Code::Internal
                    ),
                    "{name}: {status}"
                );
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

#[test]
fn fifty_nodes_upload_at_once_and_no_request_is_lost() {
    let long: Option<u64> = std::env::var("LINKAGE_LOAD").ok().map(|n| n.parse().unwrap());
    let all = long.unwrap_or(120);
    let names: Vec<String> = (0..=NODES).map(|n| format!("p{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::of(&names, |agreement| {
        for party in &mut agreement.party {
            party.max_records = all;
        }
        if long.is_some() {
            agreement.encoding.tokens_per_record = 18;
            agreement.encoding.filter_bits = 256;
        }
    });
    let length = world.agreement.layout().record_len() as u64;
    let a_batch = if long.is_some() { (1 << 20) / length } else { 25 };
    let mut broker = Broker::start(&world);
    let idle = broker.figures().0;
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // The last party never sends, so that nothing but uploads is measured.
    runtime().block_on(async {
        let order = world.ordered(RunTerms::new(RUN.parse().unwrap(), PERIOD.parse().unwrap(), world.parties()));
        let mut coordinator = AtBroker::of(&world, &party(names[0])).await;
        coordinator.runs.open_run(order.opening(world.reference().unwrap())).await.unwrap();
    });
    let progress = Progress::default();
    let expected = NODES as u64 * all.div_ceil(a_batch);
    let started = Instant::now();
    let (before, after) = std::thread::scope(|scope| {
        let nodes: Vec<_> = (0..NODES)
            .map(|n| {
                let (world, name, progress) = (&world, names[n], &progress);
                scope.spawn(move || runtime().block_on(Box::pin(upload(world, name, n as u64, all, a_batch, progress))))
            })
            .collect();
        wait_for("half of the batches", || (progress.batches.load(Ordering::Relaxed) * 2 >= expected).then_some(()));
        let before = broker.kill_and_start();
        for node in nodes {
            node.join().unwrap();
        }
        (before, broker.figures())
    });
    let seconds = started.elapsed().as_secs_f64();
    runtime().block_on(async {
        for name in &names[..NODES] {
            let held = AtBroker::party(&world, name).await.held(RUN).await;
            assert_eq!((held.records, held.committed), (all, true), "{name}");
            assert_eq!(held.held.iter().collect::<BTreeSet<_>>().len() as u64, all.div_ceil(a_batch), "{name}");
        }
    });
    let most = before.0.max(after.0);
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    println!(
        "{NODES} nodes, {} records of {length} bytes, {} MiB in {expected} batches of at most {a_batch}; {} answered at once, {} calls tried again\n\
         broker: {} MiB idle, {} MiB at most, {:.1} s of processor time; {seconds:.1} s in all",
        NODES as u64 * all,
        (NODES as u64 * all * length) >> 20,
        count(&progress.batches),
        count(&progress.retries),
        idle >> 20,
        most >> 20,
        before.1 + after.1,
    );
    assert!(most < MEMORY, "{} MiB", most >> 20);
}
