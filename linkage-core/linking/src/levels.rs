//! Dimensions and levels: what a comparison can say, derived from the layout.
//!
//! All birth and usage names form one dimension (they are compared crosswise), all given names another; every other
//! field is a dimension of its own. A *level* is a small number within its dimension; 0 is always "missing", which
//! carries no evidence. Agreements of names are split by the rarity class of the name agreed upon, because agreeing
//! on a rare name says more than on a common one (Winkler, frequency-based matching).

use linkage_agreement::{FieldKind, Layout};

/// Most dimensions that a comparison vector holds.
pub const MAX_DIMENSIONS: usize = 16;

/// What a dimension compares, which fixes its levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DimensionKind {
    /// Birth and usage names, crosswise.
    Surname,
    /// Given names.
    Given,
    /// A date by components.
    Date,
    /// Sex.
    Sex,
    /// A place by country, département, commune.
    Place,
    /// A code, equal or not.
    Category,
    /// Text by q-grams.
    Text,
}

/// Levels of `Surname` and `Given`, weakest evidence first.
pub mod name_level {
    /// No name on one side.
    pub const MISSING: u8 = 0;
    /// Dice under .25.
    pub const DIFFERENT: u8 = 1;
    /// Dice .25 to .45.
    pub const POOR: u8 = 2;
    /// Dice .45 to .65.
    pub const LOW: u8 = 3;
    /// Dice under .45, and seven tenths of the shorter name's q-grams lie in the longer one (a name cut short).
    pub const PART: u8 = 4;
    /// Same phonetic code, Dice under .45.
    pub const PHONETIC: u8 = 5;
    /// Dice .65 to .8.
    pub const MEDIUM: u8 = 6;
    /// Same phonetic code, Dice .45 to .8; three rarity groups: +0 common (classes 1 and 2),
    /// +1 middling (3), +2 rare (4 and above).
    pub const PHONETIC_CLOSE: u8 = 7;
    /// One name's q-grams lie in the other's (part of a double name, one of several given names); three rarity groups.
    pub const CONTAINED: u8 = 10;
    /// Dice .8 or more; three rarity groups.
    pub const HIGH: u8 = 13;
    /// The same; rarity classes 1 (very common) to 7 (rarest).
    pub const EXACT: u8 = 16;
    /// Surname and given name exchanged, one of them with an error. Like `SWAPPED` on `Given`.
    pub const SWAPPED_CLOSE: u8 = 23;
    /// Surname and given name exchanged. On `Given` it only says that the surname's level has counted both.
    pub const SWAPPED: u8 = 24;
}

/// Levels of `Date`, weakest evidence first.
pub mod date_level {
    /// No date on one side, or nothing of it in common to compare.
    pub const MISSING: u8 = 0;
    /// Nothing below holds.
    pub const DIFFERENT: u8 = 1;
    /// Same year only.
    pub const SAME_YEAR: u8 = 2;
    /// A default date on one side at least, years more than one apart, in two decades.
    pub const DEFAULT_OTHER: u8 = 3;
    /// A default date on one side at least, years more than one apart, in one decade.
    pub const DEFAULT_DECADE: u8 = 4;
    /// A default date on one side at least, years one apart.
    pub const DEFAULT_NEAR: u8 = 5;
    /// A default date on one side at least, same year, not equal.
    pub const DEFAULT_SAME_YEAR: u8 = 6;
    /// A partial date on one side at least, and all its parts agree.
    pub const PARTIAL: u8 = 7;
    /// Day and month equal, years more than a digit and more than one apart.
    pub const YEAR_OFF: u8 = 8;
    /// Day and month equal, one of the year's last digits differs.
    pub const YEAR_DIGIT: u8 = 9;
    /// Day and month equal, years one apart.
    pub const YEAR_BY_ONE: u8 = 10;
    /// Year and day equal.
    pub const MONTH_OFF: u8 = 11;
    /// Year and month equal, both digits of the day differ.
    pub const DAY_OFF: u8 = 12;
    /// Year and month equal, one digit of the day differs.
    pub const DAY_DIGIT: u8 = 13;
    /// Day and month exchanged.
    pub const SWAPPED: u8 = 14;
    /// Equal, and a default date.
    pub const EQUAL_DEFAULT: u8 = 15;
    /// Equal.
    pub const EQUAL: u8 = 16;
}

/// Levels of `Place`, weakest evidence first. A region is a département, or a country other than France.
pub mod place_level {
    /// Nothing to compare.
    pub const MISSING: u8 = 0;
    /// Another country or region.
    pub const DIFFERENT: u8 = 1;
    /// Two towns of different names, of which no country or region is known on both sides.
    pub const OTHER_TOWN: u8 = 2;
    /// Same region, another town.
    pub const OTHER_COMMUNE: u8 = 3;
    /// France on both sides, and no more on one of them.
    pub const COUNTRY: u8 = 4;
    /// Same region, nothing more known.
    pub const REGION: u8 = 5;
    /// Same town.
    pub const COMMUNE: u8 = 6;
}

/// Levels of `Sex` and `Category`.
pub mod code_level {
    /// No value on one side.
    pub const MISSING: u8 = 0;
    /// Different.
    pub const DIFFERENT: u8 = 1;
    /// Equal.
    pub const EQUAL: u8 = 2;
}

