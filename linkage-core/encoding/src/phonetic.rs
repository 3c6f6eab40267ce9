//! A French phonetic code that is steady on transliterations.
//!
//! The same name reaches services through different ears and alphabets: Mohamed, Mohammed, Mouhamed; Youssef, Yousef,
//! Iussef; Khadija, Hadija; Philippe, Filip. The code keeps the class of the first sound and the consonants that are
//! heard; vowels after the first sound count only in names with too few consonants to tell apart.
//! Rules after the usual French codes (Phonex, F. Brouard 1999) with those for Arabic and West African names added.

/// Longest code, in letters.
const MAX_LEN: usize = 8;

/// The code of an upper-case A-Z word; empty for an empty word.
pub fn sound(word: &str) -> String {
    let (stem, ends_mute) = without_mute_letters(word.as_bytes());
    let spelled = spell(stem);
    let heard = without_silent_ending(&spelled, ends_mute);
    let first = heard.iter().take(1).copied();
    let consonants = heard.iter().skip(1).copied().filter(|c| !is_vowel(*c));
    let skeleton: Vec<u8> = first.chain(consonants).take(MAX_LEN).collect();
    let code = if skeleton.len() > 2 { skeleton } else { with_vowels(&heard) };
    code.into_iter().map(char::from).collect()
}

/// For names with too few consonants to tell apart: each run of vowels counts by its last one, so that AISSAUI is
/// AISSAOUI but LEA is not LEO.
fn with_vowels(heard: &[u8]) -> Vec<u8> {
    let ends_run = |i: &usize| !matches!(heard.get(i + 1), Some(next) if is_vowel(*next)) || *i == 0;
    (0..heard.len())
        .filter(|i| !heard.get(*i).is_some_and(|c| is_vowel(*c)) || ends_run(i))
        .filter_map(|i| heard.get(i).copied())
        .take(5)
        .collect()
}

fn is_vowel(c: u8) -> bool {
    matches!(c, b'A' | b'E' | b'I' | b'O' | b'U' | b'Y')
}

/// One letter per sound: C is the sound of CH, J that of DJ and soft G, K every hard C, E also AI and EI, O also AU and
/// EAU, U also OU, I also Y. Equal neighbours are one.
fn spell(word: &[u8]) -> Vec<u8> {
    let at = |i: usize| word.get(i).copied().unwrap_or(0);
    let mut out: Vec<u8> = Vec::with_capacity(word.len() + 1);
    let mut i = 0;
    while i < word.len() {
        let (sounds, taken): (&[u8], usize) = match (at(i), at(i + 1), at(i + 2)) {
            (b'E', b'A', b'U') => (b"O", 3),
            (b'A', b'U', _) => (b"O", 2),
            // Ouattara, Wattara.
            (b'O', b'U', b'A' | b'E' | b'I') if i == 0 => (b"V", 2),
            (b'O', b'U' | b'O', _) => (b"U", 2),
            // Pain, Pin.
            (b'A' | b'E', b'I', b'N' | b'M') if i + 3 == word.len() => (b"I", 2),
            (b'A' | b'E', b'I' | b'Y', _) => (b"E", 2),
            (b'E', b'E', _) => (b"I", 2),
            (b'Y', ..) => (b"I", 1),
            (b'P', b'H', _) => (b"F", 2),
            // Comte, Compte, Conte; Lefebvre, Lefevre.
            (b'M', b'P', b'T') => (b"N", 2),
            (b'M', b'T' | b'S' | b'D', _) => (b"N", 1),
            (b'B', b'V', _) => (b"", 1),
            // Engel, Angel.
            (b'E', b'N', next) if i == 0 && next != b'N' && !is_vowel(next) && next > 0 => (b"A", 1),
            // Legay, Leguay.
            (b'G', b'U', b'A') if i > 0 => (b"G", 2),
            (b'S', b'C', b'H') => (b"C", 3),
            (b'T', b'C', b'H') => (b"C", 3),
            (b'C', b'H', b'R' | b'L') => (b"K", 2),
            (b'C', b'H', _) | (b'S', b'H', _) => (b"C", 2),
            (b'S', b'C', b'E' | b'I' | b'Y') => (b"S", 2),
            (b'C', b'E' | b'I' | b'Y', _) => (b"S", 1),
            (b'C', b'Q', b'U') => (b"K", 3),
            (b'C', b'K' | b'Q', _) => (b"K", 2),
            (b'C', ..) => (b"K", 1),
            // The throat sound of Khadija is written KH, H or nothing.
            (b'K', b'H', _) => (b"", 2),
            (b'Q', b'U', _) => (b"K", 2),
            (b'Q', ..) => (b"K", 1),
            (b'D', b'J', _) => (b"J", 2),
            (b'G', b'E' | b'I' | b'Y', _) => (b"J", 1),
            (b'G', b'U', b'E' | b'I' | b'Y') => (b"G", 2),
            (b'G', b'N', _) => (b"N", 2),
            (b'Z' | b'D' | b'T' | b'G', b'H', _) => (&word[i..=i], 2),
            (b'H', ..) => (b"", 1),
            (b'W', ..) => (b"V", 1),
            (b'X', ..) => (b"KS", 1),
            (b'Z', ..) => (b"S", 1),
            _ => (&word[i..=i], 1),
        };
        for &c in sounds {
            let c = if c == b'Z' { b'S' } else { c };
            if out.last() != Some(&c) {
                out.push(c);
            }
        }
        i += taken;
    }
    // O and U are heard alike at the head of a transliterated name (Ousmane, Osman).
    if let Some(first) = out.first_mut().filter(|c| **c == b'U') {
        *first = b'O';
    }
    out
}

