//! The members of a broadcast request that need a write.

use std::{mem, sync::Arc};

use super::{Member, member_list::shard_of, shard::Shard};

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
