//! The character encodings of deliveries: declared ones are held to, undeclared ones are guessed for the operator.
//!
//! ISO-8859-1 is read as Windows-1252 (WHATWG Encoding Standard, section 4.2). Windows-1252 and ISO-8859-15 differ in
//! two places only: bytes 0x80-0x9F, which are letters and signs in the first and control codes in the second, and the
//! eight bytes that ISO-8859-15 took for `€ Š š Ž ž Œ œ Ÿ`. Detection is a suggestion that the operator confirms.

use std::fmt;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use serde::{Deserialize, Serialize};

/// A character encoding that deliveries may be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Charset {
    /// UTF-8, with or without byte order mark.
    #[serde(rename = "utf-8")]
    Utf8,
    /// UTF-16 with a byte order mark.
    #[serde(rename = "utf-16")]
    Utf16,
    /// Windows-1252, and ISO-8859-1 with it.
    #[serde(rename = "windows-1252", alias = "iso-8859-1")]
    Windows1252,
    /// ISO-8859-15.
    #[serde(rename = "iso-8859-15")]
    Iso8859_15,
}

impl fmt::Display for Charset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Utf8 => "UTF-8",
            Self::Utf16 => "UTF-16",
            Self::Windows1252 => "Windows-1252",
            Self::Iso8859_15 => "ISO-8859-15",
        })
    }
}

pub(crate) const UTF8_MARK: &[u8] = &[0xEF, 0xBB, 0xBF];

/// The encoding that a byte order mark announces.
pub(crate) fn marked(start: &[u8]) -> Option<Charset> {
    if start.starts_with(UTF8_MARK) {
        Some(Charset::Utf8)
    } else if start.starts_with(&[0xFF, 0xFE]) || start.starts_with(&[0xFE, 0xFF]) {
        Some(Charset::Utf16)
    } else {
        None
    }
}

impl Charset {
    /// The text of one field; `None` when a byte means nothing in this encoding.
    /// UTF-16 was turned into UTF-8 on the way in, with a byte that UTF-8 does not have where it could not be read.
    pub(crate) fn decode(self, bytes: &[u8]) -> Option<String> {
        match self {
            Self::Utf8 | Self::Utf16 => std::str::from_utf8(bytes).ok().map(str::to_owned),
            Self::Windows1252 => {
                if bytes.iter().any(|b| matches!(b, 0x81 | 0x8D | 0x8F | 0x90 | 0x9D)) {
                    return None;
                }
                Some(encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned())
            }
            Self::Iso8859_15 => {
                if bytes.iter().any(|b| (0x80..=0x9F).contains(b)) {
                    return None;
                }
                Some(encoding_rs::ISO_8859_15.decode_without_bom_handling(bytes).0.into_owned())
            }
        }
    }
}

/// What the records tell about the declared encoding while they are read.
#[derive(Debug, Default)]
pub(crate) struct CharsetCheck {
    non_ascii: u64,
    undecodable: u64,
    valid_utf8: u64,
    looks_8859_15: u64,
}

impl CharsetCheck {
    /// Takes one record's bytes and whether they could be decoded.
    pub(crate) fn record(&mut self, bytes: &[u8], decoded: bool) {
        if bytes.is_ascii() {
            return;
        }
        self.non_ascii += 1;
        self.undecodable += u64::from(!decoded);
        self.valid_utf8 += u64::from(std::str::from_utf8(bytes).is_ok());
        self.looks_8859_15 += u64::from(differing_letters(bytes) > 0 && !bytes.iter().any(|b| (0x80..=0x9F).contains(b)));
    }

