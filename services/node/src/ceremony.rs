//! The group key ceremony, at one partner: contribute once, collect the others' contributions, derive the key.

use linkage_agreement::PartyId;
use linkage_common::audit::Act;
use linkage_common::error::ServiceError;
use linkage_common::tls::Channel;
use linkage_crypto::group::{Contribution, Fingerprint, GroupKey, Route};
use linkage_crypto::seal::{SealingKey, SealingPublicKey};
use linkage_crypto::signing::{SigningKey, VerifyingKey};
use linkage_proto::v1::{self, keys_client::KeysClient};

use crate::error::NodeError;
use crate::node::Node;

const CONTRIBUTION: &str = "keys/contribution";
const GROUP: &str = "keys/group";

impl Node {
    /// The group key, once the ceremony is over.
    pub fn group_key(&self) -> Result<Option<GroupKey>, NodeError> {
        let Some(bytes) = self.vault.get(GROUP)? else { return Ok(None) };
        let key: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| NodeError::Damaged(GROUP.to_owned()))?;
        Ok(Some(GroupKey::from_bytes(key)))
    }

    /// What operators compare by another channel, once the ceremony is over.
    pub fn fingerprint(&self) -> Result<Option<Fingerprint>, NodeError> {
        Ok(self.group_key()?.map(|key| key.fingerprint()))
    }

    /// This party's contribution: drawn once, or read from where the configuration says.
    fn contribution(&self) -> Result<Contribution, NodeError> {
        if let Some(bytes) = self.vault.get(CONTRIBUTION)? {
            let bytes: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| NodeError::Damaged(CONTRIBUTION.to_owned()))?;
            return Ok(Contribution::from_bytes(bytes));
        }
        let contribution = match &self.config.group_contribution {
            Some(source) => Contribution::from_bytes(&*source.read_key().map_err(ServiceError::configuration)?),
            None => Contribution::generate(&mut linkage_common::rng()),
        };
        self.vault.put(CONTRIBUTION, contribution.as_bytes())?;
        Ok(contribution)
    }

    /// Takes the ceremony one step further; the fingerprint when it is over. Repeating it changes nothing.
    pub async fn advance_ceremony(&self, channel: Channel) -> Result<Option<Fingerprint>, NodeError> {
        if let Some(fingerprint) = self.fingerprint()? {
            return Ok(Some(fingerprint));
        }
        let agreement = self.gate.agreement();
        let hash = self.gate.agreement_hash();
        let me = self.party();
        let signing = SigningKey::from_bytes(&*self.config.signing_key.read_key().map_err(ServiceError::configuration)?);
        let sealing = SealingKey::from_bytes(&*self.config.sealing_key.read_key().map_err(ServiceError::configuration)?);
        let contribution = self.contribution()?;
        let mut client = KeysClient::new(channel);

        let request = v1::GetContributionsRequest { agreement: Some(self.gate.reference()) };
        let relayed = client.get_contributions(request.clone()).await.map_err(|s| NodeError::broker(&s))?.into_inner();
        if !relayed.contributed.iter().any(|p| p == me.as_str()) {
            let mut envelopes = Vec::new();
            for other in agreement.party.iter().filter(|p| &p.id != me) {
                let recipient = SealingPublicKey::from_base64(&other.sealing_key).map_err(ServiceError::configuration)?;
                let route = Route { agreement: &hash, from: me.as_str(), to: other.id.as_str() };
                let envelope = route.seal(&contribution, &recipient, &signing, &mut linkage_common::rng())?;
                envelopes.push(v1::ContributionEnvelope {
                    from: me.to_string(),
                    to: other.id.to_string(),
                    envelope: envelope.into(),
                });
            }
            let request = v1::PutContributionRequest { agreement: Some(self.gate.reference()), envelopes };
            client.put_contribution(request).await.map_err(|s| NodeError::broker(&s))?;
        }

        let relayed = client.get_contributions(request).await.map_err(|s| NodeError::broker(&s))?.into_inner();
        let mut contributions: Vec<(PartyId, Contribution)> = vec![(me.clone(), contribution)];
        for other in agreement.party.iter().filter(|p| &p.id != me) {
            let mine = |e: &&v1::ContributionEnvelope| e.from == other.id.as_str() && e.to == me.as_str();
            let Some(envelope) = relayed.envelopes.iter().find(mine) else { return Ok(None) };
            let sender = VerifyingKey::from_base64(&other.signing_key).map_err(ServiceError::configuration)?;
            let route = Route { agreement: &hash, from: other.id.as_str(), to: me.as_str() };
            contributions.push((other.id.clone(), route.open(&envelope.envelope, &sender, &sealing)?));
        }
        let named: Vec<(&str, &Contribution)> = contributions.iter().map(|(id, c)| (id.as_str(), c)).collect();
        let key = GroupKey::combine(&hash, &named)?;
        self.vault.put(GROUP, key.as_bytes())?;
        let fingerprint = key.fingerprint();
        self.audit.record(Act::own("group-key.derived")).await?;
        tracing::info!(%fingerprint, "group key derived; compare this fingerprint with the other partners by another channel");
        Ok(Some(fingerprint))
    }
}
