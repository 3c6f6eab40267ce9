//! What a household is made of.
//!
//! Parties that ask for the family situation know it better than what is linked shows, since many name the head of a
//! household alone: their word counts, one vote a party, unless what is linked contradicts it. Where none says it, the
//! residents' ages do. An adult seen alone is not said to live alone when no party says so: many such files name the
//! head of a family (half of them on simulated data, docs/households.md).

use super::ages::{Age, Ages};

/// Two adults further apart in age are taken for parent and child, years (youngest mothers and fathers at birth).
const GENERATION: u16 = 16;

/// Classes of households, as French social services count them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Composition {
    /// One person.
    Alone,
    /// A couple.
    Couple,
    /// A couple and children.
    CoupleWithChildren,
    /// One parent and children.
    SingleParent,
    /// Another household.
    Other,
}

impl Composition {
    /// All classes, in the order of tables.
    pub const ALL: [Self; 5] = [Self::Alone, Self::Couple, Self::CoupleWithChildren, Self::SingleParent, Self::Other];

    /// Its name in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alone => "personne seule",
            Self::Couple => "couple sans enfant",
            Self::CoupleWithChildren => "couple avec enfants",
            Self::SingleParent => "famille monoparentale",
            Self::Other => "autre",
        }
    }
    /// Reads what a party says, in the spellings of their files; none for what says nothing.
    pub fn parse(value: &str) -> Option<Self> {
        let text = value.trim().to_lowercase();
        let has = |word: &str| text.contains(word);
        let children = has("enfant") && !has("sans");
        match () {
            () if text.is_empty() || has("inconnu") || has("non renseign") => None,
            () if has("couple") && children => Some(Self::CoupleWithChildren),
            () if has("couple") => Some(Self::Couple),
            () if has("monoparent") => Some(Self::SingleParent),
            () if (has("seul") || has("isol")) && children => Some(Self::SingleParent),
            () if has("seul") || has("isol") => Some(Self::Alone),
            () => Some(Self::Other),
        }
    }

    /// Class from those who live there.
    pub(super) fn of_members(members: &[Ages]) -> Option<Self> {
        let count = |age: Age| members.iter().filter(|m| m.age() == age).count();
        let (minors, adults) = (count(Age::Minor), count(Age::Adult));
        if count(Age::Unknown) > 0 || adults == 0 {
            return None;
        }
        let mut years: Vec<u16> = members.iter().filter(|m| m.age() == Age::Adult).filter_map(|m| m.years()).collect();
        years.sort_unstable_by(|a, b| b.cmp(a));
        // Grown children count as children of the two, or of the one, who are a generation older than they.
        let parents = years.iter().filter(|y| years.first().is_some_and(|oldest| oldest - **y < GENERATION)).count();
        match (parents, adults - parents, minors) {
            (1, 0, 0) => None,
            (1, ..) => Some(Self::SingleParent),
            (2, 0, 0) => Some(Self::Couple),
            (2, ..) => Some(Self::CoupleWithChildren),
            _ => Some(Self::Other),
        }
    }

    /// Whether those who live there are more than the class has room for.
    fn contradicted(self, members: &[Ages]) -> bool {
        let count = |age: Age| members.iter().filter(|m| m.age() == age).count();
        match self {
            Self::Alone => members.len() > 1,
            Self::Couple => count(Age::Minor) > 0,
            _ => false,
        }
    }

    /// Class of a household: `votes` by class, one a party.
    pub(super) fn of(votes: [u8; 5], members: &[Ages]) -> Option<Self> {
        let seen = Self::of_members(members);
        let voted = Self::ALL
            .into_iter()
            .zip(votes)
            .filter(|(class, votes)| *votes > 0 && !class.contradicted(members))
            .max_by_key(|(class, votes)| (*votes, Some(*class) == seen, std::cmp::Reverse(*class)));
        voted.map(|(class, _)| class).or(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aged(years: &[u16]) -> Vec<Ages> {
        years.iter().map(|y| Ages::between(*y, *y)).collect()
    }

    #[test]
    fn classes_from_ages() {
        let class = |years: &[u16]| Composition::of_members(&aged(years));
        assert_eq!(class(&[40]), None);
        assert_eq!(class(&[40, 38]), Some(Composition::Couple));
        assert_eq!(class(&[40, 38, 3]), Some(Composition::CoupleWithChildren));
        assert_eq!(class(&[3, 1, 30]), Some(Composition::SingleParent));
        assert_eq!(class(&[45, 20]), Some(Composition::SingleParent));
        assert_eq!(class(&[45, 44, 20, 18]), Some(Composition::CoupleWithChildren));
        assert_eq!(class(&[30, 31, 32]), Some(Composition::Other));
        assert_eq!(class(&[3]), None);
        assert_eq!(Composition::of_members(&[Ages::UNKNOWN, Ages::between(40, 40)]), None);
    }

    #[test]
    fn what_parties_say_counts_unless_contradicted() {
        let votes = |classes: &[Composition]| {
            let mut votes = [0; 5];
            classes.iter().for_each(|c| votes[*c as usize] += 1);
            votes
        };
        use Composition::*;
        assert_eq!(Composition::of(votes(&[CoupleWithChildren]), &aged(&[40])), Some(CoupleWithChildren));
        assert_eq!(Composition::of(votes(&[Alone, Alone]), &aged(&[40, 38])), Some(Couple));
        assert_eq!(Composition::of(votes(&[Couple]), &aged(&[40, 38, 2])), Some(CoupleWithChildren));
        assert_eq!(Composition::of(votes(&[SingleParent, CoupleWithChildren]), &aged(&[40, 38, 2])), Some(CoupleWithChildren));
        assert_eq!(Composition::of(votes(&[SingleParent, SingleParent, Couple]), &aged(&[40])), Some(SingleParent));
        assert_eq!(Composition::of(votes(&[Alone]), &aged(&[40])), Some(Alone));
    }

    #[test]
    fn spellings() {
        for (text, class) in [
            ("Personne seule", Some(Composition::Alone)),
            ("homme isolé", Some(Composition::Alone)),
            ("femme seule avec enfants", Some(Composition::SingleParent)),
            ("Famille monoparentale", Some(Composition::SingleParent)),
            ("couple sans enfant", Some(Composition::Couple)),
            ("Couple avec enfant(s)", Some(Composition::CoupleWithChildren)),
            ("groupe d'adultes", Some(Composition::Other)),
            ("inconnue", None),
            ("", None),
        ] {
            assert_eq!(Composition::parse(text), class, "{text}");
        }
        for class in Composition::ALL {
            assert_eq!(Composition::parse(class.as_str()), Some(class));
        }
    }
}
