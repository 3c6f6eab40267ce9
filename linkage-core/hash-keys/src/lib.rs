//! Hash keys of today's conventions, to the byte: SHA-256 of names and date of birth; and their keyed form. Node only.
//!
//! ```text
//! primary    NOM PRENOM JJMMAAAA   DUPONTMARIE01012000
//! secondary  NOM MM AAAA           DUPONT012000
//! ```
//! NOM is the birth name, or the usage name where there is none. Each part is upper-case letters A-Z and nothing else
//! ([`letters`]); the parts are written together and hashed with SHA-256 (FIPS 180-4), in hexadecimal lower case in files.
//! The texts under the hash can be listed from public tables, so whoever holds a file reads most of it back
//! (`linkage attack dictionary`, docs/hash-keys.md): these keys are pseudonyms in name only. The keyed form replaces
//! SHA-256 by HMAC-SHA-256 under the run key; what equal keys then tell remains, the dictionary does not.
//!
//! Everything here sees names: no message holds one, and texts are zeroised when dropped.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::disallowed_methods))]

use linkage_crypto::derive::{HashKeyKind, RunKey};
use linkage_encoding::date;
use serde::Serialize;
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

/// What is taken for PRENOM where a field holds several given names. The conventions say PRENOM and "without spaces".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GivenNames {
    /// The field as it stands, spaces removed: Marie Anne is MARIEANNE. What the conventions say to the letter.
    #[default]
    All,
    /// The first word, a hyphen joining: Marie Anne is MARIE, Marie-Anne is MARIEANNE.
    First,
}

/// Identity values of one record, as a file gives them.
#[derive(Clone, Copy)]
pub struct Values<'v> {
    /// Birth name.
    pub birth_name: &'v str,
    /// Usage name, taken where there is no birth name.
    pub usage_name: &'v str,
    /// Given names.
    pub given_names: &'v str,
    /// Date of birth in any spelling that the intake knows.
    pub birth_date: &'v str,
}

/// A value that is no date of birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum DateFault {
    /// Not in the calendar, or a year that is not believed.
    #[error("{}", date::DateError::Impossible)]
    Impossible,
    /// Not read as a date.
    #[error("{}", date::DateError::Unreadable)]
    Unreadable,
}

impl From<date::DateError> for DateFault {
    fn from(error: date::DateError) -> Self {
        match error {
            date::DateError::Impossible => Self::Impossible,
            date::DateError::Unreadable => Self::Unreadable,
        }
    }
}

/// Why a record has no key at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum SetAside {
    /// No letter A-Z in either name.
    #[error("ni nom de naissance ni nom d'usage en lettres latines : compléter le nom")]
    NoName,
    /// No date.
    #[error("date de naissance absente : compléter la date")]
    NoDate,
    /// A year without month: neither key can be made.
    #[error("date de naissance sans mois : compléter la date")]
    NoMonth,
    /// A value that is no date.
    #[error("{0}")]
    Date(DateFault),
}

/// What is worth a count in a record that has at least one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Remark {
    /// No given name: no primary key.
    #[error("prénom absent : pas de clé primaire")]
    NoGivenName,
    /// Month and year only: no primary key.
    #[error("jour de naissance inconnu : pas de clé primaire")]
    NoDay,
    /// 1 January or 31 December: kept, though it stands for an unknown date in most files.
    #[error("date par défaut (1er janvier ou 31 décembre) : clés faites quand même")]
    DefaultDate,
    /// The usage name stood in for a birth name that is not known.
    #[error("nom d'usage pris faute de nom de naissance")]
    UsageName,
}

/// The texts under a record's keys. Hold a person's identity.
pub struct KeyTexts {
    /// NOMPRENOMJJMMAAAA, where there is a given name and a day.
    pub primary: Option<Zeroizing<String>>,
    /// NOMMMAAAA.
    pub secondary: Zeroizing<String>,
    /// What is worth a count.
    pub remarks: Vec<Remark>,
}

