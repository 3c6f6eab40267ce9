//! Tokens and filters: what parties upload, linked whole, and what the broker keeps between the steps of a run.

use std::collections::BTreeSet;

use linkage_agreement::{Layout, RecordShape};
use linkage_linking::{
    Clusters, Comparisons, Dimensions, Dispositions, LevelFrequencies, LinkError, Model, PartyInput, PartyTerms, Records,
    Settings, link, meet_in_memory,
};

use crate::fixed::AGREEMENT;
use crate::took;

/// Most records of a linkage: more would find nothing that these do not, later.
const MOST: usize = 48;

/// Uploads of three parties. The first byte tells whether each may hold a person twice; then each record has a byte for its party, four
/// for its tokens (few values, so that records meet), and three from which handle, header and payloads are filled.
pub fn records(bytes: &[u8]) {
    let Some((twice, rest)) = bytes.split_first() else { return };
    let layout = AGREEMENT.0.layout();
    // As it comes, a batch is a whole number of records or refused.
    let raw = PartyInput::block_scoped(&layout, true, vec![rest]);
    let whole = rest.len().is_multiple_of(layout.shape().record_len(&layout));
    assert_eq!(Records::new(&layout, &[raw]).is_ok(), whole);

    let mut uploads = [Vec::new(), Vec::new(), Vec::new()];
    for seed in rest.chunks_exact(8).take(MOST) {
        record(&layout, seed, &mut uploads[usize::from(seed[0]) % 3]);
    }
    let parties: Vec<PartyInput<'_>> =
        (0..).zip(&uploads).map(|(at, upload)| PartyInput::block_scoped(&layout, twice & 1 << at == 0, vec![upload])).collect();
    let counted = LevelFrequencies::new(&layout);
    let linked = link(&layout, &parties, &counted, &Settings::of(&AGREEMENT.0), &Dispositions::default());
    let records = Records::new(&layout, &parties).expect("whole records");
    let linkage = linked.expect("whole records are linked");
    if !linkage.clusters.clusters.is_empty() {
        took();
    }
    // Each record is in one cluster at most, and a list without duplicates has one record in each.
    let mut seen = BTreeSet::new();
    for cluster in &linkage.clusters.clusters {
        assert!(cluster.members.len() > 1 && (0.0..=1.0).contains(&cluster.probability));
        let mut parties = BTreeSet::new();
        for member in &cluster.members {
            assert!((member.record as usize) < records.len() && seen.insert(member.record));
            let party = records.party(member.record);
            assert!(
                parties.insert(party) || !records.duplicate_free(party),
                "two records of one person in a list of distinct persons"
            );
        }
    }
    same(&Clusters::from_bytes(&linkage.clusters.to_bytes()), &linkage.clusters);
    let terms = parties.iter().map(|p| PartyTerms { duplicate_free: p.duplicate_free, shape: p.shape }).collect();
    same(&Records::from_bytes(&layout, terms, &records.to_bytes()), &records);
}

fn record(layout: &Layout, seed: &[u8], out: &mut Vec<u8>) {
    let number = out.len() as u32;
    out.extend_from_slice(&[number.to_le_bytes(), [seed[0] % 3; 4], [0; 4], [0; 4]].concat());
    out.extend_from_slice(&[seed[5], seed[6], seed[7], 0]);
    for entry in 0..layout.tokens_per_record {
        // The first four from the seed; the others never meet.
        let token = match seed.get(1 + entry) {
            Some(token) if entry < 4 => [entry as u8, token % 16, 0, 0],
            _ => (number << 8 | entry as u32 | 0x8000_0000).to_le_bytes(),
        };
        out.extend_from_slice(&[token; 4].concat());
        let from = out.len();
        out.resize(from + layout.payload_len, seed[5]);
        // Some filters and slots differ.
        for (at, byte) in out.iter_mut().skip(from).enumerate() {
            *byte = byte.rotate_left((at / 8 % 8) as u32) ^ if at % 7 == usize::from(seed[6] % 7) { seed[7] } else { 0 };
        }
    }
}

