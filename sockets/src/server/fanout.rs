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

use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::Notify,
    task::{coop::consume_budget, yield_now},
    time::{Instant, sleep},
};

use super::audience::Behind;
use crate::session::{Session, share_woken_task};

/// More shards than this would only share the same processors.
const SHARDS_MAX: usize = 4;
/// How long a shard rests after a busy round.
const REST: Duration = Duration::from_millis(1);
/// After so many writes a shard lets others run.
const TURN: usize = 16;
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
    /// Lists for the next round, with their memory.
    spare: Mutex<Vec<Vec<Arc<Session>>>>,
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
            spare: Mutex::default(),
        }
    }

    /// Begins to gather those who have to be written for.
    pub(super) fn round(&self, bytes: usize) -> Round<'_> {
        let mut found = std::mem::take(&mut *self.spare.lock());
        found.resize_with(self.shards.len(), Vec::new);
        Round { fanout: self, bytes, found }
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

/// One message's members who have to be written for, by shard.
pub(super) struct Round<'a> {
    fanout: &'a Fanout,
    bytes: usize,
    found: Vec<Vec<Arc<Session>>>,
}

impl Round<'_> {
    /// Leaves a member to its shard.
    pub(super) fn add(&mut self, number: u64, session: &Arc<Session>) {
        let shard = usize::try_from(number).unwrap_or(0) % self.found.len();
        self.found[shard].push(Arc::clone(session));
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        for (shard, found) in self.fanout.shards.iter().zip(&mut self.found) {
            shard.leave(self.bytes, found);
        }
        *self.fanout.spare.lock() = std::mem::take(&mut self.found);
    }
}

impl Shard {
    /// Takes over members who have to be written for.
    fn leave(self: &Arc<Self>, bytes: usize, members: &mut Vec<Arc<Session>>) {
        let mut due = self.due.lock();
        due.messages += 1;
        due.bytes += bytes;
        due.sessions.append(members);
        if due.sessions.is_empty() || due.running {
            return;
        }
        // Outside of a runtime the emitter writes itself.
        let Ok(runtime) = Handle::try_current() else {
            drop(due);
            drop(Writing { shard: Arc::clone(self), sessions: Vec::new() });
            return;
        };
        due.running = true;
        drop(due);
        runtime.spawn(run(Arc::clone(self)));
        share_woken_task();
    }
}

/// A shard's task. It ends when there is nothing to write, so that a quiet server has none.
async fn run(shard: Arc<Shard>) {
    let mut round = Writing { shard, sessions: Vec::new() };
    loop {
        let messages = round.begin();
        if round.sessions.is_empty() {
            return;
        }
        let mut written = 0;
        while let Some(session) = round.sessions.pop() {
            session.flush_for_others();
            written += 1;
            // An emitter on this thread goes on, so that those who come later are written more at once.
            if written % TURN == 0 {
                yield_now().await;
            }
        }
        round.shard.written.notify_waiters();
        if messages > 1 {
            sleep(REST).await;
        } else {
            yield_now().await;
        }
    }
}

/// A shard's round of writing.
struct Writing {
    shard: Arc<Shard>,
    sessions: Vec<Arc<Session>>,
}

impl Writing {
    /// Takes what is due, and gives the number of messages since the last round.
    fn begin(&mut self) -> usize {
        let mut due = self.shard.due.lock();
        std::mem::swap(&mut due.sessions, &mut self.sessions);
        due.bytes = 0;
        due.running = !self.sessions.is_empty();
        std::mem::take(&mut due.messages)
    }
}

/// The task may stop at any time, with the runtime of the emitter that started it: the next emitter starts another, and
/// nobody waits for this one.
impl Drop for Writing {
    fn drop(&mut self) {
        let due = {
            let mut due = self.shard.due.lock();
            due.running = false;
            std::mem::take(&mut due.sessions)
        };
        for session in self.sessions.drain(..).chain(due) {
            session.flush_for_others();
        }
        self.shard.written.notify_waiters();
    }
}
