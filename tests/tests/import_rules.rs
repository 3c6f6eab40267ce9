//! Who may reach whom: the import rules of docs/architecture.md, checked over the packages that cargo resolves.
//!
//! What a role cannot reach it cannot leak: the broker that has no code for names cannot read one by mistake. The rules
//! hold over normal and build dependencies, on every platform and along any path; development dependencies are not
//! shipped and may cross them. Each rule is also shown to fail on a made-up graph.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// Packages by name, with those that each depends on.
#[derive(Default, Clone)]
struct Graph {
    depends_on: BTreeMap<String, BTreeSet<String>>,
    /// Workspace folder of each package of this project.
    folders: BTreeMap<String, String>,
}

impl Graph {
    fn of(metadata: &Metadata) -> Self {
        let names: BTreeMap<_, _> = metadata.packages.iter().map(|p| (&p.id, p.name.to_string())).collect();
        let mut graph = Self::default();
        for node in &metadata.resolve.as_ref().unwrap().nodes {
            let shipped = node.deps.iter().filter(|d| d.dep_kinds.iter().any(|k| k.kind != DependencyKind::Development));
            graph.depends_on.entry(names[&node.id].clone()).or_default().extend(shipped.map(|d| names[&d.pkg].clone()));
        }
        for package in metadata.workspace_packages() {
            let folder = package.manifest_path.parent().unwrap().strip_prefix(&metadata.workspace_root).unwrap();
            graph.folders.insert(package.name.to_string(), folder.to_string());
        }
        graph
    }

    /// The packages of this project that `chosen` takes by their folder.
    fn members(&self, chosen: impl Fn(&str) -> bool) -> Vec<&str> {
        self.folders.iter().filter(|(_, folder)| chosen(folder)).map(|(name, _)| name.as_str()).collect()
    }

    /// Shortest way from `start` to each package that it reaches.
    fn ways<'g>(&'g self, start: &'g str) -> BTreeMap<&'g str, Vec<&'g str>> {
        let mut ways = BTreeMap::from([(start, vec![start])]);
        let mut next = VecDeque::from([start]);
        while let Some(at) = next.pop_front() {
            for to in self.depends_on.get(at).into_iter().flatten() {
                if !ways.contains_key(to.as_str()) {
                    let way = ways[at].iter().copied().chain([to.as_str()]).collect();
                    ways.insert(to, way);
                    next.push_back(to);
                }
            }
        }
        ways
    }

    /// Every way from one of `from` to one of `to`.
    fn forbid(&self, rule: &str, from: &[&str], to: &[&str], broken: &mut Vec<String>) {
        for start in from {
            let ways = self.ways(start);
            let met = to.iter().filter(|target| *target != start).filter_map(|target| ways.get(target));
            broken.extend(met.map(|way| format!("{rule}: {}", way.join(" -> "))));
        }
    }
}

/// What each role works with, beside `linkage-common`, `linkage-proto`, `linkage-agreement` and `linkage-crypto`. A node takes from
/// `linkage-linking` the level tables that it sends in aggregate (docs/adr/0004), and makes the filters and keys of other
/// profiles (docs/adr/0018).
const OWN: [(&str, &[&str]); 4] = [
    ("linkage-node", &["linkage-encoding", "linkage-linking", "linkage-clk", "linkage-clk-encode", "linkage-hash-keys"]),
    ("linkage-broker", &["linkage-linking", "linkage-clk"]),
    ("linkage-custodian", &[]),
    ("linkage-analyst", &["linkage-cohort"]),
];
const SHARED: [&str; 4] = ["linkage-common", "linkage-proto", "linkage-agreement", "linkage-crypto"];

