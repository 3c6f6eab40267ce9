//! A small encoder for tests: the layout's bytes from clear values, with a seeded mixer in place of the keyed functions.
//!
//! Filters, levelled, and slots of one block are comparable and those of two blocks are not, as with the real encoder;
//! nothing else of it is imitated. Handles, padding and the place of entries are drawn from the seed.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeSet;

use linkage_agreement::{DateQuality, FieldKind, Layout};
use linkage_crypto::derive::PrfKey;
use linkage_crypto::fields::level_filter;

/// Country, département, commune; empty for unknown.
pub(crate) type PlaceText = [String; 3];

#[derive(Debug, Clone, Default)]
pub(crate) struct Person {
    pub birth: String,
    pub usage: String,
    pub given: String,
    pub date: Option<(u16, u8, u8)>,
    pub default_date: bool,
    pub sex: String,
    pub birth_place: PlaceText,
    pub home: PlaceText,
    /// Rarity classes of birth name, usage name, given names; 0 stands for 3 where there is a name.
    pub classes: [u8; 3],
}

impl Person {
    pub(crate) fn new(birth: &str, given: &str, date: (u16, u8, u8)) -> Self {
        let place = |c: &str| ["FR".to_owned(), "34".to_owned(), c.to_owned()];
        Self {
            birth: birth.to_owned(),
            given: given.to_owned(),
            date: Some(date),
            sex: "1".to_owned(),
            birth_place: place("MONTPELLIER"),
            home: place("34172"),
            ..Self::default()
        }
    }
}

pub(crate) const FIELDS: [FieldKind; 7] = [
    FieldKind::BirthName,
    FieldKind::UsageName,
    FieldKind::GivenNames,
    FieldKind::BirthDate,
    FieldKind::Sex,
    FieldKind::Place,
    FieldKind::Place,
];

pub(crate) fn layout(filter_bits: usize, hash_count: usize, tokens: usize) -> Layout {
    Layout::new(&FIELDS, filter_bits, hash_count, tokens)
}

/// splitmix64 over the bytes.
pub(crate) fn mix(parts: &[&[u8]]) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for part in parts {
        for &byte in *part {
            state = (state ^ u64::from(byte)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            state ^= state >> 29;
        }
        state = (state ^ 0xff51).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 32;
    }
    state
}

pub(crate) fn words(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_ascii_alphabetic()).filter(|w| !w.is_empty()).collect()
}

/// First letter and the consonants that follow, doubles removed.
pub(crate) fn sound(word: &str) -> String {
    let mut out = String::new();
    for (n, c) in word.chars().enumerate() {
        let keep = n == 0 || !"AEIOUYH".contains(c);
        if keep && !out.ends_with(c) {
            out.push(c);
        }
    }
    out
}

fn filter(layout: &Layout, block: &[u8], text: &str, out: &mut [u8]) {
    let padded: Vec<String> = words(text).iter().map(|word| format!("_{word}_")).collect();
    let grams: BTreeSet<&[u8]> = padded.iter().flat_map(|word| word.as_bytes().windows(2)).collect();
    for gram in &grams {
        for n in 0..layout.hash_count {
            let bit = mix(&[block, b"gram", gram, &[n as u8]]) as usize % layout.filter_bits;
            out[bit / 8] |= 1 << (bit % 8);
        }
    }
    let key = PrfKey::from_bytes(&u128::from(mix(&[block, b"level"])).to_le_bytes());
    level_filter(&key, grams.len(), layout.hash_count, out).unwrap();
}

fn slot(block: &[u8], domain: u8, value: &str) -> u16 {
    if value.is_empty() { 0 } else { (mix(&[block, b"slot", &[domain], value.as_bytes()]) as u16).max(1) }
}

pub(crate) fn header(person: &Person) -> u32 {
    let quality = match (person.date, person.default_date) {
        (None, _) => DateQuality::Missing,
        (_, true) => DateQuality::Default,
        _ => DateQuality::Full,
    };
    let mut header = quality as u32;
    for (n, (name, class)) in [&person.birth, &person.usage, &person.given].into_iter().zip(person.classes).enumerate() {
        let class = if name.is_empty() {
            0
        } else if class == 0 {
            3
        } else {
            class
        };
        header |= u32::from(class) << (2 + 3 * n);
    }
    header
}

