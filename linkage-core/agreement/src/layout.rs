//! Where each identity field lies in the bytes that a node uploads and the broker compares.
//!
//! The agreement's identity fields fix the layout, so that node and broker derive the same one and neither sends it.
//! One *record* is `handle (16) | header (4, little-endian) | tokens_per_record x entry`; one *entry* is
//! `token (16) | payload`; an *annex* may follow the entries ([`RecordShape`]). A *payload* holds, for every field in the agreement's order:
//!
//! | kind | filter | keyed 16-bit slots (little-endian; 0 = missing) |
//! |---|---|---|
//! | birth name, usage name, given names | `filter_bits / 8` bytes | 1: phonetic code of the main word |
//! | text | `filter_bits / 8` bytes | none |
//! | birth date | none | 9: year, month, day, year/2, (year+1)/2, decade, year unit, day tens, day unit |
//! | place | none | 3: country, département, commune |
//! | sex, category | none | 1: the value |
//!
//! All filters come first (field order), then all slots (field order). Two slots are comparable only when they belong
//! to one *slot domain* (month and day share one, so that a swap shows; phonetic codes of all names share one).
//!
//! The *header* is in clear: bits 0-1 date quality, then 3 bits of rarity class for every name field in field order
//! (at most 10 name fields).

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What an identity field is, which decides how it is normalised, encoded and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// Name at birth (nom de naissance); compared crosswise with `UsageName` and, for swaps, with `GivenNames`.
    BirthName,
    /// Name in use (nom d'usage, marital name).
    UsageName,
    /// All given names, first one first.
    GivenNames,
    /// Date of birth, by components.
    BirthDate,
    /// Sex.
    Sex,
    /// A place by country, département and commune.
    Place,
    /// A code that is equal or not (postcode).
    Category,
    /// Free text compared by bigrams (suburb, address).
    Text,
}

impl FieldKind {
    /// Whether the field carries a Bloom filter.
    pub fn has_filter(self) -> bool {
        matches!(self, Self::BirthName | Self::UsageName | Self::GivenNames | Self::Text)
    }
    /// Whether the field is a person's name: phonetic slot, rarity class, crosswise comparison.
    pub fn is_name(self) -> bool {
        matches!(self, Self::BirthName | Self::UsageName | Self::GivenNames)
    }
    /// How many 16-bit slots the field carries.
    pub fn slots(self) -> usize {
        match self {
            Self::BirthName | Self::UsageName | Self::GivenNames | Self::Sex | Self::Category => 1,
            Self::BirthDate => 9,
            Self::Place => 3,
            Self::Text => 0,
        }
    }
}

/// Index of each date slot within a birth date's nine.
pub mod date_slot {
    /// Calendar year.
    pub const YEAR: usize = 0;
    /// Month, in the day-or-month domain.
    pub const MONTH: usize = 1;
    /// Day, in the day-or-month domain.
    pub const DAY: usize = 2;
    /// `year / 2`: years one apart share this or the next slot, never both.
    pub const HALF: usize = 3;
    /// `(year + 1) / 2`.
    pub const HALF_SHIFTED: usize = 4;
    /// `year / 10`.
    pub const DECADE: usize = 5;
    /// `year % 10`.
    pub const YEAR_UNIT: usize = 6;
    /// `day / 10`.
    pub const DAY_TENS: usize = 7;
    /// `day % 10`.
    pub const DAY_UNIT: usize = 8;
}

/// Index of each place slot within a place's three.
pub mod place_slot {
    /// Country.
    pub const COUNTRY: usize = 0;
    /// Département, for France.
    pub const DEPARTMENT: usize = 1;
    /// Commune (INSEE code, or folded name where no code is known).
    pub const COMMUNE: usize = 2;
}

/// How far a date of birth can be trusted; in clear in a record's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DateQuality {
    /// No date.
    Missing = 0,
    /// A full date.
    Full = 1,
    /// A full date that stands for an unknown one (01/01, 31/12, 1900-01-01).
    Default = 2,
    /// A year, or a year and month.
    Partial = 3,
}

