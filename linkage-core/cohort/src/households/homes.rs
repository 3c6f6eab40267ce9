//! Where each person resides, of several households that name them.
//!
//! A grown person resides where a party named them last: a file opened later knows of the separation that others have
//! not heard of; then where more parties name them, then in the smaller household, which is the one that a party took
//! the trouble to tell apart. A minor with two homes resides where more parties name them, then where they have been
//! named for longest, so that they do not move when the other parent's file is opened. Minors whose grown persons all
//! reside elsewhere go with them, when the two households are one by the rule and only kept apart because a party holds
//! them apart; else a false link of the mother would empty her household.

use std::cmp::Reverse;

use super::ages::Age;
use super::rule;
use super::units::{Joined, Units};

/// No household.
pub(super) const NOWHERE: u32 = u32::MAX;

/// Household of each person (local numbers on both sides); [`NOWHERE`] for persons whom no reference names.
pub(super) fn homes(units: &Units<'_>, joined: &Joined, ages: &[Age]) -> Vec<u32> {
    let mut homes: Vec<u32> = (0u32..).zip(ages).map(|(person, age)| home(units, joined, person, *age)).collect();
    let mut grown_residents = vec![false; joined.members.len()];
    for (home, age) in homes.iter().zip(ages) {
        if *age != Age::Minor
            && let Some(place) = grown_residents.get_mut(*home as usize)
        {
            *place = true;
        }
    }
    let age = |person: u32| ages.get(person as usize).copied().unwrap_or(Age::Unknown);
    let is_minor = |person: u32| age(person) == Age::Minor;
    for (household, members) in (0u32..).zip(&joined.members) {
        if grown_residents.get(household as usize) == Some(&true) {
            continue;
        }
        let Some(grown) = members.iter().find(|m| !is_minor(**m)) else { continue };
        let follows = homes.get(*grown as usize).copied().unwrap_or(NOWHERE);
        let Some(there) = joined.members.get(follows as usize) else { continue };
        if !rule::one_household(members, there, age) {
            continue;
        }
        for member in members.iter().filter(|m| is_minor(**m)) {
            if let Some(home) = homes.get_mut(*member as usize).filter(|home| **home == household) {
                *home = follows;
            }
        }
    }
    homes
}

fn home(units: &Units<'_>, joined: &Joined, person: u32, age: Age) -> u32 {
    let household = |unit: u32| joined.of_unit.get(unit as usize).copied().unwrap_or(NOWHERE);
    let named = units.of_person(person);
    let Some(&first) = named.first() else { return NOWHERE };
    let only = household(first);
    if named.iter().all(|unit| household(*unit) == only) {
        return only;
    }
    // Household, parties that name the person there, first and last month in which one began to.
    let mut choices: Vec<(u32, u32, u32, u32)> = Vec::new();
    for &unit in named {
        let Some(since) = units.memberships(unit).iter().find(|m| m.person == person).map(|m| m.since) else { continue };
        match choices.iter_mut().find(|c| c.0 == household(unit)) {
            Some((_, parties, oldest, newest)) => {
                *parties += 1;
                *oldest = since.min(*oldest);
                *newest = since.max(*newest);
            }
            None => choices.push((household(unit), 1, since, since)),
        }
    }
    let chosen = if age == Age::Minor {
        choices.iter().max_by_key(|(household, parties, oldest, _)| (*parties, Reverse(*oldest), Reverse(*household)))
    } else {
        let size = |household: u32| joined.members.get(household as usize).map_or(0, Vec::len);
        let key = |household: u32, parties, newest| (newest, parties, Reverse(size(household)), Reverse(household));
        choices.iter().max_by_key(|(household, parties, _, newest)| key(*household, *parties, *newest))
    };
    chosen.map_or(NOWHERE, |c| c.0)
}
