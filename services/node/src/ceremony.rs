//! The group key ceremony, at one partner: contribute once for each version of the agreement, collect the others'
//! contributions, derive the key.
//!
//! The key is of one version of the agreement: an amendment, whoever joins or leaves by it, begins a ceremony of its own with
//! fresh contributions, so that a partner that left holds nothing of the new key. A contribution that served once, of whomever,
//! is refused; what is kept to tell is a keyed digest of each. After a rotation no run is opened or taken part in before the
//! operator has confirmed the new fingerprint, and that is when the former key and contribution are erased: encodings
//! held at the broker are of the former version too, and take no increment any more.

mod ring;

use linkage_agreement::PartyId;
use linkage_common::audit::Act;
use linkage_common::error::ServiceError;
use linkage_common::tls::Channel;
use linkage_crypto::group::{Contribution, Fingerprint, GroupKey, Route};
use linkage_crypto::seal::{SealingKey, SealingPublicKey};
use linkage_crypto::signing::{SigningKey, VerifyingKey};
use linkage_proto::v1::{self, keys_client::KeysClient};
use serde::Serialize;

use crate::error::NodeError;
use crate::node::Node;
use ring::{Generation, Ring};

/// Where the group key of the agreement's version stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupStatus {
    /// Version of the agreement that the key is of.
    pub version: u32,
    /// Whether it replaces a former one.
    pub rotation: bool,
    /// Parties whose contribution the broker was last seen to have.
    pub contributed: Vec<PartyId>,
    /// Parties whose contribution is missing; none once the key is there.
    pub missing: Vec<PartyId>,
    /// What operators compare; none before the key is there.
    pub fingerprint: Option<String>,
    /// Whether the operator has confirmed it.
    pub confirmed: bool,
    /// Versions whose key is still held.
    pub former_held: Vec<u32>,
}

impl Node {
    /// The group key of the agreement's version, once the ceremony is over.
    pub fn group_key(&self) -> Result<Option<GroupKey>, NodeError> {
        let name = ring::group_name(&self.gate.agreement_hash());
        Ok(ring::secret(&self.vault, &name)?.map(|bytes| GroupKey::from_bytes(&bytes)))
    }

    /// The group key, for a run.
    ///
    /// # Errors
    /// `NotReady` while a contribution is missing or a new fingerprint is not confirmed; the text says which.
    pub(crate) fn group_key_for_runs(&self) -> Result<GroupKey, NodeError> {
        let status = self.group_status()?;
        match self.group_key()? {
            Some(key) if status.confirmed || !status.rotation => Ok(key),
            Some(_) => Err(NodeError::NotReady(
                "la clé de groupe a été renouvelée : comparez la nouvelle empreinte avec les autres partenaires par un autre canal, puis « linkage node ceremony --confirm EMPREINTE »".to_owned(),
            )),
            None => Err(NodeError::NotReady(format!(
                "la clé de groupe n'est pas encore établie pour la version {} de la convention : il manque la contribution de {}",
                status.version,
                names(&status.missing)
            ))),
        }
    }

    /// Refuses while the group key is being renewed; the first one holds nothing up.
    pub(crate) fn refuse_during_rotation(&self) -> Result<(), NodeError> {
        if self.group_status()?.rotation { self.group_key_for_runs().map(drop) } else { Ok(()) }
    }

    /// What operators compare by another channel, once the ceremony is over.
    pub fn fingerprint(&self) -> Result<Option<Fingerprint>, NodeError> {
        Ok(self.group_key()?.map(|key| key.fingerprint()))
    }

    /// Who has contributed to the key of the agreement's version, and what is left to do.
    pub fn group_status(&self) -> Result<GroupStatus, NodeError> {
        let (agreement, hash) = (self.gate.agreement(), self.gate.agreement_hash());
        let ring = Ring::load(&self.vault)?;
        let fingerprint = self.fingerprint()?.map(|fingerprint| fingerprint.to_string());
        let generation = ring.of(&hash);
        let contributed = generation.map(|generation| generation.contributed.clone()).unwrap_or_default();
        let missing = agreement.party.iter().map(|party| &party.id).filter(|id| !contributed.contains(id)).cloned().collect();
        Ok(GroupStatus {
            version: agreement.agreement.version,
            rotation: ring.rotation(&hash),
            missing: if fingerprint.is_some() { Vec::new() } else { missing },
            contributed,
            confirmed: generation.is_some_and(|generation| generation.confirmed.is_some()),
            fingerprint,
            former_held: ring.former_held(&hash),
        })
    }

