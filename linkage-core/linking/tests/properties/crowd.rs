//! Made-up populations: names as unevenly spread as real ones, so that there are homonyms; lists that retype them.
//!
//! Shares of names fall with rank as Zipf and Mandelbrot have it; rarity classes follow from the shares by the bounds of
//! the real encoder. Chance agreement is counted on random pairs of each list, as a node does.

use std::collections::BTreeMap;

use linkage_agreement::{FieldKind, Layout};
use linkage_linking::{Clusters, Comparer, Dimensions, Dispositions, LevelFrequencies, Linkage, PartyInput, RecordIndex, link};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::SETTINGS;
use crate::support::{self, Person, mix, payload, record};

/// Random draws of one seed.
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }
    /// A whole number under `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.0.next_u64() % end.max(1) as u64) as usize
    }
    /// 0 to 1.
    pub(crate) fn share(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
    /// True in `percent` of 100 draws.
    pub(crate) fn percent(&mut self, percent: f64) -> bool {
        self.share() * 100.0 < percent
    }
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
    /// A rank of `ranks`, of which rank r has a share in proportion to 1 / (r + `flat`).
    fn rank(&mut self, ranks: f64, flat: f64) -> usize {
        (flat * ((ranks + flat) / flat).powf(self.share()) - flat) as usize
    }
}

const SURNAMES: (f64, f64) = (20_000.0, 20.0);
const GIVEN: (f64, f64) = (3_000.0, 12.0);

fn class((ranks, flat): (f64, f64), rank: usize) -> u8 {
    match 1.0 / ((rank as f64 + flat) * ((ranks + flat) / flat).ln()) {
        share if share > 2e-3 => 1,
        share if share > 5e-4 => 2,
        share if share > 1e-4 => 3,
        share if share > 2e-5 => 4,
        _ => 5,
    }
}

/// The name of a rank: two or three syllables.
fn name(kind: u8, rank: usize) -> String {
    const ONSETS: [&str; 16] = ["B", "C", "D", "F", "G", "L", "M", "N", "P", "R", "S", "T", "V", "CH", "GR", "TR"];
    const ENDS: [&str; 12] = ["A", "E", "I", "O", "U", "AN", "EL", "IN", "ON", "AR", "OIS", "ET"];
    let drawn = |n: u8| mix(&[&[kind, n], &rank.to_le_bytes()]) as usize;
    let syllable = |n: u8| format!("{}{}", ONSETS[drawn(2 * n) % ONSETS.len()], ENDS[drawn(2 * n + 1) % ENDS.len()]);
    (0..2 + (drawn(99) % 2) as u8).map(syllable).collect()
}

/// A given name for a person of one sex, and its rarity class.
pub(crate) fn given_name(chance: &mut Chance, sex: usize) -> (String, u8) {
    let rank = chance.rank(GIVEN.0, GIVEN.1) / 2 * 2 + sex % 2;
    (name(b'g', rank), class(GIVEN, rank))
}

/// One person in eight is of a community of few names, of whom three in ten have the first of January for a birthday.
pub(crate) fn person(chance: &mut Chance) -> Person {
    let few_names = chance.percent(12.0);
    let surname = if few_names { 20 * chance.rank(120.0, 10.0) } else { chance.rank(SURNAMES.0, SURNAMES.1) };
    let sex = 1 + chance.below(2);
    let (given, given_class) = if few_names {
        let rank = 20 * chance.rank(60.0, 5.0) + sex % 2;
        (name(b'g', rank), class(GIVEN, rank))
    } else {
        given_name(chance, sex)
    };
    let year = 1935 + chance.below(35) + chance.below(38);
    let mut person =
        Person::new(&name(b's', surname), &given, (year as u16, 1 + chance.below(12) as u8, 1 + chance.below(28) as u8));
    person.sex = sex.to_string();
    person.home[2] = format!("34{:03}", chance.rank(80.0, 1.0));
    if chance.percent(40.0) {
        person.birth_place[1] = format!("{:02}", 1 + chance.below(95));
    }
    person.birth_place[2] = format!("{}-{}", person.birth_place[1], chance.rank(30.0, 1.0));
    if sex == 2 && chance.percent(30.0) {
        let usage = chance.rank(SURNAMES.0, SURNAMES.1);
        person.usage = name(b's', usage);
        person.classes[1] = class(SURNAMES, usage);
    }
    if few_names {
        person.birth_place = ["DZ".to_owned(), "DZ".to_owned(), format!("DZ-{}", chance.rank(12.0, 2.0))];
        if chance.percent(30.0) {
            (person.date, person.default_date) = (person.date.map(|(y, ..)| (y, 1, 1)), true);
        }
    }
    person.classes[0] = class(SURNAMES, surname);
    person.classes[2] = given_class;
    person
}

