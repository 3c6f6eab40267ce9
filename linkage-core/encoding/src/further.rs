//! The further part of a key: the sources that an identity has for it, and the bits that each tells.
//!
//! A part begins with the field's number, so that two fields share no block. What a commune's code means is kept for the
//! next record: there are few of them.

use std::fmt::Write;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use zeroize::Zeroize;

use crate::identity::{FieldValue, Identity};
use crate::passes::Extra;
use crate::phonetic::sound;
use crate::place::{FRANCE, Place, commune_bits};
use crate::plan::MOST;

/// Bits that a country of birth tells about people whose names already tell where they come from.
const COUNTRY_BITS: f32 = 1.0;
/// Places for kept codes.
const PLACES: usize = 1 << 10;

/// A further part of one record.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    /// Where its text lies.
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Bits that it tells; all that a pass allows when not known.
    bits: Option<f32>,
}

impl Source {
    /// Bits that the part tells, at most `most`.
    pub(crate) fn bits(&self, most: f32) -> f32 {
        self.bits.map_or(most, |bits| bits.max(0.0).min(most))
    }
}

/// Finds further parts.
#[derive(Default)]
pub(crate) struct Further {
    communes: Vec<Option<Commune>>,
}

/// What a code means: the end of its part, when it is a commune's, and the bits that this tells.
struct Commune {
    code: String,
    part: Option<String>,
    bits: Option<f32>,
}

impl Drop for Commune {
    fn drop(&mut self) {
        self.code.zeroize();
        self.part.zeroize();
    }
}

impl Further {
    /// Adds what `extra` can be taken from to `sources`, its text to `texts`; by field, the whole before the country.
    pub(crate) fn sources(&mut self, identity: &Identity, extra: Extra, texts: &mut String, sources: &mut Vec<Source>) {
        for (field, (_, value)) in identity.fields().enumerate() {
            let mut add = |separator: char, part: &str, bits: Option<f32>| {
                let start = texts.len();
                // Writing to a string cannot fail.
                let _ = write!(texts, "{field}{separator}{part}");
                sources.push(Source { start, end: texts.len(), bits });
            };
            match (extra, value) {
                (Extra::Category, FieldValue::Category(Some(code))) => add(':', code, None),
                (Extra::Text, FieldValue::Text(words)) if !words.is_empty() => {
                    let (mut joined, mut heard) = (words.concat(), String::new());
                    heard.push_str(&sound(&joined));
                    add(':', &heard, None);
                    joined.zeroize();
                    heard.zeroize();
                }
                (Extra::Commune, FieldValue::Category(Some(code))) => {
                    if let Some(Commune { part: Some(part), bits, .. }) = self.commune(code) {
                        add(':', part, *bits);
                    }
                }
                (Extra::Place, FieldValue::Place(place)) => {
                    if let Some(commune) = &place.commune {
                        add(':', commune, bits_of(place));
                    }
                    if let Some(country) = place.country.as_deref().filter(|c| *c != FRANCE) {
                        add('=', country, Some(COUNTRY_BITS));
                    }
                }
                _ => {}
            }
        }
        sources.truncate(MOST);
    }

    fn commune(&mut self, code: &str) -> Option<&Commune> {
        if self.communes.is_empty() {
            self.communes.resize_with(PLACES, || None);
        }
        let place = FixedState::default().hash_one(code) as usize % PLACES;
        let kept = self.communes.get_mut(place)?;
        if kept.as_ref().is_none_or(|kept| kept.code != code) {
            let read = Place::read(code, "", "");
            let part = match (&read.department, &read.commune) {
                (Some(department), Some(commune)) => Some(format!("{department}:{commune}")),
                _ => None,
            };
            *kept = Some(Commune { code: code.to_owned(), part, bits: bits_of(&read) });
        }
        kept.as_ref()
    }
}

fn bits_of(place: &Place) -> Option<f32> {
    commune_bits(place.department.as_deref()?, place.commune.as_deref()?)
}
