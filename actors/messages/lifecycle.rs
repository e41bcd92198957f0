//! Messages about the life of one upstream broker: from the web to the ConfigStore and to the Router.

use actix::prelude::*;

use super::ConfigError;
use crate::broker::{BrokerId, Draining, SharedBroker};
use crate::definition::{BrokerChanges, FieldError};
use crate::upstream_broker::UpstreamEvent;

/// Changes whether a broker gets what is for it, and stores that.
#[derive(Message)]
#[rtype(result = "Result<SharedBroker, ConfigError>")]
pub struct ChangeForwarding(pub BrokerId, pub Forwarding);

/// Whether a broker gets what is for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// Nothing new, until it is resumed; what is for it waits in the log. A drain ends where it is.
    Paused,
    /// Everything. A pause, a drain or a removal that waits for one is over.
    Resumed,
    /// What lies before the drain point.
    Drained(Draining),
}

/// Checks a definition as [`AddBroker`] or, with an identity, [`UpdateBroker`] would, and changes nothing.
#[derive(Message)]
#[rtype(result = "Result<Validation, ConfigError>")]
pub struct ValidateBroker(pub Option<BrokerId>, pub BrokerChanges);

/// The answer to [`ValidateBroker`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validation {
    /// It would be taken.
    Valid {
        /// The definition as it would be.
        broker: SharedBroker,
        /// What is legal and dangerous in it: the field, and why.
        warnings: Vec<FieldError>,
    },
    /// It would be refused, because of these; an error of the whole has no field.
    Invalid(Vec<FieldError>),
}

/// Which drains are done: the broker, and the drain point that it has reached.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<(BrokerId, u64)>")]
pub struct GetDrained;

/// Closes the connection to a broker and makes another one, as with changed certificates.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), ReconnectError>")]
pub struct Reconnect(pub BrokerId);

/// Why a broker does not connect anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconnectError {
    /// No enabled broker has this identity.
    NotRunning,
    /// Its actor has too much to do.
    Busy,
}

/// What happened to a broker of late, the oldest first; `None` where the Router knows no such broker.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Option<Vec<UpstreamEvent>>")]
pub struct GetBrokerEvents(pub BrokerId);

/// An order for a broker that is still as whoever gives it has seen it.
pub struct AtRevision<M> {
    /// The broker's revision that was seen.
    pub revision: u64,
    /// Whose.
    pub broker: BrokerId,
    /// What is to be done then.
    pub order: M,
}

impl<M: Message> Message for AtRevision<M> {
    type Result = M::Result;
}

/// Tries to reach an upstream broker now, whatever failed before; answers whether there is such an enabled broker.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "bool")]
pub struct RetryNow(pub BrokerId);

/// Enables a disabled upstream broker and the reverse.
#[derive(Message)]
#[rtype(result = "Result<SharedBroker, ConfigError>")]
pub struct ToggleBroker(pub BrokerId);
