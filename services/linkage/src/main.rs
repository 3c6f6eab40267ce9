//! `linkage`: the command line over every role of Trait d'union.
//!
//! `linkage demo` shows a whole linkage; the other commands are what partners, hosts and analysts run. Exit codes: 0 done,
//! 1 the command failed (the message says what to do), 2 the command line was wrong, 3 a check found faults.

// A binary exports nothing: `pub` here means "for other modules".
#![allow(unreachable_pub)]

#[cfg(target_env = "musl")]
mod allocator;
mod bars;
mod cli;
mod commands;
mod demo;
mod fairness;
mod french;
mod key_files;
mod links;
mod page;
mod passphrase;
mod secrets;
mod trial;

use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Rapprocher sans échanger de noms : appariement entre services sociaux.
#[derive(Debug, Parser)]
#[command(name = "linkage", version, max_term_width = 110)]
struct Cli {
    /// Threads that a command computes with; one for each core when neither this nor RAYON_NUM_THREADS is given.
    #[arg(long, global = true, value_name = "N", display_order = 900)]
    threads: Option<NonZeroUsize>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All roles as processes on loopback with mutual TLS, synthetic data, three monthly runs.
    Demo(demo::DemoArgs),
    /// Every step in one process over given files.
    Trial(trial::TrialArgs),
    /// Generate a French multi-party population with its truth.
    Synth(commands::data::SynthArgs),
    /// Measure links against a truth.
    Evaluate(commands::data::EvaluateArgs),
    /// The agreement: template, check, signatures.
    #[command(subcommand)]
    Agreement(commands::agreement::AgreementCommand),
    /// Pass sets.
    #[command(subcommand)]
    Passes(commands::passes::PassesCommand),
    /// Keys and certificates of a role.
    #[command(subcommand)]
    Keys(commands::keys::KeysCommand),
    /// Files of SHA-256 keys, as today's conventions have them: make, link.
    #[command(subcommand)]
    HashKeys(commands::hash_keys::HashKeysCommand),
    /// What somebody who holds a file could learn from it.
    #[command(subcommand)]
    Attack(commands::attack::AttackCommand),
    /// Audit logs: verify, show, export.
    #[command(subcommand)]
    Audit(commands::audit::AuditCommand),
    /// A partner's node.
    #[command(subcommand)]
    Node(commands::node::NodeCommand),
    /// The broker.
    #[command(subcommand)]
    Broker(commands::serve::ServeCommand),
    /// The custodian.
    #[command(subcommand)]
    Custodian(commands::serve::CustodianCommand),
    /// The analyst's side.
    #[command(subcommand)]
    Analyst(commands::serve::AnalystCommand),
    /// Runs: open, cancel, status.
    #[command(subcommand)]
    Run(commands::run::RunCommand),
    /// Figures on linked persons.
    #[command(subcommand)]
    Cohort(commands::cohort::CohortCommand),
    /// Rights of persons at a node: access, rectification, objection, restriction.
    #[command(subcommand)]
    Rights(commands::rights::RightsCommand),
    /// clkhash files of partners that can send nothing else.
    #[command(subcommand)]
    Clk(commands::clk::ClkCommand),
    /// Deletion certificates: verify, list.
    #[command(subcommand)]
    Certificate(commands::certificate::CertificateCommand),
    /// Deletions of a role: whether its clock may be believed.
    #[command(subcommand)]
    Retention(commands::retention::RetentionCommand),
    /// Backups of roles: recovery key, create, verify, restore, extract.
    #[command(subcommand)]
    Backup(commands::backup::BackupCommand),
    /// A personal data breach: what has to be said of it.
    #[command(subcommand)]
    Breach(commands::breach::BreachCommand),
    /// The data protection pack, in French: register, flows, retention, measures, what the broker learns, notice, AIPD annex.
    Pack(commands::pack::PackArgs),
    /// Databases of roles: version of the schema, migrations forward and back.
    #[command(subcommand)]
    Database(commands::database::DatabaseCommand),
    /// Certificates of roles: a small authority, requests, renewal, revocation.
    #[command(subcommand)]
    Certificates(commands::certificates::CertificatesCommand),
    /// What this machine offers; with a role's configuration, what is wrong with it and what to do.
    Doctor(commands::doctor::DoctorArgs),
    /// Whether a role lives and is ready, asked of its operations listener.
    Health(commands::health::HealthArgs),
}

/// A check that found faults: exit code 3, the faults are printed already.
#[derive(Debug)]
pub struct CheckFailed;

impl std::fmt::Display for CheckFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("contrôle en échec")
    }
}
impl std::error::Error for CheckFailed {}

#[tokio::main]
async fn main() -> ExitCode {
    let cli: Cli = match french::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    linkage_common::tls::install_crypto();
    if let Err(error) = linkage_common::telemetry::init() {
        return failed(&error.into());
    }
    // The one pool of all computing; without a number rayon asks RAYON_NUM_THREADS, then the machine.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(cli.threads.map_or(0, NonZeroUsize::get));
    if let Err(error) = pool.build_global() {
        return failed(&error.into());
    }
    let done = match cli.command {
        Command::Demo(args) => demo::run(args).await,
        Command::Trial(args) => trial::run(args).await,
        Command::Synth(args) => commands::data::synth(&args),
        Command::Evaluate(args) => commands::data::evaluate(&args),
        Command::Agreement(command) => commands::agreement::run(command),
        Command::Passes(command) => commands::passes::run(command),
        Command::Keys(command) => commands::keys::run(command),
        Command::HashKeys(command) => commands::hash_keys::run(command),
        Command::Attack(command) => commands::attack::run(command),
        Command::Audit(command) => commands::audit::run(command),
        Command::Node(command) => Box::pin(commands::node::run(command)).await,
        Command::Broker(command) => commands::serve::broker(command).await,
        Command::Custodian(command) => commands::serve::custodian(command).await,
        Command::Analyst(command) => commands::serve::analyst(command).await,
        Command::Run(command) => commands::run::run(command).await,
        Command::Cohort(command) => commands::cohort::run(command).await,
        Command::Rights(command) => commands::rights::run(command).await,
        Command::Clk(command) => commands::clk::run(&command),
        Command::Certificate(command) => commands::certificate::run(command),
        Command::Retention(command) => commands::retention::run(command),
        Command::Backup(command) => Box::pin(commands::backup::run(command)).await,
        Command::Breach(command) => commands::breach::run(&command),
        Command::Pack(args) => commands::pack::run(&args),
        Command::Health(args) => commands::health::run(&args).await,
        Command::Database(command) => commands::database::run(command).await,
        Command::Certificates(command) => commands::certificates::run(command),
        Command::Doctor(args) => commands::doctor::run(&args, cli.threads).await,
    };
    linkage_common::trace::flush().await;
    match (done, cli::output_fault()) {
        (Err(error), _) if !error.is::<CheckFailed>() => failed(&error),
        (_, Some(kind)) => failed(&anyhow::anyhow!(
            "sortie standard incomplète ({kind}) : faites de la place ou changez de destination, puis relancez"
        )),
        (Err(_), None) => ExitCode::from(3),
        (Ok(()), None) => ExitCode::SUCCESS,
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    cli::note(&format!("linkage : {error:#}"));
    ExitCode::FAILURE
}
