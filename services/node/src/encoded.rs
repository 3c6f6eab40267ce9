//! Deliveries of parties that have filters or keys instead of names: taken in, archived with no entry and their annex.
//!
//! No name comes here and no evaluation is asked for. Without a line file a record is known by its filter or keys themselves
//! (the second of two equal ones by its number among them), so that a delivery in another order is the same persons.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use linkage_agreement::{Agreement, Layout, PartyProfile, Period, RecordRef};
use linkage_common::fsx;
use linkage_linking::LevelFrequencies;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::annex::Annexes;
use crate::annex::make::Made;
use crate::annex::named::NamedAnnexes;
use crate::archive::{ArchivedRecord, Index};
use crate::delivery::DeliverySummary;
use crate::error::NodeError;
use crate::intake::{ByteSource, FileGuard, SetAsideReport};
use crate::line_file::{self, LineFile, file_name};
use crate::node::{DeliveredRecord, DeliveryState, Node, Refs};
use crate::progress::Progress;
use crate::rights::{Marker, Marks, Screen};
use crate::{clk_delivery, key_delivery};

/// What one place of a delivery's file holds.
pub(crate) struct Entry {
    /// Where, for the operator: a line, or a filter's number from 1.
    pub(crate) place: u64,
    /// The record's part of the annex, or why it is set aside.
    pub(crate) part: Result<Zeroizing<Vec<u8>>, &'static str>,
}

/// A record of such a delivery.
struct Row {
    local_id: Zeroizing<String>,
    household: Option<String>,
    attributes: Vec<Option<String>>,
    part: Zeroizing<Vec<u8>>,
}

struct Delivery {
    rows: Vec<Row>,
    summary: DeliverySummary,
}

impl Node {
    /// What this party delivers when it is not names.
    pub(crate) fn profile(&self) -> Option<PartyProfile> {
        self.gate.agreement().party(self.party()).and_then(|party| party.profile)
    }

    /// The layout of this party's records: the agreement's, without entries where it delivers no names.
    pub(crate) fn layout(&self) -> Layout {
        let agreement = self.gate.agreement();
        Layout { tokens_per_record: agreement.shape(self.party()).entries, ..agreement.layout() }
    }

    /// Refuses what the configuration lacks or has against the agreement, before any delivery.
    pub(crate) fn check_files(&self) -> Result<(), NodeError> {
        if self.config.line_file && self.profile().is_none() {
            return Err(NodeError::Configuration(
                "« line_file » ne va qu'avec un partenaire au profil clk ou hash-keys : retirez-la de la configuration du nœud"
                    .to_owned(),
            ));
        }
        NamedAnnexes::load(self).map(|_| ())
    }

    /// The line file that goes with a delivery, where this node is configured for one.
    pub(crate) fn line_file(&self, delivery: &Path) -> Option<PathBuf> {
        (self.config.line_file && self.profile().is_some()).then(|| line_file::beside(delivery)).flatten()
    }

