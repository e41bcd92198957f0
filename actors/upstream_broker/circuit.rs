//! When to try again after a failure, and what is shown of that: a circuit that opens with each failure, lets one
//! attempt through when its time has come, and closes with the connection. Pure: time and chance are inputs.

use std::time::{Duration, Instant};

use mqtt::ReasonCode;

use super::connect::Cause;
use crate::broker::Retry;

/// How often a failure that may last has to come in a row before it is taken for one that does.
const LASTING_REPEATS: u32 = 3;

/// How much longer than the floor the shortest wait is after an answer that says "too much at the moment".
const BUSY_FACTOR: u32 = 10;

/// Whether attempts go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// The connection stands, or nothing has failed yet.
    Closed,
    /// Something failed: the next attempt waits for its time.
    Open,
    /// Something failed, and one attempt is under way.
    HalfOpen,
}

impl CircuitState {
    /// The state as the API and the dashboard show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            CircuitState::Closed => "closed",
            CircuitState::Open => "open",
            CircuitState::HalfOpen => "half_open",
        }
    }
}

/// What anyone may see of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitSnapshot {
    /// Whether attempts go through.
    pub state: CircuitState,
    /// How long the next attempt waits, where it does.
    pub retry_in: Option<Duration>,
    /// Failures since the last connection that lasted.
    pub failures: u32,
    /// What failed last, as long as failures count.
    pub cause: Option<Cause>,
    /// What the broker said then, where it said anything.
    pub reason_code: Option<ReasonCode>,
}

/// What may be expected of the next attempt after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outlook {
    /// It may succeed at any time.
    Passing,
    /// The broker wants less of us for a while.
    Busy,
    /// It may succeed, unless the failure repeats itself.
    Doubtful,
    /// It fails until somebody changes something.
    Denied,
}

/// The circuit of one upstream broker.
///
/// ```text
///          ┌──────────── CONNACK yes ───────────┐
///          v                                    │
///        Closed ── failed ──> Open ── time ──> HalfOpen
///                              ^─── failed ─────┘
///  any ── another definition, or somebody asks ──> Closed
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Circuit {
    retry: Retry,
    /// Since the last connection that lasted.
    failures: u32,
    /// How many failures in a row were like the last one.
    alike: u32,
    last: Option<(Cause, Option<ReasonCode>)>,
    /// The last wait, from which the next one is drawn.
    last_wait: Duration,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Attempting,
    Connected { since: Instant },
    Waiting { until: Instant },
}

impl Circuit {
    /// A closed circuit: the first attempt is under way.
    pub const fn new(retry: Retry) -> Circuit {
        let last_wait = Duration::ZERO;
        Circuit { retry, failures: 0, alike: 0, last: None, last_wait, phase: Phase::Attempting }
    }

    /// Other waits from now on.
    pub fn set_retry(&mut self, retry: Retry) {
        self.retry = retry;
    }

    /// An attempt begins.
    pub fn attempt(&mut self) {
        self.phase = Phase::Attempting;
    }

    /// The attempt succeeded.
    pub fn connected(&mut self, now: Instant) {
        self.phase = Phase::Connected { since: now };
    }

    /// The attempt or the connection failed; how long to wait before the next attempt. `chance` is evenly distributed
    /// in 0.0 to 1.0.
    ///
    /// The wait is drawn from the last one up to three times that (decorrelated jitter), so that many proxies that lose
    /// a broker at once do not come back at once. It stays a draw where the longest wait is reached.
    pub fn failed(
        &mut self,
        now: Instant,
        cause: Cause,
        reason_code: Option<ReasonCode>,
        chance: f64,
    ) -> Duration {
        if self.has_lasted(now) {
            self.close();
        }
        if self.is_denied() && outlook(cause, reason_code) != Outlook::Denied {
            // Something else happens now: the broker was changed, or is just starting.
            self.last_wait = Duration::ZERO;
        }
        self.alike = if self.last == Some((cause, reason_code)) { self.alike.saturating_add(1) } else { 1 };
        self.failures = self.failures.saturating_add(1);
        self.last = Some((cause, reason_code));
        let (shortest, longest) = self.bounds(outlook(cause, reason_code));
        let up_to = self.last_wait.max(shortest).saturating_mul(3).min(longest);
        let from = self.last_wait.min(longest / 3).max(shortest);
        let wait = from + up_to.saturating_sub(from).mul_f64(chance.clamp(0.0, 1.0));
        self.last_wait = wait;
        self.phase = Phase::Waiting { until: now + wait };
        wait
    }

