//! Attaches a session to another connection after it has lost its connection.

use std::{
    future::{Future, poll_fn},
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::timeout;

use super::{Driver, SLICE};
use crate::{
    clock,
    disconnect_reason::DisconnectReason,
    handshake::{PeerSettings, ResumeGrant},
    lock::{event, in_transport},
    scheduler::wake_after_others,
    session::{DetachedShare, Received, ResumedConnection, Session},
    transport::{Batch, Discarded, Link, Receive, ReceiveError, Transmit, close_gracefully},
};
use sockets_proto::{CloseReason, Frame, SendBuffer};

/// Maximum number of batches that the driver still receives from a broken connection.
const MAX_DRAIN_BATCHES: usize = 64;
/// Maximum time to wait for each batch from a broken connection.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(5);

/// Another connection for a session.
pub(crate) enum Reattached {
    /// On the server: a connection of the client.
    Accepted(Box<ResumedConnection>),
    /// On the client: the server resumes the session over this connection. The server has received
    /// all frames up to the contained position.
    Resumed(Link, u64),
    /// On the client: the server does not know the session, and starts a new session.
    NewSession(Link, PeerSettings),
}

pub(crate) type ReattachFuture = Pin<Box<dyn Future<Output = Result<Reattached, DisconnectReason>> + Send>>;

/// Finds another connection for a session.
pub(crate) trait Reattach: Send + Sync {
    /// Finds another connection for a session that has lost its connection for `reason`. The
    /// session's driver polls the returned future.
    fn next_link(self: Arc<Self>, session: Arc<Session>, reason: DisconnectReason) -> ReattachFuture;

    /// Returns the share in which a server counts the bytes of a detached session.
    fn share(&self) -> Option<DetachedShare> {
        None
    }

    /// Runs when a client has started a new session over another connection, before it handles
    /// messages of the server. The session holds messages until
    /// [`release_messages`](Session::release_messages).
    fn on_new_session(self: Arc<Self>, session: &Arc<Session>) {
        session.release_messages();
    }

    /// Runs when a new session has become ready, and each time a ready session has been resumed.
    fn on_established(&self) {}
}

impl Driver {
    /// Attaches the session to another connection after a loss for `reason`. If the session ends
    /// instead, returns the reason of the end. A session ends if it does not survive `reason`, or
    /// if no other connection is found.
    pub(super) async fn reattach(&mut self, mut reason: DisconnectReason) -> Result<(), DisconnectReason> {
        let Some(reattach) = self.reattach.clone() else { return Err(reason) };
        if !self.session.survives(&reason, self.peer_closed) {
            return Err(reason);
        }
        // A detached session keeps no permit.
        self.pauses.cancel();
        let (transmitter, unwritten) = self.session.detach(reattach.share());
        if self.session.has_resumed_connection() {
            let receiver = mem::replace(&mut self.receiver, Box::new(DetachedReceiver));
            let task = tokio::spawn(supersede(receiver, transmitter, unwritten)).abort_handle();
            // A client that resumes again and again keeps only its last superseded connection.
            if let Some(previous) = self.supersede_task.replace(task) {
                previous.abort();
            }
        } else {
            drop(transmitter);
            if let Err(last_reason) = self.drain_receiver().await {
                if !self.session.survives(&last_reason, self.peer_closed) {
                    return Err(last_reason);
                }
                (reason, self.batch) = (last_reason, Batch::default());
            }
            self.receiver = Box::new(DetachedReceiver);
        }
        let peer = self.session.label();
        event!(debug, %peer, %reason, "a connection has ended; its session waits for another connection");
        self.peer_closed = false;
        self.handle_batch().await?;
        self.session.record_loss(reason.clone());
        let mut search = Arc::clone(&reattach).next_link(Arc::clone(&self.session), reason);
        let attached = poll_fn(|cx| match self.poll_detached(cx) {
            Ok(()) => search.as_mut().poll(cx),
            Err(reason) => Poll::Ready(Err(reason)),
        });
        let reattached = attached.await?;
        drop(search);
        let is_new = matches!(reattached, Reattached::NewSession(..));
        self.attach(reattached)?;
        if is_new {
            Arc::clone(&reattach).on_new_session(&self.session);
        }
        // This hook runs after `attach`, since the program may send messages as soon as the hook
        // has run. A new session is not ready yet, so its hook runs when it becomes ready.
        if self.session.is_ready() {
            reattach.on_established();
        }
        Ok(())
    }

    /// Handles the received frames of the lost connection, because an unread frame may contain the
    /// close reason.
    async fn drain_receiver(&mut self) -> Result<(), DisconnectReason> {
        self.handle_batch().await?;
        for _ in 0..MAX_DRAIN_BATCHES {
            let max_frame = self.session.limits().max_frame as usize;
            let receive = poll_fn(|cx| match self.poll_detached(cx) {
                Ok(()) => in_transport(|| self.receiver.poll_receive(cx, max_frame)).map(Ok),
                Err(reason) => Poll::Ready(Err(reason)),
            });
            let Ok(received) = timeout(DRAIN_TIMEOUT, receive).await else { break };
            let Ok(batch) = received? else { break };
            (self.batch, self.arrived) = (batch.into(), clock::now());
            self.handle_batch().await?;
        }
        Ok(())
    }

    /// Handles all received frames in several time slices, between which other tasks run.
    async fn handle_batch(&mut self) -> Result<(), DisconnectReason> {
        poll_fn(|cx| match self.poll_detached(cx) {
            Ok(()) if !self.batch.is_empty() || !self.received.is_empty() => Poll::Pending,
            handled => Poll::Ready(handled),
        })
        .await
    }

    /// Handles received frames for a time slice, and handles expired deadlines. If frames are left
    /// after the time slice, the function wakes its task.
    fn poll_detached(&mut self, cx: &mut Context<'_>) -> Result<(), DisconnectReason> {
        let mut now = clock::now();
        self.register(cx, Session::register_driver);
        self.session.prepare_detached(now)?;
        if self.has_work(now) {
            now = self.run_turn(now, now + SLICE)?;
        }
        if self.has_work(now) {
            wake_after_others(cx);
        }
        self.poll_timers(now, false, cx)
    }

    fn attach(&mut self, reattached: Reattached) -> Result<(), DisconnectReason> {
        let missed = || DisconnectReason::Lost("frames that the peer has missed are not retained any more".into());
        let (receiver, received) = match reattached {
            Reattached::Accepted(offer) => {
                if !self.session.can_resume(&offer.request) {
                    // End the session. It accepted this request earlier, but has sent more frames
                    // since then, and no longer retains a frame that the client needs. Keep the
                    // offer, so that the client receives its answer when the session has ended.
                    self.session.keep_offer(offer);
                    return Err(missed());
                }
                let ResumedConnection { link, request, token, adopt, accept, declined: _declined } = *offer;
                adopt();
                let granted = ResumeGrant { received: Some(self.session.positions().0), token };
                let (link, server_hello) = accept(link, &granted);
                let tokens = Some((request.token, granted.token));
                if !self.session.resume(link.transmitter, server_hello, request.received, tokens) {
                    return Err(missed());
                }
                (link.receiver, link.received)
            }
            Reattached::Resumed(link, position) => {
                if !self.session.resume(link.transmitter, Bytes::new(), position, None) {
                    return Err(missed());
                }
                (link.receiver, link.received)
            }
            Reattached::NewSession(link, peer_settings) => {
                self.dispatcher.clear_held();
                self.received.retain(|action| matches!(action, Received::Completed(_)));
                self.announced = None;
                self.session.reset(link.transmitter, peer_settings);
                (link.receiver, link.received)
            }
        };
        (self.receiver, self.batch, self.arrived) = (receiver, received.into(), clock::now());
        Ok(())
    }
}

/// Closes a connection after its session has moved to another connection.
async fn supersede(mut receiver: Box<dyn Receive>, mut transmitter: Box<dyn Transmit>, mut outbox: SendBuffer) {
    outbox.push_header_only(Frame::Close { reason: CloseReason::Superseded });
    let finish = |cx: &mut Context<'_>| -> Poll<io::Result<()>> {
        ready!(transmitter.poll_transmit(cx, &mut outbox))?;
        transmitter.poll_finish(cx)
    };
    close_gracefully(&mut *receiver, finish).await;
}

