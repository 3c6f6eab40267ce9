//! Stage 1 and stage 2 of one payload: field values to keyed filters and slots, then permuted for one run.
//!
//! Stage 1 works under a block's secret and needs the names; stage 2 works under the run's key and needs only what
//! stage 1 left. Constructions in `linkage_crypto::fields`; places in `linkage_agreement::layout`. What does not depend
//! on the block (q-grams, slot values, header) is prepared once per record, since a record is encoded in every one of
//! its blocks.

use linkage_agreement::layout::{date_slot, place_slot};
use linkage_agreement::{DateQuality, FieldKind, Layout, Token};
use linkage_crypto::derive::{BlockSecret, RunKey};
use linkage_crypto::fields::{FieldError, NAME_DOMAIN, level_filter, permute_payload, set_grams, slot_domain, slots, text_value};
use linkage_crypto::payloads::PayloadWriter;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::date::BirthDate;
use crate::identity::{FieldValue, Identity, Sex};
use crate::phonetic::sound;
use crate::place::{FRANCE, Place};
use crate::tables;
use crate::text::NameKind;

/// Why a payload could not be encoded or blinded: the layout or the archive is at fault, never the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The identity does not hold the layout's fields.
    #[error("identité et convention n'ont pas les mêmes champs : relire le fichier avec la convention en vigueur")]
    OtherFields,
    /// The bytes are not one payload long.
    #[error("longueur inattendue : l'archive a été faite sous une autre convention, refaire l'étape 1")]
    PayloadLength,
    /// The layout's parameters are not allowed.
    #[error("paramètres d'encodage refusés : {0}")]
    Parameters(#[from] FieldError),
}

/// What every payload of one record has in common, q-grams and slot values, ready for any block's key.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Prepared {
    /// For each filter in payload order: domain, and distinct two-letter q-grams one after the other.
    filters: Vec<(u8, String)>,
    /// For each slot in payload order: slot domain and value.
    slots: Vec<(u8, Option<u64>)>,
    header: u32,
}

/// What of a name word enters headers and slots: rarity classes, and the value of its sound.
#[derive(Clone, Copy)]
pub(crate) struct WordFacts {
    surname: u8,
    given: u8,
    sound: u64,
}

impl WordFacts {
    pub(crate) fn of(word: &str) -> Self {
        let class = |kind| tables::names().rarity(kind, word);
        let mut heard = sound(word);
        let facts = Self { surname: class(NameKind::Surname), given: class(NameKind::Given), sound: text_value(&heard) };
        heard.zeroize();
        facts
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prepared(..)")
    }
}

impl Prepared {
    /// Prepares an identity for the payloads of a layout.
    ///
    /// # Errors
    /// [`EncodeError::OtherFields`] when the identity was read under other identity fields.
    pub fn new(layout: &Layout, identity: &Identity) -> Result<Self, EncodeError> {
        Self::with(layout, identity, &mut |word| WordFacts::of(word))
    }

    /// The same, with what is known of name words.
    pub(crate) fn with(
        layout: &Layout,
        identity: &Identity,
        facts: &mut dyn FnMut(&str) -> WordFacts,
    ) -> Result<Self, EncodeError> {
        let kinds = identity.fields().map(|(kind, _)| kind);
        if !kinds.eq(layout.fields.iter().map(|f| f.kind)) {
            return Err(EncodeError::OtherFields);
        }
        let mut prepared = Self {
            filters: Vec::new(),
            slots: Vec::with_capacity(layout.slot_count()),
            header: header_with(layout, identity, facts),
        };
        let mut texts = 0;
        for (index, (kind, value)) in identity.fields().enumerate() {
            match value {
                FieldValue::Name(words) => {
                    prepared.filters.push((NAME_DOMAIN, bigrams(words)));
                    prepared.slots.push((slot_domain::PHONETIC, words.first().map(|w| facts(w).sound)));
                }
                FieldValue::Text(words) => {
                    texts += 1;
                    prepared.filters.push((texts, bigrams(words)));
                }
                FieldValue::Date(date) => prepared.slots.extend(date_slots(*date)),
                FieldValue::Sex(sex) => prepared.slots.push((slot_domain::SEX, sex.map(|s| if s == Sex::Man { 1 } else { 2 }))),
                FieldValue::Place(place) => prepared.slots.extend(place_slots(place)),
                FieldValue::Category(code) => {
                    let domain = slot_domain::CATEGORY.saturating_add(u8::try_from(index).unwrap_or(u8::MAX));
                    prepared.slots.push((domain, code.as_deref().map(text_value)));
                }
            }
            debug_assert_eq!(kind.has_filter(), matches!(value, FieldValue::Name(_) | FieldValue::Text(_)));
        }
        Ok(prepared)
    }

