//! The annex in bytes: entries one after the other, each with a tag byte in front. No entry, no bytes.
//!
//! ```text
//! inbound    1, key u128, Packet Identifier u16
//! recipient  2 without or 3 with Subscription Identifiers, QoS and RETAIN u8, key u128, (count u32, each u32)
//! ```

use bytes::BufMut;
use mqtt::{PacketId, QoS};

use super::annex::{Annex, Recipient};
use super::change::SessionKey;
use super::fields::{Fields, delivery_flags, put_list, put_session};

const INBOUND: u8 = 1;
const RECIPIENT: u8 = 2;
const RECIPIENT_WITH_IDENTIFIERS: u8 = 3;

impl Annex {
    /// Whether there is nothing to say, which needs no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.inbound.is_none() && self.recipients.is_empty()
    }

    /// Appends the annex; nothing where it is empty.
    pub fn encode(&self, buffer: &mut impl BufMut) {
        if let Some((session, packet_id)) = self.inbound {
            put_inbound(buffer, session, packet_id);
        }
        for recipient in &self.recipients {
            let Recipient { session, qos, retain, subscription_identifiers } = recipient;
            put_recipient(buffer, *session, *qos, *retain, subscription_identifiers);
        }
    }

    /// The annex of these bytes, of which there may be none; `None` where they are not an annex.
    pub fn decode(bytes: &[u8]) -> Option<Annex> {
        let mut fields = Fields::new(bytes);
        let mut annex = Annex::default();
        while !fields.is_empty() {
            match fields.u8()? {
                INBOUND if annex.inbound.is_none() => {
                    annex.inbound = Some((fields.session()?, fields.packet_id()?));
                }
                RECIPIENT => annex.recipients.push(recipient(&mut fields, false)?),
                RECIPIENT_WITH_IDENTIFIERS => annex.recipients.push(recipient(&mut fields, true)?),
                _ => return None,
            }
        }
        Some(annex)
    }
}

fn recipient(fields: &mut Fields<'_>, has_identifiers: bool) -> Option<Recipient> {
    let (qos, retain) = fields.delivery_flags()?;
    let session = fields.session()?;
    let subscription_identifiers =
        if has_identifiers { fields.list(|fields| fields.u32())? } else { Vec::new() };
    Some(Recipient { session, qos, retain, subscription_identifiers })
}

/// Appends to an annex who sent the message at QoS 2, for those who write it without an [`Annex`]. Once at most.
pub fn put_inbound(buffer: &mut impl BufMut, session: SessionKey, packet_id: PacketId) {
    buffer.put_u8(INBOUND);
    put_session(buffer, session);
    buffer.put_u16_le(packet_id.get());
}

/// Appends a recipient to an annex, for those who write it without an [`Annex`].
pub fn put_recipient(
    buffer: &mut impl BufMut,
    session: SessionKey,
    qos: QoS,
    retain: bool,
    subscription_identifiers: &[u32],
) {
    let has_identifiers = !subscription_identifiers.is_empty();
    buffer.put_u8(if has_identifiers { RECIPIENT_WITH_IDENTIFIERS } else { RECIPIENT });
    buffer.put_u8(delivery_flags(qos, retain));
    put_session(buffer, session);
    if has_identifiers {
        put_list(buffer, subscription_identifiers, |buffer, identifier| buffer.put_u32_le(*identifier));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::samples;

    proptest! {
        #[test]
        fn an_annex_comes_back_as_it_was(annex in samples::any_annex()) {
            let mut bytes = Vec::new();
            annex.encode(&mut bytes);
            prop_assert_eq!(bytes.is_empty(), annex.is_empty());
            prop_assert_eq!(Annex::decode(&bytes), Some(annex));
            bytes.push(0);
            prop_assert_eq!(Annex::decode(&bytes), None);
        }

        #[test]
        fn arbitrary_bytes_are_refused_without_a_panic(
            tag in 0u8..5, bytes in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let mut bytes = bytes;
            bytes.insert(0, tag);
            if let Some(annex) = Annex::decode(&bytes) {
                let mut again = Vec::new();
                annex.encode(&mut again);
                prop_assert_eq!(Annex::decode(&again), Some(annex));
            }
        }
    }

    #[test]
    fn a_count_that_nothing_stands_behind_takes_no_memory() {
        let mut bytes = vec![RECIPIENT_WITH_IDENTIFIERS, 1];
        bytes.extend([0; 16]);
        bytes.extend(u32::MAX.to_le_bytes());
        assert_eq!(Annex::decode(&bytes), None);
    }
}
