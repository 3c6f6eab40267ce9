//! Folding to upper-case ASCII and the words of a name.
//!
//! Two services that write one name must come to the same words: accents, ligatures, mis-decoded accents, titles,
//! remarks in brackets, particles, hyphens and apostrophes (docs/protocol.md, section 3). The tables of this module are
//! part of the encoding profile: a change needs a new profile version, because words enter block keys.
//! Letters come apart by Unicode NFKD; the few Latin letters without a decomposition have a table of their own.

use unicode_normalization::UnicodeNormalization;

/// Longest word kept, in letters; longer ones are cut.
pub const MAX_WORD_LEN: usize = 32;
/// Most words kept of one field.
pub const MAX_WORDS: usize = 8;
/// Most bytes of a field that are read; no name is longer, and a damaged file may hold anything.
const MAX_FIELD_LEN: usize = 400;

/// Which habits apply to a field of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// A surname: single letters such as `D` stand for particles.
    Surname,
    /// Given names: single letters are initials.
    Given,
}

/// Titles and remarks inside a name field.
const DROPPED: &[&str] = &[
    "M",
    "MR",
    "MM",
    "MME",
    "MLLE",
    "MELLE",
    "MLE",
    "MONSIEUR",
    "MADAME",
    "MADEMOISELLE",
    "MRS",
    "DR",
    "DOCTEUR",
    "ME",
    "MAITRE",
    "NEE",
    "EPOUSE",
    "EPSE",
    "EPX",
    "EP",
    "VEUVE",
    "VVE",
    "DIVORCEE",
    "DIT",
    "DITE",
    "ALIAS",
    "FEU",
];
/// What stands in a field when the name is not known.
const PLACEHOLDERS: &[&str] = &[
    "INCONNU",
    "INCONNUE",
    "NEANT",
    "SNP",
    "XNP",
    "SANSNOM",
    "SANSPRENOM",
    "NC",
    "NR",
    "NSP",
    "NULL",
    "VIDE",
    "NONRENSEIGNE",
    "XX",
    "XXX",
    "XXXX",
    "XXXXX",
    "ANONYME",
];
/// Joined with the word that follows, so that BEN HADDOU is BENHADDOU.
const PARTICLES: &[&str] = &[
    "DE", "DU", "DES", "LE", "LA", "LES", "DA", "DO", "DOS", "DAS", "DI", "DEL", "DELLA", "DEGLI", "EL", "AL", "AIT", "OULD",
    "OULED", "BEN", "BENT", "BINT", "BIN", "IBN", "BOU", "BEL", "ABD", "ABDEL", "ABDUL", "ABU", "SAINT", "SAINTE", "SAN",
    "SANTA", "VAN", "VON", "VANDER", "DEN", "DER", "TER", "TEN", "MAC", "MC",
];
/// Particles in surnames only.
const LETTER_PARTICLES: &[&str] = &["D", "L", "N", "O"];

/// The words of a name, upper-case A-Z, in order, each once; empty when there is no name.
///
/// Applying it to its own words changes nothing.
pub fn name_words(text: &str, kind: NameKind) -> Vec<String> {
    let folded = fold(&without_remarks(text));
    let mut words: Vec<String> = folded.split(' ').filter_map(repaired_word).collect();
    while settle(&mut words, kind) {}
    let mut seen = Vec::with_capacity(words.len());
    for word in words {
        if !seen.contains(&word) && seen.len() < MAX_WORDS {
            seen.push(word);
        }
    }
    seen
}

/// The words of a place or an address, upper-case A-Z and 0-9, in order. Brackets are kept apart but not dropped.
pub fn plain_words(text: &str) -> Vec<String> {
    fold(text).split(' ').filter(|w| !w.is_empty()).take(2 * MAX_WORDS).map(|w| w.chars().take(MAX_WORD_LEN).collect()).collect()
}

/// Whether the text holds letters of another script than Latin and no Latin one.
pub fn is_foreign_script(text: &str) -> bool {
    text.chars().any(char::is_alphabetic) && !fold(text).bytes().any(|b| b.is_ascii_uppercase())
}

/// Upper-case letters A-Z, digits and single spaces; everything else became one of these or a separator.
/// An apostrophe joins (D'ALMEIDA is DALMEIDA), a hyphen separates.
pub fn fold(text: &str) -> String {
    let mut end = text.len().min(MAX_FIELD_LEN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.get(..end).unwrap_or_default();
    let mut out = String::with_capacity(text.len() + 8);
    if text.is_ascii() {
        text.chars().for_each(|c| push_folded(&mut out, c));
    } else {
        let repaired = without_mojibake(text);
        // Spacing accents decompose to a space and a mark: they are apostrophes in names, so that comes first.
        for c in repaired.chars().map(apostrophe).nfkd() {
            if unicode_normalization::char::is_combining_mark(c) {
                continue;
            }
            match undecomposed(c) {
                Some(letters) => out.push_str(letters),
                None => push_folded(&mut out, c),
            }
        }
    }
    out.truncate(out.trim_end().len());
    out
}

fn push_folded(out: &mut String, c: char) {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => out.push(c.to_ascii_uppercase()),
        // What a lost letter leaves behind; dropping it keeps the word whole.
        '\'' | '\u{fffd}' | '?' => {}
        _ if !out.is_empty() && !out.ends_with(' ') => out.push(' '),
        _ => {}
    }
}

