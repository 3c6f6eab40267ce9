//! `linkage health`: asks a role's operations listener whether it lives and can work; for images that hold nothing but this
//! program.
//!
//! Plain HTTP/1.1 (RFC 9112) to the address of section `[ops]`; what the listener says of the role is one word
//! (`linkage_common::ops`), so nothing of a person, a run or a partner can come by this way.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::CheckFailed;
use crate::cli::{print_json, say};

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Pause between two questions.
const PAUSE: Duration = Duration::from_secs(1);
/// More than any answer of the listener's.
const ANSWER_LIMIT: u64 = 8 << 10;

/// Arguments of `linkage health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Address of the operations listener, `http://host:port`.
    url: String,
    /// Seconds to go on asking until the role is ready.
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    wait: u64,
    /// Print the facts as JSON.
    #[arg(long)]
    json: bool,
}

/// What the listener said.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Health {
    live: bool,
    ready: bool,
    /// The listener's word.
    state: String,
}

/// Exit code 0 when the role is ready, 3 when it lives and is not.
pub async fn run(args: &HealthArgs) -> anyhow::Result<()> {
    let host = host(&args.url)?;
    let until = Instant::now() + Duration::from_secs(args.wait);
    let health = loop {
        let asked = ask(host).await;
        if Instant::now() + PAUSE >= until || asked.as_ref().is_ok_and(|health| health.ready) {
            break asked?;
        }
        sleep(PAUSE).await;
    };
    if args.json {
        print_json(&health)?;
    } else if health.ready {
        say(&format!("{} : le rôle est prêt ({})", args.url, health.state));
    } else {
        say(&format!("{} : le rôle répond, mais n'est pas prêt ({}) ; son journal dit pourquoi", args.url, health.state));
    }
    if health.ready { Ok(()) } else { Err(CheckFailed.into()) }
}

fn host(url: &str) -> anyhow::Result<&str> {
    match url.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest)) {
        Some(host) if host.contains(':') && host.bytes().all(|b| b.is_ascii_graphic() && b != b'/') => Ok(host),
        _ => bail!("{url} : adresse inutilisable ; attendu : http://hôte:port, celle de [ops] listen"),
    }
}

async fn ask(host: &str) -> anyhow::Result<Health> {
    let (live, _) = get(host, "/healthz").await?;
    let (ready, state) = get(host, "/readyz").await?;
    Ok(Health { live: live == 200, ready: ready == 200, state })
}

/// Status and text of one answer.
async fn get(host: &str, path: &str) -> anyhow::Result<(u16, String)> {
    let answer = async {
        let mut stream = TcpStream::connect(host).await?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_LIMIT).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = timeout(ANSWER, answer).await.with_context(|| format!("{host} : pas de réponse à temps"))?;
    let answer =
        answer.with_context(|| format!("{host} : connexion impossible ; vérifiez l'adresse, et [ops] dans la configuration"))?;
    parsed(&answer).with_context(|| format!("{host} : ce qui répond n'est pas un rôle de Trait d'union ; vérifiez le port"))
}

/// The status line's code and the text after the headers, whose only form is that of `linkage_common::ops`.
fn parsed(answer: &[u8]) -> Option<(u16, String)> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()?;
    let word = body.trim();
    let plain = word.len() <= 80 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b' ' || b == b'-');
    plain.then(|| (status, word.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_listeners_own_answers_are_taken() {
        let ready = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n";
        assert_eq!(parsed(ready), Some((200, "ready".to_owned())));
        let waiting = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\n\r\nstarting\n";
        assert_eq!(parsed(waiting), Some((503, "starting".to_owned())));
        for other in [&b""[..], b"\x15\x03\x03\x00\x02\x02\x32", b"HTTP/1.1 200 OK\r\n\r\n<html>", b"HTTP/1.1 ready\r\n\r\nready"]
        {
            assert_eq!(parsed(other), None);
        }
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        assert_eq!(host("http://role:9464").unwrap(), "role:9464");
        assert_eq!(host("http://[::1]:9464/").unwrap(), "[::1]:9464");
        for wrong in ["role:9464", "https://role:9464", "http://role", "http://role:9464/readyz", "http://ro le:1"] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
    }
}
