//! What becomes of a session whose link has broken.

use std::{
    future::{Future, poll_fn},
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::{Driver, SLICE};
use crate::{
    clock,
    disconnect_reason::DisconnectReason,
    handshake::Theirs,
    proto::{Farewell, Frame, Outbox},
    session::{Offer, Session},
    transport::{Link, Receive, ReceiveError, Transmit, hang_up},
};

/// So many batches that a broken link still has are taken in before it is left.
const LAST_BATCHES: usize = 64;

/// Another link for a session.
pub(crate) enum Found {
    /// The client has come back.
    Offered(Box<Offer>),
    /// The server has, and has received everything up to here.
    Again(Link, u64),
    /// The server knows nothing of the session, and begins another one.
    Anew(Link, Theirs),
}

pub(crate) type Search = Pin<Box<dyn Future<Output = Result<Found, DisconnectReason>> + Send>>;

/// Finds other links.
pub(crate) trait Recovery: Send + Sync {
    /// Finds another link for a session whose link has ended for this reason. It is polled by the session's driver.
    fn search(self: Arc<Self>, session: Arc<Session>, reason: DisconnectReason) -> Search;
}

impl Driver {
    /// Goes on over another link, if the session outlives this end of its link and one is found.
    pub(super) async fn go_on(&mut self, reason: DisconnectReason) -> Result<(), DisconnectReason> {
        let Some(recovery) = self.recovery.clone() else { return Err(reason) };
        if !self.session.survives(&reason) {
            return Err(reason);
        }
        tracing::debug!(%reason, "a link has ended; its session goes on");
        self.told = false;
        let (transmitter, unwritten) = self.session.park();
        if self.session.is_offered() {
            let receiver = mem::replace(&mut self.receiver, Box::new(NoLink));
            tokio::spawn(supersede(receiver, transmitter, unwritten));
        } else {
            // It may have brought the reason, as yet unread.
            drop(transmitter);
            let mut batches = 0;
            poll_fn(|cx| self.poll_last(cx, &mut batches)).await?;
            self.receiver = Box::new(NoLink);
        }
        while !self.batch.is_empty() {
            poll_fn(|cx| Poll::Ready(self.poll_away(cx))).await?;
        }
        let mut search = recovery.search(Arc::clone(&self.session), reason);
        let found = poll_fn(|cx| match self.poll_away(cx) {
            Ok(()) => search.as_mut().poll(cx),
            Err(reason) => Poll::Ready(Err(reason)),
        });
        let found = found.await?;
        drop(search);
        self.take_up(found)
    }

    /// Takes in what the link still has.
    fn poll_last(&mut self, cx: &mut Context<'_>, batches: &mut usize) -> Poll<Result<(), DisconnectReason>> {
        while *batches < LAST_BATCHES {
            if !self.batch.is_empty() {
                self.poll_away(cx)?;
                continue;
            }
            *batches += 1;
            match self.receiver.poll_receive(cx, self.session.limits().max_frame as usize) {
                Poll::Ready(Ok(batch)) => self.batch = batch,
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Handles what has been received, and keeps time.
    fn poll_away(&mut self, cx: &mut Context<'_>) -> Result<(), DisconnectReason> {
        let now = clock::now();
        self.session.prepare_away(now, cx)?;
        if !self.batch.is_empty() || self.dispatcher.has_work(now) {
            self.dispatch(now, now + SLICE)?;
        }
        self.keep_time(clock::now(), false, None, cx)
    }

    fn take_up(&mut self, found: Found) -> Result<(), DisconnectReason> {
        let missed = || DisconnectReason::Lost("the other side has missed more than is kept for it".into());
        let (receiver, received) = match found {
            Found::Offered(offer) => {
                let Offer { link, position, welcome } = *offer;
                let (position_here, _) = self.session.positions();
                let welcome = welcome(position_here);
                if !self.session.resume(link.transmitter, welcome, position) {
                    return Err(missed());
                }
                (link.receiver, link.received)
            }
            Found::Again(link, position) => {
                if !self.session.resume(link.transmitter, Bytes::new(), position) {
                    return Err(missed());
                }
                (link.receiver, link.received)
            }
            Found::Anew(link, theirs) => {
                self.dispatcher.forget_held();
                self.session.start_anew(link.transmitter, theirs);
                (link.receiver, link.received)
            }
        };
        (self.receiver, self.batch) = (receiver, received);
        Ok(())
    }
}

/// Tells one that another connection has taken its session over.
async fn supersede(mut receiver: Box<dyn Receive>, mut transmitter: Box<dyn Transmit>, mut outbox: Outbox) {
    outbox.push_bare(Frame::Goodbye { reason: Farewell::Superseded });
    let finish = |cx: &mut Context<'_>| -> Poll<io::Result<()>> {
        ready!(transmitter.poll_transmit(cx, &mut outbox))?;
        transmitter.poll_finish(cx)
    };
    hang_up(&mut *receiver, finish).await;
}

/// Stands for a link that there is not.
struct NoLink;

impl Receive for NoLink {
    fn poll_receive(&mut self, _: &mut Context<'_>, _: usize) -> Poll<Result<Bytes, ReceiveError>> {
        Poll::Ready(Err(ReceiveError::Closed))
    }

    fn begun(&self) -> usize {
        0
    }

    fn poll_closed(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}
