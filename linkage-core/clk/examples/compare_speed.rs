//! Measures each kernel on two files of filters: `compare_speed A.json B.json THRESHOLD [THREADS]`.
//!
//! Prints one line per kernel: its name, threads, seconds, millions of pairs per second, pairs found. With `make BITS COUNT
//! A.json B.json` it writes two files of random filters of usual density, every tenth record of A also in B with errors.
//! tests/clk/speed.py runs this beside anonlink on the same files.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::num::NonZeroUsize;
use std::time::Instant;

use base64::Engine as _;
use linkage_clk::{Filters, Kernel, Options, Threshold, compare, read_clks};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["make", bits, count, a, b] => make(bits.parse().unwrap(), count.parse().unwrap(), a, b),
        [a, b, threshold] => measure(a, b, threshold, 1),
        [a, b, threshold, threads] => measure(a, b, threshold, threads.parse().unwrap()),
        _ => println!("compare_speed A.json B.json THRESHOLD [THREADS], or compare_speed make BITS COUNT A.json B.json"),
    }
}

fn measure(a: &str, b: &str, threshold: &str, threads: usize) {
    let read = |path: &str| -> Filters { read_clks(File::open(path).unwrap()).unwrap() };
    let start = Instant::now();
    let (a, b) = (read(a), read(b));
    println!("read {:.3} s, {} and {} filters of {} bits", start.elapsed().as_secs_f64(), a.len(), b.len(), a.bits());
    let threshold = Threshold::new(threshold.parse().unwrap()).unwrap();
    for kernel in Kernel::available() {
        let options = Options { threads: NonZeroUsize::new(threads).unwrap(), kernel, max_pairs: 1 << 26 };
        let start = Instant::now();
        let pairs = compare(&a, &b, threshold, &options, &|_, _| {}).unwrap();
        let seconds = start.elapsed().as_secs_f64();
        let speed = a.len() as f64 * b.len() as f64 / seconds / 1e6;
        println!("{} {threads} {seconds:.3} {speed:.0} {}", kernel.name(), pairs.len());
    }
}

fn make(bits: usize, count: usize, a: &str, b: &str) {
    let mut draw = ChaCha8Rng::seed_from_u64(1);
    let mut files = [a, b].map(|path| BufWriter::new(File::create(path).unwrap()));
    for at in 0..count {
        // Three bits of eight are set, as in a clkhash file of its default schema.
        let first: Vec<u64> = (0..bits / 64).map(|_| (draw.next_u64() | draw.next_u64()) & draw.next_u64()).collect();
        let second: Vec<u64> = if at % 10 == 0 {
            first.iter().map(|w| w ^ (draw.next_u64() & draw.next_u64() & draw.next_u64() & draw.next_u64())).collect()
        } else {
            (0..bits / 64).map(|_| (draw.next_u64() | draw.next_u64()) & draw.next_u64()).collect()
        };
        for (file, filter) in files.iter_mut().zip([first, second]) {
            let bytes: Vec<u8> = filter.iter().flat_map(|w| w.to_le_bytes()).collect();
            let text = base64::engine::general_purpose::STANDARD.encode(bytes);
            write!(file, "{}\"{text}\"", if at == 0 { "{\"clks\": [" } else { ", " }).unwrap();
        }
    }
    for mut file in files {
        file.write_all(b"]}\n").unwrap();
        file.flush().unwrap();
    }
}
