//! Which version a role's database has, asked without changing it.

use sqlx::Row as _;

use crate::database::Place;
use crate::store::{Kind, Pool, Schema, StoreError};

/// The version that a database has and the one that this program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// In the database; none when there is no database yet.
    pub found: Option<i64>,
    /// The newest that this program knows.
    pub known: i64,
}

impl Versions {
    /// Of the database at `place`, which is not made when it is absent.
    ///
    /// # Errors
    /// A database that cannot be opened.
    pub async fn of(place: &Place, schema: &Schema) -> Result<Self, StoreError> {
        if let Place::File(path) = place
            && !path.is_file()
        {
            return Ok(Self { found: None, known: newest(&schema.sqlite) });
        }
        let pool = Pool::connect(place, "").await?;
        let known = newest(match pool.kind() {
            Kind::Sqlite => &schema.sqlite,
            Kind::Postgres => &schema.postgres,
        });
        let row = sqlx::query("SELECT max(version) FROM _sqlx_migrations").fetch_optional(&pool).await;
        // Without that table nobody has migrated yet.
        let found = row.ok().flatten().and_then(|row| row.try_get::<Option<i64>, _>(0).ok().flatten());
        Ok(Self { found, known })
    }
}

fn newest(migrator: &sqlx::migrate::Migrator) -> i64 {
    migrator.iter().map(|migration| migration.version).max().unwrap_or_default()
}
