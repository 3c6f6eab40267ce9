//! The node's own part of a request: archive, deliveries kept, names, evaluations, settled pairs, objection list.
//!
//! Every function here may be called again after a process was killed in it: what is done already is found done.

use linkage_agreement::{Period, RecordRef};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::list::{self, Ground, Listed, Mark, Marker};
use super::marks::Marks;
use super::{Request, Right, damaged};
use crate::annex::Annexes;
use crate::archive::{ArchivedRecord, Index, Indexed};
use crate::cache;
use crate::error::NodeError;
use crate::intake::{Intake, IntakeLine, RawRecord};
use crate::node::{DeliveredRecord, Node, Refs};

/// A record that is set aside, sealed in a file of its own.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Aside {
    reference: String,
    /// Months and digest of the identity.
    first: u32,
    last: u32,
    content: String,
    /// Epoch of the OPRF key that the encoding is of.
    #[serde(default = "first_epoch")]
    epoch: u32,
    /// The encoding; none of a record that waits for its next delivery.
    encoding: Option<AsideEncoding>,
    /// What was delivered, by month.
    delivered: Vec<(Period, DeliveredRecord)>,
}

fn first_epoch() -> u32 {
    1
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AsideEncoding {
    header: u32,
    entries: String,
    annex: Option<String>,
}

fn aside_name(request: &str) -> String {
    format!("rights/aside-{request}")
}

impl Node {
    /// Puts a person on the list of those whose lines are set aside.
    pub(super) fn put_on_list(
        &self,
        ground: Ground,
        request: &Request,
        local_id: &str,
        reference: Option<RecordRef>,
    ) -> Result<(), NodeError> {
        let marked = match reference {
            Some(reference) => Marks::load(&self.vault)?.get(&reference),
            None => None,
        };
        let identity = match marked {
            Some(mark) => Some(mark),
            None => self.mark_from_names(local_id)?,
        };
        let mut list = list::load(&self.vault)?;
        if !list.iter().any(|listed| listed.ground == ground && listed.local_id == request.local_id) {
            let identity = identity.map(hex::encode);
            list.push(Listed { ground, local_id: request.local_id.clone(), identity, since: self.gate.today() });
            list::save(&self.vault, &list)?;
        }
        Ok(())
    }

    /// Of a record archived before marks were kept, as long as some month's names are here.
    fn mark_from_names(&self, local_id: &str) -> Result<Option<Mark>, NodeError> {
        if self.profile().is_some() {
            return Ok(None);
        }
        for period in self.periods()?.into_iter().rev() {
            let Some((columns, record)) = self.named_record(period, local_id)? else { continue };
            let normaliser = linkage_encoding::Normaliser::new(&self.gate.agreement().identity.field, &columns)?;
            if let Ok(identity) = normaliser.normalise(&record.values) {
                return Ok(Marker::new(&self.vault).identity(&identity));
            }
        }
        Ok(None)
    }

    /// A record as it was delivered for a month, where its names are still held: canonical columns and values.
    pub(super) fn named_record(&self, period: Period, local_id: &str) -> Result<Option<(Vec<String>, RawRecord)>, NodeError> {
        let Some(bytes) = self.vault.get(&format!("names/{period}"))? else { return Ok(None) };
        // Another mapping than the file's own would read other columns: then nothing is found, which is said as such.
        let Ok(mut intake) = Intake::from_bytes(bytes, &self.mapping()?) else { return Ok(None) };
        let columns = intake.columns().to_vec();
        let Some(at) = columns.iter().position(|column| column == "local_id") else { return Ok(None) };
        for line in &mut intake {
            if let IntakeLine::Record(record) = line?
                && record.values.get(at).is_some_and(|id| id.trim() == local_id)
            {
                return Ok(Some((columns, record)));
            }
        }
        Ok(None)
    }

    /// Does here what a request asks for.
    pub(super) fn carry_out_here(&self, request: &Request) -> Result<(), NodeError> {
        let reference = request.reference()?;
        match (request.right, reference) {
            (Right::Objection, Some(reference)) => self.delete_record(request, &reference),
            (Right::Restriction, Some(reference)) => self.set_aside(request, &reference),
            (Right::Rectification, Some(reference)) => self.void_encoding(&reference),
            (Right::Lift, reference) => self.lift(request, reference),
            (_, None) => Ok(()),
        }
    }

    fn delete_record(&self, request: &Request, reference: &RecordRef) -> Result<(), NodeError> {
        // Names first: they are found by the deliveries that still name the record.
        self.remove_names_of(reference)?;
        cache::clear(&self.vault)?;
        let mut index = Index::load(&self.vault)?;
        self.take_out(&mut index, reference)?;
        index.records.remove(reference);
        index.save(&self.vault)?;
        self.sweep_archive(&index)?;
        self.take_out_of_deliveries(reference, Ground::Objection)?;
        self.forget_dispositions_of(reference)?;
        let mut marks = Marks::load(&self.vault)?;
        marks.set(*reference, None);
        marks.save(&self.vault)?;
        for restriction in self.requests()?.iter().filter(|r| r.local_id == request.local_id && r.right == Right::Restriction) {
            self.vault.remove(&aside_name(&restriction.id))?;
        }
        let mut refs = Refs::load(&self.vault)?;
        refs.forget(reference);
        refs.save(&self.vault)
    }

    fn set_aside(&self, request: &Request, reference: &RecordRef) -> Result<(), NodeError> {
        let name = aside_name(&request.id);
        let mut index = Index::load(&self.vault)?;
        let known = index.records.get(reference).copied();
        if let Some(at) = known
            && !self.vault.has(&name)
        {
            let encoding = self.take_out(&mut index, reference)?.map(|(record, annex)| AsideEncoding {
                header: record.header,
                entries: hex::encode(&*record.entries),
                annex: annex.map(|annex| hex::encode(&*annex)),
            });
            let mut delivered = Vec::new();
            for period in self.periods()? {
                let Some(delivery) = self.delivery(period)? else { continue };
                let text = reference.to_hex();
                delivered.extend(delivery.records.into_iter().find(|r| r.reference == text).map(|record| (period, record)));
            }
            let aside = Aside {
                reference: reference.to_hex(),
                first: at.first,
                last: at.last,
                content: hex::encode(at.content),
                epoch: at.epoch,
                encoding,
                delivered,
            };
            let bytes = Zeroizing::new(serde_json::to_vec(&aside).map_err(|_| damaged())?);
            self.vault.put(&name, &bytes)?;
        } else {
            self.take_out(&mut index, reference)?;
        }
        index.records.remove(reference);
        index.save(&self.vault)?;
        self.sweep_archive(&index)?;
        self.take_out_of_deliveries(reference, Ground::Restriction)
    }

    fn void_encoding(&self, reference: &RecordRef) -> Result<(), NodeError> {
        self.remove_names_of(reference)?;
        let mut index = Index::load(&self.vault)?;
        let Some(at) = index.records.get(reference).copied() else { return Ok(()) };
        self.take_out(&mut index, reference)?;
        index.void(*reference, &at);
        index.save(&self.vault)?;
        self.sweep_archive(&index)?;
        let mut marks = Marks::load(&self.vault)?;
        marks.set(*reference, None);
        marks.save(&self.vault)
    }

    /// Puts back what a restriction set aside; of a lifted objection, only the list forgets the person.
    fn lift(&self, request: &Request, reference: Option<RecordRef>) -> Result<(), NodeError> {
        let name = request.lifts.as_ref().map(|id| aside_name(id));
        let kept = name.as_ref().map(|name| self.vault.get(name)).transpose()?.flatten();
        if let (Some(bytes), Some(reference)) = (kept, reference) {
            let aside: Aside = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
            self.put_back(&aside, reference)?;
        }
        let mut list = list::load(&self.vault)?;
        let requests = self.requests()?;
        list.retain(|listed| stays_listed(listed, request, &requests));
        list::save(&self.vault, &list)?;
        name.map_or(Ok(()), |name| self.vault.remove(&name))
    }

    fn put_back(&self, aside: &Aside, reference: RecordRef) -> Result<(), NodeError> {
        let mut index = Index::load(&self.vault)?;
        if !index.records.contains_key(&reference) {
            let content = hex::decode(&aside.content).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(damaged)?;
            let (first, last, epoch) = (aside.first, aside.last, aside.epoch);
            let at = Indexed { segment: 0, position: 0, first, last, content, decoy: false, epoch };
            match &aside.encoding {
                None => index.void(reference, &at),
                Some(encoding) => {
                    let entries = Zeroizing::new(hex::decode(&encoding.entries).map_err(|_| damaged())?);
                    let record = ArchivedRecord { reference, header: encoding.header, entries };
                    let segment = index.put_back(&self.vault, &self.layout(), &at, &record)?;
                    if let Some(annex) = &encoding.annex {
                        Annexes::put_back(&self.vault, segment, &hex::decode(annex).map_err(|_| damaged())?)?;
                    }
                }
            }
            index.save(&self.vault)?;
        }
        for (period, record) in &aside.delivered {
            let Some(mut delivery) = self.delivery(*period)? else { continue };
            if delivery.records.iter().any(|held| held.reference == record.reference) {
                continue;
            }
            let reason = Ground::Restriction.reason();
            let Some(count) = delivery.summary.reasons.get_mut(reason) else { continue };
            *count -= 1;
            if *count == 0 {
                delivery.summary.reasons.remove(reason);
            }
            delivery.summary.records += 1;
            delivery.summary.set_aside -= 1;
            delivery.records.push(record.clone());
            self.keep_delivery(&delivery)?;
        }
        Ok(())
    }

    /// Takes a record out of its archive segment, its annex with it; the index is not yet saved.
    fn take_out(&self, index: &mut Index, reference: &RecordRef) -> Result<Option<Encoding>, NodeError> {
        let Some(taken) = index.take_out(&self.vault, &self.layout(), reference)? else { return Ok(None) };
        let annex = Annexes::take_out(&self.vault, &taken)?;
        Ok(Some((taken.record, annex)))
    }

    fn sweep_archive(&self, index: &Index) -> Result<(), NodeError> {
        index.drop_unnamed(&self.vault)?;
        Annexes::drop_unnamed(&self.vault, index)
    }

    /// Months kept lose the record; the line it stood on counts as set aside, so that lines stay records and lines set aside.
    fn take_out_of_deliveries(&self, reference: &RecordRef, ground: Ground) -> Result<(), NodeError> {
        let text = reference.to_hex();
        for period in self.periods()? {
            let Some(mut delivery) = self.delivery(period)? else { continue };
            let before = delivery.records.len();
            delivery.records.retain(|record| record.reference != text);
            let gone = (before - delivery.records.len()) as u64;
            if gone > 0 {
                delivery.summary.records -= gone;
                delivery.summary.set_aside += gone;
                *delivery.summary.reasons.entry(ground.reason().to_owned()).or_default() += gone;
                self.keep_delivery(&delivery)?;
            }
        }
        Ok(())
    }

    /// Deletes the files as delivered that hold the record, or a line that was set aside while it was restricted.
    fn remove_names_of(&self, reference: &RecordRef) -> Result<(), NodeError> {
        let text = reference.to_hex();
        for name in self.vault.list("names")? {
            let period: Option<Period> = name.rsplit('/').next().and_then(|period| period.parse().ok());
            let delivery = period.map(|period| self.delivery(period)).transpose()?.flatten();
            let holds = delivery.is_none_or(|delivery| {
                delivery.summary.reasons.contains_key(Ground::Restriction.reason())
                    || delivery.records.iter().any(|record| record.reference == text)
            });
            if holds {
                self.vault.remove(&name)?;
            }
        }
        Ok(())
    }
}

/// Whether a lift leaves someone on the list: another person, or one who has asked for the same again after it. A lift may be carried
/// out late, or again after a restoration.
pub(super) fn stays_listed(listed: &Listed, lift: &Request, requests: &[Request]) -> bool {
    let mut later = requests.iter().skip_while(|request| request.id != lift.id).skip(1);
    listed.local_id != lift.local_id
        || later.any(|later| later.local_id == lift.local_id && !later.ended && later.right.ground() == Some(listed.ground))
}

/// A record's encoding and its annex.
type Encoding = (ArchivedRecord, Option<Zeroizing<Vec<u8>>>);
