//! Comparison of two payloads: one level per dimension.
//!
//! Payloads can be compared only under one block key. A pair that met in several blocks shows the same values under
//! different keys each time, so its blocks are summed up: filters by adding estimated set sizes (the noise of short
//! filters averages out; a maximum would be biased upward), slots and equality by "in every block" (chance
//! collisions of 16 bits do not repeat). The comparison is symmetric in the two records.
//!
//! The same function serves the nodes, which estimate how often random pairs agree on their own records, encoded
//! under a throw-away block key.

use linkage_agreement::layout::{date_slot, place_slot};
use linkage_agreement::{DateQuality, FieldPlace, Layout};

use crate::LinkError;
use crate::filters::{ONE, Overlap, SizeTable, ones};
pub use crate::levels::{ComparisonVector, Dimensions};
use crate::levels::{DimensionKind, code_level, date_level, name_level, place_level, text_level};
use crate::records::check_layout;

/// Most name fields that a header can describe.
const MAX_NAMES: usize = 10;
/// What is the same in every block: bits 0 to 9 equality, 16 to 24 presence on both sides.
type Flags = u32;

/// Compares payloads of one layout. Build once, use for all pairs.
#[derive(Debug, Clone)]
pub struct Comparer<'l> {
    layout: &'l Layout,
    dimensions: Dimensions,
    sizes: SizeTable,
    /// Name fields in field order: place, and whether it is a given name.
    names: Vec<(usize, &'l FieldPlace)>,
}

/// Compares two payloads that lie under one block key: `Comparer` for a single pair.
pub fn compare_payloads(
    layout: &Layout,
    header_a: u32,
    a: &[u8],
    header_b: u32,
    b: &[u8],
) -> Result<ComparisonVector, LinkError> {
    Comparer::new(layout)?.compare(header_a, header_b, std::iter::once((a, b)))
}

/// Sums of one pair over its blocks.
struct Evidence {
    /// For name field i of a and j of b.
    names: [[Overlap; MAX_NAMES]; MAX_NAMES],
    same_sound: [[bool; MAX_NAMES]; MAX_NAMES],
    /// By dimension.
    text: [Overlap; crate::MAX_DIMENSIONS],
    flags: [Flags; crate::MAX_DIMENSIONS],
}

impl<'l> Comparer<'l> {
    /// Refuses a layout that cannot be compared (see `LinkError::Layout`).
    pub fn new(layout: &'l Layout) -> Result<Self, LinkError> {
        check_layout(layout)?;
        let names: Vec<_> = layout.fields.iter().enumerate().filter(|(_, f)| f.kind.is_name()).collect();
        if names.len() > MAX_NAMES {
            return Err(LinkError::Layout("more than 10 name fields"));
        }
        Ok(Self {
            layout,
            dimensions: Dimensions::of(layout),
            sizes: SizeTable::new(layout.filter_bits, layout.hash_count),
            names,
        })
    }

    /// The dimensions of the vectors.
    pub fn dimensions(&self) -> &Dimensions {
        &self.dimensions
    }

