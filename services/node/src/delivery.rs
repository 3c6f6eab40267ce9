//! A delivery from file to rows: read, set aside with reasons, normalised, minimised. Every line is accounted for.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use jiff::civil::Date;
use linkage_agreement::{Agreement, Period};
use linkage_encoding::identity::{Remark, SetAside};
use linkage_encoding::{Identity, Normaliser};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::attributes::Minimiser;
use crate::error::NodeError;
use crate::intake::{Intake, IntakeError, IntakeLine, Mapping, RawRecord, SetAsideReport};
use crate::retention::terms::{LineTerm, Rules, Why};
use crate::rights::Screen;

/// Canonical column of a record's local identifier, and of its household's.
const LOCAL_ID: &str = "local_id";
const HOUSEHOLD: &str = "local_household_id";

/// One record of a delivery. Holds a person's identity.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Row {
    /// The party's own identifier.
    pub local_id: String,
    /// The party's own household identifier.
    pub household: Option<String>,
    /// Normalised identity.
    pub identity: Identity,
    /// Identity values as delivered, in the agreement's order: what tells a changed record from an unchanged one.
    pub delivered: Vec<String>,
    /// Minimised attributes, in the agreement's order.
    pub attributes: Vec<Option<String>>,
    /// The first day on which the record is over the term that its own dates give, and the rule.
    #[zeroize(skip)]
    pub(crate) term: Option<(Date, Why)>,
}

/// What a delivery came to: counts only. `lines = records + set_aside`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliverySummary {
    /// Month.
    pub period: Period,
    /// Rows after the header.
    pub lines: u64,
    /// Records that take part.
    pub records: u64,
    /// Lines set aside.
    pub set_aside: u64,
    /// Lines set aside, by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Remarks on records that take part, by kind.
    pub remarks: BTreeMap<String, u64>,
    /// Attribute values left out because their rule has no word for them, by attribute.
    pub attributes_left_out: BTreeMap<String, u64>,
    /// SHA-256 of the file, hexadecimal.
    pub digest: String,
}

/// A delivery that was read whole.
pub struct Delivery {
    /// Rows, in the file's order.
    pub rows: Vec<Row>,
    /// Canonical columns of each row's `delivered`.
    pub identity_columns: Vec<String>,
    /// Local identifiers of lines set aside because the record is over its term, with its first day over it.
    pub(crate) over: Vec<(Zeroizing<String>, (Date, Why))>,
    /// Counts.
    pub summary: DeliverySummary,
}

/// Reads the delivery at `path`. Lines set aside, and attribute values left out, go to `report` by line and reason.
///
/// # Errors
/// Whatever makes the whole delivery unusable; nothing of it may be kept then.
pub fn read_delivery(
    agreement: &Agreement,
    mapping: &Mapping,
    path: &Path,
    period: Period,
    report: &mut SetAsideReport,
) -> Result<Delivery, NodeError> {
    read_screened(agreement, mapping, path, period, None, &Screen::none(), report)
}

/// As [`read_delivery`]; lines of persons on the list of `screen` are set aside, whatever else they hold, and so are those that
/// are over the term of their own dates on the day given.
pub(crate) fn read_screened(
    agreement: &Agreement,
    mapping: &Mapping,
    path: &Path,
    period: Period,
    today: Option<Date>,
    screen: &Screen,
    report: &mut SetAsideReport,
) -> Result<Delivery, NodeError> {
    let (delivery, births) = read_lines(agreement, Intake::open(path, mapping)?, period, today, screen, report)?;
    births.verdict()?;
    Ok(delivery)
}

/// The same of a delivery taken in before, from the names held of it.
pub(crate) fn read_kept(
    agreement: &Agreement,
    mapping: &Mapping,
    names: Zeroizing<Vec<u8>>,
    period: Period,
    screen: &Screen,
    report: &mut SetAsideReport,
) -> Result<Delivery, NodeError> {
    // Its dates were judged when it was taken in.
    Ok(read_lines(agreement, Intake::from_bytes(names, mapping)?, period, None, screen, report)?.0)
}

