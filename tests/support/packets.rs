//! The bytes of MQTT 3.1.1 and 5.0 once more, written from the standard and not from crate `mqtt`: a second
//! opinion. It is not strict; it says what a packet means to a test.

use super::Version;

/// Property identifiers of MQTT 5.0.
pub mod property {
    /// Payload Format Indicator (byte).
    pub const PAYLOAD_FORMAT: u8 = 0x01;
    /// Message Expiry Interval (four bytes).
    pub const MESSAGE_EXPIRY: u8 = 0x02;
    /// Content Type (text).
    pub const CONTENT_TYPE: u8 = 0x03;
    /// Response Topic (text).
    pub const RESPONSE_TOPIC: u8 = 0x08;
    /// Correlation Data (binary).
    pub const CORRELATION_DATA: u8 = 0x09;
    /// Subscription Identifier (variable byte integer).
    pub const SUBSCRIPTION_ID: u8 = 0x0B;
    /// Session Expiry Interval (four bytes).
    pub const SESSION_EXPIRY: u8 = 0x11;
    /// Assigned Client Identifier (text).
    pub const ASSIGNED_CLIENT_ID: u8 = 0x12;
    /// Server Keep Alive (two bytes).
    pub const SERVER_KEEP_ALIVE: u8 = 0x13;
    /// Authentication Method (text).
    pub const AUTHENTICATION_METHOD: u8 = 0x15;
    /// Authentication Data (binary).
    pub const AUTHENTICATION_DATA: u8 = 0x16;
    /// Request Problem Information (byte).
    pub const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    /// Will Delay Interval (four bytes).
    pub const WILL_DELAY: u8 = 0x18;
    /// Request Response Information (byte).
    pub const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
    /// Response Information (text).
    pub const RESPONSE_INFORMATION: u8 = 0x1A;
    /// Server Reference (text).
    pub const SERVER_REFERENCE: u8 = 0x1C;
    /// Reason String (text).
    pub const REASON_STRING: u8 = 0x1F;
    /// Receive Maximum (two bytes).
    pub const RECEIVE_MAXIMUM: u8 = 0x21;
    /// Topic Alias Maximum (two bytes).
    pub const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    /// Topic Alias (two bytes).
    pub const TOPIC_ALIAS: u8 = 0x23;
    /// Maximum QoS (byte).
    pub const MAXIMUM_QOS: u8 = 0x24;
    /// Retain Available (byte).
    pub const RETAIN_AVAILABLE: u8 = 0x25;
    /// User Property (pair of texts).
    pub const USER: u8 = 0x26;
    /// Maximum Packet Size (four bytes).
    pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    /// Wildcard Subscription Available (byte).
    pub const WILDCARD_AVAILABLE: u8 = 0x28;
    /// Subscription Identifier Available (byte).
    pub const SUBSCRIPTION_ID_AVAILABLE: u8 = 0x29;
    /// Shared Subscription Available (byte).
    pub const SHARED_AVAILABLE: u8 = 0x2A;
}

/// Control packet types.
pub mod kind {
    /// CONNACK.
    pub const CONNACK: u8 = 2;
    /// PUBLISH.
    pub const PUBLISH: u8 = 3;
    /// PUBACK.
    pub const PUBACK: u8 = 4;
    /// PUBREC.
    pub const PUBREC: u8 = 5;
    /// PUBREL.
    pub const PUBREL: u8 = 6;
    /// PUBCOMP.
    pub const PUBCOMP: u8 = 7;
    /// SUBSCRIBE.
    pub const SUBSCRIBE: u8 = 8;
    /// SUBACK.
    pub const SUBACK: u8 = 9;
    /// UNSUBSCRIBE.
    pub const UNSUBSCRIBE: u8 = 10;
    /// UNSUBACK.
    pub const UNSUBACK: u8 = 11;
    /// PINGREQ.
    pub const PINGREQ: u8 = 12;
    /// PINGRESP.
    pub const PINGRESP: u8 = 13;
    /// DISCONNECT.
    pub const DISCONNECT: u8 = 14;
    /// AUTH.
    pub const AUTH: u8 = 15;
}

/// PINGREQ as bytes.
pub const PINGREQ: [u8; 2] = [0xC0, 0];
/// PINGRESP as bytes.
pub const PINGRESP: [u8; 2] = [0xD0, 0];
/// The shortest DISCONNECT as bytes.
pub const DISCONNECT: [u8; 2] = [0xE0, 0];

