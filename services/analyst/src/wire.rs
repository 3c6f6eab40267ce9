//! Tables and publications as messages of proto/linkage/v1/cohort.proto.

use linkage_cohort::study::Study;
use linkage_cohort::{Category, Dimension, Method, Note, PublicTable, Shown, Unit};
use linkage_common::error::ServiceError;
use linkage_proto::v1::{self, table_category, table_cell, table_note};

use crate::journal::{Decision, Listed, Publication, State};
use crate::publish::{Release, Verdict};

/// A table.
pub(crate) fn table(table: &PublicTable) -> v1::PublicTable {
    v1::PublicTable {
        title: table.title.clone(),
        unit: match table.unit {
            Unit::Persons => "persons",
            Unit::Households => "households",
        }
        .to_owned(),
        measure: table.measure.clone(),
        dimensions: table.dimensions.iter().map(dimension).collect(),
        cells: table.cells.iter().map(|c| v1::TableCell { kind: Some(cell(c)) }).collect(),
        notes: table.notes.iter().map(|n| v1::TableNote { kind: Some(note(n)) }).collect(),
        method: match table.method {
            Method::Suppression => "suppression",
            Method::CellKey => "cell-key",
        }
        .to_owned(),
        minimum: table.minimum,
    }
}

fn dimension(dimension: &Dimension) -> v1::TableDimension {
    let kind = |category: &Category| match category {
        Category::Value(value) => table_category::Kind::Value(value.clone()),
        Category::Unknown => table_category::Kind::Unknown(true),
        Category::Absent => table_category::Kind::Absent(true),
        Category::Others => table_category::Kind::Others(true),
        Category::Total => table_category::Kind::Total(true),
    };
    v1::TableDimension {
        name: dimension.name.clone(),
        categories: dimension.categories.iter().map(|c| v1::TableCategory { kind: Some(kind(c)) }).collect(),
        partition: dimension.partition,
    }
}

fn cell(shown: &Shown) -> table_cell::Kind {
    match *shown {
        Shown::Value { value, interval, uncertain } => table_cell::Kind::Figure(v1::ShownFigure {
            value,
            low: interval.map(|[low, _]| low),
            high: interval.map(|[_, high]| high),
            uncertain,
        }),
        Shown::Hidden => table_cell::Kind::Hidden(true),
        Shown::Missing => table_cell::Kind::Missing(true),
    }
}

fn note(note: &Note) -> table_note::Kind {
    match note {
        Note::NotDelivered { period, party } => {
            table_note::Kind::NotDelivered(v1::PartyMonth { period: period.to_string(), party: party.to_string() })
        }
        Note::NoRun { period } => table_note::Kind::NoRun(period.to_string()),
        Note::Partial { name, from, to } => {
            table_note::Kind::Partial(v1::PartialPeriod { name: name.clone(), from: from.to_string(), to: to.to_string() })
        }
    }
}

/// A release.
pub(crate) fn release(release: &Release) -> v1::Release {
    v1::Release { runs: release.runs.iter().map(ToString::to_string).collect() }
}

/// The months of a study.
pub(crate) fn months(study: &Study) -> Vec<v1::StudyMonth> {
    let parties = |delivered: &[bool]| {
        let delivered = study.parties.iter().zip(delivered).filter(|(_, delivered)| **delivered);
        delivered.map(|(party, _)| party.to_string()).collect()
    };
    study
        .months
        .iter()
        .map(|m| v1::StudyMonth { period: m.period.to_string(), run_id: m.run.to_string(), parties: parties(&m.delivered) })
        .collect()
}

/// A publication without document and tables.
pub(crate) fn listed(publication: &Listed) -> v1::Publication {
    let decision = |decision: &Decision| v1::ProducerDecision {
        party: decision.party.to_string(),
        approved: decision.verdict == Verdict::Approved,
        reason: decision.verdict.reason().to_owned(),
        at: decision.at,
        signature: decision.signature.clone().into(),
    };
    let state = match publication.state {
        State::Proposed => v1::PublicationState::Proposed,
        State::Published => v1::PublicationState::Published,
        State::Rejected => v1::PublicationState::Rejected,
    };
    v1::Publication {
        id: publication.id.to_string(),
        state: state.into(),
        title: publication.title.clone(),
        justification: publication.justification.clone(),
        by: publication.by.clone(),
        at: publication.at,
        published_at: publication.published_at,
        release: Some(release(&publication.release)),
        producers: publication.producers.iter().map(ToString::to_string).collect(),
        decisions: publication.decisions.iter().map(decision).collect(),
        fingerprint: publication.fingerprint.0.to_vec().into(),
        document: Vec::new().into(),
        tables: Vec::new(),
    }
}

/// A publication with its document and tables.
pub(crate) fn whole(publication: &Publication) -> Result<v1::Publication, ServiceError> {
    let tables = publication.document()?.tables.iter().map(table).collect();
    Ok(v1::Publication { document: publication.document.clone().into(), tables, ..listed(publication) })
}
