//! `multiplexed`: the server of `loop`, under a client in which every call is a future of its own.
//!
//! Calls encode into one buffer under a short lock. A call's number is the place of its slot, which has its waker and
//! then its reply. One task reads and writes, but who writes is decided by each call:
//!
//! - If it is the only one in flight it writes itself, and nobody waits for anybody.
//! - If much has gathered it writes too.
//! - Otherwise it wakes the task, which wakes itself again, to the back of the queue of tasks that can run: so all others
//!   make their calls first, and one write takes them all.

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
    incoming::Incoming,
    outgoing::Outgoing,
    the_loop,
};
use crate::{
    contestant::Contestant,
    counter::{Counter, Member},
    payload::Order,
    workloads::Workload,
};

/// From so many bytes on a caller writes.
const MUCH: usize = 4 << 10;
/// An emit waits while more is to be written.
const MOST_WAITING: usize = 64 << 10;

pub struct Multiplexed;

impl Contestant for Multiplexed {
    const NAME: &'static str = "multiplexed";
    type Client = Arc<Client>;
    type Server = Arc<Server>;

    fn does(workload: Workload) -> bool {
        use Workload::{Connect, Emit, FanIn, Latency, Pipeline64, Pipeline512, Quiet};
        matches!(workload, Latency | Pipeline64 | Pipeline512 | FanIn | Emit | Connect | Quiet)
    }

    async fn serve(emits: Arc<Counter>) -> Result<(SocketAddr, Arc<Server>)> {
        the_loop::serve(emits).await
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
    /// Ends with the client.
    _task: JoinSet<()>,
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        let (read, write) = stream.into_split();
        let state = State { outgoing: Outgoing::new(write), slots: Slab::new(), due: false, closed: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), room: Notify::new() });
        let mut driver = Driver {
            incoming: Incoming::new(read),
            shared: Arc::clone(&shared),
            at_the_back: false,
            replies: Vec::new(),
            wakers: Vec::new(),
        };
        let mut task = JoinSet::new();
        task.spawn(async move {
            // Whatever ended the connection, the callers learn that it has.
            let _ = poll_fn(|cx| driver.poll(cx)).await;
            driver.shared.close();
        });
        Self { shared, _task: task }
    }
}

struct Shared {
    state: Mutex<State>,
    /// Less waits to be written than before.
    room: Notify,
}

struct State {
    outgoing: Outgoing,
    slots: Slab<Slot>,
    /// The task has been woken to write.
    due: bool,
    closed: bool,
}

enum Slot {
    Waiting(Waker),
    Replied(Order),
    /// The caller has gone away.
    Abandoned,
}

impl Shared {
    async fn echo(self: &Arc<Self>, order: &Order) -> Result<Order> {
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let mut call = {
            let mut state = self.state.lock();
            ensure!(!state.closed, "the connection is closed");
            let slot = state.slots.insert(Slot::Waiting(waker));
            put_frame(state.outgoing.buffer(), Kind::Echo, u32::try_from(slot)?, order)?;
            state.after_encoding(true)?;
            Call { shared: self, slot, state: Progress::New }
        };
        poll_fn(|cx| call.poll(cx)).await
    }

    async fn emit(&self, order: &Order) -> Result<()> {
        loop {
            {
                let mut state = self.state.lock();
                ensure!(!state.closed, "the connection is closed");
                if state.outgoing.len() < MOST_WAITING {
                    put_frame(state.outgoing.buffer(), Kind::Emit, 0, order)?;
                    return state.after_encoding(false);
                }
            }
            self.room.notified().await;
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
        self.room.notify_waiters();
    }
}

impl State {
    /// Decides who writes.
    fn after_encoding(&mut self, call: bool) -> Result<()> {
        let alone = call && self.slots.len() == 1 && !self.due;
        if alone || self.outgoing.len() >= MUCH {
            self.outgoing.flush()?;
        } else if !self.due {
            self.due = true;
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
    /// Nothing can have come without waking the caller, so the first look is spared.
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
            Slot::Waiting(_) | Slot::Abandoned => Poll::Ready(Err(anyhow!("the slot of another call"))),
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
                // The place is free when the reply has come.
                state.slots[self.slot] = Slot::Abandoned;
            }
        }
    }
}

/// The connection's task.
struct Driver {
    incoming: Incoming,
    shared: Arc<Shared>,
    /// It has woken itself, to write when its turn comes again.
    at_the_back: bool,
    /// Of one read, and who has to be woken for them.
    replies: Vec<(usize, Order)>,
    wakers: Vec<Waker>,
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.write(cx)?;
        loop {
            let Self { incoming, replies, .. } = self;
            let open = ready!(incoming.poll_frames(cx, |received| {
                let frame = received.short()?;
                ensure!(frame.kind == Kind::Reply, "{:?} to a client", frame.kind);
                replies.push((frame.id as usize, frame.decode()?));
                Ok(())
            }))?;
            if !open {
                return Poll::Ready(Ok(()));
            }
            self.hand_over()?;
            self.wakers.drain(..).for_each(Waker::wake);
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<()> {
        let mut state = self.shared.state.lock();
        state.outgoing.set_waker(cx.waker());
        if state.due && !mem::replace(&mut self.at_the_back, true) {
            cx.waker().wake_by_ref();
            return Ok(());
        }
        self.at_the_back = false;
        state.due = false;
        if state.outgoing.poll_flush(cx)?.is_ready() {
            self.shared.room.notify_waiters();
        }
        Ok(())
    }

    /// Puts the replies in their slots.
    fn hand_over(&mut self) -> Result<()> {
        let mut state = self.shared.state.lock();
        for (id, reply) in self.replies.drain(..) {
            let slot = state.slots.get_mut(id).context("a reply to nothing")?;
            match mem::replace(slot, Slot::Replied(reply)) {
                Slot::Waiting(waker) => self.wakers.push(waker),
                Slot::Replied(_) => bail!("a second reply"),
                Slot::Abandoned => drop(state.slots.remove(id)),
            }
        }
        Ok(())
    }
}
