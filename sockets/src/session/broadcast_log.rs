//! The log of a shard. A message to an audience is an entry for each shard, and not a copy for each
//! session.
//!
//! The shard delivers all new entries to each member at once. Before a message is sent to a single
//! member, the new entries for that member are queued. So unicast and broadcast messages keep their
//! order.

use crate::method::Callee;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Bytes, BytesMut};

use super::{Laggards, Session};
use crate::lock::{Mutex, Notify};
use sockets_proto::{Overflow, PREFIX, ReleaseUnused, codec::SHARE_FROM};

/// The members of an audience that belong to the same shard, in the order of their numbers.
pub(crate) type Members = [(u64, Arc<Session>)];

/// The messages of a shard that have not been delivered to all their members.
#[derive(Default)]
pub(crate) struct BroadcastLog {
    /// The number of the last entry; the first has number 1.
    newest: AtomicU64,
    pending: Mutex<LogState>,
    /// The lagging members of the shard.
    laggards: Laggards,
}

#[derive(Default)]
struct LogState {
    entries: VecDeque<LogEntry>,
    /// The total length of their frames.
    bytes: usize,
}

/// A message and the members that receive it.
#[derive(Clone)]
pub(crate) struct LogEntry {
    message: Message,
    members: Arc<Members>,
}

/// A message without its members, so that a copy keeps no session alive.
#[derive(Clone)]
pub(super) struct Message {
    number: u64,
    frame: Bytes,
    key: u64,
    overflow: Overflow,
    /// Key and signature, if the emitter knows the types of the method.
    method: Option<(u64, u64)>,
}

impl BroadcastLog {
    /// Creates the log of a shard. `changed` notifies its emitters.
    pub(crate) fn new(changed: Arc<Notify>) -> Self {
        Self { laggards: Laggards::new(changed), ..Self::default() }
    }

    pub(crate) fn laggards(&self) -> &Laggards {
        &self.laggards
    }

    /// Adds a message.
    pub(crate) fn push(&self, frame: Bytes, callee: Callee<'_>, members: Arc<Members>) {
        let mut pending = self.pending.lock();
        let number = self.newest.load(Ordering::Relaxed) + 1;
        pending.bytes += frame.len();
        let (key, overflow, method) = (callee.key(), callee.overflow(), callee.signed());
        let message = Message { number, frame, key, overflow, method };
        pending.entries.push_back(LogEntry { message, members });
        self.newest.store(number, Ordering::Release);
    }

    pub(super) fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    /// Returns the current entries, in as few batches as possible.
    pub(crate) fn batches(&self) -> Vec<Batch> {
        let mut batches: Vec<Batch> = Vec::new();
        for entry in &self.pending.lock().entries {
            match batches.last_mut() {
                Some(batch) if batch.accepts(entry) => batch.entries.push(entry.clone()),
                _ => batches.push(Batch { entries: vec![entry.clone()], concatenated: Bytes::new(), largest: 0 }),
            }
        }
        // Without the lock.
        batches.iter_mut().for_each(Batch::concatenate);
        batches
    }

    /// Removes the entries of these batches, which have been delivered to all members.
    pub(crate) fn remove(&self, batches: &[Batch]) {
        let Some(last) = batches.last().map(Batch::last_number) else { return };
        let mut pending = self.pending.lock();
        let delivered = pending.entries.partition_point(|entry| entry.message.number <= last);
        let removed: Vec<_> = pending.entries.drain(..delivered).collect();
        pending.entries.release_unused();
        pending.bytes -= removed.iter().map(|entry| entry.message.frame.len()).sum::<usize>();
        drop(pending);
        // Without the lock, since they may hold the last handle of a session.
        drop(removed);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.lock().entries.is_empty()
    }

    /// Returns the total length of its messages.
    pub(crate) fn bytes(&self) -> usize {
        self.pending.lock().bytes
    }

