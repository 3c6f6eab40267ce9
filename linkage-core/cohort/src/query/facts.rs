//! What a month says of each unit: its place in the breakdowns, its key, its amount.
//!
//! One value a unit and month: that of the first party in the agreement's order that gives one; of several at that
//! party (several records, several persons of a household), the one that stands first in the table's order. Where the
//! table is by party, each party's own records alone give its values.

use arrow_array::Array;

use super::axes::{Axis, BANDS, SEXES, Values};
use super::check::within_cells;
use super::error::QueryError;
use super::evaluate::Inputs;
use super::frame::{Frame, Rows};
use crate::figures::Unit;
use crate::rates::{AgeBand, Sex};
use crate::study::{Column, NO_CLASS, Study};

/// A breakdown, ready to be read from months.
pub(crate) struct Reader {
    axis: Axis,
    /// Position of each code of the attribute.
    positions: Vec<u16>,
    /// Number of values; unknown is the position after the last. None for combinations, which are met as they come.
    size: Option<usize>,
}

impl Reader {
    /// A reader of `axis`; `classes` of households.
    pub(crate) fn new(axis: &Axis, study: &Study, classes: usize) -> Self {
        let (positions, size) = match axis {
            Axis::Attribute(at) => {
                let values = study.attributes.get(*at).map(Values::of);
                values.map_or((Vec::new(), Some(0)), |values| (values.positions, Some(values.names.len())))
            }
            Axis::Age(_) => (Vec::new(), Some(BANDS.len())),
            Axis::Sex(_) => (Vec::new(), Some(SEXES.len())),
            Axis::Composition => (Vec::new(), Some(classes)),
            Axis::Party | Axis::Parties => (Vec::new(), None),
        };
        Self { axis: axis.clone(), positions, size }
    }

    /// The column that it reads.
    fn column(&self) -> Option<Column> {
        match self.axis {
            Axis::Attribute(at) | Axis::Age(at) | Axis::Sex(at) => Some(Column::Attribute(at)),
            Axis::Party | Axis::Parties | Axis::Composition => None,
        }
    }

    /// Position of each unit's value in the month; with the combinations met, where the axis is of these.
    fn read(&self, month: usize, rows: &Rows, frame: &Frame<'_>) -> Result<(Vec<u32>, Option<Vec<u64>>), QueryError> {
        let unknown = self.size.unwrap_or(0) as u32;
        match self.axis {
            Axis::Party => Ok((Vec::new(), None)),
            Axis::Parties => {
                let masks = masks(rows, frame.size)?;
                let (codes, met) = intern(&masks);
                Ok((codes, Some(met)))
            }
            Axis::Composition => {
                let of_rows = frame.households()?.of_rows(month)?;
                let classes = frame.households()?.compositions(month)?;
                let class = |row: usize| {
                    let class = of_rows.get(row).and_then(|household| classes.get(*household as usize))?;
                    (*class != NO_CLASS).then(|| u32::from(*class)).filter(|class| *class < unknown)
                };
                Ok((first_values(rows, frame.size, unknown, class)?, None))
            }
            Axis::Attribute(at) => {
                let column = rows.attribute(at)?;
                let place = |code: u16| self.positions.get(usize::from(code)).map(|at| u32::from(*at)).filter(|at| *at < unknown);
                Ok((first_values(rows, frame.size, unknown, |row| value(column, row).and_then(place))?, None))
            }
            Axis::Age(at) | Axis::Sex(at) => {
                let column = rows.attribute(at)?;
                let bands =
                    if matches!(self.axis, Axis::Age(_)) { bands(at, month, frame.study) } else { sexes(at, frame.study) };
                let place = |code: u16| bands.get(usize::from(code)).copied().flatten();
                Ok((first_values(rows, frame.size, unknown, |row| value(column, row).and_then(place))?, None))
            }
        }
    }
}

fn value(column: &arrow_array::UInt16Array, row: usize) -> Option<u16> {
    if column.is_null(row) { None } else { column.values().get(row).copied() }
}

/// The band of each code of the attribute in the month; none where it says no age.
fn bands(at: usize, month: usize, study: &Study) -> Vec<Option<u32>> {
    let (Some(attribute), Some(month)) = (study.attributes.get(at), study.months.get(month)) else { return Vec::new() };
    let place = |value: &String| {
        let band = AgeBand::of_attribute(Some(value), month.period);
        BANDS.iter().position(|(known, _)| *known == band).map(|at| at as u32)
    };
    attribute.values.iter().map(place).collect()
}

/// The sex of each code of the attribute; none where it says none.
fn sexes(at: usize, study: &Study) -> Vec<Option<u32>> {
    let place = |value: &String| {
        let sex = Sex::of_attribute(Some(value));
        SEXES.iter().position(|(known, _)| *known == sex).map(|at| at as u32)
    };
    study.attributes.get(at).map(|attribute| attribute.values.iter().map(place).collect()).unwrap_or_default()
}

