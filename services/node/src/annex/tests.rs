use super::*;
use crate::archive::ArchivedRecord;

fn annexes(clk_bits: Option<usize>, keys: bool, clk: u8, hash_keys: u8) -> Annexes {
    Annexes { places: AnnexPlaces::new(clk_bits, keys), clk: [clk; 16], hash_keys: [hash_keys; 16] }
}

fn reference(n: u8) -> RecordRef {
    RecordRef([n; 16])
}

/// Two records in one segment, their annexes filled with their numbers.
fn written(vault: &Vault, by: &Annexes) -> Index {
    let mut index = Index::load(vault).unwrap();
    let records: Vec<_> = [4, 3]
        .map(|n| ArchivedRecord { reference: reference(n), header: 0, entries: Zeroizing::default() })
        .into_iter()
        .collect();
    index.append(vault, "2024-01".parse().unwrap(), 1, &records, |_| ([0; 16], false)).unwrap();
    let remarks = by
        .write(vault, &index, [reference(3), reference(4)].into_iter(), |r| Made {
            annex: Zeroizing::new(vec![r.0[0]; by.places.len]),
            remarks: vec!["absent".to_owned()],
        })
        .unwrap();
    assert_eq!(remarks, BTreeMap::from([("absent".to_owned(), 2)]));
    index
}

#[test]
fn annexes_are_found_by_place_and_reference() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(dir.path(), &[7; 32]).unwrap();
    let by = annexes(Some(64), true, 1, 2);
    let index = written(&vault, &by);
    let segment = by.segment(&vault, 0).unwrap();
    for n in [3, 4] {
        let at = index.records[&reference(n)];
        assert_eq!(*segment.annex(at.position, &reference(n)).unwrap(), vec![n; 72]);
    }
    assert!(segment.annex(0, &reference(3)).is_err());
    assert!(segment.annex(2, &reference(3)).is_err());
}

#[test]
fn what_the_agreement_no_longer_or_not_yet_has_is_absent() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(dir.path(), &[7; 32]).unwrap();
    written(&vault, &annexes(Some(64), true, 1, 2));
    let read = |by: &Annexes| by.segment(&vault, 0).unwrap().annex(0, &reference(4)).unwrap().to_vec();
    // Another schema: the filter is absent, the keys stay; and the reverse.
    assert_eq!(read(&annexes(Some(64), true, 9, 2)), [[0; 8].as_slice(), &[4; 64]].concat());
    assert_eq!(read(&annexes(Some(64), true, 1, 9)), [[4; 8].as_slice(), &[0; 64]].concat());
    // Only one of the sections left, or another length.
    assert_eq!(read(&annexes(None, true, 1, 2)), [4; 64]);
    assert_eq!(read(&annexes(Some(64), false, 1, 2)), [4; 8]);
    assert_eq!(read(&annexes(Some(128), true, 1, 2)), [[0; 16].as_slice(), &[4; 64]].concat());
    // A segment archived before there were annexes.
    let by = annexes(Some(64), true, 1, 2);
    assert_eq!(*by.segment(&vault, 5).unwrap().annex(0, &reference(4)).unwrap(), vec![0; 72]);
    vault.put("annex/segment-00000001", &[1; HEAD + 5]).unwrap();
    assert!(matches!(by.segment(&vault, 1), Err(NodeError::Damaged(_))));
    vault.put("annex/segment-00000001", &[9; HEAD]).unwrap();
    assert!(matches!(by.segment(&vault, 1), Err(NodeError::Damaged(_))));
}

#[test]
fn annexes_of_segments_that_nothing_names_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(dir.path(), &[7; 32]).unwrap();
    let index = written(&vault, &annexes(Some(64), false, 1, 0));
    vault.put("annex/segment-00000009", b"left by a killed process").unwrap();
    Annexes::drop_unnamed(&vault, &index).unwrap();
    assert_eq!(vault.list("annex").unwrap(), ["annex/segment-00000000"]);
}
