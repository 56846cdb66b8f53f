//! A set of members of a shard.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::Members;
use crate::lock::Mutex;

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
