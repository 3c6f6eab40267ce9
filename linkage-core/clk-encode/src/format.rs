//! What a cell may be, and the text that is hashed for it (clkhash's `field_formats.py`).
//!
//! Dates follow Python's `strptime` for %Y, %y, %m, %d and literal text; other directives are refused. Patterns are those
//! of the `regex` crate: look-around and back-references are refused.

use std::borrow::Cow;

use regex::Regex;
use serde::Deserialize;

use crate::CellFault;

#[derive(Debug, Clone)]
pub(crate) enum Format {
    Text { case: Case, least: Option<usize>, most: Option<usize> },
    Pattern(Regex),
    Integer { least: Option<i64>, most: Option<i64> },
    Date(Regex),
    Enum(Vec<String>),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Case {
    Upper,
    Lower,
    Mixed,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) enum Encoding {
    #[serde(rename = "ascii")]
    Ascii,
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "utf-16")]
    Utf16,
    #[serde(rename = "utf-32")]
    Utf32,
}

impl Encoding {
    /// The bytes of a text as Python's `str.encode` gives them: UTF-16 and UTF-32 little-endian with their mark.
    pub(crate) fn bytes(self, text: &str) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Ascii => text.is_ascii().then_some(Cow::Borrowed(text.as_bytes())),
            Self::Utf8 => Some(Cow::Borrowed(text.as_bytes())),
            Self::Utf16 => {
                Some(Cow::Owned(std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()))
            }
            Self::Utf32 => {
                Some(Cow::Owned(std::iter::once(0xfeff).chain(text.chars().map(u32::from)).flat_map(u32::to_le_bytes).collect()))
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct FormatText {
    r#type: String,
    encoding: Option<Encoding>,
    case: Option<Case>,
    min_length: Option<usize>,
    max_length: Option<usize>,
    pattern: Option<String>,
    minimum: Option<i64>,
    maximum: Option<i64>,
    format: Option<String>,
    values: Option<Vec<String>>,
    #[serde(rename = "description")]
    _description: Option<String>,
}

impl FormatText {
    pub(crate) fn check(self) -> Result<(Format, Encoding), &'static str> {
        let text = self.encoding.is_some() || self.case.is_some() || self.min_length.is_some() || self.max_length.is_some();
        let number = self.minimum.is_some() || self.maximum.is_some();
        let format = match (self.r#type.as_str(), text, self.pattern, number, self.format, self.values) {
            ("string", _, Some(pattern), false, None, None) => {
                if self.case.is_some() || self.min_length.is_some() || self.max_length.is_some() {
                    return Err("un motif exclut « case », « minLength » et « maxLength »");
                }
                Format::Pattern(Regex::new(&format!(r"\A(?:{pattern})\z")).map_err(|_| "motif non pris en charge")?)
            }
            ("string", _, None, false, None, None) => {
                Format::Text { case: self.case.unwrap_or(Case::Mixed), least: self.min_length, most: self.max_length }
            }
            ("integer", false, None, _, None, None) => Format::Integer { least: self.minimum, most: self.maximum },
            ("date", false, None, false, Some(format), None) => Format::Date(date_pattern(&format)?),
            ("enum", false, None, false, None, Some(values)) => Format::Enum(values),
            _ => return Err("« format » : type inconnu, ou clé qui ne va pas avec ce type"),
        };
        Ok((format, self.encoding.unwrap_or(Encoding::Utf8)))
    }
}

/// The expression that Python's `_strptime` makes of a format.
fn date_pattern(format: &str) -> Result<Regex, &'static str> {
    let mut pattern = String::from(r"(?i)\A");
    let mut seen = Vec::new();
    let mut letters = format.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter.is_whitespace() {
            while letters.next_if(|next| next.is_whitespace()).is_some() {}
            pattern.push_str(r"\s+");
        } else if letter == '%' {
            let directive = letters.next().ok_or("format de date inachevé")?;
            pattern.push_str(match directive {
                'Y' => "(?<Y>[0-9]{4})",
                'y' => "(?<y>[0-9]{2})",
                'm' => "(?<m>1[0-2]|0[1-9]|[1-9])",
                'd' => "(?<d>3[0-1]|[1-2][0-9]|0[1-9]|[1-9]| [1-9])",
                '%' => "%",
                _ => return Err("format de date : seuls %Y, %y, %m, %d et %% sont pris en charge"),
            });
            if seen.contains(&directive) {
                return Err("format de date : directive répétée");
            }
            if directive != '%' {
                seen.push(directive);
            }
        } else {
            pattern.push_str(&regex::escape(letter.encode_utf8(&mut [0; 4])));
        }
    }
    if seen.contains(&'Y') == seen.contains(&'y') || !seen.contains(&'m') || !seen.contains(&'d') {
        return Err("format de date : année, mois et jour sont nécessaires");
    }
    pattern.push_str(r"\z");
    Regex::new(&pattern).map_err(|_| "format de date non pris en charge")
}

impl Format {
    /// The text that is hashed for a cell.
    pub(crate) fn text<'c>(&self, cell: &'c str, encoding: Encoding) -> Result<Cow<'c, str>, CellFault> {
        encoding.bytes(cell).ok_or(CellFault::Encoding)?;
        match self {
            Self::Text { case, least, most } => {
                let length = cell.chars().count();
                if least.is_some_and(|least| length < least) || most.is_some_and(|most| length > most) {
                    return Err(CellFault::Length);
                }
                let kept = match case {
                    Case::Upper => cell.to_uppercase() == cell,
                    Case::Lower => cell.to_lowercase() == cell,
                    Case::Mixed => true,
                };
                if kept { Ok(cell.into()) } else { Err(CellFault::Case) }
            }
            Self::Pattern(pattern) => pattern.is_match(cell).then(|| cell.into()).ok_or(CellFault::Pattern),
            Self::Integer { least, most } => {
                let value = integer(cell).ok_or(CellFault::Integer)?;
                if least.is_some_and(|least| value < least.into()) || most.is_some_and(|most| value > most.into()) {
                    return Err(CellFault::Range);
                }
                Ok(value.to_string().into())
            }
            Self::Date(pattern) => date(pattern, cell).map(Into::into).ok_or(CellFault::Date),
            Self::Enum(values) => values.iter().any(|v| v == cell).then(|| cell.into()).ok_or(CellFault::Value),
        }
    }
}

/// Python's `int(text, 10)` for ASCII digits and values below 2^100: blanks around, a sign, single underscores between digits.
pub(crate) fn integer(text: &str) -> Option<i128> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c));
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    if !ends(digits.chars().next()) || !ends(digits.chars().next_back()) || digits.contains("__") {
        return None;
    }
    let value = text.replace('_', "").parse::<i128>().ok()?;
    (value.unsigned_abs() < 1 << 100).then_some(value)
}

/// `AAAAMMJJ`; a year before 1000 has no leading zeros, as glibc's `strftime` writes it.
fn date(pattern: &Regex, cell: &str) -> Option<String> {
    let found = pattern.captures(cell)?;
    let number = |name: &str| found.name(name).and_then(|part| part.as_str().trim_start().parse::<u32>().ok());
    let year = match (number("Y"), number("y")) {
        (Some(year), _) => year,
        // POSIX: 69 to 99 are of the twentieth century.
        (None, Some(year)) => year + if year >= 69 { 1900 } else { 2000 },
        (None, None) => return None,
    };
    let (month, day) = (number("m")?, number("d")?);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    (year >= 1 && day <= days).then(|| format!("{year}{month:02}{day:02}"))
}
