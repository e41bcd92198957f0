//! Revisions: each change of a broker counts, so that two who edit it at once do not undo each other's work.

use actix::prelude::*;

use super::{ConfigError, ConfigStore};
use crate::broker::SharedBroker;
use crate::messages::{AtRevision, ChangeForwarding, RemoveBroker, ToggleBroker, UpdateBroker};

impl ConfigStore {
    /// Counts the brokers on that will not be what they are.
    pub(super) fn count_on(&self, brokers: &mut [SharedBroker]) {
        for broker in brokers {
            let before = self.brokers.iter().find(|before| before.id == broker.id);
            if let Some(before) = before.filter(|before| ***before != **broker) {
                SharedBroker::make_mut(broker).revision = before.revision + 1;
            }
        }
    }
}

/// What can be ordered at a revision.
pub trait BrokerOrder: Message + Sized {
    /// Does it, whatever the revision.
    fn carry_out(
        self,
        store: &mut ConfigStore,
        ctx: &mut Context<ConfigStore>,
    ) -> ResponseFuture<Self::Result>;
}

macro_rules! broker_orders {
    ($($order:ty),+) => {$(
        impl BrokerOrder for $order {
            fn carry_out(
                self,
                store: &mut ConfigStore,
                ctx: &mut Context<ConfigStore>,
            ) -> ResponseFuture<Self::Result> {
                store.handle(self, ctx)
            }
        }
    )+};
}

broker_orders!(UpdateBroker, RemoveBroker, ToggleBroker, ChangeForwarding);

impl<M, T> Handler<AtRevision<M>> for ConfigStore
where
    M: BrokerOrder + Message<Result = Result<T, ConfigError>>,
    T: 'static,
{
    type Result = ResponseFuture<Result<T, ConfigError>>;

    fn handle(&mut self, at: AtRevision<M>, ctx: &mut Context<Self>) -> Self::Result {
        let found = self.position(at.broker).map(|index| self.brokers[index].revision);
        match found {
            Ok(revision) if revision == at.revision => at.order.carry_out(self, ctx),
            Ok(revision) => Box::pin(std::future::ready(Err(ConfigError::Changed(revision)))),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}
