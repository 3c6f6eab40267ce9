//! The agreement as typed values: what the TOML file holds, every key named, none unknown.
//!
//! Whole numbers only, so that the canonical form (see `canonical`) has one spelling for each value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{PartyId, Period};
use crate::layout::{AnnexPlaces, FieldKind, Layout, RecordShape};

/// One version of the agreement between the partners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// Version of this file's schema; 1.
    pub schema: u32,
    /// Title, purpose, dates.
    pub agreement: Terms,
    /// The partners that hold names, two or more.
    pub party: Vec<Party>,
    /// Who runs the linkage.
    pub broker: Role,
    /// Who holds the OPRF key and the registry.
    pub custodian: Custodian,
    /// Who receives link tables.
    pub analyst: Vec<Analyst>,
    /// The identity fields, in order.
    pub identity: Identity,
    /// Profile and parameters of the encoding.
    pub encoding: Encoding,
    /// The decision rule.
    pub decision: Decision,
    /// Attributes that may travel to analysts, each with its minimisation rule.
    #[serde(default)]
    pub attribute: Vec<Attribute>,
    /// Retention periods.
    pub retention: Retention,
    /// Limits on what is published.
    pub disclosure: Disclosure,
}

/// Title, purpose and dates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Identifier of the agreement, the same for all its versions.
    pub id: PartyId,
    /// 1 for the first text, one more for every amendment (avenant).
    pub version: u32,
    /// Title.
    pub title: String,
    /// Purpose of the processing.
    pub purpose: String,
    /// Legal basis (RGPD article 6, and 9 or 10 where they apply).
    pub legal_basis: String,
    /// Uses that are forbidden.
    pub forbidden_uses: Vec<String>,
    /// First day, `AAAA-MM-JJ`.
    pub start: jiff::civil::Date,
    /// Last day, `AAAA-MM-JJ`.
    pub end: jiff::civil::Date,
    /// First month that may be linked.
    pub first_period: Period,
    /// Months of history that a run may hold.
    pub history_months: u32,
    /// The party that opens, closes and cancels runs.
    pub coordinator: PartyId,
}

/// A partner that holds names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    /// Short name.
    pub id: PartyId,
    /// Full name of the organisation.
    pub name: String,
    /// Data protection officer's address.
    pub dpo_contact: String,
    /// URI in the certificate's subject alternative name.
    pub certificate_identity: String,
    /// Ed25519 verification key, base64, 32 bytes.
    pub signing_key: String,
    /// X25519 key for HPKE, base64, 32 bytes.
    pub sealing_key: String,
    /// Whether the party's list holds each person once only.
    pub duplicate_free: bool,
    /// Most records that the party may deliver for one period.
    pub max_records: u64,
    /// What the party delivers when it is not names; absent for a party of the agreement's own profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<PartyProfile>,
}

/// What a party delivers that cannot deliver names. By either, all parties' records become comparable with one another
/// outside blocks, hence re-identifiable; the agreement must say that its signatories accept it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartyProfile {
    /// One clkhash filter for each record.
    Clk,
    /// Two hash keys for each record.
    HashKeys,
}

/// The broker, or what custodian and analyst share with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Full name of the organisation.
    pub name: String,
    /// Data protection officer's address.
    pub dpo_contact: String,
    /// URI in the certificate's subject alternative name.
    pub certificate_identity: String,
    /// Ed25519 verification key, base64, 32 bytes.
    pub signing_key: String,
}

/// The custodian.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Custodian {
    /// Full name of the organisation.
    pub name: String,
    /// Data protection officer's address.
    pub dpo_contact: String,
    /// URI in the certificate's subject alternative name.
    pub certificate_identity: String,
    /// Ed25519 verification key, base64, 32 bytes.
    pub signing_key: String,
    /// Public key of the OPRF (RFC 9497, ristretto255), base64, 32 bytes.
    pub oprf_public_key: String,
}

/// An analyst.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Analyst {
    /// Short name.
    pub id: PartyId,
    /// Full name of the organisation.
    pub name: String,
    /// Data protection officer's address.
    pub dpo_contact: String,
    /// URI in the certificate's subject alternative name.
    pub certificate_identity: String,
    /// Ed25519 verification key, base64, 32 bytes.
    pub signing_key: String,
    /// X25519 key that attributes are sealed to, base64, 32 bytes.
    pub sealing_key: String,
    /// What the pseudonyms are for; pseudonyms of two purposes cannot be joined.
    pub purpose: String,
    /// What the analyst may do.
    pub may: Vec<AnalystRight>,
}

/// What an analyst may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnalystRight {
    /// Query cohorts; figures pass disclosure control.
    Cohorts,
    /// Hold the pseudonymous rows.
    RowLevel,
}

/// The identity fields used, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The fields; at least one name and a birth date.
    pub field: Vec<IdentityField>,
}

/// One identity field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityField {
    /// Kind.
    pub kind: FieldKind,
    /// Canonical column that holds it.
    pub column: String,
    /// For a place: canonical columns with its name and its country.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_column: Option<String>,
    /// For a place: canonical column with its country.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country_column: Option<String>,
}

