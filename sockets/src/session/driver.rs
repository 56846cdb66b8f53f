//! The task of a session: it reads, dispatches, writes, keeps time, and says goodbye.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::time::{Sleep, sleep_until, timeout};

use super::{Session, dispatch::Dispatcher, waiting::Notice};
use crate::{
    clock::now,
    disconnect_reason::DisconnectReason,
    proto::{Event, Frame},
    transport::{Receive, ReceiveError, next_frame},
};

/// How long a dispatch goes on before what it has answered is written.
const SLICE: Duration = Duration::from_micros(500);
/// How many frames are dispatched between two looks at the clock.
const FRAMES_PER_LOOK: u32 = 16;
/// How long a goodbye may take to be written, and then how long the other side has to close.
const FAREWELL: Duration = Duration::from_secs(2);

/// The driver of a session. One task runs it.
pub(crate) struct Driver {
    session: Arc<Session>,
    receiver: Box<dyn Receive>,
    /// Frames that have been received and not been handled.
    batch: Bytes,
    dispatcher: Dispatcher,
    sleep: Option<Pin<Box<Sleep>>>,
    /// Callers have been let run before their messages are written.
    yielded: bool,
}

impl Driver {
    pub(crate) fn new(session: Arc<Session>, receiver: Box<dyn Receive>, received: Bytes) -> Self {
        let dispatcher = Dispatcher::new(Arc::clone(&session));
        Self { session, receiver, batch: received, dispatcher, sleep: None, yielded: false }
    }

