//! `linkage cohort proposals|approve|reject`: a producer's say over tables that hold its data, through its own node.
//!
//! What is looked at and signed is read from the bytes that the fingerprint is over, after everything that they state has
//! been checked here; the analyst's side is believed nothing.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use linkage_agreement::{PartyId, RoleId, certificate_identity};
use linkage_analyst::export::{About, Part, Standing, file};
use linkage_analyst::publish::{Document, Fingerprint, PublicationId, Verdict, producers, reason};
use linkage_common::clock::SystemClock;
use linkage_common::error::ServiceError;
use linkage_common::fsx;
use linkage_common::gate::Gate;
use linkage_common::tls::Channel;
use linkage_crypto::signing::SigningKey;
use linkage_node::config::NodeConfig;
use linkage_proto::v1::{self, cohorts_client::CohortsClient};
use serde_json::json;

use super::config;
use super::query::show_table;
use crate::cli::{print_json, say};

/// Most bytes of a publication.
const LIMIT: usize = 64 << 20;

/// Whose node asks which analyst's side.
#[derive(Debug, Args)]
pub struct Through {
    /// Configuration file of the partner's node.
    #[arg(long)]
    config: PathBuf,
    /// Address of the analyst's side, `https://host:port`.
    #[arg(long)]
    analyst_url: String,
    /// The analyst; the agreement's only one when absent.
    #[arg(long)]
    analyst: Option<PartyId>,
    /// Print the facts as JSON.
    #[arg(long)]
    json: bool,
}

/// Which tables are looked at.
#[derive(Debug, Args)]
pub struct ProposalsArgs {
    /// Identifier of one publication; all of them are listed without it.
    id: Option<String>,
    #[command(flatten)]
    through: Through,
    /// Write the publication to a file; its ending says the form: csv, xlsx, html, json.
    #[arg(long, requires = "id")]
    output: Option<PathBuf>,
}

/// Which table is approved.
#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// Identifier of the publication.
    id: String,
    #[command(flatten)]
    through: Through,
}

/// Which table is rejected, and why.
#[derive(Debug, Args)]
pub struct RejectArgs {
    /// Identifier of the publication.
    id: String,
    #[command(flatten)]
    through: Through,
    /// Why, for the journal and the analyst.
    #[arg(long)]
    reason: String,
}

/// A partner at an analyst's side.
struct Producer {
    gate: Gate,
    node: NodeConfig,
    analyst: PartyId,
    client: CohortsClient<Channel>,
}

/// A publication whose document says what it should.
struct Checked {
    id: PublicationId,
    document: Document,
    fingerprint: Fingerprint,
    standing: Standing,
}

impl Producer {
    fn open(through: &Through) -> anyhow::Result<Self> {
        let node: NodeConfig = config(&through.config)?;
        let gate = Gate::load(&node.agreement, std::sync::Arc::new(SystemClock))?;
        gate.in_force()?;
        let agreement = gate.agreement();
        let analyst = match (&through.analyst, agreement.analyst.as_slice()) {
            (Some(named), all) => match all.iter().find(|a| a.id == *named) {
                Some(found) => found,
                None => bail!("la convention ne nomme pas l'analyste {named} ; corrigez --analyst"),
            },
            (None, [one]) => one,
            (None, _) => bail!("la convention nomme plusieurs analystes ; indiquez lequel par --analyst"),
        };
        let analyst = analyst.id.clone();
        let identity = certificate_identity(&agreement.agreement.id, &RoleId::Analyst(analyst.clone()));
        let channel = linkage_common::tls::connect_lazy(&through.analyst_url, &node.tls, &identity)?;
        let client = CohortsClient::new(channel).max_decoding_message_size(LIMIT);
        Ok(Self { gate, node, analyst, client })
    }

    async fn list(&mut self) -> anyhow::Result<Vec<v1::Publication>> {
        let request = v1::ListPublicationsRequest { agreement: Some(self.gate.reference()) };
        let answer = self.client.list_publications(request).await.map_err(|s| ServiceError::from(&s))?;
        Ok(answer.into_inner().publications)
    }

    /// Fetches a publication and checks that its document is of this agreement, this analyst, and bears this name.
    async fn get(&mut self, id: &str) -> anyhow::Result<Checked> {
        let id: PublicationId = id.parse()?;
        let request = v1::GetPublicationRequest { agreement: Some(self.gate.reference()), id: id.to_string() };
        let got = self.client.get_publication(request).await.map_err(|s| ServiceError::from(&s))?.into_inner();
        let document = Document::from_bytes(&got.document)?;
        if document.id()? != id
            || document.analyst != self.analyst
            || document.agreement != hex::encode(self.gate.agreement_hash())
            || document.tables.len() != document.question.queries().len()
        {
            bail!("le document reçu n'est pas celui de cette publication ; ne décidez rien et prévenez l'analyste");
        }
        let fingerprint = Fingerprint::of(&got.document);
        if got.state() == v1::PublicationState::Published && !self.approved_by_all(&got, &document, &fingerprint) {
            bail!("cette publication est donnée pour publiée sans l'accord signé de tous ses producteurs ; prévenez l'analyste");
        }
        let standing = match (got.state(), got.published_at) {
            (v1::PublicationState::Published, Some(at)) => {
                Standing::Published { id: id.clone(), fingerprint, on: linkage_analyst::export::day(at) }
            }
            (v1::PublicationState::Rejected, _) => Standing::Rejected(id.clone()),
            _ => Standing::Proposed(id.clone()),
        };
        Ok(Checked { id, document, fingerprint, standing })
    }

