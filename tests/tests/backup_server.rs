//! Roles whose database is on a server: the backup holds the rest, the host has put the database back. The server is written to when the
//! state goes in its place, and not by a restoration that is refused; killed anywhere, a restoration is ended by the same command, and
//! until then no process of the role begins. Accounts that were switched off since stay off; every process of the role enters the
//! restoration in its own audit log.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use linkage_common::audit::{parts, restoration};
use linkage_common::database::Place;
use linkage_common::fsx;
use linkage_common::store::Pool;
use linkage_test_databases::{On, bin_dir};
use linkage_tests::federation::{Federation, Role, linkage_ok, wait_for};
use serde_json::Value;

/// A federation with one role's database on a server.
struct Site {
    federation: Federation,
    role: Role,
    safe: PathBuf,
    /// The file with the database's address.
    address: PathBuf,
    url: String,
    runtime: tokio::runtime::Runtime,
}

/// A connection that holds a lock until it is dropped.
struct Held(Option<sqlx::pool::PoolConnection<sqlx::Any>>, tokio::runtime::Handle);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            self.1.block_on(sqlx::Connection::close(connection.detach())).unwrap();
        }
    }
}

impl Site {
    fn new(role: Role, seed: u64) -> Self {
        let federation = Federation::set_up(60, 1, seed);
        let safe = federation.folder.join("coffre");
        linkage_ok(["backup", "keys", "--out", safe.to_str().unwrap()]);
        let (url, address) = (On::Postgres.url().unwrap(), federation.folder.join("adresse"));
        fsx::write_atomic(&address, url.as_bytes()).unwrap();
        let config = federation.config(&role);
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, format!("{text}\n[database]\nurl = {{ file = \"{}\" }}\n", address.display())).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { federation, role, safe, address, url, runtime }
    }

    fn config(&self) -> String {
        self.federation.config(&self.role).display().to_string()
    }
    fn home(&self) -> PathBuf {
        PathBuf::from(self.federation.setting(&self.role, "data_dir"))
    }
    fn start_and_stop(&mut self) {
        self.federation.start(&self.role);
        self.federation.stop(&self.role);
    }

    /// The command line as that of the role's machine.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.federation.command_of(&self.role);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("LINKAGE_LOG", "warn");
        command
    }
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    }
    fn saved(&self, name: &str) -> String {
        let (file, public) = (self.safe.join(name), self.safe.join("secours.pub"));
        let (file, config) = (file.to_str().unwrap().to_owned(), self.config());
        let made =
            self.ok(&["backup", "create", "--json", "--config", &config, "--to", public.to_str().unwrap(), "--out", &file]);
        let made: Value = serde_json::from_str(&made).unwrap();
        assert_eq!(made["facts"]["database_elsewhere"], true, "{made}");
        file
    }
    fn restoring(&self, file: &str, more: &[&str]) -> Command {
        let key = self.safe.join("secours.key");
        let mut command =
            self.command(&["backup", "restore", "--json", "--config", &self.config(), "--key", key.to_str().unwrap(), file]);
        command.args(more);
        command
    }
    fn restored(&self, file: &str, more: &[&str]) -> Value {
        let output = self.restoring(file, more).output().unwrap();
        assert!(output.status.success(), "{}", errors(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["done"].clone()
    }
    fn refused(&self, file: &str, more: &[&str], why: &str) {
        let output = self.restoring(file, more).output().unwrap();
        assert!(!output.status.success() && errors(&output).contains(why), "{why}: {}", errors(&output));
    }
    /// What a process of the role says that does not begin; one that does ends by itself, its standard input being closed.
    fn begun(&self, config: &str) -> Result<(), String> {
        let mut command = self.command(&[self.role.command(), "serve", "--config", config]);
        let output = command.env("LINKAGE_EXIT_WITH_PARENT", "1").env("LINKAGE_LOG", "info").output().unwrap();
        if output.status.success() || errors(&output).contains("listening") { Ok(()) } else { Err(errors(&output)) }
    }
    /// Names of the acts in the audit log, of the parts before too.
    fn acts(&self, role: &Role) -> Vec<String> {
        let config = self.federation.config(role);
        let mut command = self.federation.command_of(role);
        let output = command.args(["audit", "show", "--json", "--config"]).arg(config).output().unwrap();
        let entries: Value = serde_json::from_slice(&output.stdout).unwrap();
        entries.as_array().unwrap().iter().map(|entry| entry["what"].as_str().unwrap().to_owned()).collect()
    }

    fn on<T>(&self, url: &str, work: impl AsyncFnOnce(&Pool) -> T) -> T {
        self.runtime.block_on(async {
            let pool = Pool::connect(&Place::of(Some(url), &PathBuf::new()).unwrap(), "").await.unwrap();
            let done = work(&pool).await;
            pool.close().await;
            done
        })
    }
    fn run(&self, statements: &'static str) {
        self.on(&self.url, async |pool| sqlx::raw_sql(statements).execute(pool).await.map(drop).unwrap());
    }
    /// Positions of the runs in a registry.
    fn positions(&self) -> Vec<Option<i64>> {
        self.on(&self.url, async |pool| {
            sqlx::query_scalar("SELECT position FROM runs ORDER BY run_id").fetch_all(pool).await.unwrap()
        })
    }
    /// How many restorations of the database are begun, and how many complete.
    fn restorations(&self) -> (i64, i64) {
        self.on(&self.url, async |pool| {
            let query = "SELECT count(*) - coalesce(CAST(sum(complete) AS BIGINT), 0), coalesce(CAST(sum(complete) AS BIGINT), 0)
                 FROM restorations";
            sqlx::query_as(query).fetch_one(pool).await.unwrap()
        })
    }
    /// Has the database hold up whoever comes to what `statement` locks.
    fn held(&self, statement: &'static str) -> Held {
        let connection = self.runtime.block_on(async {
            let pool = Pool::connect(&Place::of(Some(&self.url), &PathBuf::new()).unwrap(), "").await.unwrap();
            let mut connection = pool.acquire().await.unwrap();
            sqlx::raw_sql("BEGIN").execute(&mut *connection).await.unwrap();
            sqlx::raw_sql(statement).execute(&mut *connection).await.unwrap();
            connection
        });
        Held(Some(connection), self.runtime.handle().clone())
    }
    /// Waits until somebody is held up by the database.
    fn wait_held_up(&self, child: &mut Child) {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        wait_for("the restoration is held up", || {
            assert!(child.try_wait().unwrap().is_none(), "it ended");
            let waiting: i64 = self.on(&self.url, async |pool| sqlx::query_scalar(query).fetch_one(pool).await.unwrap());
            (waiting > 0).then_some(())
        });
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn killed(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

const ONE_RUN: &str =
    "DELETE FROM runs; DELETE FROM restorations; INSERT INTO runs (run_id, state, position) VALUES ('un', 'ready', 7)";

#[test]
fn a_database_on_a_server_is_settled_with_the_state_that_goes_with_it() {
    if On::Postgres.is_missing() {
        return;
    }
    let mut site = Site::new(Role::Custodian, 47);
    site.start_and_stop();
    site.run(ONE_RUN);
    let file = site.saved("tiers");
    let home = site.home();
    fs::rename(&home, home.with_extension("ancien")).unwrap();

    fsx::write_atomic(&site.address, On::Postgres.url().unwrap().as_bytes()).unwrap();
    site.refused(&file, &[], "pg_restore");
    fsx::write_atomic(&site.address, site.url.as_bytes()).unwrap();
    assert_eq!((site.positions(), site.restorations()), (vec![Some(7)], (0, 0)));
    site.restored(&file, &[]);
    let settled = site.positions();
    assert!(matches!(settled[..], [Some(position)] if position > 1_700_000_000), "{settled:?}");
    // The state is newer than the backup now: refused, and the database is as it was.
    fs::write(home.join("reste"), "x").unwrap();
    site.refused(&file, &[], "plus récent");
    assert_eq!((site.positions(), site.restorations()), (settled, (0, 1)));
}

/// A step that a restoration is stopped at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nothing counts yet: it looks at the database.
    Looks,
    /// The new state counts, and no file was moved.
    Ready,
    /// Files are in their places, the database is not settled.
    Moved,
    /// In the transaction that settles it.
    Settling,
    /// The server ended the connection there: it fails.
    CutOff,
    /// The database is settled, the log does not go on.
    Settled,
    /// The log goes on, the mark is there.
    Entered,
}

impl Step {
    const ALL: [Self; 7] = [Self::Looks, Self::Ready, Self::Moved, Self::Settling, Self::CutOff, Self::Settled, Self::Entered];

    fn lock(self) -> &'static str {
        match self {
            Self::Looks => "LOCK TABLE _sqlx_migrations IN ACCESS EXCLUSIVE MODE",
            Self::Ready => "LOCK TABLE restorations IN ACCESS EXCLUSIVE MODE",
            Self::Settling | Self::CutOff => "SELECT 1 FROM runs FOR UPDATE",
            Self::Moved | Self::Settled | Self::Entered => "LOCK TABLE runs IN ACCESS EXCLUSIVE MODE",
        }
    }

    /// Stops a restoration at this step.
    fn stop(self, site: &Site, file: &str) {
        let held = site.held(self.lock());
        let mut child = site.restoring(file, &[]).spawn().unwrap();
        site.wait_held_up(&mut child);
        match self {
            Self::Looks | Self::Ready | Self::Moved | Self::Settling => killed(child),
            Self::CutOff => {
                site.on(&site.url, async |pool| {
                    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                         WHERE datname = current_database() AND wait_event_type = 'Lock'";
                    sqlx::raw_sql(cut).execute(pool).await.map(drop).unwrap();
                });
                let output = child.wait_with_output().unwrap();
                let told = errors(&output);
                assert!(!output.status.success() && told.contains("relancez la même commande"), "{told}");
            }
            Self::Settled | Self::Entered => {
                // The log that it goes on in is held as by one who writes to it.
                let ready = site.home().join(".restore/ready.json");
                let plan: Value = serde_json::from_slice(&fs::read(&ready).unwrap()).unwrap();
                let log = Path::new(plan["audit"].as_str().unwrap()).join(plan["log"].as_str().unwrap());
                fs::create_dir_all(&log).unwrap();
                let lock = fs::File::options().append(true).create(true).open(log.join("lock")).unwrap();
                lock.lock().unwrap();
                drop(held);
                wait_for("the database is settled", || (site.restorations() == (0, 1)).then_some(()));
                if self == Self::Settled {
                    killed(child);
                    return;
                }
                // The mark cannot be removed: as if killed right before.
                let aside = ready.with_extension("kept");
                fs::rename(&ready, &aside).unwrap();
                fs::create_dir(&ready).unwrap();
                drop(lock);
                assert!(!child.wait_with_output().unwrap().status.success());
                fs::remove_dir(&ready).unwrap();
                fs::rename(&aside, &ready).unwrap();
            }
        }
    }

    /// What it leaves in the database: restorations begun and complete, and whether positions are raised.
    fn left(self) -> ((i64, i64), bool) {
        match self {
            Self::Looks | Self::Ready => ((0, 0), false),
            Self::Moved | Self::Settling | Self::CutOff => ((1, 0), false),
            Self::Settled | Self::Entered => ((0, 1), true),
        }
    }
}

#[test]
fn a_restoration_stopped_at_any_step_is_ended_by_the_same_command_and_nothing_begins_meanwhile() {
    if On::Postgres.is_missing() {
        return;
    }
    let mut site = Site::new(Role::Custodian, 50);
    site.start_and_stop();
    site.run(ONE_RUN);
    let file = site.saved("tiers");
    let (home, config) = (site.home(), site.config());
    // Another process of the role, with the same database and a folder of its own.
    let other = site.federation.folder.join("autre.toml");
    let text = fs::read_to_string(&config).unwrap();
    let own = |path: &Path| format!("data_dir = \"{}\"", path.display());
    let listen = format!("listen = \"{}\"", site.federation.setting(&site.role, "listen"));
    let text = text.replacen(&own(&home), &own(&site.federation.folder.join("autre")), 1);
    fs::write(&other, text.replacen(&listen, "listen = \"127.0.0.1:0\"", 1)).unwrap();
    let other = other.to_str().unwrap();

    for step in Step::ALL {
        fs::remove_dir_all(&home).unwrap();
        site.run(ONE_RUN);
        step.stop(&site, &file);
        let (left, raised) = step.left();
        let positions = site.positions();
        assert_eq!((site.restorations(), positions[0] > Some(1_700_000_000)), (left, raised), "{step:?}: {positions:?}");
        assert_eq!(home.join(".restore/ready.json").is_file(), step != Step::Looks, "{step:?}");
        let refused = |begun: Result<(), String>, which: &str| {
            let told = begun.expect_err(which);
            assert!(told.contains("restauration inachevée") && told.contains("relancez"), "{step:?}, {which}: {told}");
        };
        if step != Step::Looks {
            refused(site.begun(&config), "where it was restored");
        }
        if left.0 == 1 {
            refused(site.begun(other), "elsewhere");
        }

        let done = site.restored(&file, &[]);
        assert_eq!(done["completed_earlier"], step != Step::Looks, "{step:?}: {done}");
        let settled = site.positions();
        assert!(matches!(settled[..], [Some(position)] if position > 1_700_000_000), "{step:?}: {settled:?}");
        assert!(!raised || settled == positions, "{step:?}: settled twice, {positions:?} {settled:?}");
        assert_eq!(site.restorations(), (0, 1), "{step:?}");
        assert!(!home.join(".restore").exists(), "{step:?}");
        let restored = |acts: Vec<String>| acts.iter().filter(|act| *act == "backup.restored").count();
        assert_eq!(restored(site.acts(&site.role)), 1, "{step:?}");
        site.ok(&["audit", "verify", "--config", &config]);
    }
    assert_eq!(site.begun(other), Ok(()));
    assert_eq!(site.begun(&config), Ok(()));

    // What it had made ready is lost with its machine: begun anew, it is ended as well.
    site.run(ONE_RUN);
    fs::remove_dir_all(&home).unwrap();
    Step::Moved.stop(&site, &file);
    fs::remove_dir_all(&home).unwrap();
    assert!(site.begun(other).unwrap_err().contains("recommencez-la"));
    let done = site.restored(&file, &[]);
    assert_eq!((&done["completed_earlier"], site.restorations()), (&Value::Bool(false), (0, 1)), "{done}");
    assert_eq!(site.begun(other), Ok(()));
}

#[test]
fn a_restoration_stopped_among_the_keys_that_it_writes_lets_nothing_begin_on_no_state() {
    if On::Postgres.is_missing() {
        return;
    }
    let mut site = Site::new(Role::Custodian, 51);
    site.start_and_stop();
    let file = site.saved("tiers");
    let place = site.federation.home(&site.role);
    let [tls, keys] = ["tls", "cles"].map(|name| place.join(name));
    fs::remove_dir_all(site.home()).unwrap();
    fs::remove_dir_all(&tls).unwrap();
    fs::rename(&keys, place.join("cles.gardees")).unwrap();
    // The certificate can be written, the keys cannot.
    std::os::unix::fs::symlink(place.join("absent"), &keys).unwrap();
    site.refused(&file, &[], "écriture impossible");
    assert!(tls.join("certificat.pem").is_file());
    // The operator puts the keys there: all that a service needs to begin, but for its state.
    fs::remove_file(&keys).unwrap();
    fs::rename(place.join("cles.gardees"), &keys).unwrap();
    let told = site.begun(&site.config()).unwrap_err();
    assert!(told.contains("restauration inachevée"), "{told}");
    let done = site.restored(&file, &[]);
    assert_eq!((&done["completed_earlier"], site.restorations()), (&Value::Bool(false), (0, 1)));
    assert_eq!(site.begun(&site.config()), Ok(()));
}

#[test]
fn accounts_switched_off_since_the_backup_stay_off_also_on_a_server() {
    if On::Postgres.is_missing() {
        return;
    }
    let mut site = Site::new(Role::Analyst, 52);
    site.start_and_stop();
    // The host's part: a dump before the backup, put back under another name; the former database stays.
    let (dump, again) = (site.federation.folder.join("base"), On::Postgres.url().unwrap());
    let host = |program: &str, arguments: &[&str]| {
        let program = bin_dir().unwrap().join(program);
        assert!(Command::new(&program).args(arguments).arg(&dump).status().unwrap().success(), "{}", program.display());
    };
    host("pg_dump", &["--format=custom", "--dbname", &site.url, "--file"]);
    let (file, config) = (site.saved("etude"), site.config());
    site.ok(&["analyst", "users", "disable", "--config", &config, "--reason", "départ", "--never-seen", "login:ada"]);
    host("pg_restore", &["--no-owner", "--dbname", &again]);
    let former = site.federation.folder.join("ancienne-adresse");
    fs::rename(&site.address, &former).unwrap();
    fsx::write_atomic(&site.address, again.as_bytes()).unwrap();
    let (home, aside) = (site.home(), site.home().with_extension("ancien"));
    fs::rename(&home, &aside).unwrap();

    let more = ["--former", aside.to_str().unwrap(), "--former-database", former.to_str().unwrap()];
    site.refused(&file, &["--former-database", site.address.to_str().unwrap()], "mise de côté");
    let empty = site.federation.folder.join("vide");
    fsx::write_atomic(&empty, On::Postgres.url().unwrap().as_bytes()).unwrap();
    site.refused(&file, &["--former-database", empty.to_str().unwrap()], "sans --former-database");
    // Killed before the database is told; whoever ends it need not know of the former one.
    site.url = again;
    let held = site.held("LOCK TABLE users IN ACCESS EXCLUSIVE MODE");
    let mut child = site.restoring(&file, &more).spawn().unwrap();
    site.wait_held_up(&mut child);
    killed(child);
    drop(held);
    assert!(site.begun(&config).unwrap_err().contains("restauration inachevée"));
    let done = site.restored(&file, &[]);
    assert_eq!((&done["completed_earlier"], &done["accounts_off"]), (&Value::Bool(true), &Value::from(1)), "{done}");
    let listed: Value = serde_json::from_str(&site.ok(&["analyst", "users", "list", "--json", "--config", &config])).unwrap();
    assert_eq!((&listed[0]["id"], &listed[0]["enabled"]), (&Value::from("login:ada"), &Value::Bool(false)), "{listed}");
}

#[test]
fn every_process_of_a_role_enters_the_restoration_and_partners_are_told_of_it_once() {
    if On::Postgres.is_missing() {
        return;
    }
    let mut site = Site::new(Role::Custodian, 53);
    let role = site.role.clone();
    let node = Role::Node(site.federation.parties[0].clone());
    let path = site.federation.config(&node);
    fs::write(&path, format!("checkpoint_minutes = 0\n{}", fs::read_to_string(&path).unwrap())).unwrap();
    let homes = ["a", "b"].map(|name| site.federation.folder.join(format!("tiers-{name}")));
    let become_ = |site: &mut Site, number: usize| {
        site.federation.set(&role, "data_dir", homes[number].to_str().unwrap());
        let name = ["a", "b"][number].to_owned();
        site.federation.environment_of.insert(role.clone(), vec![("LINKAGE_REPLICA".to_owned(), name)]);
    };
    let told = |site: &Site, what: &str| site.acts(&node).iter().filter(|act| *act == what).count();
    // One process after the other serves under the same address until the node has countersigned its log.
    let serve = |site: &mut Site, number: usize, what: &str, times: usize| {
        become_(site, number);
        site.federation.start(&role);
        wait_for(&format!("the node has entered {what} {times} time(s)"), || {
            site.federation.check();
            (told(site, what) == times).then_some(())
        });
        site.federation.stop(&role);
    };
    site.federation.start(&node);
    serve(&mut site, 0, "checkpoint.countersigned", 1);
    serve(&mut site, 1, "checkpoint.new-log", 1);
    become_(&mut site, 0);
    let file = site.saved("tiers");
    let aside = homes[0].with_extension("ancien");
    fs::rename(&homes[0], &aside).unwrap();
    site.restored(&file, &["--former", aside.to_str().unwrap()]);

    serve(&mut site, 1, "checkpoint.restored", 1);
    serve(&mut site, 0, "checkpoint.new-log", 2);
    assert_eq!((told(&site, "checkpoint.restored"), told(&site, "checkpoint.rewritten")), (1, 0));
    let mut moments = Vec::new();
    for number in [0, 1] {
        become_(&mut site, number);
        let config = site.config();
        site.ok(&["audit", "verify", "--config", &config]);
        assert_eq!(site.acts(&role).iter().filter(|act| *act == "backup.restored").count(), 1);
        let logs = parts(&homes[number].join("audit"), ["a", "b"][number]).unwrap();
        assert_eq!(logs.len(), 2, "{logs:?}");
        moments.push(restoration(&logs[1].log).unwrap().to_owned());
    }
    assert_eq!(moments[0], moments[1]);
}