fn broken_rules(graph: &Graph) -> Vec<String> {
    let mut broken = Vec::new();
    let core = graph.members(|folder| folder.starts_with("linkage-core/"));
    let roles = OWN.map(|(role, _)| role);
    graph.forbid(
        "no names outside the node",
        &["linkage-broker", "linkage-custodian", "linkage-analyst"],
        &["linkage-encoding", "linkage-hash-keys", "linkage-clk-encode", "csv", "calamine"],
        &mut broken,
    );
    // The broker links keys (linkage-linking); making them takes names, and reversing them is a demonstration.
    let but_the_binary = graph.members(|folder| folder != "services/linkage");
    graph.forbid("only the command line attacks", &but_the_binary, &["linkage-attack"], &mut broken);
    graph.forbid("the analyst does not link", &["linkage-analyst"], &["linkage-linking", "linkage-encoding"], &mut broken);
    graph.forbid(
        "core crates do no input or output",
        &core,
        &["tokio", "tonic", "sqlx", "reqwest", "hyper", "rustls", "object_store", "tracing-subscriber"],
        &mut broken,
    );
    graph.forbid("core crates know no wire", &core, &["linkage-proto"], &mut broken);
    graph.forbid("core crates know no service", &core, &graph.members(|folder| folder.starts_with("services/")), &mut broken);
    for (role, own) in OWN {
        let others: Vec<_> = roles.into_iter().filter(|other| *other != role).collect();
        graph.forbid("roles meet on the wire only", &[role], &others, &mut broken);
        let all = graph.members(|_| true);
        let foreign: Vec<_> =
            all.into_iter().filter(|m| *m != role && !roles.contains(m) && !own.contains(m) && !SHARED.contains(m)).collect();
        graph.forbid("a role has its own crates only", &[role], &foreign, &mut broken);
    }
    // Randomness is given to core crates; what they depend on may be able to draw, they may not ask it to.
    for name in core {
        for source in ["getrandom", "rand"] {
            if graph.depends_on.get(name).is_some_and(|to| to.contains(source)) {
                broken.push(format!("core crates draw nothing: {name} -> {source}"));
            }
        }
    }
    broken
}

fn metadata() -> Metadata {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    MetadataCommand::new().manifest_path(manifest).other_options(["--locked".to_owned()]).exec().unwrap()
}

#[test]
fn the_workspace_keeps_the_rules() {
    let metadata = metadata();
    let graph = Graph::of(&metadata);
    assert_eq!(broken_rules(&graph), Vec::<String>::new());
    // Not vacuous: every package that a rule names is there, and the ways that are meant to exist do.
    for (role, own) in OWN {
        let ways = graph.ways(role);
        for needed in own.iter().chain(&SHARED) {
            assert!(ways.contains_key(needed), "{role} does not reach {needed}: the rule that allows it is out of date");
        }
    }
    assert!(graph.ways("linkage").contains_key("linkage-attack"));
    for forbidden in ["csv", "calamine", "tokio", "tonic", "sqlx", "linkage-hash-keys", "linkage-attack", "linkage-clk-encode"] {
        assert!(graph.depends_on.contains_key(forbidden), "{forbidden} is no longer a dependency: drop it from the rules");
    }
    // Development dependencies are left out: the broker's linking crate reads CSV in its tests.
    assert!(!graph.ways("linkage-linking").contains_key("csv"));
    let linking = metadata.packages.iter().find(|p| p.name.as_str() == "linkage-linking").unwrap();
    assert!(linking.dependencies.iter().any(|d| d.name == "csv" && d.kind == DependencyKind::Development));
}

/// A graph that keeps the rules, on which one dependency at a time is added.
fn made_up() -> Graph {
    let mut graph = Graph::default();
    for (name, folder, to) in [
        ("linkage-agreement", "linkage-core/agreement", &[][..]),
        ("linkage-crypto", "linkage-core/crypto", &["hpke"]),
        ("linkage-encoding", "linkage-core/encoding", &["linkage-agreement", "linkage-crypto"]),
        ("linkage-linking", "linkage-core/linking", &["linkage-agreement", "linkage-clk"]),
        ("linkage-cohort", "linkage-core/cohort", &["linkage-agreement"]),
        ("linkage-clk", "linkage-core/clk", &[]),
        ("linkage-clk-encode", "linkage-core/clk-encode", &[]),
        ("linkage-hash-keys", "linkage-core/hash-keys", &["linkage-crypto", "linkage-encoding"]),
        ("linkage-attack", "linkage-core/attack", &["linkage-encoding", "linkage-hash-keys"]),
        ("linkage-proto", "proto", &["tonic"]),
        ("linkage-common", "services/common", &["linkage-agreement", "linkage-crypto", "linkage-proto", "tokio"]),
        ("linkage-node", "services/node", &["linkage-common", "linkage-encoding", "linkage-linking", "csv"]),
        ("linkage-broker", "services/broker", &["linkage-common", "linkage-linking"]),
        ("linkage-custodian", "services/custodian", &["linkage-common"]),
        ("linkage-analyst", "services/analyst", &["linkage-common", "linkage-cohort"]),
        ("linkage-synth", "services/synth", &["csv"]),
        (
            "linkage",
            "services/linkage",
            &["linkage-node", "linkage-broker", "linkage-custodian", "linkage-analyst", "linkage-synth", "linkage-attack"],
        ),
    ] {
        graph.folders.insert(name.to_owned(), folder.to_owned());
        graph.depends_on.insert(name.to_owned(), to.iter().map(|t| (*t).to_owned()).collect());
    }
    for (name, to) in [("hpke", &["getrandom"][..]), ("tonic", &["tokio"])] {
        graph.depends_on.insert(name.to_owned(), to.iter().map(|t| (*t).to_owned()).collect());
    }
    graph
}

