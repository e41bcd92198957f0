//! Pauses and drains as a law: nothing behind the hold goes out for the first time, and in the end everything has.

use super::*;

/// What may happen.
#[derive(Clone, Copy, Debug)]
enum Step {
    Append,
    Pause,
    /// Hold what comes from now on.
    DrainToEnd,
    Resume,
    /// Send, and acknowledge so many.
    Turn(usize),
    /// The connection breaks; whether the next one finds the Session.
    Reconnect(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Append),
        1 => Just(Step::Pause),
        1 => Just(Step::DrainToEnd),
        1 => Just(Step::Resume),
        4 => (0..4_usize).prop_map(Step::Turn),
        1 => any::<bool>().prop_map(Step::Reconnect),
    ]
}

struct Run {
    scene: Scene,
    appended: u64,
    held_from: u64,
    /// Offsets as they came, without repeats.
    arrived: Vec<u64>,
    unacknowledged: Vec<PacketId>,
}

impl Run {
    fn new() -> Run {
        let mut scene = Scene::new(ProtocolVersion::V5, 5, None);
        scene.connect(false);
        let (arrived, unacknowledged) = (Vec::new(), Vec::new());
        Run { scene, appended: 0, held_from: u64::MAX, arrived, unacknowledged }
    }

    fn hold(&mut self, offset: u64) {
        self.held_from = offset;
        self.scene.outbox.hold_from(offset);
    }

    fn turn(&mut self, acknowledged: usize) {
        for publish in self.scene.published() {
            let offset: u64 = texts(std::slice::from_ref(&publish))[0].parse().expect("its offset");
            if !self.arrived.contains(&offset) {
                assert!(offset < self.held_from, "{offset} is held from {}", self.held_from);
                self.arrived.push(offset);
            }
            self.unacknowledged.extend(publish.packet_id);
        }
        for packet_id in self.unacknowledged.drain(..acknowledged.min(self.unacknowledged.len())) {
            let packet = Acknowledgement {
                packet_id,
                reason_code: ReasonCode::Success,
                properties: Properties::default(),
            };
            self.scene.outbox.puback(&packet, &self.scene.status).expect("it was sent so");
        }
        self.scene.outbox.publish_progress(&self.scene.status);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append => {
                self.scene.append(&message(&self.appended.to_string(), QoS::AtLeastOnce));
                self.appended += 1;
            }
            Step::Pause => self.hold(0),
            Step::DrainToEnd => self.hold(self.appended),
            Step::Resume => self.hold(u64::MAX),
            Step::Turn(acknowledged) => self.turn(acknowledged),
            Step::Reconnect(session_present) => {
                self.scene.outbox.disconnected();
                self.unacknowledged.clear();
                self.scene.connect(session_present);
            }
        }
    }

    /// Goes on until nothing is left that may go out.
    fn finish(&mut self) {
        for _ in 0..1_000 {
            if self.scene.outbox.is_drained() {
                break;
            }
            self.turn(usize::MAX);
        }
        assert!(self.scene.outbox.is_drained(), "nothing is stuck");
        self.scene.outbox.publish_progress(&self.scene.status);
    }
}

proptest! {
    #[test]
    fn nothing_behind_a_hold_goes_out_and_a_resume_brings_everything_in_order(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut run = Run::new();
        for one in steps {
            run.step(one);
        }
        run.finish();
        if (1..u64::MAX).contains(&run.held_from) {
            prop_assert_eq!(run.scene.status.drained_to(), run.held_from);
            prop_assert!(run.arrived.len() as u64 >= run.held_from);
        }
        let waits_from = run.scene.place.cursor();
        prop_assert_eq!(run.arrived.len() as u64, waits_from, "the cursor stands where the hold is");
        run.hold(u64::MAX);
        run.finish();
        prop_assert_eq!(run.arrived, (0..run.appended).collect::<Vec<_>>());
    }
}

#[test]
fn a_drain_is_done_only_when_what_went_out_is_acknowledged() {
    let mut run = Run::new();
    for _ in 0..3 {
        run.step(Step::Append);
    }
    run.step(Step::DrainToEnd);
    run.step(Step::Append);
    run.turn(2);
    assert_eq!((run.arrived.as_slice(), run.scene.status.drained_to()), (&[0, 1, 2][..], 0));
    run.turn(1);
    assert_eq!(run.scene.status.drained_to(), 3);
}
