//! Pass sets: from an identity to the block keys by which it meets others.
//!
//! A *pass* combines views of one or two name words with parts of the date of birth, and possibly a code or a text. Name
//! words form one pool, surnames and given names together and pairs unordered, so that swapped names, usage names and
//! second given names still meet. A key is emitted only when its *surprisal*, from public tables, reaches
//! log2(expected records) + margin: a rare name meets with little of the date, a common one needs most of it. That bounds
//! the expected non-matching meetings of every key by 2^-margin, whatever the agreement's size (docs/protocol.md, section 3).
//!
//! A key that is implied by a looser one of the same record is left out: whoever shares it shares the looser one too.
//! What remains is ordered by the pass set's order and how prominent the words are, and cut to the tokens of a record
//! (module `keys`).

use std::collections::HashSet;

use linkage_agreement::{DateQuality, InvalidPassSetRef, PartyId, PassSetRef};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use toml::Spanned;

use crate::date::BirthDate;
pub use crate::keys::{BlockKey, block_keys};
use crate::tables::View;

/// Bits of a year of birth, a month and a day: births of the living spread over about 64 years, 11.7 months, 29 days.
const YEAR_BITS: f32 = 6.0;
const MONTH_BITS: f32 = 3.55;
const DAY_BITS: f32 = 4.85;

/// The pass sets that come with the profile, as TOML.
const EMBEDDED: [&str; 2] = [include_str!("../passes/fr-1.toml"), include_str!("../passes/generic-1.toml")];

/// Which part of the date of birth a pass takes. All but years need a date that stands for itself, not for an unknown
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatePart {
    /// Nothing.
    #[default]
    None,
    /// Year, month, day.
    Full,
    /// Year, and month and day in either order.
    Swapped,
    /// Year and month.
    YearMonth,
    /// Year and day.
    YearDay,
    /// Month and day.
    MonthDay,
    /// Year.
    Year,
    /// A band of four years.
    FourYears,
    /// A band of four years that starts two years later, so that years two apart share one or the other.
    FourYearsShifted,
}

impl DatePart {
    pub(crate) fn bits(self) -> f32 {
        match self {
            Self::None => 0.0,
            Self::Full => YEAR_BITS + MONTH_BITS + DAY_BITS,
            Self::Swapped => YEAR_BITS + MONTH_BITS + DAY_BITS - 1.0,
            Self::YearMonth => YEAR_BITS + MONTH_BITS,
            Self::YearDay => YEAR_BITS + DAY_BITS,
            Self::MonthDay => MONTH_BITS + DAY_BITS,
            Self::Year => YEAR_BITS,
            Self::FourYears | Self::FourYearsShifted => YEAR_BITS - 2.0,
        }
    }

    /// Every part.
    pub(crate) const ALL: [Self; 9] = [
        Self::None,
        Self::Full,
        Self::Swapped,
        Self::YearMonth,
        Self::YearDay,
        Self::MonthDay,
        Self::Year,
        Self::FourYears,
        Self::FourYearsShifted,
    ];

    /// Writes the part as text; `false`, and nothing written, when the date does not have it.
    pub(crate) fn write(self, date: Option<BirthDate>, out: &mut String) -> bool {
        if self == Self::None {
            return true;
        }
        let Some(date) = date.filter(BirthDate::year_known) else { return false };
        let y = u32::from(date.year);
        let numbers: &[u32] = match (self, date.trusted_month_day().map(|(m, d)| (u32::from(m), u32::from(d)))) {
            (Self::None, _) => &[],
            (Self::Year, _) => &[y],
            (Self::FourYears, _) => &[y / 4],
            (Self::FourYearsShifted, _) => &[(y + 2) / 4],
            (Self::YearMonth, _) if date.quality == DateQuality::Partial => match date.month {
                Some(month) => &[y, u32::from(month)],
                None => return false,
            },
            (_, None) => return false,
            (Self::Full, Some((m, d))) => &[y, m, d],
            (Self::Swapped, Some((m, d))) => &[y, m.min(d), m.max(d)],
            (Self::YearMonth, Some((m, _))) => &[y, m],
            (Self::YearDay, Some((_, d))) => &[y, d],
            (Self::MonthDay, Some((m, d))) => &[m, d],
        };
        for (at, number) in numbers.iter().enumerate() {
            if at > 0 {
                out.push('-');
            }
            push_number(out, *number);
        }
        true
    }

    /// Whether a date with this part always has month and day that stand for themselves.
    pub(crate) fn is_trusted(self) -> bool {
        matches!(self, Self::Full | Self::Swapped | Self::YearDay | Self::MonthDay)
    }

    /// Whether two dates that share this part always share `other` as well.
    fn refines(self, other: Self) -> bool {
        use DatePart::*;
        self == other
            || match self {
                Full => true,
                Swapped | YearMonth | YearDay => matches!(other, None | Year | FourYears | FourYearsShifted),
                Year => matches!(other, None | FourYears | FourYearsShifted),
                MonthDay | FourYears | FourYearsShifted => other == None,
                None => false,
            }
    }
}

