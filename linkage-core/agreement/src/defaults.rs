//! The choices proposed to partners who have no reason for others: French social services' fields and measured parameters.
//!
//! The template says the same in words; a test holds both together.

use jiff::civil::Date;

use crate::ids::{PartyId, Period};
use crate::layout::FieldKind;
use crate::model::{
    Agreement, Analyst, Attribute, Custodian, Decision, Disclosure, Encoding, Identity, IdentityField, Party, Profile, Retention,
    Role, Rule, Terms,
};

/// Everyone who takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// The partners, two or more; the first is the coordinator.
    pub party: Vec<Party>,
    /// The broker.
    pub broker: Role,
    /// The custodian.
    pub custodian: Custodian,
    /// The analysts, one or more.
    pub analyst: Vec<Analyst>,
}

/// The days that an agreement written by a program covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// First day.
    pub start: Date,
    /// Last day.
    pub end: Date,
    /// First month that may be linked.
    pub first_period: Period,
}

impl Agreement {
    /// An agreement for a trial or demonstration: first version, proposed parameters, no forbidden use, and the fields
    /// and attributes given. `expected_records` is the sum of the parties' `max_records`.
    pub fn for_trial(id: PartyId, members: Members, identity: Identity, attribute: Vec<Attribute>, term: Term) -> Option<Self> {
        let coordinator = members.party.first()?.id.clone();
        let expected_records = members.party.iter().fold(0, |sum: u64, p| sum.saturating_add(p.max_records));
        Some(Self {
            schema: 1,
            agreement: Terms {
                id,
                version: 1,
                title: "Essai de rapprochement".to_owned(),
                purpose: "Essai ou démonstration du logiciel".to_owned(),
                legal_basis: "Sans objet : essai tenu par un seul opérateur".to_owned(),
                forbidden_uses: Vec::new(),
                start: term.start,
                end: term.end,
                first_period: term.first_period,
                history_months: 60,
                coordinator,
            },
            party: members.party,
            broker: members.broker,
            custodian: members.custodian,
            analyst: members.analyst,
            identity,
            encoding: Encoding { expected_records, ..Encoding::default() },
            decision: Decision::default(),
            attribute,
            retention: Retention::default(),
            disclosure: Disclosure::default(),
        })
    }
}

impl Default for Encoding {
    /// Block-scoped profile, version 1, pass set `fr-1`, for 20,000 records.
    fn default() -> Self {
        Self {
            profile: Profile::BlockScoped,
            profile_version: 1,
            pass_set: "fr-1".to_owned(),
            expected_records: 20_000,
            filter_bits: 128,
            hash_count: 4,
            tokens_per_record: 20,
            decoys_percent: 5,
            block_cap: 12,
            oprf_epoch: None,
            clk: None,
            hash_keys: None,
        }
    }
}

impl Default for Decision {
    /// A false link costs 20 missed ones; 3 bits of lead; abstention from probability 0.3 on.
    fn default() -> Self {
        Self { false_link_cost: 20, lead_margin_decibits: 30, abstain_floor_permille: 300 }
    }
}

impl Default for Retention {
    /// The periods of today's conventions: names one month, pseudonymous data five years, six months of access log.
    fn default() -> Self {
        Self {
            names_days: 30,
            archive_months: 60,
            encodings_days: 7,
            link_tables_months: 60,
            access_log_months: 6,
            system_log_days: 90,
            open_runs_days: None,
            last_contact_months: None,
            deceased_months: None,
            after_end_days: None,
        }
    }
}

impl Default for Disclosure {
    /// 11, the threshold of French social statistics; nothing else said.
    fn default() -> Self {
        Self { minimum_cell: 11, method: None, approval: None, tables_per_month: None, dominance_percent: None, round_to: None }
    }
}

impl IdentityField {
    /// A field held by one column.
    pub fn new(kind: FieldKind, column: &str) -> Self {
        Self { kind, column: column.to_owned(), name_column: None, country_column: None }
    }
}

impl Identity {
    /// The fields of French social services, by canonical columns.
    pub fn french() -> Self {
        let place = IdentityField {
            name_column: Some("lieu_naissance".to_owned()),
            country_column: Some("pays_naissance".to_owned()),
            ..IdentityField::new(FieldKind::Place, "code_lieu_naissance")
        };
        let field = vec![
            IdentityField::new(FieldKind::BirthName, "nom_naissance"),
            IdentityField::new(FieldKind::UsageName, "nom_usage"),
            IdentityField::new(FieldKind::GivenNames, "prenoms"),
            IdentityField::new(FieldKind::BirthDate, "date_naissance"),
            IdentityField::new(FieldKind::Sex, "sexe"),
            place,
            IdentityField::new(FieldKind::Category, "commune_residence"),
        ];
        Self { field }
    }
}

impl Attribute {
    /// The attributes of French social services, each with its minimisation.
    pub fn french() -> Vec<Self> {
        let codes = |list: &[&str]| Rule::Code { values: list.iter().map(|c| (*c).to_owned()).collect() };
        let all = [
            ("date_naissance", Rule::Month),
            ("commune_residence", Rule::Commune),
            ("nationalite", Rule::NationalityClass),
            (
                "composition",
                codes(&["personne seule", "couple sans enfant", "couple avec enfants", "famille monoparentale", "autre"]),
            ),
            ("nb_enfants", Rule::Count { max: 6 }),
            ("statut", codes(&["SALARIE", "DEMANDEUR_EMPLOI", "INACTIF", "RETRAITE", "ENFANT", "FORMATION", "AAH"])),
            (
                "hebergement",
                codes(&[
                    "LOGEMENT_AUTONOME",
                    "LOGEMENT_ADAPTE",
                    "HEBERGE_TIERS",
                    "HEBERGEMENT_URGENCE",
                    "HOTEL",
                    "CHRS",
                    "CAMPEMENT_SQUAT",
                    "RUE",
                    "INSTITUTION",
                ]),
            ),
            ("ressources", Rule::AmountBand { from: vec![0, 1, 501, 1_001, 1_501] }),
            (
                "type_accompagnement",
                codes(&[
                    "RSA",
                    "PPA",
                    "AAH",
                    "AF",
                    "AL",
                    "ASF",
                    "APA",
                    "PCH",
                    "ASE",
                    "DOMICILIATION",
                    "AIDE_ALIMENTAIRE",
                    "AIDE_FACULTATIVE",
                    "ACCOMPAGNEMENT_SOCIAL_GLOBAL",
                    "ASLL_FSL",
                    "IML",
                    "LOGEMENT_ADAPTE",
                    "DEMANDE_115",
                    "INSERTION",
                    "SUIVI",
                    "GUIDE",
                    "RENFORCE",
                    "GLOBAL",
                ]),
            ),
            ("date_entree", Rule::Month),
            ("date_sortie", Rule::Month),
        ];
        all.into_iter().map(|(name, rule)| Self { name: name.to_owned(), rule }).collect()
    }
}
