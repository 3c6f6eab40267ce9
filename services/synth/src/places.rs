//! Communes and countries, drawn by where people are born and live.

use super::SynthError;
use super::dice::{Dice, Weighted};
use super::names::unpack;
use super::origins::{Country, Origin, countries};

const COMMUNES: &[u8] = include_bytes!("../data/communes.txt.gz");

/// The département whose parties are simulated.
pub(crate) const HOME: &str = "34";

/// A commune of the code officiel géographique.
pub(crate) struct Commune {
    /// INSEE code, five characters.
    pub(crate) code: Box<str>,
    /// Name with accents.
    pub(crate) name: Box<str>,
    /// Postcode.
    pub(crate) postcode: Box<str>,
}

/// A place of birth. Numbers are positions in the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Birthplace {
    /// In France.
    Commune(u16),
    /// Abroad: country, and city within the country's list.
    Abroad {
        /// Position in [`countries()`].
        country: u8,
        /// Position in the country's cities.
        city: u8,
    },
}

/// Every commune, with the draws.
pub(crate) struct Places {
    communes: Vec<Commune>,
    at_home: Weighted<u16>,
    anywhere: Weighted<u16>,
    maternity_at_home: Weighted<u16>,
}

impl Places {
    pub(crate) fn load() -> Result<Self, SynthError> {
        let mut places = Self {
            communes: Vec::new(),
            at_home: Weighted::default(),
            anywhere: Weighted::default(),
            maternity_at_home: Weighted::default(),
        };
        for line in unpack(COMMUNES)?.lines() {
            let fields: Vec<&str> = line.split(';').collect();
            let &[code, name, postcode, departement, inhabitants] = fields.as_slice() else { return Err(SynthError::Tables) };
            let inhabitants: u64 = inhabitants.parse().map_err(|_| SynthError::Tables)?;
            let number = u16::try_from(places.communes.len()).map_err(|_| SynthError::Tables)?;
            places.communes.push(Commune { code: code.into(), name: name.into(), postcode: postcode.into() });
            places.anywhere.push(number, inhabitants);
            if departement == HOME {
                places.at_home.push(number, inhabitants);
                // Births are registered where the maternities are: the towns.
                places.maternity_at_home.push(number, if inhabitants > 20_000 { inhabitants } else { inhabitants / 20 });
            }
        }
        if places.communes.is_empty() { Err(SynthError::Tables) } else { Ok(places) }
    }

    /// Where a household lives: one in nine outside the département.
    pub(crate) fn residence(&self, dice: &mut Dice) -> u16 {
        let list = if dice.chance(0.89) { &self.at_home } else { &self.anywhere };
        list.draw(dice).copied().unwrap_or(0)
    }

    /// Where somebody born in France was born.
    pub(crate) fn birth_in_france(&self, recent: bool, dice: &mut Dice) -> Birthplace {
        let here = dice.chance(if recent { 0.75 } else { 0.4 });
        let list = if here { &self.maternity_at_home } else { &self.anywhere };
        Birthplace::Commune(list.draw(dice).copied().unwrap_or(0))
    }

    /// A country of the origin with one of its cities.
    pub(crate) fn birth_abroad(origin: &Origin, dice: &mut Dice) -> Birthplace {
        let weights: Vec<u32> = origin.countries.iter().map(|(_, weight)| *weight).collect();
        let code = origin.countries.get(dice.weighted(&weights)).map_or("", |(code, _)| code);
        let country = countries().iter().position(|country| country.code == code).unwrap_or(0);
        let city = dice.below(countries()[country].cities.len());
        Birthplace::Abroad { country: country as u8, city: city as u8 }
    }

    /// The commune of a number that this table gave.
    pub(crate) fn commune(&self, number: u16) -> &Commune {
        &self.communes[usize::from(number).min(self.communes.len() - 1)]
    }
}

/// The country of a number.
pub(crate) fn country(number: u8) -> &'static Country {
    &countries()[usize::from(number).min(countries().len() - 1)]
}

impl Birthplace {
    /// INSEE code of the commune or country.
    pub(crate) fn code(self, places: &Places) -> &str {
        match self {
            Self::Commune(number) => &places.commune(number).code,
            Self::Abroad { country: number, .. } => country(number).code,
        }
    }
    /// Name of the commune or of the city abroad.
    pub(crate) fn town(self, places: &Places) -> &str {
        match self {
            Self::Commune(number) => &places.commune(number).name,
            Self::Abroad { country: number, city } => country(number).cities.get(usize::from(city)).copied().unwrap_or(""),
        }
    }
    /// Name of the country.
    pub(crate) fn country_name(self) -> &'static str {
        match self {
            Self::Commune(_) => "FRANCE",
            Self::Abroad { country: number, .. } => country(number).name,
        }
    }
    /// Whether it is abroad.
    pub(crate) fn is_abroad(self) -> bool {
        matches!(self, Self::Abroad { .. })
    }
}
