//! What a node holds of a record, and where it went, for the person's own copy (RGPD, article 15).
//!
//! Values in clear are the party's own: identity columns while the node still holds a month's names, and the minimised
//! attributes. What other parties hold, and whether the record was linked, is not known here and not asked for.

use std::collections::BTreeMap;

use jiff::civil::Date;
use linkage_agreement::model::AnalystRight;
use linkage_agreement::{Period, RecordRef};
use linkage_common::audit::Act;
use linkage_common::tls::Channel;
use linkage_proto::v1::{self, rights_client::RightsClient};
use serde::Serialize;

use super::RequestFacts;
use super::list::{self, Ground, Marker};
use crate::archive::Index;
use crate::error::NodeError;
use crate::node::{Node, Refs};

/// What is held under a local id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccessCopy {
    /// The party.
    pub party: String,
    /// The agreement: identifier and title.
    pub agreement: [String; 2],
    /// Purpose of the processing.
    pub purpose: String,
    /// Its legal basis.
    pub legal_basis: String,
    /// Where rights are exercised.
    pub dpo_contact: String,
    /// Day of the copy.
    pub made_on: Date,
    /// Whether anything is held under the local id.
    pub held: bool,
    /// Why later deliveries leave the person out, and since when.
    pub listed: Vec<(Ground, Date)>,
    /// The encoding of the identity.
    pub archive: Option<ArchiveFacts>,
    /// By month: what was delivered.
    pub deliveries: Vec<DeliveredFacts>,
    /// By month whose names are still held: identity columns in clear.
    pub identities: BTreeMap<Period, BTreeMap<String, String>>,
    /// Runs that the record took part in.
    pub runs: Vec<RunFacts>,
    /// Whether the custodian's registry knows the record's reference.
    pub registered: bool,
    /// Who received something of the record, and what.
    pub recipients: Vec<Recipient>,
    /// Requests entered for the person.
    pub requests: Vec<RequestFacts>,
}

/// The archived encoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArchiveFacts {
    /// First month delivered.
    pub since: Period,
    /// Last month delivered.
    pub until: Period,
    /// False after a rectification, until the next delivery.
    pub encoded: bool,
    /// Last month whose run can still hold it.
    pub serves_until: Period,
}

/// One month's delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveredFacts {
    /// The month.
    pub period: Period,
    /// Whether a household was given; it is kept as a keyed digest.
    pub household: bool,
    /// Minimised attributes by name; those without a value are left out.
    pub attributes: BTreeMap<String, String>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunFacts {
    /// The run.
    pub run: String,
    /// Its month.
    pub period: String,
    /// Whether its table holds a row of the record; else it was compared only.
    pub in_table: bool,
}

/// Who received something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recipient {
    /// `courtier`, `tiers de confiance` or `destinataire`.
    pub role: &'static str,
    /// The organisation.
    pub name: String,
    /// What for; of an analyst.
    pub purpose: Option<String>,
    /// What it receives.
    pub receives: Vec<String>,
    /// Whether it may hold rows of persons under pseudonyms; of an analyst.
    pub rows: Option<bool>,
}

impl Node {
    /// The copy for a local id.
    ///
    /// # Errors
    /// A state that cannot be read, a custodian that is away: a copy without the runs would not be whole.
    pub async fn access_copy(&self, local_id: &str, custodian: Channel) -> Result<AccessCopy, NodeError> {
        let agreement = self.gate.agreement();
        let mine = agreement.party(self.party());
        let mark = hex::encode(Marker::new(&self.vault).local_id(local_id));
        let listed = list::load(&self.vault)?.into_iter().filter(|l| l.local_id == mark).map(|l| (l.ground, l.since)).collect();
        let mut copy = AccessCopy {
            party: mine.map_or_else(|| self.party().to_string(), |party| party.name.clone()),
            agreement: [agreement.agreement.id.to_string(), agreement.agreement.title.clone()],
            purpose: agreement.agreement.purpose.clone(),
            legal_basis: agreement.agreement.legal_basis.clone(),
            dpo_contact: mine.map(|party| party.dpo_contact.clone()).unwrap_or_default(),
            made_on: self.gate.today(),
            held: false,
            listed,
            archive: None,
            deliveries: Vec::new(),
            identities: BTreeMap::new(),
            runs: Vec::new(),
            registered: false,
            recipients: Vec::new(),
            requests: self.requests_of(local_id)?,
        };
        for period in self.named_periods()? {
            if let Some((columns, record)) = self.named_record(period, local_id)? {
                let values = columns.into_iter().zip(record.values).filter(|(_, value)| !value.trim().is_empty());
                copy.identities.insert(period, values.collect());
            }
        }
        if let Some(reference) = Refs::load(&self.vault)?.known(&self.vault, local_id) {
            self.describe(&reference, &mut copy, custodian).await?;
        }
        copy.held = copy.registered || copy.archive.is_some() || !copy.deliveries.is_empty() || !copy.identities.is_empty();
        self.audit.record(Act::own("rights.access").records(u64::from(copy.held))).await?;
        if !copy.runs.is_empty() {
            copy.recipients = self.recipients();
        }
        Ok(copy)
    }

