//! What must hold between several keys of an agreement: identifiers, keys, dates, fields and attributes.
//!
//! Works on located values rather than on the typed agreement, so that a fault in one key does not hide those of the
//! others. A value whose own shape is wrong has been noted by `schema` and is passed over here.

use std::collections::HashMap;

use crate::document::{Faults, Kind, Node, element, join};
use crate::forms::parse_date;
use crate::ids::{PartyId, Period};
use crate::layout::FieldKind;
use crate::permit::{RoleId, certificate_identity};
use crate::schema::{MAX_DIFFUSION, PARTY_PROFILES, PLACEHOLDER};
use crate::squash::squash;

/// Most name fields: the header keeps three bits for each (see `layout`).
const MAX_NAMES: usize = 10;

/// Columns that name or locate a person whatever the agreement's fields are; never an attribute.
const IDENTIFYING: [&str; 15] = [
    "local_id",
    "local_household_id",
    "nom_naissance",
    "nom_usage",
    "prenoms",
    "lieu_naissance",
    "rec_id",
    "given_name",
    "surname",
    "address_1",
    "address_2",
    "soc_sec_id",
    "phone_number",
    "date_dernier_contact",
    "date_deces",
];
/// Dates that decide how long a record is kept, and nothing else.
const TERM_DATES: [&str; 2] = ["date_dernier_contact", "date_deces"];
/// Birth dates: to be made coarser, whatever the agreement's fields are.
const BIRTH_DATES: [&str; 2] = ["date_naissance", "date_of_birth"];

/// Notes every fault between keys.
pub(crate) fn check(root: &Node, faults: &mut Faults<'_>) {
    terms(root, faults);
    members(root, faults);
    identity(root, faults);
    attributes(root, faults);
    other_profiles(root, faults);
}

fn terms(root: &Node, faults: &mut Faults<'_>) {
    let Some(terms) = root.get("agreement") else { return };
    let start = terms.text_of("start").and_then(parse_date);
    let end = terms.text_of("end").and_then(parse_date);
    if let (Some(start), Some(end), Some(node)) = (start, end, terms.get("end"))
        && end < start
    {
        faults.add(node.at, "agreement.end", "la convention finit avant de commencer : corriger start ou end");
    }
    if let (Some(node), Some(end)) = (terms.get("first_period"), end)
        && let Some(first) = node.text().and_then(|t| t.parse::<Period>().ok())
        && first > Period::of(end)
    {
        faults.add(node.at, "agreement.first_period", "le premier mois rapproché est postérieur à la fin de la convention");
    }
    if let Some(node) = terms.get("coordinator")
        && let Some(id) = node.text().filter(|t| t.parse::<PartyId>().is_ok())
        && !root.list_of("party").iter().any(|p| p.text_of("id") == Some(id))
    {
        faults.add(
            node.at,
            "agreement.coordinator",
            "coordonnateur inconnu : écrire l'identifiant d'un des partenaires [[party]]",
        );
    }
}

fn members(root: &Node, faults: &mut Faults<'_>) {
    let mut all: Vec<(String, &Node)> = Vec::new();
    for list in ["party", "analyst"] {
        let nodes = root.list_of(list);
        let members: Vec<_> = nodes.iter().enumerate().map(|(i, n)| (element(list, i), n)).collect();
        let what = "identifiant déjà employé";
        distinct(&members, "id", what, faults);
        all.extend(members);
    }
    for (i, analyst) in root.list_of("analyst").iter().enumerate() {
        distinct_texts(analyst.get("may"), &join(&element("analyst", i), "may"), "droit déjà accordé", faults);
    }
    all.extend(["broker", "custodian"].iter().filter_map(|role| Some(((*role).to_owned(), root.get(role)?))));
    distinct(&all, "certificate_identity", "identité de certificat déjà employée", faults);
    distinct(&all, "signing_key", "clé déjà employée par un autre : chaque organisme a la sienne ;", faults);
    distinct(&all, "sealing_key", "clé déjà employée par un autre : chaque organisme a la sienne ;", faults);

    let Some(agreement) = root.get("agreement").and_then(|a| a.text_of("id")).and_then(|t| t.parse().ok()) else { return };
    for (path, member) in &all {
        let id = || member.text_of("id").and_then(|t| t.parse().ok());
        let role = match path.split('[').next() {
            Some("party") => id().map(RoleId::Party),
            Some("analyst") => id().map(RoleId::Analyst),
            Some("broker") => Some(RoleId::Broker),
            _ => Some(RoleId::Custodian),
        };
        let (Some(role), Some(node)) = (role, member.get("certificate_identity")) else { continue };
        let expected = certificate_identity(&agreement, &role);
        if node.text().is_some_and(|t| !t.starts_with(PLACEHOLDER) && t != expected) {
            let message = format!("identité de certificat inattendue : écrire \"{expected}\"");
            faults.add(node.at, &join(path, "certificate_identity"), message);
        }
    }
}