/// By unit, the value of the first party that gives one, or of the party whose own values are read; `unknown` where none
/// does.
fn first_values(rows: &Rows, size: usize, unknown: u32, value: impl Fn(usize) -> Option<u32>) -> Result<Vec<u32>, QueryError> {
    const POSITION: u32 = 0x00ff_ffff;
    // Party above, value below: the least is the first party's first value. Parties are 8 bits, values fewer than 24.
    let mut best = vec![u32::MAX; size];
    for (row, (unit, party)) in rows.units()?.iter().zip(rows.parties()?).enumerate() {
        if rows.own.is_some_and(|own| own != usize::from(*party)) {
            continue;
        }
        if let (Some(best), Some(value)) = (best.get_mut(*unit as usize), value(row)) {
            *best = (*best).min(u32::from(*party) << 24 | value & POSITION);
        }
    }
    for best in &mut best {
        *best = if *best == u32::MAX { unknown } else { *best & POSITION };
    }
    Ok(best)
}

/// By unit, the parties with a record of it in the month, as bits by position.
pub(crate) fn masks(rows: &Rows, size: usize) -> Result<Vec<u64>, QueryError> {
    let mut masks = vec![0u64; size];
    for (unit, party) in rows.units()?.iter().zip(rows.parties()?) {
        if let Some(mask) = masks.get_mut(*unit as usize) {
            *mask |= 1u64.checked_shl(u32::from(*party)).unwrap_or(0);
        }
    }
    Ok(masks)
}

/// Small numbers for combinations, and the combination of each.
pub(crate) fn intern(masks: &[u64]) -> (Vec<u32>, Vec<u64>) {
    let mut met: Vec<u64> = Vec::new();
    let mut sorted: Vec<(u64, u32)> = Vec::new();
    let mut last = None;
    let codes = masks.iter().map(|mask| {
        if let Some((_, code)) = last.filter(|(same, _)| same == mask) {
            return code;
        }
        let code = match sorted.binary_search_by_key(mask, |(known, _)| *known) {
            Ok(at) => sorted.get(at).map_or(0, |(_, code)| *code),
            Err(at) => {
                let code = met.len() as u32;
                met.push(*mask);
                sorted.insert(at, (*mask, code));
                code
            }
        };
        last = Some((*mask, code));
        code
    });
    (codes.collect(), met)
}

/// A month by unit.
pub(crate) struct Facts<'a> {
    /// Place in the breakdowns: positions in mixed radix, the last fastest; empty when there is no breakdown.
    places: Vec<u32>,
    /// Number of places.
    pub size: usize,
    /// Number of positions of each breakdown.
    pub radix: Vec<usize>,
    /// Combinations by their number, where a breakdown is of these.
    pub combinations: Vec<u64>,
    keys: Keys<'a>,
    /// The number to be added up, and whether there is one.
    amounts: Option<Vec<u32>>,
    numbers: &'a [u64],
}

enum Keys<'a> {
    Persons(&'a [u64]),
    Households { keys: Vec<u64>, absent: u64 },
}

/// What is read of months.
pub(crate) struct Reading<'a> {
    /// Breakdowns, without those by party.
    pub readers: Vec<Reader>,
    /// The attribute that is added up, and the number of each of its codes.
    pub sum: Option<(usize, &'a [u64])>,
}

