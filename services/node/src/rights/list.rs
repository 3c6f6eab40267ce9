//! Persons whose records stay out of deliveries: they objected (RGPD, article 21), or their data may only be kept (article 18).
//!
//! Kept are keyed digests (HMAC-SHA256 under a key derived from the storage key) of the local id and of what a person does
//! not change: birth name, given names, full date of birth, sex. So the list outlives the record, tells nobody who is on it,
//! and knows the same person under a new local id. It does not know a person whose new record has another spelling of the
//! name, or no full date of birth, *and* another local id; and it takes a namesake of the same sex born on the same day for
//! the person: each line it sets aside is listed for the operator with its reason.

use std::collections::HashMap;

use jiff::civil::Date;
use linkage_agreement::{DateQuality, FieldKind};
use linkage_encoding::Identity;
use linkage_encoding::identity::Sex;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::NodeError;
use crate::vault::{Vault, hmac_sha256};

const LIST: &str = "rights/list";

/// A keyed digest on the list.
pub(crate) type Mark = [u8; 16];

/// Why a line is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ground {
    /// Article 21.
    Objection,
    /// Article 18.
    Restriction,
}

impl Ground {
    /// As it stands in the list of lines set aside and in a delivery's counts.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Objection => "opposition",
            Self::Restriction => "limitation",
        }
    }
}

/// One person on the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    pub(super) ground: Ground,
    /// Digest of the local id, hexadecimal.
    pub(super) local_id: String,
    /// Digest of the identity, hexadecimal, where the node could make it.
    pub(super) identity: Option<String>,
    pub(super) since: Date,
}

/// The list as kept.
pub(super) fn load(vault: &Vault) -> Result<Vec<Listed>, NodeError> {
    let Some(bytes) = vault.get(LIST)? else { return Ok(Vec::new()) };
    serde_json::from_slice(&bytes).map_err(|_| NodeError::Damaged(LIST.to_owned()))
}

/// Keeps the list.
pub(super) fn save(vault: &Vault, list: &[Listed]) -> Result<(), NodeError> {
    let bytes = serde_json::to_vec(list).map_err(|_| NodeError::Configuration("liste d'opposition".to_owned()))?;
    vault.put(LIST, &bytes)
}

/// Makes the digests of the list.
pub(crate) struct Marker(Zeroizing<[u8; 32]>);

impl Marker {
    /// Of this node.
    pub(crate) fn new(vault: &Vault) -> Self {
        Self(vault.secret("objection list", &[]))
    }
    /// Of a local id.
    pub(crate) fn local_id(&self, id: &str) -> Mark {
        self.mark(b"local-id", &[id.as_bytes()])
    }
    /// Of an identity that tells a person: birth name, given name and full date of birth are known.
    pub(crate) fn identity(&self, identity: &Identity) -> Option<Mark> {
        let date = identity.birth_date().filter(|date| date.quality == DateQuality::Full)?;
        let day = [date.year.to_le_bytes(), [date.month?, date.day?]].concat();
        let words = |kind| Zeroizing::new(identity.words(kind).collect::<Vec<_>>().join(" "));
        let (name, given) = (words(FieldKind::BirthName), words(FieldKind::GivenNames));
        if name.is_empty() || given.is_empty() {
            return None;
        }
        let sex = match identity.sex() {
            None => 0,
            Some(Sex::Man) => 1,
            Some(Sex::Woman) => 2,
        };
        Some(self.mark(b"identity", &[name.as_bytes(), given.as_bytes(), &day, &[sex]]))
    }
    /// Of a filter or of hash keys, which stand for the identity of a party that delivers those.
    pub(crate) fn part(&self, part: &[u8]) -> Mark {
        self.mark(b"part", &[part])
    }

    fn mark(&self, purpose: &[u8], parts: &[&[u8]]) -> Mark {
        let lengths: Vec<[u8; 8]> = parts.iter().map(|part| (part.len() as u64).to_le_bytes()).collect();
        let mut message: Vec<&[u8]> = vec![purpose, &[0]];
        for (part, length) in parts.iter().zip(&lengths) {
            message.extend([length.as_slice(), part]);
        }
        let mut mark = [0; 16];
        mark.copy_from_slice(&hmac_sha256(&self.0, &message)[..16]);
        mark
    }
}

/// What lines of a delivery are held against.
#[derive(Default)]
pub struct Screen {
    marker: Option<Marker>,
    marks: HashMap<Mark, Ground>,
}