    /// Forgets all failures: the next one starts over.
    pub fn close(&mut self) {
        *self = Circuit { phase: self.phase, ..Circuit::new(self.retry) };
    }

    /// Whether a wait is longer than what a passing failure would ask for, and so worth a word.
    pub fn is_denied(&self) -> bool {
        self.last.is_some_and(|(cause, reason_code)| outlook(cause, reason_code) == Outlook::Denied)
    }

    /// The circuit as it is now.
    pub fn snapshot(&self, now: Instant) -> CircuitSnapshot {
        let forgotten = self.failures == 0 || self.has_lasted(now);
        let last = self.last.filter(|_| !forgotten);
        CircuitSnapshot {
            state: match self.phase {
                Phase::Connected { .. } => CircuitState::Closed,
                Phase::Waiting { .. } => CircuitState::Open,
                Phase::Attempting if self.failures == 0 => CircuitState::Closed,
                Phase::Attempting => CircuitState::HalfOpen,
            },
            retry_in: match self.phase {
                Phase::Waiting { until } => Some(until.saturating_duration_since(now)),
                _ => None,
            },
            failures: if forgotten { 0 } else { self.failures },
            cause: last.map(|(cause, _)| cause),
            reason_code: last.and_then(|(_, reason_code)| reason_code),
        }
    }

    /// Whether the connection stands long enough to count as a success.
    pub fn has_lasted(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Connected { since } => now.saturating_duration_since(since) >= self.retry.stable,
            _ => false,
        }
    }

    /// The shortest and the longest wait.
    fn bounds(&self, outlook: Outlook) -> (Duration, Duration) {
        let Retry { floor, ceiling, denied, .. } = self.retry;
        let ceiling = ceiling.max(floor);
        match outlook {
            Outlook::Passing => (floor, ceiling),
            Outlook::Doubtful if self.alike < LASTING_REPEATS => (floor, ceiling),
            Outlook::Busy => (floor.saturating_mul(BUSY_FACTOR).min(ceiling), ceiling),
            Outlook::Doubtful => (denied.min(ceiling).max(floor), ceiling.max(spread(denied.min(ceiling)))),
            Outlook::Denied => (denied.max(floor), ceiling.max(spread(denied))),
        }
    }
}

/// A little more, so that those who are told the same at the same time do not all come back at the same time.
fn spread(wait: Duration) -> Duration {
    wait.saturating_add(wait / 4)
}

/// What a failure says about the next attempt.
fn outlook(cause: Cause, reason_code: Option<ReasonCode>) -> Outlook {
    match reason_code {
        Some(
            ReasonCode::NotAuthorized
            | ReasonCode::BadUserNameOrPassword
            | ReasonCode::Banned
            | ReasonCode::ClientIdentifierNotValid
            | ReasonCode::BadAuthenticationMethod
            | ReasonCode::ServerMoved,
        ) => Outlook::Denied,
        Some(
            ReasonCode::ServerUnavailable
            | ReasonCode::ServerBusy
            | ReasonCode::ServerShuttingDown
            | ReasonCode::QuotaExceeded
            | ReasonCode::ConnectionRateExceeded
            | ReasonCode::MessageRateTooHigh
            | ReasonCode::UseAnotherServer,
        ) => Outlook::Busy,
        // The broker says goodbye for reasons of its own; another client may have our Client Identifier, though.
        Some(ReasonCode::SessionTakenOver) => Outlook::Doubtful,
        Some(_) if cause == Cause::Lost => Outlook::Passing,
        Some(_) => Outlook::Doubtful,
        None => match cause {
            // A certificate does not become a better one, but a broker that is just starting breaks handshakes too.
            Cause::Tls
            | Cause::Certificate
            | Cause::ClientCertificate
            | Cause::WebSocket
            | Cause::Configuration
            | Cause::Protocol => Outlook::Doubtful,
            _ => Outlook::Passing,
        },
    }
}

