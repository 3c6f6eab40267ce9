//! Rates by party and group of persons: who is linked, and who is missed.
//!
//! A linkage that misses young women or persons of unknown birth date more often than others skews every figure made
//! from it (Harron et al., Int. J. Epidemiology 2017: linkage error by group). The broker cannot see groups; the analyst
//! has sex and age from the minimised attributes. Tables have a row for each party, and one for all.

use std::collections::BTreeMap;

use linkage_agreement::disclosure::{Rule, protect_line, protect_table, total};
use linkage_agreement::{PartyId, Period};
use serde::Serialize;

/// Sex, as far as known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sex {
    /// 2, F, Femme.
    Women,
    /// 1, M, H, Homme.
    Men,
    /// Anything else, or nothing.
    Unknown,
}

impl Sex {
    /// All values, in the order of tables.
    pub const ALL: [Self; 3] = [Self::Women, Self::Men, Self::Unknown];
    /// Reads an attribute's code.
    pub fn of_attribute(value: Option<&str>) -> Self {
        match value.map(str::to_lowercase).as_deref() {
            Some("2" | "f" | "femme" | "féminin" | "feminin") => Self::Women,
            Some("1" | "m" | "h" | "homme" | "masculin") => Self::Men,
            _ => Self::Unknown,
        }
    }
}

/// Age at the period's first day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum AgeBand {
    /// Under 25.
    #[serde(rename = "0-24")]
    Under25,
    /// 25 to 29.
    #[serde(rename = "25-29")]
    From25,
    /// 30 to 49.
    #[serde(rename = "30-49")]
    From30,
    /// 50 to 59.
    #[serde(rename = "50-59")]
    From50,
    /// 60 and over.
    #[serde(rename = "60+")]
    From60,
    /// Not known, or not finely enough.
    #[serde(rename = "unknown")]
    Unknown,
}

impl AgeBand {
    /// All values, in the order of tables.
    pub const ALL: [Self; 6] = [Self::Under25, Self::From25, Self::From30, Self::From50, Self::From60, Self::Unknown];

    /// The band of an age in years; unknown below 0 and beyond 130.
    pub fn of_years(age: i32) -> Self {
        match age {
            0..25 => Self::Under25,
            25..30 => Self::From25,
            30..50 => Self::From30,
            50..60 => Self::From50,
            60..=130 => Self::From60,
            _ => Self::Unknown,
        }
    }
    /// The band at the first day of `period` of a person born in `year`, and `month` where it is known (else in the
    /// middle of the year, which errs for few).
    pub fn born(period: Period, year: u16, month: Option<u8>) -> Self {
        let before = month.unwrap_or(7) < period.month();
        Self::of_years(i32::from(period.year()) - i32::from(year) - i32::from(!before))
    }
    /// Reads an attribute made by the rules month (`AAAA-MM`), year (`AAAA`) or age band (`25-29`, `60+`, `<25`). An age
    /// band that reaches into two of these is unknown.
    pub fn of_attribute(value: Option<&str>, period: Period) -> Self {
        let Some(value) = value else { return Self::Unknown };
        let number = |text: &str| text.parse::<u16>().ok();
        let ages = |low: u16, high: u16| {
            let (low, high) = (Self::of_years(low.into()), Self::of_years(high.into()));
            if low == high { low } else { Self::Unknown }
        };
        let read = match value.split_once('-') {
            Some((year, month)) if year.len() == 4 => {
                number(year).zip(month.parse().ok()).map(|(y, m)| Self::born(period, y, Some(m)))
            }
            Some((low, high)) => number(low).zip(number(high)).map(|(low, high)| ages(low, high)),
            None if value.len() == 4 => number(value).map(|year| Self::born(period, year, None)),
            None => match (value.strip_suffix('+'), value.strip_prefix('<')) {
                (Some(low), _) => number(low).map(|low| ages(low, 130)),
                (_, Some(high)) => number(high).map(|high| ages(0, high.saturating_sub(1))),
                _ => None,
            },
        };
        read.unwrap_or(Self::Unknown)
    }
}

/// One record's part in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'p, G> {
    /// The party whose record it is.
    pub party: &'p PartyId,
    /// Its group.
    pub group: G,
    /// What could have been found: 1 for a record that may be linked or not, the number of its true partners where
    /// there is a truth.
    pub out_of: u64,
    /// What was.
    pub found: u64,
}

/// Counts of one cell that may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rate {
    /// Records.
    pub records: u64,
    /// What could have been found.
    pub out_of: u64,
    /// What was.
    pub found: u64,
}

