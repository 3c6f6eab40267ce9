//! `linkage rights`: rights of persons at a node, by local id (RGPD, articles 15, 16, 18, 21).
//!
//! The local id comes from standard input or a file of mode 0600, never from the command line, which other people of the
//! machine can read and shells remember. It is in no output; the copy for the person goes to a file of mode 0600.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use linkage_common::fsx;
use linkage_node::Node;
use linkage_node::rights::access::AccessCopy;
use linkage_node::rights::{Ground, RequestFacts, Right};
use serde_json::json;
use zeroize::Zeroizing;

use super::config;
use crate::cli::{print_json, say};

/// Longest local id, in bytes.
const MAX_LOCAL_ID: u64 = 1 << 10;
/// Pause between two looks at what a request waits for.
const LOOK: Duration = Duration::from_millis(500);

/// Whose record, at which node.
#[derive(Debug, Args)]
pub struct Whose {
    /// Configuration file of the node.
    #[arg(long)]
    config: PathBuf,
    /// File of mode 0600 that holds the local id; standard input when absent.
    #[arg(long, value_name = "FICHIER")]
    local_id_file: Option<PathBuf>,
    /// Refused: a command line is kept in shell histories and shown in lists of processes.
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "")]
    local_id: Option<String>,
    /// Print the facts as JSON.
    #[arg(long)]
    json: bool,
}

/// How long to wait for receipts.
#[derive(Debug, Args)]
pub struct Wait {
    /// Seconds to wait for the receipts of all roles; 0 does not wait. The node's service goes on with the request anyway.
    #[arg(long, value_name = "SECONDES", default_value_t = 60)]
    wait: u64,
}

