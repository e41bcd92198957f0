//! What an acknowledgement promises, and so what it has to wait for. Answers of one connection go out in the order of
//! what they answer, so only the oldest one is ever looked at.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Context;
use std::time::Instant;

use tokio::time::Sleep;

use crate::message_log::{Mark, Registration, Watermarks};

/// What must be true before an answer goes out.
#[derive(Clone, Debug, Default)]
pub enum Promise {
    /// Nothing.
    #[default]
    Nothing,
    /// Everything below this offset is stored: it survives the death of the process.
    Stored(u64),
    /// Everything below this offset is flushed to the disk: it survives the loss of power.
    Synced(u64),
    /// Stored, and upstream brokers have acknowledged.
    Upstreams(Arc<UpstreamPromise>),
}

/// An acknowledgement of upstream brokers for one message.
#[derive(Debug)]
pub struct UpstreamPromise {
    /// The message.
    pub offset: u64,
    /// The cursors of the brokers that get the message.
    pub cursors: Arc<[Arc<AtomicU64>]>,
    /// How many of them have to have passed it.
    pub needed: usize,
    /// When to give up waiting.
    pub deadline: Instant,
}

impl UpstreamPromise {
    fn is_kept(&self) -> bool {
        let passed = self.cursors.iter().filter(|cursor| cursor.load(Ordering::Acquire) > self.offset);
        passed.count() >= self.needed
    }
}

impl Promise {
    /// The later of two promises of the same kind; of different kinds, the one that promises more.
    pub fn and(self, other: Promise) -> Promise {
        match (self, other) {
            (Promise::Nothing, other) => other,
            (promise, Promise::Nothing) => promise,
            (Promise::Stored(one), Promise::Stored(other)) => Promise::Stored(one.max(other)),
            (Promise::Synced(one), Promise::Synced(other) | Promise::Stored(other))
            | (Promise::Stored(one), Promise::Synced(other)) => Promise::Synced(one.max(other)),
            (promise @ Promise::Upstreams(_), _) => promise,
            (_, promise) => promise,
        }
    }
}

/// Answers that wait for their promises, oldest first.
pub struct HeldAnswers<A> {
    answers: VecDeque<(Promise, A)>,
    registration: Registration,
    deadline: Option<Pin<Box<Sleep>>>,
    /// What the oldest one's deadline means: it goes out, or goes on waiting.
    withhold: bool,
    /// Deadlines that passed since the last look.
    overdue: u64,
    /// The deadline of the oldest one has passed, and it goes on waiting.
    is_overdue: bool,
}

impl<A> HeldAnswers<A> {
    /// None yet. With `withhold`, an answer whose deadline passes goes on waiting.
    pub fn new(withhold: bool) -> HeldAnswers<A> {
        HeldAnswers {
            answers: VecDeque::new(),
            registration: Registration::default(),
            deadline: None,
            withhold,
            overdue: 0,
            is_overdue: false,
        }
    }

    /// One more, behind the others.
    pub fn push(&mut self, promise: Promise, answer: A) {
        self.answers.push_back((promise, answer));
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// The oldest answer if its promise is kept; if not, the task is woken when that may have changed.
    pub fn take_ready(&mut self, watermarks: &Watermarks, task: &mut Context<'_>) -> Option<A> {
        let (promise, _) = self.answers.front()?;
        let is_kept = match promise {
            Promise::Nothing => true,
            Promise::Stored(offset) => {
                watermarks.poll_passed(Mark::Stored, *offset, &mut self.registration, task)
            }
            Promise::Synced(offset) => {
                watermarks.poll_passed(Mark::Synced, *offset, &mut self.registration, task)
            }
            Promise::Upstreams(promise) => {
                let promise = promise.clone();
                self.poll_upstreams(&promise, watermarks, task)
            }
        };
        if !is_kept {
            return None;
        }
        self.deadline = None;
        self.is_overdue = false;
        let (_, answer) = self.answers.pop_front()?;
        if self.answers.is_empty() && self.answers.capacity() > crate::limits::IDLE_QUEUE_MESSAGES {
            self.answers = VecDeque::new();
        }
        Some(answer)
    }

    /// How many deadlines have passed since the last time.
    pub fn take_overdue(&mut self) -> u64 {
        std::mem::take(&mut self.overdue)
    }

    fn poll_upstreams(
        &mut self,
        promise: &UpstreamPromise,
        watermarks: &Watermarks,
        task: &mut Context<'_>,
    ) -> bool {
        // The deadline is for the brokers: what is not stored is not acknowledged.
        let stored = watermarks.poll_passed(Mark::Stored, promise.offset + 1, &mut self.registration, task);
        if !stored {
            return false;
        }
        if promise.is_kept() {
            return true;
        }
        watermarks.wake_when_a_cursor_moves(task);
        if promise.is_kept() {
            return true;
        }
        if self.is_overdue {
            return false;
        }
        let deadline =
            self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(promise.deadline.into())));
        if deadline.as_mut().poll(task).is_pending() {
            return false;
        }
        self.overdue += 1;
        self.is_overdue = self.withhold;
        !self.withhold
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;
    use std::time::Duration;

