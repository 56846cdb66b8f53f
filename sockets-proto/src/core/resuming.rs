//! A session that outlives its link.

use std::{collections::HashSet, mem, time::Instant};

use bytes::Bytes;

use super::{Admission, Core};
use crate::{
    Violation,
    calls::Answer,
    codec::Payload,
    frame::next_frame,
    frame::{CallId, Frame, PREFIX},
    outbox::Outbox,
    parked::Class,
    reliable::Reliable,
    terms::Terms,
    window::{Inbound, Outbound},
};

/// An emit that is not kept.
pub enum Volatile<'a> {
    /// By its method's key.
    Own(u64, &'a Payload<'a>),
    /// Encoded already, its prefix included.
    Shared(&'a Bytes),
}

impl Volatile<'_> {
    fn length(&self) -> usize {
        match self {
            Self::Own(key, payload) => Frame::Emit { key: *key }.header().len() + payload.len(),
            Self::Shared(frame) => frame.len() - PREFIX,
        }
    }
}

/// An estimate of what a handler takes besides its call's frame: its task, its timer and its future.
const HANDLER_OVERHEAD: usize = 2048;

impl<C, H: Clone> Core<C, H> {
    /// From now on, what is sent is kept until it is acknowledged, within so many bytes, and what is received is
    /// acknowledged, to one who keeps `theirs`.
    pub fn rely(&mut self, limit: usize, theirs: usize) {
        self.reliable = Some(Box::new(Reliable::new(limit, theirs)));
    }

    /// So many bytes are in the outbox that come before the session's first frame.
    pub fn begins_after(&mut self, before: usize) {
        if let Some(reliable) = &mut self.reliable {
            reliable.begins_after(before);
        }
    }

    /// Whether there is something to write.
    pub fn is_to_write(&self) -> bool {
        !self.outbox.is_empty() || self.owes_word()
    }

    /// Whether there is something to say about the link, whatever else there is.
    pub fn owes_word(&self) -> bool {
        self.is_to_speak || self.reliable.as_ref().is_some_and(|reliable| reliable.is_due(true))
    }

    /// Returns `true` if a heartbeat is to be sent: nothing was sent for a while.
    pub fn owes_heartbeat(&self) -> bool {
        self.is_to_speak
    }

    /// Gives what is to be written to an empty outbox, with a word about the link behind it, if it is time for one.
    #[inline]
    pub fn hand_over(&mut self, outbox: &mut Outbox) {
        mem::swap(&mut self.outbox, outbox);
        let (alone, speaks) = (outbox.is_empty(), mem::take(&mut self.is_to_speak));
        let mut word = (speaks && alone).then_some(Frame::Heartbeat);
        if let Some(reliable) = &mut self.reliable {
            reliable.keep(outbox);
            if reliable.is_due(alone) || speaks && reliable.is_owed() {
                word = Some(reliable.tell());
            }
        }
        if let Some(frame) = word {
            outbox.push_bare(frame);
        }
        if let Some(liveness) = self.liveness.as_mut().filter(|_| !outbox.is_empty()) {
            liveness.said();
        }
    }

    pub(super) fn acknowledged(&mut self, position: u64) -> Result<(), Violation> {
        self.reliable.as_mut().map_or(Ok(()), |reliable| reliable.acknowledged(position))
    }

    pub(super) fn skipped(&mut self, bytes: u64) -> Result<(), Violation> {
        self.reliable.as_mut().map_or(Ok(()), |reliable| reliable.skipped(bytes))
    }

    /// Sends an emit that is not kept: now, or not at all. What is given whole is shared with others.
    pub fn emit_volatile(&mut self, emit: &Volatile<'_>) -> Admission {
        let length = emit.length();
        if length > self.max_frame {
            return Admission::TooLarge { limit: self.max_frame };
        }
        if !self.goes(length) || !self.has_room() {
            self.dropped += 1;
            return Admission::Dropped;
        }
        if let Some(reliable) = &mut self.reliable {
            let position = reliable.next_position(&self.outbox);
            reliable.is_volatile(position, length);
        }
        match emit {
            Volatile::Own(key, payload) => self.outbox.push(Frame::Emit { key: *key }.header(), payload),
            Volatile::Shared(frame) => self.outbox.push_whole(frame),
        }
        self.outbound.take_emit(length);
        Admission::Sent
    }

    /// Whether there is no link.
    pub fn is_away(&self) -> bool {
        self.is_away
    }

    /// Up to where everything has been received, and from where on what has been sent is kept, if the session can go on over
    /// another link.
    pub fn positions(&self) -> Option<(u64, u64)> {
        self.reliable.as_ref().map(|reliable| (reliable.received(), reliable.kept_from()))
    }

    /// Whether the session can go on with one who has received everything up to `position`, and keeps what it has sent from
    /// `kept` on.
    pub fn can_resume(&self, position: u64, kept: u64) -> bool {
        let reliable = self.reliable.as_ref();
        reliable.is_some_and(|reliable| reliable.reaches(position) && kept <= reliable.received())
    }

