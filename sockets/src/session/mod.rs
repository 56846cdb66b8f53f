//! A session: what two peers have in common, whichever connection carries it.
//!
//! Callers and handlers use it from any thread; a [`Driver`](crate::driver::Driver) reads, dispatches and keeps time.
//! The protocol's state is under one short lock, which is never held while a handler, listener or hook runs or is dropped.

mod broadcast_cursor;
mod broadcast_log;
mod call;
mod call_future;
mod describe;
mod detached_bytes;
mod handler_context;
mod handler_slot;
mod inbound;
mod interceptor;
mod laggards;
mod lagging;
mod lifecycle;
mod multi_call;
mod outbound;
mod peer;
mod pending_replies;
mod resolved;
mod responder;
mod resumption;
mod routes;
mod service;
mod signatures;
mod slow;
mod state_lock;
mod stats;
mod suspended;
mod wake_list;
mod write_progress;
mod writer;

use std::{
    any::Any,
    collections::BTreeSet,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
    },
    task::Waker,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::AbortHandle;
use slab::Slab;

#[cfg(feature = "middleware")]
pub(crate) use self::interceptor::SendFn;
use self::{
    broadcast_cursor::BroadcastCursor,
    call_future::WaitSlot,
    lagging::Lag,
    lifecycle::{Closing, Hook},
    pending_replies::PendingReplies,
    resumption::ReattachState,
    signatures::Signatures,
    slow::Slowness,
    state_lock::{Recorded, StateGuard, StateLock},
    stats::Counters,
    write_progress::WriteProgress,
    writer::Writer,
};
pub(crate) use self::{
    broadcast_log::{Batch, BroadcastLog, Members},
    describe::{Described, cannot_decode, cannot_encode},
    detached_bytes::{DetachedBytes, DetachedShare},
    handler_context::{release_lifo_slot, run_hook},
    inbound::Received,
    interceptor::{Interceptor, OutgoingCall},
    laggards::Laggards,
    multi_call::{MultiCall, MultiCallSlot},
    outbound::QueuePolicy,
    resolved::Resolved,
    responder::SharedPermit,
    resumption::{Checked, Declined, ResumedConnection, SUPERSEDED},
    routes::{Routes, Subscriber},
    service::ListenerService,
    slow::{SLOW, SlowPermit},
    suspended::run_suspended,
    wake_list::WakeList,
};
pub use self::{
    call::Call,
    handler_slot::{Completed, HandlerSlot},
    peer::Peer,
    responder::Responder,
    service::Service,
    stats::Stats,
};
use crate::lock::{DroppedUnlocked, Mutex, RwLock};
use crate::{
    clock::now, disconnect_reason::DisconnectReason, handshake::PeerSettings, limits::Limits, peer_label::PeerLabel,
    registration_error::RegistrationError, transport::Transmit,
};
use sockets_proto::{Announcement, Frame, KeepAlive, Role, SessionCore, clamp_timeout};

/// Who waits for an answer.
enum Waiter {
    /// The future of a call, by its slot.
    Caller(usize),
    /// A question to an audience.
    Member(MultiCallSlot),
}

/// What the session's users share under its lock.
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
struct State {
    core: SessionCore<Waiter, AbortHandle>,
    wait_slots: Slab<WaitSlot>,
    /// How many batches have been handled since old answers were detached.
    batches: u8,
    /// What the peer serves.
    signatures: Signatures,
    /// The driver dispatches a batch, which came at this time, and writes when it is through.
    dispatching: Option<Instant>,
    /// How many bytes waited to be written when that batch began, unless somebody has begun to write them since.
    queued_before: usize,
    /// The driver has been asked to write.
    flush_requested: bool,
    /// Emits that wait for room; others must not overtake them.
    emits_waiting: usize,
    /// Replies that wait for room, once there have been any.
    replies: Option<Box<PendingReplies>>,
    /// Until when the driver sleeps.
    timer: Option<Instant>,
    driver: Waker,
    /// Calls from the peer may be dispatched.
    ready: bool,
    /// The peer has been told that this server goes away.
    going_away: bool,
    /// Calls are held until replies have been written.
    backpressured: bool,
    /// How it stands between two links.
    reattach: ReattachState,
    /// How this side wants to end the session.
    closing: Option<Box<Closing>>,
    hooks: Vec<Hook>,
    /// Up to where this session has been given what its shard's log has for it.
    cursor: u64,
    /// How it keeps up with that.
    lag: Lag,
    /// What runs when the lock has been released.
    recorded: Option<Recorded>,
}

