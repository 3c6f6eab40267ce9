//! Name words in every view that a pass set takes, kept for the next record that has them.
//!
//! A view's text and how frequent it is take several look-ups in tables of some 200,000 names; and names repeat. Kept words
//! lie in a table of fixed size where a word has one place: whoever comes later takes it. Words are erased when dropped.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use zeroize::Zeroize;

use crate::tables::{self, Frequencies, View};

/// Places for kept words: some ten megabytes.
const PLACES: usize = 1 << 15;

/// A word with its views.
pub(crate) struct Word {
    /// The word, then its views one after the other.
    texts: String,
    word_end: usize,
    views: [Viewed; View::COUNT],
}

#[derive(Clone, Copy, Default)]
struct Viewed {
    start: u16,
    end: u16,
    frequencies: Frequencies,
    bits: f32,
}

impl Word {
    /// A word seen by `views`, each taken to tell `cap` bits at most.
    fn new(word: &str, views: &[View], cap: f32) -> Self {
        let mut made =
            Self { texts: String::with_capacity(3 * word.len() + 32), word_end: word.len(), views: Default::default() };
        made.texts.push_str(word);
        for &view in views {
            let mut text = view.of(word);
            let frequencies = tables::names().frequencies(view, &text).at_least(cap);
            // Words are cut to 32 letters when they are read; what a longer one would not hold is an empty text.
            let start = u16::try_from(made.texts.len()).unwrap_or(u16::MAX);
            made.texts.push_str(&text);
            text.zeroize();
            let end = u16::try_from(made.texts.len()).unwrap_or(start);
            made.views[view as usize] = Viewed { start, end, frequencies, bits: tables::names().surprisal(frequencies) };
        }
        made
    }
    /// The word itself.
    pub(crate) fn word(&self) -> &str {
        self.texts.get(..self.word_end).unwrap_or_default()
    }
    /// The text of a view; empty for one that was not asked for.
    pub(crate) fn text(&self, view: View) -> &str {
        let Viewed { start, end, .. } = self.views[view as usize];
        self.texts.get(usize::from(start)..usize::from(end)).unwrap_or_default()
    }
    /// How frequent the view is among the people of each origin.
    pub(crate) fn frequencies(&self, view: View) -> Frequencies {
        self.views[view as usize].frequencies
    }
    /// Surprisal of the view.
    pub(crate) fn bits(&self, view: View) -> f32 {
        self.views[view as usize].bits
    }
}

impl Drop for Word {
    fn drop(&mut self) {
        self.texts.zeroize();
    }
}

/// Words kept for the next record.
pub(crate) struct Words {
    places: Vec<Option<Box<Word>>>,
    views: Vec<View>,
    cap: f32,
}

/// A word taken out of [`Words`], with its place.
pub(crate) struct Taken {
    place: usize,
    pub(crate) word: Box<Word>,
}

impl Words {
    /// Room for words seen by `views`, each taken to tell `cap` bits at most.
    pub(crate) fn new(views: Vec<View>, cap: f32) -> Self {
        Self { places: Vec::new(), views, cap }
    }

    /// Takes a word out; made when it was not kept.
    pub(crate) fn take(&mut self, word: &str) -> Taken {
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        // A place that many words share by intent costs time only.
        let place = FixedState::default().hash_one(word) as usize % PLACES;
        let kept = self.places.get_mut(place).and_then(Option::take).filter(|kept| kept.word() == word);
        Taken { place, word: kept.unwrap_or_else(|| Box::new(Word::new(word, &self.views, self.cap))) }
    }

    /// Puts a word back to its place.
    pub(crate) fn keep(&mut self, taken: Taken) {
        if let Some(place) = self.places.get_mut(taken.place) {
            *place = Some(taken.word);
        }
    }
}
