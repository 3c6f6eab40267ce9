//! What public tables tell about words of a delivery: communes by name, given names.
//!
//! Communes: INSEE, code officiel géographique, the table that the encoding embeds (code, name, postcode, département,
//! inhabitants; the 13,000 largest). A name that several communes share is settled by the postcode, or by one of them
//! being ten times larger than the next; otherwise it stays a name.

use std::collections::HashMap;
use std::io::Read;
use std::sync::OnceLock;

use linkage_encoding::tables;
use linkage_encoding::text::NameKind;

use super::headers::{fold, squash};

static COMMUNES: &[u8] = include_bytes!("../../../../linkage-core/encoding/data/communes.tsv.gz");
const FAR_LARGER: u32 = 10;

struct Commune {
    code: String,
    postcode: String,
    inhabitants: u32,
}

/// Folded name to its communes, the largest first.
fn communes() -> &'static HashMap<String, Vec<Commune>> {
    static TABLE: OnceLock<HashMap<String, Vec<Commune>>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut text = String::new();
        // The embedded table is checked by a test; an error would leave what was read before it.
        let _ = flate2::read::GzDecoder::new(COMMUNES).read_to_string(&mut text);
        let mut table: HashMap<String, Vec<Commune>> = HashMap::new();
        for line in text.lines() {
            let columns: Vec<&str> = line.split('\t').collect();
            let [code, name, postcode, _, inhabitants] = columns.as_slice() else { continue };
            let commune = Commune {
                code: (*code).to_owned(),
                postcode: (*postcode).to_owned(),
                inhabitants: inhabitants.parse().unwrap_or(0),
            };
            table.entry(commune_key(name)).or_default().push(commune);
        }
        for list in table.values_mut() {
            list.sort_by(|a, b| b.inhabitants.cmp(&a.inhabitants).then(a.code.cmp(&b.code)));
        }
        table
    })
}

/// INSEE code of the commune called `name`, with the help of a postcode where several are; `None` when not known.
pub(crate) fn commune_code(name: &str, postcode: Option<&str>) -> Option<String> {
    let list = communes().get(&commune_key(name))?;
    if let Some(postcode) = postcode.filter(|p| p.len() == 5) {
        let department = postcode.get(..2);
        let near: Vec<&Commune> =
            list.iter().filter(|c| c.postcode.get(..2) == department || c.code.get(..2) == department).collect();
        let exact = near.iter().find(|c| c.postcode == postcode);
        return match (exact, near.as_slice()) {
            (Some(commune), _) => Some(commune.code.clone()),
            (None, [only]) => Some(only.code.clone()),
            _ => None,
        };
    }
    match list.as_slice() {
        [only] => Some(only.code.clone()),
        [first, second, ..] if first.inhabitants >= FAR_LARGER * second.inhabitants => Some(first.code.clone()),
        _ => None,
    }
}

/// Letters of a commune's name, SAINT written out, arrondissement and CEDEX dropped.
fn commune_key(name: &str) -> String {
    let mut key = String::new();
    for word in fold(name).split(|c: char| !c.is_ascii_alphanumeric()) {
        match word {
            "cedex" => break,
            "st" => key.push_str("saint"),
            "ste" => key.push_str("sainte"),
            "arrondissement" | "arr" => {}
            word if word.starts_with(|c: char| c.is_ascii_digit()) => {}
            word => key.push_str(word),
        }
    }
    key
}

/// Whether a word is commoner as a given name than as a surname.
pub(crate) fn is_given_name(word: &str) -> bool {
    let key = squash(word).to_ascii_uppercase();
    tables::names().rarity(NameKind::Given, &key) < tables::names().rarity(NameKind::Surname, &key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communes_by_name_and_postcode() {
        assert_eq!(commune_code("Montpellier", None).as_deref(), Some("34172"));
        assert_eq!(commune_code("PARIS 12EME", Some("75012")).as_deref(), Some("75056"));
        assert_eq!(commune_code("St-Etienne-du-Rouvray", None).as_deref(), Some("76575"));
        assert_eq!(commune_code("SAINT DENIS", Some("93200")).as_deref(), Some("93066"));
        assert_eq!(commune_code("Montpellier", Some("29000")), None);
        assert_eq!(commune_code("Nullepart-sur-Rien", None), None);
    }

    #[test]
    fn given_names_and_surnames() {
        assert!(is_given_name("marie") && is_given_name("Jérôme"));
        assert!(!is_given_name("dupont") && !is_given_name("martin") && !is_given_name(""));
    }
}
