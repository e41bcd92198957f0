//! Other proxies that are connected to this one: those that are clients here, those that are upstream brokers, and which of
//! them are the same. A proxy says who it is in its CONNECT and CONNACK, in the User Property that messages have for
//! their origin. MQTT 3.1.1 has no such place: there, a bridge introduces itself in a message that goes no
//! further, and is answered by one. Whoever says so falsely changes only what becomes of its own messages.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use foldhash::fast::RandomState;
use mqtt::packet::Connect;
use mqtt::packet::Publish;
use mqtt::{Message, Properties, Property, QoS, TopicName};
use uuid::Uuid;

use super::{Bridge, Stamps, digest};
use crate::broker::LoopGuardChoice;
use crate::messages::SessionId;
use crate::{BrokerId, Origin};

/// What stands behind the name of a proxy that has terms of its own for what it subscribes to.
const TERMS: &str = " terms";

/// Where proxies say who they are in MQTT 3.1.1. No filter that begins with a wildcard matches it, so a broker that is no
/// proxy hands it to nobody. Below `$SYS` mosquitto would close the connection.
const INTRODUCTION: &str = "$mqtt-proxy/bridge";

/// What a proxy says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Which installation it is.
    pub instance: Uuid,
    /// Whether it changes what it subscribes to or leaves some out, so that the same message published there would not do.
    pub has_terms: bool,
}

impl Announcement {
    /// What the properties of a CONNECT or CONNACK say, if anything.
    pub fn of(properties: &Properties, stamps: &Stamps) -> Option<Announcement> {
        let (_, said) = properties.user_properties().find(|(name, _)| **name == *stamps.origin_property)?;
        Announcement::parse(&said)
    }

    /// What a message says that a proxy introduces itself by, if it is one.
    pub fn in_message(topic_name: &TopicName, payload: &[u8]) -> Option<Announcement> {
        let is_introduction = topic_name.as_str() == INTRODUCTION;
        is_introduction.then(|| std::str::from_utf8(payload).ok().and_then(Announcement::parse)).flatten()
    }

    fn parse(said: &str) -> Option<Announcement> {
        let (name, has_terms) = match said.strip_suffix(TERMS) {
            Some(name) => (name, true),
            None => (said, false),
        };
        Some(Announcement { instance: Uuid::try_parse(name).ok()?, has_terms })
    }
}

impl Stamps {
    /// Who this proxy is, for CONNECT and CONNACK.
    pub fn announcement(&self, has_terms: bool) -> Property {
        Property::UserProperty(self.origin_property.as_str().into(), self.said(has_terms).into())
    }

    /// Who this proxy is, as a message of MQTT 3.1.1.
    pub fn introduction(&self, has_terms: bool) -> Option<Publish> {
        Some(Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic_name: Some(TopicName::new(INTRODUCTION).ok()?),
            packet_id: None,
            properties: Properties::default(),
            payload: self.said(has_terms).into(),
        })
    }

    fn said(&self, has_terms: bool) -> String {
        let terms = if has_terms { TERMS } else { "" };
        format!("{}{terms}", self.instance_id)
    }
}

/// Who is known. Looked at only while a proxy that has said who it is is a client here.
#[derive(Default)]
pub(super) struct Neighbours {
    sessions: HashMap<SessionId, Announcement, RandomState>,
    /// The proxies behind upstream brokers, and whether the connection is there.
    upstreams: HashMap<BrokerId, (Uuid, Weak<()>), RandomState>,
}

/// A client that is another proxy, or a bridge, for as long as its session is that.
pub struct Neighbour {
    bridge: Arc<Bridge>,
    /// Where its messages come from: its installation, or its Client Identifier until that is known.
    place: BrokerId,
    session: SessionId,
    /// Whether it has said who it is.
    is_announced: bool,
    /// Whether it is a bridge of MQTT 3.1.1.
    is_plain: bool,
}

/// How a message goes to clients that are proxies.
pub struct ForProxies {
    sessions: Vec<SessionId>,
    /// Those of them that have it already, or get it as an upstream broker.
    spared: Vec<SessionId>,
    /// The message with origin and hops.
    pub message: Message,
}

impl ForProxies {
    /// Whether the session is that of a proxy.
    pub fn concerns(&self, session: SessionId) -> bool {
        self.sessions.contains(&session)
    }

    /// Whether the session is not to get the message.
    pub fn spares(&self, session: SessionId) -> bool {
        self.spared.contains(&session)
    }
}

