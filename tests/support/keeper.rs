//! An upstream broker in this process that does the receiving right: it keeps its session across its connections
//! and across the proxy's deaths, and it can be told to be slow, to hang, to refuse or to be away.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::mosquitto::reserve_port;
use super::packets::{self, Connack, Connect, Packet, Publish, kind};
use super::receiver::{Receiver, texts_on};
use super::wire::{Seen, Wire};
use super::{DEADLINE, wait_until};

/// How often its threads look whether something changed.
const TICK: Duration = Duration::from_millis(5);

/// What it does with those who connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It takes everything and acknowledges at once.
    Prompt,
    /// It takes one packet and then rests for this long.
    Slow(Duration),
    /// It takes connections in and then reads nothing.
    Hanging,
    /// It answers CONNECT with a refusal: "server unavailable".
    Refusing,
    /// Nobody listens on its port.
    Away,
}

/// The broker. Its port stays the same while it is away.
pub struct Keeper {
    port: u16,
    state: Arc<Mutex<State>>,
    listener: Option<JoinHandle<()>>,
}

struct State {
    mood: Mood,
    is_ending: bool,
    is_listening: bool,
    /// Connections that were taken in; the last one has the session.
    connects: usize,
    /// CONNECT packets that came, also those that were refused.
    attempts: usize,
    client_id: Option<String>,
    receiver: Receiver,
}

impl Keeper {
    /// Listens.
    pub fn start() -> Keeper {
        Keeper::in_mood(Mood::Prompt)
    }

    /// Has its port, and does not listen yet.
    pub fn away() -> Keeper {
        Keeper::in_mood(Mood::Away)
    }

    /// Begins in this mood.
    pub fn in_mood(mood: Mood) -> Keeper {
        let port = reserve_port();
        let state = State {
            mood,
            is_ending: false,
            is_listening: false,
            connects: 0,
            attempts: 0,
            client_id: None,
            receiver: Receiver::default(),
        };
        let state = Arc::new(Mutex::new(state));
        let for_listener = Arc::clone(&state);
        let listener = Some(thread::spawn(move || listen(port, &for_listener)));
        let keeper = Keeper { port, state, listener };
        keeper.set_mood(mood);
        keeper
    }

