//! The agreement (convention) between the partners: parse, canonical hash, signatures, what is allowed;
//! identity types shared by all roles.
//!
//! An agreement's text becomes a [`ParsedAgreement`] when it has no fault, and a [`SignedAgreement`] when every party
//! has signed its hash; roles act on the latter only and ask its `permit_…` methods first. docs/agreement.md specifies
//! the canonical bytes, the hash and the signatures for other implementations.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod amendment;
pub mod canonical;
mod check;
pub mod defaults;
pub mod disclosure;
mod document;
mod forms;
pub mod ids;
pub mod keys;
pub mod layout;
pub mod model;
mod nearest;
pub mod parse;
pub mod pass_set;
pub mod permit;
mod schema;
pub mod signature;
mod squash;
pub mod template;
pub mod termination;
mod write;

pub use amendment::AmendmentFault;
pub use canonical::AgreementHash;
pub use defaults::{Members, Term};
pub use document::Fault;
pub use ids::{Handle, InvalidId, PartyId, Period, PersonId, Pseudonym, RecordRef, RunId, Token};
pub use layout::{AnnexPlaces, DateQuality, FieldKind, FieldPlace, Layout, RecordShape};
pub use model::{Agreement, DisclosureMethod, PartyProfile};
pub use parse::ParsedAgreement;
pub use pass_set::{InvalidPassSetRef, PassSetRef};
pub use permit::{Refusal, RoleId, RunRequest, certificate_identity};
pub use signature::{AgreementError, Signature, Signatures, SignedAgreement, sign};
pub use squash::{fold, squash};
pub use template::template_fr;
pub use termination::{Termination, TerminationError, VerifiedTermination};

#[cfg(test)]
mod tests;
