//! A session between two links: it rests, and goes on over the next one, or anew.

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
use sockets_proto::{KeepAlive, SendBuffer, Token, Tokens};

/// What a server's session can be gone on with: another link, to its client.
pub(crate) struct ResumedConnection {
    pub(crate) link: Link,
    pub(crate) request: ResumeRequest,
    /// For the next time.
    pub(crate) token: Token,
    /// Replaces the identity of the socket. It runs before the connection is used, and only if the session is resumed.
    pub(crate) adopt: Box<dyn FnOnce() + Send>,
    pub(crate) welcome: Box<Welcome>,
    /// Returns the link if the session does not take it. Dropped without that, it says that the session has.
    pub(crate) declined: oneshot::Sender<Declined>,
}

/// Prepares a link for a session, and returns it with the message to the client that the session is resumed.
pub(crate) type Welcome = dyn FnOnce(Link, &ResumeGrant) -> (Link, Bytes) + Send;

/// A link that a session has not taken. Its client waits for an answer.
pub(crate) struct Declined {
    pub(crate) link: Link,
    /// The reason, for the client.
    pub(crate) message: &'static str,
}

impl ResumedConnection {
    /// Gives the link back.
    pub(crate) fn decline(self, message: &'static str) {
        // The task that offered it ends only with its runtime.
        let _ = self.declined.send(Declined { link: self.link, message });
    }
}

/// The message to a client whose session has ended, or ends since it cannot be resumed.
pub(super) const OVER: &str = "the session cannot be resumed any more: the next attempt begins another one";

/// The message to a client that has claimed its session over another connection since.
pub(crate) const SUPERSEDED: &str = "another connection resumes the session";

/// What a session makes of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// The session can be resumed.
    Resumable,
    /// The client has made a later claim: this one was delayed.
    Superseded,
    /// The claim is not valid, or the session ends.
    Invalid,
}

/// The reason of a detached session that ends since it holds too much.
const TOO_MUCH: &str = "its connection was lost, and detached sessions hold more than `resume_sessions_bytes`";

/// How a session stands between two links.
#[derive(Default)]
pub(super) struct ReattachState {
    offer: Option<Box<ResumedConnection>>,
    /// Those that go on with a server's session.
    tokens: Option<Box<Tokens>>,
    /// The number of the latest attempt whose claim was accepted.
    attempt: u64,
    /// The bytes of a detached session among those of all of its server.
    share: Option<DetachedShare>,
    /// The milliseconds after which the client reconnects if the server restarts.
    restart_delay: u32,
}

impl State {
    /// Whether another link takes the place of this one.
    pub(super) fn has_resumed_connection(&self) -> bool {
        self.reattach.offer.is_some()
    }

    pub(super) fn take_resumed_connection(&mut self) -> Option<Box<ResumedConnection>> {
        self.reattach.offer.take()
    }

    pub(super) fn is_detached(&self) -> bool {
        self.core.is_detached()
    }

    /// Sets the time after which the client reconnects if the server restarts.
    pub(super) fn set_restart_delay(&mut self, delay: Duration) {
        self.reattach.restart_delay = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
    }

    /// Adjusts the share of a detached session that has queued something. It is closed if it holds too much.
    pub(super) fn update_share(&mut self) {
        if self.reattach.share.is_some() {
            let held = self.held();
            if self.reattach.share.as_ref().is_some_and(|share| share.is_outdated(held)) {
                self.adjust_share(held);
            }
        }
    }

    /// Returns `true` if the session may hold a reply of so many bytes. A detached session that may not is closed.
    ///
    /// The reply is counted before it is queued. Handlers of many sessions may return large replies at the same time,
    /// all of them before one of the drivers runs.
    pub(super) fn admits_reply(&mut self, bytes: usize) -> bool {
        if !self.is_detached() {
            return true;
        }
        self.closing.is_none() && self.adjust_share(self.held() + bytes)
    }

    /// Closes the session if all detached sessions hold too much, and this one more than its part.
    #[cold]
    fn adjust_share(&mut self, bytes: usize) -> bool {
        let fits = self.reattach.share.as_mut().is_none_or(|share| share.adjust(bytes));
        if !fits {
            self.close(DisconnectReason::Lost(TOO_MUCH.into()));
        }
        fits
    }

