//! The gRPC side: giving checkpoints, taking countersignatures.

use std::sync::Arc;

use linkage_proto::v1::audit_server::{Audit, AuditServer};
use linkage_proto::v1::{self, AuditCheckpoint};
use tonic::{Request, Response, Status};

use super::files::{self, Anchor, Head};
use super::log::{AuditLog, held, unusable};
use super::marks::{self, Checkpoint, Countersigned};
use super::verify::digests;
use crate::error::ServiceError;
use crate::signer::Signer;

/// Digests in one answer.
pub const PAGE: u64 = 16_384;

/// The service over `log`; `signer` is the role's.
pub(super) fn serve(log: &AuditLog, signer: Arc<Signer>) -> AuditServer<impl Audit> {
    AuditServer::new(Checkpoints { log: log.clone(), signer })
}

struct Checkpoints {
    log: AuditLog,
    signer: Arc<Signer>,
}

impl AuditLog {
    /// Entries after `after` as a partner sees them, and the head they lead to, signed.
    fn checkpoint(&self, after: u64, signer: &Signer) -> Result<AuditCheckpoint, ServiceError> {
        // All up to the head is on disk: no entry that a loss of power could take back is signed.
        let head = self.head()?;
        let place = self.place();
        let read = |after, until| digests(&place.folder, after, until).map_err(|e| unusable(&e));
        let anchor = files::read_anchor(&place.folder).map_err(|e| unusable(&e))?.as_ref().and_then(Anchor::head);
        let pruned = anchor.map_or(0, |a| a.number);
        let first = if after == 0 { head.number } else { after.max(pruned).min(head.number) };
        let until = first.saturating_add(PAGE).min(head.number);
        let (mut found, mut reached) = (Vec::new(), head);
        if until > first {
            let (digests, last) = read(first, until)?;
            let last: Option<Head> = last.filter(|last| last.number == until && digests.len() as u64 == until - first);
            reached = last.ok_or_else(|| ServiceError::internal("audit entries missing"))?;
            found = digests;
        }
        let signed =
            Checkpoint::sign(&self.inner.log, &reached, self.inner.gate.now(), &self.inner.gate.agreement_hash(), signer);
        Ok(AuditCheckpoint { digests: found.concat().into(), first, head: head.number, ..signed.to_wire()? })
    }

    pub(super) fn take_countersignature(&self, countersigned: Countersigned) -> Result<(), ServiceError> {
        let gate = &self.inner.gate;
        if countersigned.checkpoint.log != self.inner.log {
            return Err(ServiceError::not_found(
                "ce journal est celui d'un autre processus de ce rôle ; la contresignature sera renvoyée",
            ));
        }
        countersigned.verify(gate.agreement(), &gate.agreement_hash(), &self.inner.role)?;
        let folder = self.place().folder;
        let files = held(&self.inner.files);
        let _locked = files.lock().map_err(|e| unusable(&e))?;
        marks::rewrite(&folder, Some(countersigned), |_| true).map_err(|e| unusable(&e))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, ServiceError> + Send + 'static) -> Result<T, Status> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(ServiceError::internal)??)
}

#[tonic::async_trait]
impl Audit for Checkpoints {
    async fn get_checkpoint(&self, request: Request<v1::GetCheckpointRequest>) -> Result<Response<AuditCheckpoint>, Status> {
        self.log.inner.gate.party(&request, request.get_ref().agreement.as_ref())?;
        let (log, signer, after) = (self.log.clone(), self.signer.clone(), request.get_ref().after);
        Ok(Response::new(blocking(move || log.checkpoint(after, &signer)).await?))
    }

    async fn put_countersignature(
        &self,
        request: Request<v1::PutCountersignatureRequest>,
    ) -> Result<Response<v1::PutCountersignatureResponse>, Status> {
        let gate = &self.log.inner.gate;
        let party = gate.party(&request, request.get_ref().agreement.as_ref())?;
        let asked = request.into_inner();
        let checkpoint = asked.checkpoint.as_ref().ok_or_else(|| {
            ServiceError::invalid(
                "il manque le point de contrôle que la contresignature vise ; vérifiez la version du logiciel du nœud",
            )
        })?;
        // Nothing that was not signed here is kept: its texts are this role's own.
        let countersigned = Countersigned {
            checkpoint: Checkpoint::from_wire(checkpoint, &gate.agreement_hash()),
            party,
            countersignature: hex::encode(&asked.countersignature),
            received: gate.now(),
        };
        let log = self.log.clone();
        blocking(move || log.take_countersignature(countersigned)).await?;
        Ok(Response::new(v1::PutCountersignatureResponse {}))
    }
}
