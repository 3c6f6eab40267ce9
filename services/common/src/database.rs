//! Where a role's database is: a file of its own, or a PostgreSQL server that its configuration names.
//!
//! The address of a server holds a password, so that the configuration only says where the address is kept. It is shown
//! nowhere: messages name host, port and database. A server elsewhere than on this machine is spoken to over TLS with its
//! certificate verified, or not at all: link tables and registries cross that wire.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use zeroize::Zeroizing;

use crate::config::{SecretError, SecretSource};

/// Section `[database]` of a role's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// Where the address is kept: `postgresql://account:password@host:port/database?sslmode=verify-full&sslrootcert=…`.
    pub url: SecretSource,
    /// Connections that this process may hold.
    #[serde(default = "connections")]
    pub connections: u32,
}

fn connections() -> u32 {
    8
}

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A SQLite file.
    File(PathBuf),
    /// A PostgreSQL server.
    Server(Server),
}

/// A PostgreSQL server's address.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    url: Zeroizing<String>,
    name: String,
    pub(crate) connections: u32,
}

/// Why an address of a database was refused. Shows no part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// The file or variable that holds it cannot be read.
    #[error("[database] : {0}")]
    Secret(#[from] SecretError),
    /// It is no address of a PostgreSQL database.
    #[error(
        "[database] : l'adresse n'est pas de la forme postgresql://compte:mot-de-passe@hôte:port/base?sslmode=verify-full ; elle n'est pas montrée ici, car elle contient un mot de passe"
    )]
    NotAnAddress,
    /// It names a server elsewhere, without a verified certificate.
    #[error(
        "[database] : le serveur {server} n'est pas sur cette machine ; ajoutez à l'adresse sslmode=verify-full et sslrootcert=FICHIER (l'autorité de son certificat)"
    )]
    Unverified {
        /// Host, port and database.
        server: String,
    },
    /// No connection could ever be opened.
    #[error("[database] : « connections » doit être entre 2 et 100")]
    Connections,
}

impl DatabaseConfig {
    /// The place that a configuration names: the server of `[database]`, or `file` without that section.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn place(config: Option<&Self>, file: &Path) -> Result<Place, PlaceError> {
        let Some(config) = config else { return Ok(Place::File(file.to_owned())) };
        if !(2..=100).contains(&config.connections) {
            return Err(PlaceError::Connections);
        }
        let server = Server::new(&config.url.read_text()?)?;
        Ok(Place::Server(Server { connections: config.connections, ..server }))
    }
}

impl Place {
    /// The server at `url`, or `file` without one.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn of(url: Option<&str>, file: &Path) -> Result<Self, PlaceError> {
        url.map_or_else(|| Ok(Self::File(file.to_owned())), |url| Ok(Self::Server(Server::new(url)?)))
    }
}

impl Server {
    /// The server at `url`.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn new(url: &str) -> Result<Self, PlaceError> {
        let url = url.trim();
        if !["postgresql://", "postgres://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(PlaceError::NotAnAddress);
        }
        let options: PgConnectOptions = url.parse().map_err(|_| PlaceError::NotAnAddress)?;
        let host = options.get_host();
        let database = options.get_database().filter(|name| !name.is_empty()).ok_or(PlaceError::NotAnAddress)?;
        let name = format!("{host}:{}/{database}", options.get_port());
        let here = options.get_socket().is_some()
            || host.starts_with('/')
            || host == "localhost"
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if !here && !matches!(options.get_ssl_mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull) {
            return Err(PlaceError::Unverified { server: name });
        }
        Ok(Self { url: Zeroizing::new(url.to_owned()), name, connections: connections() })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.name)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(server) => server.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_and_never_shown() {
        let kept = |url: &str| Server::new(url);
        for here in [
            "postgresql://broker:hunter2@localhost:5433/linkage",
            "postgres://broker:hunter2@127.0.0.1/linkage",
            "postgresql://broker:hunter2@[::1]:5432/linkage",
            "postgresql://broker:hunter2@db.example:5432/linkage?sslmode=verify-full",
            "postgresql://broker:hunter2@localhost/linkage?host=/run/postgresql",
        ] {
            let server = kept(here).unwrap_or_else(|error| unreachable!("{here}: {error}"));
            for shown in [server.to_string(), format!("{server:?}"), format!("{:?}", Place::Server(server.clone()))] {
                assert!(!shown.contains("hunter2"), "{shown}");
            }
        }
        assert_eq!(kept("postgres://b:p@127.0.0.1/linkage").unwrap().to_string(), "127.0.0.1:5432/linkage");
        for plain in ["", "?sslmode=disable", "?sslmode=require"] {
            assert_eq!(
                kept(&format!("postgresql://b:hunter2@db.example/linkage{plain}")),
                Err(PlaceError::Unverified { server: "db.example:5432/linkage".to_owned() })
            );
        }
        for wrong in ["", "linkage", "sqlite://file", "mysql://a/b", "postgresql://", "postgresql://b:p@localhost/"] {
            assert_eq!(kept(wrong), Err(PlaceError::NotAnAddress), "{wrong}");
        }
    }

    #[test]
    fn without_a_section_it_is_the_file() {
        let file = Path::new("/data/broker.sqlite");
        assert_eq!(DatabaseConfig::place(None, file), Ok(Place::File(file.to_owned())));
        let absent = DatabaseConfig { url: SecretSource::from_env("LINKAGE_TEST_NO_DATABASE"), connections: 8 };
        let missing = SecretError::NoVariable { name: "LINKAGE_TEST_NO_DATABASE".to_owned() };
        assert_eq!(DatabaseConfig::place(Some(&absent), file), Err(PlaceError::Secret(missing)));
        let none = DatabaseConfig { connections: 1, ..absent };
        assert_eq!(DatabaseConfig::place(Some(&none), file), Err(PlaceError::Connections));
    }
}
