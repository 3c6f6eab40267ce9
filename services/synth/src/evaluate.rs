//! How good a linkage is, measured against the truth.
//!
//! Reads a link list (`person,party,local_id,match_class,probability`, one row per input record; records of one person
//! are linked) and a truth list (`party,month,local_id,person_id`; the month, also called `period`, may be absent as in
//! FEBRL data). Pairs are never enumerated: every figure follows from the sizes of the cells of the contingency table
//! found person x true person x party (Hubert and Arabie 1985), so that time is `n log n` in records. B-cubed is Bagga
//! and Baldwin's (1998). A record that the links leave out counts as linked to nobody, so its true pairs are missed; a
//! record that the truth leaves out can't be judged and is only counted.
//!
//! Messages name files, lines and columns, never a local id.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::Read;

use serde::Serialize;

use super::tables::{Numbering, Records, Table, Tags, shown};

/// Most distinct tags that a list of persons may use: they are held as bits.
pub const MAX_TAGS: usize = 64;

/// Why a linkage could not be measured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateError {
    /// A file is empty or its header lacks a column.
    #[error("{file} : la colonne « {column} » manque ; vérifiez le séparateur (virgule) et l'en-tête")]
    MissingColumn {
        /// Which of the inputs.
        file: Input,
        /// The column's name.
        column: &'static str,
    },
    /// A line is not readable as CSV (encoding, number of fields, input/output).
    #[error("{file}, ligne {line} : ligne illisible ({reason}) ; corrigez le fichier et relancez")]
    Unreadable {
        /// Which of the inputs.
        file: Input,
        /// Line in the file, from 1; 0 when unknown.
        line: u64,
        /// What was wrong, without the content.
        reason: &'static str,
    },
    /// One record stands twice in a file.
    #[error(
        "{file}, ligne {line} : cet enregistrement (partenaire, identifiant local) figure déjà plus haut ; gardez une seule ligne par enregistrement"
    )]
    RecordTwice {
        /// Which of the inputs.
        file: Input,
        /// Line in the file, from 1.
        line: u64,
    },
    /// The truth covers several periods and none was chosen.
    #[error("la vérité couvre plusieurs périodes ({}) : choisissez-en une avec --period", .0.join(", "))]
    SeveralPeriods(Vec<String>),
    /// A period was asked for and the truth has no period column.
    #[error("la vérité n'a pas de colonne « month » ou « period » : relancez sans --period")]
    NoPeriodColumn,
    /// The truth has no row for the period asked for.
    #[error("la vérité n'a aucune ligne pour la période demandée : vérifiez --period (AAAA-MM)")]
    EmptyPeriod,
    /// The list of persons uses more than [`MAX_TAGS`] tags.
    #[error("la liste des personnes emploie plus de {MAX_TAGS} étiquettes : réduisez la colonne « tags »")]
    TooManyTags,
}

/// The input that a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The link list.
    Links,
    /// The truth list.
    Truth,
    /// The list of persons with their tags.
    Persons,
}

impl std::fmt::Display for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Links => "fichier des liens",
            Self::Truth => "fichier de vérité",
            Self::Persons => "fichier des personnes",
        })
    }
}

/// Pairs of records, and the shares that follow. A share without a denominator is absent.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct PairFigures {
    /// Pairs of records of one true person.
    pub true_pairs: u64,
    /// Pairs of records of one found person.
    pub linked_pairs: u64,
    /// Pairs that are both.
    pub correct: u64,
    /// `correct / linked_pairs`.
    pub precision: Option<f64>,
    /// `correct / true_pairs`.
    pub recall: Option<f64>,
    /// Harmonic mean of the two.
    pub f1: Option<f64>,
}

/// Clusters found exactly: the same records, none more, none less.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct ClusterFigures {
    /// Clusters in the truth.
    pub truth: u64,
    /// Clusters found.
    pub found: u64,
    /// Clusters that are in both.
    pub exact: u64,
    /// `exact / found`.
    pub precision: Option<f64>,
    /// `exact / truth`.
    pub recall: Option<f64>,
}

/// B-cubed: per record, the purity of its found cluster and the completeness of its true one, averaged over records.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct BCubed {
    /// Mean share of a record's found cluster that is its true person.
    pub precision: Option<f64>,
    /// Mean share of a record's true person that is in its found cluster.
    pub recall: Option<f64>,
    /// Harmonic mean of the two.
    pub f1: Option<f64>,
}

