//! What becomes of a session whose link has broken.

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

use super::{Driver, SLICE, wake_after_others};
use crate::lock::{event, in_transport};
use crate::{
    clock,
    disconnect_reason::DisconnectReason,
    handshake::{PeerSettings, ResumeGrant},
    session::{DetachedShare, ResumedConnection, Session},
    transport::{Batch, Discarded, Link, Receive, ReceiveError, Transmit, close_gracefully},
};
use sockets_proto::{CloseReason, Frame, SendBuffer};

/// So many batches that a broken link still has are taken in before it is left, and for one that comes so long is waited.
const MAX_DRAIN_BATCHES: usize = 64;
const DRAIN_TIMEOUT: Duration = Duration::from_millis(5);

/// Another link for a session.
pub(crate) enum Reattached {
    /// The client has come back.
    Accepted(Box<ResumedConnection>),
    /// The server has, and has received everything up to here.
    Resumed(Link, u64),
    /// The server knows nothing of the session, and begins another one.
    NewSession(Link, PeerSettings),
}

pub(crate) type ReattachFuture = Pin<Box<dyn Future<Output = Result<Reattached, DisconnectReason>> + Send>>;

/// Finds other links.
pub(crate) trait Reattach: Send + Sync {
    /// Finds another link for a session whose link has ended for this reason. It is polled by the session's driver.
    fn next_link(self: Arc<Self>, session: Arc<Session>, reason: DisconnectReason) -> ReattachFuture;

    /// Returns the share in which a server counts the bytes of a session that loses its link.
    fn share(&self) -> Option<DetachedShare> {
        None
    }

    /// Runs when the session is established over a link: it is ready, and was so before if it was resumed.
    fn on_established(&self) {}
}

impl Driver {
    /// Goes on over another link, if the session outlives this end of its link and one is found.
    pub(super) async fn reattach(&mut self, mut reason: DisconnectReason) -> Result<(), DisconnectReason> {
        let Some(recovery) = self.recovery.clone() else { return Err(reason) };
        if !self.session.survives(&reason, self.peer_closed) {
            return Err(reason);
        }
        // A permit is not kept for the time without a link.
        self.pauses.cancel();
        let (transmitter, unwritten) = self.session.detach(recovery.share());
        if self.session.has_resumed_connection() {
            let receiver = mem::replace(&mut self.receiver, Box::new(DetachedReceiver));
            let telling = tokio::spawn(supersede(receiver, transmitter, unwritten)).abort_handle();
            // One who comes again and again keeps only the last of its links.
            if let Some(before) = self.superseded.replace(telling) {
                before.abort();
            }
        } else {
            drop(transmitter);
            if let Err(last) = self.drain_receiver().await {
                if !self.session.survives(&last, self.peer_closed) {
                    return Err(last);
                }
                (reason, self.batch) = (last, Batch::default());
            }
            self.receiver = Box::new(DetachedReceiver);
        }
        event!(debug, peer = %self.session.label(), %reason, "a link has ended; its session goes on");
        self.peer_closed = false;
        self.handle_batch().await?;
        let mut search = Arc::clone(&recovery).next_link(Arc::clone(&self.session), reason);
        let found = poll_fn(|cx| match self.poll_detached(cx) {
            Ok(()) => search.as_mut().poll(cx),
            Err(reason) => Poll::Ready(Err(reason)),
        });
        let found = found.await?;
        drop(search);
        self.attach(found)?;
        // Not before: the user may send something at once. A new session becomes ready later.
        if self.session.is_ready() {
            recovery.on_established();
        }
        Ok(())
    }

    /// Takes in what the link still has: it may have brought the reason of its end, as yet unread.
    async fn drain_receiver(&mut self) -> Result<(), DisconnectReason> {
        self.handle_batch().await?;
        for _ in 0..MAX_DRAIN_BATCHES {
            let max_frame = self.session.limits().max_frame as usize;
            let hear = poll_fn(|cx| match self.poll_detached(cx) {
                Ok(()) => in_transport(|| self.receiver.poll_receive(cx, max_frame)).map(Ok),
                Err(reason) => Poll::Ready(Err(reason)),
            });
            let Ok(heard) = timeout(DRAIN_TIMEOUT, hear).await else { break };
            let Ok(batch) = heard? else { break };
            (self.batch, self.arrived) = (batch.into(), clock::now());
            self.handle_batch().await?;
        }
        Ok(())
    }

    /// Handles what has been received, and lets others run meanwhile.
    async fn handle_batch(&mut self) -> Result<(), DisconnectReason> {
        poll_fn(|cx| match self.poll_detached(cx) {
            Ok(()) if !self.batch.is_empty() => Poll::Pending,
            handled => Poll::Ready(handled),
        })
        .await
    }

