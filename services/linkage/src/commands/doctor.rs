//! `linkage doctor`: what this machine offers, what the commands make of it, and why; of a role, what is wrong ([`role`]).
//!
//! It changes nothing and reads no data. What cannot be found out is said to be unknown, never guessed.

mod role;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use linkage_clk::Kernel;
use linkage_common::clock::{Clock as _, SystemClock};
use serde::Serialize;

use crate::cli::{print_json, say};

/// Less memory than this does not take a run of a few thousand records.
const LEAST_MEMORY: u64 = 1 << 30;
/// Less room than this does not take a run's files.
const LEAST_DISK: u64 = 2 << 30;
/// A clock before this program was written is wrong, and certificates and agreements are refused by it.
const WRITTEN: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// Arguments of `linkage doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Folder of the data, whose disk is looked at.
    #[arg(long, default_value = ".")]
    data: PathBuf,
    /// Configuration of a role, which is examined instead: keys, certificates, agreement, database, disk, peers.
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    config: Option<PathBuf>,
    /// Print the facts as JSON.
    #[arg(long)]
    json: bool,
}

/// A kernel that compares filters, and whether this processor can run it.
#[derive(Debug, Serialize)]
struct KernelFacts {
    name: &'static str,
    runs: bool,
    /// Instructions that it needs and this processor lacks.
    lacks: Vec<&'static str>,
}

/// All that is found out.
#[derive(Debug, Serialize)]
struct Facts {
    version: &'static str,
    system: String,
    clock: Timestamp,
    kernel: &'static str,
    kernels: Vec<KernelFacts>,
    instructions: BTreeMap<&'static str, bool>,
    cores: Option<NonZeroUsize>,
    threads: usize,
    threads_from: &'static str,
    memory_available: Option<u64>,
    memory_limit: Option<u64>,
    data: PathBuf,
    disk_free: Option<u64>,
    warnings: Vec<String>,
}

/// Prints the facts; of a role, exit code 3 when something is at fault.
pub async fn run(args: &DoctorArgs, asked: Option<NonZeroUsize>) -> anyhow::Result<()> {
    if let Some(config) = &args.config {
        return role::run(config, args.json).await;
    }
    let facts = Facts::find(&args.data, asked);
    if args.json {
        return print_json(&facts);
    }
    facts.tell();
    Ok(())
}

impl Facts {
    fn find(data: &Path, asked: Option<NonZeroUsize>) -> Self {
        let instructions = instructions();
        let lacking = |needed: &[&'static str]| -> Vec<&'static str> {
            needed.iter().filter(|name| instructions.get(**name) != Some(&true)).copied().collect()
        };
        let available: Vec<_> = Kernel::available().into_iter().map(Kernel::name).collect();
        let kernels =
            KERNELS.iter().map(|(name, needed)| KernelFacts { name, runs: available.contains(name), lacks: lacking(needed) });
        let mut facts = Self {
            version: env!("CARGO_PKG_VERSION"),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            clock: SystemClock.now(),
            kernel: Kernel::best().name(),
            kernels: kernels.collect(),
            cores: std::thread::available_parallelism().ok(),
            threads: rayon::current_num_threads(),
            threads_from: match (asked, std::env::var_os("RAYON_NUM_THREADS")) {
                (Some(_), _) => "--threads",
                (None, Some(_)) => "RAYON_NUM_THREADS",
                (None, None) => "cœurs",
            },
            memory_available: memory_available(),
            memory_limit: memory_limit(),
            data: data.to_owned(),
            disk_free: linkage_common::fsx::free_bytes(data),
            instructions,
            warnings: Vec::new(),
        };
        facts.warnings = facts.warnings();
        facts
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.clock < WRITTEN {
            warnings.push(format!("horloge au {} : réglez-la (NTP), sinon certificats et conventions sont refusés", self.clock));
        }
        if self.kernel == "portable" {
            warnings.push("noyau portable : la comparaison de filtres fonctionne, plusieurs fois plus lentement".to_owned());
        }
        if ["aes", "sha", "sha2"].iter().any(|name| self.instructions.get(name) == Some(&false)) {
            warnings.push("AES ou SHA sans instructions du processeur : l'encodage sera plus lent".to_owned());
        }
        if let Some(cores) = self.cores.filter(|cores| self.threads > cores.get()) {
            warnings.push(format!("{} fils pour {cores} cœurs : --threads {cores} suffit", self.threads));
        }
        if self.memory().is_some_and(|bytes| bytes < LEAST_MEMORY) {
            warnings.push("moins de 1 Gio de mémoire : libérez-en, ou travaillez sur une autre machine".to_owned());
        }
        match self.disk_free {
            None => warnings.push(format!("{} : espace libre inconnu ; vérifiez le dossier (--data)", self.data.display())),
            Some(bytes) if bytes < LEAST_DISK => {
                warnings.push(format!("{} : moins de 2 Gio libres ; faites de la place", self.data.display()));
            }
            Some(_) => {}
        }
        warnings
    }

    /// What a command may take: the container's limit where it is the lower one.
    fn memory(&self) -> Option<u64> {
        self.memory_available.into_iter().chain(self.memory_limit).min()
    }

    fn tell(&self) {
        say(&format!("linkage {} ({}), {}", self.version, self.system, self.clock));
        say(&format!("Noyau de comparaison des filtres : {}, le plus rapide que ce processeur sache exécuter", self.kernel));
        for kernel in &self.kernels {
            let why = match (kernel.runs, &kernel.lacks[..]) {
                (true, _) => "disponible".to_owned(),
                (false, []) => "pour une autre architecture".to_owned(),
                (false, lacks) => format!("absent : il manque {}", lacks.join(", ")),
            };
            say(&format!("  {:<18} {why}", kernel.name));
        }
        let names = |wanted: bool| -> String {
            let names = self.instructions.iter().filter(|(_, found)| **found == wanted).map(|(name, _)| *name);
            names.collect::<Vec<_>>().join(", ")
        };
        let (found, missing) = (names(true), names(false));
        let missing = if missing.is_empty() { String::new() } else { format!(" ; absentes : {missing}") };
        say(&format!("Instructions du processeur : {found}{missing}"));
        let cores = self.cores.map_or_else(|| "nombre inconnu".to_owned(), |cores| cores.to_string());
        say(&format!("Cœurs : {cores} ; fils de calcul : {} (d'après : {})", self.threads, self.threads_from));
        let limit = self.memory_limit.map_or_else(String::new, |bytes| format!(" ; limite du conteneur : {}", size(bytes)));
        say(&format!("Mémoire disponible : {}{limit}", told(self.memory_available)));
        say(&format!("Espace libre de {} : {}", self.data.display(), told(self.disk_free)));
        match &self.warnings[..] {
            [] => say("Rien à signaler."),
            warnings => warnings.iter().for_each(|warning| say(&format!("À voir : {warning}"))),
        }
    }
}

fn told(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "inconnu".to_owned(), size)
}