    /// Compares two records by the payloads of every block that both are in. No block at all gives all "missing".
    pub fn compare<'p>(
        &self,
        header_a: u32,
        header_b: u32,
        blocks: impl IntoIterator<Item = (&'p [u8], &'p [u8])>,
    ) -> Result<ComparisonVector, LinkError> {
        let mut evidence = Evidence {
            names: Default::default(),
            same_sound: [[true; MAX_NAMES]; MAX_NAMES],
            text: Default::default(),
            flags: [Flags::MAX; crate::MAX_DIMENSIONS],
        };
        let mut met = false;
        for (a, b) in blocks {
            if a.len() != self.layout.payload_len || b.len() != self.layout.payload_len {
                return Err(LinkError::PayloadLength { expected: self.layout.payload_len });
            }
            self.add_block(&mut evidence, a, b);
            met = true;
        }
        if !met {
            return Ok(ComparisonVector::default());
        }
        Ok(self.levels(&evidence, header_a, header_b))
    }

    fn add_block(&self, evidence: &mut Evidence, a: &[u8], b: &[u8]) {
        let mut ones_b = [0u32; MAX_NAMES];
        for (count, (_, field)) in ones_b.iter_mut().zip(&self.names) {
            *count = ones(self.filter(field, b));
        }
        let rows = evidence.names.iter_mut().zip(&mut evidence.same_sound).zip(&self.names);
        for ((overlaps, sounds), (_, field_a)) in rows {
            let filter_a = self.filter(field_a, a);
            let ones_a = ones(filter_a);
            let sound_a = slot(a, field_a, 0);
            let cells = overlaps.iter_mut().zip(sounds).zip(&self.names).zip(ones_b);
            for (((overlap, same_sound), (_, field_b)), ones_b) in cells {
                overlap.add(&self.sizes, filter_a, self.filter(field_b, b), ones_a, ones_b);
                *same_sound &= sound_a != 0 && sound_a == slot(b, field_b, 0);
            }
        }
        let places = evidence.text.iter_mut().zip(&mut evidence.flags).zip(self.dimensions.iter());
        for ((text, flags), dimension) in places {
            let Some(field) = dimension.fields.first().and_then(|&at| self.layout.fields.get(at)) else { continue };
            match dimension.kind {
                DimensionKind::Surname | DimensionKind::Given => {}
                DimensionKind::Text => {
                    let (fa, fb) = (self.filter(field, a), self.filter(field, b));
                    text.add(&self.sizes, fa, fb, ones(fa), ones(fb));
                }
                DimensionKind::Date => *flags &= date_flags(field, a, b),
                DimensionKind::Place => *flags &= slot_flags(field, a, b, 3),
                DimensionKind::Sex | DimensionKind::Category => *flags &= slot_flags(field, a, b, 1),
            }
        }
    }

    fn levels(&self, evidence: &Evidence, header_a: u32, header_b: u32) -> ComparisonVector {
        let mut vector = ComparisonVector::default();
        let pick = |kind| self.dimensions.position(kind);
        if let Some(at) = pick(DimensionKind::Surname) {
            vector.set(at, self.best_name(evidence, header_a, header_b, Side::Surname, Side::Surname).level());
        }
        if let Some(at) = pick(DimensionKind::Given) {
            vector.set(at, self.best_name(evidence, header_a, header_b, Side::Given, Side::Given).level());
        }
        if let (Some(surname), Some(given)) = (pick(DimensionKind::Surname), pick(DimensionKind::Given)) {
            let straight = [vector.level(surname), vector.level(given)];
            let there = self.best_name(evidence, header_a, header_b, Side::Surname, Side::Given).level();
            let back = self.best_name(evidence, header_a, header_b, Side::Given, Side::Surname).level();
            if let Some(level) = swapped_level(straight, [there, back]) {
                vector.set(surname, level);
                vector.set(given, level);
            }
        }
        let places = evidence.text.iter().zip(evidence.flags).zip(self.dimensions.iter()).enumerate();
        for (at, ((text, flags), dimension)) in places {
            match dimension.kind {
                DimensionKind::Surname | DimensionKind::Given => {}
                DimensionKind::Text => vector.set(at, text_level_of(text)),
                DimensionKind::Date => vector.set(at, date_level_of(flags, header_a, header_b)),
                DimensionKind::Place => vector.set(at, place_level_of(flags)),
                DimensionKind::Sex | DimensionKind::Category => vector.set(at, code_level_of(flags)),
            }
        }
        vector
    }

    /// The strongest agreement between a name of `side_a` in a and one of `side_b` in b.
    fn best_name(&self, evidence: &Evidence, header_a: u32, header_b: u32, side_a: Side, side_b: Side) -> NameAgreement {
        let mut best = NameAgreement { rank: Rank::Missing, class: 0 };
        let rows = evidence.names.iter().zip(&evidence.same_sound).zip(&self.names);
        for ((overlaps, sounds), (_, field_a)) in rows.filter(|(_, (_, f))| Side::of(f) == side_a) {
            let cells = overlaps.iter().zip(sounds).zip(&self.names);
            for ((overlap, &same_sound), (_, field_b)) in cells.filter(|(_, (_, f))| Side::of(f) == side_b) {
                best = best.max(name_agreement(overlap, same_sound, rarity(header_a, field_a), rarity(header_b, field_b)));
            }
        }
        best
    }

    fn filter<'p>(&self, field: &FieldPlace, payload: &'p [u8]) -> &'p [u8] {
        let at = field.filter_at.unwrap_or(usize::MAX);
        payload.get(at..at.saturating_add(self.layout.filter_bits / 8)).unwrap_or(&[])
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Surname,
    Given,
}