/// An evenly distributed number in 0.0 to 1.0.
pub fn chance() -> f64 {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    // The version bits of the identifier stand in the low 16 bits of this half: the upper 32 are random.
    (random >> 32) as f64 / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn retry() -> Retry {
        Retry { floor: MS(100), ceiling: MS(30_000), denied: MS(60_000), stable: MS(5_000) }
    }

    /// The waits after so many failures of one kind, with this chance each.
    fn waits(cause: Cause, reason_code: Option<ReasonCode>, chance: f64, count: usize) -> Vec<Duration> {
        let (mut circuit, now) = (Circuit::new(retry()), Instant::now());
        (0..count).map(|_| circuit.failed(now, cause, reason_code, chance)).collect()
    }

    #[test]
    fn a_passing_failure_is_tried_again_soon_and_less_and_less_often() {
        let longest = waits(Cause::Tcp, None, 1.0, 7);
        assert_eq!(longest, [MS(300), MS(900), MS(2_700), MS(8_100), MS(24_300), MS(30_000), MS(30_000)]);
        assert_eq!(waits(Cause::Dns, None, 0.0, 3), [MS(100); 3]);
        assert_eq!(waits(Cause::Lost, None, 0.5, 3), [MS(200), MS(400), MS(800)]);
        let late = waits(Cause::Lost, None, 0.5, 20);
        assert_eq!(late[19], MS(20_000), "there is something to draw from at the ceiling too");
    }

    #[test]
    fn who_is_not_let_in_waits_long_from_the_first_time_on() {
        for reason_code in [
            ReasonCode::NotAuthorized,
            ReasonCode::BadUserNameOrPassword,
            ReasonCode::Banned,
            ReasonCode::ClientIdentifierNotValid,
        ] {
            let shortest = waits(Cause::Refused, Some(reason_code), 0.0, 3);
            assert_eq!(shortest, [MS(60_000); 3], "{reason_code}");
            assert_eq!(waits(Cause::Refused, Some(reason_code), 1.0, 2), [MS(75_000); 2]);
        }
    }

    #[test]
    fn who_is_let_in_at_last_does_not_wait_long_for_what_passes() {
        let (mut circuit, now) = (Circuit::new(retry()), Instant::now());
        circuit.failed(now, Cause::Refused, Some(ReasonCode::NotAuthorized), 1.0);
        assert_eq!(circuit.failed(now, Cause::Tcp, None, 1.0), MS(300));
    }

    #[test]
    fn a_busy_broker_is_given_time() {
        let shortest = waits(Cause::Refused, Some(ReasonCode::ServerBusy), 0.0, 2);
        assert_eq!(shortest, [MS(1_000); 2]);
        assert_eq!(waits(Cause::Refused, Some(ReasonCode::ServerBusy), 1.0, 2), [MS(3_000), MS(9_000)]);
    }

    #[test]
    fn a_certificate_that_stays_bad_is_not_looked_at_all_the_time() {
        assert_eq!(waits(Cause::Tls, None, 0.0, 4), [MS(100), MS(100), MS(30_000), MS(30_000)]);
        let (mut circuit, now) = (Circuit::new(retry()), Instant::now());
        for cause in [Cause::Tls, Cause::Tls, Cause::Tcp, Cause::Tls, Cause::Tls] {
            assert_eq!(circuit.failed(now, cause, None, 0.0), MS(100), "something else came between");
        }
        assert_eq!(circuit.failed(now, Cause::Tls, None, 0.0), MS(30_000));
    }

    #[test]
    fn only_a_connection_that_lasts_makes_failures_forgotten() {
        let (mut circuit, start) = (Circuit::new(retry()), Instant::now());
        circuit.failed(start, Cause::Tcp, None, 1.0);
        circuit.failed(start, Cause::Tcp, None, 1.0);
        circuit.attempt();
        circuit.connected(start);
        let early = circuit.snapshot(start + MS(4_999));
        assert_eq!((early.state, early.failures, early.cause), (CircuitState::Closed, 2, Some(Cause::Tcp)));
        let mut short = circuit;
        assert_eq!(short.failed(start + MS(4_999), Cause::Lost, None, 1.0), MS(2_700));
        assert_eq!(short.snapshot(start).failures, 3);

        let late = circuit.snapshot(start + MS(5_000));
        assert_eq!((late.failures, late.cause), (0, None));
        assert_eq!(circuit.failed(start + MS(5_000), Cause::Lost, None, 1.0), MS(300));
        assert_eq!(circuit.snapshot(start).failures, 1);
    }

    #[test]
    fn the_state_is_what_goes_on() {
        let (mut circuit, start) = (Circuit::new(retry()), Instant::now());
        let first = circuit.snapshot(start);
        assert_eq!((first.state, first.retry_in, first.failures), (CircuitState::Closed, None, 0));
        circuit.failed(start, Cause::Refused, Some(ReasonCode::Banned), 0.0);
        let waiting = circuit.snapshot(start + MS(20_000));
        let wanted = CircuitSnapshot {
            state: CircuitState::Open,
            retry_in: Some(MS(40_000)),
            failures: 1,
            cause: Some(Cause::Refused),
            reason_code: Some(ReasonCode::Banned),
        };
        assert_eq!(waiting, wanted);
        assert!(circuit.is_denied());
        circuit.attempt();
        let probing = circuit.snapshot(start);
        assert_eq!((probing.state, probing.retry_in), (CircuitState::HalfOpen, None));
        circuit.connected(start);
        assert_eq!(circuit.snapshot(start).state, CircuitState::Closed);
    }

    #[test]
    fn closing_forgets_everything() {
        let (mut circuit, start) = (Circuit::new(retry()), Instant::now());
        for _ in 0..10 {
            circuit.failed(start, Cause::Tls, None, 1.0);
        }
        circuit.close();
        circuit.attempt();
        assert_eq!(circuit.snapshot(start).state, CircuitState::Closed);
        assert_eq!(circuit.failed(start, Cause::Tls, None, 0.0), MS(100));
    }

    #[test]
    fn chance_stays_within_its_range() {
        let drawn: Vec<f64> = (0..1_000).map(|_| chance()).collect();
        assert!(drawn.iter().all(|value| (0.0..=1.0).contains(value)));
        assert!(drawn.iter().any(|value| *value < 0.2) && drawn.iter().any(|value| *value > 0.8));
    }

    fn failures() -> impl Strategy<Value = (Cause, Option<ReasonCode>)> {
        let plain = proptest::sample::select(&Cause::ALL[..]).prop_map(|cause| (cause, None));
        let codes = (0x80_u8..=0xA2).prop_filter_map("a Reason Code", ReasonCode::from_u8);
        prop_oneof![plain, codes.prop_map(|reason_code| (Cause::Refused, Some(reason_code)))]
    }

    proptest! {
        #[test]
        fn no_wait_leaves_its_bounds(
            failures in proptest::collection::vec((failures(), 0.0..=1.0_f64, 0_u64..20_000), 1..40),
            (floor, ceiling, denied) in (1_u64..10_000, 1_u64..100_000, 1_u64..1_000_000),
        ) {
            let retry = Retry { floor: MS(floor), ceiling: MS(ceiling), denied: MS(denied), stable: MS(5_000) };
            let (mut circuit, mut now) = (Circuit::new(retry), Instant::now());
            for ((cause, reason_code), chance, lasted) in failures {
                let wait = circuit.failed(now, cause, reason_code, chance);
                let longest = MS(ceiling).max(MS(floor)).max(spread(MS(denied)));
                prop_assert!((MS(floor)..=longest).contains(&wait), "{wait:?}");
                if outlook(cause, reason_code) == Outlook::Denied {
                    prop_assert!(wait >= MS(denied));
                } else if outlook(cause, reason_code) != Outlook::Doubtful {
                    prop_assert!(wait <= MS(ceiling).max(MS(floor)));
                }
                let open = circuit.snapshot(now);
                prop_assert_eq!((open.state, open.retry_in), (CircuitState::Open, Some(wait)));
                now += wait;
                circuit.attempt();
                prop_assert_eq!(circuit.snapshot(now).state, CircuitState::HalfOpen);
                circuit.connected(now);
                now += MS(lasted);
                prop_assert_eq!(circuit.snapshot(now).failures == 0, lasted >= 5_000);
            }
        }
    }
}