fn size(bytes: u64) -> String {
    let tenths = bytes / (1 << 30) * 10 + bytes % (1 << 30) * 10 / (1 << 30);
    format!("{},{} Gio", tenths / 10, tenths % 10)
}

/// The kernels that this program knows, best first, with what each needs.
const KERNELS: &[(&str, &[&str])] = &[
    #[cfg(target_arch = "x86_64")]
    ("avx512-vpopcntdq", &["avx512f", "avx512vpopcntdq"]),
    #[cfg(target_arch = "x86_64")]
    ("avx2", &["avx2"]),
    #[cfg(target_arch = "x86_64")]
    ("popcnt", &["popcnt"]),
    #[cfg(target_arch = "aarch64")]
    ("neon", &["neon"]),
    ("portable", &[]),
];

/// Instructions that the commands make use of: comparison, AES and SHA-256 (both chosen by the libraries themselves).
fn instructions() -> BTreeMap<&'static str, bool> {
    #[cfg(target_arch = "x86_64")]
    return BTreeMap::from([
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512vpopcntdq", is_x86_feature_detected!("avx512vpopcntdq")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("popcnt", is_x86_feature_detected!("popcnt")),
        ("aes", is_x86_feature_detected!("aes")),
        ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
        ("sha", is_x86_feature_detected!("sha")),
    ]);
    #[cfg(target_arch = "aarch64")]
    return BTreeMap::from([
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("aes", std::arch::is_aarch64_feature_detected!("aes")),
        ("sha2", std::arch::is_aarch64_feature_detected!("sha2")),
    ]);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    BTreeMap::new()
}

/// Memory that can be taken without swapping, as Linux counts it.
fn memory_available() -> Option<u64> {
    available_in(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn available_in(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The limit of this container, if it has one (control groups, version 2).
fn memory_limit() -> Option<u64> {
    std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_is_told_with_what_it_lacks() {
        let facts = Facts::find(Path::new("."), None);
        let available: Vec<_> = Kernel::available().into_iter().map(Kernel::name).collect();
        let running: Vec<_> = facts.kernels.iter().filter(|kernel| kernel.runs).map(|kernel| kernel.name).collect();
        assert_eq!(running, available);
        assert_eq!(facts.kernel, available[0]);
        for kernel in &facts.kernels {
            assert_eq!(kernel.runs, kernel.lacks.is_empty(), "{kernel:?}");
        }
    }

    #[test]
    fn what_is_scarce_or_wrong_is_told() {
        let mut facts = Facts::find(Path::new("."), None);
        facts.clock = WRITTEN;
        facts.kernel = "avx2";
        facts.instructions = BTreeMap::from([("aes", true), ("sha", true)]);
        (facts.cores, facts.threads) = (NonZeroUsize::new(2), 2);
        (facts.memory_available, facts.memory_limit, facts.disk_free) = (Some(LEAST_MEMORY), None, Some(LEAST_DISK));
        assert_eq!(facts.warnings(), Vec::<String>::new());
        facts.memory_limit = Some(LEAST_MEMORY - 1);
        facts.clock = Timestamp::UNIX_EPOCH;
        facts.kernel = "portable";
        facts.instructions = BTreeMap::from([("aes", true), ("sha", false)]);
        (facts.threads, facts.disk_free) = (3, None);
        let warnings = facts.warnings().join("\n");
        for told in ["horloge", "portable", "SHA", "--threads 2", "1 Gio", "--data"] {
            assert!(warnings.contains(told), "{told} is missing: {warnings}");
        }
    }

    #[test]
    fn figures_are_read_and_told() {
        assert_eq!(available_in("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
        assert_eq!(available_in("MemTotal: 9 kB\n"), None);
        assert_eq!(size((3 << 30) + (1 << 29)), "3,5 Gio");
        assert_eq!(told(None), "inconnu");
        let free = linkage_common::fsx::free_bytes;
        assert!(free(Path::new(".")).is_some_and(|bytes| bytes > 0) && free(Path::new("/nulle/part")).is_none());
    }
}
