//! Countries, départements and communes, from INSEE codes, postcodes and names.
//!
//! One service holds the INSEE code of a birth place, another its name, a third only the country. What each value tells
//! is brought to one form: a country's INSEE code, a département, and the commune's folded name (from its code where
//! the table has it, else the code itself). A name that several communes share gives no département unless one of them
//! is far larger than the others. Communes: INSEE, code officiel géographique, the 13,000 with most inhabitants.

use std::collections::HashMap;
use std::io::Read;
use std::sync::OnceLock;

use flate2::read::GzDecoder;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::text::plain_words;

static COMMUNES: &[u8] = include_bytes!("../data/communes.tsv.gz");

/// INSEE code of France among the countries.
pub const FRANCE: &str = "99100";
/// A commune's name stands for it alone when it has this many times the inhabitants of the next of that name.
const FAR_LARGER: u32 = 10;

/// What is known of a place. All values are upper-case codes or folded names.
#[derive(Clone, Default, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Place {
    /// INSEE code of the country (`99100` France), or its folded name.
    pub country: Option<String>,
    /// Département, `01` to `95`, `2A`, `2B`, `971` and so on.
    pub department: Option<String>,
    /// Commune: folded name, or INSEE code where the table has no name for it.
    pub commune: Option<String>,
}

impl Place {
    /// Reads a place from the values of up to three columns, any of which may be empty: code (INSEE or postcode, or in
    /// fact a name), name, and country.
    pub fn read(code: &str, name: &str, country: &str) -> Self {
        let table = communes();
        let mut place = table.of_code(code).or_else(|| table.of_name(code)).unwrap_or_default();
        if place.commune.is_none()
            && let Some(named) = table.of_name(name)
        {
            place.commune = named.commune.clone();
            place.department = place.department.take().or(named.department.clone());
            place.country = place.country.take().or(named.country.clone());
        }
        if place.country.is_none() {
            place.country = country_code(country);
        }
        // Two names of one country, one field: an arrondissement abroad has no département.
        if place.country.as_deref().is_some_and(|c| c != FRANCE) {
            place.department = None;
        }
        place
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.country.is_none() && self.department.is_none() && self.commune.is_none()
    }
}

/// Bits that sharing a commune tells two people of its département: -log2 of its share of the inhabitants. `None` for one
/// that is not among the 13,000 largest, which is small.
pub(crate) fn commune_bits(department: &str, commune: &str) -> Option<f32> {
    let table = communes();
    let in_department = |(_, code): &&(u32, Box<str>)| department_of(code).is_some_and(|d| d == department);
    let (here, _) = table.by_name.get(commune)?.iter().find(in_department)?;
    let all = table.inhabitants.get(department)?;
    (*here > 0).then(|| (*all as f32 / *here as f32).log2())
}

struct Communes {
    /// INSEE code to folded name.
    names: HashMap<Box<str>, Box<str>>,
    /// Folded name to its communes, the largest first.
    by_name: HashMap<Box<str>, Vec<(u32, Box<str>)>>,
    /// Postcode to its communes, the largest first.
    by_postcode: HashMap<Box<str>, Vec<(u32, Box<str>)>>,
    /// Département to its inhabitants.
    inhabitants: HashMap<String, u32>,
}

fn communes() -> &'static Communes {
    static TABLE: OnceLock<Communes> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut text = String::new();
        // The embedded table is checked by a test; an error would leave what was read before it.
        let _ = GzDecoder::new(COMMUNES).read_to_string(&mut text);
        let mut table =
            Communes { names: HashMap::new(), by_name: HashMap::new(), by_postcode: HashMap::new(), inhabitants: HashMap::new() };
        for line in text.lines() {
            let columns: Vec<&str> = line.split('\t').collect();
            let [code, name, postcode, _, population] = columns.as_slice() else { continue };
            let folded: Box<str> = commune_name(name).into();
            let population = population.parse().unwrap_or(0);
            table.names.insert((*code).into(), folded.clone());
            if let Some(department) = department_of(code) {
                *table.inhabitants.entry(department.to_owned()).or_default() += population;
            }
            table.by_name.entry(folded).or_default().push((population, (*code).into()));
            table.by_postcode.entry((*postcode).into()).or_default().push((population, (*code).into()));
        }
        for list in table.by_name.values_mut().chain(table.by_postcode.values_mut()) {
            list.sort_unstable_by(|a, b| b.cmp(a));
        }
        table
    })
}

