//! `linkage cohort overlap`: persons by combination of parties.

use std::path::Path;

use linkage_agreement::{PartyId, Period};
use linkage_analyst::service::overlap_of;
use serde_json::json;

use super::open;
use crate::cli::{print_json, say, table};

/// Prints the overlap table of a month.
pub fn overlap(path: &Path, period: Period, json: bool) -> anyhow::Result<()> {
    let (study, minimum) = open(path)?;
    let (run, found) = overlap_of(&study, period, minimum)?;
    if json {
        let cells: Vec<_> = found.cells.iter().map(|c| json!({ "parties": c.parties, "persons": c.persons })).collect();
        return print_json(
            &json!({ "run": run, "period": period, "persons": found.persons, "minimum_cell": minimum, "cells": cells }),
        );
    }
    say(&format!("{period} (traitement {run}) : {} personnes distinctes", found.persons));
    let rows: Vec<Vec<String>> = found
        .cells
        .iter()
        .map(|c| {
            let parties: Vec<&str> = c.parties.iter().map(PartyId::as_str).collect();
            vec![parties.join(" + "), c.persons.map_or_else(|| format!("< {minimum} ou secret"), |n| n.to_string())]
        })
        .collect();
    say(&table(&["partenaires", "personnes"], &rows));
    Ok(())
}
