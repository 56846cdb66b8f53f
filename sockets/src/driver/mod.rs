//! The task of a session: it reads, dispatches, writes, keeps time, and closes the connection.

mod dispatch;
mod handler_cache;
mod handler_slots;
mod pause;
mod rate_limiter;
mod reattach;

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    task::AbortHandle,
    time::{Sleep, sleep_until},
};

pub(crate) use self::reattach::{Reattach, ReattachFuture, Reattached};
use self::{
    dispatch::{Dispatcher, HeldCall, TimeSlice},
    handler_slots::HandlerSlots,
    pause::Pauses,
};
use crate::lock::{event, in_transport};
use crate::{
    clock,
    disconnect_reason::DisconnectReason,
    hooks::contain,
    peer_label::PeerLabel,
    scheduler::{wake_after_others, wake_another_worker},
    session::{Received, SLOW, Session, SlowPermit, Timers, Turn, WakeList},
    transport::{Batch, Receive, ReceiveError, close_gracefully},
};
use sockets_proto::{Frame, ProtocolError};

/// Maximum time of a dispatch. When it has passed, the driver writes the queued replies.
const SLICE: Duration = Duration::from_micros(500);
const _: () = assert!(SLICE.as_nanos() <= SLOW.as_nanos(), "a slow handler ends its time slice");
/// Maximum age of a time slice in which a pending read proves that no bytes have arrived. In an
/// older time slice, bytes may have arrived, because tokio may not have polled for I/O since the
/// time slice began.
const CLOCK_STALENESS: Duration = Duration::from_millis(5);

/// The driver of a session. A single task runs it.
pub(crate) struct Driver {
    session: Arc<Session>,
    receiver: Box<dyn Receive>,
    /// The waker that the session has registered.
    waker: Waker,
    /// Frames that have been received and not been accepted.
    batch: Batch,
    /// The accepted frames that the driver has not handled, in their order.
    received: VecDeque<Received>,
    /// The time at which the frames in `batch` were received. The timeouts of the calls in these
    /// frames count from this time.
    arrived: Instant,
    /// The rest of an announcement, which is recorded before the batch is handled.
    announced: Option<Box<Bytes>>,
    dispatcher: Dispatcher,
    /// The pauses between time slices.
    pauses: Pauses,
    sleep: Option<Pin<Box<Sleep>>>,
    /// The driver has yielded to callers before it writes their messages.
    yielded: bool,
    /// The peer has closed the session, so no close frame is sent.
    peer_closed: bool,
    /// Finds another connection after a loss. `None` if the session ends with its connection.
    reattach: Option<Arc<dyn Reattach>>,
    /// The task that closes a superseded connection.
    supersede_task: Option<AbortHandle>,
}

impl Driver {
    pub(crate) fn new(session: Arc<Session>, receiver: Box<dyn Receive>, received: Bytes) -> Self {
        let dispatcher = Dispatcher::new(Arc::clone(&session));
        Self {
            session,
            receiver,
            waker: Waker::noop().clone(),
            batch: received.into(),
            received: VecDeque::new(),
            arrived: clock::now(),
            announced: None,
            dispatcher,
            pauses: Pauses::default(),
            sleep: None,
            yielded: false,
            peer_closed: false,
            reattach: None,
            supersede_task: None,
        }
    }

    /// Makes the session survive the loss of its connection.
    pub(crate) fn with_reattach(self, reattach: Arc<dyn Reattach>) -> Self {
        Self { reattach: Some(reattach), ..self }
    }

    /// Runs the session to its end. `on_end` runs before any other effect of the end.
    pub(crate) fn run<F: FnOnce()>(mut self, on_end: F) -> impl Future<Output = ()> {
        // The guard is created here, so that it ends the session even if the future is never
        // polled.
        let mut guard = EndGuard { session: Arc::clone(&self.session), on_end: Some(on_end) };
        async move {
            // The futures are boxed, so that they do not enlarge the future of a connected session.
            let closing = loop {
                let reason = poll_fn(|cx| self.poll_run(cx)).await;
                if let Err(reason) = Box::pin(self.reattach(reason)).await {
                    report_end(self.session.label(), &reason);
                    guard.end(&reason);
                    break Box::pin(self.close(reason));
                }
            };
            closing.await;
        }
    }

