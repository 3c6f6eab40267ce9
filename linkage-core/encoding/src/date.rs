//! Dates of birth in every spelling that services use, with how far each can be trusted.
//!
//! A mapping may fix the format of a column; otherwise each value is recognised by itself. Years outside 1880..=2100
//! are not believed, which settles JJMMAAAA against AAAAMMJJ. A default date (1 January, 31 December)
//! stands for an unknown one in most files: it keeps its year but gives no day or month to block keys. Those of 1900
//! tell nothing at all.

use std::fmt;

use linkage_agreement::DateQuality;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// First year that is believed.
pub const FIRST_YEAR: u16 = 1880;
/// Last year that is believed.
pub const LAST_YEAR: u16 = 2100;
/// Two-digit years up to this one are of the 2000s.
const LAST_TWO_DIGIT_YEAR: u16 = 29;

/// How a column writes dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DateFormat {
    /// 25/12/1987, also with `-`, `.` or spaces, one-digit days and months, two-digit years.
    DayMonthYear,
    /// 12/25/1987.
    MonthDayYear,
    /// 1987-12-25, also as the beginning of a time stamp.
    YearMonthDay,
    /// 25121987.
    CompactDayMonthYear,
    /// 19871225.
    CompactYearMonthDay,
    /// Days since 1899-12-30 (32136), the 1900 system of spreadsheets.
    ExcelSerial,
}

/// A date of birth, or the part of it that is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Zeroize)]
pub struct BirthDate {
    /// Calendar year.
    pub year: u16,
    /// Month, 1..=12.
    pub month: Option<u8>,
    /// Day of the month, 1..=31.
    pub day: Option<u8>,
    /// `Full`, `Default` or `Partial`; never `Missing`.
    #[zeroize(skip)]
    pub quality: DateQuality,
}

impl fmt::Debug for BirthDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BirthDate(..)")
    }
}

/// Why a value is no date of birth. Holds no part of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DateError {
    /// Read as a date that the calendar does not have, or a year that is not believed.
    #[error("date de naissance impossible : corriger le jour, le mois ou l'année dans le fichier")]
    Impossible,
    /// Not read as a date.
    #[error("date de naissance illisible : écrire JJ/MM/AAAA ou AAAA-MM-JJ, ou préciser le format de la colonne")]
    Unreadable,
}

impl BirthDate {
    /// A date from its components; 0 or `None` stands for an unknown month or day.
    ///
    /// # Errors
    /// [`DateError::Impossible`] when the calendar has no such day or the year is not believed.
    pub fn new(year: u16, month: u8, day: u8) -> Result<Self, DateError> {
        if !(FIRST_YEAR..=LAST_YEAR).contains(&year) {
            return Err(DateError::Impossible);
        }
        let length = match month {
            0 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
            2 => 28,
            1..=12 => 31,
            _ => return Err(DateError::Impossible),
        };
        if day > length {
            return Err(DateError::Impossible);
        }
        let quality = match (month, day) {
            (0, _) | (_, 0) => DateQuality::Partial,
            (1, 1) | (12, 31) => DateQuality::Default,
            _ => DateQuality::Full,
        };
        // A day without its month says nothing.
        let (month, day) = ((month > 0).then_some(month), (month > 0 && day > 0).then_some(day));
        Ok(Self { year, month, day, quality })
    }

    /// Whether the year is more than a placeholder.
    pub fn year_known(&self) -> bool {
        !(self.year == 1900 && self.quality == DateQuality::Default)
    }
    /// Month and day when both are known and neither stands for an unknown one.
    pub fn trusted_month_day(&self) -> Option<(u8, u8)> {
        match (self.quality, self.month, self.day) {
            (DateQuality::Full, Some(month), Some(day)) => Some((month, day)),
            _ => None,
        }
    }
    /// The year alone, for a value whose day or month cannot be right.
    pub(crate) fn year_only(year: u16) -> Option<Self> {
        Self::new(year, 0, 0).ok()
    }
}