/// Cross-party pairs that concern the persons with one tag.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TagFigures {
    /// The tag.
    pub tag: String,
    /// True persons with it among the records evaluated.
    pub persons: u64,
    /// `true_pairs`: of tagged persons. `linked_pairs`: with a tagged person on at least one side.
    #[serde(flatten)]
    pub pairs: PairFigures,
}

/// Every figure of one evaluation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// The period evaluated, when the truth states one.
    pub period: Option<String>,
    /// Records of the truth (of the period): all of them are evaluated.
    pub records_evaluated: u64,
    /// Of these, records without a row in the links: they count as linked to nobody.
    pub records_missing_in_links: u64,
    /// Rows of the links whose record the truth does not have: not evaluated.
    pub records_missing_in_truth: u64,
    /// Distinct true persons.
    pub persons_true: u64,
    /// Distinct persons found among the records evaluated.
    pub persons_found: u64,
    /// Pairs of records of two different parties: the figure to quote.
    pub cross_party: PairFigures,
    /// All pairs, those within one party too.
    pub all_pairs: PairFigures,
    /// All clusters, single records included.
    pub clusters: ClusterFigures,
    /// Clusters of two records or more.
    pub linked_clusters: ClusterFigures,
    /// B-cubed over records.
    pub b_cubed: BCubed,
    /// By tag, in alphabetical order; empty without a list of persons.
    pub by_tag: Vec<TagFigures>,
}

/// One record in the contingency table; the numbers are dense and arbitrary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    truth: u32,
    found: u32,
    party: u32,
}

/// Measures `links` against `truth`, and by tag when a list of `persons` (`person_id`, `tags` separated by `|`) is
/// given. `period` keeps the truth's rows of that month only.
///
/// # Errors
/// A column that is missing, a line that can't be read, a record twice, or no single period: see [`EvaluateError`].
pub fn evaluate(
    links: impl Read,
    truth: impl Read,
    persons: Option<&mut dyn Read>,
    period: Option<&str>,
) -> Result<Evaluation, EvaluateError> {
    let Truth { records, mut cells, persons: person_numbers, period } = Truth::read(truth, period)?;
    let found = assign_found(links, &records, &mut cells)?;
    drop(records);

    let mut result = figures(&mut cells);
    result.period = period;
    result.records_missing_in_links = found.missing_in_links;
    result.records_missing_in_truth = found.missing_in_truth;
    if let Some(persons) = persons {
        let tags = Tags::read(persons, &person_numbers)?;
        result.by_tag = tag_figures(&mut cells, &tags);
    }
    Ok(result)
}

/// The truth of one period: the record numbers, and for each its person and party.
struct Truth {
    records: Records,
    cells: Vec<Cell>,
    persons: Numbering,
    period: Option<String>,
}

impl Truth {
    fn read(source: impl Read, wanted: Option<&str>) -> Result<Self, EvaluateError> {
        let mut table = Table::open(source, Input::Truth)?;
        let party_at = table.column("party")?;
        let local_at = table.column("local_id")?;
        let person_at = table.column("person_id")?;
        let period_at = table.find("month").or_else(|| table.find("period"));
        if wanted.is_some() && period_at.is_none() {
            return Err(EvaluateError::NoPeriodColumn);
        }
        let mut truth = Self { records: Records::default(), cells: Vec::new(), persons: Numbering::default(), period: None };
        let mut periods = BTreeSet::new();
        let mut repeated = None;
        while let Some(line) = table.next()? {
            if let Some(at) = period_at {
                let period = table.field(at);
                match wanted {
                    Some(wanted) if wanted.as_bytes() != period => continue,
                    _ => {}
                }
                if !periods.contains(period) {
                    periods.insert(period.to_vec());
                }
            }
            let party = truth.records.parties.number(table.field(party_at));
            let person = truth.persons.number(table.field(person_at));
            if truth.records.add(party, table.field(local_at)) {
                truth.cells.push(Cell { truth: person, found: u32::MAX, party });
            } else if repeated.is_none() {
                repeated = Some(line);
            }
        }
        if periods.len() > 1 {
            let names = periods.iter().map(|name| shown(name)).collect();
            return Err(EvaluateError::SeveralPeriods(names));
        }
        if wanted.is_some() && truth.cells.is_empty() {
            return Err(EvaluateError::EmptyPeriod);
        }
        // Only now: without a chosen period, a record of two months is the period's fault and not the record's.
        if let Some(line) = repeated {
            return Err(EvaluateError::RecordTwice { file: Input::Truth, line });
        }
        truth.period = periods.pop_first().map(|name| shown(&name));
        Ok(truth)
    }
}

