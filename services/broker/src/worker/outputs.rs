//! What steps leave to one another: named outputs of a run, each stored whole.
//!
//! An output is put before the step that made it is left, and read by later ones; all of a run's go with its encodings.

use bytes::Bytes;
use linkage_agreement::{PartyId, RunId};
use linkage_common::blob::BlobName;
use linkage_common::error::ServiceError;
use linkage_proto::MAX_BATCH_BYTES;

use super::Worker;
use crate::held::HeldTokens;
use crate::increments;
use crate::pipeline::{self, Member};

/// What a step's output is called.
#[derive(Clone, Copy)]
pub(super) enum Output {
    Records,
    Comparisons,
    Blocks,
    Settled,
    Clusters(u64),
    Report,
    /// Of a run that is kept: its classifier, and the number of partitions of its tokens.
    Model,
    Partitions,
    /// Tokens of one partition, where replicas share them.
    Tokens(u32),
}

impl Worker {
    pub(super) fn name(run: &RunId, output: Output) -> Result<BlobName, ServiceError> {
        let (place, number) = match output {
            Output::Records => ("records", 0),
            Output::Comparisons => ("comparisons", 0),
            Output::Blocks => ("blocks", 0),
            Output::Settled => ("settled", 0),
            Output::Clusters(number) => ("clusters", number),
            Output::Report => ("report", 0),
            Output::Model => ("model", 0),
            Output::Partitions => ("partitions", 0),
            Output::Tokens(number) => ("tokens", u64::from(number)),
        };
        let place: PartyId = place.parse().map_err(ServiceError::internal)?;
        Ok(BlobName::new(run, &place, number))
    }

    pub(super) async fn put(&self, run: &RunId, output: Output, bytes: Vec<u8>) -> Result<(), ServiceError> {
        Ok(self.outputs.put(&Self::name(run, output)?, bytes.into()).await?)
    }

    pub(super) async fn get(&self, run: &RunId, output: Output) -> Result<Bytes, ServiceError> {
        Ok(self.outputs.get(&Self::name(run, output)?).await?)
    }

    /// Stores the clusters of a run and its report.
    pub(super) async fn put_linked(&self, run: &RunId, clusters: &[Vec<Member>], report: Vec<u8>) -> Result<(), ServiceError> {
        for (number, batch) in pipeline::pack_clusters(clusters, MAX_BATCH_BYTES).into_iter().enumerate() {
            self.put(run, Output::Clusters(number as u64), batch).await?;
        }
        self.put(run, Output::Report, report).await
    }

    /// Moves a run's tokens from the folder to the outputs.
    pub(super) async fn share_tokens(&self, run: &RunId, partitions: u32) -> Result<(), ServiceError> {
        let folder = self.held.join(run.as_str());
        for number in 0..partitions {
            if let Some(bytes) = HeldTokens::packed(&folder, number)? {
                self.put(run, Output::Tokens(number), bytes).await?;
            }
        }
        increments::forget_tokens(&folder)
    }

    /// Brings a run's tokens back into the folder.
    pub(super) async fn borrow_tokens(&self, run: &RunId, partitions: u32) -> Result<(), ServiceError> {
        let folder = self.held.join(run.as_str());
        increments::forget_tokens(&folder)?;
        for number in 0..partitions {
            let bytes = self.get(run, Output::Tokens(number)).await?;
            HeldTokens::unpack(&folder, number, &bytes)?;
        }
        Ok(())
    }
}
