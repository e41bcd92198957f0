//! What the web asks the Router about the life of one upstream broker.

use actix::prelude::*;

use super::Router;
use crate::messages::{GetBrokerEvents, GetDrained, Reconnect, ReconnectError};

impl Handler<Reconnect> for Router {
    type Result = Result<(), ReconnectError>;

    fn handle(&mut self, Reconnect(broker): Reconnect, _: &mut Context<Self>) -> Self::Result {
        self.upstreams.reconnect(broker)
    }
}

impl Handler<GetDrained> for Router {
    type Result = MessageResult<GetDrained>;

    fn handle(&mut self, _: GetDrained, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.upstreams.drained())
    }
}

impl Handler<GetBrokerEvents> for Router {
    type Result = MessageResult<GetBrokerEvents>;

    fn handle(&mut self, GetBrokerEvents(broker): GetBrokerEvents, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.upstreams.events(broker))
    }
}
