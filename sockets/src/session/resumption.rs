//! A session between two connections: it is detached, and then resumed or reset.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{DetachedShare, Session, State, phase, signatures::Signatures};
use crate::{
    clock::now,
    disconnect_reason::DisconnectReason,
    handshake::{PeerSettings, ResumeGrant, ResumeRequest},
    refusal::Refusal,
    transport::{Link, Transmit},
};
use sockets_proto::{KeepAlive, SendBuffer, Token};

/// A connection with which a client resumes its session on the server.
pub(crate) struct ResumedConnection {
    pub(crate) link: Link,
    pub(crate) request: ResumeRequest,
    /// The token for the next resumption.
    pub(crate) token: Token,
    /// Replaces the identity of the socket. It runs before the connection is used, and only if the
    /// session is resumed.
    pub(crate) adopt: Box<dyn FnOnce() + Send>,
    pub(crate) accept: Box<AcceptResumption>,
    /// Returns the connection if the session does not accept it. If the sender is dropped, the
    /// session has accepted.
    pub(crate) declined: oneshot::Sender<Declined>,
}

/// Prepares a connection for a session, and returns it with the server hello that grants the
/// resumption.
pub(crate) type AcceptResumption = dyn FnOnce(Link, &ResumeGrant) -> (Link, Bytes) + Send;

/// A connection that a session has not accepted. Its client still waits for a server hello or a
/// refusal.
pub(crate) struct Declined {
    pub(crate) link: Link,
    /// The reason, which is sent to the client.
    pub(crate) message: &'static str,
}

impl ResumedConnection {
    /// Returns the connection to the task that offered it.
    pub(crate) fn decline(self, message: &'static str) {
        // If that task does not wait any more, its runtime has been shut down.
        let _ = self.declined.send(Declined { link: self.link, message });
    }
}

/// The message to a client if its session has ended, or ends since it cannot be resumed.
pub(super) const OVER: &str = "the session cannot be resumed any more; the next attempt starts a new session";

/// The message to a client that has since requested its session over another connection.
pub(crate) const SUPERSEDED: &str = "another connection resumes the session";

/// The result of the check of a resumption request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// The session can be resumed.
    Resumable,
    /// The client has made a later request: this request was delayed.
    Superseded,
    /// The request is not valid, or the session ends.
    Invalid,
}

/// The reason of a detached session that ends since it holds too many bytes.
const TOO_MANY_BYTES: &str = "its connection was lost, and detached sessions hold more than `resume_sessions_bytes`";

impl State {
    pub(super) fn is_detached(&self) -> bool {
        self.core.is_detached()
    }

    /// Adjusts the share of a detached session that has queued a message. The session is closed if
    /// it holds too many bytes.
    pub(super) fn update_share(&mut self) {
        if self.reattach.is_share_outdated(|| self.held_bytes()) {
            self.adjust_share(self.held_bytes());
        }
    }

    /// Returns `true` if the session may hold a reply of `bytes`. Otherwise a detached session is
    /// closed.
    ///
    /// The reply is counted before it is queued. Handlers of many sessions may return large replies
    /// at the same time, all of them before a driver runs.
    pub(super) fn admits_reply(&mut self, bytes: usize) -> bool {
        if !self.is_detached() {
            return true;
        }
        self.closing.is_none() && self.adjust_share(self.held_bytes() + bytes)
    }

    /// Closes the session and returns `false` if all detached sessions together hold too many
    /// bytes, and this session holds more than an equal part.
    #[cold]
    fn adjust_share(&mut self, bytes: usize) -> bool {
        let fits = self.reattach.adjust_share(bytes);
        if !fits {
            self.close(DisconnectReason::Lost(TOO_MANY_BYTES.into()));
        }
        fits
    }
}

impl Session {
    /// Sets the first token that resumes this session.
    pub(crate) fn set_token(&self, token: Token) {
        self.state.lock().reattach.set_token(token);
    }

    /// Returns `true` if this token resumes this session.
    pub(crate) fn verify_token(&self, token: &Token) -> bool {
        self.state.lock().reattach.verify(token)
    }