fn read_lines<R: Read>(
    agreement: &Agreement,
    mut intake: Intake<R>,
    period: Period,
    today: Option<Date>,
    screen: &Screen,
    report: &mut SetAsideReport,
) -> Result<(Delivery, Births), NodeError> {
    let columns = intake.columns().to_vec();
    let normaliser = Normaliser::new(&agreement.identity.field, &columns)?;
    let minimiser = Minimiser::new(&agreement.attribute, &columns, period);
    let position = |name: &str| columns.iter().position(|c| c == name);
    let local_id = position(LOCAL_ID).ok_or_else(|| {
        NodeError::NotReady(
            "la correspondance ne dit pas quelle colonne est l'identifiant local (local_id) : complétez-la et confirmez-la"
                .to_owned(),
        )
    })?;
    let household = position(HOUSEHOLD);
    let rules = Rules::new(&agreement.retention, &columns);
    let identity_columns: Vec<usize> = agreement
        .identity
        .field
        .iter()
        .flat_map(|f| [Some(&f.column), f.name_column.as_ref(), f.country_column.as_ref()])
        .flatten()
        .filter_map(|name| position(name))
        .collect();

    let (mut rows, mut over) = (Vec::new(), Vec::new());
    let mut refused: BTreeMap<String, u64> = BTreeMap::new();
    let mut remarks: BTreeMap<String, u64> = BTreeMap::new();
    let mut left_out: BTreeMap<String, u64> = BTreeMap::new();
    let mut births = Births::default();
    for line in &mut intake {
        match line? {
            IntakeLine::SetAside { line, reason } => report.set_aside(line, reason)?,
            IntakeLine::Record(record) => match normaliser.normalise(&record.values) {
                Err(reason) => {
                    births.count(reason == SetAside::ImpossibleDate, false);
                    report.row(record.line, &reason)?;
                    *refused.entry(reason.to_string()).or_default() += 1;
                }
                Ok(identity) => {
                    let unread = |remark: &Remark| matches!(remark, Remark::ImpossibleDate | Remark::UnreadableDate);
                    births.count(identity.remarks().iter().any(unread), identity.birth_date().is_some());
                    let id = record.values.get(local_id).map(|id| id.trim()).unwrap_or_default();
                    if let Some(ground) = screen.ground(id, &identity) {
                        report.row(record.line, &ground.reason())?;
                        *refused.entry(ground.reason().to_owned()).or_default() += 1;
                        wipe(record);
                        continue;
                    }
                    let term = match rules.of(&record.values) {
                        LineTerm::Ends(ends, why) => Some((ends, why)),
                        LineTerm::None => None,
                        LineTerm::Unreadable(why) => {
                            *remarks
                                .entry(format!("{} illisible : durée de conservation non appliquée", why.column()))
                                .or_default() += 1;
                            None
                        }
                    };
                    if let Some((ends, why)) = term.filter(|(ends, _)| today.is_some_and(|today| *ends <= today)) {
                        report.row(record.line, &why)?;
                        *refused.entry(why.to_string()).or_default() += 1;
                        over.push((Zeroizing::new(id.to_owned()), (ends, why)));
                        wipe(record);
                        continue;
                    }
                    for remark in identity.remarks() {
                        *remarks.entry(remark.to_string()).or_default() += 1;
                    }
                    let minimised = minimiser.minimise(&record);
                    for attribute in minimised.outside {
                        report.outside_rule(record.line, &attribute)?;
                        *left_out.entry(attribute).or_default() += 1;
                    }
                    let value = |at: usize| record.values.get(at).map(|v| v.trim().to_owned()).unwrap_or_default();
                    rows.push(Row {
                        local_id: value(local_id),
                        household: household.map(value).filter(|h| !h.is_empty()),
                        identity,
                        delivered: identity_columns.iter().map(|&at| value(at)).collect(),
                        attributes: minimised.values,
                        term,
                    });
                    wipe(record);
                }
            },
        }
    }
    let counted = intake.finish()?;
    let mut reasons: BTreeMap<String, u64> = counted.reasons.iter().map(|(reason, n)| (reason.to_string(), *n)).collect();
    for (reason, n) in refused {
        *reasons.entry(reason).or_default() += n;
    }
    let records = rows.len() as u64;
    let summary = DeliverySummary {
        period,
        lines: counted.lines,
        records,
        set_aside: counted.lines - records,
        reasons,
        remarks,
        attributes_left_out: left_out,
        digest: hex::encode(counted.digest),
    };
    let identity_columns = identity_columns.into_iter().filter_map(|at| columns.get(at).cloned()).collect();
    Ok((Delivery { rows, identity_columns, over, summary }, births))
}

/// Dates of birth that are not blank, and those of them that cannot be read.
#[derive(Default)]
struct Births {
    filled: u64,
    unread: u64,
}

impl Births {
    /// Fewer dates say nothing about the column.
    const LEAST: u64 = 20;

    fn count(&mut self, unread: bool, read: bool) {
        self.filled += u64::from(unread || read);
        self.unread += u64::from(unread);
    }

    /// Refuses a delivery most of whose dates of birth cannot be read: the column or its format is wrong, not the persons'.
    fn verdict(&self) -> Result<(), IntakeError> {
        if self.filled >= Self::LEAST && self.unread * 2 > self.filled {
            return Err(IntakeError::BirthDates { unread: self.unread, filled: self.filled });
        }
        Ok(())
    }
}

fn wipe(mut record: RawRecord) {
    record.values.zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_refused_when_most_dates_of_birth_cannot_be_read() {
        let verdict = |unread: u64, read: u64| {
            let mut births = Births::default();
            (0..unread).for_each(|_| births.count(true, false));
            (0..read).for_each(|_| births.count(false, true));
            births.count(false, false);
            births.verdict()
        };
        assert_eq!(verdict(11, 9), Err(IntakeError::BirthDates { unread: 11, filled: 20 }));
        assert_eq!(verdict(10, 10), Ok(()));
        assert_eq!(verdict(19, 0), Ok(()), "too few to tell");
        assert_eq!(verdict(0, 0), Ok(()));
    }
}
