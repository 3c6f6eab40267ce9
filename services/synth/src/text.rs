//! Small operations on names that births, typing and file formats share.

/// The letter without accent, one to two ASCII letters; anything else as it is.
fn fold_into(c: char, out: &mut String) {
    let plain = match c {
        'À'..='Å' => 'A',
        'à'..='å' => 'a',
        'Ç' => 'C',
        'ç' => 'c',
        'È'..='Ë' => 'E',
        'è'..='ë' => 'e',
        'Ì'..='Ï' => 'I',
        'ì'..='ï' => 'i',
        'Ñ' => 'N',
        'ñ' => 'n',
        'Ò'..='Ö' => 'O',
        'ò'..='ö' => 'o',
        'Ù'..='Ü' => 'U',
        'ù'..='ü' => 'u',
        'Ý' | 'Ÿ' => 'Y',
        'ý' | 'ÿ' => 'y',
        'Œ' => return out.push_str("OE"),
        'œ' => return out.push_str("oe"),
        'Æ' => return out.push_str("AE"),
        'æ' => return out.push_str("ae"),
        other => other,
    };
    out.push(plain);
}

/// Without accents and ligatures.
pub(crate) fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| fold_into(c, &mut out));
    out
}

/// Upper case, without accents and ligatures: the form in which names are compared here.
pub(crate) fn plain(text: &str) -> String {
    fold(text).to_uppercase()
}

/// First letters of words upper case, the others lower case: `jean-pierre DA SILVA` becomes `Jean-Pierre Da Silva`.
pub(crate) fn title(text: &str) -> String {
    let mut start = true;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if start {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        start = !c.is_alphabetic();
    }
    out
}

/// The first `length` characters, without a space or hyphen left at the end.
pub(crate) fn cut(text: &str, length: usize) -> String {
    let cut: String = text.chars().take(length).collect();
    cut.trim_end_matches([' ', '-', ',']).to_owned()
}