impl State {
    /// Returns how many bytes the session holds for its peer.
    fn held(&self) -> usize {
        self.core.held_bytes() + self.pending_reply_bytes() + self.signatures.bytes()
    }

    /// Now, or a moment ago: a look at the clock for each message of a batch would be as dear as the rest of its answer.
    fn now(&self) -> Instant {
        self.dispatching.unwrap_or_else(now)
    }

    /// Makes the driver wake up in time for the earliest deadline.
    fn arm_timer(&mut self) {
        let next = self.core.next_timeout();
        if next.is_some() && self.timer.is_none_or(|armed| next < Some(armed)) {
            self.timer = next;
            self.wake_driver();
        }
    }

    /// Makes the driver wake up in time for a call that has just been made. It mostly is in time.
    fn arm_for(&mut self, timeout: Duration, now: Instant) {
        if self.core.has_pending() || self.timer.is_none_or(|armed| now + clamp_timeout(timeout) < armed) {
            self.arm_timer();
        }
    }

    /// Answers and emits that are parked have a time of their own.
    fn arm_timer_if_pending(&mut self) {
        if self.core.is_window_exhausted() {
            self.arm_timer();
        }
    }

    /// Whether calls may be started: the hook that prepares for them has ended, the peer takes its replies, and this side
    /// does not want to end.
    fn can_dispatch(&mut self) -> bool {
        let full = self.core.is_full();
        self.backpressured |= full;
        self.ready && self.closing.is_none() && !full
    }
}

/// What two peers have in common.
pub(crate) struct Session {
    state: StateLock,
    /// A concurrent [`flush`](Self::flush) leaves its messages to the holder of this lock, which flushes afterwards.
    writer: Mutex<Writer>,
    write_progress: WriteProgress,
    routes: RwLock<Routes>,
    /// Changes with every change of the routes.
    routes_version: AtomicU64,
    /// What a server serves for all its sessions.
    shared_routes: Arc<Routes>,
    /// What has been put around what is sent.
    around: Option<Arc<dyn Interceptor>>,
    limits: Arc<Limits>,
    /// The peer knows refusals after which it tries again.
    peer_retries: bool,
    /// The largest frame that the client of this session accepts, on a server.
    peer_max_frame: u32,
    counters: Counters,
    slowness: Slowness,
    /// Orders the emits that wait for room.
    emit_turn: tokio::sync::Mutex<()>,
    /// So many bytes of replies wait that handlers are held.
    reply_pressure: AtomicBool,
    /// Orders the handlers that are held.
    resuming: OnceLock<Box<tokio::sync::Mutex<()>>>,
    /// The client has heard that the server goes away.
    drained: AtomicBool,
    /// The session has ended, and its connection is closed.
    parted: AtomicBool,
    reason: OnceLock<DisconnectReason>,
    /// On a server: the log of what is said to audiences.
    following: OnceLock<BroadcastCursor>,
    /// Whose session this is: on a server, its socket.
    owner: OnceLock<Box<dyn Any + Send + Sync>>,
    _unlocked: DroppedUnlocked,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("reason", &self.reason.get()).finish_non_exhaustive()
    }
}

