//! The members of an audience at one time, by shard.

use std::sync::Arc;

use crate::session::{Members, Session};

/// The members of an audience, by shard.
#[derive(Clone)]
pub(super) struct MemberList {
    shards: Arc<[Arc<Members>]>,
    /// The largest frame that any member accepts; `None` if there are no members.
    max_frame: Option<u32>,
}

/// Returns the shard of the socket with this number.
pub(super) fn shard_of(number: u64, shards: usize) -> usize {
    usize::try_from(number % shards as u64).unwrap_or(0)
}

impl MemberList {
    /// Creates a list of `members`, in any order.
    pub(super) fn new<'a>(shards: usize, members: impl Iterator<Item = (u64, &'a Arc<Session>)>) -> Self {
        let mut by_shard = vec![Vec::new(); shards];
        let mut max_frame = None;
        for (number, session) in members {
            max_frame = max_frame.max(Some(session.peer_max_frame()));
            by_shard[shard_of(number, shards)].push((number, Arc::clone(session)));
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

    pub(super) fn shards(&self) -> &[Arc<Members>] {
        &self.shards
    }
}
