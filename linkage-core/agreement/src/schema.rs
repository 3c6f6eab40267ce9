//! What an agreement's files may hold: every key with its shape and range, and the walk that checks them.
//!
//! One table serves the checks, the suggestions for misspelt keys and the writer, so that they cannot drift apart; a
//! test holds it against the typed model. What concerns two keys at once is in `check`.

use crate::document::{Faults, Kind, MAX_INTEGER, Node, element, join};
use crate::forms::{is_column, is_place_code, parse_date};
use crate::ids::{PartyId, Period};
use crate::keys;
use crate::nearest::nearest;
use crate::pass_set::{InvalidPassSetRef, PassSetRef, lower_hex};

/// What the template leaves to fill in starts with this.
pub(crate) const PLACEHOLDER: &str = "À COMPLÉTER";

/// A key of a table.
pub(crate) struct Key {
    /// Name in the file.
    pub(crate) name: &'static str,
    /// What it is, in French, for the message when it is missing.
    pub(crate) help: &'static str,
    /// Whether it must be there.
    pub(crate) required: bool,
    /// What it may hold.
    pub(crate) shape: Shape,
}

/// What a value may be.
pub(crate) enum Shape {
    /// Text with something in it, at most `max` characters.
    Text { max: usize },
    /// A short name (`PartyId`).
    Slug,
    /// A pass set's name, or name and digest.
    PassSet,
    /// A canonical column's name.
    Column,
    /// A day, `AAAA-MM-JJ`.
    Date,
    /// A month, `AAAA-MM`.
    Period,
    /// Ed25519 verification key.
    VerifyingKey,
    /// X25519 key.
    SealingKey,
    /// OPRF public key.
    OprfKey,
    /// 32 bytes in lower-case hexadecimal.
    Hash,
    /// 64 bytes in base64.
    Signature,
    /// A whole number.
    Integer { min: i64, max: i64 },
    /// A whole number that `of` divides.
    Multiple { of: i64, min: i64, max: i64 },
    /// One of these numbers.
    Numbers(&'static [i64]),
    /// A power of two.
    PowerOfTwo { min: i64, max: i64 },
    /// true or false.
    Boolean,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An INSEE code of a commune or a département.
    PlaceCode,
    /// A table whose keys are values of the partners' files, blank ones apart.
    Map { of: &'static Shape, min: usize, max: usize },
    /// A list.
    List { of: &'static Shape, min: usize, max: usize },
    /// A table.
    Table(&'static [Key]),
    /// A table whose `kind` decides which keys it has.
    Variant(&'static [(&'static str, &'static [Key])]),
}

const fn key(name: &'static str, help: &'static str, shape: Shape) -> Key {
    Key { name, help, required: true, shape }
}
const fn optional(name: &'static str, help: &'static str, shape: Shape) -> Key {
    Key { name, help, required: false, shape }
}
const fn days(name: &'static str, help: &'static str) -> Key {
    key(name, help, Shape::Integer { min: 1, max: 3_660 })
}
const fn months(name: &'static str, help: &'static str) -> Key {
    key(name, help, Shape::Integer { min: 1, max: 240 })
}

const NAME: Key = key("name", "nom complet de l'organisme", Shape::Text { max: 200 });
const DPO: Key = key("dpo_contact", "adresse du délégué à la protection des données", Shape::Text { max: 200 });
const CERTIFICATE: Key = key("certificate_identity", "URI du certificat", Shape::Text { max: 200 });
const SIGNING: Key = key("signing_key", "clé de vérification Ed25519", Shape::VerifyingKey);
const SEALING: Key = key("sealing_key", "clé de scellement X25519", Shape::SealingKey);

/// The agreement.
pub(crate) static AGREEMENT: Shape = Shape::Table(&[
    key("schema", "version du format de ce fichier", Shape::Integer { min: 1, max: 1 }),
    key("agreement", "objet et dates de la convention", Shape::Table(TERMS)),
    key("party", "partenaires", Shape::List { of: &Shape::Table(PARTY), min: 2, max: 100 }),
    key("broker", "organisme qui rapproche", Shape::Table(&[NAME, DPO, CERTIFICATE, SIGNING])),
    key("custodian", "tiers de confiance", Shape::Table(CUSTODIAN)),
    key("analyst", "équipes d'étude", Shape::List { of: &Shape::Table(ANALYST), min: 1, max: 100 }),
    key(
        "identity",
        "champs d'identité",
        Shape::Table(&[key(
            "field",
            "champs d'identité, dans l'ordre",
            Shape::List { of: &Shape::Table(FIELD), min: 1, max: 32 },
        )]),
    ),
    key("encoding", "profil et paramètres d'encodage", Shape::Table(ENCODING)),
    key("decision", "règle de décision", Shape::Table(DECISION)),
    key(
        "attribute",
        "attributs transmis ; écrire attribute = [] en tête de fichier s'il n'y en a aucun",
        Shape::List { of: &Shape::Table(ATTRIBUTE), min: 0, max: 200 },
    ),
    key("retention", "durées de conservation", Shape::Table(RETENTION)),
    key("disclosure", "limites de publication", Shape::Table(DISCLOSURE)),
]);

const TERMS: &[Key] = &[
    key("id", "identifiant de la convention", Shape::Slug),
    key("version", "numéro de version : 1, puis un de plus par avenant", Shape::Integer { min: 1, max: 9_999 }),
    key("title", "intitulé", Shape::Text { max: 300 }),
    key("purpose", "finalité", Shape::Text { max: 4_000 }),
    key("legal_basis", "base légale", Shape::Text { max: 4_000 }),
    key("forbidden_uses", "usages interdits", Shape::List { of: &Shape::Text { max: 1_000 }, min: 0, max: 50 }),
    key("start", "premier jour", Shape::Date),
    key("end", "dernier jour", Shape::Date),
    key("first_period", "premier mois rapproché", Shape::Period),
    months("history_months", "mois d'historique d'une exécution"),
    key("coordinator", "partenaire coordonnateur", Shape::Slug),
];
/// What a party may deliver instead of names, as the file spells it.
pub(crate) const PARTY_PROFILES: &[&str] = &["clk", "hash-keys"];
const PARTY: &[Key] = &[
    key("id", "identifiant du partenaire", Shape::Slug),
    NAME,
    DPO,
    CERTIFICATE,
    SIGNING,
    SEALING,
    key("duplicate_free", "liste sans doublon ou non", Shape::Boolean),
    key("max_records", "nombre maximal de lignes par mois", Shape::Integer { min: 1, max: 1_000_000_000 }),
    optional("profile", "ce que livre un partenaire qui ne peut pas livrer de noms", Shape::Choice(PARTY_PROFILES)),
];
const CUSTODIAN: &[Key] = &[NAME, DPO, CERTIFICATE, SIGNING, key("oprf_public_key", "clé publique de l'OPRF", Shape::OprfKey)];
const ANALYST: &[Key] = &[
    key("id", "identifiant de l'équipe d'étude", Shape::Slug),
    NAME,
    DPO,
    CERTIFICATE,
    SIGNING,
    SEALING,
    key("purpose", "finalité des pseudonymes", Shape::Text { max: 200 }),
    key("may", "droits accordés", Shape::List { of: &Shape::Choice(&["cohorts", "row-level"]), min: 1, max: 2 }),
];
/// The kinds of identity field, as the file spells them.
pub(crate) const FIELD_KINDS: &[&str] =
    &["birth_name", "usage_name", "given_names", "birth_date", "sex", "place", "category", "text"];
const FIELD: &[Key] = &[
    key("kind", "genre du champ", Shape::Choice(FIELD_KINDS)),
    key("column", "colonne canonique", Shape::Column),
    optional("name_column", "colonne du libellé", Shape::Column),
    optional("country_column", "colonne du pays", Shape::Column),
];
/// Last epoch of an OPRF key; archives keep it in seven bits.
pub(crate) const MAX_EPOCH: i64 = 100;
const ENCODING: &[Key] = &[
    key("profile", "profil d'encodage", Shape::Choice(&["block-scoped"])),
    key("profile_version", "version du profil", Shape::Integer { min: 1, max: 1 }),
    key("pass_set", "jeu de passes", Shape::PassSet),
    key("expected_records", "nombre total de lignes attendu", Shape::Integer { min: 2, max: 1_000_000_000 }),
    key("filter_bits", "taille d'un filtre, en bits", Shape::PowerOfTwo { min: 64, max: 512 }),
    key("hash_count", "bits par bigramme", Shape::Integer { min: 1, max: 8 }),
    key("tokens_per_record", "jetons par ligne", Shape::Integer { min: 4, max: 64 }),
    key("decoys_percent", "leurres, en pour cent", Shape::Integer { min: 0, max: 50 }),
    key("block_cap", "taille maximale d'un bloc", Shape::Integer { min: 2, max: 1_000 }),
    optional("oprf_epoch", "époque de la clé de l'OPRF", Shape::Integer { min: 1, max: MAX_EPOCH }),
    optional("clk", "filtres clkhash, pour les partenaires qui n'ont rien d'autre", Shape::Table(CLK)),
    optional("hash_keys", "clés de hachage, pour les partenaires qui n'ont rien d'autre", Shape::Table(HASH_KEYS)),
];
/// Most bits that make one bit of a diffused filter.
pub(crate) const MAX_DIFFUSION: i64 = 64;
const RISK: Key = key("risk_accepted", "acceptation du risque de ré-identification : true", Shape::Boolean);
const CLK: &[Key] = &[
    key("schema_sha256", "empreinte SHA-256 du fichier de schéma clkhash", Shape::Hash),
    key("bits", "taille d'un filtre clkhash, en bits", Shape::Multiple { of: 64, min: 64, max: 2_048 }),
    key("threshold_permille", "seuil du coefficient de Dice, en millièmes", Shape::Integer { min: 300, max: 1_000 }),
    key("margin_permille", "avance exigée sur le second candidat, en millièmes", Shape::Integer { min: 0, max: 1_000 }),
    key("diffusion", "bits combinés par bit transmis ; 0 : aucune diffusion", Shape::Integer { min: 0, max: MAX_DIFFUSION }),
    RISK,
];
const HASH_KEYS: &[Key] =
    &[key("keyed", "clés de hachage déjà sous une clé que les partenaires partagent", Shape::Boolean), RISK];
const DECISION: &[Key] = &[
    key("false_link_cost", "coût d'un faux lien", Shape::Integer { min: 1, max: 1_000 }),
    key("lead_margin_decibits", "avance exigée, en dixièmes de bit", Shape::Integer { min: 0, max: 1_000 }),
    key("abstain_floor_permille", "seuil d'abstention, en millièmes", Shape::Integer { min: 0, max: 1_000 }),
];
const BOUND: Shape = Shape::Integer { min: -MAX_INTEGER, max: MAX_INTEGER };
/// The minimisation rules with the keys of each, `kind` apart.
pub(crate) const RULES: &[(&str, &[Key])] = &[
    ("month", &[]),
    ("year", &[]),
    (
        "age-band",
        &[key(
            "from_years",
            "bornes inférieures, en années",
            Shape::List { of: &Shape::Integer { min: 0, max: 150 }, min: 1, max: 50 },
        )],
    ),
    ("commune", &[]),
    ("department", &[]),
    ("nationality-class", &[]),
    ("amount-band", &[key("from", "bornes inférieures", Shape::List { of: &BOUND, min: 1, max: 50 })]),
    ("code", &[key("values", "codes admis", Shape::List { of: &Shape::Text { max: 100 }, min: 1, max: 1_000 })]),
    ("count", &[key("max", "plus grande valeur gardée", Shape::Integer { min: 1, max: 1_000 })]),
    (
        "map",
        &[key("values", "code pour chaque valeur du fichier", Shape::Map { of: &Shape::Text { max: 100 }, min: 1, max: 1_000 })],
    ),
    (
        "inside",
        &[key("codes", "communes et départements du territoire", Shape::List { of: &Shape::PlaceCode, min: 1, max: 2_000 })],
    ),
    ("drop", &[]),
];
const ATTRIBUTE: &[Key] =
    &[key("name", "colonne canonique", Shape::Column), key("rule", "règle de minimisation", Shape::Variant(RULES))];
const RETENTION: &[Key] = &[
    days("names_days", "noms chez le partenaire, en jours"),
    months("archive_months", "archive chiffrée, en mois"),
    days("encodings_days", "jetons et filtres, en jours"),
    months("link_tables_months", "tables de correspondance, en mois"),
    months("access_log_months", "journal des accès, en mois"),
    days("system_log_days", "journal technique, en jours"),
    optional("open_runs_days", "exécution non terminée, en jours depuis son ouverture", Shape::Integer { min: 1, max: 3_660 }),
    optional("last_contact_months", "personne sans contact, en mois", Shape::Integer { min: 1, max: 240 }),
    optional("deceased_months", "personne décédée, en mois", Shape::Integer { min: 0, max: 240 }),
    optional("after_end_days", "délai après la fin de la convention, en jours", Shape::Integer { min: 0, max: 3_660 }),
];
const DISCLOSURE: &[Key] = &[
    key("minimum_cell", "plus petit effectif publiable", Shape::Integer { min: 5, max: 1_000 }),
    optional("method", "protection des petits effectifs", Shape::Choice(&["cell-key", "suppression"])),
    optional("approval", "accord des producteurs avant publication", Shape::Boolean),
    optional("tables_per_month", "tableaux publiés par équipe d'étude et par mois", Shape::Integer { min: 1, max: 10_000 }),
    optional("dominance_percent", "part d'un montant due à un seul, en pour cent", Shape::Integer { min: 50, max: 100 }),
    optional("round_to", "arrondi des effectifs publiés", Shape::Numbers(&[1, 5, 10])),
];

/// The file of detached signatures.
pub(crate) static SIGNATURES: Shape = Shape::Table(&[key(
    "signature",
    "signatures ; écrire signature = [] s'il n'y en a aucune",
    Shape::List {
        of: &Shape::Table(&[
            key("party", "partenaire signataire", Shape::Slug),
            key("agreement_hash", "empreinte de la convention", Shape::Hash),
            key("signature", "signature Ed25519", Shape::Signature),
            key("signed_on", "jour de la signature", Shape::Date),
        ]),
        min: 0,
        max: 1_000,
    },
)]);

/// The file of a notice of termination.
pub(crate) static TERMINATION: Shape = Shape::Table(&[key(
    "termination",
    "dénonciation",
    Shape::Table(&[
        key("agreement", "identifiant de la convention", Shape::Slug),
        key("agreement_hash", "empreinte de la convention", Shape::Hash),
        key("party", "partenaire qui dénonce", Shape::Slug),
        key("effective_on", "jour d'effet", Shape::Date),
        key("signature", "signature Ed25519", Shape::Signature),
    ]),
)]);

/// Checks `node` against `shape`; notes every fault below it.
pub(crate) fn walk(node: &Node, shape: &Shape, path: &str, faults: &mut Faults<'_>) {
    match (shape, &node.kind) {
        (_, Kind::Refused) => {}
        (Shape::Table(keys), Kind::Table(entries)) => walk_table(node, entries, keys, None, path, faults),
        (Shape::Variant(variants), Kind::Table(entries)) => {
            let kind = node.get("kind");
            let Some(word) = kind.and_then(Node::text) else {
                let at = kind.map_or(node.at, |k| k.at);
                let words = words(variants.iter().map(|(w, _)| *w));
                faults.add(at, &join(path, "kind"), format!("indiquer kind, parmi : {words}"));
                return;
            };
            match variants.iter().find(|(name, _)| *name == word) {
                Some((_, keys)) => walk_table(node, entries, keys, Some("kind"), path, faults),
                None => {
                    let at = kind.map_or(node.at, |k| k.at);
                    faults.add(at, &join(path, "kind"), choice_fault(word, variants.iter().map(|(w, _)| *w)));
                }
            }
        }
        (Shape::List { of, min, max }, Kind::List(elements)) => {
            if !(*min..=*max).contains(&elements.len()) {
                let found = elements.len();
                faults.add(node.at, path, format!("{found} élément(s) : il en faut de {min} à {max}"));
            }
            for (i, e) in elements.iter().enumerate() {
                walk(e, of, &element(path, i), faults);
            }
        }
        (Shape::Map { of, min, max }, Kind::Table(entries)) => {
            if !(*min..=*max).contains(&entries.len()) {
                let found = entries.len();
                faults.add(node.at, path, format!("{found} valeur(s) : il en faut de {min} à {max}"));
            }
            for (name, entry) in entries {
                let path = join(path, name);
                if let Some(message) = text_fault(&Shape::Text { max: 100 }, name) {
                    faults.add(entry.key_at, &path, message);
                }
                walk(entry, of, &path, faults);
            }
        }
        (Shape::Boolean, Kind::Boolean(_)) => {}
        (Shape::Integer { min, max }, Kind::Integer(n)) => {
            if min == max && n != min {
                faults.add(node.at, path, format!("seule la valeur {min} est connue de cette version du logiciel"));
            } else if !(min..=max).contains(&n) {
                faults.add(node.at, path, format!("valeur hors bornes : écrire un nombre entier de {min} à {max}"));
            }
        }
        (Shape::Multiple { of, min, max }, Kind::Integer(n)) => {
            if !(min..=max).contains(&n) || n % of != 0 {
                faults.add(node.at, path, format!("écrire un multiple de {of}, de {min} à {max}"));
            }
        }
        (Shape::Numbers(known), Kind::Integer(n)) => {
            if !known.contains(n) {
                let known: Vec<String> = known.iter().map(i64::to_string).collect();
                faults.add(node.at, path, format!("valeur inconnue ; valeurs admises : {}", known.join(", ")));
            }
        }
        (Shape::PowerOfTwo { min, max }, Kind::Integer(n)) => {
            if !(min..=max).contains(&n) || n.count_ones() != 1 {
                faults.add(node.at, path, format!("écrire une puissance de deux de {min} à {max} (64, 128, 256, 512)"));
            }
        }
        (shape, Kind::Text(text)) if !expects_other(shape) => {
            if let Some(message) = text_fault(shape, text) {
                faults.add(node.at, path, message);
            }
        }
        (shape, _) => faults.add(node.at, path, format!("il faut ici {}", expected(shape))),
    }
}

fn walk_table(node: &Node, entries: &[(String, Node)], keys: &[Key], tag: Option<&str>, path: &str, faults: &mut Faults<'_>) {
    for (name, entry) in entries {
        match keys.iter().find(|k| k.name == name) {
            Some(key) => walk(entry, &key.shape, &join(path, name), faults),
            None if Some(name.as_str()) == tag => {}
            None => {
                let known = keys.iter().map(|k| k.name);
                let advice = match nearest(name, known.clone()) {
                    Some(near) => format!("clé inconnue ; vouliez-vous écrire {near} ?"),
                    None if keys.is_empty() => "clé inconnue : aucune autre clé n'est admise ici, la retirer".to_owned(),
                    None => format!("clé inconnue ; clés admises ici : {}", words(known)),
                };
                faults.add(entry.key_at, &join(path, name), advice);
            }
        }
    }
    for key in keys.iter().filter(|k| k.required && node.get(k.name).is_none()) {
        faults.add(node.at, &join(path, key.name), format!("clé manquante : ajouter {} ({})", key.name, key.help));
    }
}

/// Whether `shape` takes something other than text.
fn expects_other(shape: &Shape) -> bool {
    matches!(
        shape,
        Shape::Integer { .. }
            | Shape::Multiple { .. }
            | Shape::Numbers(_)
            | Shape::PowerOfTwo { .. }
            | Shape::Boolean
            | Shape::Map { .. }
            | Shape::List { .. }
            | Shape::Table(_)
            | Shape::Variant(_)
    )
}

fn text_fault(shape: &Shape, text: &str) -> Option<String> {
    if text.starts_with(PLACEHOLDER) {
        return Some("valeur à compléter".to_owned());
    }
    let (fits, message) = match shape {
        Shape::Text { max } => {
            if text.trim().is_empty() {
                (false, "texte vide : le remplir".to_owned())
            } else if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
                (false, "caractère de contrôle dans le texte : le retirer".to_owned())
            } else {
                (text.chars().count() <= *max, format!("texte trop long : au plus {max} caractères"))
            }
        }
        Shape::Slug => (
            text.parse::<PartyId>().is_ok(),
            "identifiant invalide : 1 à 32 lettres minuscules sans accent, chiffres ou tirets, sans tiret au début".to_owned(),
        ),
        Shape::PassSet => (text.parse::<PassSetRef>().is_ok(), InvalidPassSetRef.to_string()),
        Shape::Column => (
            is_column(text),
            "nom de colonne invalide : lettre minuscule, puis minuscules, chiffres ou soulignés (64 au plus)".to_owned(),
        ),
        Shape::PlaceCode => (
            is_place_code(text),
            "code INSEE invalide : commune (34172, 2A004) ou département (34, 2A, 974), lettres en capitales".to_owned(),
        ),
        Shape::Date => (parse_date(text).is_some(), "date invalide : l'écrire AAAA-MM-JJ, par exemple 2024-01-31".to_owned()),
        Shape::Period => (text.parse::<Period>().is_ok(), "mois invalide : l'écrire AAAA-MM, par exemple 2024-01".to_owned()),
        Shape::VerifyingKey => (
            keys::verifying_key(text).is_some(),
            "clé Ed25519 invalide : reprendre la clé publique de signature en base64 (32 octets)".to_owned(),
        ),
        Shape::SealingKey => (
            keys::sealing_key(text).is_some(),
            "clé X25519 invalide : reprendre la clé publique de scellement en base64 (32 octets)".to_owned(),
        ),
        Shape::OprfKey => (
            keys::oprf_key(text).is_some(),
            "clé OPRF invalide : reprendre la clé publique du tiers de confiance en base64 (32 octets, ristretto255)".to_owned(),
        ),
        Shape::Hash => (lower_hex(text).is_some(), "empreinte invalide : 64 chiffres hexadécimaux en minuscules".to_owned()),
        Shape::Signature => (keys::decode::<64>(text).is_some(), "signature invalide : 64 octets en base64".to_owned()),
        Shape::Choice(known) => (known.contains(&text), choice_fault(text, known.iter().copied())),
        _ => (true, String::new()),
    };
    (!fits).then_some(message)
}

fn choice_fault<'w>(word: &str, known: impl Iterator<Item = &'w str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(near) => format!("valeur inconnue ; vouliez-vous écrire \"{near}\" ?"),
        None => format!("valeur inconnue ; valeurs admises : {}", words(known)),
    }
}

fn expected(shape: &Shape) -> &'static str {
    match shape {
        Shape::Integer { .. } | Shape::Multiple { .. } | Shape::Numbers(_) | Shape::PowerOfTwo { .. } => {
            "un nombre entier, sans guillemets"
        }
        Shape::Map { .. } => "une table entre accolades, par exemple { \"valeur du fichier\" = \"code\" }",
        Shape::Boolean => "true ou false, sans guillemets",
        Shape::List { of: Shape::Table(_), .. } => "une ou plusieurs tables, écrites [[nom]]",
        Shape::List { .. } => "une liste entre crochets",
        Shape::Table(_) => "une table, écrite [nom]",
        Shape::Variant(_) => "une règle entre accolades, par exemple { kind = \"month\" }",
        _ => "un texte entre guillemets",
    }
}

fn words<'w>(known: impl Iterator<Item = &'w str>) -> String {
    known.collect::<Vec<_>>().join(", ")
}