/// A number in decimal: a record has a dozen, and the formatter takes longer than all else that is done with them.
fn push_number(out: &mut String, number: u32) {
    if number >= 10 {
        push_number(out, number / 10);
    }
    out.push(char::from(b'0' + (number % 10) as u8));
}

/// A further part of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extra {
    /// The value of a category field (postcode), each such field by itself.
    Category,
    /// The phonetic code of a text field (suburb), each such field by itself.
    Text,
    /// The commune that a category field holds as INSEE code or postcode (residence). It tells as much as the commune
    /// is small in its département.
    Commune,
    /// A place of birth: the commune, and by itself the country when that is not France.
    Place,
}

/// Whose dates a pass is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Every record.
    #[default]
    Any,
    /// Records whose date is missing, partial or a default.
    DoubtfulDate,
}

/// One pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pass {
    /// Its name, part of the key: two passes share no block.
    pub id: String,
    /// Views of name words: none, one, or two of different words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<View>,
    /// Part of the date of birth.
    #[serde(default, skip_serializing_if = "is_default")]
    pub date: DatePart,
    /// Further part.
    #[serde(default, skip_serializing_if = "is_default")]
    pub extra: Option<Extra>,
    /// Bits that the further part is taken to tell; of a commune or place, at most.
    #[serde(default, skip_serializing_if = "is_default")]
    pub extra_bits: f32,
    /// Whose dates it is for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub when: When,
    /// `false` emits every key whatever it tells; such a pass is judged by its collisions alone.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub gated: bool,
    /// Margin of this pass, in bits, where it differs from the set's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub margin_bits: Option<f32>,
}

impl Pass {
    /// Whether both take the same parts of the same records, whatever their margins.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (&self.names, self.date, self.extra, self.when) == (&other.names, other.date, other.extra, other.when)
    }

    /// Whether sharing this pass's date and further part means sharing the other's, for whoever has them.
    pub(crate) fn may_imply(&self, loose: &Self) -> bool {
        let same_dates = loose.when == When::Any || self.when == loose.when;
        // A partial date has a year and a month only when the day alone is unknown.
        let has_month = loose.date != DatePart::YearMonth || self.date.is_trusted() || self.date == DatePart::YearMonth;
        same_dates && has_month && self.date.refines(loose.date) && (loose.extra.is_none() || loose.extra == self.extra)
    }
}

fn yes() -> bool {
    true
}
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A pass set: what the agreement's `pass_set` names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassSet {
    /// Its name.
    pub id: String,
    /// Bits that a key must tell beyond log2 of the expected records.
    pub margin_bits: f32,
    /// The most that one name word is taken to tell, in bits: what an unseen one tells.
    pub name_cap_bits: f32,
    /// How many passes further down the list a key of less prominent words stands.
    pub rank_weight: f32,
    /// The passes, the most useful first.
    pub pass: Vec<Pass>,
}

/// Where things stand in a pass set's file.
#[derive(Deserialize)]
struct Places {
    id: Spanned<IgnoredAny>,
    pass: Vec<Spanned<IgnoredAny>>,
}

/// Why a pass set is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PassSetError {
    /// No embedded set has the name.
    #[error("jeu de passes inconnu « {0} » : choisir fr-1 ou generic-1, ou donner un fichier TOML")]
    Unknown(String),
    /// The reference has no form that a reference has.
    #[error(transparent)]
    Reference(#[from] InvalidPassSetRef),
    /// The agreement names a file, and none is given.
    #[error("la convention demande le jeu de passes « {0} », un fichier que les partenaires se sont remis : indiquer le sien")]
    FileNeeded(String),
    /// The file is not the one that the agreement names.
    #[error(
        "le fichier de jeu de passes n'est pas celui de la convention, qui demande « {agreed} » ; ce fichier est « {given} » : le redemander au coordonnateur, sans rien y changer"
    )]
    OtherFile {
        /// What the agreement says.
        agreed: String,
        /// What the file is.
        given: String,
    },
    /// The text is no TOML, or not that of a pass set.
    #[error("jeu de passes illisible, ligne {line} : {message}")]
    Toml {
        /// Line, counted from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// The set has no form in TOML.
    #[error("jeu de passes impossible à écrire : {0}")]
    Unwritable(String),
    /// A rule is broken.
    #[error("jeu de passes, ligne {line} : « {pass} » refusé : {rule}")]
    Rule {
        /// Line of the pass, or of the set's name; counted from 1.
        line: usize,
        /// The pass, or the set.
        pass: String,
        /// What must hold.
        rule: &'static str,
    },
}

impl PassSet {
    /// A set that comes with the profile.
    ///
    /// # Errors
    /// [`PassSetError::Unknown`] for any other name.
    pub fn named(id: &str) -> Result<Self, PassSetError> {
        for text in EMBEDDED {
            let set = Self::from_toml(text)?;
            if set.id == id {
                return Ok(set);
            }
        }
        Err(PassSetError::Unknown(id.to_owned()))
    }