    use super::*;

    fn task() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    fn upstreams(offset: u64, cursors: &[u64], needed: usize) -> (Promise, Vec<Arc<AtomicU64>>) {
        let cursors: Vec<_> = cursors.iter().map(|cursor| Arc::new(AtomicU64::new(*cursor))).collect();
        let deadline = Instant::now() + Duration::from_secs(5);
        let promise = UpstreamPromise { offset, cursors: cursors.clone().into(), needed, deadline };
        (Promise::Upstreams(Arc::new(promise)), cursors)
    }

    #[test]
    fn answers_go_out_in_their_order_once_their_promises_are_kept() {
        let marks = Watermarks::new(0);
        let mut held = HeldAnswers::new(false);
        held.push(Promise::Stored(5), 'a');
        held.push(Promise::Nothing, 'b');
        held.push(Promise::Synced(6), 'c');
        assert_eq!(held.take_ready(&marks, &mut task()), None, "b waits behind a");
        marks.advance(Mark::Stored, 7);
        assert_eq!(held.take_ready(&marks, &mut task()), Some('a'));
        assert_eq!(held.take_ready(&marks, &mut task()), Some('b'));
        assert_eq!(held.take_ready(&marks, &mut task()), None);
        marks.advance(Mark::Synced, 6);
        assert_eq!(held.take_ready(&marks, &mut task()), Some('c'));
        assert!(held.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_brokers_as_needed_have_to_have_passed_the_message() {
        let marks = Watermarks::new(100);
        let mut held = HeldAnswers::new(false);
        let (promise, cursors) = upstreams(7, &[8, 7, 0], 2);
        held.push(promise, ());
        assert_eq!(held.take_ready(&marks, &mut task()), None);
        cursors[2].store(8, Ordering::Release);
        assert_eq!(held.take_ready(&marks, &mut task()), Some(()));
        assert_eq!(held.take_overdue(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_deadline_the_answer_goes_out_or_is_withheld() {
        for withhold in [false, true] {
            let marks = Watermarks::new(100);
            let mut held = HeldAnswers::new(withhold);
            let (promise, cursors) = upstreams(7, &[0], 1);
            held.push(promise, ());
            assert_eq!(held.take_ready(&marks, &mut task()), None);
            tokio::time::advance(Duration::from_secs(6)).await;
            assert_eq!(held.take_ready(&marks, &mut task()), (!withhold).then_some(()));
            assert_eq!(held.take_overdue(), 1);
            if withhold {
                assert_eq!(held.take_ready(&marks, &mut task()), None);
                assert_eq!(held.take_overdue(), 0, "counted once");
                cursors[0].store(8, Ordering::Release);
                assert_eq!(held.take_ready(&marks, &mut task()), Some(()));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_deadline_lets_out_what_is_not_stored() {
        let marks = Watermarks::new(7);
        let mut held = HeldAnswers::new(false);
        held.push(upstreams(7, &[0], 1).0, ());
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(held.take_ready(&marks, &mut task()), None);
        marks.advance(Mark::Stored, 8);
        assert_eq!(held.take_ready(&marks, &mut task()), Some(()));
    }
}
