//! The agreement's values in the words of those who read the pack.

use jiff::civil::Date;
use linkage_agreement::FieldKind;
use linkage_agreement::model::{Agreement, Analyst, AnalystRight, Identity, Rule};

/// What a minimisation rule leaves of a value.
pub fn rule(rule: &Rule) -> String {
    match rule {
        Rule::Month => "mois et année seulement".to_owned(),
        Rule::Year => "année seulement".to_owned(),
        Rule::AgeBand { from_years } => format!("tranche d'âge (bornes inférieures : {} ans)", listed(from_years)),
        Rule::Commune => "code INSEE de la commune".to_owned(),
        Rule::Department => "département".to_owned(),
        Rule::NationalityClass => "Française, Union européenne ou hors Union européenne".to_owned(),
        Rule::AmountBand { from } => format!("tranche de montant (bornes inférieures : {})", listed(from)),
        Rule::Code { values } => format!("l'un de {} codes prévus, sinon effacé", values.len()),
        Rule::Count { max } => format!("nombre, ramené à {max} au-delà"),
        Rule::Map { values } => {
            let mut codes: Vec<&str> = values.values().map(String::as_str).collect();
            codes.sort_unstable();
            codes.dedup();
            format!("ramené à l'un de {} codes de la convention, sinon effacé", codes.len())
        }
        Rule::Inside { codes } => {
            format!("« dans » ou « hors » d'un périmètre de {} codes ; la commune ne sort pas", codes.len())
        }
        Rule::Drop => "ne sort jamais du fichier du partenaire".to_owned(),
    }
}

fn listed<T: ToString>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// An identity field.
pub fn field(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::BirthName => "nom de naissance",
        FieldKind::UsageName => "nom d'usage",
        FieldKind::GivenNames => "prénoms",
        FieldKind::BirthDate => "date de naissance",
        FieldKind::Sex => "sexe",
        FieldKind::Place => "lieu de naissance",
        FieldKind::Category => "code",
        FieldKind::Text => "texte",
    }
}

/// The identity fields that are used, in order, each with its column.
pub fn fields(identity: &Identity) -> String {
    identity.field.iter().map(|f| format!("{} ({})", plain_field(f.kind, &f.column), f.column)).collect::<Vec<_>>().join(", ")
}

/// The identity fields that are used, for people who know no column.
pub fn plain_fields(identity: &Identity) -> String {
    identity.field.iter().map(|f| plain_field(f.kind, &f.column)).collect::<Vec<_>>().join(", ")
}

/// A code or a text says nothing of what it is of: its column does.
fn plain_field(kind: FieldKind, column: &str) -> String {
    match kind {
        FieldKind::Category | FieldKind::Text => plain(column),
        other => field(other).to_owned(),
    }
}

/// The attributes that travel, for people who know no column.
pub fn plain_attributes(agreement: &Agreement) -> String {
    agreement.travelling_attributes().iter().map(|a| plain(&a.name)).collect::<Vec<_>>().join(", ")
}

/// A column as people call it; one of a partner's own keeps its name.
fn plain(column: &str) -> String {
    match column {
        "date_naissance" => "date de naissance",
        "commune_residence" => "commune de résidence",
        "code_postal" => "code postal",
        "nationalite" => "nationalité",
        "composition" => "composition familiale",
        "nb_personnes" => "nombre de personnes du foyer",
        "nb_enfants" => "nombre d'enfants",
        "hebergement" => "hébergement",
        "type_accompagnement" => "type d'accompagnement",
        "date_entree" => "date d'entrée",
        "date_sortie" => "date de sortie",
        other => return other.replace('_', " "),
    }
    .to_owned()
}

/// A day as people write it.
pub fn day(date: Date) -> String {
    let month = match date.month() {
        1 => "janvier",
        2 => "février",
        3 => "mars",
        4 => "avril",
        5 => "mai",
        6 => "juin",
        7 => "juillet",
        8 => "août",
        9 => "septembre",
        10 => "octobre",
        11 => "novembre",
        _ => "décembre",
    };
    let day = if date.day() == 1 { "1er".to_owned() } else { date.day().to_string() };
    format!("{day} {month} {}", date.year())
}

/// A text of the agreement as a sentence.
pub fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

/// What an analyst may do.
pub fn rights(analyst: &Analyst) -> String {
    let rights: Vec<&str> = analyst
        .may
        .iter()
        .map(|right| match right {
            AnalystRight::Cohorts => "interroger des effectifs sous contrôle de divulgation",
            AnalystRight::RowLevel => "détenir les lignes pseudonymes",
        })
        .collect();
    rights.join(" ; ")
}

/// A number of months, in years where it is whole years.
pub fn months(months: u32) -> String {
    match (months, months % 12) {
        (0, _) => "aucun délai".to_owned(),
        (12, _) => "1 an".to_owned(),
        (m, 0) => format!("{} ans", m / 12),
        (m, _) => format!("{m} mois"),
    }
}

/// A number of days.
pub fn days(days: u32) -> String {
    match days {
        0 => "aucun délai".to_owned(),
        1 => "1 jour".to_owned(),
        n => format!("{n} jours"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_read_as_people_say_them() {
        assert_eq!((months(60), months(12), months(18)), ("5 ans".into(), "1 an".into(), "18 mois".into()));
        assert_eq!((days(1), days(30)), ("1 jour".to_owned(), "30 jours".to_owned()));
        assert_eq!(day(jiff::civil::date(2026, 8, 1)), "1er août 2026");
        assert_eq!((sentence("Compter "), sentence("Compter.")), ("Compter.".to_owned(), "Compter.".to_owned()));
        assert_eq!((plain("nb_enfants"), plain("code_interne")), ("nombre d'enfants".to_owned(), "code interne".to_owned()));
        let map = Rule::Map { values: [("a", "X"), ("b", "X"), ("c", "Y")].map(|(k, v)| (k.to_owned(), v.to_owned())).into() };
        assert!(rule(&map).contains("2 codes"));
    }
}
