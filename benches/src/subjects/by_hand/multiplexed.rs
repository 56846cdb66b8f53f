//! The subject `multiplexed`. It has the server of `ideal`, and a client in which each call is a
//! separate future.
//!
//! All calls are encoded into a common buffer, under a short lock. The ID of a call is the index of
//! the call's slot. The slot holds the call's waker, and later the call's reply. The driver's task
//! reads the replies. After the encoding of a call, the call decides which task writes the buffer:
//!
//! - If the call is the only call in flight, it writes the buffer itself. It does not wait for
//!   another task.
//! - If the buffer is large, the call also writes the buffer itself.
//! - Otherwise the call wakes the driver's task. This task first wakes itself once more, so that it
//!   runs after all other ready tasks. Then a single write contains the calls of all these tasks.

use std::{
    future::poll_fn,
    mem,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use parking_lot::Mutex;
use slab::Slab;
use tokio::{net::TcpStream, sync::Notify, task::JoinSet};

use super::{
    connection::Server,
    frame::{Kind, put_frame},
    ideal,
    incoming::Incoming,
    outgoing::Outgoing,
};
use crate::{
    counter::{Counter, Member},
    payload::Order,
    subject::Subject,
    workloads::Workload,
};

/// Minimum number of buffered bytes for which a caller writes the buffer itself.
const WRITE_THRESHOLD: usize = 4 << 10;
/// The limit of unwritten bytes. Beyond this limit, emits wait.
const MAX_UNWRITTEN: usize = 64 << 10;

pub struct Multiplexed;

impl Subject for Multiplexed {
    const NAME: &'static str = "multiplexed";
    type Client = Arc<Client>;
    type Server = Arc<Server>;

    fn supports(workload: Workload) -> bool {
        use Workload::{BackgroundLoad, Connect, Emit, FanIn, Latency, Pipeline64, Pipeline512};
        matches!(workload, Latency | Pipeline64 | Pipeline512 | FanIn | Emit | Connect | BackgroundLoad)
    }

    async fn serve(emits: Arc<Counter>) -> Result<(SocketAddr, Arc<Server>)> {
        ideal::serve(emits).await
    }

    async fn connect(address: SocketAddr, _: Arc<Member>) -> Result<Arc<Client>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Arc::new(Client::new(stream)))
    }

    async fn echo(client: &Arc<Client>, order: Order) -> Result<Order> {
        client.shared.echo(&order).await
    }

    async fn emit(client: &Arc<Client>, emits: u64) -> Result<()> {
        for id in 0..emits {
            client.shared.emit(&Order::new(id)).await?;
        }
        Ok(())
    }
}

pub struct Client {
    shared: Arc<Shared>,
    /// The driver's task. The task ends when the client is dropped.
    _task: JoinSet<()>,
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        let (read, write) = stream.into_split();
        let state = State { outgoing: Outgoing::new(write), slots: Slab::new(), write_requested: false, closed: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), capacity: Notify::new() });
        let mut driver = Driver {
            incoming: Incoming::new(read),
            shared: Arc::clone(&shared),
            yielded: false,
            replies: Vec::new(),
            wakers: Vec::new(),
        };
        let mut task = JoinSet::new();
        task.spawn(async move {
            // Whatever ended the connection, callers are notified of the end.
            let _ = poll_fn(|cx| driver.poll(cx)).await;
            driver.shared.close();
        });
        Self { shared, _task: task }
    }
}

struct Shared {
    state: Mutex<State>,
    /// Notified when the number of unwritten bytes has decreased.
    capacity: Notify,
}

struct State {
    outgoing: Outgoing,
    slots: Slab<Slot>,
    /// `true` if a caller has woken the driver so that the driver writes.
    write_requested: bool,
    closed: bool,
}

enum Slot {
    Waiting(Waker),
    Replied(Order),
    /// The caller has cancelled the call.
    Cancelled,
}

impl Shared {
    async fn echo(self: &Arc<Self>, order: &Order) -> Result<Order> {
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let mut call = {
            let mut state = self.state.lock();
            ensure!(!state.closed, "the connection is closed");
            let slot = state.slots.insert(Slot::Waiting(waker));
            put_frame(state.outgoing.buffer(), Kind::Echo, u32::try_from(slot)?, order)?;
            state.schedule_write(true)?;
            Call { shared: self, slot, state: Progress::New }
        };
        poll_fn(|cx| call.poll(cx)).await
    }

