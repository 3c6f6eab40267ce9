//! What must be found nowhere outside a node: the names, dates of birth and identifiers of a data set, searched as bytes.
//!
//! Encodings, keys and handles are random bytes, in which short needles occur by chance: 40 MB of them hold every given
//! four letters once in a hundred searches, and there are thousands of needles. A needle of four to six bytes therefore
//! counts only where it could have been written: as a word among text, or, with five or six, as protobuf writes a field, between
//! the tag and the length of its own and the tag of the next one. One of digits counts only where no letter or digit continues it:
//! pseudonyms and digests are hexadecimal. Certificates, keys and signatures are random bytes too where they are written in base64:
//! such text is searched decoded, and as it stands only for needles of eight bytes and more. A search of the largest data set
//! finds something by chance less than once in ten thousand times.
//! Findings show kind, place and length, never the needle.

#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::ops::Range;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Shortest needle, in bytes.
const SHORTEST: usize = 4;
/// From this length on a needle counts as a field of protobuf.
const OF_FIELD: usize = 5;
/// From this length on a needle counts wherever it stands.
const LONG: usize = 7;
/// From this length on a needle counts in base64 as it stands.
const LONG_IN_BASE64: usize = 8;
/// Bytes of text that a shorter needle needs on either side, where there are so many.
const CONTEXT: usize = 8;
/// Shortest base64 that is taken for one, in characters: a key of 32 bytes has 44.
const SHORTEST_BASE64: usize = 24;
/// Prefix hashes in the first filter, as bits.
const FILTER_BITS: u32 = 20;

/// What a needle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A name or a word of one.
    Name,
    /// A date of birth.
    Birth,
    /// A local identifier of a record or household.
    Identifier,
}

/// A needle found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// What it is.
    pub kind: Kind,
    /// Where it begins.
    pub at: usize,
    /// Its length in bytes.
    pub length: usize,
}

/// A set of needles.
pub struct Needles {
    by_prefix: HashMap<[u8; SHORTEST], Vec<(Vec<u8>, Kind)>>,
    filter: Vec<u64>,
    count: usize,
    /// Needles left out because a public text holds the same word.
    pub public: usize,
}

impl Needles {
    /// The needles of canonical files, without those that occur in `public`.
    pub fn of_canonical<'p>(files: impl IntoIterator<Item = &'p Path>, public: &str) -> Self {
        let mut found: HashSet<(Vec<u8>, Kind)> = HashSet::new();
        for file in files {
            let mut reader = csv::Reader::from_path(file).unwrap();
            let header = reader.headers().unwrap().clone();
            let column = |name: &str| header.iter().position(|h| h == name).unwrap();
            let names = ["nom_naissance", "nom_usage", "prenoms"].map(column);
            let identifiers = ["local_id", "local_household_id"].map(column);
            let birth = column("date_naissance");
            for row in reader.records() {
                let row = row.unwrap();
                for at in names {
                    add_name(&mut found, &row[at]);
                }
                for at in identifiers {
                    add(&mut found, row[at].trim().as_bytes(), Kind::Identifier);
                }
                for spelling in spellings(&row[birth]) {
                    add(&mut found, spelling.as_bytes(), Kind::Birth);
                }
            }
        }
        let before = found.len();
        found.retain(|(needle, _)| !contains(public.as_bytes(), needle));
        let public = before - found.len();
        let mut needles = Self { by_prefix: HashMap::new(), filter: vec![0; 1 << (FILTER_BITS - 6)], count: found.len(), public };
        for (needle, kind) in found {
            let prefix = prefix(&needle);
            let bit = hash(prefix);
            needles.filter[bit / 64] |= 1 << (bit % 64);
            needles.by_prefix.entry(prefix).or_default().push((needle, kind));
        }
        needles
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Some needles of a kind, the same at every call; for planting.
    pub fn samples(&self, kind: Kind, count: usize) -> Vec<Vec<u8>> {
        let mut all: Vec<&Vec<u8>> =
            self.by_prefix.values().flatten().filter(|(n, k)| *k == kind && n.len() >= LONG).map(|(n, _)| n).collect();
        all.sort();
        all.dedup();
        all.into_iter().take(count).cloned().collect()
    }

    /// Everything found in `hay`, as it stands and in what base64 in it encodes (placed where that begins).
    pub fn scan(&self, hay: &[u8]) -> Vec<Hit> {
        let encoded = base64_texts(hay);
        let chance = |hit: &Hit| hit.length < LONG_IN_BASE64 && encoded.iter().any(|(place, _)| place.contains(&hit.at));
        let mut hits = self.scan_bytes(hay);
        hits.retain(|hit| !chance(hit));
        for (place, bytes) in &encoded {
            hits.extend(self.scan_bytes(bytes).into_iter().map(|hit| Hit { at: place.start, ..hit }));
        }
        hits
    }

    fn scan_bytes(&self, hay: &[u8]) -> Vec<Hit> {
        let mut hits = Vec::new();
        for at in 0..hay.len().saturating_sub(SHORTEST - 1) {
            let prefix = prefix(&hay[at..]);
            let bit = hash(prefix);
            if self.filter[bit / 64] >> (bit % 64) & 1 == 0 {
                continue;
            }
            for (needle, kind) in self.by_prefix.get(&prefix).into_iter().flatten() {
                if hay[at..].starts_with(needle) && counts(hay, at, needle) {
                    hits.push(Hit { kind: *kind, at, length: needle.len() });
                }
            }
        }
        hits
    }

    /// Everything found in the file at `path`, and its size.
    pub fn scan_file(&self, path: &Path) -> (Vec<Hit>, usize) {
        let bytes = fs::read(path).unwrap_or_default();
        (self.scan(&bytes), bytes.len())
    }
}