    /// Whether the file as a whole cannot be in `declared`, with what it seems to be in and the number of records that
    /// tell so. A few unreadable lines are the lines' fault; a majority, from five on, is the declaration's. Text of
    /// a one-byte encoding is hardly ever valid UTF-8 by chance, so one file in which all of it is was declared wrongly.
    pub(crate) fn verdict(&self, declared: Charset) -> Option<(Option<Charset>, u64)> {
        if self.undecodable >= 5 && self.undecodable * 2 > self.non_ascii {
            let suggested = match declared {
                Charset::Utf8 | Charset::Iso8859_15 => Some(Charset::Windows1252),
                Charset::Windows1252 | Charset::Utf16 => None,
            };
            return Some((suggested, self.undecodable));
        }
        let one_byte = matches!(declared, Charset::Windows1252 | Charset::Iso8859_15);
        if one_byte && self.non_ascii > 0 && self.valid_utf8 == self.non_ascii {
            return Some((Some(Charset::Utf8), self.valid_utf8));
        }
        let only_15 = declared == Charset::Windows1252 && self.looks_8859_15 >= 5 && self.looks_8859_15 * 2 > self.non_ascii;
        only_15.then_some((Some(Charset::Iso8859_15), self.looks_8859_15))
    }

    /// Records that may have been meant in ISO-8859-15.
    pub(crate) fn looks_8859_15(&self) -> u64 {
        self.looks_8859_15
    }
}

/// How many bytes are letters in ISO-8859-15 and signs in Windows-1252, standing beside a letter.
fn differing_letters(bytes: &[u8]) -> usize {
    let letter = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphabetic() || *b >= 0xC0);
    (0..bytes.len())
        .filter(|&i| {
            let before = i.checked_sub(1).and_then(|j| bytes.get(j));
            matches!(bytes.get(i), Some(0xA6 | 0xA8 | 0xB4 | 0xB8 | 0xBC | 0xBD | 0xBE))
                && (letter(before) || letter(bytes.get(i + 1)))
        })
        .count()
}

/// The encoding that a whole file seems to be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CharsetGuess {
    /// The suggestion.
    pub charset: Charset,
    /// Whether the bytes leave no doubt.
    pub certain: bool,
    /// Why, in French.
    pub reason: String,
}

/// Reads a whole file in pieces and keeps counts only.
pub(crate) struct CharsetScan {
    start: Vec<u8>,
    tail: Vec<u8>,
    multibyte: u64,
    errors: u64,
    high: u64,
    controls: u64,
    letters_15: usize,
    last: u8,
    fed: usize,
    detector: EncodingDetector,
}

impl CharsetScan {
    const DETECTOR_BYTES: usize = 1 << 20;

    pub(crate) fn new() -> Self {
        Self {
            start: Vec::new(),
            tail: Vec::new(),
            multibyte: 0,
            errors: 0,
            high: 0,
            controls: 0,
            letters_15: 0,
            last: 0,
            fed: 0,
            detector: EncodingDetector::new(Iso2022JpDetection::Deny),
        }
    }

    pub(crate) fn feed(&mut self, chunk: &[u8]) {
        if self.start.len() < 3 {
            self.start.extend(chunk.iter().take(3 - self.start.len()));
        }
        if self.fed < Self::DETECTOR_BYTES {
            self.detector.feed(chunk, false);
            self.fed += chunk.len();
        }
        for &byte in chunk {
            self.high += u64::from(byte >= 0x80);
            self.controls += u64::from((0x80..=0x9F).contains(&byte));
            // ¤ is never written; € often stands beside a figure, so it needs no letter beside it.
            self.letters_15 += usize::from(byte == 0xA4);
            let word = self.last.is_ascii_alphabetic() || self.last >= 0xC0;
            self.letters_15 += usize::from(word && matches!(byte, 0xA6 | 0xA8 | 0xB4 | 0xB8 | 0xBC | 0xBD | 0xBE));
            self.last = byte;
        }
        self.validate(chunk);
    }

