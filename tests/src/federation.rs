//! A federation of real processes on loopback: set up by `linkage demo --set-up-only`, each role started with `linkage ROLE
//! serve`, watched through files and the command line, killed and started again.
//!
//! The harness owns every organisation's disk and knows the truth, as nobody does outside a test. It uses no time as a
//! verdict: every wait has a limit for a machine that is stuck, far above what a busy one needs.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use linkage_common::config::load_config;
use linkage_common::database::Place;
use linkage_common::store::Pool;
use linkage_node::Node;
use linkage_node::config::NodeConfig;
pub use linkage_test_databases::free_port;
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Row as _};
use tempfile::TempDir;

/// Longest wait for anything, reached by a test that fails.
pub const LIMIT: Duration = Duration::from_secs(420);
const LOOK: Duration = Duration::from_millis(100);

/// A process of the federation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The broker.
    Broker,
    /// The custodian.
    Custodian,
    /// The analyst's side.
    Analyst,
    /// The node of a party.
    Node(String),
}

impl Role {
    /// The command that serves it.
    pub fn command(&self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Custodian => "custodian",
            Self::Analyst => "analyst",
            Self::Node(_) => "node",
        }
    }
    /// Its folder, within the site.
    pub fn home(&self) -> String {
        match self {
            Self::Broker => "courtier".to_owned(),
            Self::Custodian => "tiers".to_owned(),
            Self::Analyst => "etude".to_owned(),
            Self::Node(party) => format!("noeuds/{party}"),
        }
    }
    fn log_name(&self) -> String {
        match self {
            Self::Node(party) => format!("node-{party}"),
            other => other.command().to_owned(),
        }
    }
}

/// One delivery of the synthetic data.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Party.
    pub party: String,
    /// The file in the party's own format.
    pub file: PathBuf,
}

/// A site and its processes. Dropping it ends the processes and removes the folder.
pub struct Federation {
    /// The site's folder.
    pub folder: PathBuf,
    /// Seed of data and keys.
    pub seed: u64,
    /// Parties; the first is the coordinator.
    pub parties: Vec<String>,
    /// `LINKAGE_LOG` of the processes.
    pub log_filter: String,
    /// Further variables of the processes' environment.
    pub environment: Vec<(String, String)>,
    /// Address of the custodian's database, when it is no file.
    pub custodian_database: Option<String>,
    /// Programs of the roles that do not run [`binary`].
    pub programs: BTreeMap<Role, PathBuf>,
    /// Further variables of single roles' environments, their operators' commands included.
    pub environment_of: BTreeMap<Role, Vec<(String, String)>>,
    processes: BTreeMap<Role, Child>,
    _temporary: Option<TempDir>,
}

/// The binary under test.
///
/// # Panics
/// When it was not built.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("LINKAGE_BIN")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug/linkage"), PathBuf::from);
    assert!(path.is_file(), "{} is missing: run `cargo build -p linkage` first (tests/run.sh does)", path.display());
    path
}

/// Runs the command line.
pub fn linkage<I: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = I>) -> Output {
    Command::new(binary()).args(arguments).stdin(Stdio::null()).env("LINKAGE_LOG", "warn").output().unwrap()
}

/// Runs the command line and requires success; its standard output.
pub fn linkage_ok<I: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = I>) -> String {
    let arguments: Vec<std::ffi::OsString> = arguments.into_iter().map(|a| a.as_ref().to_owned()).collect();
    let output = linkage(&arguments);
    assert!(
        output.status.success(),
        "linkage {arguments:?} failed ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Looks until `found` gives something.
///
/// # Panics
/// At [`LIMIT`], naming `what`.
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(started.elapsed() < LIMIT, "waited {LIMIT:?} for: {what}");
        std::thread::sleep(LOOK);
    }
}

impl Federation {
    /// Makes a site of `persons` over `months` from `seed`, nothing started yet.
    pub fn set_up(persons: u64, months: u32, seed: u64) -> Self {
        Self::set_up_by(&binary(), persons, months, seed)
    }

