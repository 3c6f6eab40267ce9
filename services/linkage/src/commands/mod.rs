//! The commands, one module for each noun of the command line.

pub mod agreement;
pub mod analyst;
pub mod attack;
pub mod audit;
pub mod backup;
pub mod breach;
pub mod certificate;
pub mod certificates;
pub mod clk;
pub mod cohort;
pub mod data;
pub mod database;
pub mod doctor;
pub mod hash_keys;
pub mod health;
pub mod keys;
pub mod node;
pub mod pack;
pub mod passes;
pub mod retention;
pub mod rights;
pub mod run;
pub mod serve;

use std::path::Path;

use anyhow::Context;
use serde::de::DeserializeOwned;

/// Reads a role's configuration; relative paths in it are taken from the current folder.
pub fn config<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    Ok(linkage_common::config::load_config(path)?)
}

/// Reads a text file, naming it when it cannot be read.
pub fn text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} : lecture impossible", path.display()))
}

/// Resolves at SIGINT or SIGTERM, or, under `LINKAGE_EXIT_WITH_PARENT`, when standard input closes: a demonstration that is
/// killed takes its processes with it.
pub async fn shutdown() {
    let terminated = async {
        #[cfg(unix)]
        if let Ok(mut signal) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            signal.recv().await;
            return;
        }
        std::future::pending::<()>().await;
    };
    let orphaned = async {
        if std::env::var_os("LINKAGE_EXIT_WITH_PARENT").is_some() {
            // A thread of its own: the runtime would wait for one of its blocking tasks, and SIGTERM would not end the process.
            let (send, closed) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
                let _ = send.send(());
            });
            let _ = closed.await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
        () = orphaned => {}
    }
}
