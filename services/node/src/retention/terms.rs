//! Records that go before the archive's term: of persons without contact, and of deceased ones, where the party delivers
//! these dates.
//!
//! The dates themselves are not kept, nor do they leave the node: for each record there is one day, the first on which it is
//! over its term, and the rule. A line that is over already is set aside with its reason; its archived record goes with it.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use jiff::ToSpan;
use jiff::civil::Date;
use linkage_agreement::RecordRef;
use linkage_agreement::model::Retention;
use serde::{Deserialize, Serialize};

use crate::error::NodeError;
use crate::vault::Vault;

/// The sealed file of terms.
pub(crate) const FILE: &str = "terms";

/// Which rule ends a record's term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Why {
    /// The party has had no contact for too long.
    LastContact,
    /// The person died long enough ago.
    Deceased,
}

impl Why {
    /// The agreement's key.
    pub(crate) fn rule(self) -> &'static str {
        match self {
            Self::LastContact => "retention.last_contact_months",
            Self::Deceased => "retention.deceased_months",
        }
    }
    /// The column that holds the date.
    pub(crate) fn column(self) -> &'static str {
        match self {
            Self::LastContact => "date_dernier_contact",
            Self::Deceased => "date_deces",
        }
    }
    /// Months, where the agreement has the rule.
    pub(crate) fn months(self, retention: &Retention) -> Option<u32> {
        match self {
            Self::LastContact => retention.last_contact_months,
            Self::Deceased => retention.deceased_months,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LastContact => {
                f.write_str("dernier contact plus ancien que la durée prévue par la convention (last_contact_months)")
            }
            Self::Deceased => f.write_str("décès plus ancien que la durée prévue par la convention (deceased_months)"),
        }
    }
}

/// What a line's dates say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineTerm {
    /// Nothing, or nothing that the agreement has a rule for.
    None,
    /// The record goes on this day.
    Ends(Date, Why),
    /// There is a date that cannot be read: the rule does not apply.
    Unreadable(Why),
}

/// The agreement's rules, for the columns of one delivery.
pub(crate) struct Rules {
    rules: Vec<(Why, u32, usize)>,
}

impl Rules {
    /// The rules whose column is there.
    pub(crate) fn new(retention: &Retention, columns: &[String]) -> Self {
        let rule = |why: Why| Some((why, why.months(retention)?, columns.iter().position(|c| c == why.column())?));
        Self { rules: [Why::LastContact, Why::Deceased].into_iter().filter_map(rule).collect() }
    }

    /// The earliest term of a line.
    pub(crate) fn of(&self, values: &[String]) -> LineTerm {
        let mut earliest: Option<(Date, Why)> = None;
        for (why, months, at) in &self.rules {
            let text = values.get(*at).map(|v| v.trim()).unwrap_or_default();
            if text.is_empty() {
                continue;
            }
            let Ok(date) = text.parse::<Date>() else { return LineTerm::Unreadable(*why) };
            // The last day of the term, and the day after it. A day that no calendar holds is never reached.
            let Ok(ends) = date.checked_add(i64::from(*months).months()).and_then(Date::tomorrow) else { continue };
            if earliest.is_none_or(|known| (ends, *why) < known) {
                earliest = Some((ends, *why));
            }
        }
        earliest.map_or(LineTerm::None, |(ends, why)| LineTerm::Ends(ends, why))
    }
}

/// By record reference, hexadecimal: the first day over its term, and why.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terms(BTreeMap<String, (Date, Why)>);

impl Terms {
    pub(crate) fn load(vault: &Vault) -> Result<Self, NodeError> {
        let Some(bytes) = vault.get(FILE)? else { return Ok(Self::default()) };
        serde_json::from_slice(&bytes).map_err(|_| NodeError::Damaged(FILE.to_owned()))
    }
    pub(crate) fn save(&self, vault: &Vault) -> Result<(), NodeError> {
        if self.0.is_empty() {
            return vault.remove(FILE);
        }
        let bytes = serde_json::to_vec(self).map_err(|_| NodeError::Damaged(FILE.to_owned()))?;
        vault.put(FILE, &bytes)
    }
    /// What the newest delivery says of a record takes the place of what an older one said.
    pub(crate) fn set(&mut self, reference: &RecordRef, term: Option<(Date, Why)>) {
        match term {
            Some(term) => drop(self.0.insert(reference.to_hex(), term)),
            None => drop(self.0.remove(&reference.to_hex())),
        }
    }
    pub(crate) fn forget(&mut self, gone: &HashSet<RecordRef>) {
        self.0.retain(|reference, _| RecordRef::from_hex(reference).is_some_and(|r| !gone.contains(&r)));
    }
    /// Records over their term by a rule.
    pub(crate) fn due(&self, rule: &str, today: Date) -> HashSet<RecordRef> {
        let over = self.0.iter().filter(|(_, (ends, why))| why.rule() == rule && *ends <= today);
        over.filter_map(|(reference, _)| RecordRef::from_hex(reference)).collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn rules(contact: Option<u32>, deceased: Option<u32>) -> Rules {
        let retention = Retention { last_contact_months: contact, deceased_months: deceased, ..Retention::default() };
        Rules::new(&retention, &["local_id", "date_dernier_contact", "date_deces"].map(str::to_owned))
    }

    fn of(rules: &Rules, contact: &str, death: &str) -> LineTerm {
        rules.of(&["1", contact, death].map(str::to_owned))
    }

    #[test]
    fn the_earliest_rule_ends_a_records_term() {
        let both = rules(Some(24), Some(0));
        assert_eq!(of(&both, "2024-01-31", ""), LineTerm::Ends(date(2026, 2, 1), Why::LastContact));
        assert_eq!(of(&both, "2024-02-29", ""), LineTerm::Ends(date(2026, 3, 1), Why::LastContact));
        assert_eq!(of(&both, "2024-01-31", "2025-05-05"), LineTerm::Ends(date(2025, 5, 6), Why::Deceased));
        assert_eq!(of(&both, "", ""), LineTerm::None);
        assert_eq!(of(&both, "hier", ""), LineTerm::Unreadable(Why::LastContact));
        assert_eq!(of(&rules(None, None), "2024-01-31", "2024-01-31"), LineTerm::None);
        assert_eq!(of(&rules(None, Some(12)), "illisible", "2024-01-31"), LineTerm::Ends(date(2025, 2, 1), Why::Deceased));
    }

    #[test]
    fn a_later_delivery_moves_a_term_or_lifts_it() {
        let (a, b) = (RecordRef([1; 16]), RecordRef([2; 16]));
        let mut terms = Terms::default();
        terms.set(&a, Some((date(2026, 2, 1), Why::LastContact)));
        terms.set(&b, Some((date(2026, 2, 1), Why::Deceased)));
        assert_eq!(terms.due(Why::LastContact.rule(), date(2026, 1, 31)), HashSet::new());
        assert_eq!(terms.due(Why::LastContact.rule(), date(2026, 2, 1)), HashSet::from([a]));
        terms.set(&a, Some((date(2027, 1, 1), Why::LastContact)));
        assert_eq!(terms.due(Why::LastContact.rule(), date(2026, 2, 1)), HashSet::new());
        terms.set(&a, None);
        terms.forget(&HashSet::from([b]));
        assert_eq!(terms, Terms::default());
    }
}
