//! Which group keys this node has had, by version of the agreement, and which contributions have served.
//!
//! `keys/ring` holds no secret: versions, days, who had contributed, keyed digests of contributions that were part of a key. The
//! secrets lie in files of their own, `keys/contribution-HASH` and `keys/group-HASH`, which are removed one by one.

use jiff::civil::Date;
use linkage_agreement::{Agreement, PartyId};
use linkage_crypto::group::{Contribution, GroupKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::NodeError;
use crate::vault::Vault;

const FILE: &str = "keys/ring";
/// Where contribution and key lay before they were of a version.
const UNVERSIONED: [&str; 2] = ["keys/contribution", "keys/group"];

/// All group keys of a node.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ring {
    generations: Vec<Generation>,
    /// Keyed digests of contributions that were part of a key, hexadecimal.
    spent: Vec<String>,
}

/// The key of one version of the agreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Generation {
    /// Hash of the version, hexadecimal; empty for a key that was made before keys were of a version.
    pub(super) agreement: String,
    /// The version.
    version: u32,
    /// Parties that had contributed when this was last asked.
    pub(super) contributed: Vec<PartyId>,
    /// Day of its derivation.
    pub(super) established: Option<Date>,
    /// Day on which the operator confirmed its fingerprint.
    pub(super) confirmed: Option<Date>,
    /// Day on which it was erased.
    erased: Option<Date>,
}

fn stem(hash: &[u8]) -> String {
    hex::encode(hash.get(..8).unwrap_or(hash))
}

/// The file of this party's contribution to the key of a version.
pub(super) fn contribution_name(hash: &[u8; 32]) -> String {
    format!("keys/contribution-{}", stem(hash))
}

/// The file of the key of a version.
pub(super) fn group_name(hash: &[u8; 32]) -> String {
    format!("keys/group-{}", stem(hash))
}

/// A secret of 32 bytes.
pub(super) fn secret(vault: &Vault, name: &str) -> Result<Option<Zeroizing<[u8; 32]>>, NodeError> {
    let Some(bytes) = vault.get(name)? else { return Ok(None) };
    let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| NodeError::Damaged(name.to_owned()))?;
    Ok(Some(Zeroizing::new(bytes)))
}

/// Removes what lay there before keys were of a version; only once what follows it is in place.
pub(super) fn remove_unversioned(vault: &Vault) -> Result<(), NodeError> {
    UNVERSIONED.into_iter().try_for_each(|name| vault.remove(name))
}

/// Whether a key lies there that was made before keys were of a version.
pub(super) fn has_unversioned_key(vault: &Vault) -> bool {
    let [_, group] = UNVERSIONED;
    vault.has(group)
}

fn digest(vault: &Vault, contribution: &Contribution) -> String {
    hex::encode(vault.digest("contribution", &[contribution.as_bytes()]))
}

impl Ring {
    pub(super) fn load(vault: &Vault) -> Result<Self, NodeError> {
        let Some(bytes) = vault.get(FILE)? else { return Ok(Self::default()) };
        serde_json::from_slice(&bytes).map_err(|_| NodeError::Damaged(FILE.to_owned()))
    }

    pub(super) fn save(&self, vault: &Vault) -> Result<(), NodeError> {
        let bytes = serde_json::to_vec(self).map_err(|_| NodeError::Damaged(FILE.to_owned()))?;
        vault.put(FILE, &bytes)
    }

    pub(super) fn of(&self, hash: &[u8; 32]) -> Option<&Generation> {
        self.generations.iter().find(|generation| generation.is_of(hash))
    }

    /// Whether another version had a key.
    pub(super) fn rotation(&self, hash: &[u8; 32]) -> bool {
        self.generations.iter().any(|generation| !generation.is_of(hash) && generation.established.is_some())
    }

    /// Other versions whose key was not erased.
    pub(super) fn former_held(&self, hash: &[u8; 32]) -> Vec<u32> {
        let held = |g: &&Generation| !g.is_of(hash) && g.established.is_some() && g.erased.is_none();
        self.generations.iter().filter(held).map(|generation| generation.version).collect()
    }

