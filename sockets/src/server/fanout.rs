//! Broadcasts: an emit to a room costs an entry in the log of each shard, and not a copy and a wake
//! for each member.
//!
//! The sockets of a server are divided among a few shards. The task of a shard takes all new
//! entries of its log, delivers them to its members, and tries a write for each. After a round with
//! several messages it pauses for a millisecond, in which more messages may arrive. A lone message
//! does not wait.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    runtime::Handle,
    task::{coop::consume_budget, yield_now},
    time::{sleep, timeout_at},
};

use super::member_list::{MemberList, shard_of};
use crate::{
    clock::now,
    lock::{Mutex, Notify},
    method::Callee,
    session::{Batch, BroadcastLog, Laggards, Members, Session, release_lifo_slot},
};
use sockets_proto::{PREFIX, SendOutcome};

/// The largest number of shards. There is at most one for each processor: more shards would share
/// the same processors.
const SHARDS_MAX: usize = 4;
/// The pause of a shard after a round with several messages.
const BUSY_PAUSE: Duration = Duration::from_millis(1);
/// The number of writes after which a shard yields, for example to an emitter on its thread.
const FLUSHES_PER_YIELD: usize = 32;
/// The number of deliveries after which a shard yields. They take less time than writes.
const DELIVERIES_PER_YIELD: usize = 256;
/// The bytes in a log from which emitters wait for its shard. A small limit of the members' queues
/// reduces it.
const LOG_MAX: usize = 256 * 1024;
/// The time for which an emitter waits for members with long queues, if other members keep up.
const WAIT_FOR_SOME: Duration = Duration::from_millis(10);
/// The time for which an emitter waits for members with full queues. If no member keeps up, it is
/// also the time for members with long queues.
const WAIT_FOR_ALL: Duration = Duration::from_secs(1);

/// The shards of a server.
pub(super) struct Fanout {
    shards: Vec<Arc<Shard>>,
    /// Held while an emitter checks the logs and adds its message, so that concurrent emitters do
    /// not use the same capacity.
    gate: Mutex<()>,
    /// Notified when there may be capacity in a log, or in the queue of a member.
    changed: Arc<Notify>,
    /// The bytes emitted since an emitter last waited for members with long queues.
    emitted: AtomicUsize,
    log_limit: usize,
}

struct Shard {
    log: Arc<BroadcastLog>,
    pending: Mutex<PendingWork>,
    /// Notified when a round has ended.
    changed: Arc<Notify>,
}

/// The work of a shard, beside its log.
#[derive(Default)]
struct PendingWork {
    /// The members of broadcast requests that need a write.
    requested: Vec<Arc<Session>>,
    /// The number of these broadcast requests.
    requests: usize,
    /// The shard has a task.
    running: bool,
}

/// The reason why an emitter waits.
enum Blocked {
    /// A log is full.
    Log,
    /// Members of its audience have full or long queues. It waits for them until this time.
    Members(Instant),
}

/// The time for which an emit waits for members, in total.
struct Patience {
    /// The time at which it first found members to wait for.
    began: Option<Instant>,
    /// It waits for members with long queues, too.
    waits_for_long: bool,
    /// There is a runtime to wait in.
    can_wait: bool,
}

impl Fanout {
    /// Creates the shards. `queue` is the limit of each member's queue in bytes.
    pub(super) fn new(queue: usize) -> Self {
        let shards = thread::available_parallelism().map_or(1, usize::from).min(SHARDS_MAX);
        let changed = Arc::<Notify>::default();
        Self {
            shards: (0..shards).map(|_| Arc::new(Shard::new(Arc::clone(&changed)))).collect(),
            gate: Mutex::new(()),
            changed,
            emitted: AtomicUsize::new(0),
            log_limit: LOG_MAX.min(queue / 8).max(1),
        }
    }

    /// Returns the number of shards.
    pub(super) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Returns the log to which the socket with this number subscribes.
    pub(super) fn log(&self, number: u64) -> Arc<BroadcastLog> {
        Arc::clone(&self.shards[shard_of(number, self.shards.len())].log)
    }

