//! The character encodings of deliveries: declared ones are held to, undeclared ones are guessed for the operator.
//!
//! ISO-8859-1 is read as Windows-1252 (WHATWG Encoding Standard, section 4.2). Windows-1252 and ISO-8859-15 differ in
//! two places only: bytes 0x80-0x9F, which are letters and signs in the first and control codes in the second, and the
//! eight bytes that ISO-8859-15 took for `€ Š š Ž ž Œ œ Ÿ`. Detection is a suggestion that the operator confirms.

use std::fmt;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use serde::{Deserialize, Serialize};

use super::error::IntakeError;

/// A character encoding that deliveries may be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Charset {
    /// UTF-8, with or without byte order mark.
    #[serde(rename = "utf-8")]
    Utf8,
    /// UTF-16 of either byte order, with or without byte order mark.
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

/// Whether a text is in UTF-16 by its mark or by its zero bytes.
pub(crate) fn is_utf16(bytes: &[u8]) -> bool {
    let mut nuls = Nuls::default();
    nuls.feed(bytes);
    marked(bytes) == Some(Charset::Utf16) || nuls.are_utf16()
}

/// Zero bytes by their place. In UTF-16 every other byte of Latin text is one; no other text that is read has any.
#[derive(Default)]
struct Nuls {
    bytes: u64,
    even: u64,
    odd: u64,
}

impl Nuls {
    fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let place = if self.bytes.is_multiple_of(2) { &mut self.even } else { &mut self.odd };
            *place += u64::from(*byte == 0);
            self.bytes += 1;
        }
    }
    /// Nearly all zeros stand on one side, on which most bytes are zero.
    fn are_utf16(&self) -> bool {
        let (most, least) = (self.even.max(self.odd), self.even.min(self.odd));
        most * 4 > self.bytes && least * 20 <= most
    }
}

/// How many bytes stand between ASCII letters that are no letter there in the encodings read, but are in CP850 and Mac Roman.
/// The ones that French text has in Windows-1252 (œ, Œ, š, ž and the apostrophe) do not count.
fn old_letters(bytes: &[u8]) -> u64 {
    let mut found = 0;
    let (mut before, mut last) = (0u8, 0u8);
    for &byte in bytes {
        let old = matches!(last, 0x80..=0x9F) && !matches!(last, 0x8C | 0x92 | 0x9A | 0x9C | 0x9E);
        found += u64::from(old && before.is_ascii_alphabetic() && byte.is_ascii_alphabetic());
        (before, last) = (last, byte);
    }
    found
}

impl Charset {
    /// The text of one field; `None` when a byte means nothing in this encoding.
    /// UTF-16 was turned into UTF-8 on the way in, with a byte that UTF-8 does not have where it could not be read.
    pub(crate) fn decode(self, bytes: &[u8]) -> Option<String> {
        if bytes.contains(&0) {
            return None;
        }
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
    old: u64,
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
        self.old += u64::from(old_letters(bytes) > 0);
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

    /// Whether the file is in CP850 or Mac Roman: most records with accents say so, and five at least.
    pub(crate) fn old(&self) -> bool {
        self.old >= 5 && self.old * 2 > self.non_ascii
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
    nuls: Nuls,
    old: u64,
    carried: Vec<u8>,
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
            nuls: Nuls::default(),
            old: 0,
            carried: Vec::new(),
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
        self.nuls.feed(chunk);
        // A letter and its neighbours may stand in two pieces.
        self.carried.extend_from_slice(chunk);
        self.old += old_letters(&self.carried);
        self.carried.drain(..self.carried.len().saturating_sub(2));
        self.validate(chunk);
    }

    /// Refuses what is no text, and encodings that are not read.
    pub(crate) fn refused(&self) -> Result<(), IntakeError> {
        let nuls = self.nuls.even + self.nuls.odd;
        if marked(&self.start) == Some(Charset::Utf16) || self.nuls.are_utf16() {
            return Ok(());
        }
        if nuls * 100 > self.nuls.bytes {
            return Err(IntakeError::NotText);
        }
        if self.old >= 5 && self.old * 2 > self.high { Err(IntakeError::OldCharset) } else { Ok(()) }
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
        if self.nuls.are_utf16() {
            return guess(Charset::Utf16, true, "un octet nul sur deux : UTF-16 sans marque d'ordre des octets");
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
    fn utf16_without_a_mark_is_told_by_its_zeros_and_no_zero_is_read() {
        for order in [u16::to_le_bytes, u16::to_be_bytes] {
            let bytes: Vec<u8> = "id;nom\n1;Lefèvre\n".encode_utf16().flat_map(order).collect();
            assert_eq!(guess(&[&bytes[..7], &bytes[7..]]), Charset::Utf16);
            assert!(is_utf16(&bytes));
        }
        assert!(!is_utf16(b"id;nom\n1;L\0o\n"));
        for charset in [Charset::Utf8, Charset::Utf16, Charset::Windows1252, Charset::Iso8859_15] {
            assert_eq!(charset.decode(b"L\0o"), None);
        }
        let mut scan = CharsetScan::new();
        scan.feed(b"i\0\0\0d\0\0\0;\0\0\0");
        assert_eq!(scan.refused(), Err(IntakeError::NotText));
    }

    #[test]
    fn accents_of_ms_dos_and_old_macintoshes_are_refused() {
        let verdict = |name: &[u8]| {
            let (mut scan, mut check) = (CharsetScan::new(), CharsetCheck::default());
            for _ in 0..5 {
                check.record(name, true);
                let (start, end) = name.split_at(2);
                scan.feed(start);
                scan.feed(end);
            }
            assert_eq!(scan.refused().is_err(), check.old());
            check.old()
        };
        assert!(verdict(b"H\x82l\x8Ane") && verdict(b"H\x8El\x8Fne"));
        for good in [&b"C\x9Curs"[..], b"d\x92Arc", b"H\xE9l\xE8ne", "Hélène".as_bytes()] {
            assert!(!verdict(good));
        }
        let mut check = CharsetCheck::default();
        (0..4).for_each(|_| check.record(b"H\x82l\x8Ane", true));
        assert!(!check.old(), "too few to tell");
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
