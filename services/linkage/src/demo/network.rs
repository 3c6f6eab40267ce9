//! The demonstration's processes: started, watched, stopped.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::setup::Site;

/// Longest wait for a server to listen.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The processes under way.
pub struct Network {
    processes: Vec<(String, Child, std::path::PathBuf)>,
}

impl Network {
    /// Starts broker, custodian and analyst, waits until they listen, then starts the nodes.
    pub async fn start(site: &Site) -> anyhow::Result<Self> {
        let mut network = Self { processes: Vec::new() };
        for (command, config) in site.servers() {
            network.spawn(command.to_owned(), command, &config, &site.logs())?;
        }
        for address in site.addresses {
            let started = Instant::now();
            while TcpStream::connect(address).await.is_err() {
                network.check()?;
                if started.elapsed() > START_LIMIT {
                    bail!("personne n'écoute sur {address} ; journaux : {}", site.logs().display());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        for party in &site.parties {
            network.spawn(format!("node-{party}"), "node", &site.node_config(party), &site.logs())?;
        }
        Ok(network)
    }

    fn spawn(&mut self, name: String, command: &str, config: &Path, logs: &Path) -> anyhow::Result<()> {
        let log = logs.join(format!("{name}.log"));
        let child = Command::new(std::env::current_exe()?)
            .args([command, "serve", "--config"])
            .arg(config)
            .env("LINKAGE_EXIT_WITH_PARENT", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{name} ne démarre pas"))?;
        self.processes.push((name, child, log));
        Ok(())
    }

    /// Fails when a process has ended, with the end of its log.
    pub fn check(&mut self) -> anyhow::Result<()> {
        for (name, child, log) in &mut self.processes {
            if let Some(status) = child.try_wait()? {
                let text = std::fs::read_to_string(log).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                bail!("{name} s'est arrêté ({status}) :\n{}", lines[lines.len().saturating_sub(5)..].join("\n"));
            }
        }
        Ok(())
    }

    /// Closes each process's standard input, which asks it to stop, and waits.
    pub async fn stop(mut self) {
        for (_, child, _) in &mut self.processes {
            drop(child.stdin.take());
        }
        for (_, child, _) in &mut self.processes {
            if tokio::time::timeout(Duration::from_secs(12), child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }
    }
}

/// What a node says it is doing: step, done, total.
pub fn status(state: &Path) -> Option<(String, u64, u64)> {
    let value: serde_json::Value = serde_json::from_slice(&std::fs::read(state.join("status.json")).ok()?).ok()?;
    Some((value.get("step")?.as_str()?.to_owned(), value.get("done")?.as_u64()?, value.get("total")?.as_u64()?))
}
