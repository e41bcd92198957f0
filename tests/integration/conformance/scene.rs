//! One running proxy for many tests: each test has Client Identifiers and topics of its own on it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::support::Version;
use crate::support::device::Device;
use crate::support::packets::{Connect, Publish};
use crate::support::proxy::Proxy;
use crate::support::talker::Talker;

/// Subscription option bits of MQTT 5.0.
pub mod option {
    /// No Local.
    pub const NO_LOCAL: u8 = 0x04;
    /// Retain As Published.
    pub const RETAIN_AS_PUBLISHED: u8 = 0x08;
    /// Retain Handling 1.
    pub const SEND_RETAINED_IF_NEW: u8 = 0x10;
    /// Retain Handling 2.
    pub const SEND_NO_RETAINED: u8 = 0x20;
}

/// Reason Codes of MQTT 5.0.
pub mod reason {
    /// No matching subscribers.
    pub const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
    /// No subscription existed.
    pub const NO_SUBSCRIPTION_EXISTED: u8 = 0x11;
    /// Unspecified error.
    pub const UNSPECIFIED_ERROR: u8 = 0x80;
    /// Malformed Packet.
    pub const MALFORMED: u8 = 0x81;
    /// Protocol Error.
    pub const PROTOCOL_ERROR: u8 = 0x82;
    /// Not authorized.
    pub const NOT_AUTHORIZED: u8 = 0x87;
    /// Topic Filter invalid.
    pub const TOPIC_FILTER_INVALID: u8 = 0x8F;
    /// Topic Name invalid.
    pub const TOPIC_NAME_INVALID: u8 = 0x90;
    /// Quota exceeded.
    pub const QUOTA_EXCEEDED: u8 = 0x97;
    /// Packet Identifier not found.
    pub const PACKET_ID_NOT_FOUND: u8 = 0x92;
    /// Receive Maximum exceeded.
    pub const RECEIVE_MAXIMUM_EXCEEDED: u8 = 0x93;
    /// Topic Alias invalid.
    pub const TOPIC_ALIAS_INVALID: u8 = 0x94;
}

static SHARED: Mutex<Weak<Proxy>> = Mutex::new(Weak::new());
static NEXT: AtomicUsize = AtomicUsize::new(1);

/// A test's place on the shared proxy, which ends with the last test that uses it.
pub struct Scene {
    proxy: Arc<Proxy>,
    version: Version,
    number: usize,
}

impl Scene {
    /// A place for clients of this version.
    pub fn new(version: Version) -> Scene {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let proxy = shared.upgrade().unwrap_or_else(|| Arc::new(Proxy::start()));
        *shared = Arc::downgrade(&proxy);
        Scene { proxy, version, number: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// The same place, seen by clients of another version.
    pub fn in_version(&self, version: Version) -> Scene {
        Scene { proxy: Arc::clone(&self.proxy), version, number: self.number }
    }

    /// A Topic Name or Topic Filter that only this test uses.
    pub fn topic(&self, rest: &str) -> String {
        format!("s{}/{rest}", self.number)
    }

    /// A clean CONNECT under an identifier that only this test uses.
    pub fn connect(&self, who: &str) -> Connect {
        Connect::new(self.version, &format!("s{}-{who}", self.number))
    }

    /// A CONNECT for a session that outlives the connection.
    pub fn lasting(&self, who: &str) -> Connect {
        self.connect(who).persistent()
    }

    /// A client that acknowledges by itself.
    pub fn device(&self, who: &str) -> Device {
        self.device_with(&self.connect(who))
    }

    /// A client that acknowledges by itself, with this CONNECT.
    pub fn device_with(&self, connect: &Connect) -> Device {
        Device::connect_with(self.proxy.mqtt(), connect)
    }

    /// A client that does nothing by itself.
    pub fn talker(&self, who: &str) -> Talker {
        self.talker_with(&self.connect(who))
    }

    /// A client that does nothing by itself, with this CONNECT.
    pub fn talker_with(&self, connect: &Connect) -> Talker {
        Talker::connect(self.proxy.mqtt(), connect)
    }
}

/// Topic Name, payload, QoS and flags: what must be right in every delivered message.
pub fn essence(message: &Publish) -> (String, String, u8, bool, bool) {
    (message.topic.clone(), message.text(), message.qos, message.retain, message.dup)
}
