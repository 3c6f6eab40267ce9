//! Times queries over a large made-up study: `cargo run --release -p linkage-cohort --example million -- 1000000 36`.
//!
//! Prints, for each query, the time that passed and the processor time, of all threads, that it took.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../benches/made/mod.rs"]
mod made;

use std::time::Instant;

use linkage_cohort::query::{Query, evaluate};
use made::{Made, QUERIES, document};

/// Processor time of this process in seconds; Linux counts it in hundredths.
fn processor() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<u32>().unwrap());
    let (persons, months) = (arguments.next().unwrap_or(1_000_000), arguments.next().unwrap_or(36));
    let made = Made::new(persons, months);
    let rows: u64 = made.study.months.iter().map(|m| m.rows).sum();
    println!("{persons} persons, {months} months, {rows} rows");
    for (name, body) in QUERIES {
        let query = Query::from_toml(&document(body, months)).unwrap();
        for run in ["cold", "warm"] {
            let (start, used) = (Instant::now(), processor());
            let table = evaluate(&query, &made.study, made.inputs()).unwrap();
            let (passed, used) = (start.elapsed().as_secs_f64(), processor() - used);
            println!("{name:<40} {run}: {passed:6.2} s, processor {used:6.2} s, {} cells", table.cells.len());
        }
    }
}
