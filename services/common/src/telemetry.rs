//! The log: text on a terminal, JSON for a collector, and never a payload.
//!
//! `LINKAGE_LOG` holds the filter of `tracing-subscriber` (`info` when absent), `LINKAGE_LOG_FORMAT=json`
//! selects JSON lines. The log goes to standard error: standard output belongs to the facts that a command
//! prints; with `LINKAGE_OTLP_ENDPOINT`, spans go to a collector as well ([`crate::trace`]). The panic hook reports where a panic happened and drops its message, which may quote data.

use std::io::{IsTerminal, Write as _};
use std::panic::PanicHookInfo;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;

use crate::trace::export::{self, EndpointError};

static ROLE: OnceLock<&str> = OnceLock::new();

/// The role that this process plays, for log and traces; a command has none.
pub fn role() -> &'static str {
    ROLE.get().copied().unwrap_or("command")
}

/// Says which role this process plays. Once: tests that play several in one process keep the first.
pub(crate) fn set_role(role: &'static str) {
    let _ = ROLE.set(role);
}

/// Why the log could not be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryError {
    /// `LINKAGE_LOG` is not a filter.
    #[error("LINKAGE_LOG : filtre illisible ; exemple : LINKAGE_LOG=info,linkage_broker=debug")]
    Filter,
    /// `LINKAGE_LOG_FORMAT` names no format.
    #[error("LINKAGE_LOG_FORMAT : valeurs possibles : text, json")]
    Format,
    /// `LINKAGE_OTLP_ENDPOINT` is no address of a collector.
    #[error(transparent)]
    Collector(#[from] EndpointError),
    /// A log was started before in this process.
    #[error("le journal est déjà démarré dans ce processus")]
    AlreadyStarted,
}

/// Starts the log of this process, and the sending of traces where it is asked for, and installs the panic hook. Called once,
/// first thing in `main`, within its runtime.
///
/// # Errors
/// [`TelemetryError`].
pub fn init() -> Result<(), TelemetryError> {
    let filter = match std::env::var("LINKAGE_LOG") {
        Ok(text) => EnvFilter::try_new(text).map_err(|_| TelemetryError::Filter)?,
        Err(std::env::VarError::NotPresent) => EnvFilter::new("info"),
        Err(std::env::VarError::NotUnicode(_)) => return Err(TelemetryError::Filter),
    };
    let json = match std::env::var("LINKAGE_LOG_FORMAT").as_deref() {
        Err(std::env::VarError::NotPresent) | Ok("text") => false,
        Ok("json") => true,
        _ => return Err(TelemetryError::Format),
    };
    // A reader of the log that went away (`linkage … 2>&1 | head`) must not bring the process down: the subscriber would
    // complain on the closed stream, which panics.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    let started = if json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    started.map_err(|_| TelemetryError::AlreadyStarted)?;
    install_panic_hook();
    match std::env::var(export::VARIABLE) {
        Ok(endpoint) if !endpoint.is_empty() => export::start(&endpoint)?,
        Ok(_) | Err(std::env::VarError::NotPresent) => {}
        Err(std::env::VarError::NotUnicode(_)) => return Err(EndpointError.into()),
    }
    Ok(())
}

/// Makes panics report their place only.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|info| report_panic(&place(info))));
}

fn place(info: &PanicHookInfo<'_>) -> String {
    info.location().map_or_else(|| "unknown place".to_owned(), |at| format!("{}:{}", at.file(), at.line()))
}

fn report_panic(place: &str) {
    if tracing::dispatcher::has_been_set() {
        tracing::error!(place, "panic");
    } else {
        // Nothing listens to events yet, and a silent panic helps nobody; on a closed stream there is nobody to help.
        let _ = writeln!(std::io::stderr(), "panic at {place}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn a_panic_is_reported_without_its_message() {
        let seen = Arc::new(Mutex::new(String::new()));
        let sink = seen.clone();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| *sink.lock().unwrap() = place(info)));
        let result = std::panic::catch_unwind(|| panic!("Martin 1980-01-02"));
        std::panic::set_hook(before);
        assert!(result.is_err());
        let seen = seen.lock().unwrap();
        assert!(seen.contains("telemetry.rs:"), "{seen}");
        assert!(!seen.contains("Martin"));
    }
}
