//! Numbers that households keep over the months.
//!
//! As the custodian's registry does for persons: a number goes where most of those who bore it are, counting first
//! those who bore it in the latest month; a household to which several numbers come keeps that of most of its
//! residents, then the older. On a separation the larger part keeps the number and the other part bears a new one; on a
//! tie the part with the smallest person number keeps it.

use std::cmp::Reverse;

/// That a resident of a household bore a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    /// The number.
    pub(super) number: u32,
    /// The household's place in the list to be numbered.
    pub(super) household: u32,
    /// Month in which the resident last bore it.
    pub(super) seen: u32,
    /// The resident.
    pub(super) person: u32,
}

/// Where numbers went.
pub(super) struct Numbered {
    /// Number that each household keeps; none for one that keeps none.
    pub(super) kept: Vec<Option<u32>>,
    /// Each number that was claimed and the household where most of those who bore it are, by number.
    pub(super) went: Vec<(u32, u32)>,
}

/// How strong the claims on one number by one household are together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Strength {
    seen: u32,
    residents: u32,
    smallest: Reverse<u32>,
}

/// Numbers that `households` households keep.
pub(super) fn number(mut claims: Vec<Claim>, households: usize) -> Numbered {
    claims.sort_unstable();
    let mut went: Vec<(u32, u32)> = Vec::new();
    let mut kept: Vec<Option<(Strength, Reverse<u32>)>> = vec![None; households];
    for of_number in claims.chunk_by(|a, b| a.number == b.number) {
        let strongest = of_number
            .chunk_by(|a, b| a.household == b.household)
            .filter_map(|of_household| {
                let first = of_household.first()?;
                let seen = of_household.iter().map(|c| c.seen).max()?;
                // Only those who bore it last have a say.
                let latest = of_household.iter().filter(|c| c.seen == seen);
                let smallest = Reverse(latest.clone().map(|c| c.person).min()?);
                Some((Strength { seen, residents: latest.count() as u32, smallest }, first.household, first.number))
            })
            .max_by_key(|(strength, ..)| *strength);
        let Some((strength, household, number)) = strongest else { continue };
        went.push((number, household));
        if let Some(place) = kept.get_mut(household as usize) {
            *place = (*place).max(Some((strength_among_numbers(strength), Reverse(number))));
        }
    }
    Numbered { kept: kept.into_iter().map(|kept| kept.map(|(_, Reverse(number))| number)).collect(), went }
}

/// Between numbers that come to one household the persons' own numbers say nothing: the older number stays.
fn strength_among_numbers(strength: Strength) -> Strength {
    Strength { smallest: Reverse(0), ..strength }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(claims: &[(u32, u32, u32, u32)], households: usize) -> Vec<Option<u32>> {
        let claims = claims.iter().map(|&(number, household, seen, person)| Claim { number, household, seen, person });
        number(claims.collect(), households).kept
    }

    #[test]
    fn the_larger_part_keeps_the_number() {
        assert_eq!(numbered(&[(7, 0, 1, 1), (7, 1, 1, 2), (7, 1, 1, 3)], 2), [None, Some(7)]);
    }

    #[test]
    fn a_tie_goes_to_the_smallest_person() {
        assert_eq!(numbered(&[(7, 0, 1, 5), (7, 1, 1, 2)], 2), [None, Some(7)]);
    }

    #[test]
    fn who_bore_it_last_counts_before_who_left_it_long_ago() {
        assert_eq!(numbered(&[(7, 0, 1, 5), (7, 0, 1, 6), (7, 1, 9, 2)], 2), [None, Some(7)]);
    }

    #[test]
    fn two_households_that_become_one_keep_the_number_of_most_then_the_older() {
        assert_eq!(numbered(&[(7, 0, 1, 5), (4, 0, 1, 6), (7, 0, 1, 8)], 1), [Some(7)]);
        assert_eq!(numbered(&[(7, 0, 1, 5), (4, 0, 1, 6)], 1), [Some(4)]);
    }

    #[test]
    fn a_household_without_history_keeps_none() {
        assert_eq!(numbered(&[], 2), [None, None]);
    }
}
