//! How far the log is safe: what was handed to the operating system survives the death of the process, what was
//! flushed to the disk survives the loss of power. Whoever acknowledges a message waits for one of the two.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use super::disk::Alarm;

/// A promise that a record can keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The operating system has it.
    Stored,
    /// The disk has it.
    Synced,
}

/// The two watermarks, each the offset below which everything is safe, and who waits for them.
pub struct Watermarks {
    stored: AtomicU64,
    synced: AtomicU64,
    /// Somebody waits for `synced`: the flush does not wait for its interval.
    sync_wanted: AtomicBool,
    /// Why the disk takes nothing at the moment.
    failure: Mutex<Option<String>>,
    is_failing: AtomicBool,
    waiting: Mutex<Waiting>,
    /// Somebody waits for any reader's cursor to move.
    cursor_awaited: AtomicBool,
    /// Wakes who flushes.
    writer: Option<Arc<Alarm>>,
}

#[derive(Default)]
struct Waiting {
    stored: BinaryHeap<Waiter>,
    synced: BinaryHeap<Waiter>,
    cursors: Vec<Waker>,
}

/// Orders by offset alone, the lowest first.
struct Waiter {
    offset: Reverse<u64>,
    waker: Waker,
}

impl PartialEq for Waiter {
    fn eq(&self, other: &Waiter) -> bool {
        self.offset == other.offset
    }
}

impl Eq for Waiter {}

impl PartialOrd for Waiter {
    fn partial_cmp(&self, other: &Waiter) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiter {
    fn cmp(&self, other: &Waiter) -> std::cmp::Ordering {
        self.offset.cmp(&other.offset)
    }
}

/// What one who waits has asked for, so that it asks only once.
#[derive(Default)]
pub struct Registration(Option<(bool, u64, Waker)>);

impl Watermarks {
    /// Everything below `safe` is safe.
    pub fn new(safe: u64) -> Watermarks {
        Watermarks {
            stored: AtomicU64::new(safe),
            synced: AtomicU64::new(safe),
            sync_wanted: AtomicBool::new(false),
            failure: Mutex::new(None),
            is_failing: AtomicBool::new(false),
            waiting: Mutex::new(Waiting::default()),
            cursor_awaited: AtomicBool::new(false),
            writer: None,
        }
    }

    /// Whom to wake when somebody waits for a flush.
    pub fn flushed_by(mut self, writer: Option<Arc<Alarm>>) -> Watermarks {
        self.writer = writer;
        self
    }

    /// The offset below which everything that goes to disk is safe in this sense.
    pub fn get(&self, mark: Mark) -> u64 {
        self.mark(mark).load(Ordering::Acquire)
    }

    /// Whether everything below `offset` is safe; if not, the task is woken once it is.
    pub fn poll_passed(
        &self,
        mark: Mark,
        offset: u64,
        registration: &mut Registration,
        task: &Context<'_>,
    ) -> bool {
        if self.get(mark) >= offset {
            return true;
        }
        let is_synced = mark == Mark::Synced;
        if is_synced {
            self.sync_wanted.store(true, Ordering::Release);
            if let Some(writer) = &self.writer {
                writer.ring();
            }
        }
        let known = registration.0.as_ref().is_some_and(|(synced, registered, waker)| {
            *synced == is_synced && *registered == offset && waker.will_wake(task.waker())
        });
        if known {
            return false;
        }
        let mut waiting = self.waiting();
        // The mark may have moved in between, and whoever moved it has woken everybody already.
        if self.get(mark) >= offset {
            return true;
        }
        let waiter = Waiter { offset: Reverse(offset), waker: task.waker().clone() };
        match mark {
            Mark::Stored => waiting.stored.push(waiter),
            Mark::Synced => waiting.synced.push(waiter),
        }
        registration.0 = Some((is_synced, offset, task.waker().clone()));
        false
    }

    /// Everything below `offset` is safe now; whoever waited for that is woken.
    pub fn advance(&self, mark: Mark, offset: u64) {
        if self.mark(mark).fetch_max(offset, Ordering::AcqRel) >= offset {
            return;
        }
        let mut passed = Vec::new();
        let mut waiting = self.waiting();
        let heap = match mark {
            Mark::Stored => &mut waiting.stored,
            Mark::Synced => &mut waiting.synced,
        };
        while heap.peek().is_some_and(|waiter| waiter.offset.0 <= offset) {
            passed.extend(heap.pop().map(|waiter| waiter.waker));
        }
        drop(waiting);
        for waker in passed {
            waker.wake();
        }
    }

