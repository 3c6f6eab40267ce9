//! What was worked out for a word, kept for the next record that has it: names repeat, and tables are far from the
//! processor.
//!
//! A table of fixed size in which a word has four places; among them, who was last asked for comes first and who comes
//! last goes. Words are erased when they go.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use zeroize::Zeroize;

/// Sets of places: with some hundred bytes a word, ten megabytes or so.
const SETS: usize = 1 << 13;
const WAYS: usize = 4;

/// Kept values by word.
pub(crate) struct Memo<T> {
    sets: Vec<[Place<T>; WAYS]>,
}

struct Place<T> {
    /// Bits of the word's hash that the set does not tell: most other words are passed over without a look at them.
    tag: u32,
    kept: Option<Box<Kept<T>>>,
}

/// A word and what was worked out for it.
struct Kept<T> {
    word: String,
    value: T,
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        self.word.zeroize();
    }
}

/// A word taken out of a memo, with its place.
pub(crate) struct Taken<T> {
    set: usize,
    tag: u32,
    kept: Box<Kept<T>>,
}

impl<T> Taken<T> {
    pub(crate) fn word(&self) -> &str {
        &self.kept.word
    }
    pub(crate) fn value(&self) -> &T {
        &self.kept.value
    }
}

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self { sets: Vec::new() }
    }
}

impl<T> Memo<T> {
    /// What is kept for a word; worked out when it is not.
    pub(crate) fn get(&mut self, word: &str, work: impl FnOnce(&str) -> T) -> Option<&T> {
        let taken = self.take(word, work);
        self.keep(taken)
    }

    /// Takes a word out; worked out when it is not kept.
    pub(crate) fn take(&mut self, word: &str, work: impl FnOnce(&str) -> T) -> Taken<T> {
        if self.sets.is_empty() {
            self.sets.resize_with(SETS, || std::array::from_fn(|_| Place { tag: 0, kept: None }));
        }
        // A set that many words share by intent costs time only.
        let hash = FixedState::default().hash_one(word);
        let (set, tag) = (hash as usize % SETS, (hash >> 32) as u32);
        let places = self.sets.get_mut(set).into_iter().flatten();
        let kept = places
            .filter(|place| place.tag == tag && place.kept.as_ref().is_some_and(|kept| kept.word == word))
            .find_map(|place| place.kept.take());
        Taken { set, tag, kept: kept.unwrap_or_else(|| Box::new(Kept { word: word.to_owned(), value: work(word) })) }
    }

    /// Puts a word back, before those last asked for earlier.
    pub(crate) fn keep(&mut self, taken: Taken<T>) -> Option<&T> {
        let places = self.sets.get_mut(taken.set)?;
        let free = places.iter().position(|place| place.kept.is_none()).unwrap_or(WAYS - 1);
        places.get_mut(..=free)?.rotate_right(1);
        let first = places.first_mut()?;
        first.tag = taken.tag;
        Some(&first.kept.insert(taken.kept).value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_its_own_value_however_many_there_are() {
        let mut memo = Memo::default();
        let words: Vec<String> = (0..3 * SETS * WAYS / 2).map(|n| format!("W{n}")).collect();
        let mut worked = 0;
        for _ in 0..2 {
            for (n, word) in words.iter().enumerate() {
                let value = memo.get(word, |_| {
                    worked += 1;
                    n
                });
                assert_eq!(value, Some(&n));
            }
        }
        assert!(worked > words.len());
        let last = words.last().unwrap();
        assert_eq!(memo.get(last, |_| 0), Some(&(words.len() - 1)));
    }

    #[test]
    fn a_word_that_was_taken_out_is_worked_out_for_who_asks_meanwhile() {
        let mut memo = Memo::default();
        let taken = memo.take("A", |_| 1);
        assert_eq!((taken.word(), taken.value(), memo.get("A", |_| 2)), ("A", &1, Some(&2)));
        memo.keep(taken);
        assert_eq!(memo.get("A", |_| 3), Some(&1));
    }
}
