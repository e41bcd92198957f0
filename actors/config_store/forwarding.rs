//! Pauses and drains: stored as every change, so that they outlive the process. The Router knows how far a drain is;
//! the store asks it while there is one, and then makes of the broker what was ordered.

use actix::prelude::*;
use log::info;

use super::{ConfigError, ConfigStore};
use crate::BrokerId;
use crate::broker::{AfterDrain, Broker, Draining, SharedBroker};
use crate::limits;
use crate::messages::{ChangeForwarding, Forwarding, GetDrained};
use crate::timestamp::unix_micros;

/// Whom to ask about drains.
#[derive(Default)]
pub struct DrainWatch {
    router: Option<Recipient<GetDrained>>,
    /// Whether an answer is outstanding.
    is_asking: bool,
    /// How many looks are left out: what was reached could not be stored.
    looks_left_out: u32,
}

/// How many looks are left out after a failure of the disk.
const LOOKS_AFTER_FAILURE: u32 = 50;

impl DrainWatch {
    /// Names the Router.
    pub fn set_router(&mut self, router: Recipient<GetDrained>) {
        self.router = Some(router);
    }
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The broker has everything before the drain point.
    Done,
    /// The deadline has passed first.
    Overdue,
}

impl ConfigStore {
    fn change_forwarding(
        &mut self,
        id: BrokerId,
        forwarding: Forwarding,
    ) -> Result<SharedBroker, ConfigError> {
        let index = self.position_to_change(id)?;
        let before = &self.brokers[index];
        let (paused, draining) = match forwarding {
            Forwarding::Paused => (true, None),
            Forwarding::Resumed => (false, None),
            Forwarding::Drained(_) if !before.enabled => {
                return Err(ConfigError::Disabled(before.name.clone()));
            }
            Forwarding::Drained(_) if before.group.is_some() => {
                return Err(ConfigError::InGroup(before.name.clone()));
            }
            Forwarding::Drained(draining) => (false, Some(renewed(before, draining))),
        };
        let broker = Broker { paused, draining, ..Broker::clone(before) };
        if broker == **before {
            return Ok(before.clone());
        }
        let broker = SharedBroker::new(broker);
        let mut brokers = self.brokers.clone();
        brokers[index] = broker.clone();
        self.replace(brokers)?;
        info!("broker {:?} {}", broker.name, event(forwarding));
        Ok(self.brokers[index].clone())
    }

    /// Looks from time to time whether a drain is over.
    pub(super) fn watch_drains(&mut self, ctx: &mut Context<ConfigStore>) {
        ctx.run_interval(limits::DRAIN_INTERVAL, |store, ctx| {
            if store.brokers.iter().any(|broker| broker.draining.is_some()) {
                store.ask_about_drains(ctx);
            }
        });
    }

    fn ask_about_drains(&mut self, ctx: &mut Context<ConfigStore>) {
        let watch = &mut self.drain_watch;
        watch.looks_left_out = watch.looks_left_out.saturating_sub(1);
        let Some(router) = watch.router.as_ref().filter(|_| !watch.is_asking && watch.looks_left_out == 0)
        else {
            return;
        };
        watch.is_asking = true;
        let asked = router.send(GetDrained).timeout(limits::DRAIN_ANSWER_DEADLINE);
        let answered = asked.into_actor(self).map(|answer, store, ctx| {
            store.drain_watch.is_asking = false;
            // A Router that does not answer now is asked again.
            let done = answer.unwrap_or_default();
            if store.end_drains(&done, unix_micros()).is_err() {
                store.drain_watch.looks_left_out = LOOKS_AFTER_FAILURE;
            }
            store.announce(ctx);
        });
        ctx.spawn(answered);
    }

    /// Makes of each broker whose drain is over what was ordered.
    fn end_drains(&mut self, done: &[(BrokerId, u64)], now_micros: u64) -> Result<(), ConfigError> {
        let draining = self.brokers.iter().filter_map(|broker| Some((broker.id, broker.draining?)));
        let over: Vec<_> = draining
            .filter_map(|(id, draining)| Some((id, draining, end_of(id, &draining, done, now_micros)?)))
            .collect();
        for (id, draining, end) in over {
            self.end_drain(id, draining, end)?;
        }
        Ok(())
    }

