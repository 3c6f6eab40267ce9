//! Databases that earlier versions wrote: what they hold is there after the migration.

use linkage_agreement::{PersonId, RecordRef};
use linkage_common::store::{Pool, Schema};
use sqlx::migrate::Migrator;

use crate::link_tables::Supersession;
use crate::store::{SCHEMA, Store};

/// Two months as version 3 wrote them: two persons merged and one split in the second, whose table has three records.
const WRITTEN_BY_VERSION_3: &str = "
    INSERT INTO budgets VALUES ('ccas', '2024-01', 10, 4);
    INSERT INTO persons VALUES (x'0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a', 7), (x'0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b', 3),
        (x'0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c', 9);
    INSERT INTO refs VALUES ('siao', x'03030303030303030303030303030303', x'0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b'),
        ('ccas', x'01010101010101010101010101010101', x'0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a'),
        ('ccas', x'02020202020202020202020202020202', x'0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b');
    INSERT INTO runs (run_id, period, parties, state, position) VALUES ('r2', '2024-02', '[\"ccas\",\"siao\"]', 'ready', 2),
        ('r1', '2024-01', '[\"ccas\",\"siao\"]', 'ready', 1);
    INSERT INTO runs (run_id, state) VALUES ('r3', 'collecting');
    INSERT INTO handles VALUES ('r3', 'ccas', x'21212121212121212121212121212121', x'01010101010101010101010101010101', 1, x'00');
    INSERT INTO supersessions VALUES ('r2', x'0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a', x'0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b', 1),
        ('r2', x'0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b', x'0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c', 2);
    INSERT INTO link_rows VALUES
        ('r2', 'siao', x'03030303030303030303030303030303', x'0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b', 1, 9900, x'33'),
        ('r2', 'ccas', x'02020202020202020202020202020202', x'0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b', 1, 9800, x'22'),
        ('r2', 'ccas', x'01010101010101010101010101010101', x'0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a', 0, 0, x'11'),
        ('r1', 'ccas', x'02020202020202020202020202020202', x'0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a', 0, 0, x'44');";

fn up_to(version: i64) -> Migrator {
    Migrator::with_migrations(SCHEMA.sqlite.iter().filter(|migration| migration.version <= version).cloned().collect())
}

#[tokio::test]
async fn registry_and_tables_of_version_3_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("custodian.sqlite");
    let old = Schema { role: "custodian", sqlite: up_to(3), postgres: up_to(0), sqlite_session: "" };
    let pool = linkage_common::store::open_sqlite(&path).await.unwrap();
    pool.migrate(&old).await.unwrap();
    sqlx::raw_sql(WRITTEN_BY_VERSION_3).execute(&pool).await.unwrap();
    drop(pool);

    let store = Store::open(&path).await.unwrap();
    let rows = async |run: &str| -> Vec<_> {
        let rows = store.link_rows(&run.parse().unwrap(), 0, 10).await.unwrap();
        rows.into_iter()
            .map(|r| (r.party.to_string(), r.reference.0[0], r.person.0[0], r.match_class, r.probability, r.sealed[0]))
            .collect()
    };
    let row = |party: &str, reference, person, class, probability, sealed| {
        (party.to_owned(), reference, person, class, probability, sealed)
    };
    assert_eq!(rows("r1").await, [row("ccas", 2, 0x0a, 0, 0, 0x44)]);
    assert_eq!(
        rows("r2").await,
        [row("ccas", 1, 0x0a, 0, 0, 0x11), row("ccas", 2, 0x0b, 1, 9_800, 0x22), row("siao", 3, 0x0b, 1, 9_900, 0x33)]
    );
    let ready = store.ready().await.unwrap();
    let told: Vec<_> = ready.iter().map(|run| (run.run.as_str(), run.rows, run.position, run.changes)).collect();
    assert_eq!(told, [("r1", 1, 1, 0), ("r2", 3, 2, 1)]);
    // Of splits it was not kept which records they moved.
    let merged = Supersession { old: PersonId([0x0a; 16]), new: PersonId([0x0b; 16]), moved: None };
    assert_eq!(store.supersessions(&"r2".parse().unwrap()).await.unwrap(), [merged]);
    let number = "SELECT p.number FROM refs r JOIN persons p ON p.number = r.person WHERE r.ref = $1 AND r.party = 'siao'";
    let number: i64 = sqlx::query_scalar(number).bind(&RecordRef([3; 16]).0[..]).fetch_one(&store.pool).await.unwrap();
    assert_eq!(number, 3, "persons keep their age as number");
    assert_eq!(store.declare(&"ccas".parse().unwrap(), "2024-01", 0).await.unwrap(), (10, 4));
    assert_eq!(store.run_state(&"r3".parse().unwrap()).await.unwrap().as_deref(), Some("collecting"));
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("custodian.sqlite");
    drop(Store::open(&path).await.unwrap());
    let pool = linkage_common::store::open_sqlite(&path).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time)
        VALUES (9999, 'of a later version', '2026-11-22', TRUE, x'00', 0)";
    sqlx::query(newer).execute(&pool).await.unwrap();
    let schema = async |pool: &Pool| -> Vec<String> {
        let tables = "SELECT coalesce(sql, name) FROM sqlite_master ORDER BY name";
        let mut held: Vec<String> = sqlx::query_scalar(tables).fetch_all(pool).await.unwrap();
        held.extend(sqlx::query_scalar::<_, String>("SELECT description FROM _sqlx_migrations").fetch_all(pool).await.unwrap());
        held
    };
    let before = schema(&pool).await;
    assert!(Store::open(&path).await.is_err());
    for target in [1, SCHEMA.latest(), 9999] {
        assert!(pool.migrate_to(&SCHEMA, target).await.is_err(), "{target}");
    }
    assert_eq!(schema(&pool).await, before);
}
