//! Values as files write them to the canonical writing: sex 1 or 2, ISO dates, whole amounts, birth places apart from countries.
//!
//! A value that a conversion cannot read is left as it stands where a later step may still read it (dates, amounts), and
//! left blank and counted where it cannot (sex, nationality).

use linkage_encoding::date::{self, DateFormat as BirthFormat};
use serde::{Deserialize, Serialize};

use super::headers::squash;

/// How dates are written in one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DateFormat {
    /// Day, month, year with any separator.
    #[serde(rename = "JJ/MM/AAAA")]
    DayMonthYear,
    /// Month, day, year with any separator.
    #[serde(rename = "MM/JJ/AAAA")]
    MonthDayYear,
    /// ISO 8601.
    #[serde(rename = "AAAA-MM-JJ")]
    Iso,
    /// Eight digits, day first.
    #[serde(rename = "JJMMAAAA")]
    CompactDayFirst,
    /// Eight digits, year first.
    #[serde(rename = "AAAAMMJJ")]
    CompactYearFirst,
    /// Days since 30 December 1899, as Excel counts them.
    #[serde(rename = "excel")]
    ExcelSerial,
}

impl DateFormat {
    /// Every format, in the order in which they are tried.
    pub const ALL: [Self; 6] =
        [Self::DayMonthYear, Self::MonthDayYear, Self::Iso, Self::CompactDayFirst, Self::CompactYearFirst, Self::ExcelSerial];

    /// The date in this format, `AAAA-MM-JJ`, an unknown day or month as `00`; `None` when the text is not a day of the
    /// calendar in 1850..=2199.
    pub fn to_iso(self, text: &str) -> Option<String> {
        match self {
            Self::ExcelSerial => {
                let days: i32 = text.parse().ok().filter(|d| (61..=109_574).contains(d))?;
                jiff::civil::date(1899, 12, 30).checked_add(jiff::Span::new().days(days)).ok().map(|date| date.to_string())
            }
            Self::DayMonthYear | Self::MonthDayYear | Self::Iso => {
                // A time of day after the date is left out.
                let day_text = text.split(['T', ' ']).next().filter(|d| d.len() >= 8).unwrap_or(text);
                let parts: Vec<&str> = day_text.split(['/', '-', '.', ' ']).collect();
                let [a, b, c] = parts.as_slice() else { return None };
                let (year, month, day) = match self {
                    Self::Iso => (*a, *b, *c),
                    Self::MonthDayYear => (*c, *a, *b),
                    _ => (*c, *b, *a),
                };
                if year.len() != 4 || month.len() > 2 || day.len() > 2 {
                    return None;
                }
                iso(year, month, day)
            }
            Self::CompactDayFirst | Self::CompactYearFirst => {
                // A spreadsheet takes the leading zero of a day away.
                let padded = if self == Self::CompactDayFirst && text.len() == 7 { format!("0{text}") } else { text.to_owned() };
                if padded.len() != 8 || !padded.bytes().all(|b| b.is_ascii_digit()) {
                    return None;
                }
                let part = |from: usize, to: usize| padded.get(from..to);
                if self == Self::CompactDayFirst {
                    iso(part(4, 8)?, part(2, 4)?, part(0, 2)?)
                } else {
                    iso(part(0, 4)?, part(4, 6)?, part(6, 8)?)
                }
            }
        }
    }
}

impl DateFormat {
    /// Whether another format reads a date of birth, or reads another one, that this one does not: a month and a day whose
    /// places a file changed. What no format reads, and a year alone, is not of another format.
    pub(crate) fn misfits(self, text: &str) -> bool {
        let strict = match self {
            Self::DayMonthYear => BirthFormat::DayMonthYear,
            Self::MonthDayYear => BirthFormat::MonthDayYear,
            Self::Iso => BirthFormat::YearMonthDay,
            Self::CompactDayFirst => BirthFormat::CompactDayMonthYear,
            Self::CompactYearFirst => BirthFormat::CompactYearMonthDay,
            Self::ExcelSerial => BirthFormat::ExcelSerial,
        };
        self.to_iso(text).is_none() && date::parse(text, Some(strict)) != date::parse(text, None)
    }

    /// A date of birth of a column declared to be in this format: ISO where it reads it; a word that no reader takes for a
    /// date where another format alone does; else as it stands, for the normalisation to judge.
    pub(crate) fn birth_date(self, text: &str) -> String {
        match self.to_iso(text) {
            Some(iso) => iso,
            None if self.misfits(text) => OTHER_FORMAT.to_owned(),
            None => text.to_owned(),
        }
    }
}

/// Stands for a date of birth that the declared format of its column refuses.
const OTHER_FORMAT: &str = "illisible";