pub(crate) fn payload(layout: &Layout, person: &Person, block: &[u8]) -> Vec<u8> {
    let mut out = vec![0; layout.payload_len];
    let mut places = [&person.birth_place, &person.home].into_iter();
    for field in &layout.fields {
        let mut slots = Vec::new();
        match field.kind {
            FieldKind::BirthName | FieldKind::UsageName | FieldKind::GivenNames => {
                let name = match field.kind {
                    FieldKind::BirthName => &person.birth,
                    FieldKind::UsageName => &person.usage,
                    _ => &person.given,
                };
                let at = field.filter_at.unwrap();
                filter(layout, block, name, &mut out[at..at + layout.filter_bits / 8]);
                let main = words(name).first().map(|w| sound(w)).unwrap_or_default();
                slots.push(slot(block, 10, &main));
            }
            FieldKind::BirthDate => {
                if let Some((y, m, d)) = person.date {
                    let parts: [(u8, u16); 9] = [
                        (1, y),
                        (2, m.into()),
                        (2, d.into()),
                        (3, y / 2),
                        (4, y.div_ceil(2)),
                        (5, y / 10),
                        (6, y % 10),
                        (7, u16::from(d / 10)),
                        (8, u16::from(d % 10)),
                    ];
                    slots.extend(parts.map(|(domain, value)| slot(block, domain, &value.to_string())));
                }
            }
            FieldKind::Sex => slots.push(slot(block, 9, &person.sex)),
            FieldKind::Place => {
                let place = places.next().unwrap();
                slots.extend(place.iter().zip([11, 12, 13]).map(|(value, domain)| slot(block, domain, value)));
            }
            FieldKind::Category | FieldKind::Text => {}
        }
        for (n, value) in slots.into_iter().enumerate() {
            let at = field.slots_at + 2 * n;
            out[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
    }
    out
}

/// One packed record that is in the blocks named by `keys`.
pub(crate) fn record(layout: &Layout, person: &Person, keys: &[String], seed: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(layout.record_len());
    let seed = seed.to_le_bytes();
    out.extend(mix(&[b"handle", &seed]).to_le_bytes().repeat(2));
    out.extend(header(person).to_le_bytes());
    let mut entries: Vec<(u64, String)> = (0..layout.tokens_per_record)
        .map(|n| keys.get(n).cloned().unwrap_or_else(|| format!("padding {n} {}", mix(&[b"pad", &seed]))))
        .enumerate()
        .map(|(n, key)| (mix(&[b"order", &seed, &[n as u8]]), key))
        .collect();
    entries.sort();
    for (_, key) in entries {
        let key = key.as_bytes();
        out.extend(mix(&[b"token", key]).to_le_bytes());
        out.extend(mix(&[b"token2", key]).to_le_bytes());
        out.extend(payload(layout, person, key));
    }
    out
}

/// Block keys of a fixed set of passes over name sounds and parts of the date.
pub(crate) fn block_keys(person: &Person) -> Vec<String> {
    let mut sounds: Vec<String> =
        [&person.birth, &person.usage, &person.given].into_iter().flat_map(|n| words(n)).take(5).map(sound).collect();
    sounds.sort();
    sounds.dedup();
    let Some((y, m, d)) = person.date else { return Vec::new() };
    let mut keys = Vec::new();
    for (n, a) in sounds.iter().enumerate() {
        if !person.default_date {
            keys.push(format!("1 {a} {y}-{m}-{d}"));
        }
        for b in sounds.iter().skip(n + 1) {
            if person.default_date {
                keys.push(format!("2 {a} {b} {y}"));
                continue;
            }
            keys.push(format!("3 {a} {b} {m}-{d}"));
            keys.push(format!("4 {a} {b} {y}-{m}"));
            keys.push(format!("5 {a} {b} {y} {d}"));
            keys.push(format!("6 {a} {b} {y} {} {}", m.min(d), m.max(d)));
            if a.len() + b.len() >= 5 {
                keys.push(format!("7 {a} {b} {y}"));
            }
        }
    }
    keys
}
