//! The log of a shard, and its messages.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use super::{Batch, Members, laggards::Laggards};
use crate::{
    lock::{Mutex, Notify},
    method::Callee,
};
use sockets_proto::{LatestKey, Overflow, ReleaseUnused};

/// The messages of a shard that have not been delivered to all their members.
pub(crate) struct BroadcastLog<M> {
    /// The number of the last entry; the first has number 1.
    newest: AtomicU64,
    pending: Mutex<LogState<M>>,
    /// The lagging members of the shard.
    laggards: Laggards<M>,
}

struct LogState<M> {
    entries: VecDeque<LogEntry<M>>,
    /// The total length of the frames of the messages in this log.
    bytes: usize,
}

impl<M> BroadcastLog<M> {
    /// Creates the log of a shard. `changed` notifies the emitters that wait for this shard.
    pub(super) fn new(changed: Arc<Notify>) -> Self {
        Self {
            newest: AtomicU64::new(0),
            pending: Mutex::new(LogState { entries: VecDeque::new(), bytes: 0 }),
            laggards: Laggards::new(changed),
        }
    }

    pub(super) fn laggards(&self) -> &Laggards<M> {
        &self.laggards
    }

    /// Adds a message.
    pub(super) fn push(&self, frame: Bytes, callee: Callee<'_>, members: Arc<Members<M>>) {
        let mut pending = self.pending.lock();
        let number = self.newest.load(Ordering::Relaxed) + 1;
        pending.bytes += frame.len();
        pending.entries.push_back(LogEntry { message: Message::new(number, frame, callee), members });
        self.newest.store(number, Ordering::Release);
    }

    pub(super) fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    /// Returns the current entries, in as few batches as possible. The batches do not contain
    /// entries that a newer entry replaces for all their members.
    pub(super) fn batches(&self) -> Vec<Batch<M>> {
        let mut batches: Vec<Batch<M>> = Vec::new();
        let pending = self.pending.lock();
        let replaced = replaced(&pending.entries);
        for entry in &pending.entries {
            if replaced.contains(&entry.message.number) {
                continue;
            }
            if !batches.last_mut().is_some_and(|batch| batch.try_add(entry)) {
                batches.push(Batch::new(entry.clone()));
            }
        }
        drop(pending);
        batches.iter_mut().for_each(Batch::concatenate);
        batches
    }

    /// Removes the entries of these batches, which have been delivered to all members.
    pub(super) fn remove(&self, batches: &[Batch<M>]) {
        let Some(last) = batches.last().map(Batch::last_number) else { return };
        let mut pending = self.pending.lock();
        let delivered = pending.entries.partition_point(|entry| entry.message.number <= last);
        let removed: Vec<_> = pending.entries.drain(..delivered).collect();
        pending.entries.release_unused();
        pending.bytes -= removed.iter().map(|entry| entry.message.frame().len()).sum::<usize>();
        drop(pending);
        // The entries are dropped without the lock, since they may hold the last handle of a
        // member.
        drop(removed);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.lock().entries.is_empty()
    }

    /// Returns the total length of the messages in this log.
    pub(super) fn bytes(&self) -> usize {
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

/// Returns the numbers of the entries that a newer entry with the same key and the same members
/// replaces. If the members differ, the session of each member replaces the message.
fn replaced<M>(entries: &VecDeque<LogEntry<M>>) -> BTreeSet<u64> {
    let mut newer = BTreeSet::new();
    let mut is_replaced = |entry: &&LogEntry<M>| {
        let key = entry.message.latest();
        key.is_some_and(|key| !newer.insert((key, Arc::as_ptr(&entry.members).cast::<()>())))
    };
    entries.iter().rev().filter(&mut is_replaced).map(|entry| entry.message.number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(log: &BroadcastLog<()>, text: &'static [u8]) {
        log.push(
            Bytes::from_static(text),
            Callee::Named(&crate::method::Named { key: 1, path: "", name: "text" }),
            Arc::default(),
        );
    }

    #[test]
    fn log_keeps_entries_pushed_after_a_batch_was_taken() {
        let log = BroadcastLog::new(Arc::default());
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

/// A message and the members that receive it.
pub(crate) struct LogEntry<M> {
    pub(super) message: Message,
    pub(super) members: Arc<Members<M>>,
}

impl<M> LogEntry<M> {
    pub(super) fn is_for(&self, member: u64) -> bool {
        self.members.binary_search_by_key(&member, |(number, _)| *number).is_ok()
    }

    pub(crate) fn message(&self) -> &Message {
        &self.message
    }
}

impl<M> Clone for LogEntry<M> {
    fn clone(&self) -> Self {
        Self { message: self.message.clone(), members: Arc::clone(&self.members) }
    }
}

/// A message without its members, so that a copy keeps no member alive.
#[derive(Clone)]
pub(crate) struct Message {
    pub(super) number: u64,
    frame: Bytes,
    key: u64,
    overflow: Overflow,
    /// The key of a message that replaces older ones.
    latest: Option<LatestKey>,
    /// Key and signature, if the emitter knows the types of the method.
    method: Option<(u64, u64)>,
}

impl Message {
    pub(super) fn new(number: u64, frame: Bytes, callee: Callee<'_>) -> Self {
        Self {
            number,
            frame,
            key: callee.key(),
            overflow: callee.overflow(),
            latest: callee.latest(),
            method: callee.signed(),
        }
    }

    /// Returns `true` if sessions treat the other message in the same way.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        (self.method, self.overflow, self.latest.is_some()) == (other.method, other.overflow, other.latest.is_some())
    }

    pub(crate) fn frame(&self) -> &Bytes {
        &self.frame
    }

    pub(crate) fn key(&self) -> u64 {
        self.key
    }

    pub(crate) fn overflow(&self) -> Overflow {
        self.overflow
    }

    pub(crate) fn latest(&self) -> Option<LatestKey> {
        self.latest
    }

    pub(crate) fn is_volatile(&self) -> bool {
        self.overflow == Overflow::Volatile
    }

    pub(crate) fn method(&self) -> Option<(u64, u64)> {
        self.method
    }
}