/// Notes each member whose text `key` an earlier one has too.
fn distinct(members: &[(String, &Node)], key: &str, what: &str, faults: &mut Faults<'_>) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (path, member) in members {
        let Some(node) = member.get(key) else { continue };
        let Some(text) = node.text().filter(|t| !t.starts_with(PLACEHOLDER)) else { continue };
        match seen.get(text) {
            Some(first) => faults.add(node.at, &join(path, key), format!("{what} (voir ligne {first})")),
            None => drop(seen.insert(text, faults.line(node.at))),
        }
    }
}

/// Notes each text of `list` that came before.
fn distinct_texts(list: Option<&Node>, path: &str, what: &str, faults: &mut Faults<'_>) {
    let elements = list.map_or(&[][..], Node::elements);
    for (i, node) in elements.iter().enumerate() {
        if let Some(text) = node.text()
            && elements.iter().take(i).any(|e| e.text() == Some(text))
        {
            faults.add(node.at, &element(path, i), format!("{what} : le retirer"));
        }
    }
}

fn kind_of(field: &Node) -> Option<FieldKind> {
    serde_json::from_value(field.get("kind")?.to_json()).ok()
}

fn identity(root: &Node, faults: &mut Faults<'_>) {
    let Some(list) = root.get("identity").and_then(|i| i.get("field")) else { return };
    let fields = list.elements();
    let mut columns: HashMap<&str, usize> = HashMap::new();
    let mut kinds: Vec<FieldKind> = Vec::new();
    for (i, field) in fields.iter().enumerate() {
        let path = element("identity.field", i);
        let kind = kind_of(field);
        if let Some(kind) = kind {
            let may_repeat = matches!(kind, FieldKind::Place | FieldKind::Category | FieldKind::Text);
            if !may_repeat && kinds.contains(&kind) {
                let at = field.get("kind").map_or(field.at, |k| k.at);
                faults.add(at, &join(&path, "kind"), "ce genre de champ n'est admis qu'une fois : en retirer un");
            }
            kinds.push(kind);
        }
        for key in ["column", "name_column", "country_column"] {
            let Some(node) = field.get(key) else { continue };
            if key != "column" && kind.is_some_and(|k| k != FieldKind::Place) {
                faults.add(
                    node.key_at,
                    &join(&path, key),
                    format!("{key} n'a de sens que pour le genre place : retirer cette clé"),
                );
            }
            let Some(text) = node.text().filter(|t| !t.starts_with(PLACEHOLDER)) else { continue };
            if TERM_DATES.contains(&text) {
                let message = "cette date ne sert qu'à la durée de conservation : retirer ce champ";
                faults.add(node.at, &join(&path, key), message);
            }
            match columns.get(text) {
                Some(first) => faults.add(node.at, &join(&path, key), format!("colonne déjà employée ligne {first}")),
                None => drop(columns.insert(text, faults.line(node.at))),
            }
        }
    }
    // With an unknown kind among the fields, what is missing cannot be told.
    if kinds.len() < fields.len() {
        return;
    }
    let names = kinds.iter().filter(|k| k.is_name()).count();
    if names == 0 {
        faults.add(list.at, "identity.field", "aucun nom : ajouter un champ birth_name, usage_name ou given_names");
    }
    if names > MAX_NAMES {
        faults.add(list.at, "identity.field", format!("trop de noms : au plus {MAX_NAMES} champs de nom"));
    }
    if !kinds.contains(&FieldKind::BirthDate) {
        faults.add(list.at, "identity.field", "aucune date de naissance : ajouter un champ birth_date");
    }
}