#[test]
fn each_rule_can_fail() {
    assert_eq!(broken_rules(&made_up()), Vec::<String>::new());
    let with = |edges: &[(&str, &str)]| {
        let mut graph = made_up();
        for (from, to) in edges {
            graph.depends_on.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        broken_rules(&graph)
    };
    assert_eq!(with(&[("linkage-broker", "csv")]), ["no names outside the node: linkage-broker -> csv"]);
    assert_eq!(
        with(&[("linkage-broker", "linkage-clk"), ("linkage-clk", "linkage-clk-encode")]),
        [
            "no names outside the node: linkage-broker -> linkage-clk -> linkage-clk-encode",
            "a role has its own crates only: linkage-broker -> linkage-clk -> linkage-clk-encode",
        ]
    );
    assert_eq!(
        with(&[("linkage-custodian", "linkage-clk")]),
        ["a role has its own crates only: linkage-custodian -> linkage-clk"]
    );
    assert_eq!(
        with(&[("linkage-custodian", "tables"), ("tables", "calamine")]),
        ["no names outside the node: linkage-custodian -> tables -> calamine"]
    );
    assert!(
        with(&[("linkage-linking", "linkage-hash-keys")])
            .contains(&"no names outside the node: linkage-broker -> linkage-linking -> linkage-hash-keys".to_owned())
    );
    assert_eq!(with(&[("linkage-synth", "linkage-attack")]), ["only the command line attacks: linkage-synth -> linkage-attack"]);
    assert_eq!(
        with(&[("linkage-cohort", "linkage-linking")]),
        [
            "the analyst does not link: linkage-analyst -> linkage-cohort -> linkage-linking",
            "a role has its own crates only: linkage-analyst -> linkage-cohort -> linkage-linking -> linkage-clk",
            "a role has its own crates only: linkage-analyst -> linkage-cohort -> linkage-linking",
        ]
    );
    assert_eq!(with(&[("linkage-cohort", "sqlx")]), ["core crates do no input or output: linkage-cohort -> sqlx"]);
    assert_eq!(
        with(&[("linkage-linking", "linkage-proto")]),
        [
            "core crates do no input or output: linkage-linking -> linkage-proto -> tonic -> tokio",
            "core crates do no input or output: linkage-linking -> linkage-proto -> tonic",
            "core crates know no wire: linkage-linking -> linkage-proto",
        ]
    );
    assert!(
        with(&[("linkage-linking", "linkage-synth")])
            .contains(&"core crates know no service: linkage-linking -> linkage-synth".to_owned())
    );
    assert_eq!(
        with(&[("linkage-node", "linkage-custodian")]),
        ["roles meet on the wire only: linkage-node -> linkage-custodian"]
    );
    assert_eq!(
        with(&[("linkage-custodian", "linkage-linking")]),
        [
            "a role has its own crates only: linkage-custodian -> linkage-linking -> linkage-clk",
            "a role has its own crates only: linkage-custodian -> linkage-linking",
        ]
    );
    assert_eq!(with(&[("linkage-cohort", "getrandom")]), ["core crates draw nothing: linkage-cohort -> getrandom"]);
}

/// `name version` of each package in a listing by `cargo tree`.
fn versions<'t>(listing: &'t str, name: &str) -> BTreeSet<&'t str> {
    listing.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(" v")?.split(' ').next()).collect()
}

