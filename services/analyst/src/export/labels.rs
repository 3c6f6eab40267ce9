//! French words for what tables name in codes, and figures as French readers write them.

use linkage_cohort::{Category, Method, Note, PublicTable, Shown, Unit};

/// What stands for a hidden figure (« secret statistique »).
pub const HIDDEN: &str = "s";
/// What stands for a figure of which nothing can be said.
pub const MISSING: &str = "n.d.";
/// What marks a figure whose interval changes its reading.
pub const UNCERTAIN: &str = "≈";

/// A dimension.
pub fn dimension(name: &str) -> String {
    match name {
        "period" => "période",
        "party" => "partenaire",
        "parties" => "partenaires réunis",
        "age" => "âge",
        "sex" => "sexe",
        "delay" => "délai",
        "outcome" => "issue",
        "composition-menage" => "composition du ménage",
        "from" => "de",
        "to" => "vers",
        "path" => "parcours",
        "quantile" => "quantile",
        other => other,
    }
    .to_owned()
}

/// A category.
pub fn category(category: &Category) -> String {
    match category {
        Category::Value(value) => value.clone(),
        Category::Unknown => "inconnu".to_owned(),
        Category::Absent => "absent".to_owned(),
        Category::Others => "autres".to_owned(),
        Category::Total => "ensemble".to_owned(),
    }
}

/// What is counted, in a few words.
pub fn measure(unit: Unit, measure: &str) -> String {
    let (units, distinct) = match unit {
        Unit::Persons => ("personnes", "personnes distinctes"),
        Unit::Households => ("ménages", "ménages distincts"),
    };
    match measure {
        "count" => format!("{distinct} dans la période"),
        "stock" => format!("{distinct} au dernier mois de la période"),
        "entries" => format!("{units} : premières entrées"),
        "exits" => format!("{units} : sorties"),
        "returns" => format!("{units} : retours"),
        "durations" => format!("{units} : mois de présence sans interruption (quartiles)"),
        "transitions" => format!("{units} : passages d'un état à l'autre"),
        "paths" => format!("{units} : services rencontrés, dans l'ordre"),
        "delays" => format!("{units} : mois jusqu'à la première présence à chaque service"),
        "delay-shares" => format!("{units} : part en %, d'après la table de survie (Cutler et Ederer, 1958)"),
        "lines" => "effectifs distincts, un par colonne".to_owned(),
        "sum" => format!("somme sur les {units}"),
        other => format!("{units} : {other}"),
    }
}

/// A whole number in groups of three, others with one decimal.
pub fn number(value: f64) -> String {
    let negative = value < 0.0;
    let text = if value.fract() == 0.0 { format!("{:.0}", value.abs()) } else { format!("{:.1}", value.abs()) };
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let mut out = String::from(if negative { "\u{2212}" } else { "" });
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push(',');
        out.push_str(fraction);
    }
    out
}

/// A cell.
pub fn cell(shown: &Shown) -> String {
    match shown {
        Shown::Value { value, uncertain: false, .. } => number(*value),
        Shown::Value { value, uncertain: true, .. } => format!("{UNCERTAIN}\u{a0}{}", number(*value)),
        Shown::Hidden => HIDDEN.to_owned(),
        Shown::Missing => MISSING.to_owned(),
    }
}

/// The interval of a cell.
pub fn interval(shown: &Shown) -> Option<String> {
    match shown {
        Shown::Value { interval: Some([low, high]), .. } => Some(format!("{} à {}", number(*low), number(*high))),
        _ => None,
    }
}

/// How small figures are protected.
pub fn method(table: &PublicTable) -> String {
    let minimum = table.minimum;
    match table.method {
        Method::Suppression => format!(
            "Secret statistique : tout effectif inférieur à {minimum} est masqué, et d'autres avec lui pour qu'aucune soustraction ne le restitue."
        ),
        Method::CellKey => format!(
            "Secret statistique : chaque effectif est modifié d'un léger bruit, le même pour les mêmes personnes dans tous les tableaux (Thompson, Broadfoot, Elazar 2013) ; une somme peut différer du total affiché, et tout effectif inférieur à {minimum} est masqué."
        ),
    }
}

/// What the signs stand for.
pub fn legend(table: &PublicTable) -> Vec<String> {
    let has = |wanted: fn(&Shown) -> bool| table.cells.iter().any(wanted);
    let mut lines = Vec::new();
    if has(|c| matches!(c, Shown::Hidden)) {
        lines.push(format!("{HIDDEN} : masqué (secret statistique)."));
    }
    if has(|c| matches!(c, Shown::Missing)) {
        lines.push(format!("{MISSING} : non disponible, une livraison nécessaire manque ; ce n'est pas zéro."));
    }
    if has(|c| matches!(c, Shown::Value { interval: Some(_), .. })) {
        lines.push("Entre crochets ou en colonnes « bas » et « haut » : intervalle à 95 % compte tenu des liens manqués et des liens faux.".to_owned());
    }
    if has(|c| matches!(c, Shown::Value { uncertain: true, .. })) {
        lines.push(format!("{UNCERTAIN} : incertitude de rapprochement assez grande pour changer la lecture."));
    }
    lines
}

/// A note.
pub fn note(note: &Note) -> String {
    match note {
        Note::NotDelivered { period, party } => format!("{period} : {party} n'a rien livré."),
        Note::Partial { name, from, to } => format!("{name} : de {from} à {to} seulement."),
        Note::NoRun { period } => format!("{period} : aucun traitement de ce mois n'est disponible."),
    }
}