/// One row: a party, or all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RateRow {
    /// The party; none in the row of all.
    pub party: Option<PartyId>,
    /// By group, in the table's order; none where suppressed.
    pub groups: Vec<Option<Rate>>,
    /// All groups; none where suppressed.
    pub all: Option<Rate>,
}

/// Rates by party and group, after disclosure control.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RateTable<G> {
    /// The groups, in order.
    pub groups: Vec<G>,
    /// One row for each party by name, then one for all.
    pub rows: Vec<RateRow>,
}

/// What must not be small for a cell to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sensitive {
    /// Records linked and records not linked: whether a person is in another party's files is what the tables are
    /// about, and must not follow from belonging to a group.
    Outcome,
    /// Records only: whether a link was missed says nothing of the person. For measurements against a truth.
    Records,
}

/// Counts `subjects` by party and group and suppresses what is below `minimum`, with what would give it away.
pub fn rates<'p, G: Copy + PartialEq>(
    subjects: impl IntoIterator<Item = Subject<'p, G>>,
    groups: &[G],
    minimum: u64,
    sensitive: Sensitive,
) -> RateTable<G> {
    let empty = || vec![Rate { records: 0, out_of: 0, found: 0 }; groups.len()];
    let mut by_party: BTreeMap<&PartyId, Vec<Rate>> = BTreeMap::new();
    for subject in subjects {
        let row = by_party.entry(subject.party).or_insert_with(empty);
        let place = groups.iter().position(|g| *g == subject.group).and_then(|at| row.get_mut(at));
        if let Some(cell) = place {
            *cell = sum([*cell, Rate { records: 1, out_of: subject.out_of, found: subject.found }]);
        }
    }
    let rows: Vec<Vec<Rate>> = by_party.values().cloned().collect();
    let (hidden, hidden_columns, hidden_rows) = match sensitive {
        Sensitive::Outcome => protect(&rows, minimum, |r| [r.found, r.out_of - r.found]),
        Sensitive::Records => protect(&rows, minimum, |r| [r.records]),
    };
    let all: Vec<Rate> = (0..groups.len()).map(|at| sum(rows.iter().filter_map(|row| row.get(at)).copied())).collect();
    let whole = sum(all.iter().copied());
    let whole_hidden = match sensitive {
        Sensitive::Outcome => Rule::each(minimum).is_small(&[whole.found, whole.out_of - whole.found]),
        Sensitive::Records => Rule::each(minimum).is_small(&[whole.records]),
    };
    let show = |cells: &[Rate], hidden: &[bool]| cells.iter().zip(hidden).map(|(r, h)| (!h).then_some(*r)).collect();
    let mut out: Vec<RateRow> = Vec::with_capacity(rows.len() + 1);
    for (((party, row), hidden), row_hidden) in by_party.keys().zip(&rows).zip(&hidden).zip(&hidden_rows) {
        let total = sum(row.iter().copied());
        out.push(RateRow { party: Some((*party).clone()), groups: show(row, hidden), all: (!row_hidden).then_some(total) });
    }
    out.push(RateRow { party: None, groups: show(&all, &hidden_columns), all: (!whole_hidden).then_some(whole) });
    RateTable { groups: groups.to_vec(), rows: out }
}

fn sum(rates: impl IntoIterator<Item = Rate>) -> Rate {
    let zero = Rate { records: 0, out_of: 0, found: 0 };
    rates.into_iter().fold(zero, |sum, r| Rate {
        records: sum.records + r.records,
        out_of: sum.out_of + r.out_of,
        found: sum.found + r.found,
    })
}