    /// Counts no bytes any more, once a session that has ended holds none.
    pub(super) fn release_share(&mut self) {
        let bytes = self.pending_reply_bytes();
        let share = self.reattach.share.as_mut().filter(|_| bytes > 0);
        if share.is_none_or(|share| !share.adjust(bytes)) {
            self.reattach.share = None;
        }
    }

    /// The client has said something, which it may have done after it has heard of its token.
    #[cold]
    pub(super) fn confirm_token(&mut self) {
        if let Some(tokens) = &mut self.reattach.tokens {
            tokens.confirm();
        }
    }
}

impl Session {
    /// This token is the first that goes on with this session.
    pub(crate) fn set_token(&self, token: Token) {
        self.state.lock().reattach.tokens = Some(Box::new(Tokens::new(token)));
    }

    /// Whether one who shows this token may go on with this session.
    pub(crate) fn verify_token(&self, token: &Token) -> bool {
        self.state.lock().reattach.tokens.as_ref().is_some_and(|tokens| tokens.verify(token))
    }

    /// Checks a claim. If the sides have missed too much, the session ends.
    pub(crate) fn check(&self, claim: &ResumeRequest) -> Checked {
        let mut state = self.state.lock();
        let admitted = self.is_valid_resume(&state, claim);
        if admitted != Checked::Resumable || state.core.can_resume(claim.received, claim.kept) {
            return admitted;
        }
        state.close(DisconnectReason::Lost("a side has missed more than the other keeps".into()));
        Checked::Invalid
    }

    /// Ends the session of a client that has been refused finally. A claim that was delayed does not end it.
    pub(crate) fn refuse(&self, claim: &ResumeRequest, refusal: Refusal) {
        let mut state = self.state.lock();
        if self.is_valid_resume(&state, claim) == Checked::Resumable {
            state.close(DisconnectReason::Refused(refusal));
        }
    }

    /// Returns `true` if both sides keep what the other has missed. While the session is detached, only the driver's
    /// task changes that.
    pub(crate) fn can_resume(&self, claim: &ResumeRequest) -> bool {
        self.state.lock().core.can_resume(claim.received, claim.kept)
    }

    fn is_valid_resume(&self, state: &State, claim: &ResumeRequest) -> Checked {
        let known = state.reattach.tokens.as_ref().is_some_and(|tokens| tokens.verify(&claim.token));
        if !known || self.is_over(state) || state.going_away {
            Checked::Invalid
        } else if claim.attempt <= state.reattach.attempt {
            Checked::Superseded
        } else {
            Checked::Resumable
        }
    }

    /// Offers another link to this session, which takes the one of the latest attempt. It is declined if that comes too late.
    pub(crate) fn offer_connection(&self, offer: ResumedConnection) {
        let mut state = self.state.lock();
        let (left, message) = match self.is_valid_resume(&state, &offer.request) {
            Checked::Resumable => {
                state.reattach.attempt = offer.request.attempt;
                state.wake_driver();
                (state.reattach.offer.replace(Box::new(offer)), SUPERSEDED)
            }
            Checked::Superseded => (Some(Box::new(offer)), SUPERSEDED),
            Checked::Invalid => (Some(Box::new(offer)), OVER),
        };
        drop(state);
        if let Some(left) = left {
            left.decline(message);
        }
    }

    /// Keeps an offer that cannot be taken. It is declined when the session has ended.
    pub(crate) fn keep_offer(&self, offer: Box<ResumedConnection>) {
        let mut state = self.state.lock();
        if state.has_resumed_connection() {
            drop(state);
            offer.decline(SUPERSEDED);
        } else {
            state.reattach.offer = Some(offer);
        }
    }

    /// Waits for another link. Only the driver's task does.
    pub(crate) async fn resumed_connection(&self) -> Box<ResumedConnection> {
        // The driver is woken by an offer.
        poll_fn(|_| match self.state.lock().take_resumed_connection() {
            Some(offer) => Poll::Ready(offer),
            None => Poll::Pending,
        })
        .await
    }

    /// Returns the time after which the client reconnects if the server restarts. Each client has its own.
    pub(crate) fn restart_delay(&self) -> Duration {
        Duration::from_millis(self.state.lock().reattach.restart_delay.into())
    }

    /// Whether there is no link.
    pub(crate) fn is_detached(&self) -> bool {
        self.state.lock().is_detached()
    }

