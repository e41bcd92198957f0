//! From the definitions to the ways that messages take: one for each broker by itself, one for each group, and one for
//! each part of the topics where a group balances.

use std::cmp::Reverse;

use uuid::Uuid;

use crate::BrokerId;
use crate::broker::{Backlog, Broker, SharedBroker};
use crate::broker_group::{BrokerGroup, GroupMode, SharedGroup};
use crate::start_position::StartPosition;
use crate::upstream_broker::{Part, Scope, topic_hash};

/// One way: a place in the log, and who is served from there.
pub struct Way {
    /// The identity of the place: that of the broker, of the group, or of a part of it.
    pub key: BrokerId,
    /// The broker, or the preferred member.
    pub broker: SharedBroker,
    /// The group, where there is one.
    pub group: Option<WayOfGroup>,
}

/// What a way of a group has besides.
pub struct WayOfGroup {
    /// Which.
    pub group: SharedGroup,
    /// The members in the order of preference, as this way sees them.
    pub members: Vec<SharedBroker>,
    /// What of the messages goes this way.
    pub scope: Scope,
}

/// The ways of these definitions. Disabled brokers by themselves have one too, which is not served.
pub fn ways(brokers: &[SharedBroker], groups: &[SharedGroup]) -> Vec<Way> {
    let plain = |broker: &&SharedBroker| group_of(broker, groups).is_none();
    let single = brokers.iter().filter(plain);
    let mut ways: Vec<Way> =
        single.map(|broker| Way { key: broker.id, broker: broker.clone(), group: None }).collect();
    for group in groups {
        let members = preferred_first(brokers, group);
        if !members.is_empty() {
            ways.extend(ways_of(group, &members));
        }
    }
    ways
}

/// The group that a broker belongs to.
pub fn group_of<'a>(broker: &Broker, groups: &'a [SharedGroup]) -> Option<&'a SharedGroup> {
    let membership = broker.group.as_ref()?;
    groups.iter().find(|group| group.name == membership.name)
}

/// The members that messages can go to: those that are paused only where there are no others.
fn preferred_first(brokers: &[SharedBroker], group: &BrokerGroup) -> Vec<SharedBroker> {
    let name = |broker: &&SharedBroker| broker.group.as_ref().is_some_and(|of| of.name == group.name);
    let mut members: Vec<SharedBroker> =
        brokers.iter().filter(name).filter(|broker| broker.enabled).cloned().collect();
    if members.iter().any(|broker| !broker.paused) {
        members.retain(|broker| !broker.paused);
    }
    members.sort_by_key(|broker| broker.group.as_ref().map_or(0, |of| of.priority));
    members
}

fn ways_of(group: &SharedGroup, members: &[SharedBroker]) -> Vec<Way> {
    let ids: Vec<BrokerId> = members.iter().map(|member| member.id).collect();
    let start_at = start_of(members);
    let way = |key: BrokerId, members: Vec<SharedBroker>, part: Option<Part>| Way {
        key,
        broker: members[0].clone(),
        group: Some(WayOfGroup { group: group.clone(), members, scope: Scope::of_group(ids.clone(), part) }),
    };
    let seen = |members: Vec<&SharedBroker>, look: &dyn Fn(&Broker) -> Broker| -> Vec<SharedBroker> {
        let backlog = members[0].backlog.clone();
        let with_backlog = |member: &&SharedBroker| {
            let own = look(member);
            let Backlog { max_rate_messages, max_rate_bytes, .. } = own.backlog;
            // What is kept does not depend on who gets it; how fast it goes out does.
            let backlog = Backlog { start_at, max_rate_messages, max_rate_bytes, ..backlog.clone() };
            SharedBroker::new(Broker { backlog, ..own })
        };
        members.iter().map(with_backlog).collect()
    };
    if group.settings.mode == GroupMode::Failover {
        return vec![way(group.id, seen(members.iter().collect(), &Broker::clone), None)];
    }
    let count = group.settings.partitions;
    let homes = homes(&ids, count);
    let ways = (0..count).map(|index| {
        let home = &members[homes[usize::from(index)]];
        let mut others: Vec<&SharedBroker> = members.iter().filter(|member| member.id != home.id).collect();
        others.sort_by_key(|member| Reverse(weight(member.id, index)));
        let order = std::iter::once(home).chain(others).collect();
        let look = |member: &Broker| {
            let listens = homes.iter().position(|home| members[*home].id == member.id) == Some(index.into());
            as_seen_by_part(member, Part { index, count }, listens)
        };
        way(group.partition_id(index), seen(order, &look), Some(Part { index, count }))
    });
    ways.collect()
}

/// A member as one part of the topics sees it: with a Session of its own there. What the member publishes comes in on one
/// of its connections only.
fn as_seen_by_part(member: &Broker, part: Part, listens: bool) -> Broker {
    let client_id = format!("{}-{}of{}", member.client_id(), part.index + 1, part.count);
    let subscription = member.subscription.clone().filter(|_| listens);
    Broker { fixed_client_id: Some(client_id), subscription, ..member.clone() }
}