fn apostrophe(c: char) -> char {
    match c {
        '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{02bc}' | '\u{02bb}' | '\u{02b9}' | '\u{2032}' | '\u{b4}' | '`' | '\u{92}' => {
            '\''
        }
        _ => c,
    }
}

/// Latin letters that NFKD leaves whole. Frozen with the profile.
fn undecomposed(c: char) -> Option<&'static str> {
    Some(match c {
        'œ' | 'Œ' => "OE",
        'æ' | 'Æ' => "AE",
        'ß' | 'ẞ' => "SS",
        'ø' | 'Ø' => "O",
        'ł' | 'Ł' => "L",
        'đ' | 'Đ' | 'ð' | 'Ð' => "D",
        'þ' | 'Þ' => "TH",
        'ı' => "I",
        'ħ' | 'Ħ' => "H",
        'ŋ' | 'Ŋ' => "N",
        'ŧ' | 'Ŧ' => "T",
        'ƒ' => "F",
        'ə' | 'Ə' => "E",
        'ɓ' | 'Ɓ' => "B",
        'ɗ' | 'Ɗ' => "D",
        'ƴ' | 'Ƴ' => "Y",
        'ɛ' | 'Ɛ' => "E",
        'ɔ' | 'Ɔ' => "O",
        _ => return None,
    })
}

/// Puts together letters whose two UTF-8 bytes were read as Windows-1252 or ISO-8859-1 ("Ã©" for "é").
fn without_mojibake(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let lead = c as u32;
        if (0xc2..=0xc5).contains(&lead)
            && let Some(next) = chars.peek().copied().and_then(continuation)
            && let Some(repaired) = char::from_u32((lead & 0x1f) << 6 | next)
        {
            out.push(repaired);
            chars.next();
        } else {
            out.push(c);
        }
    }
    out
}

/// The six bits of a UTF-8 continuation byte that was read as Windows-1252.
fn continuation(c: char) -> Option<u32> {
    /// Windows-1252, 0x80 to 0x9f; the five unassigned bytes stand for themselves.
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’', '“',
        '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    let byte = match c as u32 {
        byte @ 0x80..=0xbf => byte,
        _ => 0x80 + HIGH.iter().position(|high| *high == c)? as u32,
    };
    Some(byte & 0x3f)
}

/// Drops what stands in brackets; an unclosed bracket drops the rest.
fn without_remarks(text: &str) -> String {
    let mut depth = 0u32;
    text.chars()
        .filter_map(|c| match c {
            '(' | '[' | '{' => {
                depth += 1;
                Some(' ')
            }
            ')' | ']' | '}' => {
                depth = depth.saturating_sub(1);
                Some(' ')
            }
            _ => (depth == 0).then_some(c),
        })
        .collect()
}

/// Letters only. Digits that stand for letters inside a word (S1SSE, from character recognition) become them; a word
/// that is mostly digits is no name.
fn repaired_word(word: &str) -> Option<String> {
    let letters = word.bytes().filter(u8::is_ascii_uppercase).count();
    if letters == 0 || letters < word.len() - letters {
        return None;
    }
    let repaired = word.chars().filter_map(|c| match c {
        '0' => Some('O'),
        '1' => Some('I'),
        '2' => Some('Z'),
        '4' => Some('A'),
        '5' => Some('S'),
        '6' => Some('G'),
        '8' => Some('B'),
        'A'..='Z' => Some(c),
        _ => None,
    });
    Some(repaired.take(MAX_WORD_LEN).collect())
}

