//! How often a peer may call: a token bucket for each certificate and class of methods, and a number of calls at a time.
//!
//! A partner whose node runs wild, or whose certificate was stolen, must not take the service away from the others. The
//! defaults are far above what runs need (a node looks for work twice a second; an upload or an evaluation is some calls a
//! second); each call may hold a message's worth of memory, so that their number bounds what half messages can take. A peer
//! that meets a limit is answered `RESOURCE_EXHAUSTED` with `retry-after` in seconds, and each refusal is counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    at_a_time: u32,
    buckets: Mutex<HashMap<(String, Class), Bucket>>,
    running: Arc<Mutex<HashMap<String, u32>>>,
}

/// A call under way, counted until it is dropped.
#[derive(Debug)]
pub struct Running {
    peer: String,
    running: Arc<Mutex<HashMap<String, u32>>>,
}

fn held<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = held(&self.running);
        if let Some(count) = running.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.peer);
            }
        }
    }
}

impl Rates {
    /// So many calls a minute, for each class, and so many under way at a time.
    pub fn new(bulk: u32, ordinary: u32, at_a_time: u32) -> Self {
        let [bulk, ordinary] = [bulk, ordinary].map(|most| f64::from(most.max(1)));
        Self { bulk, ordinary, at_a_time: at_a_time.max(1), buckets: Mutex::default(), running: Arc::default() }
    }

    /// Takes a token of `peer`'s bucket, and a place among its calls under way until the guard is dropped.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` with [`RETRY_AFTER`] when there is none.
    pub fn admit(&self, peer: Option<&str>, path: &str) -> Result<Running, Status> {
        let (peer, class) = (peer.unwrap_or_default(), Class::of(path));
        self.admit_at(peer, class, Instant::now())?;
        self.begin(peer, class)
    }

    fn begin(&self, peer: &str, class: Class) -> Result<Running, Status> {
        let mut running = held(&self.running);
        let count = running.entry(peer.to_owned()).or_default();
        if *count >= self.at_a_time {
            let most = self.at_a_time;
            return Err(refused(
                peer,
                class,
                1.0,
                format!("ce certificat a déjà {most} appels en cours ; réessayez quand l'un d'eux est achevé ([limits])"),
            ));
        }
        *count += 1;
        Ok(Running { peer: peer.to_owned(), running: self.running.clone() })
    }

    fn admit_at(&self, peer: &str, class: Class, now: Instant) -> Result<(), Status> {
        let size = match class {
            Class::Bulk => self.bulk,
            Class::Ordinary => self.ordinary,
        };
        let mut buckets = held(&self.buckets);
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
        Err(refused(
            peer,
            class,
            wait,
            format!(
                "trop d'appels de ce certificat en une minute ; réessayez dans {wait} s, ou demandez à l'opérateur de ce service de relever sa limite ([limits])"
            ),
        ))
    }
}

fn refused(peer: &str, class: Class, wait: f64, message: String) -> Status {
    metrics().limited(class.name());
    tracing::warn!(certificate = peer, class = class.name(), %message, "call refused: too many a minute, or at a time");
    let mut status = Status::from(ServiceError::exhausted(message));
    debug_assert_eq!(status.code(), Code::ResourceExhausted);
    if let Ok(value) = wait.to_string().parse() {
        status.metadata_mut().insert(RETRY_AFTER, value);
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_bucket_empties_fills_again_and_is_one_peers_own() {
        let rates = Rates::new(600, 60, 1);
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
    fn calls_under_way_are_counted_until_they_end() {
        let rates = Rates::new(600, 600, 2);
        let ask = |peer: &str| rates.admit(Some(peer), "/linkage.v1.Runs/PutBatches");
        let (first, second) = (ask("a").unwrap(), ask("a").unwrap());
        let refused = ask("a").unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(refused.message().contains("en cours"));
        let other = ask("b").unwrap();
        drop(first);
        drop((ask("a").unwrap(), second, other));
        assert!(held(&rates.running).is_empty());
    }

    #[test]
    fn strangers_do_not_fill_the_memory() {
        let rates = Rates::new(1, 1, 1);
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