/// A record's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashKeys {
    /// Of the primary text.
    pub primary: Option<[u8; 32]>,
    /// Of the secondary text.
    pub secondary: [u8; 32],
}

/// How texts become keys.
#[derive(Clone, Copy)]
pub enum Hashing<'k> {
    /// SHA-256, as the conventions say.
    Plain,
    /// HMAC-SHA-256 under the key of a run, [`RunKey::hash_key`].
    Keyed(&'k RunKey),
}

/// Upper-case letters A-Z of a name: accents and special letters to base letters, everything else removed.
///
/// Compatibility decomposition (Unicode NFKD) takes accents off; letters that it leaves whole are written out as in French
/// use: Œ OE, Æ AE, ß SS, Ø O, Ł L, Đ and Ð D, Þ TH. Letters of other scripts are removed like any other character.
pub fn letters(text: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(text.len() + 8));
    for c in text.nfkd() {
        match c {
            'a'..='z' | 'A'..='Z' => out.push(c.to_ascii_uppercase()),
            'œ' | 'Œ' => out.push_str("OE"),
            'æ' | 'Æ' => out.push_str("AE"),
            'ß' | 'ẞ' => out.push_str("SS"),
            'ø' | 'Ø' => out.push('O'),
            'ł' | 'Ł' => out.push('L'),
            'đ' | 'Đ' | 'ð' | 'Ð' => out.push('D'),
            'þ' | 'Þ' => out.push_str("TH"),
            'ħ' | 'Ħ' => out.push('H'),
            'ŧ' | 'Ŧ' => out.push('T'),
            'ŋ' | 'Ŋ' => out.push('N'),
            'ı' => out.push('I'),
            'ə' | 'Ə' => out.push('E'),
            _ => {}
        }
    }
    out
}

/// The texts of a record's keys.
///
/// # Errors
/// [`SetAside`] when not even the secondary text can be made.
pub fn texts(values: Values<'_>, given_names: GivenNames) -> Result<KeyTexts, SetAside> {
    let mut remarks = Vec::new();
    let mut name = letters(values.birth_name);
    if name.is_empty() {
        name = letters(values.usage_name);
        remarks.push(Remark::UsageName);
    }
    if name.is_empty() {
        return Err(SetAside::NoName);
    }
    let born =
        date::parse(values.birth_date, None).map_err(|error| SetAside::Date(DateFault::from(error)))?.ok_or(SetAside::NoDate)?;
    let month = born.month.ok_or(SetAside::NoMonth)?;
    let given = match given_names {
        GivenNames::All => letters(values.given_names),
        GivenNames::First => values
            .given_names
            .split([' ', ',', ';', '\t', '\u{a0}'])
            .map(letters)
            .find(|word| !word.is_empty())
            .unwrap_or_default(),
    };
    if given.is_empty() {
        remarks.push(Remark::NoGivenName);
    }
    if born.day.is_none() {
        remarks.push(Remark::NoDay);
    }
    if matches!((month, born.day), (1, Some(1)) | (12, Some(31))) {
        remarks.push(Remark::DefaultDate);
    }
    let primary = born
        .day
        .filter(|_| !given.is_empty())
        .map(|day| Zeroizing::new(format!("{}{}{day:02}{month:02}{:04}", *name, *given, born.year)));
    let secondary = Zeroizing::new(format!("{}{month:02}{:04}", *name, born.year));
    Ok(KeyTexts { primary, secondary, remarks })
}

impl KeyTexts {
    /// The keys of these texts.
    pub fn keys(&self, hashing: Hashing<'_>) -> HashKeys {
        let key = |kind: HashKeyKind, text: &str| match hashing {
            Hashing::Plain => Sha256::digest(text.as_bytes()).into(),
            Hashing::Keyed(run) => run.hash_key(kind, text),
        };
        HashKeys {
            primary: self.primary.as_ref().map(|text| key(HashKeyKind::Primary, text)),
            secondary: key(HashKeyKind::Secondary, &self.secondary),
        }
    }
}