impl Side {
    fn of(field: &FieldPlace) -> Self {
        if field.kind == linkage_agreement::FieldKind::GivenNames { Self::Given } else { Self::Surname }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Missing,
    Different,
    Poor,
    Low,
    Part,
    Phonetic,
    Medium,
    PhoneticClose,
    Contained,
    High,
    Exact,
}

/// How two names agree; ordered by strength, a rarer class being stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct NameAgreement {
    rank: Rank,
    class: u8,
}

impl NameAgreement {
    fn level(self) -> u8 {
        let group = match self.class {
            0..=2 => 0,
            3 => 1,
            _ => 2,
        };
        match self.rank {
            Rank::Missing => name_level::MISSING,
            Rank::Different => name_level::DIFFERENT,
            Rank::Poor => name_level::POOR,
            Rank::Low => name_level::LOW,
            Rank::Part => name_level::PART,
            Rank::Phonetic => name_level::PHONETIC,
            Rank::Medium => name_level::MEDIUM,
            Rank::PhoneticClose => name_level::PHONETIC_CLOSE + group,
            Rank::Contained => name_level::CONTAINED + group,
            Rank::High => name_level::HIGH + group,
            Rank::Exact => name_level::EXACT + self.class.clamp(1, 7) - 1,
        }
    }
}

/// Class of the agreement. Names that differ a little: the commoner class of the two, since an error turns a common
/// name into a rare one and never the other way. A name contained in another: the class of the contained one, which
/// is what both have in common.
fn name_agreement(overlap: &Overlap, same_sound: bool, class_a: u8, class_b: u8) -> NameAgreement {
    let commoner = class_a.min(class_b);
    let contained = match overlap.sides() {
        std::cmp::Ordering::Less => class_a,
        std::cmp::Ordering::Greater => class_b,
        std::cmp::Ordering::Equal => commoner,
    };
    let dice = overlap.dice();
    let (rank, class) = if !overlap.present() {
        (Rank::Missing, 0)
    } else if overlap.identical() {
        (Rank::Exact, commoner)
    } else if dice >= 800 {
        (Rank::High, commoner)
    } else if overlap.containment() >= 850 && overlap.smaller() > 3 * ONE + ONE / 2 {
        (Rank::Contained, contained)
    } else if same_sound && dice >= 450 {
        (Rank::PhoneticClose, commoner)
    } else if dice >= 650 {
        (Rank::Medium, 0)
    } else if same_sound {
        (Rank::Phonetic, 0)
    } else if dice >= 450 {
        (Rank::Low, 0)
    } else if overlap.containment() >= 700 && overlap.smaller() > 2 * ONE + ONE / 2 {
        (Rank::Part, 0)
    } else if dice >= 250 {
        (Rank::Poor, 0)
    } else {
        (Rank::Different, 0)
    };
    NameAgreement { rank, class }
}

/// The level of an exchange of names, when the crosswise agreements are better than the straight ones.
fn swapped_level(straight: [u8; 2], crosswise: [u8; 2]) -> Option<u8> {
    let [least, most] = [crosswise[0].min(crosswise[1]), crosswise[0].max(crosswise[1])];
    if least >= name_level::CONTAINED && straight.iter().any(|&level| level < name_level::CONTAINED) {
        Some(name_level::SWAPPED)
    } else if least >= name_level::MEDIUM
        && most >= name_level::CONTAINED
        && straight.iter().all(|&level| level < name_level::MEDIUM)
    {
        Some(name_level::SWAPPED_CLOSE)
    } else {
        None
    }
}

fn rarity(header: u32, field: &FieldPlace) -> u8 {
    field.rarity_at.map_or(0, |at| Layout::rarity(header, at))
}

/// Slot number `slot` of `field`; 0 when missing.
fn slot(payload: &[u8], field: &FieldPlace, slot: usize) -> u16 {
    let at = field.slots_at + 2 * slot;
    payload.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes)
}

/// Bit n: slot n present on both sides and equal. Bit `BOTH + n`: present on both sides.
fn slot_flags(field: &FieldPlace, a: &[u8], b: &[u8], slots: usize) -> Flags {
    (0..slots).fold(0, |flags, n| {
        let (x, y) = (slot(a, field, n), slot(b, field, n));
        let both = x != 0 && y != 0;
        flags | Flags::from(both && x == y) << n | Flags::from(both) << (BOTH + n)
    })
}