/// Reads a date of birth; `Ok(None)` for an empty value.
///
/// # Errors
/// [`DateError`] when there is a value but no date.
pub fn parse(text: &str, format: Option<DateFormat>) -> Result<Option<BirthDate>, DateError> {
    let text = text.trim();
    if text.is_empty() || text.chars().all(|c| matches!(c, '-' | '/' | '.' | '0' | ' ')) {
        return Ok(None);
    }
    let numbers = Numbers::read(text).ok_or(DateError::Unreadable)?;
    let read = match format {
        Some(format) => numbers.by_format(format),
        None => numbers.recognise(),
    };
    read.map(Some)
}

/// The year that an impossible value still tells, if any.
pub(crate) fn plausible_year(text: &str, format: Option<DateFormat>) -> Option<BirthDate> {
    let numbers = Numbers::read(text.trim())?;
    let parts = &numbers.parts;
    let year = match (parts.as_slice(), format) {
        ([(eight, 8)], Some(DateFormat::CompactDayMonthYear)) => eight % 10_000,
        ([(eight, 8)], Some(DateFormat::CompactYearMonthDay)) => eight / 10_000,
        ([(eight, 8)], _) => {
            let years = [eight / 10_000, eight % 10_000].map(|y| (1900..=2030).contains(&y).then_some(y));
            match years {
                [Some(year), None] | [None, Some(year)] => year,
                _ => return None,
            }
        }
        _ => parts.iter().find(|(_, digits)| *digits == 4)?.0,
    };
    BirthDate::year_only(u16::try_from(year).ok()?)
}

/// The groups of digits of a value, each with its length.
struct Numbers {
    parts: Vec<(u32, usize)>,
    decimal: bool,
}

impl Numbers {
    /// `None` when the text is no sequence of numbers. A time of day after the date is not read.
    fn read(text: &str) -> Option<Self> {
        let date = match text.split_once(['T', 't']) {
            Some((date, _)) => date,
            None if text.contains(':') => text.rsplit_once(' ').map_or(text, |(date, _)| date),
            None => text,
        };
        let date = date.trim();
        if date.len() > 24 || !date.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'/' | b'-' | b'.' | b' ' | b',')) {
            return None;
        }
        let mut parts = Vec::with_capacity(3);
        for part in date.split(|c: char| !c.is_ascii_digit()).filter(|p| !p.is_empty()) {
            if part.len() > 8 {
                return None;
            }
            parts.push((part.parse().ok()?, part.len()));
        }
        let decimal = date.contains(['.', ',']) && !date.contains(['/', '-', ' ']) && parts.len() == 2;
        Some(Self { parts, decimal })
    }

    fn by_format(&self, format: DateFormat) -> Result<BirthDate, DateError> {
        use DateFormat::*;
        match (format, self.parts.as_slice()) {
            (DayMonthYear, [(d, 1 | 2), (m, 1 | 2), year]) => date(four_digits(*year)?, *m, *d),
            (MonthDayYear, [(m, 1 | 2), (d, 1 | 2), year]) => date(four_digits(*year)?, *m, *d),
            (YearMonthDay, [(y, 4), (m, 1 | 2), (d, 1 | 2)]) => date(*y, *m, *d),
            (DayMonthYear | MonthDayYear, [(m, 1 | 2), (y, 4)]) | (YearMonthDay, [(y, 4), (m, 1 | 2)]) => date(*y, *m, 0),
            (CompactDayMonthYear, [(n, 7 | 8)]) => date(n % 10_000, n / 10_000 % 100, n / 1_000_000),
            (CompactYearMonthDay, [(n, 8)]) => date(n / 10_000, n / 100 % 100, n % 100),
            (ExcelSerial, [(n, 1..=5)]) => serial(*n),
            (ExcelSerial, [(n, 1..=5), _]) if self.decimal => serial(*n),
            (DayMonthYear | MonthDayYear | YearMonthDay | CompactDayMonthYear | CompactYearMonthDay, [(y, 4)]) => date(*y, 0, 0),
            _ => Err(DateError::Unreadable),
        }
    }

    fn recognise(&self) -> Result<BirthDate, DateError> {
        match self.parts.as_slice() {
            [(y, 4), (m, 1 | 2), (d, 1 | 2)] => date(*y, *m, *d).or_else(|wrong| date(*y, *d, *m).map_err(|_| wrong)),
            [(d, 1 | 2), (m, 1 | 2), year @ (_, 2 | 4)] => {
                let y = four_digits(*year)?;
                date(y, *m, *d).or_else(|wrong| date(y, *d, *m).map_err(|_| wrong))
            }
            [(y, 4), (m, 1 | 2)] | [(m, 1 | 2), (y, 4)] => date(*y, *m, 0),
            [(y, 4)] => date(*y, 0, 0),
            [(n, 5)] => serial(*n),
            [(n, 5), _] if self.decimal => serial(*n),
            // Seven digits: a leading zero was lost (1121987 for 01121987).
            [(n, 7)] => date(n % 10_000, n / 10_000 % 100, n / 1_000_000),
            [(n, 8)] => {
                let by_year = date(n / 10_000, n / 100 % 100, n % 100);
                let by_day = date(n % 10_000, n / 10_000 % 100, n / 1_000_000);
                match (by_year, by_day) {
                    // Both are dates only for years such as 2012; births are far likelier in 1900..=2030.
                    (Ok(a), Ok(b)) => Ok(if likely(a.year) || !likely(b.year) { a } else { b }),
                    (Ok(date), Err(_)) | (Err(_), Ok(date)) => Ok(date),
                    (Err(wrong), Err(_)) => Err(wrong),
                }
            }
            _ => Err(DateError::Unreadable),
        }
    }
}

