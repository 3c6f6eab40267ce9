//! Households that references hold together no longer, and that none has parted.
//!
//! When the one file that named a couple together is closed, the files that name each of them alone say nothing about a
//! separation. Such a part stays with the part that keeps the household's number, for a year at most, as long as every
//! file that names it is older than the last month in which references held both together. A file opened since, or
//! references that share persons and are two by the rule, or are of one party, part them.

use super::HORIZON_MONTHS;
use super::rule;
use super::units::{Joined, Units};

/// The last month in which references put a person into the household that bore `number`, or alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Before {
    pub(super) number: u32,
    pub(super) joint: u32,
}

/// What the residents of a household had before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Nobody lived in a household before.
    New,
    /// All who did lived in this one.
    One(u32),
    Several,
}

/// Households that stay with another, as (part, the one that it stays with), by `homes` and the numbers that `went`
/// somewhere. A household with which others stay is a part of none.
pub(super) fn parts(
    units: &Units<'_>,
    joined: &Joined,
    homes: &[u32],
    before: &[Option<Before>],
    went: impl Fn(u32) -> Option<u32>,
    now: u32,
) -> Vec<(u32, u32)> {
    let mut origins = vec![Origin::New; joined.members.len()];
    for (home, before) in homes.iter().zip(before) {
        if let Some((place, before)) = origins.get_mut(*home as usize).zip(*before) {
            *place = match *place {
                Origin::New => Origin::One(before.number),
                Origin::One(number) if number == before.number => Origin::One(number),
                _ => Origin::Several,
            };
        }
    }
    let mut parts = Vec::new();
    // Parties that hold a household and what stays with it, where anything does.
    let mut held = std::collections::HashMap::new();
    for (part, origin) in (0u32..).zip(&origins) {
        let &Origin::One(number) = origin else { continue };
        let Some(rest) = went(number).filter(|rest| *rest != part) else { continue };
        let (mine, theirs) = (members(joined, part), members(joined, rest));
        let old = |person: &u32| {
            let Some(Some(before)) = before.get(*person as usize) else { return true };
            let recent = now - before.joint.min(now) <= HORIZON_MONTHS;
            recent && named(units, joined, *person, part).all(|(since, _)| since <= before.joint)
        };
        let residents = || mine.iter().filter(|person| homes.get(**person as usize) == Some(&part));
        if rule::in_both(mine, theirs).next().is_some() || !residents().all(old) {
            continue;
        }
        let parties = held.entry(rest).or_insert_with(|| parties(units, joined, rest));
        let own = self::parties(units, joined, part);
        if own.iter().all(|party| !parties.contains(party)) {
            parties.extend(own);
            parts.push((part, rest));
        }
    }
    parts
}

fn members(joined: &Joined, household: u32) -> &[u32] {
    joined.members.get(household as usize).map_or(&[], Vec::as_slice)
}

/// Since when, and by which parties, a person is named in a household.
fn named<'a>(units: &'a Units<'_>, joined: &'a Joined, person: u32, household: u32) -> impl Iterator<Item = (u32, u8)> + 'a {
    let here = move |unit: &&u32| joined.of_unit.get(**unit as usize) == Some(&household);
    units
        .of_person(person)
        .iter()
        .filter(here)
        .flat_map(move |unit| units.memberships(*unit).iter().filter(move |m| m.person == person).map(|m| (m.since, m.party)))
}

fn parties(units: &Units<'_>, joined: &Joined, household: u32) -> Vec<u8> {
    let of = |person: &u32| named(units, joined, *person, household).map(|(_, party)| party).collect::<Vec<_>>();
    members(joined, household).iter().flat_map(of).collect()
}
