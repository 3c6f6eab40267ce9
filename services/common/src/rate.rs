//! How often a peer may call: a token bucket for each certificate and class of methods.
//!
//! A partner whose node runs wild, or whose certificate was stolen, must not take the service away from the others. The
//! defaults are far above what runs need (a node looks for work twice a second; an upload or an evaluation is some calls a
//! second); a peer that meets them is answered `RESOURCE_EXHAUSTED` with `retry-after` in seconds, and each refusal is counted.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tonic::{Code, Status};

use crate::error::ServiceError;
use crate::metrics::metrics;

/// Peers that are told apart. Beyond, those that have called least lately are forgotten: they begin with a full bucket again.
const MAX_PEERS: usize = 4096;
/// The header that says after how many seconds to try again (RFC 9110 section 10.2.3).
pub const RETRY_AFTER: &str = "retry-after";

/// What kind of work a method is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Carries data: deliveries, evaluations.
    Bulk,
    /// Everything else: asking, opening, committing.
    Ordinary,
}

impl Class {
    /// The class of the method at `path` (`/package.Service/Method`).
    pub fn of(path: &str) -> Self {
        let method = path.rsplit('/').next().unwrap_or_default();
        if method.starts_with("Put") || method == "Evaluate" { Self::Bulk } else { Self::Ordinary }
    }
    fn name(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::Ordinary => "ordinary",
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// The buckets of a server.
#[derive(Debug)]
pub struct Rates {
    bulk: f64,
    ordinary: f64,
    buckets: Mutex<HashMap<(String, Class), Bucket>>,
}

impl Rates {
    /// So many calls a minute, for each class; as many may come at once.
    pub fn new(bulk: u32, ordinary: u32) -> Self {
        Self { bulk: f64::from(bulk.max(1)), ordinary: f64::from(ordinary.max(1)), buckets: Mutex::default() }
    }

    /// Takes a token of `peer`'s bucket.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` with [`RETRY_AFTER`] when it is empty.
    pub fn admit(&self, peer: Option<&str>, path: &str) -> Result<(), Status> {
        self.admit_at(peer.unwrap_or_default(), Class::of(path), Instant::now())
    }

    fn admit_at(&self, peer: &str, class: Class, now: Instant) -> Result<(), Status> {
        let size = match class {
            Class::Bulk => self.bulk,
            Class::Ordinary => self.ordinary,
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_PEERS {
            let mut stamps: Vec<Instant> = buckets.values().map(|bucket| bucket.at).collect();
            let (_, middle, _) = stamps.select_nth_unstable(MAX_PEERS / 2);
            let middle = *middle;
            buckets.retain(|_, bucket| bucket.at > middle);
        }
        let bucket = buckets.entry((peer.to_owned(), class)).or_insert(Bucket { tokens: size, at: now });
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * size / 60.0).min(size);
        bucket.at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let wait = ((1.0 - bucket.tokens) * 60.0 / size).ceil().max(1.0);
        drop(buckets);
        metrics().limited(class.name());
        tracing::warn!(certificate = peer, class = class.name(), "call refused: too many a minute");
        let mut status = Status::from(ServiceError::exhausted(format!(
            "trop d'appels de ce certificat en une minute ; réessayez dans {wait} s, ou demandez à l'opérateur de ce service de relever sa limite ([limits])"
        )));
        debug_assert_eq!(status.code(), Code::ResourceExhausted);
        if let Ok(value) = wait.to_string().parse() {
            status.metadata_mut().insert(RETRY_AFTER, value);
        }
        Err(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_bucket_empties_fills_again_and_is_one_peers_own() {
        let rates = Rates::new(600, 60);
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let ask = |peer: &str, seconds: u64| rates.admit_at(peer, Class::Ordinary, at(seconds));
        assert_eq!((0..100).filter(|_| ask("a", 0).is_ok()).count(), 60);
        let refused = ask("a", 0).unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(refused.metadata().get(RETRY_AFTER).unwrap(), "1");
        assert!(ask("b", 0).is_ok());
        assert!(rates.admit_at("a", Class::Bulk, start).is_ok());
        assert_eq!((0..100).filter(|_| ask("a", 10).is_ok()).count(), 10);
        assert_eq!((0..100).filter(|_| ask("a", 3600).is_ok()).count(), 60);
    }

    #[test]
    fn strangers_do_not_fill_the_memory() {
        let rates = Rates::new(1, 1);
        let start = Instant::now();
        for n in 0..3 * MAX_PEERS as u64 {
            let _ = rates.admit_at(&n.to_string(), Class::Ordinary, start + Duration::from_millis(n));
        }
        assert!(rates.buckets.lock().unwrap().len() <= MAX_PEERS);
    }

    #[test]
    fn what_carries_data_has_its_own_class() {
        for (path, class) in [
            ("/linkage.v1.Runs/PutBatches", Class::Bulk),
            ("/linkage.v1.Oprf/Evaluate", Class::Bulk),
            ("/linkage.v1.Runs/ListRuns", Class::Ordinary),
            ("/grpc.health.v1.Health/Check", Class::Ordinary),
            ("", Class::Ordinary),
        ] {
            assert_eq!(Class::of(path), class, "{path}");
        }
    }
}
