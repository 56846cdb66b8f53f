//! Emits of which only the latest waits.

use bytes::Bytes;

use crate::{
    actions::KEY,
    endpoint::{Endpoint, Moment, number_in, payload_of},
    engine::Shared,
    outgoing::{Message, MessageKind},
};
use sockets_proto::{CallOrigin, Frame, PREFIX, SendOutcome, WhenFull};

/// The methods with such emits. The flag is `true` if the emits are volatile, too.
pub(super) const LATEST_METHODS: [(u64, bool); 3] = [(KEY + 5, false), (KEY + 6, false), (KEY + 7, true)];

/// An emit in the send buffer that a newer emit replaces.
#[derive(Clone, Copy)]
pub(super) struct Buffered {
    key: u64,
    number: u64,
    length: usize,
}

/// Returns the key of an emit that a newer emit replaces.
pub(super) fn latest_key(header: Frame) -> Option<u64> {
    match header {
        Frame::Emit { key } if LATEST_METHODS.iter().any(|(latest, _)| *latest == key) => Some(key),
        _ => None,
    }
}

/// Returns the key of an encoded emit that is not volatile and that a newer emit replaces.
pub(super) fn retained_key(frame: &Bytes) -> Option<u64> {
    let key = latest_key(Frame::decode(&mut frame.clone()).ok()?)?;
    LATEST_METHODS.contains(&(key, false)).then_some(key)
}

fn number_of(frame: &Bytes) -> Option<u64> {
    let mut payload = frame.clone();
    Frame::decode(&mut payload).ok()?;
    number_in(&payload)
}

impl Endpoint {
    /// Sends a member's copy of an emit that replaces older ones. Returns `false` if the member's
    /// queue is full.
    pub(super) fn send_latest(&mut self, moment: Moment, message: &Shared, size: usize) -> bool {
        let Shared::Latest(ref encoded, key, is_volatile) = *message else { panic!("an emit with `latest`") };
        let (number, frame) = (moment.last, encoded.slice(PREFIX..));
        let length = frame.len();
        assert_eq!(length, 9 + payload_of(number, size).len());
        let (queued, dropped) = (self.backlog(), self.engine.dropped());
        let outcome = self.engine.send_shared(moment.now, message, number, CallOrigin::Other, WhenFull::Accept);
        if matches!(outcome, Err(SendOutcome::TooLarge { .. })) {
            assert!(length > self.peer.max_frame as usize, "a frame within the limit is rejected");
            return true;
        }
        let buffered = self.buffered.iter().position(|message| message.key == key);
        let old = buffered.map(|at| self.buffered[at].length).or_else(|| self.outgoing.latest_length(key));
        let old_bytes = old.map_or(0, |length| PREFIX + length);
        let limit = if is_volatile { self.local.queue } else { 2 * self.local.queue };
        let has_capacity = PREFIX + length <= old_bytes || queued - old_bytes < limit;
        let mut is_kept = has_capacity;
        if has_capacity {
            match (buffered, old) {
                (Some(at), Some(old)) if self.outgoing.resize(old, length) => {
                    self.replacement = Some("queued emit replaced");
                    self.replace_buffered(at, number, frame);
                }
                (None, Some(_)) => {
                    self.replacement = Some("pending emit replaced");
                    self.outgoing.replace_latest(key, number, length);
                }
                _ => {
                    if let Some(at) = buffered {
                        self.replacement = Some("queued emit moved");
                        self.remove_buffered(at);
                    }
                    // After a removal, the core may first send pending messages.
                    let can_send = if buffered.is_some() { outcome.is_ok() } else { self.outgoing.can_send(length) };
                    is_kept = !is_volatile || can_send;
                    if is_kept {
                        self.retransmit.expect_volatile(is_volatile.then_some(number));
                        let kind = MessageKind::Latest(key);
                        let message = Message { number, length, kind, handler: None, evictable: None, is_new: true };
                        self.outgoing.accept(moment.now, message);
                    }
                }
            }
        }
        let expected = match (is_kept, is_volatile) {
            (true, _) => Ok(None),
            (false, true) => Err(SendOutcome::Dropped),
            (false, false) => Err(SendOutcome::Full),
        };
        assert_eq!(outcome, expected, "the outcome of an emit with `latest`");
        assert_eq!(self.engine.dropped() - dropped, u64::from(!is_kept && is_volatile), "dropped emits");
        self.process_queued(moment.now);
        is_kept || is_volatile
    }

    /// Records an emit that the core has added to the send buffer.
    pub(super) fn record_buffered(&mut self, header: Frame, number: u64, length: usize) {
        if let Some(key) = latest_key(header) {
            assert!(!self.buffered.iter().any(|message| message.key == key), "two emits with the same key wait");
            self.buffered.push(Buffered { key, number, length });
        }
    }

    /// Returns the messages that become pending when the send buffer is dropped.
    pub(super) fn take_buffered(&mut self) -> Vec<Message> {
        let kept = std::mem::take(&mut self.buffered)
            .into_iter()
            .filter(|message| LATEST_METHODS.contains(&(message.key, false)));
        let pending = kept.map(|Buffered { key, number, length }| Message {
            number,
            length,
            kind: MessageKind::Latest(key),
            handler: None,
            evictable: None,
            is_new: false,
        });
        pending.collect()
    }

    /// Returns the index of an unsent frame from the end.
    fn index_from_end(&self, number: u64) -> usize {
        let frames = self.retransmit.sent.iter().rev();
        frames.map(|sent| number_of(&sent.frame)).position(|this| this == Some(number)).expect("an unsent emit")
    }

    fn replace_buffered(&mut self, at: usize, number: u64, frame: Bytes) {
        let old = self.buffered[at];
        let back = self.index_from_end(old.number);
        self.engine.resize_checked(old.length, frame.len());
        let at_unwritten = self.unwritten.len() - 1 - back;
        self.unwritten[at_unwritten].1 = PREFIX + frame.len();
        *self.unsent_calls.iter_mut().find(|this| **this == old.number).expect("an unsent emit") = number;
        self.buffered[at] = Buffered { number, length: frame.len(), ..old };
        self.retransmit.replace_unsent(back, frame);
    }

    fn remove_buffered(&mut self, at: usize) {
        let old = self.buffered.remove(at);
        let back = self.index_from_end(old.number);
        self.outgoing.release_emit(old.length);
        self.engine.resize_checked(PREFIX + old.length, 0);
        self.unwritten.remove(self.unwritten.len() - 1 - back);
        self.unsent_calls.retain(|number| *number != old.number);
        self.retransmit.remove_unsent(back);
    }
}