    /// This party's contribution to this version's key: drawn once, or read from where the configuration says. `sent` says
    /// whether the broker has it already.
    fn contribution(&self, ring: &mut Ring, sent: bool) -> Result<Contribution, NodeError> {
        let name = ring::contribution_name(&self.gate.agreement_hash());
        if let Some(bytes) = ring::secret(&self.vault, &name)? {
            return Ok(Contribution::from_bytes(&bytes));
        }
        let contribution = match (ring.adopt_unversioned(&self.vault, self.gate.agreement(), self.gate.today(), sent)?, sent) {
            // Not yet of this version: whether it is shows in the key, where there is one.
            (Some(own), _) if ring::has_unversioned_key(&self.vault) => return Ok(own),
            (Some(own), _) => own,
            (None, true) => {
                return Err(NodeError::NotReady(
                    "le courtier a une contribution de ce nœud à la clé de groupe de cette version de la convention, et l'état du nœud ne l'a plus : restaurez-le d'une sauvegarde, ou préparez un avenant".to_owned(),
                ));
            }
            (None, false) => match &self.config.group_contribution {
                Some(source) => Contribution::from_bytes(&*source.read_key().map_err(ServiceError::configuration)?),
                None => Contribution::generate(&mut linkage_common::rng()),
            },
        };
        if ring.is_spent(&self.vault, &contribution) {
            return Err(NodeError::Configuration(
                "« group_contribution » a déjà servi à une clé de groupe : qui l'a connue connaîtrait la nouvelle ; retirez cette clé de la configuration du nœud, ou tirez-en une autre".to_owned(),
            ));
        }
        self.vault.put(&name, contribution.as_bytes())?;
        Ok(contribution)
    }