/// Commands on rights.
#[derive(Debug, Subcommand)]
pub enum RightsCommand {
    /// What the node holds of a record and where it went (article 15); the person's copy goes to `--output`.
    Access {
        #[command(flatten)]
        whose: Whose,
        /// File to write the copy to, mode 0600; an existing one is never replaced. Without it no value is shown.
        #[arg(long, value_name = "FICHIER")]
        output: Option<PathBuf>,
    },
    /// Take the encoding of a false identity out (article 16); the next delivery with the right one encodes it again.
    Rectify {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        wait: Wait,
    },
    /// Delete a record everywhere and keep the person out of later deliveries (article 21).
    Object {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        wait: Wait,
    },
    /// Set a record aside, everywhere, until the restriction is lifted (article 18).
    Restrict {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        wait: Wait,
    },
    /// Lift a restriction, or an objection that was entered by mistake.
    Lift {
        #[command(flatten)]
        whose: Whose,
        #[command(flatten)]
        wait: Wait,
    },
    /// Requests entered for a record, their receipts, and which roles have not answered.
    Status {
        #[command(flatten)]
        whose: Whose,
    },
    /// Ask the custodian again for what was withdrawn there, once it was restored from a backup; the service then does it.
    AskAgain {
        /// Configuration file of the node.
        #[arg(long)]
        config: PathBuf,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs a command.
pub async fn run(command: RightsCommand) -> anyhow::Result<()> {
    match command {
        RightsCommand::Access { whose, output } => access(&whose, output.as_deref()).await,
        RightsCommand::Rectify { whose, wait } => ask(Right::Rectification, &whose, &wait).await,
        RightsCommand::Object { whose, wait } => ask(Right::Objection, &whose, &wait).await,
        RightsCommand::Restrict { whose, wait } => ask(Right::Restriction, &whose, &wait).await,
        RightsCommand::Lift { whose, wait } => ask(Right::Lift, &whose, &wait).await,
        RightsCommand::Status { whose } => status(&whose),
        RightsCommand::AskAgain { config: path, json } => {
            let requests = Node::open(config(&path)?)?.ask_again().await?;
            if json {
                return print_json(&json!({ "requests": requests }));
            }
            say(&format!("{requests} demande(s) seront de nouveau adressées au tiers de confiance par le service du nœud."));
            Ok(())
        }
    }
}

/// Reads the local id; no message repeats it.
fn local_id(whose: &Whose) -> anyhow::Result<Zeroizing<String>> {
    if whose.local_id.is_some() {
        bail!(
            "--local-id est refusé : une ligne de commande reste dans l'historique du terminal et se voit dans la liste des processus ; donnez l'identifiant sur l'entrée standard, ou dans un fichier de mode 0600 par --local-id-file"
        );
    }
    let bytes = match &whose.local_id_file {
        Some(file) => fsx::read_private(file, MAX_LOCAL_ID)?,
        None => {
            let mut bytes = Zeroizing::new(Vec::new());
            std::io::stdin().take(MAX_LOCAL_ID + 1).read_to_end(&mut bytes).context("entrée standard")?;
            bytes
        }
    };
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| anyhow::anyhow!("l'identifiant local n'est pas un texte en UTF-8 : vérifiez le fichier"))?;
    let id = Zeroizing::new(text.trim_start_matches('\u{feff}').trim().to_owned());
    if id.is_empty() || id.contains(['\n', '\r']) || id.len() as u64 > MAX_LOCAL_ID {
        bail!("un seul identifiant local est attendu, sur une seule ligne : vérifiez l'entrée");
    }
    Ok(id)
}

fn open(whose: &Whose) -> anyhow::Result<(Node, Zeroizing<String>)> {
    let id = local_id(whose)?;
    Ok((Node::open(config(&whose.config)?)?, id))
}

async fn ask(right: Right, whose: &Whose, wait: &Wait) -> anyhow::Result<()> {
    let (node, id) = open(whose)?;
    let peers = node.peers()?;
    let begun = Instant::now();
    let entered = node.enter_request(right, &id).await?;
    let (facts, fault) = loop {
        // The node's service may be at it too; both do the same, one at a time.
        let fault = node.advance_requests(&peers).await.err();
        let facts = node.request(&entered.request)?;
        if facts.complete || begun.elapsed() >= Duration::from_secs(wait.wait) {
            break (facts, fault);
        }
        tokio::time::sleep(LOOK).await;
    };
    if whose.json {
        print_json(&facts)?;
    } else {
        say(&text_of(&facts));
        say(next_step(&facts));
    }
    if facts.complete {
        return Ok(());
    }
    let cause = fault.map(|error| format!(" ({error})")).unwrap_or_default();
    let missing = if facts.missing.is_empty() {
        "ce nœud".to_owned()
    } else {
        facts.missing.iter().map(|role| role_name(role)).collect::<Vec<_>>().join(", ")
    };
    bail!(
        "la demande est enregistrée et se poursuit, mais il manque : {missing}{cause} ; relancez la même commande ou « linkage rights status » plus tard"
    )
}

fn status(whose: &Whose) -> anyhow::Result<()> {
    let (node, id) = open(whose)?;
    let requests = node.requests_of(&id)?;
    if whose.json {
        return print_json(&json!({ "requests": requests }));
    }
    if requests.is_empty() {
        say("Aucune demande n'a été enregistrée pour cet identifiant local.");
    }
    for request in &requests {
        say(&text_of(request));
    }
    Ok(())
}

async fn access(whose: &Whose, output: Option<&Path>) -> anyhow::Result<()> {
    let (node, id) = open(whose)?;
    if let Some(path) = output
        && path.try_exists()?
    {
        bail!("{} existe déjà et n'est pas remplacé : choisissez un autre nom", path.display());
    }
    let copy = node.access_copy(&id, node.peers()?.custodian).await?;
    if let Some(path) = output {
        let text = if whose.json { serde_json::to_string_pretty(&copy)? } else { copy_text(&copy, true) };
        fsx::write_atomic(path, text.as_bytes())?;
        say(&format!("Copie écrite dans {} (mode 0600) : à remettre à la personne, puis à supprimer.", path.display()));
        return Ok(());
    }
    if whose.json {
        return print_json(&json!({
            "held": copy.held, "listed": copy.listed, "archive": copy.archive, "runs": copy.runs, "registered": copy.registered,
            "deliveries": copy.deliveries.iter().map(|d| d.period).collect::<Vec<_>>(),
            "names_held": copy.identities.keys().collect::<Vec<_>>(), "recipients": copy.recipients, "requests": copy.requests,
        }));
    }
    say(&copy_text(&copy, false));
    say("Les valeurs ne sont pas affichées : --output FICHIER écrit la copie pour la personne.");
    Ok(())
}

fn day(at: i64) -> String {
    linkage_analyst::export::day(at).to_string()
}

fn right_name(right: Right) -> &'static str {
    match right {
        Right::Objection => "Opposition (RGPD, article 21)",
        Right::Restriction => "Limitation (RGPD, article 18)",
        Right::Lift => "Levée",
        Right::Rectification => "Rectification (RGPD, article 16)",
    }
}

