//! Identifiers that cross role boundaries, each a type of its own so that none can stand in for another.
//!
//! Text identifiers are parsed at the edge; 128-bit identifiers are random bytes that carry no meaning.
//! `RecordRef` and `PersonId` are secrets of the node and the custodian: their `Debug` shows nothing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a piece of text is not the identifier it was given as. Never repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {rule}")]
pub struct InvalidId {
    what: &'static str,
    rule: &'static str,
}

macro_rules! slug_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $extra:literal, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let fits = (1..=$max).contains(&text.len())
                    && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || $extra.contains(&b))
                    && !text.starts_with('-') && !text.starts_with('.');
                if fits { Ok(Self(text.to_owned())) } else { Err(InvalidId { what: $what, rule: $rule }) }
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> { text.parse() }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String { id.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
    };
}

slug_id!(
    /// A role's short name in the agreement: 1 to 32 of `a-z 0-9 -` (for instance `ccas`).
    PartyId, "party identifier", 32, b"-", "1 to 32 lower-case letters, digits or hyphens, not starting with a hyphen"
);
slug_id!(
    /// The name of one run: 1 to 64 of `a-z 0-9 - .`; used once only within an agreement (for instance `2024-01-full`).
    RunId, "run identifier", 64, b"-.", "1 to 64 lower-case letters, digits, hyphens or dots, not starting with either"
);

/// A month, `AAAA-MM`, in 1900..=2199.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period {
    year: u16,
    month: u8,
}

impl Period {
    /// The month `month` (1..=12) of `year`; `None` when out of range.
    pub fn new(year: u16, month: u8) -> Option<Self> {
        ((1900..=2199).contains(&year) && (1..=12).contains(&month)).then_some(Self { year, month })
    }
    /// The month that holds `day`; a day outside 1900..=2199 counts as the nearest one inside.
    pub fn of(day: jiff::civil::Date) -> Self {
        Self { year: day.year().clamp(1900, 2199).unsigned_abs(), month: day.month().unsigned_abs() }
    }
    /// Calendar year.
    pub fn year(self) -> u16 {
        self.year
    }
    /// Month of the year, 1..=12.
    pub fn month(self) -> u8 {
        self.month
    }
    /// Months since January 1900; differences count months.
    pub fn index(self) -> u32 {
        (u32::from(self.year) - 1900) * 12 + u32::from(self.month) - 1
    }
    /// The month that follows.
    pub fn next(self) -> Self {
        if self.month == 12 { Self { year: self.year + 1, month: 1 } } else { Self { year: self.year, month: self.month + 1 } }
    }
}
impl FromStr for Period {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let wrong = InvalidId { what: "period", rule: "a month written AAAA-MM, for instance 2024-01" };
        let (year, month) = text.split_once('-').ok_or(wrong.clone())?;
        if year.len() != 4 || month.len() != 2 || !text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
            return Err(wrong);
        }
        let (Ok(year), Ok(month)) = (year.parse(), month.parse()) else { return Err(wrong) };
        Self::new(year, month).ok_or(wrong)
    }
}
impl TryFrom<String> for Period {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}
impl From<Period> for String {
    fn from(period: Period) -> String {
        period.to_string()
    }
}
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = 16;
            /// Reads exactly 16 bytes; `None` for any other length.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
            /// Lower-case hexadecimal, 32 characters, for tables and wire text; not for logs.
            pub fn to_hex(&self) -> String {
                hex::encode(self.0)
            }
            /// Reads 32 hexadecimal characters.
            pub fn from_hex(text: &str) -> Option<Self> {
                let mut bytes = [0u8; 16];
                hex::decode_to_slice(text, &mut bytes).ok()?;
                Some(Self(bytes))
            }
        }
        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

opaque_id!(
    /// A block's name within one run: what two records of one block share. Known to broker and nodes.
    Token
);
opaque_id!(
    /// A record's name within one run, fresh and random each time. Known to its node, the broker and the custodian.
    Handle
);
opaque_id!(
    /// A record's name for the life of the agreement, random. Known to its node and the custodian only.
    RecordRef
);
opaque_id!(
    /// A person's name in the custodian's registry, random; never leaves the custodian.
    PersonId
);
opaque_id!(
    /// A person's or record's name in one analyst's tables. Known to that analyst only.
    Pseudonym
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slugs_are_short_and_lower_case() {
        assert!("ccas-34".parse::<PartyId>().is_ok());
        assert!("a".repeat(32).parse::<PartyId>().is_ok());
        for wrong in ["", "-ccas", "CCAS", "cc as", "ccas.34", "éa", &"a".repeat(33), "a/b", "a\0"] {
            assert_eq!(wrong.parse::<PartyId>().unwrap_err().what, "party identifier", "{wrong}");
        }
        assert!("2024-01-full.2".parse::<RunId>().is_ok());
        for wrong in [".a", "-a", "a_b", &"a".repeat(65)] {
            assert!(wrong.parse::<RunId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn refusals_do_not_repeat_the_text() {
        assert!(!"DUPONT".parse::<PartyId>().unwrap_err().to_string().contains("DUPONT"));
        assert!(!"DUPONT".parse::<Period>().unwrap_err().to_string().contains("DUPONT"));
    }

    #[test]
    fn periods_have_one_spelling() {
        let period: Period = "2024-01".parse().unwrap();
        assert_eq!((period.year(), period.month(), period.index()), (2024, 1, 1488));
        for wrong in
            ["2024-1", "2024-13", "2024-00", "1899-12", "2200-01", "2024-01-01", "24-01", "2024/01", "+024-01", "2024-+1", ""]
        {
            assert!(wrong.parse::<Period>().is_err(), "{wrong}");
        }
        assert_eq!(Period::of(jiff::civil::date(2024, 2, 29)).to_string(), "2024-02");
        assert_eq!(Period::of(jiff::civil::date(9999, 12, 31)).to_string(), "2199-12");
        assert_eq!(serde_json::to_string(&period).unwrap(), "\"2024-01\"");
        assert!(serde_json::from_str::<Period>("\"2024-14\"").is_err());
    }

    #[test]
    fn secrets_do_not_show_in_debug() {
        assert_eq!(format!("{:?} {:?}", RecordRef([7; 16]), PersonId([7; 16])), "RecordRef(..) PersonId(..)");
    }

    proptest! {
        #[test]
        fn months_follow_each_other(index in 0u32..3_599) {
            let period = Period::new((1900 + index / 12) as u16, (index % 12 + 1) as u8).unwrap();
            prop_assert_eq!(period.index(), index);
            prop_assert_eq!(period.next().index(), index + 1);
            prop_assert!(period < period.next());
            prop_assert_eq!(period.to_string().parse::<Period>(), Ok(period));
        }

        #[test]
        fn opaque_identifiers_read_back(bytes in any::<[u8; 16]>(), short in proptest::collection::vec(any::<u8>(), 0..40)) {
            let token = Token(bytes);
            prop_assert_eq!(Token::from_hex(&token.to_hex()), Some(token));
            prop_assert_eq!(Token::from_slice(&bytes), Some(token));
            prop_assert_eq!(Token::from_slice(&short).is_some(), short.len() == 16);
            prop_assert_eq!(Token::from_hex(&hex::encode(&short)).is_some(), short.len() == 16);
        }
    }
}
