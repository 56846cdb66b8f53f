//! Writing for many: an emit to a room costs a task's wake per shard, not per member.
//!
//! A message is queued for each member by its emitter. The members who have to be written for are left to a few tasks,
//! the shards, each of which tries one write for each of its members. After a round that found more than one message a
//! shard rests for a millisecond, in which more may be gathered; a lone message never waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use tokio::{
    runtime::Handle,
    sync::Notify,
    task::coop::consume_budget,
    time::{Instant, sleep},
};

use super::audience::Behind;
use crate::session::{Session, share_woken_task};

/// More shards than this would only share the same processors.
const SHARDS_MAX: usize = 4;
/// How long a shard rests after a busy round.
const REST: Duration = Duration::from_millis(1);
/// After so many bytes, an emitter looks how its members and the shards do; after less where little may wait.
const PACE_MAX: usize = 64 * 1024;
/// How long it then waits for members who are behind: if others keep up, and if all are behind and get on.
const WAIT_FOR_SOME: Duration = Duration::from_millis(10);
const WAIT_FOR_ALL: Duration = Duration::from_secs(1);
/// Members get on if anything moves within this time: the round trip of a far one.
const NO_PROGRESS: Duration = Duration::from_millis(300);

/// The shards of a server.
pub(super) struct Fanout {
    shards: Vec<Arc<Shard>>,
    /// What has been emitted since an emitter last looked.
    emitted: AtomicUsize,
    pace: usize,
}

#[derive(Default)]
struct Shard {
    due: Mutex<Due>,
    /// A round has ended.
    written: Notify,
}

/// Who has to be written for.
#[derive(Default)]
struct Due {
    sessions: Vec<Arc<Session>>,
    /// Since the shard last looked.
    messages: usize,
    bytes: usize,
    running: bool,
}

impl Fanout {
    /// `queue` is how many bytes may wait for each member.
    pub(super) fn new(queue: usize) -> Self {
        let shards = thread::available_parallelism().map_or(1, usize::from).min(SHARDS_MAX);
        Self {
            shards: (0..shards).map(|_| Arc::default()).collect(),
            emitted: AtomicUsize::new(0),
            pace: PACE_MAX.min(queue / 8),
        }
    }

    /// Begins to gather those who have to be written for.
    pub(super) fn round(&self, bytes: usize) -> Round<'_> {
        let dues = self.shards.iter().map(|shard| {
            let mut due = shard.due.lock();
            due.messages += 1;
            due.bytes += bytes;
            due
        });
        Round { dues: dues.collect(), shards: &self.shards }
    }

    /// Slows a loop of emits down to what the shards write and healthy members take.
    pub(super) async fn pace(&self, bytes: usize, behind: Behind) {
        if Handle::try_current().is_err() {
            return;
        }
        // A loop that never waits would keep its thread from everyone else.
        consume_budget().await;
        if self.emitted.fetch_add(bytes, Ordering::Relaxed) + bytes < self.pace {
            return;
        }
        self.emitted.store(0, Ordering::Relaxed);
        for shard in &self.shards {
            let mut written = std::pin::pin!(shard.written.notified());
            written.as_mut().enable();
            let is_behind = {
                let due = shard.due.lock();
                due.bytes >= self.pace && due.running && !due.sessions.is_empty()
            };
            if is_behind {
                written.await;
            }
        }
        behind.wait().await;
    }
}

impl Behind {
    /// Waits until those who are behind have caught up: not for long if others keep up, or if none of them gets on.
    async fn wait(mut self) {
        let patience = if self.keep_up > 0 { WAIT_FOR_SOME } else { WAIT_FOR_ALL };
        let (started, mut moved) = (Instant::now(), Instant::now());
        let queued = |sessions: &[Arc<Session>]| sessions.iter().map(|one| one.queued()).sum::<usize>();
        let mut before = queued(&self.sessions);
        while !self.sessions.is_empty() && started.elapsed() < patience && moved.elapsed() < NO_PROGRESS {
            sleep(REST).await;
            self.sessions.retain(|one| !one.is_ending() && one.queued() > one.limits().outgoing_queue as usize / 2);
            let now = queued(&self.sessions);
            if now < before {
                moved = Instant::now();
            }
            before = now;
        }
    }
}

/// One message's members, by shard.
pub(super) struct Round<'a> {
    dues: Vec<MutexGuard<'a, Due>>,
    shards: &'a [Arc<Shard>],
}

impl Round<'_> {
    /// Leaves a member to its shard.
    pub(super) fn add(&mut self, number: u64, session: &Arc<Session>) {
        let shard = usize::try_from(number).unwrap_or(0) % self.dues.len();
        self.dues[shard].sessions.push(Arc::clone(session));
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        for (mut due, shared) in self.dues.drain(..).zip(self.shards) {
            if due.sessions.is_empty() || due.running {
                continue;
            }
            // Outside of a runtime the emitter writes itself.
            let Ok(runtime) = Handle::try_current() else {
                drop(due);
                drop(Stopped(Arc::clone(shared)));
                continue;
            };
            due.running = true;
            drop(due);
            runtime.spawn(run(Arc::clone(shared)));
            share_woken_task();
        }
    }
}

/// A shard's task. It ends when there is nothing to write, so that a quiet server has none.
async fn run(shard: Arc<Shard>) {
    let shard = Stopped(shard);
    let mut sessions = Vec::new();
    loop {
        let messages = {
            let mut due = shard.0.due.lock();
            std::mem::swap(&mut due.sessions, &mut sessions);
            due.bytes = 0;
            due.running = !sessions.is_empty();
            std::mem::take(&mut due.messages)
        };
        if sessions.is_empty() {
            return;
        }
        for session in sessions.drain(..) {
            session.flush_for_others();
        }
        shard.0.written.notify_waiters();
        if messages > 1 {
            sleep(REST).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

/// What becomes of a shard whose task stops, also with the runtime of the emitter that started it: the next emitter
/// starts another, and nobody waits for this one.
struct Stopped(Arc<Shard>);

impl Drop for Stopped {
    fn drop(&mut self) {
        let left = {
            let mut due = self.0.due.lock();
            due.running = false;
            std::mem::take(&mut due.sessions)
        };
        for session in left {
            session.flush_for_others();
        }
        self.0.written.notify_waiters();
    }
}