    /// Sends a close frame, unless the peer has sent a close frame, and closes the connection.
    async fn close(self, reason: DisconnectReason) {
        let Self { session, mut receiver, received, dispatcher, pauses, peer_closed, .. } = self;
        // The driver keeps neither results nor handlers nor a permit while it closes the connection.
        drop((received, dispatcher, pauses));
        let close = session.close_reason(&reason).filter(|_| !peer_closed);
        let sends_close = close.is_some();
        if let Some((reason, text)) = close {
            session.send_control(Frame::Close { reason }, &text);
        }
        // The transport of a peer that has sent a close frame may wait for the close of this half.
        if peer_closed || sends_close {
            close_gracefully(&mut *receiver, |cx| session.poll_finish(cx)).await;
        }
    }

    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<DisconnectReason> {
        match self.poll_step(cx) {
            Ok(()) => Poll::Pending,
            Err(reason) => Poll::Ready(reason),
        }
    }

    /// Passes the waker of the driver's task to `register`, if the waker has changed.
    fn register(&mut self, cx: &Context<'_>, register: impl FnOnce(&Session, &Waker)) {
        if !self.waker.will_wake(cx.waker()) {
            self.waker.clone_from(cx.waker());
            register(&self.session, &self.waker);
        }
    }

    /// Reads, dispatches and writes for a time slice. An error ends the connection.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Result<(), DisconnectReason> {
        let began = clock::now();
        let (mut now, until) = (began, began + SLICE);
        self.register(cx, Session::start_driver);
        self.session.prepare(now)?;
        // The permit is held to the end of the time slice.
        let Poll::Ready(permit) = self.poll_pause(now, cx) else {
            return self.poll_timers(now, false, cx);
        };
        if permit.is_some() {
            wake_another_worker();
        }
        let mut listened = false;
        let has_more = loop {
            if self.has_work(now) {
                if now >= until {
                    break true;
                }
                now = self.run_turn(now, until)?;
                continue;
            }
            let max_frame = self.session.limits().max_frame as usize;
            match in_transport(|| self.receiver.poll_receive(cx, max_frame)) {
                Poll::Ready(Ok(batch)) => (self.batch, self.arrived) = (batch.into(), now),
                Poll::Ready(Err(error)) => return Err(receive_error_reason(error)),
                Poll::Pending => {
                    listened = now < began + CLOCK_STALENESS;
                    break !listened;
                }
            }
        };
        if has_more {
            self.pauses.wait_for_others(now, cx);
        }
        let partial = self.receiver.partial_bytes();
        if listened && partial > 0 {
            self.session.on_partial(now, partial);
        }
        if self.receiver.has_unsent_replies() {
            self.session.flush_transport();
        }
        self.poll_timers(now, listened, cx)
    }

    /// Waits until the next time slice may begin. A slow session gets a permit for it.
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

    /// Returns `true` if received frames or calls can be handled.
    fn has_work(&self, now: Instant) -> bool {
        !self.batch.is_empty() || self.has_accepted(now)
    }

    /// Returns `true` if accepted frames or held calls can be handled.
    fn has_accepted(&self, now: Instant) -> bool {
        !self.received.is_empty() || self.has_held(now)
    }

    /// Returns `true` if an announcement is left, or if held calls can start.
    fn has_held(&self, now: Instant) -> bool {
        self.announced.is_some() || self.dispatcher.has_work(now)
    }

    /// Runs a turn: accepts received frames, runs the handlers of calls in their order, and settles
    /// the results. Stops when no call or frame is left, when the replies fill the queue, or at the
    /// time `until`. Then writes the messages that the calls and frames have queued. Returns the
    /// time at which the turn stopped.
    fn run_turn(&mut self, began: Instant, until: Instant) -> Result<Instant, DisconnectReason> {
        let mut turn = Turn::new(began);
        let mut wakes = WakeList::new();
        let mut slots = HandlerSlots::take_from_thread();
        let mut slice = TimeSlice { now: began, until };
        if self.received.is_empty() {
            self.dispatcher.begin_turn();
        }
        let mut handled = Ok(());
        while handled.is_ok() && !turn.is_full() && self.has_work(slice.now) {
            if turn.is_open() && self.has_accepted(slice.now) {
                handled = self.step(&slice, &mut turn, &mut wakes, &mut slots);
            } else {
                let has_held = self.has_held(slice.now);
                self.session.accept(&mut turn, &mut self.batch, &mut self.received, &mut wakes, has_held);
                if self.batch.is_empty() {
                    continue;
                }
            }
            // A step may have polled a handler, which is user code and may run for any time. So the
            // driver measures the time of every step.
            let before = mem::replace(&mut slice.now, clock::now());
            if slice.now >= until {
                // A slow handler takes longer than a time slice, so only the last step can be slow.
                self.session.record_poll(before, slice.now);
                break;
            }
        }
        slots.return_to_thread();
        self.session.end_turn(&mut turn);
        handled.map(|()| slice.now)
    }

    /// Handles the next received frame, or starts the next held call.
    #[inline]
    fn step(
        &mut self,
        slice: &TimeSlice,
        turn: &mut Turn,
        wakes: &mut WakeList,
        slots: &mut HandlerSlots,
    ) -> Result<(), DisconnectReason> {
        if let Some(announced) = &mut self.announced {
            if self.session.record_signatures(announced) {
                self.announced = None;
            }
            return Ok(());
        }
        turn.enter(&self.session);
        if self.dispatcher.has_work(slice.now) {
            wakes.wake_all();
            return self.dispatcher.release_next(slice, slots).map_err(protocol_error_reason);
        }
        match self.received.pop_front() {
            None => {}
            Some(Received::Call { call, is_cancelled }) => {
                // Callers must not wait for a handler.
                wakes.wake_all();
                let held = HeldCall { call, arrived: self.arrived, is_cancelled };
                self.dispatcher
                    .accept(held, slice, turn.can_dispatch(&self.session), slots, &self.batch)
                    .map_err(protocol_error_reason)?;
            }
            Some(Received::Completed(result)) => self.session.release_results(result, &mut self.received, wakes),
            Some(Received::Cancelled(id)) if self.session.stop_handler(id) => {}
            Some(Received::Cancelled(id)) => self.dispatcher.revoke(id),
            Some(Received::Announced(signatures)) => self.announced = Some(Box::new(signatures)),
            Some(Received::Ready) => {
                if let Some(reattach) = &self.reattach {
                    reattach.on_established();
                }
            }
            Some(Received::Closed(reason)) => {
                self.peer_closed = true;
                return Err(reason);
            }
            Some(Received::Violated(violation)) => return Err(protocol_error_reason(violation)),
        }
        Ok(())
    }

    /// Writes the messages for which callers have requested a flush. Before the write, the driver
    /// yields once to the ready tasks, which may queue more messages. To yield, the driver's task
    /// wakes itself, and so moves to the back of the run queue.
    fn flush_requested(&mut self, cx: &Context<'_>) {
        self.yielded = !self.yielded;
        if self.yielded {
            cx.waker().wake_by_ref();
        } else {
            self.session.flush_requested();
        }
    }

    /// Handles expired deadlines and sleeps until the next deadline. The driver does not sleep for
    /// held calls while it pauses, since the end of the pause wakes the driver.
    fn poll_timers(&mut self, mut now: Instant, listened: bool, cx: &mut Context<'_>) -> Result<(), DisconnectReason> {
        loop {
            let Timers { next, flush_requested } = self.session.handle_timeout(now, listened)?;
            if flush_requested {
                self.flush_requested(cx);
            }
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

/// A guard that ends a session when its driver is dropped. A runtime that shuts down drops the
/// driver. Without the guard, calls from other runtimes would then wait for ever.
struct EndGuard<F: FnOnce()> {
    session: Arc<Session>,
    on_end: Option<F>,
}

impl<F: FnOnce()> EndGuard<F> {
    fn end(&mut self, reason: &DisconnectReason) {
        if let Some(on_end) = self.on_end.take() {
            contain(on_end);
            self.session.end(reason);
        }
    }
}

impl<F: FnOnce()> Drop for EndGuard<F> {
    fn drop(&mut self) {
        let reason = "the driver was stopped by the shutdown of its runtime or a panic";
        self.end(&DisconnectReason::Lost(reason.into()));
        self.session.release();
    }
}

fn report_end(peer: PeerLabel, reason: &DisconnectReason) {
    if let DisconnectReason::ProtocolViolation(violation) = reason {
        event!(warn, %peer, violation, "a peer has caused a protocol error");
    }
    event!(debug, %peer, %reason, "a session has ended");
}

fn protocol_error_reason(violation: ProtocolError) -> DisconnectReason {
    DisconnectReason::ProtocolViolation(violation.to_string())
}

fn receive_error_reason(error: ReceiveError) -> DisconnectReason {
    match error {
        ReceiveError::Closed => DisconnectReason::Lost("the peer closed it without a close frame".into()),
        ReceiveError::Io(error) => DisconnectReason::Lost(error.to_string()),
        ReceiveError::Violation(violation) => protocol_error_reason(violation),
    }
}