impl Communes {
    /// A place from five characters that are an INSEE code or a postcode; `None` when they are neither.
    fn of_code(&self, text: &str) -> Option<Place> {
        let code: String = text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_uppercase()).collect();
        // Spreadsheets drop a leading zero.
        let code = if code.len() == 4 && code.bytes().all(|b| b.is_ascii_digit()) { format!("0{code}") } else { code };
        let digits = |part: Option<&str>| part.is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
        let corsica = code.starts_with("2A") || code.starts_with("2B");
        if code.len() != 5 || !code.is_ascii() || !(digits(Some(&code)) || corsica && digits(code.get(2..))) {
            return None;
        }
        if code.starts_with("99") {
            return Some(Place { country: Some(code), department: None, commune: None });
        }
        // Arrondissements by INSEE code and by postcode.
        let code = match code.parse::<u32>() {
            Ok(75_101..=75_120 | 75_001..=75_020) => "75056".to_owned(),
            Ok(69_381..=69_389) => "69123".to_owned(),
            Ok(13_201..=13_216) => "13055".to_owned(),
            _ => code,
        };
        let in_france = |code: &str, commune: Option<String>| Place {
            country: Some(FRANCE.to_owned()),
            department: department_of(code).map(str::to_owned),
            commune,
        };
        if let Some(name) = self.names.get(code.as_str()) {
            return Some(in_france(&code, Some(name.to_string())));
        }
        let by_arrondissement = match code.parse::<u32>() {
            Ok(69_001..=69_009) => Some("LYON"),
            Ok(13_001..=13_016) => Some("MARSEILLE"),
            _ => None,
        };
        if let Some(name) = by_arrondissement {
            return Some(in_france(&code, Some(name.to_owned())));
        }
        match self.by_postcode.get(code.as_str()).and_then(|list| alone(list)) {
            Some(insee) => Some(in_france(insee, self.names.get(insee).map(std::string::ToString::to_string))),
            None if self.by_postcode.contains_key(code.as_str()) || code.ends_with("00") => Some(in_france(&code, None)),
            None => Some(in_france(&code, Some(code.clone()))),
        }
    }

    /// A place from a name; a country's name, alone or in brackets, gives the country.
    fn of_name(&self, text: &str) -> Option<Place> {
        let (before, bracket) = match text.split_once('(') {
            Some((before, rest)) => (before, rest.split(')').next().unwrap_or_default()),
            None => (text, ""),
        };
        let in_bracket = country_code(bracket).filter(|_| is_country(bracket));
        let department = bracket.trim();
        let department = (department.len() == 2 && department.bytes().all(|b| b.is_ascii_digit())).then(|| department.to_owned());
        // The whole first: Congo (République démocratique) is not Congo.
        for text in [text, before] {
            if is_country(text) {
                return Some(Place { country: country_code(text), department: None, commune: None });
            }
        }
        let name = commune_name(before);
        if name.is_empty() {
            return in_bracket.map(|country| Place { country: Some(country), department: None, commune: None });
        }
        let known = self.by_name.get(name.as_str());
        let insee = known.and_then(|list| alone(list)).filter(|_| in_bracket.is_none());
        Some(Place {
            country: in_bracket.or_else(|| insee.map(|_| FRANCE.to_owned())),
            department: department.or_else(|| insee.and_then(department_of).map(str::to_owned)),
            commune: Some(name),
        })
    }
}