#[test]
fn dependencies_that_are_refused_are_absent() {
    // cargo tree and not the metadata: only the former leaves out optional dependencies that nothing turns on.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = Command::new(cargo)
        .args(["tree", "--workspace", "--locked", "--target=all", "--prefix=none", "--format={p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    // Two versions would be two types of group element, and one of them not held to the profile's vectors.
    assert_eq!(versions(&tree, "curve25519-dalek").len(), 1);
    for refused in ["ring", "openssl-sys", "openssl", "native-tls", "rsa", "reqwest"] {
        let none = BTreeSet::new();
        assert_eq!(
            versions(&tree, refused),
            none,
            "{refused} came in: `cargo tree --target all -i {refused}` tells through what"
        );
    }
    // The reading of the listing can find something.
    assert_eq!(versions("a v1.0.0\nring v0.17.14\nring v0.17.14 (*)\nstring v2.0.0\n", "ring"), BTreeSet::from(["0.17.14"]));
}

/// Folders of this project's packages.
fn packages() -> Vec<PathBuf> {
    metadata().workspace_packages().iter().map(|p| p.manifest_path.parent().unwrap().into()).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Whether a manifest takes the workspace's lints.
fn takes_the_lints(manifest: &str) -> bool {
    let table: toml::Table = manifest.parse().unwrap();
    table.get("lints").and_then(|l| l.get("workspace")).and_then(toml::Value::as_bool) == Some(true)
}

/// The one package that needs the CPU's own instructions, and its one source that may say `unsafe`.
const UNSAFE_PACKAGE: &str = "linkage-core/clk";
const UNSAFE_SOURCE: &str = "linkage-core/clk/src/kernels.rs";

/// Whether a manifest has lints of its own that differ from the workspace's in this only: `unsafe_code` is denied, not
/// forbidden, and each block of it must say why it is sound.
fn denies_unsafe_only(workspace: &toml::Table, manifest: &str) -> bool {
    let manifest: toml::Table = manifest.parse().unwrap();
    let mut expected = workspace["workspace"]["lints"].as_table().unwrap().clone();
    expected["rust"].as_table_mut().unwrap().insert("unsafe_code".into(), "deny".into());
    expected["clippy"].as_table_mut().unwrap().insert("undocumented_unsafe_blocks".into(), "warn".into());
    manifest.get("lints").and_then(toml::Value::as_table) == Some(&expected)
}

/// Whether a source lifts the ban on `unsafe`, in any spelling of the attribute.
fn lifts_the_ban(source: &str) -> bool {
    let squeezed: String = source.chars().filter(|c| !c.is_whitespace()).collect();
    ["allow(", "warn(", "expect(", "deny("].iter().any(|level| {
        squeezed.match_indices(level).any(|(at, _)| {
            squeezed
                .get(at + level.len()..)
                .and_then(|rest| rest.split(')').next())
                .is_some_and(|list| list.split(',').any(|l| l == "unsafe_code"))
        })
    })
}

#[test]
fn unsafe_code_is_forbidden_everywhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let root: toml::Table = std::fs::read_to_string(root).unwrap().parse().unwrap();
    assert_eq!(root["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
    let mut files = Vec::new();
    for package in packages() {
        let manifest = std::fs::read_to_string(package.join("Cargo.toml")).unwrap();
        if package.ends_with(UNSAFE_PACKAGE) {
            assert!(denies_unsafe_only(&root, &manifest), "{}: copy the workspace's lints", package.display());
        } else {
            assert!(takes_the_lints(&manifest), "{}: add [lints] workspace = true", package.display());
        }
        sources(&package, &mut files);
    }
    assert!(files.len() > 150, "only {} sources were found", files.len());
    let lifting: Vec<_> = files.iter().filter(|f| lifts_the_ban(&std::fs::read_to_string(f).unwrap())).collect();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
    assert_eq!(lifting, [&repository.join(UNSAFE_SOURCE)]);
    // The checks can fail.
    assert!(!takes_the_lints("[package]\nname = \"x\"\n"));
    assert!(!takes_the_lints("[lints]\nworkspace = false\n"));
    assert!(!denies_unsafe_only(&root, "[lints]\nworkspace = true\n"));
    assert!(!denies_unsafe_only(&root, "[lints.rust]\nunsafe_code = \"deny\"\n"));
    let attribute = |level: &str| format!("#![{level}( dead_code, unsafe{}code )]", '_');
    assert!(lifts_the_ban(&attribute("allow")) && lifts_the_ban(&attribute("expect")));
    assert!(!lifts_the_ban(&attribute("forbid")) && !lifts_the_ban("#![allow(dead_code)] // unsafe_code is forbidden"));
}
