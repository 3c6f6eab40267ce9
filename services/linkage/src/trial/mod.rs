//! `linkage trial`: every step in one process over the same code, for an operator who owns all the files.

mod clk;
mod hash_keys;
pub mod infer;
mod uploads;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use linkage_agreement::{Handle, ParsedAgreement, PartyId, Period, PersonId, RecordRef, RunId};
use linkage_broker::pipeline;
use linkage_broker::spill::SpillFolder;
use linkage_common::fsx;
use linkage_crypto::derive::SharedKey;
use linkage_crypto::group::{Contribution, GroupKey};
use linkage_encoding::{Identity, PassSet};
use linkage_node::NodeError;
use linkage_node::archive::ArchivedRecord;
use linkage_node::delivery::{Delivery, read_delivery};
use linkage_node::intake::{Mapping, SetAsideReport, propose};
use linkage_node::oprf::Evaluator;
use linkage_node::progress::Progress;
use linkage_node::stage_one::{self, EncodedChunk, NoCache};
use linkage_node::stage_two::RecordWriter;
use linkage_node::vault::Vault;
use rand_core::Rng;
use rayon::prelude::*;

use crate::bars::Bars;
use crate::commands::hash_keys::GivenNamesArg;
use crate::commands::passes;
use crate::fairness::{self, Traits};
use crate::links::{Link, write_links};
use crate::page::{self, Found, PartyCounts, RunFindings};
use crate::secrets::Secrets;
pub use clk::ClkFindings;
pub use hash_keys::HashKeysFindings;
use uploads::Kept;

/// Encoding profiles of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProfileName {
    /// Field filters comparable inside one block of one run.
    #[value(help = "Filtres comparables à l'intérieur d'un même bloc d'un même traitement")]
    BlockScoped,
    /// SHA-256 keys of today's conventions: re-identifiable, and shown with what they miss.
    #[value(help = "Empreintes SHA-256 des conventions d'aujourd'hui : ré-identifiables, montrées avec ce qu'elles manquent")]
    HashKeys,
    /// clkhash filters, one for a record: re-identifiable, and shown with what they are worth.
    #[value(help = "Filtres clkhash, un par fiche : ré-identifiables, montrés avec ce qu'ils valent")]
    Clk,
}

/// Arguments of `linkage trial`.
#[derive(Debug, Args)]
pub struct TrialArgs {
    /// A party and its file, `PARTY=FILE`; once for each party.
    #[arg(long, required = true, value_parser = crate::cli::party_file)]
    input: Vec<(PartyId, PathBuf)>,
    /// A party's column mapping instead of the proposed one, `PARTY=FILE`.
    #[arg(long, value_parser = crate::cli::party_file)]
    mapping: Vec<(PartyId, PathBuf)>,
    /// The agreement; inferred from the columns and written to OUT/agreement.toml when absent.
    #[arg(long)]
    agreement: Option<PathBuf>,
    /// A named pass set, or a TOML file; with --agreement, the file that the agreement names by its digest.
    #[arg(long)]
    pass_set: Option<String>,
    /// Encoding profile.
    #[arg(long, value_enum, default_value = "block-scoped")]
    profile: ProfileName,
    /// Derive block secrets from one shared key instead of evaluating them with the custodian's: faster, and what a
    /// holder of the key could reverse by dictionary.
    #[arg(long)]
    no_oprf: bool,
    /// Write all that the broker received to this folder as Parquet, and handles.csv apart.
    #[arg(long)]
    broker_view: Option<PathBuf>,
    /// Truth to measure the result against (`party,month,local_id,person_id`).
    #[arg(long)]
    truth: Option<PathBuf>,
    /// The month delivered; taken from the file names when absent.
    #[arg(long)]
    period: Option<Period>,
    /// Name of the run.
    #[arg(long, default_value = "trial")]
    run: RunId,
    /// Profile hash-keys: what is taken for the given name.
    #[arg(long, value_enum, default_value = "all")]
    given_names: GivenNamesArg,
    #[command(flatten)]
    clk: clk::ClkArgs,
    /// Draw all keys from this seed: the same seed gives the same bytes.
    #[arg(long)]
    seed: Option<u64>,
    /// Memory that the linkage itself may take, in MiB; what exceeds it goes to files in OUT while it lasts.
    #[arg(long, default_value_t = 4096)]
    memory_mib: u64,
    /// Folder of the results.
    #[arg(long)]
    out: PathBuf,
    /// Print the facts as JSON.
    #[arg(long)]
    json: bool,
}