    /// Checks a resumption request. The session ends if a peer needs frames that are not retained
    /// any more.
    pub(crate) fn check(&self, request: &ResumeRequest) -> Checked {
        let mut state = self.state.lock();
        let checked = self.check_request(&state, request);
        if checked != Checked::Resumable || state.core.can_resume(request.received, request.first_retained) {
            return checked;
        }
        state.close(DisconnectReason::Lost("frames that a peer has missed are not retained any more".into()));
        Checked::Invalid
    }

    /// Ends the session of a client with a final refusal. A delayed request does not end it.
    pub(crate) fn refuse(&self, request: &ResumeRequest, refusal: Refusal) {
        let mut state = self.state.lock();
        if self.check_request(&state, request) == Checked::Resumable {
            state.close(DisconnectReason::Refused(refusal));
        }
    }

    /// Returns `true` if both peers retain the frames that the other has missed. While the session
    /// is detached, only the driver's task changes that.
    pub(crate) fn can_resume(&self, request: &ResumeRequest) -> bool {
        self.state.lock().core.can_resume(request.received, request.first_retained)
    }

    fn check_request(&self, state: &State, request: &ResumeRequest) -> Checked {
        if !state.reattach.verify(&request.token) || self.is_over(state) || state.going_away {
            Checked::Invalid
        } else if state.reattach.is_superseded(request.attempt) {
            Checked::Superseded
        } else {
            Checked::Resumable
        }
    }

    /// Offers a connection to this session, which accepts the connection of the latest attempt.
    /// Other connections are declined.
    pub(crate) fn offer_connection(&self, offer: ResumedConnection) {
        let mut state = self.state.lock();
        let (declined, message) = match self.check_request(&state, &offer.request) {
            Checked::Resumable => {
                state.wake_driver();
                (state.reattach.replace_offer(Box::new(offer)), SUPERSEDED)
            }
            Checked::Superseded => (Some(Box::new(offer)), SUPERSEDED),
            Checked::Invalid => (Some(Box::new(offer)), OVER),
        };
        drop(state);
        if let Some(declined) = declined {
            declined.decline(message);
        }
    }

    /// Keeps a connection that cannot be accepted. It is declined when the session has ended.
    pub(crate) fn keep_offer(&self, offer: Box<ResumedConnection>) {
        let mut state = self.state.lock();
        if state.reattach.has_offer() {
            drop(state);
            offer.decline(SUPERSEDED);
        } else {
            state.reattach.replace_offer(offer);
        }
    }

    /// Waits for another connection. Only the driver's task calls this.
    pub(crate) async fn resumed_connection(&self) -> Box<ResumedConnection> {
        // `offer_connection` wakes the driver.
        poll_fn(|_| match self.state.lock().reattach.take_offer() {
            Some(offer) => Poll::Ready(offer),
            None => Poll::Pending,
        })
        .await
    }

    /// Returns the time after which the client reconnects if the server restarts. Each client has
    /// its own.
    pub(crate) fn restart_delay(&self) -> Duration {
        self.state.lock().reattach.restart_delay()
    }

    /// Returns `true` if the session has no connection.
    pub(crate) fn is_detached(&self) -> bool {
        self.state.lock().is_detached()
    }

    pub(crate) fn has_resumed_connection(&self) -> bool {
        self.state.lock().reattach.has_offer()
    }

    /// Returns the position up to which frames have been received, and the position from which sent
    /// frames are retained.
    pub(crate) fn positions(&self) -> (u64, u64) {
        self.state.lock().core.positions().unwrap_or_default()
    }

