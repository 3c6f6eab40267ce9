//! One column that holds surname and given names, taken apart.
//!
//! Files write the surname in capitals ("DUPONT Marie"), or everything in one case; then the known given names decide,
//! and failing them the order that the header announces. Marital forms ("née", "épouse") give birth and usage names.

use serde::{Deserialize, Serialize};

use super::headers::{fold, squash};

/// Which comes first where capitals do not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NameOrder {
    /// Surname, then given names.
    #[serde(rename = "nom-prenom")]
    SurnameFirst,
    /// Given names, then surname.
    #[serde(rename = "prenom-nom")]
    GivenFirst,
}

/// A full name taken apart; parts that were not there are blank.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct SplitName {
    pub(crate) birth: String,
    pub(crate) usage: String,
    pub(crate) given: String,
}

/// Takes a full name apart. `is_given` tells whether a folded word is a known given name.
pub(crate) fn split_full_name(text: &str, order: NameOrder, is_given: &dyn Fn(&str) -> bool) -> SplitName {
    let words: Vec<&str> = text.split_whitespace().collect();
    let titles = words.iter().take_while(|w| is_title(w)).count().min(words.len().saturating_sub(1));
    let words = words.get(titles..).unwrap_or_default();
    let marker = words.iter().position(|w| marital(w).is_some());
    let Some((at, kind)) = marker.and_then(|at| words.get(at).and_then(|w| marital(w)).map(|kind| (at, kind))) else {
        let (surname, given) = split_words(words, order, is_given);
        return SplitName { birth: surname, given, ..SplitName::default() };
    };
    let (before, given_before) = split_words(words.get(..at).unwrap_or_default(), order, is_given);
    let (after, given_after) = split_words(words.get(at + 1..).unwrap_or_default(), order, is_given);
    let given = if given_before.is_empty() { given_after } else { given_before };
    match kind {
        Marital::Born => SplitName { birth: after, usage: before, given },
        Marital::MarriedTo => SplitName { birth: before, usage: after, given },
    }
}

fn split_words(words: &[&str], order: NameOrder, is_given: &dyn Fn(&str) -> bool) -> (String, String) {
    let join = |part: &[&str]| part.join(" ");
    if let Some(at) = words.iter().position(|w| w.ends_with(',')) {
        let (surname, given) = words.split_at(at + 1);
        return (join(surname).trim_end_matches(',').to_owned(), join(given));
    }
    if words.len() < 2 {
        return (join(words), String::new());
    }
    let capital: Vec<bool> = words.iter().map(|w| is_capital(w)).collect();
    if capital.iter().any(|c| *c) && !capital.iter().all(|c| *c) {
        return by_capitals(words, &capital);
    }
    let known = |word: &&str| word.split('-').all(|part| is_given(&fold(part)));
    let at = match order {
        NameOrder::SurnameFirst => {
            let given = words.iter().rev().take_while(|w| known(w)).count().min(words.len() - 1);
            if given > 0 { words.len() - given } else { surname_length(words) }
        }
        NameOrder::GivenFirst => words.iter().take_while(|w| known(w)).count().clamp(1, words.len() - 1),
    };
    let (first, second) = words.split_at(at);
    match order {
        NameOrder::SurnameFirst => (join(first), join(second)),
        NameOrder::GivenFirst => (join(second), join(first)),
    }
}

/// Words in capitals are the surname, with the small particles that lead to them.
fn by_capitals(words: &[&str], capital: &[bool]) -> (String, String) {
    let (mut surname, mut given) = (Vec::new(), Vec::new());
    for (i, word) in words.iter().enumerate() {
        let leads = is_particle(word)
            && capital.iter().zip(words).skip(i + 1).find(|(c, w)| **c || !is_particle(w)).is_some_and(|(c, _)| *c);
        if capital.get(i).copied().unwrap_or_default() || leads {
            surname.push(*word);
        } else {
            given.push(*word);
        }
    }
    (surname.join(" "), given.join(" "))
}

/// Words of a surname at the start: particles and one word, leaving one for the given name.
fn surname_length(words: &[&str]) -> usize {
    (words.iter().take_while(|w| is_particle(w)).count() + 1).clamp(1, words.len() - 1)
}

fn is_capital(word: &str) -> bool {
    word.chars().filter(|c| c.is_alphabetic()).count() >= 2 && !word.chars().any(char::is_lowercase)
}

fn is_particle(word: &str) -> bool {
    matches!(
        fold(word).as_str(),
        "de" | "du"
            | "des"
            | "d'"
            | "la"
            | "le"
            | "les"
            | "da"
            | "dos"
            | "do"
            | "di"
            | "del"
            | "van"
            | "von"
            | "ben"
            | "bin"
            | "el"
            | "al"
            | "ould"
            | "ait"
            | "abou"
    )
}

fn is_title(word: &str) -> bool {
    matches!(squash(word).as_str(), "m" | "mr" | "mme" | "mlle" | "monsieur" | "madame" | "mademoiselle")
}

enum Marital {
    Born,
    MarriedTo,
}

fn marital(word: &str) -> Option<Marital> {
    match squash(word).as_str() {
        "nee" => Some(Marital::Born),
        // Without its accent this is a surname.
        "ne" if word.contains(['é', 'É']) => Some(Marital::Born),
        "epouse" | "ep" | "epse" | "epoux" | "veuve" | "vve" => Some(Marital::MarriedTo),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str, order: NameOrder) -> (String, String, String) {
        let known = |word: &str| ["marie", "anne", "jean", "pierre", "awa"].contains(&word);
        let name = split_full_name(text, order, &known);
        (name.birth, name.usage, name.given)
    }

    #[test]
    fn full_names_are_taken_apart() {
        use NameOrder::{GivenFirst, SurnameFirst};
        let cases = [
            ("DUPONT Marie", SurnameFirst, ("DUPONT", "", "Marie")),
            ("Marie Anne DUPONT", SurnameFirst, ("DUPONT", "", "Marie Anne")),
            ("M. LE GOFF Jean-Pierre", SurnameFirst, ("LE GOFF", "", "Jean-Pierre")),
            ("Jean de la TOUR", GivenFirst, ("de la TOUR", "", "Jean")),
            ("DUPONT DURAND MARIE ANNE", SurnameFirst, ("DUPONT DURAND", "", "MARIE ANNE")),
            ("marie-anne dupont durand", GivenFirst, ("dupont durand", "", "marie-anne")),
            ("BEN SALAH XOLA", SurnameFirst, ("BEN SALAH", "", "XOLA")),
            ("Dupont, Marie", SurnameFirst, ("Dupont", "", "Marie")),
            ("Mme DUPONT née MARTIN Awa", SurnameFirst, ("MARTIN", "DUPONT", "Awa")),
            ("MARTIN épouse DUPONT Awa", SurnameFirst, ("MARTIN", "DUPONT", "Awa")),
            ("DUPONT", SurnameFirst, ("DUPONT", "", "")),
            ("", SurnameFirst, ("", "", "")),
            ("Mme", SurnameFirst, ("Mme", "", "")),
        ];
        for (text, order, (birth, usage, given)) in cases {
            assert_eq!(parts(text, order), (birth.to_owned(), usage.to_owned(), given.to_owned()), "{text}");
        }
    }
}
