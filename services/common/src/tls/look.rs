//! A look at another role over the roles' own way: does it answer, which version is it, what does its clock say.

use std::time::Duration;

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::client::{ConnectError, connect};
use super::files::TlsFiles;
use crate::trace::calls::{VERSION_HEADER, skew_of};

/// What a peer let be seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its version, where it says.
    pub version: Option<String>,
    /// Its clock less this one's, in whole seconds, where it says.
    pub skew_s: Option<f64>,
}

/// Asks the health service of the role at `url`, which must bear `expected_peer_uri`, within `deadline`.
///
/// # Errors
/// [`ConnectError`]; a peer that answers with an error has answered.
pub async fn look(url: &str, files: &TlsFiles, expected_peer_uri: &str, deadline: Duration) -> Result<Seen, ConnectError> {
    let channel = connect(url, files, expected_peer_uri, deadline).await?;
    let timed_out = || ConnectError::TimedOut { url: url.to_owned() };
    let mut client = HealthClient::new(channel);
    let asked = client.check(HealthCheckRequest::default());
    let metadata = match tokio::time::timeout(deadline, asked).await.map_err(|_| timed_out())? {
        Ok(response) => response.metadata().clone(),
        Err(status) => match ConnectError::of(&status) {
            Some(fault) => return Err(fault.clone()),
            None => status.metadata().clone(),
        },
    };
    let text = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok());
    Ok(Seen { version: text(VERSION_HEADER).map(str::to_owned), skew_s: text("date").and_then(skew_of) })
}
