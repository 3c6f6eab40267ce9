//! The habits of French services, end to end: two raw records of one person, as two services would hold them, must share
//! a block and look alike in it; two different persons must not. Cases of French services' files.
#![allow(clippy::unwrap_used)]

use linkage_agreement::model::IdentityField;
use linkage_agreement::{FieldKind, Layout};
use linkage_crypto::derive::{BlockSecret, SharedKey};
use linkage_encoding::fields::encode_payload;
use linkage_encoding::{Identity, Normaliser, PassSet, block_keys};

const COLUMNS: [&str; 4] = ["nom_naissance", "nom_usage", "prenoms", "date_naissance"];
const RECORDS: u64 = 15_000;

fn read(row: [&str; 4]) -> Identity {
    let kinds = [FieldKind::BirthName, FieldKind::UsageName, FieldKind::GivenNames, FieldKind::BirthDate];
    let fields: Vec<IdentityField> = kinds
        .iter()
        .zip(COLUMNS)
        .map(|(&kind, column)| IdentityField { kind, column: column.into(), name_column: None, country_column: None })
        .collect();
    Normaliser::new(&fields, &COLUMNS.map(String::from)).unwrap().normalise(&row).unwrap()
}

/// The secrets of a record's blocks, as a trial without custodian derives them.
fn blocks(row: [&str; 4], epoch: u32) -> Vec<[u8; 32]> {
    let shared = SharedKey::from_bytes(&[3; 32]);
    let keys = block_keys(&read(row), &PassSet::named("fr-1").unwrap(), RECORDS, 20);
    keys.iter().map(|k| *BlockSecret::shared(&shared, &k.oprf_input("essai", epoch)).as_bytes()).collect()
}
fn meet(a: [&str; 4], b: [&str; 4]) -> bool {
    let theirs = blocks(b, 1);
    blocks(a, 1).iter().any(|x| theirs.contains(x))
}

