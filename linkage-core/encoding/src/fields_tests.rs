use linkage_agreement::layout::FieldPlace;
use linkage_crypto::fields::class_weights;

use super::*;
use crate::date;

const KINDS: [FieldKind; 8] = [
    FieldKind::BirthName,
    FieldKind::UsageName,
    FieldKind::GivenNames,
    FieldKind::BirthDate,
    FieldKind::Sex,
    FieldKind::Place,
    FieldKind::Category,
    FieldKind::Text,
];

fn layout() -> Layout {
    Layout::new(&KINDS, 256, 4, 20)
}
fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|w| (*w).to_owned()).collect()
}
fn person(birth: &[&str], usage: &[&str], given: &[&str], born: &str) -> Identity {
    Identity::from_values(vec![
        (FieldKind::BirthName, FieldValue::Name(words(birth))),
        (FieldKind::UsageName, FieldValue::Name(words(usage))),
        (FieldKind::GivenNames, FieldValue::Name(words(given))),
        (FieldKind::BirthDate, FieldValue::Date(date::parse(born, None).unwrap())),
        (FieldKind::Sex, FieldValue::Sex(Some(Sex::Woman))),
        (FieldKind::Place, FieldValue::Place(Place::read("34172", "", ""))),
        (FieldKind::Category, FieldValue::Category(Some("34000".into()))),
        (FieldKind::Text, FieldValue::Text(words(&["RUE", "HAUTE"]))),
    ])
}
fn secret(byte: u8) -> BlockSecret {
    BlockSecret::from_bytes(&[byte; 32])
}
fn filter<'p>(layout: &Layout, payload: &'p [u8], field: usize) -> &'p [u8] {
    let at = layout.fields[field].filter_at.unwrap();
    &payload[at..at + layout.filter_bits / 8]
}
fn slot(layout: &Layout, payload: &[u8], field: usize, index: usize) -> u16 {
    let at = layout.fields[field].slots_at + 2 * index;
    u16::from_le_bytes([payload[at], payload[at + 1]])
}
fn dice(a: &[u8], b: &[u8]) -> f64 {
    let ones = |bytes: &mut dyn Iterator<Item = u8>| bytes.map(u8::count_ones).sum::<u32>();
    let both = ones(&mut a.iter().zip(b).map(|(a, b)| a & b));
    2.0 * f64::from(both) / f64::from(ones(&mut a.iter().copied()) + ones(&mut b.iter().copied()))
}

#[test]
fn in_one_block_equal_fields_are_equal_and_similar_names_similar() {
    let layout = layout();
    let one = encode_payload(&layout, &person(&["QUEMET"], &["DEVOIR"], &["CAROLINE"], "1987-03-17"), &secret(1)).unwrap();
    let other = encode_payload(&layout, &person(&["QUEMETT"], &["QUEMET"], &["CAROLINE"], "1987-03-12"), &secret(1)).unwrap();
    assert_eq!(one.len(), layout.payload_len);
    assert_eq!(filter(&layout, &one, 2), filter(&layout, &other, 2));
    let similar = dice(filter(&layout, &one, 0), filter(&layout, &other, 0));
    assert!((0.7..1.0).contains(&similar), "{similar}");
    assert!(dice(filter(&layout, &one, 0), filter(&layout, &one, 1)) < 0.5);
    // Names share a domain: a birth name can be compared with a usage name.
    assert_eq!(filter(&layout, &one, 0), filter(&layout, &other, 1));
    for index in [date_slot::YEAR, date_slot::MONTH, date_slot::HALF, date_slot::DECADE, date_slot::DAY_TENS] {
        assert_ne!(slot(&layout, &one, 3, index), 0);
        assert_eq!(slot(&layout, &one, 3, index), slot(&layout, &other, 3, index));
    }
    for index in [date_slot::DAY, date_slot::DAY_UNIT] {
        assert_ne!(slot(&layout, &one, 3, index), slot(&layout, &other, 3, index));
    }
}

#[test]
fn a_filter_tells_the_class_of_its_size_only() {
    let layout = layout();
    let ones = |bytes: &[u8]| bytes.iter().map(|b| b.count_ones()).sum::<u32>();
    let weights = class_weights(256, 4).unwrap();
    // 7 and 8 bigrams, one class; 7 of which 5 are distinct, the class below. The text has 9 distinct ones.
    for (name, class) in [("QUEMET", 2), ("QUEMETS", 2), ("ANANAS", 1), ("LI", 0)] {
        for block in 0..20 {
            let payload = encode_payload(&layout, &person(&[name], &[], &["ZOE"], "1987-03-17"), &secret(block)).unwrap();
            assert_eq!(ones(filter(&layout, &payload, 0)), u32::from(weights[class]), "{name}");
            assert_eq!(ones(filter(&layout, &payload, 1)), 0);
            assert_eq!(ones(filter(&layout, &payload, 7)), u32::from(weights[3]));
        }
    }
}

#[test]
fn a_swapped_day_and_month_show() {
    let layout = layout();
    let one = encode_payload(&layout, &person(&["A"], &[], &["B"], "1987-03-12"), &secret(1)).unwrap();
    let other = encode_payload(&layout, &person(&["A"], &[], &["B"], "1987-12-03"), &secret(1)).unwrap();
    assert_eq!(slot(&layout, &one, 3, date_slot::DAY), slot(&layout, &other, 3, date_slot::MONTH));
    assert_eq!(slot(&layout, &one, 3, date_slot::MONTH), slot(&layout, &other, 3, date_slot::DAY));
}

