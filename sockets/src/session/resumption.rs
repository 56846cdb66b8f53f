//! A session between two connections: it is detached, and then resumed or reset.

use std::{
    future::poll_fn,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{DetachedShare, GroupService, Session, State, phase, signatures::Signatures};
use crate::{
    clock::now,
    disconnect_reason::DisconnectReason,
    handshake::{PeerSettings, ResumeGrant, ResumeRequest},
    listener::Listener,
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
    /// The function that replaces the identity of the socket. It runs only if the session is
    /// resumed, and before the session uses the connection.
    pub(crate) adopt: Box<dyn FnOnce() + Send>,
    pub(crate) accept: Box<AcceptResumption>,
    /// The sender that returns the connection if the session declines the connection. A session
    /// that accepts the connection drops this sender without a message.
    pub(crate) declined: oneshot::Sender<Declined>,
}

/// Prepares a connection for a session. Returns the connection, and the server hello that grants
/// the resumption.
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
        // The result is ignored: if the task that offered the connection does not wait any more,
        // its runtime has been shut down.
        let _ = self.declined.send(Declined { link: self.link, message });
    }
}

/// The message to a client whose session has ended, or ends because it cannot be resumed.
pub(super) const OVER: &str = "the session cannot be resumed any more; the next attempt starts a new session";

/// The message to a client that has requested its session over a later connection.
pub(crate) const SUPERSEDED: &str = "another connection resumes the session";

/// The result of the check of a resumption request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// The session can be resumed.
    Resumable,
    /// The client has already made a later request. This request was delayed.
    Superseded,
    /// The request is not valid, or the session ends.
    Invalid,
}

impl Session {
    /// Sets the first token that resumes this session.
    pub(crate) fn set_token(&self, token: Token) {
        self.state.lock().reattach.set_token(token);
    }

    /// Returns `true` if the token of this request resumes this session.
    pub(crate) fn verify_token(&self, request: &ResumeRequest) -> bool {
        let mut state = self.state.lock();
        let is_valid = state.reattach.verify(&request.token);
        if is_valid {
            state.reattach.record_attempt(request.attempt);
        }
        is_valid
    }

    /// Checks a resumption request. If the session or the client does not retain a frame that the
    /// other endpoint needs, ends the session.
    pub(crate) fn check(&self, request: &ResumeRequest) -> Checked {
        let mut state = self.state.lock();
        let checked = self.check_request(&state, request);
        if checked != Checked::Resumable || state.core.can_resume(request.received, request.first_retained) {
            return checked;
        }
        state.close(DisconnectReason::Lost("frames that a peer has missed are not retained any more".into()));
        Checked::Invalid
    }

    /// Ends the detached session of a client with a final refusal.
    ///
    /// A connected session does not end: its client may not be the sender of the request. The
    /// session does not end either if the client has made a later attempt, because the client has
    /// abandoned this request.
    pub(crate) fn refuse(&self, request: &ResumeRequest, refusal: Refusal) {
        let mut state = self.state.lock();
        if state.is_detached()
            && state.reattach.is_latest(request.attempt)
            && self.check_request(&state, request) == Checked::Resumable
        {
            state.close(DisconnectReason::Refused(refusal));
        }
    }

    /// Returns `true` if each peer retains the frames that the other peer has missed. While the
    /// session is detached, only the driver's task changes the retained frames, so the result stays
    /// valid in that task.
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

    /// Offers a connection to this session. The session accepts the connection of the latest
    /// attempt, and declines the other connections.
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

    /// Waits for another connection. Only the driver's task calls this method.
    pub(crate) async fn resumed_connection(&self) -> Box<ResumedConnection> {
        // `offer_connection` wakes the driver.
        poll_fn(|_| match self.state.lock().reattach.take_offer() {
            Some(offer) => Poll::Ready(offer),
            None => Poll::Pending,
        })
        .await
    }

    /// Returns the time for which the client waits before it reconnects to a server that restarts.
    /// The time differs between clients, so that they do not all reconnect at once.
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

    /// Returns the position up to which the session has received all frames, and the position from
    /// which it retains all sent frames.
    pub(crate) fn positions(&self) -> (u64, u64) {
        self.state.lock().core.positions().unwrap_or_default()
    }

