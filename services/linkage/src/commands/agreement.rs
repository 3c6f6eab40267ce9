//! `linkage agreement`: the text, its faults, its signatures, its end.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Subcommand;
use linkage_agreement::model::Disclosure;
use linkage_agreement::signature::SigningKey;
use linkage_agreement::{
    Agreement, DisclosureMethod, Fault, ParsedAgreement, PartyId, PartyProfile, RecordShape, Signatures, SignedAgreement,
    Termination, sign, template_fr,
};
use linkage_common::clock::{Clock, SystemClock};
use linkage_common::config::SecretSource;
use linkage_common::fsx;
use serde_json::json;

use super::text;
use crate::CheckFailed;
use crate::cli::{print_json, say};

/// Commands on the agreement.
#[derive(Debug, Subcommand)]
pub enum AgreementCommand {
    /// Write a commented template in French.
    Init {
        /// File to write; an existing one is never replaced.
        #[arg(long, default_value = "convention.toml")]
        out: PathBuf,
    },
    /// Explain every fault of an agreement, with file and line; with --signatures, also who has not signed.
    Check {
        /// The agreement.
        file: PathBuf,
        /// Its signatures.
        #[arg(long)]
        signatures: Option<PathBuf>,
        /// The version that it replaces: what an amendment may not change is refused.
        #[arg(long, value_name = "FORMER")]
        amends: Option<PathBuf>,
    },
    /// Sign for a party; adds to the signatures file.
    Sign {
        /// The agreement.
        file: PathBuf,
        /// The party that signs.
        #[arg(long)]
        party: PartyId,
        /// Its Ed25519 signing key file.
        #[arg(long)]
        key: PathBuf,
        /// Signatures file, made when absent.
        #[arg(long, default_value = "convention.signatures.toml")]
        signatures: PathBuf,
    },
    /// Show an agreement: parties, fields, attributes, fingerprint.
    Show {
        /// The agreement.
        file: PathBuf,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Give notice of termination (dénonciation) for a party.
    Terminate {
        /// The agreement.
        file: PathBuf,
        /// The party that gives notice.
        #[arg(long)]
        party: PartyId,
        /// Its Ed25519 signing key file.
        #[arg(long)]
        key: PathBuf,
        /// First day without the agreement, AAAA-MM-JJ.
        #[arg(long)]
        effective_on: jiff::civil::Date,
        /// Notice to write; put a copy into each role's folder of notices.
        #[arg(long)]
        out: PathBuf,
    },
}

/// Parses an agreement, or prints its faults and fails the check.
pub fn parse(file: &Path) -> anyhow::Result<ParsedAgreement> {
    ParsedAgreement::parse(&text(file)?, &file.display().to_string()).map_err(|faults| faulty(&faults))
}

fn faulty(faults: &[Fault]) -> anyhow::Error {
    for fault in faults {
        say(&fault.to_string());
    }
    say(&format!("{} faute(s) : corrigez, puis relancez « linkage agreement check »", faults.len()));
    CheckFailed.into()
}

fn signing_key(path: &Path) -> anyhow::Result<SigningKey> {
    Ok(SigningKey::from_bytes(&*SecretSource::from_file(path).read_key()?))
}

/// Runs a command.
pub fn run(command: AgreementCommand) -> anyhow::Result<()> {
    match command {
        AgreementCommand::Init { out } => {
            if out.try_exists()? {
                bail!("{} existe déjà : choisissez un autre nom avec --out", out.display());
            }
            fsx::write_atomic_public(&out, template_fr().as_bytes())?;
            say(&format!("{} : modèle écrit. Complétez-le, puis : linkage agreement check {}", out.display(), out.display()));
            Ok(())
        }
        AgreementCommand::Check { file, signatures, amends } => {
            let parsed = parse(&file)?;
            if let Some(former) = amends {
                let faults = parsed.agreement().amendment_faults(parse(&former)?.agreement());
                faults.iter().for_each(|fault| say(&format!("{} : {}", file.display(), fault.french())));
                if !faults.is_empty() {
                    return Err(CheckFailed.into());
                }
            }
            say(&format!("{} : aucune faute ; empreinte {}", file.display(), parsed.hash()));
            other_profiles(parsed.agreement()).iter().for_each(|line| say(line));
            let Some(path) = signatures else { return Ok(()) };
            let held = read_signatures(&path)?;
            match SignedAgreement::verify(parsed, &held) {
                Ok(_) => {
                    say("signée par tous les partenaires");
                    Ok(())
                }
                Err(error) => {
                    say(&error.french());
                    Err(CheckFailed.into())
                }
            }
        }
        AgreementCommand::Sign { file, party, key, signatures } => {
            let parsed = parse(&file)?;
            let key = signing_key(&key)?;
            let mut held = if signatures.try_exists()? { read_signatures(&signatures)? } else { Signatures::default() };
            held.add(sign(&parsed, &party, &key, SystemClock.today()).map_err(|e| anyhow::anyhow!(e.french()))?);
            fsx::write_atomic_public(&signatures, held.to_toml().as_bytes())?;
            say(&format!("{party} a signé la convention d'empreinte {}", parsed.hash()));
            Ok(())
        }
        AgreementCommand::Show { file, json } => {
            let parsed = parse(&file)?;
            show(&parsed, json)
        }
        AgreementCommand::Terminate { file, party, key, effective_on, out } => {
            let parsed = parse(&file)?;
            let notice =
                Termination::sign(&parsed, &party, &signing_key(&key)?, effective_on).map_err(|e| anyhow::anyhow!(e.french()))?;
            fsx::write_atomic_public(&out, notice.to_toml().as_bytes())?;
            say(&format!("{} : dénonciation de {party} avec effet au {effective_on}", out.display()));
            Ok(())
        }
    }
}

fn read_signatures(path: &Path) -> anyhow::Result<Signatures> {
    Signatures::parse(&text(path)?, &path.display().to_string()).map_err(|faults| faulty(&faults)).context("signatures")
}

fn show(parsed: &ParsedAgreement, json: bool) -> anyhow::Result<()> {
    let a = parsed.agreement();
    let layout = a.layout();
    let record_bytes = RecordShape { annex_len: a.annex_len(), ..layout.shape() }.record_len(&layout);
    if json {
        return print_json(&json!({ "hash": parsed.hash().to_string(), "agreement": a, "record_bytes": record_bytes }));
    }
    say(&format!("{} (version {}), empreinte {}", a.agreement.title, a.agreement.version, parsed.hash()));
    say(&format!("Finalité : {}\nBase légale : {}", a.agreement.purpose, a.agreement.legal_basis));
    say(&format!("En vigueur du {} au {} ; coordonnateur : {}", a.agreement.start, a.agreement.end, a.agreement.coordinator));
    for party in &a.party {
        let delivers = match party.profile {
            None => "",
            Some(PartyProfile::Clk) => "livre des filtres clkhash, ",
            Some(PartyProfile::HashKeys) => "livre des clés de hachage, ",
        };
        let duplicates = if party.duplicate_free { "sans doublon" } else { "doublons possibles" };
        say(&format!(
            "  partenaire {} : {} ({delivers}{duplicates}, {} fiches au plus par mois) ; DPO {}",
            party.id, party.name, party.max_records, party.dpo_contact
        ));
    }
    say(&format!("  courtier : {}\n  tiers de confiance : {}", a.broker.name, a.custodian.name));
    for analyst in &a.analyst {
        say(&format!("  étude {} : {} ; finalité des pseudonymes : {}", analyst.id, analyst.name, analyst.purpose));
    }
    let fields: Vec<&str> = a.identity.field.iter().map(|f| f.column.as_str()).collect();
    say(&format!("Champs d'identité : {}", fields.join(", ")));
    let attributes: Vec<String> = a.travelling_attributes().into_iter().map(|t| t.name).collect();
    say(&format!(
        "Attributs transmis, minimisés : {}",
        if attributes.is_empty() { "aucun".to_owned() } else { attributes.join(", ") }
    ));
    say(&publication(&a.disclosure));
    say(&format!(
        "Encodage : jeu de passes {}, {} jetons par fiche, filtres de {} bits, soit {} octets par fiche",
        a.encoding.pass_set, layout.tokens_per_record, layout.filter_bits, record_bytes
    ));
    other_profiles(a).iter().for_each(|line| say(line));
    Ok(())
}

fn publication(disclosure: &Disclosure) -> String {
    let method = match disclosure.method() {
        DisclosureMethod::Suppression => "cellules masquées",
        DisclosureMethod::CellKey => "effectifs bruités (clés de cellule)",
    };
    let rounded = match disclosure.round_to() {
        1 => String::new(),
        base => format!(", arrondis à {base}"),
    };
    format!(
        "Publication : effectifs de {} au moins{rounded}, {method} ; {} tableaux par équipe et par mois, {} ; au plus {} % d'un montant dû à une seule personne",
        disclosure.minimum_cell,
        disclosure.tables_per_month(),
        if disclosure.needs_approval() { "après accord des producteurs" } else { "sans accord préalable" },
        disclosure.dominance_percent()
    )
}

/// What an agreement with parties that deliver filters or keys accepts, in plain words; nothing for any other.
fn other_profiles(a: &Agreement) -> Vec<String> {
    let mut lines = Vec::new();
    let delivering = |profile: PartyProfile| {
        let ids: Vec<&str> = a.party.iter().filter(|p| p.profile == Some(profile)).map(|p| p.id.as_str()).collect();
        ids.join(", ")
    };
    if let Some(clk) = &a.encoding.clk {
        let layer = match clk.diffusion {
            0 => "sans diffusion".to_owned(),
            t => format!("diffusion de {t} bits"),
        };
        lines.push(format!(
            "Filtres clkhash ({}) : {} bits, {layer}, lien à partir de {} millièmes de Dice, avance de {} ; schéma {}",
            delivering(PartyProfile::Clk),
            clk.bits,
            clk.threshold_permille,
            clk.margin_permille,
            clk.schema_sha256
        ));
        lines.push(
            "  risque accepté par les signataires, pour les personnes de tous les partenaires : qui reçoit les filtres et connaît 20 personnes en ré-identifie 58 à 100 % des autres".to_owned(),
        );
    }
    if let Some(keys) = &a.encoding.hash_keys {
        let form = if keys.keyed { "sous une clé que les partenaires partagent" } else { "SHA-256 simple" };
        lines.push(format!("Clés de hachage ({}) : {form}", delivering(PartyProfile::HashKeys)));
        lines.push(
            "  risque accepté par les signataires, pour les personnes de tous les partenaires : qui tient des clés simples, ou les clés d'une exécution et la clé des partenaires, retrouve nom, mois et année de naissance de 83 % des lignes en 10 secondes".to_owned(),
        );
    }
    lines
}