#[test]
fn years_one_apart_share_exactly_one_half() {
    let slots = |year: u16| date_slots(Some(BirthDate::new(year, 5, 6).unwrap()));
    for year in 1950..1960 {
        let (one, next) = (slots(year), slots(year + 1));
        let shared = [date_slot::HALF, date_slot::HALF_SHIFTED].into_iter().filter(|i| one[*i] == next[*i]).count();
        assert_eq!(shared, 1);
    }
}

#[test]
fn missing_values_are_zero() {
    let layout = layout();
    let payload = encode_payload(&layout, &person(&["QUEMET"], &[], &[], ""), &secret(1)).unwrap();
    assert!(filter(&layout, &payload, 1).iter().all(|b| *b == 0));
    assert_eq!(slot(&layout, &payload, 1, 0), 0);
    assert!((0..9).all(|i| slot(&layout, &payload, 3, i) == 0));
    assert_ne!(slot(&layout, &payload, 0, 0), 0);
    let partial = date_slots(Some(BirthDate::new(1987, 0, 0).unwrap()));
    assert!(
        partial[date_slot::YEAR].1.is_some() && partial[date_slot::DAY].1.is_none() && partial[date_slot::DAY_TENS].1.is_none()
    );
    let placeholder = date_slots(Some(BirthDate::new(1900, 1, 1).unwrap()));
    assert!(placeholder.iter().all(|(_, value)| value.is_none()));
}

#[test]
fn two_blocks_share_nothing() {
    let layout = layout();
    let one = person(&["QUEMET"], &["DEVOIR"], &["CAROLINE"], "1987-03-17");
    let (a, b) = (encode_payload(&layout, &one, &secret(1)).unwrap(), encode_payload(&layout, &one, &secret(2)).unwrap());
    assert_ne!(filter(&layout, &a, 0), filter(&layout, &b, 0));
    assert_ne!(slot(&layout, &a, 3, 0), slot(&layout, &b, 3, 0));
}

#[test]
fn blinding_keeps_comparisons_and_changes_with_the_run() {
    let layout = layout();
    let run = |byte| RunKey::from_bytes(&[byte; 32]);
    let plain = encode_payload(&layout, &person(&["QUEMET"], &["DEVOIR"], &["CAROLINE"], "1987-03-17"), &secret(1)).unwrap();
    let similar = encode_payload(&layout, &person(&["QUEMETT"], &["DEVOIR"], &["CAROLINE"], "1987-03-17"), &secret(1)).unwrap();
    let (mut a, mut b, mut later) = (plain.clone(), similar.clone(), plain.clone());
    let token = blind_entry(&layout, &run(1), &secret(1), &mut a).unwrap();
    assert_eq!(blind_entry(&layout, &run(1), &secret(1), &mut b).unwrap(), token);
    assert_ne!(blind_entry(&layout, &run(2), &secret(1), &mut later).unwrap(), token);
    assert_ne!(a, plain);
    assert_ne!(a, later);
    assert_eq!(
        dice(filter(&layout, &a, 0), filter(&layout, &b, 0)),
        dice(filter(&layout, &plain, 0), filter(&layout, &similar, 0))
    );
    assert_eq!(slot(&layout, &a, 3, 0), slot(&layout, &b, 3, 0));
}

#[test]
fn the_header_tells_date_quality_and_rarity_only() {
    let layout = layout();
    let rarity = |header, place: &FieldPlace| Layout::rarity(header, place.rarity_at.unwrap());
    for (born, quality) in [
        ("1987-03-17", DateQuality::Full),
        ("1987-01-01", DateQuality::Default),
        ("1987", DateQuality::Partial),
        ("", DateQuality::Missing),
    ] {
        let header = header(&layout, &person(&["MARTIN"], &[], &["MARTIN", "ZZYZX"], born));
        assert_eq!(Layout::date_quality(header), quality);
        assert_eq!(rarity(header, &layout.fields[0]), 1);
        assert_eq!(rarity(header, &layout.fields[1]), 0);
        assert_eq!(rarity(header, &layout.fields[2]), 5);
    }
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let layout = layout();
    let one = person(&["QUEMET"], &[], &["CAROLINE"], "1987-03-17");
    let fewer = Layout::new(&KINDS[..4], 256, 4, 20);
    assert_eq!(encode_payload(&fewer, &one, &secret(1)), Err(EncodeError::OtherFields));
    let prepared = Prepared::new(&layout, &one).unwrap();
    assert_eq!(prepared.encode(&layout, &secret(1), &mut [0; 10]), Err(EncodeError::PayloadLength));
    assert_eq!(blind_entry(&layout, &RunKey::from_bytes(&[1; 32]), &secret(1), &mut [0; 10]), Err(EncodeError::PayloadLength));
    let odd = Layout { filter_bits: 96, ..Layout::new(&KINDS, 96, 4, 20) };
    assert!(matches!(encode_payload(&odd, &one, &secret(1)), Err(EncodeError::Parameters(_))));
    assert_eq!(format!("{prepared:?}"), "Prepared(..)");
}

#[test]
fn bigrams_are_padded_and_each_once() {
    assert_eq!(bigrams(&words(&["ANA", "ANA"])), "_AANNAA_");
    assert_eq!(bigrams(&[]), "");
}
