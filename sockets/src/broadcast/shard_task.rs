//! The task of a shard.

use std::{mem, sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{Batch, Member, shard::Shard};
use crate::{clock::now, scheduler::yield_to_others};

/// The pause of a shard after a round with several messages.
const BUSY_PAUSE: Duration = Duration::from_millis(1);
/// Maximum number of writes before the shard's task yields, for example to an emitter on its
/// thread.
const FLUSHES_PER_YIELD: usize = 32;
/// Maximum number of deliveries before the shard's task yields. The number is larger than
/// `FLUSHES_PER_YIELD`, because a delivery takes less time than a write.
const DELIVERIES_PER_YIELD: usize = 256;

/// The task of a shard. An emitter starts the task on its own runtime. When that runtime shuts
/// down, it drops the task. The `Drop` of the task then does all remaining work without a pause,
/// and the next emitter starts another task.
pub(super) struct ShardTask<M: Member> {
    shard: Arc<Shard<M>>,
    /// The messages of this round.
    batches: Vec<Batch<M>>,
    /// The members that need a write.
    needs_write: Vec<Arc<M>>,
    /// `true` after the task has found no more work. From then on, an emitter may have started
    /// another task for the shard.
    ended: bool,
}

impl<M: Member> ShardTask<M> {
    pub(super) fn new(shard: Arc<Shard<M>>) -> Self {
        Self { shard, batches: Vec::new(), needs_write: Vec::new(), ended: false }
    }

    /// Runs rounds until there is no more work, so that an idle server has no such task.
    pub(super) async fn run(mut self) {
        while let Some(messages) = self.begin() {
            for batch in &self.batches {
                for members in batch.members().chunks(DELIVERIES_PER_YIELD) {
                    deliver(batch, members, &mut self.needs_write);
                    yield_to_others().await;
                }
            }
            self.remove_delivered();
            let mut flushed = 0;
            while let Some(member) = self.needs_write.pop() {
                member.flush();
                flushed += 1;
                if flushed % FLUSHES_PER_YIELD == 0 {
                    yield_to_others().await;
                }
            }
            self.shard.changed.notify_waiters();
            if messages > 1 {
                sleep(BUSY_PAUSE).await;
            } else {
                yield_to_others().await;
            }
        }
    }

    /// Begins a round. Returns the number of its messages, or `None` if there is no work.
    fn begin(&mut self) -> Option<usize> {
        let mut pending = self.shard.pending.lock();
        mem::swap(&mut pending.requested, &mut self.needs_write);
        self.ended = self.needs_write.is_empty() && self.shard.log.is_empty();
        pending.running = !self.ended;
        if self.ended {
            pending.requested = Vec::new();
        }
        let requests = mem::take(&mut pending.requests);
        drop(pending);
        if self.ended {
            return None;
        }
        self.batches = self.shard.log.batches();
        Some(requests + self.batches.iter().map(Batch::len).sum::<usize>())
    }

    /// Removes the messages of this round from the log, because all members have received them.
    fn remove_delivered(&mut self) {
        let batches = mem::take(&mut self.batches);
        self.shard.log.remove(&batches);
    }
}

impl<M: Member> Drop for ShardTask<M> {
    fn drop(&mut self) {
        while !self.ended {
            for batch in &self.batches {
                deliver(batch, batch.members(), &mut self.needs_write);
            }
            self.remove_delivered();
            self.needs_write.drain(..).for_each(|member| member.flush());
            self.begin();
        }
        self.shard.changed.notify_waiters();
    }
}

/// Delivers the new messages of a batch to members. Appends the members that need a write.
fn deliver<M: Member>(batch: &Batch<M>, members: &[(u64, Arc<M>)], needs_write: &mut Vec<Arc<M>>) {
    let now = now();
    for (_, member) in members {
        if member.deliver(now, batch) {
            needs_write.push(Arc::clone(member));
        }
    }
}
