//! Periods of a query: its months, cut by the grain.

use linkage_agreement::Period;

use super::document::{Grain, Range};

/// One period: months in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// As the dimension writes it: `2024-01`, `2024-T1`, `2024`.
    pub name: String,
    /// First month of it that the query asks for, as [`Period::index`].
    pub first: u32,
    /// Last one.
    pub last: u32,
    /// Whether the query asks for some of its months only.
    pub partial: bool,
}

/// The month of an index.
pub(crate) fn month(index: u32) -> Option<Period> {
    Period::new(u16::try_from(1900 + index / 12).ok()?, u8::try_from(index % 12 + 1).ok()?)
}

/// The periods of `range`, in order.
pub(crate) fn spans(range: Range, grain: Grain) -> Vec<Span> {
    let length = match grain {
        Grain::Month => 1,
        Grain::Quarter => 3,
        Grain::Year => 12,
    };
    let (from, to) = (range.from.index(), range.to.index());
    let mut spans = Vec::new();
    let mut start = from - from % length;
    while start <= to {
        let (first, last) = (start.max(from), (start + length - 1).min(to));
        let (year, part) = (1900 + start / 12, start % 12 / length + 1);
        let name = match grain {
            Grain::Month => format!("{year}-{part:02}"),
            Grain::Quarter => format!("{year}-T{part}"),
            Grain::Year => year.to_string(),
        };
        spans.push(Span { name, first, last, partial: last - first + 1 < length });
        start += length;
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(from: &str, to: &str, grain: Grain) -> Vec<(String, u32, bool)> {
        let range = Range { from: from.parse().unwrap(), to: to.parse().unwrap() };
        spans(range, grain).into_iter().map(|s| (s.name, s.last - s.first + 1, s.partial)).collect()
    }

    #[test]
    fn months_quarters_and_years_are_cut_at_their_bounds() {
        let own = |list: &[(&str, u32, bool)]| list.iter().map(|(n, l, p)| ((*n).to_owned(), *l, *p)).collect::<Vec<_>>();
        assert_eq!(cut("2023-12", "2024-01", Grain::Month), own(&[("2023-12", 1, false), ("2024-01", 1, false)]));
        assert_eq!(
            cut("2023-12", "2024-04", Grain::Quarter),
            own(&[("2023-T4", 1, true), ("2024-T1", 3, false), ("2024-T2", 1, true)])
        );
        assert_eq!(cut("2023-02", "2024-12", Grain::Year), own(&[("2023", 11, true), ("2024", 12, false)]));
        assert_eq!(cut("2199-12", "2199-12", Grain::Year), own(&[("2199", 1, true)]));
    }

    #[test]
    fn an_index_is_a_month() {
        for text in ["1900-01", "2024-02", "2199-12"] {
            let period: Period = text.parse().unwrap();
            assert_eq!(month(period.index()), Some(period));
        }
        assert_eq!(month(3600), None);
    }
}