/// One party of the trial on its way.
struct Trialist {
    party: PartyId,
    delivery: Delivery,
}

/// Runs a trial.
pub async fn run(args: TrialArgs) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.out).with_context(|| format!("{} : dossier impossible à créer", args.out.display()))?;
    match args.profile {
        ProfileName::BlockScoped => {}
        ProfileName::HashKeys => return hash_keys::run(&args),
        ProfileName::Clk => return clk::run(&args),
    }
    let secrets = Secrets::new(args.seed);
    let mappings = mappings(&args.input, &args.mapping, &args.out, args.json)?;
    let given = args.pass_set.as_deref().map(passes::pass_set).transpose()?;
    let agreement = agreement(&args, &mappings, &secrets, given.as_ref().map(|(_, reference)| reference))?;
    if agreement.agreement().annex_len() > 0 {
        bail!("cette convention a des partenaires sans noms (clk, hash-keys) : un essai par --profile, ou les nœuds eux-mêmes");
    }
    let passes = passes(given, &agreement.agreement().encoding.pass_set)?;
    let period = match args.period {
        Some(period) => period,
        None => args.input.iter().find_map(|(_, file)| period_of(file)).unwrap_or(agreement.agreement().agreement.first_period),
    };
    let bars = Bars::new(args.json);
    let progress = bars.progress();

    let mut trialists = Vec::new();
    for (party, file) in &args.input {
        let mapping = mappings.get(party).context("mapping")?;
        let mut report = SetAsideReport::create(&args.out.join(format!("{party}-ecartees.csv")))?;
        let delivery =
            read_delivery(agreement.agreement(), mapping, file, period, &mut report).with_context(|| party.to_string())?;
        report.finish()?;
        say_remarks(party, &delivery, args.json);
        progress.step("lecture").at(delivery.summary.lines, delivery.summary.lines);
        trialists.push(Trialist { party: party.clone(), delivery });
    }
    trialists.sort_by(|a, b| a.party.cmp(&b.party));

    let (uploads, owners) = encode(&args, &agreement, &passes, &secrets, &trialists, period, &progress).await?;
    if let Some(folder) = &args.broker_view {
        view::write(folder, agreement.agreement(), &uploads, &owners)?;
    }
    progress.step("appariement").at(0, 1);
    let spill = SpillFolder::new(&args.out.join("debordement"))?;
    let memory = args.memory_mib.saturating_mul(1 << 20);
    let compared = pipeline::compare(agreement.agreement(), &uploads.source(agreement.agreement()), &spill, memory)?;
    let pipeline::Linked { clusters, report: linkage, outside, .. } =
        pipeline::cluster_run(agreement.agreement(), &uploads.parties(), &compared, &[])?;
    progress.step("appariement").at(1, 1);

    let mut links = persons(&clusters, &owners);
    let links_path = args.out.join("links.csv");
    write_links(&links_path, &mut links)?;
    let evaluation = match &args.truth {
        None => None,
        Some(truth) => Some(evaluate(&links_path, truth, period, mappings.keys())?),
    };
    bars.finish();

    let minimum = u64::from(agreement.agreement().disclosure.minimum_cell);
    let mut traits = Traits::default();
    for trialist in &trialists {
        traits.add(&trialist.party, &trialist.delivery, period);
    }
    let missed = args.truth.as_ref().map(|truth| fairness::missed(&links, truth, period, &traits, minimum)).transpose()?;
    let findings = RunFindings {
        run: args.run.to_string(),
        period,
        parties: trialists.iter().map(|t| PartyCounts::of(&t.party, &t.delivery.summary)).collect(),
        found: Found::of(&links, period, &args.run, minimum)?,
        evaluation,
        linkage: serde_json::to_value(&linkage)?,
        linkage_parties: uploads.parties().iter().map(|(party, _)| party.to_string()).collect(),
        fields: agreement.agreement().identity.field.iter().map(|f| f.column.clone()).collect(),
        drift: None,
        dispositions: None,
        linked_rates: (trialists.len() > 1).then(|| fairness::linked(&links, &traits, minimum)),
        missed,
        hash_keys: None,
        clk: None,
        outside: outside.map(serde_json::to_value).transpose()?,
    };
    let runs = [findings];
    page::write(&args.out, "Essai de rapprochement", &runs)?;
    if args.json {
        crate::cli::print_json(&runs[0])?;
    } else {
        page::print(&runs);
        crate::cli::say(&format!("Liens : {}\nRapport : {}", links_path.display(), args.out.join("report.html").display()));
    }
    Ok(())
}