/// The one commune that a list of several stands for.
fn alone(list: &[(u32, Box<str>)]) -> Option<&str> {
    match list {
        [(_, only)] => Some(only),
        [(first, code), (second, _), ..] if *first >= FAR_LARGER * second => Some(code),
        _ => None,
    }
}

fn department_of(code: &str) -> Option<&str> {
    let length = if code.starts_with("97") || code.starts_with("98") { 3 } else { 2 };
    code.get(..length)
}

/// A commune's folded name: words joined, SAINT written out, arrondissement and CEDEX dropped.
fn commune_name(text: &str) -> String {
    let mut name = String::new();
    for word in plain_words(text) {
        match word.as_str() {
            "CEDEX" => break,
            "ST" => name.push_str("SAINT"),
            "STE" => name.push_str("SAINTE"),
            // Nogent/Marne, Nogent s/ Marne, Nogent-sur-Marne.
            "ARRONDISSEMENT" | "ARR" | "SUR" | "SOUS" | "S" | "SS" => {}
            // PARIS 12, LYON 3E, MARSEILLE 08.
            word if word.starts_with(|c: char| c.is_ascii_digit()) => {}
            word => name.push_str(word),
        }
        if name.len() > 60 {
            break;
        }
    }
    name
}

fn is_country(text: &str) -> bool {
    let name: String = plain_words(text).concat();
    COUNTRIES.iter().any(|(_, names)| names.contains(&name.as_str()))
}

/// A country's INSEE code from its code or name; its folded name when the name is not known.
fn country_code(text: &str) -> Option<String> {
    let name: String = plain_words(text).concat();
    if name.is_empty() {
        return None;
    }
    if name.len() == 5 && name.starts_with("99") && name.bytes().all(|b| b.is_ascii_digit()) {
        return Some(name);
    }
    let code = COUNTRIES.iter().find(|(_, names)| names.contains(&name.as_str())).map(|(code, _)| format!("99{code}"));
    Some(code.unwrap_or(name))
}

