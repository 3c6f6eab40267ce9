//! `linkage trial --profile hash-keys`: keys made and linked in one process, with what they miss shown against the truth.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use linkage_agreement::model::Disclosure;
use linkage_agreement::{PartyId, Period};
use linkage_hash_keys::{GivenNames, Hashing};
use linkage_linking::hash_keys::KeyCounts;
use linkage_linking::{KeyRecord, link_keys};
use linkage_node::intake::SetAsideReport;
use linkage_synth::evaluate::Evaluation;
use serde::Serialize;

use super::{TrialArgs, evaluate, mappings, period_of};
use crate::commands::hash_keys::{links, summary};
use crate::key_files::{self, MadeCounts};
use crate::links::write_links;
use crate::page::labels::optional;
use crate::page::{self, Found, RunFindings};

/// What the report says of hash keys, beside what it says of every run.
#[derive(Debug, Clone, Serialize)]
pub struct HashKeysFindings {
    /// What was taken for the given name.
    pub given_names: GivenNames,
    /// Records without a primary key, by party.
    pub without_primary: BTreeMap<String, u64>,
    /// Remarks, by party.
    pub remarks: BTreeMap<String, BTreeMap<String, u64>>,
    /// What linking did.
    pub links: KeyCounts,
    /// Primary keys alone against the truth, where there is one.
    pub primary_only: Option<Evaluation>,
}

/// Runs the trial.
pub fn run(args: &TrialArgs) -> anyhow::Result<()> {
    if args.agreement.is_some() || args.pass_set.is_some() || args.broker_view.is_some() || args.no_oprf {
        bail!("--agreement, --pass-set, --broker-view et --no-oprf n'ont pas de sens avec --profile hash-keys : retirez-les");
    }
    if args.input.len() < 2 {
        bail!("le profil hash-keys rapproche deux partenaires ou plus : --input PARTENAIRE=FICHIER pour chacun");
    }
    let mappings = mappings(&args.input, &args.mapping, &args.out, args.json)?;
    let period = match args.period.or_else(|| args.input.iter().find_map(|(_, file)| period_of(file))) {
        Some(period) => period,
        None => Period::new(2000, 1).context("period")?,
    };
    let given_names = args.given_names.into();
    let (mut parties, mut records, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    for (party, file) in &args.input {
        let mapping = mappings.get(party).context("mapping")?;
        let mut report = SetAsideReport::create(&args.out.join(format!("{party}-ecartees.csv")))?;
        let made =
            key_files::make(party, file, mapping, given_names, Hashing::Plain, &mut report).with_context(|| party.to_string())?;
        report.finish()?;
        records.push(
            made.rows
                .iter()
                .map(|row| KeyRecord { primary: row.keys.primary, secondary: Some(row.keys.secondary) })
                .collect::<Vec<_>>(),
        );
        parties.push((party, made.rows.into_iter().map(|row| row.local_id).collect::<Vec<_>>()));
        counts.push(made.counts);
    }

    let found = link_keys(&records)?;
    for record in records.iter_mut().flatten() {
        record.secondary = None;
    }
    let primary_only = link_keys(&records)?;
    let names: Vec<(&str, Vec<&str>)> =
        parties.iter().map(|(party, ids)| (party.as_str(), ids.iter().map(String::as_str).collect())).collect();
    let (mut links, mut primary) = (links(&found, &names), links(&primary_only, &names));
    let (links_path, primary_path) = (args.out.join("links.csv"), args.out.join("links-cle-primaire.csv"));
    write_links(&links_path, &mut links)?;
    write_links(&primary_path, &mut primary)?;
    let measured = |path| args.truth.as_ref().map(|truth| evaluate(path, truth, period, parties.iter().map(|p| p.0))).transpose();
    let (evaluation, primary_only) = (measured(&links_path)?, measured(&primary_path)?);

    let by_party = |counts: &MadeCounts| counts.delivery.party.clone();
    let findings = RunFindings {
        run: args.run.to_string(),
        period,
        parties: counts.iter().map(|c| c.delivery.clone()).collect(),
        found: Found::of(&links, period, &args.run, u64::from(Disclosure::default().minimum_cell))?,
        evaluation,
        linkage: serde_json::Value::Null,
        linkage_parties: parties.iter().map(|(party, _): &(&PartyId, _)| party.to_string()).collect(),
        fields: Vec::new(),
        drift: None,
        dispositions: None,
        linked_rates: None,
        missed: None,
        clk: None,
        outside: None,
        hash_keys: Some(HashKeysFindings {
            given_names,
            without_primary: counts.iter().map(|c| (by_party(c), c.without_primary)).collect(),
            remarks: counts.iter().map(|c| (by_party(c), c.remarks.clone())).collect(),
            links: found.counts,
            primary_only,
        }),
    };
    let runs = [findings];
    page::write(&args.out, "Essai de rapprochement par empreintes SHA-256", &runs)?;
    if args.json {
        return crate::cli::print_json(&runs[0]);
    }
    page::print(&runs);
    crate::cli::say(&format!("\nEmpreintes\n{}", summary(&found)));
    if let Some(alone) = runs[0].hash_keys.as_ref().and_then(|keys| keys.primary_only.as_ref()) {
        let truth = alone.cross_party;
        crate::cli::say(&format!(
            "  Clé primaire seule : précision {}, rappel {}",
            optional(truth.precision),
            optional(truth.recall)
        ));
    }
    crate::cli::say(&format!("Liens : {}\nRapport : {}", links_path.display(), args.out.join("report.html").display()));
    Ok(())
}
