//! Counting what arrives, and waiting for it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::payload::now;

/// Counts up, and tells one waiter when a number is reached.
#[derive(Debug, Default)]
pub struct Counter {
    count: AtomicU64,
    awaited: AtomicU64,
    reached: Notify,
}

impl Counter {
    pub fn add(&self, more: u64) {
        let count = self.count.fetch_add(more, Ordering::SeqCst) + more;
        let awaited = self.awaited.load(Ordering::SeqCst);
        if count >= awaited && count - more < awaited {
            self.reached.notify_one();
        }
    }

    /// Waits until `number` has been counted since the beginning.
    pub async fn reached(&self, number: u64) {
        self.awaited.store(number, Ordering::SeqCst);
        while self.count.load(Ordering::SeqCst) < number {
            self.reached.notified().await;
        }
    }
}

/// The members of a room, in the client's process: notes what has reached the last of them.
#[derive(Debug)]
pub struct Room {
    members: u64,
    /// After so many messages a member has all.
    expected: AtomicU64,
    complete: Counter,
    /// For each message how many members have it, and when the last one did since it was sent: if anybody wants to know.
    arrivals: Vec<AtomicU64>,
    delays: Mutex<Vec<u64>>,
}

impl Room {
    /// Notes the delays of `paced` messages.
    pub fn new(members: usize, paced: usize) -> Arc<Self> {
        Arc::new(Self {
            members: members as u64,
            expected: AtomicU64::new(u64::MAX),
            complete: Counter::default(),
            arrivals: (0..paced).map(|_| AtomicU64::new(0)).collect(),
            delays: Mutex::default(),
        })
    }

    /// To be called before the messages are sent; all counts are since the beginning.
    pub fn expect(&self, messages: u64) {
        self.expected.store(messages, Ordering::SeqCst);
    }

    /// Waits until every member has had all that it expects, for the `time`th time.
    pub async fn complete(&self, time: u64) {
        self.complete.reached(self.members * time).await;
    }

    /// Nanoseconds from the sending of each message to its arrival at the last member.
    pub fn take_delays(&self) -> Vec<u64> {
        std::mem::take(&mut self.delays.lock())
    }

    fn last_has(&self, sent: u64) {
        self.delays.lock().push(now().saturating_sub(sent));
    }
}

/// One member: each connection has one, whether it joins the room or not.
#[derive(Debug)]
pub struct Member {
    room: Arc<Room>,
    messages: AtomicU64,
}

impl Member {
    pub fn new(room: &Arc<Room>) -> Arc<Self> {
        Arc::new(Self { room: Arc::clone(room), messages: AtomicU64::new(0) })
    }

    /// A message has arrived and has been decoded; `sent` is what it says.
    pub fn arrived(&self, sent: u64) {
        let before = self.messages.fetch_add(1, Ordering::Relaxed);
        let arrivals = usize::try_from(before).ok().and_then(|message| self.room.arrivals.get(message));
        if arrivals.is_some_and(|members| members.fetch_add(1, Ordering::Relaxed) + 1 == self.room.members) {
            self.room.last_has(sent);
        }
        if before + 1 == self.room.expected.load(Ordering::Relaxed) {
            self.room.complete.add(1);
        }
    }
}
