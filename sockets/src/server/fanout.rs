//! Writing for many: an emit to a room costs an entry in a log per shard, not a copy and a wake per member.
//!
//! The shards, a few tasks, own the members. Each takes all that is new in its log, gives it to its members, and tries one
//! write for each. After a round that found more than one message a shard rests for a millisecond, in which more may be
//! gathered; a lone message never waits.

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

/// More shards than this would only share the same processors.
const SHARDS_MAX: usize = 4;
/// How long a shard rests after a busy round.
const BUSY_PAUSE: Duration = Duration::from_millis(1);
/// After so many writes a shard lets others run: an emitter on its thread, for one.
const FLUSHES_PER_YIELD: usize = 32;
/// After so many members who have only been given something, which takes less.
const DELIVERIES_PER_YIELD: usize = 256;
/// So many bytes may be in a log before emitters wait for its shard; less where little may wait for a member.
const LOG_MAX: usize = 256 * 1024;
/// How long an emitter waits for members with long queues if others keep up.
const WAIT_FOR_SOME: Duration = Duration::from_millis(10);
/// How long an emitter waits for members with full queues, and with long queues if no member keeps up.
const WAIT_FOR_ALL: Duration = Duration::from_secs(1);

/// The shards of a server.
pub(super) struct Fanout {
    shards: Vec<Arc<Shard>>,
    /// Held while an emitter finds room in the logs and adds its message: several at once may not take the same room.
    gate: Mutex<()>,
    /// Notified when there may be room in a log, or in the queue of a member.
    changed: Arc<Notify>,
    /// How many bytes have been emitted since an emitter last waited for members with long queues.
    emitted: AtomicUsize,
    log_limit: usize,
}

struct Shard {
    log: Arc<BroadcastLog>,
    due: Mutex<PendingWork>,
    /// Notified when a round has ended.
    changed: Arc<Notify>,
}

/// What a shard has to do.
#[derive(Default)]
struct PendingWork {
    /// Those who have been asked, and have to be written for.
    requested: Vec<Arc<Session>>,
    requests: usize,
    running: bool,
}

/// Why an emitter waits.
enum Blocked {
    /// A log is full.
    Log,
    /// Members of its audience have to take some of their queues, for which it waits until then.
    Members(Instant),
}

/// How long one emit waits for members, all together.
struct Patience {
    /// When it first found members to wait for.
    began: Option<Instant>,
    /// It waits for members with long queues, too.
    waits_for_long: bool,
    /// There is a runtime to wait in.
    can_wait: bool,
}

impl Fanout {
    /// `queue` is how many bytes may wait for each member.
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

    /// How many there are.
    pub(super) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// The log that the socket with this number follows.
    pub(super) fn log(&self, number: u64) -> Arc<BroadcastLog> {
        Arc::clone(&self.shards[shard_of(number, self.shards.len())].log)
    }