    /// The record's header, in clear: date quality and rarity classes.
    pub fn header(&self) -> u32 {
        self.header
    }

    /// Lays the record out for the payloads of all its blocks.
    pub(crate) fn lay_out(&self, writer: &mut PayloadWriter) -> Result<(), EncodeError> {
        writer.clear();
        for (domain, grams) in &self.filters {
            writer.filter(*domain, pairs(grams))?;
        }
        for (domain, value) in &self.slots {
            writer.slot(*domain, *value);
        }
        Ok(())
    }

    /// Writes the payload under a block's secret; for many blocks see [`crate::records::RecordWriter`].
    ///
    /// # Errors
    /// [`EncodeError::PayloadLength`] when `payload` is not one payload long.
    pub fn encode(&self, layout: &Layout, block: &BlockSecret, payload: &mut [u8]) -> Result<(), EncodeError> {
        if payload.len() != layout.payload_len || self.slots.len() != layout.slot_count() {
            return Err(EncodeError::PayloadLength);
        }
        payload.fill(0);
        let key = block.field_key();
        let (filters, slot_bytes) = payload.split_at_mut_checked(layout.slots_start()).ok_or(EncodeError::PayloadLength)?;
        for ((domain, grams), filter) in self.filters.iter().zip(filters.chunks_exact_mut(layout.filter_bits / 8)) {
            set_grams(&key, *domain, pairs(grams), layout.hash_count, filter)?;
            level_filter(&key, grams.len() / 2, layout.hash_count, filter)?;
        }
        let mut room = [0u16; 64];
        for (values, bytes) in self.slots.chunks(room.len()).zip(slot_bytes.chunks_mut(2 * room.len())) {
            let out = room.get_mut(..values.len()).unwrap_or_default();
            slots(&key, values.iter().copied(), out);
            for (slot, to) in out.iter().zip(bytes.as_chunks_mut::<2>().0) {
                *to = slot.to_le_bytes();
            }
        }
        Ok(())
    }
}

/// The payload of an identity in one block. For several blocks of one record, prepare once.
///
/// # Errors
/// As [`Prepared::new`] and [`Prepared::encode`].
pub fn encode_payload(layout: &Layout, identity: &Identity, block: &BlockSecret) -> Result<Vec<u8>, EncodeError> {
    let mut payload = vec![0; layout.payload_len];
    Prepared::new(layout, identity)?.encode(layout, block, &mut payload)?;
    Ok(payload)
}

/// Stage 2: turns a payload in place into what the broker sees in one run, and gives the block's token of that run.
///
/// # Errors
/// [`EncodeError::PayloadLength`] when `payload` is not one payload long.
pub fn blind_entry(layout: &Layout, run: &RunKey, block: &BlockSecret, payload: &mut [u8]) -> Result<Token, EncodeError> {
    if payload.len() != layout.payload_len {
        return Err(EncodeError::PayloadLength);
    }
    let (token, key) = run.entry_keys(block);
    permute_payload(&key, layout.filter_bits, layout.slots_start(), payload)?;
    Ok(Token(token))
}

/// The header of an identity: date quality in bits 0-1, then a rarity class for every name field: 0 absent, 1 very
/// common to 5 rare, of the field's rarest word.
pub fn header(layout: &Layout, identity: &Identity) -> u32 {
    header_with(layout, identity, &mut |word| WordFacts::of(word))
}

