//! A thread of its own for what takes time: writing the ledger, and delivering alerts to the webhook, again and again
//! where it does not take them. Whoever hands it alerts never waits.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::body::body_of;
use super::ledger::Ledger;
use super::machine::Alert;
use super::mail::Mail;
use crate::broker::Retry;
use crate::limits;
use crate::timestamp::{age, unix_micros};
use crate::upstream_broker::{Cause, Circuit, chance};

/// Delivers one body, within a time of its own; the text says why it could not.
pub type Post = Box<dyn FnMut(&str) -> Result<(), String> + Send>;

/// The thread, as long as this lives.
pub struct Courier {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    mail: Mail,
    firing: Vec<Alert>,
    /// Whether the ledger says something else.
    is_unwritten: bool,
    is_ended: bool,
}

/// What the thread owns.
struct Round {
    shared: Arc<Shared>,
    path: PathBuf,
    post: Option<Post>,
    circuit: Circuit,
    not_before: Option<Instant>,
    /// Whether the log knows already that the webhook, or the ledger, does not work.
    is_post_failing: bool,
    is_write_failing: bool,
}

impl Courier {
    /// Starts the thread, with what was left before a restart. Without `post`, alerts are only written down.
    ///
    /// # Errors
    /// Where the system has no thread for it.
    pub fn start(path: PathBuf, ledger: Ledger, post: Option<Post>) -> std::io::Result<Courier> {
        let mut mail = Mail::default();
        let has_post = post.is_some();
        for alert in ledger.waiting.into_iter().filter(|_| has_post) {
            mail.push(alert);
        }
        let state = State { mail, firing: ledger.firing, is_unwritten: false, is_ended: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let retry = Retry {
            floor: limits::WEBHOOK_RETRY_FLOOR,
            ceiling: limits::WEBHOOK_RETRY_CEILING,
            ..Retry::default()
        };
        let round = Round {
            shared: shared.clone(),
            path,
            post,
            circuit: Circuit::new(retry),
            not_before: None,
            is_post_failing: false,
            is_write_failing: false,
        };
        std::thread::Builder::new().name("alerts".to_owned()).spawn(move || round.run())?;
        Ok(Courier { shared })
    }

    /// Takes new alerts, and what fires now.
    pub fn take(&self, alerts: Vec<Alert>, firing: Vec<Alert>) {
        let mut state = self.shared.lock();
        for alert in alerts {
            if let Some(lost) = state.mail.push(alert) {
                log::warn!(
                    "alert {} of broker {} is given up: too many wait for the webhook",
                    lost.rule,
                    lost.broker
                );
            }
        }
        state.firing = firing;
        state.is_unwritten = true;
        self.shared.changed.notify_one();
    }
}

impl Drop for Courier {
    /// The thread ends when it has written down what there is; what it is delivering may stay behind.
    fn drop(&mut self) {
        self.shared.lock().is_ended = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread does next.
enum Errand {
    Write(Ledger),
    Deliver(Alert),
    End,
}

impl Round {
    fn run(mut self) {
        loop {
            match self.next() {
                Errand::Write(ledger) => self.write(&ledger),
                Errand::Deliver(alert) => self.deliver(&alert),
                Errand::End => return,
            }
        }
    }

    /// Waits until there is something to do. What happened is written down before anybody hears of it.
    fn next(&mut self) -> Errand {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        loop {
            if state.is_unwritten {
                state.is_unwritten = false;
                if self.post.is_none() {
                    state.mail = Mail::default();
                }
                return Errand::Write(Ledger { firing: state.firing.clone(), waiting: state.mail.all() });
            }
            if state.is_ended {
                return Errand::End;
            }
            let now = Instant::now();
            let wait = match self.not_before.map(|at| at.saturating_duration_since(now)) {
                _ if state.mail.is_empty() => Duration::MAX,
                Some(wait) if !wait.is_zero() => wait,
                _ => match state.mail.send() {
                    Some(alert) => return Errand::Deliver(alert),
                    None => Duration::MAX,
                },
            };
            // A clock that is asked for the end of time says no.
            let wait = wait.min(limits::WEBHOOK_RETRY_CEILING);
            let woken = shared.changed.wait_timeout(state, wait);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn write(&mut self, ledger: &Ledger) {
        match ledger.write(&self.path) {
            Ok(()) => self.is_write_failing = false,
            Err(problem) => {
                if !std::mem::replace(&mut self.is_write_failing, true) {
                    log::warn!("alerts are not written down: {problem}; after a restart they fire again");
                }
            }
        }
    }

    fn deliver(&mut self, alert: &Alert) {
        let Some(post) = &mut self.post else { return };
        let posted = post(&body_of(alert));
        let mut state = self.shared.lock();
        match posted {
            Ok(()) => {
                self.circuit.close();
                self.not_before = None;
                if std::mem::take(&mut self.is_post_failing) {
                    log::info!("alerts: the webhook takes them again");
                }
                state.mail.delivered();
                state.is_unwritten = true;
            }
            Err(problem) => {
                let now = Instant::now();
                let wait = self.circuit.failed(now, Cause::Tcp, None, chance());
                self.not_before = Some(now + wait);
                if !std::mem::replace(&mut self.is_post_failing, true) {
                    log::warn!("alerts: the webhook does not take them: {problem}; retrying");
                }
                if age(alert.at_micros, unix_micros()) > limits::WEBHOOK_AGE_MAX {
                    log::warn!(
                        "alert {} of broker {} is given up: the webhook did not take it for a day",
                        alert.rule,
                        alert.broker
                    );
                    state.mail.delivered();
                    state.is_unwritten = true;
                } else {
                    state.mail.failed();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