/// A brother or sister: surname, home and town of birth in common, some years apart.
fn sibling(chance: &mut Chance, of: &Person) -> Person {
    let sex = 1 + chance.below(2);
    let (given, class) = given_name(chance, sex);
    let date = of.date.map(|(y, ..)| (y + 1 + chance.below(8) as u16, 1 + chance.below(12) as u8, 1 + chance.below(28) as u8));
    let mut person = Person { given, sex: sex.to_string(), date, usage: String::new(), default_date: false, ..of.clone() };
    (person.classes[1], person.classes[2]) = (0, class);
    person
}

/// Block keys of passes that bring pairs with errors together by what they still have in common, and many others too.
pub(crate) fn keys(person: &Person) -> Vec<String> {
    let mut sounds: Vec<String> =
        [&person.birth, &person.usage, &person.given].into_iter().flat_map(|n| support::words(n)).map(support::sound).collect();
    sounds.sort();
    sounds.dedup();
    let mut keys = Vec::new();
    let Some((y, m, d)) = person.date else { return keys };
    let [_, _, home] = &person.home;
    let [_, _, birth_place] = &person.birth_place;
    keys.push(format!("date and birth place {y}-{m}-{d} {birth_place}"));
    for (n, a) in sounds.iter().enumerate() {
        keys.push(format!("date {a} {y}-{m}-{d}"));
        keys.push(format!("home {a} {y} {home}"));
        keys.push(format!("day {a} {m}-{d} {birth_place}"));
        for b in sounds.iter().skip(n + 1) {
            keys.push(format!("both {a} {b}"));
            keys.push(format!("both and year {a} {b} {y}"));
        }
    }
    keys
}

/// One letter of `word` replaced, dropped or doubled. What is mistyped looks rare.
fn mistyped(chance: &mut Chance, word: &mut String, class: &mut u8) {
    let at = chance.below(word.len());
    match chance.below(3) {
        0 => word.replace_range(at..=at, ["A", "E", "S", "N"][chance.below(4)]),
        1 if word.len() > 4 => word.replace_range(at..=at, ""),
        _ => word.insert(at, word.as_bytes()[at].into()),
    }
    *class = 5;
}

/// The person as one list holds it: three records in ten with an error or a change of some kind, homes apart.
pub(crate) fn retyped(chance: &mut Chance, person: &Person) -> Person {
    let mut person = person.clone();
    if chance.percent(5.0) {
        mistyped(chance, &mut person.birth, &mut person.classes[0]);
    }
    if chance.percent(4.0) {
        mistyped(chance, &mut person.given, &mut person.classes[2]);
    }
    if chance.percent(3.0) && !person.default_date {
        let slip = |(y, m, d): (u16, u8, u8)| match d % 4 {
            0 => (y + 1, m, d),
            1 => (y, d.min(12), m),
            2 => (y, m, 1 + d % 28),
            _ => (y, 1 + m % 12, d),
        };
        person.date = person.date.map(slip);
    } else if chance.percent(2.0) {
        person.date = person.date.map(|(y, ..)| (y, 1, 1));
        person.default_date = true;
    }
    if !person.usage.is_empty() && chance.percent(30.0) {
        // One name only, whichever.
        if chance.percent(50.0) {
            person.birth = std::mem::take(&mut person.usage);
            person.classes[0] = person.classes[1];
        }
        person.usage = String::new();
        person.classes[1] = 0;
    }
    if chance.percent(2.0) {
        person.sex = String::new();
    }
    if chance.percent(0.5) {
        person.sex = if person.sex == "1" { "2" } else { "1" }.to_owned();
    }
    if chance.percent(20.0) {
        person.home[2] = format!("34{:03}", chance.below(80));
    }
    if chance.percent(20.0) {
        person.birth_place[2] = String::new();
    }
    person
}

/// A record and whose it is.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub who: usize,
    pub record: Person,
}

/// A run: what each party holds.
pub(crate) struct Run {
    pub layout: Layout,
    pub parties: Vec<Vec<Held>>,
    pub duplicate_free: bool,
}

/// What became of the pairs of two parties.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    pub truth: u32,
    pub linked: u32,
    pub right: u32,
}

impl Figures {
    pub(crate) fn precision(self) -> f64 {
        if self.linked == 0 { 1.0 } else { f64::from(self.right) / f64::from(self.linked) }
    }
    pub(crate) fn recall(self) -> f64 {
        if self.truth == 0 { 1.0 } else { f64::from(self.right) / f64::from(self.truth) }
    }
}

pub(crate) fn full_layout() -> Layout {
    support::layout(128, 4, 18)
}

