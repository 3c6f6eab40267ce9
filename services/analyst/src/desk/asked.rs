//! The bound on questions: how many different ones may be asked in a month.
//!
//! Noise can be averaged by whoever asks often enough, previews as well as tables for publication. A question counts
//! once for each state of the study, whatever it is titled; one that is refused because nothing can be shown counts too,
//! since that is an answer.

use std::collections::BTreeSet;
use std::path::Path;

use linkage_agreement::Period;
use linkage_cohort::query::Query;
use linkage_common::error::ServiceError;
use linkage_common::fsx;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::publish::Release;

/// Name of the file.
pub(super) const NAME: &str = "asked.json";
/// Different questions of a month.
pub(super) const PER_MONTH: usize = 2_000;
const LIMIT: u64 = 1 << 20;
const LABEL: &[u8] = b"linkage question asked v1\n";

/// Questions of a month, by what they are known by.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    month: Period,
    questions: BTreeSet<String>,
}

/// What a question is known by: its queries but for their titles, and the release.
pub(super) fn known_by(queries: &[Query], release: &Release) -> Result<String, ServiceError> {
    let untitled: Vec<Query> = queries.iter().map(|query| Query { title: String::new(), ..query.clone() }).collect();
    let text = serde_json::to_vec(&(untitled, release)).map_err(ServiceError::internal)?;
    let mut name = hex::encode(Sha256::new().chain_update(LABEL).chain_update(text).finalize());
    name.truncate(32);
    Ok(name)
}

/// Counts a question, the ledger being locked.
///
/// # Errors
/// `Exhausted` when it is one more than `most`.
pub(super) fn count(data_dir: &Path, month: Period, question: String, most: usize) -> Result<(), ServiceError> {
    let path = data_dir.join(NAME);
    let held = if path.try_exists()? {
        let bytes = fsx::read_limited(&path, LIMIT).map_err(ServiceError::internal)?;
        let held: Asked = serde_json::from_slice(&bytes)
            .map_err(|_| ServiceError::internal("asked.json is damaged; restore it from a backup"))?;
        Some(held).filter(|held| held.month >= month)
    } else {
        None
    };
    let mut asked = held.unwrap_or(Asked { month, questions: BTreeSet::new() });
    if asked.questions.contains(&question) {
        return Ok(());
    }
    if asked.questions.len() >= most {
        return Err(ServiceError::exhausted(format!(
            "{most} questions différentes ont été posées en {}, le plus que l'on puisse en un mois : un bruit se moyenne ; de nouvelles \
             sont possibles dès le {}-01, et une question déjà posée peut l'être encore",
            asked.month,
            asked.month.next()
        )));
    }
    asked.questions.insert(question);
    fsx::write_atomic(&path, &serde_json::to_vec(&asked).map_err(ServiceError::internal)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use linkage_common::error::ErrorKind;

    use super::*;

    #[test]
    fn different_questions_are_counted_by_month() {
        let dir = tempfile::tempdir().unwrap();
        let ask = |month: &str, question: &str| count(dir.path(), month.parse().unwrap(), question.to_owned(), 2);
        for question in ["a", "b", "a", "b"] {
            ask("2026-11", question).unwrap();
        }
        let refused = ask("2026-11", "c").unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Exhausted);
        assert!(refused.to_string().contains("2026-12-01"), "{refused}");
        assert!(ask("2026-10", "c").is_err(), "a clock put back renews nothing");
        ask("2026-11", "a").unwrap();
        ask("2026-12", "c").unwrap();
        fsx::write_atomic(&dir.path().join(NAME), b"{").unwrap();
        assert!(ask("2026-12", "d").is_err());
    }

    #[test]
    fn a_question_is_known_by_what_it_asks_and_of_what() {
        let query = |title: &str, more: &str| {
            let text = format!("title = '{title}'\nmeasure = 'stock'\nperiods = {{ from = '2024-01', to = '2024-01' }}\n{more}");
            Query::from_toml(&text).unwrap()
        };
        let release = |runs: &[&str]| Release { runs: runs.iter().map(|r| r.parse().unwrap()).collect(), ..Release::default() };
        let of = |title: &str, more: &str, runs: &[&str]| known_by(&[query(title, more)], &release(runs)).unwrap();
        let first = of("Un", "", &["r1"]);
        assert_eq!(first, of("Deux", "", &["r1"]), "other words for one question");
        assert_ne!(first, of("Un", "breakdown = ['party']", &["r1"]));
        assert_ne!(first, of("Un", "", &["r1", "r2"]));
    }
}
