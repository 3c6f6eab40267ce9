//! `linkage pack`: the data protection pack (dossier de protection des données), written from the signed agreement, the
//! configurations that are in use and the figures of the last run.
//!
//! Seven documents in French for data protection officers, each as Markdown, to be completed in any editor, and all in one
//! HTML file to be printed. What the program cannot know is asked for in so many words, « À COMPLÉTER », and never invented.
//! No document holds a name of a person concerned, a key or a path of a secret.

mod aipd;
mod broker_view;
pub mod document;
mod flows;
mod measures;
mod notice;
mod register;
mod retention;
mod words;

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use linkage_agreement::{Agreement, SignedAgreement};
use linkage_common::AgreementFiles;
use linkage_common::clock::{Clock as _, SystemClock};
use linkage_common::fsx;
use serde_json::json;

use self::document::{Document, printable};
use self::measures::RoleConfig;
use crate::cli::{print_json, say};

/// Largest report of a run that is read, in bytes.
const REPORT_LIMIT: u64 = 64 << 20;

/// Arguments of `linkage pack`.
#[derive(Debug, Args)]
pub struct PackArgs {
    /// Configuration of a role, as its service uses it; repeat it for several. The first one says where the agreement is.
    #[arg(long = "config", value_name = "FILE")]
    configs: Vec<PathBuf>,
    /// The agreement, where no configuration is given.
    #[arg(long, requires = "signatures", conflicts_with = "configs")]
    agreement: Option<PathBuf>,
    /// Its signatures.
    #[arg(long)]
    signatures: Option<PathBuf>,
    /// Report of the last run (`report.json`), whose measured figures say what the broker learns.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Folder to write to; files of an earlier pack are replaced.
    #[arg(long)]
    out: PathBuf,
    /// Print the facts as JSON.
    #[arg(long)]
    json: bool,
}

/// What the documents are made of.
pub struct Sources<'s> {
    /// The agreement, signed by every party.
    pub signed: &'s SignedAgreement,
    /// Configurations in use.
    pub configs: &'s [RoleConfig],
    /// The last run's report, if it is at hand.
    pub report: Option<&'s serde_json::Value>,
    /// Today.
    pub today: jiff::civil::Date,
}

impl Sources<'_> {
    fn agreement(&self) -> &Agreement {
        self.signed.agreement()
    }
}

/// Writes the pack.
pub fn run(args: &PackArgs) -> anyhow::Result<()> {
    let configs = args.configs.iter().map(|path| RoleConfig::load(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let files = match (configs.first(), &args.agreement, &args.signatures) {
        (Some(config), ..) => config.agreement().clone(),
        (None, Some(agreement), Some(signatures)) => {
            AgreementFiles { agreement: agreement.clone(), signatures: signatures.clone(), terminations: None }
        }
        _ => bail!("indiquez --config FICHIER (configuration d'un rôle), ou --agreement et --signatures"),
    };
    let signed = files.load_signed_agreement()?;
    for config in configs.iter().skip(1) {
        if config.agreement().load_signed_agreement()?.hash() != signed.hash() {
            bail!("les configurations données ne sont pas de la même convention ; faites un dossier par convention");
        }
    }
    let report = match &args.report {
        None => None,
        Some(path) => {
            let bytes = fsx::read_limited(path, REPORT_LIMIT)?;
            let value = serde_json::from_slice(&bytes).with_context(|| {
                format!("{} : ce n'est pas un rapport de traitement (report.json) ; indiquez celui du dernier", path.display())
            })?;
            Some(value)
        }
    };
    let sources = Sources { signed: &signed, configs: &configs, report: report.as_ref(), today: SystemClock.today() };
    let documents = documents(&sources);
    fsx::create_private_dir(&args.out)?;
    for document in &documents {
        fsx::write_atomic(&args.out.join(format!("{}.md", document.file)), document.markdown().as_bytes())?;
    }
    let title = format!("Dossier de protection des données : {}", sources.agreement().agreement.title);
    fsx::write_atomic(&args.out.join("dossier.html"), printable(&title, &documents).as_bytes())?;
    let to_complete: usize = documents.iter().map(Document::to_complete).sum();
    if args.json {
        let written: Vec<String> = documents.iter().map(|d| format!("{}.md", d.file)).collect();
        return print_json(&json!({ "documents": written, "printable": "dossier.html", "to_complete": to_complete }));
    }
    say(&format!(
        "{} documents et dossier.html écrits dans {} ; {to_complete} passages « À COMPLÉTER » demandent une réponse de votre organisme.",
        documents.len(),
        args.out.display()
    ));
    Ok(())
}

/// All documents, in the order in which they are read.
pub fn documents(sources: &Sources<'_>) -> Vec<Document> {
    vec![
        register::document(sources),
        flows::document(sources),
        retention::document(sources),
        measures::document(sources),
        broker_view::document(sources),
        notice::document(sources),
        aipd::document(sources),
    ]
}
