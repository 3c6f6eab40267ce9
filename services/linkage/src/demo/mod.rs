//! `linkage demo`: a whole linkage on one machine, as it would run between organisations.
//!
//! Identities, certificates, an agreement signed by five partners; broker, custodian, analyst and five nodes as processes
//! of their own, over gRPC with mutual TLS; a synthetic population delivered month by month in each party's own file
//! format; the key ceremony; one run a month. At the end the demonstration, which owns all the disks and knows the
//! truth, shows what was found and how right it was.

mod network;
mod setup;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use linkage_agreement::{PartyId, Period, PersonId, RunId};
use linkage_analyst::access::Who;
use linkage_analyst::desk::Desk;
use linkage_analyst::tables::Tables;
use linkage_cohort::{Category, Shown};
use linkage_common::error::ServiceError;
use linkage_common::order::RunTerms;
use linkage_node::Node;
use linkage_node::delivery::read_delivery;
use linkage_node::intake::{Mapping, SetAsideReport};
use linkage_proto::v1;
use linkage_synth::{SynthOptions, SynthSummary, generate};

use crate::bars::Bars;
use crate::cli::say;
use crate::commands::cohort::overlap::query;
use crate::commands::run::{client, state_name};
use crate::fairness::{self, Traits};
use crate::links::{Link, write_links};
use crate::page::{self, Found, PartyCounts, RunFindings};
use network::Network;
use setup::Site;

/// Longest wait for one month's run.
const RUN_LIMIT: Duration = Duration::from_secs(1800);
const LOOK: Duration = Duration::from_millis(200);

/// Arguments of `linkage demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Persons of the synthetic population.
    #[arg(long, default_value_t = 5000)]
    persons: u64,
    /// Monthly deliveries, each with its run.
    #[arg(long, default_value_t = 3)]
    months: u32,
    /// Keep everything in this folder (new or empty): configurations, keys, data, results, for use with the single commands.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Make data, keys, agreement and configurations, and stop: the roles can then be started one by one.
    #[arg(long, requires = "keep")]
    set_up_only: bool,
    /// Draw data and all keys from this seed: the same seed gives the same links to the byte.
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs the demonstration.
pub async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let folder = folder(args.keep.as_deref())?;
    let bars = Bars::new(false);
    bars.line("1. Population synthétique et fichiers des cinq partenaires");
    let data = data(&args, &folder, &bars)?;
    bars.line("2. Identités, certificats, convention signée par les cinq partenaires");
    let site = Site::build(&folder, &data, args.seed)?;
    if args.set_up_only {
        bars.finish();
        say(&format!(
            "Prêt dans {} : démarrez chaque rôle, par exemple : linkage broker serve --config {}",
            folder.display(),
            site.servers()[0].1.display()
        ));
        return Ok(());
    }
    require_somebody(&data)?;
    bars.line("3. Courtier, tiers de confiance, étude et cinq nœuds démarrent (TLS mutuel sur la boucle locale)");
    let mut network = Network::start(&site).await?;
    bars.line("4. Clé de groupe : chaque partenaire contribue, le courtier relaie sans pouvoir ouvrir");
    let fingerprint = ceremony(&site, &mut network).await?;
    bars.line(&format!("   Empreinte identique chez les cinq partenaires : {fingerprint}"));
    let periods: Vec<Period> = data.months.iter().map(|m| m.parse()).collect::<Result<_, _>>()?;
    let mut findings = Vec::new();
    for (number, period) in periods.iter().enumerate() {
        bars.line(&format!("{}. Livraisons et traitement de {period}", number + 5));
        deliver(&site, &data, *period)?;
        let run: RunId = period.to_string().parse()?;
        link(&site, &mut network, &run, *period, &bars).await?;
        findings.push(found(&site, &data, &run, *period, &folder).await?);
    }
    bars.finish();
    network.stop().await;

    page::write(&folder, "Démonstration de Trait d'union", &findings)?;
    page::print(&findings);
    let last = periods.last().context("no month")?;
    let tables = Tables::open(&site.analyst_data())?.run_folder(&last.to_string().parse()?);
    say(&format!(
        "\nTable de liens (pseudonymes) : {}\n                               {}\nRapport : {}",
        tables.join("link_table.csv").display(),
        tables.join("link_table.parquet").display(),
        folder.join("report.html").display()
    ));
    if args.keep.is_some() {
        say(&format!(
            "Configurations conservées ; par exemple : linkage node status --config {}",
            site.node_config(&site.parties[0]).display()
        ));
    }
    let [.., (_, analyst)] = site.servers();
    say(&format!(
        "Page de l'analyste : linkage analyst serve --config {}\n                     puis ouvrez le lien à usage unique qui s'affiche.",
        analyst.display()
    ));
    Ok(())
}