    /// Returns the messages to a member after `cursor`, and the number of the last entry.
    pub(super) fn since(&self, cursor: u64, member: u64) -> (Vec<Message>, u64) {
        let entries = &self.pending.lock().entries;
        let new = entries.iter().skip(entries.partition_point(|entry| entry.message.number <= cursor));
        let messages = new.filter(|entry| entry.is_for(member)).map(|entry| entry.message.clone());
        (messages.collect(), self.newest())
    }
}

impl LogEntry {
    fn is_for(&self, member: u64) -> bool {
        self.members.binary_search_by_key(&member, |(number, _)| *number).is_ok()
    }

    pub(super) fn message(&self) -> &Message {
        &self.message
    }
}

impl Message {
    pub(super) fn frame(&self) -> &Bytes {
        &self.frame
    }

    pub(super) fn key(&self) -> u64 {
        self.key
    }

    pub(super) fn overflow(&self) -> Overflow {
        self.overflow
    }

    pub(super) fn is_volatile(&self) -> bool {
        self.overflow == Overflow::Volatile
    }

    pub(super) fn method(&self) -> Option<(u64, u64)> {
        self.method
    }
}

/// Consecutive messages of the same method to the same members. A member that has received none of
/// them gets all at once.
pub(crate) struct Batch {
    entries: Vec<LogEntry>,
    concatenated: Bytes,
    largest: usize,
}

impl Batch {
    fn accepts(&self, entry: &LogEntry) -> bool {
        let first = &self.entries[0];
        (first.message.method, first.message.overflow) == (entry.message.method, entry.message.overflow)
            && Arc::ptr_eq(&first.members, &entry.members)
            // Large frames are shared separately, so that they are never copied.
            && first.message.frame.len().max(entry.message.frame.len()) < SHARE_FROM
    }

    fn concatenate(&mut self) {
        self.largest = self.entries.iter().map(|entry| entry.message.frame.len() - PREFIX).max().unwrap_or(0);
        self.concatenated = match &self.entries[..] {
            [only] => only.message.frame.clone(),
            several => {
                let mut joined = BytesMut::with_capacity(several.iter().map(|entry| entry.message.frame.len()).sum());
                for entry in several {
                    joined.extend_from_slice(&entry.message.frame);
                }
                joined.freeze()
            }
        };
    }

    /// Returns the number of messages.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn members(&self) -> &Members {
        &self.entries[0].members
    }

    pub(super) fn method(&self) -> Option<(u64, u64)> {
        self.entries[0].message.method
    }

    pub(super) fn is_volatile(&self) -> bool {
        self.entries[0].message.is_volatile()
    }

    pub(super) fn overflow(&self) -> Overflow {
        self.entries[0].message.overflow
    }

    pub(super) fn last_number(&self) -> u64 {
        self.entries[self.entries.len() - 1].message.number
    }

    /// Returns the entries after `cursor`.
    pub(super) fn since(&self, cursor: u64) -> &[LogEntry] {
        &self.entries[self.entries.partition_point(|entry| entry.message.number <= cursor)..]
    }

    /// Returns all frames in a single buffer, and the length of the largest.
    pub(super) fn concatenated(&self) -> (&Bytes, usize) {
        (&self.concatenated, self.largest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(log: &BroadcastLog, text: &'static [u8]) {
        log.push(
            Bytes::from_static(text),
            Callee::Named(&crate::method::Named { key: 1, path: "", name: "text" }),
            Arc::default(),
        );
    }

    #[test]
    fn log_keeps_entries_pushed_after_a_batch_was_taken() {
        let log = BroadcastLog::default();
        push(&log, b"frame one");
        let batches = log.batches();
        push(&log, b"another frame");
        assert_eq!(log.bytes(), 22);
        log.remove(&batches);
        assert_eq!(log.bytes(), 13);
        log.remove(&log.batches());
        assert_eq!((log.bytes(), log.is_empty()), (0, true));
    }
}
