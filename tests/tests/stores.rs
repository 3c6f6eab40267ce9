//! The schemas of broker, custodian and analyst: the same in both databases, forward and back, and over TLS.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use linkage_common::database::{Place, PlaceError, Server};
use linkage_common::store::{Kind, Pool, Schema, StoreError};
use linkage_test_databases::{On, OwnServer, on_both};

on_both!(the_way_back_ends_where_it_says_and_leads_forward_again);

const SCHEMAS: [&Schema; 3] =
    [&linkage_broker::store::SCHEMA, &linkage_custodian::store::SCHEMA, &linkage_analyst::journal::SCHEMA];

async fn open(on: On, schema: &Schema) -> (tempfile::TempDir, Pool) {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::of(on.url().as_deref(), &dir.path().join("role.sqlite")).unwrap();
    let pool = Pool::open(&place, schema).await.unwrap();
    (dir, pool)
}

/// Tables and columns, as `table.column`, but for what the databases keep for themselves.
async fn columns(pool: &Pool) -> BTreeSet<String> {
    let select = match pool.kind() {
        Kind::Sqlite => {
            "SELECT m.name || '.' || c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'"
        }
        Kind::Postgres => {
            "SELECT CAST(table_name AS TEXT) || '.' || CAST(column_name AS TEXT) FROM information_schema.columns
             WHERE table_schema = current_schema()"
        }
    };
    let found: Vec<String> = sqlx::query_scalar(select).fetch_all(pool).await.unwrap();
    found.into_iter().filter(|name| !name.ends_with(".rowid") && !name.starts_with("_sqlx_migrations.")).collect()
}

#[tokio::test]
async fn both_databases_have_the_same_tables_and_columns() {
    if On::Postgres.is_missing() {
        return;
    }
    for schema in SCHEMAS {
        let versions = |kind: Kind| -> Vec<(i64, bool)> {
            schema.of(kind).iter().map(|m| (m.version, m.migration_type.is_down_migration())).collect()
        };
        assert_eq!(versions(Kind::Sqlite), versions(Kind::Postgres), "{}: migrations", schema.role);
        let (_dir, sqlite) = open(On::Sqlite, schema).await;
        let (_dir, postgres) = open(On::Postgres, schema).await;
        let held = columns(&sqlite).await;
        assert!(held.len() > 10, "{}: {held:?}", schema.role);
        assert_eq!(held, columns(&postgres).await, "{}", schema.role);
        assert_eq!((sqlite.version().await.unwrap(), postgres.version().await.unwrap()), (schema.latest(), schema.latest()));
    }
}

async fn the_way_back_ends_where_it_says_and_leads_forward_again(on: On) {
    for schema in SCHEMAS {
        let (_dir, pool) = open(on, schema).await;
        let (latest, oldest) = (schema.latest(), schema.oldest(pool.kind()));
        assert!(oldest < latest, "{}: every migration since the first release has a way back", schema.role);
        let newest = columns(&pool).await;
        pool.migrate_to(schema, oldest).await.unwrap();
        assert_eq!(pool.version().await.unwrap(), oldest);
        assert_ne!(columns(&pool).await, newest);
        let refused = pool.migrate_to(schema, oldest - 1).await;
        assert!(matches!(refused, Err(StoreError::NoWayBack { oldest: o }) if o == oldest), "{refused:?}");
        pool.migrate_to(schema, latest).await.unwrap();
        assert_eq!(columns(&pool).await, newest);
        assert_eq!(pool.version().await.unwrap(), latest);
    }
}

/// A server with a certificate of an authority of its own is spoken to over TLS, and one that another authority vouches for is not.
#[tokio::test]
async fn the_server_s_certificate_is_verified() {
    if On::Postgres.is_missing() {
        return;
    }
    linkage_common::tls::install_crypto();
    let server = OwnServer::start(&[]);
    let key_of = |subject: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![subject.to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    let ((certificate, key), (foreign, _)) = (key_of("localhost"), key_of("localhost"));
    server.secure(&certificate, &key);
    let dir = tempfile::tempdir().unwrap();
    for (name, pem) in [("own.pem", &certificate), ("foreign.pem", &foreign)] {
        linkage_common::fsx::write_atomic(&dir.path().join(name), pem.as_bytes()).unwrap();
    }
    let database = server.database().replace("127.0.0.1", "localhost");
    let place = |authority: &str| {
        let authority = dir.path().join(authority);
        Place::Server(Server::new(&format!("{database}?sslmode=verify-full&sslrootcert={}", authority.display())).unwrap())
    };
    let pool = Pool::open(&place("own.pem"), SCHEMAS[0]).await.unwrap();
    let spoken: i64 = sqlx::query_scalar("SELECT CASE WHEN ssl THEN 1 ELSE 0 END FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        .fetch_one(&pool)
        .await
        .unwrap_or_default();
    assert_eq!(spoken, 1);
    assert!(Pool::open(&place("foreign.pem"), SCHEMAS[0]).await.is_err());
    let elsewhere = Server::new("postgresql://linkage@db.example/linkage?sslmode=require");
    assert_eq!(elsewhere, Err(PlaceError::Unverified { server: "db.example:5432/linkage".to_owned() }));
}

/// What a client sees of a server that ends in mid-transaction, and of one that is away for a while.
#[tokio::test]
async fn a_restarted_server_is_found_again() {
    if On::Postgres.is_missing() {
        return;
    }
    let server = OwnServer::start(&[]);
    let place = Place::of(Some(&server.database()), std::path::Path::new("")).unwrap();
    let pool = Pool::connect(&place, "").await.unwrap();
    sqlx::query("CREATE TABLE t (v BIGINT)").execute(&pool).await.unwrap();
    let mut cut = pool.begin("cut").await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *cut).await.unwrap();
    server.crash();
    let lost = StoreError::from(cut.commit().await.unwrap_err());
    assert!(lost.is_passing(), "{lost:?}");
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move {
            let mut tx = pool.begin("again").await?;
            sqlx::query("INSERT INTO t VALUES (2)").execute(&mut *tx).await?;
            tx.commit().await
        }
    });
    server.resume();
    waiting.await.unwrap().unwrap();
    let held: Vec<i64> = sqlx::query_scalar("SELECT v FROM t").fetch_all(&pool).await.unwrap();
    assert_eq!(held, [2], "what was not committed has not happened");
}
