//! Name words in every view that a pass set takes: their texts and how frequent they are.

use zeroize::Zeroize;

use crate::memo::{Memo, Taken};
use crate::tables::{self, Frequencies, View};

/// A word's views, erased on drop.
pub(crate) struct Views {
    /// One after the other.
    texts: String,
    views: [Viewed; View::COUNT],
}

#[derive(Clone, Copy, Default)]
struct Viewed {
    start: u16,
    end: u16,
    frequencies: Frequencies,
    bits: f32,
}

impl Views {
    /// A word seen by `views`, each taken to tell `cap` bits at most.
    fn new(word: &str, views: &[View], cap: f32) -> Self {
        let mut made = Self { texts: String::with_capacity(2 * word.len() + 32), views: Default::default() };
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

impl Drop for Views {
    fn drop(&mut self) {
        self.texts.zeroize();
    }
}

/// The words of one record after the other.
pub(crate) struct Words {
    memo: Memo<Views>,
    views: Vec<View>,
    cap: f32,
}

impl Words {
    /// Words seen by `views`, each taken to tell `cap` bits at most.
    pub(crate) fn new(views: Vec<View>, cap: f32) -> Self {
        Self { memo: Memo::default(), views, cap }
    }
    /// A word with its views.
    pub(crate) fn take(&mut self, word: &str) -> Taken<Views> {
        self.memo.take(word, |word| Views::new(word, &self.views, self.cap))
    }
    /// Puts a word back for the next record that has it.
    pub(crate) fn keep(&mut self, taken: Taken<Views>) {
        self.memo.keep(taken);
    }
}
