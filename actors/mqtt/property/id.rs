//! Property Identifiers: their numbers, their types and the packets that may have them (MQTT 5.0 table 2-4).

/// What a block of properties belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum PropertyOwner {
    /// CONNECT.
    Connect = 1 << 0,
    /// CONNACK.
    ConnAck = 1 << 1,
    /// PUBLISH.
    Publish = 1 << 2,
    /// The Will of a CONNECT.
    Will = 1 << 3,
    /// PUBACK.
    PubAck = 1 << 4,
    /// PUBREC.
    PubRec = 1 << 5,
    /// PUBREL.
    PubRel = 1 << 6,
    /// PUBCOMP.
    PubComp = 1 << 7,
    /// SUBSCRIBE.
    Subscribe = 1 << 8,
    /// SUBACK.
    SubAck = 1 << 9,
    /// UNSUBSCRIBE.
    Unsubscribe = 1 << 10,
    /// UNSUBACK.
    UnsubAck = 1 << 11,
    /// DISCONNECT.
    Disconnect = 1 << 12,
    /// AUTH.
    Auth = 1 << 13,
}

/// The data representation of a property's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WireType {
    Byte,
    TwoByteInteger,
    FourByteInteger,
    VariableByteInteger,
    Utf8String,
    BinaryData,
    Utf8StringPair,
}

const CONNECT: u16 = PropertyOwner::Connect as u16;
const CONNACK: u16 = PropertyOwner::ConnAck as u16;
const PUBLISH: u16 = PropertyOwner::Publish as u16;
const WILL: u16 = PropertyOwner::Will as u16;
const SUBSCRIBE: u16 = PropertyOwner::Subscribe as u16;
const DISCONNECT: u16 = PropertyOwner::Disconnect as u16;
const AUTH: u16 = PropertyOwner::Auth as u16;
const ALL: u16 = (1 << 14) - 1;
const REQUESTS: u16 = CONNECT | PUBLISH | WILL | SUBSCRIBE | PropertyOwner::Unsubscribe as u16;

macro_rules! property_ids {
    ($($name:ident = $number:literal, $wire_type:ident, $owners:expr, $text:literal;)*) => {
        /// A Property Identifier (MQTT 5.0 table 2-4).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum PropertyId { $(#[doc = $text] $name = $number,)* }

        impl PropertyId {
            /// All identifiers, in ascending order.
            pub const ALL: [PropertyId; 27] = [$(PropertyId::$name,)*];

            /// The identifier with this number, or `None` where the standard has none.
            pub const fn from_u8(number: u8) -> Option<PropertyId> {
                match number { $($number => Some(PropertyId::$name),)* _ => None }
            }

            pub(super) const fn wire_type(self) -> WireType {
                match self { $(PropertyId::$name => WireType::$wire_type,)* }
            }

            const fn owners(self) -> u16 {
                match self { $(PropertyId::$name => $owners,)* }
            }

            /// The name of the property, for errors and logs.
            pub const fn text(self) -> &'static str {
                match self { $(PropertyId::$name => $text,)* }
            }
        }
    };
}

property_ids! {
    PayloadFormatIndicator = 0x01, Byte, PUBLISH | WILL, "Payload Format Indicator";
    MessageExpiryInterval = 0x02, FourByteInteger, PUBLISH | WILL, "Message Expiry Interval";
    ContentType = 0x03, Utf8String, PUBLISH | WILL, "Content Type";
    ResponseTopic = 0x08, Utf8String, PUBLISH | WILL, "Response Topic";
    CorrelationData = 0x09, BinaryData, PUBLISH | WILL, "Correlation Data";
    SubscriptionIdentifier = 0x0B, VariableByteInteger, PUBLISH | SUBSCRIBE, "Subscription Identifier";
    SessionExpiryInterval = 0x11, FourByteInteger, CONNECT | CONNACK | DISCONNECT, "Session Expiry Interval";
    AssignedClientIdentifier = 0x12, Utf8String, CONNACK, "Assigned Client Identifier";
    ServerKeepAlive = 0x13, TwoByteInteger, CONNACK, "Server Keep Alive";
    AuthenticationMethod = 0x15, Utf8String, CONNECT | CONNACK | AUTH, "Authentication Method";
    AuthenticationData = 0x16, BinaryData, CONNECT | CONNACK | AUTH, "Authentication Data";
    RequestProblemInformation = 0x17, Byte, CONNECT, "Request Problem Information";
    WillDelayInterval = 0x18, FourByteInteger, WILL, "Will Delay Interval";
    RequestResponseInformation = 0x19, Byte, CONNECT, "Request Response Information";
    ResponseInformation = 0x1A, Utf8String, CONNACK, "Response Information";
    ServerReference = 0x1C, Utf8String, CONNACK | DISCONNECT, "Server Reference";
    ReasonString = 0x1F, Utf8String, ALL & !REQUESTS, "Reason String";
    ReceiveMaximum = 0x21, TwoByteInteger, CONNECT | CONNACK, "Receive Maximum";
    TopicAliasMaximum = 0x22, TwoByteInteger, CONNECT | CONNACK, "Topic Alias Maximum";
    TopicAlias = 0x23, TwoByteInteger, PUBLISH, "Topic Alias";
    MaximumQoS = 0x24, Byte, CONNACK, "Maximum QoS";
    RetainAvailable = 0x25, Byte, CONNACK, "Retain Available";
    UserProperty = 0x26, Utf8StringPair, ALL, "User Property";
    MaximumPacketSize = 0x27, FourByteInteger, CONNECT | CONNACK, "Maximum Packet Size";
    WildcardSubscriptionAvailable = 0x28, Byte, CONNACK, "Wildcard Subscription Available";
    SubscriptionIdentifiersAvailable = 0x29, Byte, CONNACK, "Subscription Identifiers Available";
    SharedSubscriptionAvailable = 0x2A, Byte, CONNACK, "Shared Subscription Available";
}

impl PropertyId {
    /// The number on the wire.
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// Whether a packet of this kind (or a Will) may have the property.
    pub const fn is_allowed_in(self, owner: PropertyOwner) -> bool {
        self.owners() & owner as u16 != 0
    }

    /// Whether the property may stand more than once in a packet of this kind: User Property everywhere,
    /// Subscription Identifier in PUBLISH, where one stands for each subscription that matched.
    pub const fn may_repeat_in(self, owner: PropertyOwner) -> bool {
        match self {
            PropertyId::UserProperty => true,
            PropertyId::SubscriptionIdentifier => matches!(owner, PropertyOwner::Publish),
            _ => false,
        }
    }
}
