//! clkhash's JSON, `{"clks": ["base64", ...]}`, read as a stream.
//!
//! The text is never held: one filter at a time is decoded and added. A file of another shape is refused with its place: nothing
//! is skipped, since a filter that is dropped would shift the indices of all that follow. Base64 is standard, padded and
//! canonical (RFC 4648, section 4).

use std::fmt;
use std::io::{self, BufReader, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, DeserializeSeed, Deserializer as _, MapAccess, SeqAccess, Visitor};

use crate::filters::{FilterError, Filters, MAX_BYTES};

/// Longest stretch without a quotation mark. Without it a file that never closes a string would be held whole.
const MAX_STRETCH: usize = 64 << 10;
const _: () = assert!(MAX_STRETCH > MAX_BYTES.div_ceil(3) * 4);

/// Why a file of filters was refused. Never repeats a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The system refused to read on.
    #[error("lecture interrompue après {filters} filtres ({kind})")]
    Io {
        /// Filters read before.
        filters: usize,
        /// What the system answered.
        kind: io::ErrorKind,
    },
    /// The file ends too early.
    #[error(
        "fichier tronqué : il s'arrête ligne {line}, colonne {column} (octet {bytes}), après {filters} filtres ; redemandez-le au partenaire"
    )]
    Truncated {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// Bytes read.
        bytes: u64,
        /// Filters read before.
        filters: usize,
    },
    /// Not JSON, or not of clkhash's shape.
    #[error(
        "ligne {line}, colonne {column}, après {filters} filtres : ce n'est pas un fichier de clkhash ({{\"clks\": [\"…\", …]}})"
    )]
    Shape {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// Filters read before.
        filters: usize,
    },
    /// More than [`MAX_STRETCH`] bytes without a quotation mark.
    #[error("après {filters} filtres : une valeur ou un blanc dépasse 64 Kio ; ce n'est pas un fichier de clkhash")]
    Stretch {
        /// Filters read before.
        filters: usize,
    },
    /// A key beside `clks`.
    #[error("ligne {line}, colonne {column} : clé inconnue à côté de « clks »")]
    UnknownKey {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// The key `clks` twice.
    #[error("ligne {line}, colonne {column} : la clé « clks » figure deux fois")]
    Twice {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// No key `clks`.
    #[error("la clé « clks » est absente")]
    NoFilters,
    /// A filter that is not base64.
    #[error("ligne {line}, colonne {column} : le filtre {index} n'est pas du base64")]
    Base64 {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The filter, from 0.
        index: usize,
    },
    /// A filter that does not go with the others.
    #[error("ligne {line}, colonne {column} : {error}")]
    Filter {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// Which and why.
        error: FilterError,
    },
}

/// Reads a file of filters.
///
/// # Errors
/// At the first fault, with its place.
pub fn read_clks(reader: impl Read) -> Result<Filters, ReadError> {
    let mut bytes = 0;
    let guarded = Guard { inner: reader, stretch: 0, bytes: &mut bytes };
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 16, guarded));
    let mut reading = Reading { filters: Filters::new(), seen: false, fault: None, bytes: Vec::new() };
    let read = json.deserialize_map(Top(&mut reading)).and_then(|()| json.end());
    drop(json);
    let filters = reading.filters.len();
    match read {
        Ok(()) if !reading.seen => Err(ReadError::NoFilters),
        Ok(()) => Ok(reading.filters),
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            Err(match (reading.fault, error.classify()) {
                (Some(Fault::UnknownKey), _) => ReadError::UnknownKey { line, column },
                (Some(Fault::Twice), _) => ReadError::Twice { line, column },
                (Some(Fault::Base64), _) => ReadError::Base64 { line, column, index: filters },
                (Some(Fault::Filter(error)), _) => ReadError::Filter { line, column, error },
                (None, serde_json::error::Category::Eof) => ReadError::Truncated { line, column, bytes, filters },
                (None, serde_json::error::Category::Io) => match error.io_error_kind() {
                    Some(io::ErrorKind::FileTooLarge) => ReadError::Stretch { filters },
                    kind => ReadError::Io { filters, kind: kind.unwrap_or(io::ErrorKind::Other) },
                },
                (None, _) => ReadError::Shape { line, column, filters },
            })
        }
    }
}

/// Ends the reading of a text that has no quotation mark for too long.
struct Guard<'b, R> {
    inner: R,
    stretch: usize,
    /// Bytes read in all.
    bytes: &'b mut u64,
}

impl<R: Read> Read for Guard<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        *self.bytes += read as u64;
        self.stretch = match buffer.iter().take(read).rev().position(|byte| *byte == b'"') {
            Some(after) => after,
            None => self.stretch + read,
        };
        if self.stretch > MAX_STRETCH { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(read) }
    }
}

enum Fault {
    UnknownKey,
    Twice,
    Base64,
    Filter(FilterError),
}

struct Reading {
    filters: Filters,
    seen: bool,
    fault: Option<Fault>,
    bytes: Vec<u8>,
}

impl Reading {
    /// Notes what was wrong; the error that serde passes on carries the place only.
    fn fail<E: de::Error>(&mut self, fault: Fault) -> E {
        self.fault = Some(fault);
        E::custom("refused")
    }
}

struct Top<'r>(&'r mut Reading);

impl<'de> Visitor<'de> for Top<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the key clks")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(known) = map.next_key_seed(Key)? {
            if !known {
                return Err(self.0.fail(Fault::UnknownKey));
            }
            if std::mem::replace(&mut self.0.seen, true) {
                return Err(self.0.fail(Fault::Twice));
            }
            map.next_value_seed(List(self.0))?;
        }
        Ok(())
    }
}

/// Whether a key is `clks`.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = bool;

    fn deserialize<D: de::Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == "clks")
    }
}

struct List<'r>(&'r mut Reading);

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of filters")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(One(self.0))?.is_some() {}
        Ok(())
    }
}

struct One<'r>(&'r mut Reading);

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for One<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a filter in base64")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        let reading = self.0;
        reading.bytes.clear();
        if STANDARD.decode_vec(text, &mut reading.bytes).is_err() {
            return Err(reading.fail(Fault::Base64));
        }
        reading.filters.push(&reading.bytes).map_err(|error| reading.fail(Fault::Filter(error)))
    }
}
