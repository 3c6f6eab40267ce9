//! The word that somebody meant to write: the known one nearest to what stands in the file.
//!
//! Used in messages only; nothing is ever read as another word than it is.

/// The known word nearest to `word`, when near enough to be meant (a third of its letters changed at most).
pub(crate) fn nearest<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    if word.len() > 64 {
        return None;
    }
    known
        .map(|k| (edits(word, k), k))
        .filter(|(distance, k)| *distance <= (k.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

/// Levenshtein distance, in characters.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut last = i + 1;
        let mut next = vec![last];
        for (cb, pair) in b.iter().zip(row.windows(2)) {
            let [diagonal, above] = pair else { continue };
            last = (last + 1).min(above + 1).min(diagonal + usize::from(ca != *cb));
            next.push(last);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_counted() {
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("signig_key", "signing_key"), 1);
        assert_eq!(edits("kitten", "sitting"), 3);
    }

    #[test]
    fn only_near_words_are_suggested() {
        assert_eq!(nearest("sealin_key", ["signing_key", "sealing_key"].into_iter()), Some("sealing_key"));
        assert_eq!(nearest("couleur", ["signing_key", "name"].into_iter()), None);
    }
}