    /// Returns the number of bytes that the session holds for its peer, connected or detached:
    /// queued messages, retained frames, calls with running handlers, and replies that wait.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.state.lock().held_bytes()
    }

    /// Counts the bytes of a detached session again. The session is closed if it holds too many.
    pub(crate) fn recount(&self) {
        let mut state = self.state.lock();
        let bytes = state.held_bytes();
        state.adjust_share(bytes);
    }

    /// Returns `true` if the session survives the end of its connection for this reason.
    /// `peer_closed` is `true` if the peer has sent the reason.
    pub(crate) fn survives(&self, reason: &DisconnectReason, peer_closed: bool) -> bool {
        let state = self.state.lock();
        let is_recoverable = match reason {
            DisconnectReason::Lost(_)
            | DisconnectReason::Silent
            | DisconnectReason::TooSlow
            | DisconnectReason::Restarting { .. } => true,
            DisconnectReason::Superseded => state.reattach.has_offer(),
            DisconnectReason::Refused(refusal) => refusal.retry_after().is_some() && !state.core.is_server(),
            _ => false,
        };
        // A client that has closed its session does not resume it. If a client is too slow for a
        // broadcast, while its connection does not stall, the session is already closing.
        let may_resume = is_recoverable && !(peer_closed && state.core.is_server());
        may_resume && state.core.positions().is_some() && !self.is_over(&state) && !state.going_away
    }

    /// Detaches the session from its connection: messages wait from now on. A server's session
    /// counts its bytes in `share`. Returns the transmitter and its unwritten bytes.
    pub(crate) fn detach(&self, share: Option<DetachedShare>) -> (Box<dyn Transmit>, SendBuffer) {
        let mut writer = self.writer.lock();
        let mut state = self.state.lock();
        state.core.detach();
        state.core.clear_go_away();
        state.reattach.set_share(share);
        self.write_progress.record_closed();
        let deferred = state.unlock();
        let stopped = writer.stop();
        drop(writer);
        drop(deferred);
        stopped.into_parts()
    }

    /// Registers the driver's waker. Returns an error if the local endpoint ends the session.
    pub(crate) fn prepare_detached(&self, now: Instant, cx: &Context<'_>) -> Result<(), DisconnectReason> {
        let mut state = self.state.lock();
        if !state.driver.will_wake(cx.waker()) {
            drop(state);
            self.register_driver(cx.waker());
            state = self.state.lock();
        }
        state.flush_requested = false;
        state.closing(now).map(|_| ())
    }

    /// Resumes the session over another connection. The peer has received all frames up to
    /// `position`. `first` precedes all frames. `tokens` are the used token and the next token.
    ///
    /// Returns `false` if some frames that the peer has missed are not retained any more.
    pub(crate) fn resume(
        &self,
        transmitter: Box<dyn Transmit>,
        first: Bytes,
        position: u64,
        tokens: Option<(Token, Token)>,
    ) -> bool {
        let mut writer = self.writer.lock();
        let mut state = self.state.lock();
        let Some(retransmitted) = state.core.resume(now(), position) else { return false };
        state.reattach.set_share(None);
        let mut outbox = SendBuffer::default();
        outbox.push_exact(first);
        outbox.extend(&retransmitted);
        if let Some((used, next)) = tokens {
            state.reattach.rotate(used, next);
        }
        state.queued_before = 0;
        state.broadcast.note_progress();
        state.queue_has_shrunk();
        self.write_progress.record_opened();
        writer.start(transmitter, outbox);
        state.notify_capacity();
        let deferred = state.unlock();
        drop(writer);
        drop(deferred);
        self.flush();
        true
    }

    /// Starts a new session with a server that does not know the old session. Calls in flight fail,
    /// and handlers are stopped. The methods that are served here are announced again. Messages
    /// that were queued while there was no connection follow the announcement.
    pub(crate) fn reset(&self, transmitter: Box<dyn Transmit>, peer_settings: PeerSettings) {
        // The routes are locked first, as in `change_routes`.
        let routes = self.routes.read();
        let mut writer = self.writer.lock();
        let mut state = self.state.lock();
        let (results, handlers) = state.core.reset(
            now(),
            self.limits.settings(),
            peer_settings.settings,
            peer_settings.retransmit_limit.unwrap_or(0) as usize,
        );
        // The new server may have a shorter idle timeout.
        state.core.set_keep_alive(KeepAlive::new(now(), self.limits.keep_alive(), peer_settings.idle_timeout, phase()));
        let wakes = state.wait_slots.complete_all(results);
        state.signatures = Signatures::default();
        state.queued_before = 0;
        if let Some(announcement) = routes.announcement() {
            state.core.announce(&announcement);
        }
        state.core.on_writable(now());
        self.write_progress.record_opened();
        writer.start(transmitter, SendBuffer::default());
        state.notify_capacity();
        let deferred = state.unlock();
        drop((writer, routes));
        drop(deferred);
        drop(wakes);
        for handler in handlers {
            handler.abort();
        }
        self.flush();
    }
}
