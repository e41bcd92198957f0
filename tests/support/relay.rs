//! A network that breaks: a relay to a broker that cuts each connection after some number of bytes, in the middle
//! of a packet as often as not.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The relay. Its threads end with the connections.
pub struct Relay {
    port: u16,
    cuts_left: Arc<AtomicUsize>,
}

impl Relay {
    /// Cuts `cuts` connections after 300 to 20,000 bytes each, chosen by `seed`, and none after that.
    pub fn to(target: SocketAddr, cuts: usize, seed: u64) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let cuts_left = Arc::new(AtomicUsize::new(cuts));
        let left = cuts_left.clone();
        thread::spawn(move || {
            let mut random = seed;
            for client in listener.incoming().map_while(Result::ok) {
                // The constants of a well-known linear congruential generator; its high bits are good enough.
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let budget = 300 + (random >> 33) as usize % 19_700;
                let Ok(broker) = TcpStream::connect(target) else { continue };
                relay(client, broker, budget, &left);
            }
        });
        Relay { port, cuts_left }
    }

    /// Where clients of the broker connect instead.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts no more connections.
    pub fn calm_down(&self) {
        self.cuts_left.store(0, Ordering::Relaxed);
    }

    /// How many connections are still to be cut.
    pub fn cuts_left(&self) -> usize {
        self.cuts_left.load(Ordering::Relaxed)
    }
}

fn relay(client: TcpStream, broker: TcpStream, budget: usize, cuts_left: &Arc<AtomicUsize>) {
    for end in [&client, &broker] {
        end.set_nodelay(true).expect("TCP_NODELAY can be set");
    }
    let budget = Arc::new(AtomicUsize::new(budget));
    let ends = [(&client, &broker), (&broker, &client)].map(|(from, to)| {
        (from.try_clone().expect("another handle"), to.try_clone().expect("another handle"))
    });
    for (from, to) in ends {
        let (budget, cuts_left) = (budget.clone(), cuts_left.clone());
        thread::spawn(move || pump(from, to, &budget, &cuts_left));
    }
}

/// Copies one direction until the end, or until both directions together have used up the budget.
fn pump(mut from: TcpStream, mut to: TcpStream, budget: &AtomicUsize, cuts_left: &AtomicUsize) {
    let mut bytes = [0; 1_000];
    while let Ok(count) = from.read(&mut bytes) {
        let left = budget.load(Ordering::Relaxed);
        budget.store(left.saturating_sub(count), Ordering::Relaxed);
        let is_cut = count > left && cuts_left.load(Ordering::Relaxed) > 0;
        let passes = if is_cut { left } else { count };
        if count == 0 || to.write_all(&bytes[..passes]).is_err() {
            break;
        }
        if is_cut {
            // Two directions may cut the same connection: once is enough.
            if left > 0 {
                let _ =
                    cuts_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |cuts| cuts.checked_sub(1));
            }
            break;
        }
    }
    for end in [from, to] {
        // It may be closed already.
        let _ = end.shutdown(Shutdown::Both);
    }
}