    /// The same, made by another version of the program.
    pub fn set_up_by(program: &Path, persons: u64, months: u32, seed: u64) -> Self {
        let temporary = tempfile::Builder::new().prefix("linkage-e2e-").tempdir().unwrap();
        let folder = temporary.path().join("site");
        let numbers = [persons.to_string(), months.to_string(), seed.to_string()];
        let [persons, months, seed_text] = &numbers;
        let made = Command::new(program)
            .args(["demo", "--set-up-only", "--persons", persons, "--months", months, "--seed", seed_text, "--keep"])
            .arg(&folder)
            .stdin(Stdio::null())
            .env("LINKAGE_LOG", "warn")
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self::adopt(folder, seed, Some(temporary))
    }

    /// Takes over the kept folder of a demonstration; `temporary`, if given, is removed in the end.
    pub fn adopt(folder: PathBuf, seed: u64, temporary: Option<TempDir>) -> Self {
        let folder = folder.canonicalize().unwrap();
        let agreement = fs::read_to_string(folder.join("convention.toml")).unwrap();
        let coordinator = agreement.lines().find_map(|l| l.strip_prefix("coordinator = ")).unwrap().trim_matches('"').to_owned();
        let mut parties: Vec<String> =
            fs::read_dir(folder.join("noeuds")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        parties.sort_by_key(|p| (*p != coordinator, p.clone()));
        let federation = Self {
            folder,
            seed,
            parties,
            log_filter: "info".to_owned(),
            environment: Vec::new(),
            custodian_database: None,
            programs: BTreeMap::new(),
            environment_of: BTreeMap::new(),
            processes: BTreeMap::new(),
            _temporary: temporary,
        };
        for (role, place) in [(Role::Broker, 0), (Role::Custodian, 0), (Role::Analyst, 0), (Role::Analyst, 1)] {
            // An analyst listens for the other roles, and for its page.
            let text = fs::read_to_string(federation.config(&role)).unwrap();
            let old =
                text.lines().filter_map(|line| line.strip_prefix("listen = ")).nth(place).unwrap().trim_matches('"').to_owned();
            let new = format!("127.0.0.1:{}", free_port());
            for other in federation.roles() {
                let path = federation.config(&other);
                let text = fs::read_to_string(&path).unwrap().replace(&old, &new);
                fs::write(&path, text).unwrap();
            }
        }
        federation
    }

    /// All roles, servers first.
    pub fn roles(&self) -> Vec<Role> {
        let nodes = self.parties.iter().cloned().map(Role::Node);
        [Role::Broker, Role::Custodian, Role::Analyst].into_iter().chain(nodes).collect()
    }

    /// The nodes.
    pub fn nodes(&self) -> Vec<Role> {
        self.parties.iter().cloned().map(Role::Node).collect()
    }

    /// A role's folder.
    pub fn home(&self, role: &Role) -> PathBuf {
        self.folder.join(role.home())
    }

    /// A role's configuration file.
    pub fn config(&self, role: &Role) -> PathBuf {
        self.home(role).join("linkage.toml")
    }

    /// The coordinator's configuration, for commands on runs.
    pub fn coordinator(&self) -> PathBuf {
        self.config(&Role::Node(self.parties[0].clone()))
    }

    /// A text setting of a role's configuration.
    pub fn setting(&self, role: &Role, key: &str) -> String {
        let text = fs::read_to_string(self.config(role)).unwrap();
        let start = format!("{key} = ");
        text.lines().find_map(|l| l.strip_prefix(&start)).unwrap().trim_matches('"').to_owned()
    }

    /// Changes a text setting of a role's configuration.
    pub fn set(&self, role: &Role, key: &str, value: &str) {
        let old = self.setting(role, key);
        let path = self.config(role);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen(&format!("{key} = \"{old}\""), &format!("{key} = \"{value}\""), 1)).unwrap();
        assert_eq!(self.setting(role, key), value);
    }

    /// A role's log over all its lives.
    pub fn log(&self, role: &Role) -> PathBuf {
        self.folder.join("journaux").join(format!("{}.log", role.log_name()))
    }