const BOTH: usize = 16;

/// Bit of `date_flags`: day of one equals month of the other, both ways, and day and month differ.
const EXCHANGED: usize = 9;

fn date_flags(field: &FieldPlace, a: &[u8], b: &[u8]) -> Flags {
    let part = |payload, n| slot(payload, field, n);
    let (month_a, day_a) = (part(a, date_slot::MONTH), part(a, date_slot::DAY));
    let (month_b, day_b) = (part(b, date_slot::MONTH), part(b, date_slot::DAY));
    let exchanged = month_a != 0 && day_a != 0 && month_a == day_b && day_a == month_b && month_a != day_a;
    slot_flags(field, a, b, 9) | Flags::from(exchanged) << EXCHANGED
}

fn date_level_of(flags: Flags, header_a: u32, header_b: u32) -> u8 {
    use date_level as level;
    use date_slot as s;
    let (quality_a, quality_b) = (Layout::date_quality(header_a), Layout::date_quality(header_b));
    let either = |quality| quality_a == quality || quality_b == quality;
    let equal = |n: usize| flags >> n & 1 == 1;
    let both = |n: usize| flags >> (BOTH + n) & 1 == 1;
    let (year, month, day) = (equal(s::YEAR), equal(s::MONTH), equal(s::DAY));
    let by_one = equal(s::HALF) || equal(s::HALF_SHIFTED);

    if either(DateQuality::Missing) || !both(s::YEAR) {
        return level::MISSING;
    }
    if either(DateQuality::Partial) {
        let agrees = year && (month || !both(s::MONTH)) && (day || !both(s::DAY));
        return if agrees {
            level::PARTIAL
        } else if year {
            level::SAME_YEAR
        } else {
            level::DIFFERENT
        };
    }
    if year && month && day {
        return if either(DateQuality::Default) { level::EQUAL_DEFAULT } else { level::EQUAL };
    }
    if either(DateQuality::Default) {
        return if year {
            level::DEFAULT_SAME_YEAR
        } else if by_one {
            level::DEFAULT_NEAR
        } else if equal(s::DECADE) {
            level::DEFAULT_DECADE
        } else {
            level::DEFAULT_OTHER
        };
    }
    if year {
        return if equal(EXCHANGED) {
            level::SWAPPED
        } else if month && (equal(s::DAY_TENS) || equal(s::DAY_UNIT)) {
            level::DAY_DIGIT
        } else if month {
            level::DAY_OFF
        } else if day {
            level::MONTH_OFF
        } else {
            level::SAME_YEAR
        };
    }
    if month && day {
        return if by_one {
            level::YEAR_BY_ONE
        } else if equal(s::DECADE) || equal(s::YEAR_UNIT) {
            level::YEAR_DIGIT
        } else {
            level::YEAR_OFF
        };
    }
    level::DIFFERENT
}

fn place_level_of(flags: Flags) -> u8 {
    use place_level as level;
    use place_slot as s;
    let equal = |n: usize| flags >> n & 1 == 1;
    let differ = |n: usize| flags >> (BOTH + n) & 1 == 1 && !equal(n);
    if equal(s::COMMUNE) {
        level::COMMUNE
    } else if equal(s::DEPARTMENT) {
        if differ(s::COMMUNE) { level::OTHER_COMMUNE } else { level::REGION }
    } else if differ(s::DEPARTMENT) || differ(s::COUNTRY) {
        level::DIFFERENT
    } else if equal(s::COUNTRY) {
        level::COUNTRY
    } else if differ(s::COMMUNE) {
        level::OTHER_TOWN
    } else {
        level::MISSING
    }
}

fn code_level_of(flags: Flags) -> u8 {
    match (flags >> BOTH & 1, flags & 1) {
        (0, _) => code_level::MISSING,
        (_, 0) => code_level::DIFFERENT,
        _ => code_level::EQUAL,
    }
}

fn text_level_of(text: &Overlap) -> u8 {
    if !text.present() {
        return text_level::MISSING;
    }
    match text.dice() {
        _ if text.identical() => text_level::EXACT,
        850.. => text_level::HIGH,
        700.. => text_level::MEDIUM,
        500.. => text_level::LOW,
        300.. => text_level::POOR,
        _ => text_level::DIFFERENT,
    }
}
