//! Servers for tests: a PostgreSQL shared by the test processes, with an empty database for each test; an object store; free ports.
//!
//! A server is made by `initdb` in a temporary folder, listens on a socket in it, and is not run as root. The shared one is
//! started by the first test that asks and ended by a watchdog once no test process has used it for a while; nothing of it
//! stays. Where PostgreSQL is not installed, tests fail and say so, unless `LINKAGE_NO_POSTGRES` is set: `tests/run.sh`
//! installs it and never sets that in CI.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::disallowed_methods)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

mod ports;

pub use ports::free_port;

/// Which database a test of a store runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// SQLite, in a file.
    Sqlite,
    /// PostgreSQL, shared server.
    Postgres,
}

impl On {
    /// The address of a new, empty database of the shared server; `None` on SQLite.
    pub fn url(self) -> Option<String> {
        (self == Self::Postgres).then(new_database)
    }
    /// Whether the test cannot be run here: there is no PostgreSQL, and `LINKAGE_NO_POSTGRES` says that this is known.
    pub fn is_missing(self) -> bool {
        self == Self::Postgres && bin_dir().is_none() && std::env::var_os("LINKAGE_NO_POSTGRES").is_some()
    }
}

/// Makes two tests of each function `async fn name(on: On)` of the module: one on SQLite, one on PostgreSQL.
#[macro_export]
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::On::Sqlite).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if !$crate::On::Postgres.is_missing() {
                    super::$name($crate::On::Postgres).await;
                }
            })*
        }
    };
}

/// The folder of PostgreSQL's programs: of `pg_config`, of Debian's newest version, or of the search path.
pub fn bin_dir() -> Option<PathBuf> {
    let asked = Command::new("pg_config").arg("--bindir").output().ok().filter(|answer| answer.status.success());
    let asked = asked.and_then(|answer| String::from_utf8(answer.stdout).ok()).map(|path| PathBuf::from(path.trim()));
    let mut debian: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|found| found.filter_map(|version| Some(version.ok()?.path().join("bin"))).collect())
        .unwrap_or_default();
    debian.sort_by_key(|path| path.components().rev().nth(1).and_then(|v| v.as_os_str().to_str()?.parse::<u32>().ok()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let searched = std::env::split_paths(&path).collect::<Vec<_>>();
    asked.into_iter().chain(debian.into_iter().rev()).chain(searched).find(|dir| dir.join("initdb").is_file())
}

fn programs() -> PathBuf {
    bin_dir().expect("these tests need PostgreSQL: install it (Debian: apt-get install postgresql), or set LINKAGE_NO_POSTGRES=1")
}

/// A command that is not run as root: PostgreSQL refuses to be.
fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).env("LC_ALL", "C").current_dir("/");
    if is_root() {
        std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
        std::os::unix::process::CommandExt::gid(&mut command, NOBODY);
    }
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command
}

const NOBODY: u32 = 65_534;

fn account() -> u32 {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap())
}

fn is_root() -> bool {
    account() == 0
}

/// A PostgreSQL server of one test, which may end and start it. It is ended with the value.
#[derive(Debug)]
pub struct OwnServer {
    folder: tempfile::TempDir,
    port: u16,
    /// Settings as for `postgres -c`.
    settings: Vec<String>,
}