/// A day of the calendar, or a month or year of it when the rest is `0`.
fn iso(year: &str, month: &str, day: &str) -> Option<String> {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<i16>().ok()).flatten();
    let (year, month, day) = (number(year).filter(|y| (1850..=2199).contains(y))?, number(month)?, number(day)?);
    if month == 0 && day > 0 {
        return None;
    }
    jiff::civil::Date::new(year, i8::try_from(month.max(1)).ok()?, i8::try_from(day.max(1)).ok()?).ok()?;
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

/// A birth date of day, month and year, an unknown day or month as `00`; what is no date is handed on as `JJ/MM/AAAA` for
/// the normalisation to judge, and nothing comes of a day and month without a year.
pub(crate) fn birth_date([day, month, year]: [&str; 3]) -> String {
    if year.is_empty() {
        return String::new();
    }
    let or_zero = |part: &str| if part.is_empty() { "0".to_owned() } else { part.to_owned() };
    let (day, month) = (or_zero(day), or_zero(month));
    // A day of an unknown month is no date: the year remains.
    let day = if month.bytes().all(|b| b == b'0') { "0".to_owned() } else { day };
    iso(year, &month, &day).unwrap_or_else(|| format!("{day}/{month}/{year}"))
}

/// Whether the text is a French social security number by its form: 13 digits, or 15 with a key that is right
/// (97 - number mod 97). A file may call it an identifier; it is never taken.
pub(crate) fn looks_like_nir(text: &str) -> bool {
    let bare: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let corsica = bare.get(5..7).filter(|d| matches!(*d, "2A" | "2B"));
    let digits = match corsica {
        Some("2A") => bare.replacen("2A", "19", 1),
        Some(_) => bare.replacen("2B", "18", 1),
        None => bare,
    };
    if !matches!(digits.len(), 13 | 15) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let number = |from: usize, to: usize| digits.get(from..to).and_then(|part| part.parse::<u64>().ok()).unwrap_or(0);
    let form = matches!(number(0, 1), 1 | 2) && (1..=12).contains(&number(3, 5)) && number(5, 7) > 0;
    form && (digits.len() == 13 || number(13, 15) == 97 - number(0, 13) % 97)
}

/// A date in whichever format reads it, day before month. Four digits are a year, not a number of days.
pub(crate) fn iso_date(text: &str) -> Option<String> {
    DateFormat::ALL
        .iter()
        .filter(|format| match format {
            DateFormat::ExcelSerial => text.len() >= 5,
            other => **other != DateFormat::MonthDayYear,
        })
        .find_map(|format| format.to_iso(text))
}

/// Year and month (0 when not known) of a date in any format, with or without a day.
pub(crate) fn year_month(text: &str) -> Option<(i16, u8)> {
    let parts: Vec<&str> = text.split(['/', '-', '.']).collect();
    let date = iso_date(text).or_else(|| match parts.as_slice() {
        [year, month] if year.len() == 4 => iso(year, month, "0"),
        [month, year] if year.len() == 4 => iso(year, month, "0"),
        [year] if year.len() == 4 => iso(year, "0", "0"),
        _ => None,
    })?;
    Some((date.get(..4)?.parse().ok()?, date.get(5..7)?.parse().ok()?))
}

/// 1 for a man, 2 for a woman, blank for what says that it is not known; `None` for what cannot be read.
pub(crate) fn sex(text: &str) -> Option<&'static str> {
    match squash(text).as_str() {
        "1" | "h" | "m" | "mr" | "homme" | "masculin" | "masc" | "male" | "monsieur" | "garcon" => Some("1"),
        "2" | "f" | "femme" | "feminin" | "fem" | "female" | "mme" | "mlle" | "mmemlle" | "mmeoumlle" | "madame"
        | "mademoiselle" | "fille" => Some("2"),
        "" | "0" | "9" | "nr" | "nd" | "nc" | "nonrenseigne" | "nonprecise" | "inconnu" | "inconnue" | "indetermine"
        | "autre" => Some(""),
        _ => None,
    }
}

/// Whether a value says that it is not known, in any column.
pub(crate) fn says_unknown(text: &str) -> bool {
    matches!(
        squash(text).as_str(),
        "nr" | "nd" | "nonrenseigne" | "nonrenseignee" | "nonprecise" | "inconnu" | "inconnue" | "null"
    )
}

