//! Sessions and the rates at which anybody may ask, in memory: a restart logs everybody out.
//!
//! A session's cookie is 32 random bytes; only their SHA-256 is held, so that a memory dump opens no session and looking
//! one up takes the same time whatever was sent. Each session has a token that every form must bring back (CSRF).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use linkage_agreement::PartyId;
use linkage_agreement::model::AnalystRight;
use linkage_common::tls::site;
use rand_core::Rng as _;
use sha2::{Digest, Sha256};

use crate::access::Who;
use crate::users::UserId;

/// Sessions at a time; the one unused longest makes room.
const MOST_SESSIONS: usize = 1000;
/// Seconds that a clock may go back, as a correction by a time server does.
const SET_BACK_S: i64 = 300;
/// Addresses whose rate is held at a time.
const MOST_ADDRESSES: usize = 10_000;

/// How a visitor came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// By the certificate with this URI, which every request must come with.
    Certificate(String),
    /// At the issuer.
    Oidc,
    /// By the link printed on the terminal.
    Link,
}

/// Who a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Visitor {
    /// Who, as the access log names them.
    pub(super) who: Who,
    /// The agreement's analyst whose rights these are.
    pub(super) analyst: PartyId,
    /// What the visitor may do.
    pub(super) rights: Vec<AnalystRight>,
    /// Whether the visitor may switch others off and on.
    pub(super) manages: bool,
    /// How it came in.
    pub(super) entry: Entry,
}

impl Visitor {
    /// Whether the visitor has a right.
    pub(super) fn may(&self, right: AnalystRight) -> bool {
        self.rights.contains(&right)
    }
}

#[derive(Debug, Clone)]
struct Held {
    visitor: Visitor,
    csrf: String,
    opened: i64,
    seen: i64,
}

/// A session found.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// Who.
    pub(super) visitor: Visitor,
    /// What every form of the session must bring back.
    pub(super) csrf: String,
}

/// All sessions.
pub(super) struct Sessions {
    held: Mutex<HashMap<[u8; 32], Held>>,
    idle_s: i64,
    longest_s: i64,
}