impl Session {
    /// A session that calls nothing and dispatches nothing yet. `theirs` is what the other side accepts, `routes` what this
    /// side serves, beside what it shares with others; `ready` says whether calls may come in at once.
    pub(crate) fn new(
        label: PeerLabel,
        transmitter: Box<dyn Transmit>,
        theirs: PeerSettings,
        limits: Arc<Limits>,
        routes: Routes,
        shared_routes: Arc<Routes>,
        ready: bool,
    ) -> Arc<Self> {
        let mut core =
            SessionCore::new(label.own_side(), limits.settings(), theirs.settings, limits.outgoing_queue as usize);
        core.set_keep_alive(KeepAlive::new(now(), limits.keep_alive(), theirs.idle_timeout, phase()));
        if let Some(keeps) = theirs.retransmit_limit {
            core.enable_resumption(limits.resume_bytes as usize, keeps as usize);
        }
        Arc::new(Self {
            state: StateLock::new(
                label,
                State {
                    core,
                    wait_slots: Slab::new(),
                    batches: 0,
                    signatures: Signatures::default(),
                    dispatching: None,
                    queued_before: 0,
                    flush_requested: false,
                    emits_waiting: 0,
                    replies: None,
                    timer: None,
                    driver: Waker::noop().clone(),
                    ready,
                    going_away: false,
                    backpressured: false,
                    reattach: ReattachState::default(),
                    closing: None,
                    hooks: Vec::new(),
                    cursor: 0,
                    lag: Lag::default(),
                    recorded: None,
                },
            ),
            writer: Mutex::new(Writer::new(transmitter)),
            write_progress: WriteProgress::default(),
            around: routes.interceptor().cloned(),
            routes: RwLock::new(routes),
            routes_version: AtomicU64::new(0),
            shared_routes,
            limits,
            peer_retries: theirs.retries,
            peer_max_frame: theirs.settings.max_frame,
            counters: Counters::default(),
            slowness: Slowness::default(),
            emit_turn: tokio::sync::Mutex::new(()),
            reply_pressure: AtomicBool::new(false),
            resuming: OnceLock::new(),
            drained: AtomicBool::new(false),
            parted: AtomicBool::new(false),
            reason: OnceLock::new(),
            following: OnceLock::new(),
            owner: OnceLock::new(),
            _unlocked: DroppedUnlocked,
        })
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn label(&self) -> PeerLabel {
        self.state.label
    }

    /// Which side of the connection this is.
    pub(crate) fn side(&self) -> Role {
        self.state.label.own_side()
    }

    /// Returns the largest frame that the client of this session accepts, on a server.
    pub(crate) fn peer_max_frame(&self) -> u32 {
        self.peer_max_frame
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.read(self.state.lock().core.dropped())
    }

    /// Says what comes before all frames of the session.
    pub(crate) fn send_server_hello(&self, welcome: Bytes) {
        let mut state = self.state.lock();
        state.core.exclude_prefix(welcome.len());
        state.core.outbox().push_exact(welcome);
    }

    /// Says what this side serves. From the beginning, this is written when the driver starts, or with what is said before.
    pub(crate) fn announce(&self, announcement: &Announcement) {
        let mut state = self.state.lock();
        if self.reason.get().is_none() {
            state.core.announce(announcement);
        }
    }

    /// Changes what this side serves or listens to under some keys. The driver looks handlers up anew, and the peer is
    /// told of signatures that have changed.
    pub(crate) fn change_routes<T>(&self, keys: &[u64], change: impl FnOnce(&mut Routes) -> T) -> T {
        let mut routes = self.routes.write();
        let before: Vec<_> = keys.iter().map(|key| routes.signature(&self.shared_routes, *key)).collect();
        let result = change(&mut routes);
        let after = keys.iter().map(|key| (*key, routes.signature(&self.shared_routes, *key)));
        let changed = after.zip(before).filter(|((_, after), before)| after != before);
        let changed = Announcement::new(changed.map(|((key, signature), _)| (key, signature.unwrap_or(0))));
        if let Some(changed) = &changed {
            // Under the routes' lock: announcements are in the order of the changes.
            self.announce(changed);
        }
        // A session that has ended hears nothing more, and must not keep handlers alive.
        let late = self.reason.get().map(|_| routes.clear());
        self.routes_version.fetch_add(1, Ordering::Release);
        drop(routes);
        // Outside of the lock, since dropping a handler runs a user's code.
        drop(late);
        if changed.is_some() {
            self.after_queueing(self.state.lock(), false);
        }
        result
    }

    /// Serves a group to this peer alone.
    fn serve(&self, service: &Arc<dyn Service>) -> Result<(), RegistrationError> {
        // What everyone is served under this path is not heard any more.
        let shadowed = self.shared_routes.keys_of(service.path());
        let keys: BTreeSet<_> = service.methods().iter().map(|method| method.key).chain(shadowed).collect();
        let keys: Vec<_> = keys.into_iter().collect();
        self.change_routes(&keys, |routes| routes.serve(Arc::clone(service)))
    }

    /// A number that changes whenever what [`resolve`](Self::resolve) gives may change.
    pub(crate) fn routes_version(&self) -> u64 {
        self.routes_version.load(Ordering::Acquire)
    }

    /// Who hears a key, and who answers it.
    pub(crate) fn resolve(self: &Arc<Self>, key: u64) -> Resolved {
        let (hearers, answerer) = self.routes.read().resolve(&self.shared_routes, key);
        Resolved::new(Arc::clone(self), hearers, answerer)
    }

    /// Describes the method that is served here under a key, for messages about it.
    pub(crate) fn describe(&self, key: u64) -> Described {
        let routes = self.routes.read();
        routes
            .describe(key)
            .or_else(|| self.shared_routes.describe(key))
            .unwrap_or(Described::Named("the method".into()))
    }

    /// Says whose session this is.
    pub(crate) fn set_owner(&self, owner: impl Any + Send + Sync) {
        // There is one owner, set before anybody can look.
        let _ = self.owner.set(Box::new(owner));
    }

    pub(crate) fn owner<T: Any>(&self) -> Option<&T> {
        self.owner.get()?.downcast_ref()
    }

    /// The server's `connected` has finished: the peer's calls may come in.
    pub(crate) fn set_ready(&self) {
        let mut state = self.state.lock();
        self.sync_broadcasts(&mut state);
        // A session that was closed meanwhile does not become ready: the client's `connect` returns the reason.
        if self.is_over(&state) {
            return;
        }
        state.ready = true;
        // Calls may be held already.
        state.wake_driver();
        state.core.send_control(Frame::Ready, "");
        self.after_queueing(state, true);
    }

    /// A client's `connected` has set its listeners: the server's calls may come in.
    pub(crate) fn set_client_ready(&self) {
        self.state.lock().ready = true;
    }

    /// Returns `true` if the server's `connected` has finished.
    pub(crate) fn is_ready(&self) -> bool {
        self.state.lock().core.peer_is_ready()
    }

    /// Waits until the server's `connected` has finished, or the session has ended.
    pub(crate) async fn until_connected(&self) -> Result<(), DisconnectReason> {
        self.wait_until(|| {
            if self.state.lock().core.peer_is_ready() { Some(Ok(())) } else { self.reason.get().cloned().map(Err) }
        })
        .await
    }

    /// Waits until `look` sees something, whenever the session has become ready or idle, or has ended.
    async fn wait_until<T>(&self, look: impl Fn() -> Option<T>) -> T {
        loop {
            let mut turned = std::pin::pin!(self.state.changed.notified());
            turned.as_mut().enable();
            if let Some(seen) = look() {
                return seen;
            }
            turned.await;
        }
    }
}

/// Where a session's heartbeats begin, as a part of the time between two: spread evenly, whatever is open at once.
fn phase() -> f32 {
    static SESSIONS: AtomicU16 = AtomicU16::new(0);
    /// 2¹⁶ divided by the golden ratio.
    const STEP: u16 = 40_503;
    f32::from(SESSIONS.fetch_add(STEP, Ordering::Relaxed)) / f32::from(u16::MAX)
}
