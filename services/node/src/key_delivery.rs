//! A key file as a delivery: `numero_ligne;cle_primaire;cle_secondaire`, as `linkage hash-keys make` writes it. A line that is not
//! one of keys is set aside with its number and reason.

use std::io::Read;

use zeroize::Zeroizing;

use crate::encoded::Entry;
use crate::key_file::KeyLines;

/// Reads a key file, and gives its source back.
pub(crate) fn read<R: Read>(source: R) -> Result<(Vec<Entry>, R), String> {
    let mut lines = KeyLines::new(source).map_err(|error| error.to_string())?;
    let mut entries = Vec::new();
    for line in &mut lines {
        let (place, keys) = line.map_err(|error| error.to_string())?;
        let part = keys.map(|keys| {
            let mut part = Zeroizing::new(vec![0; 64]);
            for (place, key) in part.chunks_exact_mut(32).zip([keys.primary, keys.secondary]) {
                if let Some(key) = key {
                    place.copy_from_slice(&key);
                }
            }
            part
        });
        entries.push(Entry { place, part });
    }
    Ok((entries, lines.into_inner()))
}
