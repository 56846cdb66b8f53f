//! Questions to a room, and the answers that have come.

use std::time::Duration;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use slab::Slab;
use tokio::{sync::oneshot, time::timeout};

use crate::payload::Order;

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct Asks {
    open: Mutex<Slab<Ask>>,
}

struct Ask {
    missing: usize,
    answers: Vec<Order>,
    done: oneshot::Sender<Vec<Order>>,
}

impl Asks {
    /// Asks so many members with `send`, which gets the question's number, and awaits their answers.
    pub async fn ask<F: Future<Output = Result<()>>>(
        &self,
        members: usize,
        send: impl FnOnce(u32) -> F,
    ) -> Result<Vec<Order>> {
        let (done, answered) = oneshot::channel();
        let key = self.open.lock().insert(Ask { missing: members, answers: Vec::with_capacity(members), done });
        send(u32::try_from(key)?).await?;
        Ok(timeout(PATIENCE, answered).await??)
    }

    pub fn answer(&self, id: u32, answer: Order) -> Result<()> {
        let mut open = self.open.lock();
        let key = id as usize;
        let ask = open.get_mut(key).context("an answer to nothing")?;
        ask.answers.push(answer);
        ask.missing -= 1;
        if ask.missing == 0 {
            let ask = open.remove(key);
            // Who asked may have given up.
            let _ = ask.done.send(ask.answers);
        }
        Ok(())
    }
}
