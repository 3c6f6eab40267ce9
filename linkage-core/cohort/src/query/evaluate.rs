//! Evaluation of a query over a study.

use super::{Query, QueryError, check};
use crate::figures::FigureTable;
use crate::study::{Households, SourceError, Study};

/// What an evaluation takes beside the study.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// Key of every person, by number (see [`crate::Figure::key`]).
    pub person_keys: &'a [u64],
    /// Households, where they are known.
    pub households: Option<&'a dyn Households>,
}

/// Evaluates `query` over `study`.
///
/// # Errors
/// What [`check`] refuses, and a study that cannot be read.
pub fn evaluate(query: &Query, study: &Study, inputs: Inputs<'_>) -> Result<FigureTable, QueryError> {
    check(query, study)?;
    if inputs.person_keys.len() < study.persons as usize {
        return Err(QueryError::Keys);
    }
    Err(SourceError("évaluation".to_owned()).into())
}
