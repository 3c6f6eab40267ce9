//! Drift: what a run's report says differently from the previous run's of the same agreement.
//!
//! A partner who changes software, a column that goes empty, a list half as long: all show in how linked pairs agree
//! before anybody sees it in the figures. Distributions are compared by total variation and by the population stability
//! index (PSI), flagged beyond .1 (Siddiqi, Credit Risk Scorecards, 2006) and what two samples of that size
//! differ by when nothing changed: PSI times the harmonic size is then chi-squared (Yurdakul & Naranjo, J. Risk Model
//! Validation 2020). Shares are flagged beyond a threshold and three standard errors. Two months hold mostly the same
//! persons, so that chance is, if anything, overstated.
//!
//! What a broker keeps for it is a [`Snapshot`]: counts and estimates of a run, without handle or token.

use std::collections::{BTreeMap, BTreeSet};

use linkage_agreement::PartyId;
use serde::{Deserialize, Serialize};

use crate::Report;

/// PSI of a field's levels among linked pairs.
const PSI: f64 = 0.1;
/// Change of the share of a level among matches.
const AGREEMENT: f64 = 0.05;
/// Relative change of expected matches for each record.
const MATCHES: f64 = 0.2;
/// Drop of estimated precision or recall.
const QUALITY: f64 = 0.01;
/// Change of the share of a party's records that are linked.
const LINKED: f64 = 0.05;
/// Relative change of a party's number of records.
const RECORDS: f64 = 0.2;
/// Change of the share of blocks that are dropped.
const DROPPED: f64 = 0.01;
/// Standard errors beyond which a change of shares is not chance.
const STANDARD_ERRORS: f64 = 3.0;

/// What is kept of a run to compare the next one with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    parties: BTreeMap<PartyId, PartySnapshot>,
    dimensions: BTreeMap<String, Vec<LevelSnapshot>>,
    /// Expected matches, met or not, over pairs of two parties (of the party, when there is one).
    matches: f64,
    precision: f64,
    recall: f64,
    blocks: u64,
    blocks_dropped: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartySnapshot {
    records: u64,
    linked: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LevelSnapshot {
    level: String,
    m: f64,
    linked: u64,
}

impl Snapshot {
    /// What is kept of `report`, whose parties are `parties`, in this order.
    pub fn of(report: &Report, parties: &[PartyId]) -> Self {
        let shares = if parties.len() == 1 { &report.within } else { &report.across };
        let dimension = |d: &crate::report::DimensionReport| {
            let missing = LevelSnapshot { level: "missing".to_owned(), m: 0.0, linked: d.missing_linked };
            let levels = d.levels.iter().map(|l| LevelSnapshot { level: l.level.clone(), m: l.m, linked: l.linked });
            (d.dimension.clone(), std::iter::once(missing).chain(levels).collect())
        };
        let party = |(id, p): (&PartyId, &crate::report::PartyReport)| {
            (id.clone(), PartySnapshot { records: p.records, linked: p.linked })
        };
        Self {
            parties: parties.iter().zip(&report.parties).map(party).collect(),
            dimensions: report.weights.iter().map(dimension).collect(),
            matches: shares.matches * shares.pairs,
            precision: report.precision.value,
            recall: report.recall.value,
            blocks: report.blocks.kept + report.blocks.dropped,
            blocks_dropped: report.blocks.dropped,
        }
    }

    fn matches_per_record(&self) -> f64 {
        self.matches / (self.parties.values().map(|p| p.records).sum::<u64>() as f64).max(1.0)
    }

    fn dropped_share(&self) -> f64 {
        self.blocks_dropped as f64 / (self.blocks as f64).max(1.0)
    }
}

/// A figure before and now.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Shift {
    /// In the previous run.
    pub before: f64,
    /// In this one.
    pub now: f64,
}

impl Shift {
    fn change(self) -> f64 {
        self.now - self.before
    }
    /// Change as a share of what was before.
    fn relative(self) -> f64 {
        if self.before == self.now { 0.0 } else { self.change() / self.before.abs().max(1e-12) }
    }
}

/// One field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DimensionDrift {
    /// The dimension's name.
    pub dimension: String,
    /// Linked pairs in the previous run.
    pub pairs_before: u64,
    /// Linked pairs in this one.
    pub pairs_now: u64,
    /// Half the sum of the differences of the levels' shares: 0 the same, 1 nothing in common.
    pub total_variation: f64,
    /// Population stability index.
    pub psi: f64,
    /// The index from which this field is flagged, given the number of pairs.
    pub psi_threshold: f64,
    /// The level whose share among matches (m) moved most.
    pub moved_level: String,
    /// That share.
    pub moved_m: Shift,
}

