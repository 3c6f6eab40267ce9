//! The command line's help and refusals in French, for those who run it.
//!
//! clap takes help from the comments of the arguments, which are English like every comment. `french.txt` has each with its French,
//! a blank line between pairs; a text that is not there stays English, and a test finds it.

use std::collections::HashMap;
use std::error::Error as _;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches};

use crate::cli::note;

const TEXTS: &str = include_str!("french.txt");
const TEMPLATE: &str = "{about-with-newline}\nUsage: {usage}\n\n{all-args}{after-help}";
/// Below the help of `linkage` itself.
const START: &str = "Pour commencer : linkage demo ; aide d'une commande : linkage COMMANDE --help\n\
    Codes de retour : 0 fait, 1 échec (le message dit que faire), 2 ligne de commande incorrecte, 3 contrôle en échec";
/// Examples below the help of a command.
const EXAMPLES: [&str; 25] = [
    "linkage demo --persons 900 --keep essai",
    "linkage trial --input ccas=ccas_2024-01.csv --input siao=siao_2024-01.xlsx --out essai",
    "linkage agreement check convention.toml --signatures convention.signatures.toml",
    "linkage agreement sign convention.toml --party ccas --key cles/signing.key",
    "linkage agreement terminate convention.toml --party ccas --key cles/signing.key --effective-on 2025-06-30 --out ccas.toml",
    "linkage passes check --input ccas=livraison.csv --agreement convention.toml",
    "linkage keys new --role party --out cles",
    "linkage attack dictionary --keys ccas.csv --seconds 60",
    "linkage audit show --config linkage.toml --since 2024-03-01 --not-done",
    "linkage node propose --party ccas livraison.csv --out correspondance.toml",
    "linkage node ingest --config linkage.toml --period 2024-03 livraison.csv",
    "linkage node serve --config linkage.toml",
    "linkage node dispositions --config linkage.toml --input decisions.csv",
    "linkage run open --config linkage.toml --run 2024-03 --period 2024-03",
    "linkage cohort query --config linkage.toml requete.toml --output tableau.xlsx",
    "linkage cohort report --config linkage.toml besoins-du-mois --period 2024-03 --out besoins.html",
    "linkage rights access --config linkage.toml --local-id-file identifiant.txt --output copie.txt",
    "linkage rights object --config linkage.toml --local-id-file identifiant.txt",
    "linkage certificate verify --agreement convention.toml --signatures convention.signatures.toml 1.json 2.json",
    "linkage backup create --config linkage.toml --to secours.pub --folder sauvegardes --keep-days 30",
    "linkage breach report --config linkage.toml --from 2024-03-01 --to 2024-03-02 --out violation.md",
    "linkage pack --config linkage.toml --report report.json --out dossier",
    "linkage certificates issue --ca autorite --uri linkage://parcours-34/party/ccas --csr ccas.csr --out ccas",
    "linkage doctor --config linkage.toml",
    "linkage health http://127.0.0.1:9090 --wait 30",
];

/// Reads the command line; `Err` is the exit code when help was asked for (0) or the line is wrong (2), said already.
pub fn parse<P: CommandFactory + FromArgMatches>(arguments: impl Iterator<Item = OsString>) -> Result<P, ExitCode> {
    let mut arguments: Vec<OsString> = arguments.collect();
    if arguments.get(1).is_some_and(|word| word == "help") {
        arguments.remove(1);
        arguments.push("--help".into());
    }
    let matches = command::<P>().try_get_matches_from(arguments);
    matches.and_then(|matches| P::from_arg_matches(&matches)).map_err(|error| {
        match refusal(&error) {
            Some(text) => note(&text),
            // Help, the version, and what has no words of ours. Nobody may be there to read it.
            None => drop(error.print()),
        }
        if error.exit_code() == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) }
    })
}

/// The command line with French help.
fn command<P: CommandFactory>() -> Command {
    let version = Arg::new("version").short('V').long("version").action(ArgAction::Version).help("Afficher la version");
    let command = in_french(P::command(), "linkage", &texts()).disable_version_flag(true);
    command.arg(version.display_order(902)).after_help(START)
}

fn texts() -> HashMap<&'static str, &'static str> {
    TEXTS.trim_end().split("\n\n").filter_map(|pair| pair.split_once('\n')).collect()
}

