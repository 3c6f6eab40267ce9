//! What a backup takes of a role, read from its configuration.

use std::path::{Component, Path, PathBuf};

use linkage_agreement::{Agreement, RoleId};
use linkage_analyst::config::AnalystConfig;
use linkage_broker::config::BrokerConfig;
use linkage_common::AgreementFiles;
use linkage_common::audit::AuditConfig;
use linkage_common::config::SecretSource;
use linkage_common::database::Place;
use linkage_common::store::Schema;
use linkage_common::tls::TlsFiles;
use linkage_custodian::config::CustodianConfig;
use linkage_custodian::oprf_keys;
use linkage_node::config::NodeConfig;
use zeroize::Zeroizing;

use crate::commands::{config, text};

const SETTING_LIMIT: u64 = 16 << 20;
/// Label of the configuration itself.
pub(super) const CONFIG: &str = "config";
/// Label of the OPRF key in force; the label of one drawn for an epoch to come has the epoch behind it.
const OPRF_KEY: &str = "oprf_key";
const TERMINATIONS: &str = "terminations/";

/// A role.
pub(super) struct Role {
    pub(super) id: RoleId,
    pub(super) agreement: AgreementFiles,
    pub(super) audit: AuditConfig,
    pub(super) home: PathBuf,
    pub(super) database: Option<(Place, &'static Schema)>,
    pub(super) objects: bool,
    pub(super) settings: Vec<Setting>,
    pub(super) node: Option<NodeConfig>,
    /// The key that signs its backups.
    pub(super) signing_key: SecretSource,
    /// Where the configuration says that the custodian's OPRF key is.
    oprf_key: Option<SecretSource>,
    /// Folders and files of the state that are in no backup.
    left_out: &'static [&'static str],
}

/// A file that the configuration names, by the name that it has there.
pub(super) struct Setting {
    pub(super) label: String,
    pub(super) place: Kept,
    /// A key: what is there must be what was saved.
    pub(super) key: bool,
}

/// Where a setting is.
pub(super) enum Kept {
    File(PathBuf),
    Variable(String),
}