fn role_name(role: &str) -> String {
    match role.split_once('/') {
        Some(("broker", _)) => "courtier".to_owned(),
        Some(("custodian", _)) => "tiers de confiance".to_owned(),
        Some((_, id)) => format!("analyste {id}"),
        None => role.to_owned(),
    }
}

fn count_name(name: &str) -> &str {
    match name {
        "references" => "références",
        "link_rows" => "lignes de tables de liens",
        "uploads_forgotten" => "envois à refaire",
        "records_forgotten" => "fiches de ces envois",
        "records_under_way" => "fiches dans des traitements en cours",
        "dispositions" => "décisions",
        "persons_forgotten" => "personnes sans autre fiche",
        "runs_under_way" => "traitements en cours",
        "runs_held" => "traitements conservés pour compléments",
        "runs" => "traitements",
        "study_rows" => "lignes de l'étude",
        "months" => "mois de l'étude",
        "publications" => "publications qui reposent sur la fiche",
        other => other,
    }
}

fn one(name: &str) -> &str {
    match name {
        "references" => "référence",
        "link_rows" => "ligne de tables de liens",
        "uploads_forgotten" => "envoi à refaire",
        "records_forgotten" => "fiche de ces envois",
        "records_under_way" => "fiche dans des traitements en cours",
        "dispositions" => "décision",
        "persons_forgotten" => "personne sans autre fiche",
        "runs_under_way" => "traitement en cours",
        "runs_held" => "traitement conservé pour compléments",
        "runs" => "traitement",
        "study_rows" => "ligne de l'étude",
        "publications" => "publication qui repose sur la fiche",
        other => count_name(other),
    }
}

/// A request, for the data protection officer's file.
fn text_of(facts: &RequestFacts) -> String {
    let state = match (facts.complete, facts.ended) {
        (_, true) => "n'est plus en vigueur",
        (true, false) => "tous les accusés sont là",
        (false, false) => "en cours",
    };
    let mut lines = vec![format!("{} du {}, demande {} : {state}", right_name(facts.right), day(facts.at), facts.request)];
    lines.push(match (facts.done_here, facts.record_held) {
        (true, true) => "  ce nœud : fait".to_owned(),
        (true, false) => "  ce nœud : fait ; aucune fiche n'était détenue, les autres rôles n'ont rien à retirer".to_owned(),
        (false, _) => "  ce nœud : pas encore fait".to_owned(),
    });
    for given in &facts.receipts {
        let mut counts: Vec<String> = Vec::new();
        for (name, count) in given.receipt.counts.iter().filter(|(_, count)| **count > 0) {
            counts.push(match name.as_str() {
                "held_until" => format!("codes conservés jusqu'au {} au plus tard", day(*count)),
                _ => format!("{count} {}", if *count == 1 { one(name) } else { count_name(name) }),
            });
        }
        let what = if counts.is_empty() { "rien à retirer".to_owned() } else { counts.join(", ") };
        lines.push(format!("  {} : accusé signé du {}, vérifié ; {what}", role_name(&given.role), day(given.receipt.at)));
    }
    lines.extend(facts.missing.iter().map(|role| format!("  {} : accusé attendu", role_name(role))));
    lines.join("\n")
}

