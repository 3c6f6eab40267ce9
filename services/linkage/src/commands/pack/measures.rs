//! Security measures (RGPD, article 32): those of the protocol, and what the configurations in use show.

use std::path::{Path, PathBuf};

use linkage_analyst::config::AnalystConfig;
use linkage_broker::config::BrokerConfig;
use linkage_common::AgreementFiles;
use linkage_common::config::{SecretSource, load_config};
use linkage_common::fsx;
use linkage_common::tls::TlsFiles;
use linkage_custodian::config::CustodianConfig;
use linkage_node::config::NodeConfig;

use super::Sources;
use super::document::{Document, TO_COMPLETE};

/// Largest configuration read, in bytes.
const CONFIG_LIMIT: u64 = 1 << 20;

/// A role's configuration, read as its service reads it.
#[derive(Debug)]
pub enum RoleConfig {
    /// A partner's node.
    Node(Box<NodeConfig>),
    /// The broker.
    Broker(Box<BrokerConfig>),
    /// The custodian.
    Custodian(Box<CustodianConfig>),
    /// An analyst.
    Analyst(Box<AnalystConfig>),
}

impl RoleConfig {
    /// Reads `path`; which role it is shows by a key that only this role has.
    ///
    /// # Errors
    /// What the service would refuse, with file and line.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let table: toml::Table = load_config(path)?;
        Ok(if table.contains_key("party") {
            Self::Node(Box::new(load_config(path)?))
        } else if table.contains_key("analyst") {
            Self::Analyst(Box::new(load_config(path)?))
        } else if table.contains_key("oprf_key") {
            Self::Custodian(Box::new(load_config(path)?))
        } else {
            Self::Broker(Box::new(load_config(path)?))
        })
    }

    /// Where its agreement is.
    pub fn agreement(&self) -> &AgreementFiles {
        match self {
            Self::Node(c) => &c.agreement,
            Self::Broker(c) => &c.agreement,
            Self::Custodian(c) => &c.agreement,
            Self::Analyst(c) => &c.agreement,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Node(c) => format!("nœud du partenaire {}", c.party),
            Self::Broker(_) => "opérateur du rapprochement".to_owned(),
            Self::Custodian(_) => "tiers de confiance".to_owned(),
            Self::Analyst(c) => format!("équipe d'étude {}", c.analyst),
        }
    }

    fn tls(&self) -> &TlsFiles {
        match self {
            Self::Node(c) => &c.tls,
            Self::Broker(c) => &c.tls,
            Self::Custodian(c) => &c.tls,
            Self::Analyst(c) => &c.tls,
        }
    }

    /// The revocation list; `None` for a node, which takes no connection.
    fn crl(&self) -> Option<Option<&PathBuf>> {
        match self {
            Self::Node(_) => None,
            Self::Broker(c) => Some(c.crl.as_ref()),
            Self::Custodian(c) => Some(c.crl.as_ref()),
            Self::Analyst(c) => Some(c.crl.as_ref()),
        }
    }

    fn secrets(&self) -> Vec<(&'static str, &SecretSource)> {
        match self {
            Self::Node(c) => vec![
                ("clé de stockage", &c.storage_key),
                ("clé de signature", &c.signing_key),
                ("clé de scellement", &c.sealing_key),
            ],
            Self::Broker(c) => vec![("clé de signature", &c.signing_key)],
            Self::Custodian(c) => vec![
                ("clé de l'OPRF", &c.oprf_key),
                ("demi-clé des pseudonymes", &c.pseudonym_key),
                ("clé de signature", &c.signing_key),
            ],
            Self::Analyst(c) => vec![
                ("clé de scellement", &c.sealing_key),
                ("demi-clé des pseudonymes", &c.pseudonym_key),
                ("clé de signature", &c.signing_key),
            ],
        }
    }

    /// What is found, one line each: what was looked at, and what it is. No path and no value.
    fn findings(&self) -> Vec<[String; 3]> {
        let mut found = Vec::new();
        let mut add = |what: &str, is: String| found.push([self.name(), what.to_owned(), is]);
        for (name, source) in self.secrets() {
            add(name, secret(source));
        }
        add(
            "clé du certificat TLS",
            match fsx::read_private(&self.tls().key, CONFIG_LIMIT) {
                Ok(_) => "fichier lisible par le service seul".to_owned(),
                Err(_) => "À CORRIGER : absente, ou lisible par d'autres".to_owned(),
            },
        );
        if let Some(crl) = self.crl() {
            add(
                "certificats révoqués",
                crl.map_or("À CORRIGER : aucune liste de révocation (« crl »)", |_| "refusés, d'après la liste configurée")
                    .to_owned(),
            );
        }
        match self {
            Self::Node(c) => add(
                "attributs envoyés",
                c.attributes.as_ref().map_or("tous ceux de la convention".to_owned(), |chosen| chosen.join(", ")),
            ),
            Self::Analyst(c) => add("page de consultation", page(c)),
            Self::Broker(_) | Self::Custodian(_) => {}
        }
        found
    }
}