/// The value of a property.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// One byte.
    Byte(u8),
    /// Two bytes.
    Two(u16),
    /// Four bytes.
    Four(u32),
    /// A variable byte integer.
    Variable(u32),
    /// UTF-8 text.
    Text(String),
    /// Binary data.
    Binary(Vec<u8>),
    /// Two texts.
    Pair(String, String),
}

/// Properties in the order of the packet.
pub type Properties = Vec<(u8, Value)>;

/// The first value of a property.
pub fn find(properties: &Properties, id: u8) -> Option<&Value> {
    properties.iter().find(|(found, _)| *found == id).map(|(_, value)| value)
}

/// A property that counts, as a number.
pub fn number(properties: &Properties, id: u8) -> Option<u32> {
    match find(properties, id)? {
        Value::Byte(number) => Some(u32::from(*number)),
        Value::Two(number) => Some(u32::from(*number)),
        Value::Four(number) | Value::Variable(number) => Some(*number),
        other => panic!("property {id:#x} is {other:?}"),
    }
}

/// Any packet: its first byte and what follows the Remaining Length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Type and flags.
    pub first: u8,
    /// Variable header and payload.
    pub body: Vec<u8>,
}

impl Packet {
    /// The packet type; see [`kind`].
    pub fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// The Packet Identifier of an acknowledgement, SUBSCRIBE or UNSUBSCRIBE.
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.body[0], self.body[1]])
    }

    /// The Reason Code of an acknowledgement; 0 where there is none.
    pub fn ack_reason(&self) -> u8 {
        self.body.get(2).copied().unwrap_or(0)
    }

    /// The Reason Code of a DISCONNECT; 0 where there is none.
    pub fn disconnect_reason(&self) -> u8 {
        self.body.first().copied().unwrap_or(0)
    }

    /// The Reason Code and the properties of a DISCONNECT or AUTH (MQTT 5.0).
    pub fn reason_and_properties(&self) -> (u8, Properties) {
        let mut reader = Reader(&self.body);
        let reason = if reader.0.is_empty() { 0 } else { reader.byte() };
        let properties = if reader.0.is_empty() { Vec::new() } else { reader.properties() };
        (reason, properties)
    }

    /// The properties of an MQTT 5.0 packet that has a Packet Identifier first (SUBACK and UNSUBACK), then perhaps
    /// a Reason Code (the others that acknowledge), or that has a Reason Code alone first (DISCONNECT and AUTH).
    pub fn properties(&self) -> Properties {
        let before = match self.kind() {
            kind::SUBACK | kind::UNSUBACK => 2,
            kind::PUBACK | kind::PUBREC | kind::PUBREL | kind::PUBCOMP => 3,
            kind::DISCONNECT | kind::AUTH => 1,
            _ => panic!("the properties of {self:?} stand elsewhere"),
        };
        let rest = self.body.get(before..).unwrap_or_default();
        if rest.is_empty() { Vec::new() } else { Reader(rest).properties() }
    }

    /// The Reason Codes of a SUBACK or UNSUBACK.
    pub fn codes(&self, version: Version) -> Vec<u8> {
        let mut reader = Reader(&self.body[2..]);
        if version.is_v5() {
            reader.properties();
        }
        reader.0.to_vec()
    }
}

/// Wraps a body into a packet.
pub fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    put_variable(&mut bytes, u32::try_from(body.len()).expect("a packet is below 256 MB"));
    bytes.extend_from_slice(body);
    bytes
}

/// A variable byte integer at the end of `bytes`.
pub fn put_variable(bytes: &mut Vec<u8>, mut number: u32) {
    loop {
        let digit = u8::try_from(number % 128).expect("below 128");
        number /= 128;
        if number == 0 {
            return bytes.push(digit);
        }
        bytes.push(digit | 0x80);
    }
}

/// A text with its length at the end of `bytes`.
pub fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_binary(bytes, text.as_bytes());
}

fn put_binary(bytes: &mut Vec<u8>, data: &[u8]) {
    let length = u16::try_from(data.len()).expect("at most 65,535 bytes");
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(data);
}

