//! The store on a file: its settings, its permissions, what it forgets, and who opens it together.

use super::*;

#[tokio::test]
async fn the_settings_hold_on_every_connection() {
    let dir = tempfile::tempdir().unwrap();
    let pool = open_sqlite(&dir.path().join("new/dir/role.db")).await.unwrap();
    let first = pool.acquire().await.unwrap();
    for mut connection in [first, pool.acquire().await.unwrap()] {
        for (pragma, expected) in
            [("PRAGMA synchronous", 2), ("PRAGMA foreign_keys", 1), ("PRAGMA secure_delete", 1), ("PRAGMA busy_timeout", 10_000)]
        {
            let value: i64 = sqlx::query_scalar(pragma).fetch_one(&mut *connection).await.unwrap();
            assert_eq!(value, expected, "{pragma}");
        }
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await.unwrap();
        assert_eq!(mode, "wal");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn no_file_of_the_database_can_be_read_by_others_and_deleted_rows_are_gone_from_all() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let pool = open_sqlite(&dir.path().join("role.db")).await.unwrap();
    sqlx::query("CREATE TABLE t (v TEXT)").execute(&pool).await.unwrap();
    sqlx::query("INSERT INTO t VALUES ('a token to forget')").execute(&pool).await.unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", entry.file_name());
    }
    sqlx::query("DELETE FROM t").execute(&pool).await.unwrap();
    checkpoint(&pool).await.unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(8).any(|w| w == b"a token "));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn those_who_open_a_new_database_together_all_find_it_migrated() {
    let dir = tempfile::tempdir().unwrap();
    let migrations = dir.path().join("migrations");
    std::fs::create_dir(&migrations).unwrap();
    for number in 1..=4 {
        let file = migrations.join(format!("{number}_t.sql"));
        std::fs::write(file, format!("CREATE TABLE t{number} (v INTEGER); INSERT INTO t{number} VALUES (1);")).unwrap();
    }
    let (sqlite, postgres) = (Migrator::new(migrations.clone()).await.unwrap(), Migrator::new(migrations).await.unwrap());
    let schema = Schema { role: "test", sqlite, postgres, sqlite_session: "" };
    for round in 0..10 {
        let path = dir.path().join(format!("{round}.db"));
        let open = || async {
            let pool = open_sqlite(&path).await?;
            pool.migrate(&schema).await?;
            Ok::<i64, StoreError>(sqlx::query_scalar("SELECT count(*) FROM t4").fetch_one(&pool).await?)
        };
        let counts = futures::future::join_all((0..6).map(|_| open())).await;
        assert!(counts.iter().all(|c| matches!(c, Ok(1))), "{counts:?}");
    }
}

#[tokio::test]
async fn a_full_database_is_a_full_disk_and_a_foreign_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let pool = open_sqlite(&dir.path().join("small.db")).await.unwrap();
    let mut connection = pool.acquire().await.unwrap();
    sqlx::query("CREATE TABLE t (v BLOB)").execute(&mut *connection).await.unwrap();
    sqlx::query("PRAGMA max_page_count = 4").execute(&mut *connection).await.unwrap();
    let error = sqlx::query("INSERT INTO t VALUES (zeroblob(1000000))").execute(&mut *connection).await.unwrap_err();
    assert!(matches!(StoreError::from(error), StoreError::DiskFull));

    let foreign = dir.path().join("foreign.db");
    std::fs::write(&foreign, [b'x'; 4096]).unwrap();
    assert!(matches!(open_sqlite(&foreign).await, Err(StoreError::Open { path, .. }) if path == foreign));
}
