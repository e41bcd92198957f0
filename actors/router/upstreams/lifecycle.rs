//! What the life of a broker's definition means for its actor: pauses, drains, goodbyes, new connections.

use actix::prelude::*;

use super::{Child, Upstreams};
use crate::BrokerId;
use crate::broker::{Broker, SharedBroker};
use crate::messages::{Reconfigure, ReconnectError};
use crate::snapshots::DrainProgress;
use crate::upstream_broker::{ConnectAnew, UpstreamContext, UpstreamEvent, Withdraw};

impl Upstreams {
    /// Lets a broker's actor close its connection and make another one.
    pub fn reconnect(&self, id: BrokerId) -> Result<(), ReconnectError> {
        let serving = self.children.iter().filter(|child| child.serves(id));
        let mut addresses = serving.filter_map(|child| Some(&child.running.as_ref()?.address)).peekable();
        addresses.peek().ok_or(ReconnectError::NotRunning)?;
        let told = addresses.filter(|address| address.try_send(ConnectAnew).is_ok()).count();
        if told > 0 { Ok(()) } else { Err(ReconnectError::Busy) }
    }

    /// The brokers that have everything before their drain point, and that point.
    pub fn drained(&self) -> Vec<(BrokerId, u64)> {
        let draining = self.children.iter().filter_map(|child| Some((child, child.broker.draining?)));
        let done = draining.filter(|(child, draining)| child.is_drained_to(draining.to_offset));
        done.map(|(child, draining)| (child.broker.id, draining.to_offset)).collect()
    }

    /// What happened to a broker of late, the oldest first; `None` where there is no such broker.
    pub fn events(&self, id: BrokerId) -> Option<Vec<UpstreamEvent>> {
        self.members.iter().find(|member| member.broker.id == id).map(|member| member.status.events())
    }
}

impl Child {
    /// Says what became of a pause or a drain.
    pub(super) fn log_hold(&self, old: &Broker) {
        let new = &self.broker;
        if !new.enabled || (old.paused, old.draining) == (new.paused, new.draining) {
            return;
        }
        let event = match new.draining {
            _ if new.paused => "paused",
            Some(draining) => {
                log::info!(
                    "broker {}: drained up to offset {}, then: {}",
                    new.name,
                    draining.to_offset,
                    draining.then.as_str()
                );
                return self.status.note("draining", None);
            }
            None => "resumed",
        };
        log::info!("broker {}: {event}", new.name);
        self.status.note(event, None);
    }

    /// Tells the actor its new definition; a full mailbox gets it later.
    pub(super) fn reconfigure(&mut self) {
        let broker: SharedBroker = self.broker.clone();
        let Some(running) = &mut self.running else { return };
        let refused = running.address.try_send(Reconfigure(broker));
        // One that is gone is replaced by one that knows.
        running.is_outdated = matches!(refused, Err(SendError::Full(_)));
    }

    /// Tells the actor again what its mailbox had no room for.
    pub(super) fn catch_up(&mut self) {
        if self.running.as_ref().is_some_and(|running| running.is_outdated) {
            self.reconfigure();
        }
    }

    /// Tells the actor to leave.
    pub(super) fn withdraw(&self) {
        let Some(running) = &self.running else { return };
        if let Err(SendError::Full(withdraw)) = running.address.try_send(Withdraw) {
            // It would hold its place in the log for ever.
            let address = running.address.clone();
            actix::spawn(async move {
                let _ = address.send(withdraw).await;
            });
        }
    }

    /// Keeps nothing for the broker any more.
    pub(super) fn forget(&self, context: &UpstreamContext) {
        if let Some(running) = &self.running {
            running.place.forget_broker();
        }
        super::forget(self.key, context);
        for endpoint in self.grouped.iter().flat_map(|grouped| &grouped.endpoints) {
            super::forget(endpoint.session, context);
        }
    }

    /// How many messages wait for the broker, whether its filters want them or not.
    pub(super) fn waiting(&self) -> u64 {
        self.running.as_ref().map_or(0, |running| running.place.lag().messages)
    }

    /// How far a drain is.
    pub(super) fn drain_progress(&self) -> Option<DrainProgress> {
        let to_offset = self.broker.draining?.to_offset;
        let place = &self.running.as_ref()?.place;
        let is_done = self.is_drained_to(to_offset);
        let remaining = if is_done { 0 } else { place.messages_before(to_offset) };
        Some(DrainProgress { to_offset, remaining })
    }

    fn is_drained_to(&self, offset: u64) -> bool {
        offset == 0 || self.status.drained_to() == offset
    }
}
