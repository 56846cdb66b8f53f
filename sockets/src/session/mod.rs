//! A session: the state that two peers share, over a sequence of connections.
//!
//! Callers and handlers use the session from any thread. A [`Driver`](crate::driver::Driver) reads
//! frames, starts handlers and watches deadlines. A lock protects the state of the protocol. A
//! thread holds this lock briefly. It never holds the lock while a handler, listener or hook runs
//! or is dropped.

mod call;
mod call_future;
mod describe;
mod detached_bytes;
mod detached_handlers;
mod emit_future;
mod handler_slot;
mod inbound;
mod interceptor;
#[cfg(feature = "middleware")]
mod layered_result;
mod lifecycle;
mod member;
mod multi_call;
mod outbound;
#[cfg(feature = "middleware")]
mod outgoing_call;
mod peer;
mod pending_replies;
mod reattach_state;
mod responder;
mod resumption;
mod routes;
mod signatures;
mod slow;
mod state;
mod state_lock;
mod stats;
mod suspended;
mod turn;
mod wait_slots;
mod wake_list;
mod write_progress;
mod writer;

use std::{
    any::{Any, type_name},
    collections::BTreeSet,
    panic::Location,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering},
    },
    task::Waker,
    time::Instant,
};

use bytes::Bytes;

#[cfg(feature = "middleware")]
pub(crate) use self::outgoing_call::{OutgoingCall, OutgoingTarget, SendEmit, Sending};
pub use self::{
    call::Call,
    handler_slot::{Completed, HandlerSlot},
    peer::Peer,
    responder::Responder,
    routes::Service,
    stats::Stats,
};
pub(crate) use self::{
    describe::{Described, cannot_decode, cannot_encode},
    detached_bytes::{DetachedBytes, DetachedShare},
    detached_handlers::{DetachedHandlers, DetachedPermit},
    emit_future::EmitFuture,
    inbound::{Received, Timers},
    interceptor::Interceptor,
    multi_call::{MultiCall, MultiCallSlot},
    outbound::QueuePolicy,
    responder::SharedPermit,
    resumption::{Checked, Declined, Registration, ResumedConnection, SUPERSEDED},
    routes::{GroupInfo, GroupService, ListenerService, Resolved, Routes, Subscriber},
    slow::{SLOW, SlowPermit},
    suspended::SuspendedHandler,
    turn::Turn,
    wake_list::WakeList,
};
#[cfg(feature = "middleware")]
pub(crate) use self::{handler_slot::HandlerFuture, layered_result::LayeredResult};
use self::{
    pending_replies::PendingReplies,
    reattach_state::ReattachState,
    signatures::Signatures,
    slow::Slowness,
    state::{State, Waiter},
    state_lock::{StateGuard, StateLock},
    stats::LazyCounters,
    wait_slots::WaitSlots,
    write_progress::WriteProgress,
    writer::Writer,
};
use crate::lock::{DroppedUnlocked, Mutex, RwLock};
use crate::{
    broadcast::BroadcastState,
    clock::now,
    connect_error::RegistrationError,
    disconnect_reason::DisconnectReason,
    handler_context,
    handshake::PeerSettings,
    limits::Limits,
    peer_label::PeerLabel,
    transport::{Transmit, memory_pair},
};
use sockets_proto::{Announcement, Frame, KeepAlive, Role, SessionCore};

/// A session of two peers.
pub(crate) struct Session {
    state: StateLock,
    /// The writer. If another task holds the lock of the writer, [`flush`](Self::flush) leaves its
    /// messages to that task. The other task checks for such messages after it has released the
    /// lock, and flushes again.
    writer: Mutex<Writer>,
    write_progress: WriteProgress,
    routes: RwLock<Routes>,
    /// The number of changes of the routes.
    routes_version: AtomicU64,
    /// The routes that a server shares among all its sessions.
    shared_routes: Arc<Routes>,
    /// The layers around outgoing calls, if there are any.
    #[cfg(feature = "middleware")]
    outgoing_interceptor: Option<Arc<dyn Interceptor>>,
    limits: Arc<Limits>,
    /// The peer understands refusals that ask it to retry.
    peer_retries: bool,
    /// The largest frame that the peer of a server's session accepts.
    peer_max_frame: u32,
    counters: LazyCounters,
    slowness: Slowness,
    /// The queue of the emits that wait for capacity.
    emit_queue: OnceLock<Box<tokio::sync::Mutex<()>>>,
    /// Handlers are held, since too many bytes of replies wait.
    reply_pressure: AtomicBool,
    /// The queue of the handlers that are held.
    held_handlers: OnceLock<Box<tokio::sync::Mutex<()>>>,
    /// The client has acknowledged the server's go away frame. After that, the client sends no new
    /// calls.
    peer_drained: AtomicBool,
    /// The end of the queue of pending messages, after the last message of a handler that became
    /// pending.
    pending_position: AtomicU64,
    /// The session has ended, and its connection is closed.
    is_released: AtomicBool,
    reason: OnceLock<Box<DisconnectReason>>,
    /// The detached handlers of the server. A client has `None`.
    detached_handlers: OnceLock<Arc<DetachedHandlers>>,
    /// The number of detached handlers of this session.
    detached_count: AtomicU32,
    /// The subscribers that are removed when the client starts its next session.
    temporary: Mutex<Vec<Registration>>,

