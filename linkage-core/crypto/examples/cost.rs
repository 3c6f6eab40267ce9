//! What one evaluation and one entry cost on this machine: `cargo run --release -p linkage-crypto --example cost`.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use linkage_crypto::derive::{BlockSecret, PrfKey, RunKey};
use linkage_crypto::fields;
use linkage_crypto::oprf::{Blinder, MAX_BATCH, ServerKey};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

const ENTRIES: usize = 50_000;

fn main() {
    let mut rng = ChaCha20Rng::from_seed([5; 32]);
    let key = ServerKey::generate(&mut rng);
    let inputs: Vec<[u8; 64]> = (0..MAX_BATCH).map(|i| std::array::from_fn(|j| (i >> (j % 12)) as u8)).collect();
    let (blind, (state, sent)) = timed(|| Blinder::blind(&inputs, &mut rng).unwrap());
    let (evaluate, answer) = timed(|| key.evaluate(&sent, &mut rng).unwrap());
    let (finalize, outputs) = timed(|| state.finalize(key.public_key(), &answer).unwrap());
    for (step, time) in [("blind", blind), ("evaluate", evaluate), ("finalize", finalize)] {
        println!("OPRF {step}: {:.1} us an input", time.as_secs_f64() * 1e6 / MAX_BATCH as f64);
    }

    let grams = ["_d", "du", "up", "po", "on", "nt", "t_", "_é", "éa", "an"];
    let x = BlockSecret::from_oprf(&outputs[0]);
    let (stage1, _) = timed(|| {
        for _ in 0..ENTRIES {
            let key = std::hint::black_box(&x).field_key();
            let mut filters = [0; 96];
            for filter in filters.chunks_mut(32) {
                fields::set_grams(&key, 0, grams, 8, filter).unwrap();
            }
            let mut slots = [0; 17];
            fields::slots(&key, (0..17).map(|i| (i, Some(u64::from(i)))), &mut slots);
            std::hint::black_box((filters, slots));
        }
    });
    let run = RunKey::from_bytes(&[7; 32]);
    let mut payload = [0x5a; 96 + 34];
    let (stage2, _) = timed(|| {
        for _ in 0..ENTRIES {
            let (_, key): ([u8; 16], PrfKey) = std::hint::black_box(&run).entry_keys(&x);
            fields::permute_payload(&key, 256, 96, &mut payload).unwrap();
        }
    });
    for (step, time) in [("stage 1: 3 filters of 10 bigrams, 17 slots", stage1), ("stage 2: token and permutation", stage2)] {
        println!("{step}: {:.0} ns an entry", time.as_secs_f64() * 1e9 / ENTRIES as f64);
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}