    /// Runs the session to its end. `leave` runs first then, before anybody hears of it.
    pub(crate) async fn run(mut self, leave: impl FnOnce()) {
        let reason = poll_fn(|cx| self.poll_run(cx)).await;
        tracing::debug!(%reason, "a session has ended");
        leave();
        self.session.end(&reason);
        let Self { session, mut receiver, .. } = self;
        if let Some((farewell, text)) = reason.farewell() {
            say_goodbye(&session, &mut *receiver, Frame::Goodbye { reason: farewell }, text).await;
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
        self.prepare(cx)?;
        let started = now();
        loop {
            self.dispatch(started)?;
            if !self.batch.is_empty() || self.dispatcher.has_work() || now() >= started + SLICE {
                cx.waker().wake_by_ref();
                break;
            }
            match self.receiver.poll_receive(cx, self.session.limits.max_frame as usize) {
                Poll::Ready(Ok(batch)) => self.batch = batch,
                Poll::Ready(Err(error)) => return Err(end_of_receiving(error)),
                Poll::Pending => break,
            }
        }
        self.write_for_others(cx);
        self.keep_time(cx)
    }

    /// Makes sure that this task is woken, and looks whether it is to go on.
    fn prepare(&mut self, cx: &Context<'_>) -> Result<(), DisconnectReason> {
        let mut state = self.session.state.lock();
        let known = state.driver.will_wake(cx.waker());
        if !known {
            state.driver.clone_from(cx.waker());
        }
        if let Some(reason) = state.closing.take() {
            return Err(reason);
        }
        drop(state);
        if !known || self.session.is_blocked() {
            let mut writer = self.session.writer.lock();
            writer.set_waker(cx.waker());
            if let Some(error) = writer.take_error() {
                return Err(DisconnectReason::Lost(error.to_string()));
            }
            drop(writer);
            self.session.flush();
        }
        Ok(())
    }

    /// Handles received frames until there are none or the time is up, and writes what came of them.
    fn dispatch(&mut self, started: Instant) -> Result<(), DisconnectReason> {
        if self.batch.is_empty() && !self.dispatcher.has_work() {
            return Ok(());
        }
        let received = now();
        self.session.state.lock().dispatching = true;
        let mut handled = self.dispatcher.release().map_err(violated);
        let mut frames = 0;
        while handled.is_ok()
            && let Some(frame) = next_frame(&mut self.batch)
        {
            handled = self.handle(received, frame);
            frames += 1;
            if frames % FRAMES_PER_LOOK == 0 && now() >= started + SLICE {
                break;
            }
        }
        let mut state = self.session.state.lock();
        state.dispatching = false;
        let written = state.core.outbox().is_empty();
        self.session.settle(&state);
        drop(state);
        if !written && !self.session.is_blocked() {
            self.session.flush();
        }
        handled
    }

    fn handle(&mut self, now: Instant, frame: Bytes) -> Result<(), DisconnectReason> {
        let mut state = self.session.state.lock();
        let event = state.core.handle(now, frame).map_err(violated)?;
        if state.emits_waiting > 0 {
            self.session.room.notify_waiters();
        }
        match event {
            Event::Answered { consumer, answer } => {
                let notice = state.deliver(consumer, answer);
                drop(state);
                notice.into_iter().for_each(Notice::give);
            }
            Event::Handled => {}
            Event::Called(called) => {
                drop(state);
                self.dispatcher.accept(called, now).map_err(violated)?;
            }
            Event::Cancelled(handler) => handler.abort(),
            Event::Revoked(id) => {
                drop(state);
                self.dispatcher.revoke(id);
            }
            Event::StrayAnswer => tracing::debug!("an answer came for a call that nobody waits for"),
            Event::Ready => self.session.connected.notify_one(),
            Event::GoingAway => state.core.control(Frame::Drained, ""),
            Event::Drained => {
                self.session.drained.store(true, Ordering::Release);
                self.session.settle(&state);
            }
            Event::Goodbye { reason, text } => return Err(DisconnectReason::told(reason, text)),
        }
        Ok(())
    }

    /// Writes what callers have asked to be written, after the others that are about to run have had their turn: a task
    /// that wakes itself goes to the back of the run queue.
    fn write_for_others(&mut self, cx: &Context<'_>) {
        let mut state = self.session.state.lock();
        if !state.flush_requested {
            return;
        }
        if !self.yielded {
            self.yielded = true;
            cx.waker().wake_by_ref();
            return;
        }
        self.yielded = false;
        state.flush_requested = false;
        drop(state);
        self.session.flush();
    }

    /// Ends overdue calls and sleeps until the next deadline.
    fn keep_time(&mut self, cx: &mut Context<'_>) -> Result<(), DisconnectReason> {
        let stalled = self.check_stall()?;
        let mut state = self.session.state.lock();
        loop {
            let next = state.core.next_timeout().into_iter().chain(stalled).min();
            state.armed = next;
            let Some(next) = next else {
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
            let ended = state.core.handle_timeout(now());
            let notices: Vec<_> = ended.into_iter().filter_map(|(who, answer)| state.deliver(who, answer)).collect();
            let queued = !state.core.outbox().is_empty();
            drop(state);
            notices.into_iter().for_each(Notice::give);
            if queued && !self.session.is_blocked() {
                self.session.flush();
            }
            self.check_stall()?;
            state = self.session.state.lock();
        }
    }

    /// When the connection will have taken nothing for too long, if it takes nothing now.
    fn check_stall(&self) -> Result<Option<Instant>, DisconnectReason> {
        if !self.session.is_blocked() {
            return Ok(None);
        }
        // Whoever holds the writer is trying just now.
        let since = self.session.writer.try_lock().and_then(|writer| writer.blocked_since());
        let limit = since.map(|since| since + self.session.limits.stall);
        if limit.is_some_and(|limit| now() >= limit) { Err(DisconnectReason::TooSlow) } else { Ok(limit) }
    }
}

fn violated(violation: crate::proto::Violation) -> DisconnectReason {
    tracing::warn!(%violation, "a peer broke the protocol");
    DisconnectReason::ProtocolViolation(violation.to_string())
}

fn end_of_receiving(error: ReceiveError) -> DisconnectReason {
    match error {
        ReceiveError::Closed => DisconnectReason::Lost("the other side closed it without a goodbye".into()),
        ReceiveError::Io(error) => DisconnectReason::Lost(error.to_string()),
        ReceiveError::Violation(violation) => violated(violation),
    }
}

/// Writes what is queued and the goodbye behind it, closes this half, and waits for the other side to close: a socket
/// that is dropped with unread bytes would take back what was just written.
async fn say_goodbye(session: &Session, receiver: &mut dyn Receive, goodbye: Frame, text: &str) {
    session.state.lock().core.control(goodbye, text);
    let written = timeout(FAREWELL, poll_fn(|cx| session.poll_finish(cx))).await;
    if !matches!(written, Ok(Ok(()))) {
        return;
    }
    let closed = poll_fn(|cx| {
        loop {
            match receiver.poll_receive(cx, session.limits.max_frame as usize) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    // One that keeps talking does not keep us.
    let _ = timeout(FAREWELL, closed).await;
}