impl OwnServer {
    /// A new server with further `settings`, on TCP at 127.0.0.1 and on a socket.
    pub fn start(settings: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("linkage-pg").tempdir_in("/tmp").unwrap();
        let port = free_port();
        make(folder.path());
        let settings = settings.iter().map(|&s| s.to_owned()).collect();
        let server = Self { folder, port, settings };
        server.resume();
        server
    }
    /// Starts it again.
    pub fn resume(&self) {
        let mut options = format!("-c port={} -c listen_addresses=127.0.0.1", self.port);
        for setting in &self.settings {
            options.push_str(&format!(" -c {setting}"));
        }
        launch(self.folder.path(), &options);
    }
    /// Has it speak TLS with this certificate and key (PEM), from now on.
    pub fn secure(&self, certificate: &str, key: &str) {
        for (name, pem) in [("server.crt", certificate), ("server.key", key)] {
            let path = self.folder.path().join("data").join(name);
            std::fs::write(&path, pem).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            if is_root() {
                std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        let settings = self.folder.path().join("data/postgresql.auto.conf");
        std::fs::write(settings, "ssl = on\n").unwrap();
        self.crash();
        self.resume();
    }
    /// Ends it as a crash does: connections are cut, the log is replayed at the next start.
    pub fn crash(&self) {
        halt(self.folder.path(), "immediate");
    }
    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }
    /// The address of a new, empty database.
    pub fn database(&self) -> String {
        let name = create(self.folder.path(), self.port);
        format!("postgresql://linkage@127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        halt(self.folder.path(), "immediate");
    }
}

/// initdb in `folder`, whose files the server's account owns then.
fn make(folder: &Path) {
    if is_root() {
        std::os::unix::fs::chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let made = unprivileged(&programs().join("initdb"))
        .args(["--username=linkage", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata"])
        .arg(folder.join("data"))
        .stderr(Stdio::inherit())
        .status();
    assert!(made.unwrap().success(), "initdb failed");
}

fn launch(folder: &Path, options: &str) {
    // A commit that a killed server had acknowledged is there still: the machine goes on, so nothing is synchronised.
    let options = format!("{options} -c fsync=off -c max_connections=200 -c shared_buffers=64MB -k {}", folder.display());
    let started = unprivileged(&programs().join("pg_ctl"))
        .args(["start", "--wait", "--timeout=120", "--silent", "--pgdata"])
        .arg(folder.join("data"))
        .arg("--log")
        .arg(folder.join("log"))
        .args(["--options", &options])
        .status();
    let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    assert!(started.unwrap().success(), "the server did not start: {}", log());
}

fn halt(folder: &Path, how: &str) {
    let mut command = unprivileged(&programs().join("pg_ctl"));
    let _ = command.args(["stop", "--wait", "--mode", how, "--pgdata"]).arg(folder.join("data")).status();
}

/// Makes an empty database and returns its name.
fn create(folder: &Path, port: u16) -> String {
    let name = format!("t{:016x}", getrandom::u64().unwrap());
    let made = Command::new(programs().join("createdb"))
        .args(["--username=linkage", "--template=template0", "--port", &port.to_string(), "--host"])
        .arg(folder)
        .arg(&name)
        .output()
        .unwrap();
    assert!(made.status.success(), "createdb: {:?}", std::str::from_utf8(&made.stderr));
    name
}

/// Port of the shared server: a name of its socket only.
const SHARED_PORT: u16 = 5432;

/// Ends the shared server once no test process holds the file of its users; looks every twenty seconds, twice in a row.
const WATCHDOG: &str = r#"
while sleep 20; do
    flock --nonblock --exclusive "$1/users" true || continue
    sleep 10
    flock --nonblock --exclusive "$1/users" sh -c '
        as=; [ "$(id -u)" -ne 0 ] || as="setpriv --reuid=65534 --regid=65534 --clear-groups"
        $as "$2/pg_ctl" stop --mode immediate --pgdata "$1/data"
        rm -rf "$1/data" "$1/ready"' sh "$1" "$2" && exit
done"#;

fn new_database() -> String {
    static SHARED: OnceLock<(PathBuf, File)> = OnceLock::new();
    let (folder, _) = SHARED.get_or_init(shared);
    let name = create(folder, SHARED_PORT);
    format!("postgresql://linkage@localhost:{SHARED_PORT}/{name}?host={}", folder.display())
}

/// The shared server's folder, and the lock that keeps it running while this process lives.
fn shared() -> (PathBuf, File) {
    // One for each account; short, for the path of a socket has a hundred bytes at most.
    let folder = PathBuf::from(format!("/tmp/linkage-test-postgres-{}", account()));
    std::fs::create_dir_all(&folder).unwrap();
    let users = File::options().create(true).append(true).open(folder.join("users")).unwrap();
    users.lock_shared().unwrap();
    let starting = File::options().create(true).append(true).open(folder.join("starting")).unwrap();
    starting.lock().unwrap();
    if !folder.join("ready").exists() {
        let _ = std::fs::remove_dir_all(folder.join("data"));
        make(&folder);
        launch(&folder, &format!("-c port={SHARED_PORT} -c listen_addresses=''"));
        File::create(folder.join("ready")).unwrap();
        let mut watchdog = Command::new("setsid");
        watchdog.args(["sh", "-c", WATCHDOG, "sh"]).arg(&folder).arg(programs());
        #[expect(clippy::zombie_processes, reason = "it outlives this process: it stops the server once nobody uses it")]
        watchdog.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    }
    drop(starting);
    (folder, users)
}

/// An S3-compatible server (moto) with one bucket, in memory; ended with the value.
#[derive(Debug)]
pub struct ObjectServer {
    server: std::process::Child,
    port: u16,
}

/// Whether object storage cannot be tested here, and `LINKAGE_NO_OBJECTS` says that this is known.
pub fn objects_are_missing() -> bool {
    std::env::var_os("LINKAGE_NO_OBJECTS").is_some()
}

impl ObjectServer {
    /// Starts it, with the bucket `linkage`.
    pub fn start() -> Self {
        let libraries = std::env::var_os("LINKAGE_OBJECT_SERVER")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/objects"), PathBuf::from);
        let port = free_port();
        let server = Command::new("python3")
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .env("PYTHONPATH", libraries)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { server, port };
        for _ in 0..600 {
            if server.make_bucket().is_ok() {
                return server;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("the object server does not answer: `tests/run.sh` installs it (tests/objects/requirements.txt)");
    }
    /// Its address.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
    fn make_bucket(&self) -> std::io::Result<()> {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port))?;
        stream.write_all(b"PUT /linkage HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.contains(" 200 ") { Ok(()) } else { Err(std::io::Error::other(answer)) }
    }
}

impl Drop for ObjectServer {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