impl<'a> Facts<'a> {
    /// Reads the month at position `month`. `combinations`, by unit, replace the month's own where given; values are those
    /// of the party `own` where one is given.
    pub(crate) fn read(
        month: usize,
        reading: &Reading<'a>,
        combinations: Option<&[u64]>,
        own: Option<usize>,
        frame: &Frame<'a>,
    ) -> Result<Self, QueryError> {
        let mut columns = vec![Column::Party];
        columns.extend(reading.readers.iter().filter_map(Reader::column));
        columns.extend(reading.sum.map(|(at, _)| Column::Attribute(at)));
        if frame.unit == Unit::Households {
            columns.push(Column::Person);
        }
        let mut rows = frame.rows(month, &columns)?;
        rows.own = own;
        let mut facts = Self {
            places: Vec::new(),
            size: 1,
            radix: Vec::new(),
            combinations: Vec::new(),
            keys: keys(&rows, frame)?,
            amounts: None,
            numbers: reading.sum.map_or(&[], |(_, numbers)| numbers),
        };
        for reader in &reading.readers {
            let (codes, met) = match combinations.filter(|_| reader.axis == Axis::Parties) {
                Some(masks) => {
                    let (codes, met) = intern(masks);
                    (codes, Some(met))
                }
                None => reader.read(month, &rows, frame)?,
            };
            let radix = met.as_ref().map_or_else(|| reader.size.unwrap_or(0) + 1, Vec::len).max(1);
            facts.size = facts.size.saturating_mul(radix);
            // Combinations are as many as occur; places beyond a table's bounds would not fit their numbers either.
            within_cells(facts.size as u64)?;
            if facts.places.is_empty() {
                facts.places = codes;
            } else {
                facts.places.iter_mut().zip(codes).for_each(|(place, code)| *place = *place * radix as u32 + code);
            }
            facts.radix.push(radix);
            if let Some(met) = met {
                facts.combinations = met;
            }
        }
        if let Some((at, numbers)) = reading.sum {
            let column = rows.attribute(at)?;
            // Codes in the order of their numbers, so that of several the least is taken.
            let mut order: Vec<u32> = (0..numbers.len() as u32).collect();
            order.sort_by_key(|code| numbers.get(*code as usize));
            let mut rank = vec![0; numbers.len()];
            for (at, code) in (0u32..).zip(&order) {
                if let Some(rank) = rank.get_mut(*code as usize) {
                    *rank = at;
                }
            }
            let place = |row| value(column, row).and_then(|code| rank.get(usize::from(code)).copied());
            let mut amounts = first_values(&rows, frame.size, u32::MAX, place)?;
            for amount in &mut amounts {
                *amount = order.get(*amount as usize).copied().unwrap_or(u32::MAX);
            }
            facts.amounts = Some(amounts);
        }
        Ok(facts)
    }

    /// Place of a unit in the breakdowns.
    pub(crate) fn place(&self, unit: u32) -> usize {
        self.places.get(unit as usize).map_or(0, |place| *place as usize)
    }

    /// The unit's amount: `Err` when sums are asked for and the unit has none; 1 when units are counted.
    pub(crate) fn amount(&self, unit: u32) -> Option<u64> {
        match &self.amounts {
            None => Some(1),
            Some(amounts) => amounts.get(unit as usize).and_then(|code| self.numbers.get(*code as usize)).copied(),
        }
    }

    /// Whether amounts are added up.
    pub(crate) fn sums(&self) -> bool {
        self.amounts.is_some()
    }

    /// The unit's key.
    pub(crate) fn key(&self, unit: u32) -> u64 {
        match &self.keys {
            Keys::Persons(keys) => keys.get(unit as usize).copied().unwrap_or(0),
            // A household that nobody is in this month (a population may look elsewhere) has a key of its own.
            Keys::Households { keys, absent } => match keys.get(unit as usize).copied() {
                None | Some(0) => mix(absent.wrapping_add(u64::from(unit))),
                Some(key) => key,
            },
        }
    }
}

/// A household's key is the sum of the keys of the persons in it in the month.
fn keys<'a>(rows: &Rows, frame: &Frame<'a>) -> Result<Keys<'a>, QueryError> {
    if frame.unit == Unit::Persons {
        return Ok(Keys::Persons(frame.inputs.person_keys));
    }
    let mut keys = vec![0u64; frame.size];
    let (units, persons) = (rows.units()?, rows.persons()?);
    // Rows of one person stand together: a household met before among them has the person's key already.
    let mut person_before = None;
    let mut met: Vec<u32> = Vec::new();
    for (unit, person) in units.iter().zip(persons) {
        if person_before != Some(*person) {
            person_before = Some(*person);
            met.clear();
        }
        if met.contains(unit) {
            continue;
        }
        met.push(*unit);
        if let (Some(key), Some(own)) = (keys.get_mut(*unit as usize), frame.inputs.person_keys.get(*person as usize)) {
            *key = key.wrapping_add(*own);
        }
    }
    let absent = frame.inputs.person_keys.iter().fold(0u64, |sum, key| sum.wrapping_add(*key));
    Ok(Keys::Households { keys, absent })
}

/// Keys of all households of a study in all of its months, rising: a household's key is that of its persons of the month.
/// What was shown of households is held against these ([`crate::disclosure::audit::Ledger::know_households`]).
///
/// # Errors
/// No households, or data that cannot be read.
pub fn household_keys(study: &Study, inputs: Inputs<'_>) -> Result<Vec<u64>, QueryError> {
    let frame = Frame::new(study, inputs, Unit::Households)?;
    let mut all: Vec<u64> = Vec::new();
    for month in 0..study.months.len() {
        let rows = frame.rows(month, &[Column::Person])?;
        if let Keys::Households { keys, absent } = keys(&rows, &frame)? {
            if month == 0 {
                all.extend((0..frame.size as u64).map(|unit| mix(absent.wrapping_add(unit))));
            }
            all.extend(keys.into_iter().filter(|key| *key != 0));
        }
        // Most households are the same from month to month.
        all.sort_unstable();
        all.dedup();
    }
    Ok(all)
}

/// Spreads a number over 64 bits (Steele, Lea, Flood 2014, SplitMix64).
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