fn attributes(root: &Node, faults: &mut Faults<'_>) {
    let attributes: Vec<_> = root.list_of("attribute").iter().enumerate().map(|(i, n)| (element("attribute", i), n)).collect();
    distinct(&attributes, "name", "attribut déjà listé", faults);
    for (path, attribute) in &attributes {
        let Some(rule) = attribute.get("rule") else { continue };
        let path = join(path, "rule");
        rising(rule.get("from_years"), &join(&path, "from_years"), faults);
        rising(rule.get("from"), &join(&path, "from"), faults);
        distinct_texts(rule.get("values"), &join(&path, "values"), "code déjà listé", faults);
        distinct_texts(rule.get("codes"), &join(&path, "codes"), "code déjà listé", faults);
        sources(rule.get("values"), &join(&path, "values"), faults);
        let (Some(name), Some(kind)) = (attribute.text_of("name"), rule.get("kind").or(Some(rule))) else { continue };
        if let (Some(word), Some(advice)) = (kind.text(), unminimised(root, name, kind.text())) {
            faults.add(
                kind.at,
                &join(&path, "kind"),
                format!("la règle {word} laisserait passer une donnée identifiante : {advice}"),
            );
        }
    }
}

/// Notes the first bound that does not exceed the one before it.
fn rising(bounds: Option<&Node>, path: &str, faults: &mut Faults<'_>) {
    let bounds = bounds.map_or(&[][..], Node::elements);
    for (i, pair) in bounds.windows(2).enumerate() {
        if let [before, after] = pair
            && let (Some(low), Some(high)) = (before.integer(), after.integer())
            && high <= low
        {
            faults.add(after.at, &element(path, i + 1), "les bornes doivent croître strictement");
            return;
        }
    }
}

/// Notes each value of a map that the node could not tell from an earlier one, or from nothing.
fn sources(values: Option<&Node>, path: &str, faults: &mut Faults<'_>) {
    let Some(Kind::Table(entries)) = values.map(|v| &v.kind) else { return };
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (source, entry) in entries {
        let key = squash(source);
        if key.is_empty() && !source.trim().is_empty() {
            faults.add(
                entry.key_at,
                &join(path, source),
                "valeur sans lettre ni chiffre : le logiciel ne la distinguerait d'aucune autre",
            );
        } else if let Some(first) = seen.get(&key) {
            let message = format!(
                "même valeur que celle de la ligne {first}, à la casse, aux accents et à la ponctuation près : la retirer"
            );
            faults.add(entry.key_at, &join(path, source), message);
        } else {
            seen.insert(key, faults.line(entry.key_at));
        }
    }
}

/// What to do when `rule` on column `name` would let an identity through; `None` when it may stand.
fn unminimised(root: &Node, name: &str, rule: Option<&str>) -> Option<&'static str> {
    const REMOVE: &str = "retirer cet attribut";
    const COARSER_DATE: &str = "employer month, year ou age-band";
    let rule = rule.filter(|rule| *rule != "drop")?;
    if IDENTIFYING.contains(&name) {
        return Some(REMOVE);
    }
    let coarser_date = |rule| (!matches!(rule, "month" | "year" | "age-band")).then_some(COARSER_DATE);
    if BIRTH_DATES.contains(&name) {
        return coarser_date(rule);
    }
    let fields = root.get("identity")?.list_of("field");
    let (field, key) = fields
        .iter()
        .find_map(|f| ["column", "name_column", "country_column"].iter().find(|k| f.text_of(k) == Some(name)).map(|k| (f, *k)))?;
    match (kind_of(field)?, key) {
        (FieldKind::BirthDate, _) => coarser_date(rule),
        // A code of one or two is as coarse as sex gets.
        (FieldKind::Sex, _) => (!matches!(rule, "code" | "map")).then_some("employer code ou map"),
        (FieldKind::Place, "column") => {
            (!matches!(rule, "commune" | "department" | "inside")).then_some("employer commune, department ou inside")
        }
        (FieldKind::Place, "country_column") => (rule != "nationality-class").then_some("employer nationality-class"),
        (FieldKind::Category, _) => {
            matches!(rule, "code" | "map" | "count").then_some("employer une règle qui regroupe (commune, department…)")
        }
        _ => Some(REMOVE),
    }
}

