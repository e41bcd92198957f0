//! What would become of a message, as the Router stands now. Nothing is sent, counted or remembered.

use actix::prelude::*;
use bytes::Bytes;
use mqtt::{Message as ApplicationMessage, Properties, Property, TopicName};

use super::Router;
use crate::message_log::Record;
use crate::preview::{LocalOutcome, Obstacle, Outcome, Preview, PreviewAnswer, Sample};
use crate::timestamp::unix_micros;
use crate::upstream_broker::preview;
use crate::{BrokerId, Origin};

impl Handler<Preview> for Router {
    type Result = PreviewAnswer;

    fn handle(&mut self, preview: Preview, _: &mut Context<Self>) -> PreviewAnswer {
        let Preview { sample, from, draft } = preview;
        let brokers = self.upstreams.definitions(draft.as_ref());
        let source = from.and_then(|id| brokers.iter().find(|broker| broker.id == id));
        let (arrival, topic_name) = match source {
            None => (None, Some(sample.topic_name.clone())),
            Some(broker) if !broker.enabled => {
                let (arrival, _) = preview::arrival(broker, &sample);
                let (obstacle, detail) = (Some(Obstacle::Disabled), "it is disabled".to_owned());
                (Some(Outcome { obstacle, detail, topic: None, ..arrival }), None)
            }
            Some(broker) => {
                let (arrival, topic_name) = preview::arrival(broker, &sample);
                (Some(arrival), topic_name)
            }
        };
        let is_draft = |id| draft.as_ref().is_some_and(|draft| draft.id == id);
        let arrival = arrival.map(|arrival| Outcome { is_draft: is_draft(arrival.id), ..arrival });
        let qos = arrival.as_ref().map_or(sample.qos, |arrival| arrival.qos);
        let retain = arrival.as_ref().map_or(sample.retain, |arrival| arrival.retain);
        let message =
            topic_name.map(|topic_name| message(topic_name, Sample { qos, retain, ..sample.clone() }));
        let (local, refusal) = self.preview_here(message.as_ref());
        let received_at_micros = unix_micros().saturating_sub(sample.waited.as_micros() as u64);
        let message = message.unwrap_or_else(|| self::message(sample.topic_name.clone(), sample));
        let record = record(&message, from, received_at_micros);
        let outcomes = brokers.iter().map(|broker| {
            let outcome = self.upstreams.preview(broker, &record, refusal.as_ref());
            Outcome { is_draft: is_draft(outcome.id), ..outcome }
        });
        PreviewAnswer { arrival, local, brokers: outcomes.collect() }
    }
}

impl Router {
    /// What becomes of a message here, and why no broker gets it, whatever the brokers' definitions say.
    fn preview_here(
        &mut self,
        message: Option<&ApplicationMessage>,
    ) -> (LocalOutcome, Option<(Obstacle, String)>) {
        let refused = |obstacle, topic| LocalOutcome {
            topic,
            obstacle: Some(obstacle),
            sessions: 0,
            share_groups: 0,
            is_retained: false,
        };
        let Some(message) = message else {
            let text = "it does not come in from the broker that it is published at".to_owned();
            return (refused(Obstacle::NotReceived, None), Some((Obstacle::NotReceived, text)));
        };
        let topic = Some(message.topic_name.as_str().to_owned());
        if message.topic_name.is_sys() {
            let text = "$SYS and what is below is the proxy's own".to_owned();
            return (refused(Obstacle::Reserved, topic), Some((Obstacle::Reserved, text)));
        }
        if message.qos > mqtt::QoS::AtMostOnce
            && self.upstreams.want(&message.topic_name)
            && self.has_no_room_for(message)
        {
            let text =
                "messages of QoS 1 and 2 are refused: the log, or a broker with on_full=reject, has as much \
                        as it may have"
                    .to_owned();
            return (refused(Obstacle::QueueFull, topic), Some((Obstacle::QueueFull, text)));
        }
        let receivers = self.subscriptions.receivers_of(&message.topic_name);
        let local = LocalOutcome {
            topic,
            obstacle: None,
            sessions: receivers.sessions.len(),
            share_groups: receivers.groups.len(),
            is_retained: message.retain,
        };
        (local, None)
    }
}

/// The sample as a message. Nobody looks at its payload, which is as long as it is said to be.
fn message(topic_name: TopicName, sample: Sample) -> ApplicationMessage {
    let expiry = sample.message_expiry_interval.map(Property::MessageExpiryInterval);
    ApplicationMessage {
        topic_name,
        qos: sample.qos,
        retain: sample.retain,
        properties: expiry.map_or_else(Properties::default, |expiry| Properties::default().with(expiry)),
        payload: Bytes::from(vec![0; sample.payload_bytes]),
    }
}

fn record(message: &ApplicationMessage, from: Option<BrokerId>, received_at_micros: u64) -> Record<'_> {
    Record {
        offset: 0,
        is_state: false,
        qos: message.qos,
        retain: message.retain,
        origin: from.map_or(Origin::Device, Origin::Upstream),
        received_at_micros,
        annex: &[],
        topic_name: message.topic_name.as_str().as_bytes(),
        properties: message.properties.as_bytes(),
        payload: &message.payload,
    }
}
