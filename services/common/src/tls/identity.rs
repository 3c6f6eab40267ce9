//! The one name in a certificate that counts.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

/// Who is at the other end of a connection; in the extensions of every request that [`super::serve`] hands on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    /// The URI in the subject alternative name of the peer's certificate.
    pub uri: String,
}

/// Why a certificate names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It cannot be read.
    #[error("certificat illisible")]
    Unreadable,
    /// It holds no URI.
    #[error("le certificat ne porte aucune URI (subjectAltName) ; demandez-en un qui porte l'URI inscrite dans la convention")]
    NoUri,
    /// It holds several: which role its holder plays would be a matter of choice.
    #[error("le certificat porte plusieurs URI (subjectAltName) ; demandez-en un qui n'en porte qu'une")]
    SeveralUris,
}

/// The URI that names the holder of `certificate`.
///
/// # Errors
/// [`IdentityError`] unless there is exactly one.
pub fn uri_of(certificate: &CertificateDer<'_>) -> Result<String, IdentityError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| IdentityError::Unreadable)?;
    let names = parsed.subject_alternative_name().map_err(|_| IdentityError::Unreadable)?.ok_or(IdentityError::NoUri)?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) if !uri.is_empty() => Ok(uri.to_owned()),
        (Some(_), Some(_)) => Err(IdentityError::SeveralUris),
        _ => Err(IdentityError::NoUri),
    }
}
