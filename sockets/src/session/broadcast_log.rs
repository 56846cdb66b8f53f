//! What is said to many: an entry in a log for each shard of a server's sessions, instead of a copy for each session.
//!
//! The shard goes through its log and gives each member all that is new to it at once. Whoever sends something to one
//! member alone first gives it what the log has for it, so that what is sent to it in both ways keeps its order.

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

/// The members of an audience who belong to one shard, in the order of their numbers.
pub(crate) type Members = [(u64, Arc<Session>)];

/// The messages of one shard that have not been given to all their members.
#[derive(Default)]
pub(crate) struct BroadcastLog {
    /// The number of the last entry; the first has number 1.
    newest: AtomicU64,
    pending: Mutex<LogState>,
    /// The shard's members that lag.
    laggards: Laggards,
}

#[derive(Default)]
struct LogState {
    entries: VecDeque<LogEntry>,
    /// Of all their frames.
    bytes: usize,
}

/// A message for many.
#[derive(Clone)]
pub(crate) struct LogEntry {
    message: Message,
    members: Arc<Members>,
}

/// A message without its members: a copy keeps no session.
#[derive(Clone)]
pub(super) struct Message {
    number: u64,
    frame: Bytes,
    key: u64,
    overflow: Overflow,
    /// Key and signature, if its sender knows the method's types.
    method: Option<(u64, u64)>,
}

impl BroadcastLog {
    /// The log of a shard whose emitters wait for `changed`.
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

    /// What is in it now, as few runs.
    pub(crate) fn batches(&self) -> Vec<Batch> {
        let mut runs: Vec<Batch> = Vec::new();
        for entry in &self.pending.lock().entries {
            match runs.last_mut() {
                Some(run) if run.accepts(entry) => run.entries.push(entry.clone()),
                _ => runs.push(Batch { entries: vec![entry.clone()], concatenated: Bytes::new(), largest: 0 }),
            }
        }
        // Without the lock.
        runs.iter_mut().for_each(Batch::concatenate);
        runs
    }

    /// Forgets what all members have been given.
    pub(crate) fn remove(&self, runs: &[Batch]) {
        let Some(last) = runs.last().map(Batch::last_number) else { return };
        let mut pending = self.pending.lock();
        let heard = pending.entries.partition_point(|entry| entry.message.number <= last);
        let forgotten: Vec<_> = pending.entries.drain(..heard).collect();
        pending.entries.release_unused();
        pending.bytes -= forgotten.iter().map(|entry| entry.message.frame.len()).sum::<usize>();
        drop(pending);
        // Without the lock, since they may hold the last handle of a session.
        drop(forgotten);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.lock().entries.is_empty()
    }

    /// How many bytes its messages have.
    pub(crate) fn bytes(&self) -> usize {
        self.pending.lock().bytes
    }

    /// What is behind `number` for one member, and the number of the last entry.
    pub(super) fn since(&self, number: u64, member: u64) -> (Vec<Message>, u64) {
        let entries = &self.pending.lock().entries;
        let new = entries.iter().skip(entries.partition_point(|entry| entry.message.number <= number));
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

/// Messages one behind the other that have the same method and the same members: those who have heard none of them take
/// all at once.
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
            // Large frames are shared one by one, without being copied even once.
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

    /// How many messages it has.
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

    /// What is new to one who has heard everything up to `number`.
    pub(super) fn since(&self, number: u64) -> &[LogEntry] {
        &self.entries[self.entries.partition_point(|entry| entry.message.number <= number)..]
    }

    /// All frames in one piece, and the length of the largest.
    pub(super) fn concatenated(&self) -> (&Bytes, usize) {
        (&self.concatenated, self.largest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(log: &BroadcastLog, text: &'static [u8]) {
        log.push(
            Bytes::from_static(text),
            Callee::Named(&crate::method::Named { key: 1, path: "", name: "text" }),
            Arc::default(),
        );
    }

    #[test]
    fn what_is_said_while_a_shard_is_at_work_is_all_that_is_left_behind_it() {
        let log = BroadcastLog::default();
        said(&log, b"frame one");
        let runs = log.batches();
        said(&log, b"another frame");
        assert_eq!(log.bytes(), 22);
        log.remove(&runs);
        assert_eq!(log.bytes(), 13);
        log.remove(&log.batches());
        assert_eq!((log.bytes(), log.is_empty()), (0, true));
    }
}
