//! Words of the trade for what tables name in codes: in French, for the readers of reports.
//!
//! Codes are those of the agreement's template; others stand as they are.

use linkage_agreement::Period;

use crate::figures::{Category, Dimension};

const MONTHS: [&str; 12] =
    ["janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"];

/// A month in words.
pub(super) fn month(period: Period) -> String {
    let name = MONTHS.get(usize::from(period.month()).wrapping_sub(1)).copied().unwrap_or_default();
    format!("{name} {}", period.year())
}

/// The dimension in words.
pub(super) fn dimension(dimension: &Dimension) -> Dimension {
    let (name, words): (&str, fn(&str) -> Option<&'static str>) = match dimension.name.as_str() {
        "age" => ("âge", age),
        "sex" => ("sexe", sex),
        "hebergement" => ("situation d’hébergement", housing),
        "type_accompagnement" => ("type d’accompagnement", support),
        "resultat" => ("résultat", |_| None),
        "delay" => ("délai", delay),
        "within" => ("délai", within),
        "outcome" => ("issue", outcome),
        other => (other, |_| None),
    };
    let category = |category: &Category| match category {
        Category::Value(value) => Category::Value(words(value).map_or_else(|| value.clone(), str::to_owned)),
        other => other.clone(),
    };
    Dimension {
        name: name.to_owned(),
        categories: dimension.categories.iter().map(category).collect(),
        partition: dimension.partition,
    }
}

fn age(code: &str) -> Option<&'static str> {
    Some(match code {
        "0-24" => "moins de 25 ans",
        "25-29" => "25 à 29 ans",
        "30-49" => "30 à 49 ans",
        "50-59" => "50 à 59 ans",
        "60+" => "60 ans et plus",
        _ => return None,
    })
}

fn sex(code: &str) -> Option<&'static str> {
    match code {
        "femme" => Some("femmes"),
        "homme" => Some("hommes"),
        _ => None,
    }
}

fn delay(code: &str) -> Option<&'static str> {
    Some(match code {
        "before" => "déjà connues avant l’entrée",
        "0" => "le mois de l’entrée",
        "1" => "1 mois après",
        "2" => "2 mois après",
        "3" => "3 mois après",
        "4-6" => "4 à 6 mois après",
        "7-12" => "7 à 12 mois après",
        "13+" => "13 mois après ou plus",
        _ => return None,
    })
}

fn within(code: &str) -> Option<&'static str> {
    Some(match code {
        "0" => "le mois de l’entrée",
        "1" => "1 mois au plus",
        "2" => "2 mois au plus",
        "3" => "3 mois au plus",
        "6" => "6 mois au plus",
        "12" => "12 mois au plus",
        _ => return None,
    })
}

fn outcome(code: &str) -> Option<&'static str> {
    match code {
        "found" => Some("trouvées"),
        "not-found" => Some("suivies jusque-là, non trouvées"),
        _ => None,
    }
}

fn housing(code: &str) -> Option<&'static str> {
    Some(match code {
        "LOGEMENT_AUTONOME" => "logement autonome",
        "LOGEMENT_ADAPTE" => "logement adapté",
        "HEBERGE_TIERS" => "hébergement par un tiers",
        "HEBERGEMENT_URGENCE" => "hébergement d’urgence",
        "HOTEL" => "hôtel",
        "CAMPEMENT_SQUAT" => "campement ou squat",
        "RUE" => "rue",
        "INSTITUTION" => "institution",
        _ => return None,
    })
}

fn support(code: &str) -> Option<&'static str> {
    Some(match code {
        "AF" => "allocations familiales",
        "AL" => "aide au logement",
        "ASF" => "allocation de soutien familial",
        "PPA" => "prime d’activité",
        "ASE" => "aide sociale à l’enfance",
        "DOMICILIATION" => "domiciliation",
        "AIDE_ALIMENTAIRE" => "aide alimentaire",
        "AIDE_FACULTATIVE" => "aide facultative",
        "ACCOMPAGNEMENT_SOCIAL_GLOBAL" => "accompagnement social global",
        "ASLL_FSL" => "ASLL (FSL)",
        "IML" => "intermédiation locative",
        "LOGEMENT_ADAPTE" => "logement adapté",
        "DEMANDE_115" => "demande au 115",
        "INSERTION" => "insertion",
        "SUIVI" => "suivi",
        "GUIDE" => "accompagnement guidé",
        "RENFORCE" => "accompagnement renforcé",
        "GLOBAL" => "accompagnement global",
        _ => return None,
    })
}
