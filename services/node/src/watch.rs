//! Countersigning the audit logs of broker, custodian and analysts, while the node serves.
//!
//! By the agreement's clock, apart from everything else the node does: a role that is away, or whose log does not go on from
//! what this node has seen, holds up nothing. What is found goes to the log and to this node's own audit log.

use linkage_agreement::RoleId;
use linkage_common::audit::{Seen, Witness};
use linkage_common::error::ServiceError;
use linkage_common::signer::Signer;
use linkage_common::tls::Channel;

use crate::error::NodeError;
use crate::node::Node;
use crate::serve::{POLL, Peers};

impl Node {
    pub(crate) fn signer(&self) -> Result<Signer, NodeError> {
        let role = RoleId::Party(self.party().clone());
        Ok(Signer::load(&self.config.signing_key, self.gate.agreement(), self.gate.agreement_hash(), role)?)
    }

    /// This node as one that countersigns.
    pub fn witness(&self) -> Result<Witness, NodeError> {
        Ok(Witness::open(self.audit.clone(), self.signer()?)?)
    }

    /// Whose logs are looked at, each with its channel.
    fn watched(&self, peers: &Peers) -> Result<Vec<(RoleId, Channel)>, NodeError> {
        let mut watched = vec![(RoleId::Broker, peers.broker.clone()), (RoleId::Custodian, peers.custodian.clone())];
        for (id, url) in &self.config.analyst_urls {
            let analyst = self.gate.agreement().analyst.iter().find(|a| &a.id == id).ok_or_else(|| {
                NodeError::Configuration(format!(
                    "« analyst_urls » : la convention ne nomme aucun destinataire {id} ; corrigez-le"
                ))
            })?;
            let channel = linkage_common::tls::connect_lazy(url, &self.config.tls, &analyst.certificate_identity)
                .map_err(|e| NodeError::Configuration(e.to_string()))?;
            watched.push((RoleId::Analyst(id.clone()), channel));
        }
        Ok(watched)
    }

    /// Looks at the others' logs as often as the configuration says, for as long as it is polled.
    ///
    /// # Errors
    /// What is wrong with configuration or keys, at once.
    pub(crate) fn watch(&self, peers: &Peers) -> Result<impl Future<Output = ()>, NodeError> {
        let (witness, watched) = (self.witness()?, self.watched(peers)?);
        let interval = i64::from(self.config.checkpoint_minutes) * 60;
        Ok(async move {
            let mut looked: Option<i64> = None;
            let mut answered = vec![false; watched.len()];
            loop {
                let now = self.gate.now();
                let over = looked.is_none_or(|at| !(0..interval).contains(&now.saturating_sub(at)));
                if over {
                    looked = Some(now);
                    answered.fill(false);
                }
                for ((role, channel), answered) in watched.iter().zip(&mut answered) {
                    // One that could not be reached is tried again before the next round.
                    if !*answered {
                        *answered = seen(role, witness.look(role, channel.clone()).await);
                    }
                }
                self.meet_restorations(&witness).await;
                tokio::time::sleep(if over { POLL } else { POLL * 20 }).await;
            }
        })
    }
}

impl Node {
    /// What persons had withdrawn since its backup was made is asked of a restored custodian again. Tried until it is done, by
    /// another process of this node too.
    async fn meet_restorations(&self, witness: &Witness) {
        let logs = witness.restorations(&RoleId::Custodian);
        if logs.is_empty() {
            return;
        }
        let asked = self.ask_again().await;
        match asked.and_then(|requests| Ok((requests, witness.restorations_met(&RoleId::Custodian, &logs)?))) {
            Ok((requests, ())) => {
                tracing::warn!(requests, "the custodian was restored from a backup: asked again for what was withdrawn there");
            }
            Err(error) => {
                tracing::error!(%error, "the custodian was restored from a backup, and could not be asked again yet; tried again, or run `linkage rights ask-again`");
            }
        }
    }
}

/// Says what a look came to; whether there was an answer.
fn seen(role: &RoleId, result: Result<Seen, ServiceError>) -> bool {
    match result {
        Ok(seen) => tracing::debug!(%role, ?seen, "audit log looked at"),
        Err(error) => {
            tracing::debug!(%role, %error, "audit log not looked at");
            return false;
        }
    }
    true
}