/// What steps of a small run leave.
pub fn packed_samples() -> Vec<(&'static str, Vec<u8>)> {
    let layout = AGREEMENT.0.layout();
    let mut uploads = [Vec::new(), Vec::new()];
    for n in 0..12u8 {
        let upload = &mut uploads[usize::from(n) % 2];
        record(&layout, &[n % 2, n / 2, n / 2, n / 2, n / 2, n / 2, 0, 0], upload);
    }
    let parties = uploads.iter().map(|upload| PartyInput::block_scoped(&layout, true, vec![upload])).collect::<Vec<_>>();
    let met = meet_in_memory(&layout, &parties, 100).expect("whole records");
    let counted = LevelFrequencies::new(&layout);
    let linkage =
        link(&layout, &parties, &counted, &Settings::of(&AGREEMENT.0), &Dispositions::default()).expect("whole records");
    let shape = RecordShape { annex_len: 8, ..layout.shape() };
    let handles = vec![7; 20 + 8];
    let with_annex = PartyInput { shape, ..PartyInput::block_scoped(&layout, true, Vec::new()) };
    let records = Records::new(&layout, &[with_annex.clone(), with_annex]).expect("no records").to_bytes();
    let chosen = |choice: u8, bytes: Vec<u8>| [vec![choice], bytes].concat();
    vec![
        ("records", chosen(0, records)),
        ("records-cut", chosen(0, handles)),
        ("comparisons", chosen(1, met.comparisons.to_bytes())),
        ("clusters", chosen(2, linkage.clusters.to_bytes())),
        ("model", chosen(3, linkage.model.to_bytes())),
        ("levels", chosen(4, serde_json::to_vec(&counted).expect("a table has a JSON form"))),
    ]
}

/// What a step of a run left for the next one. The first byte chooses which.
pub fn packed(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let layout = AGREEMENT.0.layout();
    let shape = RecordShape { annex_len: 8, ..layout.shape() };
    match choice % 5 {
        0 => {
            let terms = vec![PartyTerms { duplicate_free: true, shape }; 2];
            if let Ok(read) = Records::from_bytes(&layout, terms.clone(), rest) {
                took();
                same(&Records::from_bytes(&layout, terms, &read.to_bytes()), &read);
                for at in 0..read.len() as u32 {
                    assert!(read.handle(at).is_ok() && read.header(at).is_ok() && read.annex(at).len() == 8);
                }
            }
        }
        1 => {
            if let Ok(read) = Comparisons::from_bytes(rest) {
                same(&Comparisons::from_bytes(&read.to_bytes()), &read);
            }
        }
        2 => {
            // Numbers that are none differ from themselves: the bytes are compared.
            if let Ok(read) = Clusters::from_bytes(rest) {
                let written = read.to_bytes();
                assert_eq!(Clusters::from_bytes(&written).map(|again| again.to_bytes()), Ok(written));
            }
        }
        3 => {
            let dimensions = Dimensions::of(&layout);
            if let Ok(read) = Model::from_bytes(&dimensions, rest) {
                let written = read.to_bytes();
                assert_eq!(Model::from_bytes(&dimensions, &written).map(|again| again.to_bytes()), Ok(written));
            }
        }
        _ => {
            let Ok(counted) = serde_json::from_slice::<LevelFrequencies>(rest) else { return };
            let mut sum = LevelFrequencies::new(&layout);
            if counted.check(&layout).is_ok() {
                sum.merge(&counted).expect("of the same dimensions");
                sum.merge(&counted).expect("of the same dimensions");
                sum.suppress();
            }
        }
    }
}

#[track_caller]
fn same<T: PartialEq + std::fmt::Debug>(again: &Result<T, LinkError>, first: &T) {
    assert_eq!(again.as_ref(), Ok(first));
}
