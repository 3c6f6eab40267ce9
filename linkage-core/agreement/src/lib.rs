//! The agreement (convention) between the partners: parse, canonical hash, signatures, what is allowed;
//! identity types shared by all roles.

pub mod ids;
pub mod layout;
pub mod model;

pub use ids::{Handle, InvalidId, PartyId, Period, PersonId, Pseudonym, RecordRef, RunId, Token};
pub use layout::{DateQuality, FieldKind, FieldPlace, Layout};
pub use model::Agreement;
