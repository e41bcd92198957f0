//! What a bidirectional broker publishes goes to the Router, and is acknowledged to the broker once it is safe.

use std::task::Poll;

use actix::prelude::*;

use super::connect::Failure;
use super::{Phase, UpstreamBroker};
use crate::limits;
use crate::messages::{Route, Routed};

impl UpstreamBroker {
    /// The connection has failed: what came before that counts, and goes to the Router first.
    pub(super) fn ending(
        &mut self,
        failure: Failure,
        context: &mut Context<Self>,
    ) -> Poll<Result<(), Failure>> {
        if let Phase::Connected(link) = &mut self.phase
            && !link.is_reading_paused()
            && let Some(route) = self.inbox.take_route(self.broker.id)
        {
            link.ending = Some(failure);
            self.route(route, context);
            return Poll::Pending;
        }
        Poll::Ready(Err(failure))
    }

    /// Gives messages of the broker to the Router. Until it answers nothing more is read from the broker.
    pub(super) fn route(&mut self, route: Route, context: &mut Context<Self>) {
        let count = route.batch.len();
        let routed = self.context.router.send(route).into_actor(self);
        context.wait(routed.map(move |routed, actor, context| match routed {
            Ok(routed) => actor.routed(routed, count, context),
            Err(_) => context.stop(),
        }));
    }

    fn routed(&mut self, mut routed: Routed, count: usize, context: &mut Context<Self>) {
        let (is_full, wait_for) = (!routed.returned.is_empty(), routed.wait_for.take());
        self.status.count_received((count - routed.returned.len()) as u64);
        let log = self.context.log.clone();
        self.inbox.routed(routed, count, &log);
        let Phase::Connected(link) = &mut self.phase else { return };
        if !is_full && wait_for.is_none() {
            return;
        }
        link.pause_reading();
        let pause = async move {
            match wait_for {
                Some(laggard) => laggard.room(&log).await,
                None => tokio::time::sleep(limits::QUOTA_RETRY).await,
            }
        };
        context.spawn(pause.into_actor(self).map(|(), actor, context| {
            if let Phase::Connected(link) = &mut actor.phase {
                link.resume_reading();
            }
            // The driver may have had its turn already: this gives it another.
            context.wait(actix::fut::ready(()));
        }));
    }
}
