//! Replays: the places that were asked for are found in the log's files on another thread, then the history goes out
//! beside everything else.

use actix::prelude::*;

use super::{ReplayOrder, UpstreamBroker};
use crate::message_log::MessageLog;
use crate::messages::{Replay, ReplayError, StopReplay};
use crate::start_position::{LogPoint, StartPosition};

impl Handler<Replay> for UpstreamBroker {
    type Result = ResponseActFuture<Self, Result<(), ReplayError>>;

    fn handle(&mut self, replay: Replay, _: &mut Context<Self>) -> Self::Result {
        let log = self.context.log.clone();
        let found = tokio::task::spawn_blocking(move || find(&log, replay)).into_actor(self);
        Box::pin(found.map(|found, actor, context: &mut Context<Self>| {
            let order = found.unwrap_or_else(|error| Err(ReplayError::Storage(error.to_string())))?;
            log::info!("broker {}: replay from {} to {}", actor.name(), order.from, order.to);
            actor.outbox.begin_replay(order, &actor.broker.rule);
            // The driver may have had its turn already: this gives it another.
            context.wait(actix::fut::ready(()));
            Ok(())
        }))
    }
}

impl Handler<StopReplay> for UpstreamBroker {
    type Result = Result<bool, ReplayError>;

    fn handle(&mut self, _: StopReplay, _: &mut Context<Self>) -> Self::Result {
        let ran = self.outbox.stop_replay(&self.status);
        if ran {
            log::info!("broker {}: replay stopped", self.name());
        }
        Ok(ran)
    }
}

/// Finds the places of a replay.
fn find(log: &MessageLog, replay: Replay) -> Result<ReplayOrder, ReplayError> {
    let (first, end) = (log.first_offset(), log.next_offset());
    let at_time = |at_micros| {
        let Some(segments) = log.segments() else { return Ok(first) };
        segments.offset_at_time(at_micros).map_err(|error| ReplayError::Storage(error.to_string()))
    };
    let from = match replay.from {
        StartPosition::Earliest => first,
        StartPosition::Now => end,
        StartPosition::Offset(offset) => offset.max(first),
        StartPosition::Time(at_micros) => at_time(at_micros)?,
    };
    let to = match replay.to {
        None => end,
        Some(LogPoint::Offset(offset)) => offset.min(end),
        Some(LogPoint::Time(at_micros)) => at_time(at_micros)?.min(end),
    };
    let (from, to) = (from.min(end), to.max(from.min(end)));
    Ok(ReplayOrder { from, to, topics: replay.topics, max_rate_messages: replay.max_rate_messages })
}
