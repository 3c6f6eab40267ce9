//! A population with the habits of real files, for tests and benches: the names of the public tables as often as they are
//! borne, misspelt, swapped, doubled; dates in doubt; communes by postcode, code and name. One seed gives one population.

use linkage_agreement::FieldKind;
use linkage_agreement::model::IdentityField;
use linkage_encoding::tables::listed;
use linkage_encoding::text::NameKind;
use linkage_encoding::{Identity, Normaliser};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

const PLACES: [(&str, &str, &str); 12] = [
    ("34172", "", "FRANCE"),
    ("", "Béziers", "France"),
    ("75112", "PARIS 12", ""),
    ("99352", "ORAN", "ALGERIE"),
    ("", "Tlemcen (Algérie)", ""),
    ("", "", "MAROC"),
    ("", "Sète", ""),
    ("13055", "", ""),
    ("01999", "", ""),
    ("", "", ""),
    ("99350", "", ""),
    ("", "KINSHASA", "CONGO (REPUBLIQUE DEMOCRATIQUE)"),
];
const HOMES: [&str; 9] = ["34000", "34172", "34500", "34200", "34120", "30189", "", "11262", "34999"];
const SUBURBS: [&str; 6] = ["les arceaux", "Celleneuve", "port marianne", "", "la Paillade 2", "st-martin"];

/// Names with the share of each, summed up.
struct Drawn {
    names: Vec<(String, f64)>,
}

impl Drawn {
    fn new(kind: NameKind) -> Self {
        let mut sum = 0.0;
        let add = |(name, share): (String, f32)| {
            sum += f64::from(share);
            (name, sum)
        };
        Self { names: listed(kind).into_iter().map(add).collect() }
    }
    fn one(&self, rng: &mut ChaCha20Rng) -> &str {
        let total = self.names.last().map_or(0.0, |n| n.1);
        let drawn = rng.next_u32() as f64 / f64::from(u32::MAX) * total;
        let at = self.names.partition_point(|n| n.1 < drawn).min(self.names.len() - 1);
        &self.names[at].0
    }
}

fn below(rng: &mut ChaCha20Rng, limit: u32) -> u32 {
    rng.next_u32() % limit
}

/// One letter replaced, dropped or exchanged with its neighbour.
fn misspelt(name: &str, rng: &mut ChaCha20Rng) -> String {
    let mut letters: Vec<char> = name.chars().collect();
    let at = below(rng, letters.len() as u32) as usize;
    match below(rng, 3) {
        0 => letters[at] = char::from(b'A' + below(rng, 26) as u8),
        1 if letters.len() > 3 => drop(letters.remove(at)),
        _ => {
            let other = (at + 1).min(letters.len() - 1);
            letters.swap(at, other);
        }
    }
    letters.into_iter().collect()
}

fn date(rng: &mut ChaCha20Rng) -> String {
    let (y, m, d) = (1930 + below(rng, 90), 1 + below(rng, 12), 1 + below(rng, 28));
    match below(rng, 20) {
        0 => format!("01/01/{y}"),
        1 => format!("31/12/{y}"),
        2 => String::new(),
        3 => format!("{y}"),
        4 => format!("{m:02}/{y}"),
        5 => "01/01/1900".to_owned(),
        6..10 => format!("{y}-{m:02}-{d:02}"),
        _ => format!("{d:02}/{m:02}/{y}"),
    }
}

/// Birth name, usage name, given names, date, sex, place of birth (three columns), commune, suburb of `count` people.
pub(crate) fn rows(count: usize, seed: u64) -> Vec<[String; 10]> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let (surnames, given) = (Drawn::new(NameKind::Surname), Drawn::new(NameKind::Given));
    let row = |_| {
        let rng = &mut rng;
        let mut birth = surnames.one(rng).to_owned();
        let mut first = given.one(rng).to_owned();
        if below(rng, 12) == 0 {
            birth = format!("{birth}-{}", surnames.one(rng));
        }
        if below(rng, 15) == 0 {
            birth = misspelt(&birth, rng);
        }
        if below(rng, 15) == 0 {
            first = misspelt(&first, rng);
        }
        for chance in [3, 8] {
            if below(rng, chance) == 0 {
                first = format!("{first}, {}", given.one(rng));
            }
        }
        let usage = if below(rng, 5) == 0 { surnames.one(rng).to_owned() } else { String::new() };
        if below(rng, 40) == 0 {
            std::mem::swap(&mut birth, &mut first);
        }
        let (code, name, country) = PLACES[below(rng, PLACES.len() as u32) as usize];
        let (home, suburb) = (HOMES[below(rng, 9) as usize], SUBURBS[below(rng, 6) as usize]);
        let sex = ["1", "2", "M", "F", ""][below(rng, 5) as usize];
        [&birth, &usage, &first, &date(rng), sex, code, name, country, home, suburb].map(str::to_owned)
    };
    (0..count).map(row).collect()
}

/// Reads [`rows`]: the French fields, or those and a text.
pub(crate) fn normaliser(with_text: bool) -> Normaliser {
    let field = |kind, column: &str| IdentityField { kind, column: column.into(), name_column: None, country_column: None };
    let mut place = field(FieldKind::Place, "code");
    place.name_column = Some("name".into());
    place.country_column = Some("country".into());
    let mut fields = vec![
        field(FieldKind::BirthName, "birth"),
        field(FieldKind::UsageName, "usage"),
        field(FieldKind::GivenNames, "given"),
        field(FieldKind::BirthDate, "date"),
        field(FieldKind::Sex, "sex"),
        place,
        field(FieldKind::Category, "home"),
    ];
    if with_text {
        fields.push(field(FieldKind::Text, "suburb"));
    }
    let columns = ["birth", "usage", "given", "date", "sex", "code", "name", "country", "home", "suburb"];
    Normaliser::new(&fields, &columns.map(String::from)).unwrap()
}

/// The identities of [`rows`] that can take part.
pub(crate) fn identities(count: usize, seed: u64, with_text: bool) -> Vec<Identity> {
    let normaliser = normaliser(with_text);
    rows(count, seed).iter().filter_map(|row| normaliser.normalise(row).ok()).collect()
}