    async fn emit(&self, order: &Order) -> Result<()> {
        loop {
            {
                let mut state = self.state.lock();
                ensure!(!state.closed, "the connection is closed");
                if state.outgoing.len() < MAX_UNWRITTEN {
                    put_frame(state.outgoing.buffer(), Kind::Emit, 0, order)?;
                    return state.schedule_write(false);
                }
            }
            self.capacity.notified().await;
        }
    }

    fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        for (_, slot) in &mut state.slots {
            if let Slot::Waiting(waker) = slot {
                waker.wake_by_ref();
            }
        }
        self.capacity.notify_waiters();
    }
}

impl State {
    /// Writes the buffer, or requests that the driver writes the buffer.
    fn schedule_write(&mut self, is_call: bool) -> Result<()> {
        let is_alone = is_call && self.slots.len() == 1 && !self.write_requested;
        if is_alone || self.outgoing.len() >= WRITE_THRESHOLD {
            self.outgoing.flush()?;
        } else if !self.write_requested {
            self.write_requested = true;
            self.outgoing.waker().wake_by_ref();
        }
        Ok(())
    }
}

/// A call in flight.
struct Call<'a> {
    shared: &'a Shared,
    slot: usize,
    state: Progress,
}

#[derive(PartialEq, Eq)]
enum Progress {
    /// The call has not been polled. The first poll always returns pending, without a check for the
    /// reply. No wake-up is lost: the slot has contained the caller's waker since the call was
    /// sent. So the reply wakes the caller even if it arrived before the first poll.
    New,
    Polled,
    Done,
}

impl Call<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Order>> {
        if self.state == Progress::New {
            self.state = Progress::Polled;
            return Poll::Pending;
        }
        let mut state = self.shared.state.lock();
        let closed = state.closed;
        if let Some(Slot::Waiting(waker)) = state.slots.get_mut(self.slot) {
            if closed {
                return Poll::Ready(Err(anyhow!("the connection is closed")));
            }
            waker.clone_from(cx.waker());
            return Poll::Pending;
        }
        self.state = Progress::Done;
        match state.slots.remove(self.slot) {
            Slot::Replied(order) => Poll::Ready(Ok(order)),
            Slot::Waiting(_) | Slot::Cancelled => Poll::Ready(Err(anyhow!("the slot is not of this call"))),
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if self.state != Progress::Done {
            let mut state = self.shared.state.lock();
            if let Some(Slot::Replied(_)) = state.slots.get(self.slot) {
                state.slots.remove(self.slot);
            } else {
                // The reply will free the slot when it arrives.
                state.slots[self.slot] = Slot::Cancelled;
            }
        }
    }
}

/// The task that drives the connection.
struct Driver {
    incoming: Incoming,
    shared: Arc<Shared>,
    /// `true` after the driver has woken itself. The driver then writes in its next poll.
    yielded: bool,
    /// The replies that a single read has returned.
    replies: Vec<(usize, Order)>,
    /// The wakers of the callers that wait for these replies.
    wakers: Vec<Waker>,
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.write(cx)?;
        loop {
            let Self { incoming, replies, .. } = self;
            let open = ready!(incoming.poll_frames(cx, |received| {
                let frame = received.expect_small()?;
                ensure!(frame.kind == Kind::Reply, "unexpected {:?} to a client", frame.kind);
                replies.push((frame.id as usize, frame.decode()?));
                Ok(())
            }))?;
            if !open {
                return Poll::Ready(Ok(()));
            }
            self.store_replies()?;
            self.wakers.drain(..).for_each(Waker::wake);
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<()> {
        let mut state = self.shared.state.lock();
        state.outgoing.set_waker(cx.waker());
        if state.write_requested && !mem::replace(&mut self.yielded, true) {
            cx.waker().wake_by_ref();
            return Ok(());
        }
        self.yielded = false;
        state.write_requested = false;
        if state.outgoing.poll_flush(cx)?.is_ready() {
            self.shared.capacity.notify_waiters();
        }
        Ok(())
    }

    /// Moves the replies to the slots of their calls.
    fn store_replies(&mut self) -> Result<()> {
        let mut state = self.shared.state.lock();
        for (id, reply) in self.replies.drain(..) {
            let slot = state.slots.get_mut(id).context("a reply to an unknown call")?;
            match mem::replace(slot, Slot::Replied(reply)) {
                Slot::Waiting(waker) => self.wakers.push(waker),
                Slot::Replied(_) => bail!("a second reply"),
                Slot::Cancelled => drop(state.slots.remove(id)),
            }
        }
        Ok(())
    }
}
