//! Names by INSEE frequency, and the spellings that one name of foreign origin has in French files.

use std::collections::HashMap;
use std::io::Read;

use super::SynthError;
use super::dice::{Dice, Weighted};
use super::origins::{METROPOLE, Origin, check, origins};
use super::text;

const SURNAMES: &[u8] = include_bytes!("../data/noms.txt.gz");
const GIVEN_NAMES: &[u8] = include_bytes!("../data/prenoms.txt.gz");

/// Decades of birth that the table of given names distinguishes: 1930 (and before) to 2020.
const DECADES: usize = 10;

/// Surnames that INSEE's list holds without their accents.
const ACCENTED: &[&str] = &[
    "LEFÈVRE",
    "MÜLLER",
    "GÉRARD",
    "GARÇON",
    "FRANÇOIS",
    "ANDRÉ",
    "RENÉ",
    "BÉRARD",
    "GUÉRIN",
    "HÉBERT",
    "RÉMY",
    "PÉREZ",
    "MÉNARD",
    "BÉNARD",
    "BESSIÈRE",
    "CARRIÈRE",
    "RIVIÈRE",
    "MERCIÈRE",
    "LACOSTE",
    "LÉGER",
    "LÉVY",
    "MAÎTRE",
    "PRÉVOST",
    "LEGRÊLE",
    "CHÊNE",
    "FRÈRE",
    "ROZIÈRE",
    "VALLÉE",
    "BOYÉ",
    "DUPRÉ",
    "BARRÉ",
    "NOËL",
    "GAUTHÉ",
    "MÉTAYER",
    "PÉLISSIER",
    "SÉGUIN",
    "SÉNÉCHAL",
    "TÉTARD",
    "THÉRY",
    "VÉRON",
    "ÉTIENNE",
    "HÉRAULT",
    "RÉGNIER",
    "CRÉPIN",
    "BÉGUIN",
    "CLÉMENT",
    "DÉSIRÉ",
    "ÉVRARD",
    "FÉVRIER",
    "GRÉGOIRE",
    "JÉGOU",
    "LELIÈVRE",
    "LEFÉBURE",
    "PÂRIS",
    "ROCHÉ",
    "SÉVERIN",
];

/// Every table of names, read once.
pub(crate) struct Names {
    surnames: Weighted<Box<str>>,
    given: [[Weighted<Box<str>>; DECADES]; 2],
    /// By origin: surnames of INSEE's list that fit its patterns.
    widened: Vec<Weighted<Box<str>>>,
    /// From the plain form of a spelling to all spellings of the name.
    spellings: HashMap<String, &'static str>,
}

impl Names {
    pub(crate) fn load() -> Result<Self, SynthError> {
        check()?;
        let accents: HashMap<String, &str> = ACCENTED.iter().map(|name| (text::plain(name), *name)).collect();
        let mut surnames = Weighted::default();
        let mut widened: Vec<Weighted<Box<str>>> = origins().iter().map(|_| Weighted::default()).collect();
        for line in unpack(SURNAMES)?.lines() {
            let Some((name, count)) = line.split_once(';') else { return Err(SynthError::Tables) };
            let count = count.parse().map_err(|_| SynthError::Tables)?;
            let written = accents.get(name).copied().unwrap_or(name);
            surnames.push(written.into(), count);
            for (origin, pool) in origins().iter().zip(&mut widened) {
                if origin.patterns.iter().any(|pattern| fits(name, pattern)) {
                    pool.push(name.into(), count);
                }
            }
        }
        let mut given: [[Weighted<Box<str>>; DECADES]; 2] = Default::default();
        for line in unpack(GIVEN_NAMES)?.lines() {
            let mut fields = line.split(';');
            let (Some(sex), Some(name), Some(decade), Some(count)) = (fields.next(), fields.next(), fields.next(), fields.next())
            else {
                return Err(SynthError::Tables);
            };
            let decade: usize = decade.parse().map_err(|_| SynthError::Tables)?;
            let table = given.get_mut(usize::from(sex == "2")).and_then(|sex| sex.get_mut((decade.saturating_sub(1930)) / 10));
            table.ok_or(SynthError::Tables)?.push(text::title(name).into(), count.parse().map_err(|_| SynthError::Tables)?);
        }
        let mut spellings = HashMap::new();
        for origin in origins() {
            for group in origin.surnames.iter().chain(&origin.men).chain(&origin.women).filter(|group| group.contains('/')) {
                for spelling in group.split('/') {
                    spellings.entry(text::plain(spelling)).or_insert(*group);
                }
            }
        }
        Ok(Self { surnames, given, widened, spellings })
    }