fn header_with(layout: &Layout, identity: &Identity, facts: &mut dyn FnMut(&str) -> WordFacts) -> u32 {
    let mut header = match identity.date_quality() {
        DateQuality::Missing => 0,
        DateQuality::Full => 1,
        DateQuality::Default => 2,
        DateQuality::Partial => 3,
    };
    for (place, (kind, value)) in layout.fields.iter().zip(identity.fields()) {
        let (Some(at), FieldValue::Name(words)) = (place.rarity_at, value) else { continue };
        let class_of = |facts: WordFacts| if kind == FieldKind::GivenNames { facts.given } else { facts.surname };
        let class = words.iter().map(|word| class_of(facts(word))).max().unwrap_or(0);
        header |= u32::from(class).checked_shl(at).unwrap_or(0);
    }
    header
}

/// The bigrams of `_WORD_` for every word, each once, one after the other; letters and digits are ASCII.
fn bigrams(words: &[String]) -> String {
    let mut grams: Vec<[u8; 2]> = Vec::with_capacity(16);
    for word in words {
        let mut before = b'_';
        for letter in word.bytes().chain([b'_']) {
            if !grams.contains(&[before, letter]) {
                grams.push([before, letter]);
            }
            before = letter;
        }
    }
    grams.into_iter().flatten().map(char::from).collect()
}

/// The bigrams that lie one after the other.
fn pairs(grams: &str) -> impl Iterator<Item = &str> {
    (0..grams.len() / 2).filter_map(|i| grams.get(2 * i..2 * i + 2))
}

/// The nine slots of a date. A placeholder year (1900) tells nothing, so that all are missing.
fn date_slots(date: Option<BirthDate>) -> [(u8, Option<u64>); 9] {
    let date = date.filter(BirthDate::year_known);
    let year = date.map(|d| u64::from(d.year));
    let month = date.and_then(|d| d.month).map(u64::from);
    let day = date.and_then(|d| d.day).map(u64::from);
    let mut out = [(0, None); 9];
    out[date_slot::YEAR] = (slot_domain::YEAR, year);
    out[date_slot::MONTH] = (slot_domain::DAY_OR_MONTH, month);
    out[date_slot::DAY] = (slot_domain::DAY_OR_MONTH, day);
    out[date_slot::HALF] = (slot_domain::HALF, year.map(|y| y / 2));
    out[date_slot::HALF_SHIFTED] = (slot_domain::HALF_SHIFTED, year.map(|y| y.div_ceil(2)));
    out[date_slot::DECADE] = (slot_domain::DECADE, year.map(|y| y / 10));
    out[date_slot::YEAR_UNIT] = (slot_domain::YEAR_UNIT, year.map(|y| y % 10));
    out[date_slot::DAY_TENS] = (slot_domain::DAY_TENS, day.map(|d| d / 10));
    out[date_slot::DAY_UNIT] = (slot_domain::DAY_UNIT, day.map(|d| d % 10));
    out
}

/// The three slots of a place. Abroad the country stands in the département's slot as well, so that which slots are
/// filled does not tell who was born abroad; and the name of a town is taken by its sound, for it is transliterated.
fn place_slots(place: &Place) -> [(u8, Option<u64>); 3] {
    let value = |text: &Option<String>| text.as_deref().map(text_value);
    let in_france = place.department.is_some() || place.country.as_deref() == Some(FRANCE);
    let mut out = [(0, None); 3];
    out[place_slot::COUNTRY] = (slot_domain::COUNTRY, value(&place.country));
    out[place_slot::DEPARTMENT] = (slot_domain::DEPARTMENT, value(if in_france { &place.department } else { &place.country }));
    let town = if in_france { value(&place.commune) } else { place.commune.as_deref().map(sounds_value) };
    out[place_slot::COMMUNE] = (slot_domain::COMMUNE, town);
    out
}

/// The value of the sounds of a town's words, in order.
fn sounds_value(town: &str) -> u64 {
    let mut sounds: Vec<String> = town.split(' ').map(sound).collect();
    let mut joined = sounds.join(" ");
    let value = text_value(&joined);
    sounds.zeroize();
    joined.zeroize();
    value
}

#[cfg(test)]
#[path = "fields_tests.rs"]
mod tests;
