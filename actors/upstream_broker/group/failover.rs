//! Which member of a group is the one that gets messages. Pure: events and the time are inputs. Members are numbered
//! from the preferred one on.

use std::time::{Duration, Instant};

/// How a group changes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long a better member must have been up before it takes over again.
    pub fail_back: Duration,
    /// How long a member may be away before another one takes over.
    pub fail_over_after: Duration,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The same member is tried again after its pause, but not later than this.
    Retry(Option<Duration>),
    /// This one is tried at once.
    Take(usize),
    /// All have been tried: the round begins again with this one, after a pause.
    Rest(usize),
}

/// The machine of one group.
///
/// ```text
///  trying ── accepted ──> active ── lost ──> trying the next one that was not tried in this round
///                           └── a better one has been up for `fail_back` ──> trying that one
/// ```
#[derive(Clone, Debug)]
pub struct Failover {
    policy: Policy,
    current: usize,
    is_connected: bool,
    /// When the current one went away; what it has been since does not count before it lasts.
    away_since: Option<Instant>,
    members: Vec<Member>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Member {
    /// Failed in this round.
    was_tried: bool,
    /// A probe is connected since then.
    up_since: Option<Instant>,
}

impl Failover {
    /// Nothing is connected, and the preferred member is tried first.
    pub fn new(members: usize, policy: Policy) -> Failover {
        let members = vec![Member::default(); members.max(1)];
        Failover { policy, current: 0, is_connected: false, away_since: None, members }
    }

    /// The member that gets messages, or is tried.
    pub fn current(&self) -> usize {
        self.current
    }

    /// Whether the current member is connected.
    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// The current member accepted a connection.
    pub fn connected(&mut self) {
        self.is_connected = true;
    }

    /// An attempt failed, or a connection is lost. `was_a_success` says whether the connection was worth its while.
    pub fn failed(&mut self, was_a_success: bool, now: Instant) -> Step {
        self.is_connected = false;
        if was_a_success {
            self.away_since = None;
            self.begin_round();
        }
        let away_for = now.duration_since(*self.away_since.get_or_insert(now));
        if away_for < self.policy.fail_over_after {
            return Step::Retry(Some(self.policy.fail_over_after - away_for));
        }
        self.members[self.current].was_tried = true;
        let untried = |index: &usize| !self.members[*index].was_tried;
        let is_up = |index: &usize| self.members[*index].up_since.is_some();
        let next = (0..self.members.len()).filter(untried).find(is_up);
        let next = next.or_else(|| (0..self.members.len()).find(untried));
        match next {
            Some(next) => {
                self.take(next);
                Step::Take(next)
            }
            None if self.members.len() == 1 => Step::Retry(None),
            None => {
                self.begin_round();
                self.take(0);
                Step::Rest(0)
            }
        }
    }

    /// A round is over with a success, or with nobody left to try.
    fn begin_round(&mut self) {
        self.members.iter_mut().for_each(|member| member.was_tried = false);
    }

    /// This member is the one to try now.
    pub fn take(&mut self, index: usize) {
        self.current = index;
        self.is_connected = false;
        // Its own connection says from now on whether it is up.
        for member in &mut self.members[index..] {
            member.up_since = None;
        }
        // Every member has its own time to come back, so that none is left for a blink.
        self.away_since = None;
    }

    /// Whether a member is to be probed: the better ones are, so that they can take over again.
    pub fn is_probed(&self, index: usize) -> bool {
        index < self.current
    }

    /// A probe of a member is connected.
    pub fn probe_up(&mut self, index: usize, now: Instant) {
        self.members[index].up_since.get_or_insert(now);
    }

    /// A probe of a member failed, or its connection is lost.
    pub fn probe_down(&mut self, index: usize) {
        self.members[index].up_since = None;
    }

    /// The better member that takes over now, if one does.
    pub fn fail_back(&self, now: Instant) -> Option<usize> {
        (0..self.current)
            .find(|index| self.is_connected && self.stable_at(*index).is_some_and(|at| at <= now))
    }

    /// When to ask [`Failover::fail_back`] again, if nothing happens before.
    pub fn fail_back_at(&self) -> Option<Instant> {
        (0..self.current).filter_map(|index| self.stable_at(index)).min().filter(|_| self.is_connected)
    }

