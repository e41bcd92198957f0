//! How a list of Topic Filters goes to a broker: in SUBSCRIBE packets that it takes, without those that it cannot.

use mqtt::packet::{Packet, Subscribe, SubscriptionOptions};
use mqtt::{PacketId, Properties, TopicFilter, codec};

use super::encoding::Wire;
use crate::limits;

/// Filters that go to the broker, and those that it cannot have.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Portions {
    /// One SUBSCRIBE each.
    pub packets: Vec<Vec<TopicFilter>>,
    /// With wildcards, where it has said that it knows none (MQTT 5.0 section 3.2.2.3.11), or too long for its Maximum
    /// Packet Size `[MQTT-3.2.2-15]`.
    pub refused: Vec<TopicFilter>,
}

impl Portions {
    /// The portions of these filters.
    pub fn of(filters: &[TopicFilter], options: SubscriptionOptions, wire: &Wire) -> Portions {
        let mut portions = Portions::default();
        let fits = |filters: &[TopicFilter]| {
            let packet = packet(PacketId::FIRST, filters, options);
            codec::encoded_len(&packet, wire.version) <= wire.capabilities.packet_bytes_max
        };
        for filter in filters {
            let is_allowed = wire.capabilities.wildcards_available || !filter.as_str().contains(['+', '#']);
            if !is_allowed || !fits(std::slice::from_ref(filter)) {
                portions.refused.push(filter.clone());
                continue;
            }
            if let Some(last) =
                portions.packets.last_mut().filter(|last| last.len() < limits::SUBSCRIBE_FILTERS_MAX)
            {
                last.push(filter.clone());
                if fits(last) {
                    continue;
                }
                last.pop();
            }
            portions.packets.push(vec![filter.clone()]);
        }
        portions
    }

    /// What to tell people about the refused ones; `None` where there are none.
    pub fn complaint(&self) -> Option<String> {
        let first = self.refused.first()?;
        let count = self.refused.len();
        Some(format!(
            "the broker takes {count} of subscription_topics not at all, the first one is {first:?}: it knows no \
             wildcards, or the filter is longer than its maximum packet size"
        ))
    }
}

/// The SUBSCRIBE for these filters.
pub fn packet(packet_id: PacketId, filters: &[TopicFilter], options: SubscriptionOptions) -> Packet {
    let subscriptions = filters.iter().map(|filter| (filter.clone(), options)).collect();
    Packet::Subscribe(Subscribe { packet_id, properties: Properties::default(), subscriptions })
}

#[cfg(test)]
mod tests {
    use mqtt::ProtocolVersion;

    use super::*;
    use crate::upstream_broker::connect::Capabilities;

    fn wire(packet_bytes_max: usize, wildcards_available: bool) -> Wire {
        let capabilities =
            Capabilities { packet_bytes_max, wildcards_available, ..Capabilities::unlimited(0) };
        Wire { version: ProtocolVersion::V5, capabilities, stamper: None, proxy: None }
    }

    fn filters(texts: &[&str]) -> Vec<TopicFilter> {
        texts.iter().map(|text| TopicFilter::new(*text).unwrap()).collect()
    }

    /// How many filters each packet has, and which ones are left out.
    fn portions(texts: &[&str], wire: &Wire) -> (Vec<usize>, Vec<String>) {
        let portions = Portions::of(&filters(texts), SubscriptionOptions::default(), wire);
        let refused = portions.refused.iter().map(|filter| filter.as_str().to_owned()).collect();
        for packet in &portions.packets {
            let packet = super::packet(PacketId::FIRST, packet, SubscriptionOptions::default());
            assert!(codec::encoded_len(&packet, wire.version) <= wire.capabilities.packet_bytes_max);
        }
        (portions.packets.iter().map(Vec::len).collect(), refused)
    }

    #[test]
    fn a_packet_has_so_many_filters_and_bytes_at_most() {
        let texts = ["a/b"; 20];
        assert_eq!(portions(&texts, &wire(usize::MAX, true)), (vec![8, 8, 4], vec![]));
        // 5 bytes before the filters, 6 for each.
        assert_eq!(portions(&texts[..5], &wire(17, true)), (vec![2, 2, 1], vec![]));
        assert_eq!(
            portions(&["a/b", "a/longer", "c"], &wire(12, true)),
            (vec![1, 1], vec!["a/longer".into()])
        );
    }

    #[test]
    fn wildcards_are_left_out_where_the_broker_knows_none() {
        let refused = (vec![1], vec!["a/#".to_owned(), "+".to_owned()]);
        assert_eq!(portions(&["a/#", "b", "+"], &wire(usize::MAX, false)), refused);
        let portions =
            Portions::of(&filters(&["a/#"]), SubscriptionOptions::default(), &wire(usize::MAX, false));
        assert!(portions.complaint().unwrap().contains("\"a/#\""));
    }
}