impl Screen {
    /// Sets nothing aside: for whoever keeps no list.
    pub fn none() -> Self {
        Self::default()
    }
    /// This node's list.
    pub(crate) fn load(vault: &Vault) -> Result<Self, NodeError> {
        let mut marks = HashMap::new();
        for listed in load(vault)? {
            for text in std::iter::once(&listed.local_id).chain(&listed.identity) {
                let mark = hex::decode(text).ok().and_then(|bytes| Mark::try_from(bytes).ok());
                let mark = mark.ok_or_else(|| NodeError::Damaged(LIST.to_owned()))?;
                // Who objected stays out, also where the person's data were restricted before.
                let ground = marks.entry(mark).or_insert(listed.ground);
                if listed.ground == Ground::Objection {
                    *ground = Ground::Objection;
                }
            }
        }
        Ok(Self { marker: Some(Marker::new(vault)), marks })
    }
    /// Why the line of this record is set aside, if it is.
    pub(crate) fn ground(&self, local_id: &str, identity: &Identity) -> Option<Ground> {
        self.find(local_id, |marker| marker.identity(identity))
    }
    /// The same of a record with a filter or hash keys.
    pub(crate) fn ground_of_part(&self, local_id: &str, part: &[u8]) -> Option<Ground> {
        self.find(local_id, |marker| Some(marker.part(part)))
    }

    fn find(&self, local_id: &str, identity: impl FnOnce(&Marker) -> Option<Mark>) -> Option<Ground> {
        let marker = self.marker.as_ref().filter(|_| !self.marks.is_empty())?;
        let of_identity = || identity(marker).and_then(|mark| self.marks.get(&mark));
        self.marks.get(&marker.local_id(local_id)).or_else(of_identity).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linkage_encoding::identity::FieldValue;

    fn identity(name: &str, day: u8, quality: DateQuality) -> Identity {
        let date = linkage_encoding::date::BirthDate { year: 1971, month: Some(3), day: Some(day), quality };
        Identity::from_values(vec![
            (FieldKind::BirthName, FieldValue::Name(vec![name.to_owned()])),
            (FieldKind::GivenNames, FieldValue::Name(vec!["ANNICK".to_owned()])),
            (FieldKind::BirthDate, FieldValue::Date(Some(date))),
            (FieldKind::Sex, FieldValue::Sex(Some(Sex::Woman))),
        ])
    }

    #[test]
    fn a_person_is_known_by_local_id_or_by_identity() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path(), &[7; 32]).unwrap();
        let marker = Marker::new(&vault);
        let one = identity("MARZOUKI", 9, DateQuality::Full);
        let listed = |ground, id: &str, identity: Option<Mark>| Listed {
            ground,
            local_id: hex::encode(marker.local_id(id)),
            identity: identity.map(hex::encode),
            since: jiff::civil::date(2024, 1, 2),
        };
        assert_eq!(Screen::load(&vault).unwrap().ground("A-1", &one), None);
        let list = [
            listed(Ground::Restriction, "A-1", marker.identity(&one)),
            listed(Ground::Objection, "A-1", marker.identity(&one)),
            listed(Ground::Restriction, "B-2", None),
        ];
        save(&vault, &list).unwrap();
        let screen = Screen::load(&vault).unwrap();
        let other = identity("LE GOFFIC", 9, DateQuality::Full);
        assert_eq!(screen.ground("A-1", &other), Some(Ground::Objection), "the same local id, objected and restricted");
        assert_eq!(screen.ground("Z-9", &one), Some(Ground::Objection), "a new local id");
        assert_eq!(screen.ground("B-2", &other), Some(Ground::Restriction));
        assert_eq!(screen.ground("Z-9", &identity("MARZOUKI", 10, DateQuality::Full)), None, "born on another day");
        assert_eq!(marker.identity(&identity("MARZOUKI", 9, DateQuality::Default)), None, "a default date tells nobody");
        assert_eq!(Screen::none().ground("A-1", &one), None);
        // The list is sealed, and another key's digests are others.
        let bytes = std::fs::read(dir.path().join("rights/list.enc")).unwrap();
        assert!(!bytes.windows(16).any(|window| window == marker.local_id("A-1")));
        let elsewhere = tempfile::tempdir().unwrap();
        assert_ne!(Marker::new(&Vault::open(elsewhere.path(), &[8; 32]).unwrap()).local_id("A-1"), marker.local_id("A-1"));
    }
}