    /// Whether the document names the producers that the agreement wants, and each of them has signed its approval.
    fn approved_by_all(&self, got: &v1::Publication, document: &Document, fingerprint: &Fingerprint) -> bool {
        let (agreement, hash) = (self.gate.agreement(), self.gate.agreement_hash());
        let approved = |party: &PartyId| {
            got.decisions.iter().any(|d| {
                let holds = || Verdict::Approved.verify(agreement, &hash, fingerprint, party, &d.signature).is_ok();
                d.approved && d.party == party.as_str() && holds()
            })
        };
        let wanted = if agreement.disclosure.needs_approval() { producers(&document.question, agreement) } else { Vec::new() };
        wanted == document.producers && document.producers.iter().all(approved)
    }

    async fn decide(&mut self, id: &str, verdict: Verdict) -> anyhow::Result<(Checked, v1::Publication)> {
        let checked = self.get(id).await?;
        let key = SigningKey::from_bytes(&*self.node.signing_key.read_key().map_err(ServiceError::configuration)?);
        let signature = verdict.sign(&self.gate.agreement_hash(), &checked.fingerprint, &self.node.party, &key).to_vec().into();
        let (agreement, id) = (Some(self.gate.reference()), checked.id.to_string());
        let made = match verdict {
            Verdict::Approved => self.client.approve(v1::ApproveRequest { agreement, id, signature }).await,
            Verdict::Rejected(reason) => self.client.reject(v1::RejectRequest { agreement, id, reason, signature }).await,
        };
        Ok((checked, made.map_err(|s| ServiceError::from(&s))?.into_inner()))
    }
}

fn state(publication: &v1::Publication) -> &'static str {
    match publication.state() {
        v1::PublicationState::Unspecified => "inconnu",
        v1::PublicationState::Proposed => "proposé",
        v1::PublicationState::Published => "publié",
        v1::PublicationState::Rejected => "rejeté",
    }
}

fn line(publication: &v1::Publication) -> String {
    let decided: Vec<String> = publication
        .decisions
        .iter()
        .map(|d| if d.approved { format!("{} : accord", d.party) } else { format!("{} : rejet ({})", d.party, d.reason) })
        .collect();
    let mut text = format!("{}  {}  « {} »", publication.id, state(publication), publication.title);
    if !publication.producers.is_empty() {
        text.push_str(&format!(" ; producteurs : {}", publication.producers.join(", ")));
    }
    if !decided.is_empty() {
        text.push_str(&format!(" ; {}", decided.join(", ")));
    }
    text
}

fn facts(publication: &v1::Publication) -> serde_json::Value {
    let decisions: Vec<_> = publication
        .decisions
        .iter()
        .map(|d| json!({ "party": d.party, "approved": d.approved, "reason": d.reason, "at": d.at }))
        .collect();
    json!({
        "id": publication.id, "state": state(publication), "title": publication.title, "by": publication.by,
        "justification": publication.justification, "at": publication.at, "producers": publication.producers,
        "decisions": decisions, "fingerprint": hex::encode(&publication.fingerprint),
    })
}

/// Lists what was put forward, or shows one table.
pub async fn proposals(args: ProposalsArgs) -> anyhow::Result<()> {
    let mut producer = Producer::open(&args.through)?;
    let Some(id) = &args.id else {
        let all = producer.list().await?;
        if args.through.json {
            return print_json(&all.iter().map(facts).collect::<Vec<_>>());
        }
        for publication in &all {
            say(&line(publication));
        }
        say(&format!("{} publication(s)", all.len()));
        return Ok(());
    };
    let checked = producer.get(id).await?;
    if let Some(output) = &args.output {
        let agreement = producer.gate.agreement();
        let name = agreement.analyst.iter().find(|a| a.id == producer.analyst).map_or("", |a| a.name.as_str());
        let about = About {
            title: checked.document.question.title().to_owned(),
            agreement: agreement.agreement.title.clone(),
            analyst: name.to_owned(),
            release: checked.document.release.clone(),
            standing: checked.standing.clone(),
        };
        let parts: Vec<Part<'_>> = checked.document.tables.iter().map(Part::plain).collect();
        let bytes = file(super::format_of(output)?, &about, &parts)?;
        fsx::write_atomic(output, &bytes).with_context(|| output.display().to_string())?;
        say(&format!("Tableau écrit : {}", output.display()));
    } else if args.through.json {
        return print_json(&checked.document);
    } else {
        show(&checked);
    }
    Ok(())
}

fn show(checked: &Checked) {
    for table in &checked.document.tables {
        show_table(table, &checked.standing);
    }
    say(&format!("Empreinte : {}", checked.fingerprint));
}

/// Approves a table.
pub async fn approve(args: ApproveArgs) -> anyhow::Result<()> {
    decided(&args.through, &args.id, Verdict::Approved).await
}

/// Rejects a table.
pub async fn reject(args: RejectArgs) -> anyhow::Result<()> {
    decided(&args.through, &args.id, Verdict::Rejected(reason(&args.reason)?)).await
}

async fn decided(through: &Through, id: &str, verdict: Verdict) -> anyhow::Result<()> {
    let (checked, made) = Producer::open(through)?.decide(id, verdict).await?;
    if through.json {
        return print_json(&facts(&made));
    }
    show(&checked);
    say(&line(&made));
    Ok(())
}
