//! The room of `ideal`. The members are divided among a few tasks, which are the shards.
//!
//! A shard receives each message once. In each round, the shard appends all received messages to
//! the buffer of each member, and tries to write once. After a round with several messages, the
//! shard pauses for a millisecond, so that messages accumulate. A single message is never delayed.
//!
//! Within a round, a shard yields periodically, because there are as many shards as processors, and
//! the emitter can run only when a shard yields. Without these yields, the shards would write a
//! message to all members before the emitter can send the next message. So each round would contain
//! a single message.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::{runtime::Handle, sync::mpsc, task::yield_now, time::sleep};

use super::connection::{MAX_UNWRITTEN, Sender};

const PAUSE: Duration = Duration::from_millis(1);
/// Maximum number of writes before a shard yields to other tasks.
const WRITES_PER_YIELD: usize = 32;
/// The capacity of a shard's queue, in messages.
const QUEUE: usize = 8 << 10;

enum Command {
    Join(Sender),
    Frame(Bytes),
}

pub struct Shards {
    shards: Vec<mpsc::Sender<Command>>,
    members: AtomicUsize,
}

impl Shards {
    pub fn start() -> Self {
        let start = |_| {
            let (sender, commands) = mpsc::channel(QUEUE);
            tokio::spawn(run(commands));
            sender
        };
        Self {
            shards: (0..Handle::current().metrics().num_workers()).map(start).collect(),
            members: AtomicUsize::new(0),
        }
    }

    pub fn join(&self, member: Sender) -> Result<()> {
        let number = self.members.fetch_add(1, Ordering::Relaxed);
        let shard = &self.shards[number % self.shards.len()];
        shard.try_send(Command::Join(member)).ok().context("the queue of the shard is full")
    }

    pub fn members(&self) -> usize {
        self.members.load(Ordering::Relaxed)
    }

    /// Sends an encoded frame to all members.
    pub async fn send(&self, frame: Bytes) -> Result<()> {
        for shard in &self.shards {
            shard.send(Command::Frame(frame.clone())).await?;
        }
        Ok(())
    }
}

async fn run(mut commands: mpsc::Receiver<Command>) {
    let (mut members, mut pending) = (Vec::new(), Vec::new());
    while let Some(first) = commands.recv().await {
        let mut messages = 0;
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Frame(frame) => {
                    pending.extend_from_slice(&frame);
                    messages += 1;
                }
                Command::Join(member) => {
                    // The shard first delivers the earlier messages, because the new member must
                    // not receive them.
                    deliver(&mut members, &mut pending).await;
                    members.push(member);
                }
            }
            next = commands.try_recv().ok();
        }
        deliver(&mut members, &mut pending).await;
        if messages > 1 {
            sleep(PAUSE).await;
        }
    }
}

/// Writes once to each member. Removes the members that have disconnected or do not read.
async fn deliver(members: &mut Vec<Sender>, pending: &mut Vec<u8>) {
    if pending.is_empty() {
        return;
    }
    let mut lost = Vec::new();
    for (index, member) in members.iter().enumerate() {
        if !push(member, pending) {
            lost.push(index);
        }
        if index % WRITES_PER_YIELD == WRITES_PER_YIELD - 1 {
            yield_now().await;
        }
    }
    for index in lost.into_iter().rev() {
        members.swap_remove(index);
    }
    pending.clear();
}

fn push(member: &Sender, bytes: &[u8]) -> bool {
    let mut outgoing = member.lock();
    outgoing.len() <= MAX_UNWRITTEN && outgoing.push(bytes).is_ok()
}
