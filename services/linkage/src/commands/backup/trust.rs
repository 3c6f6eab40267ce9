//! Whose a backup is: signed by the role that it names, with the key that the agreement gives it.
//!
//! The agreement in a backup names the key by which the same backup is verified, so that it proves nothing by itself: it counts when its
//! hash is that of the agreement in place, which a configuration in place names, or the one that the operator gives. Every partner
//! knows that hash, and it fixes every role's key. Which of these keys is a role's own follows from the configuration in place, or from
//! the role that the operator gives: partners sign too, and a backup that names its own signer could be any of theirs. A configuration
//! out of the backup names nothing that could be held against it.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, bail};
use clap::Args;
use linkage_agreement::{AgreementHash, InvalidId, ParsedAgreement, RoleId};
use linkage_common::agreement_files::AgreementFileError;
use linkage_common::backup::{self, Manifest, Origin, SETTINGS, Unverified};
use linkage_common::fsx::FileError;
use linkage_crypto::seal::SealingKey;
use zeroize::Zeroizing;

use super::role::Role;
use crate::cli::note;

const SETTING_LIMIT: u64 = 16 << 20;

/// Files of configuration and keys in a backup, by what the configuration calls them.
pub(super) type Settings = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// By what a backup is known to be the role's.
#[derive(Debug, Args)]
pub struct Trust {
    /// Hash of the agreement, as a partner or the signed copy says it (`linkage agreement show`), never as the backup does. Without
    /// it, the agreement that is in place counts.
    #[arg(long, value_name = "EMPREINTE", value_parser = hash)]
    agreement_hash: Option<AgreementHash>,
    /// The role whose backup it must be: broker, custodian, party/NAME or analyst/NAME. Needed where no configuration says it.
    #[arg(long, value_name = "RÔLE", value_parser = role_named)]
    role: Option<RoleId>,
    /// Take a backup of the version before signatures: nothing says who made it.
    #[arg(long)]
    accept_unsigned: bool,
}

fn hash(text: &str) -> Result<AgreementHash, String> {
    AgreementHash::from_hex(text.trim())
        .ok_or_else(|| "64 chiffres hexadécimaux sont attendus (linkage agreement show)".to_owned())
}

/// A role, as the audit log and `backup verify` name it; of broker and custodian there is only one.
fn role_named(text: &str) -> Result<RoleId, String> {
    let id = |id: &str| id.parse().map_err(|e: InvalidId| e.to_string());
    match text.split_once('/') {
        None if text == "broker" => Ok(RoleId::Broker),
        None if text == "custodian" => Ok(RoleId::Custodian),
        Some(("broker", "broker")) => Ok(RoleId::Broker),
        Some(("custodian", "custodian")) => Ok(RoleId::Custodian),
        Some(("party", name)) => Ok(RoleId::Party(id(name)?)),
        Some(("analyst", name)) => Ok(RoleId::Analyst(id(name)?)),
        _ => Err("attendu : broker, custodian, party/NOM ou analyst/NOM".to_owned()),
    }
}

/// A backup that was read whole and is the role's.
pub(super) struct Recognised {
    pub(super) manifest: Manifest,
    pub(super) settings: Settings,
    agreement: ParsedAgreement,
    role: RoleId,
    unsigned: bool,
}

/// What a configuration in place says.
pub(super) struct InPlace {
    role: RoleId,
    /// Hash of the agreement that is where the configuration says; none when there is none.
    agreement: Option<AgreementHash>,
}

pub(super) fn in_place(role: &Role) -> anyhow::Result<InPlace> {
    let agreement = match role.agreement.load_agreement() {
        Ok(parsed) => Some(parsed.hash()),
        Err(AgreementFileError::File(FileError::Missing { .. })) => None,
        Err(error) => return Err(error.into()),
    };
    Ok(InPlace { role: role.id.clone(), agreement })
}

