//! Ports of loopback for the servers of tests, each given to one process for as long as that lives.
//!
//! Whoever asks the system for a free port and lets it go again may find it taken when its server starts, or starts again: by
//! another test that asked, or by the system for the near end of a connection. These ports lie below those of connections and
//! of demonstrations, and a socket with the port's number in its name, which ends with the process, keeps other tests from being
//! given the same.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Mutex;

/// How many ports there are to choose from.
const COUNT: u32 = 8_000;
/// From here on `linkage demo` looks for its ports.
const DEMONSTRATIONS: u32 = 20_000;

/// A port of 127.0.0.1 that nobody listens on, and that no other test is given while this process lives.
///
/// # Panics
/// When all are taken.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let mut given = GIVEN.lock().unwrap();
    // Each process looks from elsewhere.
    let start = std::process::id().wrapping_mul(97) + given.len() as u32;
    for offset in start..start + COUNT {
        let port = (end() - COUNT + offset % COUNT) as u16;
        let name = SocketAddr::from_abstract_name(format!("linkage-test-port-{port}")).unwrap();
        let Ok(held) = UnixListener::bind_addr(&name) else { continue };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.push(held);
            return port;
        }
    }
    panic!("no port is free below {}", end());
}

/// Below the lowest port that the system gives to connections, as long as that leaves room.
fn end() -> u32 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let lowest = range.split_whitespace().next().and_then(|port| port.parse().ok());
    lowest.unwrap_or(DEMONSTRATIONS).clamp(COUNT + 2_000, DEMONSTRATIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_given_a_port_twice() {
        let mut ports: Vec<u16> = (0..50).map(|_| free_port()).collect();
        let all: Vec<TcpListener> = ports.iter().map(|port| TcpListener::bind(("127.0.0.1", *port)).unwrap()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), all.len());
        assert!(ports.iter().all(|port| u32::from(*port) < end()));
        // As another process finds it.
        let name = SocketAddr::from_abstract_name(format!("linkage-test-port-{}", ports[0])).unwrap();
        assert!(UnixListener::bind_addr(&name).is_err());
    }
}
