//! Wakes a thread that waits for work, at the price of one atomic operation while it is awake.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::Duration;

/// One thread waits, any number ring.
#[derive(Default)]
pub struct Alarm {
    rung: AtomicBool,
    sleeper: OnceLock<Thread>,
}

impl Alarm {
    /// There is work. Rung again before the sleeper looked, it makes no difference.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(sleeper) = self.sleeper.get()
        {
            sleeper.unpark();
        }
    }

    /// Waits until the alarm is rung, or was since the last time, or the time is over. Always the same thread waits.
    pub fn wait(&self, timeout: Option<Duration>) {
        self.sleeper.get_or_init(std::thread::current);
        if self.rung.swap(false, Ordering::AcqRel) {
            return;
        }
        match timeout {
            None => std::thread::park(),
            Some(timeout) => std::thread::park_timeout(timeout),
        }
        self.rung.store(false, Ordering::Release);
    }
}
