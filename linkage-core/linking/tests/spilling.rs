//! The result of a linkage does not depend on the memory that it may take, on how uploads are cut into batches, or on the
//! number of threads.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use linkage_linking::{Held, InMemory, LinkError, MeetTerms, Met, PartyInput, Place, Spill, meet};
use support::{Person, block_keys, layout, mix, record};

/// Counts what is spilled.
#[derive(Default)]
struct Counting {
    held: Held,
    tokens: AtomicU64,
    payloads: AtomicU64,
}

impl Spill<LinkError> for Counting {
    fn write(&self, place: Place, batch: &RecordBatch) -> Result<(), LinkError> {
        let count = if matches!(place, Place::Tokens(_)) { &self.tokens } else { &self.payloads };
        count.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        self.held.write(place, batch)
    }
    fn take(&self, place: Place) -> Result<Vec<RecordBatch>, LinkError> {
        self.held.take(place)
    }
}

/// Two lists of `persons` with half of them in common. Half of the tokens are of blocks over the cap: met often, and no use.
fn sides(persons: u64) -> [Vec<Vec<u8>>; 2] {
    let layout = layout(128, 4, 8);
    let entry = |n: u64, from: u64| {
        let date = (1930 + (mix(&[b"y", &n.to_le_bytes()]) % 70) as u16, 1 + (n % 12) as u8, 2 + (n % 26) as u8);
        let person = Person::new(&format!("NOM{}", mix(&[b"n", &n.to_le_bytes()]) % 5000), &format!("PRENOM{}", n % 300), date);
        let common = (0..4).map(|key| format!("common {key} {}", n % 100));
        let keys: Vec<String> = common.chain(block_keys(&person).into_iter().take(4)).collect();
        record(&layout, &person, &keys, mix(&[&from.to_le_bytes(), &n.to_le_bytes()]))
    };
    [0, persons / 2].map(|from| (from..from + persons).map(|n| entry(n, from)).collect())
}

fn run(sides: &[Vec<Vec<u8>>; 2], per_batch: usize, memory_bytes: u64) -> Result<(Met, Counting), LinkError> {
    let layout = layout(128, 4, 8);
    let batches: Vec<Vec<Vec<u8>>> = sides.iter().map(|side| side.chunks(per_batch).map(<[Vec<u8>]>::concat).collect()).collect();
    let input: Vec<_> =
        batches.iter().map(|b| PartyInput::block_scoped(&layout, true, b.iter().map(Vec::as_slice).collect())).collect();
    let spill = Counting::default();
    let met = meet(&InMemory::new(&layout, &input)?, &spill, &MeetTerms { block_cap: 16, memory_bytes })?;
    Ok((met, spill))
}

#[test]
fn the_budget_changes_nothing_but_where_things_are_held() {
    let sides = sides(20_000);
    let (whole, spill) = run(&sides, 500, u64::MAX).unwrap();
    assert_eq!((spill.tokens.into_inner(), spill.payloads.into_inner()), (0, 0));
    assert!(whole.comparisons.rows.len() > 5_000, "{}", whole.comparisons.rows.len());
    // What met is only known once it has met: then the least is told anew, and is larger.
    let mut budget = 1;
    let (met, spill) = loop {
        match run(&sides, 700, budget) {
            Ok(done) => break done,
            Err(LinkError::Memory { least }) if least > budget => budget = least,
            Err(other) => panic!("{other}"),
        }
    };
    assert!(budget < 32 << 20, "{budget}");
    assert_eq!((&met.records, met.blocks, &met.comparisons), (&whole.records, whole.blocks, &whole.comparisons));
    let (tokens, payloads) = (spill.tokens.into_inner(), spill.payloads.into_inner());
    assert!(tokens > 0 && payloads > 0, "{tokens} {payloads}");
    // Tokens met once went nowhere.
    assert!(tokens < 2 * 20_000 * 7, "{tokens}");
}

#[test]
fn one_thread_gives_what_many_give() {
    let sides = sides(3_000);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&sides, 100, u64::MAX).unwrap().0)
    };
    let (one, many) = (with(1), with(4));
    assert_eq!((one.records, one.blocks, one.comparisons), (many.records, many.blocks, many.comparisons));
}