/// 32 random bytes as text.
pub(super) fn random_text() -> String {
    let mut bytes = [0; 32];
    linkage_common::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Under what a secret text is held and compared.
pub(super) fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

impl Sessions {
    pub(super) fn new(idle_minutes: u32, session_hours: u32) -> Self {
        let (idle_s, longest_s) = (60 * i64::from(idle_minutes), 3600 * i64::from(session_hours));
        Self { held: Mutex::default(), idle_s, longest_s }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session; returns its cookie.
    pub(super) fn open(&self, visitor: Visitor, now: i64) -> String {
        let cookie = random_text();
        let mut held = self.lock();
        held.retain(|_, s| now - s.seen <= self.idle_s && now - s.opened <= self.longest_s);
        if held.len() >= MOST_SESSIONS
            && let Some(oldest) = held.iter().min_by_key(|(_, s)| s.seen).map(|(key, _)| *key)
        {
            held.remove(&oldest);
        }
        held.insert(digest(&cookie), Held { visitor, csrf: random_text(), opened: now, seen: now });
        cookie
    }

    /// The session of a cookie, unless it ended or its certificate is not the one shown.
    pub(super) fn find(&self, cookie: &str, certificate: Option<&str>, now: i64) -> Option<Session> {
        let mut held = self.lock();
        let key = digest(cookie);
        let session = held.get_mut(&key)?;
        // A session that would be of tomorrow: the clock was set back, and would let it last that much longer.
        let set_back = session.seen - now > SET_BACK_S;
        if set_back || now - session.seen > self.idle_s || now - session.opened > self.longest_s {
            held.remove(&key);
            return None;
        }
        if let Entry::Certificate(uri) = &session.visitor.entry
            && certificate != Some(uri)
        {
            return None;
        }
        session.seen = now;
        Some(Session { visitor: session.visitor.clone(), csrf: session.csrf.clone() })
    }

    /// How many sessions of somebody are open.
    pub(super) fn count(&self, id: &UserId) -> u64 {
        self.lock().values().filter(|held| UserId::of(&held.visitor.who) == *id).count() as u64
    }

    /// Ends the sessions of somebody.
    pub(super) fn close_of(&self, id: &UserId) {
        self.lock().retain(|_, held| UserId::of(&held.visitor.who) != *id);
    }

    /// Ends a session.
    pub(super) fn close(&self, cookie: &str) {
        self.lock().remove(&digest(cookie));
    }
}

/// How often anybody may ask: a bucket per address, that fills by `per_minute` and holds `burst`.
pub(super) struct Rate {
    buckets: Mutex<HashMap<IpAddr, (f64, i64)>>,
    per_minute: f64,
    burst: f64,
}

impl Rate {
    pub(super) fn new(per_minute: f64, burst: f64) -> Self {
        Self { buckets: Mutex::default(), per_minute, burst }
    }

    /// Takes one from the bucket of `address`; says whether there was one.
    pub(super) fn take(&self, address: IpAddr, now: i64) -> bool {
        let address = site(address);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MOST_ADDRESSES && !buckets.contains_key(&address) {
            // A full bucket says nothing: it is as one that was never asked for.
            let (fill, burst) = (self.per_minute / 60.0, self.burst);
            buckets.retain(|_, (left, at)| *left + fill * (now - *at) as f64 + 1.0 <= burst);
            if buckets.len() >= MOST_ADDRESSES {
                return false;
            }
        }
        let (left, at) = buckets.entry(address).or_insert((self.burst, now));
        *left = (*left + self.per_minute / 60.0 * (now - *at).max(0) as f64).min(self.burst);
        *at = now;
        let some = *left >= 1.0;
        if some {
            *left -= 1.0;
        }
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visitor(entry: Entry) -> Visitor {
        Visitor {
            who: Who::Login("s".to_owned()),
            analyst: "etude".parse().unwrap(),
            rights: vec![AnalystRight::Cohorts],
            manages: false,
            entry,
        }
    }

    #[test]
    fn a_session_ends_by_idleness_by_age_and_by_leaving() {
        let sessions = Sessions::new(30, 8);
        let cookie = sessions.open(visitor(Entry::Link), 0);
        assert!(sessions.find("autre", None, 0).is_none());
        for now in (0..8 * 3600).step_by(1700) {
            assert!(sessions.find(&cookie, None, now).is_some(), "{now}");
        }
        assert!(sessions.find(&cookie, None, 8 * 3600 + 1).is_none());
        let cookie = sessions.open(visitor(Entry::Link), 0);
        assert!(sessions.find(&cookie, None, 1801).is_none());
        let cookie = sessions.open(visitor(Entry::Link), 0);
        sessions.close(&cookie);
        assert!(sessions.find(&cookie, None, 0).is_none());
    }

    #[test]
    fn a_clock_that_is_set_back_ends_sessions_and_does_not_prolong_them() {
        let sessions = Sessions::new(30, 8);
        let cookie = sessions.open(visitor(Entry::Link), 100_000);
        assert!(sessions.find(&cookie, None, 100_000 - SET_BACK_S).is_some());
        assert!(sessions.find(&cookie, None, 100_000 - 86_400).is_none());
    }

    #[test]
    fn a_session_by_certificate_is_worth_nothing_without_it() {
        let sessions = Sessions::new(30, 8);
        let cookie = sessions.open(visitor(Entry::Certificate("urn:a".to_owned())), 0);
        assert!(sessions.find(&cookie, None, 1).is_none());
        assert!(sessions.find(&cookie, Some("urn:b"), 1).is_none());
        assert!(sessions.find(&cookie, Some("urn:a"), 1).is_some());
    }

    #[test]
    fn sessions_are_bounded_and_the_oldest_makes_room() {
        let sessions = Sessions::new(30, 8);
        let first = sessions.open(visitor(Entry::Link), 0);
        let second = sessions.open(visitor(Entry::Link), 1);
        for _ in 2..=MOST_SESSIONS {
            sessions.open(visitor(Entry::Link), 2);
        }
        assert!(sessions.find(&first, None, 3).is_none());
        assert!(sessions.find(&second, None, 3).is_some());
    }

    #[test]
    fn sessions_of_one_person_end_together() {
        let sessions = Sessions::new(30, 8);
        let of = |name: &str| Visitor { who: Who::Login(name.to_owned()), ..visitor(Entry::Oidc) };
        let [a, b, c] = ["x", "x", "y"].map(|name| sessions.open(of(name), 0));
        let id = UserId::of(&Who::Login("x".to_owned()));
        assert_eq!(sessions.count(&id), 2);
        sessions.close_of(&id);
        assert_eq!([&a, &b, &c].map(|cookie| sessions.find(cookie, None, 1).is_some()), [false, false, true]);
        assert_eq!(sessions.count(&id), 0);
    }

    #[test]
    fn a_site_is_one_address_whatever_addresses_it_takes() {
        let rate = Rate::new(60.0, 2.0);
        let take = |address: &str| rate.take(address.parse().unwrap(), 0);
        assert!(take("2001:db8::1") && take("2001:db8::ffff:2"));
        assert!(!take("2001:db8:0:0:9::3"));
        assert!(take("2001:db8:0:1::1"), "another network");
        assert!(take("192.0.2.1") && take("::ffff:192.0.2.1") && !take("192.0.2.1"), "one address, however it is written");
    }

    #[test]
    fn a_rate_is_held_by_address_and_recovers() {
        let rate = Rate::new(60.0, 3.0);
        let (a, b) = ("127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap());
        assert_eq!([0; 4].map(|now| rate.take(a, now)), [true, true, true, false]);
        assert!(rate.take(b, 0));
        assert!(rate.take(a, 1));
        assert!(!rate.take(a, 1));
    }
}
