//! What a group shows to others: how often it changed over, and why the last time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prometheus::IntCounter;

use crate::{BrokerId, Metrics};

/// One change from a member to another.
#[derive(Clone, Debug)]
pub struct Switch {
    /// Who had the messages before.
    pub from: BrokerId,
    /// Who has them since.
    pub to: BrokerId,
    /// Why.
    pub cause: String,
    /// When.
    pub at: Instant,
}

/// The shared status of one group; it outlives the group's actors.
pub struct GroupStatus {
    name: String,
    switches: IntCounter,
    last: Mutex<Option<Switch>>,
}

impl GroupStatus {
    /// A group that never changed over.
    pub fn new(name: &str, metrics: &Metrics) -> Arc<GroupStatus> {
        let switches = metrics.group_switches.with_label_values(&[name]);
        Arc::new(GroupStatus { name: name.to_owned(), switches, last: Mutex::new(None) })
    }

    /// Another member has the messages now.
    pub fn switched(&self, switch: Switch) {
        self.switches.inc();
        *self.last() = Some(switch);
    }

    /// How often the group changed over, and the last time.
    pub fn switches(&self) -> (u64, Option<Switch>) {
        (self.switches.get(), self.last().clone())
    }

    /// Takes the group out of the metrics, once it is gone.
    pub fn forget(&self, metrics: &Metrics) {
        // A label that is not there is no harm.
        let _ = metrics.group_switches.remove_label_values(&[self.name.as_str()]);
    }

    fn last(&self) -> MutexGuard<'_, Option<Switch>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
