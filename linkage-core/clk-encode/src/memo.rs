//! What was computed for a text, kept while it pays and within a bound.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// Most bytes that one memo keeps: 37,000 cells of 1,024-bit filters.
const MOST_BYTES: usize = 8 << 20;
/// What an entry takes beside its letters and values.
const ENTRY: usize = 96;

/// Slices by text. When it is full it takes no more; had it been of little use by then, it is emptied and stays so.
pub(crate) struct Memo<T> {
    held: HashMap<Box<str>, Box<[T]>, RandomState>,
    bytes: usize,
    hits: usize,
    open: bool,
}

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self { held: HashMap::default(), bytes: 0, hits: 0, open: true }
    }
}

impl<T: Copy> Memo<T> {
    /// One that keeps nothing.
    pub(crate) fn closed() -> Self {
        Self { open: false, ..Self::default() }
    }

    pub(crate) fn get(&mut self, text: &str) -> Option<&[T]> {
        if self.held.is_empty() {
            return None;
        }
        let found = self.held.get(text)?;
        self.hits += 1;
        Some(found)
    }

    pub(crate) fn put(&mut self, text: &str, values: &[T]) {
        if !self.open {
            return;
        }
        self.bytes += text.len() + size_of_val(values) + ENTRY;
        if self.bytes <= MOST_BYTES {
            self.held.insert(text.into(), values.into());
            return;
        }
        self.open = false;
        if self.hits < self.held.len() {
            self.held = HashMap::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_kept_and_what_does_not_is_dropped() {
        let values = [7u64; 16];
        let (mut useful, mut useless) = (Memo::default(), Memo::default());
        for at in 0..100_000 {
            let text = at.to_string();
            assert_eq!(useful.get(&text), None);
            useful.put(&text, &values);
            useless.put(&text, &values);
            (0..2).for_each(|_| assert_eq!(useful.get("3"), (at >= 3).then_some(&values[..])));
        }
        assert!((30_000..40_000).contains(&useful.held.len()), "{} are held", useful.held.len());
        assert_eq!(useless.held.len(), 0);
        useless.put("x", &values);
        assert_eq!(useless.get("x"), None);
        let mut closed = Memo::closed();
        closed.put("x", &values);
        assert_eq!(closed.get("x"), None);
    }
}