    /// As [`Node::ingest`], for a party of another profile.
    pub(crate) fn ingest_encoded(
        &self,
        profile: PartyProfile,
        path: &Path,
        period: Period,
        progress: &Progress,
    ) -> Result<DeliverySummary, NodeError> {
        let agreement = self.gate.agreement();
        let annexes = Annexes::of(agreement, &self.gate.agreement_hash())
            .ok_or_else(|| NodeError::Configuration("convention sans section pour ce profil".to_owned()))?;
        let reports = self.report_path(period);
        if let Some(parent) = reports.parent() {
            fsx::create_private_dir(parent)?;
        }
        let mut report = SetAsideReport::create(&reports)?;
        let screen = Screen::load(&self.vault)?;
        let Delivery { rows, summary } = self.read_encoded(profile, path, period, &screen, &mut report)?;
        report.finish()?;
        progress.step("read").at(summary.lines, summary.lines);
        let made_by = Some(hex::encode(self.vault.digest("annexes", &[&annexes.recipes()])));
        if self.known_delivery(&summary, made_by.as_deref())? {
            return Ok(summary);
        }
        self.within_limit(&summary)?;

        let place = match profile {
            PartyProfile::Clk => annexes.places.clk.clone(),
            PartyProfile::HashKeys => annexes.places.hash_keys.clone(),
        };
        let place = place.ok_or_else(|| NodeError::Configuration("convention sans section pour ce profil".to_owned()))?;
        let epoch = agreement.oprf_epoch();
        let mut refs = Refs::load(&self.vault)?;
        let mut index = Index::load(&self.vault)?;
        let (marker, mut marks) = (Marker::new(&self.vault), Marks::load(&self.vault)?);
        let mut records = Vec::with_capacity(rows.len());
        let mut changed: HashMap<RecordRef, (&[u8], [u8; 16])> = HashMap::new();
        for row in &rows {
            let reference = refs.of(&self.vault, &row.local_id);
            marks.set(reference, Some(marker.part(&row.part)));
            let content = self.vault.digest("content", &[&row.part, &annexes.recipes()]);
            if index.records.get(&reference).is_none_or(|known| known.content != content) {
                changed.insert(reference, (&row.part, content));
            } else {
                index.seen(&reference, period);
            }
            records.push(DeliveredRecord {
                reference: reference.to_hex(),
                household: row.household.as_ref().map(|h| hex::encode(self.vault.digest("household", &[h.as_bytes()]))),
                attributes: self.sent(&row.attributes),
            });
        }
        refs.save(&self.vault)?;
        marks.save(&self.vault)?;
        // Sorted by references, which are random: the archive's order says nothing of the file's.
        let mut new: Vec<RecordRef> = changed.keys().copied().collect();
        new.sort_unstable();
        let archived: Vec<ArchivedRecord> = new
            .iter()
            .map(|reference| ArchivedRecord { reference: *reference, header: 0, entries: Zeroizing::default() })
            .collect();
        index.append(&self.vault, period, epoch, &archived, |r| {
            (changed.get(r).map_or([0; 16], |(_, content)| *content), false)
        })?;
        annexes.write(&self.vault, &index, new.iter().copied(), |reference| {
            let mut annex = Zeroizing::new(vec![0; annexes.places.len]);
            let part = changed.get(reference).map_or(&[][..], |(part, _)| *part);
            annex.iter_mut().skip(place.start).zip(part).for_each(|(to, from)| *to = *from);
            Made { annex, remarks: Vec::new() }
        })?;
        index.save(&self.vault)?;
        index.drop_unnamed(&self.vault)?;
        Annexes::drop_unnamed(&self.vault, &index)?;
        // No names, so no levels: the table that this party sends is empty.
        let level_frequencies = serde_json::to_value(LevelFrequencies::new(&agreement.layout()))
            .map_err(|_| NodeError::Configuration("fréquences de niveaux".to_owned()))?;
        let state = DeliveryState { summary: summary.clone(), records, level_frequencies, annexes: made_by, epoch };
        self.keep_delivery(&state)?;
        self.audit.note(self.taken_in(&summary))?;
        tracing::info!(period = %period, records = summary.records, set_aside = summary.set_aside, archived = new.len(), "delivery taken in");
        Ok(summary)
    }

    fn read_encoded(
        &self,
        profile: PartyProfile,
        path: &Path,
        period: Period,
        screen: &Screen,
        report: &mut SetAsideReport,
    ) -> Result<Delivery, NodeError> {
        let agreement = self.gate.agreement();
        let lines = self.lines_of(path, agreement, period)?;
        let (file, guard) = FileGuard::open(path)?;
        let source = ByteSource::new(file, false);
        let (entries, source) = match profile {
            PartyProfile::Clk => clk_delivery::read(source, agreement),
            PartyProfile::HashKeys => key_delivery::read(source),
        }
        .map_err(|why| NodeError::Refused(format!("{} : {why}", file_name(path))))?;
        let read = source.fingerprint();
        guard.verify(read)?;
        if entries.is_empty() {
            return Err(NodeError::Refused(format!("{} : aucune fiche : demandez une nouvelle extraction", file_name(path))));
        }
        let digest = digest(read.digest, lines.as_ref().map(|lines| lines.digest));
        joined(entries, lines, agreement, screen, report, period, digest)
    }

    /// The delivery's line file, when the node is configured for one. One that is there or missing against the configuration
    /// is refused: records known by their lines and records known by their filters would be two persons each.
    fn lines_of(&self, path: &Path, agreement: &Agreement, period: Period) -> Result<Option<LineFile>, NodeError> {
        let beside = line_file::beside(path).ok_or_else(|| NodeError::Refused("nom de fichier illisible".to_owned()))?;
        match (self.config.line_file, beside.try_exists()?) {
            (true, true) => Ok(Some(line_file::read(&beside, agreement, period)?)),
            (false, false) => Ok(None),
            (true, false) => Err(NodeError::NotReady(format!(
                "le fichier {} manque : déposez-le à côté de la livraison (line_file = true dans la configuration du nœud)",
                file_name(&beside)
            ))),
            (false, true) => Err(NodeError::NotReady(format!(
                "le fichier {} est là, mais la configuration du nœud ne l'attend pas : écrivez line_file = true, ou retirez-le",
                file_name(&beside)
            ))),
        }
    }
}