/// Where a field's bytes lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPlace {
    /// The field's kind.
    pub kind: FieldKind,
    /// Byte offset of the filter within the payload, for kinds that have one.
    pub filter_at: Option<usize>,
    /// Byte offset of the first slot within the payload.
    pub slots_at: usize,
    /// Bit offset of the rarity class within the header, for names.
    pub rarity_at: Option<u32>,
}

/// The layout of records under one agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The identity fields, in the agreement's order.
    pub fields: Vec<FieldPlace>,
    /// Bits of each filter: 64, 128, 256 or 512.
    pub filter_bits: usize,
    /// Bits set for each q-gram: 1..=8.
    pub hash_count: usize,
    /// Entries of each record, real tokens and padding together.
    pub tokens_per_record: usize,
    /// Bytes of one payload.
    pub payload_len: usize,
}

/// What each record of one party holds. A party of another profile than block-scoped sends no entries; where one takes
/// part, every record carries an *annex* after its entries, by which it can be compared with that party's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordShape {
    /// Entries of each record: the layout's, or none.
    pub entries: usize,
    /// Bytes after the last entry.
    pub annex_len: usize,
}

/// Bytes of the two hash keys of an annex: primary, then secondary, 32 each.
pub const HASH_KEYS_LEN: usize = 64;

/// Where the parts of an annex lie within it: the filter, then the hash keys. A part that is zero all over is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnexPlaces {
    /// The filter, `bits / 8` bytes.
    pub clk: Option<Range<usize>>,
    /// The primary and the secondary key, [`HASH_KEYS_LEN`] bytes.
    pub hash_keys: Option<Range<usize>>,
    /// Bytes of all parts.
    pub len: usize,
}

impl AnnexPlaces {
    /// A filter of `clk_bits` bits, if any, and then hash keys, if any.
    pub fn new(clk_bits: Option<usize>, hash_keys: bool) -> Self {
        let clk = clk_bits.map(|bits| 0..bits / 8);
        let at = clk.as_ref().map_or(0, |clk| clk.end);
        let hash_keys = hash_keys.then_some(at..at + HASH_KEYS_LEN);
        let len = hash_keys.as_ref().map_or(at, |keys| keys.end);
        Self { clk, hash_keys, len }
    }
}

impl RecordShape {
    /// Bytes of one record of this shape.
    pub fn record_len(self, layout: &Layout) -> usize {
        Layout::PREFIX_LEN + self.entries * layout.entry_len() + self.annex_len
    }
}

impl Layout {
    /// Bytes before the first entry: handle and header.
    pub const PREFIX_LEN: usize = 20;

    /// Lays `kinds` out in order. `filter_bits` is a power of two in 64..=512, `hash_count` in 1..=8;
    /// the agreement's check has refused anything else before.
    pub fn new(kinds: &[FieldKind], filter_bits: usize, hash_count: usize, tokens_per_record: usize) -> Self {
        let mut at = 0;
        let mut rarity_bit = 2;
        let mut fields: Vec<FieldPlace> = kinds
            .iter()
            .map(|&kind| {
                let filter_at = kind.has_filter().then_some(at);
                at += if kind.has_filter() { filter_bits / 8 } else { 0 };
                let rarity_at = kind.is_name().then_some(rarity_bit);
                rarity_bit += if kind.is_name() { 3 } else { 0 };
                FieldPlace { kind, filter_at, slots_at: 0, rarity_at }
            })
            .collect();
        for field in &mut fields {
            field.slots_at = at;
            at += 2 * field.kind.slots();
        }
        Self { fields, filter_bits, hash_count, tokens_per_record, payload_len: at }
    }