struct FoundCounts {
    missing_in_links: u64,
    missing_in_truth: u64,
}

/// Gives every record the person that the links found; records without a row get a person of their own.
fn assign_found(source: impl Read, records: &Records, cells: &mut [Cell]) -> Result<FoundCounts, EvaluateError> {
    let mut table = Table::open(source, Input::Links)?;
    let person_at = table.column("person")?;
    let party_at = table.column("party")?;
    let local_at = table.column("local_id")?;
    let mut persons = Numbering::default();
    let mut strangers: HashSet<Vec<u8>> = HashSet::new();
    while let Some(line) = table.next()? {
        let twice = EvaluateError::RecordTwice { file: Input::Links, line };
        match records.find(table.field(party_at), table.field(local_at)).and_then(|record| cells.get_mut(record)) {
            Some(cell) if cell.found != u32::MAX => return Err(twice),
            Some(cell) => cell.found = persons.number(table.field(person_at)),
            None => {
                let key = [table.field(party_at), b"\0", table.field(local_at)].concat();
                if !strangers.insert(key) {
                    return Err(twice);
                }
            }
        }
    }
    let mut missing_in_links = 0;
    for (next, cell) in (persons.len()..).zip(cells.iter_mut().filter(|cell| cell.found == u32::MAX)) {
        cell.found = next;
        missing_in_links += 1;
    }
    Ok(FoundCounts { missing_in_links, missing_in_truth: strangers.len() as u64 })
}

/// All figures but those by tag. Sorts the cells; the order left behind has no meaning.
fn figures(cells: &mut [Cell]) -> Evaluation {
    let records = cells.len() as u64;

    cells.sort_unstable_by_key(|cell| (cell.found, cell.party));
    let mut found_sizes: HashMap<u32, u64> = HashMap::new();
    let (mut linked, mut linked_within, mut found_many) = (0, 0, 0);
    for cluster in cells.chunk_by(|a, b| a.found == b.found) {
        let size = cluster.len() as u64;
        found_sizes.insert(cluster.first().map_or(0, |cell| cell.found), size);
        linked += pairs_of(size);
        linked_within += pairs_within_parties(cluster);
        found_many += u64::from(size > 1);
    }

    cells.sort_unstable_by_key(|cell| (cell.truth, cell.party));
    let (mut truth, mut truth_within, mut truths, mut truth_many) = (0, 0, 0, 0);
    for person in cells.chunk_by(|a, b| a.truth == b.truth) {
        let size = person.len() as u64;
        truth += pairs_of(size);
        truth_within += pairs_within_parties(person);
        truths += 1;
        truth_many += u64::from(size > 1);
    }

    cells.sort_unstable();
    let (mut correct, mut correct_within, mut exact, mut exact_many) = (0, 0, 0, 0);
    let (mut purity, mut completeness) = (0.0, 0.0);
    for person in cells.chunk_by(|a, b| a.truth == b.truth) {
        let true_size = person.len() as u64;
        for both in person.chunk_by(|a, b| a.found == b.found) {
            let size = both.len() as u64;
            let found_size = both.first().and_then(|cell| found_sizes.get(&cell.found)).copied().unwrap_or(size);
            correct += pairs_of(size);
            correct_within += pairs_within_parties(both);
            let is_exact = size == true_size && size == found_size;
            exact += u64::from(is_exact);
            exact_many += u64::from(is_exact && size > 1);
            purity += (size * size) as f64 / found_size as f64;
            completeness += (size * size) as f64 / true_size as f64;
        }
    }

    let found_total = found_sizes.len() as u64;
    let (purity, completeness) = (mean(purity, records), mean(completeness, records));
    Evaluation {
        period: None,
        records_evaluated: records,
        records_missing_in_links: 0,
        records_missing_in_truth: 0,
        persons_true: truths,
        persons_found: found_total,
        cross_party: pair_figures(truth - truth_within, linked - linked_within, correct - correct_within),
        all_pairs: pair_figures(truth, linked, correct),
        clusters: cluster_figures(truths, found_total, exact),
        linked_clusters: cluster_figures(truth_many, found_many, exact_many),
        b_cubed: BCubed { precision: purity, recall: completeness, f1: harmonic(purity, completeness) },
        by_tag: Vec::new(),
    }
}

