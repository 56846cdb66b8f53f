//! The task of a session: it reads, dispatches, writes, keeps time, and says goodbye.

mod dispatch;
mod handler_slots;
mod pause;
mod rate_limiter;
mod reattach;

use std::{
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    task::AbortHandle,
    time::{Sleep, sleep_until},
};

pub(crate) use self::reattach::{Reattach, ReattachFuture, Reattached};
use self::{
    dispatch::{Dispatcher, Moment},
    handler_slots::HandlerSlots,
    pause::Pauses,
};
use crate::lock::{event, in_transport};
use crate::{
    clock,
    contain::contain,
    disconnect_reason::DisconnectReason,
    session::{Received, SLOW, Session, SlowPermit, WakeList},
    transport::{Batch, Receive, ReceiveError, close_gracefully, wake_after_others},
};
use sockets_proto::{Frame, ProtocolError};

/// How long a dispatch goes on before what it has answered is written.
const SLICE: Duration = Duration::from_micros(500);
const _: () = assert!(SLICE.as_nanos() <= SLOW.as_nanos(), "a slow handler ends its turn");
/// After so long, what has arrived meanwhile may not be known yet: tokio has to look for it first.
const CLOCK_STALENESS: Duration = Duration::from_millis(5);

/// The driver of a session. One task runs it.
pub(crate) struct Driver {
    session: Arc<Session>,
    receiver: Box<dyn Receive>,
    /// Frames that have been received and not been handled.
    batch: Batch,
    /// When they were received: the deadlines of the calls among them count from then.
    arrived: Instant,
    /// The rest of an announcement, which comes before the batch.
    announced: Option<Box<Bytes>>,
    dispatcher: Dispatcher,
    /// Set between two turns that follow each other.
    pauses: Pauses,
    sleep: Option<Pin<Box<Sleep>>>,
    /// Callers have been let run before their messages are written.
    yielded: bool,
    /// The other side has said goodbye, and hears none.
    peer_closed: bool,
    /// What finds another link when this one has broken.
    recovery: Option<Arc<dyn Reattach>>,
    /// Tells one that its session goes on over another link.
    superseded: Option<AbortHandle>,
}

impl Driver {
    pub(crate) fn new(session: Arc<Session>, receiver: Box<dyn Receive>, received: Bytes) -> Self {
        let dispatcher = Dispatcher::new(Arc::clone(&session));
        Self {
            session,
            receiver,
            batch: received.into(),
            arrived: clock::now(),
            announced: None,
            dispatcher,
            pauses: Pauses::default(),
            sleep: None,
            yielded: false,
            peer_closed: false,
            recovery: None,
            superseded: None,
        }
    }

    /// The same for a session that goes on when its link has broken.
    pub(crate) fn recovering(self, recovery: Arc<dyn Reattach>) -> Self {
        Self { recovery: Some(recovery), ..self }
    }

    /// Runs the session to its end. `leave` runs first then, before anybody hears of it.
    pub(crate) fn run<L: FnOnce()>(mut self, leave: L) -> impl Future<Output = ()> {
        // Made here, so that it ends the session also if the future is never polled.
        let mut end = EndGuard { session: Arc::clone(&self.session), leave: Some(leave) };
        async move {
            let reason = loop {
                let reason = poll_fn(|cx| self.poll_run(cx)).await;
                // Boxed, so that a session that is far from its end holds no room for it.
                if let Err(reason) = Box::pin(self.reattach(reason)).await {
                    break reason;
                }
            };
            let peer = self.session.label();
            if let DisconnectReason::ProtocolViolation(violation) = &reason {
                event!(warn, %peer, violation, "a peer broke the protocol");
            }
            event!(debug, %peer, %reason, "a session has ended");
            end.because(&reason);
            Box::pin(self.close(reason)).await;
        }
    }