    /// Sends a message to an audience, whose members `roster` returns, when there is room for it.
    ///
    /// Waits for the shards, and at most a second for members whose queues are full, however often that happens. A member
    /// whose queue was full all that time meets the method's policy. One that made room, which other emitters took,
    /// accepts the message beyond its limit.
    ///
    /// # Errors
    ///
    /// [`SendOutcome::TooLarge`] if no member accepts so large a frame. Members that do not are skipped if others do.
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
        // A loop that never waits would keep its thread from everyone else.
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
            // Whoever joins or leaves while the emit waits does or does not get the message.
            let roster = find_members();
            if let Some(limit) = roster.max_frame().filter(|limit| frame.len() - PREFIX > *limit) {
                return Err(SendOutcome::TooLarge { limit });
            }
            if self.try_emit(callee, frame, &roster, &mut patience) {
                return Ok(());
            }
            self.wait_for_room(callee, &roster, &mut patience).await;
        }
    }

    /// Adds a message to the logs and returns `true`, if they and the queues of the members have room.
    fn try_emit(&self, callee: Callee<'_>, frame: &Bytes, roster: &MemberList, patience: &mut Patience) -> bool {
        if self.members_until(callee, roster, patience).is_some() {
            return false;
        }
        let gate = self.gate.lock();
        if self.log_is_full(roster) {
            return false;
        }
        for (shard, members) in self.shards_of(roster) {
            shard.log.push(frame.clone(), callee, Arc::clone(members));
        }
        drop(gate);
        self.shards_of(roster).for_each(|(shard, _)| shard.ensure_task());
        true
    }

    /// Waits until [`try_emit`](Self::try_emit) may succeed. Finding the members again after each round would cost every
    /// waiting emitter as much as the round itself.
    async fn wait_for_room(&self, callee: Callee<'_>, roster: &MemberList, patience: &mut Patience) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.blocked(callee, roster, patience) {
                None => return,
                Some(Blocked::Log) => changed.await,
                Some(Blocked::Members(until)) => _ = timeout_at(until.into(), changed).await,
            }
        }
    }

    /// Returns what an emit has to wait for.
    fn blocked(&self, callee: Callee<'_>, roster: &MemberList, patience: &mut Patience) -> Option<Blocked> {
        let members = self.members_until(callee, roster, patience).map(Blocked::Members);
        members.or_else(|| self.log_is_full(roster).then_some(Blocked::Log))
    }

    fn log_is_full(&self, roster: &MemberList) -> bool {
        self.shards_of(roster).any(|(shard, _)| shard.log.bytes() >= self.log_limit)
    }

    /// The shards that have members of an audience, and these members.
    fn shards_of<'a>(&'a self, roster: &'a MemberList) -> impl Iterator<Item = (&'a Arc<Shard>, &'a Arc<Members>)> {
        self.shards.iter().zip(roster.shards()).filter(|(_, members)| !members.is_empty())
    }

    /// Returns until when an emitter waits for members of its audience, if it does.
    fn members_until(&self, callee: Callee<'_>, roster: &MemberList, patience: &mut Patience) -> Option<Instant> {
        if !callee.overflow().waits() {
            return None;
        }
        let mut found = Vec::new();
        self.laggards(roster).for_each(|(laggards, members)| laggards.full(members, &mut found));
        if !found.is_empty() {
            let now = now();
            let began = *patience.began.get_or_insert(now);
            let last = if patience.can_wait { began + WAIT_FOR_ALL } else { now };
            let until = found.iter().filter_map(|session| session.full_until(now, began, last)).min();
            if until.is_some() {
                return until;
            }
        }
        if !patience.waits_for_long || !patience.can_wait {
            return None;
        }
        found.clear();
        self.laggards(roster).for_each(|(laggards, members)| laggards.long(members, &mut found));
        if found.is_empty() {
            return None;
        }
        let now = now();
        let some_keep_up = found.len() < roster.len();
        let last = *patience.began.get_or_insert(now) + if some_keep_up { WAIT_FOR_SOME } else { WAIT_FOR_ALL };
        let until = found.iter().filter_map(|session| session.long_until(now)).min()?.min(last);
        (now < until).then_some(until)
    }

    /// The lagging members of each shard, and the shard's members of an audience.
    fn laggards<'a>(&'a self, roster: &'a MemberList) -> impl Iterator<Item = (&'a Laggards, &'a Members)> {
        self.shards.iter().zip(roster.shards()).map(|(shard, members)| (shard.log.laggards(), &**members))
    }

    /// Begins to gather those who are asked something.
    pub(super) fn flush_batch(&self) -> FlushBatch<'_> {
        FlushBatch { fanout: self, found: self.shards.iter().map(|_| Vec::new()).collect() }
    }
}

/// One question's members who have to be written for, by shard.
pub(super) struct FlushBatch<'a> {
    fanout: &'a Fanout,
    found: Vec<Vec<Arc<Session>>>,
}

