//! Members of audiences with long queues, for which emitters to these audiences wait.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{Members, Session};
use crate::lock::{Mutex, Notify};

/// The lagging members of a shard. Usually there are none.
#[derive(Default)]
pub(crate) struct Laggards {
    /// Members with a long or full queue.
    long: MemberSet,
    /// Members with a full queue.
    full: MemberSet,
    /// Notified when a member has caught up, and when the shard has delivered messages.
    changed: Arc<Notify>,
}

impl Laggards {
    pub(crate) fn new(changed: Arc<Notify>) -> Self {
        Self { changed, ..Self::default() }
    }

    pub(super) fn add(&self, member: u64, session: &Arc<Session>, is_full: bool) {
        self.long.insert(member, session);
        if is_full {
            self.full.insert(member, session);
        }
    }

    /// Records that the member's queue is no longer full, and no longer long unless `is_long`.
    /// Returns the emitters to notify.
    #[must_use]
    pub(super) fn remove(&self, member: u64, is_long: bool) -> Option<Arc<Notify>> {
        let (full, long) = (self.full.remove(member), !is_long && self.long.remove(member));
        (full || long).then(|| Arc::clone(&self.changed))
    }

    /// Appends the members of an audience that have full queues.
    pub(crate) fn full(&self, audience: &Members, laggards: &mut Vec<Arc<Session>>) {
        self.full.intersect(audience, laggards);
    }

    /// Appends the members of an audience that have long queues.
    pub(crate) fn long(&self, audience: &Members, laggards: &mut Vec<Arc<Session>>) {
        self.long.intersect(audience, laggards);
    }
}

/// A set of members by number. An empty set is found empty without a lock.
#[derive(Default)]
struct MemberSet {
    len: AtomicUsize,
    members: Mutex<BTreeMap<u64, Arc<Session>>>,
}

impl MemberSet {
    fn insert(&self, member: u64, session: &Arc<Session>) {
        let mut members = self.members.lock();
        members.entry(member).or_insert_with(|| Arc::clone(session));
        self.len.store(members.len(), Ordering::Release);
    }

    fn remove(&self, member: u64) -> bool {
        let mut members = self.members.lock();
        // The caller has a handle of this session, so the last one is not dropped here.
        let removed = members.remove(&member).is_some();
        self.len.store(members.len(), Ordering::Release);
        removed
    }

    /// Appends the members of `audience` that are in this set.
    fn intersect(&self, audience: &Members, common: &mut Vec<Arc<Session>>) {
        if self.len.load(Ordering::Acquire) == 0 {
            return;
        }
        let members = self.members.lock();
        if audience.len() < members.len() {
            let is_in = |(number, _): &&(u64, Arc<Session>)| members.contains_key(number);
            common.extend(audience.iter().filter(is_in).map(|(_, session)| Arc::clone(session)));
        } else {
            let is_in = |number: &u64| audience.binary_search_by_key(number, |(number, _)| *number).is_ok();
            common.extend(members.iter().filter(|(number, _)| is_in(number)).map(|(_, session)| Arc::clone(session)));
        }
    }
}
