//! An entry of the log of a shard.

use std::sync::Arc;

use super::{Members, Message};

/// A message and the members that receive it.
pub(crate) struct LogEntry<M> {
    pub(super) message: Message,
    pub(super) members: Arc<Members<M>>,
}

impl<M> LogEntry<M> {
    pub(super) fn is_for(&self, member: u64) -> bool {
        self.members.binary_search_by_key(&member, |(number, _)| *number).is_ok()
    }

    pub(crate) fn message(&self) -> &Message {
        &self.message
    }
}

impl<M> Clone for LogEntry<M> {
    fn clone(&self) -> Self {
        Self { message: self.message.clone(), members: Arc::clone(&self.members) }
    }
}