    fn named_periods(&self) -> Result<Vec<Period>, NodeError> {
        Ok(self.vault.list("names")?.iter().filter_map(|name| name.rsplit('/').next()?.parse().ok()).collect())
    }

    async fn describe(&self, reference: &RecordRef, copy: &mut AccessCopy, custodian: Channel) -> Result<(), NodeError> {
        let history = self.gate.agreement().agreement.history_months;
        let index = Index::load(&self.vault)?;
        let archived = index.records.get(reference);
        copy.archive = archived.and_then(|at| {
            Some(ArchiveFacts {
                since: month(at.first)?,
                until: month(at.last)?,
                encoded: !index.is_void(reference),
                serves_until: month(at.last + history)?,
            })
        });
        let names: Vec<String> = self.gate.agreement().travelling_attributes().into_iter().map(|a| a.name).collect();
        let text = reference.to_hex();
        for period in self.periods()? {
            let Some(delivery) = self.delivery(period)? else { continue };
            if let Some(record) = delivery.records.into_iter().find(|record| record.reference == text) {
                let values = names.iter().cloned().zip(record.attributes).filter_map(|(name, value)| Some((name, value?)));
                let attributes = values.collect();
                copy.deliveries.push(DeliveredFacts { period, household: record.household.is_some(), attributes });
            }
        }
        let asked = v1::DescribeRequest { agreement: Some(self.gate.reference()), references: vec![reference.0.to_vec().into()] };
        let answer = RightsClient::new(custodian).describe(asked).await.map_err(|s| NodeError::custodian(&s))?.into_inner();
        copy.registered = answer.registered || answer.set_aside;
        copy.runs = answer.runs.into_iter().map(|run| RunFacts { run: run.run_id, period: run.period, in_table: true }).collect();
        if let Some(at) = archived {
            for (run, period) in self.runs_taken_part_in()? {
                let covers = at.first <= period.index() && at.last + history >= period.index();
                if covers && !copy.runs.iter().any(|known| known.run == run) {
                    copy.runs.push(RunFacts { run, period: period.to_string(), in_table: false });
                }
            }
        }
        copy.runs.sort_by(|a, b| (&a.period, &a.run).cmp(&(&b.period, &b.run)));
        Ok(())
    }

    fn recipients(&self) -> Vec<Recipient> {
        let agreement = self.gate.agreement();
        let mut all = vec![
            Recipient {
                role: "courtier",
                name: agreement.broker.name.clone(),
                purpose: None,
                receives: vec![
                    "codes de comparaison propres à chaque traitement (jetons et filtres), sans nom ni attribut".to_owned(),
                ],
                rows: None,
            },
            Recipient {
                role: "tiers de confiance",
                name: agreement.custodian.name.clone(),
                purpose: None,
                receives: vec![
                    "référence aléatoire de la fiche, présence au mois, attributs scellés qu'il ne peut lire".to_owned(),
                ],
                rows: None,
            },
        ];
        let sent = |name: &String| self.config.attributes.as_ref().is_none_or(|chosen| chosen.contains(name));
        let attributes: Vec<String> =
            agreement.travelling_attributes().into_iter().map(|attribute| attribute.name).filter(sent).collect();
        all.extend(agreement.analyst.iter().map(|analyst| Recipient {
            role: "destinataire",
            name: analyst.name.clone(),
            purpose: Some(analyst.purpose.clone()),
            receives: attributes.clone(),
            rows: Some(analyst.may.contains(&AnalystRight::RowLevel)),
        }));
        all
    }
}

/// A month by its number ([`Period::index`]).
fn month(index: u32) -> Option<Period> {
    Period::new(u16::try_from(1900 + index / 12).ok()?, u8::try_from(index % 12 + 1).ok()?)
}
