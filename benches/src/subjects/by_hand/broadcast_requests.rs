//! Requests to a room, and their replies.

use std::time::Duration;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use slab::Slab;
use tokio::{sync::oneshot, time::timeout};

use crate::payload::Order;

const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct BroadcastRequests {
    pending: Mutex<Slab<Pending>>,
}

struct Pending {
    missing: usize,
    replies: Vec<Order>,
    done: oneshot::Sender<Vec<Order>>,
}

impl BroadcastRequests {
    /// Sends a request with `send`, and waits for the replies of all members. The method passes the
    /// ID of the request to `send`.
    pub async fn request<F: Future<Output = Result<()>>>(
        &self,
        members: usize,
        send: impl FnOnce(u32) -> F,
    ) -> Result<Vec<Order>> {
        let (done, completed) = oneshot::channel();
        let key = self.pending.lock().insert(Pending { missing: members, replies: Vec::with_capacity(members), done });
        send(u32::try_from(key)?).await?;
        Ok(timeout(TIMEOUT, completed).await??)
    }

    /// Adds a reply to a request. If the reply is the last, the method completes the request.
    pub fn add_reply(&self, id: u32, reply: Order) -> Result<()> {
        let mut pending = self.pending.lock();
        let key = id as usize;
        let request = pending.get_mut(key).context("a reply to an unknown request")?;
        request.replies.push(reply);
        request.missing -= 1;
        if request.missing == 0 {
            let request = pending.remove(key);
            // The caller may have cancelled the request.
            let _ = request.done.send(request.replies);
        }
        Ok(())
    }
}
