//! Encryption at rest: AES-256-GCM (NIST SP 800-38D), every value bound to the place that it was written for.
//!
//! A value is `version (1) ‖ key check (4) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`. The key check tells a wrong key from an
//! altered or moved value: the first four bytes of HMAC-SHA256(key, label("storage-key-check")). Nonces are random, which
//! allows 2^32 values under one key (SP 800-38D, section 8.3). The associated data is everything before the nonce and
//! the place, so that a value copied to another row, column or file does not open.

use aes_gcm::aead::{Aead, AeadInOut, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use zeroize::Zeroizing;

use crate::keyfile::{self, KeyFileError};
use crate::label;
use crate::mac::Keyed;
use crate::secret::redacted;

const VERSION: u8 = 1;
const HEADER_LEN: usize = 5;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
/// By how much a stored value is longer than its plaintext.
pub const OVERHEAD: usize = HEADER_LEN + NONCE_LEN + TAG_LEN;

/// Why a stored value could not be written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// Shorter than any stored value.
    #[error("valeur chiffrée tronquée ; restaurez le fichier d'une sauvegarde")]
    Truncated,
    /// Written by a version that this one does not know.
    #[error("valeur chiffrée d'une version inconnue ; mettez le logiciel à jour")]
    Version,
    /// Written under another key.
    #[error("valeur chiffrée avec une autre clé de stockage ; vérifiez le fichier de clé indiqué dans la configuration")]
    WrongKey,
    /// Written under this key, but altered or moved from the place that it was written for.
    #[error("valeur chiffrée altérée ou déplacée ; restaurez le fichier d'une sauvegarde")]
    Refused,
    /// More plaintext than AES-GCM can take.
    #[error("valeur trop longue pour être chiffrée")]
    TooLong,
}

/// The place that a value is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Table and column, or file, of at most 65,535 bytes.
    pub table: &'a str,
    /// The row's key; empty where there is one value only.
    pub row: &'a [u8],
}

/// A role's storage key, erased on drop.
pub struct StorageKey {
    cipher: Aes256Gcm,
    header: [u8; HEADER_LEN],
    bytes: Zeroizing<[u8; 32]>,
}
redacted!(StorageKey);

impl StorageKey {
    /// Draws a key.
    pub fn generate<R: rand_core::CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *bytes);
        Self::from_bytes(&bytes)
    }
    /// Takes 32 secret bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let [a, b, c, d, ..] = Keyed::new(bytes).mac(&[label!("storage-key-check")]);
        Self { cipher: Aes256Gcm::new(&(*bytes).into()), header: [VERSION, a, b, c, d], bytes: Zeroizing::new(*bytes) }
    }
    /// Reads a key file.
    pub fn from_key_file(text: &str) -> Result<Self, KeyFileError> {
        Ok(Self::from_bytes(&*keyfile::decode(text)?))
    }
    /// Writes a key file.
    pub fn to_key_file(&self) -> Zeroizing<String> {
        keyfile::encode(&self.bytes)
    }
    /// Encrypts a value for its place.
    pub fn seal<R: rand_core::CryptoRng + ?Sized>(
        &self,
        place: Place<'_>,
        plaintext: &[u8],
        rng: &mut R,
    ) -> Result<Vec<u8>, StorageError> {
        let mut nonce = [0; NONCE_LEN];
        rng.fill_bytes(&mut nonce);
        let aad = self.associated(place)?;
        let ciphertext =
            self.cipher.encrypt(&Nonce::from(nonce), Payload { msg: plaintext, aad: &aad }).map_err(|_| StorageError::TooLong)?;
        Ok([self.header.as_slice(), &nonce, &ciphertext].concat())
    }
    /// Decrypts a value that was written for `place`.
    pub fn open(&self, place: Place<'_>, stored: &[u8]) -> Result<Zeroizing<Vec<u8>>, StorageError> {
        self.open_owned(place, stored.to_vec())
    }
    /// The same in the value's own memory: for large ones a second buffer costs more than the decryption.
    pub fn open_owned(&self, place: Place<'_>, stored: Vec<u8>) -> Result<Zeroizing<Vec<u8>>, StorageError> {
        const PLAIN_AT: usize = HEADER_LEN + NONCE_LEN;
        if stored.len() < OVERHEAD {
            return Err(StorageError::Truncated);
        }
        let mut value = Zeroizing::new(stored);
        let (header, rest) = value.split_first_chunk_mut::<HEADER_LEN>().ok_or(StorageError::Truncated)?;
        if header[0] != VERSION {
            return Err(StorageError::Version);
        }
        if *header != self.header {
            return Err(StorageError::WrongKey);
        }
        let aad = self.associated(place)?;
        let (nonce, rest) = rest.split_first_chunk_mut::<NONCE_LEN>().ok_or(StorageError::Truncated)?;
        let (ciphertext, tag) = rest.split_last_chunk_mut::<TAG_LEN>().ok_or(StorageError::Truncated)?;
        self.cipher
            .decrypt_inout_detached(&Nonce::from(*nonce), &aad, ciphertext.into(), &Tag::from(*tag))
            .map_err(|_| StorageError::Refused)?;
        let end = value.len() - TAG_LEN;
        value.copy_within(PLAIN_AT..end, 0);
        value.truncate(end - PLAIN_AT);
        Ok(value)
    }

    /// header ‖ len(table) u16 BE ‖ table ‖ row
    fn associated(&self, place: Place<'_>) -> Result<Vec<u8>, StorageError> {
        let len = u16::try_from(place.table.len()).map_err(|_| StorageError::TooLong)?;
        Ok([self.header.as_slice(), &len.to_be_bytes(), place.table.as_bytes(), place.row].concat())
    }
}