/// INSEE codes of countries (without the leading 99) and their folded names.
const COUNTRIES: &[(u16, &[&str])] = &[
    (100, &["FRANCE", "FR", "FRA"]),
    (101, &["DANEMARK"]),
    (103, &["NORVEGE"]),
    (104, &["SUEDE"]),
    (105, &["FINLANDE"]),
    (106, &["ESTONIE"]),
    (107, &["LETTONIE"]),
    (108, &["LITUANIE"]),
    (109, &["ALLEMAGNE"]),
    (110, &["AUTRICHE"]),
    (111, &["BULGARIE"]),
    (112, &["HONGRIE"]),
    (114, &["ROUMANIE"]),
    (116, &["TCHEQUIE", "REPUBLIQUETCHEQUE"]),
    (117, &["SLOVAQUIE"]),
    (118, &["BOSNIEHERZEGOVINE", "BOSNIE"]),
    (119, &["CROATIE"]),
    (120, &["MONTENEGRO"]),
    (121, &["SERBIE"]),
    (122, &["POLOGNE"]),
    (123, &["RUSSIE", "FEDERATIONDERUSSIE"]),
    (125, &["ALBANIE"]),
    (126, &["GRECE"]),
    (127, &["ITALIE"]),
    (131, &["BELGIQUE"]),
    (132, &["ROYAUMEUNI", "GRANDEBRETAGNE", "ANGLETERRE"]),
    (134, &["ESPAGNE"]),
    (135, &["PAYSBAS"]),
    (136, &["IRLANDE"]),
    (137, &["LUXEMBOURG"]),
    (139, &["PORTUGAL"]),
    (140, &["SUISSE"]),
    (144, &["MALTE"]),
    (145, &["SLOVENIE"]),
    (148, &["BIELORUSSIE", "BELARUS"]),
    (151, &["MOLDAVIE"]),
    (155, &["UKRAINE"]),
    (156, &["MACEDOINE", "MACEDOINEDUNORD"]),
    (157, &["KOSOVO"]),
    (201, &["ARABIESAOUDITE"]),
    (203, &["IRAK", "IRAQ"]),
    (204, &["IRAN"]),
    (205, &["LIBAN"]),
    (206, &["SYRIE"]),
    (207, &["ISRAEL"]),
    (208, &["TURQUIE"]),
    (212, &["AFGHANISTAN"]),
    (213, &["PAKISTAN"]),
    (215, &["NEPAL"]),
    (216, &["CHINE"]),
    (217, &["JAPON"]),
    (219, &["THAILANDE"]),
    (220, &["PHILIPPINES"]),
    (222, &["JORDANIE"]),
    (223, &["INDE"]),
    (224, &["BIRMANIE", "MYANMAR"]),
    (231, &["INDONESIE"]),
    (234, &["CAMBODGE"]),
    (235, &["SRILANKA"]),
    (238, &["COREEDUNORD"]),
    (239, &["COREEDUSUD", "COREE"]),
    (240, &["KOWEIT"]),
    (241, &["LAOS"]),
    (242, &["MONGOLIE"]),
    (243, &["VIETNAM", "VIETNAMDUNORD", "VIETNAMDUSUD"]),
    (246, &["BANGLADESH"]),
    (251, &["YEMEN"]),
    (252, &["ARMENIE"]),
    (253, &["AZERBAIDJAN"]),
    (255, &["GEORGIE"]),
    (256, &["KAZAKHSTAN"]),
    (257, &["KIRGHIZISTAN"]),
    (258, &["OUZBEKISTAN"]),
    (259, &["TADJIKISTAN"]),
    (261, &["PALESTINE", "TERRITOIREPALESTINIEN"]),
    (301, &["EGYPTE"]),
    (302, &["LIBERIA"]),
    (303, &["AFRIQUEDUSUD"]),
    (304, &["GAMBIE"]),
    (309, &["TANZANIE"]),
    (312, &["REPUBLIQUEDEMOCRATIQUEDUCONGO", "CONGOREPUBLIQUEDEMOCRATIQUE", "RDCONGO", "RDC", "CONGOKINSHASA", "ZAIRE"]),
    (315, &["ETHIOPIE"]),
    (316, &["LIBYE"]),
    (317, &["ERYTHREE"]),
    (318, &["SOMALIE"]),
    (321, &["BURUNDI"]),
    (322, &["CAMEROUN"]),
    (323, &["CENTRAFRIQUE", "REPUBLIQUECENTRAFRICAINE", "CENTRAFRICAINEREPUBLIQUE"]),
    (324, &["CONGO", "CONGOBRAZZAVILLE", "REPUBLIQUEDUCONGO"]),
    (326, &["COTEDIVOIRE"]),
    (327, &["BENIN"]),
    (328, &["GABON"]),
    (329, &["GHANA"]),
    (330, &["GUINEE", "GUINEECONAKRY"]),
    (331, &["BURKINAFASO", "BURKINA", "HAUTEVOLTA"]),
    (332, &["KENYA"]),
    (333, &["MADAGASCAR"]),
    (335, &["MALI"]),
    (336, &["MAURITANIE"]),
    (337, &["NIGER"]),
    (338, &["NIGERIA"]),
    (339, &["OUGANDA"]),
    (340, &["RWANDA"]),
    (341, &["SENEGAL"]),
    (342, &["SIERRALEONE"]),
    (343, &["SOUDAN"]),
    (344, &["TCHAD"]),
    (345, &["TOGO"]),
    (349, &["SOUDANDUSUD"]),
    (350, &["MAROC"]),
    (351, &["TUNISIE"]),
    (352, &["ALGERIE"]),
    (390, &["MAURICE", "ILEMAURICE"]),
    (392, &["GUINEEBISSAU"]),
    (395, &["ANGOLA"]),
    (396, &["CAPVERT"]),
    (397, &["COMORES"]),
    (399, &["DJIBOUTI"]),
    (401, &["CANADA"]),
    (404, &["ETATSUNIS", "USA", "ETATSUNISDAMERIQUE"]),
    (405, &["MEXIQUE"]),
    (407, &["CUBA"]),
    (408, &["REPUBLIQUEDOMINICAINE"]),
    (410, &["HAITI"]),
    (415, &["ARGENTINE"]),
    (416, &["BRESIL"]),
    (417, &["CHILI"]),
    (418, &["BOLIVIE"]),
    (419, &["COLOMBIE"]),
    (420, &["EQUATEUR"]),
    (422, &["PEROU"]),
    (424, &["VENEZUELA"]),
    (501, &["AUSTRALIE"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_commune_tells_little() {
        assert!((1.5..2.5).contains(&commune_bits("34", "MONTPELLIER").unwrap()));
        assert!((3.0..5.0).contains(&commune_bits("34", "BEZIERS").unwrap()));
        assert_eq!(commune_bits("34", "34999"), None);
        assert_eq!(commune_bits("75", "PARIS"), Some(0.0));
    }
    use proptest::prelude::*;

    fn place(code: &str, name: &str, country: &str) -> (String, String, String) {
        let p = Place::read(code, name, country);
        let text = |o: &Option<String>| o.clone().unwrap_or_default();
        (text(&p.country), text(&p.department), text(&p.commune))
    }
    fn is(country: &str, department: &str, commune: &str) -> (String, String, String) {
        (country.into(), department.into(), commune.into())
    }

    #[test]
    fn one_commune_in_every_spelling() {
        let expected = is(FRANCE, "34", "MONTPELLIER");
        for (code, name) in [
            ("34172", ""),
            ("34000", ""),
            ("", "Montpellier"),
            ("", "MONTPELLIER CEDEX 2"),
            ("MONTPELLIER", ""),
            ("", "Montpellier (34)"),
        ] {
            assert_eq!(place(code, name, ""), expected, "{code} {name}");
        }
        for (code, name) in [("75056", ""), ("75112", ""), ("75012", ""), ("", "Paris 12e arrondissement"), ("", "PARIS")] {
            assert_eq!(place(code, name, ""), is(FRANCE, "75", "PARIS"), "{code} {name}");
        }
        assert_eq!(place("1004", "", ""), place("01004", "", ""));
        assert_eq!(place("", "St Etienne", ""), place("", "Saint-Étienne", ""));
        assert_eq!(place("", "Nogent/Marne", ""), place("94052", "", ""));
        assert_eq!(place("", "Nogent s/ Marne", ""), place("", "NOGENT-SUR-MARNE", ""));
    }

    #[test]
    fn a_country_by_code_or_name() {
        let algeria = is("99352", "", "");
        assert_eq!(place("99352", "", ""), algeria);
        assert_eq!(place("", "", "ALGERIE"), algeria);
        assert_eq!(place("", "(ALGERIE)", ""), algeria);
        assert_eq!(place("", "Algérie", ""), algeria);
        assert_eq!(place("", "ORAN (Algérie)", ""), is("99352", "", "ORAN"));
        assert_eq!(place("", "(COTE D'IVOIRE)", ""), is("99326", "", ""));
        assert_eq!(place("", "CONGO (REPUBLIQUE DEMOCRATIQUE)", ""), is("99312", "", ""));
        assert_eq!(place("", "", "France"), is(FRANCE, "", ""));
        assert_eq!(place("", "", ""), is("", "", ""));
    }

    #[test]
    fn unknown_and_shared_names() {
        assert_eq!(place("", "TLEMCEN", "ALGERIE"), is("99352", "", "TLEMCEN"));
        assert_eq!(place("01999", "", ""), is(FRANCE, "01", "01999"));
        let shared = communes().by_name.iter().find(|(_, list)| list.len() > 1 && alone(list).is_none()).unwrap().0;
        assert_eq!(place("", shared, ""), is("", "", shared));
        assert!(communes().names.len() > 13_000);
    }

    proptest! {
        #[test]
        fn any_text_is_read(code in any::<String>(), name in any::<String>(), country in any::<String>()) {
            let _ = Place::read(&code, &name, &country);
        }
    }
}
