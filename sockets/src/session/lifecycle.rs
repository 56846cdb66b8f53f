//! The end of a session. A session ends once, with a reason, and releases everything that it holds.

use std::{
    borrow::Cow,
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{runtime::Handle, time::timeout};

use super::{Routes, Session, State, resumption::OVER};
use crate::{
    disconnect_reason::DisconnectReason,
    hooks::{self, contain},
};
use sockets_proto::{CloseReason, Frame};

/// A user's function that runs when the session has ended.
pub(crate) type Hook = Box<dyn FnOnce(DisconnectReason) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// Maximum time for which a graceful shutdown waits for the end of the session.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

impl Session {
    /// Asks the driver to end the session. Only the first reason counts.
    pub(crate) fn close(&self, reason: DisconnectReason) {
        let mut state = self.state.lock();
        // Earlier emits to audiences precede the close frame.
        self.sync_broadcasts(&mut state);
        state.flush_requested = true;
        state.close(reason);
    }

    /// Returns `true` if the session has ended, or the local endpoint ends it.
    pub(super) fn is_over(&self, state: &State) -> bool {
        self.reason.get().is_some() || state.closing.is_some()
    }

    /// Ends the session. Its calls fail, its handlers and listeners are stopped and dropped, and
    /// its hooks run. Only the driver calls this function, and only once.
    pub(crate) fn end(&self, reason: &DisconnectReason) {
        let mut state = self.state.lock();
        // The reason is set under the lock, so that no task can queue a call or add a hook after
        // this function has cleared them.
        if self.reason.set(Box::new(reason.clone())).is_err() {
            return;
        }
        let (results, handlers) = if state.is_detached() { state.core.close_detached() } else { state.core.close() };
        let mut wakes = state.wait_slots.complete_all(results);
        state.wait_slots.release_all(&mut wakes);
        let hooks = std::mem::take(&mut state.hooks);
        let offer = state.reattach.take_offer();
        state.give_up_waiting();
        drop(state);
        // The hooks are spawned before users' values are dropped below, so that the hooks run even
        // if a drop panics. If the session ends because its runtime shuts down, there is no runtime
        // on which the hooks could run.
        let runtime = Handle::try_current();
        for hook in hooks {
            match &runtime {
                Ok(runtime) => {
                    let reason = reason.clone();
                    runtime.spawn(hooks::run_future("on_disconnect", self.label(), || hook(reason)));
                }
                Err(_) => _ = hooks::run("drop of an `on_disconnect`", self.label(), || drop(hook)),
            }
        }
        contain(|| drop(wakes));
        if let Some(offer) = offer {
            hooks::run("drop of a connection", self.label(), || offer.decline(OVER));
        }
        for handler in handlers {
            handler.abort();
        }
        let (subscribers, own_handlers) = self.change_routes(&[], Routes::clear);
        for handler in subscribers {
            hooks::run("drop of a handler", self.label(), || drop(handler));
        }
        for handler in own_handlers {
            hooks::run("drop of a handler", self.label(), || drop(handler));
        }
        self.state.changed.notify_waiters();
        self.state.capacity.notify_waiters();
    }

    /// Runs `hook` when the session has ended. If it has already ended, runs `hook` immediately.
    pub(crate) fn on_disconnect(&self, hook: Hook) {
        let mut state = self.state.lock();
        if let Some(reason) = self.reason() {
            drop(state);
            let reason = reason.clone();
            tokio::spawn(hooks::run_future("on_disconnect", self.label(), || hook(reason)));
        } else {
            state.hooks.push(hook);
        }
    }

    /// Returns the close reason and text that are sent to the peer. Returns `None` if the
    /// connection is lost, or if the peer has closed the session.
    pub(crate) fn close_reason<'a>(&self, reason: &'a DisconnectReason) -> Option<(CloseReason, Cow<'a, str>)> {
        reason.to_close(self.peer_retries, self.restart_delay())
    }

    /// Returns the reason of the end. Returns `None` if the session has not ended.
    pub(crate) fn reason(&self) -> Option<&DisconnectReason> {
        self.reason.get().map(|reason| &**reason)
    }

    /// Returns the reason of the end of the session. While the session continues, returns the
    /// reason for which it lost its last connection.
    #[cold]
    pub(crate) fn loss(&self) -> DisconnectReason {
        self.loss_in(&self.state.lock())
    }

    /// Returns [`loss`](Self::loss) from the locked state.
    #[cold]
    pub(super) fn loss_in(&self, state: &State) -> DisconnectReason {
        let reason = self.reason().or_else(|| state.close_reason()).or_else(|| state.reattach.loss());
        // The callee may stop a handler before the caller receives the reason of the end.
        reason.cloned().unwrap_or_else(|| DisconnectReason::Lost("the callee stopped the handler".into()))
    }

    /// Waits until the session has ended, and returns the reason.
    pub(crate) async fn disconnected(&self) -> DisconnectReason {
        self.wait_until(|| self.reason().cloned()).await
    }

    /// Locks the state and returns [`is_over`](Self::is_over).
    pub(crate) fn is_ending(&self) -> bool {
        self.is_over(&self.state.lock())
    }

    /// Drains the session because the server shuts down. Sends a go away frame, waits until the
    /// calls in flight have finished, and ends the session. The wait takes at most `grace`.
    ///
    /// If the server comes back, the client reconnects after `delay`.
    pub(crate) async fn drain(self: Arc<Self>, grace: Duration, reason: DisconnectReason, delay: Duration) {
        self.send_go_away();
        if self.is_detached() {
            // The client cannot resume this session any more.
            self.close(reason.clone());
        }
        // The result is ignored: calls that have not finished after `grace` end with the session,
        // and fail at their callers.
        let _ = timeout(grace, self.idle()).await;
        self.shut_down(reason, delay);
        // The program may end when this function returns, so this function first waits until the
        // close frame is written. The wait is limited, since a handler may block the driver's
        // thread.
        let _ = timeout(FLUSH_TIMEOUT, self.released()).await;
    }

    /// Ends the session because the server shuts down. If the server comes back, the client
    /// reconnects after `delay`.
    pub(crate) fn shut_down(&self, reason: DisconnectReason, delay: Duration) {
        self.state.lock().reattach.set_restart_delay(delay);
        self.close(reason);
    }

    /// Sends a go away frame, once.
    fn send_go_away(&self) {
        let mut state = self.state.lock();
        self.sync_broadcasts(&mut state);
        if !std::mem::replace(&mut state.going_away, true) {
            state.core.send_control(Frame::GoAway, "");
            self.after_queueing(state, true);
        }
    }

    /// Waits until no call is in flight, or the session has ended.
    async fn idle(&self) {
        self.wait_until(|| {
            let idle = self.peer_drained.load(Ordering::Acquire) && self.state.lock().core.is_idle();
            (idle || self.reason.get().is_some()).then_some(())
        })
        .await;
    }

    /// Drops the connection, because a handle that outlives the session must not keep the
    /// connection open.
    pub(crate) fn release(&self) {
        let released = self.writer.lock().release();
        hooks::run("drop of a connection", self.label(), || drop(released));
        let mut state = self.state.lock();
        state.core.discard();
        self.is_released.store(true, Ordering::Release);
        let bytes = state.replies.bytes();
        state.reattach.release_share(bytes);
        drop(state);
        self.state.changed.notify_waiters();
    }

    /// Waits until the connection is released. At that time, the session has ended. The close frame
    /// has been written, or the session has given up writing it.
    pub(crate) async fn released(&self) {
        self.wait_until(|| self.is_released.load(Ordering::Acquire).then_some(())).await;
    }
}
