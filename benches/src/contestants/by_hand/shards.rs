//! The room of `loop`: a few tasks own the members. Each takes a message once, and in a round appends all that it has
//! taken to each member's buffer and tries one write. After a round that found more than one message it rests for a
//! millisecond, in which more gather; a lone message never waits.
//!
//! Within a round a shard lets others run now and then. Where there are as many shards as processors, they would else
//! keep the emitter from running until each message was written, and every message would be a lone one.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::{runtime::Handle, sync::mpsc, task::yield_now, time::sleep};

use super::connection::{MOST_WAITING, Sender};

const REST: Duration = Duration::from_millis(1);
/// After so many writes others may run.
const TURN: usize = 32;
/// How many messages may wait for a shard.
const MESSAGES: usize = 8 << 10;

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
            let (sender, commands) = mpsc::channel(MESSAGES);
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
        shard.try_send(Command::Join(member)).ok().context("the room is too busy to be joined")
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
                    // What was sent before is not for it.
                    deliver(&mut members, &mut pending).await;
                    members.push(member);
                }
            }
            next = commands.try_recv().ok();
        }
        deliver(&mut members, &mut pending).await;
        if messages > 1 {
            sleep(REST).await;
        }
    }
}

/// One write for each member; those who have gone, or do not read, are members no longer.
async fn deliver(members: &mut Vec<Sender>, pending: &mut Vec<u8>) {
    if pending.is_empty() {
        return;
    }
    let mut lost = Vec::new();
    for (index, member) in members.iter().enumerate() {
        if !push(member, pending) {
            lost.push(index);
        }
        if index % TURN == TURN - 1 {
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
    outgoing.len() <= MOST_WAITING && outgoing.push(bytes).is_ok()
}
