//! What enters the access log, and who may ask one more question.
//!
//! Whatever is shown is entered before it is; of refusals so many of each account, the others are counted ([`Refusals`]).
//!
//! [`Refusals`]: crate::refusals::Refusals

use std::time::Instant;

use linkage_common::error::ServiceError;

use super::Desk;
use crate::access::{Access, Action, Outcome, Who};
use crate::publish::{PublicationId, Question};

impl Desk {
    /// Whether `who` may come in, and has a question looked at.
    pub(super) async fn admit_question(&self, who: &Who) -> Result<(), ServiceError> {
        self.refusals.permit(who, Instant::now())?;
        self.users.admit(who).await
    }

    /// Enters an access.
    ///
    /// # Errors
    /// It could not be written; what was asked for must then not be shown.
    pub(crate) fn enter(&self, access: &Access<'_>) -> Result<(), ServiceError> {
        if access.outcome == Outcome::Refused {
            let Some(more) = self.refusals.take(access.who, Instant::now()) else { return Ok(()) };
            if more > 0 {
                let subject = format!("{more} autres refus, seulement comptés");
                self.access.note(&Access { subject: &subject, query: None, publication: None, ..*access })?;
            }
        }
        self.access.note(access)
    }

    /// Enters what `made` came to and passes it on; an access that cannot be entered is refused.
    ///
    /// # Errors
    /// That of `made`, or that of [`Self::enter`].
    pub(crate) fn entered<T>(&self, mut access: Access<'_>, made: Result<T, ServiceError>) -> Result<T, ServiceError> {
        access.outcome = Outcome::of(&made);
        self.enter(&access)?;
        made
    }

    pub(super) fn noted<T>(
        &self,
        who: &Who,
        action: Action,
        question: &Question,
        publication: Option<&str>,
        made: Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let digest = question.digest()?;
        let outcome = Outcome::of(&made);
        self.entered(Access { who, action, subject: question.title(), query: Some(&digest), publication, outcome }, made)
    }

    pub(super) fn note<T>(
        &self,
        who: &Who,
        action: Action,
        subject: &str,
        publication: Option<&PublicationId>,
        made: Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let publication = publication.map(PublicationId::as_str);
        let outcome = Outcome::of(&made);
        self.entered(Access { who, action, subject, query: None, publication, outcome }, made)
    }
}
