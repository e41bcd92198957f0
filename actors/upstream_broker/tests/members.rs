//! The outbox of a group: models of two members take turns, and each remembers what a receiver has to.

use super::*;

/// Two members of a group: the Sessions there, as the store knows them.
fn sessions() -> [BrokerId; 2] {
    [11, 12].map(|number| BrokerId(Uuid::from_u128(number)))
}

impl Scene {
    fn switch_to(&mut self, session: BrokerId, session_present: bool) {
        self.outbox.disconnected();
        self.outbox.attach(session, None, session_present);
        self.connect(session_present);
    }
}

#[test]
fn what_was_in_flight_at_one_member_goes_out_at_another_before_anything_newer() {
    let mut scene = Scene::new(ProtocolVersion::V5, 10, None);
    let [one, two] = sessions();
    scene.switch_to(one, false);
    for (text, qos) in [("a", QoS::ExactlyOnce), ("b", QoS::AtLeastOnce), ("c", QoS::ExactlyOnce)] {
        scene.append(&message(text, qos));
    }
    assert_eq!(texts(&scene.published()), ["a", "b", "c"]);
    scene.append(&message("d", QoS::AtLeastOnce));
    scene.switch_to(two, true);
    let published = scene.published();
    assert_eq!(texts(&published), ["a", "b", "c", "d"]);
    assert!(published.iter().all(|publish| !publish.dup), "they are new there");
}

#[test]
fn identifiers_that_a_member_may_remember_are_released_when_it_is_back_and_used_for_nothing_before() {
    let mut scene = Scene::new(ProtocolVersion::V5, 10, None);
    let [one, two] = sessions();
    scene.switch_to(one, false);
    scene.append(&message("a", QoS::ExactlyOnce));
    scene.append(&message("b", QoS::ExactlyOnce));
    let kept: Vec<_> = scene.published().iter().map(|publish| publish.packet_id).collect();
    scene.switch_to(two, false);
    for publish in scene.published() {
        let packet_id = publish.packet_id.expect("QoS 2");
        let acknowledgement = Acknowledgement::success(packet_id);
        scene.outbox.pubrec(&acknowledgement, &mut BytesMut::new(), &scene.status).expect("it was sent");
        assert_eq!(scene.outbox.pubcomp(&acknowledgement), Ok(1));
    }
    assert_eq!(scene.outbox.cursor().0, 2, "what the first one remembers holds nothing up");
    scene.append(&message("c", QoS::ExactlyOnce));
    scene.switch_to(one, true);
    let sent = scene.sent();
    let released: Vec<_> = sent
        .iter()
        .filter_map(|packet| match packet {
            Packet::PubRel(release) => Some(Some(release.packet_id)),
            _ => None,
        })
        .collect();
    assert_eq!(released, kept);
    let is_new = |packet: &Packet| match packet {
        Packet::Publish(publish) => Some(publish.clone()),
        _ => None,
    };
    let new: Vec<Publish> = sent.iter().filter_map(is_new).collect();
    assert_eq!(texts(&new), ["c"]);
    assert!(!kept.contains(&new[0].packet_id));
    for packet_id in kept.into_iter().flatten() {
        let done = scene.outbox.pubcomp(&Acknowledgement::success(packet_id));
        assert_eq!(done, Ok(0), "it was not this member that got it");
    }
    assert_eq!(scene.outbox.in_flight(), 1);
}

#[test]
fn a_member_that_lost_its_session_is_asked_for_nothing() {
    let mut scene = Scene::new(ProtocolVersion::V311, 10, None);
    let [one, two] = sessions();
    scene.switch_to(one, false);
    scene.append(&message("a", QoS::ExactlyOnce));
    assert_eq!(scene.published().len(), 1);
    scene.switch_to(two, false);
    assert_eq!(texts(&scene.published()), ["a"]);
    scene.switch_to(one, false);
    assert_eq!(texts(&scene.published()), ["a"], "nobody has acknowledged it, and no PUBREL is needed");
    assert_eq!(scene.outbox.cursor().0, 0);
}

#[test]
fn nothing_new_goes_out_while_it_is_held() {
    let mut scene = Scene::new(ProtocolVersion::V5, 10, None);
    scene.connect(false);
    scene.append(&message("a", QoS::AtLeastOnce));
    let packet_id = scene.published()[0].packet_id.expect("QoS 1");
    scene.outbox.hold(true);
    scene.append(&message("b", QoS::AtLeastOnce));
    assert_eq!(scene.published().len(), 0);
    assert!(!scene.outbox.is_settled());
    scene.outbox.puback(&Acknowledgement::success(packet_id), &scene.status).expect("it was sent");
    assert!(scene.outbox.is_settled());
    scene.outbox.hold(false);
    assert_eq!(texts(&scene.published()), ["b"]);
}

/// What happens to a group of two.
#[derive(Clone, Debug)]
enum GroupStep {
    Publish(Vec<u8>),
    /// The active member takes so many packets, and answers each.
    Take(usize),
    /// The connection is lost after so many packets more whose answers do not arrive.
    Switch {
        unanswered: usize,
        to: usize,
        loses_session: bool,
    },
}

fn group_steps() -> impl Strategy<Value = Vec<GroupStep>> {
    let step = prop_oneof![
        3 => proptest::collection::vec(0u8..=2, 1..6).prop_map(GroupStep::Publish),
        4 => (0_usize..8).prop_map(GroupStep::Take),
        2 => (0_usize..5, 0_usize..2, proptest::bool::weighted(0.2)).prop_map(
            |(unanswered, to, loses_session)| GroupStep::Switch { unanswered, to, loses_session }
        ),
    ];
    proptest::collection::vec(step, 1..100)
}

