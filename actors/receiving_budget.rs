//! How much memory all connections together may spend on packets that have arrived in part only.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits;

/// What all connections share.
#[derive(Debug)]
pub struct ReceivingBudget {
    bytes_max: usize,
    bytes: AtomicUsize,
}

/// The part of one connection, which it gives back when it is dropped.
#[derive(Debug)]
pub struct Receiving {
    budget: Arc<ReceivingBudget>,
    bytes: usize,
}

impl ReceivingBudget {
    /// A budget of so many bytes.
    pub fn new(bytes_max: usize) -> Arc<ReceivingBudget> {
        Arc::new(ReceivingBudget { bytes_max, bytes: AtomicUsize::new(0) })
    }

    /// The part of a new connection.
    pub fn part(self: &Arc<Self>) -> Receiving {
        Receiving { budget: self.clone(), bytes: 0 }
    }

    /// How much is spent now.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Receiving {
    /// The connection has so many bytes of an unfinished packet now. Answers `false` where that is too much: it has grown,
    /// is worth the while, and all have more than they may.
    #[must_use]
    pub fn set(&mut self, bytes: usize) -> bool {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes <= before {
            self.budget.bytes.fetch_sub(before - bytes, Ordering::Relaxed);
            return true;
        }
        let all_before = self.budget.bytes.fetch_add(bytes - before, Ordering::Relaxed);
        bytes < limits::UNFINISHED_BYTES_MIN || all_before + (bytes - before) <= self.budget.bytes_max
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_brings_more_beyond_the_budget_is_told_and_small_packets_always_pass() {
        let budget = ReceivingBudget::new(100_000);
        let (mut first, mut second) = (budget.part(), budget.part());
        assert!(first.set(60_000) && second.set(40_000));
        assert!(!second.set(40_001));
        assert!(second.set(4_000), "it finished a packet");
        assert!(first.set(96_000) && !first.set(96_001));
        let mut third = budget.part();
        assert!(third.set(limits::UNFINISHED_BYTES_MIN - 1), "little is always let in");
        assert!(!third.set(limits::UNFINISHED_BYTES_MIN));
        drop((first, third));
        assert_eq!(budget.bytes(), 4_000);
        assert!(second.set(0) && budget.bytes() == 0);
    }
}
