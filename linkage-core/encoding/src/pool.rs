//! The passes that a search may choose from: every sensible combination of views, date parts and further parts.
//!
//! Contract: which further parts are tried depends on the fields that the identities have; ids say what a pass is made
//! of, so that the same pass has the same id in every set (views `s2`, date `+y`, further part `+c`, `d.` for doubtful
//! dates alone). A mixed pair (`s-q`) is for one word that is whole and one that is damaged.

use crate::identity::{FieldValue, Identity};
use crate::passes::{DatePart, Extra, Pass, When};
use crate::place::Place;
use crate::tables::View;

/// Identities that are looked at to see which further parts there are.
const LOOKED_AT: usize = 1000;
/// Most that a commune and a place are taken to tell; a code or text of unknown kind.
const COMMUNE_BITS: f32 = 6.0;
const PLACE_BITS: f32 = 4.0;
const UNKNOWN_BITS: f32 = 8.0;

const NAMES: [(&str, &[View]); 17] = [
    ("", &[]),
    ("s", &[View::Sound]),
    ("l", &[View::Letters]),
    ("p", &[View::Prefix3]),
    ("e", &[View::Ending3]),
    ("s2", &[View::Sound, View::Sound]),
    ("l2", &[View::Letters, View::Letters]),
    ("p2", &[View::Prefix3, View::Prefix3]),
    ("e2", &[View::Ending3, View::Ending3]),
    ("q2", &[View::Prefix2, View::Prefix2]),
    ("f2", &[View::Ending2, View::Ending2]),
    ("i2", &[View::Initial, View::Initial]),
    ("s-q", &[View::Sound, View::Prefix2]),
    ("s-f", &[View::Sound, View::Ending2]),
    ("s-i", &[View::Sound, View::Initial]),
    ("p-e", &[View::Prefix3, View::Ending3]),
    ("l-q", &[View::Letters, View::Prefix2]),
];
const DATES: [(&str, DatePart); 9] = [
    ("", DatePart::None),
    ("+date", DatePart::Full),
    ("+swap", DatePart::Swapped),
    ("+ym", DatePart::YearMonth),
    ("+yd", DatePart::YearDay),
    ("+md", DatePart::MonthDay),
    ("+y", DatePart::Year),
    ("+4y", DatePart::FourYears),
    ("+4ys", DatePart::FourYearsShifted),
];

/// The passes to choose from for such identities.
pub(crate) fn pool<'i>(identities: impl Iterator<Item = &'i Identity>) -> Vec<Pass> {
    let mut passes = Vec::new();
    let extras = extras(identities);
    for (names_id, names) in NAMES {
        for (date_id, date) in DATES {
            for (extra_id, extra, extra_bits) in std::iter::once(("", None, 0.0)).chain(extras.iter().copied()) {
                for when in [When::Any, When::DoubtfulDate] {
                    // A doubtful date has no day; without a name, date and place belong to too many.
                    let without_day =
                        matches!(date, DatePart::None | DatePart::Year | DatePart::FourYears | DatePart::FourYearsShifted);
                    let named = !names.is_empty() || extra.is_some() && !without_day;
                    if !named || when == When::DoubtfulDate && !without_day {
                        continue;
                    }
                    let mark = if when == When::Any { "" } else { "d." };
                    let id = format!("{mark}{names_id}{date_id}{extra_id}");
                    let id = id.strip_prefix('+').map_or(id.clone(), str::to_owned);
                    let names = names.to_vec();
                    passes.push(Pass { id, names, date, extra, extra_bits, when, gated: true, margin_bits: None });
                }
            }
        }
    }
    passes
}

/// The further parts that the fields allow, with the most that they are taken to tell.
fn extras<'i>(identities: impl Iterator<Item = &'i Identity>) -> Vec<(&'static str, Option<Extra>, f32)> {
    let (mut codes, mut communes, mut texts, mut places) = (0, 0, 0, 0);
    for identity in identities.take(LOOKED_AT) {
        for (_, value) in identity.fields() {
            match value {
                FieldValue::Category(Some(code)) => {
                    codes += 1;
                    // A code that is not in the table of communes stands for itself.
                    communes += usize::from(Place::read(code, "", "").commune.as_ref().is_some_and(|c| c != code));
                }
                FieldValue::Text(words) => texts += usize::from(!words.is_empty()),
                FieldValue::Place(place) => places += usize::from(!place.is_empty()),
                _ => {}
            }
        }
    }
    let mut extras = Vec::new();
    match (codes, communes * 2 > codes) {
        (0, _) => {}
        (_, true) => extras.push(("+c", Some(Extra::Commune), COMMUNE_BITS)),
        (_, false) => extras.push(("+code", Some(Extra::Category), UNKNOWN_BITS)),
    }
    if texts > 0 {
        extras.push(("+text", Some(Extra::Text), UNKNOWN_BITS));
    }
    if places > 0 {
        extras.push(("+b", Some(Extra::Place), PLACE_BITS));
    }
    extras
}