    pub(super) fn is_spent(&self, vault: &Vault, contribution: &Contribution) -> bool {
        self.spent.contains(&digest(vault, contribution))
    }

    /// Takes over a contribution that was made before contributions were of a version. Where the broker has this party's
    /// contribution to this version already, that is the one; else it was to a former key, and is spent.
    pub(super) fn adopt_unversioned(
        &mut self,
        vault: &Vault,
        agreement: &Agreement,
        today: Date,
        sent: bool,
    ) -> Result<Option<Contribution>, NodeError> {
        let [contribution, _] = UNVERSIONED;
        let Some(bytes) = secret(vault, contribution)? else { return Ok(None) };
        let own = Contribution::from_bytes(&bytes);
        if self.is_spent(vault, &own) {
            return Ok(None);
        }
        if sent {
            return Ok(Some(own));
        }
        self.spend_unversioned(vault, agreement, today, &own)?;
        Ok(None)
    }

    /// Whether `key` is the one that was made before keys were of a version, where there is one. Another shows that the
    /// contribution it was made of is no contribution to this version, whatever the broker says: it is spent.
    pub(super) fn follows_unversioned(
        &mut self,
        vault: &Vault,
        agreement: &Agreement,
        today: Date,
        key: &GroupKey,
    ) -> Result<bool, NodeError> {
        let [contribution, group] = UNVERSIONED;
        let (Some(own), Some(former)) = (secret(vault, contribution)?, secret(vault, group)?) else { return Ok(true) };
        let own = Contribution::from_bytes(&own);
        if *former == *key.as_bytes() || self.is_spent(vault, &own) {
            return Ok(true);
        }
        self.spend_unversioned(vault, agreement, today, &own)?;
        Ok(false)
    }

    fn spend_unversioned(
        &mut self,
        vault: &Vault,
        agreement: &Agreement,
        today: Date,
        own: &Contribution,
    ) -> Result<(), NodeError> {
        self.spent.push(digest(vault, own));
        self.generations.push(Generation {
            agreement: String::new(),
            version: agreement.agreement.version.saturating_sub(1),
            contributed: Vec::new(),
            established: has_unversioned_key(vault).then_some(today),
            confirmed: None,
            erased: None,
        });
        self.save(vault)
    }

    /// Notes who has contributed to the key of a version.
    pub(super) fn contributed(&mut self, hash: &[u8; 32], version: u32, contributed: Vec<PartyId>) {
        match self.generations.iter_mut().find(|generation| generation.is_of(hash)) {
            Some(generation) => generation.contributed = contributed,
            None => self.generations.push(Generation {
                agreement: hex::encode(hash),
                version,
                contributed,
                established: None,
                confirmed: None,
                erased: None,
            }),
        }
    }

