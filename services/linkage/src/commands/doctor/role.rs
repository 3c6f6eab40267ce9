//! `linkage doctor --config FILE`: what is wrong with a role's configuration, and what to do.
//!
//! It reads what the role itself reads (configuration, agreement, keys, certificates, database), asks the role's peers over
//! mutual TLS as the role would, and changes nothing. No finding shows a key, a name or a count of records.

mod agreeing;
mod places;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use linkage_agreement::{Agreement, Refusal, RoleId, SignedAgreement};
use linkage_analyst::config::AnalystConfig;
use linkage_broker::config::BrokerConfig;
use linkage_common::audit::AuditConfig;
use linkage_common::clock::{Clock as _, SystemClock};
use linkage_common::config::{SecretSource, load_config};
use linkage_common::database::Place;
use linkage_common::objects::ObjectsConfig;
use linkage_common::schema::Versions;
use linkage_common::store::Schema;
use linkage_common::tls::{ServerTls, TlsFileError, TlsFiles, look};
use linkage_common::{AgreementFiles, fsx};
use linkage_crypto::oprf::ServerKey;
use linkage_crypto::pseudonym::{AnalystScalar, CustodianScalar};
use linkage_crypto::seal::SealingKey;
use linkage_crypto::signing::SigningKey;
use linkage_custodian::config::CustodianConfig;
use linkage_custodian::oprf_keys;
use linkage_node::config::NodeConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::CheckFailed;
use crate::cli::{print_json, say};

/// Longest wait for a peer.
const PEER: Duration = Duration::from_secs(5);
/// Clocks may differ by this much without a word: the answer's date has whole seconds, and the answer took time.
const SKEW_TOLD_S: f64 = 5.0;
/// Beyond, certificates that were just issued are refused, and runs and logs of two roles do not fit together.
const SKEW_FAULT_S: f64 = 60.0;
/// Certificates, and agreements, that end sooner are told.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Less room than this does not take a run's files, or the next commit.
const DISK_TOLD: u64 = 2 << 30;
const DISK_FAULT: u64 = 256 << 20;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    /// In order.
    Good,
    /// To be seen to before long.
    Warning,
    /// The role does not work, or will not be let in.
    Fault,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Finding {
    level: Level,
    /// What was looked at, a fixed word.
    check: &'static str,
    /// What was found, and what to do.
    text: String,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, level: Level, check: &'static str, text: impl Into<String>) {
        self.0.push(Finding { level, check, text: text.into() });
    }
    fn good(&mut self, check: &'static str, text: impl Into<String>) {
        self.add(Level::Good, check, text);
    }
    fn warning(&mut self, check: &'static str, text: impl Into<String>) {
        self.add(Level::Warning, check, text);
    }
    fn fault(&mut self, check: &'static str, text: impl Into<String>) {
        self.add(Level::Fault, check, text);
    }
}

