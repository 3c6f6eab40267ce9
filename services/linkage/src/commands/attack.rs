//! `linkage attack`: what somebody who holds a file could learn from it, so that a data protection officer sees why.
//!
//! Counts only: no name, date or key that was found is printed or written anywhere.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::{Args, Subcommand};
use linkage_attack::{Dictionary, Findings, Limits, Standing, Target, reverse};
use linkage_hash_keys::{GivenNames, Hashing, Values, texts};
use serde_json::json;

use crate::cli::{note, print_json, say, table};
use crate::key_files;
use crate::page::labels::{count, percent};

/// Attacks.
#[derive(Debug, Subcommand)]
pub enum AttackCommand {
    /// Reverse a file of hash keys with public tables of names: counts, never names.
    Dictionary(DictionaryArgs),
}

/// Arguments of `linkage attack dictionary`.
#[derive(Debug, Args)]
pub struct DictionaryArgs {
    /// The key file.
    #[arg(long)]
    keys: PathBuf,
    /// Stop after this many seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// First year of birth that is tried.
    #[arg(long, default_value_t = 1905)]
    first_year: u16,
    /// Last year of birth that is tried.
    #[arg(long, default_value_t = 2026)]
    last_year: u16,
    /// Print the facts as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs a command.
pub fn run(command: AttackCommand) -> anyhow::Result<()> {
    let AttackCommand::Dictionary(args) = command;
    if args.first_year > args.last_year || !(1850..=2199).contains(&args.first_year) || args.last_year > 2199 {
        bail!("--first-year et --last-year : deux années de 1850 à 2199, dans l'ordre");
    }
    let file = key_files::read("", &args.keys, None)?;
    if file.records.is_empty() {
        bail!("{} : aucune ligne de clés", args.keys.display());
    }
    let targets: Vec<Target> = file.records.iter().map(|r| Target { primary: r.primary, secondary: r.secondary }).collect();
    let limits = Limits { budget: Duration::from_secs(args.seconds), first_year: args.first_year, last_year: args.last_year };
    attack(&args, &targets, limits, file.counts.set_aside, rayon::current_num_threads())
}

fn attack(args: &DictionaryArgs, targets: &[Target], limits: Limits, set_aside: u64, threads: usize) -> anyhow::Result<()> {
    let dictionary = Dictionary::public();
    let example = example(&dictionary, limits)?;
    let start = Instant::now();
    let found = reverse(targets, &dictionary, limits, &|| start.elapsed(), &mut |standing| {
        if !args.json {
            note(&progress(standing));
        }
    });
    let per_second = found.end.tried as f64 / found.end.seconds.max(1e-9);
    if args.json {
        return print_json(&json!({
            "lines": targets.len(), "set_aside": set_aside, "threads": threads, "findings": found,
            "tried_per_second": per_second, "example_seconds": example.map(|(_, seconds)| seconds),
        }));
    }
    let (surnames, given) = dictionary.len();
    say(&format!(
        "{} : {} lignes de clés ; tables publiques : {} noms, {} prénoms ; années {} à {} ; {threads} processeurs",
        name(&args.keys),
        count(targets.len() as u64),
        count(surnames as u64),
        count(given as u64),
        limits.first_year,
        limits.last_year
    ));
    say(&steps(&found));
    say(&format!(
        "  {} textes essayés en {:.1} s, {} millions par seconde{}",
        count(found.end.tried),
        found.end.seconds,
        (per_second / 1e6).round(),
        if found.exhausted { " ; tables épuisées" } else { " ; arrêt au temps donné" }
    ));
    match example {
        Some((key, seconds)) => say(&format!(
            "  Exemple, personne fictive : {key} ↔ D***** M**** **/**/2000, retrouvée en {seconds:.1} s par la même recherche"
        )),
        None => say("  Exemple, personne fictive : non retrouvée dans le temps et les années donnés"),
    }
    if found.end.secondary_reversed == 0 {
        say("Rien de retrouvé : clés sous une clé secrète (HMAC), ou faites autrement que selon la convention.");
    } else {
        say(
            "Ce fichier est un fichier de personnes : qui le détient en retrouve les noms. Ces noms n'ont été ni affichés ni écrits.",
        );
    }
    Ok(())
}

fn progress(standing: &Standing) -> String {
    format!(
        "  {:5.1} s : {} noms avec mois et année, dont {} identités entières",
        standing.seconds,
        count(standing.secondary_reversed),
        count(standing.primary_reversed)
    )
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.display().to_string())
}

fn steps(found: &Findings) -> String {
    let share = |n: u64, of: u64| if of == 0 { "—".to_owned() } else { percent(n as f64 / of as f64) };
    let row = |s: &Standing| {
        vec![
            format!("{:.1} s", s.seconds),
            count(s.secondary_reversed),
            share(s.secondary_reversed, found.secondary_keys),
            count(s.primary_reversed),
            share(s.primary_reversed, found.primary_keys),
        ]
    };
    let rows: Vec<Vec<String>> = found.steps.iter().map(row).collect();
    table(&["après", "nom, mois, année", "part", "identité entière", "part"], &rows)
}

/// The primary key, both ends of it, of the conventions' own example, a person who does not exist, and the seconds until
/// the same search finds it.
fn example(dictionary: &Dictionary, limits: Limits) -> anyhow::Result<Option<(String, f64)>> {
    let values = Values { birth_name: "DUPONT", usage_name: "", given_names: "MARIE", birth_date: "01/01/2000" };
    let keys = texts(values, GivenNames::All)?.keys(Hashing::Plain);
    let target = [Target { primary: keys.primary, secondary: Some(keys.secondary) }];
    let start = Instant::now();
    let done = std::sync::atomic::AtomicBool::new(false);
    let clock = || if done.load(std::sync::atomic::Ordering::Relaxed) { Duration::MAX } else { start.elapsed() };
    let mut seconds = None;
    reverse(&target, dictionary, limits, &clock, &mut |standing| {
        if standing.primary_reversed > 0 && seconds.is_none() {
            seconds = Some(standing.seconds);
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let ends = keys.primary.map_or_else(String::new, |[a, b, .., y, z]| format!("{a:02x}{b:02x}…{y:02x}{z:02x}"));
    Ok(seconds.map(|seconds| (ends, seconds)))
}