    /// The owner of the session, and the name of the type of its identity. On a server, the owner
    /// is the socket.
    owner: OnceLock<(Box<dyn Any + Send + Sync>, &'static str)>,
    _unlocked: DroppedUnlocked,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("reason", &self.reason.get()).finish_non_exhaustive()
    }
}

impl Session {
    /// Creates a session that neither calls nor dispatches yet. In addition to `shared_routes`, the
    /// session serves `routes` to its peer. If `ready` is `true`, calls of the peer may start
    /// immediately.
    pub(crate) fn new(
        label: PeerLabel,
        transmitter: Box<dyn Transmit>,
        peer_settings: PeerSettings,
        limits: Arc<Limits>,
        routes: Routes,
        shared_routes: Arc<Routes>,
        ready: bool,
    ) -> Arc<Self> {
        let mut core = SessionCore::new(
            label.own_role(),
            limits.settings(),
            peer_settings.settings,
            limits.outgoing_queue as usize,
        );
        core.set_keep_alive(KeepAlive::new(now(), limits.keep_alive(), peer_settings.idle_timeout, phase()));
        if let Some(limit) = peer_settings.retransmit_limit {
            core.enable_resumption(limits.resume_bytes as usize, limit as usize);
        }
        Arc::new(Self {
            state: StateLock::new(
                label,
                State {
                    core,
                    wait_slots: WaitSlots::default(),
                    signatures: Signatures::default(),
                    dispatching: None,
                    queued_before: 0,
                    flush_requested: false,
                    emits_waiting: 0,
                    latest_waiting: 0,
                    replies: PendingReplies::default(),
                    timer: None,
                    driver: Waker::noop().clone(),
                    ready,
                    going_away: false,
                    backpressured: false,
                    reattach: ReattachState::default(),
                    closing: None,
                    abandoned: None,
                    hooks: Vec::new(),
                    broadcast: BroadcastState::new(),
                    recorded: None,
                },
            ),
            writer: Mutex::new(Writer::new(transmitter)),
            write_progress: WriteProgress::default(),
            #[cfg(feature = "middleware")]
            outgoing_interceptor: routes.interceptor().filter(|layers| layers.wraps_outgoing()).cloned(),
            routes: RwLock::new(routes),
            routes_version: AtomicU64::new(0),
            shared_routes,
            limits,
            peer_retries: peer_settings.retries,
            peer_max_frame: peer_settings.settings.max_frame,
            counters: LazyCounters::default(),
            slowness: Slowness::default(),
            emit_queue: OnceLock::new(),
            reply_pressure: AtomicBool::new(false),
            held_handlers: OnceLock::new(),
            peer_drained: AtomicBool::new(false),
            pending_position: AtomicU64::new(0),
            is_released: AtomicBool::new(false),
            reason: OnceLock::new(),
            detached_handlers: OnceLock::new(),
            detached_count: AtomicU32::new(0),
            temporary: Mutex::default(),

            owner: OnceLock::new(),
            _unlocked: DroppedUnlocked,
        })
    }

