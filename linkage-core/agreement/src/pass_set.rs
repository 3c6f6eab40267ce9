//! How an agreement names its pass set.
//!
//! A set that comes with the software goes by its name alone, `fr-1`. Any other is a file that every partner has, and
//! the agreement fixes its content as well: `NAME@` and the SHA-256 of the file's bytes, 64 lower-case hexadecimal digits,
//! as `sha256sum` prints it. The partners sign that digest with the agreement; a node encodes with no other bytes.
//! Which names are known is for those who encode: this crate, which broker and analyst share, checks the form.

use std::fmt;
use std::str::FromStr;

use crate::ids::PartyId;

/// What `encoding.pass_set` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassSetRef {
    /// The set's name, of the same form as a partner's id.
    pub name: PartyId,
    /// SHA-256 of the file; `None` for a set that comes with the software.
    pub digest: Option<[u8; 32]>,
}

/// The text is neither `NAME` nor `NAME@` and 64 digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "jeu de passes invalide : écrire le nom d'un jeu fourni (fr-1, generic-1), ou NOM@ suivi des 64 chiffres hexadécimaux en minuscules que « linkage passes check » affiche"
)]
pub struct InvalidPassSetRef;

impl FromStr for PassSetRef {
    type Err = InvalidPassSetRef;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, digest) = match text.split_once('@') {
            None => (text, None),
            Some((name, hex)) => (name, Some(lower_hex(hex).ok_or(InvalidPassSetRef)?)),
        };
        Ok(Self { name: name.parse().map_err(|_| InvalidPassSetRef)?, digest })
    }
}

impl fmt::Display for PassSetRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_str())?;
        self.digest.map_or(Ok(()), |digest| write!(f, "@{}", hex::encode(digest)))
    }
}

/// 32 bytes from 64 hexadecimal digits; capitals would give the same bytes a second spelling.
pub(crate) fn lower_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let lower = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_one_spelling() {
        let digest = [0xab; 32];
        let text = format!("choisi-2@{}", "ab".repeat(32));
        let reference: PassSetRef = text.parse().unwrap();
        assert_eq!((reference.name.as_str(), reference.digest), ("choisi-2", Some(digest)));
        assert_eq!(reference.to_string(), text);
        let embedded: PassSetRef = "fr-1".parse().unwrap();
        assert_eq!((embedded.digest, embedded.to_string()), (None, "fr-1".to_owned()));

        let (short, long, upper) = ("ab".repeat(31), "ab".repeat(33), "AB".repeat(32));
        for wrong in [
            "",
            "@",
            "Choisi",
            "choisi.toml",
            "choisi@",
            &format!("@{}", "ab".repeat(32)),
            &format!("choisi@{short}"),
            &format!("choisi@{long}"),
            &format!("choisi@{upper}"),
            &format!("choisi@{}g", "a".repeat(63)),
            &format!("choisi@sha256:{}", "ab".repeat(32)),
            &format!("choisi@{}@{}", "ab".repeat(32), "ab".repeat(32)),
            &format!("choisi @{}", "ab".repeat(32)),
        ] {
            assert_eq!(wrong.parse::<PassSetRef>(), Err(InvalidPassSetRef), "{wrong}");
        }
    }
}