impl Neighbour {
    /// The client behind a CONNECT, where that is another proxy or a bridge.
    pub fn of(connect: &Connect, session: SessionId, bridge: &Arc<Bridge>) -> Option<Neighbour> {
        let neighbour = |is_plain| {
            let name = digest(b"", connect.client_id.as_bytes());
            let place = BrokerId(Uuid::from_slice(&name.as_bytes()[..16]).unwrap_or_default());
            Neighbour { bridge: bridge.clone(), place, session, is_announced: false, is_plain }
        };
        if connect.protocol_version.is_v5() {
            let announcement = Announcement::of(&connect.properties, bridge.stamps())?;
            let mut neighbour = neighbour(false);
            neighbour.announced(announcement);
            return Some(neighbour);
        }
        connect.bridge.then(|| {
            bridge.plain_bridges.fetch_add(1, Ordering::Relaxed);
            neighbour(true)
        })
    }

    fn announced(&mut self, announcement: Announcement) {
        self.place = BrokerId(announcement.instance);
        self.bridge.neighbours().sessions.insert(self.session, announcement);
        if !std::mem::replace(&mut self.is_announced, true) {
            self.bridge.announced.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A message of a bridge of MQTT 3.1.1 by which it introduces itself: the answer to it. `None` for every other message.
    pub fn introduced(&mut self, topic_name: &TopicName, payload: &[u8]) -> Option<Publish> {
        if !self.is_plain {
            return None;
        }
        let announcement = Announcement::in_message(topic_name, payload)?;
        self.announced(announcement);
        self.bridge.stamps().introduction(false)
    }

    /// Who we are, for CONNACK, where it has said who it is.
    pub fn greeting(&self) -> Option<Property> {
        (!self.is_plain).then(|| self.bridge.stamps().announcement(false))
    }

    /// Where its messages come from.
    pub fn origin(&self) -> Origin {
        Origin::Upstream(self.place)
    }

    /// Whether it is a bridge of MQTT 3.1.1, which is not to get its own messages and cannot ask for that.
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Whether a message of it came round: it carries our own mark, or it is a copy of what was here.
    pub fn came_round(&self, topic: &[u8], payload: &[u8], properties: &Properties) -> bool {
        if !self.is_plain && self.bridge.stamps().is_ours(properties) {
            return true;
        }
        let Some(mut copies) = self.bridge.copies_for(LoopGuardChoice::Auto) else { return false };
        let judgement = copies.arrived(self.place, digest(topic, payload), Instant::now());
        !judgement.is_taken
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        if self.is_plain {
            self.bridge.plain_bridges.fetch_sub(1, Ordering::Relaxed);
        }
        if self.is_announced {
            self.bridge.neighbours().sessions.remove(&self.session);
            self.bridge.announced.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Bridge {
    pub(super) fn neighbours(&self) -> MutexGuard<'_, Neighbours> {
        self.neighbours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether some client is a bridge of MQTT 3.1.1: then it may be behind one of our upstream brokers too.
    pub fn has_plain_bridges(&self) -> bool {
        self.plain_bridges.load(Ordering::Relaxed) > 0
    }

    /// Whether some client has said that it is another proxy.
    pub fn has_announced(&self) -> bool {
        self.announced.load(Ordering::Relaxed) > 0
    }

    /// An upstream broker is connected and is this installation, or none that says who it is. The connection lasts as
    /// long as what is answered.
    pub fn reached(&self, broker: BrokerId, instance: Option<Uuid>) -> Arc<()> {
        let connection = Arc::new(());
        let mut neighbours = self.neighbours();
        match instance {
            None => neighbours.upstreams.remove(&broker),
            Some(instance) => neighbours.upstreams.insert(broker, (instance, Arc::downgrade(&connection))),
        };
        connection
    }

    /// How a message goes to clients that are proxies. `goes_to` says whether an upstream broker gets it as it is.
    pub fn for_proxies(
        &self,
        origin: Origin,
        message: &Message,
        goes_to: impl Fn(BrokerId) -> bool,
    ) -> ForProxies {
        let neighbours = self.neighbours();
        let is_from = |instance: Uuid| match origin {
            Origin::Upstream(from) => {
                let behind = neighbours.upstreams.get(&from);
                from == BrokerId(instance) || behind.is_some_and(|(behind, _)| *behind == instance)
            }
            _ => false,
        };
        let gets_it = |instance: Uuid| {
            let mut ways = neighbours
                .upstreams
                .iter()
                .filter(|(_, (behind, connection))| *behind == instance && connection.strong_count() > 0);
            ways.any(|(broker, _)| goes_to(*broker))
        };
        let is_spent = matches!(origin, Origin::Upstream(_)) && self.stamps.is_spent(&message.properties);
        let spared = neighbours.sessions.iter().filter(|(_, Announcement { instance, has_terms })| {
            is_spent || is_from(*instance) || (!has_terms && gets_it(*instance))
        });
        let properties = self.stamps.stamped(origin, &message.properties);
        ForProxies {
            spared: spared.map(|(session, _)| *session).collect(),
            sessions: neighbours.sessions.keys().copied().collect(),
            message: Message { properties, ..message.clone() },
        }
    }
}