/// What all roles' configurations have, whichever it is.
struct Role {
    id: RoleId,
    agreement: AgreementFiles,
    tls: TlsFiles,
    crl: Option<PathBuf>,
    data: PathBuf,
    audit: AuditConfig,
    /// Address and which role is there.
    peers: Vec<(String, RoleId)>,
    keys: Vec<Key>,
    database: Option<(Place, &'static Schema)>,
    /// Where a broker keeps uploads, when that is no folder.
    objects: Option<ObjectsConfig>,
    server: bool,
}

/// A key file, and how its public part is found in the agreement.
struct Key {
    name: &'static str,
    source: SecretSource,
    kind: KeyKind,
}

enum KeyKind {
    Signing,
    Sealing,
    Oprf,
    CustodianScalar,
    AnalystScalar,
    Plain,
}

/// Looks at everything, prints the findings; exit code 3 when one is a fault.
pub(super) async fn run(path: &Path, json: bool) -> anyhow::Result<()> {
    let findings = examine(path).await;
    let bad = findings.0.iter().any(|finding| finding.level == Level::Fault);
    if json {
        print_json(&findings.0)?;
    } else {
        for finding in &findings.0 {
            let mark = match finding.level {
                Level::Good => "bon     ",
                Level::Warning => "à voir  ",
                Level::Fault => "défaut  ",
            };
            say(&format!("{mark}{:<14} {}", finding.check, finding.text));
        }
    }
    if bad { Err(CheckFailed.into()) } else { Ok(()) }
}

async fn examine(path: &Path) -> Findings {
    let mut found = Findings::default();
    let role = match read(path) {
        Ok(role) => role,
        Err(error) => {
            found.fault("configuration", format!("{error:#}"));
            return found;
        }
    };
    found.good("configuration", format!("{} : configuration de {}, toutes les clés sont connues", path.display(), role.id));
    let (signed, over) = agreement(&role, &mut found);
    let terms = signed.as_ref().map(SignedAgreement::agreement);
    keys(&role, terms, &mut found);
    certificates(&role, terms, &mut found);
    places::data(&role.data, &mut found);
    places::audit(&role.audit, &role.data, &mut found);
    if database(&role, &mut found).await {
        agreeing::look(&role, over, &mut found).await;
    }
    match terms {
        Some(terms) => peers(&role, terms, &mut found).await,
        None => found.warning("pairs", "non contactés : sans convention lisible, leurs certificats ne peuvent être vérifiés"),
    }
    found
}

/// The configuration, of whichever role it is.
fn read(path: &Path) -> anyhow::Result<Role> {
    let keys: toml::Table = parse(path)?;
    let has = |key: &str| keys.contains_key(key);
    let key = |name, source: &SecretSource, kind| Key { name, source: source.clone(), kind };
    if has("party") {
        let c: NodeConfig = parse(path)?;
        return Ok(Role {
            id: RoleId::Party(c.party),
            agreement: c.agreement,
            tls: c.tls,
            crl: None,
            data: c.state_dir,
            audit: c.audit,
            peers: [(c.broker_url, RoleId::Broker), (c.custodian_url, RoleId::Custodian)]
                .into_iter()
                .chain(c.analyst_urls.into_iter().map(|(id, url)| (url, RoleId::Analyst(id))))
                .collect(),
            keys: vec![
                key("storage_key", &c.storage_key, KeyKind::Plain),
                key("signing_key", &c.signing_key, KeyKind::Signing),
                key("sealing_key", &c.sealing_key, KeyKind::Sealing),
            ],
            database: None,
            objects: None,
            server: false,
        });
    }
    if has("analyst") {
        let c: AnalystConfig = parse(path)?;
        let place = c.place().map_err(|e| anyhow::anyhow!("{e}"))?;
        let mut peers = vec![(c.custodian_url, RoleId::Custodian)];
        peers.extend(c.page.and_then(|page| page.broker_url).map(|url| (url, RoleId::Broker)));
        return Ok(Role {
            id: RoleId::Analyst(c.analyst),
            agreement: c.agreement,
            tls: c.tls,
            crl: c.crl,
            data: c.data_dir,
            audit: c.audit,
            peers,
            keys: vec![
                key("sealing_key", &c.sealing_key, KeyKind::Sealing),
                key("pseudonym_key", &c.pseudonym_key, KeyKind::AnalystScalar),
                key("signing_key", &c.signing_key, KeyKind::Signing),
            ],
            database: Some((place, &linkage_analyst::journal::SCHEMA)),
            objects: None,
            server: true,
        });
    }
    if has("oprf_key") {
        let c: CustodianConfig = parse(path)?;
        let place = c.place().map_err(|e| anyhow::anyhow!("{e}"))?;
        // The key of the agreement's epoch, which may lie beside the configured one.
        let parsed = c.agreement.load_agreement().ok();
        let of_epoch = parsed.and_then(|parsed| oprf_keys::source(&c.oprf_key, parsed.agreement()).ok());
        let oprf_key = of_epoch.unwrap_or_else(|| c.oprf_key.clone());
        return Ok(Role {
            id: RoleId::Custodian,
            agreement: c.agreement,
            tls: c.tls,
            crl: c.crl,
            data: c.data_dir,
            audit: c.audit,
            peers: Vec::new(),
            keys: vec![
                key("oprf_key", &oprf_key, KeyKind::Oprf),
                key("pseudonym_key", &c.pseudonym_key, KeyKind::CustodianScalar),
                key("signing_key", &c.signing_key, KeyKind::Signing),
            ],
            database: Some((place, &linkage_custodian::store::SCHEMA)),
            objects: None,
            server: true,
        });
    }
    let c: BrokerConfig = parse(path)?;
    let place = c.place().map_err(|e| anyhow::anyhow!("{e}"))?;
    Ok(Role {
        id: RoleId::Broker,
        agreement: c.agreement,
        tls: c.tls,
        crl: c.crl,
        data: c.data_dir,
        audit: c.audit,
        peers: vec![(c.custodian_url, RoleId::Custodian)],
        keys: vec![key("signing_key", &c.signing_key, KeyKind::Signing)],
        database: Some((place, &linkage_broker::store::SCHEMA)),
        objects: c.objects,
        server: true,
    })
}

fn parse<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    load_config(path).context("configuration refusée")
}

