//! Configuration files and secrets.
//!
//! A role's configuration is TOML. The types that it is read into carry `#[serde(deny_unknown_fields)]`, so
//! a misspelt key is refused and not ignored; every refusal names the file and the line. A secret is never
//! in the configuration, which is copied into tickets and images: the configuration says which file or
//! which environment variable holds it.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::fsx::{self, FileError};

const CONFIG_LIMIT: u64 = 1 << 20;
const SECRET_LIMIT: u64 = 4096;
/// Bytes of every secret that a role reads: a 256-bit key.
pub const SECRET_LEN: usize = 32;

/// Why a configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is no TOML, or a key in it is unknown, missing or of the wrong kind.
    #[error("{}:{line} : {message}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

/// Reads the TOML file at `path`.
///
/// # Errors
/// [`ConfigError`], with file and line.
pub fn load_config<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = fsx::read_text(path, CONFIG_LIMIT)?;
    toml::from_str(&text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(at).filter(|&b| b == b'\n').count();
        let key = text.lines().nth(line - 1).and_then(|line| line.split_once('=')).map(|(key, _)| key.trim());
        ConfigError::Refused { path: path.to_owned(), line, message: in_french(error.message(), key) }
    })
}

/// The faults that operators meet most, in their language, with the key whose value is refused; others as the parser words them.
fn in_french(message: &str, key: Option<&str>) -> String {
    let of = || key.map(|key| format!("valeur refusée pour « {key} », ")).unwrap_or_default();
    if let Some(rest) = message.strip_prefix("unknown field ") {
        format!("clé inconnue {}", rest.replace("expected one of", "clés possibles :").replace("expected", "attendue :"))
    } else if let Some(rest) = message.strip_prefix("missing field ") {
        format!("il manque la clé {rest}")
    } else if message.starts_with("invalid socket address") {
        format!("{}adresse et port attendus, par exemple 127.0.0.1:8443", of())
    } else if let Some((found, expected)) = message.strip_prefix("invalid type: ").and_then(|m| m.split_once(", expected ")) {
        format!("{}d'un autre type ({found}), attendu : {expected}", of())
    } else {
        format!("{}{}", of(), message.trim_end().replace('\n', " "))
    }
}

/// Where a secret is: a file, or an environment variable; exactly one of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretSource {
    /// A file that only its owner may read, holding the secret in base64 on one line.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// An environment variable holding the secret in base64.
    #[serde(default)]
    pub env: Option<String>,
}

/// Why a secret could not be read. Never shows any part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Neither or both of file and environment are given.
    #[error("secret : indiquez soit « file », soit « env », et un seul des deux")]
    Ambiguous,
    /// The file cannot be read, or others can read it.
    #[error(transparent)]
    File(#[from] FileError),
    /// The environment variable is absent.
    #[error("variable d'environnement {name} absente ; définissez-la, ou indiquez un fichier")]
    NoVariable {
        /// Its name.
        name: String,
    },
    /// What was read is empty, or no text.
    #[error("{place} : un texte UTF-8 est attendu ; le fichier ou la variable est vide ou contient autre chose")]
    NotAText {
        /// The file or variable.
        place: String,
    },
    /// What was read is no key.
    #[error(
        "{place} : une ligne de base64 de {SECRET_LEN} octets est attendue ; créez-la par : head -c 32 /dev/urandom | base64"
    )]
    NotAKey {
        /// The file or variable.
        place: String,
    },
}

impl SecretSource {
    /// A secret in `file`.
    pub fn from_file(file: impl Into<PathBuf>) -> Self {
        Self { file: Some(file.into()), env: None }
    }

    /// A secret in the environment variable `name`.
    pub fn from_env(name: impl Into<String>) -> Self {
        Self { file: None, env: Some(name.into()) }
    }