pub(crate) fn layout_without_sex() -> Layout {
    let fields: Vec<FieldKind> = support::FIELDS.into_iter().filter(|kind| *kind != FieldKind::Sex).collect();
    Layout::new(&fields, 128, 4, 18)
}

impl Run {
    /// About `records` records in three lists, each of which holds a person with the chance of `held` percent.
    pub(crate) fn of_crowd(seed: u64, records: usize, held: f64) -> Self {
        let mut chance = Chance::new(seed);
        let mut people: Vec<Person> = Vec::new();
        for _ in 0..(records as f64 / (0.03 * held)).round() as usize {
            let last = people.last().cloned().filter(|_| chance.percent(10.0));
            people.push(if let Some(of) = last { sibling(&mut chance, &of) } else { person(&mut chance) });
        }
        let parties = (0..3).map(|_| list(&mut chance, &people, held)).collect();
        Self { layout: full_layout(), parties, duplicate_free: true }
    }

    /// The packed records of one party.
    fn packed(&self, party: usize) -> Vec<u8> {
        let one =
            |(n, held): (usize, &Held)| record(&self.layout, &held.record, &keys(&held.record), (party as u64) << 32 | n as u64);
        self.parties[party].iter().enumerate().flat_map(one).collect()
    }

    /// Chance agreement over random pairs of every list, small counts suppressed by each node.
    fn frequencies(&self) -> LevelFrequencies {
        let (dimensions, comparer) = (Dimensions::of(&self.layout), Comparer::new(&self.layout).unwrap());
        let mut all = LevelFrequencies::new(&self.layout);
        for (held, seed) in self.parties.iter().zip(1..) {
            let mut chance = Chance::new(seed);
            let encoded: Vec<(u32, Vec<u8>)> =
                held.iter().map(|h| (support::header(&h.record), payload(&self.layout, &h.record, b"throw-away"))).collect();
            let mut own = LevelFrequencies::new(&self.layout);
            for _ in 0..(20 * held.len()).min(20_000) {
                let (a, b) = (chance.below(held.len()), chance.below(held.len()));
                if a != b {
                    let (a, b) = (&encoded[a], &encoded[b]);
                    let vector = comparer.compare(a.0, b.0, [(&a.1[..], &b.1[..])]).unwrap();
                    own.observe(&dimensions, &vector);
                }
            }
            own.suppress();
            all.merge(&own).unwrap();
        }
        all
    }

    pub(crate) fn with_input<T>(&self, then: impl FnOnce(&[PartyInput<'_>], &LevelFrequencies) -> T) -> T {
        let bytes: Vec<Vec<u8>> = (0..self.parties.len()).map(|party| self.packed(party)).collect();
        let input: Vec<_> = bytes.iter().map(|b| PartyInput::block_scoped(&self.layout, self.duplicate_free, vec![b])).collect();
        then(&input, &self.frequencies())
    }

    pub(crate) fn link(&self) -> Linkage {
        self.with_input(|input, frequencies| link(&self.layout, input, frequencies, &SETTINGS, &Dispositions::default()).unwrap())
    }

    /// Party and holder of every record, in the order of their numbers.
    pub(crate) fn names(&self) -> Vec<(usize, usize)> {
        (0..).zip(&self.parties).flat_map(|(party, held)| held.iter().map(move |h| (party, h.who))).collect()
    }

    pub(crate) fn figures(&self, clusters: &Clusters) -> Figures {
        let names = self.names();
        let across = |records: &[RecordIndex], same: bool| -> u32 {
            let named: Vec<_> = records.iter().map(|&r| names[r as usize]).collect();
            let pairs = named.iter().enumerate().flat_map(|(n, x)| named[n + 1..].iter().map(move |y| (x, y)));
            pairs.filter(|(x, y)| x.0 != y.0 && (!same || x.1 == y.1)).count() as u32
        };
        let mut by_person: BTreeMap<usize, Vec<RecordIndex>> = BTreeMap::new();
        for (record, (_, who)) in (0..).zip(&names) {
            by_person.entry(*who).or_default().push(record);
        }
        let mut out = Figures { truth: by_person.values().map(|records| across(records, true)).sum(), ..Figures::default() };
        for cluster in &clusters.clusters {
            let records: Vec<_> = cluster.members.iter().map(|m| m.record).collect();
            out.linked += across(&records, false);
            out.right += across(&records, true);
        }
        out
    }
}

/// A list that holds every person with the chance of `held` percent, in any order.
pub(crate) fn list(chance: &mut Chance, people: &[Person], held: f64) -> Vec<Held> {
    let mut list = Vec::new();
    for (who, person) in people.iter().enumerate() {
        if chance.percent(held) {
            list.push(Held { who, record: retyped(chance, person) });
        }
    }
    chance.shuffle(&mut list);
    list
}