/// Housing situations under the code of the sample's reference list; `None` for other words.
pub(crate) fn housing(text: &str) -> Option<&'static str> {
    Some(match squash(text).as_str() {
        "logementautonome" | "locataire" | "proprietaire" | "locatairehlm" | "locataireparcprive" | "accedantalapropriete" => {
            "LOGEMENT_AUTONOME"
        }
        "hebergetiers"
        | "hebergechezuntiers"
        | "hebergechezdestiers"
        | "hebergeparuntiers"
        | "chezuntiers"
        | "hebergeparlafamille" => "HEBERGE_TIERS",
        "hebergementurgence" | "hebergementdurgence" | "centredurgence" | "centredhebergementdurgence" | "chu" => {
            "HEBERGEMENT_URGENCE"
        }
        "hotel" | "hotelsocial" | "nuiteeshotelieres" => "HOTEL",
        "logementadapte"
        | "residencesociale"
        | "pensiondefamille"
        | "foyerdejeunestravailleurs"
        | "fjt"
        | "intermediationlocative" => "LOGEMENT_ADAPTE",
        "rue" | "sansabri" | "alarue" | "sdf" | "sansdomicilefixe" => "RUE",
        "chrs" => "CHRS",
        "campementsquat" | "squatcampement" | "squat" | "campement" | "bidonville" => "CAMPEMENT_SQUAT",
        "institution" | "etablissement" | "hopital" | "prison" | "etablissementpenitentiaire" | "ehpad" => "INSTITUTION",
        _ => return None,
    })
}

/// An amount without currency, spaces or cents of zero; text that is not one amount (a band such as `501-1000`) stays.
pub(crate) fn amount(text: &str) -> String {
    let mut bare: String = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '€' | '\u{202F}' | '\u{A0}')).collect();
    if bare.contains(',') {
        bare = bare.replace('.', "").replace(',', ".");
    }
    let digits = bare.strip_prefix('-').unwrap_or(&bare);
    let (whole, cents) = digits.split_once('.').unwrap_or((digits, ""));
    let figures = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !figures(whole) || !figures(cents) {
        return text.to_owned();
    }
    if cents.bytes().all(|b| b == b'0') {
        bare.truncate(bare.len() - if digits.contains('.') { cents.len() + 1 } else { 0 });
    }
    bare
}

/// `Ville (PAYS)`, `(PAYS)` or `Ville (69)` to place and country; a place without country is in France, as the files that
/// write countries so mean it.
pub(crate) fn birth_place(text: &str) -> (String, String) {
    let (place, inside) = last_bracket(text.trim()).unwrap_or((text.trim(), ""));
    let department = !inside.is_empty() && inside.len() <= 3 && inside.starts_with(|c: char| c.is_ascii_digit());
    let country = if place.is_empty() && inside.is_empty() {
        ""
    } else if inside.is_empty() || department {
        "FRANCE"
    } else {
        inside
    };
    (place.to_owned(), country.to_owned())
}

/// What stands before and inside the bracket that ends the text; country names may hold brackets of their own.
fn last_bracket(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_suffix(')')?;
    let mut depth = 1u32;
    let open = inner.char_indices().rev().find_map(|(at, letter)| {
        depth = match letter {
            ')' => depth + 1,
            '(' => depth - 1,
            _ => depth,
        };
        (depth == 0).then_some(at)
    })?;
    let inside = inner.get(open + 1..)?;
    Some((text.get(..open)?.trim(), inside.trim()))
}

/// A five-character code; spreadsheets take the leading zero away.
pub(crate) fn five_characters(text: &str) -> String {
    if text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit()) { format!("0{text}") } else { text.to_ascii_uppercase() }
}