/// Cells, column totals and row totals to hide.
fn protect<const N: usize>(
    rows: &[Vec<Rate>],
    minimum: u64,
    counts: impl Fn(&Rate) -> [u64; N],
) -> (Vec<Vec<bool>>, Vec<bool>, Vec<bool>) {
    let counted: Vec<Vec<[u64; N]>> = rows.iter().map(|row| row.iter().map(&counts).collect()).collect();
    let totals: Vec<[u64; N]> = counted.iter().map(|row| total(row)).collect();
    let mut hidden_rows = vec![false; rows.len()];
    let rule = if N == 1 { Rule::sum(minimum) } else { Rule::each(minimum) };
    protect_line(&totals, &mut hidden_rows, rule);
    let (hidden, hidden_columns) = protect_table(&counted, &hidden_rows, rule);
    (hidden, hidden_columns, hidden_rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(counts: &[(&str, Sex, u64, u64)], sensitive: Sensitive) -> RateTable<Sex> {
        let parties: Vec<(PartyId, Sex, u64, u64)> =
            counts.iter().map(|(p, sex, linked, not)| (p.parse().unwrap(), *sex, *linked, *not)).collect();
        let subjects = parties.iter().flat_map(|(party, group, linked, not)| {
            (0..linked + not).map(move |n| Subject { party, group: *group, out_of: 1, found: u64::from(n < *linked) })
        });
        rates(subjects, &Sex::ALL, 11, sensitive)
    }
    fn shown(table: &RateTable<Sex>) -> Vec<Vec<Option<u64>>> {
        let cell = |r: &Option<Rate>| r.map(|r| r.found);
        table.rows.iter().map(|row| row.groups.iter().chain([&row.all]).map(cell).collect()).collect()
    }

    #[test]
    fn large_counts_are_shown_with_their_totals() {
        let made =
            table(&[("caf", Sex::Women, 30, 20), ("caf", Sex::Men, 25, 15), ("ccas", Sex::Men, 40, 12)], Sensitive::Outcome);
        let zero = Some(0);
        assert_eq!(
            shown(&made),
            [[Some(30), Some(25), zero, Some(55)], [zero, Some(40), zero, Some(40)], [Some(30), Some(65), zero, Some(95)]]
        );
        assert_eq!(made.rows[0].party, Some("caf".parse().unwrap()));
        assert_eq!(made.rows[2].all, Some(Rate { records: 142, out_of: 142, found: 95 }));
    }

    #[test]
    fn few_who_are_not_linked_are_as_secret_as_few_who_are() {
        let counts =
            [("caf", Sex::Women, 50, 3), ("caf", Sex::Men, 40, 30), ("ccas", Sex::Women, 50, 30), ("ccas", Sex::Men, 45, 35)];
        // The small cell, the other of its row, and both of the other row: any one of them would give it back.
        let made = table(&counts, Sensitive::Outcome);
        assert_eq!(shown(&made)[0], [None, None, Some(0), Some(90)]);
        assert_eq!(shown(&made)[1], [None, None, Some(0), Some(95)]);
        assert_eq!(shown(&made)[2], [Some(100), Some(85), Some(0), Some(185)]);
        assert_eq!(shown(&table(&counts, Sensitive::Records))[0][0], Some(50));
    }

    #[test]
    fn a_small_party_is_hidden_whole_and_not_alone() {
        let counts = [("a", Sex::Women, 3, 2), ("b", Sex::Women, 30, 20), ("b", Sex::Men, 30, 20), ("c", Sex::Men, 60, 50)];
        let made = table(&counts, Sensitive::Records);
        assert_eq!(shown(&made)[0], [None, None, None, None]);
        let hidden = made.rows[..3].iter().filter(|row| row.all.is_none()).count();
        assert_eq!(hidden, 2, "the total of all would give a single one back");
    }

    #[test]
    fn ages_at_the_first_day_of_the_period() {
        let period: Period = "2024-03".parse().unwrap();
        let age = |value: &str| AgeBand::of_attribute(Some(value), period);
        assert_eq!(
            [age("1999-02"), age("1999-03"), age("1964-02"), age("1964-03")],
            [AgeBand::From25, AgeBand::Under25, AgeBand::From60, AgeBand::From50]
        );
        assert_eq!([age("1980"), age("2024-05"), age("1880")], [AgeBand::From30, AgeBand::Unknown, AgeBand::Unknown]);
        assert_eq!(
            [age("25-29"), age("18-24"), age("65+"), age("<18")],
            [AgeBand::From25, AgeBand::Under25, AgeBand::From60, AgeBand::Under25]
        );
        assert_eq!([age("18-29"), age("40+"), age(""), age("abc")], [AgeBand::Unknown; 4]);
        assert_eq!(AgeBand::of_attribute(None, period), AgeBand::Unknown);
    }

    #[test]
    fn sexes_in_the_codes_that_files_use() {
        assert_eq!(["1", "H", "Homme"].map(|s| Sex::of_attribute(Some(s))), [Sex::Men; 3]);
        assert_eq!(["2", "F", "femme"].map(|s| Sex::of_attribute(Some(s))), [Sex::Women; 3]);
        assert_eq!([Some("9"), None].map(Sex::of_attribute), [Sex::Unknown; 2]);
    }
}