    /// The text of a role's log.
    pub fn log_text(&self, role: &Role) -> String {
        fs::read(self.log(role)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The program of a role, in the environment of its own.
    pub fn command_of(&self, role: &Role) -> Command {
        let mut command = Command::new(self.programs.get(role).cloned().unwrap_or_else(binary));
        command.envs(self.environment_of.get(role).into_iter().flatten().map(|(name, value)| (name, value)));
        command
    }

    /// What the coordinator's operator is answered.
    fn asked(&self, arguments: &[&str]) -> Output {
        let mut command = self.command_of(&Role::Node(self.parties[0].clone()));
        command.args(arguments).stdin(Stdio::null()).env("LINKAGE_LOG", "warn").output().unwrap()
    }

    /// Starts a role that is not running; a server is waited for until it listens.
    pub fn start(&mut self, role: &Role) {
        assert!(!self.processes.contains_key(role), "{role:?} runs already");
        let before = self.log_text(role).matches("listening").count();
        let log: File = OpenOptions::new().create(true).append(true).open(self.log(role)).unwrap();
        let child = self
            .command_of(role)
            .args([role.command(), "serve", "--config"])
            .arg(self.config(role))
            .env("LINKAGE_EXIT_WITH_PARENT", "1")
            .env("LINKAGE_LOG", &self.log_filter)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.processes.insert(role.clone(), child);
        if !matches!(role, Role::Node(_)) {
            wait_for(&format!("{role:?} listens"), || {
                self.check();
                (self.log_text(role).matches("listening").count() > before).then_some(())
            });
        }
    }

    /// Starts all roles that are not running.
    pub fn start_all(&mut self) {
        for role in self.roles() {
            if !self.processes.contains_key(&role) {
                self.start(&role);
            }
        }
    }

    /// Memory of a running role that is in use now, in bytes (`VmRSS`), and the most that ever was (`VmHWM`).
    pub fn memory(&self, role: &Role) -> (u64, u64) {
        memory_of(self.processes[role].id())
    }

    /// Ends a role at once with SIGKILL and waits until it is gone.
    pub fn kill(&mut self, role: &Role) {
        let mut child = self.processes.remove(role).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a signal to a running role (`STOP`, `CONT`, `TERM`).
    pub fn signal(&self, role: &Role, signal: &str) {
        let id = self.processes[role].id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
    }

    /// Stops a role with SIGTERM and waits; it must end with success.
    pub fn stop(&mut self, role: &Role) {
        self.signal(role, "TERM");
        let mut child = self.processes.remove(role).unwrap();
        let status = wait_for(&format!("{role:?} stops"), || child.try_wait().unwrap());
        assert!(status.success(), "{role:?} ended with {status}");
    }

    /// Stops what runs, nodes first.
    pub fn stop_all(&mut self) {
        for role in self.roles().into_iter().rev() {
            if self.processes.contains_key(&role) {
                self.stop(&role);
            }
        }
    }

    /// Fails when a role has ended by itself.
    pub fn check(&mut self) {
        let mut ended = Vec::new();
        for (role, child) in &mut self.processes {
            if let Some(status) = child.try_wait().unwrap() {
                ended.push((role.clone(), status));
            }
        }
        if let Some((role, status)) = ended.first() {
            panic!("{role:?} ended by itself ({status}):\n{}", tail(&self.log_text(role)));
        }
    }

    /// Texts that everyone may read and that hold ordinary words, some of which are names too: agreement, column mappings.
    pub fn public_text(&self) -> String {
        let mappings = self.nodes().into_iter().map(|node| self.home(&node).join("correspondance.toml"));
        let all = mappings.chain([self.folder.join("convention.toml")]);
        all.map(|path| fs::read_to_string(path).unwrap()).collect()
    }

    /// The deliveries of a month.
    pub fn deliveries(&self, month: &str) -> Vec<Delivery> {
        let data = self.folder.join("donnees");
        self.parties
            .iter()
            .map(|party| {
                let start = format!("{party}_{month}.");
                let mut file = fs::read_dir(data.join(party)).unwrap().map(|e| e.unwrap().path());
                let file = file.find(|p| p.file_name().unwrap().to_string_lossy().starts_with(&start)).unwrap();
                Delivery { party: party.clone(), file }
            })
            .collect()
    }

    /// Puts a file into a node's inbox, whole.
    pub fn put(&self, party: &str, month: &str, file: &Path) -> PathBuf {
        let inbox = self.home(&Role::Node(party.to_owned())).join("depot").join(month);
        fs::create_dir_all(&inbox).unwrap();
        let name = file.file_name().unwrap();
        let part = inbox.join(format!("{}.part", name.to_string_lossy()));
        fs::copy(file, &part).unwrap();
        let whole = inbox.join(name);
        fs::rename(part, &whole).unwrap();
        whole
    }

    /// Puts every party's file of a month into its inbox.
    pub fn deliver(&self, month: &str) {
        for delivery in self.deliveries(month) {
            self.put(&delivery.party, month, &delivery.file);
        }
    }

    /// Waits until every node has taken a month's delivery in and emptied its inbox.
    pub fn wait_ingested(&mut self, month: &str) {
        for party in self.parties.clone() {
            let node = Role::Node(party.clone());
            let state = PathBuf::from(self.setting(&node, "state_dir"));
            let inbox = self.home(&node).join("depot").join(month);
            wait_for(&format!("{party} takes in {month}"), || {
                self.check();
                let taken = state.join(format!("deliveries/{month}.enc")).is_file();
                (taken && fs::read_dir(&inbox).unwrap().next().is_none()).then_some(())
            });
        }
    }

    /// Opens a run through the command line, as the coordinator; tried again while the broker is away.
    pub fn open_run(&self, run: &str, month: &str) {
        self.open_run_with(run, month, &[]);
    }

    /// The same with other options of `linkage run open`.
    pub fn open_run_with(&self, run: &str, month: &str, options: &[&str]) {
        let config = self.coordinator();
        let fixed = ["run", "open", "--json", "--run", run, "--period", month, "--config", config.to_str().unwrap()];
        let arguments: Vec<&str> = fixed.iter().chain(options).copied().collect();
        wait_for(&format!("run {run} opens"), || self.asked(&arguments).status.success().then_some(()));
    }

    /// Facts of a run, through the command line; none while the broker is away.
    pub fn run_status(&self, run: &str) -> Option<Value> {
        let config = self.coordinator();
        let output = self.asked(&["run", "status", "--json", "--run", run, "--config", config.to_str().unwrap()]);
        let facts: Value = serde_json::from_slice(&output.stdout).ok()?;
        facts.get(0).cloned()
    }

    /// Waits until a run is closed and the analyst holds its link table.
    pub fn wait_closed(&mut self, run: &str) {
        wait_for(&format!("run {run} is closed"), || {
            self.check();
            let status = self.run_status(run)?;
            let state = status["state"].as_str().unwrap().to_owned();
            assert!(state != "en échec" && state != "annulé", "run {run}: {status}");
            (state == "clos").then_some(())
        });
        let report = self.tables(run).join("report.json");
        wait_for(&format!("the analyst holds {run}"), || {
            self.check();
            report.is_file().then_some(())
        });
    }

    /// Folder of a run's tables at the analyst's.
    pub fn tables(&self, run: &str) -> PathBuf {
        self.home(&Role::Analyst).join("donnees/tables").join(run)
    }

    /// Rows of the analyst's link table.
    pub fn link_table(&self, run: &str) -> Vec<Vec<String>> {
        let text = fs::read_to_string(self.tables(run).join("link_table.csv")).unwrap();
        text.lines().skip(1).map(|l| l.split(',').map(str::to_owned).collect()).collect()
    }

    /// The rows of a run at the custodian with record references turned back into local ids by each node: party, local id,
    /// person, class and probability of the match.
    pub fn rows(&self, run: &str, month: &str) -> Vec<(String, String, Vec<u8>, i64, i64)> {
        let mut owners = HashMap::new();
        let truth = fs::read_to_string(self.folder.join("donnees/truth/truth.csv")).unwrap();
        for party in &self.parties {
            let config: NodeConfig = load_config(&self.config(&Role::Node(party.clone()))).unwrap();
            let node = Node::open(config).unwrap();
            let ids: Vec<&str> = truth
                .lines()
                .filter_map(|line| {
                    let cells: Vec<&str> = line.split(',').collect();
                    (cells[0] == party && cells[1] == month).then(|| cells[2])
                })
                .collect();
            for (id, reference) in ids.iter().zip(node.references_of(ids.iter().copied()).unwrap()) {
                if let Some(reference) = reference {
                    owners.insert((party.clone(), reference.0.to_vec()), (*id).to_owned());
                }
            }
        }
        let mut rows: Vec<(String, String, Vec<u8>, i64, i64)> = self
            .custodian_rows(run)
            .into_iter()
            .map(|row| {
                let (party, reference): (String, Vec<u8>) = (row.get("party"), row.get("ref"));
                let id = owners[&(party.clone(), reference)].clone();
                (party, id, row.get("person"), row.get("match_class"), row.get("probability"))
            })
            .collect();
        rows.sort();
        rows
    }

    /// A run's links as `linkage trial` writes them.
    pub fn links(&self, run: &str, month: &str) -> String {
        let mut numbers: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut text = "person,party,local_id,match_class,probability\n".to_owned();
        for (party, id, person, class, probability) in self.rows(run, month) {
            let next = numbers.len() + 1;
            let number = *numbers.entry(person).or_insert(next);
            let class_name = ["single", "certain", "probable"][class.min(2) as usize];
            let probability = if class == 0 { String::new() } else { format!("{:.4}", probability as f64 / 10_000.0) };
            text.push_str(&format!("P{number:08},{party},{id},{class_name},{probability}\n"));
        }
        text
    }

    fn custodian_rows(&self, run: &str) -> Vec<linkage_common::store::Row> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let path = PathBuf::from(self.setting(&Role::Custodian, "data_dir")).join("custodian.sqlite");
            let place = Place::of(self.custodian_database.as_deref(), &path).unwrap();
            let pool = Pool::connect(&place, "").await.unwrap();
            let select = "SELECT l.party, l.ref, p.person, l.match_class, l.probability FROM runs
                JOIN link_rows l ON l.id >= runs.first_row AND l.id < runs.first_row + runs.row_count
                JOIN persons p ON p.number = l.person WHERE runs.run_id = $1";
            sqlx::query(select).bind(run).fetch_all(&pool).await.unwrap()
        })
    }