    /// Sends a message to an audience, whose members `find_members` returns, when there is
    /// capacity.
    ///
    /// It waits for the shards, and for members with full queues. The wait for members takes at
    /// most a second in total. If a queue was full all that time, the overflow policy of the method
    /// applies. If it had capacity meanwhile, which other emitters used, it accepts the message
    /// above its limit.
    ///
    /// # Errors
    ///
    /// [`SendOutcome::TooLarge`] if no member accepts a frame of this size. If only some members accept
    /// it, the others are skipped.
    ///
    /// # Cancel safety
    ///
    /// The message is sent to all members or to none.
    pub(super) async fn emit(
        &self,
        callee: Callee<'_>,
        frame: &Bytes,
        find_members: impl Fn() -> MemberList,
    ) -> Result<(), SendOutcome> {
        // A loop of emits that never waits would starve the other tasks of its thread.
        let can_wait = Handle::try_current().is_ok();
        if can_wait {
            consume_budget().await;
        }
        let emitted = self.emitted.fetch_add(frame.len(), Ordering::Relaxed) + frame.len();
        let waits_for_long = emitted >= self.log_limit;
        if waits_for_long {
            self.emitted.store(0, Ordering::Relaxed);
        }
        let mut patience = Patience { began: None, waits_for_long, can_wait };
        loop {
            // A member that joins or leaves while the emit waits may or may not receive the
            // message.
            let members = find_members();
            if let Some(limit) = members.max_frame().filter(|limit| frame.len() - PREFIX > *limit) {
                return Err(SendOutcome::TooLarge { limit });
            }
            if self.try_emit(callee, frame, &members, &mut patience) {
                return Ok(());
            }
            self.wait_for_capacity(callee, &members, &mut patience).await;
        }
    }

    /// Adds a message to the logs and returns `true`, if they and the queues of the members have
    /// capacity.
    fn try_emit(&self, callee: Callee<'_>, frame: &Bytes, list: &MemberList, patience: &mut Patience) -> bool {
        if self.members_until(callee, list, patience).is_some() {
            return false;
        }
        let gate = self.gate.lock();
        if self.log_is_full(list) {
            return false;
        }
        for (shard, members) in self.shards_of(list) {
            shard.log.push(frame.clone(), callee, Arc::clone(members));
        }
        drop(gate);
        self.shards_of(list).for_each(|(shard, _)| shard.ensure_task());
        true
    }

    /// Waits until [`try_emit`](Self::try_emit) may succeed. It does not find the members again
    /// after each round, which would cost each waiting emitter as much as the round itself.
    async fn wait_for_capacity(&self, callee: Callee<'_>, list: &MemberList, patience: &mut Patience) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.blocked(callee, list, patience) {
                None => return,
                Some(Blocked::Log) => changed.await,
                Some(Blocked::Members(until)) => _ = timeout_at(until.into(), changed).await,
            }
        }
    }

    /// Returns the reason why an emit has to wait, if it has to.
    fn blocked(&self, callee: Callee<'_>, list: &MemberList, patience: &mut Patience) -> Option<Blocked> {
        let members = self.members_until(callee, list, patience).map(Blocked::Members);
        members.or_else(|| self.log_is_full(list).then_some(Blocked::Log))
    }

    fn log_is_full(&self, list: &MemberList) -> bool {
        self.shards_of(list).any(|(shard, _)| shard.log.bytes() >= self.log_limit)
    }

    /// Returns the shards that have members of an audience, with these members.
    fn shards_of<'a>(&'a self, list: &'a MemberList) -> impl Iterator<Item = (&'a Arc<Shard>, &'a Arc<Members>)> {
        self.shards.iter().zip(list.shards()).filter(|(_, members)| !members.is_empty())
    }

    /// Returns the time until which an emitter waits for members of its audience, if it waits for
    /// any.
    fn members_until(&self, callee: Callee<'_>, list: &MemberList, patience: &mut Patience) -> Option<Instant> {
        if !callee.overflow().waits() {
            return None;
        }
        let mut lagging = Vec::new();
        self.laggards(list).for_each(|(laggards, members)| laggards.full(members, &mut lagging));
        if !lagging.is_empty() {
            let now = now();
            let began = *patience.began.get_or_insert(now);
            let last = if patience.can_wait { began + WAIT_FOR_ALL } else { now };
            let until = lagging.iter().filter_map(|session| session.full_until(now, began, last)).min();
            if until.is_some() {
                return until;
            }
        }
        if !patience.waits_for_long || !patience.can_wait {
            return None;
        }
        lagging.clear();
        self.laggards(list).for_each(|(laggards, members)| laggards.long(members, &mut lagging));
        if lagging.is_empty() {
            return None;
        }
        let now = now();
        let some_keep_up = lagging.len() < list.len();
        let last = *patience.began.get_or_insert(now) + if some_keep_up { WAIT_FOR_SOME } else { WAIT_FOR_ALL };
        let until = lagging.iter().filter_map(|session| session.long_until(now)).min()?.min(last);
        (now < until).then_some(until)
    }

    /// Returns the lagging members of each shard, with the members of an audience in it.
    fn laggards<'a>(&'a self, list: &'a MemberList) -> impl Iterator<Item = (&'a Laggards, &'a Members)> {
        self.shards.iter().zip(list.shards()).map(|(shard, members)| (shard.log.laggards(), &**members))
    }

    /// Returns an empty batch of members that need a write.
    pub(super) fn flush_batch(&self) -> FlushBatch<'_> {
        FlushBatch { fanout: self, sessions: self.shards.iter().map(|_| Vec::new()).collect() }
    }
}

