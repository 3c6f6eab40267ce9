//! One short list of error kinds, mapped in one place to gRPC.
//!
//! What crosses the wire is a kind and a message made of constant text and values that are about no person:
//! run identifiers, counts, limits. An internal fault never carries its cause to the peer: the cause goes to
//! this process's log under a random incident number, and the peer receives the number.

use std::borrow::Cow;
use std::fmt;

use tonic::{Code, Status};

use crate::blob::BlobError;
use crate::fsx;
use crate::store::StoreError;
use crate::tls::ConnectError;

/// What kind of error it is; all that a caller may decide upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The agreement, or the peer's role in it, does not allow this.
    Refused,
    /// There is no such run, batch or table.
    NotFound,
    /// The request breaks the protocol; the same request can never pass.
    Invalid,
    /// The request contradicts what is held already: another digest, a run in another state.
    Conflict,
    /// A part of the request is over its size limit.
    TooLarge,
    /// A budget, a quota or the disk is used up.
    Exhausted,
    /// Not now; the same request may pass later.
    Unavailable,
    /// A fault of this side.
    Internal,
}

impl ErrorKind {
    /// The gRPC code of this kind; each kind has one of its own.
    pub fn code(self) -> Code {
        match self {
            Self::Refused => Code::PermissionDenied,
            Self::NotFound => Code::NotFound,
            Self::Invalid => Code::InvalidArgument,
            Self::Conflict => Code::FailedPrecondition,
            Self::TooLarge => Code::OutOfRange,
            Self::Exhausted => Code::ResourceExhausted,
            Self::Unavailable => Code::Unavailable,
            Self::Internal => Code::Internal,
        }
    }
    /// The kind that a received status is of. Codes that no role sends count as [`Self::Unavailable`] when
    /// they come of a broken connection or a deadline, and as [`Self::Internal`] otherwise.
    pub fn of(status: &Status) -> Self {
        match status.code() {
            Code::PermissionDenied | Code::Unauthenticated => Self::Refused,
            Code::NotFound => Self::NotFound,
            Code::InvalidArgument => Self::Invalid,
            Code::FailedPrecondition | Code::AlreadyExists | Code::Aborted => Self::Conflict,
            Code::OutOfRange => Self::TooLarge,
            Code::ResourceExhausted => Self::Exhausted,
            Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => Self::Unavailable,
            Code::Ok | Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => Self::Internal,
        }
    }
}

/// An error that may be shown to a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ServiceError {
    /// Kind.
    pub kind: ErrorKind,
    /// Message: constant text and values that are about no person; says what to do next.
    pub message: Cow<'static, str>,
}

/// What a handler returns.
pub type ServiceResult<T> = Result<T, ServiceError>;

impl ServiceError {
    /// An error of `kind`. For [`ErrorKind::Internal`] use [`Self::internal`], which keeps the cause at home.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into() }
    }
    /// [`ErrorKind::Refused`].
    pub fn refused(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Refused, message)
    }
    /// [`ErrorKind::NotFound`].
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }
    /// [`ErrorKind::Invalid`].
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }
    /// [`ErrorKind::Conflict`].
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }
    /// [`ErrorKind::TooLarge`].
    pub fn too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::TooLarge, message)
    }
    /// [`ErrorKind::Exhausted`].
    pub fn exhausted(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Exhausted, message)
    }
    /// [`ErrorKind::Unavailable`].
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }
    /// [`ErrorKind::Internal`]: logs `cause` under an incident number and keeps the number only.
    pub fn internal(cause: impl fmt::Display) -> Self {
        let incident = incident_number();
        tracing::error!(incident, cause = %cause, "internal error");
        Self::new(
            ErrorKind::Internal,
            format!("erreur interne ; transmettez le numéro d'incident {incident} à l'opérateur de ce service"),
        )
    }
}

impl From<ServiceError> for Status {
    fn from(error: ServiceError) -> Self {
        Self::new(error.kind.code(), error.message)
    }
}

