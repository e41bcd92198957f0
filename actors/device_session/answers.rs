//! What the client is told, and when: a batch is acknowledged once what its acknowledgement promises is true.

use std::task::Context as Task;
use std::time::Instant;

use actix::prelude::*;
use mqtt::packet::Packet;
use mqtt::packet::acknowledgement::{self, AcknowledgementKind};
use mqtt::{PacketId, QoS, ReasonCode};

use super::DeviceSession;
use crate::messages::Routed;
use crate::promise::Promise;
use crate::{Quota, limits};

/// A PUBACK or PUBREC that is due.
pub struct Due {
    pub packet_id: PacketId,
    pub qos: QoS,
    pub reason_code: ReasonCode,
    /// The message of the batch that it is for; `None` for one that does not go to the Router.
    pub message: Option<usize>,
}

/// What the client is told once a promise is kept.
pub enum Answer {
    /// PUBACK or PUBREC.
    Publish(Due),
    /// PUBCOMP.
    PubComp(PacketId, ReasonCode),
    /// SUBACK or UNSUBACK.
    Packet(Box<Packet>),
}

impl DeviceSession {
    /// The Router has the batch, or as much of it as there was room for.
    pub(super) fn routed(&mut self, mut routed: Routed, count: usize, context: &mut Context<Self>) {
        let returned = std::mem::take(&mut routed.returned);
        if routed.not_retained > 0 {
            self.report(Quota::Retained, "there is no room for another retained message");
        }
        self.acknowledge(&routed, count - returned.len());
        let Some(attachment) = &mut self.attachment else { return };
        if returned.is_empty() && routed.wait_for.is_none() {
            return;
        }
        attachment.reading_paused = true;
        attachment.routing_paused = !returned.is_empty();
        attachment.pending.batch = returned;
        let log = self.shared.log.clone();
        let room = async move {
            match routed.wait_for {
                Some(laggard) => laggard.room(&log).await,
                None => tokio::time::sleep(limits::QUOTA_RETRY).await,
            }
        };
        context.spawn(room.into_actor(self).map(|(), session, context| session.go_on(context)));
    }

    /// The upstream brokers or the disk have caught up.
    fn go_on(&mut self, context: &mut Context<Self>) {
        if let Some(attachment) = &mut self.attachment {
            (attachment.reading_paused, attachment.routing_paused) = (false, false);
            // What the client sent meanwhile was not read, which is no silence of its own.
            attachment.keep_alive.received(Instant::now());
        }
        // The driver may have had its turn already: this gives it another.
        context.wait(actix::fut::ready(()));
    }

    /// PUBACK and PUBREC for the first `routed_count` messages of the batch, as soon as their promises are kept.
    pub(super) fn acknowledge(&mut self, routed: &Routed, routed_count: usize) {
        let Some(attachment) = &mut self.attachment else { return };
        let dues = &mut attachment.pending.acknowledgements;
        let behind = dues.iter().position(|due| due.message.is_some_and(|index| index >= routed_count));
        let later = dues.split_off(behind.unwrap_or(dues.len()));
        for mut due in std::mem::replace(dues, later) {
            let promise = match due.message {
                // A repeat is acknowledged when what it repeats is safe.
                None => self.state_promise(self.shared.log.next_offset()),
                Some(index) => match routed.outcomes.get(index) {
                    None => routed.promise.clone(),
                    Some(outcome) => {
                        due.reason_code = outcome.reason_code;
                        outcome.promise.clone()
                    }
                },
            };
            self.held.push(promise, Answer::Publish(due));
        }
        let Some(attachment) = &mut self.attachment else { return };
        for due in &mut attachment.pending.acknowledgements {
            due.message = due.message.map(|index| index - routed_count);
        }
    }

    /// SUBACK or UNSUBACK, as soon as its promise is kept. Retained messages follow it.
    pub(super) fn hold_packet(&mut self, promise: Promise, packet: Packet) {
        self.outbound.retained.answer_held();
        self.held.push(promise, Answer::Packet(Box::new(packet)));
    }

    /// Whether nothing is read from the client because it does not take the answers to what it said before.
    pub(super) fn is_choked(&self) -> bool {
        self.attachment.as_ref().is_some_and(|attachment| {
            let answer_bytes = attachment.connection.unsent_bytes().saturating_sub(attachment.message_bytes);
            answer_bytes >= limits::UNSENT_ANSWERS_BYTES
        })
    }

    /// Encodes every answer whose promise is kept.
    pub(super) fn release_answers(&mut self, task: &mut Task<'_>) {
        let log = self.shared.log.clone();
        while let Some(answer) = self.held.take_ready(log.watermarks(), task) {
            match answer {
                Answer::Publish(due) => self.answer_publish(&due),
                Answer::PubComp(packet_id, reason_code) => {
                    self.answer(AcknowledgementKind::PubComp, packet_id, reason_code);
                }
                Answer::Packet(packet) => {
                    self.queue(&packet);
                    self.outbound.retained.answer_sent();
                }
            }
        }
        let overdue = self.held.take_overdue();
        if overdue > 0 {
            self.shared.metrics.acknowledgements_overdue.inc_by(overdue);
        }
    }

    fn answer_publish(&mut self, due: &Due) {
        let Some(attachment) = &mut self.attachment else { return };
        let kind = match due.qos {
            QoS::ExactlyOnce => AcknowledgementKind::PubRec,
            _ => AcknowledgementKind::PubAck,
        };
        if kind == AcknowledgementKind::PubAck {
            self.inflow.puback_sent();
        }
        if due.reason_code == ReasonCode::Success || !attachment.client.version.is_v5() {
            acknowledgement::encode_success(attachment.connection.output(), kind, due.packet_id);
            attachment.connection.encoded(1);
            return;
        }
        if kind == AcknowledgementKind::PubRec && due.reason_code.is_error() {
            self.inflow.pubrec_refused(due.packet_id);
        }
        self.answer(kind, due.packet_id, due.reason_code);
    }
}