/// The members of a broadcast request that need a write, by shard. Their shards write when it is
/// dropped.
pub(super) struct FlushBatch<'a> {
    fanout: &'a Fanout,
    sessions: Vec<Vec<Arc<Session>>>,
}

impl FlushBatch<'_> {
    /// Adds a member, for which its shard writes.
    pub(super) fn add(&mut self, number: u64, session: &Arc<Session>) {
        let shard = shard_of(number, self.sessions.len());
        self.sessions[shard].push(Arc::clone(session));
    }
}

impl Drop for FlushBatch<'_> {
    fn drop(&mut self) {
        for (shard, sessions) in self.fanout.shards.iter().zip(std::mem::take(&mut self.sessions)) {
            if !sessions.is_empty() {
                shard.request_flush(sessions);
            }
        }
    }
}

impl Shard {
    fn new(changed: Arc<Notify>) -> Self {
        Self { log: Arc::new(BroadcastLog::new(Arc::clone(&changed))), pending: Mutex::default(), changed }
    }

    /// Adds members of a broadcast request that need a write.
    fn request_flush(self: &Arc<Self>, mut members: Vec<Arc<Session>>) {
        let mut pending = self.pending.lock();
        pending.requests += 1;
        if pending.requested.is_empty() {
            pending.requested = members;
        } else {
            pending.requested.append(&mut members);
        }
        drop(pending);
        self.ensure_task();
    }

    /// Starts the task of the shard, unless it runs.
    fn ensure_task(self: &Arc<Self>) {
        if std::mem::replace(&mut self.pending.lock().running, true) {
            return;
        }
        let task = ShardTask { shard: Arc::clone(self), batches: Vec::new(), sessions: Vec::new(), ended: false };
        // Outside of a runtime the emitter does the work, by dropping the task.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(task.run());
            release_lifo_slot();
        }
    }
}

/// The task of a shard. It runs on the runtime of the emitter that started it. If that runtime is
/// shut down, the drop of the task does all work at once. The next emitter starts another task.
struct ShardTask {
    shard: Arc<Shard>,
    /// The messages of this round.
    batches: Vec<Batch>,
    /// The members that need a write.
    sessions: Vec<Arc<Session>>,
    /// There was no more work. Another task may have been started since.
    ended: bool,
}

impl ShardTask {
    /// Runs rounds until there is no more work, so that an idle server has no such task.
    async fn run(mut self) {
        while let Some(messages) = self.begin() {
            for batch in &self.batches {
                for members in batch.members().chunks(DELIVERIES_PER_YIELD) {
                    deliver(batch, members, &mut self.sessions);
                    yield_now().await;
                }
            }
            self.remove_delivered();
            let mut flushed = 0;
            while let Some(session) = self.sessions.pop() {
                session.flush_shard_member();
                flushed += 1;
                if flushed % FLUSHES_PER_YIELD == 0 {
                    yield_now().await;
                }
            }
            self.shard.changed.notify_waiters();
            if messages > 1 {
                sleep(BUSY_PAUSE).await;
            } else {
                yield_now().await;
            }
        }
    }

    /// Begins a round. Returns the number of its messages, or `None` if there is no work.
    fn begin(&mut self) -> Option<usize> {
        let mut pending = self.shard.pending.lock();
        std::mem::swap(&mut pending.requested, &mut self.sessions);
        self.ended = self.sessions.is_empty() && self.shard.log.is_empty();
        pending.running = !self.ended;
        if self.ended {
            pending.requested = Vec::new();
        }
        let requests = std::mem::take(&mut pending.requests);
        drop(pending);
        if self.ended {
            return None;
        }
        self.batches = self.shard.log.batches();
        Some(requests + self.batches.iter().map(Batch::len).sum::<usize>())
    }

    /// Removes the messages of this round from the log, after they have been delivered to all
    /// members.
    fn remove_delivered(&mut self) {
        let batches = std::mem::take(&mut self.batches);
        self.shard.log.remove(&batches);
    }
}

impl Drop for ShardTask {
    fn drop(&mut self) {
        while !self.ended {
            for batch in &self.batches {
                deliver(batch, batch.members(), &mut self.sessions);
            }
            self.remove_delivered();
            self.sessions.drain(..).for_each(|session| session.flush_shard_member());
            self.begin();
        }
        self.shard.changed.notify_waiters();
    }
}

/// Delivers the new messages of a batch to members. Appends the members that need a write.
fn deliver(batch: &Batch, members: &[(u64, Arc<Session>)], needs_write: &mut Vec<Arc<Session>>) {
    let now = now();
    for (_, session) in members {
        if session.deliver(now, batch) {
            needs_write.push(Arc::clone(session));
        }
    }
}