/// Cross-party figures of every tag. A linked pair concerns a tag when a tagged person is on at least one side.
fn tag_figures(cells: &mut [Cell], tags: &Tags) -> Vec<TagFigures> {
    let count = tags.names.len();
    let mut truth = vec![0u64; count];
    let mut linked = vec![0u64; count];
    let mut correct = vec![0u64; count];
    let mut persons = vec![0u64; count];

    cells.sort_unstable_by_key(|cell| (cell.found, cell.party));
    for cluster in cells.chunk_by(|a, b| a.found == b.found).filter(|cluster| cluster.len() > 1) {
        let every = cross_pairs(cluster, |_| true);
        for (bit, linked) in linked.iter_mut().enumerate() {
            *linked += every - cross_pairs(cluster, |cell| !tags.has(cell.truth, bit));
        }
    }
    cells.sort_unstable_by_key(|cell| (cell.truth, cell.party));
    for person in cells.chunk_by(|a, b| a.truth == b.truth) {
        let pairs = cross_pairs(person, |_| true);
        let bits = person.first().map_or(0, |cell| tags.bits(cell.truth));
        for bit in (0..count).filter(|bit| bits >> bit & 1 == 1) {
            truth[bit] += pairs;
            persons[bit] += 1;
        }
    }
    cells.sort_unstable();
    for both in cells.chunk_by(|a, b| (a.truth, a.found) == (b.truth, b.found)).filter(|both| both.len() > 1) {
        let pairs = cross_pairs(both, |_| true);
        let bits = both.first().map_or(0, |cell| tags.bits(cell.truth));
        for bit in (0..count).filter(|bit| bits >> bit & 1 == 1) {
            correct[bit] += pairs;
        }
    }

    let mut figures: Vec<TagFigures> = tags
        .names
        .iter()
        .enumerate()
        .map(|(bit, tag)| TagFigures {
            tag: tag.clone(),
            persons: persons[bit],
            pairs: pair_figures(truth[bit], linked[bit], correct[bit]),
        })
        .collect();
    figures.sort_by(|a, b| a.tag.cmp(&b.tag));
    figures
}

/// Pairs of `cells` (sorted by party within) that join two parties, among the cells that `keep` lets through.
fn cross_pairs(cells: &[Cell], keep: impl Fn(&Cell) -> bool) -> u64 {
    let (mut total, mut within) = (0, 0);
    for party in cells.chunk_by(|a, b| a.party == b.party) {
        let size = party.iter().filter(|cell| keep(cell)).count() as u64;
        total += size;
        within += pairs_of(size);
    }
    pairs_of(total) - within
}

/// Pairs within one party, of cells sorted by party.
fn pairs_within_parties(cells: &[Cell]) -> u64 {
    cells.chunk_by(|a, b| a.party == b.party).map(|party| pairs_of(party.len() as u64)).sum()
}

fn pairs_of(size: u64) -> u64 {
    size * size.saturating_sub(1) / 2
}

fn pair_figures(true_pairs: u64, linked_pairs: u64, correct: u64) -> PairFigures {
    let (precision, recall) = (mean(correct as f64, linked_pairs), mean(correct as f64, true_pairs));
    PairFigures { true_pairs, linked_pairs, correct, precision, recall, f1: harmonic(precision, recall) }
}

fn cluster_figures(truth: u64, found: u64, exact: u64) -> ClusterFigures {
    ClusterFigures { truth, found, exact, precision: mean(exact as f64, found), recall: mean(exact as f64, truth) }
}

fn mean(sum: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum / count as f64)
}

fn harmonic(precision: Option<f64>, recall: Option<f64>) -> Option<f64> {
    let (precision, recall) = (precision?, recall?);
    Some(if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 })
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;
