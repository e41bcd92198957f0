//! Finds the message for which a broker ends its connections. A pure machine: it is told how connections end, and says
//! when to send one message at a time and which one never to send again.

use mqtt::ReasonCode;

use super::lanes::Lane;

/// Where a message stands.
pub type Suspect = (Lane, u64);

/// The search.
///
/// ```text
///            DISCONNECT that blames a packet           the same again, for the same message alone
///  nothing ─────────────────────────────────> one at a time ────────────────> that one is given up
///     ^                                        │         ^                          │
///     └──── all that was in flight is taken ───┘         └──────────────────────────┘
/// ```
#[derive(Debug, Default)]
pub struct Suspects {
    is_searching: bool,
    /// The message that was alone when the last connection ended, and what it was blamed for.
    blamed: Option<(Suspect, ReasonCode)>,
}

impl Suspects {
    /// Whether messages go out one at a time.
    pub fn is_searching(&self) -> bool {
        self.is_searching
    }

    /// The connection ended. `blame` is the Reason Code of a DISCONNECT that [`blames_a_packet`], and `alone` the only
    /// message that was on its way. Answers with the message that is to be given up: the same one was blamed alone for
    /// the same thing twice in a row. A connection that is merely lost proves nothing.
    pub fn ended(&mut self, blame: Option<ReasonCode>, alone: Option<Suspect>) -> Option<Suspect> {
        let was_searching = self.is_searching;
        self.is_searching |= blame.is_some();
        let blamed = alone.filter(|_| was_searching).zip(blame);
        if blamed.is_some() && blamed == self.blamed {
            self.blamed = None;
            return alone;
        }
        self.blamed = blamed;
        None
    }

    /// All that was in flight when the search began is taken or given up.
    pub fn cleared(&mut self) {
        *self = Suspects::default();
    }
}

/// Whether a DISCONNECT with this Reason Code says that a packet of ours was wrong (MQTT 5.0 section 4.13).
pub fn blames_a_packet(reason_code: ReasonCode) -> bool {
    matches!(
        reason_code,
        ReasonCode::MalformedPacket
            | ReasonCode::ProtocolError
            | ReasonCode::TopicNameInvalid
            | ReasonCode::TopicAliasInvalid
            | ReasonCode::PacketTooLarge
            | ReasonCode::PayloadFormatInvalid
            | ReasonCode::RetainNotSupported
            | ReasonCode::QoSNotSupported
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Suspect = (Lane::Main, 1);
    const B: Suspect = (Lane::Main, 2);
    const LARGE: Option<ReasonCode> = Some(ReasonCode::PacketTooLarge);
    const TOPIC: Option<ReasonCode> = Some(ReasonCode::TopicNameInvalid);

    #[test]
    fn the_same_message_alone_twice_in_a_row_is_given_up() {
        let mut suspects = Suspects::default();
        assert!(!suspects.is_searching());
        // Even alone it was not known to be alone: messages of QoS 0 may have gone out too.
        assert_eq!(suspects.ended(LARGE, Some(A)), None);
        assert!(suspects.is_searching());
        assert_eq!(suspects.ended(LARGE, Some(A)), None);
        assert_eq!(suspects.ended(LARGE, Some(A)), Some(A));
        assert!(suspects.is_searching(), "there may be more of them");
        assert_eq!(suspects.ended(LARGE, Some(B)), None);
        assert_eq!(suspects.ended(LARGE, Some(B)), Some(B));
        suspects.cleared();
        assert!(!suspects.is_searching());
    }

    #[test]
    fn whatever_comes_between_begins_the_count_anew() {
        for between in [(None, Some(A)), (None, None), (LARGE, Some(B)), (LARGE, None), (TOPIC, Some(A))] {
            let mut suspects = Suspects::default();
            suspects.ended(LARGE, None);
            assert_eq!(suspects.ended(LARGE, Some(A)), None);
            assert_eq!(suspects.ended(between.0, between.1), None, "{between:?}");
            assert_eq!(suspects.ended(LARGE, Some(A)), None, "{between:?}");
            assert_eq!(suspects.ended(LARGE, Some(A)), Some(A), "{between:?}");
        }
    }

    #[test]
    fn lost_connections_prove_nothing() {
        let mut suspects = Suspects::default();
        for _ in 0..5 {
            assert_eq!(suspects.ended(None, Some(A)), None);
        }
        assert!(!suspects.is_searching());
    }

    #[test]
    fn only_codes_about_a_packet_blame_one() {
        let all = (0..=u8::MAX).filter_map(ReasonCode::from_u8);
        let blaming: Vec<u8> = all.filter(|code| blames_a_packet(*code)).map(ReasonCode::as_u8).collect();
        assert_eq!(blaming, [0x81, 0x82, 0x90, 0x94, 0x95, 0x99, 0x9A, 0x9B]);
    }
}
