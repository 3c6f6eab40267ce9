//! `linkage node`: what a partner's data officer runs.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use linkage_agreement::{PartyId, Period, RunId};
use linkage_node::intake::propose;
use linkage_node::oprf::Evaluator;
use linkage_node::{GroupStatus, Node, NodeError};
use serde_json::json;

use super::{config, shutdown};
use crate::bars::Bars;
use crate::cli::{print_json, proposal_text, say};

/// Which node.
#[derive(Debug, Args)]
pub struct Config {
    /// Configuration file.
    #[arg(long)]
    config: PathBuf,
}

/// Commands of a node.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Propose a column mapping for a file; the operator reviews it and sets `confirmed = true`.
    Propose {
        /// The party.
        #[arg(long)]
        party: PartyId,
        /// The file.
        file: PathBuf,
        /// Mapping to write; an existing one is never replaced.
        #[arg(long)]
        out: PathBuf,
    },
    /// Take a delivery in: read, set aside with reasons, encode, archive.
    Ingest {
        #[command(flatten)]
        node: Config,
        /// The month delivered.
        #[arg(long)]
        period: Period,
        /// The file.
        file: PathBuf,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take the group key ceremony one step further, also after an amendment; print the fingerprint to compare when it is over.
    Ceremony {
        #[command(flatten)]
        node: Config,
        /// The fingerprint as the other partners read it out: confirms a key, and erases former ones.
        #[arg(long, value_name = "FINGERPRINT")]
        confirm: Option<String>,
    },
    /// Encode again what names are held of, after an amendment that brought a new OPRF key.
    ReEncode {
        #[command(flatten)]
        node: Config,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take part in an open run.
    Participate {
        #[command(flatten)]
        node: Config,
        /// The run.
        #[arg(long)]
        run: RunId,
    },
    /// Deliveries taken in, fingerprint of the group key.
    Status {
        #[command(flatten)]
        node: Config,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Delete every name that the node still holds; the archive keeps serving later runs.
    DeleteNames {
        #[command(flatten)]
        node: Config,
    },
    /// Pairs settled with another party: put a file of them in, count them, take one back.
    #[command(group(clap::ArgGroup::new("what").required(true)))]
    Dispositions {
        #[command(flatten)]
        node: Config,
        /// File of settled pairs: identifiant_local;partenaire;dossier;verdict;echeance.
        #[arg(long, group = "what")]
        input: Option<PathBuf>,
        /// Count what was put in, and what is in force.
        #[arg(long, group = "what")]
        list: bool,
        /// Take back this party's half of a dossier, by the code agreed with the partner.
        #[arg(long, group = "what", value_name = "DOSSIER")]
        withdraw: Option<String>,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Work until stopped: inbox, ceremony, open runs.
    Serve {
        #[command(flatten)]
        node: Config,
    },
}

fn open(path: &Config) -> anyhow::Result<Node> {
    Ok(Node::open(config(&path.config)?)?)
}

/// Runs a command.
pub async fn run(command: NodeCommand) -> anyhow::Result<()> {
    match command {
        NodeCommand::Propose { party, file, out } => {
            let proposal = propose(&party, &file)?;
            proposal.write(&out)?;
            say(&proposal_text(&proposal));
            say(&format!("Vérifiez {}, puis mettez « confirmed = true ».", out.display()));
        }
        NodeCommand::Ingest { node, period, file, json } => {
            let node = open(&node)?;
            let mut evaluator = Evaluator::custodian(&node.gate, node.peers()?.custodian)?;
            let bars = Bars::new(json);
            let taken = node.ingest(&file, period, &mut evaluator, &bars.progress()).await;
            let summary = taken.with_context(|| file.display().to_string())?;
            bars.finish();
            if json {
                return print_json(&summary);
            }
            say(&format!(
                "{period} : {} lignes lues, {} fiches prises en charge, {} écartées",
                summary.lines, summary.records, summary.set_aside
            ));
            for (reason, n) in &summary.reasons {
                say(&format!("  {n:>6}  {reason}"));
            }
            for (remark, n) in &summary.remarks {
                say(&format!("  {n:>6}  prises en charge, avec une remarque : {remark}"));
            }
            for (attribute, n) in &summary.attributes_left_out {
                say(&format!("  {n:>6}  valeurs de {attribute} hors de la règle de la convention, non transmises"));
            }
            say(&format!("Détail par ligne : {}", node.report_path(period).display()));
        }
        NodeCommand::Ceremony { node, confirm } => ceremony(&open(&node)?, confirm.as_deref()).await?,
        NodeCommand::ReEncode { node, json } => {
            let node = open(&node)?;
            let mut evaluator = Evaluator::custodian(&node.gate, node.peers()?.custodian)?;
            let bars = Bars::new(json);
            let done = node.re_encode(&mut evaluator, &bars.progress()).await?;
            bars.finish();
            if json {
                return print_json(&done);
            }
            say(&format!("{} mois repris, {} fiches encodées de nouveau", done.months, done.records));
            if done.past_epoch > 0 {
                say(&format!(
                    "{} fiches d'une époque passée, dont les noms ne sont plus détenus, ne prennent part à aucun rapprochement ; leurs personnes restent au registre.",
                    done.past_epoch
                ));
            }
        }
        NodeCommand::Participate { node, run } => {
            let node = open(&node)?;
            let peers = node.peers()?;
            let bars = Bars::new(false);
            let order = node.order(&run, peers.broker.clone()).await?;
            let done = node.participate(&order, peers.broker, peers.custodian, &bars.progress()).await?;
            bars.finish();
            say(&format!(
                "{} fiches envoyées (dont leurres), {} référencées, {} présentes en {}",
                done.uploaded, done.referenced, done.present, order.terms.period
            ));
            if done.past_epoch > 0 {
                say(&format!("{} fiches d'une époque passée, laissées de côté", done.past_epoch));
            }
        }
        NodeCommand::Status { node, json } => {
            let node = open(&node)?;
            let fingerprint = node.fingerprint()?.map(|f| f.to_string());
            let mut deliveries = Vec::new();
            for period in node.periods()? {
                if let Some(state) = node.delivery(period)? {
                    deliveries.push(state.summary);
                }
            }
            if json {
                return print_json(
                    &json!({ "party": node.party().as_str(), "fingerprint": fingerprint, "group_key": node.group_status()?, "deliveries": deliveries, "names_held": node.names_held()?, "past_epoch": node.past_epoch()? }),
                );
            }
            say(&format!(
                "Partenaire {} ; empreinte de la clé de groupe : {}",
                node.party(),
                fingerprint.as_deref().unwrap_or("pas encore établie")
            ));
            say(&group_text(&node.group_status()?));
            for d in deliveries {
                say(&format!("  {} : {} lignes, {} fiches, {} écartées", d.period, d.lines, d.records, d.set_aside));
            }
            match node.past_epoch()? {
                0 => {}
                past => say(&format!("{past} fiches archivées sont d'une époque passée de la clé de l'OPRF")),
            }
            say(if node.names_held()? {
                "Des noms sont encore détenus (linkage node delete-names les supprime)."
            } else {
                "Aucun nom n'est détenu."
            });
        }
        NodeCommand::DeleteNames { node } => {
            let deleted = open(&node)?.delete_names()?;
            say(&format!("{deleted} fichier(s) supprimé(s) ; l'archive sert les traitements suivants sans les noms."));
        }
        NodeCommand::Dispositions { node, input, withdraw, json, .. } => {
            let node = open(&node)?;
            dispositions(&node, input.as_deref(), withdraw.as_deref(), json).await?;
        }
        NodeCommand::Serve { node } => match Box::pin(linkage_node::serve(config(&node.config)?, shutdown())).await {
            Err(NodeError::Refused(reason)) => bail!("{reason}"),
            done => done?,
        },
    }
    Ok(())
}

/// One step of the ceremony, or the operator's word on its outcome.
async fn ceremony(node: &Node, confirm: Option<&str>) -> anyhow::Result<()> {
    let fingerprint = node.advance_ceremony(node.peers()?.broker).await?;
    if let Some(text) = confirm {
        let erased = node.confirm_fingerprint(text).await?;
        say("Empreinte confirmée.");
        for version in erased {
            say(&format!("Clé de groupe de la version {version} de la convention : effacée."));
        }
        return Ok(());
    }
    if let Some(fingerprint) = fingerprint {
        say(&format!(
            "Empreinte de la clé de groupe : {fingerprint}\nComparez-la avec les autres partenaires par un autre canal (téléphone)."
        ));
    }
    say(&group_text(&node.group_status()?));
    Ok(())
}

/// Where the group key stands, and what is to be done.
fn group_text(status: &GroupStatus) -> String {
    let version = status.version;
    if !status.missing.is_empty() {
        let missing: Vec<&str> = status.missing.iter().map(PartyId::as_str).collect();
        return format!(
            "Clé de groupe de la version {version} de la convention : il manque la contribution de {}. Relancez plus tard.",
            missing.join(", ")
        );
    }
    match (status.rotation, status.confirmed) {
        (_, true) => format!("Clé de groupe de la version {version} de la convention : empreinte confirmée."),
        (true, false) => format!(
            "Clé de groupe renouvelée (version {version} de la convention) : aucun traitement avant « linkage node ceremony --confirm EMPREINTE »."
        ),
        (false, false) => format!("Clé de groupe de la version {version} de la convention : établie."),
    }
}

/// A file of settled pairs, or one to take back; neither: the list.
async fn dispositions(node: &Node, input: Option<&Path>, withdraw: Option<&str>, json: bool) -> anyhow::Result<()> {
    let custodian = node.peers()?.custodian;
    if let Some(file) = input {
        let put = node.put_dispositions(file, custodian).await;
        let summary = put.with_context(|| file.display().to_string())?;
        if json {
            return print_json(&summary);
        }
        say(&format!("{} lignes lues, {} prises en compte, {} écartées", summary.lines, summary.taken, summary.set_aside));
        for (reason, n) in &summary.reasons {
            say(&format!("  {n:>6}  {reason}"));
        }
        say(&format!(
            "{} dossiers : {} en vigueur, {} en attente du partenaire, {} contredits par lui",
            summary.dossiers, summary.in_force, summary.waiting, summary.contradicted
        ));
        say(&format!("Détail par ligne : {}", node.dispositions_report().display()));
    } else if let Some(code) = withdraw {
        let withdrawn = node.withdraw_disposition(code, custodian).await?;
        if json {
            return print_json(&json!({ "withdrawn": withdrawn }));
        }
        say(&match withdrawn {
            0 => "Aucune décision de ce nœud sous ce dossier : vérifiez le code.".to_owned(),
            n => format!("{n} décision(s) retirée(s) ; les traitements suivants n'en tiennent plus compte."),
        });
    } else {
        let list = node.list_dispositions(custodian).await?;
        if json {
            return print_json(&list);
        }
        for (partner, [confirmed, refuted]) in &list.partners {
            say(&format!("  {partner} : {confirmed} paires confirmées, {refuted} réfutées"));
        }
        say(&format!(
            "Au tiers de confiance : {} en vigueur, {} en attente du partenaire, {} contredites par lui",
            list.in_force, list.waiting, list.contradicted
        ));
        if let Some(day) = list.next_expiry {
            say(&format!("Prochaine échéance : {day}"));
        }
    }
    Ok(())
}