    /// Takes the ceremony one step further; the fingerprint when it is over. Repeating it changes nothing.
    pub async fn advance_ceremony(&self, channel: Channel) -> Result<Option<Fingerprint>, NodeError> {
        let agreement = self.gate.agreement();
        let hash = self.gate.agreement_hash();
        let over = |ring: &Ring| ring.of(&hash).is_some_and(|generation| generation.established.is_some());
        if over(&Ring::load(&self.vault)?)
            && let Some(fingerprint) = self.fingerprint()?
        {
            return Ok(Some(fingerprint));
        }
        // Service and command: the second one goes on from what the first one drew, and sees what it wrote.
        let _alone = self.alone_in_ceremony().await?;
        let mut ring = Ring::load(&self.vault)?;
        if over(&ring)
            && let Some(fingerprint) = self.fingerprint()?
        {
            return Ok(Some(fingerprint));
        }
        let me = self.party();
        let signing = SigningKey::from_bytes(&*self.config.signing_key.read_key().map_err(ServiceError::configuration)?);
        let sealing = SealingKey::from_bytes(&*self.config.sealing_key.read_key().map_err(ServiceError::configuration)?);
        let mut client = KeysClient::new(channel);

        let request = v1::GetContributionsRequest { agreement: Some(self.gate.reference()) };
        let relayed = client.get_contributions(request.clone()).await.map_err(|s| NodeError::broker(&s))?.into_inner();
        let sent = relayed.contributed.iter().any(|p| p == me.as_str());
        let contribution = self.contribution(&mut ring, sent)?;
        if !sent {
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
        let contributed = agreement.party.iter().map(|p| &p.id);
        let contributed = contributed.filter(|id| relayed.contributed.iter().any(|p| p == id.as_str())).cloned().collect();
        ring.contributed(&hash, agreement.agreement.version, contributed);
        let mut contributions: Vec<(PartyId, Contribution)> = vec![(me.clone(), contribution)];
        for other in agreement.party.iter().filter(|p| &p.id != me) {
            let mine = |e: &&v1::ContributionEnvelope| e.from == other.id.as_str() && e.to == me.as_str();
            let Some(envelope) = relayed.envelopes.iter().find(mine) else {
                ring.save(&self.vault)?;
                return Ok(None);
            };
            let sender = VerifyingKey::from_base64(&other.signing_key).map_err(ServiceError::configuration)?;
            let route = Route { agreement: &hash, from: other.id.as_str(), to: me.as_str() };
            let opened = route.open(&envelope.envelope, &sender, &sealing)?;
            if ring.is_spent(&self.vault, &opened) {
                ring.save(&self.vault)?;
                return Err(NodeError::Refused(format!(
                    "la contribution de {} à la clé de groupe a déjà servi : qui a quitté la convention pourrait la connaître ; prévenez ce partenaire, qui doit en tirer une autre sous un nouvel avenant",
                    other.id
                )));
            }
            contributions.push((other.id.clone(), opened));
        }
        let named: Vec<(&str, &Contribution)> = contributions.iter().map(|(id, c)| (id.as_str(), c)).collect();
        let key = GroupKey::combine(&hash, &named)?;
        if !ring.follows_unversioned(&self.vault, agreement, self.gate.today(), &key)? {
            return Err(NodeError::Refused(
                "le courtier donne pour contribution de ce nœud à cette version de la convention celle d'une clé de groupe précédente : prévenez le coordonnateur, et préparez un avenant".to_owned(),
            ));
        }
        // The key first: a process killed in between derives the same one again.
        if let Some((_, own)) = contributions.first() {
            self.vault.put(&ring::contribution_name(&hash), own.as_bytes())?;
        }
        self.vault.put(&ring::group_name(&hash), key.as_bytes())?;
        ring.established(&self.vault, &hash, self.gate.today(), contributions.iter().map(|(_, contribution)| contribution));
        ring.save(&self.vault)?;
        ring::remove_unversioned(&self.vault)?;
        let fingerprint = key.fingerprint();
        self.audit.record(Act::own("group-key.derived")).await?;
        tracing::info!(%fingerprint, version = agreement.agreement.version, "group key derived; compare this fingerprint with the other partners by another channel");
        Ok(Some(fingerprint))
    }

    /// Notes that the operator has compared the fingerprint with the other partners, and erases former keys and contributions.
    /// Gives the versions whose key was erased. Repeating it changes nothing.
    ///
    /// # Errors
    /// `NotReady` before the key is there; `Refused` when `text` is not its fingerprint.
    pub async fn confirm_fingerprint(&self, text: &str) -> Result<Vec<u32>, NodeError> {
        let hash = self.gate.agreement_hash();
        let fingerprint = match self.fingerprint()? {
            Some(fingerprint) => fingerprint.to_string(),
            None => return self.group_key_for_runs().map(|_| Vec::new()),
        };
        let _alone = self.alone_in_ceremony().await?;
        let digits = |text: &str| text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect::<String>();
        if digits(text) != digits(&fingerprint) {
            return Err(NodeError::Refused(
                "cette empreinte n'est pas celle de la clé de groupe de ce nœud : relisez-la ; si un partenaire en lit une autre, n'ouvrez aucun traitement et prévenez le coordonnateur".to_owned(),
            ));
        }
        let mut ring = Ring::load(&self.vault)?;
        if ring.confirm(&hash, self.gate.today()) {
            ring.save(&self.vault)?;
            self.audit.record(Act::own("group-key.confirmed")).await?;
        }
        let erased = ring.erase_former(&self.vault, &hash, self.gate.today())?;
        if !erased.is_empty() {
            ring.save(&self.vault)?;
            self.audit.record(Act::own("group-key.erased")).await?;
        }
        Ok(erased)
    }
}

fn names(parties: &[PartyId]) -> String {
    if parties.is_empty() {
        return "ce nœud (« linkage node ceremony »)".to_owned();
    }
    parties.iter().map(PartyId::as_str).collect::<Vec<_>>().join(", ")
}

impl Generation {
    /// Whether it is of the version with this hash.
    fn is_of(&self, hash: &[u8; 32]) -> bool {
        self.agreement == hex::encode(hash)
    }
}