/// The member that each part belongs to while nothing fails: as many parts for each as can be, and few that move when a
/// member comes or goes.
fn homes(members: &[BrokerId], parts: u16) -> Vec<usize> {
    let parts_max = usize::from(parts).div_ceil(members.len());
    // Only so many may have one more than the others.
    let mut spare = usize::from(parts) - (parts_max - 1) * members.len();
    let mut taken = vec![0; members.len()];
    let mut home = |part: u16| {
        let has_room =
            |member: &usize| taken[*member] + 1 < parts_max || (taken[*member] + 1 == parts_max && spare > 0);
        let candidates = (0..members.len()).filter(has_room);
        let chosen = candidates.max_by_key(|member| weight(members[*member], part)).unwrap_or(0);
        taken[chosen] += 1;
        spare -= usize::from(taken[chosen] == parts_max);
        chosen
    };
    (0..parts).map(&mut home).collect()
}

/// How much a member attracts a part (rendezvous hashing).
fn weight(member: BrokerId, part: u16) -> u64 {
    topic_hash(Uuid::new_v5(&member.0, &part.to_be_bytes()).as_bytes())
}

/// From where on messages are for the group: a time counts only where each member has one.
fn start_of(members: &[SharedBroker]) -> StartPosition {
    let time = |broker: &SharedBroker| match broker.backlog.start_at {
        StartPosition::Time(at_micros) => Some(at_micros),
        _ => None,
    };
    let times: Option<Vec<u64>> = members.iter().map(time).collect();
    match (times.and_then(|times| times.into_iter().min()), members[0].backlog.start_at) {
        (Some(at_micros), _) => StartPosition::Time(at_micros),
        (None, StartPosition::Time(_)) => StartPosition::Earliest,
        (None, other) => other,
    }
}

/// The identity under which the store knows the Session at a member.
pub fn session_of(key: BrokerId, member: BrokerId) -> BrokerId {
    BrokerId(Uuid::new_v5(&key.0, member.0.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BrokerChanges;
    use crate::broker::BrokerSource;
    use crate::broker_group::GroupSettings;

    fn member(number: u128, priority: u32) -> SharedBroker {
        let changes = BrokerChanges::new()
            .with("name", format!("b{number}"))
            .with("address", "h")
            .with("group", "g")
            .with("group_priority", priority)
            .with("bidirectional", true);
        changes.create(BrokerId(Uuid::from_u128(number)), BrokerSource::Stored).expect("it is right").into()
    }

    fn group(mode: GroupMode, partitions: u16) -> SharedGroup {
        let settings = GroupSettings { mode, partitions, ..GroupSettings::default() };
        let id = BrokerGroup::id_of(&Uuid::nil(), "g");
        SharedGroup::new(BrokerGroup { id, name: "g".to_owned(), settings })
    }

    fn ids(members: &[SharedBroker]) -> Vec<u128> {
        members.iter().map(|member| member.id.0.as_u128()).collect()
    }

    #[test]
    fn a_failover_group_is_one_way_with_its_members_by_priority() {
        let brokers = [member(1, 5), member(2, 0), member(3, 5)];
        let ways = ways(&brokers, &[group(GroupMode::Failover, 8)]);
        assert_eq!(ways.len(), 1);
        assert_eq!(ids(&ways[0].group.as_ref().expect("it is one").members), [2, 1, 3]);
    }

    #[test]
    fn a_paused_member_is_passed_over_while_there_is_another_one() {
        let paused =
            |broker: &SharedBroker| SharedBroker::new(Broker { paused: true, ..Broker::clone(broker) });
        let brokers = [paused(&member(1, 0)), member(2, 1)];
        let members = |brokers: &[SharedBroker]| {
            ids(&ways(brokers, &[group(GroupMode::Failover, 8)])[0]
                .group
                .as_ref()
                .expect("it is one")
                .members)
        };
        assert_eq!(members(&brokers), [2]);
        assert_eq!(members(&[brokers[0].clone(), paused(&brokers[1])]), [1, 2]);
    }

    #[test]
    fn the_parts_are_spread_evenly_and_each_member_is_heard_once() {
        for members in 1..6_u128 {
            let brokers: Vec<_> = (1..=members).map(|number| member(number, 0)).collect();
            let ways = ways(&brokers, &[group(GroupMode::Balance, 8)]);
            assert_eq!(ways.len(), 8);
            for broker in &brokers {
                let at_home = ways.iter().filter(|way| way.broker.id == broker.id).count();
                let fair = 8.0 / members as f64;
                assert!((at_home as f64 - fair).abs() < 1.0, "{at_home} of 8 for one of {members}");
                let seen = ways.iter().flat_map(|way| &way.group.as_ref().expect("it is one").members);
                let seen: Vec<_> = seen.filter(|member| member.id == broker.id).collect();
                assert_eq!(seen.len(), 8, "each part knows each member");
                assert_eq!(seen.iter().filter(|member| member.subscription.is_some()).count(), 1);
                let mut client_ids: Vec<_> = seen.iter().map(|member| member.client_id()).collect();
                client_ids.dedup();
                assert_eq!(client_ids.len(), 8, "{client_ids:?}");
            }
        }
    }

    #[test]
    fn few_parts_move_when_a_member_comes() {
        let homes_of = |members: &[u128]| {
            let members: Vec<_> = members.iter().map(|number| BrokerId(Uuid::from_u128(*number))).collect();
            homes(&members, 64).into_iter().map(|home| members[home]).collect::<Vec<_>>()
        };
        let (before, after) = (homes_of(&[1, 2, 3]), homes_of(&[1, 2, 3, 4]));
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        assert!((16..=32).contains(&moved), "{moved} of 64 moved");
    }
}