    fn validate(&mut self, chunk: &[u8]) {
        let mut joined = std::mem::take(&mut self.tail);
        joined.extend_from_slice(chunk);
        let mut rest = joined.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.multibyte += multibyte(text.as_bytes());
                    return;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    self.multibyte += multibyte(valid);
                    match error.error_len() {
                        None => {
                            self.tail = after.to_vec();
                            return;
                        }
                        Some(length) => {
                            self.errors += 1;
                            rest = after.get(length..).unwrap_or_default();
                        }
                    }
                }
            }
        }
    }

    pub(crate) fn guess(mut self) -> CharsetGuess {
        self.errors += u64::from(!self.tail.is_empty());
        let guess = |charset, certain, reason: &str| CharsetGuess { charset, certain, reason: reason.to_owned() };
        match marked(&self.start) {
            Some(Charset::Utf8) => return guess(Charset::Utf8, true, "marque d'ordre des octets UTF-8"),
            Some(_) => return guess(Charset::Utf16, true, "marque d'ordre des octets UTF-16"),
            None => {}
        }
        if self.high == 0 {
            return guess(Charset::Utf8, true, "aucun caractère accentué : tout encodage convient");
        }
        if self.errors == 0 {
            return guess(Charset::Utf8, true, "tous les octets forment de l'UTF-8");
        }
        if self.multibyte > 10 * self.errors {
            let reason = format!("UTF-8 à {} séquence(s) illisible(s) près ; leurs lignes seront écartées", self.errors);
            return CharsetGuess { charset: Charset::Utf8, certain: false, reason };
        }
        if self.controls > 0 {
            return guess(Charset::Windows1252, true, "caractères propres à Windows-1252 (œ, €, ’…)");
        }
        if self.letters_15 > 0 {
            return guess(Charset::Iso8859_15, false, "œ, Œ, Ÿ, Š, Ž ou € aux places d'ISO-8859-15");
        }
        self.detector.feed(b"", true);
        let other = self.detector.guess(Some(b"fr"), Utf8Detection::Deny);
        let reason = if other == encoding_rs::WINDOWS_1252 || other == encoding_rs::ISO_8859_15 {
            "accents d'Europe de l'Ouest sur un octet ; Windows-1252 et ISO-8859-15 se confondent ici".to_owned()
        } else {
            format!("un octet par caractère ; l'analyse statistique évoque {} : vérifier quelques noms accentués", other.name())
        };
        CharsetGuess { charset: Charset::Windows1252, certain: false, reason }
    }
}

fn multibyte(valid: &[u8]) -> u64 {
    valid.iter().filter(|b| **b >= 0xC2).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(pieces: &[&[u8]]) -> Charset {
        let mut scan = CharsetScan::new();
        for piece in pieces {
            scan.feed(piece);
        }
        scan.guess().charset
    }

    #[test]
    fn the_differing_bytes_tell_the_two_western_encodings_apart() {
        assert_eq!(guess(&[b"Lebo\x9Cuf;C\xE9line"]), Charset::Windows1252);
        assert_eq!(guess(&[b"Lebo\xBDuf;C\xE9line"]), Charset::Iso8859_15);
        assert_eq!(guess(&[b"Le\xBD", b"uf"]), Charset::Iso8859_15);
        assert_eq!(guess(&[b"C\xE9line;H\xE9l\xE8ne"]), Charset::Windows1252);
        assert_eq!(guess(&["Céli".as_bytes(), "ne".as_bytes()]), Charset::Utf8);
    }

    #[test]
    fn a_character_cut_between_two_pieces_is_still_utf8() {
        assert_eq!(guess(&[b"H\xC3", b"\xA9l\xC3", b"\xA8ne"]), Charset::Utf8);
        assert_eq!(guess(&[b"H\xC3"]), Charset::Windows1252);
    }

    #[test]
    fn bytes_without_meaning_are_refused() {
        assert_eq!(Charset::Windows1252.decode(b"a\x81"), None);
        assert_eq!(Charset::Windows1252.decode(b"\x8Cuvre \x80"), Some("Œuvre €".to_owned()));
        assert_eq!(Charset::Iso8859_15.decode(b"\x9C"), None);
        assert_eq!(Charset::Iso8859_15.decode(b"\xBC\xBD\xBE\xA4"), Some("ŒœŸ€".to_owned()));
        assert_eq!(Charset::Utf8.decode(b"\xE9"), None);
    }

    #[test]
    fn utf8_declared_as_one_byte_text_is_found_out() {
        let mut check = CharsetCheck::default();
        check.record("Hélène".as_bytes(), true);
        assert_eq!(check.verdict(Charset::Windows1252), Some((Some(Charset::Utf8), 1)));
        check.record(b"H\xE9l\xE8ne", true);
        assert_eq!(check.verdict(Charset::Windows1252), None);
    }
}