fn in_french(command: Command, path: &str, texts: &HashMap<&'static str, &'static str>) -> Command {
    let french = |text: Option<&StyledStr>| text.and_then(|text| texts.get(text.to_string().as_str()).copied());
    let (about, long) = (french(command.get_about()), french(command.get_long_about()));
    let help = Arg::new("help").short('h').long("help").action(ArgAction::Help).help("Afficher cette aide");
    let mut command = command
        .help_template(TEMPLATE)
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .subcommand_help_heading("Commandes")
        .subcommand_value_name("COMMANDE")
        .mut_args(|arg| {
            let (short, long) = (french(arg.get_help()), french(arg.get_long_help()));
            let value = arg.get_value_names().and_then(|names| names.first()).and_then(|name| value_name(name));
            let default = defaults(&arg);
            let mut arg = if default.is_empty() { arg } else { arg.hide_default_value(true) };
            if let Some(text) = short {
                arg = arg.help(format!("{text}{default}"));
            }
            if let Some(text) = long {
                arg = arg.long_help(text);
            }
            match value {
                Some(name) => arg.value_name(name),
                None => arg,
            }
        })
        .arg(help.display_order(901));
    if let Some(about) = about {
        command = command.about(about);
    }
    if let Some(about) = long {
        command = command.long_about(about);
    }
    let own = format!("{path} ");
    let examples: Vec<&str> = EXAMPLES.into_iter().filter(|example| example.starts_with(&own)).collect();
    if !command.has_subcommands() && !examples.is_empty() {
        command = command.after_help(format!("Exemple : {}", examples.join("\n          ")));
    }
    command.mut_subcommands(|sub| {
        let path = format!("{path} {}", sub.get_name());
        in_french(sub, &path, texts)
    })
}

/// What stands for an argument that is not given.
fn defaults(arg: &Arg) -> String {
    let values: Vec<&str> = arg.get_default_values().iter().filter_map(|v| v.to_str()).filter(|v| !v.is_empty()).collect();
    if values.is_empty() { String::new() } else { format!(" [à défaut : {}]", values.join(", ")) }
}

/// One name for one kind of value, whatever the argument is called in the code.
fn value_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "CONFIG" | "FILE" | "KEY" | "KEYS" | "REPORT" | "SIGNATURES" | "AGREEMENT" | "MAPPING" | "CSR" | "TABLE" | "TRUTH"
        | "LINKS" => "FICHIER",
        "FILES" => "FICHIERS",
        "PERIOD" | "MONTH" | "BASE_MONTH" => "AAAA-MM",
        "FROM" | "TO" | "SINCE" | "UNTIL" | "EFFECTIVE_ON" => "AAAA-MM-JJ",
        "PARTY" | "REFERENCE" => "PARTENAIRE",
        "RUN" => "TRAITEMENT",
        "ROLE" => "RÔLE",
        "SECONDS" => "SECONDES",
        "DAYS" => "JOURS",
        "OUT" | "OUTPUT" => "SORTIE",
        "FOLDER" | "CA" | "DATA" | "BROKER_VIEW" => "DOSSIER",
        "PASS_SET" => "JEU",
        "PROFILE" => "PROFIL",
        "SEED" => "GRAINE",
        "WHO" | "WHAT" | "NAME" => "TEXTE",
        "PARTIES" | "MONTHS" | "EXPECTED_RECORDS" | "MAX_PAIRS" => "N",
        "REASON" => "MOTIF",
        "ACCOUNT" => "COMPTE",
        "FINGERPRINT" => "EMPREINTE",
        _ => return None,
    })
}