/// The role and the agreement that a backup must be of. Nothing out of the backup is among what they are known by.
fn meant(in_place: Option<InPlace>, trust: &Trust) -> anyhow::Result<(RoleId, AgreementHash)> {
    let there = in_place.as_ref().and_then(|there| there.agreement);
    let Some(agreement) = trust.agreement_hash.or(there) else {
        bail!(
            "rien ici ne dit quelle est votre convention, ni donc de qui vient cette sauvegarde : donnez --agreement-hash, l'empreinte qu'un partenaire ou votre exemplaire signé de la convention donne (linkage agreement show CONVENTION), et --role, le rôle que vous exploitez ; ne les prenez pas de la sauvegarde"
        );
    };
    match (in_place, trust.role.clone()) {
        (Some(there), Some(role)) if there.role != role => {
            bail!("--role dit {role}, la configuration est de {} : corrigez l'un ou prenez l'autre", there.role)
        }
        (Some(InPlace { role, .. }), _) | (None, Some(role)) => Ok((role, agreement)),
        (None, None) => bail!(
            "rien ici ne dit de quel rôle cette sauvegarde doit être, et chaque partenaire de la convention peut en signer une : donnez --role, celui que vous exploitez (broker, custodian, party/NOM ou analyst/NOM, NOM étant celui de la convention), et ne le prenez pas de la sauvegarde"
        ),
    }
}

/// Reads the whole backup and finds out whose it is.
pub(super) fn recognise(file: &Path, key: &SealingKey, in_place: Option<InPlace>, trust: &Trust) -> anyhow::Result<Recognised> {
    let (role, meant) = meant(in_place, trust)?;
    let mut settings = Settings::new();
    let read = backup::read::<anyhow::Error>(
        file,
        key,
        |_| Ok(()),
        |name, bytes| {
            if let Some(label) = name.strip_prefix(SETTINGS) {
                let mut read = Zeroizing::new(Vec::new());
                bytes.take(SETTING_LIMIT).read_to_end(&mut read)?;
                settings.insert(label.to_owned(), read);
            }
            Ok(())
        },
    );
    let read = read.with_context(|| file.display().to_string())?;
    let text = settings
        .get("agreement")
        .context("la sauvegarde ne contient pas de convention : elle n'est pas de « linkage backup create »")?;
    let text = std::str::from_utf8(text).context("convention de la sauvegarde")?;
    let agreement = ParsedAgreement::parse(text, "convention.toml")
        .map_err(|faults| anyhow::anyhow!("convention de la sauvegarde illisible : {} défaut(s)", faults.len()))?;
    if agreement.hash() != meant {
        let (found, whose) = (agreement.hash(), if trust.agreement_hash.is_some() { "donnée" } else { "en place" });
        bail!(
            "cette sauvegarde a été faite sous une autre convention, ou une autre version de celle-ci (empreinte {found} ; la convention {whose} a {meant}). Si {found} est bien, chez un partenaire, celle d'une version antérieure : restaurez sous celle-là (linkage backup extract la donne, avec --agreement-hash), puis passez à l'avenant. Sinon, cette sauvegarde n'est pas la vôtre : ne la restaurez pas"
        );
    }
    let unsigned = read.is_unsigned() && trust.accept_unsigned;
    let manifest = taken(read, &agreement, &role, unsigned).with_context(|| file.display().to_string())?;
    if unsigned {
        note("Sauvegarde sans signature, acceptée à votre demande : rien ne dit qui l'a faite. Consignez-le.");
    }
    Ok(Recognised { manifest, settings, agreement, role, unsigned })
}

fn taken(read: Unverified, agreement: &ParsedAgreement, role: &RoleId, unsigned: bool) -> Result<Manifest, backup::BackupError> {
    if unsigned { read.unsigned(role) } else { read.signed(agreement, role) }
}

impl Recognised {
    /// Refuses another file than the one that was recognised: it is read twice.
    pub(super) fn is_still(&self, read: Unverified) -> anyhow::Result<()> {
        if taken(read, &self.agreement, &self.role, self.unsigned)? != self.manifest {
            bail!("le fichier de la sauvegarde a été remplacé pendant sa lecture : relancez la commande");
        }
        Ok(())
    }
    /// What is said of a state that comes from it.
    pub(super) fn origin(&self) -> Origin {
        Origin { facts: self.manifest.facts.clone(), signed: self.is_signed() }
    }
    /// Whether the role's signature on it holds.
    pub(super) fn is_signed(&self) -> bool {
        !self.unsigned
    }
}
