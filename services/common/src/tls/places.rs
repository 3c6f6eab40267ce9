//! Places among the connections of a listener: when all are taken, whoever holds most of them gives way.
//!
//! Ten thousand connections of one stranger, or of one partner whose node runs wild, must not keep the others out: a limit that
//! only refuses newcomers is one that the first comer can fill. Holders are told apart by address before their certificate is
//! known, and by certificate afterwards. Of a holder's connections, one goes first that has had no request under way for a while
//! ([`Activity`]): it costs a new handshake and nobody's work. An idle connection of somebody who holds less is left alone: else
//! whoever keeps all of theirs at work would shut it out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// What counts as one address: of IPv6 the network of one site, in which anybody has as many addresses as they like (RFC 6177).
pub fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

/// How long a connection has had no request under way when it is idle. The end of an answer has left by then, and a peer that asks
/// twice a second is at work.
const IDLE: Duration = Duration::from_secs(2);

/// What becomes of a newcomer when every place is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// An idle connection of whoever holds most gives way, or the oldest: for connections that have not shown who they are, or that cost
    /// their owner nothing to open again. An honest one is served long before its turn comes.
    OldestGoes,
    /// The newcomer is refused, unless somebody holds at least two places more than it does, or an idle connection is its own or
    /// of somebody who holds more: for peers that are known, whose work would be cut.
    FairShare,
}

/// The places of a listener. Clones share them.
#[derive(Debug, Clone)]
pub struct Places {
    limit: usize,
    rule: WhenFull,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    /// By age.
    places: BTreeMap<u64, Taken>,
    holders: HashMap<String, usize>,
    /// Places without a request under way, by since when.
    idle: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
struct Taken {
    holder: String,
    /// Dropped when it has to give way.
    _stay: oneshot::Sender<()>,
    under_way: usize,
    idle_since: Option<Instant>,
}

impl Held {
    fn remove(&mut self, number: u64) {
        let Some(taken) = self.places.remove(&number) else { return };
        if let Some(since) = taken.idle_since {
            self.idle.remove(&(since, number));
        }
        if let Some(count) = self.holders.get_mut(&taken.holder) {
            *count -= 1;
            if *count == 0 {
                self.holders.remove(&taken.holder);
            }
        }
    }

    /// A connection has one request more or less, or waits for its first; nothing once it has given way.
    fn at_work(&mut self, number: u64, more: Option<bool>, now: Instant) {
        let Some(taken) = self.places.get_mut(&number) else { return };
        taken.under_way = match more {
            Some(true) => taken.under_way + 1,
            Some(false) => taken.under_way.saturating_sub(1),
            None => taken.under_way,
        };
        if let Some(since) = taken.idle_since.take() {
            self.idle.remove(&(since, number));
        }
        if taken.under_way == 0 {
            taken.idle_since = Some(now);
            self.idle.insert((now, number));
        }
    }

