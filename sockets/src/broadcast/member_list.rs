//! The members of an audience at a point in time, by shard.

use std::sync::Arc;

use super::{Member, Members};

/// The members of an audience, by shard.
pub(crate) struct MemberList<M> {
    shards: Arc<[Arc<Members<M>>]>,
    /// The largest frame that any member accepts; `None` if there are no members.
    max_frame: Option<u32>,
}

/// Returns the shard of the member with this number.
pub(super) fn shard_of(number: u64, shards: usize) -> usize {
    usize::try_from(number % shards as u64).unwrap_or(0)
}

impl<M: Member> MemberList<M> {
    /// Creates a list of `members`, in any order.
    pub(crate) fn new<'a>(shards: usize, members: impl Iterator<Item = (u64, &'a Arc<M>)>) -> Self {
        let mut by_shard: Vec<Vec<_>> = (0..shards).map(|_| Vec::new()).collect();
        let mut max_frame = None;
        for (number, member) in members {
            max_frame = max_frame.max(Some(member.max_frame()));
            by_shard[shard_of(number, shards)].push((number, Arc::clone(member)));
        }
        let sorted = by_shard.into_iter().map(|mut members| {
            members.sort_unstable_by_key(|(number, _)| *number);
            members.into()
        });
        Self { shards: sorted.collect(), max_frame }
    }

    /// Returns the largest frame that any member accepts; `None` if there are no members.
    pub(super) fn max_frame(&self) -> Option<usize> {
        self.max_frame.map(|limit| limit as usize)
    }

    /// Returns the number of members.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|members| members.len()).sum()
    }

    pub(super) fn shards(&self) -> &[Arc<Members<M>>] {
        &self.shards
    }
}

impl<M> Clone for MemberList<M> {
    fn clone(&self) -> Self {
        Self { shards: Arc::clone(&self.shards), max_frame: self.max_frame }
    }
}
