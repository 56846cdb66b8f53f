//! Counters of received messages, and functions that wait until a counter reaches a number.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::payload::now;

/// A counter that wakes a single waiter when it reaches a number.
#[derive(Debug, Default)]
pub struct Counter {
    count: AtomicU64,
    awaited: AtomicU64,
    reached: Notify,
}

impl Counter {
    pub fn add(&self, count: u64) {
        let total = self.count.fetch_add(count, Ordering::SeqCst) + count;
        let awaited = self.awaited.load(Ordering::SeqCst);
        if total >= awaited && total - count < awaited {
            self.reached.notify_one();
        }
    }

    /// Waits until the counter has reached `number`.
    pub async fn wait_for(&self, number: u64) {
        self.awaited.store(number, Ordering::SeqCst);
        while self.count.load(Ordering::SeqCst) < number {
            self.reached.notified().await;
        }
    }
}

/// The members of a room, in the client's process. For each timed message, the room records when
/// the last member receives the message.
#[derive(Debug)]
pub struct Room {
    members: u64,
    /// The total number of messages that a member receives before the member is complete.
    expected: AtomicU64,
    complete: Counter,
    /// For each timed message, the number of members that have received it.
    arrivals: Vec<AtomicU64>,
    /// For each timed message, the time from its sending to its receipt by the last member.
    delays: Mutex<Vec<u64>>,
}

impl Room {
    /// Creates a room that records the delays of its first `timed` messages.
    pub fn new(members: usize, timed: usize) -> Arc<Self> {
        Arc::new(Self {
            members: members as u64,
            expected: AtomicU64::new(u64::MAX),
            complete: Counter::default(),
            arrivals: (0..timed).map(|_| AtomicU64::new(0)).collect(),
            delays: Mutex::default(),
        })
    }

    /// Sets the total number of messages that a member receives before the member is complete. The
    /// workload calls this method before it sends the messages.
    pub fn expect(&self, messages: u64) {
        self.expected.store(messages, Ordering::SeqCst);
    }

    /// Waits until all members are complete for the `time`-th time.
    pub async fn complete(&self, time: u64) {
        self.complete.wait_for(self.members * time).await;
    }

    /// Returns a time in nanoseconds for each timed message. The time begins when the message is
    /// sent, and ends when the last member receives the message.
    pub fn take_delays(&self) -> Vec<u64> {
        std::mem::take(&mut self.delays.lock())
    }

    fn record_delay(&self, sent: u64) {
        self.delays.lock().push(now().saturating_sub(sent));
    }
}

/// The state of a connection as a member of the room. The state exists even if the connection never
/// joins the room.
#[derive(Debug)]
pub struct Member {
    room: Arc<Room>,
    messages: AtomicU64,
}

impl Member {
    pub fn new(room: &Arc<Room>) -> Arc<Self> {
        Arc::new(Self { room: Arc::clone(room), messages: AtomicU64::new(0) })
    }

    /// Counts a decoded message. The server sent the message at the time `sent`.
    pub fn received(&self, sent: u64) {
        let before = self.messages.fetch_add(1, Ordering::Relaxed);
        let arrivals = usize::try_from(before).ok().and_then(|message| self.room.arrivals.get(message));
        if arrivals.is_some_and(|members| members.fetch_add(1, Ordering::Relaxed) + 1 == self.room.members) {
            self.room.record_delay(sent);
        }
        if before + 1 == self.room.expected.load(Ordering::Relaxed) {
            self.room.complete.add(1);
        }
    }
}
