//! `linkage trial --profile clk`: clkhash filters made and linked in one process, by the broker's functions for records outside
//! the blocks, with what they are worth shown against the truth.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use linkage_agreement::model::IdentityField;
use linkage_agreement::{AnnexPlaces, FieldKind, Handle, PartyId, RecordShape};
use linkage_broker::pipeline::Member;
use linkage_clk_encode::{Encoder, Schema, Worker};
use linkage_linking::outside::{Effort, Kernel};
use linkage_linking::{
    Dispositions, MatchClass, OutsideCounts, OutsideTerms, PartyInput, Reason, Records, cluster, outside_counts, outside_decided,
    outside_parties,
};
use linkage_node::annex::cell;
use linkage_node::delivery::{Row, read_delivery};
use linkage_node::intake::SetAsideReport;
use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{TrialArgs, evaluate, infer, mappings, period_of, persons};
use crate::bars::Bars;
use crate::links::write_links;
use crate::page::{self, Found, PartyCounts, RunFindings};
use crate::secrets::Secrets;

/// Schema for lists with French fields (docs/clk.md).
const FRENCH: &str = include_str!("../../schemas/fr-clk-1.json");
/// Schema for lists with names, date and address only.
const GENERIC: &str = include_str!("../../schemas/generic-clk-1.json");

/// Arguments of `linkage trial --profile clk`.
#[derive(Debug, Args)]
pub struct ClkArgs {
    /// Profile clk: linkage schema (JSON, version 3) whose columns are identity fields; without it, the one that comes with the
    /// software for the columns found.
    #[arg(long)]
    schema: Option<PathBuf>,
    /// Profile clk: least Dice coefficient of a link, in thousandths.
    #[arg(long, default_value_t = 800, value_parser = clap::value_parser!(u32).range(300..=1000))]
    threshold_permille: u32,
    /// Profile clk: lead over every rival that a link needs, in thousandths.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=200))]
    margin_permille: u32,
}

/// What the report says of clkhash filters, beside what it says of every run.
#[derive(Debug, Clone, Serialize)]
pub struct ClkFindings {
    /// SHA-256 of the schema's file: what `schema_sha256` of an agreement holds.
    pub schema_sha256: String,
    /// Bits of a filter.
    pub bits: usize,
    /// Least Dice coefficient of a link, in thousandths.
    pub threshold_permille: u32,
    /// Lead that a link needs, in thousandths.
    pub margin_permille: u32,
    /// Records without a filter, by party.
    pub without_filter: BTreeMap<String, u64>,
    /// What came of the pairs at the threshold, by parties' numbers.
    pub pairs: Vec<OutsideCounts>,
    /// Pairs left open, by reason.
    pub open: BTreeMap<Reason, u64>,
}

