//! Emits to audiences.
//!
//! An emit to a room adds an entry to the log of each shard. It does not copy the message for each
//! member, or wake a task for each member. The members of a server are divided among a few shards.
//!
//! The task of a shard takes all new entries of its log, and delivers them to the members of the
//! shard. Then the task tries a write for each of these members. After a round with several
//! messages, the task pauses for a millisecond, so that more messages can arrive for the next
//! round. After a round with a single message, the task does not pause.
//!
//! Before a session sends a message to a single member, it queues the new entries of the log for
//! that member. So unicast and broadcast messages keep their order.
//!
//! This module does not depend on sessions. Sessions implement [`Member`].

mod batch;
mod fanout;
mod lag;
mod laggards;
mod log;
mod member_list;
mod pacing;
mod shard;
mod shard_task;
mod state;

use std::{sync::Arc, time::Instant};

pub(crate) use self::{
    batch::Batch,
    fanout::Fanout,
    lag::FullWait,
    log::{BroadcastLog, Message},
    member_list::MemberList,
    state::BroadcastState,
};

/// The members of an audience that belong to the same shard, in the order of their numbers.
type Members<M> = [(u64, Arc<M>)];

/// A member of audiences.
pub(crate) trait Member: Sized + Send + Sync + 'static {
    /// Returns the largest frame that the member accepts.
    fn max_frame(&self) -> u32;

    /// Queues the new messages of a batch. Returns `true` if the shard has to write these messages
    /// to the connection of this member.
    fn deliver(&self, now: Instant, batch: &Batch<Self>) -> bool;

    /// Writes queued messages.
    fn flush(&self);

    /// Returns the time until which an emitter waits for capacity in this member's queue. The
    /// emitter began to wait at `began`, and waits at most until `last`. Returns `None` if the
    /// queue has capacity, or if the emitter has waited long enough.
    ///
    /// If the emitter has waited long enough, the overflow policies of the methods apply to this
    /// member. There is an exception: if the queue had capacity at some time during the wait, but
    /// other emitters used it, the member accepts this message above its limit.
    fn full_until(&self, now: Instant, began: Instant, last: Instant) -> Option<Instant>;

    /// Returns the time until which an emitter waits for a shorter queue of this member. Returns
    /// `None` if the queue is not long, or if the connection has accepted no bytes for some time.
    ///
    /// A queue is long if it has more than 512 KiB, or more than half of its limit if that is less.
    /// A full queue is long, too. Only emitters that send many bytes wait for long queues.
    fn long_until(&self, now: Instant) -> Option<Instant>;
}
