//! `linkage certificates`: a small authority for partners that have none, and what a partner asks of one.
//!
//! `init-ca`, `issue`, `renew`, `revoke` and `crl` are for whoever keeps the authority, on a machine that is on no network;
//! `request` is for the partner, whose key never leaves it; `show` is for everyone. A running role takes replaced files over by
//! itself, at the latest after `reload_poll_ms`, or at SIGHUP. The authority's key is under a passphrase, unless its keeper says
//! that it is to be under none.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use linkage_common::authority::office::{self, CRL_FILE, Issued, Office};
use linkage_common::authority::{Passphrase, Validity};
use linkage_common::clock::{Clock as _, SystemClock};
use linkage_common::fsx;
use linkage_common::tls::Dates;
use serde_json::{Value, json};

use super::text;
use crate::cli::{print_json, say};
use crate::passphrase;

/// Longest life of a role's certificate: renewal is what makes a loss end.
const MAX_DAYS: i64 = 825;

/// Commands on certificates.
#[derive(Debug, Subcommand)]
pub enum CertificatesCommand {
    /// Make the authority's key and certificate.
    InitCa {
        /// Folder of the authority; made when absent.
        #[arg(long)]
        out: PathBuf,
        /// Name of the authority, for people.
        #[arg(long, default_value = "Autorité des partenaires")]
        name: String,
        /// File with the passphrase of the new key on its first line (mode 0600); without it, it is asked for.
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        /// Leave the key without a passphrase: for trials, and where the medium itself is encrypted.
        #[arg(long, conflicts_with = "passphrase_file")]
        no_passphrase: bool,
    },
    /// Put the authority's key under another passphrase, or under none.
    Passphrase {
        #[command(flatten)]
        ca: Ca,
        /// File with the new passphrase on its first line (mode 0600); without it, it is asked for.
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
        /// Leave the key without a passphrase.
        #[arg(long, conflicts_with = "new_passphrase_file")]
        no_passphrase: bool,
    },
    /// At the partner: draw a key and write the request to send to the authority.
    Request {
        /// The role's URI, as the agreement has it (certificate_identity).
        #[arg(long)]
        uri: String,
        /// Folder of key and request; made when absent.
        #[arg(long)]
        out: PathBuf,
        /// Name of the files, without extension.
        #[arg(long, default_value = "certificat")]
        stem: String,
    },
    /// Issue a certificate for one role, over a partner's request or with a key drawn here.
    Issue {
        #[command(flatten)]
        ca: Ca,
        /// The role's URI, as the agreement has it (certificate_identity).
        #[arg(long)]
        uri: String,
        #[command(flatten)]
        what: What,
    },
    /// Issue anew for the role of a certificate; the former one holds until its end, or until it is revoked.
    Renew {
        #[command(flatten)]
        ca: Ca,
        /// The certificate in use.
        #[arg(long)]
        certificate: PathBuf,
        #[command(flatten)]
        what: What,
    },
    /// Revoke a certificate and write the revocation list anew.
    Revoke {
        #[command(flatten)]
        ca: Ca,
        /// The certificate.
        #[arg(long, required_unless_present = "serial", conflicts_with = "serial")]
        certificate: Option<PathBuf>,
        /// Its serial number, when the file is lost.
        #[arg(long)]
        serial: Option<String>,
    },
    /// Write the revocation list anew; to be done and sent round at least every 30 days.
    Crl {
        #[command(flatten)]
        ca: Ca,
    },
    /// What a certificate says, or what an authority has issued.
    Show {
        /// A certificate.
        #[arg(required_unless_present = "ca", conflicts_with = "ca")]
        file: Option<PathBuf>,
        /// Folder of the authority.
        #[arg(long)]
        ca: Option<PathBuf>,
        /// Print the facts as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Which authority.
#[derive(Debug, Args)]
pub struct Ca {
    /// Folder of the authority.
    #[arg(long)]
    ca: PathBuf,
    /// File with the passphrase of the authority's key on its first line (mode 0600); without it, it is asked for.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Ca {
    fn open(&self) -> anyhow::Result<Office> {
        let passphrase = if Office::is_locked(&self.ca)? {
            let question = format!("Phrase de passe de l'autorité {} : ", self.ca.display());
            Some(passphrase::given(self.passphrase_file.as_deref(), &question)?)
        } else {
            None
        };
        Ok(Office::open(&self.ca, passphrase.as_ref())?)
    }
}

/// What is issued, and where to.
#[derive(Debug, Args)]
pub struct What {
    /// The partner's request; without it a key is drawn here.
    #[arg(long)]
    csr: Option<PathBuf>,
    /// Folder of the files; made when absent.
    #[arg(long)]
    out: PathBuf,
    /// Name of the files, without extension.
    #[arg(long, default_value = "certificat")]
    stem: String,
    /// Days that the certificate holds.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(i64).range(1..=MAX_DAYS))]
    days: i64,
}

/// Runs a command.
pub fn run(command: CertificatesCommand) -> anyhow::Result<()> {
    let now = SystemClock.now();
    match command {
        CertificatesCommand::InitCa { out, name, passphrase_file, no_passphrase } => {
            let passphrase = new_passphrase(passphrase_file.as_deref(), no_passphrase)?;
            Office::create(&out, &name, now, passphrase.as_ref())?;
            say(&format!("Autorité créée dans {}.", out.display()));
            say("  ca.pem : à remettre à chaque rôle (« ca »), par un canal où son contenu peut être vérifié");
            say("  ca.key : à garder hors réseau, avec une copie en lieu sûr ; qui l'ouvre peut se faire passer pour tout rôle");
            say(match passphrase {
                Some(_) => "  phrase de passe : à garder ailleurs que ca.key ; perdue, l'autorité est à refaire",
                None => {
                    "  ATTENTION : ca.key n'est protégée par aucune phrase de passe ; « linkage certificates passphrase » en met une"
                }
            });
            say(&format!("  {CRL_FILE} : liste de révocation (« crl »), à refaire et à redistribuer au moins tous les 30 jours"));
            Ok(())
        }
        CertificatesCommand::Passphrase { ca, new_passphrase_file, no_passphrase } => {
            let office = ca.open()?;
            let passphrase = new_passphrase(new_passphrase_file.as_deref(), no_passphrase)?;
            office.protect(passphrase.as_ref())?;
            say(match passphrase {
                Some(_) => {
                    "ca.key est sous la nouvelle phrase de passe ; détruisez les copies faites avant, que l'ancienne ouvre"
                }
                None => "ca.key n'est plus protégée par une phrase de passe",
            });
            Ok(())
        }
        CertificatesCommand::Request { uri, out, stem } => {
            let (request, key) = office::request(&uri)?;
            let (key_file, request_file) = (out.join(format!("{stem}.key")), out.join(format!("{stem}.csr")));
            if key_file.try_exists()? {
                bail!("{} existe déjà : choisissez un autre nom (--stem), ou déplacez cette clé vous-même", key_file.display());
            }
            fsx::create_private_dir(&out)?;
            fsx::write_atomic(&key_file, key.as_bytes())?;
            fsx::write_atomic_public(&request_file, request.as_bytes())?;
            say(&format!("{} : à garder ici ; {} : à envoyer à l'autorité", key_file.display(), request_file.display()));
            Ok(())
        }
        CertificatesCommand::Issue { ca, uri, what } => issue(&ca.open()?, &uri, &what),
        CertificatesCommand::Renew { ca, certificate, what } => {
            let uri = office::uri_text(&text(&certificate)?)?;
            issue(&ca.open()?, &uri, &what)
        }
        CertificatesCommand::Revoke { ca, certificate, serial } => {
            let serial = match (certificate, serial) {
                (Some(file), _) => office::serial_text(&text(&file)?)?,
                (None, serial) => serial.unwrap_or_default(),
            };
            ca.open()?.revoke(&serial, now)?;
            say(&format!("{serial} révoqué ; remettez {} à tous les rôles", ca.ca.join(CRL_FILE).display()));
            Ok(())
        }
        CertificatesCommand::Crl { ca } => {
            ca.open()?.renew_list(now)?;
            say(&format!("{} refaite, valable 30 jours ; remettez-la à tous les rôles", ca.ca.join(CRL_FILE).display()));
            Ok(())
        }
        CertificatesCommand::Show { file: Some(file), json, .. } => show(&[text(&file)?], json),
        CertificatesCommand::Show { ca, json, .. } => {
            let issued = Office::issued(&ca.unwrap_or_default())?;
            show(&issued.into_iter().map(|one| one.certificate).collect::<Vec<_>>(), json)
        }
    }
}

/// The passphrase for a key that is about to be written; `None` where there is to be none.
fn new_passphrase(file: Option<&Path>, none: bool) -> anyhow::Result<Option<Passphrase>> {
    if none {
        return Ok(None);
    }
    passphrase::chosen(file, "Nouvelle phrase de passe de l'autorité : ").map(Some)
}

fn issue(office: &Office, uri: &str, what: &What) -> anyhow::Result<()> {
    let validity = Validity::days(SystemClock.now(), what.days);
    let file = |kind: &str| what.out.join(format!("{}.{kind}", what.stem));
    let issued = match &what.csr {
        Some(csr) => {
            let issued = office.issue_for(&text(csr)?, uri, validity)?;
            fsx::create_private_dir(&what.out)?;
            issued
        }
        None => {
            let (issued, key) = office.issue(uri, validity)?;
            fsx::create_private_dir(&what.out)?;
            // The key first: a role that looks between the two keeps what it has.
            fsx::write_atomic(&file("key"), key.as_bytes())?;
            issued
        }
    };
    write_public(&file("pem"), &issued)?;
    fsx::write_atomic_public(&what.out.join("ca.pem"), office.certificate_pem().as_bytes())?;
    say(&format!("{} : {uri}, {} jours, numéro de série {}", file("pem").display(), what.days, issued.serial));
    Ok(())
}

fn write_public(path: &Path, issued: &Issued) -> anyhow::Result<()> {
    fsx::write_atomic_public(path, issued.certificate.as_bytes())
        .with_context(|| format!("{} : écriture impossible", path.display()))
}

fn show(certificates: &[String], json: bool) -> anyhow::Result<()> {
    let facts = certificates.iter().map(|pem| facts(pem)).collect::<anyhow::Result<Vec<Value>>>()?;
    if json {
        return print_json(&facts);
    }
    for one in &facts {
        let word = |key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default();
        say(&format!("{}  {}  du {} au {}", word("serial"), word("uri"), word("from"), word("until")));
    }
    Ok(())
}

fn facts(pem: &str) -> anyhow::Result<Value> {
    let Dates { from, until } = Dates::of_pem(pem)?;
    Ok(json!({ "serial": office::serial_text(pem)?, "uri": office::uri_text(pem)?, "from": from, "until": until }))
}
