//! What the agreement makes of the peer at the other end of a request.
//!
//! A handler's first line asks [`peer_role`]; a certificate that the agreement does not name gets nothing,
//! even though the partners' authority has issued it. Refusals are logged with the certificate's URI and the
//! method called, never with anything of the request.

use linkage_agreement::{PartyId, Refusal, RoleId, SignedAgreement};
use tonic::{Request, Status};

use crate::error::ServiceError;
use crate::tls::{CalledMethod, PeerIdentity};

/// The role that the agreement gives to the peer of `request`.
///
/// # Errors
/// [`tonic::Code::PermissionDenied`] when it gives none.
pub fn peer_role<T>(request: &Request<T>, agreement: &SignedAgreement) -> Result<RoleId, Status> {
    let uri = peer_uri(request)?;
    agreement.role_of(uri).ok_or_else(|| {
        refuse(request, "the agreement does not name this certificate");
        ServiceError::refused(
            "ce certificat n'a aucun rôle dans la convention ; vérifiez « certificate_identity » dans la convention",
        )
        .into()
    })
}

/// As [`peer_role`], for methods that only partners' nodes may call.
///
/// # Errors
/// [`tonic::Code::PermissionDenied`].
pub fn peer_party<T>(request: &Request<T>, agreement: &SignedAgreement) -> Result<PartyId, Status> {
    match peer_role(request, agreement)? {
        RoleId::Party(party) => Ok(party),
        other => Err(refuse_role(request, &other)),
    }
}

/// As [`peer_role`], for methods that only analysts may call.
///
/// # Errors
/// [`tonic::Code::PermissionDenied`].
pub fn peer_analyst<T>(request: &Request<T>, agreement: &SignedAgreement) -> Result<PartyId, Status> {
    match peer_role(request, agreement)? {
        RoleId::Analyst(analyst) => Ok(analyst),
        other => Err(refuse_role(request, &other)),
    }
}

/// The URI in the certificate of the peer of `request`.
///
/// # Errors
/// [`tonic::Code::PermissionDenied`] when the request did not come over [`crate::tls::serve`].
pub fn peer_uri<T>(request: &Request<T>) -> Result<&str, Status> {
    request.extensions().get::<PeerIdentity>().map(|peer| peer.uri.as_str()).ok_or_else(|| {
        refuse(request, "the request came over no authenticated connection");
        ServiceError::refused(
            "connexion non authentifiée ; appelez ce service par TLS avec le certificat délivré pour la convention",
        )
        .into()
    })
}

impl From<Refusal> for ServiceError {
    fn from(refusal: Refusal) -> Self {
        Self::refused(refusal.french())
    }
}

fn refuse_role<T>(request: &Request<T>, role: &RoleId) -> Status {
    refuse(request, "the peer's role may not call this method");
    ServiceError::refused(format!(
        "le rôle {role} n'a pas accès à cette opération ; vérifiez le certificat de ce service et l'adresse appelée"
    ))
    .into()
}

fn refuse<T>(request: &Request<T>, reason: &'static str) {
    let uri = request.extensions().get::<PeerIdentity>().map(|peer| peer.uri.as_str());
    let method = request.extensions().get::<CalledMethod>().map(|method| method.0.as_str());
    tracing::warn!(certificate = uri, method, reason, "request refused");
}