    /// Creates the session of a peer that is disconnected.
    fn ended(limits: Arc<Limits>) -> Arc<Self> {
        let peer_settings = PeerSettings {
            settings: limits.settings(),
            idle_timeout: None,
            supports_compression: false,
            retransmit_limit: None,
            retries: false,
        };
        let (routes, shared) = (Routes::default(), Arc::default());
        let transmitter = memory_pair().0.transmitter;
        let session = Self::new(PeerLabel::Server, transmitter, peer_settings, limits, routes, shared, false);
        session.end(&DisconnectReason::Closed);
        session.release();
        session
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the maximum number of names to which this session listens.
    pub(crate) fn max_names(&self) -> usize {
        self.limits.names_per_peer as usize
    }

    pub(crate) fn label(&self) -> PeerLabel {
        self.state.label
    }

    /// Returns the role of the local endpoint.
    pub(crate) fn side(&self) -> Role {
        self.state.label.own_role()
    }

    /// Adds the detached handlers of this session to those of the server.
    pub(crate) fn set_detached_handlers(&self, handlers: Arc<DetachedHandlers>) {
        // A session belongs to a single server.
        let _ = self.detached_handlers.set(handlers);
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.read(self.state.lock().core.dropped())
    }

    /// Queues the server hello, which precedes all frames of the session.
    pub(crate) fn send_server_hello(&self, hello: Bytes) {
        let mut state = self.state.lock();
        state.core.exclude_prefix(hello.len());
        state.core.send_buffer().push_exact(hello);
    }

    /// Announces the methods that this session serves. The driver writes the first announcement
    /// when it starts, or earlier together with the first message of the session.
    pub(crate) fn announce(&self, announcement: &Announcement) {
        let mut state = self.state.lock();
        if self.reason.get().is_none() {
            state.core.announce(announcement);
        }
    }

    /// Changes the routes of some keys. After the change, the driver looks up its handlers again.
    /// If signatures have changed, the session announces them to the peer.
    pub(crate) fn change_routes<T>(&self, keys: &[u64], change: impl FnOnce(&mut Routes) -> T) -> T {
        let mut routes = self.routes.write();
        let before: Vec<_> = keys.iter().map(|key| routes.signature(&self.shared_routes, *key)).collect();
        let result = change(&mut routes);
        let after = keys.iter().map(|key| (*key, routes.signature(&self.shared_routes, *key)));
        let changed = after.zip(before).filter(|((_, after), before)| after != before);
        let changed = Announcement::new(changed.map(|((key, signature), _)| (key, signature.unwrap_or(0))));
        if let Some(changed) = &changed {
            // The session announces while it holds the lock of the routes, so announcements are
            // sent in the order of the changes.
            self.announce(changed);
        }
        // A session that has ended receives no more calls, and must not keep handlers alive.
        let unused = self.reason.get().map(|_| routes.clear());
        self.routes_version.fetch_add(1, Ordering::Release);
        drop(routes);
        // The handlers are dropped without the lock, since the drop of a handler runs user code.
        drop(unused);
        if changed.is_some() {
            self.after_queueing(self.state.lock(), false);
        }
        result
    }

    /// Serves a group to this peer alone.
    #[track_caller]
    pub(crate) fn serve(&self, service: &Arc<dyn GroupService>) -> Result<(), RegistrationError> {
        let location = Location::caller();
        let (keys, max_names) = (self.keys_of(service.info()), self.max_names());
        self.change_routes(&keys, |routes| routes.serve(Arc::clone(service), location, max_names))
    }

    /// Stops serving a group to this peer alone.
    fn stop_serving(&self, group: GroupInfo) {
        let keys = self.keys_of(group);
        drop(self.change_routes(&keys, |routes| routes.stop_serving(group)));
    }

    /// Returns the keys of a group, and of the shared group with the same path, which it shadows.
    fn keys_of(&self, GroupInfo { path, methods, .. }: GroupInfo) -> Vec<u64> {
        let shadowed = self.shared_routes.keys_of(path);
        let keys: BTreeSet<_> = methods.iter().map(|method| method.key).chain(shadowed).collect();
        keys.into_iter().collect()
    }

    /// Adds the session's handler of a group that has one handler per socket.
    pub(crate) fn add_own_handler(&self, service: Arc<dyn GroupService>) {
        self.change_routes(&[], |routes| routes.add_own_handler(service));
    }

    /// Returns a number that changes whenever the result of [`resolve`](Self::resolve) may change.
    pub(crate) fn routes_version(&self) -> u64 {
        self.routes_version.load(Ordering::Acquire)
    }

    /// Returns the subscribers that handle emits of a key, and the subscriber that answers its
    /// requests.
    pub(crate) fn resolve(self: &Arc<Self>, key: u64) -> Resolved {
        let (emit_handlers, request_handler) = self.routes.read().resolve(&self.shared_routes, key);
        Resolved::new(Arc::clone(self), emit_handlers, request_handler)
    }

    /// Describes the method with this key for messages, if the method is served here.
    pub(crate) fn describe(&self, key: u64) -> Described {
        let routes = self.routes.read();
        routes
            .describe(key)
            .or_else(|| self.shared_routes.describe(key))
            .unwrap_or(Described::Named("the method".into()))
    }

    /// Returns the end of the queue of pending messages. The handlers that start from now on have
    /// sent none of the messages before it.
    #[inline]
    pub(crate) fn pending_position(&self) -> u64 {
        self.pending_position.load(Ordering::Relaxed)
    }

    /// Records the end of the queue of pending messages, after a message may have become pending.
    #[inline]
    fn record_pending(&self, state: &State) {
        if state.core.has_pending() {
            self.pending_position.store(state.core.pending_position(), Ordering::Relaxed);
        }
    }

    /// Returns `true` if the session may be about to end or to get another connection.
    #[inline]
    fn is_interrupted(&self) -> bool {
        self.state.is_interrupted()
    }

    /// Returns `true` if a handler or hook of this session runs on this thread. Such a handler or
    /// hook must not wait for the end of the session.
    pub(crate) fn runs_here(&self) -> bool {
        handler_context::runs_here(self)
    }

    /// Records the time that a poll of a handler or a step of the driver has taken.
    pub(crate) fn record_poll(&self, began: Instant, ended: Instant) {
        self.slowness.record_poll(began, ended);
    }

    /// Returns `true` if handlers of this session have been slow lately. Then the handlers of this
    /// session need a [`SlowPermit`].
    pub(crate) fn is_slow(&self) -> bool {
        self.slowness.is_slow()
    }

    /// Sets the owner of the session.
    pub(crate) fn set_owner<I>(&self, owner: impl Any + Send + Sync) {
        // The owner is set once, before the session is shared.
        let _ = self.owner.set((Box::new(owner), type_name::<I>()));
    }

    /// Returns the owner. If the owner has another type, returns the name of its identity's type as
    /// the error.
    pub(crate) fn owner<T: Any>(&self) -> Option<Result<&T, &'static str>> {
        let (owner, identity) = self.owner.get()?;
        Some(owner.downcast_ref().ok_or(identity))
    }

