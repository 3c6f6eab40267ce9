//! Places among the connections of a listener: when all are taken, whoever holds most of them gives way.
//!
//! Ten thousand connections of one stranger, or of one partner whose node runs wild, must not keep the others out: a limit that
//! only refuses newcomers is one that the first comer can fill. Holders are told apart by address before their certificate is
//! known, and by certificate afterwards.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

/// What counts as one address: of IPv6 the network of one site, in which anybody has as many addresses as they like (RFC 6177).
pub fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

/// What becomes of a newcomer when every place is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest connection of whoever holds most gives way: for connections that have not shown who they are, or that cost
    /// their owner nothing to open again. An honest one is served long before its turn comes.
    OldestGoes,
    /// The newcomer is refused, unless somebody holds at least two places more than it does: for peers that are known, whose
    /// work would be cut.
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
    places: BTreeMap<u64, (String, oneshot::Sender<()>)>,
    holders: HashMap<String, usize>,
}

impl Held {
    fn remove(&mut self, number: u64) {
        let Some((holder, _)) = self.places.remove(&number) else { return };
        if let Some(count) = self.holders.get_mut(&holder) {
            *count -= 1;
            if *count == 0 {
                self.holders.remove(&holder);
            }
        }
    }

    /// Who holds most; among equals, whoever has held longest.
    fn biggest(&self) -> Option<(u64, usize)> {
        let most = self.holders.values().copied().max()?;
        let oldest = self.places.iter().find(|(_, (holder, _))| self.holders.get(holder) == Some(&most));
        oldest.map(|(number, _)| (*number, most))
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
        let mut held = self.held();
        if held.places.len() >= self.limit {
            let own = held.holders.get(holder).copied().unwrap_or_default();
            let (oldest, most) = held.biggest()?;
            if self.rule == WhenFull::FairShare && most < own + 2 {
                return None;
            }
            // Dropping its sender tells it.
            held.remove(oldest);
        }
        let number = held.next;
        held.next += 1;
        let (stay, leave) = oneshot::channel();
        held.places.insert(number, (holder.to_owned(), stay));
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
}
