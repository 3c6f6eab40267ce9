//! The diffusion layer against its definition in Python (tests/clk/diffusion.py), and what makes it one.
#![allow(clippy::unwrap_used)]

use linkage_clk::{Diffusion, DiffusionError};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    key: String,
    bits: usize,
    t: u16,
    filter: String,
    diffused: String,
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn diffused(layer: &Diffusion, filter: &[u8]) -> Vec<u8> {
    let mut filter = filter.to_vec();
    layer.apply(&mut filter).unwrap();
    filter
}

fn ones(filter: &[u8]) -> u32 {
    filter.iter().map(|byte| byte.count_ones()).sum()
}

#[test]
fn known_answers() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../../tests/clk/diffusion.json")).unwrap();
    assert!(cases.len() >= 4);
    for case in &cases {
        let layer = Diffusion::new(&bytes(&case.key).try_into().unwrap(), case.bits, case.t).unwrap();
        assert_eq!(layer.bits(), case.bits);
        assert_eq!(diffused(&layer, &bytes(&case.filter)), bytes(&case.diffused), "{} bits, {}", case.bits, case.t);
    }
}

#[test]
fn every_bit_makes_t_and_is_made_of_t() {
    for (bits, t) in [(1024, 8), (1024, 11), (200, 100), (16, 8)] {
        let layer = Diffusion::new(&[7; 32], bits, t).unwrap();
        let mut made_of = vec![0; bits];
        for bit in 0..bits {
            let mut one = vec![0; bits / 8];
            one[bit / 8] = 1 << (bit % 8);
            let makes = diffused(&layer, &one);
            assert_eq!(ones(&makes), u32::from(t), "bit {bit}");
            for (out, made_of) in made_of.iter_mut().enumerate() {
                *made_of += u32::from(makes[out / 8] >> (out % 8) & 1);
            }
        }
        assert!(made_of.iter().all(|count| *count == u32::from(t)), "{bits} bits, {t}");
    }
}

#[test]
fn the_layer_is_linear_and_depends_on_key_and_t() {
    let mut draw = ChaCha8Rng::seed_from_u64(3);
    let [mut a, mut b] = [[0; 128]; 2];
    draw.fill_bytes(&mut a);
    draw.fill_bytes(&mut b);
    let layer = Diffusion::new(&[1; 32], 1024, 10).unwrap();
    let sum = |x: &[u8], y: &[u8]| -> Vec<u8> { x.iter().zip(y).map(|(x, y)| x ^ y).collect() };
    assert_eq!(diffused(&layer, &sum(&a, &b)), sum(&diffused(&layer, &a), &diffused(&layer, &b)));
    assert_ne!(diffused(&layer, &a), a);
    for other in [Diffusion::new(&[2; 32], 1024, 10).unwrap(), Diffusion::new(&[1; 32], 1024, 11).unwrap()] {
        let distance = ones(&sum(&diffused(&layer, &a), &diffused(&other, &a)));
        assert!((400..624).contains(&distance), "{distance} of 1024 bits differ");
    }
    assert_eq!(format!("{layer:?}"), "Diffusion(..)");
}

#[test]
fn differences_spread_as_the_formula_says() {
    let mut draw = ChaCha8Rng::seed_from_u64(4);
    for (changed, t) in [(20u32, 8u16), (60, 8), (20, 16)] {
        let layer = Diffusion::new(&[9; 32], 1024, t).unwrap();
        let mut far = 0;
        for _ in 0..200 {
            let mut difference = vec![0u8; 128];
            while ones(&difference) < changed {
                let bit = (draw.next_u32() % 1024) as usize;
                difference[bit / 8] |= 1 << (bit % 8);
            }
            far += ones(&diffused(&layer, &difference));
        }
        let share = f64::from(far) / (200.0 * 1024.0);
        let expected = (1.0 - (1.0 - 2.0 * f64::from(changed) / 1024.0).powi(t.into())) / 2.0;
        assert!((share - expected).abs() < 0.01, "{changed} bits, t = {t}: {share} for {expected}");
    }
}

#[test]
fn layers_that_do_not_protect_are_refused() {
    let new = |bits, t| Diffusion::new(&[0; 32], bits, t).map(|layer| layer.bits());
    assert_eq!(new(1024, 7), Err(DiffusionError::TooFew(7)));
    assert_eq!(new(1024, 0), Err(DiffusionError::TooFew(0)));
    assert_eq!(new(1024, 512), Ok(1024));
    assert_eq!(new(1024, 513), Err(DiffusionError::TooMany { t: 513, bits: 1024 }));
    assert_eq!(new(8, 8), Err(DiffusionError::TooMany { t: 8, bits: 8 }));
    assert_eq!(new(0, 8), Err(DiffusionError::TooMany { t: 8, bits: 0 }));
    assert_eq!(new(1001, 8), Err(DiffusionError::Length(1001)));
    assert_eq!(new(32_776, 8), Err(DiffusionError::Length(32_776)));
    let mut short = [5; 127];
    let layer = Diffusion::new(&[0; 32], 1024, 8).unwrap();
    assert_eq!(layer.apply(&mut short), Err(DiffusionError::Length(1016)));
    assert_eq!(short, [5; 127]);
}
