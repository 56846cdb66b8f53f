//! A shard of the members of a server.

use std::{mem, sync::Arc};

use tokio::runtime::Handle;

use super::{BroadcastLog, Member, shard_task::ShardTask};
use crate::{
    handler_context::release_woken_task,
    lock::{Mutex, Notify},
};

/// A shard of the members of a server, with their log.
pub(super) struct Shard<M> {
    pub(super) log: Arc<BroadcastLog<M>>,
    pub(super) pending: Mutex<PendingWork<M>>,
    /// Notified when a round has ended.
    pub(super) changed: Arc<Notify>,
}

/// The work of a shard other than the entries of its log.
pub(super) struct PendingWork<M> {
    /// The members of broadcast requests that need a write.
    pub(super) requested: Vec<Arc<M>>,
    /// The number of these broadcast requests.
    pub(super) requests: usize,
    /// The shard has a task.
    pub(super) running: bool,
}

impl<M: Member> Shard<M> {
    pub(super) fn new(changed: Arc<Notify>) -> Self {
        let pending = PendingWork { requested: Vec::new(), requests: 0, running: false };
        Self { log: Arc::new(BroadcastLog::new(Arc::clone(&changed))), pending: Mutex::new(pending), changed }
    }

    /// Adds members of a broadcast request that need a write.
    pub(super) fn request_flush(self: &Arc<Self>, mut members: Vec<Arc<M>>) {
        let mut pending = self.pending.lock();
        pending.requests += 1;
        if pending.requested.is_empty() {
            pending.requested = members;
        } else {
            pending.requested.append(&mut members);
        }
        drop(pending);
        self.ensure_task();
    }

    /// Starts the task of the shard, unless it runs.
    pub(super) fn ensure_task(self: &Arc<Self>) {
        if mem::replace(&mut self.pending.lock().running, true) {
            return;
        }
        let task = ShardTask::new(Arc::clone(self));
        // Outside of a runtime the emitter does the work, by dropping the task.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(task.run());
            release_woken_task();
        }
    }
}
