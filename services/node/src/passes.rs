//! The agreement's pass set at a node: one that comes with the software, or the file whose digest the partners signed.
//!
//! The file is the other partners' word on who may be compared with whom. No other bytes than the agreed ones are used, and
//! even those are measured on the delivery first: a set that is too coarse would let the broker re-identify
//! (docs/threat-model.md, non-matching meetings). A refusal comes before anything of the delivery is kept or evaluated.

use std::path::Path;

use linkage_agreement::model::Encoding;
use linkage_common::fsx;
use linkage_encoding::check::check_passes;
use linkage_encoding::passes::PassSetError;
use linkage_encoding::{Identity, PassSet};

use crate::error::NodeError;

/// Bytes of a pass set's file: 64 passes with their comments take a fraction of it.
const FILE_LIMIT: u64 = 256 << 10;
/// Identities that a set is measured on; more change nothing in the figures.
const MEASURED: usize = 50_000;

/// The set that the agreement names; `file` is read only where it names one by its digest.
pub(crate) fn agreed(encoding: &Encoding, file: Option<&Path>) -> Result<PassSet, NodeError> {
    let text = match file {
        Some(path) if is_file(encoding) => {
            Some(fsx::read_text(path, FILE_LIMIT).map_err(|e| NodeError::Configuration(format!("jeu de passes : {e}")))?)
        }
        _ => None,
    };
    PassSet::agreed(&encoding.pass_set, text.as_deref()).map_err(|error| match error {
        PassSetError::FileNeeded(_) => {
            NodeError::Configuration(format!("{error} par « pass_set = \"CHEMIN\" » dans la configuration du nœud"))
        }
        error => error.into(),
    })
}

/// Refuses a set from a file that is too coarse for the agreement's size on these identities. Sets that come with the
/// software were measured with it; a single record measures nothing.
pub(crate) fn fine_enough(encoding: &Encoding, set: &PassSet, identities: &[&Identity]) -> Result<(), NodeError> {
    if !is_file(encoding) || identities.len() < 2 {
        return Ok(());
    }
    let step = identities.len().div_ceil(MEASURED);
    let sample: Vec<Identity> = identities.iter().step_by(step).map(|identity| (*identity).clone()).collect();
    let (tokens, cap) = (encoding.tokens_per_record as usize, encoding.block_cap as usize);
    let check = check_passes(&sample, set, encoding.expected_records, tokens, cap);
    if check.accepted {
        return Ok(());
    }
    Err(NodeError::Refused(format!(
        "jeu de passes « {} » refusé sur cette livraison : {} ; rien n'est envoyé : voir « linkage passes check », puis convenir d'un autre jeu par avenant",
        set.id,
        check.faults.join(" ; ")
    )))
}

/// Whether the agreement names a file.
fn is_file(encoding: &Encoding) -> bool {
    encoding.pass_set.contains('@')
}