/// Which encoding is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Filters that are comparable inside one block only.
    BlockScoped,
}

/// Parameters of the encoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encoding {
    /// Profile.
    pub profile: Profile,
    /// Version of the profile; part of every derivation.
    pub profile_version: u32,
    /// The pass set, as [`crate::PassSetRef`] reads it: a name, or a name and its file's digest.
    pub pass_set: String,
    /// Records of all parties together that one run is expected to hold.
    pub expected_records: u64,
    /// Bits of a field filter: 64, 128, 256 or 512.
    pub filter_bits: u32,
    /// Bits set for each q-gram: 1 to 8.
    pub hash_count: u32,
    /// Tokens of every record, padded: 4 to 64.
    pub tokens_per_record: u32,
    /// Decoy records added to an upload, in percent: 0 to 50.
    pub decoys_percent: u32,
    /// Blocks with more records than this are dropped and counted: 2 to 1,000.
    pub block_cap: u32,
    /// Epoch of the custodian's OPRF key; see [`Agreement::oprf_epoch`] for what an absent key means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oprf_epoch: Option<u32>,
    /// Filters of records as a whole, where a party has nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clk: Option<ClkEncoding>,
    /// Hash keys, where a party has nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash_keys: Option<HashKeyEncoding>,
}

/// How the filters of parties of profile `clk`, and for their sake everyone's, are made and compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClkEncoding {
    /// SHA-256 of the clkhash schema's file, 64 lower-case hexadecimal digits.
    pub schema_sha256: String,
    /// Bits of a filter: 64 to 2,048, a multiple of 64.
    pub bits: u32,
    /// Dice coefficient from which two filters are a link, in thousandths.
    pub threshold_permille: u32,
    /// Lead over the runner-up that a link needs, in thousandths.
    pub margin_permille: u32,
    /// Bits that make each bit that leaves a node (diffusion; Armknecht, Heng, Schnell, PoPETs 2023); 0 for none, else 8
    /// or more.
    pub diffusion: u32,
    /// That the signatories accept what such filters give away; `true` in every agreement that is in force.
    pub risk_accepted: bool,
}

/// How the keys of parties of profile `hash-keys`, and for their sake everyone's, are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HashKeyEncoding {
    /// Whether the keys delivered are HMACs under a key that the partners share, instead of plain SHA-256.
    pub keyed: bool,
    /// That the signatories accept what such keys give away; `true` in every agreement that is in force.
    pub risk_accepted: bool,
}

/// When two records are linked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// How many missed links one false link costs: 1 to 1,000.
    pub false_link_cost: u32,
    /// Lead over the runner-up that a link needs when a record has rivals, in tenths of a bit.
    pub lead_margin_decibits: u32,
    /// Probability below which a pair that would be linked is abstained from instead of refused, in thousandths.
    pub abstain_floor_permille: u32,
}

/// An attribute that may travel to analysts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribute {
    /// Canonical column.
    pub name: String,
    /// How it is minimised at the node.
    pub rule: Rule,
}

/// How an attribute is minimised at the node, before it is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Rule {
    /// Date to `AAAA-MM`.
    Month,
    /// Date to `AAAA`.
    Year,
    /// Birth date to an age band at the period's first day; lower bounds in years, rising.
    AgeBand {
        /// Lower bounds in years.
        from_years: Vec<u32>,
    },
    /// Commune as its INSEE code.
    Commune,
    /// Commune to its département.
    Department,
    /// Nationality to FR, UE or HUE.
    NationalityClass,
    /// Amount to a band; lower bounds, rising.
    AmountBand {
        /// Lower bounds.
        from: Vec<i64>,
    },
    /// One of the listed codes, as it is.
    Code {
        /// Codes allowed.
        values: Vec<String>,
    },
    /// A whole number from 0 to `max`; larger ones become `max`.
    Count {
        /// Largest value kept.
        max: u32,
    },
    /// A value of the file to a code of the agreement; several values may come to one code.
    Map {
        /// Code for each value of the file, compared as [`crate::squash`] leaves them.
        values: BTreeMap<String, String>,
    },
    /// Place to `inside` or `outside` the places listed.
    Inside {
        /// INSEE codes of communes (five characters) and départements (two or three).
        codes: Vec<String>,
    },
    /// The column is named so that everybody sees that it stays where it is: no value leaves, no column is made of it.
    Drop,
}

/// How long each class of data may be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Names at the node, days after stage 1.
    pub names_days: u32,
    /// Encrypted archive at the node, months.
    pub archive_months: u32,
    /// Tokens and filters at the broker, days after the run is closed.
    pub encodings_days: u32,
    /// Link tables and attributes at the analyst, months.
    pub link_tables_months: u32,
    /// Access log, months, rolling.
    pub access_log_months: u32,
    /// System log, days.
    pub system_log_days: u32,
    /// Days from a run's opening until one that has not ended is given up; see [`Retention::open_runs_days`] for what an
    /// absent key means, likewise below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_runs_days: Option<u32>,
    /// Archived records of a person, months from the last contact that the party delivers; no rule when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_contact_months: Option<u32>,
    /// The same, months from the date of death.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deceased_months: Option<u32>,
    /// Days between the agreement's end, or a notice's effect, and the deletion of everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_end_days: Option<u32>,
}