/// The folder kept, or `demo-out`, made anew.
fn folder(keep: Option<&Path>) -> anyhow::Result<PathBuf> {
    let folder = match keep {
        Some(folder) => {
            if folder.try_exists()? && std::fs::read_dir(folder)?.next().is_some() {
                bail!("{} n'est pas vide : choisissez un dossier neuf", folder.display());
            }
            folder.to_owned()
        }
        None => {
            let folder = PathBuf::from("demo-out");
            if folder.try_exists()? {
                // Only a folder that a demonstration made is ever removed.
                if !folder.join(setup::MARK).is_file() {
                    bail!("{} existe et ne vient pas d'une démonstration : donnez un dossier avec --keep", folder.display());
                }
                std::fs::remove_dir_all(&folder)?;
            }
            folder
        }
    };
    linkage_common::fsx::create_private_dir(&folder)?;
    let folder = folder.canonicalize()?;
    linkage_common::fsx::write_atomic(&folder.join(setup::MARK), b"linkage demo\n")?;
    Ok(folder)
}

fn data(args: &DemoArgs, folder: &Path, bars: &Bars) -> anyhow::Result<SynthSummary> {
    let options = SynthOptions::new(args.persons, 5, args.months, args.seed.unwrap_or(1)).context("options")?;
    Ok(generate(&options, &folder.join("donnees"), &mut |done, total| bars.set("population, fichiers", done, total))?)
}

/// Nodes refuse a file without a record, and the month would wait for it for ever.
fn require_somebody(data: &SynthSummary) -> anyhow::Result<()> {
    match data.files.iter().find(|file| file.records == 0) {
        None => Ok(()),
        Some(empty) => bail!(
            "« {} » n'a personne en {} dans une population aussi petite ; demandez-en une plus grande (--persons) ou une autre (--seed)",
            empty.party,
            empty.month
        ),
    }
}