    /// Notes that the key of a version is there; its contributions must not serve again.
    pub(super) fn established<'c>(
        &mut self,
        vault: &Vault,
        hash: &[u8; 32],
        today: Date,
        contributions: impl Iterator<Item = &'c Contribution>,
    ) {
        self.spent.extend(contributions.map(|contribution| digest(vault, contribution)));
        for generation in self.generations.iter_mut().filter(|generation| generation.is_of(hash)) {
            generation.established.get_or_insert(today);
        }
    }

    /// Notes that a fingerprint was confirmed; whether it was not before.
    pub(super) fn confirm(&mut self, hash: &[u8; 32], today: Date) -> bool {
        let unconfirmed = |g: &&mut Generation| g.is_of(hash) && g.confirmed.is_none();
        self.generations.iter_mut().find(unconfirmed).map(|generation| generation.confirmed = Some(today)).is_some()
    }

    /// Erases keys and contributions of all other versions; gives the versions that had any.
    pub(super) fn erase_former(&mut self, vault: &Vault, hash: &[u8; 32], today: Date) -> Result<Vec<u32>, NodeError> {
        for name in vault.list("keys")? {
            let secret = name.starts_with("keys/contribution") || name.starts_with("keys/group");
            if secret && name != contribution_name(hash) && name != group_name(hash) {
                vault.remove(&name)?;
            }
        }
        let erased = self.former_held(hash);
        for generation in self.generations.iter_mut().filter(|generation| !generation.is_of(hash)) {
            generation.erased.get_or_insert(today);
        }
        Ok(erased)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(name: &str) -> PartyId {
        name.parse().unwrap()
    }

    #[test]
    fn a_former_key_goes_with_its_contribution_and_stays_spent() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path(), &[7; 32]).unwrap();
        let (first, second, today) = ([1; 32], [2; 32], jiff::civil::date(2026, 1, 1));
        let own = Contribution::from_bytes(&[9; 32]);
        let mut ring = Ring::default();
        for hash in [first, second] {
            vault.put(&contribution_name(&hash), &[3; 32]).unwrap();
            vault.put(&group_name(&hash), &[4; 32]).unwrap();
            ring.contributed(&hash, u32::from(hash[0]), vec![party("ccas")]);
        }
        ring.established(&vault, &first, today, [&own].into_iter());
        assert!(!ring.rotation(&first) && ring.rotation(&second));
        ring.established(&vault, &second, today, std::iter::empty());
        ring.save(&vault).unwrap();
        let mut ring = Ring::load(&vault).unwrap();
        assert_eq!(ring.former_held(&second), [1]);
        assert!(ring.confirm(&second, today) && !ring.confirm(&second, today));
        assert_eq!(ring.erase_former(&vault, &second, today).unwrap(), [1]);
        assert_eq!(ring.erase_former(&vault, &second, today).unwrap(), Vec::<u32>::new());
        assert_eq!(vault.list("keys").unwrap(), [contribution_name(&second), group_name(&second), FILE.to_owned()]);
        assert!(ring.is_spent(&vault, &own) && ring.rotation(&second));
        assert!(!ring.is_spent(&vault, &Contribution::from_bytes(&[8; 32])));
    }

    #[test]
    fn a_contribution_from_before_versions_is_adopted_where_its_key_follows_and_spent_where_not() {
        let text = include_str!("../../../../tests/vectors/agreement/convention.toml");
        let parsed = linkage_agreement::ParsedAgreement::parse(text, "convention.toml").unwrap();
        let agreement = parsed.agreement();
        let today = jiff::civil::date(2026, 1, 1);
        let [contribution, group] = UNVERSIONED;
        let set_up = || {
            let dir = tempfile::tempdir().unwrap();
            let vault = Vault::open(dir.path(), &[7; 32]).unwrap();
            vault.put(contribution, &[9; 32]).unwrap();
            (dir, vault, Ring::default())
        };
        let (_dir, vault, mut ring) = set_up();
        let (same, other) = (GroupKey::from_bytes(&[4; 32]), GroupKey::from_bytes(&[5; 32]));
        assert!(ring.follows_unversioned(&vault, agreement, today, &other).unwrap(), "no key was there before");
        vault.put(group, &[4; 32]).unwrap();
        assert!(ring.adopt_unversioned(&vault, agreement, today, true).unwrap().is_some());
        assert!(ring.follows_unversioned(&vault, agreement, today, &same).unwrap());
        assert!(!ring.rotation(&[1; 32]));
        // A broker that says so at the first amendment: the contribution is spent, and the key to come is a rotation's.
        assert!(!ring.follows_unversioned(&vault, agreement, today, &other).unwrap());
        let mut ring = Ring::load(&vault).unwrap();
        assert!(ring.rotation(&[1; 32]) && ring.is_spent(&vault, &Contribution::from_bytes(&[9; 32])));
        assert!(ring.adopt_unversioned(&vault, agreement, today, true).unwrap().is_none());
        assert!(ring.follows_unversioned(&vault, agreement, today, &other).unwrap(), "a fresh contribution has its own key");
        // A broker that says the truth.
        let (_dir, vault, mut ring) = set_up();
        vault.put(group, &[4; 32]).unwrap();
        assert!(ring.adopt_unversioned(&vault, agreement, today, false).unwrap().is_none());
        assert!(ring.rotation(&[1; 32]) && ring.is_spent(&vault, &Contribution::from_bytes(&[9; 32])));
    }
}