impl Retention {
    /// Days from a run's opening until one that has not ended is given up and what it holds deleted: 31 unless the
    /// agreement says otherwise.
    pub fn open_runs_days(&self) -> u32 {
        self.open_runs_days.unwrap_or(31)
    }
    /// Days between the agreement's end and the deletion of everything: none unless the agreement says otherwise.
    pub fn after_end_days(&self) -> u32 {
        self.after_end_days.unwrap_or(0)
    }
}

/// Limits on what is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disclosure {
    /// Smallest count that may be published.
    pub minimum_cell: u32,
    /// How small counts are protected; see [`Disclosure::method`] for what an absent key means, likewise below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<DisclosureMethod>,
    /// Whether the producers approve each table before it is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<bool>,
    /// Tables that an analyst may publish in a calendar month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables_per_month: Option<u32>,
    /// Share of an amount that one contributor may make up, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dominance_percent: Option<u32>,
    /// What published counts are rounded to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_to: Option<u32>,
}

/// How small counts are kept out of what is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DisclosureMethod {
    /// Cells below the minimum are hidden, and others with them so that no subtraction gives them back.
    Suppression,
    /// Every count is changed by a small noise that depends on the persons counted, the same in every table
    /// (Thompson, Broadfoot, Elazar 2013).
    CellKey,
}

impl Disclosure {
    /// How small counts are protected: suppression unless the agreement says otherwise.
    pub fn method(&self) -> DisclosureMethod {
        self.method.unwrap_or(DisclosureMethod::Suppression)
    }
    /// Whether a table is published only once the producers, the parties whose data it holds, have approved it: no
    /// unless the agreement says so.
    pub fn needs_approval(&self) -> bool {
        self.approval.unwrap_or(false)
    }
    /// Tables that each analyst may publish in a calendar month: 100 unless the agreement says otherwise.
    pub fn tables_per_month(&self) -> u32 {
        self.tables_per_month.unwrap_or(100)
    }
    /// Share of a published amount, in percent, that its largest contributor must not exceed: 85 unless the agreement
    /// says otherwise.
    pub fn dominance_percent(&self) -> u32 {
        self.dominance_percent.unwrap_or(85)
    }
    /// What published counts are rounded to: 1, not at all, unless the agreement says 5 or 10.
    pub fn round_to(&self) -> u32 {
        self.round_to.unwrap_or(1)
    }
}

impl Agreement {
    /// The layout that the identity fields and encoding parameters fix.
    pub fn layout(&self) -> Layout {
        let kinds: Vec<FieldKind> = self.identity.field.iter().map(|f| f.kind).collect();
        Layout::new(
            &kinds,
            self.encoding.filter_bits as usize,
            self.encoding.hash_count as usize,
            self.encoding.tokens_per_record as usize,
        )
    }
    /// Where the parts of every record's annex lie.
    pub fn annex(&self) -> AnnexPlaces {
        AnnexPlaces::new(self.encoding.clk.as_ref().map(|clk| clk.bits as usize), self.encoding.hash_keys.is_some())
    }
    /// Bytes of every record's annex; 0 where all parties are block-scoped.
    pub fn annex_len(&self) -> usize {
        self.annex().len
    }
    /// The shape of the records of `party`; that of a block-scoped party for a stranger.
    pub fn shape(&self, party: &PartyId) -> RecordShape {
        let entries = match self.party(party).and_then(|p| p.profile) {
            None => self.encoding.tokens_per_record as usize,
            Some(PartyProfile::Clk | PartyProfile::HashKeys) => 0,
        };
        RecordShape { entries, annex_len: self.annex_len() }
    }
    /// Most records that `party` may bring to one run: those of a period, and as many again for every year of history,
    /// since records that left the list keep taking part. 0 for a stranger.
    pub fn run_record_limit(&self, party: &PartyId) -> u64 {
        let years = 1 + u64::from(self.agreement.history_months) / 12;
        self.party(party).map_or(0, |p| p.max_records.saturating_mul(years))
    }
    /// Epoch of the custodian's OPRF key: 1 unless the agreement says otherwise. It is in every input of the function, so that
    /// block secrets of two epochs never meet.
    pub fn oprf_epoch(&self) -> u32 {
        self.encoding.oprf_epoch.unwrap_or(1)
    }
    /// The attributes that leave the parties, in the agreement's order: all listed but those whose rule drops them.
    /// What a record's attributes, sealed and opened, are in the order of.
    pub fn travelling_attributes(&self) -> Vec<Attribute> {
        self.attribute.iter().filter(|a| a.rule != Rule::Drop).cloned().collect()
    }
    /// The partner named `id`.
    pub fn party(&self, id: &PartyId) -> Option<&Party> {
        self.party.iter().find(|p| &p.id == id)
    }
}
