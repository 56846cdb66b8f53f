//! Writing for many: an emit to a room costs an entry in a log per shard, not a copy and a wake per member.
//!
//! The shards, a few tasks, own the members. Each takes all that is new in its log, gives it to its members, and tries one
//! write for each. After a round that found more than one message a shard rests for a millisecond, in which more may be
//! gathered; a lone message never waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::Notify,
    task::{coop::consume_budget, yield_now},
    time::sleep,
};

use super::{
    behind::Behind,
    roster::{Roster, shard_of},
};
use crate::{
    clock::now,
    session::{Callee, Log, Run, Session, Taken, share_woken_task},
};

/// More shards than this would only share the same processors.
const SHARDS_MAX: usize = 4;
/// How long a shard rests after a busy round.
const REST: Duration = Duration::from_millis(1);
/// After so many writes a shard lets others run: an emitter on its thread, for one.
const TURN: usize = 32;
/// After so many members who have only been given something, which takes less.
const LONG_TURN: usize = 256;
/// So many bytes may be in a log before emitters wait for its shard; less where little may wait for a member.
const LOG_MAX: usize = 256 * 1024;

/// The shards of a server.
pub(super) struct Fanout {
    shards: Vec<Arc<Shard>>,
    /// What has been emitted since an emitter last looked how its members do.
    emitted: AtomicUsize,
    log_limit: usize,
    /// Lists for the next question's round, with their memory.
    spare: Mutex<Vec<Vec<Arc<Session>>>>,
}

#[derive(Default)]
struct Shard {
    log: Arc<Log>,
    due: Mutex<Due>,
    /// A round has ended.
    written: Notify,
}

/// What a shard has to do.
#[derive(Default)]
struct Due {
    /// Those who have been asked, and have to be written for.
    asked: Vec<Arc<Session>>,
    questions: usize,
    running: bool,
    /// Who has not kept up in the last round.
    behind: Behind,
}

impl Fanout {
    /// `queue` is how many bytes may wait for each member.
    pub(super) fn new(queue: usize) -> Self {
        let shards = thread::available_parallelism().map_or(1, usize::from).min(SHARDS_MAX);
        Self {
            shards: (0..shards).map(|_| Arc::default()).collect(),
            emitted: AtomicUsize::new(0),
            log_limit: LOG_MAX.min(queue / 8).max(1),
            spare: Mutex::default(),
        }
    }

    /// How many there are.
    pub(super) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// The log that the socket with this number follows.
    pub(super) fn log(&self, number: u64) -> Arc<Log> {
        Arc::clone(&self.shards[shard_of(number, self.shards.len())].log)
    }

    /// Waits until there is room in the logs.
    pub(super) async fn room(&self) {
        for shard in &self.shards {
            loop {
                let mut written = std::pin::pin!(shard.written.notified());
                written.as_mut().enable();
                if shard.log.bytes() < self.log_limit {
                    break;
                }
                written.await;
            }
        }
    }

    /// Puts a message into the logs.
    pub(super) fn emit(&self, callee: Callee<'_>, frame: &Bytes, roster: &Roster) {
        for (shard, members) in self.shards.iter().zip(roster.shards()) {
            if !members.is_empty() {
                shard.log.push(frame.clone(), callee, Arc::clone(members));
                shard.begin();
            }
        }
    }

    /// Slows a loop of emits down to what healthy members take.
    pub(super) async fn pace(&self, bytes: usize) {
        if Handle::try_current().is_err() {
            return;
        }
        // A loop that never waits would keep its thread from everyone else.
        consume_budget().await;
        if self.emitted.fetch_add(bytes, Ordering::Relaxed) + bytes < self.log_limit {
            return;
        }
        self.emitted.store(0, Ordering::Relaxed);
        let mut behind = Behind::default();
        for shard in &self.shards {
            behind.add(std::mem::take(&mut shard.due.lock().behind));
        }
        behind.wait().await;
    }

    /// Begins to gather those who are asked something.
    pub(super) fn round(&self) -> Round<'_> {
        let mut found = std::mem::take(&mut *self.spare.lock());
        found.resize_with(self.shards.len(), Vec::new);
        Round { fanout: self, found }
    }
}

