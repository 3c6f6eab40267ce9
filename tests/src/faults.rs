//! A network that harms what passes: connections cut, delayed, truncated, gone silent, answers lost.
//!
//! The proxy knows nothing of what it carries: TLS passes through it, so that both ends see what they would of a bad line. What
//! happens to a connection follows from a seed, the name of the link and the connection's number, and from nothing else.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// Numbers from a seed (xorshift64*), for what a failure must be able to repeat.
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    /// The next number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit
    }
    /// One of `all`.
    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

/// What happens to a connection. Counts are of bytes from the client ("up") or from the server ("down").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Both ends lose it after so many bytes up.
    CutUp(u64),
    /// Both ends lose it after so many bytes down.
    CutDown(u64),
    /// The server sees an end in the middle of what the client says.
    TruncatedUp(u64),
    /// The client sees an end in the middle of what the server says.
    TruncatedDown(u64),
    /// After so many bytes up nothing passes any more, and nobody is told for a while.
    Silent(u64),
    /// What the client says arrives, after so many bytes up no answer does.
    AnswerLost(u64),
    /// Every piece is late.
    Slow(Duration),
}

impl Fault {
    /// Its name, without figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::CutUp(_) => "cut up",
            Self::CutDown(_) => "cut down",
            Self::TruncatedUp(_) => "truncated up",
            Self::TruncatedDown(_) => "truncated down",
            Self::Silent(_) => "silent",
            Self::AnswerLost(_) => "answer lost",
            Self::Slow(_) => "slow",
        }
    }

    /// The fault of a link's connection number `number`: all kinds in turn, from one that the link's name decides, at a place
    /// that the seed decides, from the handshake to far into an upload.
    fn drawn(seed: u64, link: &str, number: u64) -> Self {
        let mut of_link = link.bytes().fold(seed, |mixed, byte| mixed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let kind = of_link.wrapping_add(number) % 7;
        of_link = of_link.wrapping_add(number.wrapping_mul(0x0123_4567_89AB));
        let mut random = Seeded::new(of_link);
        let magnitude = 1_u64 << (9 + random.below(7));
        let at = magnitude + random.below(magnitude);
        match kind {
            0 => Self::CutUp(at),
            1 => Self::CutDown(at),
            2 => Self::TruncatedUp(at),
            3 => Self::TruncatedDown(at),
            4 => Self::Silent(at),
            5 => Self::AnswerLost(at),
            _ => Self::Slow(Duration::from_millis(1 + random.below(20))),
        }
    }
}

/// How bad the lines are.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// What everything is drawn from.
    pub seed: u64,
    /// Of every link, so many connections have a fault; the later ones have none.
    pub faulty: u64,
    /// How long a silent line stays silent before it is cut.
    pub silence: Duration,
}

/// Proxies in front of roles, each for one link.
pub struct BadLines {
    runtime: Runtime,
    weather: Weather,
    met: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl BadLines {
    /// Under this weather.
    pub fn new(weather: Weather) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { runtime, weather, met: Arc::default() }
    }

    /// Passes what comes to `listen` on to `target`; `link` names who calls whom.
    pub fn start(&self, link: &str, listen: SocketAddr, target: SocketAddr) {
        let listener = self.runtime.block_on(TcpListener::bind(listen)).unwrap();
        let (weather, met, link) = (self.weather, self.met.clone(), link.to_owned());
        self.runtime.spawn(async move {
            let mut number = 0;
            while let Ok((client, _)) = listener.accept().await {
                let fault = if number < weather.faulty { Fault::drawn(weather.seed, &link, number) } else { Fault::None };
                number += 1;
                let met = met.clone();
                tokio::spawn(async move {
                    // The server's absence is the client's to see: its connection ends.
                    let Ok(server) = TcpStream::connect(target).await else { return };
                    let line = Line { fault, silence: weather.silence, up: AtomicU64::new(0), met };
                    let _ = line.pass(client, server).await;
                });
            }
        });
    }