/// A member that remembers what a receiver of QoS 2 has to.
#[derive(Default)]
struct MemberModel {
    remembered: BTreeMap<PacketId, u32>,
    arrived: Vec<(u32, QoS)>,
}

impl MemberModel {
    /// Takes a packet; answers what goes back.
    fn take(&mut self, packet: &Packet, first_seen: &mut Vec<u32>) -> Option<Packet> {
        match packet {
            Packet::Publish(publish) => {
                let number: u32 = String::from_utf8_lossy(&publish.payload).parse().expect("a number");
                let known = publish.packet_id.and_then(|packet_id| self.remembered.get(&packet_id));
                if let Some(known) = known.filter(|_| publish.qos == QoS::ExactlyOnce) {
                    assert_eq!(
                        (*known, publish.dup),
                        (number, true),
                        "the identifier stands for another message"
                    );
                } else {
                    self.arrived.push((number, publish.qos));
                    if !first_seen.contains(&number) {
                        first_seen.push(number);
                    }
                }
                let answer = Acknowledgement::success(publish.packet_id?);
                if publish.qos == QoS::AtLeastOnce {
                    return Some(Packet::PubAck(answer));
                }
                self.remembered.insert(answer.packet_id, number);
                Some(Packet::PubRec(answer))
            }
            Packet::PubRel(release) => {
                self.remembered.remove(&release.packet_id);
                Some(Packet::PubComp(Acknowledgement::success(release.packet_id)))
            }
            other => panic!("not for a broker: {other:?}"),
        }
    }
}

/// A group's outbox and its members; `wire` is what is under way to the active one.
struct GroupScene {
    scene: Scene,
    members: [MemberModel; 2],
    active: usize,
    wire: std::collections::VecDeque<Packet>,
    first_seen: Vec<u32>,
}

impl GroupScene {
    fn new(version: ProtocolVersion, window: u16) -> GroupScene {
        let mut scene = Scene::new(version, window, None);
        scene.switch_to(sessions()[0], false);
        let members = [MemberModel::default(), MemberModel::default()];
        GroupScene { scene, members, active: 0, wire: Default::default(), first_seen: Vec::new() }
    }

    fn take(&mut self, packets: usize, is_answered: bool) {
        for _ in 0..packets {
            self.wire.extend(self.scene.sent());
            let Some(packet) = self.wire.pop_front() else { return };
            let answer = self.members[self.active].take(&packet, &mut self.first_seen);
            if let Some(answer) = answer.filter(|_| is_answered) {
                self.answer(answer);
            }
        }
    }

    fn answer(&mut self, answer: Packet) {
        let Scene { outbox, status, wire, .. } = &mut self.scene;
        match answer {
            Packet::PubAck(packet) => outbox.puback(&packet, status).map(|_| ()).expect("it was sent"),
            Packet::PubComp(packet) => outbox.pubcomp(&packet).map(|_| ()).expect("it was released"),
            Packet::PubRec(packet) => {
                let mut output = BytesMut::new();
                outbox.pubrec(&packet, &mut output, status).expect("it was sent");
                let mut packets = Vec::new();
                decode_all(&mut output, wire.version, &DecodeLimits::default(), &mut packets)
                    .expect("PUBREL");
                self.wire.extend(packets);
            }
            other => panic!("not an answer: {other:?}"),
        }
    }

    fn switch(&mut self, to: usize, loses_session: bool) {
        self.wire.clear();
        if loses_session {
            self.members[to].remembered.clear();
        }
        let is_known = !loses_session;
        self.active = to;
        self.scene.switch_to(sessions()[to], is_known);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_group_gets_every_message_in_order_and_no_member_takes_one_for_another(
        steps in group_steps(),
        window in 1u16..8,
        v5: bool,
    ) {
        let version = if v5 { ProtocolVersion::V5 } else { ProtocolVersion::V311 };
        let mut group = GroupScene::new(version, window);
        let (mut published, mut unanswered_max, mut lost) = (Vec::new(), 0, 0);
        for step in steps {
            match step {
                GroupStep::Publish(levels) => for level in levels {
                    let qos = QoS::from_u8(level).expect("0 to 2");
                    group.scene.append(&message(&published.len().to_string(), qos));
                    published.push(qos);
                },
                GroupStep::Take(packets) => group.take(packets, true),
                GroupStep::Switch { unanswered, to, loses_session } => {
                    group.take(unanswered, false);
                    unanswered_max += usize::from(window);
                    lost += usize::from(loses_session);
                    group.switch(to, loses_session);
                }
            }
        }
        for _ in 0..10_000 {
            group.take(1, true);
            if group.scene.outbox.is_drained() && group.wire.is_empty() {
                break;
            }
        }
        prop_assert!(group.scene.outbox.is_drained(), "nothing is stuck");
        prop_assert_eq!(group.scene.outbox.cursor().0, published.len() as u64);
        prop_assert!(group.first_seen.is_sorted(), "in order: {:?}", group.first_seen);
        for (number, qos) in published.iter().enumerate().filter(|(_, qos)| **qos > QoS::AtMostOnce) {
            prop_assert!(group.first_seen.contains(&(number as u32)), "{number} at {qos:?} is lost");
        }
        let at_qos_2 = group.members.iter().flat_map(|member| &member.arrived);
        let at_qos_2 = at_qos_2.filter(|(_, qos)| *qos == QoS::ExactlyOnce).count();
        let wanted = published.iter().filter(|qos| **qos == QoS::ExactlyOnce).count();
        prop_assert!(at_qos_2 <= wanted + unanswered_max, "only what was in flight at a switch may come twice");
        prop_assert!(lost > 0 || unanswered_max > 0 || at_qos_2 == wanted, "without a switch exactly once");
    }
}
