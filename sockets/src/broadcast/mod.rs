//! Emits to audiences.
//!
//! An emit to a room costs an entry in the log of each shard, and not a copy and a wake for each
//! member. The sockets of a server are divided among a few shards. The task of a shard takes all
//! new entries of its log, delivers them to its members, and tries a write for each. After a round
//! with several messages it pauses for a millisecond, in which more messages may arrive. A lone
//! message does not wait.
//!
//! Before a message is sent to a single member, the new entries for that member are queued. So
//! unicast and broadcast messages keep their order.
//!
//! This module does not know sessions: they implement [`Member`].

mod batch;
mod fanout;
mod flush_batch;
mod lag;
mod laggards;
mod log;
mod log_entry;
mod member_list;
mod member_set;
mod message;
mod pacing;
mod shard;
mod shard_task;
mod state;

use std::{sync::Arc, time::Instant};

pub(crate) use self::{
    batch::Batch, fanout::Fanout, lag::FullWait, log::BroadcastLog, member_list::MemberList, message::Message,
    state::BroadcastState,
};

/// The members of an audience that belong to the same shard, in the order of their numbers.
type Members<M> = [(u64, Arc<M>)];

/// A member of audiences.
pub(crate) trait Member: Sized + Send + Sync + 'static {
    /// Returns the largest frame that the member accepts.
    fn max_frame(&self) -> u32;

    /// Queues the new messages of a batch. Returns `true` if the shard has to write for this
    /// member.
    fn deliver(&self, now: Instant, batch: &Batch<Self>) -> bool;

    /// Writes queued messages.
    fn flush(&self);

    /// Returns the time until which an emitter waits for capacity in this member's queue, at most
    /// `last`. The emitter began to wait at `began`. Returns `None` if there is capacity, or if
    /// that time has passed.
    ///
    /// When the time has passed, the overflow policies of the methods apply to this member. If it
    /// had capacity meanwhile, which other emitters used, it accepts this message above its limit
    /// instead.
    fn full_until(&self, now: Instant, began: Instant, last: Instant) -> Option<Instant>;

    /// Returns the time until which an emitter that sends much waits for a shorter queue of this
    /// member. Returns `None` if the queue is short, or if the connection has accepted no bytes for
    /// a while.
    fn long_until(&self, now: Instant) -> Option<Instant>;
}
