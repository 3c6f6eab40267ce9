//! What a role checks of an upload that it receives: batches, and the manifest that closes it.
//!
//! An upload is batches numbered from 0, each with its SHA-256, then a manifest: how many batches and records, and the
//! SHA-256 over the batches' digests in order. Broker and custodian take nothing that the manifest does not cover
//! (docs/protocol.md). Identifiers come as text and are parsed here before anything looks at them.

use std::str::FromStr;

use linkage_agreement::{InvalidId, Period, RunId};
use linkage_proto::MAX_BATCH_BYTES;
use sha2::{Digest, Sha256};

use crate::error::ServiceError;

impl From<InvalidId> for ServiceError {
    fn from(error: InvalidId) -> Self {
        Self::invalid(error.to_string())
    }
}

/// An identifier of a request.
///
/// # Errors
/// `Invalid`, with what such an identifier looks like.
pub fn parse<T: FromStr<Err = InvalidId>>(text: &str) -> Result<T, ServiceError> {
    Ok(text.parse()?)
}

/// The run that a request names.
///
/// # Errors
/// As [`parse`].
pub fn run_id(text: &str) -> Result<RunId, ServiceError> {
    parse(text)
}

/// The month that a request names.
///
/// # Errors
/// As [`parse`].
pub fn period(text: &str) -> Result<Period, ServiceError> {
    parse(text)
}

/// A batch that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBatch {
    /// Position.
    pub sequence: u32,
    /// Records in it.
    pub records: u64,
    /// SHA-256.
    pub digest: Vec<u8>,
}

impl HeldBatch {
    /// Whether this very batch is held already, given the digest held under its number.
    ///
    /// # Errors
    /// `Conflict` when that is another batch.
    pub fn is_repeated(&self, held: Option<&[u8]>) -> Result<bool, ServiceError> {
        match held {
            None => Ok(false),
            Some(digest) if digest == self.digest => Ok(true),
            Some(_) => Err(ServiceError::conflict(
                "un autre lot est détenu sous ce numéro ; reprenez l'envoi là où il s'est arrêté, ou faites annuler ce traitement",
            )),
        }
    }
}

/// Refuses a batch of more than a mebibyte.
///
/// # Errors
/// `TooLarge`.
pub fn check_size(payload: &[u8]) -> Result<(), ServiceError> {
    if payload.len() > MAX_BATCH_BYTES {
        return Err(ServiceError::too_large("un lot compte au plus 1 Mio ; découpez l'envoi en lots plus petits"));
    }
    Ok(())
}

/// Refuses a batch whose bytes are not those that were sent.
///
/// # Errors
/// `Invalid`.
pub fn check_digest(payload: &[u8], announced: &[u8]) -> Result<(), ServiceError> {
    if Sha256::digest(payload).as_slice() != announced {
        return Err(ServiceError::invalid("le lot n'a pas l'empreinte annoncée ; renvoyez-le"));
    }
    Ok(())
}

/// The refusal of a stream that goes on with another run.
pub fn one_run_a_stream() -> ServiceError {
    ServiceError::invalid("un envoi porte les lots d'un seul traitement ; faites un envoi par traitement")
}

/// The refusal of a stream without a batch.
pub fn empty_stream() -> ServiceError {
    ServiceError::invalid("l'envoi ne contient aucun lot ; envoyez-en au moins un")
}

/// The refusal of a second manifest that differs from the first.
pub fn committed_otherwise() -> ServiceError {
    ServiceError::conflict(
        "ce partenaire a déjà clos un autre envoi pour ce traitement ; ouvrez un nouveau traitement pour le remplacer",
    )
}

/// SHA-256 over batch digests in order: what a manifest states.
pub fn manifest_digest<D: AsRef<[u8]>>(digests: impl IntoIterator<Item = D>) -> [u8; 32] {
    digests.into_iter().fold(Sha256::new(), Sha256::chain_update).finalize().into()
}

