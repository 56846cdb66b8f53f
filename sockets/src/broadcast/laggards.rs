//! Members of audiences with full or long queues, for which emitters to these audiences wait.
//! [`Member::long_until`](super::Member::long_until) defines a long queue.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::Members;
use crate::lock::{Mutex, Notify};

/// The lagging members of a shard. Usually there are none.
pub(super) struct Laggards<M> {
    /// Members with a long queue. A full queue is long, too.
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

    /// Removes a member from the set `full`, because its queue is not full any more. If `is_long`
    /// is `false`, also removes the member from the set `long`. If a set contained the member,
    /// returns the `Notify` of the waiting emitters, which the caller notifies.
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

/// A set of members by number. If the set is empty, a check needs no lock.
pub(super) struct MemberSet<M> {
    len: AtomicUsize,
    members: Mutex<BTreeMap<u64, Arc<M>>>,
}

impl<M> MemberSet<M> {
    pub(super) fn new() -> Self {
        Self { len: AtomicUsize::new(0), members: Mutex::new(BTreeMap::new()) }
    }

    pub(super) fn insert(&self, number: u64, member: &Arc<M>) {
        let mut members = self.members.lock();
        members.entry(number).or_insert_with(|| Arc::clone(member));
        self.len.store(members.len(), Ordering::Release);
    }

    pub(super) fn remove(&self, number: u64) -> bool {
        let mut members = self.members.lock();
        // The caller has a handle of this member, so the last handle is not dropped here.
        let removed = members.remove(&number).is_some();
        self.len.store(members.len(), Ordering::Release);
        removed
    }

    /// Appends the members of `audience` that are in this set.
    pub(super) fn intersect(&self, audience: &Members<M>, common: &mut Vec<Arc<M>>) {
        if self.len.load(Ordering::Acquire) == 0 {
            return;
        }
        let members = self.members.lock();
        if audience.len() < members.len() {
            let is_in = |(number, _): &&(u64, Arc<M>)| members.contains_key(number);
            common.extend(audience.iter().filter(is_in).map(|(_, member)| Arc::clone(member)));
        } else {
            let is_in = |number: &u64| audience.binary_search_by_key(number, |(number, _)| *number).is_ok();
            common.extend(members.iter().filter(|(number, _)| is_in(number)).map(|(_, member)| Arc::clone(member)));
        }
    }
}