/// Prints how often records were taken in with which doubt.
fn say_remarks(party: &PartyId, delivery: &Delivery, quiet: bool) {
    for (remark, n) in delivery.summary.remarks.iter().filter(|_| !quiet) {
        crate::cli::say(&format!("{party} : {n} × {remark}"));
    }
}

/// The mapping of every party's file: the given one, or the proposed one, which is written to `out`.
pub fn mappings(
    inputs: &[(PartyId, PathBuf)],
    given: &[(PartyId, PathBuf)],
    out: &Path,
    quiet: bool,
) -> anyhow::Result<BTreeMap<PartyId, Mapping>> {
    let mut mappings = BTreeMap::new();
    for (party, file) in inputs {
        let given = given.iter().find(|(id, _)| id == party);
        let mapping = match given {
            Some((_, path)) => Mapping::load(path).with_context(|| path.display().to_string())?,
            None => {
                let proposal = propose(party, file).with_context(|| format!("{party} : {}", file.display()))?;
                if !quiet {
                    crate::cli::say(&crate::cli::proposal_text(&proposal));
                }
                fsx::write_atomic_public(&out.join(format!("{party}-correspondance.toml")), proposal.to_toml().as_bytes())?;
                proposal.mapping
            }
        };
        if mappings.insert(party.clone(), mapping.confirm()).is_some() {
            bail!("le partenaire {party} est donné deux fois : un fichier par partenaire");
        }
    }
    Ok(mappings)
}