    fn stable_at(&self, index: usize) -> Option<Instant> {
        self.members[index].up_since.map(|since| since + self.policy.fail_back)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn machine(members: usize, fail_over_after: Duration) -> Failover {
        Failover::new(members, Policy { fail_back: 30 * SECOND, fail_over_after })
    }

    #[test]
    fn the_next_one_takes_over_at_the_first_failure_and_a_whole_round_ends_in_a_pause() {
        let (mut machine, now) = (machine(3, Duration::ZERO), Instant::now());
        machine.connected();
        assert_eq!(machine.failed(true, now), Step::Take(1));
        assert_eq!(machine.failed(false, now), Step::Take(2));
        assert_eq!(machine.failed(false, now), Step::Rest(0));
        assert_eq!(machine.failed(false, now), Step::Take(1));
    }

    #[test]
    fn who_accepts_and_hangs_up_at_once_does_not_make_a_loop_without_a_pause() {
        let (mut machine, now) = (machine(2, Duration::ZERO), Instant::now());
        for expected in [Step::Take(1), Step::Rest(0), Step::Take(1), Step::Rest(0)] {
            machine.connected();
            assert_eq!(machine.failed(false, now), expected);
        }
    }

    #[test]
    fn a_member_may_be_away_for_as_long_as_the_group_says() {
        let (mut machine, now) = (machine(2, 10 * SECOND), Instant::now());
        machine.connected();
        assert_eq!(machine.failed(true, now), Step::Retry(Some(10 * SECOND)));
        assert_eq!(machine.failed(false, now + 6 * SECOND), Step::Retry(Some(4 * SECOND)));
        assert_eq!(machine.failed(false, now + 10 * SECOND), Step::Take(1));
    }

    #[test]
    fn the_better_one_takes_over_when_it_has_been_up_for_long_enough() {
        let (mut machine, now) = (machine(2, Duration::ZERO), Instant::now());
        machine.failed(false, now);
        machine.connected();
        assert!(machine.is_probed(0) && !machine.is_probed(1));
        machine.probe_up(0, now);
        machine.probe_down(0);
        machine.probe_up(0, now + SECOND);
        assert_eq!(machine.fail_back_at(), Some(now + 31 * SECOND));
        assert_eq!(machine.fail_back(now + 30 * SECOND), None);
        assert_eq!(machine.fail_back(now + 31 * SECOND), Some(0));
        machine.take(0);
        assert_eq!((machine.fail_back_at(), machine.is_probed(0)), (None, false));
    }

    #[test]
    fn one_that_a_probe_reached_comes_before_one_that_nobody_knows() {
        let (mut machine, now) = (machine(3, Duration::ZERO), Instant::now());
        machine.failed(false, now);
        machine.failed(false, now);
        machine.connected();
        machine.probe_up(1, now);
        assert_eq!(machine.failed(true, now), Step::Take(1));
    }

    #[test]
    fn one_alone_is_tried_again_and_again() {
        let (mut machine, now) = (machine(1, Duration::ZERO), Instant::now());
        machine.connected();
        assert_eq!(machine.failed(true, now), Step::Retry(None));
        assert_eq!(machine.failed(false, now), Step::Retry(None));
    }

    /// A world in which members are up or not, and the part of the actor around the machine.
    struct World {
        machine: Failover,
        up: Vec<bool>,
        now: Instant,
        connected: Option<usize>,
    }

    impl World {
        fn new(members: usize, fail_over_after: Duration) -> World {
            let up = vec![true; members];
            World { machine: machine(members, fail_over_after), up, now: Instant::now(), connected: None }
        }

        /// One second: whatever can be connected is, and whatever is down is noticed.
        fn second(&mut self) {
            self.now += SECOND;
            if let Some(index) = self.connected.filter(|index| !self.up[*index]) {
                self.connected = None;
                assert_eq!(index, self.machine.current(), "who is active is who is current");
                self.machine.failed(true, self.now);
            }
            for _ in 0..self.up.len() {
                if self.connected.is_some() {
                    break;
                }
                let current = self.machine.current();
                match self.up[current] {
                    true => {
                        self.machine.connected();
                        self.connected = Some(current);
                    }
                    false => {
                        self.machine.failed(false, self.now);
                    }
                }
            }
            for index in 0..self.up.len() {
                match self.machine.is_probed(index) && self.up[index] {
                    true => self.machine.probe_up(index, self.now),
                    false => self.machine.probe_down(index),
                }
            }
            if let Some(better) = self.machine.fail_back(self.now) {
                assert!(better < self.machine.current(), "only a better one takes over");
                assert!(self.up[better], "and one that is up");
                self.connected = None;
                self.machine.take(better);
            }
            assert!(self.connected.is_none_or(|index| index == self.machine.current()), "never two");
        }
    }

    proptest! {
        #[test]
        fn never_two_are_active_and_the_best_stable_one_wins_at_last(
            members in 1_usize..6,
            fail_over_secs in 0_u32..4,
            events in proptest::collection::vec((0_usize..6, any::<bool>(), 1_u8..60), 0..40),
        ) {
            let mut world = World::new(members, fail_over_secs * SECOND);
            for (index, is_up, secs) in events {
                world.up[index % members] = is_up;
                (0..secs).for_each(|_| world.second());
            }
            (0..200).for_each(|_| world.second());
            prop_assert_eq!(world.connected, world.up.iter().position(|is_up| *is_up));
        }
    }
}