/// Properties with their length at the end of `bytes`.
pub fn put_properties(bytes: &mut Vec<u8>, properties: &Properties) {
    let mut inner = Vec::new();
    for (id, value) in properties {
        inner.push(*id);
        match value {
            Value::Byte(number) => inner.push(*number),
            Value::Two(number) => inner.extend_from_slice(&number.to_be_bytes()),
            Value::Four(number) => inner.extend_from_slice(&number.to_be_bytes()),
            Value::Variable(number) => put_variable(&mut inner, *number),
            Value::Text(text) => put_text(&mut inner, text),
            Value::Binary(data) => put_binary(&mut inner, data),
            Value::Pair(name, text) => {
                put_text(&mut inner, name);
                put_text(&mut inner, text);
            }
        }
    }
    put_variable(bytes, u32::try_from(inner.len()).expect("short"));
    bytes.extend_from_slice(&inner);
}

/// Takes fields off the front of a body.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Vec<u8> {
        let (front, rest) = self.0.split_at_checked(count).expect("the packet is long enough");
        self.0 = rest;
        front.to_vec()
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn two(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    fn four(&mut self) -> u32 {
        u32::from(self.two()) << 16 | u32::from(self.two())
    }

    fn variable(&mut self) -> u32 {
        let mut number = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte();
            number |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return number;
            }
        }
        panic!("a variable byte integer has at most four bytes");
    }

    fn binary(&mut self) -> Vec<u8> {
        let length = self.two();
        self.take(usize::from(length))
    }

    fn text(&mut self) -> String {
        String::from_utf8(self.binary()).expect("text is UTF-8")
    }

    fn properties(&mut self) -> Properties {
        let length = self.variable() as usize;
        let inner = self.take(length);
        let mut reader = Reader(&inner);
        let mut properties = Vec::new();
        while !reader.0.is_empty() {
            let id = reader.byte();
            let value = match id {
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => Value::Byte(reader.byte()),
                0x13 | 0x21 | 0x22 | 0x23 => Value::Two(reader.two()),
                0x02 | 0x11 | 0x18 | 0x27 => Value::Four(reader.four()),
                0x0B => Value::Variable(reader.variable()),
                0x03 | 0x08 | 0x12 | 0x15 | 0x1A | 0x1C | 0x1F => Value::Text(reader.text()),
                0x09 | 0x16 => Value::Binary(reader.binary()),
                0x26 => Value::Pair(reader.text(), reader.text()),
                _ => panic!("MQTT 5.0 has no property {id:#x}"),
            };
            properties.push((id, value));
        }
        properties
    }
}

/// A Will.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Will {
    /// Topic Name.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// QoS.
    pub qos: u8,
    /// Retain.
    pub retain: bool,
    /// Properties (MQTT 5.0).
    pub properties: Properties,
}

/// CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// The protocol version.
    pub version: Version,
    /// Whether the Protocol Level has the bit by which mosquitto knows a bridge of 3.1.1.
    pub bridge: bool,
    /// Client Identifier.
    pub client_id: String,
    /// Clean Session or Clean Start.
    pub clean: bool,
    /// Keep Alive in seconds.
    pub keep_alive: u16,
    /// Properties (MQTT 5.0).
    pub properties: Properties,
    /// The Will.
    pub will: Option<Will>,
    /// User Name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Vec<u8>>,
}

impl Connect {
    /// A clean one with a Keep Alive of a minute.
    pub fn new(version: Version, client_id: &str) -> Connect {
        Connect {
            version,
            bridge: false,
            client_id: client_id.to_owned(),
            clean: true,
            keep_alive: 60,
            properties: Vec::new(),
            will: None,
            username: None,
            password: None,
        }
    }

    /// Asks for a session that outlives the connection.
    pub fn persistent(mut self) -> Connect {
        self.clean = false;
        if self.version.is_v5() {
            self.properties.push((property::SESSION_EXPIRY, Value::Four(3_600)));
        }
        self
    }

    /// Keep Alive in seconds.
    pub fn keep_alive(mut self, secs: u16) -> Connect {
        self.keep_alive = secs;
        self
    }

    /// One more property.
    pub fn property(mut self, id: u8, value: Value) -> Connect {
        self.properties.push((id, value));
        self
    }

    /// A Will at QoS 1.
    pub fn will(mut self, topic: &str, payload: &str) -> Connect {
        let (topic, payload) = (topic.to_owned(), payload.as_bytes().to_vec());
        self.will = Some(Will { topic, payload, qos: 1, ..Will::default() });
        self
    }

