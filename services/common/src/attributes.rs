//! How a node packs a record's attributes for an analyst, through a custodian who learns nothing of them.
//!
//! The plain text is a JSON array: household, then the attributes in the agreement's order, `null` where there is none.
//! It is padded with spaces to one length for the whole upload, a multiple of [`STEP`], and sealed under a key that is
//! itself sealed to the analyst (HPKE).

use linkage_crypto::storage::Place;

/// The place that sealed attributes are bound to.
pub const PLACE: Place<'static> = Place { table: "attributes", row: b"" };
/// Lengths are multiples of this many bytes.
pub const STEP: usize = 64;

/// Pads `json` with spaces, which JSON ignores, to the first multiple of [`STEP`] that holds `longest` bytes.
pub fn pad(json: &mut Vec<u8>, longest: usize) {
    json.resize(longest.next_multiple_of(STEP).max(json.len()), b' ');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_an_upload_have_one_length() {
        let mut short = b"[null]".to_vec();
        let mut long = vec![b' '; 65];
        pad(&mut short, 65);
        pad(&mut long, 65);
        assert_eq!((short.len(), long.len()), (128, 128));
        assert_eq!(serde_json::from_slice::<Vec<Option<String>>>(&short).unwrap(), [None]);
    }
}
