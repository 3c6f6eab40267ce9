//! The word-level permutation against the definition bit by bit, batched evaluation against single, levelling, refusals.

use linkage_crypto::derive::{BlockSecret, PrfKey, RunKey};
use linkage_crypto::entries::{EntryBlinder, PayloadShape};
use linkage_crypto::fields::*;
use proptest::prelude::*;

const SIZES: [usize; 4] = [64, 128, 256, 512];

/// The network as the definition has it: one bit at a time.
fn permute_by_definition(key: &PrfKey, filter: &[u8]) -> Vec<u8> {
    let bits = filter.len() * 8;
    let mut values: Vec<bool> = (0..bits).map(|p| filter[p / 8] >> (p % 8) & 1 == 1).collect();
    let mut mask = (0u32..).flat_map(|counter| {
        let mut block = [0; 16];
        block[0] = 3;
        block[1..5].copy_from_slice(&counter.to_le_bytes());
        let block = key.prf(&block);
        (0..128).map(move |p| block[p / 8] >> (p % 8) & 1 == 1)
    });
    for stage in 0..bits.ilog2() {
        let distance = bits >> (stage + 1);
        for i in (0..bits).filter(|i| i & distance == 0) {
            if mask.next().unwrap() {
                values.swap(i, i + distance);
            }
        }
    }
    let mut out = vec![0; filter.len()];
    for p in (0..bits).filter(|&p| values[p]) {
        out[p / 8] |= 1 << (p % 8);
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn permutation_is_the_defined_one(key: [u8; 16], size in 0..4usize, content: [u8; 32], content2: [u8; 32]) {
        let key = PrfKey::from_bytes(&key);
        let mut filter = [content, content2].concat();
        filter.truncate(SIZES[size] / 8);
        let expected = permute_by_definition(&key, &filter);
        permute_filter(&key, &mut filter).unwrap();
        prop_assert_eq!(filter, expected);
    }

    #[test]
    fn grams_together_or_one_by_one(key: [u8; 16], size in 0..4usize, hash_count in 1..=8usize, domain: u8,
                                    grams in prop::collection::vec("\\PC{1,3}", 0..40)) {
        let key = PrfKey::from_bytes(&key);
        let mut filter = vec![0; SIZES[size] / 8];
        set_grams(&key, domain, grams.iter().map(String::as_str), hash_count, &mut filter).unwrap();
        let mut expected = vec![0; SIZES[size] / 8];
        for gram in &grams {
            for p in &gram_positions(&key, domain, gram, SIZES[size]).unwrap()[..hash_count] {
                expected[usize::from(p / 8)] |= 1 << (p % 8);
            }
        }
        prop_assert_eq!(filter, expected);
    }

    #[test]
    fn levelled_filters_have_the_weight_of_their_class(key: [u8; 16], size in 0..4usize, hash_count in 1..=8usize,
                                                       count in 1..60usize, fill: u8) {
        let (prf, other) = (PrfKey::from_bytes(&key), PrfKey::from_bytes(&key.map(|byte| byte ^ 0x55)));
        let grams: Vec<String> = (0..count).map(|n| format!("{fill}-{n}")).collect();
        let bits = SIZES[size];
        let mut natural = vec![0; bits / 8];
        set_grams(&prf, 0, grams.iter().map(String::as_str), hash_count, &mut natural).unwrap();
        let levelled = |key: &PrfKey, natural: &[u8]| {
            let mut filter = natural.to_vec();
            level_filter(key, count, hash_count, &mut filter).unwrap();
            filter
        };
        let class = CLASS_BOUNDS.iter().position(|bound| count <= *bound).unwrap_or(8);
        let weight = u32::from(class_weights(bits, hash_count).unwrap()[class]);
        let filter = levelled(&prf, &natural);
        prop_assert_eq!(ones(&filter), weight);
        prop_assert_eq!(&filter, &levelled(&prf, &natural));
        // Only ever one way: what was added lies beside the content, what was cleared was content.
        let kept = natural.iter().zip(&filter).all(|(was, is)| was & is == *was);
        let of_it = natural.iter().zip(&filter).all(|(was, is)| was & is == *is);
        let as_told = if ones(&natural) <= weight { kept } else { of_it };
        prop_assert!(as_told);
        // Places hang on the key; few changes may agree by chance.
        if ones(&natural).abs_diff(weight) > 8 && weight + 8 < bits as u32 {
            prop_assert_ne!(&filter, &levelled(&other, &natural));
        }
        // Whatever bytes come, however far they are from their class.
        for content in [0, fill, u8::MAX] {
            prop_assert_eq!(ones(&levelled(&prf, &vec![content; bits / 8])), weight);
        }
    }

    #[test]
    fn slots_together_or_one_by_one(key: [u8; 16], values in prop::collection::vec((any::<u8>(), any::<Option<u64>>()), 0..40)) {
        let key = PrfKey::from_bytes(&key);
        let mut out = vec![7; values.len() + 3];
        slots(&key, values.iter().copied(), &mut out);
        let mut expected: Vec<u16> =
            values.iter().map(|&(domain, value)| value.map_or(0, |value| slot(&key, domain, value))).collect();
        expected.extend([0; 3]);
        prop_assert_eq!(&out, &expected);

        let mut stored: Vec<u8> = out.iter().flat_map(|slot| slot.to_le_bytes()).collect();
        remap_slots(&key, &mut stored).unwrap();
        let remapped: Vec<u8> =
            (0u8..).zip(&out).flat_map(|(j, &value)| remap_slot(&key, j, value).to_le_bytes()).collect();
        prop_assert_eq!(stored, remapped);
    }

    #[test]
    fn a_payload_is_its_filters_and_slots(key: [u8; 16], size in 0..4usize, filters in 0..5usize, slot_count in 0..30usize, fill: u8) {
        let key = PrfKey::from_bytes(&key);
        let slots_at = filters * SIZES[size] / 8;
        let mut payload: Vec<u8> = (0..slots_at + 2 * slot_count).map(|i| (i as u8).wrapping_mul(fill)).collect();
        let mut expected = Vec::new();
        for filter in payload[..slots_at].chunks(SIZES[size] / 8) {
            expected.extend(permute_by_definition(&key, filter));
        }
        let mut remapped = payload[slots_at..].to_vec();
        remap_slots(&key, &mut remapped).unwrap();
        expected.extend(remapped);
        permute_payload(&key, SIZES[size], slots_at, &mut payload).unwrap();
        prop_assert_eq!(payload, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn entries_together_or_one_by_one(run: [u8; 32], size in 0..4usize, filters in 0..4usize, slot_count in 0..30usize,
                                      count in 0..11usize, fill: u8) {
        let run = RunKey::from_bytes(&run);
        let slots_at = filters * SIZES[size] / 8;
        let shape = PayloadShape { filter_bits: SIZES[size], slots_at, len: slots_at + 2 * slot_count };
        let mut blinder = EntryBlinder::new(&run, shape).unwrap();
        // Twice with other entries: nothing of the first ones may remain in the second.
        for round in 1..3u8 {
            let archived: Vec<u8> =
                (0..count * (32 + shape.len)).map(|i| (i as u8).wrapping_mul(fill).wrapping_mul(round) & 0xf7).collect();
            let mut expected = Vec::new();
            for entry in archived.chunks_exact(32 + shape.len) {
                let (token, key) = run.entry_keys(&BlockSecret::from_bytes(entry[..32].try_into().unwrap()));
                let mut payload = entry[32..].to_vec();
                permute_payload(&key, SIZES[size], slots_at, &mut payload).unwrap();
                expected.extend_from_slice(&token);
                expected.extend(payload);
            }
            let mut out = vec![0; expected.len()];
            blinder.blind(&archived, &mut out).unwrap();
            prop_assert_eq!(out, expected);
        }
    }
}

#[test]
fn entries_of_another_shape_are_refused() {
    let run = RunKey::from_bytes(&[1; 32]);
    let new = |filter_bits, slots_at, len| EntryBlinder::new(&run, PayloadShape { filter_bits, slots_at, len }).map(drop);
    assert_eq!(new(96, 12, 12), Err(FieldError::FilterBits));
    assert_eq!(new(128, 24, 24), Err(FieldError::FilterLength));
    assert_eq!(new(128, 32, 16), Err(FieldError::FilterLength));
    assert_eq!(new(128, 16, 19), Err(FieldError::SlotLength));
    assert_eq!(new(128, 16, 16 + 514), Err(FieldError::SlotLength));
    assert_eq!(new(128, 16, 16 + 512), Ok(()));
    let mut blinder = EntryBlinder::new(&run, PayloadShape { filter_bits: 64, slots_at: 8, len: 10 }).unwrap();
    for (archived, out) in [(41, 26), (42, 25), (84, 26), (42, 52), (0, 26)] {
        assert_eq!(blinder.blind(&vec![0; archived], &mut vec![0; out]), Err(FieldError::EntryLength));
    }
    assert_eq!(blinder.blind(&[0; 84], &mut [0; 52]), Ok(()));
}

fn ones(filter: &[u8]) -> u32 {
    filter.iter().map(|byte| byte.count_ones()).sum()
}

#[test]
fn weights_rise_and_are_what_is_expected_of_so_many_draws() {
    for bits in SIZES {
        for k in 1..=MAX_HASH_COUNT {
            let weights = class_weights(bits, k).unwrap();
            assert!(weights.is_sorted_by(|a, b| a < b) && usize::from(weights[8]) < bits, "{bits} bits, {k}: {weights:?}");
            for (weight, bound) in weights.into_iter().zip(CLASS_BOUNDS) {
                let expected = bits as f64 * (1.0 - (1.0 - 1.0 / bits as f64).powi((k * bound) as i32));
                assert!((f64::from(weight) - expected).abs() < 0.501, "{weight} for {expected}");
            }
        }
    }
    assert_eq!(class_weights(128, 4), Ok([15, 22, 28, 34, 43, 53, 64, 75, 87]));
    assert_eq!(class_weights(96, 4), Err(FieldError::FilterBits));
    assert_eq!(class_weights(128, 0), Err(FieldError::HashCount));
    assert_eq!(class_weights(128, 9), Err(FieldError::HashCount));
}

#[test]
fn what_levelling_adds_to_two_filters_agrees_by_chance_only() {
    let key = PrfKey::from_bytes(&[3; 16]);
    let added = |bit: usize| {
        let mut filter = vec![0; 16];
        filter[bit / 8] |= 1 << (bit % 8);
        level_filter(&key, 13, 4, &mut filter).unwrap();
        filter
    };
    let filters: Vec<Vec<u8>> = (0..128).map(added).collect();
    let shared = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| (a & b).count_ones()).sum::<u32>();
    let pairs = filters.iter().enumerate().flat_map(|(n, a)| filters[..n].iter().map(move |b| shared(a, b)));
    let mean = pairs.map(f64::from).sum::<f64>() / (128.0 * 127.0 / 2.0);
    // Two draws of 43 of 128.
    assert!((mean - 43.0 * 43.0 / 128.0).abs() < 0.2, "{mean}");
}

#[test]
fn an_absent_value_stays_absent() {
    let mut filter = [0; 16];
    level_filter(&PrfKey::from_bytes(&[1; 16]), 0, 4, &mut filter).unwrap();
    assert_eq!(filter, [0; 16]);
}

#[test]
fn permutation_moves_every_bit_to_a_place_of_its_own() {
    for bits in SIZES {
        let permutation = FilterPermutation::new(&PrfKey::from_bytes(&[9; 16]), bits).unwrap();
        let mut places = std::collections::BTreeSet::new();
        for p in 0..bits {
            let mut filter = vec![0; bits / 8];
            filter[p / 8] |= 1 << (p % 8);
            permutation.permute_filter(&mut filter).unwrap();
            assert_eq!(filter.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
            places.insert(filter);
        }
        assert_eq!(places.len(), bits);
    }
}

#[test]
fn fips_197_appendix_c_1() {
    let key = PrfKey::from_bytes(&std::array::from_fn(|i| i as u8));
    let plain: [u8; 16] = std::array::from_fn(|i| 0x11 * i as u8);
    assert_eq!(hex::encode(key.prf(&plain)), "69c4e0d86a7b0430d8cdb78070b4c55a");
}

#[test]
fn slots_are_never_zero_and_domains_differ() {
    let key = PrfKey::from_bytes(&[1; 16]);
    assert!((0..70_000).all(|value| slot(&key, 1, value) != 0));
    assert!((1..=u16::MAX).all(|value| remap_slot(&key, 0, value) != 0));
    assert_eq!(remap_slot(&key, 5, 0), 0);
    assert_ne!(slot(&key, 1, 4), slot(&key, 2, 4));
    assert_ne!(remap_slot(&key, 1, 4), remap_slot(&key, 2, 4));
    assert_ne!(gram_positions(&key, 0, "ab", 256).unwrap(), gram_positions(&key, 1, "ab", 256).unwrap());
}

#[test]
fn wrong_sizes_are_refused() {
    let key = PrfKey::from_bytes(&[1; 16]);
    for bits in [0, 8, 32, 96, 255, 257, 1024, usize::MAX] {
        assert_eq!(gram_positions(&key, 0, "ab", bits).unwrap_err(), FieldError::FilterBits);
        assert_eq!(FilterPermutation::new(&key, bits).unwrap_err(), FieldError::FilterBits);
    }
    assert_eq!(gram_positions(&key, 0, "12345678901234", 64).unwrap_err(), FieldError::GramTooLong);
    assert!(gram_positions(&key, 0, "1234567890123", 64).is_ok());
    assert_eq!(set_grams(&key, 0, ["12345678901234"], 8, &mut [0; 8]).unwrap_err(), FieldError::GramTooLong);
    assert_eq!(set_grams(&key, 0, ["ab"], 0, &mut [0; 8]).unwrap_err(), FieldError::HashCount);
    assert_eq!(set_grams(&key, 0, ["ab"], 9, &mut [0; 8]).unwrap_err(), FieldError::HashCount);
    assert_eq!(set_grams(&key, 0, ["ab"], 8, &mut [0; 9]).unwrap_err(), FieldError::FilterBits);
    assert_eq!(level_filter(&key, 5, 4, &mut [0; 9]).unwrap_err(), FieldError::FilterBits);
    assert_eq!(level_filter(&key, 5, 0, &mut [0; 8]).unwrap_err(), FieldError::HashCount);
    assert_eq!(level_filter(&key, 0, 9, &mut [0; 8]).unwrap_err(), FieldError::HashCount);
    assert_eq!(permute_filter(&key, &mut [0; 9]).unwrap_err(), FieldError::FilterBits);
    let permutation = FilterPermutation::new(&key, 128).unwrap();
    assert_eq!(permutation.permute_filter(&mut [0; 8]).unwrap_err(), FieldError::FilterLength);
    assert_eq!(remap_slots(&key, &mut [0; 3]).unwrap_err(), FieldError::SlotLength);
    assert_eq!(remap_slots(&key, &mut [0; 514]).unwrap_err(), FieldError::SlotLength);
    assert!(remap_slots(&key, &mut [0; 512]).is_ok());
    assert_eq!(permute_payload(&key, 64, 9, &mut [0; 20]).unwrap_err(), FieldError::FilterLength);
    assert_eq!(permute_payload(&key, 64, 24, &mut [0; 20]).unwrap_err(), FieldError::FilterLength);
    assert_eq!(permute_payload(&key, 64, 16, &mut [0; 19]).unwrap_err(), FieldError::SlotLength);
}