fn likely(year: u16) -> bool {
    (1900..=2030).contains(&year)
}

fn date(year: u32, month: u32, day: u32) -> Result<BirthDate, DateError> {
    match (u16::try_from(year), u8::try_from(month), u8::try_from(day)) {
        (Ok(year), Ok(month), Ok(day)) => BirthDate::new(year, month, day),
        _ => Err(DateError::Impossible),
    }
}

fn four_digits((year, digits): (u32, usize)) -> Result<u32, DateError> {
    match digits {
        4 => Ok(year),
        2 if year <= u32::from(LAST_TWO_DIGIT_YEAR) => Ok(2000 + year),
        2 => Ok(1900 + year),
        _ => Err(DateError::Unreadable),
    }
}

/// A day number of the 1900 system. Numbers below 61 are off by one there (it has a 29 February 1900).
fn serial(days: u32) -> Result<BirthDate, DateError> {
    let epoch = jiff::civil::date(1899, 12, 30);
    let days = if days < 61 { days + 1 } else { days };
    let day = epoch
        .checked_add(jiff::Span::new().try_days(days).map_err(|_| DateError::Impossible)?)
        .map_err(|_| DateError::Impossible)?;
    match (u16::try_from(day.year()), u8::try_from(day.month()), u8::try_from(day.day())) {
        (Ok(year), Ok(month), Ok(day)) => BirthDate::new(year, month, day),
        _ => Err(DateError::Impossible),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> (u16, Option<u8>, Option<u8>, DateQuality) {
        let date = parse(text, None).unwrap().unwrap();
        (date.year, date.month, date.day, date.quality)
    }

    #[test]
    fn every_spelling_of_one_date() {
        for text in [
            "25/12/1987",
            "25-12-1987",
            "25.12.1987",
            "25 12 1987",
            "1987-12-25",
            "1987/12/25",
            "25121987",
            "19871225",
            "25/12/87",
            "1987-12-25T00:00:00",
            "1987-12-25 00:00:00",
            "25/12/1987 00:00",
            "1987-12-25T00:00:00+01:00",
            "32136",
            "32136.0",
            " 25/12/1987 ",
            "1987-25-12",
            "12/25/1987",
        ] {
            assert_eq!(read(text), (1987, Some(12), Some(25), DateQuality::Full), "{text}");
        }
        assert_eq!(read("5/4/1990"), (1990, Some(4), Some(5), DateQuality::Full));
        assert_eq!(read("5041990"), (1990, Some(4), Some(5), DateQuality::Full));
        assert_eq!(read("01/02/03"), (2003, Some(2), Some(1), DateQuality::Full));
    }

    #[test]
    fn a_given_format_is_strict() {
        use DateFormat::*;
        let is =
            |text: &str, format| parse(text, Some(format)).map(|d| d.map(|d| (d.year, d.month.unwrap_or(0), d.day.unwrap_or(0))));
        assert_eq!(is("03/04/1990", DayMonthYear), Ok(Some((1990, 4, 3))));
        assert_eq!(is("03/04/1990", MonthDayYear), Ok(Some((1990, 3, 4))));
        assert_eq!(is("20121999", CompactDayMonthYear), Ok(Some((1999, 12, 20))));
        assert_eq!(is("20121119", CompactYearMonthDay), Ok(Some((2012, 11, 19))));
        assert_eq!(is("1", ExcelSerial), Ok(Some((1900, 1, 1))));
        assert_eq!(is("9862", ExcelSerial), Ok(Some((1926, 12, 31))));
        assert_eq!(is("12/25/1987", DayMonthYear), Err(DateError::Impossible));
        assert_eq!(is("1987-12-25", DayMonthYear), Err(DateError::Unreadable));
        assert_eq!(is("25121987", YearMonthDay), Err(DateError::Unreadable));
        assert_eq!(is("", YearMonthDay), Ok(None));
    }

    #[test]
    fn eight_digits_are_settled_by_plausibility() {
        assert_eq!(read("20121999").0, 1999);
        assert_eq!(read("19991220").0, 1999);
        assert_eq!(read("01012001"), (2001, Some(1), Some(1), DateQuality::Default));
        assert_eq!(read("20011020"), (2001, Some(10), Some(20), DateQuality::Full));
    }

    #[test]
    fn partial_and_default_dates() {
        assert_eq!(read("1987"), (1987, None, None, DateQuality::Partial));
        assert_eq!(read("00/00/1987"), (1987, None, None, DateQuality::Partial));
        assert_eq!(read("1987-00-00"), (1987, None, None, DateQuality::Partial));
        assert_eq!(read("12/1987"), (1987, Some(12), None, DateQuality::Partial));
        assert_eq!(read("00/12/1987"), (1987, Some(12), None, DateQuality::Partial));
        assert_eq!(read("1987-12"), (1987, Some(12), None, DateQuality::Partial));
        assert_eq!(read("01/01/1987").3, DateQuality::Default);
        assert_eq!(read("31/12/1987").3, DateQuality::Default);
        assert_eq!(read("1900-01-01").3, DateQuality::Default);
        assert!(!parse("1900-01-01", None).unwrap().unwrap().year_known());
        assert!(parse("1900-03-01", None).unwrap().unwrap().year_known());
        for empty in ["", "  ", "00/00/0000", "-", "0000-00-00"] {
            assert_eq!(parse(empty, None), Ok(None));
        }
    }

    #[test]
    fn impossible_and_unreadable_dates() {
        for text in
            ["31/02/1987", "29/02/1987", "32/01/1987", "1987-13-32", "19871332", "01/01/1750", "99999", "31/04/2001", "19399222"]
        {
            assert_eq!(parse(text, None), Err(DateError::Impossible), "{text}");
        }
        for text in ["inconnue", "12", "25/12", "le 25 décembre 1987", "1/2/3/4", "123456", "999999999999"] {
            assert_eq!(parse(text, None), Err(DateError::Unreadable), "{text}");
        }
        assert_eq!(parse("29/02/2000", None).unwrap().unwrap().day, Some(29));
    }

    #[test]
    fn an_impossible_date_may_still_tell_the_year() {
        assert_eq!(plausible_year("31/02/1987", None).map(|d| (d.year, d.quality)), Some((1987, DateQuality::Partial)));
        assert_eq!(plausible_year("19960094", None).map(|d| d.year), Some(1996));
        assert_eq!(plausible_year("99999", None), None);
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", parse("25/12/1987", None)), "Ok(Some(BirthDate(..)))");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = parse(&text, None);
            let _ = plausible_year(&text, None);
        }

        #[test]
        fn every_day_is_read_the_same_in_every_format(year in 1902u16..=2030, month in 1u8..=12, day in 1u8..=28) {
            let expected = BirthDate::new(year, month, day).unwrap();
            use DateFormat::*;
            for (text, format) in [
                (format!("{day:02}/{month:02}/{year}"), DayMonthYear),
                (format!("{month}/{day}/{year}"), MonthDayYear),
                (format!("{year}-{month:02}-{day:02}"), YearMonthDay),
                (format!("{day:02}{month:02}{year}"), CompactDayMonthYear),
                (format!("{year}{month:02}{day:02}"), CompactYearMonthDay),
            ] {
                prop_assert_eq!(parse(&text, Some(format)), Ok(Some(expected)));
            }
        }
    }
}