    /// A family's surname, upper case.
    pub(crate) fn surname(&self, origin: &Origin, at: usize, dice: &mut Dice) -> String {
        if origin.surnames.is_empty() {
            return self.french_surname(dice);
        }
        let one = |dice: &mut Dice| match self.widened.get(at).filter(|_| dice.chance(0.3)).and_then(|pool| pool.draw(dice)) {
            Some(name) => name.to_string(),
            None => spelling(dice.pick::<&str>(&origin.surnames), dice),
        };
        let first = one(dice);
        if !dice.chance(origin.two_surnames) {
            return first;
        }
        let second = one(dice);
        if second == first { first } else { format!("{first} {second}") }
    }

    fn french_surname(&self, dice: &mut Dice) -> String {
        let first = self.surnames.draw(dice).map_or_else(String::new, ToString::to_string);
        if dice.chance(0.985) {
            return first;
        }
        match self.surnames.draw(dice) {
            Some(second) => format!("{first}-{second}"),
            None => first,
        }
    }

    /// A first given name; `abroad` leaves the French tables aside for foreign origins.
    pub(crate) fn given(&self, origin: &Origin, woman: bool, year: i16, abroad: bool, dice: &mut Dice) -> String {
        let french = origin.men.is_empty() || dice.chance(if abroad { origin.french_given * 0.4 } else { origin.french_given });
        if !french {
            return spelling(dice.pick::<&str>(if woman { &origin.women } else { &origin.men }), dice);
        }
        let decade = (usize::try_from(year).unwrap_or(0).saturating_sub(1930) / 10).min(DECADES - 1);
        let name = self.given[usize::from(woman)][decade].draw(dice).map_or_else(String::new, ToString::to_string);
        // A twentieth of the French names of the forties to the seventies are compounds beyond INSEE's hyphenated ones.
        let compound = !name.contains('-') && (1940..1980).contains(&year) && dice.chance(0.05);
        match (compound, woman) {
            (false, _) => name,
            (true, true) => {
                format!("Marie-{}", dice.pick(&["France", "Claude", "Christine", "Thérèse", "Hélène", "Pierre", "Noëlle"]))
            }
            (true, false) => {
                format!("Jean-{}", dice.pick(&["Pierre", "Claude", "Luc", "Marc", "François", "Michel", "Noël", "Jacques"]))
            }
        }
    }

    /// All given names of a person, the first one first.
    pub(crate) fn given_names(&self, origin: &Origin, woman: bool, year: i16, abroad: bool, dice: &mut Dice) -> Vec<String> {
        let mut names = vec![self.given(origin, woman, year, abroad, dice)];
        let french = origin.key == origins()[METROPOLE].key;
        let further = dice.weighted(if french { &[45, 35, 20] } else { &[75, 20, 5] });
        for _ in 0..further {
            // Middle names are grandparents' names.
            let name = self.given(origin, woman, year - 35, abroad, dice);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The other spellings of a name, when it has any: of the whole name, or of the first of its words that has some.
    pub(crate) fn other_spelling(&self, name: &str, dice: &mut Dice) -> Option<String> {
        let other = |text: &str, dice: &mut Dice| {
            let key = text::plain(text);
            let group = self.spellings.get(&key)?;
            let others: Vec<&str> = group.split('/').filter(|spelling| text::plain(spelling) != key).collect();
            (!others.is_empty()).then(|| (*dice.pick(&others)).to_owned())
        };
        if let Some(whole) = other(name, dice) {
            return Some(whole);
        }
        let word = name.split(' ').find(|word| self.spellings.contains_key(&text::plain(word)))?;
        Some(name.replacen(word, &other(word, dice)?, 1))
    }

    /// Whether a name has several spellings.
    pub(crate) fn has_spellings(&self, name: &str) -> bool {
        name.split(' ').chain([name]).any(|part| self.spellings.contains_key(&text::plain(part)))
    }
}

/// One spelling of a group, the first one in half of the cases.
fn spelling(group: &str, dice: &mut Dice) -> String {
    let spellings: Vec<&str> = group.split('/').collect();
    let at = if dice.chance(0.5) { 0 } else { dice.below(spellings.len()) };
    spellings.get(at).copied().unwrap_or(group).to_owned()
}

/// `BEN*` or `*SKI`.
fn fits(name: &str, pattern: &str) -> bool {
    match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
        (Some(start), _) => name.starts_with(start),
        (_, Some(end)) => name.ends_with(end),
        _ => name == pattern,
    }
}

/// The text of a built-in table.
pub(crate) fn unpack(table: &[u8]) -> Result<String, SynthError> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(table).read_to_string(&mut text).map_err(|_| SynthError::Tables)?;
    Ok(text)
}
