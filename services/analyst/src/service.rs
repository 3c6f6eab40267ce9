//! The analyst's gRPC side: figures that have passed disclosure control.

use std::sync::Arc;

use linkage_agreement::{Period, RunId};
use linkage_cohort::{LinkRow, Overlap, disclose, overlap};
use linkage_common::error::ServiceError;
use linkage_common::gate::Gate;
use linkage_proto::v1::{self, cohorts_server::Cohorts};
use tonic::{Request, Response, Status};

use crate::tables::Tables;

/// The analyst's service.
#[derive(Clone)]
pub struct Analyst {
    /// Agreement, terminations and clock.
    pub gate: Arc<Gate>,
    /// Link tables.
    pub tables: Tables,
}

/// The overlap table of a period, from the last run of it that is here; figures below `minimum` are suppressed.
pub fn overlap_of(tables: &Tables, period: Period, minimum: u64) -> Result<(RunId, Overlap), ServiceError> {
    let mut found: Option<(RunId, Vec<LinkRow>)> = None;
    for run in tables.runs()? {
        let links = tables.links(&run)?;
        if links.first().is_some_and(|row| row.period == period) {
            found = Some((run, links));
        }
    }
    let (run, links) = found.ok_or_else(|| {
        ServiceError::not_found(
            "aucune table de liens de ce mois n'est ici ; « linkage run list » montre si son traitement est clos",
        )
    })?;
    Ok((run, disclose(&overlap(&links), minimum)))
}

#[tonic::async_trait]
impl Cohorts for Analyst {
    async fn overlap(&self, request: Request<v1::OverlapRequest>) -> Result<Response<v1::OverlapResponse>, Status> {
        self.gate.member(&request, request.get_ref().agreement.as_ref())?;
        let period = linkage_common::batches::period(&request.get_ref().period)?;
        let minimum = self.gate.agreement().disclosure.minimum_cell;
        let tables = self.tables.clone();
        let (run, table) = tokio::task::spawn_blocking(move || overlap_of(&tables, period, u64::from(minimum)))
            .await
            .map_err(ServiceError::internal)??;
        let cells = table
            .cells
            .into_iter()
            .map(|c| v1::OverlapCell { parties: c.parties.iter().map(ToString::to_string).collect(), persons: c.persons })
            .collect();
        Ok(Response::new(v1::OverlapResponse { cells, minimum_cell: minimum, run_id: run.to_string() }))
    }
}
