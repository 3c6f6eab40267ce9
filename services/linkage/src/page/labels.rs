//! French words for what reports name in codes, and figures as French readers write them.

use linkage_cohort::{AgeBand, Sex};

pub fn percent(share: f64) -> String {
    format!("{:.1}\u{a0}%", 100.0 * share).replace('.', ",")
}

/// A share with enough digits to tell small ones from none.
pub fn fine_percent(share: f64) -> String {
    format!("{:.2}\u{a0}%", 100.0 * share).replace('.', ",")
}

pub fn optional(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), percent)
}

pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

pub fn bits(millibits: i32) -> String {
    format!("{:+.1}", f64::from(millibits) / 1000.0).replace('.', ",").replace('-', "\u{2212}")
}

pub fn decimal(value: f64, digits: usize) -> String {
    format!("{value:.digits$}").replace('.', ",")
}

pub fn points(change: f64) -> String {
    format!("{:+.1}\u{a0}pt", 100.0 * change).replace('.', ",").replace('-', "\u{2212}")
}

/// Smallest counts are said to be hidden, never shown as zero.
pub fn suppressed(minimum: u64) -> String {
    format!("< {minimum} ou secret")
}

/// A dimension in words; `fields` are the agreement's columns in order.
pub fn dimension(name: &str, fields: &[String]) -> String {
    match name {
        "surname" => return "Nom (de naissance, d'usage)".to_owned(),
        "given" => return "Prénoms".to_owned(),
        _ => {}
    }
    let column = name.rsplit_once('-').and_then(|(_, at)| at.parse::<usize>().ok()).and_then(|at| fields.get(at));
    match column.map(String::as_str) {
        Some("date_naissance") => "Date de naissance".to_owned(),
        Some("sexe") => "Sexe".to_owned(),
        Some("code_lieu_naissance" | "lieu_naissance") => "Lieu de naissance".to_owned(),
        Some("commune_residence") => "Commune de résidence".to_owned(),
        Some("code_postal" | "postcode") => "Code postal".to_owned(),
        Some("suburb") => "Localité".to_owned(),
        Some("address_1") => "Adresse".to_owned(),
        Some(other) => other.to_owned(),
        None => name.to_owned(),
    }
}

/// A level in words.
pub fn level(name: &str) -> String {
    if let Some(class) = name.strip_prefix("exact class ") {
        return format!("identique, rareté {class} sur 7");
    }
    let grouped = [(" common", ", nom fréquent"), (" middling", ", nom de fréquence moyenne"), (" rare", ", nom rare")];
    for (suffix, words) in grouped {
        if let Some(base) = name.strip_suffix(suffix) {
            return format!("{}{words}", plain_level(base));
        }
    }
    plain_level(name).to_owned()
}

fn plain_level(name: &str) -> &str {
    match name {
        "missing" => "non renseigné",
        "various" => "selon les paires (moyenne)",
        "different" => "différent",
        "poor" => "peu ressemblant",
        "low" => "un peu ressemblant",
        "part" => "nom coupé",
        "phonetic" => "même prononciation, autre écriture",
        "medium" => "assez ressemblant",
        "phonetic-close" => "même prononciation, écriture proche",
        "contained" => "contenu dans l'autre",
        "high" => "très ressemblant",
        "exact" | "equal" => "identique",
        "swapped" => "nom et prénom inversés",
        "swapped, one name close" => "nom et prénom inversés, l'un à peu près",
        "same year" => "même année seulement",
        "default, other year" => "date par défaut, autre année",
        "default, year within one" => "date par défaut, année à un an près",
        "default, same year" => "date par défaut, même année",
        "partial, agrees" => "date partielle, concordante",
        "year off" => "année différente, même jour et mois",
        "one digit of the year off" => "un chiffre de l'année diffère",
        "year off by one" => "année à un an près, même jour et mois",
        "month off" => "mois différent",
        "day off" => "jour différent",
        "one digit of the day off" => "un chiffre du jour diffère",
        "day and month swapped" => "jour et mois inversés",
        "equal default" => "identique, date par défaut",
        "country" => "même pays seulement",
        "departement" => "même département",
        "commune" | "town" => "même commune",
        "region" => "même département ou région, sans plus",
        "other town of the region" => "même département ou région, autre commune",
        "other town" => "même pays, autre commune",
        "other commune of the departement" => "même département, autre commune",
        "abroad, other town" => "même pays étranger, autre ville",
        "abroad" => "même pays étranger",
        other => other,
    }
}

