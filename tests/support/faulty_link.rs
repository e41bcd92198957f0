//! A line to a broker that the test breaks and heals: it cuts, refuses, delays, throttles, and goes silent in one
//! direction or in both, without losing a byte of what it does not cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How often a silent direction looks whether it may speak again.
const TICK: Duration = Duration::from_millis(2);

/// The line. Its threads end with the connections, its listener with the test.
pub struct FaultyLink {
    port: u16,
    state: Arc<State>,
}

/// Which bytes are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the proxy to the broker.
    ToBroker,
    /// From the broker to the proxy.
    FromBroker,
}

#[derive(Default)]
struct State {
    /// Both ends of every connection that may be open.
    ends: Mutex<Vec<TcpStream>>,
    connections: AtomicUsize,
    refuses: AtomicBool,
    is_ending: AtomicBool,
    silent: [AtomicBool; 2],
    delay_ms: AtomicU64,
    /// Bytes per second in each direction; 0: no bound.
    rate: AtomicUsize,
}

impl FaultyLink {
    /// A line to this broker, at first without a fault.
    pub fn to(broker: SocketAddr) -> FaultyLink {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State::default());
        let of_listener = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if of_listener.is_ending.load(Ordering::Relaxed) {
                    return;
                }
                of_listener.connections.fetch_add(1, Ordering::Relaxed);
                if of_listener.refuses.load(Ordering::Relaxed) {
                    continue;
                }
                if let Ok(broker) = TcpStream::connect(broker) {
                    connect(client, broker, &of_listener);
                }
            }
        });
        FaultyLink { port, state }
    }

    /// Where clients of the broker connect instead.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections came so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Ends all connections of now; what is on its way is lost.
    pub fn cut(&self) {
        for end in self.state.ends.lock().expect("no holder panics").drain(..) {
            // It may be closed already.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    /// Closes new connections at once, until [`FaultyLink::heal`].
    pub fn refuse(&self) {
        self.state.refuses.store(true, Ordering::Relaxed);
        self.cut();
    }

    /// Passes nothing on in these directions, until [`FaultyLink::heal`]; then it comes.
    pub fn silence(&self, directions: &[Direction]) {
        for direction in directions {
            self.state.silent[*direction as usize].store(true, Ordering::Relaxed);
        }
    }

    /// Rests so long before it passes on what one read brought.
    pub fn delay(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).expect("a short time");
        self.state.delay_ms.store(millis, Ordering::Relaxed);
    }

    /// Passes on no more than this in a second, in each direction.
    pub fn throttle(&self, bytes_per_second: usize) {
        self.state.rate.store(bytes_per_second, Ordering::Relaxed);
    }

    /// Ends all faults; connections that were cut stay so.
    pub fn heal(&self) {
        self.state.refuses.store(false, Ordering::Relaxed);
        self.state.silent.iter().for_each(|silent| silent.store(false, Ordering::Relaxed));
        self.state.delay_ms.store(0, Ordering::Relaxed);
        self.state.rate.store(0, Ordering::Relaxed);
    }
}

impl Drop for FaultyLink {
    fn drop(&mut self) {
        self.state.is_ending.store(true, Ordering::Relaxed);
        if !thread::panicking() {
            self.cut();
        }
        // The listener looks when somebody comes.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn connect(client: TcpStream, broker: TcpStream, state: &Arc<State>) {
    let another = |end: &TcpStream| end.try_clone().expect("another handle");
    for end in [&client, &broker] {
        end.set_nodelay(true).expect("TCP_NODELAY can be set");
        state.ends.lock().expect("no holder panics").push(another(end));
    }
    let up = (another(&client), another(&broker), Direction::ToBroker);
    for (from, to, direction) in [up, (broker, client, Direction::FromBroker)] {
        let state = Arc::clone(state);
        thread::spawn(move || pump(from, to, direction, &state));
    }
}

/// Copies one direction until either end is closed.
fn pump(mut from: TcpStream, mut to: TcpStream, direction: Direction, state: &State) {
    let mut bytes = [0; 4_096];
    while let Ok(count) = from.read(&mut bytes) {
        if count == 0 || !rest(count, direction, state) || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    for end in [from, to] {
        // It may be closed already.
        let _ = end.shutdown(Shutdown::Both);
    }
}

/// Waits as the faults of now want it; `false` where the line is taken down meanwhile.
fn rest(count: usize, direction: Direction, state: &State) -> bool {
    let rate = state.rate.load(Ordering::Relaxed);
    let throttled = if rate == 0 { 0 } else { count as u64 * 1_000 / rate as u64 };
    let delay = Duration::from_millis(state.delay_ms.load(Ordering::Relaxed) + throttled);
    if !delay.is_zero() {
        thread::sleep(delay);
    }
    while state.silent[direction as usize].load(Ordering::Relaxed) {
        if state.is_ending.load(Ordering::Relaxed) {
            return false;
        }
        thread::sleep(TICK);
    }
    true
}
