//! How a session ends: once, with a reason, leaving nothing behind.

use std::{
    borrow::Cow,
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, time::timeout};

use super::{Routes, Session, State, resumption::OVER};
use crate::{clock::now, contain::contain, disconnect_reason::DisconnectReason, hooks};
use sockets_proto::{CloseReason, Frame};

/// What a user has asked to be run when the session has ended.
pub(crate) type Hook = Box<dyn FnOnce(DisconnectReason) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// How long messages to audiences that wait for a window keep a session open that is to be closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an end that has been asked for is waited for.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// How this side wants to end its session.
pub(super) struct Closing {
    reason: DisconnectReason,
    /// When it ends at the latest.
    until: Instant,
}

impl State {
    /// Asks the driver to end the session. The first reason counts.
    pub(super) fn close(&mut self, reason: DisconnectReason) {
        self.closing.get_or_insert_with(|| Box::new(Closing { reason, until: now() + CLOSE_TIMEOUT }));
        self.wake_driver();
    }

    /// Whether the session is to end now, because this side wants it to; otherwise when that is to be asked again.
    pub(super) fn closing(&self, now: Instant) -> Result<Option<Instant>, DisconnectReason> {
        let Some(Closing { reason, until }) = self.closing.as_deref() else { return Ok(None) };
        // What was sent before arrives before the goodbye, unless that is why it ends.
        let orderly =
            matches!(reason, DisconnectReason::Closed | DisconnectReason::Kicked(_) | DisconnectReason::Refused(_));
        let lingers = orderly && !self.is_detached() && self.core.is_window_exhausted() && now < *until;
        if lingers { Ok(Some(*until)) } else { Err(reason.clone()) }
    }
}

impl Session {
    /// Asks the driver to end the session. The first reason counts.
    pub(crate) fn close(&self, reason: DisconnectReason) {
        let mut state = self.state.lock();
        // What was said to audiences before comes before the goodbye.
        self.sync_broadcasts(&mut state);
        state.flush_requested = true;
        state.close(reason);
    }

    /// Whether it has ended, or this side ends it.
    pub(super) fn is_over(&self, state: &State) -> bool {
        self.reason.get().is_some() || state.closing.is_some()
    }

    /// Ends the session: callers are told, handlers and listeners are stopped and dropped, hooks run. Only the driver
    /// calls this, once.
    pub(crate) fn end(&self, reason: &DisconnectReason) {
        let mut state = self.state.lock();
        // Under the lock, so that no call is queued, and no hook added, behind what is cleared here.
        if self.reason.set(reason.clone()).is_err() {
            return;
        }
        let (ended, handlers) = if state.is_detached() { state.core.close_detached() } else { state.core.close() };
        let notices = state.deliver_all(ended);
        let hooks = std::mem::take(&mut state.hooks);
        let offer = state.take_resumed_connection();
        self.give_up_waiting(&mut state);
        drop(state);
        // First of all: whatever a user's value does when it is dropped below, the hooks run. There is no runtime when it is
        // what has ended the session.
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
        contain(|| drop(notices));
        if let Some(offer) = offer {
            hooks::run("drop of a connection", self.label(), || offer.decline(OVER));
        }
        for handler in handlers {
            handler.abort();
        }
        for handler in self.change_routes(&[], Routes::clear) {
            hooks::run("drop of a handler", self.label(), || drop(handler));
        }
        self.state.changed.notify_waiters();
        self.state.capacity.notify_waiters();
    }

    /// Runs `hook` when the session has ended; at once if it has.
    pub(crate) fn on_disconnect(&self, hook: Hook) {
        let mut state = self.state.lock();
        if let Some(reason) = self.reason.get() {
            drop(state);
            let reason = reason.clone();
            tokio::spawn(hooks::run_future("on_disconnect", self.label(), || hook(reason)));
        } else {
            state.hooks.push(hook);
        }
    }

    /// Returns the goodbye for the peer, unless the connection is lost or the peer has sent one.
    pub(crate) fn farewell<'a>(&self, reason: &'a DisconnectReason) -> Option<(CloseReason, Cow<'a, str>)> {
        reason.to_close(self.peer_retries, self.restart_delay())
    }

    /// Why it has ended, if it has.
    pub(crate) fn reason(&self) -> Option<&DisconnectReason> {
        self.reason.get()
    }

    /// Waits for the end.
    pub(crate) async fn disconnected(&self) -> DisconnectReason {
        self.wait_until(|| self.reason.get().cloned()).await
    }

    /// Whether it has ended, or is being ended by this side.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_over(&self.state.lock())
    }

    /// Lets what is under way finish, for at most `grace`, and ends the session because the server shuts down. The
    /// client is told at once that no new calls are taken, and in the end when and where to come back, if it can.
    pub(crate) async fn drain(self: Arc<Self>, grace: Duration, back: Option<(Duration, Option<String>)>) {
        self.send_go_away();
        let (is_away, reason) = {
            let mut state = self.state.lock();
            let reason = match back.filter(|_| state.core.positions().is_some()) {
                Some((delay, at)) => {
                    state.set_restart_delay(delay);
                    DisconnectReason::Restarting { at }
                }
                None => DisconnectReason::ShuttingDown,
            };
            (state.is_detached(), reason)
        };
        if is_away {
            // It cannot come back to this session any more.
            self.close(DisconnectReason::ShuttingDown);
        }
        // What is not finished by then ends with the session, and its callers are told.
        let _ = timeout(grace, self.idle()).await;
        self.close(reason);
        // A handler may be blocking the thread of the driver. Who is told may be about to end the program.
        let _ = timeout(FLUSH_TIMEOUT, self.released()).await;
    }

    /// Tells the client, once, that no new calls are taken.
    fn send_go_away(&self) {
        let mut state = self.state.lock();
        self.sync_broadcasts(&mut state);
        if !std::mem::replace(&mut state.going_away, true) {
            state.core.send_control(Frame::GoAway, "");
            self.after_queueing(state, true);
        }
    }

    /// Waits until nothing is under way, or the session has ended.
    async fn idle(&self) {
        self.wait_until(|| {
            let idle = self.drained.load(Ordering::Acquire) && self.state.lock().core.is_idle();
            (idle || self.reason.get().is_some()).then_some(())
        })
        .await;
    }

    /// Gives the connection back: handles that outlive the session must not keep it open.
    pub(crate) fn release(&self) {
        let released = self.writer.lock().release();
        hooks::run("drop of a connection", self.label(), || drop(released));
        let mut state = self.state.lock();
        state.core.discard();
        self.parted.store(true, Ordering::Release);
        state.release_share();
        drop(state);
        self.state.changed.notify_waiters();
    }

    /// Waits until the session has ended and the other side has heard so, as far as it does.
    pub(crate) async fn released(&self) {
        self.wait_until(|| self.parted.load(Ordering::Acquire).then_some(())).await;
    }
}