fn next_step(facts: &RequestFacts) -> &'static str {
    match facts.right {
        Right::Objection => {
            "La personne reste sur la liste d'opposition : toute ligne d'une livraison à venir qui la concerne est écartée, motif « opposition »."
        }
        Right::Restriction => {
            "Les livraisons à venir écartent la personne, motif « limitation », jusqu'à « linkage rights lift »."
        }
        Right::Lift => "Redéposez les livraisons des mois où la ligne a été écartée entre-temps ; les autres mois sont rétablis.",
        Right::Rectification => {
            "La fiche ne prend plus part à aucun traitement ; corrigez-la dans votre logiciel : la prochaine livraison la code de nouveau."
        }
    }
}

/// The copy in French; values only `in_clear`.
fn copy_text(copy: &AccessCopy, in_clear: bool) -> String {
    let mut lines = vec![
        format!("Droit d'accès (RGPD, article 15) : copie du {}", copy.made_on),
        format!("Responsable : {} ; délégué à la protection des données : {}", copy.party, copy.dpo_contact),
        format!("Convention : {} ({})", copy.agreement[1], copy.agreement[0]),
        format!("Finalité : {}", copy.purpose),
        format!("Base légale : {}", copy.legal_basis),
        String::new(),
    ];
    if !copy.held {
        lines.push("Aucune donnée n'est détenue par ce nœud sous cet identifiant local.".to_owned());
    }
    for (ground, since) in &copy.listed {
        lines.push(match ground {
            Ground::Objection => {
                format!("Opposition en vigueur depuis le {since} : les livraisons à venir écartent la personne.")
            }
            Ground::Restriction => format!("Limitation en vigueur depuis le {since} : données conservées à part, non utilisées."),
        });
    }
    if let Some(archive) = &copy.archive {
        let state = if archive.encoded {
            "codée, sans nom"
        } else {
            "retirée après rectification, en attente de la prochaine livraison"
        };
        lines.push(format!(
            "Fiche archivée : {state} ; livrée de {} à {}, utile aux traitements jusqu'à {}",
            archive.since, archive.until, archive.serves_until
        ));
    }
    for (period, values) in &copy.identities {
        lines.push(format!("Livraison de {period}, telle que reçue : {} champ(s)", values.len()));
        for (name, value) in values {
            lines.push(if in_clear { format!("  {name} : {value}") } else { format!("  {name}") });
        }
    }
    for delivery in &copy.deliveries {
        lines.push(format!(
            "Attributs minimisés de {}{} :",
            delivery.period,
            if delivery.household { ", avec un ménage (code)" } else { "" }
        ));
        for (name, value) in &delivery.attributes {
            lines.push(if in_clear { format!("  {name} : {value}") } else { format!("  {name}") });
        }
    }
    if !copy.runs.is_empty() {
        lines.push("Traitements auxquels la fiche a pris part :".to_owned());
        for run in &copy.runs {
            let what = if run.in_table { "présente dans la table de liens" } else { "comparée, sans ligne dans la table" };
            lines.push(format!("  {} ({}) : {what}", run.run, run.period));
        }
    }
    for recipient in &copy.recipients {
        let mut line =
            format!("Destinataire : {} ({}) ; reçoit : {}", recipient.name, recipient.role, recipient.receives.join(", "));
        if let Some(purpose) = &recipient.purpose {
            line.push_str(&format!(" ; finalité : {purpose}"));
        }
        if let Some(rows) = recipient.rows {
            line.push_str(if rows { " ; détient des lignes pseudonymes" } else { " ; calcule des effectifs seulement" });
        }
        lines.push(line);
    }
    for request in &copy.requests {
        lines.push(text_of(request));
    }
    lines.push(
        "Vos droits : faire rectifier (article 16), limiter (article 18), vous opposer (article 21), auprès de l'organisme ci-dessus ; \
         réclamation : Commission nationale de l'informatique et des libertés, www.cnil.fr. Aucune décision n'est prise automatiquement à partir de ces données."
            .to_owned(),
    );
    lines.push(
        "Ce qui est détenu par d'autres organismes, et les liens avec leurs fiches, ne figurent pas ici : adressez-vous à eux."
            .to_owned(),
    );
    lines.join("\n")
}