fn secret(source: &SecretSource) -> String {
    match (source.read_key(), &source.env) {
        (Ok(_), None) => "fichier lisible par le service seul, 256 bits".to_owned(),
        (Ok(_), Some(_)) => "variable d'environnement, 256 bits".to_owned(),
        // The reason would name a path or a variable.
        (Err(_), _) => "À CORRIGER : absente, lisible par d'autres, ou d'une autre longueur".to_owned(),
    }
}

fn page(config: &AnalystConfig) -> String {
    let Some(page) = &config.page else { return "aucune".to_owned() };
    let mut ways = Vec::new();
    if page.certificates {
        ways.push("certificat");
    }
    if page.oidc.is_some() {
        ways.push("compte OpenID Connect de l'organisme");
    }
    if page.local_link {
        ways.push("lien à usage unique, sur la machine même");
    }
    format!(
        "accès par {} ; session de {} h au plus, {} min sans activité",
        ways.join(" ou "),
        page.session_hours,
        page.idle_minutes
    )
}

/// The measures of the protocol, then what the configurations show.
pub(super) fn document(sources: &Sources<'_>) -> Document {
    let a = sources.agreement();
    let document = Document::new("04-mesures", "Mesures de sécurité (RGPD, article 32)")
        .heading("Minimisation et pseudonymisation")
        .list([
            "Aucun nom, aucune date de naissance et aucun identifiant local ne quitte le partenaire : le rapprochement se fait sur des filtres \
             de Bloom sous clés, comparables à l'intérieur d'un même bloc seulement.".to_owned(),
            "Une clé de bloc ne devient un jeton qu'avec deux clés que personne ne détient ensemble : celle des partenaires et celle du tiers de \
             confiance (fonction pseudo-aléatoire oblivieuse, RFC 9497). L'essai d'une liste de noms est compté et limité.".to_owned(),
            format!(
                "Attributs réduits chez le partenaire par les règles de la convention ({} attributs), puis scellés pour chaque équipe d'étude (HPKE, RFC 9180).",
                a.travelling_attributes().len()
            ),
            "Pseudonymes propres à chaque finalité, faits de deux demi-clés : deux équipes d'étude ne peuvent pas joindre leurs tables.".to_owned(),
            format!(
                "Publications : aucun effectif sous {} ; petits effectifs protégés par {}, y compris contre la soustraction de deux tableaux.",
                a.disclosure.minimum_cell,
                match a.disclosure.method() {
                    linkage_agreement::DisclosureMethod::Suppression => "suppression primaire et secondaire",
                    linkage_agreement::DisclosureMethod::CellKey => "bruit par clé de cellule",
                }
            ),
        ])
        .heading("Chiffrement et authentification")
        .list([
            "En transit : TLS 1.3 ou 1.2, certificats des deux côtés, une identité de rôle par certificat, refusée si la convention ne la nomme pas.",
            "Au repos : état du partenaire chiffré (AES-256-GCM), chaque fichier lié à son nom ; fichiers et bases en mode 0600 ; lignes supprimées écrasées.",
            "Convention, ordres de traitement, reçus, certificats de suppression et points de contrôle des journaux signés (Ed25519, RFC 8032).",
        ])
        .heading("Traçabilité")
        .list([
            "Journal d'audit de chaque rôle, en ajout seul et chaîné ; points de contrôle contresignés par les partenaires.",
            "Journal des consultations de l'équipe d'étude, par personne, conservé selon la convention.",
            "Aucun journal, message d'erreur ou nom de fichier ne contient de nom, de date de naissance, d'identifiant local ou de clé.",
        ])
        .heading("Mesures d'organisation")
        .list([
            format!("{TO_COMPLETE} : habilitations et leur revue, par organisme."),
            format!("{TO_COMPLETE} : sauvegardes (fréquence, lieu, durée, essai de restauration)."),
            format!("{TO_COMPLETE} : procédure en cas de violation (voir « linkage breach report » : délai de la convention et 72 heures de l'article 33)."),
            format!("{TO_COMPLETE} : comparaison, par un autre canal, de l'empreinte de la clé commune avant le premier traitement."),
        ])
        .heading("Configurations constatées");
    if sources.configs.is_empty() {
        return document.text(format!(
            "{TO_COMPLETE} : aucune configuration n'a été donnée à ce dossier (--config) ; rien n'a été constaté."
        ));
    }
    document
        .text(format!("Constat du {}, sur les configurations données à ce dossier.", super::words::day(sources.today)))
        .table(["Rôle", "Objet", "Constat"], sources.configs.iter().flat_map(RoleConfig::findings))
}