    /// A property of the Will.
    pub fn will_property(mut self, id: u8, value: Value) -> Connect {
        self.will.as_mut().expect("there is a Will").properties.push((id, value));
        self
    }

    /// User Name and Password.
    pub fn credentials(mut self, username: &str, password: &str) -> Connect {
        self.username = Some(username.to_owned());
        self.password = Some(password.as_bytes().to_vec());
        self
    }

    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put_text(&mut body, "MQTT");
        body.push(if self.version.is_v5() { 5 } else { 4 });
        let mut flags = u8::from(self.clean) << 1;
        if let Some(will) = &self.will {
            flags |= 0x04 | will.qos << 3 | u8::from(will.retain) << 5;
        }
        flags |= u8::from(self.password.is_some()) << 6 | u8::from(self.username.is_some()) << 7;
        body.push(flags);
        body.extend_from_slice(&self.keep_alive.to_be_bytes());
        if self.version.is_v5() {
            put_properties(&mut body, &self.properties);
        }
        put_text(&mut body, &self.client_id);
        if let Some(will) = &self.will {
            if self.version.is_v5() {
                put_properties(&mut body, &will.properties);
            }
            put_text(&mut body, &will.topic);
            put_binary(&mut body, &will.payload);
        }
        if let Some(username) = &self.username {
            put_text(&mut body, username);
        }
        if let Some(password) = &self.password {
            put_binary(&mut body, password);
        }
        frame(0x10, &body)
    }

    /// What a CONNECT says.
    pub fn decode(packet: &Packet) -> Connect {
        assert_eq!(packet.first, 0x10, "the first packet is a CONNECT");
        let mut reader = Reader(&packet.body);
        assert_eq!(reader.text(), "MQTT", "the protocol's name");
        let (version, bridge) = match reader.byte() {
            4 => (Version::V4, false),
            0x84 => (Version::V4, true),
            5 => (Version::V5, false),
            other => panic!("protocol level {other}"),
        };
        let flags = reader.byte();
        let keep_alive = reader.two();
        let properties = if version.is_v5() { reader.properties() } else { Vec::new() };
        let client_id = reader.text();
        let will = (flags & 0x04 != 0).then(|| Will {
            properties: if version.is_v5() { reader.properties() } else { Vec::new() },
            topic: reader.text(),
            payload: reader.binary(),
            qos: flags >> 3 & 3,
            retain: flags & 0x20 != 0,
        });
        let username = (flags & 0x80 != 0).then(|| reader.text());
        let password = (flags & 0x40 != 0).then(|| reader.binary());
        assert!(reader.0.is_empty(), "nothing follows the CONNECT's last field");
        let clean = flags & 0x02 != 0;
        Connect { version, bridge, client_id, clean, keep_alive, properties, will, username, password }
    }
}

/// CONNACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connack {
    /// Session Present.
    pub session_present: bool,
    /// Return Code or Reason Code.
    pub code: u8,
    /// Properties (MQTT 5.0).
    pub properties: Properties,
}

impl Connack {
    /// The packet.
    pub fn encode(&self, version: Version) -> Vec<u8> {
        let mut body = vec![u8::from(self.session_present), self.code];
        if version.is_v5() {
            put_properties(&mut body, &self.properties);
        }
        frame(0x20, &body)
    }

    /// What a CONNACK says.
    pub fn decode(packet: &Packet, version: Version) -> Connack {
        assert_eq!(packet.first, 0x20, "the answer to CONNECT is a CONNACK, not {packet:?}");
        let mut reader = Reader(&packet.body);
        let flags = reader.byte();
        assert!(flags <= 1, "reserved CONNACK flags are 0");
        let code = reader.byte();
        let properties = if version.is_v5() { reader.properties() } else { Vec::new() };
        Connack { session_present: flags == 1, code, properties }
    }
}

/// PUBLISH, and with its id at 0 an Application Message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publish {
    /// DUP.
    pub dup: bool,
    /// QoS.
    pub qos: u8,
    /// Retain.
    pub retain: bool,
    /// Topic Name.
    pub topic: String,
    /// Packet Identifier; 0 at QoS 0.
    pub id: u16,
    /// Properties (MQTT 5.0).
    pub properties: Properties,
    /// Payload.
    pub payload: Vec<u8>,
}

impl Publish {
    /// A QoS 0 message.
    pub fn new(topic: &str, payload: impl AsRef<[u8]>) -> Publish {
        let payload = payload.as_ref().to_vec();
        Publish { topic: topic.to_owned(), payload, ..Publish::default() }
    }