fn prefix(bytes: &[u8]) -> [u8; SHORTEST] {
    bytes[..SHORTEST].try_into().unwrap()
}

fn hash(prefix: [u8; SHORTEST]) -> usize {
    (u32::from_le_bytes(prefix).wrapping_mul(0x9E37_79B1) >> (32 - FILTER_BITS)) as usize
}

/// Where `hay` holds base64, and what it encodes: the body of a PEM block, and padded base64 in one piece, as this project
/// writes keys and signatures. A path or a word never ends with the padding.
fn base64_texts(hay: &[u8]) -> Vec<(Range<usize>, Vec<u8>)> {
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    let mut texts = Vec::new();
    let mut start = 0;
    while start < hay.len() {
        let armoured = hay[..start].ends_with(b"-----\n");
        let of_text = |b: &&u8| digit(b) || **b == b'=' || armoured && **b == b'\n';
        let end = start + hay[start..].iter().take_while(of_text).count();
        let text: Vec<u8> = hay[start..end].iter().copied().filter(|b| *b != b'\n').collect();
        let ends = if armoured { hay[end..].starts_with(b"-----END ") } else { text.ends_with(b"=") };
        if ends
            && text.len() >= SHORTEST_BASE64
            && let Ok(bytes) = STANDARD.decode(&text)
        {
            texts.push((start..end, bytes));
        }
        start = end.max(start + 1);
    }
    texts
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|w| w == needle)
}

fn counts(hay: &[u8], at: usize, needle: &[u8]) -> bool {
    let (before, after) = (&hay[..at], &hay[at + needle.len()..]);
    if needle.len() >= OF_FIELD && before.last().is_some_and(|&b| usize::from(b) == needle.len()) {
        // Tags of one byte: field number up to 15, of a length or a number. Zero begins an HTTP/2 frame.
        let tag = |b: &u8, kinds: &[u8]| *b < 0x80 && *b >= 8 && kinds.contains(&(b & 7));
        let begins = before.iter().rev().nth(1).is_some_and(|b| tag(b, &[2]));
        let ends = after.first().is_none_or(|b| *b == 0 || tag(b, &[0, 2]));
        if needle.len() >= LONG || begins && ends {
            return true;
        }
    }
    if needle.iter().all(|b| b.is_ascii_digit() || b"-/.".contains(b)) {
        let continues = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        if continues(before.last()) || continues(after.first()) {
            return false;
        }
    }
    let text = |b: &u8| matches!(b, b'\t' | b'\n' | b'\r' | b' '..=b'~');
    let word = !before.last().is_some_and(u8::is_ascii_alphabetic) && !after.first().is_some_and(u8::is_ascii_alphabetic);
    needle.len() >= LONG || word && before.iter().rev().take(CONTEXT).all(text) && after.iter().take(CONTEXT).all(text)
}

fn add(found: &mut HashSet<(Vec<u8>, Kind)>, needle: &[u8], kind: Kind) {
    if needle.len() >= SHORTEST {
        found.insert((needle.to_vec(), kind));
    }
}

/// A name as delivered (UTF-8 and Windows-1252) and folded to upper-case ASCII; whole, and each of its words.
fn add_name(found: &mut HashSet<(Vec<u8>, Kind)>, name: &str) {
    let words = name.split(|c: char| !c.is_alphabetic());
    for text in std::iter::once(name.trim()).chain(words) {
        // Fewer letters than bytes make no needle: the limit is meant for letters.
        if text.chars().count() < SHORTEST {
            continue;
        }
        add(found, text.as_bytes(), Kind::Name);
        let western: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
        if let Some(western) = western {
            add(found, &western, Kind::Name);
        }
        add(found, fold(text).as_bytes(), Kind::Name);
    }
}