    /// The set that an agreement's `pass_set` names: an embedded one, or `file` when it is the file whose bytes the
    /// agreement fixes. A file given beside an embedded set's name is not looked at: the agreement decides.
    ///
    /// # Errors
    /// [`PassSetError`]; no byte of a file that is not the agreed one is interpreted.
    pub fn agreed(reference: &str, file: Option<&str>) -> Result<Self, PassSetError> {
        let agreed: PassSetRef = reference.parse()?;
        let Some(digest) = agreed.digest else { return Self::named(agreed.name.as_str()) };
        let Some(text) = file else { return Err(PassSetError::FileNeeded(agreed.to_string())) };
        let other = |given: &PassSetRef| Err(PassSetError::OtherFile { agreed: agreed.to_string(), given: given.to_string() });
        let found: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        if found != digest {
            return other(&PassSetRef { name: agreed.name.clone(), digest: Some(found) });
        }
        let (set, given) = Self::from_file(text)?;
        if given == agreed { Ok(set) } else { other(&given) }
    }

    /// A file's set, and the reference by which an agreement names it: the set's name and the digest of the file's bytes.
    ///
    /// # Errors
    /// As [`Self::from_toml`].
    pub fn from_file(text: &str) -> Result<(Self, PassSetRef), PassSetError> {
        let set = Self::from_toml(text)?;
        // Never refused: the name of a set that was read has a reference's form.
        let name = set.id.parse().map_err(|_| InvalidPassSetRef)?;
        Ok((set, PassSetRef { name, digest: Some(Sha256::digest(text.as_bytes()).into()) }))
    }

    /// Reads a set from TOML.
    ///
    /// # Errors
    /// [`PassSetError`] with the line at fault or the rule that is broken.
    pub fn from_toml(text: &str) -> Result<Self, PassSetError> {
        let line_of = |at: usize| 1 + text.bytes().take(at).filter(|&b| b == b'\n').count();
        let refused = |e: toml::de::Error| PassSetError::Toml {
            line: line_of(e.span().map_or(0, |span| span.start)),
            message: e.message().trim_end().replace('\n', " "),
        };
        let set: Self = toml::from_str(text).map_err(refused)?;
        let places: Places = toml::from_str(text).map_err(refused)?;
        let broken = |at: usize, pass: &str, rule| Err(PassSetError::Rule { line: line_of(at), pass: pass.to_owned(), rule });
        let is_slug = |id: &str| {
            (1..=32).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.'))
        };
        let bits = |value: f32| (0.0..=64.0).contains(&value);
        let top = places.id.span().start;
        // A set's name stands in agreements, as a partner's does; a pass's only here and in keys.
        if set.id.parse::<PartyId>().is_err() || !(1..=64).contains(&set.pass.len()) {
            return broken(top, &set.id, "un nom de 1 à 32 caractères a-z 0-9 -, sans tiret au début, et de 1 à 64 passes");
        }
        if !(bits(set.margin_bits) && bits(set.name_cap_bits) && bits(set.rank_weight)) {
            return broken(top, &set.id, "marges et plafonds entre 0 et 64 bits");
        }
        let mut seen = HashSet::new();
        for (pass, place) in set.pass.iter().zip(&places.pass) {
            let at = place.span().start;
            if !is_slug(&pass.id) || !seen.insert(pass.id.as_str()) {
                return broken(at, &pass.id, "un nom unique de 1 à 32 caractères a-z 0-9 - + .");
            }
            if pass.names.len() > 2 || pass.names.is_empty() && pass.date == DatePart::None && pass.extra.is_none() {
                return broken(at, &pass.id, "un ou deux mots de nom au plus, et au moins une partie");
            }
            if !bits(pass.extra_bits) || !pass.margin_bits.is_none_or(bits) {
                return broken(at, &pass.id, "marges et plafonds entre 0 et 64 bits");
            }
        }
        Ok(set)
    }

    /// The set as TOML, which [`Self::from_toml`] reads back; what a pass leaves at its default is not written.
    ///
    /// # Errors
    /// [`PassSetError::Unwritable`] when a value has no form in TOML.
    pub fn to_toml(&self) -> Result<String, PassSetError> {
        toml::to_string(self).map_err(|e| PassSetError::Unwritable(e.to_string()))
    }

    /// Surprisal, in bits, that a key of `pass` must reach among `expected_records`; minus infinity when not gated.
    pub fn threshold(&self, pass: &Pass, expected_records: u64) -> f32 {
        if pass.gated {
            (expected_records.max(2) as f32).log2() + pass.margin_bits.unwrap_or(self.margin_bits)
        } else {
            f32::NEG_INFINITY
        }
    }
}

#[cfg(test)]
#[path = "passes_tests.rs"]
mod tests;