/// Runs the trial.
pub fn run(args: &TrialArgs) -> anyhow::Result<()> {
    if args.agreement.is_some() || args.pass_set.is_some() || args.broker_view.is_some() || args.no_oprf {
        bail!("--agreement, --pass-set, --broker-view et --no-oprf n'ont pas de sens avec --profile clk : retirez-les");
    }
    if args.input.len() < 2 {
        bail!("le profil clk rapproche deux partenaires ou plus : --input PARTENAIRE=FICHIER pour chacun");
    }
    let secrets = Secrets::new(args.seed);
    let mappings = mappings(&args.input, &args.mapping, &args.out, args.json)?;
    let sizes: Vec<(PartyId, u64)> =
        args.input.iter().map(|(party, file)| Ok((party.clone(), infer::lines(file)?))).collect::<anyhow::Result<_>>()?;
    let agreement = infer::agreement(&sizes, mappings.values(), &secrets)?;
    let period = args.period.or_else(|| args.input.iter().find_map(|(_, file)| period_of(file)));
    let period = period.unwrap_or(agreement.agreement.first_period);
    let text = match &args.clk.schema {
        Some(path) => crate::commands::text(path)?,
        None if agreement.encoding.pass_set == "fr-1" => FRENCH.to_owned(),
        None => GENERIC.to_owned(),
    };
    let schema = Schema::parse(&text).context("schéma clkhash")?;
    let bits = schema.bits();
    if bits == 0 || !bits.is_multiple_of(64) {
        bail!("filtres de {bits} bits : une convention n'admet que des multiples de 64 ; changez « l » du schéma");
    }
    let maker = Maker::new(schema, &*secrets.key("clk"), &agreement.identity.field)?;
    let bars = Bars::new(args.json);
    let progress = bars.progress();

    let mut owners = HashMap::new();
    let (mut parties, mut uploads, mut without_filter) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (party, file) in &args.input {
        let mapping = mappings.get(party).context("mapping")?;
        let mut report = SetAsideReport::create(&args.out.join(format!("{party}-ecartees.csv")))?;
        let delivery = read_delivery(&agreement, mapping, file, period, &mut report).with_context(|| party.to_string())?;
        report.finish()?;
        super::say_remarks(party, &delivery, args.json);
        progress.step("lecture").at(delivery.summary.lines, delivery.summary.lines);
        let filters: Vec<Vec<u8>> = delivery
            .rows
            .par_iter()
            .map_init(|| maker.encoder.worker(), |worker, row| maker.filter(worker, row, &delivery.identity_columns))
            .collect();
        let mut upload = Vec::new();
        for (row, filter) in delivery.rows.iter().zip(&filters) {
            let mut handle = Handle::default();
            handle.0[..8].copy_from_slice(&(owners.len() as u64).to_le_bytes());
            owners.insert(handle, (party.clone(), row.local_id.clone()));
            upload.extend_from_slice(&handle.0);
            upload.extend_from_slice(&[0; 4]);
            upload.extend_from_slice(filter);
        }
        let absent = filters.iter().filter(|filter| filter.iter().all(|byte| *byte == 0)).count();
        without_filter.insert(party.to_string(), absent as u64);
        parties.push(PartyCounts::of(party, &delivery.summary));
        uploads.push(upload);
    }

    progress.step("appariement").at(0, 1);
    let terms = OutsideTerms {
        places: AnnexPlaces::new(Some(bits), false),
        threshold_permille: args.clk.threshold_permille,
        margin_permille: args.clk.margin_permille,
    };
    let shape = RecordShape { entries: 0, annex_len: terms.places.len };
    let inputs: Vec<PartyInput<'_>> =
        uploads.iter().map(|upload| PartyInput { duplicate_free: false, shape, batches: vec![upload.as_slice()] }).collect();
    let records = Records::new(&agreement.layout(), &inputs)?;
    let effort = Effort { threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN), kernel: Kernel::best() };
    let none = Dispositions::default();
    let decided = outside_decided(&outside_parties(&records), &terms, effort, &none)
        .map_err(|e| anyhow!("{e} : relevez --threshold-permille, ou abaissez --margin-permille"))?;
    let clusters = cluster(&records, &decided, &none)?;
    progress.step("appariement").at(1, 1);
    bars.finish();

    let mut members = Vec::with_capacity(clusters.clusters.len());
    for cluster in &clusters.clusters {
        let member = |m: &linkage_linking::Member| -> anyhow::Result<Member> {
            let match_class = if m.class == MatchClass::Certain { 1 } else { 2 };
            Ok(Member { handle: records.handle(m.record)?, match_class, probability: (m.probability * 10_000.0).round() as u16 })
        };
        members.push(cluster.members.iter().map(member).collect::<anyhow::Result<Vec<_>>>()?);
    }
    let mut links = persons(&members, &owners);
    let links_path = args.out.join("links.csv");
    write_links(&links_path, &mut links)?;
    let evaluation =
        args.truth.as_ref().map(|truth| evaluate(&links_path, truth, period, args.input.iter().map(|i| &i.0))).transpose()?;
    let mut open = BTreeMap::new();
    for pair in &clusters.abstained {
        *open.entry(pair.reason).or_default() += 1;
    }
    let findings = RunFindings {
        run: args.run.to_string(),
        period,
        linkage_parties: parties.iter().map(|p: &PartyCounts| p.party.clone()).collect(),
        parties,
        found: Found::of(&links, period, &args.run, u64::from(agreement.disclosure.minimum_cell))?,
        evaluation,
        linkage: serde_json::Value::Null,
        fields: agreement.identity.field.iter().map(|f| f.column.clone()).collect(),
        drift: None,
        dispositions: None,
        linked_rates: None,
        missed: None,
        hash_keys: None,
        outside: None,
        clk: Some(ClkFindings {
            schema_sha256: hex::encode(Sha256::digest(&text)),
            bits,
            threshold_permille: args.clk.threshold_permille,
            margin_permille: args.clk.margin_permille,
            without_filter,
            pairs: outside_counts(&records, &decided, &clusters),
            open,
        }),
    };
    let runs = [findings];
    page::write(&args.out, "Essai de rapprochement par filtres clkhash", &runs)?;
    if args.json {
        return crate::cli::print_json(&runs[0]);
    }
    page::print(&runs);
    if let Some(clk) = &runs[0].clk {
        crate::cli::say(&page::outside::summary(clk));
    }
    crate::cli::say(&format!("Liens : {}\nRapport : {}", links_path.display(), args.out.join("report.html").display()));
    Ok(())
}

/// Makes filters of rows that a node has read.
struct Maker {
    encoder: Encoder,
    /// For each column of the schema, its kind; none for one that is no identity field, whose cells are empty.
    cells: Vec<(String, Option<FieldKind>)>,
}

impl Maker {
    fn new(schema: Schema, secret: &[u8], fields: &[IdentityField]) -> anyhow::Result<Self> {
        let kind = |name: &str| {
            let of = |f: &&IdentityField| {
                [Some(&f.column), f.name_column.as_ref(), f.country_column.as_ref()].into_iter().flatten().any(|c| c == name)
            };
            fields.iter().find(of).map(|f| f.kind)
        };
        let cells: Vec<_> = schema.columns().map(|name| (name.to_owned(), kind(name))).collect();
        if cells.iter().all(|(_, kind)| kind.is_none()) {
            let columns: Vec<&str> = fields.iter().map(|f| f.column.as_str()).collect();
            bail!("aucune colonne du schéma n'est un champ d'identité ; colonnes possibles : {}", columns.join(", "));
        }
        Ok(Self { encoder: Encoder::new(schema, secret)?, cells })
    }

    /// The filter of a row; all zeros, as an absent one travels, when the schema refuses a cell or sets all bits.
    fn filter(&self, worker: &mut Worker<'_>, row: &Row, columns: &[String]) -> Vec<u8> {
        let at = |name: &str| columns.iter().position(|column| column == name);
        let value = |name: &str| at(name).and_then(|at| row.delivered.get(at)).map_or("", String::as_str);
        let cells: Vec<Zeroizing<String>> =
            self.cells.iter().map(|(name, kind)| kind.map_or_else(Zeroizing::default, |kind| cell(kind, value(name)))).collect();
        let mut filter = Vec::new();
        let refused = worker.encode(cells.iter().map(|cell| cell.as_str()), &mut filter).is_err();
        if refused || filter.iter().all(|byte| *byte == u8::MAX) {
            filter = vec![0; self.encoder.schema().bits() / 8];
        }
        filter
    }
}