    /// Evaluations that the custodian counted for each party in a month.
    pub fn evaluations(&self, month: &str) -> BTreeMap<String, i64> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let path = PathBuf::from(self.setting(&Role::Custodian, "data_dir")).join("custodian.sqlite");
            let mut connection = SqliteConnectOptions::new().filename(path).read_only(true).connect().await.unwrap();
            let select = "SELECT party, used FROM budgets WHERE period = ?";
            let rows = sqlx::query(select).bind(month).fetch_all(&mut connection).await.unwrap();
            rows.iter().map(|row| (row.get(0), row.get(1))).collect()
        })
    }

    /// The links that `linkage trial` finds in a month's files under this site's agreement, mappings and keys.
    pub fn trial(&self, run: &str, month: &str) -> String {
        let out = tempfile::tempdir().unwrap();
        let seed = self.seed.to_string();
        let agreement = self.folder.join("convention.toml");
        let mut arguments: Vec<String> =
            ["trial", "--json", "--seed", &seed, "--run", run, "--period", month].map(str::to_owned).to_vec();
        for (key, path) in [("--agreement", agreement.as_path()), ("--out", out.path())] {
            arguments.extend([key.to_owned(), path.display().to_string()]);
        }
        for delivery in self.deliveries(month) {
            let mapping = self.home(&Role::Node(delivery.party.clone())).join("correspondance.toml");
            arguments.extend(["--input".to_owned(), format!("{}={}", delivery.party, delivery.file.display())]);
            arguments.extend(["--mapping".to_owned(), format!("{}={}", delivery.party, mapping.display())]);
        }
        linkage_ok(&arguments);
        fs::read_to_string(out.path().join("links.csv")).unwrap()
    }

    /// Requires that a run's link table names every record of its links once, at custodian and analyst.
    pub fn assert_once(&self, run: &str, links: &str) {
        let table = self.link_table(run);
        let mut records: Vec<&String> = table.iter().map(|row| &row[2]).collect();
        assert_eq!(records.len(), links.lines().count() - 1, "run {run}: rows of the analyst's link table");
        records.sort();
        records.dedup();
        assert_eq!(records.len(), table.len(), "run {run}: a record stands twice in the link table");
    }
}

impl Drop for Federation {
    fn drop(&mut self) {
        for child in self.processes.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for role in self.roles() {
                println!("--- end of the log of {role:?}\n{}", tail(&self.log_text(&role)));
            }
        }
    }
}

/// Memory of a process in use now and the most that ever was, in bytes.
pub fn memory_of(process: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let of = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    };
    (of("VmRSS:"), of("VmHWM:"))
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

/// Every file below `folder`, with its path relative to it.
pub fn files(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let Ok(entries) = fs::read_dir(&next) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                open.push(path);
            } else {
                found.push((path.strip_prefix(folder).unwrap().display().to_string(), path));
            }
        }
    }
    found.sort();
    found
}