impl Setting {
    fn file(label: &str, path: &Path) -> Self {
        Self { label: label.to_owned(), place: Kept::File(path.to_owned()), key: false }
    }
    fn key(label: &str, source: &SecretSource) -> Option<Self> {
        let place = match source {
            SecretSource { file: Some(file), env: None } => Kept::File(file.clone()),
            SecretSource { file: None, env: Some(name) } => Kept::Variable(name.clone()),
            _ => return None,
        };
        Some(Self { label: label.to_owned(), place, key: true })
    }
    /// Whether every backup of the role has it: a key that no configuration and no state is without.
    pub(super) fn needed(&self) -> bool {
        ["storage_key", "signing_key", "sealing_key", "pseudonym_key", OPRF_KEY].contains(&self.label.as_str())
    }
    /// Its bytes; none when it is not there.
    pub(super) fn read(&self) -> anyhow::Result<Option<Zeroizing<Vec<u8>>>> {
        use linkage_common::fsx::{self, FileError};
        match &self.place {
            Kept::File(path) => match fsx::read_limited(path, SETTING_LIMIT) {
                Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
                Err(FileError::Missing { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            },
            Kept::Variable(name) => Ok(std::env::var_os(name).map(|value| Zeroizing::new(value.into_encoded_bytes()))),
        }
    }
    /// Where it is, for messages.
    pub(super) fn shown(&self) -> String {
        match &self.place {
            Kept::File(path) => path.display().to_string(),
            Kept::Variable(name) => name.clone(),
        }
    }
}

fn common(path: &Path, agreement: &AgreementFiles, tls: &TlsFiles, crl: Option<&PathBuf>) -> anyhow::Result<Vec<Setting>> {
    let mut settings = vec![
        Setting::file(CONFIG, path),
        Setting::file("agreement", &agreement.agreement),
        Setting::file("signatures", &agreement.signatures),
        Setting::file("tls.ca", &tls.ca),
        Setting::file("tls.certificate", &tls.certificate),
        Setting::file("tls.key", &tls.key),
    ];
    settings.extend(crl.map(|crl| Setting::file("crl", crl)));
    if let Some(folder) = agreement.terminations.as_ref().filter(|folder| folder.is_dir()) {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?.path();
            if let (true, Some(name)) = (entry.is_file(), entry.file_name().and_then(|name| name.to_str())) {
                settings.push(Setting::file(&format!("{TERMINATIONS}{name}"), &entry));
            }
        }
    }
    Ok(settings)
}

fn drawn_key(epoch: u32, file: PathBuf) -> Setting {
    Setting { label: format!("{OPRF_KEY}-{epoch}"), place: Kept::File(file), key: true }
}

/// The epoch to come that a setting is the OPRF key of.
fn epoch_of(label: &str) -> Option<u32> {
    label.strip_prefix(OPRF_KEY)?.strip_prefix('-')?.parse().ok()
}

impl Role {
    /// The role whose configuration is at `path`: each kind has a key that no other has.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let keys: toml::Table = toml::from_str(&text(path)?).unwrap_or_default();
        if keys.contains_key("party") {
            let c: NodeConfig = config(path)?;
            let mut settings = common(path, &c.agreement, &c.tls, None)?;
            for (label, file) in [("pass_set", &c.pass_set), ("clk_schema", &c.clk_schema), ("clk_secret", &c.clk_secret)] {
                settings.extend(file.as_ref().map(|file| Setting::file(label, file)));
            }
            if !c.mapping.as_os_str().is_empty() {
                settings.push(Setting::file("mapping", &c.mapping));
            }
            let own = [("storage_key", &c.storage_key), ("signing_key", &c.signing_key), ("sealing_key", &c.sealing_key)];
            settings.extend(own.into_iter().filter_map(|(label, source)| Setting::key(label, source)));
            let more = [("hash_keys_key", &c.hash_keys_key), ("group_contribution", &c.group_contribution)];
            settings.extend(more.into_iter().filter_map(|(label, source)| Setting::key(label, source.as_ref()?)));
            return Ok(Self {
                id: RoleId::Party(c.party.clone()),
                agreement: c.agreement.clone(),
                audit: c.audit.clone(),
                home: c.state_dir.clone(),
                database: None,
                objects: false,
                settings,
                signing_key: c.signing_key.clone(),
                node: Some(c),
                oprf_key: None,
                // Names, what gives them back, and what is kept of runs that can be added to.
                left_out: &["names", "cache", "sent", "status.json"],
            });
        }
        if keys.contains_key("analyst") {
            let c: AnalystConfig = config(path)?;
            let own = [("sealing_key", &c.sealing_key), ("pseudonym_key", &c.pseudonym_key), ("signing_key", &c.signing_key)];
            let mut settings = common(path, &c.agreement, &c.tls, c.crl.as_ref())?;
            settings.extend(own.into_iter().filter_map(|(label, source)| Setting::key(label, source)));
            return Ok(Self {
                id: RoleId::Analyst(c.analyst.clone()),
                database: Some((c.place()?, &linkage_analyst::journal::SCHEMA)),
                agreement: c.agreement,
                audit: c.audit,
                home: c.data_dir,
                objects: false,
                settings,
                signing_key: c.signing_key,
                node: None,
                oprf_key: None,
                // Fetched again from the custodian, without what was withdrawn since.
                left_out: &["tables", "study"],
            });
        }
        if keys.contains_key(OPRF_KEY) {
            let c: CustodianConfig = config(path)?;
            // From an amendment until the former key is destroyed, the key in force lies beside the one that is named.
            let parsed = c.agreement.load_agreement().ok();
            let in_force = parsed.as_ref().and_then(|parsed| oprf_keys::source(&c.oprf_key, parsed.agreement()).ok());
            let in_force = in_force.unwrap_or_else(|| c.oprf_key.clone());
            let own = [(OPRF_KEY, &in_force), ("pseudonym_key", &c.pseudonym_key), ("signing_key", &c.signing_key)];
            let mut settings = common(path, &c.agreement, &c.tls, c.crl.as_ref())?;
            settings.extend(own.into_iter().filter_map(|(label, source)| Setting::key(label, source)));
            if let (Some(parsed), Some(file)) = (&parsed, &c.oprf_key.file) {
                let to_come = |epoch: &u32| *epoch > parsed.agreement().oprf_epoch();
                let drawn = oprf_keys::drawn(file)?.into_iter().filter(|(epoch, _)| to_come(epoch));
                settings.extend(drawn.map(|(epoch, file)| drawn_key(epoch, file)));
            }
            return Ok(Self {
                id: RoleId::Custodian,
                database: Some((c.place()?, &linkage_custodian::store::SCHEMA)),
                agreement: c.agreement,
                audit: c.audit,
                home: c.data_dir,
                objects: false,
                settings,
                signing_key: c.signing_key,
                node: None,
                oprf_key: Some(c.oprf_key),
                left_out: &[],
            });
        }
        let c: BrokerConfig = config(path)?;
        let mut settings = common(path, &c.agreement, &c.tls, c.crl.as_ref())?;
        settings.extend(Setting::key("signing_key", &c.signing_key));
        Ok(Self {
            id: RoleId::Broker,
            database: Some((c.place()?, &linkage_broker::store::SCHEMA)),
            objects: c.objects.is_some(),
            agreement: c.agreement,
            audit: c.audit,
            home: c.data_dir,
            settings,
            signing_key: c.signing_key,
            node: None,
            oprf_key: None,
            // Encodings.
            left_out: &["uploads", "outputs", "held", "spill"],
        })
    }

    /// Refuses an OPRF key that is not the agreement's: all pseudonyms hang on it.
    pub(super) fn check_keys(&self, agreement: &Agreement) -> anyhow::Result<()> {
        if let Some(configured) = &self.oprf_key {
            oprf_keys::source(configured, agreement)?;
        }
        Ok(())
    }