    pub(crate) fn has_resumed_connection(&self) -> bool {
        self.state.lock().has_resumed_connection()
    }

    /// Up to where everything of the other side's has been received, and from where on what this side has sent is kept.
    pub(crate) fn positions(&self) -> (u64, u64) {
        self.state.lock().core.positions().unwrap_or_default()
    }

    /// Returns how many bytes the session holds for its peer, whether these are connected or not: messages that wait, messages
    /// that are retained for another link, and calls whose handlers have not ended, with the replies that wait.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.state.lock().held()
    }

    /// Counts the bytes of a detached session again, which is closed if it holds too much.
    pub(crate) fn recount(&self) {
        let mut state = self.state.lock();
        let held = state.held();
        state.adjust_share(held);
    }

    /// Whether it goes on when its link has ended in this way; `told` says that the other side has said so.
    pub(crate) fn survives(&self, reason: &DisconnectReason, told: bool) -> bool {
        let state = self.state.lock();
        let broken = match reason {
            DisconnectReason::Lost(_)
            | DisconnectReason::Silent
            | DisconnectReason::TooSlow
            | DisconnectReason::Restarting { .. } => true,
            DisconnectReason::Superseded => state.has_resumed_connection(),
            DisconnectReason::Refused(refusal) => refusal.retry_after().is_some() && !state.core.is_server(),
            _ => false,
        };
        // A client that says goodbye does not come back. One that is too slow for what is said to it is closed, where it is not the link
        // that stalls.
        let stays = broken && !(told && state.core.is_server());
        stays && state.core.positions().is_some() && !self.is_over(&state) && !state.going_away
    }

    /// There is no link any more: what is said waits. Gives back what has been written with, and what it was writing.
    /// A server's session counts its bytes in `share` from now on.
    pub(crate) fn detach(&self, share: Option<DetachedShare>) -> (Box<dyn Transmit>, SendBuffer) {
        let mut writer = self.writer.lock();
        let mut state = self.state.lock();
        state.core.detach();
        state.core.clear_go_away();
        state.reattach.share = share;
        self.write_progress.record_closed();
        let deferred = state.unlock();
        let stopped = writer.stop();
        drop(writer);
        drop(deferred);
        stopped.into_parts()
    }

    /// Makes sure that the driver is woken, and looks whether the session is to go on.
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

    /// Goes on over another link, to one who has received everything up to `position`. `first` comes before all frames.
    /// `tokens` are the one that was used and the next one. `false` if some of what that side has missed is not kept any more.
    pub(crate) fn resume(
        &self,
        transmitter: Box<dyn Transmit>,
        first: Bytes,
        position: u64,
        tokens: Option<(Token, Token)>,
    ) -> bool {
        let mut writer = self.writer.lock();
        let mut state = self.state.lock();
        let Some(resent) = state.core.resume(now(), position) else { return false };
        state.reattach.share = None;
        let mut outbox = SendBuffer::default();
        outbox.push_exact(first);
        outbox.extend(&resent);
        if let (Some(known), Some((used, next))) = (&mut state.reattach.tokens, tokens) {
            known.rotate(used, next);
        }
        state.queued_before = 0;
        state.lag.note_progress();
        self.queue_has_shrunk(&mut state);
        self.write_progress.record_opened();
        writer.start(transmitter, outbox);
        state.notify_capacity();
        let deferred = state.unlock();
        drop(writer);
        drop(deferred);
        self.flush();
        true
    }

    /// Goes on with one who knows nothing of this session. Calls under way fail, and handlers are stopped. What this side serves is
    /// announced once more; what was said while there was no link comes behind that.
    pub(crate) fn reset(&self, transmitter: Box<dyn Transmit>, theirs: PeerSettings) {
        // In this order, as where they change.
        let routes = self.routes.read();
        let mut writer = self.writer.lock();
        let mut state = self.state.lock();
        let (ended, handlers) = state.core.reset(
            now(),
            self.limits.settings(),
            theirs.settings,
            theirs.retransmit_limit.unwrap_or(0) as usize,
        );
        // It may bear less silence than the one before.
        state.core.set_keep_alive(KeepAlive::new(now(), self.limits.keep_alive(), theirs.idle_timeout, phase()));
        let notices = state.deliver_all(ended);
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
        drop(notices);
        for handler in handlers {
            handler.abort();
        }
        self.flush();
    }
}
