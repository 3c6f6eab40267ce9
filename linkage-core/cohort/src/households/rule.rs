//! What makes references of two parties one household.
//!
//! Half of the smaller one's persons must be the same, and, where ages are known, more than half of its adults: a
//! reference that names a part of the other's persons always joins it, one that has persons of its own joins only with
//! a majority of adults in common. So two former partners' references, which share one adult of two, and two homes
//! that share a child, stay two; and so do two families that one false link joins. Where ages are not known, half of
//! all persons is enough. References that name minors alone (a child in care, a school canteen) are no home of their
//! own and join the household that shares most.

use super::ages::Age;

/// A reference that names more persons is a centre or a file number, not a household: its rows count as without one.
pub const MAX_MEMBERS: usize = 20;
/// A person whom more references name at once is several persons under one link, and says nothing about who lives
/// with whom.
pub const MAX_REFERENCES: usize = 16;

/// Whether households with the members `a` and `b` (local person numbers, rising) are one.
pub(super) fn one_household(a: &[u32], b: &[u32], age: impl Fn(u32) -> Age) -> bool {
    let smaller = a.len().min(b.len());
    let (mut shared, mut shared_grown) = (0, 0);
    for person in in_both(a, b) {
        shared += 1;
        shared_grown += usize::from(age(person) != Age::Minor);
    }
    if shared == 0 || 2 * shared < smaller {
        return false;
    }
    let count = |members: &[u32], of: Age| members.iter().filter(|m| age(**m) == of).count();
    let (unknown_a, unknown_b) = (count(a, Age::Unknown), count(b, Age::Unknown));
    let (grown_a, grown_b) = (count(a, Age::Adult) + unknown_a, count(b, Age::Adult) + unknown_b);
    if grown_a == 0 || grown_b == 0 {
        return true;
    }
    let ages_known = unknown_a == 0 && unknown_b == 0;
    shared_grown > 0 && (!ages_known || 2 * shared_grown > grown_a.min(grown_b))
}

/// Members of both, rising.
pub(super) fn in_both<'a>(a: &'a [u32], b: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
    let (mut left, mut right) = (a.iter().peekable(), b.iter().peekable());
    std::iter::from_fn(move || {
        loop {
            let (x, y) = (**left.peek()?, **right.peek()?);
            if x <= y {
                left.next();
            }
            if y <= x {
                right.next();
            }
            if x == y {
                return Some(x);
            }
        }
    })
}

/// Members of either, rising.
pub(super) fn in_either(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut all: Vec<u32> = a.iter().chain(b).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// How strongly two references call for each other, larger first: adults in common, then persons in common by all
/// their persons (Jaccard) in 65,536ths, then persons in common.
pub(super) fn weight(shared_grown: u32, shared: u32, a: usize, b: usize) -> (u32, u32, u32) {
    let either = (a + b).saturating_sub(shared as usize).max(1) as u32;
    (shared_grown, (shared << 16) / either, shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Persons below 10 are adults, from 10 minors, from 20 of unknown age.
    fn age(person: u32) -> Age {
        match person {
            0..10 => Age::Adult,
            10..20 => Age::Minor,
            _ => Age::Unknown,
        }
    }

    #[test]
    fn what_is_one_household() {
        for (a, b, one) in [
            // The head alone, a part, all.
            (vec![1], vec![1, 2, 10], true),
            (vec![2, 10], vec![1, 2, 10], true),
            (vec![1, 2, 10], vec![1, 2, 10], true),
            // A child in two homes.
            (vec![1, 10], vec![2, 10], false),
            (vec![1, 10, 11], vec![2, 3, 10, 11], false),
            // A child named alone.
            (vec![10], vec![2, 10], true),
            // A new partner, with and without children.
            (vec![1, 2], vec![1, 3], false),
            (vec![1, 2, 10, 11], vec![1, 3, 10, 11], false),
            // Two families that a false link between the mothers joins.
            (vec![1, 10, 11, 12], vec![1, 13, 14], false),
            // Two of three adults.
            (vec![1, 2, 3], vec![1, 2, 4, 10], true),
            // Ages unknown: half is enough, less is not.
            (vec![20, 21], vec![20, 22], true),
            (vec![20, 21, 22], vec![20, 23, 24], false),
            (vec![1, 2], vec![3], false),
        ] {
            assert_eq!(one_household(&a, &b, age), one, "{a:?} {b:?}");
            assert_eq!(one_household(&b, &a, age), one, "{b:?} {a:?}");
        }
    }

    #[test]
    fn sets_and_weights() {
        assert_eq!(in_both(&[1, 3, 5], &[2, 3, 4, 5, 6]).collect::<Vec<_>>(), [3, 5]);
        assert_eq!(in_either(&[1, 3], &[2, 3]), [1, 2, 3]);
        assert!(weight(1, 3, 4, 3) > weight(1, 1, 4, 1));
        assert!(weight(2, 2, 2, 2) > weight(1, 3, 3, 3));
    }
}