    /// Adds settings of a backup that are no longer here and that the configuration names only by their folder: OPRF keys drawn for
    /// epochs to come, notices of termination.
    pub(super) fn expect<'a>(&mut self, saved: impl Iterator<Item = &'a String>) {
        for label in saved {
            if self.settings.iter().any(|setting| setting.label == *label) {
                continue;
            }
            if let Some(epoch) = epoch_of(label)
                && let Some(file) = self.oprf_key.as_ref().and_then(|source| source.file.as_ref())
            {
                self.settings.push(drawn_key(epoch, oprf_keys::beside(file, epoch)));
            }
            if let Some(name) = label.strip_prefix(TERMINATIONS).filter(|name| !name.contains('/'))
                && let Some(folder) = &self.agreement.terminations
            {
                self.settings.push(Setting::file(label, &folder.join(name)));
            }
        }
    }

    /// The role of a configuration that is not yet where `path` says: it lies in `from` for the moment.
    pub(super) fn read_for(path: &Path, from: &Path) -> anyhow::Result<Self> {
        let mut role = Self::read(from)?;
        for setting in role.settings.iter_mut().filter(|setting| setting.label == CONFIG) {
            setting.place = Kept::File(path.to_owned());
        }
        Ok(role)
    }

    /// Every file and folder that a restoration would write to and that is not below `folder`.
    pub(super) fn outside(&self, folder: &Path) -> std::io::Result<Vec<PathBuf>> {
        let mut named = vec![self.home.clone(), self.audit.folder(&self.home)];
        named.extend(self.agreement.terminations.clone());
        named.extend(self.own_database().map(|(path, _)| path.clone()));
        named.extend(self.settings.iter().filter(|setting| setting.label != CONFIG).filter_map(|setting| match &setting.place {
            Kept::File(path) => Some(path.clone()),
            Kept::Variable(_) => None,
        }));
        let folder = std::path::absolute(folder)?;
        let mut outside = Vec::new();
        for path in named {
            let path = std::path::absolute(path)?;
            let leaves = path.components().any(|part| part == Component::ParentDir);
            if (leaves || !path.starts_with(&folder)) && !outside.contains(&path) {
                outside.push(path);
            }
        }
        outside.sort();
        Ok(outside)
    }

    /// The database, where it is a file of the state.
    pub(super) fn own_database(&self) -> Option<(&PathBuf, &'static Schema)> {
        match &self.database {
            Some((Place::File(path), schema)) => Some((path, schema)),
            _ => None,
        }
    }

    /// Whether the database is on a server.
    pub(super) fn database_elsewhere(&self) -> bool {
        matches!(self.database, Some((Place::Server(_), _)))
    }

    /// Whether an entry of the folder, by its path in it, is part of a backup as a file.
    pub(super) fn takes(&self, relative: &str) -> bool {
        let name = relative.rsplit('/').next().unwrap_or(relative);
        let first = relative.split('/').next().unwrap_or(relative);
        let lock = name == "lock" || name == "in-use" || name.ends_with(".lock");
        let database = name.contains(".sqlite");
        !(lock || database || name.starts_with('.') || first == "audit" || self.left_out.contains(&first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(home: &str, key: &str) -> Role {
        Role {
            id: RoleId::Broker,
            agreement: AgreementFiles { agreement: "ici/a.toml".into(), signatures: "ici/s.toml".into(), terminations: None },
            audit: AuditConfig::default(),
            home: home.into(),
            database: Some((Place::File(Path::new(home).join("broker.sqlite")), &linkage_broker::store::SCHEMA)),
            objects: false,
            settings: vec![
                Setting::file(CONFIG, Path::new("/etc/elsewhere.toml")),
                Setting::file("signing_key", Path::new(key)),
                Setting { label: "more".to_owned(), place: Kept::Variable("SECRET".to_owned()), key: true },
            ],
            signing_key: SecretSource::from_file(key),
            node: None,
            oprf_key: None,
            left_out: &[],
        }
    }

    #[test]
    fn what_a_configuration_names_outside_its_own_folder_is_told() {
        let outside = |home: &str, key: &str, folder: &str| role(home, key).outside(Path::new(folder)).unwrap();
        assert_eq!(outside("ici/etat", "ici/cle", "ici"), Vec::<PathBuf>::new());
        assert_eq!(outside("/etat", "/etc/linkage/cle", "/etc/linkage").len(), 3, "home, logs, database");
        assert_eq!(outside("ici/etat", "/etc/cron.d/tache", "ici"), [PathBuf::from("/etc/cron.d/tache")]);
        let up = outside("ici/etat", "ici/../cle", "ici");
        assert_eq!(up.len(), 1, "{up:?}");
        assert_eq!(outside("ici-meme/etat", "ici/cle", "ici").len(), 3, "a name that only begins alike");
    }
}