impl FlushBatch<'_> {
    /// Leaves a member to its shard.
    pub(super) fn add(&mut self, number: u64, session: &Arc<Session>) {
        let shard = shard_of(number, self.found.len());
        self.found[shard].push(Arc::clone(session));
    }
}

impl Drop for FlushBatch<'_> {
    fn drop(&mut self) {
        for (shard, found) in self.fanout.shards.iter().zip(std::mem::take(&mut self.found)) {
            if !found.is_empty() {
                shard.request_flush(found);
            }
        }
    }
}

impl Shard {
    fn new(changed: Arc<Notify>) -> Self {
        Self { log: Arc::new(BroadcastLog::new(Arc::clone(&changed))), due: Mutex::default(), changed }
    }

    /// Takes over those who have been asked something.
    fn request_flush(self: &Arc<Self>, mut members: Vec<Arc<Session>>) {
        let mut due = self.due.lock();
        due.requests += 1;
        if due.requested.is_empty() {
            due.requested = members;
        } else {
            due.requested.append(&mut members);
        }
        drop(due);
        self.ensure_task();
    }

    /// Sees to it that somebody does what there is to do.
    fn ensure_task(self: &Arc<Self>) {
        if std::mem::replace(&mut self.due.lock().running, true) {
            return;
        }
        let writing = ShardTask { shard: Arc::clone(self), runs: Vec::new(), sessions: Vec::new(), ended: false };
        // Outside of a runtime the emitter writes itself, by dropping it.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(writing.run());
            release_lifo_slot();
        }
    }
}

/// What a shard does. Should its task be stopped, with the runtime of the emitter that started it, all is done at once:
/// the next emitter starts another, and nobody waits for this one.
struct ShardTask {
    shard: Arc<Shard>,
    runs: Vec<Batch>,
    /// Those who have to be written for.
    sessions: Vec<Arc<Session>>,
    /// There was nothing left to do. Another task may have begun since.
    ended: bool,
}

impl ShardTask {
    /// It ends when there is nothing to do, so that a quiet server has no such task.
    async fn run(mut self) {
        while let Some(messages) = self.begin() {
            for run in &self.runs {
                for members in run.members().chunks(DELIVERIES_PER_YIELD) {
                    deliver(run, members, &mut self.sessions);
                    yield_now().await;
                }
            }
            self.end();
            let mut turn = 0;
            while let Some(session) = self.sessions.pop() {
                session.flush_shard_member();
                turn += 1;
                if turn % FLUSHES_PER_YIELD == 0 {
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

    /// Takes what is to be done, and says of how many messages it is.
    fn begin(&mut self) -> Option<usize> {
        let mut due = self.shard.due.lock();
        std::mem::swap(&mut due.requested, &mut self.sessions);
        self.ended = self.sessions.is_empty() && self.shard.log.is_empty();
        due.running = !self.ended;
        if self.ended {
            due.requested = Vec::new();
        }
        let questions = std::mem::take(&mut due.requests);
        drop(due);
        if self.ended {
            return None;
        }
        self.runs = self.shard.log.batches();
        Some(questions + self.runs.iter().map(Batch::len).sum::<usize>())
    }

    /// All members have been given what was new.
    fn end(&mut self) {
        let runs = std::mem::take(&mut self.runs);
        self.shard.log.remove(&runs);
    }
}

impl Drop for ShardTask {
    fn drop(&mut self) {
        while !self.ended {
            for run in &self.runs {
                deliver(run, run.members(), &mut self.sessions);
            }
            self.end();
            self.sessions.drain(..).for_each(|session| session.flush_shard_member());
            self.begin();
        }
        self.shard.changed.notify_waiters();
    }
}

/// Gives members what is new to them.
fn deliver(run: &Batch, members: &[(u64, Arc<Session>)], write: &mut Vec<Arc<Session>>) {
    let now = now();
    for (_, session) in members {
        if session.deliver(now, run) {
            write.push(Arc::clone(session));
        }
    }
}