    /// The task is woken when any reader's cursor moves.
    pub fn wake_when_a_cursor_moves(&self, task: &Context<'_>) {
        let mut waiting = self.waiting();
        if !waiting.cursors.iter().any(|waker| waker.will_wake(task.waker())) {
            waiting.cursors.push(task.waker().clone());
        }
        self.cursor_awaited.store(true, Ordering::Release);
    }

    /// A reader's cursor moved.
    pub fn cursor_moved(&self) {
        if self.cursor_awaited.load(Ordering::Acquire) {
            let mut waiting = self.waiting();
            self.cursor_awaited.store(false, Ordering::Release);
            let wakers = std::mem::take(&mut waiting.cursors);
            drop(waiting);
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// Whether somebody has waited for a flush since the last time this was asked.
    pub fn take_sync_wanted(&self) -> bool {
        self.sync_wanted.swap(false, Ordering::AcqRel)
    }

    /// The disk failed, or works again (`None`). Answers whether that is news.
    pub fn set_failure(&self, failure: Option<String>) -> bool {
        let mut current = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_failing.store(failure.is_some(), Ordering::Release);
        let is_news = *current != failure;
        *current = failure;
        drop(current);
        if is_news {
            self.wake_all();
        }
        is_news
    }

    /// Lets everybody look again who waits for a mark.
    fn wake_all(&self) {
        let waiting = self.waiting();
        let wakers: Vec<Waker> =
            waiting.stored.iter().chain(&waiting.synced).map(|waiter| waiter.waker.clone()).collect();
        drop(waiting);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether the disk takes nothing at the moment.
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Acquire)
    }

    /// Why the disk takes nothing at the moment.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn mark(&self, mark: Mark) -> &AtomicU64 {
        match mark {
            Mark::Stored => &self.stored,
            Mark::Synced => &self.synced,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_waiter_is_woken_once_when_its_offset_is_passed_and_not_before() {
        let (marks, counter) = (Watermarks::new(10), Arc::new(Counter::default()));
        let waker = counter.clone().into();
        let (task, mut registration) = (Context::from_waker(&waker), Registration::default());
        assert!(marks.poll_passed(Mark::Stored, 10, &mut registration, &task));
        for _ in 0..3 {
            assert!(!marks.poll_passed(Mark::Stored, 12, &mut registration, &task));
        }
        marks.advance(Mark::Stored, 11);
        assert_eq!(counter.0.load(Ordering::SeqCst), 0);
        marks.advance(Mark::Stored, 13);
        assert_eq!(counter.0.load(Ordering::SeqCst), 1);
        assert!(marks.poll_passed(Mark::Stored, 12, &mut registration, &task));
    }

    #[test]
    fn who_waits_for_the_disk_asks_for_a_flush() {
        let (marks, counter) = (Watermarks::new(0), Arc::new(Counter::default()));
        let waker = counter.clone().into();
        let (task, mut registration) = (Context::from_waker(&waker), Registration::default());
        assert!(!marks.take_sync_wanted());
        assert!(!marks.poll_passed(Mark::Synced, 1, &mut registration, &task));
        assert!(marks.take_sync_wanted() && !marks.take_sync_wanted());
        marks.advance(Mark::Stored, 1);
        assert!(!marks.poll_passed(Mark::Synced, 1, &mut registration, &task));
        marks.advance(Mark::Synced, 1);
        assert!(marks.poll_passed(Mark::Synced, 1, &mut registration, &task));
        assert_eq!(counter.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn marks_never_go_back() {
        let marks = Watermarks::new(5);
        marks.advance(Mark::Stored, 3);
        assert_eq!(marks.get(Mark::Stored), 5);
    }

    #[test]
    fn a_failure_is_news_once() {
        let marks = Watermarks::new(0);
        assert!(marks.set_failure(Some("full".to_owned())));
        assert!(!marks.set_failure(Some("full".to_owned())));
        assert!(marks.is_failing() && marks.failure().is_some());
        assert!(marks.set_failure(None) && !marks.is_failing());
    }
}
