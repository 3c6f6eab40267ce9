//! Keys as text: 32 bytes, one line of standard base64 with padding, as key files and the agreement hold them.
//!
//! The file's access mode is checked by whoever opens it; this module only reads and writes the line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Why a text is not a key. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// Not one line of base64.
    #[error("clé illisible : attendu une seule ligne de base64 ; régénérez le fichier ou restaurez-le d'une sauvegarde")]
    NotBase64,
    /// Base64 of another length than 32 bytes.
    #[error("clé de longueur inattendue : attendu 32 octets ; vérifiez que c'est bien le bon fichier de clé")]
    Length,
    /// 32 bytes that are no key of this kind.
    #[error("ces 32 octets ne sont pas une clé de ce type ; vérifiez que c'est bien le bon fichier de clé")]
    Value,
}

/// One line: base64 of the 32 bytes and a line feed. For secret keys.
pub fn encode(key: &[u8; 32]) -> Zeroizing<String> {
    let mut line = Zeroizing::new(String::with_capacity(45));
    STANDARD.encode_string(key, &mut line);
    line.push('\n');
    line
}

/// Reads what [`encode`] wrote; white space around the line is accepted, anything else is not.
pub fn decode(text: &str) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let bytes = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| KeyFileError::NotBase64)?);
    let key: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| KeyFileError::Length)?;
    Ok(Zeroizing::new(*key))
}

/// A public key as text: base64 without line feed.
pub(crate) fn encode_public(key: &[u8; 32]) -> String {
    STANDARD.encode(key)
}