/// One round of dropping titles and joining particles; `false` when nothing changed. Every change leaves fewer words.
fn settle(words: &mut Vec<String>, kind: NameKind) -> bool {
    let before = words.len();
    words.retain(|w| !DROPPED.contains(&w.as_str()) && !PLACEHOLDERS.contains(&w.as_str()));
    let is_particle =
        |w: &str| PARTICLES.contains(&w) || kind == NameKind::Surname && LETTER_PARTICLES.contains(&w) || w == "ST" || w == "STE";
    let mut out: Vec<String> = Vec::with_capacity(words.len());
    let mut pending = String::new();
    for word in words.drain(..) {
        if is_particle(&word) {
            pending.push_str(match word.as_str() {
                "ST" => "SAINT",
                "STE" => "SAINTE",
                particle => particle,
            });
        } else {
            pending.push_str(&word);
            out.push(std::mem::take(&mut pending));
        }
        pending.truncate(MAX_WORD_LEN);
    }
    if !pending.is_empty() {
        out.push(pending);
    }
    out.iter_mut().for_each(|w| w.truncate(MAX_WORD_LEN));
    // An initial says little beside a whole word.
    if out.iter().any(|w| w.len() > 1) {
        out.retain(|w| w.len() > 1);
    }
    *words = out;
    words.len() < before
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn surname(text: &str) -> String {
        name_words(text, NameKind::Surname).join(" ")
    }
    fn given(text: &str) -> String {
        name_words(text, NameKind::Given).join(" ")
    }

    #[test]
    fn accents_ligatures_and_letters_without_decomposition() {
        for (text, folded) in [
            ("Lefèvre", "LEFEVRE"),
            ("Lœwe Æsop", "LOEWE AESOP"),
            ("Weiß", "WEISS"),
            ("Sørensen", "SORENSEN"),
            ("Łukasz", "LUKASZ"),
            ("Đorđević", "DORDEVIC"),
            ("Þór Ðan", "THOR DAN"),
            ("Işık", "ISIK"),
            ("N\u{303}un\u{303}ez", "NUNEZ"),
            ("Ｄｕｐｏｎｔ", "DUPONT"),
        ] {
            assert_eq!(fold(text), folded);
        }
    }

    #[test]
    fn accents_that_were_decoded_wrongly_or_lost() {
        assert_eq!(surname("LefÃ¨vre"), "LEFEVRE");
        assert_eq!(surname("CÅ“ur"), "COEUR");
        assert_eq!(surname("Ã‰mile"), "EMILE");
        assert_eq!(surname("LefÃ"), "LEFA");
        assert_eq!(surname("B\u{fffd}ziers"), "BZIERS");
        assert_eq!(surname("Lef?vre"), "LEFVRE");
    }

    #[test]
    fn titles_and_remarks() {
        assert_eq!(surname("MME BARRY"), "BARRY");
        assert_eq!(surname("M. DUPONT (décédé)"), "DUPONT");
        assert_eq!(surname("DUPONT née MARTIN"), "DUPONT MARTIN");
        assert_eq!(surname("DUPONT (à vérifier"), "DUPONT");
        assert_eq!(surname("MME"), "");
        assert_eq!(surname("INCONNU"), "");
        assert_eq!(surname("  - "), "");
    }

    #[test]
    fn particles_hyphens_and_apostrophes_meet() {
        for (one, other) in [
            ("BEN HADDOU", "BENHADDOU"),
            ("D'ALMEIDA", "DALMEIDA"),
            ("D’Almeida", "D ALMEIDA"),
            ("DE LA FONTAINE", "Delafontaine"),
            ("Le Gall", "LEGALL"),
            ("N'DIAYE", "NDIAYE"),
            ("OULD AHMED", "OULDAHMED"),
            ("EL-AMRANI", "El Amrani"),
            ("ST MARTIN", "Saint-Martin"),
            ("O'Connor", "OCONNOR"),
        ] {
            assert_eq!(surname(one), surname(other));
        }
        assert_eq!(surname("POTEREAU-TAMALET"), "POTEREAU TAMALET");
        assert_eq!(surname("Le"), "LE");
        assert_eq!(surname("Huang Le"), "HUANG LE");
    }

    #[test]
    fn given_names_joined_cut_and_initials() {
        assert_eq!(given("Jean-Pierre"), "JEAN PIERRE");
        assert_eq!(given("J.-Pierre"), "PIERRE");
        assert_eq!(given("J."), "J");
        assert_eq!(given("ABD EL KADER"), "ABDELKADER");
        assert_eq!(given("Marie, Anne"), "MARIE ANNE");
        assert_eq!(given("S1mone"), "SIMONE");
        assert_eq!(given("Jean Jean"), "JEAN");
    }

    #[test]
    fn scripts_other_than_latin_are_told() {
        assert!(is_foreign_script("Иванов"));
        assert!(!is_foreign_script("Dupont"));
        assert!(!is_foreign_script(""));
    }

    proptest! {
        #[test]
        fn any_text_gives_letters_only_and_is_settled(text in "\\PC{0,80}") {
            for kind in [NameKind::Surname, NameKind::Given] {
                let words = name_words(&text, kind);
                prop_assert!(words.iter().all(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_uppercase())));
                prop_assert_eq!(&name_words(&words.join(" "), kind), &words);
            }
        }

        #[test]
        fn names_with_particles_are_settled(text in "((DE|D|R|LE|M|ST|BEN|X|DUPONT|J|ME|MAC|N|C|E)[ '-]){0,7}") {
            for kind in [NameKind::Surname, NameKind::Given] {
                let words = name_words(&text, kind);
                prop_assert_eq!(&name_words(&words.join(" "), kind), &words);
            }
        }

        #[test]
        fn folding_twice_changes_nothing(text in any::<String>()) {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }
    }
}