    /// Handles what has been received, and keeps time. It wakes its task while there is more to handle.
    fn poll_detached(&mut self, cx: &mut Context<'_>) -> Result<(), DisconnectReason> {
        let mut now = clock::now();
        self.session.prepare_detached(now, cx)?;
        if self.has_work(now) {
            now = self.dispatch(now, now + SLICE)?;
        }
        if self.has_work(now) {
            wake_after_others(cx);
        }
        self.poll_timers(now, false, cx)
    }

    fn attach(&mut self, found: Reattached) -> Result<(), DisconnectReason> {
        let missed = || DisconnectReason::Lost("the other side has missed more than is kept for it".into());
        let (receiver, received) = match found {
            Reattached::Accepted(offer) => {
                if !self.session.can_resume(&offer.request) {
                    // More has been sent since the claim was checked. The client is answered when the session has ended.
                    self.session.keep_offer(offer);
                    return Err(missed());
                }
                let ResumedConnection { link, request: claim, token, adopt, welcome, declined: _declined } = *offer;
                adopt();
                let granted = ResumeGrant { received: Some(self.session.positions().0), token };
                let (link, welcome) = welcome(link, &granted);
                let tokens = Some((claim.token, granted.token));
                if !self.session.resume(link.transmitter, welcome, claim.received, tokens) {
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
            Reattached::NewSession(link, theirs) => {
                self.dispatcher.clear_held();
                self.announced = None;
                self.session.reset(link.transmitter, theirs);
                (link.receiver, link.received)
            }
        };
        (self.receiver, self.batch, self.arrived) = (receiver, received.into(), clock::now());
        Ok(())
    }
}

/// Tells one that another connection has taken its session over.
async fn supersede(mut receiver: Box<dyn Receive>, mut transmitter: Box<dyn Transmit>, mut outbox: SendBuffer) {
    outbox.push_header_only(Frame::Close { reason: CloseReason::Superseded });
    let finish = |cx: &mut Context<'_>| -> Poll<io::Result<()>> {
        ready!(transmitter.poll_transmit(cx, &mut outbox))?;
        transmitter.poll_finish(cx)
    };
    close_gracefully(&mut *receiver, finish).await;
}

/// Stands for a link that there is not.
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

    /// A link whose other end is gone. That is known when something is written, and only then its last word is there to be read.
    struct Ending {
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

    impl Receive for Ending {
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

    /// Finds nothing, and records the reasons and the delays of restarts.
    #[derive(Default)]
    struct Noting(Mutex<Vec<(DisconnectReason, Duration)>>);

    impl Reattach for Noting {
        fn next_link(self: Arc<Self>, session: Arc<Session>, reason: DisconnectReason) -> ReattachFuture {
            self.0.lock().push((reason.clone(), session.restart_delay()));
            Box::pin(async { Err(reason) })
        }
    }

    /// A client's session over such a link, until it has ended; and for what reasons another link was searched.
    async fn end_with(farewell: CloseReason, text: &str) -> (DisconnectReason, Vec<(DisconnectReason, Duration)>) {
        let mut last = SendBuffer::default();
        last.push(Frame::Close { reason: farewell }.header(), &Payload::Copied(text.as_bytes()));
        let written = watch::Sender::new(false);
        let receiver = Ending { written: written.clone(), last: Some(last.take_all()) };
        let limits = Arc::new(Limits::default());
        let theirs = PeerSettings {
            settings: limits.settings(),
            idle_timeout: None,
            supports_compression: false,
            retransmit_limit: Some(1 << 20),
            retries: true,
        };
        let (routes, shared) = (Routes::new(1), Arc::new(Routes::new(0)));
        let session = Session::new(PeerLabel::Server, Box::new(written), theirs, limits, routes, shared, true);
        let noting = Arc::new(Noting::default());
        let driver = Driver::new(Arc::clone(&session), Box::new(receiver), Bytes::new()).recovering(noting.clone());
        let driver = tokio::spawn(driver.run(|| {}));
        session.send_control(Frame::Heartbeat, "");
        session.flush();
        driver.await.unwrap();
        let searched = noting.0.lock().clone();
        (session.reason().unwrap().clone(), searched)
    }

    #[tokio::test]
    async fn a_goodbye_that_was_not_read_when_the_link_broke_is_the_reason() {
        let restarting = DisconnectReason::Restarting { at: None };
        assert_eq!(
            end_with(CloseReason::Restarting, "7").await,
            (restarting.clone(), vec![(restarting, Duration::from_millis(7))])
        );
        assert_eq!(end_with(CloseReason::Kicked, "enough").await, (DisconnectReason::Kicked("enough".into()), vec![]));
    }
}
