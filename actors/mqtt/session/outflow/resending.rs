//! What goes out once more on a new connection of the same Session.

use std::collections::VecDeque;

use super::{Entry, Outflow, Resend, Stage};
use crate::PacketId;

impl<T> Outflow<T> {
    /// A new connection of the same Session: what is in flight must be sent again, see
    /// [`Outflow::next_resend`], and SUBSCRIBE packets of the old one get no answer any more.
    pub fn resume(&mut self, receive_maximum: u16) {
        self.receive_maximum = receive_maximum.max(1);
        let reserved: Vec<_> = self.ids_at(|stage| stage == Stage::Reserved);
        for packet_id in reserved {
            self.entries.remove(packet_id);
        }
        (self.unsent, self.counting) = (self.in_flight, 0);
        for entry in self.entries.iter_mut() {
            entry.sent = false;
            entry.counts = self.counts_released && entry.stage == Stage::AwaitPubComp;
            self.counting += usize::from(entry.counts);
        }
        self.to_resend = self.ids_at(|_| true).into();
        self.unsent_releases = self.ids_at(|stage| stage == Stage::AwaitPubComp).len();
    }

    /// As [`Outflow::resume`], where the caller itself sends the PUBLISH packets again, each in its place between new
    /// ones: only PUBREL packets are left to [`Outflow::next_resend`].
    pub fn resume_released(&mut self, receive_maximum: u16) {
        self.resume(receive_maximum);
        for entry in self.entries.iter_mut().filter(|entry| entry.stage != Stage::AwaitPubComp) {
            (entry.sent, entry.counts) = (true, true);
            self.unsent -= 1;
            self.counting += 1;
        }
    }

    /// Whether there is something to send again before anything new.
    pub fn is_resending(&self) -> bool {
        self.unsent > 0
    }

    /// What to send again next on a resumed connection; `None` when all is sent, or while the window of the new
    /// connection is full.
    pub fn next_resend(&mut self) -> Option<Resend<'_, T>> {
        while let Some(packet_id) = self.to_resend.front().copied() {
            match self.entries.get(packet_id).filter(|entry| !entry.sent) {
                None => self.to_resend.pop_front(),
                Some(entry) if entry.stage != Stage::AwaitPubComp && self.is_window_full() => {
                    let release = self.next_release()?;
                    return self.resend(release);
                }
                Some(_) => return self.resend(packet_id),
            };
        }
        self.to_resend = VecDeque::new();
        None
    }

    /// The first PUBREL that is to be sent again.
    fn next_release(&self) -> Option<PacketId> {
        if self.unsent_releases == 0 {
            return None;
        }
        let is_unsent = |entry: &Entry<T>| entry.stage == Stage::AwaitPubComp && !entry.sent;
        let mut waiting = self.to_resend.iter();
        waiting.find(|packet_id| self.entries.get(**packet_id).is_some_and(is_unsent)).copied()
    }

    fn resend(&mut self, packet_id: PacketId) -> Option<Resend<'_, T>> {
        let entry = self.entries.get_mut(packet_id)?;
        self.unsent -= 1;
        entry.sent = true;
        if entry.stage == Stage::AwaitPubComp {
            self.unsent_releases -= 1;
            return Some(Resend::PubRel(packet_id));
        }
        entry.counts = true;
        self.counting += 1;
        entry.item.as_ref().map(|item| Resend::Publish(packet_id, item))
    }
}