/// The digest that a delivery is known by: its file's, or of both files' digests.
fn digest(delivery: [u8; 32], lines: Option<[u8; 32]>) -> String {
    match lines {
        None => hex::encode(delivery),
        Some(lines) => hex::encode(Sha256::new().chain_update(delivery).chain_update(lines).finalize()),
    }
}

/// The digest of the files that are there now.
pub(crate) fn digest_of(delivery: &Path, lines: Option<&Path>) -> Result<String, NodeError> {
    let of = |path: &Path| -> Result<[u8; 32], NodeError> {
        let mut source = ByteSource::new(File::open(path)?, false);
        std::io::copy(&mut source, &mut std::io::sink())?;
        Ok(source.fingerprint().digest)
    };
    Ok(digest(of(delivery)?, lines.map(of).transpose()?))
}

/// Joins what the delivery holds with its lines; every place is a record or is listed with its reason.
fn joined(
    entries: Vec<Entry>,
    lines: Option<LineFile>,
    agreement: &Agreement,
    screen: &Screen,
    report: &mut SetAsideReport,
    period: Period,
    digest: String,
) -> Result<Delivery, NodeError> {
    let places = entries.len();
    let mut summary = DeliverySummary {
        period,
        lines: places as u64,
        records: 0,
        set_aside: 0,
        reasons: BTreeMap::new(),
        remarks: BTreeMap::new(),
        attributes_left_out: BTreeMap::new(),
        digest,
    };
    let mut lines = match lines {
        None => None,
        Some(LineFile { mut lines, .. }) => {
            // Blank lines at the end are an editor's.
            while lines.len() > places && matches!(lines.last(), Some(Err((_, crate::intake::SetAsideReason::Blank)))) {
                lines.pop();
            }
            if lines.len() != places {
                return Err(NodeError::Refused(format!(
                    "{places} filtres ou lignes de clés, mais {} lignes dans le fichier qui les accompagne : les deux vont ligne à ligne, dans le même ordre",
                    lines.len()
                )));
            }
            Some(lines.into_iter())
        }
    };
    let travelling = agreement.travelling_attributes().len();
    let mut rows = Vec::with_capacity(places);
    let mut equal: HashMap<[u8; 32], u64> = HashMap::new();
    for Entry { place, part } in entries {
        let line = lines.as_mut().and_then(Iterator::next);
        let (part, line) = match (part, line) {
            (Ok(part), None) => (part, None),
            (Ok(part), Some(Ok(line))) => (part, Some(line)),
            (Err(reason), _) => {
                aside(&mut summary, report, place, reason)?;
                continue;
            }
            (Ok(_), Some(Err((_, reason)))) => {
                aside(&mut summary, report, place, &format!("ligne qui l'accompagne : {reason}"))?;
                continue;
            }
        };
        let row = match line {
            Some(line) => {
                for attribute in line.outside {
                    report.outside_rule(line.line, &attribute)?;
                    *summary.attributes_left_out.entry(attribute).or_default() += 1;
                }
                Row { local_id: Zeroizing::new(line.local_id), household: line.household, attributes: line.attributes, part }
            }
            None => {
                let of: [u8; 32] = Sha256::digest(&*part).into();
                let number = equal.entry(of).and_modify(|n| *n += 1).or_default();
                let local_id = Zeroizing::new(format!("{}#{number}", hex::encode(of)));
                Row { local_id, household: None, attributes: vec![None; travelling], part }
            }
        };
        match screen.ground_of_part(&row.local_id, &row.part) {
            Some(ground) => aside(&mut summary, report, place, ground.reason())?,
            None => rows.push(row),
        }
    }
    summary.records = rows.len() as u64;
    summary.set_aside = summary.lines - summary.records;
    Ok(Delivery { rows, summary })
}

fn aside(summary: &mut DeliverySummary, report: &mut SetAsideReport, place: u64, reason: &str) -> Result<(), NodeError> {
    report.row(place, &reason)?;
    *summary.reasons.entry(reason.to_owned()).or_default() += 1;
    Ok(())
}