/// Waits until all nodes have derived the same group key.
async fn ceremony(site: &Site, network: &mut Network) -> anyhow::Result<String> {
    let started = std::time::Instant::now();
    loop {
        network.check()?;
        let mut fingerprints = Vec::new();
        for party in &site.parties {
            if let Some(fingerprint) = node(site, party)?.fingerprint()? {
                fingerprints.push(fingerprint.to_string());
            }
        }
        if fingerprints.len() == site.parties.len() {
            fingerprints.dedup();
            return match fingerprints.as_slice() {
                [one] => Ok(one.clone()),
                _ => bail!("les empreintes diffèrent : un relais a altéré l'échange"),
            };
        }
        if started.elapsed() > Duration::from_secs(120) {
            bail!("la clé de groupe n'est pas établie après deux minutes ; journaux : {}", site.logs().display());
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn node(site: &Site, party: &PartyId) -> anyhow::Result<Node> {
    Ok(Node::open(crate::commands::config(&site.node_config(party))?)?)
}

/// Puts each party's file into its inbox, whole, with two defective lines at its end: every delivery has some.
fn deliver(site: &Site, data: &SynthSummary, period: Period) -> anyhow::Result<()> {
    for file in data.files.iter().filter(|f| f.month == period.to_string()) {
        let inbox = site.inbox(&file.party.parse()?).join(period.to_string());
        std::fs::create_dir_all(&inbox)?;
        let name = file.raw.file_name().context("file name")?;
        let part = inbox.join(format!("{}.part", name.to_string_lossy()));
        let mut bytes = std::fs::read(&file.raw)?;
        bytes.extend(defective_lines(&bytes));
        #[expect(clippy::disallowed_methods, reason = "renamed once whole, as a partner's own export would be")]
        std::fs::write(&part, bytes)?;
        std::fs::rename(part, inbox.join(name))?;
    }
    Ok(())
}

/// The file's last line once more, hence a local id given twice, and the line cut in its middle.
fn defective_lines(file: &[u8]) -> Vec<u8> {
    let text = file.trim_ascii_end();
    let last = &text[text.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1)..];
    let gap: &[u8] = if file.ends_with(b"\n") { b"" } else { b"\n" };
    [gap, last, b"\n", &last[..last.len() / 3], b"\n"].concat()
}

/// Opens the run as the coordinator and waits until the analyst holds its link table.
async fn link(site: &Site, network: &mut Network, run: &RunId, period: Period, bars: &Bars) -> anyhow::Result<()> {
    let coordinator = node(site, &site.parties[0])?;
    let agreement = Some(coordinator.gate.reference());
    let mut broker = client(&coordinator)?;
    broker
        .open_run(coordinator.opening(RunTerms::new(run.clone(), period, Vec::new()))?)
        .await
        .map_err(|s| ServiceError::from(&s))?;
    let tables = Tables::open(&site.analyst_data())?;
    let started = std::time::Instant::now();
    loop {
        network.check()?;
        for party in &site.parties {
            if let Some((step, done, total)) = network::status(&site.state(party)) {
                bars.of_party(party.as_str(), &step, done, total);
            }
        }
        let request = v1::RunRequest { agreement: agreement.clone(), run_id: run.to_string() };
        let status = broker.get_run(request).await.map_err(|s| ServiceError::from(&s))?.into_inner();
        match status.state() {
            v1::RunState::Failed | v1::RunState::Cancelled => {
                bail!("traitement {run} {} : {}", state_name(status.state()), status.reason)
            }
            v1::RunState::Closed if tables.has(run) => break,
            _ => {}
        }
        if started.elapsed() > RUN_LIMIT {
            bail!("le traitement {run} n'est pas terminé après {} s ; journaux : {}", RUN_LIMIT.as_secs(), site.logs().display());
        }
        tokio::time::sleep(LOOK).await;
    }
    bars.set(&format!("rapprochement {period}"), 1, 1);
    Ok(())
}

/// What the run found, measured against the truth: possible only for who owns every disk.
async fn found(site: &Site, data: &SynthSummary, run: &RunId, period: Period, folder: &Path) -> anyhow::Result<RunFindings> {
    let mut owners = HashMap::new();
    let mut parties = Vec::new();
    for party in &site.parties {
        let node = node(site, party)?;
        let state = node.delivery(period)?.context("delivery")?;
        parties.push(PartyCounts::of(party, &state.summary));
        let ids = local_ids(folder, party, period)?;
        for (id, reference) in ids.iter().zip(node.references_of(ids.iter().map(String::as_str))?) {
            if let Some(reference) = reference {
                owners.insert((party.clone(), reference), id.clone());
            }
        }
    }
    let store = linkage_custodian::store::Store::open(&site.custodian_data().join("custodian.sqlite")).await?;
    let mut links: Vec<Link<PersonId>> = Vec::new();
    loop {
        let page = store.link_rows(run, links.len() as u64, 10_000).await?;
        if page.is_empty() {
            break;
        }
        for row in page {
            let local_id =
                owners.get(&(row.party.clone(), row.reference)).context("a record of the link table is in no delivery")?;
            links.push(Link {
                person: row.person,
                party: row.party.to_string(),
                local_id: local_id.clone(),
                match_class: row.match_class,
                probability: row.probability,
            });
        }
    }
    let path = folder.join(format!("links-{period}.csv"));
    write_links(&path, &mut links)?;
    let truth = folder.join("donnees/truth/truth.csv");
    let evaluation = crate::trial::evaluate(&path, &truth, period, &site.parties)?;
    let traits = traits(site, data, period)?;
    let tables = Tables::open(&site.analyst_data())?;
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(tables.run_folder(run).join("report.json"))?)?;
    let persons: HashSet<&PersonId> = links.iter().map(|link| &link.person).collect();
    Ok(RunFindings {
        run: run.to_string(),
        period,
        parties,
        found: Found {
            persons: persons.len() as u64,
            linked_records: links.iter().filter(|l| l.match_class > 0).count() as u64,
            overlap: overlap(site, period).await?,
            minimum_cell: site.minimum_cell,
            noise: true,
        },
        evaluation: Some(evaluation),
        linkage: report.get("linkage").cloned().unwrap_or_default(),
        linkage_parties: serde_json::from_value(report.get("parties").cloned().unwrap_or_default())?,
        fields: node(site, &site.parties[0])?.gate.agreement().identity.field.iter().map(|f| f.column.clone()).collect(),
        drift: report.get("drift").filter(|drift| !drift.is_null()).cloned(),
        dispositions: report.get("dispositions").cloned(),
        linked_rates: Some(fairness::linked(&links, &traits, site.minimum_cell)),
        missed: Some(fairness::missed(&links, &truth, period, &traits, site.minimum_cell)?),
        hash_keys: None,
        clk: None,
        outside: report.get("outside").cloned(),
    })
}

/// Persons by combination of parties, as the analyst's side answers anybody who asks.
async fn overlap(site: &Site, period: Period) -> anyhow::Result<Vec<(Vec<String>, Option<u64>)>> {
    let [.., (_, config)] = site.servers();
    let desk = Arc::new(Desk::of(&crate::commands::config(&config)?).await?);
    let answer = desk.answer_query(&query(period), &Who::console()).await?;
    let table = answer.tables.first().context("no table")?;
    let combinations = table.dimensions.get(1).context("no combinations")?;
    let row = |(at, category): (usize, &Category)| match (category, table.cell(&[0, at])) {
        (Category::Value(parties), Some(shown)) => {
            let persons = match shown {
                Shown::Value { value, .. } => Some(value.round() as u64),
                Shown::Hidden | Shown::Missing => None,
            };
            Some((parties.split(" + ").map(str::to_owned).collect(), persons))
        }
        _ => None,
    };
    Ok(combinations.categories.iter().enumerate().filter_map(row).collect())
}

/// Groups of the records, from the files as delivered: the nodes have deleted their names by now.
fn traits(site: &Site, data: &SynthSummary, period: Period) -> anyhow::Result<Traits> {
    let mut traits = Traits::default();
    for file in data.files.iter().filter(|f| f.month == period.to_string()) {
        let party: PartyId = file.party.parse()?;
        let node = node(site, &party)?;
        let mapping = Mapping::load(&site.mapping(&party))?;
        let mut set_aside = SetAsideReport::create(&site.logs().join(format!("{party}-ecartees.csv")))?;
        let delivery = read_delivery(node.gate.agreement(), &mapping, &file.raw, period, &mut set_aside)?;
        traits.add(&party, &delivery, period);
    }
    Ok(traits)
}

/// Local ids of a party's delivery, from the truth.
fn local_ids(folder: &Path, party: &PartyId, period: Period) -> anyhow::Result<Vec<String>> {
    let truth = std::fs::read_to_string(folder.join("donnees/truth/truth.csv"))?;
    let wanted = [party.to_string(), period.to_string()];
    Ok(truth
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut cells = line.split(',');
            (cells.next()? == wanted[0] && cells.next()? == wanted[1]).then(|| cells.next().map(str::to_owned)).flatten()
        })
        .collect())
}