    /// Faults that took effect so far, by name.
    pub fn met(&self) -> BTreeMap<&'static str, usize> {
        self.met.lock().unwrap().clone()
    }
}

struct Line {
    fault: Fault,
    silence: Duration,
    up: AtomicU64,
    met: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Line {
    fn took_effect(&self) {
        *self.met.lock().unwrap().entry(self.fault.name()).or_default() += 1;
    }

    async fn pass(&self, client: TcpStream, server: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let ((client_read, client_write), (server_read, server_write)) = (client.into_split(), server.into_split());
        // An error of either way ends both.
        tokio::try_join!(self.up(client_read, server_write), self.down(server_read, client_write)).map(drop)
    }

    async fn up(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut buffer = vec![0; 16 << 10];
        let mut passed = 0;
        loop {
            let n = from.read(&mut buffer).await?;
            if n == 0 {
                return to.shutdown().await;
            }
            let limit = match self.fault {
                Fault::CutUp(at) | Fault::TruncatedUp(at) | Fault::Silent(at) => at,
                _ => u64::MAX,
            };
            if passed == 0 && matches!(self.fault, Fault::Slow(_)) {
                self.took_effect();
            }
            let reached = self.hand_on(&buffer[..n], &mut passed, limit, &mut to).await?;
            self.up.store(passed, Ordering::Release);
            if !reached {
                continue;
            }
            if matches!(self.fault, Fault::Silent(_)) {
                tokio::time::sleep(self.silence).await;
            }
            return Self::end(matches!(self.fault, Fault::TruncatedUp(_)), from, to).await;
        }
    }

    async fn down(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut buffer = vec![0; 16 << 10];
        let mut passed = 0;
        loop {
            let n = from.read(&mut buffer).await?;
            if n == 0 {
                return to.shutdown().await;
            }
            let up = self.up.load(Ordering::Acquire);
            match self.fault {
                Fault::AnswerLost(at) if up >= at => {
                    self.took_effect();
                    // Time for the rest of the request to arrive and to be done.
                    let _ = tokio::time::timeout(self.silence, swallow(&mut from)).await;
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                Fault::Silent(at) if up >= at => continue,
                _ => {}
            }
            let limit = match self.fault {
                Fault::CutDown(at) | Fault::TruncatedDown(at) => at,
                _ => u64::MAX,
            };
            if self.hand_on(&buffer[..n], &mut passed, limit, &mut to).await? {
                return Self::end(matches!(self.fault, Fault::TruncatedDown(_)), from, to).await;
            }
        }
    }

    /// Passes a piece on, late where the line is slow, up to `limit` bytes of all; whether that is reached.
    async fn hand_on(&self, piece: &[u8], passed: &mut u64, limit: u64, to: &mut OwnedWriteHalf) -> io::Result<bool> {
        if let Fault::Slow(by) = self.fault {
            tokio::time::sleep(by).await;
        }
        let allowed = piece.len().min(usize::try_from(limit - *passed).unwrap_or(usize::MAX));
        to.write_all(&piece[..allowed]).await?;
        *passed += allowed as u64;
        let reached = *passed >= limit;
        if reached {
            self.took_effect();
        }
        Ok(reached)
    }

    /// Ends a way at its limit: in order where what came is truncated, so that the other end sees an end; else for both.
    async fn end(truncated: bool, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        if truncated {
            to.shutdown().await?;
            return swallow(&mut from).await;
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

/// Takes what still comes, for nobody.
async fn swallow(from: &mut OwnedReadHalf) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    while from.read(&mut buffer).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_follow_from_the_seed_and_every_link_meets_every_kind() {
        let drawn = |seed: u64| (0..14).map(|n| Fault::drawn(seed, "a -> b", n)).collect::<Vec<_>>();
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        let kinds: std::collections::BTreeSet<&str> = drawn(3).into_iter().map(Fault::name).collect();
        assert_eq!(kinds.len(), 7);
    }
}