/// Why the line is refused, in French; nothing for help and for what is rare.
fn refusal(error: &Error) -> Option<String> {
    let said = |kind: ContextKind| match error.get(kind)? {
        ContextValue::Strings(all) => Some(all.join(", ")),
        other => Some(other.to_string()).filter(|text| !text.is_empty()),
    };
    let of = |kind: ContextKind| said(kind).unwrap_or_default();
    let meant = |kind: ContextKind| said(kind).map(|text| format!(" ; vouliez-vous dire {text} ?")).unwrap_or_default();
    let fault = match error.kind() {
        ErrorKind::UnknownArgument => {
            format!("option ou argument inconnu : {}{}", of(ContextKind::InvalidArg), meant(ContextKind::SuggestedArg))
        }
        ErrorKind::InvalidSubcommand => {
            format!("commande inconnue : {}{}", of(ContextKind::InvalidSubcommand), meant(ContextKind::SuggestedSubcommand))
        }
        ErrorKind::MissingRequiredArgument => format!("il manque : {}", of(ContextKind::InvalidArg)),
        ErrorKind::ArgumentConflict => {
            format!("{} ne va pas avec {}", of(ContextKind::InvalidArg), of(ContextKind::PriorArg))
        }
        ErrorKind::InvalidValue => match (said(ContextKind::InvalidValue), said(ContextKind::ValidValue)) {
            (None, _) => format!("il manque la valeur de {}", of(ContextKind::InvalidArg)),
            (Some(value), None) => format!("valeur « {value} » refusée pour {}", of(ContextKind::InvalidArg)),
            (Some(value), Some(valid)) => {
                format!("valeur « {value} » refusée pour {} ; valeurs possibles : {valid}", of(ContextKind::InvalidArg))
            }
        },
        ErrorKind::ValueValidation => {
            let why = error.source().map(|why| format!(" : {}", reason(&why.to_string()))).unwrap_or_default();
            format!("valeur « {} » refusée pour {}{why}", of(ContextKind::InvalidValue), of(ContextKind::InvalidArg))
        }
        _ => return None,
    };
    let usage = said(ContextKind::Usage).map(|usage| format!("\n{usage}")).unwrap_or_default();
    Some(format!("linkage : {fault}{usage}\nAide : ajoutez --help."))
}

/// Faults of values that the standard library words.
fn reason(text: &str) -> String {
    match text {
        "invalid digit found in string" | "cannot parse integer from empty string" => "un nombre entier est attendu".to_owned(),
        other => match other.strip_prefix("period: ") {
            Some(_) => "un mois est attendu, AAAA-MM, par exemple 2024-01".to_owned(),
            None => other.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cli;

    /// Every text that somebody may read, of a command and those below it.
    fn english(command: &Command, found: &mut Vec<String>) {
        found.extend([command.get_about(), command.get_long_about()].into_iter().flatten().map(ToString::to_string));
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            found.extend([arg.get_help(), arg.get_long_help()].into_iter().flatten().map(ToString::to_string));
        }
        command.get_subcommands().for_each(|sub| english(sub, found));
    }

    #[test]
    fn every_help_text_has_its_french() {
        let mut all = Vec::new();
        english(&Cli::command(), &mut all);
        assert!(all.len() > 300, "{}", all.len());
        let texts = texts();
        let missing: Vec<&String> = all.iter().filter(|text| !texts.contains_key(text.as_str())).collect();
        assert!(missing.is_empty(), "in french.txt, each with its French below it: {missing:#?}");
    }

    #[test]
    fn no_argument_says_two_things() {
        command::<Cli>().debug_assert();
    }

    #[test]
    fn the_examples_are_lines_that_the_commands_take() {
        for example in EXAMPLES {
            let taken = command::<Cli>().try_get_matches_from(example.split(' '));
            assert!(taken.is_ok(), "{example}: {}", taken.unwrap_err());
        }
    }

    #[test]
    fn wrong_lines_are_refused_in_french() {
        let refused = |line: &str| refusal(&command::<Cli>().try_get_matches_from(line.split(' ')).unwrap_err()).unwrap();
        for (line, says) in [
            ("linkage demoo", "commande inconnue : demoo ; vouliez-vous dire "),
            ("linkage demo --keap x", "option ou argument inconnu : --keap ; vouliez-vous dire --keep ?"),
            ("linkage node serve", "il manque : --config <FICHIER>\nUsage: linkage node serve --config <FICHIER>"),
            ("linkage demo --persons douze", "valeur « douze » refusée pour --persons <PERSONS> : un nombre entier est attendu"),
            ("linkage keys new --role chef --out x", "valeurs possibles : party, broker, custodian, analyst"),
            ("linkage node serve --config", "il manque la valeur de --config <FICHIER>"),
            ("linkage pack --config a --agreement b --out c", "ne va pas avec"),
            ("linkage node ingest --config a --period 2024-13 b", "un mois est attendu, AAAA-MM"),
        ] {
            let said = refused(line);
            assert!(said.contains(says), "{line}: {said}");
        }
        let help = command::<Cli>().try_get_matches_from(["linkage", "clk", "compare", "--help"]).unwrap_err();
        assert_eq!((refusal(&help), help.exit_code()), (None, 0));
        assert!(help.to_string().contains("16 octets de mémoire chacune [à défaut : 20000000]\n"), "{help}");
    }
}