    /// Returns how many bytes of sent frames are retained for another link.
    pub fn retained(&self) -> usize {
        self.reliable.as_ref().map_or(0, |reliable| reliable.kept())
    }

    /// Returns how many bytes the session holds for its peer: frames that wait to be sent, frames that are retained, and
    /// received calls and emits whose handlers have not ended.
    pub fn held(&self) -> usize {
        // An emit has several handlers if several listeners subscribe to it.
        let handlers = self.running.len().max(self.inbound.in_flight() as usize);
        // The handler holds its arguments, which it has decoded, and the bytes that they may be borrowed from.
        let calls = 2 * self.inbound.bytes_in_flight() + handlers * HANDLER_OVERHEAD;
        self.queued() + self.retained() + calls
    }

    /// The link has broken.
    pub fn rest(&mut self) {
        self.is_away = true;
        self.is_to_speak = false;
        if let Some(liveness) = &mut self.liveness {
            liveness.rest();
        }
    }

    /// A server that goes away is not come back to: calls wait for the next one.
    pub fn expect_another_server(&mut self) {
        self.peer_is_leaving = false;
    }

    /// There is another link, to one who has received everything up to `position`: what it has to carry first. `None` if
    /// some of that is not kept any more.
    pub fn resume(&mut self, now: Instant, position: u64) -> Option<Outbox> {
        let resent = self.reliable.as_mut()?.resume(position, &self.outbox)?;
        self.outbox = Outbox::default();
        for length in resent.lost {
            // It never comes to a handler, whose end would give its place back. One who has given that back all the same has it from
            // others of its emits.
            let _ = self.outbound.credit(1, length as u64);
        }
        self.is_away = false;
        if let Some(liveness) = &mut self.liveness {
            liveness.wake(now);
        }
        self.stalled = self.stalled.map(|_| now);
        self.unpark(now);
        Some(resent.outbox)
    }

    /// There is another link, to one who knows nothing of this session, says these terms, and keeps so many bytes. Calls that have left
    /// end, as they do with [`close_away`](Self::close_away); what is parked goes to that one, with [`go_on`](Self::go_on).
    /// If silence is to be minded, that is to be said once more.
    pub fn start_anew(&mut self, now: Instant, ours: Terms, theirs: Terms, keeps: usize) -> (Vec<(C, Answer)>, Vec<H>) {
        let calls = self.calls.drain_sent();
        let mut ended = self.disconnected(calls);
        let max_frame = theirs.max_frame as usize;
        let is_over =
            |class, frame: &Bytes| matches!(class, Class::InTurn | Class::Last) || frame.len() > PREFIX + max_frame;
        for (_, class) in self.parked.take(is_over) {
            let Class::Request { id, .. } = class else { continue };
            let consumer = self.calls.take_parked(id);
            ended.extend(consumer.map(|consumer| (consumer, Answer::Disconnected { maybe_executed: false })));
        }
        let window = ours.window.smaller(theirs.window);
        self.outbox = Outbox::default();
        (self.outbound, self.inbound) = (Outbound::new(window), Inbound::new(window));
        self.max_frame = max_frame;
        (self.peer_is_ready, self.peer_is_leaving, self.peer_is_drained) = (false, false, false);
        self.is_refused = false;
        self.times = self.times.wrapping_add(1);
        if let Some(reliable) = &mut self.reliable {
            reliable.begin(keeps);
        }
        self.liveness = None;
        self.is_away = false;
        self.stalled = self.stalled.map(|_| now);
        (ended, self.stopped())
    }

    /// The session ends without a link: who waits for an answer, and the handlers that are to be stopped. What waits to be
    /// written never is.
    pub fn close_away(&mut self) -> (Vec<(C, Answer)>, Vec<H>) {
        let calls = self.calls.drain();
        let ended = self.disconnected(calls);
        (ended, self.stopped())
    }

    /// Tells callers of the end of their calls. What waits to be written was not sent.
    fn disconnected(&mut self, calls: Vec<(C, CallId, bool)>) -> Vec<(C, Answer)> {
        let unwritten = self.unwritten_requests();
        let calls = self.unless_refused(calls);
        let ended = calls.into_iter().map(|(consumer, id, sent)| {
            let maybe_executed = sent && !unwritten.contains(&id);
            (consumer, Answer::Disconnected { maybe_executed })
        });
        ended.collect()
    }

    fn unwritten_requests(&mut self) -> HashSet<CallId> {
        let mut frames = self.outbox.take_all();
        let mut ids = HashSet::new();
        while let Some(mut frame) = next_frame(&mut frames) {
            if let Ok(Frame::Request { id, .. }) = Frame::decode(&mut frame) {
                ids.insert(id);
            }
        }
        ids
    }
}