impl From<&Status> for ServiceError {
    /// What a call of ours came to. A connection's fault is told in its own words rather than tonic's.
    fn from(status: &Status) -> Self {
        match ConnectError::of(status) {
            Some(fault) => fault.into(),
            None => Self::new(ErrorKind::of(status), status.message().to_owned()),
        }
    }
}

impl From<Status> for ServiceError {
    fn from(status: Status) -> Self {
        Self::from(&status)
    }
}

impl From<&ConnectError> for ServiceError {
    fn from(fault: &ConnectError) -> Self {
        let kind = if fault.is_passing() { ErrorKind::Unavailable } else { ErrorKind::Refused };
        Self::new(kind, fault.to_string())
    }
}

impl From<ConnectError> for ServiceError {
    fn from(fault: ConnectError) -> Self {
        Self::from(&fault)
    }
}

impl From<std::io::Error> for ServiceError {
    fn from(error: std::io::Error) -> Self {
        if fsx::is_disk_full(&error) { disk_full() } else { Self::internal(error) }
    }
}

impl From<sqlx::Error> for ServiceError {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::DiskFull => disk_full(),
            StoreError::Busy => Self::unavailable("base de données occupée ; réessayez dans quelques secondes"),
            StoreError::Unreachable(cause) => {
                tracing::warn!(%cause, "the database's server does not answer");
                Self::unavailable("base de données injoignable ; réessayez dans quelques secondes")
            }
            // Met by who starts a role, not by a peer's call: the words say what to do.
            refused @ (StoreError::Open { .. }
            | StoreError::Refused { .. }
            | StoreError::NoWayBack { .. }
            | StoreError::Migration(_)) => Self::configuration(Chain(&refused)),
            other => Self::internal(Chain(&other)),
        }
    }
}

impl From<BlobError> for ServiceError {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::DiskFull => disk_full(),
            BlobError::Unreachable(cause) => {
                tracing::warn!(cause = %Chain(&cause), "the object store does not answer");
                Self::unavailable("dépôt d'objets injoignable ; réessayez dans quelques secondes")
            }
            BlobError::Objects(refused) => Self::configuration(refused),
            BlobError::NotFound => Self::not_found("ce bloc n'est pas détenu ici ; renvoyez-le"),
            other => Self::internal(Chain(&other)),
        }
    }
}

fn disk_full() -> ServiceError {
    ServiceError::exhausted("disque plein chez le destinataire ; rien n'a été pris à moitié, réessayez une fois la place faite")
}

fn incident_number() -> String {
    // An incident without a number is still logged: failing here would hide the first fault behind a second.
    getrandom::u64().map_or_else(|_| "sans-numero".to_owned(), |n| format!("{n:016x}"))
}

/// An error with all its causes, in one line of the log.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [ErrorKind; 8] = [
        ErrorKind::Refused,
        ErrorKind::NotFound,
        ErrorKind::Invalid,
        ErrorKind::Conflict,
        ErrorKind::TooLarge,
        ErrorKind::Exhausted,
        ErrorKind::Unavailable,
        ErrorKind::Internal,
    ];

    #[test]
    fn every_kind_survives_the_wire() {
        for kind in ALL {
            let status = Status::from(ServiceError::new(kind, "message"));
            assert_eq!(ServiceError::from(&status), ServiceError::new(kind, "message"));
        }
    }

    #[test]
    fn the_cause_of_an_internal_error_stays_here() {
        let error = ServiceError::from(std::io::Error::other("no such table: tokens"));
        assert_eq!(error.kind, ErrorKind::Internal);
        let status = Status::from(error);
        assert!(!format!("{status:?}").contains("tokens"));
        assert!(status.message().contains("incident"));
    }

    #[test]
    fn a_database_of_a_later_version_is_no_internal_error() {
        let refused = StoreError::Migration(sqlx::migrate::MigrateError::VersionMissing(9));
        let words = refused.to_string();
        let error = ServiceError::from(refused);
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.message.starts_with(&words) && error.message.contains(" 9 "), "{error}");
    }

    #[test]
    fn a_full_disk_is_no_internal_error() {
        let error = ServiceError::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
        assert_eq!(error.kind, ErrorKind::Exhausted);
    }
}
