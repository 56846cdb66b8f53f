//! The part of a session that its lock protects.

use std::{
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use futures_util::future::AbortHandle;

use super::{
    MultiCallSlot, Session, lifecycle::Hook, pending_replies::PendingReplies, reattach_state::ReattachState,
    signatures::Signatures, state_lock::Recorded, wait_slots::WaitSlots,
};
use crate::{broadcast::BroadcastState, clock::now, disconnect_reason::DisconnectReason, lock::Notify};
use sockets_proto::{Overflow, SessionCore, clamp_timeout};

/// Maximum time for which a closing session waits for its pending messages before it ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The reason with which a detached session ends if it holds too many bytes.
const TOO_MANY_BYTES: &str = "its connection was lost, and detached sessions hold more than `resume_sessions_bytes`";

/// The consumer of a call's result.
pub(super) enum Waiter {
    /// The future of a call, with the number of its slot.
    Caller(usize),
    /// A broadcast request, with the slot of this member.
    Member(MultiCallSlot),
}

/// The part of a session that its lock protects.
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub(super) struct State {
    pub(super) core: SessionCore<Waiter, AbortHandle>,
    pub(super) wait_slots: WaitSlots,
    /// The signatures of the methods that the peer serves.
    pub(super) signatures: Signatures,
    /// The time at which the driver began to dispatch the current batch. The driver writes after
    /// the batch.
    pub(super) dispatching: Option<Instant>,
    /// The number of bytes that were already queued when the current batch began. The number is 0
    /// after a write of these bytes has begun.
    pub(super) queued_before: usize,
    /// The driver has been asked to write.
    pub(super) flush_requested: bool,
    /// The number of emits that wait for capacity. Other emits must not overtake them.
    pub(super) emits_waiting: usize,
    /// The number of these emits that replace older ones. Only other such emits must not overtake
    /// them.
    pub(super) latest_waiting: usize,
    pub(super) replies: PendingReplies,
    /// The time until which the driver sleeps.
    pub(super) timer: Option<Instant>,
    pub(super) driver: Waker,
    /// Calls from the peer may be dispatched.
    pub(super) ready: bool,
    /// The server has sent a go away frame.
    pub(super) going_away: bool,
    /// Calls are held until queued replies have been written.
    pub(super) backpressured: bool,

    pub(super) reattach: ReattachState,
    /// The end that the local endpoint has requested, if any.
    pub(super) closing: Option<Box<Closing>>,
    /// The reason for which the client gives up its session with the server and starts another.
    pub(super) abandoned: Option<Box<DisconnectReason>>,
    pub(super) hooks: Vec<Hook>,
    /// The state of this member in broadcasts. A client has an empty state.
    pub(super) broadcast: BroadcastState<Session>,
    /// The wakes and events that run after the lock has been released.
    pub(super) recorded: Option<Recorded>,
}

/// The end of a session that the local endpoint has requested.
pub(super) struct Closing {
    reason: DisconnectReason,
    /// The time at which the session ends at the latest.
    until: Instant,
}

impl State {
    /// Returns the number of bytes that the session holds for its peer.
    pub(super) fn held_bytes(&self) -> usize {
        self.core.held_bytes() + self.replies.bytes() + self.signatures.bytes()
    }

    /// Returns the time at which the current batch began, or the current time if there is no
    /// current batch. Reading the clock for each message of a batch would cost as much as the rest
    /// of a reply.
    pub(super) fn now(&self) -> Instant {
        self.dispatching.unwrap_or_else(now)
    }

    /// Makes the driver wake up in time for the earliest deadline.
    pub(super) fn arm_timer(&mut self) {
        let next = self.core.next_timeout();
        if next.is_some() && self.timer.is_none_or(|armed| next < Some(armed)) {
            self.timer = next;
            self.wake_driver();
        }
    }

    /// Makes the driver wake up in time for the deadline of a new call. In most cases, the driver
    /// wakes up earlier for another deadline anyway, so the function does nothing.
    pub(super) fn arm_for(&mut self, timeout: Duration, now: Instant) {
        if self.core.has_pending() || self.timer.is_none_or(|armed| now + clamp_timeout(timeout) < armed) {
            self.arm_timer();
        }
    }

    /// Makes the driver wake up in time for the timeouts of replies and emits that wait for window.
    /// These timeouts are independent of the deadlines of calls.
    pub(super) fn arm_timer_if_pending(&mut self) {
        if self.core.is_window_exhausted() {
            self.arm_timer();
        }
    }

    /// Returns `true` if calls may start: the `connected` hook has finished, the peer reads its
    /// replies, and the local endpoint is not ending the session.
    pub(super) fn can_dispatch(&mut self) -> bool {
        let full = self.core.is_full();
        self.backpressured |= full;
        self.ready && self.closing.is_none() && !full
    }

    fn recorded(&mut self) -> &mut Recorded {
        self.recorded.get_or_insert_default()
    }

    /// Wakes the driver.
    pub(super) fn wake_driver(&mut self) {
        self.recorded().wake_driver = true;
    }

    /// Asks the driver to write.
    pub(super) fn request_flush(&mut self) {
        self.flush_requested = true;
        self.wake_driver();
    }

    /// Wakes emits and replies that wait for capacity.
    pub(super) fn notify_capacity(&mut self) {
        self.recorded().notify_capacity = true;
    }

    /// Wakes tasks that wait for a change of the session.
    pub(super) fn notify_changed(&mut self) {
        self.recorded().notify_changed = true;
    }

    /// Wakes emitters to an audience of this session.
    pub(super) fn notify_emitters(&mut self, emitters: Arc<Notify>) {
        self.recorded().emitters = Some(emitters);
    }

    /// Reports a reply to a call that no caller waits for.
    pub(super) fn report_unknown_reply(&mut self) {
        self.recorded().events().unknown_replies += 1;
    }

    /// Reports that an emit is not sent to this member, since the member serves another signature.
    pub(super) fn report_mismatched_emit(&mut self) {
        self.recorded().events().mismatched_emits += 1;
    }

    /// Reports an emit that is larger than this member of an audience accepts.
    pub(super) fn report_too_large_emit(&mut self) {
        self.recorded().events().too_large_emits += 1;
    }

    /// Reports emits that are dropped for this member of an audience, since its queue is full.
    pub(super) fn report_dropped_emits(&mut self, count: u64, overflow: Overflow) {
        let dropped = &mut self.recorded().events().dropped_emits;
        match dropped.last_mut() {
            Some((total, policy)) if *policy == overflow => *total += count,
            _ => dropped.push((count, overflow)),
        }
    }

    /// Asks the driver to end the session. Only the first reason counts.
    pub(super) fn close(&mut self, reason: DisconnectReason) {
        self.closing.get_or_insert_with(|| Box::new(Closing { reason, until: now() + CLOSE_TIMEOUT }));
        self.wake_driver();
    }

    /// Returns `true` if the session ends or gets another connection. Every change to such a state
    /// wakes the driver.
    pub(super) fn is_interrupted(&self) -> bool {
        self.closing.is_some() || self.abandoned.is_some() || self.reattach.has_offer()
    }

    /// Returns the reason for which the local endpoint ends the session.
    pub(super) fn close_reason(&self) -> Option<&DisconnectReason> {
        self.closing.as_deref().map(|closing| &closing.reason)
    }

    /// If the local endpoint ends the session now, returns the reason as an error. If the end is
    /// delayed, returns the time at which the caller has to check again.
    pub(super) fn closing(&mut self, now: Instant) -> Result<Option<Instant>, DisconnectReason> {
        if let Some(reason) = self.abandoned.take() {
            return Err(*reason);
        }
        let Some(Closing { reason, until }) = self.closing.as_deref() else { return Ok(None) };
        // Delay the end while earlier messages wait for window, so that the peer receives them
        // before the close frame. Do not delay it if these messages may be the reason for which the
        // session ends.
        let orderly =
            matches!(reason, DisconnectReason::Closed | DisconnectReason::Kicked(_) | DisconnectReason::Refused(_));
        let lingers = orderly && !self.is_detached() && self.core.is_window_exhausted() && now < *until;
        if lingers { Ok(Some(*until)) } else { Err(reason.clone()) }
    }

    /// Returns `true` if the session holds handlers of methods with large replies. It holds them
    /// while the waiting replies have at least as many bytes as the limit of the queue. A detached
    /// session also holds them while it is closing, for example because it would keep too many
    /// bytes.
    pub(super) fn is_under_pressure(&self) -> bool {
        self.replies.bytes() >= self.core.queue_limit() || self.is_detached() && self.closing.is_some()
    }

    /// If the queue may have become shorter, wakes the first emit that waits.
    pub(super) fn check_capacity(&mut self) {
        self.queue_has_shrunk();
        if self.emits_waiting > 0 {
            self.notify_capacity();
        }
    }

    /// Updates the lag of this member after its queue may have become shorter.
    #[inline]
    pub(super) fn queue_has_shrunk(&mut self) {
        if self.broadcast.has_caught_up(&self.core) {
            self.leave_lag();
        }
    }

    #[cold]
    fn leave_lag(&mut self) {
        if let Some(emitters) = self.broadcast.leave_lag(&self.core) {
            self.notify_emitters(emitters);
        }
    }

    /// Stops all emitters from waiting for this member.
    pub(super) fn give_up_waiting(&mut self) {
        if let Some(emitters) = self.broadcast.give_up() {
            self.notify_emitters(emitters);
        }
    }

    pub(super) fn is_detached(&self) -> bool {
        self.core.is_detached()
    }

    /// Adjusts the share of a detached session after the session has queued a message. If the
    /// session holds too many bytes, this method closes the session.
    pub(super) fn update_share(&mut self) {
        if self.reattach.is_share_outdated(|| self.held_bytes()) {
            self.adjust_share(self.held_bytes());
        }
    }

    /// Returns `true` if the session may hold a reply of `bytes` bytes. A connected session always
    /// may. If a detached session may not, this method closes the session.
    ///
    /// The session counts the reply before it queues the reply. If the drivers counted later,
    /// handlers of many sessions could exceed the limit of all detached sessions before any driver
    /// runs.
    pub(super) fn admits_reply(&mut self, bytes: usize) -> bool {
        if !self.is_detached() {
            return true;
        }
        self.closing.is_none() && self.adjust_share(self.held_bytes() + bytes)
    }

    /// Adjusts the share of the session. If [`DetachedShare::adjust`] returns `false`, closes the
    /// session and returns `false`.
    #[cold]
    pub(super) fn adjust_share(&mut self, bytes: usize) -> bool {
        let fits = self.reattach.adjust_share(bytes);
        if !fits {
            self.close(DisconnectReason::Lost(TOO_MANY_BYTES.into()));
        }
        fits
    }
}