/// Parties that deliver no names, and the sections of [encoding] that say how they, and everyone for their sake, encode.
fn other_profiles(root: &Node, faults: &mut Faults<'_>) {
    const CLK_RISK: &str = "les filtres clkhash de toutes les personnes, celles des autres partenaires comprises, se ré-identifient \
        (58 à 100 % des personnes mesurées, à partir de 20 connues)";
    const KEYS_RISK: &str = "les clés de hachage de toutes les personnes, celles des autres partenaires comprises, se ré-identifient \
        dès qu'un partenaire et l'opérateur s'entendent (nom, mois et année de naissance de 83 % d'un fichier en 10 secondes)";
    let misspelt = |profile: &Node| !profile.text().is_some_and(|text| PARTY_PROFILES.contains(&text));
    let parties = root.list_of("party");
    if !parties.is_empty() && parties.iter().all(|p| p.get("profile").is_some()) {
        let at = root.get("party").map_or(root.at, |p| p.elements().first().map_or(p.at, |first| first.at));
        let message = "aucun partenaire ne livre de noms : il en faut un au moins sans profile, à qui comparer les autres";
        faults.add(at, "party", message);
    }
    for (profile, section, risk) in [("clk", "clk", CLK_RISK), ("hash-keys", "hash_keys", KEYS_RISK)] {
        let path = join("encoding", section);
        let of_profile = parties.iter().enumerate().find(|(_, p)| p.text_of("profile") == Some(profile));
        match (of_profile, root.get("encoding").and_then(|e| e.get(section))) {
            (Some((i, party)), None) => {
                let at = party.get("profile").map_or(party.at, |p| p.at);
                let message = format!("profil {profile} sans la section [{path}] : l'ajouter, voir docs/agreement.md");
                faults.add(at, &join(&element("party", i), "profile"), message);
            }
            // A profile that is misspelt may be the one that is missing here.
            (None, Some(_)) if parties.iter().filter_map(|p| p.get("profile")).any(misspelt) => {}
            (None, Some(node)) => {
                let message = format!(
                    "section inutile, car aucun partenaire n'a profile = \"{profile}\" : la retirer, elle exposerait tout le monde"
                );
                faults.add(node.at, &path, message);
            }
            (_, section) => {
                if let Some(node) = section.and_then(|s| s.get("risk_accepted"))
                    && node.kind == Kind::Boolean(false)
                {
                    let message = format!("risque non accepté : {risk} ; écrire true si tous les signataires l'acceptent");
                    faults.add(node.at, &join(&path, "risk_accepted"), message);
                }
            }
        }
    }
    let Some(clk) = root.get("encoding").and_then(|e| e.get("clk")) else { return };
    let Some((node, t)) = clk.get("diffusion").and_then(|node| Some((node, node.integer()?))) else { return };
    let most = clk.get("bits").and_then(Node::integer).map_or(MAX_DIFFUSION, |bits| bits / 2);
    if (1..8).contains(&t) {
        let message = "diffusion trop faible pour retenir une attaque : écrire 0 (aucune), ou 8 au moins";
        faults.add(node.at, "encoding.clk.diffusion", message);
    } else if t > most && t <= MAX_DIFFUSION {
        faults.add(node.at, "encoding.clk.diffusion", format!("plus de la moitié des bits d'un filtre : {most} au plus"));
    }
}