/// Whether the text is an INSEE commune or country code, or a postcode, by its form.
pub(crate) fn is_insee(text: &str) -> bool {
    let code = five_characters(text);
    let bytes = code.as_bytes();
    let corsica = code.starts_with("2A") || code.starts_with("2B");
    bytes.len() == 5 && bytes.iter().enumerate().all(|(i, b)| b.is_ascii_digit() || (i == 1 && corsica))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_in_their_format_become_iso_and_others_do_not() {
        assert_eq!(DateFormat::DayMonthYear.to_iso("04/05/1987").as_deref(), Some("1987-05-04"));
        assert_eq!(DateFormat::DayMonthYear.to_iso("4.5.1987").as_deref(), Some("1987-05-04"));
        assert_eq!(DateFormat::DayMonthYear.to_iso("31/02/1987"), None);
        assert_eq!(DateFormat::DayMonthYear.to_iso("00/05/1987").as_deref(), Some("1987-05-00"));
        assert_eq!(DateFormat::DayMonthYear.to_iso("01/00/1987"), None);
        assert_eq!(DateFormat::Iso.to_iso("1987-05-04 00:00:00").as_deref(), Some("1987-05-04"));
        assert_eq!(DateFormat::CompactDayFirst.to_iso("4051987").as_deref(), Some("1987-05-04"));
        assert_eq!(DateFormat::CompactYearFirst.to_iso("19870504").as_deref(), Some("1987-05-04"));
        assert_eq!(DateFormat::CompactYearFirst.to_iso("25121987"), None);
        assert_eq!(DateFormat::ExcelSerial.to_iso("31901").as_deref(), Some("1987-05-04"));
        assert_eq!(DateFormat::ExcelSerial.to_iso("é"), None);
        assert_eq!(DateFormat::CompactDayFirst.to_iso("é05198é"), None);
    }

    #[test]
    fn a_declared_format_is_held_to_for_dates_of_birth() {
        use DateFormat::*;
        for (format, text, read) in [
            (DayMonthYear, "04/05/1987", "1987-05-04"),
            (DayMonthYear, "12/25/1987", OTHER_FORMAT),
            (DayMonthYear, "1987-12-25", OTHER_FORMAT),
            (MonthDayYear, "12/25/1987", "1987-12-25"),
            (MonthDayYear, "04/05/1987", "1987-04-05"),
            (MonthDayYear, "25/12/1987", OTHER_FORMAT),
            (Iso, "1987-25-12", OTHER_FORMAT),
            (CompactYearFirst, "25121987", OTHER_FORMAT),
            (ExcelSerial, "25/12/1987", OTHER_FORMAT),
            // Nothing else reads them either: the year of an impossible date, and a year alone, are kept.
            (DayMonthYear, "31/02/1987", "31/02/1987"),
            (CompactYearFirst, "19960094", "19960094"),
            (DayMonthYear, "1987", "1987"),
            (DayMonthYear, "25/12/87", "25/12/87"),
            (Iso, "0000-00-00", "0000-00-00"),
            (Iso, "inconnue", "inconnue"),
        ] {
            assert_eq!(format.birth_date(text), read, "{format:?} {text}");
        }
        assert!(date::parse(OTHER_FORMAT, None).is_err());
    }

    #[test]
    fn birth_dates_in_parts() {
        assert_eq!(birth_date(["4", "05", "1987"]), "1987-05-04");
        assert_eq!(birth_date(["", "5", "1987"]), "1987-05-00");
        assert_eq!(birth_date(["", "", "1987"]), "1987-00-00");
        assert_eq!(birth_date(["4", "", "1987"]), "1987-00-00");
        assert_eq!(birth_date(["31", "2", "1987"]), "31/2/1987");
        assert_eq!(birth_date(["4", "5", ""]), "");
    }

    #[test]
    fn social_security_numbers_by_their_form() {
        // INSEE's example of a key: 2 55 08 14 168 025, key 38.
        assert!(looks_like_nir("255081416802538") && looks_like_nir("2 55 08 14 168 025 38") && looks_like_nir("2550814168025"));
        for text in ["255081416802539", "2024010000123", "80020638032", "0102030405", "A550814168025", ""] {
            assert!(!looks_like_nir(text), "{text}");
        }
    }

    #[test]
    fn months_are_read_from_partial_dates() {
        assert_eq!(year_month("00/05/1987"), Some((1987, 5)));
        assert_eq!(year_month("1987-05"), Some((1987, 5)));
        assert_eq!(year_month("05/1987"), Some((1987, 5)));
        assert_eq!(year_month("1987-13-00"), None);
        assert_eq!(year_month("1987"), Some((1987, 0)));
        assert_eq!(year_month("mai 1987"), None);
    }

    #[test]
    fn sexes_and_titles() {
        for (text, code) in [
            ("1", "1"),
            ("H", "1"),
            ("M.", "1"),
            ("Homme", "1"),
            ("F", "2"),
            ("MLLE", "2"),
            ("Mme", "2"),
            ("Féminin", "2"),
            ("Non renseigné", ""),
        ] {
            assert_eq!(sex(text), Some(code), "{text}");
        }
        assert_eq!(sex("Docteur"), None);
    }

    #[test]
    fn amounts() {
        for (text, number) in [
            ("1840,00", "1840"),
            ("1 840,50 €", "1840.50"),
            ("1.840,00", "1840"),
            ("1840.00", "1840"),
            ("0", "0"),
            ("-12,00", "-12"),
        ] {
            assert_eq!(amount(text), number, "{text}");
        }
        for text in ["501-1000", "1500+", "", "-", "néant"] {
            assert_eq!(amount(text), text);
        }
    }

    #[test]
    fn birth_places_and_countries() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(birth_place("(MALI)"), pair("", "MALI"));
        assert_eq!(birth_place("Oran (ALGERIE)"), pair("Oran", "ALGERIE"));
        assert_eq!(birth_place("Goma (CONGO (REP. DEM.))"), pair("Goma", "CONGO (REP. DEM.)"));
        assert_eq!(birth_place("Goma) ("), pair("Goma) (", "FRANCE"));
        assert_eq!(birth_place("Goma)"), pair("Goma)", "FRANCE"));
        assert_eq!(birth_place("Lyon (69)"), pair("Lyon", "FRANCE"));
        assert_eq!(birth_place("Agde"), pair("Agde", "FRANCE"));
        assert_eq!(birth_place(""), pair("", ""));
    }
}