#[test]
fn one_person_in_two_services() {
    for (habit, a, b) in [
        ("accents lost", ["LEFÈVRE", "", "Zoé", "04/05/1987"], ["LEFEVRE", "", "ZOE", "1987-05-04"]),
        ("accents mis-decoded", ["LefÃ¨vre", "", "ZoÃ©", "04051987"], ["LEFEVRE", "", "ZOE", "19870504"]),
        ("ligature", ["Cœurdevey", "", "Lætitia", "04/05/1987"], ["COEURDEVEY", "", "LAETITIA", "31901"]),
        ("title and remark", ["MME BARRY", "", "Samira (dite Sam)", "25/01/2016"], ["BARRY", "", "SAMIRA", "25/01/2016"]),
        ("particle joined", ["BEN HADDOU", "", "GUILAINE", "25/12/1987"], ["Benhaddou", "", "Guilaine", "25/12/1987"]),
        ("apostrophe", ["D'ALMEIDA", "", "PAUL", "25/12/1987"], ["DALMEIDA", "", "PAUL", "25/12/1987"]),
        ("hyphen", ["POTEREAU-TAMALET", "", "EVA", "25/12/1987"], ["POTEREAU TAMALET", "", "EVA", "25/12/1987"]),
        ("compound given name joined", ["QUEMET", "", "Jean-Pierre", "25/12/1987"], ["QUEMET", "", "JEANPIERRE", "25/12/1987"]),
        ("compound given name cut", ["QUEMET", "", "Jean-Pierre", "25/12/1987"], ["QUEMET", "", "J.-Pierre", "25/12/1987"]),
        ("first given name only", ["QUEMET", "", "MARIE ANNE LUCIE", "25/12/1987"], ["QUEMET", "", "MARIE", "25/12/1987"]),
        ("second given name used", ["QUEMET", "", "MARIE ANNE LUCIE", "25/12/1987"], ["QUEMET", "", "ANNE", "25/12/1987"]),
        ("married name takes the place", ["QUEMET", "DEVOIR", "JADE", "12/02/1993"], ["DEVOIR", "", "JADE", "12/02/1993"]),
        ("double name", ["DA SILVA RIBEIRO", "", "JOSE", "13/08/2008"], ["RIBEIRO", "", "JOSE", "13/08/2008"]),
        ("transliteration", ["BELHADJ", "", "Mohamed", "13/08/1978"], ["BELHAJ", "", "Mouhammed", "13/08/1978"]),
        ("transliteration", ["AISSAOUI", "", "Khadija", "13/08/1978"], ["AISSAUI", "", "Hadija", "13/08/1978"]),
        ("swapped name and given name", ["CAROLINE", "", "LEDU", "19/11/1981"], ["LEDU", "", "CAROLINE", "19/11/1981"]),
        ("cut field", ["VANDENBROUCKE", "", "ALEXANDRINE", "19/11/1981"], ["VANDENB", "", "ALEXAN", "19/11/1981"]),
        ("keyboard", ["BRAHATI", "", "JOSEPHINE", "16/07/1991"], ["BRAHATI", "", "JOSEPHIEN", "16/07/1991"]),
        ("character recognition", ["SISSE", "", "MARCEL", "20/04/1998"], ["S1SSE", "", "MARCEL", "20/04/1998"]),
        ("day and month swapped", ["LEDU", "", "CAROLINE", "03/11/1981"], ["LEDU", "", "CAROLINE", "11/03/1981"]),
        ("wrong year", ["LEDU", "", "CAROLINE", "03/11/1981"], ["LEDU", "", "CAROLINE", "03/11/1991"]),
        ("default date on one side", ["MANSURI", "", "GUILAINE", "25/12/1987"], ["MANSURI", "", "GUILAINE", "01/01/1987"]),
        (
            "default dates two years apart",
            ["STANIKZAY", "", "ZABIULLAH", "01/01/1989"],
            ["STANIKZAI", "", "ZABIULLAH", "31/12/1987"],
        ),
        ("partial date", ["MANSURI", "", "GUILAINE", "25/12/1987"], ["MANSURI", "", "GUILAINE", "00/00/1987"]),
        ("no date, rare name", ["QUEMENEUR", "", "GUILAINE", "25/12/1987"], ["QUEMENEUR", "", "GUILAINE", ""]),
    ] {
        assert!(meet(a, b), "{habit}");
        assert!(meet(b, a), "{habit}");
    }
}

#[test]
fn different_persons_do_not_meet() {
    for (case, a, b) in [
        ("homonyms born apart", ["MARTIN", "", "MARIE", "25/12/1987"], ["MARTIN", "", "MARIE", "03/04/1952"]),
        ("one birthday, other names", ["MARTIN", "", "MARIE", "25/12/1987"], ["PETIT", "", "HUGO", "25/12/1987"]),
        ("one family", ["TRAORE", "", "AWA", "25/12/1987"], ["TRAORE", "", "MOUSSA", "13/06/1991"]),
        ("common names, no date", ["DIALLO", "", "MAMADOU", ""], ["DIALLO", "", "MAMADOU", "12/03/1990"]),
    ] {
        assert!(!meet(a, b), "{case}");
    }
}

#[test]
fn another_epoch_shares_no_block() {
    let row = ["QUEMET", "", "JADE", "12/02/1993"];
    assert!(blocks(row, 1).iter().all(|x| !blocks(row, 2).contains(x)));
}

#[test]
fn in_a_shared_block_one_person_looks_alike() {
    let kinds = [FieldKind::BirthName, FieldKind::UsageName, FieldKind::GivenNames, FieldKind::BirthDate];
    let layout = Layout::new(&kinds, 256, 4, 20);
    let one = ["Lefèvre", "", "Jean-Pierre", "04/05/1987"];
    let other = ["LEFEVRE", "", "JEANPIERRE", "1987-05-04"];
    assert_eq!(blocks(one, 1), blocks(other, 1));
    let block = BlockSecret::from_bytes(&blocks(one, 1)[0]);
    assert_eq!(encode_payload(&layout, &read(one), &block).unwrap(), encode_payload(&layout, &read(other), &block).unwrap());
}
