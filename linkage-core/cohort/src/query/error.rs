//! Why a query gets no figure: in French, for analysts, with what to do next.
//!
//! Messages name parties, attributes, codes and months of the agreement; nothing in a study that could be named is a
//! person.

use linkage_agreement::{PartyId, Period};

use super::{MAX_BREAKDOWNS, MAX_BYTES, MAX_CELLS, MAX_CONDITIONS, MAX_DEPTH};
use crate::study::SourceError;

/// Why a document is no query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Longer than [`MAX_BYTES`].
    #[error("la requête dépasse {MAX_BYTES} octets ; raccourcissez-la")]
    TooLong,
    /// Sets within sets, deeper than [`MAX_DEPTH`].
    #[error("la population emboîte plus de {MAX_DEPTH} ensembles ; simplifiez-la")]
    TooDeep,
    /// No TOML or JSON, or a key that is unknown, missing or of the wrong kind.
    #[error("ligne {line}, colonne {column} : {message}")]
    Malformed {
        /// Line, counted from 1.
        line: usize,
        /// Column, counted from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// The query cannot be written down: some text of it has no form in the language.
    #[error("la requête ne peut être écrite : {0}")]
    Unwritable(String),
}

/// Why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The document is no query.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// No title, one that is too long, or one with control characters.
    #[error("donnez à la requête un titre de 1 à 200 caractères, sur une ligne")]
    Title,
    /// No month is held.
    #[error("aucun mois n'est encore disponible ; récupérez d'abord un traitement : linkage analyst fetch")]
    NoMonth,
    /// A party that is not in the study.
    #[error("partenaire inconnu : « {party} » ; partenaires de la convention : {}", list(known))]
    UnknownParty {
        /// As written.
        party: PartyId,
        /// Those there are.
        known: Vec<PartyId>,
    },
    /// An attribute that the agreement does not give.
    #[error("attribut inconnu : « {name} » ; la convention donne : {}", list(known))]
    UnknownAttribute {
        /// As written.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// A breakdown that is neither a built-in one nor an attribute.
    #[error("ventilation inconnue : « {name} » ; ventilations possibles : {}", list(known))]
    UnknownBreakdown {
        /// As written.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// A value that the attribute's rule cannot give.
    #[error("« {value} » n'est pas une valeur de l'attribut « {attribute} » ; valeurs possibles : {}", list(known))]
    UnknownValue {
        /// The attribute.
        attribute: String,
        /// As written.
        value: String,
        /// Values that occur or that the rule lists, the first of them.
        known: Vec<String>,
    },
    /// An attribute is named without values.
    #[error("donnez au moins une valeur admise pour l'attribut « {attribute} »")]
    NoValue {
        /// The attribute.
        attribute: String,
    },
    /// `all` or `any` of nothing.
    #[error("« all » et « any » demandent au moins un ensemble ; sans « population », tout le monde est compté")]
    EmptySet,
    /// A fixed month beside another `when`.
    #[error("une condition porte soit « when », soit « period », pas les deux")]
    WhenAndPeriod,
    /// A month of which no run is here.
    #[error("le mois {period} n'est pas disponible ; mois disponibles : de {first} à {last}")]
    PeriodNotHeld {
        /// As written.
        period: Period,
        /// First month held.
        first: Period,
        /// Last month held.
        last: Period,
    },
    /// The first month comes after the last.
    #[error("la période est à l'envers : {from} vient après {to}")]
    PeriodOrder {
        /// As written.
        from: Period,
        /// As written.
        to: Period,
    },
    /// A condition on a fixed month that the party did not deliver.
    #[error("« {party} » n'a rien livré pour {period} : la population ne peut y être fixée ; choisissez un autre mois")]
    NotDelivered {
        /// The month.
        period: Period,
        /// The party.
        party: PartyId,
    },
    /// Transitions need a period and the next.
    #[error("des transitions demandent au moins deux périodes ; allongez « periods » ou choisissez un grain plus fin")]
    OnePeriod,
    /// More than [`MAX_BREAKDOWNS`].
    #[error("{MAX_BREAKDOWNS} ventilations au plus")]
    TooManyBreakdowns,
    /// A breakdown named twice.
    #[error("la ventilation « {name} » est demandée deux fois")]
    BreakdownTwice {
        /// The breakdown.
        name: String,
    },
    /// A breakdown that says nothing with this measure.
    #[error("la mesure « {measure} » ne se ventile pas par « {name} »")]
    BreakdownRefused {
        /// The breakdown.
        name: String,
        /// The measure.
        measure: &'static str,
    },
    /// `sum` without `of`.
    #[error("la mesure « sum » demande l'attribut à additionner : of = \"…\"")]
    OfMissing,
    /// `of` with a measure that has no use for it.
    #[error("« of » ne sert qu'aux mesures « sum » et « transitions »")]
    OfUseless,
    /// A sum of what is no whole number.
    #[error("l'attribut « {attribute} » n'est pas un nombre entier : il ne s'additionne pas")]
    NotANumber {
        /// The attribute.
        attribute: String,
    },
    /// More than [`MAX_CONDITIONS`].
    #[error("plus de {MAX_CONDITIONS} conditions ; simplifiez la population")]
    TooManyConditions,
    /// More cells than [`MAX_CELLS`].
    #[error("le croisement donne {cells} cases, {MAX_CELLS} au plus ; retirez une ventilation ou raccourcissez la période")]
    TooManyCells {
        /// Cells asked for.
        cells: u64,
    },
    /// More parties than a combination can hold.
    #[error("les combinaisons de partenaires ne se calculent que jusqu'à 64 partenaires")]
    TooManyParties,
    /// Households are asked for, and nobody gave them.
    #[error("les ménages de cette étude ne sont pas constitués : aucun partenaire n'a donné de référence de ménage")]
    NoHouseholds,
    /// The persons' keys do not fit the study. A fault of the program, not of the query.
    #[error("les clés de confidentialité ne correspondent pas à l'étude ; reconstruisez-la : linkage cohort rebuild")]
    Keys,
    /// The study cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
}

fn list<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return "aucun".to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
