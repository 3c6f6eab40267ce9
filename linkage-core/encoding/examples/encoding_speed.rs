//! Measures stage 1 and stage 2 of synthetic records on one core: records a second, the OPRF left out.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::Instant;

use linkage_agreement::model::IdentityField;
use linkage_agreement::{FieldKind, Layout};
use linkage_crypto::derive::{BlockSecret, RunKey};
use linkage_encoding::fields::blind_entry;
use linkage_encoding::records::encode_record;
use linkage_encoding::{Normaliser, PassSet, block_keys};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

fn main() {
    const RECORDS: u32 = 5_000;
    let field = |kind, column: &str| IdentityField { kind, column: column.into(), name_column: None, country_column: None };
    let fields = [
        field(FieldKind::BirthName, "nom"),
        field(FieldKind::UsageName, "usage"),
        field(FieldKind::GivenNames, "prenoms"),
        field(FieldKind::BirthDate, "date"),
        field(FieldKind::Sex, "sexe"),
        field(FieldKind::Place, "lieu"),
        field(FieldKind::Place, "commune"),
    ];
    let columns: Vec<String> = fields.iter().map(|f| f.column.clone()).collect();
    let normaliser = Normaliser::new(&fields, &columns).unwrap();
    let kinds: Vec<FieldKind> = fields.iter().map(|f| f.kind).collect();
    let layout = Layout::new(&kinds, 256, 4, 20);
    let set = PassSet::named("fr-1").unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let secrets: Vec<BlockSecret> = (0..20).map(|_| BlockSecret::generate(&mut rng)).collect();
    let row = |i: u32| {
        let date = format!("{:02}/{:02}/{}", 2 + i % 27, 1 + i % 12, 1950 + i % 60);
        ["DUPONT-QUEMET", "LEFEBVRE", "Caroline Anne", &date, "2", "34172", "34000"].map(str::to_owned)
    };
    let warm = normaliser.normalise(&row(0)).unwrap();
    block_keys(&warm, &set, 100_000, 20);
    let rate = |started: Instant| f64::from(RECORDS) / started.elapsed().as_secs_f64();

    let started = Instant::now();
    let identities: Vec<_> = (0..RECORDS).map(|i| normaliser.normalise(&row(i)).unwrap()).collect();
    println!("normalise        {:8.0} records/s", rate(started));
    let started = Instant::now();
    let keys: usize = identities.iter().map(|i| block_keys(i, &set, 100_000, 20).len()).sum();
    println!("block keys       {:8.0} records/s ({:.1} keys a record)", rate(started), keys as f64 / f64::from(RECORDS));
    let started = Instant::now();
    let mut records: Vec<_> = identities.iter().map(|i| encode_record(&layout, i, &secrets, &mut rng).unwrap()).collect();
    println!("stage 1 filters  {:8.0} records/s ({} bytes a record)", rate(started), layout.record_len());
    let run = RunKey::from_bytes(&[7; 32]);
    let started = Instant::now();
    for entry in records.iter_mut().flat_map(|r| &mut r.entries) {
        blind_entry(&layout, &run, &entry.secret, &mut entry.payload).unwrap();
    }
    println!("stage 2          {:8.0} records/s", rate(started));
}
