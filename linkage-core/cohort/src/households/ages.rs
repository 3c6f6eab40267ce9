//! Ages of persons, as far as a minimised date of birth tells them.

use linkage_agreement::Period;

/// Age at which a person is grown, years.
const GROWN: u16 = 18;
/// Beyond this an age is a mistake, years.
const OLDEST: u16 = 130;

/// Whether a person is a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Age {
    /// Younger than 18.
    Minor,
    /// 18 or older.
    Adult,
    /// Either.
    Unknown,
}

/// Between which ages a person is, in whole years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ages {
    low: u16,
    high: u16,
}

impl Ages {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self { low: 0, high: u16::MAX };

    /// Between `low` and `high` years, both included; unknown when this is no age.
    pub fn between(low: u16, high: u16) -> Self {
        if low <= high && low <= OLDEST { Self { low, high } } else { Self::UNKNOWN }
    }
    /// At the first day of `period`, of a person born in `year`, and in `month` where it is known. One born in the
    /// period's own month of the year has the birthday before them, but for those born on the first.
    pub fn born(period: Period, year: u16, month: Option<u8>) -> Self {
        let Some(years) = period.year().checked_sub(year) else { return Self::UNKNOWN };
        let before = years.saturating_sub(1);
        match month {
            Some(month) if month < period.month() => Self::between(years, years),
            // Born in the period's own year: not a year old, and to be born later in it is a mistake of the month.
            Some(_) => Self::between(before, before),
            None => Self::between(before, years),
        }
    }
    /// Reads an attribute made by the rules month (`AAAA-MM`), year (`AAAA`) or age band (`25-29`, `60+`, `<25`).
    pub fn of_attribute(value: &str, period: Period) -> Self {
        let number = |text: &str| text.parse::<u16>().ok();
        let read = match value.split_once('-') {
            Some((year, month)) if year.len() == 4 => {
                number(year).zip(month.parse().ok()).map(|(year, month)| Self::born(period, year, Some(month)))
            }
            Some((low, high)) => number(low).zip(number(high)).map(|(low, high)| Self::between(low, high)),
            None if value.len() == 4 => number(value).map(|year| Self::born(period, year, None)),
            None => match (value.strip_suffix('+'), value.strip_prefix('<')) {
                (Some(low), _) => number(low).map(|low| Self::between(low, OLDEST)),
                (_, Some(high)) => number(high).and_then(|high| high.checked_sub(1)).map(|high| Self::between(0, high)),
                _ => None,
            },
        };
        read.unwrap_or(Self::UNKNOWN)
    }
    /// Whether that is a child.
    pub fn age(self) -> Age {
        match self {
            Self { high, .. } if high < GROWN => Age::Minor,
            Self::UNKNOWN => Age::Unknown,
            Self { low, .. } if low >= GROWN => Age::Adult,
            _ => Age::Unknown,
        }
    }
    /// The middle of the range, where there is one.
    pub fn years(self) -> Option<u16> {
        (self != Self::UNKNOWN).then(|| self.low.midpoint(self.high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_from_each_rule() {
        let period: Period = "2024-03".parse().unwrap();
        let age = |value: &str| Ages::of_attribute(value, period).age();
        assert_eq!([age("2006-02"), age("2006-03"), age("2006-04")], [Age::Adult, Age::Minor, Age::Minor]);
        assert_eq!([age("2005"), age("2006"), age("2007")], [Age::Adult, Age::Unknown, Age::Minor]);
        assert_eq!([age("18-24"), age("<18"), age("<25"), age("0-17"), age("60+")].map(|a| a as u8), [1, 0, 2, 0, 1]);
        assert_eq!([age("2024-03"), age("2024"), age("2024-12")], [Age::Minor; 3]);
    }

    #[test]
    fn what_is_no_age_is_unknown() {
        let period: Period = "2024-03".parse().unwrap();
        for value in ["", "2031-01", "1880", "1880-05", "abc", "-", "24-18", "<0", "+", "n/a"] {
            assert_eq!(Ages::of_attribute(value, period), Ages::UNKNOWN, "{value}");
        }
        assert_eq!(Ages::UNKNOWN.years(), None);
        assert_eq!(Ages::of_attribute("18-24", period).years(), Some(21));
    }
}