    /// Returns the number of bytes that the session holds for its peer. These are queued messages,
    /// retained frames, calls with running handlers, and replies that wait. The session may be
    /// connected or detached.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.state.lock().held_bytes()
    }

    /// Counts the bytes of a detached session again. If the session holds too many bytes, closes
    /// it.
    pub(crate) fn recount(&self) {
        let mut state = self.state.lock();
        let bytes = state.held_bytes();
        state.adjust_share(bytes);
    }

    /// Returns `true` if the session survives the loss of its connection for this reason.
    /// `peer_closed` is `true` if the peer has sent the reason.
    pub(crate) fn survives(&self, reason: &DisconnectReason, peer_closed: bool) -> bool {
        let state = self.state.lock();
        let is_recoverable = match reason {
            DisconnectReason::Lost(_)
            | DisconnectReason::Silent
            | DisconnectReason::TooSlow
            | DisconnectReason::ShuttingDown { comes_back: true, .. } => true,
            DisconnectReason::Superseded => state.reattach.has_offer(),
            DisconnectReason::Refused(refusal) => refusal.retry_after().is_some() && !state.core.is_server(),
            _ => false,
        };
        // On the server, a session that the client has closed does not survive, because the client
        // does not resume it. A session that is already closing does not survive either; `is_over`
        // detects such sessions. For example, the server closes a session that is too slow for a
        // broadcast, even if its connection accepts bytes.
        let may_resume = is_recoverable && !(peer_closed && state.core.is_server());
        may_resume && state.core.positions().is_some() && !self.is_over(&state) && !state.going_away
    }

    /// Detaches the session from its connection. From now on, messages wait for another connection.
    /// The session of a server counts its bytes in `share`. Returns the transmitter and its
    /// unwritten bytes.
    pub(crate) fn detach(&self, share: Option<DetachedShare>) -> (Box<dyn Transmit>, SendBuffer) {
        let mut writer = self.writer.lock();
        let mut state = self.state.lock();
        state.core.detach();
        state.reattach.count_change();
        state.core.clear_go_away();
        // Calls and emits that wait for the end of the shutdown now wait for the next connection.
        state.notify_changed();
        state.notify_capacity();
        state.reattach.set_share(share);
        self.write_progress.record_closed();
        let deferred = state.unlock();
        let stopped = writer.stop();
        drop(writer);
        drop(deferred);
        stopped.into_parts()
    }

    /// Returns the number of losses and resumptions. On a server, it is odd while the session is
    /// detached.
    pub(crate) fn connection_changes(&self) -> u32 {
        self.state.lock().reattach.changes()
    }

    /// Waits until [`connection_changes`](Self::connection_changes) is not `seen`. If the session has
    /// ended, returns the reason.
    pub(crate) async fn connection_changed(&self, seen: u32) -> Result<u32, DisconnectReason> {
        self.wait_until(|| match self.reason() {
            Some(reason) => Some(Err(reason.clone())),
            None => Some(Ok(self.connection_changes())).filter(|changes| *changes != Ok(seen)),
        })
        .await
    }

    /// Records the reason for which the session lost its connection.
    pub(crate) fn record_loss(&self, reason: DisconnectReason) {
        self.state.lock().reattach.set_loss(reason);
    }

    /// Returns an error if the local endpoint ends the session.
    pub(crate) fn prepare_detached(&self, now: Instant) -> Result<(), DisconnectReason> {
        let mut state = self.state.lock();
        state.flush_requested = false;
        state.closing(now).map(|_| ())
    }

    /// Resumes the session over another connection. The peer has received all frames up to
    /// `position`. The session writes `first` before all frames. `tokens` are the used token and
    /// the next token.
    ///
    /// Returns `false` if the peer has missed frames that the session does not retain any more.
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
        state.reattach.count_change();
        state.notify_changed();
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
    /// and handlers are stopped. The session announces its methods again. It holds the messages that
    /// were queued without a connection until [`release_messages`](Self::release_messages).
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
        state.core.hold();
        self.write_progress.record_opened();
        writer.start(transmitter, SendBuffer::default());
        let deferred = state.unlock();
        drop((writer, routes));
        drop(deferred);
        drop(wakes);
        for handler in handlers {
            handler.abort();
        }
        self.flush();
    }

    /// Sends the messages that were held while the hooks of the client prepared a new session.
    pub(crate) fn release_messages(&self) {
        let mut state = self.state.lock();
        state.core.release(now());
        state.notify_capacity();
        self.after_queueing(state, true);
    }

    /// Gives up the current session with the server, because its preparation has failed. The client
    /// then starts another session.
    pub(crate) fn abandon(&self, reason: DisconnectReason) {
        let mut state = self.state.lock();
        state.abandoned = Some(Box::new(reason));
        state.wake_driver();
    }

    /// Adds a subscriber that is removed when the next session begins.
    pub(crate) fn add_temporary(&self, registration: Registration) {
        self.temporary.lock().push(registration);
    }

    /// Removes the subscribers that belong to the previous session.
    pub(crate) fn remove_temporary(self: &Arc<Self>) {
        let removed = std::mem::take(&mut *self.temporary.lock());
        for registration in removed {
            match registration {
                Registration::Listener(listener) => listener.stop(),
                Registration::Group(service) => self.stop_serving(service.info()),
            }
        }
    }
}

/// A subscriber that belongs to a single session of a client.
pub(crate) enum Registration {
    Listener(Listener),
    Group(Arc<dyn GroupService>),
}
