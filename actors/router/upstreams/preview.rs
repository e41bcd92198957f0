//! What would become of a message on its way to one broker, as that stands now.

use super::{Child, Upstreams};
use crate::BrokerId;
use crate::broker::{Broker, SharedBroker};
use crate::message_log::Record;
use crate::messages::UpstreamState;
use crate::preview::{Obstacle, Outcome};
use crate::timestamp::unix_micros;
use crate::upstream_broker::preview;

impl Upstreams {
    /// All definitions, with a draft in the place of the stored one or behind all others.
    pub fn definitions(&self, draft: Option<&SharedBroker>) -> Vec<SharedBroker> {
        let mut brokers: Vec<SharedBroker> =
            self.members.iter().map(|member| member.broker.clone()).collect();
        if let Some(draft) = draft {
            match brokers.iter_mut().find(|broker| broker.id == draft.id) {
                Some(stored) => *stored = draft.clone(),
                None => brokers.push(draft.clone()),
            }
        }
        brokers
    }

    /// What a broker would get by this definition. `refusal` is why no broker gets it.
    pub fn preview(
        &self,
        broker: &Broker,
        record: &Record<'_>,
        refusal: Option<&(Obstacle, String)>,
    ) -> Outcome {
        let serving = || self.children.iter().filter(|child| child.serves(broker.id));
        let child = serving().find(|child| child.takes(record)).or_else(|| serving().next());
        let status = child.and_then(|child| child.status_at(broker.id));
        let capabilities = status.and_then(|status| status.capabilities());
        let mut outcome = preview::departure(broker, capabilities, record, unix_micros());
        if let Some((obstacle, text)) = refusal {
            outcome.topic = outcome.topic.filter(|_| *obstacle != Obstacle::NotReceived);
            (outcome.obstacle, outcome.detail) = (Some(*obstacle), text.clone());
        } else if !broker.enabled {
            let text = "it is disabled: nothing is forwarded and nothing kept for it";
            (outcome.obstacle, outcome.detail) = (Some(Obstacle::Disabled), text.to_owned());
        } else if outcome.obstacle.is_none() && broker.paused {
            let text = "it is paused: the message waits in the log until it is resumed";
            (outcome.obstacle, outcome.detail) = (Some(Obstacle::Paused), text.to_owned());
        } else if outcome.obstacle.is_none()
            && let Some((obstacle, text)) = child.and_then(|child| child.passes_by(broker.id, record))
        {
            (outcome.obstacle, outcome.detail) = (Some(obstacle), text);
        } else if outcome.obstacle.is_none() {
            outcome.detail = passing(child, &outcome);
        }
        outcome
    }
}

impl Child {
    /// Whether the record may go this way, whatever its topic's filters say.
    fn takes(&self, record: &Record<'_>) -> bool {
        let scope = self.grouped.as_ref().map(|grouped| &grouped.scope);
        scope.is_none_or(|scope| scope.excludes(record.origin, record.topic_name).is_none())
    }

    /// Why a record that goes to a group does not go to this member.
    fn passes_by(&self, id: BrokerId, record: &Record<'_>) -> Option<(Obstacle, String)> {
        self.grouped.as_ref()?;
        if !self.takes(record) {
            return Some((Obstacle::Origin, "it came from a member of its group".to_owned()));
        }
        let current = self.current().filter(|current| current.broker.id != id)?;
        let text = format!("broker {} of its group gets it", current.broker.name);
        Some((Obstacle::OtherMember, text))
    }
}

/// How a message gets to the broker.
fn passing(child: Option<&Child>, outcome: &Outcome) -> String {
    let mut text = format!("goes out at QoS {}", outcome.qos.as_u8());
    let Some(child) = child else { return text };
    let state = child.current().map_or(&child.status, |endpoint| &endpoint.status).state();
    if state != UpstreamState::Connected {
        text.push_str(", once the broker is connected");
    }
    let lag = child.running.as_ref().map(|running| running.place.lag()).unwrap_or_default();
    if lag.messages > 0 {
        text.push_str(&format!(", behind {} others", lag.messages));
    }
    let bound = child.broker.backlog.queue_bytes_max.unwrap_or(u64::MAX);
    if lag.bytes >= bound {
        text.push_str("; as much waits for it as may, so its oldest messages drop");
    }
    text
}
