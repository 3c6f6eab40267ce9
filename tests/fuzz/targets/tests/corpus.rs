//! Every target over every file of its corpus, and over what a few hundred changes make of each.
//!
//! The changes are drawn from a fixed seed, so that a failure comes again; a fuzzer that runs for hours is for developers
//! (docs/fuzzing.md). A file that once made a target fail stays in its corpus.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::panic)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use linkage_fuzz_targets::{ALL, Target};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// Changed inputs of each seed.
const CHANGES: u32 = 400;
/// A target whose inputs take longer gets fewer of them.
const PATIENCE: Duration = Duration::from_millis(600);
/// Bytes that formats give a meaning to.
const TELLING: &[u8] = b"\0\x01\x7f\x80\xff\"'\\{}[],;:=|#\t\n\r -+.0129aAzZ/";

fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} holds no seed", folder.display());
    files
}

/// One to eight changes at random places: bits, bytes, numbers, cuts, repetitions, pieces of another seed.
fn changed(seed: &[u8], other: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    let below = |rng: &mut ChaCha8Rng, limit: usize| rng.next_u64() as usize % limit.max(1);
    for _ in 0..=below(rng, 8) {
        let at = below(rng, bytes.len() + 1);
        let length = below(rng, 16).min(bytes.len() - at);
        match below(rng, 8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << below(rng, 8),
            1 if at < bytes.len() => bytes[at] = TELLING[below(rng, TELLING.len())],
            2 => bytes.insert(at, TELLING[below(rng, TELLING.len())]),
            3 => drop(bytes.drain(at..at + length)),
            4 => {
                let piece = bytes[at..at + length].to_vec();
                for _ in 0..=below(rng, 40) {
                    bytes.splice(at..at, piece.iter().copied());
                }
            }
            5 => bytes.truncate(at),
            6 => {
                let from = below(rng, other.len());
                let to = (from + below(rng, 64)).min(other.len());
                bytes.splice(at..at + length, other[from..to].iter().copied());
            }
            _ => {
                let number = [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, u64::MAX][below(rng, 8)];
                let width = [1, 2, 4, 8][below(rng, 4)].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
            }
        }
    }
    bytes
}

/// Feeds `bytes` to a target; a failure is told with the input that came to it.
fn feed(name: &str, target: Target, from: &Path, bytes: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target(bytes))).is_err() {
        let kept = std::env::temp_dir().join(format!("linkage-fuzz-{name}"));
        fs::write(&kept, bytes).unwrap();
        panic!("{name} failed on an input made from {}; the input is in {}", from.display(), kept.display());
    }
}

#[test]
fn every_target_holds_over_its_corpus_and_what_is_made_of_it() {
    linkage_common::tls::install_crypto();
    let mut fed = 0u64;
    for (name, target) in ALL {
        let files = corpus(name);
        let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        let taken = linkage_fuzz_targets::taken();
        for (file, seed) in files.iter().zip(&seeds) {
            feed(name, target, file, seed);
        }
        assert!(linkage_fuzz_targets::taken() > taken, "no seed of {name} is what its parser reads");
        let mut rng = ChaCha8Rng::seed_from_u64(20_261_122);
        let begun = Instant::now();
        // Round by round, so that no seed goes without where time is short.
        for _ in 0..CHANGES {
            for (file, seed) in files.iter().zip(&seeds) {
                let other = &seeds[rng.next_u64() as usize % seeds.len()];
                feed(name, target, file, &changed(seed, other, &mut rng));
                fed += 1;
            }
            if begun.elapsed() > PATIENCE {
                break;
            }
        }
    }
    assert!(fed > 1000, "only {fed} inputs");
}

#[test]
fn a_target_that_repeats_a_person_fails() {
    let shown = catch_unwind(|| linkage_fuzz_targets::must_be_silent("colonne « Qzxvwjk » inconnue"));
    assert!(shown.is_err());
    linkage_fuzz_targets::must_be_silent("colonne 3 inconnue");
}

#[test]
fn every_target_has_its_program() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml")).unwrap();
    for (name, _) in ALL {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fuzz_targets/{name}.rs"));
        let text = fs::read_to_string(&program).unwrap();
        assert!(text.contains(&format!("linkage_fuzz_targets::{name}(bytes)")), "{}", program.display());
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name} is missing in tests/fuzz/Cargo.toml");
    }
    let programs = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz_targets")).unwrap().count();
    assert_eq!(programs, ALL.len());
}
