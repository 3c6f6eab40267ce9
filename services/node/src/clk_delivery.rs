//! A clkhash file (`{"clks": ["base64", …]}`) as a delivery.
//!
//! A file that is cut, is not of that shape, or holds a filter that is no base64 or of another length is refused whole, with the
//! place: nothing in it could be skipped without shifting all that follow. A filter that says nothing, no bit or all bits
//! set, is set aside alone.

use std::io::Read;

use linkage_agreement::Agreement;
use linkage_clk::read_clks;
use zeroize::Zeroizing;

use crate::encoded::Entry;

/// Reads a file of filters, and gives its source back.
pub(crate) fn read<R: Read>(mut source: R, agreement: &Agreement) -> Result<(Vec<Entry>, R), String> {
    let bits = agreement.encoding.clk.as_ref().map_or(0, |clk| clk.bits as usize);
    let filters = read_clks(&mut source).map_err(|error| error.to_string())?;
    if !filters.is_empty() && filters.bits() != bits {
        return Err(format!(
            "filtres de {} bits, la convention en prévoit {bits} : refaites-les avec le schéma de la convention",
            filters.bits()
        ));
    }
    let entry = |(at, ones): (usize, &u32)| Entry {
        place: at as u64 + 1,
        part: match *ones as usize {
            0 => Err("filtre sans aucun bit à 1"),
            all if all == bits => Err("filtre dont tous les bits sont à 1"),
            _ => Ok(Zeroizing::new(filters.row(at).iter().flat_map(|word| word.to_le_bytes()).collect())),
        },
    };
    let entries = filters.counts().iter().enumerate().map(entry).collect();
    Ok((entries, source))
}