/// The receiving half of a detached session.
struct DetachedReceiver;

impl Receive for DetachedReceiver {
    fn poll_receive(&mut self, _: &mut Context<'_>, _: usize) -> Poll<Result<Bytes, ReceiveError>> {
        Poll::Ready(Err(ReceiveError::Closed))
    }

    fn partial_bytes(&self) -> usize {
        0
    }

    fn poll_closed(&mut self, _: &mut Context<'_>) -> Poll<Discarded> {
        Poll::Ready(Discarded::Closed)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::{limits::Limits, lock::Mutex, peer_label::PeerLabel, session::Routes};
    use sockets_proto::codec::Payload;

    /// A connection that the peer has closed. Its receiver returns the peer's last frame only after
    /// a local write has failed.
    struct ClosedByPeer {
        written: watch::Sender<bool>,
        last: Option<Bytes>,
    }

    impl Transmit for watch::Sender<bool> {
        fn poll_transmit(&mut self, _: &mut Context<'_>, _: &mut SendBuffer) -> Poll<io::Result<()>> {
            self.send_replace(true);
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn accepted(&self) -> u64 {
            0
        }

        fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl Receive for ClosedByPeer {
        fn poll_receive(&mut self, _: &mut Context<'_>, _: usize) -> Poll<Result<Bytes, ReceiveError>> {
            if !*self.written.borrow() {
                return Poll::Pending;
            }
            Poll::Ready(self.last.take().ok_or(ReceiveError::Closed))
        }

        fn partial_bytes(&self) -> usize {
            0
        }

        fn poll_closed(&mut self, _: &mut Context<'_>) -> Poll<Discarded> {
            Poll::Ready(Discarded::Closed)
        }
    }

    /// Finds no connection, and records the reasons and the restart delays.
    #[derive(Default)]
    struct Recorder(Mutex<Vec<(DisconnectReason, Duration)>>);

    impl Reattach for Recorder {
        fn next_link(self: Arc<Self>, session: Arc<Session>, reason: DisconnectReason) -> ReattachFuture {
            self.0.lock().push((reason.clone(), session.restart_delay()));
            Box::pin(async { Err(reason) })
        }
    }

    /// Runs a client's session over a [`ClosedByPeer`] until the session ends. Returns the
    /// disconnect reason of the session, and the reason and restart delay of each search for a new
    /// connection.
    async fn end_with(reason: CloseReason, text: &str) -> (DisconnectReason, Vec<(DisconnectReason, Duration)>) {
        let mut last = SendBuffer::default();
        last.push(Frame::Close { reason }.header(), &Payload::Copied(text.as_bytes()));
        let written = watch::Sender::new(false);
        let receiver = ClosedByPeer { written: written.clone(), last: Some(last.take_all()) };
        let limits = Arc::new(Limits::default());
        let peer_settings = PeerSettings {
            settings: limits.settings(),
            idle_timeout: None,
            supports_compression: false,
            retransmit_limit: Some(1 << 20),
            retries: true,
        };
        let (routes, shared) = (Routes::default(), Arc::default());
        let session = Session::new(PeerLabel::Server, Box::new(written), peer_settings, limits, routes, shared, true);
        let recorder = Arc::new(Recorder::default());
        let driver =
            Driver::new(Arc::clone(&session), Box::new(receiver), Bytes::new()).with_reattach(recorder.clone());
        let driver = tokio::spawn(driver.run(|| {}));
        session.send_control(Frame::Heartbeat, "");
        session.flush();
        driver.await.unwrap();
        let searches = recorder.0.lock().clone();
        (session.reason().unwrap().clone(), searches)
    }

    #[tokio::test]
    async fn close_reason_unread_at_the_loss_is_used() {
        let restarting = DisconnectReason::restarting(None);
        assert_eq!(
            end_with(CloseReason::Restarting, "7").await,
            (restarting.clone(), vec![(restarting, Duration::from_millis(7))])
        );
        assert_eq!(end_with(CloseReason::Kicked, "enough").await, (DisconnectReason::Kicked("enough".into()), vec![]));
    }
}