    /// Lets calls of the client start, after the server's `connected` has finished.
    pub(crate) fn set_ready(&self) {
        let mut state = self.state.lock();
        self.sync_broadcasts(&mut state);
        // A session that has been closed must not become ready, so that the client's `connect`
        // returns the reason of the close.
        if self.is_over(&state) {
            return;
        }
        state.ready = true;
        // The driver may hold calls.
        state.wake_driver();
        state.core.send_control(Frame::Ready, "");
        self.after_queueing(state, true);
    }

    /// Returns `true` if the server's `connected` has finished.
    pub(crate) fn is_ready(&self) -> bool {
        self.state.lock().core.peer_is_ready()
    }

    /// Waits until the server's `connected` has finished, or the session has ended.
    pub(crate) async fn until_connected(&self) -> Result<(), DisconnectReason> {
        self.wait_until(|| {
            if self.state.lock().core.peer_is_ready() { Some(Ok(())) } else { self.reason().cloned().map(Err) }
        })
        .await
    }

    /// Waits until `condition` returns a value. Calls `condition` again after the session has
    /// become ready, has become idle, or has ended.
    async fn wait_until<T>(&self, condition: impl Fn() -> Option<T>) -> T {
        loop {
            let mut changed = std::pin::pin!(self.state.changed.notified());
            changed.as_mut().enable();
            if let Some(value) = condition() {
                return value;
            }
            changed.await;
        }
    }
}

/// Returns the phase of a session's keep-alive frames. The phase is a fraction of their interval.
/// The phases of all open sessions are spread evenly over the interval.
fn phase() -> f32 {
    static SESSIONS: AtomicU16 = AtomicU16::new(0);
    /// 2¹⁶ divided by the golden ratio.
    const STEP: u16 = 40_503;
    f32::from(SESSIONS.fetch_add(STEP, Ordering::Relaxed)) / f32::from(u16::MAX)
}