/// French endings that are written and not heard, and what is heard of them: Renaud, Renault, Reneau; Hugo, Hugot;
/// Mahieu, Mahieux; Aimé, Aimée. The longest first. A final D after A, E or OU stays: it is heard in Morad, Ahmed, Daoud.
const MUTE_ENDINGS: [(&[u8], usize); 20] = [
    (b"AULTS", 3),
    (b"AULT", 2),
    (b"AULD", 2),
    (b"AUDS", 2),
    (b"AUTS", 2),
    (b"AUD", 1),
    (b"AUT", 1),
    (b"AUX", 1),
    (b"EUX", 1),
    (b"OUX", 1),
    (b"OUT", 1),
    (b"ULT", 1),
    (b"OTS", 2),
    (b"ETS", 2),
    (b"ATS", 2),
    (b"OT", 1),
    (b"ET", 1),
    (b"AT", 1),
    (b"EES", 2),
    (b"EE", 1),
];

/// The word without a mute ending, and whether its last letter is a mute E. Words of four letters keep theirs.
fn without_mute_letters(word: &[u8]) -> (&[u8], bool) {
    // The T of Ahmet, Mehmet and Mohamet is heard.
    let mute = |(ending, cut): &&(&[u8], usize)| {
        word.ends_with(ending) && word.len() > cut + 3 && !word.ends_with(b"HMET") && !word.ends_with(b"HAMET")
    };
    let cut = MUTE_ENDINGS.iter().find(mute).map_or(0, |(_, cut)| *cut);
    let stem = word.get(..word.len() - cut).unwrap_or(word);
    // The E that a T was cut from is heard (Boulet, Boulay).
    let heard = word.ends_with(b"ET") || word.ends_with(b"ETS");
    (stem, !heard && (stem.ends_with(b"E") || stem.ends_with(b"ES") || stem.ends_with(b"EZ")))
}

/// Drops a mute E, the S, X or Z of a plural and a mute T or D after them, as long as two consonants remain.
fn without_silent_ending(spelled: &[u8], ends_mute: bool) -> Vec<u8> {
    let mut heard = spelled.to_vec();
    let consonants = |s: &[u8]| s.iter().skip(1).filter(|c| !is_vowel(**c)).count();
    if heard.ends_with(b"KS") && consonants(&heard) > 2 {
        heard.truncate(heard.len() - 2);
    } else if heard.ends_with(b"S") && consonants(&heard) > 2 {
        heard.pop();
    }
    let mute_e = ends_mute && heard.len() > 2 && heard.ends_with(b"E");
    if mute_e || matches!(heard.last(), Some(b'T' | b'D')) && consonants(&heard) > 2 {
        heard.pop();
    }
    // Ahmed and Ahmet.
    if let Some(last) = heard.last_mut().filter(|c| **c == b'D') {
        *last = b'T';
    }
    heard
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_one_name_share_a_code() {
        for group in [
            &["MOHAMED", "MOHAMMED", "MOUHAMED", "MOHAMET"][..],
            &["KHADIJA", "HADIJA", "KHADIDJA"],
            &["YOUSSEF", "YOUSEF", "IUSSEF", "YUSSEF"],
            &["PHILIPPE", "FILIP"],
            &["OUSMANE", "USMAN", "OSMAN"],
            &["DUPONT", "DUPOND"],
            &["FERNANDEZ", "FERNANDES"],
            &["DJAMEL", "JAMEL"],
            &["MARIE", "MARY", "MARI"],
            &["ALI", "ALY"],
            &["AISSAUI", "AISSAOUI"],
            &["FATIMA", "FATHIMA", "FATTIMA"],
            &["MICHELLE", "MICHELE", "MICHEL"],
            &["THIERRY", "TIERRI"],
            &["ISABELLE", "IZABELLE"],
            &["RENAUD", "RENAULT", "RENEAU", "RENAUX"],
            &["BARRAT", "BARRA"],
            &["BOULET", "BOULAY"],
            &["HUGOT", "HUGO"],
            &["VALLEE", "VALLE"],
            &["LECOMTE", "LECONTE", "LECOMPTE"],
            &["LEFEBVRE", "LEFEVRE"],
            &["BOCQUET", "BOQUET"],
            &["MAHIEUX", "MAHIEU"],
            &["AHMED", "AHMET"],
            &["MAHMOUD", "MAHMUD"],
            &["OUATTARA", "WATTARA"],
            &["OUALID", "WALID"],
        ] {
            for name in group {
                assert_eq!(sound(name), sound(group[0]), "{name}");
            }
        }
    }

    #[test]
    fn different_names_keep_different_codes() {
        for (one, other) in [
            ("LEA", "LEO"),
            ("MARTIN", "MOREAU"),
            ("ALI", "ELI"),
            ("DURAND", "DUPONT"),
            ("KARIM", "KARINA"),
            ("SARA", "SORAYA"),
            ("MORAD", "MORA"),
        ] {
            assert_ne!(sound(one), sound(other), "{one} {other}");
        }
    }

    proptest! {
        #[test]
        fn any_word_gives_a_short_code(word in "[A-Z]{1,40}") {
            prop_assert!(sound(&word).len() <= MAX_LEN);
        }
    }
}