    /// At this QoS.
    pub fn qos(mut self, qos: u8) -> Publish {
        self.qos = qos;
        self
    }

    /// With the retain flag.
    pub fn retained(mut self) -> Publish {
        self.retain = true;
        self
    }

    /// With one more property.
    pub fn property(mut self, id: u8, value: Value) -> Publish {
        self.properties.push((id, value));
        self
    }

    /// The payload as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    /// The packet.
    pub fn encode(&self, version: Version) -> Vec<u8> {
        let mut body = Vec::new();
        put_text(&mut body, &self.topic);
        if self.qos > 0 {
            body.extend_from_slice(&self.id.to_be_bytes());
        }
        if version.is_v5() {
            put_properties(&mut body, &self.properties);
        }
        body.extend_from_slice(&self.payload);
        frame(0x30 | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain), &body)
    }

    /// What a PUBLISH says.
    pub fn decode(packet: &Packet, version: Version) -> Publish {
        assert_eq!(packet.kind(), kind::PUBLISH, "a PUBLISH, not {packet:?}");
        let mut reader = Reader(&packet.body);
        let qos = packet.first >> 1 & 3;
        let topic = reader.text();
        let id = if qos > 0 { reader.two() } else { 0 };
        assert!(qos == 0 || id != 0, "Packet Identifier 0 is not allowed");
        let properties = if version.is_v5() { reader.properties() } else { Vec::new() };
        Publish {
            dup: packet.first & 0x08 != 0,
            qos,
            retain: packet.first & 1 != 0,
            topic,
            id,
            properties,
            payload: reader.0.to_vec(),
        }
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP that says success.
pub fn ack(kind_of: u8, id: u16) -> Vec<u8> {
    let flags = if kind_of == kind::PUBREL { 2 } else { 0 };
    frame(kind_of << 4 | flags, &id.to_be_bytes())
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP of MQTT 5.0 with a Reason Code and without properties.
pub fn ack_with_reason(kind_of: u8, id: u16, reason: u8) -> Vec<u8> {
    let flags = if kind_of == kind::PUBREL { 2 } else { 0 };
    let [high, low] = id.to_be_bytes();
    frame(kind_of << 4 | flags, &[high, low, reason])
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP of MQTT 5.0 with all that it can carry.
pub fn ack_with_properties(kind_of: u8, id: u16, reason: u8, properties: &Properties) -> Vec<u8> {
    let flags = if kind_of == kind::PUBREL { 2 } else { 0 };
    let [high, low] = id.to_be_bytes();
    let mut body = vec![high, low, reason];
    put_properties(&mut body, properties);
    frame(kind_of << 4 | flags, &body)
}

/// DISCONNECT or AUTH with a Reason Code and properties (MQTT 5.0).
pub fn with_reason(kind_of: u8, reason: u8, properties: &Properties) -> Vec<u8> {
    let mut body = vec![reason];
    put_properties(&mut body, properties);
    frame(kind_of << 4, &body)
}

/// SUBSCRIBE; in MQTT 5.0 with properties.
pub fn subscribe(version: Version, id: u16, properties: &Properties, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version.is_v5() {
        put_properties(&mut body, properties);
    }
    for (filter, options) in filters {
        put_text(&mut body, filter);
        body.push(*options);
    }
    frame(0x82, &body)
}

/// The filters and options of a SUBSCRIBE.
pub fn subscriptions(packet: &Packet, version: Version) -> Vec<(String, u8)> {
    assert_eq!(packet.first, 0x82, "a SUBSCRIBE, not {packet:?}");
    let mut reader = Reader(&packet.body[2..]);
    if version.is_v5() {
        reader.properties();
    }
    let mut filters = Vec::new();
    while !reader.0.is_empty() {
        filters.push((reader.text(), reader.byte()));
    }
    filters
}

/// UNSUBSCRIBE.
pub fn unsubscribe(version: Version, id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version.is_v5() {
        body.push(0);
    }
    for filter in filters {
        put_text(&mut body, filter);
    }
    frame(0xA2, &body)
}

/// SUBACK that grants these codes.
pub fn suback(version: Version, id: u16, codes: &[u8]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version.is_v5() {
        body.push(0);
    }
    body.extend_from_slice(codes);
    frame(0x90, &body)
}
