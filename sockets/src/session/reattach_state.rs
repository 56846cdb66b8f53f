//! The data of a session that concerns its next connection.

use std::time::Duration;

use super::{DetachedShare, ResumedConnection};
use crate::disconnect_reason::DisconnectReason;
use sockets_proto::{Token, Tokens};

/// The data of a session that concerns its next connection.
#[derive(Default)]
pub(super) struct ReattachState {
    /// A connection that the driver has not attached yet.
    offer: Option<Box<ResumedConnection>>,
    /// The tokens that resume a server's session.
    tokens: Option<Box<Tokens>>,
    /// The number of the latest attempt with an accepted request.
    attempt: u64,
    /// The number of the latest attempt with a valid token, accepted or not.
    requested: u64,
    /// The share of this session in the bytes of all detached sessions of its server. The field is
    /// `None` while the session is connected.
    share: Option<DetachedShare>,
    /// The milliseconds after which the client reconnects if the server restarts.
    restart_delay: u32,
    /// The number of losses and resumptions. It is odd while the session is detached.
    changes: u32,
    /// The reason for which the session lost its last connection.
    loss: Option<Box<DisconnectReason>>,
}

impl ReattachState {
    /// Returns `true` if another connection replaces the current connection.
    pub(super) fn has_offer(&self) -> bool {
        self.offer.is_some()
    }

    pub(super) fn take_offer(&mut self) -> Option<Box<ResumedConnection>> {
        self.offer.take()
    }

    /// Sets the next connection. Returns the connection that it replaces.
    pub(super) fn replace_offer(&mut self, offer: Box<ResumedConnection>) -> Option<Box<ResumedConnection>> {
        self.attempt = self.attempt.max(offer.request.attempt);
        self.offer.replace(offer)
    }

    /// Returns `true` if an attempt with at least this number has been accepted.
    pub(super) fn is_superseded(&self, attempt: u64) -> bool {
        attempt <= self.attempt
    }

    /// Records that the client has made an attempt with a valid token.
    pub(super) fn record_attempt(&mut self, attempt: u64) {
        self.requested = self.requested.max(attempt);
    }

    /// Returns `true` if the client has made no later attempt.
    pub(super) fn is_latest(&self, attempt: u64) -> bool {
        attempt >= self.requested
    }

    /// Counts the loss of a connection, or a resumption.
    pub(super) fn count_change(&mut self) {
        self.changes = self.changes.wrapping_add(1);
    }

    pub(super) fn changes(&self) -> u32 {
        self.changes
    }

    pub(super) fn set_loss(&mut self, reason: DisconnectReason) {
        self.loss = Some(Box::new(reason));
    }

    pub(super) fn loss(&self) -> Option<&DisconnectReason> {
        self.loss.as_deref()
    }

    /// Sets the first token that resumes the session.
    pub(super) fn set_token(&mut self, token: Token) {
        self.tokens = Some(Box::new(Tokens::new(token)));
    }

    /// Returns `true` if this token resumes the session.
    pub(super) fn verify(&self, token: &Token) -> bool {
        self.tokens.as_ref().is_some_and(|tokens| tokens.verify(token))
    }

    /// Replaces the used token by the next token.
    pub(super) fn rotate(&mut self, used: Token, next: Token) {
        if let Some(tokens) = &mut self.tokens {
            tokens.rotate(used, next);
        }
    }

    /// Confirms the new token when the session receives an acknowledgement. A client sends an
    /// acknowledgement only after it has received the token.
    #[cold]
    pub(super) fn confirm_token(&mut self) {
        if let Some(tokens) = &mut self.tokens {
            tokens.confirm();
        }
    }

    pub(super) fn set_share(&mut self, share: Option<DetachedShare>) {
        self.share = share;
    }

    /// Returns `true` if the session is detached and its share has to be adjusted; see
    /// [`DetachedShare::is_outdated`].
    #[inline]
    pub(super) fn is_share_outdated(&self, held_bytes: impl FnOnce() -> usize) -> bool {
        self.share.as_ref().is_some_and(|share| share.is_outdated(held_bytes()))
    }

    /// Adjusts the share. Returns `false` if the session holds more bytes than it may; see
    /// [`DetachedShare::adjust`].
    pub(super) fn adjust_share(&mut self, bytes: usize) -> bool {
        self.share.as_mut().is_none_or(|share| share.adjust(bytes))
    }

    /// Releases the share of a session that has ended. If replies still wait, the share keeps the
    /// bytes of these replies.
    pub(super) fn release_share(&mut self, bytes: usize) {
        let share = self.share.as_mut().filter(|_| bytes > 0);
        if share.is_none_or(|share| !share.adjust(bytes)) {
            self.share = None;
        }
    }

    /// Sets the time after which the client reconnects if the server restarts.
    pub(super) fn set_restart_delay(&mut self, delay: Duration) {
        self.restart_delay = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
    }

    pub(super) fn restart_delay(&self) -> Duration {
        Duration::from_millis(self.restart_delay.into())
    }
}