    /// Bytes of one entry: token and payload.
    pub fn entry_len(&self) -> usize {
        16 + self.payload_len
    }
    /// The shape of a block-scoped party's records when all parties are.
    pub fn shape(&self) -> RecordShape {
        RecordShape { entries: self.tokens_per_record, annex_len: 0 }
    }
    /// Bytes of one record of [`Layout::shape`].
    pub fn record_len(&self) -> usize {
        self.shape().record_len(self)
    }
    /// Number of 16-bit slots of a payload, all fields together.
    pub fn slot_count(&self) -> usize {
        self.fields.iter().map(|f| f.kind.slots()).sum()
    }
    /// Byte offset of the first slot; filters lie before it.
    pub fn slots_start(&self) -> usize {
        self.payload_len - 2 * self.slot_count()
    }
    /// Date quality of a header.
    pub fn date_quality(header: u32) -> DateQuality {
        match header & 3 {
            0 => DateQuality::Missing,
            1 => DateQuality::Full,
            2 => DateQuality::Default,
            _ => DateQuality::Partial,
        }
    }
    /// Rarity class of a name field in a header: 0 absent, 1 very common ... 7 rarest.
    pub fn rarity(header: u32, rarity_at: u32) -> u8 {
        ((header >> rarity_at) & 7) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FieldKind::*;
    use proptest::prelude::*;

    const FRENCH: [FieldKind; 7] = [BirthName, UsageName, GivenNames, BirthDate, Sex, Place, Category];

    #[test]
    fn the_french_layout() {
        let layout = Layout::new(&FRENCH, 128, 4, 20);
        let filters: Vec<_> = layout.fields.iter().map(|f| f.filter_at).collect();
        assert_eq!(filters, [Some(0), Some(16), Some(32), None, None, None, None]);
        let slots: Vec<_> = layout.fields.iter().map(|f| f.slots_at).collect();
        assert_eq!(slots, [48, 50, 52, 54, 72, 74, 80]);
        let rarities: Vec<_> = layout.fields.iter().map(|f| f.rarity_at).collect();
        assert_eq!(rarities, [Some(2), Some(5), Some(8), None, None, None, None]);
        assert_eq!((layout.payload_len, layout.slot_count(), layout.slots_start()), (82, 17, 48));
        assert_eq!((layout.entry_len(), layout.record_len()), (98, 20 + 20 * 98));
        assert_eq!(RecordShape { entries: 0, annex_len: 128 }.record_len(&layout), 148);
    }

    #[test]
    fn an_annex_is_a_filter_then_keys() {
        assert_eq!(AnnexPlaces::new(None, false), AnnexPlaces { clk: None, hash_keys: None, len: 0 });
        assert_eq!(AnnexPlaces::new(Some(1024), false), AnnexPlaces { clk: Some(0..128), hash_keys: None, len: 128 });
        assert_eq!(AnnexPlaces::new(None, true), AnnexPlaces { clk: None, hash_keys: Some(0..64), len: 64 });
        assert_eq!(AnnexPlaces::new(Some(64), true), AnnexPlaces { clk: Some(0..8), hash_keys: Some(8..72), len: 72 });
    }

    #[test]
    fn the_header_is_read() {
        let header = 0b110_0010_0010;
        assert_eq!(Layout::date_quality(header), DateQuality::Default);
        assert_eq!([2, 5, 8].map(|at| Layout::rarity(header, at)), [0, 1, 6]);
        let all = [DateQuality::Missing, DateQuality::Full, DateQuality::Default, DateQuality::Partial];
        assert_eq!([0, 1, 2, 3].map(Layout::date_quality), all);
        assert!(all.iter().all(|q| Layout::date_quality(*q as u32) == *q));
    }

    proptest! {
        /// Fields cover the payload without gap or overlap, filters first.
        #[test]
        fn fields_tile_the_payload(picks in proptest::collection::vec(0usize..8, 1..12), log in 6u32..10) {
            let all = [BirthName, UsageName, GivenNames, BirthDate, Sex, Place, Category, Text];
            let kinds: Vec<_> = picks.iter().map(|&i| all[i]).collect();
            let layout = Layout::new(&kinds, 1 << log, 4, 4);
            let mut at = 0;
            for field in layout.fields.iter().filter(|f| f.kind.has_filter()) {
                prop_assert_eq!(field.filter_at, Some(at));
                at += (1 << log) / 8;
            }
            prop_assert_eq!(at, layout.slots_start());
            for field in &layout.fields {
                prop_assert_eq!(field.slots_at, at);
                at += 2 * field.kind.slots();
            }
            prop_assert_eq!(at, layout.payload_len);
        }
    }
}