/// Compares what is held, by rising number and without doubles, with a manifest.
///
/// # Errors
/// `Conflict`: the first batch that is missing, or a number or digest that differs.
pub fn check_manifest(held: &[HeldBatch], batches: u32, records: u64, digest: &[u8]) -> Result<(), ServiceError> {
    // The first position that differs is the first gap.
    let whole = held.iter().zip(0..).take_while(|(batch, position)| batch.sequence == *position).count();
    if let Some(sequence) = u32::try_from(whole).ok().filter(|n| *n < batches) {
        return Err(ServiceError::conflict(format!("le lot {sequence} manque ; envoyez-le, puis clôturez de nouveau")));
    }
    if held.len() != batches as usize
        || held.iter().map(|b| b.records).sum::<u64>() != records
        || manifest_digest(held.iter().map(|b| &b.digest)).as_slice() != digest
    {
        return Err(ServiceError::conflict(
            "ce qui est détenu ne correspond pas à la clôture, en nombre ou en empreinte ; renvoyez ce qui manque, puis clôturez de nouveau",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn batch(sequence: u32, records: u64) -> HeldBatch {
        HeldBatch { sequence, records, digest: Sha256::digest([sequence as u8]).to_vec() }
    }

    fn digest(numbers: &[u8]) -> [u8; 32] {
        manifest_digest(numbers.iter().map(|n| Sha256::digest([*n])))
    }

    fn refusal(result: Result<(), ServiceError>) -> (ErrorKind, String) {
        let error = result.unwrap_err();
        (error.kind, error.message.to_string())
    }

    #[test]
    fn a_manifest_covers_what_is_held_and_nothing_else() {
        let held = [batch(0, 3), batch(1, 2)];
        assert_eq!(check_manifest(&held, 2, 5, &digest(&[0, 1])), Ok(()));
        assert_eq!(check_manifest(&[], 0, 0, &digest(&[])), Ok(()));
        for (batches, records, digest) in
            [(1, 5, digest(&[0, 1])), (2, 4, digest(&[0, 1])), (2, 5, digest(&[1, 0])), (2, 5, digest(&[0]))]
        {
            let (kind, message) = refusal(check_manifest(&held, batches, records, &digest));
            assert_eq!(kind, ErrorKind::Conflict);
            assert!(message.contains("ne correspond pas à la clôture"), "{message}");
        }
    }

    #[test]
    fn the_first_missing_batch_is_named() {
        for (held, missing) in [(vec![batch(1, 1), batch(2, 1)], 0), (vec![batch(0, 1), batch(2, 1)], 1), (vec![batch(0, 1)], 1)]
        {
            let (kind, message) = refusal(check_manifest(&held, 3, 3, &digest(&[0, 1, 2])));
            assert_eq!(kind, ErrorKind::Conflict);
            assert!(message.starts_with(&format!("le lot {missing} manque")), "{message}");
        }
    }

    #[test]
    fn a_batch_is_whole_and_of_its_size() {
        let largest = vec![7; MAX_BATCH_BYTES];
        assert_eq!(check_size(&largest), Ok(()));
        assert_eq!(refusal(check_size(&[largest.as_slice(), &[7]].concat())).0, ErrorKind::TooLarge);
        assert_eq!(check_digest(b"lot", &Sha256::digest(b"lot")), Ok(()));
        assert_eq!(refusal(check_digest(b"lot", &Sha256::digest(b"sot"))).0, ErrorKind::Invalid);
        assert_eq!(refusal(check_digest(b"lot", &[])).0, ErrorKind::Invalid);
    }

    #[test]
    fn a_number_is_used_once() {
        let held = batch(0, 1);
        assert_eq!(held.is_repeated(None), Ok(false));
        assert_eq!(held.is_repeated(Some(&held.digest)), Ok(true));
        assert_eq!(refusal(held.is_repeated(Some(&batch(1, 1).digest)).map(drop)).0, ErrorKind::Conflict);
    }

    #[test]
    fn identifiers_are_parsed_before_they_are_used() {
        assert_eq!(run_id("2024-01"), Ok("2024-01".parse().unwrap()));
        assert_eq!(refusal(run_id("../x").map(drop)).0, ErrorKind::Invalid);
        assert_eq!(refusal(period("2024-13").map(drop)).0, ErrorKind::Invalid);
    }
}