/// The agreement, and whether it is over: at its term, or since the day that a notice names.
fn agreement(role: &Role, found: &mut Findings) -> (Option<SignedAgreement>, bool) {
    let signed = match role.agreement.load_signed_agreement() {
        Ok(signed) => signed,
        Err(error) => {
            found.fault("convention", error.to_string());
            return (None, false);
        }
    };
    let today = SystemClock.today();
    let notices = match role.agreement.load_terminations(&signed) {
        Ok(notices) => notices,
        Err(error) => {
            found.fault("convention", format!("avis de dénonciation : {error}"));
            let over = today > signed.agreement().agreement.end;
            return (Some(signed), over);
        }
    };
    let terms = &signed.agreement().agreement;
    let permitted = signed.permit_today(today, &notices);
    let over = matches!(permitted, Err(Refusal::Terminated { .. } | Refusal::Expired { .. }));
    match permitted {
        Err(refusal) => found.fault("convention", refusal.french()),
        Ok(()) => {
            let left = terms.end.duration_since(today);
            if left < SOON * 2 {
                found.warning("convention", format!("signée de tous ; prend fin le {} : préparez un avenant", terms.end));
            } else {
                found.good("convention", format!("signée de tous, en vigueur jusqu'au {}", terms.end));
            }
        }
    }
    (Some(signed), over)
}

fn keys(role: &Role, terms: Option<&Agreement>, found: &mut Findings) {
    for key in &role.keys {
        match key.source.read_key() {
            Err(error) => found.fault("clés", format!("{} : {error}", key.name)),
            Ok(secret) => match terms.map(|terms| fits(key, &secret, terms, &role.id)) {
                Some(Some(true)) => found.good("clés", format!("{} : celle de la convention", key.name)),
                Some(Some(false)) => found.fault(
                    "clés",
                    format!(
                        "{} : ce n'est pas la clé dont la convention nomme la partie publique ; remettez le bon fichier, ou restaurez-le de sa sauvegarde",
                        key.name
                    ),
                ),
                Some(None) | None => found.good("clés", format!("{} : lisible, à ce compte seul", key.name)),
            },
        }
    }
}

/// Whether the agreement names the public part of `secret`; none where it names none.
fn fits(key: &Key, secret: &[u8; 32], terms: &Agreement, role: &RoleId) -> Option<bool> {
    let analyst = |id| terms.analyst.iter().find(|analyst| &analyst.id == id);
    let named = |public: String, expected: Option<&String>| Some(expected == Some(&public));
    match key.kind {
        KeyKind::Signing => {
            let expected = match role {
                RoleId::Party(party) => terms.party(party).map(|party| &party.signing_key),
                RoleId::Broker => Some(&terms.broker.signing_key),
                RoleId::Custodian => Some(&terms.custodian.signing_key),
                RoleId::Analyst(id) => analyst(id).map(|analyst| &analyst.signing_key),
            };
            named(SigningKey::from_bytes(secret).verifying_key().to_base64(), expected)
        }
        KeyKind::Sealing => {
            let expected = match role {
                RoleId::Party(party) => terms.party(party).map(|party| &party.sealing_key),
                RoleId::Analyst(id) => analyst(id).map(|analyst| &analyst.sealing_key),
                RoleId::Broker | RoleId::Custodian => None,
            };
            named(SealingKey::from_bytes(secret).public_key().to_base64(), expected)
        }
        KeyKind::Oprf => {
            let public = ServerKey::from_bytes(secret).ok().map(|key| key.public_key().to_base64());
            Some(public.as_ref() == Some(&terms.custodian.oprf_public_key))
        }
        KeyKind::CustodianScalar => CustodianScalar::from_bytes(secret).is_err().then_some(false),
        KeyKind::AnalystScalar => AnalystScalar::from_bytes(secret).is_err().then_some(false),
        KeyKind::Plain => None,
    }
}

fn certificates(role: &Role, terms: Option<&Agreement>, found: &mut Findings) {
    match ServerTls::load(&role.tls, role.crl.as_deref()) {
        // A key that others can read is a matter of permissions; everything else of certificates.
        Err(error @ TlsFileError::File(fsx::FileError::Exposed { .. })) => found.fault("permissions", error.to_string()),
        Err(error) => found.fault("certificat", error.to_string()),
        Ok(_) => found.good("certificat", "clé, certificat et autorité vont ensemble"),
    }
    if let (Ok(uri), Some(terms)) = (role.tls.own_uri(), terms) {
        let expected = identity_of(terms, &role.id);
        if expected == Some(uri.as_str()) {
            found.good("certificat", format!("nomme {}", role.id));
        } else {
            found.fault(
                "certificat",
                format!(
                    "porte « {uri} » alors que la convention attend « {} » pour {} ; demandez-en un conforme à la convention",
                    expected.unwrap_or("(rien)"),
                    role.id
                ),
            );
        }
    }
    let Ok(dates) = role.tls.dates(role.crl.as_deref()) else { return };
    let now = SystemClock.now();
    lasting("certificat", "certificat", dates.own.from, dates.own.until, now, found);
    lasting("certificat", "certificat de l'autorité", dates.authority.from, dates.authority.until, now, found);
    match (dates.crl, &role.crl) {
        (Some(list), _) if list.until < now => found.warning(
            "révocation",
            format!("liste périmée depuis le {} ; elle compte encore, mais les révocations faites depuis sont ignorées : demandez la nouvelle à l'autorité", day(list.until)),
        ),
        (Some(list), _) => found.good("révocation", format!("liste du {}, à remplacer avant le {}", day(list.from), day(list.until))),
        (None, Some(_)) => found.good("révocation", "liste sans date de renouvellement"),
        (None, None) if role.server => found.warning(
            "révocation",
            "aucune liste (« crl ») : un certificat perdu ne peut être écarté avant son terme ; indiquez celle de l'autorité",
        ),
        (None, None) => {}
    }
}