/// One party.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartyDrift {
    /// The party.
    pub party: PartyId,
    /// Records.
    pub records: Shift,
    /// Share of them that is linked.
    pub linked_share: Shift,
}

/// What may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FlagKind {
    /// Linked pairs agree on a field in another way: PSI.
    LevelsMoved,
    /// Persons' records agree on a level more or less often.
    AgreementMoved,
    /// More or fewer expected matches for each record.
    MatchesMoved,
    /// Estimated precision fell.
    PrecisionFell,
    /// Estimated recall fell.
    RecallFell,
    /// Another share of a party's records is linked.
    LinkedShareMoved,
    /// A party brought many more or fewer records.
    RecordsMoved,
    /// More blocks were dropped.
    BlocksDropped,
    /// A party takes part that did not.
    PartyNew,
    /// A party took part that does not.
    PartyGone,
    /// A field is compared that was not, or the other way round.
    FieldsChanged,
}

/// A change beyond its threshold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flag {
    /// What.
    pub kind: FlagKind,
    /// The dimension or party concerned; empty for the whole run.
    pub subject: String,
    /// The level concerned; empty when none is.
    pub level: String,
    /// Before and now; for `levels_moved`, `now` is the index.
    pub shift: Shift,
    /// The change from which it is flagged.
    pub threshold: f64,
}

/// This run against the previous one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drift {
    /// By dimension that both have.
    pub dimensions: Vec<DimensionDrift>,
    /// By party that both have.
    pub parties: Vec<PartyDrift>,
    /// Expected matches for each record.
    pub matches_per_record: Shift,
    /// Estimated precision.
    pub precision: Shift,
    /// Estimated recall.
    pub recall: Shift,
    /// Share of blocks dropped.
    pub dropped_share: Shift,
    /// Changes beyond their thresholds; none when all is as it was.
    pub flags: Vec<Flag>,
}

/// Compares two runs.
pub fn drift(previous: &Snapshot, current: &Snapshot) -> Drift {
    let mut flags = Vec::new();
    let mut flag = |kind, subject: &str, level: &str, shift, threshold| {
        flags.push(Flag { kind, subject: subject.to_owned(), level: level.to_owned(), shift, threshold });
    };

    let mut parties = Vec::new();
    for (party, now) in &current.parties {
        let Some(before) = previous.parties.get(party) else {
            flag(FlagKind::PartyNew, party.as_str(), "", Shift { before: 0.0, now: now.records as f64 }, 0.0);
            continue;
        };
        let records = Shift { before: before.records as f64, now: now.records as f64 };
        let share = |p: &PartySnapshot| p.linked as f64 / (p.records as f64).max(1.0);
        let linked_share = Shift { before: share(before), now: share(now) };
        if records.relative().abs() > RECORDS {
            flag(FlagKind::RecordsMoved, party.as_str(), "", records, RECORDS);
        }
        if is_moved(linked_share, before.records, now.records, LINKED) {
            flag(FlagKind::LinkedShareMoved, party.as_str(), "", linked_share, LINKED);
        }
        parties.push(PartyDrift { party: party.clone(), records, linked_share });
    }
    for (party, before) in previous.parties.iter().filter(|(party, _)| !current.parties.contains_key(*party)) {
        flag(FlagKind::PartyGone, party.as_str(), "", Shift { before: before.records as f64, now: 0.0 }, 0.0);
    }

    let mut dimensions = Vec::new();
    let names: BTreeSet<&String> = previous.dimensions.keys().chain(current.dimensions.keys()).collect();
    for name in names {
        let (Some(before), Some(now)) = (previous.dimensions.get(name), current.dimensions.get(name)) else {
            let here = |map: &BTreeMap<_, _>| f64::from(u8::from(map.contains_key(name)));
            let shift = Shift { before: here(&previous.dimensions), now: here(&current.dimensions) };
            flag(FlagKind::FieldsChanged, name, "", shift, 0.0);
            continue;
        };
        let found = dimension(name, before, now);
        if found.psi > found.psi_threshold {
            flag(FlagKind::LevelsMoved, name, "", Shift { before: 0.0, now: found.psi }, found.psi_threshold);
        }
        if is_moved(found.moved_m, found.pairs_before, found.pairs_now, AGREEMENT) {
            flag(FlagKind::AgreementMoved, name, &found.moved_level, found.moved_m, AGREEMENT);
        }
        dimensions.push(found);
    }

    let shift = |figure: fn(&Snapshot) -> f64| Shift { before: figure(previous), now: figure(current) };
    let matches_per_record = shift(Snapshot::matches_per_record);
    let (precision, recall) = (shift(|s| s.precision), shift(|s| s.recall));
    let dropped_share = shift(Snapshot::dropped_share);
    if matches_per_record.relative().abs() > MATCHES {
        flag(FlagKind::MatchesMoved, "", "", matches_per_record, MATCHES);
    }
    if -precision.change() > QUALITY {
        flag(FlagKind::PrecisionFell, "", "", precision, QUALITY);
    }
    if -recall.change() > QUALITY {
        flag(FlagKind::RecallFell, "", "", recall, QUALITY);
    }
    if dropped_share.change() > DROPPED {
        flag(FlagKind::BlocksDropped, "", "", dropped_share, DROPPED);
    }
    flags.sort_by(|x, y| (x.kind, &x.subject).cmp(&(y.kind, &y.subject)));
    Drift { dimensions, parties, matches_per_record, precision, recall, dropped_share, flags }
}

