//! The word-level permutation against the definition bit by bit, batched evaluation against single, refusals.

use linkage_crypto::derive::PrfKey;
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