/// One question's members who have to be written for, by shard.
pub(super) struct Round<'a> {
    fanout: &'a Fanout,
    found: Vec<Vec<Arc<Session>>>,
}

impl Round<'_> {
    /// Leaves a member to its shard.
    pub(super) fn add(&mut self, number: u64, session: &Arc<Session>) {
        let shard = shard_of(number, self.found.len());
        self.found[shard].push(Arc::clone(session));
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        for (shard, found) in self.fanout.shards.iter().zip(&mut self.found) {
            if !found.is_empty() {
                shard.ask(found);
            }
        }
        *self.fanout.spare.lock() = std::mem::take(&mut self.found);
    }
}

impl Shard {
    /// Takes over those who have been asked something.
    fn ask(self: &Arc<Self>, members: &mut Vec<Arc<Session>>) {
        let mut due = self.due.lock();
        due.questions += 1;
        due.asked.append(members);
        drop(due);
        self.begin();
    }

    /// Sees to it that somebody does what there is to do.
    fn begin(self: &Arc<Self>) {
        if std::mem::replace(&mut self.due.lock().running, true) {
            return;
        }
        let writing = Writing { shard: Arc::clone(self), runs: Vec::new(), sessions: Vec::new(), ended: false };
        // Outside of a runtime the emitter writes itself, by dropping it.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(writing.run());
            share_woken_task();
        }
    }
}

/// What a shard does. Should its task be stopped, with the runtime of the emitter that started it, all is done at once:
/// the next emitter starts another, and nobody waits for this one.
struct Writing {
    shard: Arc<Shard>,
    runs: Vec<Run>,
    /// Those who have to be written for.
    sessions: Vec<Arc<Session>>,
    /// There was nothing left to do. Another task may have begun since.
    ended: bool,
}

impl Writing {
    /// It ends when there is nothing to do, so that a quiet server has no such task.
    async fn run(mut self) {
        while let Some(messages) = self.begin() {
            let mut behind = Behind::default();
            for run in &self.runs {
                for members in run.members().chunks(LONG_TURN) {
                    hear(run, members, &mut self.sessions, &mut behind);
                    yield_now().await;
                }
            }
            self.end(behind);
            let mut turn = 0;
            while let Some(session) = self.sessions.pop() {
                session.flush_for_others();
                turn += 1;
                if turn % TURN == 0 {
                    yield_now().await;
                }
            }
            self.shard.written.notify_waiters();
            if messages > 1 {
                sleep(REST).await;
            } else {
                yield_now().await;
            }
        }
    }

    /// Takes what is to be done, and says of how many messages it is.
    fn begin(&mut self) -> Option<usize> {
        let mut due = self.shard.due.lock();
        std::mem::swap(&mut due.asked, &mut self.sessions);
        self.ended = self.sessions.is_empty() && self.shard.log.is_empty();
        due.running = !self.ended;
        let questions = std::mem::take(&mut due.questions);
        drop(due);
        if self.ended {
            return None;
        }
        self.runs = self.shard.log.runs();
        Some(questions + self.runs.iter().map(Run::len).sum::<usize>())
    }

    /// All members have been given what was new.
    fn end(&mut self, behind: Behind) {
        let runs = std::mem::take(&mut self.runs);
        self.shard.log.forget(&runs);
        self.shard.due.lock().behind = behind;
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        while !self.ended {
            for run in &self.runs {
                hear(run, run.members(), &mut self.sessions, &mut Behind::default());
            }
            self.end(Behind::default());
            self.sessions.drain(..).for_each(|session| session.flush_for_others());
            self.begin();
        }
        self.shard.written.notify_waiters();
    }
}

/// Gives members what is new to them.
fn hear(run: &Run, members: &[(u64, Arc<Session>)], write: &mut Vec<Arc<Session>>, behind: &mut Behind) {
    let now = now();
    for (_, session) in members {
        let (needs_write, taken) = session.hear(now, run);
        if needs_write {
            write.push(Arc::clone(session));
        }
        match taken {
            Taken::Well => behind.keep_up += 1,
            Taken::Behind => behind.sessions.push(Arc::clone(session)),
            Taken::Spared | Taken::Lost => {}
        }
    }
}