/// Whether a share moved by more than `threshold`, and by more than chance, given the sizes that it was counted on.
fn is_moved(share: Shift, size_before: u64, size_now: u64, threshold: f64) -> bool {
    let mean = (share.before + share.now) / 2.0;
    let inverse = |size: u64| 1.0 / (size as f64).max(1.0);
    let error = (mean * (1.0 - mean)).max(0.0).sqrt() * (inverse(size_before) + inverse(size_now)).sqrt();
    share.change().abs() > threshold.max(STANDARD_ERRORS * error)
}

fn dimension(name: &str, before: &[LevelSnapshot], now: &[LevelSnapshot]) -> DimensionDrift {
    let levels: BTreeSet<&str> = before.iter().chain(now).map(|l| l.level.as_str()).collect();
    let of = |side: &[LevelSnapshot], level: &str| side.iter().find(|l| l.level == level).map_or((0.0, 0), |l| (l.m, l.linked));
    let total = |side: &[LevelSnapshot]| side.iter().map(|l| l.linked).sum::<u64>();
    let (pairs_before, pairs_now) = (total(before), total(now));
    // Half a pair is added to every level, so that none is empty.
    let share = |linked: u64, pairs: u64| (linked as f64 + 0.5) / (pairs as f64 + 0.5 * levels.len() as f64);
    let (mut total_variation, mut psi) = (0.0, 0.0);
    let (mut moved_level, mut moved_m) = (String::new(), Shift { before: 0.0, now: 0.0 });
    for level in &levels {
        let ((m_before, linked_before), (m_now, linked_now)) = (of(before, level), of(now, level));
        let (p, q) = (share(linked_before, pairs_before), share(linked_now, pairs_now));
        total_variation += (p - q).abs() / 2.0;
        psi += (q - p) * (q / p).ln();
        let m = Shift { before: m_before, now: m_now };
        if moved_level.is_empty() || m.change().abs() > moved_m.change().abs() {
            (moved_level, moved_m) = ((*level).to_owned(), m);
        }
    }
    let inverse = 1.0 / (pairs_before as f64).max(1.0) + 1.0 / (pairs_now as f64).max(1.0);
    let freedom = levels.len().saturating_sub(1) as f64;
    let psi_threshold = PSI + inverse * (freedom + STANDARD_ERRORS * (2.0 * freedom).sqrt());
    DimensionDrift {
        dimension: name.to_owned(),
        pairs_before,
        pairs_now,
        total_variation,
        psi,
        psi_threshold,
        moved_level,
        moved_m,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        let level = |level: &str, m: f64, linked: u64| LevelSnapshot { level: level.to_owned(), m, linked };
        let date = vec![level("missing", 0.0, 20), level("different", 0.05, 80), level("equal", 0.95, 1_900)];
        let party = |records, linked| PartySnapshot { records, linked };
        Snapshot {
            parties: [("caf", party(4_000, 2_400)), ("ccas", party(1_000, 700))].map(|(id, p)| (id.parse().unwrap(), p)).into(),
            dimensions: [("date-3".to_owned(), date)].into(),
            matches: 2_000.0,
            precision: 0.995,
            recall: 0.98,
            blocks: 10_000,
            blocks_dropped: 10,
        }
    }
    fn flags(now: &Snapshot) -> Vec<(FlagKind, String)> {
        drift(&snapshot(), now).flags.into_iter().map(|f| (f.kind, f.subject)).collect()
    }
    fn party<'s>(snapshot: &'s mut Snapshot, id: &str) -> &'s mut PartySnapshot {
        snapshot.parties.get_mut(&id.parse().unwrap()).unwrap()
    }

    #[test]
    fn nothing_moves_between_a_run_and_itself() {
        let same = drift(&snapshot(), &snapshot());
        assert_eq!(same.flags, []);
        let date = &same.dimensions[0];
        assert_eq!((date.total_variation, date.psi, date.moved_m.change()), (0.0, 0.0, 0.0));
        assert_eq!((date.pairs_before, date.pairs_now, same.parties.len()), (2_000, 2_000, 2));
    }

    #[test]
    fn a_column_that_goes_wrong_is_flagged() {
        let mut now = snapshot();
        let date = now.dimensions.get_mut("date-3").unwrap();
        (date[0].linked, date[1].linked, date[2].linked) = (20, 480, 1_500);
        (date[1].m, date[2].m) = (0.25, 0.75);
        let found = drift(&snapshot(), &now);
        let kinds: Vec<_> = found.flags.iter().map(|f| (f.kind, f.subject.as_str())).collect();
        assert_eq!(kinds, [(FlagKind::LevelsMoved, "date-3"), (FlagKind::AgreementMoved, "date-3")]);
        assert!((found.dimensions[0].total_variation - 0.2).abs() < 0.001, "{:?}", found.dimensions);
        // Shares .04 to .24 and .95 to .75: (.2)(ln 6) + (.2)(ln .95/.75).
        assert!((found.dimensions[0].psi - 0.2 * (6.0f64.ln() + (0.95f64 / 0.75).ln())).abs() < 0.01);
        assert!((found.dimensions[0].moved_m.change().abs() - 0.2).abs() < 1e-9);
    }

    #[test]
    fn few_pairs_are_no_drift() {
        let few = |linked: [u64; 3]| {
            let mut snapshot = snapshot();
            let date = snapshot.dimensions.get_mut("date-3").unwrap();
            for (level, linked) in date.iter_mut().zip(linked) {
                level.linked = linked;
            }
            snapshot
        };
        assert_eq!(drift(&few([0, 1, 12]), &few([1, 3, 10])).flags, []);
        // The same shares of many pairs are one.
        let many = drift(&few([0, 1_000, 12_000]), &few([1_000, 3_000, 10_000]));
        assert_eq!(many.flags.iter().map(|f| f.kind).collect::<Vec<_>>(), [FlagKind::LevelsMoved]);
    }

    #[test]
    fn parties_and_estimates_are_flagged_beyond_their_thresholds() {
        let mut now = snapshot();
        party(&mut now, "ccas").linked = 600;
        assert_eq!(flags(&now), [(FlagKind::LinkedShareMoved, "ccas".to_owned())]);
        party(&mut now, "ccas").linked = 640;
        assert_eq!(flags(&now), [], "six points of a thousand records are chance");
        *party(&mut now, "caf") = PartySnapshot { records: 3_000, linked: 1_800 };
        party(&mut now, "ccas").linked = 700;
        assert_eq!(flags(&now), [(FlagKind::MatchesMoved, String::new()), (FlagKind::RecordsMoved, "caf".to_owned())]);
        let mut now = snapshot();
        (now.precision, now.recall, now.blocks_dropped) = (0.98, 0.965, 300);
        let whole = [FlagKind::PrecisionFell, FlagKind::RecallFell, FlagKind::BlocksDropped].map(|k| (k, String::new()));
        assert_eq!(flags(&now), whole);
        let better = Snapshot { precision: 1.0, recall: 1.0, ..snapshot() };
        assert_eq!(flags(&better), []);
    }

    #[test]
    fn comers_and_goers_are_named() {
        let mut now = snapshot();
        let ccas = now.parties.remove(&"ccas".parse().unwrap()).unwrap();
        now.parties.insert("siao".parse().unwrap(), ccas);
        now.dimensions.insert("sex-4".to_owned(), Vec::new());
        assert_eq!(
            flags(&now),
            [
                (FlagKind::PartyNew, "siao".to_owned()),
                (FlagKind::PartyGone, "ccas".to_owned()),
                (FlagKind::FieldsChanged, "sex-4".to_owned())
            ]
        );
    }

    #[test]
    fn a_snapshot_survives_storage() {
        let text = serde_json::to_string(&snapshot()).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), snapshot());
        assert!(serde_json::from_str::<Snapshot>("{}").is_err());
    }
}