/// Levels of `Text`, weakest evidence first.
pub mod text_level {
    /// No text on one side.
    pub const MISSING: u8 = 0;
    /// Dice under .3.
    pub const DIFFERENT: u8 = 1;
    /// Dice .3 to .5.
    pub const POOR: u8 = 2;
    /// Dice .5 to .7.
    pub const LOW: u8 = 3;
    /// Dice .7 to .85.
    pub const MEDIUM: u8 = 4;
    /// Dice .85 or more.
    pub const HIGH: u8 = 5;
    /// The same.
    pub const EXACT: u8 = 6;
}

const RARITY_GROUPS: [&str; 3] = ["common", "middling", "rare"];

impl DimensionKind {
    /// Number of levels, "missing" among them.
    pub fn levels(self) -> usize {
        match self {
            Self::Surname | Self::Given => 25,
            Self::Date => 17,
            Self::Sex | Self::Category => 3,
            Self::Place => 7,
            Self::Text => 7,
        }
    }
    /// Name of a level for reports; `"?"` for a level that does not exist.
    pub fn level_name(self, level: u8) -> String {
        use name_level as n;
        let fixed = |names: &[&str]| names.get(usize::from(level)).map_or("?", |name| name).to_owned();
        let grouped =
            |name: &str, from: u8| format!("{name} {}", RARITY_GROUPS.get(usize::from(level - from)).map_or("?", |group| group));
        match self {
            Self::Surname | Self::Given => match level {
                0..=6 => fixed(&["missing", "different", "poor", "low", "part", "phonetic", "medium"]),
                n::PHONETIC_CLOSE..n::CONTAINED => grouped("phonetic-close", n::PHONETIC_CLOSE),
                n::CONTAINED..n::HIGH => grouped("contained", n::CONTAINED),
                n::HIGH..n::EXACT => grouped("high", n::HIGH),
                n::EXACT..n::SWAPPED_CLOSE => format!("exact class {}", level - n::EXACT + 1),
                n::SWAPPED_CLOSE => "swapped, one name close".to_owned(),
                n::SWAPPED => "swapped".to_owned(),
                _ => "?".to_owned(),
            },
            Self::Date => fixed(&[
                "missing",
                "different",
                "same year",
                "default, other decade",
                "default, same decade",
                "default, year within one",
                "default, same year",
                "partial, agrees",
                "year off",
                "one digit of the year off",
                "year off by one",
                "month off",
                "day off",
                "one digit of the day off",
                "day and month swapped",
                "equal default",
                "equal",
            ]),
            Self::Sex | Self::Category => fixed(&["missing", "different", "equal"]),
            Self::Place => {
                fixed(&["missing", "different", "other town", "other town of the region", "country", "region", "town"])
            }
            Self::Text => fixed(&["missing", "different", "poor", "low", "medium", "high", "exact"]),
        }
    }
}

/// One dimension of comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimension {
    /// What it compares.
    pub kind: DimensionKind,
    /// Numbers of the layout's fields that it draws on.
    pub fields: Vec<usize>,
    /// Name for reports and frequency tables: `surname`, `given`, or kind and field number (`place-5`).
    pub name: String,
}

/// The dimensions of a layout: surname, given names, then every other field in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimensions(Vec<Dimension>);

impl Dimensions {
    /// Derives the dimensions; node and broker derive the same ones from the agreement.
    pub fn of(layout: &Layout) -> Self {
        let fields = |wanted: &[FieldKind]| -> Vec<usize> {
            (0..).zip(&layout.fields).filter(|(_, f)| wanted.contains(&f.kind)).map(|(at, _)| at).collect()
        };
        let mut out = Vec::new();
        let surname = fields(&[FieldKind::BirthName, FieldKind::UsageName]);
        if !surname.is_empty() {
            out.push(Dimension { kind: DimensionKind::Surname, fields: surname, name: "surname".to_owned() });
        }
        let given = fields(&[FieldKind::GivenNames]);
        if !given.is_empty() {
            out.push(Dimension { kind: DimensionKind::Given, fields: given, name: "given".to_owned() });
        }
        for (at, field) in layout.fields.iter().enumerate() {
            let (kind, name) = match field.kind {
                FieldKind::BirthName | FieldKind::UsageName | FieldKind::GivenNames => continue,
                FieldKind::BirthDate => (DimensionKind::Date, "date"),
                FieldKind::Sex => (DimensionKind::Sex, "sex"),
                FieldKind::Place => (DimensionKind::Place, "place"),
                FieldKind::Category => (DimensionKind::Category, "category"),
                FieldKind::Text => (DimensionKind::Text, "text"),
            };
            out.push(Dimension { kind, fields: vec![at], name: format!("{name}-{at}") });
        }
        Self(out)
    }
    /// The dimensions in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Dimension> {
        self.0.iter()
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Position of the first dimension of `kind`.
    pub fn position(&self, kind: DimensionKind) -> Option<usize> {
        self.0.iter().position(|d| d.kind == kind)
    }
}

/// One level per dimension, in the order of `Dimensions`; unused places are 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComparisonVector(pub [u8; MAX_DIMENSIONS]);

impl ComparisonVector {
    /// Level of dimension number `dimension`; 0 (missing) beyond the last.
    pub fn level(&self, dimension: usize) -> u8 {
        self.0.get(dimension).copied().unwrap_or(0)
    }
    pub(crate) fn set(&mut self, dimension: usize, level: u8) {
        if let Some(place) = self.0.get_mut(dimension) {
            *place = level;
        }
    }
}
