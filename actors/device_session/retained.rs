//! Retained messages on their way to a client: a batch that is being sent, and where the next one is to be looked for.
//! However much a client asks for, and however often, it has one batch and one search a subscription.

use std::collections::{BTreeMap, VecDeque};

use actix::prelude::*;
use mqtt::{QoS, TopicFilter};

use super::DeviceSession;
use crate::limits;
use crate::messages::{CollectRetained, Collected, Delivery, RetainedSearch, RetainedWish};

/// What a client is still to get of retained messages. It shares their memory with the Router.
#[derive(Default)]
pub struct RetainedWaiting {
    batch: VecDeque<Delivery>,
    searches: BTreeMap<TopicFilter, RetainedSearch>,
    /// The Router was asked for a batch.
    is_asking: bool,
    /// Answers to SUBSCRIBE and UNSUBSCRIBE that are to be sent before.
    held_answers: usize,
    /// The disk fails, so answers are held for nobody knows how long.
    is_stuck: bool,
}

impl RetainedWaiting {
    /// Whether there is nothing to wait for before other messages are sent.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.searches.is_empty() && !self.is_asking
    }

    /// How many messages are here, without those that are still to be looked for.
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// A batch that goes out behind what is there.
    pub fn extend(&mut self, batch: Vec<Delivery>) {
        self.batch.extend(batch);
    }

    /// Searches that are to be gone on with; those for the same subscriptions are replaced.
    pub fn search(&mut self, searches: Vec<RetainedSearch>) {
        self.searches.extend(searches.into_iter().map(|search| (search.filter.clone(), search)));
    }

    /// An answer to SUBSCRIBE or UNSUBSCRIBE waits for the disk.
    pub fn answer_held(&mut self) {
        self.held_answers += 1;
    }

    /// It is sent.
    pub fn answer_sent(&mut self) {
        self.held_answers = self.held_answers.saturating_sub(1);
    }

    /// A new connection: answers of an earlier one are of no use on it.
    pub fn connect(&mut self) {
        self.held_answers = 0;
    }

    /// How many answers wait for the disk.
    pub fn held_answers(&self) -> usize {
        self.held_answers
    }

    /// Says whether the disk fails: nobody knows for how long what waits for it will wait.
    pub fn set_stuck(&mut self, is_stuck: bool) {
        self.is_stuck = is_stuck;
    }

    /// Whether other messages may be sent. What is live does not overtake the retained message that was there before it,
    /// also while that waits for the answer to its SUBSCRIBE to be on disk.
    pub fn lets_others_pass(&self) -> bool {
        self.is_empty() || (self.is_stuck && self.held_answers > 0)
    }

    /// A subscription is no more.
    pub fn forget(&mut self, filter: &TopicFilter) {
        self.searches.remove(filter);
    }

    /// The next message, if its subscription was acknowledged.
    pub fn front(&self) -> Option<&Delivery> {
        self.batch.front().filter(|_| self.held_answers == 0)
    }

    /// Takes the next message.
    pub fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.batch.pop_front();
        if self.batch.is_empty() && self.batch.capacity() > limits::IDLE_QUEUE_MESSAGES {
            self.batch = VecDeque::new();
        }
        delivery
    }

    /// The connection is gone: takes what a new one is to get, and forgets what it would not.
    pub fn disconnect(&mut self) -> impl Iterator<Item = Delivery> + '_ {
        self.searches.retain(|_, search| search.qos > QoS::AtMostOnce);
        self.batch.drain(..).filter(|delivery| delivery.qos > QoS::AtMostOnce)
    }

    /// What to ask the Router for, if the last batch is sent.
    fn next_search(&mut self) -> Option<RetainedSearch> {
        if self.is_asking || self.held_answers > 0 || !self.batch.is_empty() {
            return None;
        }
        let (_, search) = self.searches.pop_first()?;
        self.is_asking = true;
        Some(search)
    }

    fn collected(&mut self, collected: Collected) {
        self.is_asking = false;
        self.batch.extend(collected.retained);
        if let Some(rest) = collected.rest {
            // A subscription that was made anew meanwhile begins anew.
            self.searches.entry(rest.filter.clone()).or_insert(rest);
        }
    }
}

impl DeviceSession {
    /// Which retained messages the next subscription is to bring at once.
    pub(super) fn retained_wish(&self) -> RetainedWish {
        match self.outbound.retained.held_answers() == 0 && self.outbound.retained.is_empty() {
            true => RetainedWish::Now,
            false => RetainedWish::Later,
        }
    }

    /// Asks the Router for more retained messages when those of before are sent.
    pub(super) fn collect_retained(&mut self, context: &mut Context<Self>) {
        let Some(search) = self.outbound.retained.next_search() else { return };
        let filter = search.filter.clone();
        let collected = self.shared.collect_retained.send(CollectRetained(search)).into_actor(self);
        context.spawn(collected.map(move |collected, session, context| {
            let Ok(mut collected) = collected else {
                context.stop();
                return;
            };
            if !session.subscriptions.contains(&filter) {
                collected = Collected { retained: Vec::new(), rest: None };
            }
            session.record_queued(&mut collected.retained);
            session.outbound.retained.collected(collected);
            if session.attachment.is_none() {
                session.outbound.shelve_retained();
            }
            // The driver may have had its turn already: this gives it another.
            context.wait(actix::fut::ready(()));
        }));
    }
}
