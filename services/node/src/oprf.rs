//! Block secrets from block keys: obliviously at the custodian, or with keys at hand in a trial.

use futures::{StreamExt, TryStreamExt, stream};
use linkage_agreement::Period;
use linkage_common::gate::Gate;
use linkage_common::tls::Channel;
use linkage_crypto::derive::{BlockSecret, SharedKey};
use linkage_crypto::oprf::{Blinder, ELEMENT_LEN, Evaluation, MAX_BATCH, PublicKey, ServerKey};
use linkage_proto::v1::{self, oprf_client::OprfClient};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::error::NodeError;

/// Inputs of one call: enough to spread its proof's cost, small enough to repeat.
pub const BATCH: usize = 1024;
/// Calls under way at a time, at least: blinding, the network and unblinding overlap.
const LEAST_CALLS: usize = 4;

/// An input of the function; it tells names.
pub type Input = Zeroizing<Vec<u8>>;

/// Where block secrets come from.
#[expect(clippy::large_enum_variant, reason = "one exists for a stage")]
pub enum Evaluator {
    /// The custodian, over the network.
    Custodian {
        /// Its service.
        client: OprfClient<Channel>,
        /// Its public key, as in the agreement.
        key: PublicKey,
        /// What requests name.
        agreement: v1::AgreementRef,
    },
    /// The custodian's key at hand: a trial does every step of the protocol in one process.
    Local(Box<ServerKey>),
    /// No custodian: a key that all parties share. Whoever holds it can try a dictionary on the encodings.
    Shared(SharedKey),
}

impl Evaluator {
    /// The custodian of the agreement.
    pub fn custodian(gate: &Gate, channel: Channel) -> Result<Self, NodeError> {
        let key = PublicKey::from_base64(&gate.agreement().custodian.oprf_public_key)?;
        Ok(Self::Custodian { client: OprfClient::new(channel), key, agreement: gate.reference() })
    }

    /// Declares how many records will be encoded for `period`.
    pub async fn declare(&mut self, period: Period, records: u64) -> Result<(), NodeError> {
        if let Self::Custodian { client, agreement, .. } = self {
            let request = v1::DeclareRequest { agreement: Some(agreement.clone()), period: period.to_string(), records };
            client.declare(request).await.map_err(|s| NodeError::custodian(&s))?;
        }
        Ok(())
    }

    /// The key that stands for the custodian's, where there is one.
    pub(crate) fn shared(&self) -> Option<&SharedKey> {
        match self {
            Self::Shared(key) => Some(key),
            _ => None,
        }
    }

    /// The block secrets of `inputs`, in order. The custodian sees batch number `n` blinded from `seeds[n]`: who repeats a
    /// batch with its seed sends the same bytes. `progress` is told how many are done. All cores work.
    pub async fn evaluate(
        &mut self,
        period: Period,
        inputs: Vec<Input>,
        seeds: Vec<Zeroizing<[u8; 32]>>,
        progress: impl Fn(usize),
    ) -> Result<Vec<BlockSecret>, NodeError> {
        const { assert!(BATCH <= MAX_BATCH) };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut secrets = Vec::with_capacity(inputs.len());
        match self {
            Self::Shared(key) => secrets.extend(inputs.iter().map(|input| BlockSecret::shared(key, input))),
            Self::Local(server) => {
                for batches in inputs.chunks(4 * cores * BATCH) {
                    let done: Vec<Vec<BlockSecret>> =
                        batches.par_chunks(BATCH).map(|batch| evaluate_here(server, batch)).collect::<Result<_, _>>()?;
                    secrets.extend(done.into_iter().flatten());
                    progress(secrets.len());
                }
            }
            Self::Custodian { client, key, agreement } => {
                let mut inputs = inputs.into_iter();
                let batches = seeds.into_iter().map(|seed| (inputs.by_ref().take(BATCH).collect(), seed));
                let calls = batches.map(|(batch, seed)| ask(client.clone(), *key, agreement.clone(), period, batch, seed));
                let mut answers = stream::iter(calls).buffered(LEAST_CALLS.max(2 * cores));
                while let Some(batch) = answers.try_next().await? {
                    secrets.extend(batch);
                    progress(secrets.len());
                }
            }
        }
        Ok(secrets)
    }
}

fn evaluate_here(server: &ServerKey, batch: &[Input]) -> Result<Vec<BlockSecret>, NodeError> {
    let mut rng = linkage_common::rng();
    let (state, blinded) = Blinder::blind(batch, &mut rng)?;
    let evaluation = server.evaluate(&blinded, &mut rng)?;
    Ok(state.finalize(server.public_key(), &evaluation)?.iter().map(BlockSecret::from_oprf).collect())
}

async fn ask(
    mut client: OprfClient<Channel>,
    key: PublicKey,
    agreement: v1::AgreementRef,
    period: Period,
    batch: Vec<Input>,
    seed: Zeroizing<[u8; 32]>,
) -> Result<Vec<BlockSecret>, NodeError> {
    let (state, blinded) = blocking(move || Ok(Blinder::blind(&batch, &mut ChaCha20Rng::from_seed(*seed))?)).await?;
    debug_assert_eq!(blinded.len(), state.count() * ELEMENT_LEN);
    let request = v1::EvaluateRequest { agreement: Some(agreement), period: period.to_string(), blinded: blinded.into() };
    let answer = client.evaluate(request).await.map_err(|s| NodeError::custodian(&s))?.into_inner();
    let proof: [u8; 64] = answer.proof.as_ref().try_into().map_err(|_| {
        NodeError::Refused("le tiers de confiance a répondu sans preuve : prévenez-le, rien n'a été gardé".to_owned())
    })?;
    let evaluation = Evaluation { elements: answer.evaluated.to_vec(), proof };
    blocking(move || Ok(state.finalize(&key, &evaluation)?.iter().map(BlockSecret::from_oprf).collect())).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, NodeError> + Send + 'static) -> Result<T, NodeError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| NodeError::Configuration("calcul interrompu".to_owned()))?
}