    /// The secret: [`SECRET_LEN`] bytes.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read(&self) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        self.read_key().map(|key| Zeroizing::new(key.to_vec()))
    }

    /// The secret as text, when it is no key: an address with a password, an access key. White space around it is left out.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read_text(&self) -> Result<Zeroizing<String>, SecretError> {
        let (bytes, place) = self.bytes()?;
        match std::str::from_utf8(bytes.trim_ascii()) {
            Ok(text) if !text.is_empty() => Ok(Zeroizing::new(text.to_owned())),
            _ => Err(SecretError::NotAText { place }),
        }
    }

    /// The secret as an array.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read_key(&self) -> Result<Zeroizing<[u8; SECRET_LEN]>, SecretError> {
        let (text, place) = self.bytes()?;
        let mut key = Zeroizing::new([0; SECRET_LEN]);
        match STANDARD.decode_slice(text.trim_ascii(), key.as_mut_slice()) {
            Ok(SECRET_LEN) => Ok(key),
            _ => Err(SecretError::NotAKey { place }),
        }
    }

    /// What the file or the variable holds, and which of them it is.
    fn bytes(&self) -> Result<(Zeroizing<Vec<u8>>, String), SecretError> {
        match (&self.file, &self.env) {
            (Some(file), None) => Ok((fsx::read_private(file, SECRET_LIMIT)?, file.display().to_string())),
            (None, Some(name)) => {
                let value = std::env::var_os(name).ok_or_else(|| SecretError::NoVariable { name: name.clone() })?;
                Ok((Zeroizing::new(value.into_encoded_bytes()), name.clone()))
            }
            _ => Err(SecretError::Ambiguous),
        }
    }
}

/// Writes `key` to `path` in the form that [`SecretSource`] reads, mode 0600.
///
/// # Errors
/// The system's error.
pub fn write_secret(path: &Path, key: &[u8; SECRET_LEN]) -> std::io::Result<()> {
    let mut text = Zeroizing::new(STANDARD.encode(key));
    text.push('\n');
    fsx::write_atomic(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        listen: String,
        key: SecretSource,
    }

    fn refused(text: &str) -> (usize, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("role.toml");
        std::fs::write(&path, text).unwrap();
        match load_config::<Sample>(&path).unwrap_err() {
            ConfigError::Refused { path: p, line, message } => {
                assert_eq!(p, path);
                (line, message)
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn faults_name_their_line() {
        assert_eq!(
            refused("listen = \"a\"\n\n[key]\nfiel = \"x\"\n"),
            (4, "clé inconnue `fiel`, attendue : `file` or `env`".to_owned())
        );
        assert_eq!(refused("[key]\nenv = \"K\"\n").1, "il manque la clé `listen`");
        assert_eq!(refused("listen = \"a\"\nkey = 3\n").0, 2);
        let other = refused("listen = 5\n[key]\nenv = \"K\"\n").1;
        assert_eq!(other, "valeur refusée pour « listen », d'un autre type (integer `5`), attendu : a string");
        assert_eq!(
            in_french("invalid socket address syntax", Some("listen")),
            "valeur refusée pour « listen », adresse et port attendus, par exemple 127.0.0.1:8443"
        );
        assert_eq!(refused("listen = \"a\"\n\n= 3\n").0, 3);
    }

    #[test]
    fn a_secret_is_read_from_a_private_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        write_secret(&path, &[9; 32]).unwrap();
        let source = SecretSource::from_file(&path);
        assert_eq!(*source.read_key().unwrap(), [9; 32]);
        assert_eq!(source.read().unwrap().as_slice(), [9; 32]);
        for wrong in ["", "not base64", "AAAA", &"A".repeat(48)] {
            fsx::write_atomic(&path, wrong.as_bytes()).unwrap();
            assert_eq!(source.read(), Err(SecretError::NotAKey { place: path.display().to_string() }));
        }
        #[cfg(unix)]
        {
            fsx::write_atomic_public(&path, STANDARD.encode([9; 32]).as_bytes()).unwrap();
            assert_eq!(source.read(), Err(SecretError::File(FileError::Exposed { path, mode: 0o644 })));
        }
    }

    #[test]
    fn a_secret_has_one_place() {
        assert_eq!(SecretSource::default().read(), Err(SecretError::Ambiguous));
        let both = SecretSource { file: Some("f".into()), env: Some("E".into()) };
        assert_eq!(both.read(), Err(SecretError::Ambiguous));
        let absent = SecretSource::from_env("LINKAGE_TEST_NO_SUCH_VARIABLE");
        assert_eq!(absent.read(), Err(SecretError::NoVariable { name: "LINKAGE_TEST_NO_SUCH_VARIABLE".into() }));
    }
}