fn agreement(
    args: &TrialArgs,
    mappings: &BTreeMap<PartyId, Mapping>,
    secrets: &Secrets,
    pass_set: Option<&String>,
) -> anyhow::Result<ParsedAgreement> {
    let (text, file) = match &args.agreement {
        Some(path) => (std::fs::read_to_string(path).with_context(|| path.display().to_string())?, path.display().to_string()),
        None => {
            let sizes: Vec<(PartyId, u64)> =
                args.input.iter().map(|(party, file)| Ok((party.clone(), infer::lines(file)?))).collect::<anyhow::Result<_>>()?;
            let mut inferred = infer::agreement(&sizes, mappings.values(), secrets)?;
            if let Some(reference) = pass_set {
                inferred.encoding.pass_set.clone_from(reference);
            }
            let text = inferred.to_toml();
            fsx::write_atomic_public(&args.out.join("agreement.toml"), text.as_bytes())?;
            (text, "agreement.toml".to_owned())
        }
    };
    let parsed = ParsedAgreement::parse(&text, &file)
        .map_err(|faults| anyhow::anyhow!(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
    for party in mappings.keys() {
        if parsed.agreement().party(party).is_none() {
            bail!("la convention ne nomme pas le partenaire {party}");
        }
    }
    Ok(parsed)
}

/// The set to encode with: the given one when it is the agreement's, else one that comes with the software.
fn passes(given: Option<(PassSet, String)>, agreed: &str) -> anyhow::Result<PassSet> {
    match given {
        Some((set, reference)) if reference == agreed => Ok(set),
        Some((_, reference)) => {
            bail!("la convention demande le jeu de passes « {agreed} », --pass-set donne « {reference} » : donner le même")
        }
        None => Ok(PassSet::agreed(agreed, None).context("donner le fichier de la convention par --pass-set FICHIER")?),
    }
}

/// Stages 1 and 2 of every party; returns uploads and whose record each handle is.
async fn encode(
    args: &TrialArgs,
    agreement: &ParsedAgreement,
    passes: &PassSet,
    secrets: &Secrets,
    trialists: &[Trialist],
    period: Period,
    progress: &Progress,
) -> anyhow::Result<(Kept, HashMap<Handle, (PartyId, String)>)> {
    let terms = agreement.agreement();
    let layout = terms.layout();
    let hash = *agreement.hash().as_bytes();
    let contributions: Vec<(String, Contribution)> = terms
        .party
        .iter()
        .map(|p| (p.id.to_string(), Contribution::from_bytes(&secrets.key(&format!("party/{}/contribution", p.id)))))
        .collect();
    let named: Vec<(&str, &Contribution)> = contributions.iter().map(|(id, c)| (id.as_str(), c)).collect();
    let run_key = GroupKey::combine(&hash, &named)?.run_key(&hash, args.run.as_str());
    let mut uploads = Kept::new(&args.out)?;
    let mut owners = HashMap::new();
    let mut rng = linkage_common::rng();
    for trialist in trialists {
        let mut evaluator = if args.no_oprf {
            Evaluator::Shared(SharedKey::from_bytes(&secrets.key("shared")))
        } else {
            Evaluator::Local(Box::new(secrets.oprf()?))
        };
        let rows = &trialist.delivery.rows;
        let identities: Vec<(RecordRef, &Identity)> =
            rows.iter().map(|row| (stage_one::random_ref(&mut rng), &row.identity)).collect();
        let local_ids: HashMap<RecordRef, &str> =
            identities.iter().zip(rows).map(|((reference, _), row)| (*reference, row.local_id.as_str())).collect();
        let storage = secrets.key(&format!("party/{}/storage", trialist.party));
        let seed = Vault::local_secret(&storage, "levels", &[period.to_string().as_bytes()]);
        let all: Vec<&Identity> = rows.iter().map(|row| &row.identity).collect();
        let levels = stage_one::level_frequencies(&layout, &all, &seed)?;

        let per_batch = linkage_node::stage_two::records_per_batch(layout.record_len(), linkage_proto::MAX_BATCH_BYTES);
        uploads.begin(trialist.party.clone(), serde_json::to_vec(&levels)?);
        // Stage 2 of a chunk as it comes, on all cores; no chunk is kept.
        let blind = |records: &[ArchivedRecord]| {
            let mut rng = linkage_common::rng();
            let mut writer = RecordWriter::new(&layout, &run_key)?;
            let mut batch = Vec::with_capacity(records.len() * layout.record_len());
            let mut handles = Vec::with_capacity(records.len());
            for record in records {
                let mut handle = Handle::default();
                rng.fill_bytes(&mut handle.0);
                writer.write(handle, record.header, &record.entries, &mut batch)?;
                handles.push(handle);
            }
            Ok((batch, handles))
        };
        let send = |chunk: EncodedChunk| {
            let batches: Vec<(Vec<u8>, Vec<Handle>)> =
                chunk.records.par_chunks(per_batch).map(blind).collect::<Result<_, NodeError>>()?;
            for (records, (batch, handles)) in chunk.records.chunks(per_batch).zip(batches) {
                uploads.push(&batch, records.len() as u32)?;
                for (record, handle) in records.iter().zip(handles) {
                    if let Some(local_id) = local_ids.get(&record.reference) {
                        owners.insert(handle, (trialist.party.clone(), (*local_id).to_owned()));
                    }
                }
            }
            Ok(())
        };
        stage_one::encode(terms, passes, &identities, period, &mut evaluator, &mut NoCache::new(), progress, send).await?;
    }
    Ok((uploads, owners))
}

/// The custodian's step: persons of clusters and of records without link.
fn persons(clusters: &[Vec<pipeline::Member>], owners: &HashMap<Handle, (PartyId, String)>) -> Vec<Link<PersonId>> {
    let mut linked: HashMap<Handle, (usize, u8, u16)> = HashMap::new();
    let mut groups: Vec<Vec<Handle>> = Vec::new();
    for cluster in clusters {
        for member in cluster {
            linked.insert(member.handle, (groups.len(), member.match_class, member.probability));
        }
        groups.push(cluster.iter().map(|m| m.handle).collect());
    }
    groups.extend(owners.keys().filter(|h| !linked.contains_key(h)).map(|h| vec![*h]));
    // A trial is one run: nothing is known before it, and each cluster is a new person.
    let mut rng = linkage_common::rng();
    let mut links = Vec::new();
    for group in &groups {
        let mut person = PersonId::default();
        rng.fill_bytes(&mut person.0);
        for handle in group {
            let Some((party, local_id)) = owners.get(handle) else { continue };
            let (_, match_class, probability) = linked.get(handle).copied().unwrap_or((0, 0, 0));
            links.push(Link { person, party: party.to_string(), local_id: local_id.clone(), match_class, probability });
        }
    }
    links
}

/// Measures `links` against what `truth` says of `parties`, with the figures by tag where a `truth_persons.csv` lies beside it.
pub fn evaluate<'p>(
    links: &Path,
    truth: &Path,
    period: Period,
    parties: impl IntoIterator<Item = &'p PartyId>,
) -> anyhow::Result<linkage_synth::evaluate::Evaluation> {
    let open = |path: &Path| std::fs::File::open(path).with_context(|| path.display().to_string());
    let (known, months) = truth_among(truth, &parties.into_iter().map(PartyId::as_str).collect())?;
    let period = months.then(|| period.to_string());
    let persons = truth.with_file_name("truth_persons.csv");
    let mut persons = if persons.is_file() { Some(open(&persons)?) } else { None };
    Ok(linkage_synth::evaluate::evaluate(
        open(links)?,
        known.as_slice(),
        persons.as_mut().map(|file| file as &mut dyn std::io::Read),
        period.as_deref(),
    )?)
}

/// The lines of `truth` that are of `parties`, and whether there is a column of months: a truth may know of parties that are not
/// in the trial, whose records nobody could have found.
fn truth_among(truth: &Path, parties: &BTreeSet<&str>) -> anyhow::Result<(Vec<u8>, bool)> {
    let mut reader = csv::Reader::from_path(truth).with_context(|| truth.display().to_string())?;
    let headers = reader.byte_headers()?.clone();
    let column = |names: &[&[u8]]| headers.iter().position(|h| names.contains(&h));
    let party = column(&[b"party"]).context("fichier de vérité : la colonne « party » manque")?;
    let mut kept = csv::Writer::from_writer(Vec::new());
    kept.write_byte_record(&headers)?;
    let mut line = csv::ByteRecord::new();
    while reader.read_byte_record(&mut line)? {
        if line.get(party).is_some_and(|name| parties.iter().any(|party| party.as_bytes() == name)) {
            kept.write_byte_record(&line)?;
        }
    }
    Ok((kept.into_inner().map_err(csv::IntoInnerError::into_error)?, column(&[b"month", b"period"]).is_some()))
}

pub fn period_of(file: &Path) -> Option<Period> {
    let stem = file.file_stem()?.to_str()?;
    (0..stem.len()).filter_map(|at| stem.get(at..at + 7)).find_map(|text| text.parse().ok())
}
