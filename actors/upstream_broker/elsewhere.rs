//! Another connection for the same broker: because somebody asked for it, or because its definition leads elsewhere.

use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use mqtt::PacketId;
use mqtt::packet::{Disconnect, Packet};

use super::connect::{self, Accepted, Failure, Introduction};
use super::steps::Steps;
use super::{Phase, UpstreamBroker, may_be_bridge};
use crate::connection::Connection;
use crate::messages::UpstreamState;
use crate::metrics::Traffic;
use crate::{Broker, limits};

/// Close the connection and make another one, as with changed certificates.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ConnectAnew;

impl Handler<ConnectAnew> for UpstreamBroker {
    type Result = ();

    fn handle(&mut self, _: ConnectAnew, _: &mut Context<Self>) {
        if self.draining.is_some() || matches!(self.phase, Phase::Ended) {
            return;
        }
        log::info!("broker {}: connecting anew, as asked", self.name());
        self.status.note("reconnect_requested", None);
        self.connect_anew();
    }
}

impl UpstreamBroker {
    /// Leaves the connection that there is, and begins another one at once.
    pub(super) fn connect_anew(&mut self) {
        self.leave_connection();
        self.try_bridge = may_be_bridge(&self.broker);
        self.begin_connecting();
    }

    /// The definition leads to another server from now on. What is in flight at the old one has a moment to finish: what
    /// does not goes out again over there, where nobody can know which of it is a repeat.
    pub(super) fn move_elsewhere(&mut self) {
        self.is_elsewhere = true;
        self.status.note("moved", Some(format!("{}:{}", self.broker.address, self.broker.port)));
        if matches!(self.phase, Phase::Connected(_)) && self.leaving_by.is_none() {
            self.leaving_by = Some(Instant::now() + limits::UPSTREAM_LEAVE_DEADLINE);
            self.apply_hold();
            self.status.set_state(UpstreamState::Connecting);
        }
    }

    /// Holds back what a pause, a drain or a move keeps from the broker.
    pub(super) fn apply_hold(&mut self) {
        let held_from = if self.leaving_by.is_some() { 0 } else { self.broker.held_from() };
        self.outbox.hold_from(held_from);
    }

    /// Whether nothing keeps us any more at a server that is to be left.
    pub(super) fn may_leave(&self) -> bool {
        self.leaving_by.is_some_and(|at| self.outbox.in_flight() == 0 || Instant::now() >= at)
    }

    /// The server that was to be left is.
    pub(super) fn moved_on(&mut self) {
        if self.leaving_by.take().is_some() {
            self.apply_hold();
        }
    }

    /// Whether the Session that the server has is the one that ours goes on in. If not, and there is one, it is to
    /// release what we had in flight elsewhere: it may be the same server under another name.
    pub(super) fn of_this_server(&mut self, session_present: bool) -> (bool, Vec<PacketId>) {
        match (std::mem::take(&mut self.is_elsewhere), session_present) {
            (true, true) => (false, self.outbox.exactly_once_ids()),
            (_, session_present) => (session_present, Vec::new()),
        }
    }
}

/// Connects to a server where the broker was not before. A Session that the server has under our Client Identifier is of
/// another time: Packet Identifiers that it remembers would swallow new QoS 2 messages, so it is given up. Only that of
/// a bidirectional broker stays, because messages may wait for us there.
///
/// # Errors
/// The first step that failed.
pub async fn connect_elsewhere(
    broker: &Broker,
    introduction: Introduction,
    packet_bytes_max: usize,
    traffic: Option<Arc<Traffic>>,
) -> Result<Accepted, Failure> {
    let connect = async |broker: &Broker| {
        let (introduction, traffic) = (introduction.clone(), traffic.clone());
        connect::connect(broker, introduction, packet_bytes_max, traffic, &mut Steps::new()).await
    };
    let accepted = connect(broker).await?;
    if !accepted.session_present || broker.subscription.is_some() {
        return Ok(accepted);
    }
    leave(accepted.connection).await;
    let clean = Broker { clean_session: true, ..broker.clone() };
    leave(connect(&clean).await?.connection).await;
    connect(broker).await
}

async fn leave(mut connection: Connection) {
    if connection.queue(&Packet::Disconnect(Disconnect::normal())).is_ok() {
        connection.close().await;
    }
}