    /// Changes what it does, and waits until the change has begun.
    pub fn set_mood(&self, mood: Mood) {
        self.state().mood = mood;
        wait_until("the keeper changes its mood", || self.state().is_listening == (mood != Mood::Away));
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL for `--upstream`, with these parameters.
    pub fn url(&self, parameters: &str) -> String {
        format!("mqtt://127.0.0.1:{}?{parameters}", self.port)
    }

    /// How many messages it took.
    pub fn count(&self) -> usize {
        self.state().receiver.arrivals().len()
    }

    /// What it took.
    pub fn messages(&self) -> Vec<Publish> {
        self.state().receiver.arrivals().to_vec()
    }

    /// The payloads of what it took on one topic.
    pub fn texts_on(&self, topic: &str) -> Vec<String> {
        texts_on(topic, self.state().receiver.arrivals())
    }

    /// How many messages of QoS 2 were sent to it again.
    pub fn repeats(&self) -> usize {
        self.state().receiver.repeats()
    }

    /// How many CONNECT packets came, also those that were refused.
    pub fn attempts(&self) -> usize {
        self.state().attempts
    }

    /// Whether it has a message with this payload.
    pub fn has(&self, text: &str) -> bool {
        self.state().receiver.arrivals().iter().any(|message| message.payload == text.as_bytes())
    }

    /// Waits until it has at least this many messages, as long as some arrive.
    pub fn wait_count(&self, count: usize) {
        let (mut last, mut since) = (self.count(), Instant::now());
        while last < count {
            thread::sleep(TICK);
            let now = self.count();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            assert!(since.elapsed() < DEADLINE, "{last} of {count} messages came to {}", self.port);
        }
    }

    /// Waits until it has a message with this payload.
    pub fn wait_text(&self, text: &str) {
        wait_until(&format!("{text:?} arrives at {}", self.port), || self.has(text));
    }

    /// Fails where the proxy did something that a sender must not do.
    pub fn assert_no_faults(&self, context: &str) {
        let state = self.state();
        let faults = state.receiver.faults();
        assert!(faults.is_empty(), "{context}: {} faults, the first {:?}", faults.len(), faults.first());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no connection panics")
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Ok(mut state) = self.state.lock() {
            state.is_ending = true;
        }
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn listen(port: u16, state: &Arc<Mutex<State>>) {
    let mut listener: Option<TcpListener> = None;
    loop {
        let (mood, is_ending) = {
            let state = state.lock().expect("no connection panics");
            (state.mood, state.is_ending)
        };
        if is_ending {
            return;
        }
        if mood == Mood::Away {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok();
            if let Some(listener) = &listener {
                listener.set_nonblocking(true).expect("the listener can be polled");
            }
        }
        state.lock().expect("no connection panics").is_listening = listener.is_some();
        while let Some((stream, _)) = listener.as_ref().and_then(|listener| listener.accept().ok()) {
            stream.set_nonblocking(false).expect("the stream can block");
            let state = Arc::clone(state);
            thread::spawn(move || serve(Wire::over(stream), &state));
        }
        thread::sleep(TICK);
    }
}

fn serve(mut wire: Wire, state: &Mutex<State>) {
    let Seen::Packet(packet) = wire.look(DEADLINE) else { return };
    let connect = Connect::decode(&packet);
    let Some(connection) = begin(&mut wire, &connect, state) else { return };
    loop {
        let Some(mood) = mood_of(connection, state) else { return wire.cut() };
        if mood == Mood::Hanging {
            thread::sleep(TICK);
            continue;
        }
        match wire.look(TICK) {
            Seen::Silence => {}
            Seen::Closed => return,
            Seen::Packet(packet) => {
                if !answer(&mut wire, &packet, &connect, connection, state) {
                    return wire.cut();
                }
                if let Mood::Slow(rest) = mood {
                    thread::sleep(rest);
                }
            }
        }
    }
}

/// Answers CONNECT; the number of the connection where it was taken in.
fn begin(wire: &mut Wire, connect: &Connect, state: &Mutex<State>) -> Option<usize> {
    let mut state = state.lock().expect("no connection panics");
    state.attempts += 1;
    let refusal = if connect.version.is_v5() { 0x88 } else { 3 };
    let code = if state.mood == Mood::Refusing { refusal } else { 0 };
    let is_known = state.client_id.as_ref() == Some(&connect.client_id);
    let session_present = code == 0 && is_known && !connect.clean;
    if code == 0 {
        state.connects += 1;
        // A clean Session ends with its connection.
        state.client_id = (!connect.clean).then(|| connect.client_id.clone());
        if !session_present {
            state.receiver.forget_flows();
        }
    }
    let connack = Connack { session_present, code, properties: Vec::new() };
    wire.try_send(&connack.encode(connect.version));
    (code == 0).then_some(state.connects)
}

/// The mood, as long as this connection has the session and there is somebody to have it with.
fn mood_of(connection: usize, state: &Mutex<State>) -> Option<Mood> {
    let state = state.lock().expect("no connection panics");
    let is_gone = matches!(state.mood, Mood::Away | Mood::Refusing);
    (state.connects == connection && !is_gone && !state.is_ending).then_some(state.mood)
}

/// Takes a packet in; `false` where the connection is over.
fn answer(
    wire: &mut Wire,
    packet: &Packet,
    connect: &Connect,
    connection: usize,
    state: &Mutex<State>,
) -> bool {
    let mut state = state.lock().expect("no connection panics");
    if state.connects != connection {
        return false;
    }
    match packet.kind() {
        kind::PINGREQ => wire.try_send(&packets::PINGRESP),
        kind::DISCONNECT => return false,
        _ => {
            let reply = state.receiver.take(packet, connect.version);
            // The answer goes out without the lock: whoever reads slowly must not hold the others up.
            drop(state);
            if let Some(reply) = reply {
                wire.try_send(&reply);
            }
        }
    }
    true
}
