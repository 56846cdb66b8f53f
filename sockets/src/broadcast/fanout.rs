//! The shards of a server, and emits to them.

use std::{
    mem,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use bytes::Bytes;
use tokio::{runtime::Handle, time::timeout_at};

use super::{
    BroadcastLog, Member, MemberList, Members, laggards::Laggards, member_list::shard_of, pacing::Pacing, shard::Shard,
};
use crate::{
    lock::{Mutex, Notify},
    method::Callee,
    scheduler::consume_budget,
};
use sockets_proto::{PREFIX, SendOutcome};

/// Maximum number of shards. A server also never has more shards than processors, because
/// additional shards would only share the same processors.
const SHARDS_MAX: usize = 4;
/// Maximum number of bytes in a shard's log. When it is reached, emitters wait. If the limit of the
/// members' queues is small, the limit of the log is smaller.
const LOG_MAX: usize = 256 * 1024;

/// The shards of a server.
pub(crate) struct Fanout<M> {
    shards: Vec<Arc<Shard<M>>>,
    /// The lock that an emitter holds while it checks the logs and adds its message. Without this
    /// lock, two concurrent emitters could use the same capacity.
    emit_lock: Mutex<()>,
    /// Notified when there may be capacity in a log, or in the queue of a member.
    changed: Arc<Notify>,
    /// The bytes emitted since an emitter last waited for members with long queues.
    emitted: AtomicUsize,
    log_limit: usize,
}

/// The reason why an emitter waits.
enum Blocked {
    /// A log is full.
    Log,
    /// Members of the audience have full queues, or long queues (see [`Member::long_until`]). The
    /// emitter waits for these members until the contained time.
    Members(Instant),
}

impl<M: Member> Fanout<M> {
    /// Creates the shards. `queue` is the limit of each member's queue in bytes.
    pub(crate) fn new(queue: usize) -> Self {
        let shards = thread::available_parallelism().map_or(1, usize::from).min(SHARDS_MAX);
        let changed = Arc::<Notify>::default();
        Self {
            shards: (0..shards).map(|_| Arc::new(Shard::new(Arc::clone(&changed)))).collect(),
            emit_lock: Mutex::new(()),
            changed,
            emitted: AtomicUsize::new(0),
            log_limit: LOG_MAX.min(queue / 8).max(1),
        }
    }

    /// Returns the number of shards.
    pub(crate) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Returns the log to which the member with this number subscribes.
    pub(crate) fn log(&self, number: u64) -> Arc<BroadcastLog<M>> {
        Arc::clone(&self.shards[shard_of(number, self.shards.len())].log)
    }

    /// Sends a message to an audience when there is capacity. The function `find_members` returns
    /// the members of the audience.
    ///
    /// The emitter waits for shards with full logs, and for members with full queues. The wait for
    /// members takes at most a second in total. If a member's queue was full during the whole wait,
    /// the overflow policy of the method applies to this member. If the queue had capacity at some
    /// time during the wait, but other emitters used it, the queue accepts the message above its
    /// limit.
    ///
    /// # Errors
    ///
    /// Returns [`SendOutcome::TooLarge`] if no member accepts a frame of this size. If only some
    /// members accept the frame, the message is not sent to the other members.
    ///
    /// # Cancel safety
    ///
    /// The message is sent to all members or to none.
    pub(crate) async fn emit(
        &self,
        callee: Callee<'_>,
        frame: &Bytes,
        find_members: impl Fn() -> MemberList<M>,
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
        let mut pacing = Pacing::new(waits_for_long, can_wait);
        loop {
            // Find the members again after each wait. A member that joins or leaves during the wait
            // may or may not receive the message.
            let members = find_members();
            let length = frame.len() - PREFIX;
            if let Some(limit) = members.max_frame().filter(|limit| length > *limit) {
                return Err(SendOutcome::TooLarge { length, limit });
            }
            if self.try_emit(callee, frame, &members, &mut pacing) {
                return Ok(());
            }
            self.wait_for_capacity(callee, &members, &mut pacing).await;
        }
    }

    /// Adds a message to the logs if the logs and the queues of the members have capacity. Returns
    /// `true` if the message was added.
    fn try_emit(&self, callee: Callee<'_>, frame: &Bytes, list: &MemberList<M>, pacing: &mut Pacing) -> bool {
        if self.members_until(callee, list, pacing).is_some() {
            return false;
        }
        let guard = self.emit_lock.lock();
        if self.log_is_full(list) {
            return false;
        }
        for (shard, members) in self.shards_of(list) {
            shard.log.push(frame.clone(), callee, Arc::clone(members));
        }
        drop(guard);
        self.shards_of(list).for_each(|(shard, _)| shard.ensure_task());
        true
    }

    /// Waits until [`try_emit`](Self::try_emit) may succeed. The emitter keeps its list of members
    /// during this wait, because finding them again after each round would cost as much as the
    /// round itself.
    async fn wait_for_capacity(&self, callee: Callee<'_>, list: &MemberList<M>, pacing: &mut Pacing) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.blocked(callee, list, pacing) {
                None => return,
                Some(Blocked::Log) => changed.await,
                Some(Blocked::Members(until)) => _ = timeout_at(until.into(), changed).await,
            }
        }
    }

    /// Returns the reason for which an emitter has to wait. Returns `None` if the emitter need not
    /// wait.
    fn blocked(&self, callee: Callee<'_>, list: &MemberList<M>, pacing: &mut Pacing) -> Option<Blocked> {
        let members = self.members_until(callee, list, pacing).map(Blocked::Members);
        members.or_else(|| self.log_is_full(list).then_some(Blocked::Log))
    }

    fn log_is_full(&self, list: &MemberList<M>) -> bool {
        self.shards_of(list).any(|(shard, _)| shard.log.bytes() >= self.log_limit)
    }

    /// Returns the shards that have members of an audience, and these members for each shard.
    fn shards_of<'a>(
        &'a self,
        list: &'a MemberList<M>,
    ) -> impl Iterator<Item = (&'a Arc<Shard<M>>, &'a Arc<Members<M>>)> {
        self.shards.iter().zip(list.shards()).filter(|(_, members)| !members.is_empty())
    }

    /// Returns the time until which an emitter waits for members of its audience. Returns `None` if
    /// the emitter does not wait for any member.
    fn members_until(&self, callee: Callee<'_>, list: &MemberList<M>, pacing: &mut Pacing) -> Option<Instant> {
        if callee.waits() { pacing.wait_until(list.len(), || self.laggards(list)) } else { None }
    }

    /// Returns the lagging members of each shard, and the members of the audience in that shard.
    fn laggards<'a>(&'a self, list: &'a MemberList<M>) -> impl Iterator<Item = (&'a Laggards<M>, &'a Members<M>)> {
        self.shards.iter().zip(list.shards()).map(|(shard, members)| (shard.log.laggards(), &**members))
    }

    /// Returns an empty batch of members that need a write.
    pub(crate) fn flush_batch(&self) -> FlushBatch<'_, M> {
        FlushBatch::new(&self.shards)
    }
}

/// The members of a broadcast request that need a write, by shard. When this value is dropped, the
/// tasks of the shards write for these members.
pub(crate) struct FlushBatch<'a, M: Member> {
    shards: &'a [Arc<Shard<M>>],
    members: Vec<Vec<Arc<M>>>,
}

impl<'a, M: Member> FlushBatch<'a, M> {
    pub(super) fn new(shards: &'a [Arc<Shard<M>>]) -> Self {
        Self { shards, members: shards.iter().map(|_| Vec::new()).collect() }
    }

    /// Adds a member, for which its shard writes.
    pub(crate) fn add(&mut self, number: u64, member: &Arc<M>) {
        let shard = shard_of(number, self.members.len());
        self.members[shard].push(Arc::clone(member));
    }
}

impl<M: Member> Drop for FlushBatch<'_, M> {
    fn drop(&mut self) {
        for (shard, members) in self.shards.iter().zip(mem::take(&mut self.members)) {
            if !members.is_empty() {
                shard.request_flush(members);
            }
        }
    }
}