/// Upper-case ASCII, by a table of its own: the search must not share a fault with the code that it tests.
pub fn fold(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().flat_map(char::to_uppercase) {
        match c {
            'À'..='Å' | 'Ā' | 'Ă' | 'Ą' => out.push('A'),
            'Æ' => out.push_str("AE"),
            'Ç' | 'Ć' | 'Č' => out.push('C'),
            'È'..='Ë' | 'Ē' | 'Ę' | 'Ě' => out.push('E'),
            'Ì'..='Ï' | 'İ' | 'Ī' => out.push('I'),
            'Ñ' | 'Ń' => out.push('N'),
            'Ò'..='Ö' | 'Ø' | 'Ő' => out.push('O'),
            'Œ' => out.push_str("OE"),
            'Ù'..='Ü' | 'Ū' | 'Ű' => out.push('U'),
            'Ý' | 'Ÿ' => out.push('Y'),
            'Ğ' => out.push('G'),
            'Ł' => out.push('L'),
            'Ş' | 'Š' | 'Ś' => out.push('S'),
            'Ź' | 'Ż' | 'Ž' => out.push('Z'),
            c => out.push(c),
        }
    }
    out
}

/// The spellings of a whole date: ISO, French, and what files hold without separators.
fn spellings(iso: &str) -> Vec<String> {
    let parts: Vec<&str> = iso.trim().split('-').collect();
    let &[year, month, day] = parts.as_slice() else { return Vec::new() };
    if (year.len(), month.len(), day.len()) != (4, 2, 2) {
        return Vec::new();
    }
    vec![
        format!("{year}-{month}-{day}"),
        format!("{year}/{month}/{day}"),
        format!("{year}{month}{day}"),
        format!("{day}/{month}/{year}"),
        format!("{day}-{month}-{year}"),
        format!("{day}.{month}.{year}"),
        format!("{day}{month}{year}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needles() -> Needles {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.csv");
        let text = "local_id,local_household_id,nom_naissance,nom_usage,prenoms,date_naissance\n\
                    D34-0003248247,,Lefèvre,Abel,Zoé|Annie-Marie,1980-02-01\n";
        fs::write(&path, text).unwrap();
        Needles::of_canonical([path.as_path()], "Marie")
    }

    #[test]
    fn every_spelling_is_found_wherever_it_is_written() {
        let needles = needles();
        assert_eq!(needles.public, 1);
        let found = |hay: &[u8]| needles.scan(hay).iter().map(|h| h.kind).collect::<Vec<_>>();
        assert_eq!(found("x Lefèvre x".as_bytes()), [Kind::Name]);
        assert_eq!(found(b"\x00\xffLef\xe8vre\xff"), [Kind::Name]);
        assert_eq!(found(b"\x01LEFEVRE\x02"), [Kind::Name]);
        assert_eq!(found(b"\x0a\x0801021980\x12"), [Kind::Birth]);
        assert_eq!(found(b"id=D34-0003248247;"), [Kind::Identifier]);
        assert_eq!(found(b"\x0a\x05ANNIE\x12\x00"), [Kind::Name]);
        assert_eq!(found(b"\xff\x1a\x05ANNIE"), [Kind::Name]);
        assert_eq!(found(b"to ABEL, from"), [Kind::Name]);
        assert_eq!(found(b"ABEL\n"), [Kind::Name]);
    }

    #[test]
    fn what_chance_makes_does_not_count() {
        let needles = needles();
        assert_eq!(needles.scan(b"\xff\xfeABEL\xfd\xfc"), []);
        assert_eq!(needles.scan(b"\x0a\x04ABEL\x12\x00"), []);
        assert_eq!(needles.scan(b"\xfe\x05ANNIE\xfd\xfc"), []);
        assert_eq!(needles.scan(b"\x0a\x05ANNIE\xfd\xfc"), []);
        assert_eq!(needles.scan(b"\xfd.;:!.;,ABEL.;,-.;,-\xfd"), []);
        assert_eq!(needles.scan(b"an ABELX to"), []);
        assert_eq!(needles.scan(b"3f01021980ab"), []);
        assert_eq!(needles.scan(b"Marie"), []);
        // As part of a certificate, and of a key; but not where the same characters are no base64.
        let line = b"MIIBfjCCASSgAwIBAgIUY3q5/ABEL/81hK0wCgYIKoZIzj0EAwIwGDEW";
        let certificate = [b"-----BEGIN CERTIFICATE-----\n", &line[..], b"\nABEL\n-----END CERTIFICATE-----\n"].concat();
        assert_eq!(needles.scan(&certificate), []);
        assert_eq!(needles.scan(b"key = \"q83v7/ABEL/8hK0w5t0fL9y2Qx4bZ6n8c1d3e5g7h9A=\""), []);
        assert_eq!(needles.scan(line).len(), 1);
        assert_eq!(needles.scan(b"a=/srv/data/ABEL/2024/deliveries/monthly").len(), 1);
    }

    #[test]
    fn base64_is_searched_decoded() {
        let needles = needles();
        let text = STANDARD.encode("subject: Jeanne LEFEVRE, organisation unknown.");
        let (first, second) = text.split_at(40);
        let armoured = format!("-----BEGIN CERTIFICATE-----\n{first}\n{second}\n-----END CERTIFICATE-----\n");
        for hay in [format!("{{\"value\":\"{text}\"}}"), armoured] {
            let hits = needles.scan(hay.as_bytes());
            assert_eq!(hits.iter().map(|h| (h.kind, h.length)).collect::<Vec<_>>(), [(Kind::Name, 7)], "{hay}");
        }
    }
}
