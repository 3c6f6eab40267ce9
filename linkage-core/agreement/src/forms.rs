//! Forms of single values: names of columns, places, days.
//!
//! A value has one spelling only wherever a second one would give the same agreement a second hash.

/// Whether `text` can be a canonical column's name.
pub(crate) fn is_column(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Whether `text` is the INSEE code of a commune (five characters) or of a département (two; three overseas), by form.
pub(crate) fn is_place_code(text: &str) -> bool {
    let (department, overseas) = (text.get(..2).unwrap_or_default(), matches!(text.get(..2), Some("97" | "98")));
    let known = matches!(department, "2A" | "2B")
        || (department.len() == 2 && department.bytes().all(|b| b.is_ascii_digit()) && !matches!(department, "00" | "20" | "96"));
    let rest = text.get(2..).unwrap_or_default();
    known && rest.bytes().all(|b| b.is_ascii_digit()) && (rest.len() == 3 || rest.len() == usize::from(overseas))
}

/// A day of 1900..=2199 written exactly `AAAA-MM-JJ`; any other spelling would give the same day a second hash.
pub(crate) fn parse_date(text: &str) -> Option<jiff::civil::Date> {
    let shaped =
        text.len() == 10 && text.bytes().enumerate().all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() });
    let day: jiff::civil::Date = if shaped { text.parse().ok()? } else { return None };
    (1900..=2199).contains(&day.year()).then_some(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_communes_and_departments_by_form() {
        for right in ["34", "34172", "2A", "2B", "2A004", "01004", "974", "97411", "988", "98818", "99", "99352"] {
            assert!(is_place_code(right), "{right}");
        }
        for wrong in ["", "3", "341", "3417", "2a", "2C", "20", "00", "96", "97", "98", "340172", "34 17", "é4", "Lyon", "2A04x"]
        {
            assert!(!is_place_code(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_day_has_one_spelling() {
        assert!(parse_date("2024-02-29").is_some());
        for wrong in ["2023-02-29", "20240229", "1899-12-31", "2024-2-29", "2024-02-29T00:00", "2024-W01-1", ""] {
            assert_eq!(parse_date(wrong), None, "{wrong}");
        }
    }
}
