//! How an upstream broker's actor ends: in a drain, or because the broker is removed or disabled.

use actix::prelude::*;
use tokio::sync::oneshot;

use super::{Phase, UpstreamBroker};
use crate::messages::Drain;

impl UpstreamBroker {
    pub(super) fn end(&mut self) {
        self.phase = Phase::Ended;
        self.outbox.disconnected();
        if let Some(done) = self.draining.take() {
            // Who asked may have given up waiting.
            let _ = done.send(());
        }
    }

    /// Leaves the connection politely, if there is one, for another one.
    pub(super) fn leave_connection(&mut self) {
        if let Phase::Connected(link) = std::mem::replace(&mut self.phase, Phase::Ended) {
            self.outbox.disconnected();
            actix::spawn(link.close());
        }
    }

    /// Leaves the broker politely; the actor ends when the goodbye is out.
    pub(super) fn say_goodbye(&mut self) {
        if let Phase::Connected(link) = std::mem::replace(&mut self.phase, Phase::Ended) {
            let done = self.draining.take();
            self.outbox.disconnected();
            actix::spawn(async move {
                link.close().await;
                if let Some(done) = done {
                    let _ = done.send(());
                }
            });
        }
        self.end();
    }
}

impl Handler<Drain> for UpstreamBroker {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Drain, _: &mut Context<Self>) -> Self::Result {
        let (done, drained) = oneshot::channel();
        self.draining = Some(done);
        Box::pin(async {
            // An actor that is gone has nothing left to drain.
            let _ = drained.await;
        })
    }
}

/// The broker is removed or disabled: the actor says goodbye at once and ends.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Withdraw;

impl Handler<Withdraw> for UpstreamBroker {
    type Result = ();

    fn handle(&mut self, _: Withdraw, _: &mut Context<Self>) {
        self.say_goodbye();
    }
}
