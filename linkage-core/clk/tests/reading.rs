//! Files of filters that are taken, and faults that are refused with their place.
#![allow(clippy::unwrap_used)]

use std::io::{self, Read};

use linkage_clk::{FilterError, MAX_BYTES, ReadError, read_clks};

fn read(text: &str) -> Result<(usize, usize), ReadError> {
    read_clks(text.as_bytes()).map(|filters| (filters.len(), filters.bits()))
}

#[test]
fn filters_are_read() {
    assert_eq!(read(r#"{"clks": []}"#), Ok((0, 0)));
    assert_eq!(read("{\"clks\":\n [\"AQIDBAUGBwg=\", \"//////////8=\"] }\n"), Ok((2, 64)));
    // An escaped solidus, and a length that is no whole number of words.
    let filters = read_clks(&br#"{"clks": ["\/\/8BAAAAAAAAAQ=="]}"#[..]).unwrap();
    assert_eq!((filters.bits(), filters.words(), filters.counts()), (80, 2, &[18][..]));
    assert_eq!(filters.row(0), [0x0001_ffff, 0x0100]);
    assert_eq!(filters.row(1), [0; 0]);
    let ends = read_clks(&br#"{"clks": ["AAAA", "////", "AAAB", "AAAA"]}"#[..]).unwrap();
    assert_eq!((ends.zeros().collect::<Vec<_>>(), ends.ones().collect::<Vec<_>>()), (vec![0, 3], vec![1]));
}

#[test]
fn faults_have_a_place() {
    let at = |line, column, error| Err(ReadError::Filter { line, column, error });
    assert_eq!(read("{\"clks\": [\"AAAA\",\n\"AAAAAA==\"]}"), at(2, 10, FilterError::Length { index: 1, bytes: 4, expected: 3 }));
    assert_eq!(read(r#"{"clks": [""]}"#), at(1, 12, FilterError::Empty { index: 0 }));
    let long = format!(r#"{{"clks": ["{}"]}}"#, "A".repeat((MAX_BYTES / 3 + 1) * 4));
    assert!(matches!(read(&long), Err(ReadError::Filter { error: FilterError::TooLong { index: 0 }, .. })));
    let base64 = |text: &str| matches!(read(text), Err(ReadError::Base64 { line: 1, index: 1, .. }));
    assert!(base64(r#"{"clks": ["AAAA", "AA*A"]}"#), "letter");
    assert!(base64(r#"{"clks": ["AAAA", "AAA"]}"#), "no padding");
    assert!(base64(r#"{"clks": ["AAAA", "AAAB\nAAAA"]}"#), "line break");
    assert!(base64(r#"{"clks": ["AAAA", "AB=="]}"#), "bits beyond the end");
    assert!(matches!(read(r#"{"clks": ["AAAA"], "v": 1}"#), Err(ReadError::UnknownKey { line: 1, .. })));
    assert!(matches!(read(r#"{"clknblocks": [["AAAA", 1]]}"#), Err(ReadError::UnknownKey { line: 1, .. })));
    assert!(matches!(read(r#"{"clks": [], "clks": []}"#), Err(ReadError::Twice { line: 1, .. })));
    assert_eq!(read("{}"), Err(ReadError::NoFilters));
    for shape in
        [r#"["AAAA"]"#, r#"{"clks": "AAAA"}"#, r#"{"clks": ["AAAA", 3]}"#, r#"{"clks": []} x"#, "oui", r#"{"clks": ["AAAA",]}"#]
    {
        assert!(matches!(read(shape), Err(ReadError::Shape { line: 1, .. })), "{shape}");
    }
}

#[test]
fn every_truncation_is_told() {
    let whole = r#"{"clks": ["AAAA", "AAAB"]}"#;
    assert_eq!(read(whole), Ok((2, 24)));
    for end in 0..whole.len() {
        let read = read(whole.get(..end).unwrap());
        assert!(matches!(read, Err(ReadError::Truncated { line: 0 | 1, bytes, .. }) if bytes == end as u64), "{end}: {read:?}");
    }
}

/// A file of `left` bytes, made as it is read: filters of 16 bytes, cut off wherever it ends.
struct Generated {
    left: usize,
    next: Vec<u8>,
}

impl Read for Generated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.next.is_empty() {
            self.next = b", \"AQIDBAUGBwgJCgsMDQ4PEA==\"".to_vec();
        }
        let length = self.next.len().min(buffer.len()).min(self.left);
        self.next.drain(..length).zip(buffer).for_each(|(from, to)| *to = from);
        self.left -= length;
        Ok(length)
    }
}

#[test]
fn a_long_file_that_is_cut_off_is_refused_with_its_place() {
    const BYTES: usize = 16 << 20;
    let head = b"{\"clks\": [\"AQIDBAUGBwgJCgsMDQ4PEA==\"".to_vec();
    let filters = 1 + (BYTES - head.len()) / 28;
    let read = read_clks(Generated { left: BYTES, next: head });
    assert_eq!(read, Err(ReadError::Truncated { line: 1, column: BYTES, bytes: BYTES as u64, filters }));
}

/// `head`, then `fill` for ever; counts what was taken.
struct Endless<'t>(&'t [u8], u8, usize);

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let head = self.0.read(buffer)?;
        let read = if head == 0 { io::repeat(self.1).read(buffer)? } else { head };
        self.2 += read;
        Ok(read)
    }
}

#[test]
fn endless_texts_are_not_held() {
    for (head, fill) in [(&b"{\"clks\": [\"AAAA\", \""[..], b'A'), (b"{\"clks\": [\"AAAA\"", b' ')] {
        let mut endless = Endless(head, fill, 0);
        assert_eq!(read_clks(&mut endless), Err(ReadError::Stretch { filters: 1 }));
        assert!(endless.2 < 1 << 20, "{} bytes were read", endless.2);
    }
}