/// Why a pair was left open, and what to do about it.
pub fn reason(code: &str) -> (&str, &str) {
    match code {
        "uncertain" => (
            "Indices insuffisants",
            "Les champs ne suffisent ni à rapprocher ni à écarter ; compléter la date ou le lieu de naissance.",
        ),
        "twins" => (
            "Jumeaux ou proches possibles",
            "Même nom et même date, prénom différent : autant des jumeaux qu'une seule personne.",
        ),
        "namesakes" => (
            "Homonymes possibles",
            "Mêmes nom et prénom : autant deux homonymes (ou un parent et son enfant) qu'une seule personne.",
        ),
        "rival" => (
            "Deux candidates à égalité",
            "Une autre fiche du même partenaire convient presque aussi bien ; vérifier un doublon chez lui.",
        ),
        "duplicate_free_party" => (
            "Double chez un partenaire sans doublon",
            "Le lien mettrait ensemble deux fiches d'un partenaire qui déclare n'avoir aucun doublon.",
        ),
        "contradicted" => ("Contredit par d'autres fiches", "Les autres fiches des deux groupes parlent contre leur réunion."),
        "tie" => ("Liens égaux qui s'excluent", "Plusieurs rapprochements de même poids s'excluent : aucun n'est retenu."),
        "refuted" => ("Déjà écarté par les détenteurs", "Les deux détenteurs ont dit que ce sont deux personnes."),
        "outside_uncertain" => (
            "Filtre ou clé : indices insuffisants",
            "Autant d'autres personnes se ressemblent à ce point ; sans les noms, rien ne permet de trancher.",
        ),
        "outside_rival" => (
            "Filtre : deux candidates trop proches",
            "Le filtre d'une autre fiche convient presque aussi bien : homonyme, proche ou doublon.",
        ),
        "key_shared" => (
            "Clé portée par plusieurs fiches",
            "Plusieurs fiches d'un partenaire portent cette clé : laquelle serait affaire de hasard ; y chercher un doublon.",
        ),
        other => (other, ""),
    }
}

/// What a party that delivers no names delivers.
pub fn profile(code: &str) -> &str {
    match code {
        "clk" => "filtres clkhash",
        "hash-keys" => "clés de hachage",
        other => other,
    }
}

/// Why a typical pair is shown.
pub fn example(code: &str) -> &str {
    match code {
        "most_linked" => "Rapprochées : le cas le plus fréquent",
        "median_linked" => "Rapprochées : le cas médian",
        "lightest_linked" => "Rapprochées : le cas le plus faible",
        "most_abstained" => "Laissées ouvertes",
        "refused_near_bound" => "Écartées, près du seuil : le cas le plus fréquent",
        other => other,
    }
}

/// A group of records in words.
pub fn group(code: &str) -> String {
    match code {
        "full" => "Date complète",
        "default" => "Date par défaut (01/01, 31/12)",
        "partial" => "Date partielle",
        "missing" => "Sans date",
        "0" => "Sans nom",
        "1" => "1 (nom très courant)",
        "7" => "7 (nom très rare)",
        other => return other.to_owned(),
    }
    .to_owned()
}

pub fn date_quality(code: &str) -> &str {
    match code {
        "full" => "complète",
        "default" => "par défaut",
        "partial" => "partielle",
        "missing" => "absente",
        other => other,
    }
}

pub fn sex(sex: Sex) -> &'static str {
    match sex {
        Sex::Women => "femmes",
        Sex::Men => "hommes",
        Sex::Unknown => "inconnu",
    }
}

pub fn age(band: AgeBand) -> &'static str {
    match band {
        AgeBand::Under25 => "moins de 25",
        AgeBand::From25 => "25 à 29",
        AgeBand::From30 => "30 à 49",
        AgeBand::From50 => "50 à 59",
        AgeBand::From60 => "60 et plus",
        AgeBand::Unknown => "inconnu",
    }
}

/// A tag of the truth, in words.
pub fn case(tag: &str) -> &str {
    match tag {
        "homonyme_autre_ddn" => "homonymes d'autre date de naissance",
        "homonyme_parfait" => "homonymes nés le même jour",
        "pere_fils" => "père et fils de mêmes nom et prénom",
        "homonyme" => "homonymes (mêmes nom et prénom)",
        "homonyme_meme_annee" => "homonymes nés la même année",
        "homonyme_meme_mois" => "homonymes nés le même mois",
        "homonyme_meme_ddn" => "homonymes nés le même jour",
        "jumeau" => "jumeaux",
        "parent_enfant_meme_nom" => "parent et enfant de mêmes nom et prénom",
        "fratrie" => "frères et sœurs",
        "date_defaut" => "date de naissance par défaut (01/01, 31/12)",
        "translitteration" => "noms translittérés",
        "nom_usage" => "nom d'usage",
        "ne_etranger" => "nés à l'étranger",
        "sans_papiers" => "sans papiers",
        "particule" => "noms à particule",
        "prenom_compose" => "prénoms composés",
        other => other,
    }
}