    fn end_drain(&mut self, id: BrokerId, draining: Draining, end: End) -> Result<(), ConfigError> {
        let index = self.position_to_change(id)?;
        let before = self.brokers[index].clone();
        let drained = match end {
            End::Done => "is drained",
            End::Overdue => "was not drained within the deadline",
        };
        let mut brokers = self.brokers.clone();
        let becomes = match (draining.then, end) {
            (AfterDrain::Remove, _) => {
                brokers.remove(index);
                "removed"
            }
            (AfterDrain::Disable, End::Done) => {
                brokers[index] = Broker { enabled: false, draining: None, ..Broker::clone(&before) }.into();
                "disabled"
            }
            // To disable it now would drop what is left.
            (AfterDrain::Pause, _) | (AfterDrain::Disable, End::Overdue) => {
                brokers[index] = Broker { paused: true, draining: None, ..Broker::clone(&before) }.into();
                "paused"
            }
        };
        self.replace(brokers)?;
        info!("broker {:?} {drained}, {becomes}", before.name);
        Ok(())
    }
}

/// A removal that waits for its drain stays one; all else is ordered anew.
fn renewed(before: &Broker, wanted: Draining) -> Draining {
    match before.draining {
        Some(running) if running.then == AfterDrain::Remove => {
            Draining { deadline_micros: wanted.deadline_micros, ..running }
        }
        _ => wanted,
    }
}

fn end_of(id: BrokerId, draining: &Draining, done: &[(BrokerId, u64)], now_micros: u64) -> Option<End> {
    // With another point it is an earlier drain, which the Router knows yet.
    if done.contains(&(id, draining.to_offset)) {
        return Some(End::Done);
    }
    draining.deadline_micros.is_some_and(|deadline| now_micros >= deadline).then_some(End::Overdue)
}

fn event(forwarding: Forwarding) -> &'static str {
    match forwarding {
        Forwarding::Paused => "paused",
        Forwarding::Resumed => "resumed",
        Forwarding::Drained(_) => "begins to drain",
    }
}

impl Handler<ChangeForwarding> for ConfigStore {
    type Result = ResponseFuture<Result<SharedBroker, ConfigError>>;

    fn handle(
        &mut self,
        ChangeForwarding(id, forwarding): ChangeForwarding,
        ctx: &mut Context<Self>,
    ) -> Self::Result {
        let outcome = self.change_forwarding(id, forwarding);
        self.answer_when_told(outcome, ctx)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::broker::BrokerSource;
    use crate::definition::BrokerChanges;

    fn draining(to_offset: u64, deadline_micros: Option<u64>, then: AfterDrain) -> Draining {
        Draining { to_offset, deadline_micros, then }
    }

    #[test]
    fn a_drain_is_over_when_its_own_point_is_reached_or_its_deadline() {
        let (one, another) = (BrokerId(Uuid::from_u128(1)), BrokerId(Uuid::from_u128(2)));
        let (open, bounded) =
            (draining(7, None, AfterDrain::Pause), draining(7, Some(100), AfterDrain::Pause));
        for (order, done, now_micros, wanted) in [
            (open, &[(another, 7), (one, 7)][..], 99, Some(End::Done)),
            (open, &[(one, 6), (another, 7)], 99, None),
            (open, &[], u64::MAX, None),
            (bounded, &[], 99, None),
            (bounded, &[], 100, Some(End::Overdue)),
            (bounded, &[(one, 6)], 100, Some(End::Overdue)),
            (bounded, &[(one, 7)], 100, Some(End::Done)),
        ] {
            assert_eq!(end_of(one, &order, done, now_micros), wanted, "{order:?} {done:?} at {now_micros}");
        }
    }

    #[test]
    fn a_removal_stays_one_and_any_other_drain_is_ordered_anew() {
        let named = BrokerChanges::new().with("name", "a").with("address", "h");
        let broker = named.create(BrokerId(Uuid::nil()), BrokerSource::Stored).unwrap();
        let during = |order| Broker { draining: Some(order), ..broker.clone() };
        let wanted = draining(9, Some(5), AfterDrain::Pause);
        assert_eq!(renewed(&broker, wanted), wanted);
        assert_eq!(renewed(&during(draining(7, None, AfterDrain::Pause)), wanted), wanted);
        let removal = draining(7, None, AfterDrain::Remove);
        assert_eq!(renewed(&during(removal), wanted), draining(7, Some(5), AfterDrain::Remove));
    }
}
