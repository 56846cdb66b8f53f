//! Members of audiences with long queues, for which emitters to these audiences wait.

use std::sync::Arc;

use super::{Members, member_set::MemberSet};
use crate::lock::Notify;

/// The lagging members of a shard. Usually there are none.
pub(super) struct Laggards<M> {
    /// Members with a long or full queue.
    long: MemberSet<M>,
    /// Members with a full queue.
    full: MemberSet<M>,
    /// Notified when a member has caught up, and when the shard has delivered messages.
    changed: Arc<Notify>,
}

impl<M> Laggards<M> {
    pub(super) fn new(changed: Arc<Notify>) -> Self {
        Self { long: MemberSet::new(), full: MemberSet::new(), changed }
    }

    pub(super) fn add(&self, number: u64, member: &Arc<M>, is_full: bool) {
        self.long.insert(number, member);
        if is_full {
            self.full.insert(number, member);
        }
    }

    /// Records that the member's queue is not full any more. `is_long` states whether the queue is
    /// still long. Returns the `Notify` of the waiting emitters if the member was removed from a
    /// set.
    #[must_use]
    pub(super) fn remove(&self, number: u64, is_long: bool) -> Option<Arc<Notify>> {
        let (full, long) = (self.full.remove(number), !is_long && self.long.remove(number));
        (full || long).then(|| Arc::clone(&self.changed))
    }

    /// Appends the members of an audience that have full queues.
    pub(super) fn full(&self, audience: &Members<M>, laggards: &mut Vec<Arc<M>>) {
        self.full.intersect(audience, laggards);
    }

    /// Appends the members of an audience that have long queues.
    pub(super) fn long(&self, audience: &Members<M>, laggards: &mut Vec<Arc<M>>) {
        self.long.intersect(audience, laggards);
    }
}