    /// Says goodbye, if the other side has not.
    async fn close(self, reason: DisconnectReason) {
        let Self { session, mut receiver, dispatcher, pauses, peer_closed: told, .. } = self;
        // Neither the handlers nor a permit are kept for the time of a goodbye.
        drop((dispatcher, pauses));
        let farewell = session.farewell(&reason).filter(|_| !told);
        let says_goodbye = farewell.is_some();
        if let Some((farewell, text)) = farewell {
            session.send_control(Frame::Close { reason: farewell }, &text);
        }
        // One who has said goodbye may have to be told by the transport that it was heard.
        if told || says_goodbye {
            close_gracefully(&mut *receiver, |cx| session.poll_finish(cx)).await;
        }
    }

    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<DisconnectReason> {
        match self.poll_step(cx) {
            Ok(()) => Poll::Pending,
            Err(reason) => Poll::Ready(reason),
        }
    }

    /// Does all there is to do now. An error is the end.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Result<(), DisconnectReason> {
        let began = clock::now();
        let (mut now, until) = (began, began + SLICE);
        self.session.prepare(now, cx)?;
        // Held to the end of the turn.
        let Poll::Ready(_permit) = self.poll_pause(now, cx) else {
            self.poll_requested_flush(cx);
            return self.poll_timers(now, false, cx);
        };
        let mut listened = false;
        let goes_on = loop {
            if self.has_work(now) {
                if now >= until {
                    break true;
                }
                now = self.dispatch(now, until)?;
                continue;
            }
            let max_frame = self.session.limits().max_frame as usize;
            match in_transport(|| self.receiver.poll_receive(cx, max_frame)) {
                Poll::Ready(Ok(batch)) => (self.batch, self.arrived) = (batch.into(), now),
                Poll::Ready(Err(error)) => return Err(end_of_receiving(error)),
                Poll::Pending => {
                    listened = now < began + CLOCK_STALENESS;
                    break !listened;
                }
            }
        };
        if goes_on {
            self.pauses.wait_for_others(now, cx);
        }
        let begun = self.receiver.partial_bytes();
        if listened && begun > 0 {
            self.session.on_partial(now, begun);
        }
        if self.receiver.has_unsent_replies() {
            self.session.flush_transport();
        }
        self.poll_requested_flush(cx);
        self.poll_timers(now, listened, cx)
    }

    /// Waits until the next turn may begin. A slow session gets a permit for it.
    fn poll_pause(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<Option<SlowPermit>> {
        loop {
            if let Some(permit) = ready!(self.pauses.poll(now, cx)) {
                return Poll::Ready(Some(permit));
            }
            if !self.session.is_slow() {
                return Poll::Ready(None);
            }
            if let Some(permit) = SlowPermit::try_acquire() {
                return Poll::Ready(Some(permit));
            }
            self.pauses.wait_for_permit(cx);
        }
    }

    /// Whether something that has been received can be handled.
    fn has_work(&self, now: Instant) -> bool {
        self.announced.is_some() || !self.batch.is_empty() || self.dispatcher.has_work(now)
    }

    /// Starts held calls and handles received frames until none are left or the time is up, and writes what they
    /// have queued. Returns the time at which it stopped.
    fn dispatch(&mut self, began: Instant, until: Instant) -> Result<Instant, DisconnectReason> {
        self.session.begin_batch(began);
        let mut notices = WakeList::new();
        let mut places = HandlerSlots::take_from_thread();
        let mut moment = Moment { now: began, until };
        let mut handled = Ok(());
        while handled.is_ok() && self.has_work(moment.now) {
            handled = self.step(&moment, &mut notices, &mut places);
            // A step may have polled a handler, which is user code and may take any time. So every step is timed.
            let before = mem::replace(&mut moment.now, clock::now());
            if moment.now >= until {
                // A handler that is slow takes longer than a turn, so only the last step of one can be slow.
                self.session.record_poll(before, moment.now);
                break;
            }
        }
        places.return_to_thread();
        self.session.end_batch();
        handled.map(|()| moment.now)
    }

    /// Handles a bounded part of what has been received, and starts at most one call.
    #[inline]
    fn step(
        &mut self,
        moment: &Moment,
        notices: &mut WakeList,
        places: &mut HandlerSlots,
    ) -> Result<(), DisconnectReason> {
        if let Some(announced) = &mut self.announced {
            if self.session.record_signatures(announced) {
                self.announced = None;
            }
            return Ok(());
        }
        if self.dispatcher.has_work(moment.now) {
            return self.dispatcher.release_next(moment, places).map_err(protocol_error_reason);
        }
        // One match, so that a call is moved once.
        match self.session.handle(moment.now, &mut self.batch, notices) {
            Ok(None) => {}
            Ok(Some(Received::Call { called, gate_is_open })) => {
                // The handler may take its time.
                notices.wake_all();
                self.dispatcher
                    .accept(called, self.arrived, moment, gate_is_open, places, &self.batch)
                    .map_err(protocol_error_reason)?;
            }
            Ok(Some(Received::Cancelled(handler))) => handler.abort(),
            Ok(Some(Received::Revoked(id))) => self.dispatcher.revoke(id),
            Ok(Some(Received::Announced(signatures))) => self.announced = Some(Box::new(signatures)),
            Ok(Some(Received::Ready)) => {
                if let Some(recovery) = &self.recovery {
                    recovery.on_established();
                }
            }
            Ok(Some(Received::Goodbye(reason))) => {
                self.peer_closed = true;
                return Err(reason);
            }
            Err(violation) => return Err(protocol_error_reason(violation)),
        }
        Ok(())
    }

    /// Writes what callers have asked to be written, after the others that are about to run have had their turn: a task
    /// that wakes itself goes to the back of the run queue.
    fn poll_requested_flush(&mut self, cx: &Context<'_>) {
        if !self.session.flush_is_requested() {
            return;
        }
        self.yielded = !self.yielded;
        if self.yielded {
            cx.waker().wake_by_ref();
        } else {
            self.session.flush_shard_member();
        }
    }

    /// Ends overdue calls and sleeps until the next deadline. While the driver pauses, held calls are not among them: the
    /// end of the pause wakes it.
    fn poll_timers(&mut self, mut now: Instant, listened: bool, cx: &mut Context<'_>) -> Result<(), DisconnectReason> {
        loop {
            let next = self.session.handle_timeout(now, listened)?;
            let resumes_at =
                if self.pauses.is_pausing() { self.pauses.ends_at() } else { self.dispatcher.resumes_at() };
            let Some(next) = [next, resumes_at].into_iter().flatten().min() else {
                self.sleep = None;
                return Ok(());
            };
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(next.into())));
            if sleep.deadline() != next.into() {
                sleep.as_mut().reset(next.into());
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
            now = clock::now();
            if self.pauses.is_pausing() {
                if self.pauses.ends_at().is_some_and(|end| end <= now) {
                    wake_after_others(cx);
                    return Ok(());
                }
            } else if self.dispatcher.has_work(now) {
                wake_after_others(cx);
                return Ok(());
            }
        }
    }
}

/// Ends a session, also when its driver is dropped with its runtime: callers on another one are told.
struct EndGuard<L: FnOnce()> {
    session: Arc<Session>,
    leave: Option<L>,
}

impl<L: FnOnce()> EndGuard<L> {
    fn because(&mut self, reason: &DisconnectReason) {
        if let Some(leave) = self.leave.take() {
            contain(leave);
            self.session.end(reason);
        }
    }
}

impl<L: FnOnce()> Drop for EndGuard<L> {
    fn drop(&mut self) {
        self.because(&DisconnectReason::Lost("its driver was stopped, with its runtime or by a panic".into()));
        self.session.release();
    }
}

fn protocol_error_reason(violation: ProtocolError) -> DisconnectReason {
    DisconnectReason::ProtocolViolation(violation.to_string())
}

fn end_of_receiving(error: ReceiveError) -> DisconnectReason {
    match error {
        ReceiveError::Closed => DisconnectReason::Lost("the other side closed it without a goodbye".into()),
        ReceiveError::Io(error) => DisconnectReason::Lost(error.to_string()),
        ReceiveError::Violation(violation) => protocol_error_reason(violation),
    }
}
