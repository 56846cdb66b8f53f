//! A session: what two peers have in common, whichever connection carries it.
//!
//! Callers and handlers use it from any thread; its [`Driver`] reads, dispatches and keeps time. The protocol's state
//! is under one short lock, which is never held while a user's code runs.

mod dispatch;
mod driver;
mod ending;
mod sending;
mod waiting;
mod writer;

use std::{
    any::Any,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::Instant,
};

use parking_lot::{Mutex, RwLock};
use slab::Slab;
use tokio::{sync::Notify, task::AbortHandle};
use tokio_util::sync::CancellationToken;

pub(crate) use self::{driver::Driver, sending::Taken};
use self::{ending::Hook, waiting::WaitSlot, writer::Writer};
use crate::{
    ask::Member,
    disconnect_reason::DisconnectReason,
    handshake::Accepted,
    limits::Limits,
    proto::{Core, Frame, Grant, Side},
    routes::Routes,
    server::{Identity, Socket, WeakSocket},
    transport::Transmit,
};

/// Who waits for an answer.
pub(crate) enum Consumer {
    /// The future of a call, by its slot.
    Caller(usize),
    /// A question to an audience.
    Member(Member),
}

/// What the session's users share under its lock.
struct State {
    core: Core<Consumer, AbortHandle>,
    waiting: Slab<WaitSlot>,
    /// The driver dispatches a batch, and writes when it is through.
    dispatching: bool,
    /// The driver has been asked to write.
    flush_requested: bool,
    /// Emits that wait for room; others must not overtake them.
    emits_waiting: usize,
    /// Replies that wait for room.
    replies_waiting: usize,
    /// Until when the driver sleeps.
    armed: Option<Instant>,
    driver: Waker,
    /// Calls from the peer may be dispatched.
    ready: bool,
    /// How this side wants to end the session.
    closing: Option<DisconnectReason>,
    hooks: Vec<Hook>,
}

/// What two peers have in common.
pub(crate) struct Session {
    state: Mutex<State>,
    writer: Mutex<Writer>,
    /// The writer waits for the connection; only the driver tries again.
    write_blocked: AtomicBool,
    routes: RwLock<Routes>,
    /// Changes with every change of the routes.
    routes_version: std::sync::atomic::AtomicU64,
    /// What the server, or the client's builder, serves for every session.
    shared_routes: Arc<Routes>,
    limits: Arc<Limits>,
    /// Wakes those who wait for room.
    room: Notify,
    /// Orders the emits that wait for room.
    emit_turn: tokio::sync::Mutex<()>,
    /// The server has finished its `connected`.
    connected: Notify,
    /// The client has heard that the server goes away.
    drained: AtomicBool,
    /// Wakes who waits for the session to become idle.
    settled: Notify,
    ended: CancellationToken,
    reason: OnceLock<DisconnectReason>,
    /// The socket of a server's session, as a [`WeakSocket`] of the server's identity.
    socket: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("reason", &self.reason.get()).finish_non_exhaustive()
    }
}

impl Session {
    /// A session that calls nothing and dispatches nothing yet. `ready` says whether calls may come in at once.
    pub(crate) fn new(
        side: Side,
        transmitter: Box<dyn Transmit>,
        accepted: Accepted,
        limits: Arc<Limits>,
        shared_routes: Arc<Routes>,
        ready: bool,
    ) -> Arc<Self> {
        let window = Grant { calls: limits.calls_in_flight, bytes: limits.bytes_in_flight };
        let queue = limits.outgoing_queue as usize;
        Arc::new(Self {
            state: Mutex::new(State {
                core: Core::new(side, accepted.window, accepted.max_frame, window, queue),
                waiting: Slab::new(),
                dispatching: false,
                flush_requested: false,
                emits_waiting: 0,
                replies_waiting: 0,
                armed: None,
                driver: Waker::noop().clone(),
                ready,
                closing: None,
                hooks: Vec::new(),
            }),
            writer: Mutex::new(Writer::new(transmitter)),
            write_blocked: AtomicBool::new(false),
            routes: RwLock::new(Routes::new(limits.names_per_peer as usize)),
            routes_version: std::sync::atomic::AtomicU64::new(0),
            shared_routes,
            limits,
            room: Notify::new(),
            emit_turn: tokio::sync::Mutex::new(()),
            connected: Notify::new(),
            drained: AtomicBool::new(false),
            settled: Notify::new(),
            ended: CancellationToken::new(),
            reason: OnceLock::new(),
            socket: OnceLock::new(),
        })
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Changes what this side serves or listens to. The driver looks handlers up anew.
    pub(crate) fn change_routes<T>(&self, change: impl FnOnce(&mut Routes) -> T) -> T {
        let mut routes = self.routes.write();
        let result = change(&mut routes);
        // A session that has ended hears nothing more, and must not keep handlers alive.
        if self.reason.get().is_some() {
            *routes = Routes::new(0);
        }
        self.routes_version.fetch_add(1, Ordering::Release);
        result
    }

    /// Says whose session this is.
    pub(crate) fn set_socket<I: Identity>(&self, socket: WeakSocket<I>) {
        // There is one socket to a session, set before anybody can look.
        let _ = self.socket.set(Box::new(socket));
    }

    pub(crate) fn socket<I: Identity>(&self) -> Option<Socket<I>> {
        self.socket.get()?.downcast_ref::<WeakSocket<I>>()?.upgrade()
    }

    /// The server's `connected` has finished: the peer's calls may come in.
    pub(crate) fn open_gate(&self) {
        let mut state = self.state.lock();
        state.ready = true;
        // Calls may be held already.
        state.driver.wake_by_ref();
        state.core.control(Frame::Ready, "");
        self.after_queueing(state, true);
    }

    /// A client's `connected` has set its listeners: the server's calls may come in.
    pub(crate) fn open_client_gate(&self) {
        self.state.lock().ready = true;
    }

    /// Waits until the server's `connected` has finished, or the session has ended.
    pub(crate) async fn until_connected(&self) -> Result<(), DisconnectReason> {
        tokio::select! {
            biased;
            () = self.connected.notified() => Ok(()),
            reason = self.disconnected() => Err(reason),
        }
    }
}