    /// Whose place a newcomer gets.
    fn gives_way(&self, rule: WhenFull, newcomer: &str, now: Instant) -> Option<u64> {
        let count = |holder: &str| self.holders.get(holder).copied().unwrap_or_default();
        let (own, most) = (count(newcomer), self.holders.values().copied().max()?);
        // Work is cut as well, and of whoever holds most.
        let cut = rule == WhenFull::OldestGoes || most >= own + 2;
        let may = |taken: &Taken| {
            let held = count(&taken.holder);
            if cut { held == most } else { held > own || taken.holder == newcomer }
        };
        let idle = self.idle.iter().take_while(|(since, _)| now.saturating_duration_since(*since) >= IDLE);
        let idle = idle.map(|(_, number)| *number).find(|number| self.places.get(number).is_some_and(may));
        let oldest = || self.places.iter().find(|(_, taken)| may(taken)).map(|(number, _)| *number);
        idle.or_else(|| if cut { oldest() } else { None })
    }
}

impl Places {
    /// So many places.
    pub fn new(limit: usize, rule: WhenFull) -> Self {
        Self { limit: limit.max(1), rule, held: Arc::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for whoever connects from `address`, which is known before who it is.
    pub fn take_for(&self, address: IpAddr) -> Option<Place> {
        self.take(&site(address).to_string())
    }

    /// Takes a place for `holder`; `None` when it has to go without.
    pub fn take(&self, holder: &str) -> Option<Place> {
        self.take_at(holder, Instant::now())
    }

    fn take_at(&self, holder: &str, now: Instant) -> Option<Place> {
        let mut held = self.held();
        if held.places.len() >= self.limit {
            let number = held.gives_way(self.rule, holder, now)?;
            held.remove(number);
        }
        let number = held.next;
        held.next += 1;
        let (stay, leave) = oneshot::channel();
        held.places.insert(number, Taken { holder: holder.to_owned(), _stay: stay, under_way: 0, idle_since: None });
        *held.holders.entry(holder.to_owned()).or_default() += 1;
        Some(Place { number, leave: Some(leave), places: self.clone() })
    }
}

/// A place, held until it is dropped. As a future it is ready once the connection has to give way.
#[derive(Debug)]
pub struct Place {
    number: u64,
    /// None once it was told.
    leave: Option<oneshot::Receiver<()>>,
    places: Places,
}

impl Place {
    /// For saying what the connection does. One of which nothing is said is never idle.
    pub fn activity(&self) -> Activity {
        Activity { number: self.number, places: self.places.clone() }
    }
}

/// What a connection does. Clones are of the same connection.
#[derive(Debug, Clone)]
pub struct Activity {
    number: u64,
    places: Places,
}

impl Activity {
    /// The connection waits for its first request.
    pub fn waits(&self) {
        self.places.held().at_work(self.number, None, Instant::now());
    }

    /// A request begins; it ends when what is returned is dropped, which is when the last of its answer has been handed on.
    pub fn begin(&self) -> UnderWay {
        self.places.held().at_work(self.number, Some(true), Instant::now());
        UnderWay(self.clone())
    }
}

/// A request under way.
#[derive(Debug)]
pub struct UnderWay(Activity);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.places.held().at_work(self.0.number, Some(false), Instant::now());
    }
}

impl Future for Place {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let told = self.leave.as_mut().is_none_or(|leave| Pin::new(leave).poll(cx).is_ready());
        if told {
            self.leave = None;
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.held().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(place: &mut Place) -> bool {
        Pin::new(place).poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[test]
    fn the_oldest_of_whoever_holds_most_gives_way_to_a_stranger() {
        let places = Places::new(4, WhenFull::OldestGoes);
        let mut honest = places.take("a").unwrap();
        let mut flood: Vec<Place> = (0..100).map(|_| places.take("b").unwrap()).collect();
        assert!(!gone(&mut honest));
        let standing: Vec<usize> = (0..100).filter(|n| !gone(&mut flood[*n])).collect();
        assert_eq!(standing, [97, 98, 99]);
        assert_eq!(places.held().places.len(), 4);
        drop(flood);
        assert_eq!(places.held().holders.len(), 1);
        drop(honest);
        assert!(places.held().holders.is_empty() && places.held().places.is_empty());
    }

    #[test]
    fn a_site_that_comes_from_each_of_its_addresses_is_one_holder() {
        let places = Places::new(4, WhenFull::OldestGoes);
        let from = |address: String| places.take_for(address.parse().unwrap()).unwrap();
        let mut honest = [from("2001:db8:0:1::1".to_owned()), from("::ffff:192.0.2.1".to_owned())];
        let flood: Vec<Place> = (1..100).map(|n| from(format!("2001:db8::{n:x}:0:0:1"))).collect();
        assert!(!honest.iter_mut().any(gone));
        assert_eq!(places.held().holders.len(), 3);
        drop(flood);
    }

    #[test]
    fn a_known_peer_gets_its_share_and_not_more() {
        let places = Places::new(4, WhenFull::FairShare);
        let mut wild: Vec<Place> = (0..4).map(|_| places.take("wild").unwrap()).collect();
        assert!(places.take("wild").is_none());
        let (mut one, mut two) = (places.take("a").unwrap(), places.take("b").unwrap());
        // Who has none takes from who has two, and not from who has one.
        assert!(places.take("c").is_some_and(|mut place| !gone(&mut place)));
        let _c = places.take("c");
        assert_eq!(wild.iter_mut().filter_map(|place| (!gone(place)).then_some(())).count(), 1);
        assert!(places.take("a").is_none() && places.take("d").is_none());
        assert!(!gone(&mut one) && !gone(&mut two));
    }

    /// What is idle now is idle long enough then.
    fn later() -> Instant {
        Instant::now() + IDLE
    }

    #[test]
    fn of_whoever_holds_most_an_idle_connection_goes_before_one_at_work() {
        let places = Places::new(4, WhenFull::OldestGoes);
        let mut honest = places.take("a").unwrap();
        honest.activity().waits();
        let mut wild: Vec<Place> = (0..3).map(|_| places.take("b").unwrap()).collect();
        let activities: Vec<Activity> = wild.iter().map(Place::activity).collect();
        let work: Vec<UnderWay> = activities.iter().map(Activity::begin).collect();
        let second = activities[0].begin();
        let gone_of = |wild: &mut Vec<Place>, newcomer: &str, now: Instant| -> Vec<usize> {
            let place = places.take_at(newcomer, now);
            let all = (0..wild.len()).filter(|n| gone(&mut wild[*n])).collect();
            wild.extend(place);
            all
        };
        assert_eq!(gone_of(&mut wild, "b", later()), [0], "although an honest one is idle: it holds less");
        drop(work);
        assert_eq!(gone_of(&mut wild, "b", Instant::now()), [0, 1], "what has just come to its end is not idle");
        // Not the oldest of them, but idle.
        wild[3].activity().waits();
        let at_work = [wild[2].activity().begin(), wild[4].activity().begin()];
        assert_eq!(gone_of(&mut wild, "c", later()), [0, 1, 3]);
        assert!(!gone(&mut honest));
        drop((second, at_work, wild, honest));
        assert!(places.held().places.is_empty() && places.held().idle.is_empty());
    }

    #[test]
    fn an_idle_connection_gives_way_before_a_known_peer_is_refused() {
        let places = Places::new(3, WhenFull::FairShare);
        let mut held: Vec<Place> = ["a", "b", "c"].map(|holder| places.take(holder).unwrap()).into();
        let activities: Vec<Activity> = held.iter().map(Place::activity).collect();
        let work: Vec<UnderWay> = activities.iter().map(Activity::begin).collect();
        assert!(places.take_at("d", later()).is_none(), "all are at work");
        drop(work);
        assert!(places.take("d").is_none(), "not yet idle");
        drop(activities[0].begin());
        // The longest idle, of somebody who holds more than the newcomer.
        let d = places.take_at("d", later()).unwrap();
        assert_eq!(held.iter_mut().map(gone).collect::<Vec<_>>(), [false, true, false]);
        // Nobody's for one who holds as much as they do, but its own.
        assert!(places.take_at("d", later()).is_none());
        let own = places.take_at("c", later()).unwrap();
        assert_eq!(held.iter_mut().map(gone).collect::<Vec<_>>(), [false, true, true]);
        drop((d, own));
    }
}
