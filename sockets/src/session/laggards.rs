//! Members of audiences whose queues are long, which emitters to these audiences wait for.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{Members, Session};
use crate::lock::{Mutex, Notify};

/// The lagging members of one shard. Most of the time there are none.
#[derive(Default)]
pub(crate) struct Laggards {
    /// Members with a long queue, full ones included.
    long: MemberSet,
    /// Members whose queue is full.
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

    /// The member's queue is below its limit again, and no longer long unless `is_long`. Returns what to notify of that.
    #[must_use]
    pub(super) fn remove(&self, member: u64, is_long: bool) -> Option<Arc<Notify>> {
        let (full, long) = (self.full.remove(member), !is_long && self.long.remove(member));
        (full || long).then(|| Arc::clone(&self.changed))
    }

    /// Appends the members of an audience whose queues are full.
    pub(crate) fn full(&self, audience: &Members, found: &mut Vec<Arc<Session>>) {
        self.full.intersect(audience, found);
    }

    /// Appends the members of an audience whose queues are long.
    pub(crate) fn long(&self, audience: &Members, found: &mut Vec<Arc<Session>>) {
        self.long.intersect(audience, found);
    }
}

/// A set of members by number, which is cheap to look at while it is empty.
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
        // Its caller has a handle of this session, so that this is not the last one.
        let removed = members.remove(&member).is_some();
        self.len.store(members.len(), Ordering::Release);
        removed
    }

    fn intersect(&self, audience: &Members, found: &mut Vec<Arc<Session>>) {
        if self.len.load(Ordering::Acquire) == 0 {
            return;
        }
        let members = self.members.lock();
        if audience.len() < members.len() {
            found
                .extend(audience.iter().filter(|(number, _)| members.contains_key(number)).map(|(_, one)| one.clone()));
        } else {
            let is_in = |number: &u64| audience.binary_search_by_key(number, |(number, _)| *number).is_ok();
            found.extend(members.iter().filter(|(number, _)| is_in(number)).map(|(_, one)| one.clone()));
        }
    }
}
