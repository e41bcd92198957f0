//! What of a group's messages goes one way: never what came from a member, and of a balancing group only the topics of
//! one part.

use std::sync::Arc;

use super::filter::Unwanted;
use crate::{BrokerId, Origin};

/// The scope of a broker's filter. That of a broker by itself lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope(Option<Arc<GroupScope>>);

#[derive(Debug, PartialEq, Eq)]
struct GroupScope {
    members: Vec<BrokerId>,
    part: Option<Part>,
}

/// One part of the topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which, from 0 on.
    pub index: u16,
    /// Of how many.
    pub count: u16,
}

impl Scope {
    /// The scope of a group, or of one part of it.
    pub fn of_group(members: Vec<BrokerId>, part: Option<Part>) -> Scope {
        Scope(Some(Arc::new(GroupScope { members, part })))
    }

    /// Why a message does not lie within; `None` where it does.
    pub fn excludes(&self, origin: Origin, topic_name: &[u8]) -> Option<Unwanted> {
        let scope = self.0.as_ref()?;
        if matches!(origin, Origin::Upstream(id) if scope.members.contains(&id)) {
            return Some(Unwanted::Origin);
        }
        scope.part.is_some_and(|part| !part.has(topic_name)).then_some(Unwanted::OtherPart)
    }

    /// Whether it is one part of several.
    pub fn is_part(&self) -> bool {
        self.0.as_ref().is_some_and(|scope| scope.part.is_some())
    }

    /// Whether messages on the topic may lie within.
    pub fn has_topic(&self, topic_name: &[u8]) -> bool {
        let part = self.0.as_ref().and_then(|scope| scope.part);
        part.is_none_or(|part| part.has(topic_name))
    }
}

impl Part {
    /// Whether the topic belongs to this part.
    pub fn has(self, topic_name: &[u8]) -> bool {
        self.count <= 1 || hash(topic_name) % u64::from(self.count) == u64::from(self.index)
    }
}

/// The same number at every start and in every version: places in the log depend on it. FNV-1a, whose low bits are mixed
/// once more because only the remainder counts.
pub fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, step);
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn each_topic_belongs_to_one_part_and_the_parts_are_about_equal() {
        let mut sizes = [0; 8];
        for number in 0..8_000 {
            let topic = format!("plant/{}/line/{number}", number % 7);
            let parts: Vec<u16> =
                (0..8).filter(|index| Part { index: *index, count: 8 }.has(topic.as_bytes())).collect();
            assert_eq!(parts.len(), 1, "{topic}");
            sizes[usize::from(parts[0])] += 1;
        }
        assert!(sizes.iter().all(|size| (800..1_200).contains(size)), "{sizes:?}");
    }

    #[test]
    fn the_part_of_a_topic_never_changes() {
        // Written down by the first version: another result would move topics between places in the log.
        assert_eq!(hash(b"plant/7/temperature"), 9_128_159_357_160_991_900);
        assert_eq!(hash(b""), 17_058_014_651_485_797_458);
    }

    #[test]
    fn nothing_returns_to_a_group_that_came_from_a_member() {
        let [one, two, other] = [1, 2, 3].map(|number| BrokerId(Uuid::from_u128(number)));
        let scope = Scope::of_group(vec![one, two], None);
        for member in [one, two] {
            assert_eq!(scope.excludes(Origin::Upstream(member), b"a"), Some(Unwanted::Origin));
        }
        assert_eq!(scope.excludes(Origin::Upstream(other), b"a"), None);
        assert_eq!(scope.excludes(Origin::Device, b"a"), None);
    }
}