/// The URI that the agreement gives to a role.
fn identity_of<'a>(terms: &'a Agreement, role: &RoleId) -> Option<&'a str> {
    Some(match role {
        RoleId::Broker => &terms.broker.certificate_identity,
        RoleId::Custodian => &terms.custodian.certificate_identity,
        RoleId::Party(id) => &terms.party(id)?.certificate_identity,
        RoleId::Analyst(id) => &terms.analyst.iter().find(|analyst| &analyst.id == id)?.certificate_identity,
    })
}

fn lasting(check: &'static str, what: &str, from: Timestamp, until: Timestamp, now: Timestamp, found: &mut Findings) {
    if until < now {
        found.fault(check, format!("{what} expiré depuis le {} : renouvelez-le (linkage certificates renew)", day(until)));
    } else if from > now {
        found.fault(check, format!("{what} valable à partir du {} seulement : vérifiez l'horloge de cette machine", day(from)));
    } else if until.duration_since(now) < SOON {
        found.warning(check, format!("{what} expire le {} : renouvelez-le (linkage certificates renew)", day(until)));
    } else {
        found.good(check, format!("{what} valable jusqu'au {}", day(until)));
    }
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// Whether it has the schema that this program reads.
async fn database(role: &Role, found: &mut Findings) -> bool {
    let Some((place, schema)) = &role.database else { return false };
    match Versions::of(place, schema).await {
        Err(error) => found.fault("base", error.to_string()),
        Ok(Versions { found: None, .. }) => found.good("base", format!("{place} : pas encore créée")),
        Ok(Versions { found: Some(version), known }) if version > known => found.fault(
            "base",
            format!(
                "{place} : schéma {version}, plus récent que celui de ce programme ({known}) ; installez la version qui l'a écrit"
            ),
        ),
        Ok(Versions { found: Some(version), known }) if version < known => {
            found.warning(
                "base",
                format!("{place} : schéma {version} ; le service le portera à {known} en démarrant, sauvegardez avant"),
            );
        }
        Ok(Versions { found: Some(version), .. }) => {
            found.good("base", format!("{place} : schéma {version}"));
            return true;
        }
    }
    false
}

async fn peers(role: &Role, terms: &Agreement, found: &mut Findings) {
    let own = env!("CARGO_PKG_VERSION");
    for (url, peer) in &role.peers {
        let Some(identity) = identity_of(terms, peer) else {
            found.fault("pairs", format!("{peer} : absent de la convention ; corrigez « analyst_urls »"));
            continue;
        };
        let seen = match look(url, &role.tls, identity, PEER).await {
            Ok(seen) => seen,
            // Runs need broker and custodian; an analyst that is away only misses countersignatures.
            Err(error) if matches!(peer, RoleId::Analyst(_)) => {
                found.warning("pairs", format!("{peer} : {error} ; jusque-là, son journal d'audit n'est pas contresigné ici"));
                continue;
            }
            Err(error) => {
                found.fault("pairs", format!("{peer} : {error}"));
                continue;
            }
        };
        found.good("pairs", format!("{peer} répond à {url}"));
        match seen.skew_s {
            None => found.warning("horloge", format!("{peer} ne dit pas l'heure qu'il a")),
            Some(skew) if skew.abs() > SKEW_FAULT_S => found.fault(
                "horloge",
                format!("{skew:+} s entre {peer} et cette machine ; réglez l'une et l'autre sur un serveur de temps (NTP)"),
            ),
            Some(skew) if skew.abs() > SKEW_TOLD_S => {
                found.warning("horloge", format!("{skew:+} s entre {peer} et cette machine ; vérifiez NTP des deux côtés"));
            }
            Some(_) => found.good("horloge", format!("la même chez {peer}")),
        }
        match seen.version {
            Some(version) if version == own => found.good("versions", format!("{peer} : {version}, comme ici")),
            Some(version) => found.warning("versions", format!("{peer} : {version}, ici {own} ; convenez d'une mise à jour")),
            None => found.warning("versions", format!("{peer} ne dit pas sa version ; ici {own}")),
        }
    }
}
