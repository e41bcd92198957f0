//! Who may open a connection: so many from one address at a time, counted from their acceptance until they are closed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many connections of each address are open, over all listeners.
pub struct Admission {
    per_address_max: usize,
    addresses: Mutex<HashMap<IpAddr, Open>>,
}

#[derive(Default)]
struct Open {
    /// Connections that may go on to their CONNECT.
    admitted: usize,
    /// Connections that only wait to be told that there are too many.
    refused: usize,
    /// The log heard of this address.
    is_reported: bool,
}

/// What becomes of a new connection.
pub enum Admitted {
    /// It goes on.
    Yes(Place),
    /// It is told that there are too many, once it has said CONNECT. For the first of an address the log is told.
    Refused {
        /// Its place among those that are told.
        place: Place,
        /// Whether it is the first one of this address.
        is_first: bool,
    },
    /// It is closed at once: as many of the same address wait to be told already.
    Closed,
}

/// The place of a connection, given back when it is dropped.
pub struct Place {
    admission: Arc<Admission>,
    network: Option<IpAddr>,
    is_refused: bool,
}

impl Admission {
    /// So many connections from one address; 0 is no bound.
    pub fn new(per_address_max: usize) -> Arc<Admission> {
        Arc::new(Admission { per_address_max, addresses: Mutex::default() })
    }

    /// A connection of this address was accepted.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Admitted {
        if self.per_address_max == 0 {
            return Admitted::Yes(self.place(None, false));
        }
        let network = network_of(address);
        let mut addresses = self.lock();
        let open = addresses.entry(network).or_default();
        if open.admitted < self.per_address_max {
            open.admitted += 1;
            return Admitted::Yes(self.place(Some(network), false));
        }
        if open.refused >= self.per_address_max {
            return Admitted::Closed;
        }
        open.refused += 1;
        let is_first = !std::mem::replace(&mut open.is_reported, true);
        Admitted::Refused { place: self.place(Some(network), true), is_first }
    }

    fn place(self: &Arc<Self>, network: Option<IpAddr>, is_refused: bool) -> Place {
        Place { admission: self.clone(), network, is_refused }
    }

    /// Each change is done between two statements that can panic, so a poisoned lock is taken as it is.
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Open>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(network) = self.network else { return };
        let mut addresses = self.admission.lock();
        let Some(open) = addresses.get_mut(&network) else { return };
        match self.is_refused {
            true => open.refused -= 1,
            false => open.admitted -= 1,
        }
        if open.admitted + open.refused == 0 {
            addresses.remove(&network);
        }
    }
}

/// Who counts as one: an IPv4 address, or an IPv6 network of 64 bits, which is what one customer has at least.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn so_many_of_one_address_are_admitted_and_as_many_more_are_told() {
        let admission = Admission::new(2);
        let home = address("192.0.2.1");
        let mut places = Vec::new();
        for _ in 0..2 {
            let Admitted::Yes(place) = admission.enter(home) else { panic!("there is room") };
            places.push(place);
        }
        let mut told = Vec::new();
        for wanted in [true, false] {
            let Admitted::Refused { place, is_first } = admission.enter(home) else { panic!("it is told") };
            assert_eq!(is_first, wanted);
            told.push(place);
        }
        assert!(matches!(admission.enter(home), Admitted::Closed));
        assert!(matches!(admission.enter(address("192.0.2.2")), Admitted::Yes(_)));
        told.clear();
        assert!(matches!(admission.enter(home), Admitted::Refused { .. }));
        places.pop();
        assert!(matches!(admission.enter(home), Admitted::Yes(_)));
        drop(places);
        assert!(admission.lock().is_empty(), "nothing is kept of addresses without connections");
    }

    #[test]
    fn an_ipv6_network_counts_as_one_and_ipv4_in_ipv6_as_ipv4() {
        assert_eq!(network_of(address("2001:db8:1:2:3::4")), network_of(address("2001:db8:1:2:ffff::")));
        assert_ne!(network_of(address("2001:db8:1:2::")), network_of(address("2001:db8:1:3::")));
        assert_eq!(network_of(address("::ffff:192.0.2.1")), address("192.0.2.1"));
    }

    #[test]
    fn without_a_bound_nobody_is_counted() {
        let admission = Admission::new(0);
        let _places: Vec<_> = (0..100).map(|_| admission.enter(address("192.0.2.1"))).collect();
        assert!(admission.lock().is_empty());
    }
}
