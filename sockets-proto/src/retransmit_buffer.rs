//! What has been sent and not been acknowledged: kept, within bounds, to be sent again on another link.
//!
//! A position is a number of bytes from the beginning of the session: each frame counts with its prefix. So nothing is added
//! to a frame, and frames that are shared by many connections stay shared.

use std::{collections::VecDeque, ops::Range};

use bytes::Bytes;

use super::{
    frame::{Frame, PREFIX},
    send_buffer::SendBuffer,
};

/// The end of what has been sent, from the first byte that can be sent again.
#[derive(Debug)]
pub(super) struct RetransmitBuffer {
    /// The position of the first byte.
    start: u64,
    kept: SendBuffer,
    /// How many bytes are kept, beside what has been sent last. Of more, the oldest are given up.
    limit: usize,
    /// The bytes that have been sent last, all of which are kept.
    last: usize,
    /// Frames that are not sent again.
    volatile: VecDeque<VolatileRange>,
}

#[derive(Debug)]
struct VolatileRange {
    at: Range<u64>,
    /// It has been passed over, and its place in the window given back.
    skipped: bool,
}

/// What is sent again.
#[derive(Debug)]
pub(super) struct Retransmission {
    pub(super) outbox: SendBuffer,
    /// The lengths of volatile frames that are lost, as windows count them.
    pub(super) lost: Vec<usize>,
}

impl RetransmitBuffer {
    pub(super) fn new(limit: usize) -> Self {
        Self { start: 0, kept: SendBuffer::default(), limit, last: 0, volatile: VecDeque::new() }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Returns how many bytes are kept beyond the limit because they were sent again. One large message that was sent
    /// last is not among them: it alone does not make the buffer grow.
    pub(super) fn excess(&self) -> usize {
        self.len().saturating_sub(self.limit.max(self.last))
    }

    /// The position behind the last byte.
    #[inline]
    pub(super) fn end(&self) -> u64 {
        self.start + self.len() as u64
    }

    /// The position of the first byte.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Whether all frames from a position on are here, and the position is between two frames.
    pub(super) fn can_retransmit_from(&self, position: u64) -> bool {
        (self.start..=self.end()).contains(&position) && self.is_whole_frames_from(position)
    }

    /// The whole frames in `outbox` are being sent. Older ones are given up if that is too much.
    #[inline]
    pub(super) fn push(&mut self, outbox: &SendBuffer) {
        if outbox.is_empty() {
            return;
        }
        let before = self.len();
        self.kept.extend(outbox);
        self.last = outbox.len();
        // What is on its way now stays whole: a large message must be able to survive a break.
        self.release(self.len().saturating_sub(self.limit).min(before));
    }

    /// A volatile frame is at this position, of this length without its prefix.
    pub(super) fn record_volatile(&mut self, position: u64, length: usize) {
        self.volatile.push_back(VolatileRange { at: position..position + (PREFIX + length) as u64, skipped: false });
    }

    /// The other side has everything up to here. `false` if that was never sent.
    pub(super) fn acknowledge(&mut self, position: u64) -> bool {
        if position > self.end() {
            return false;
        }
        // What was given up need not be acknowledged.
        let count = position.saturating_sub(self.start);
        self.release(usize::try_from(count).unwrap_or(usize::MAX));
        true
    }

    #[inline]
    fn release(&mut self, count: usize) {
        self.start += count as u64;
        self.kept.advance(count);
        while self.volatile.front().is_some_and(|frame| frame.at.end <= self.start) {
            self.volatile.pop_front();
        }
    }

    /// Holds no memory for what is to come: nothing has for a while.
    pub(super) fn shrink(&mut self) {
        if self.kept.is_empty() {
            self.kept = SendBuffer::default();
            self.volatile = VecDeque::new();
        }
    }

    /// What the other side, which has everything up to `position`, has to be sent again, and behind that what waits in
    /// `outbox`, all of which is kept for the next time. `None` if that is not here any more.
    pub(super) fn retransmit(&mut self, position: u64, outbox: &SendBuffer) -> Option<Retransmission> {
        if !self.can_retransmit_from(position) {
            return None;
        }
        self.acknowledge(position);
        // All of it, even if that is too much: what has to be given up is not, this time.
        self.kept.extend(outbox);
        let mut resent = Retransmission { outbox: SendBuffer::default(), lost: Vec::new() };
        let mut next = self.start;
        let mut volatile = std::mem::take(&mut self.volatile);
        for frame in &mut volatile {
            let bytes = frame.at.end - frame.at.start;
            self.copy(next..frame.at.start, &mut resent.outbox);
            resent.outbox.push_header_only(Frame::Skipped { bytes });
            next = frame.at.end;
            if !std::mem::replace(&mut frame.skipped, true) {
                resent.lost.push(usize::try_from(bytes).unwrap_or(usize::MAX) - PREFIX);
            }
        }
        self.volatile = volatile;
        self.copy(next..self.end(), &mut resent.outbox);
        Some(resent)
    }

    /// Whether what is kept from a position on is whole frames: the other side may have named a position within one.
    fn is_whole_frames_from(&self, position: u64) -> bool {
        let mut before = usize::try_from(position - self.start).unwrap_or(usize::MAX);
        let (mut prefix, mut begun, mut missing) = ([0; PREFIX], 0, 0);
        for piece in self.kept.chunks().map(|piece| &piece[..]).chain([self.kept.tail()]) {
            let (skipped, mut piece) = piece.split_at(before.min(piece.len()));
            before -= skipped.len();
            while !piece.is_empty() {
                if begun < PREFIX {
                    (prefix[begun], begun, piece) = (piece[0], begun + 1, &piece[1..]);
                    missing = u32::from_le_bytes(prefix) as usize;
                } else {
                    let step = missing.min(piece.len());
                    (missing, piece) = (missing - step, &piece[step..]);
                }
                if begun == PREFIX && missing == 0 {
                    begun = 0;
                }
            }
        }
        begun == 0
    }

    /// Appends the bytes at these positions to `outbox`.
    fn copy(&self, wanted: Range<u64>, outbox: &mut SendBuffer) {
        let mut at = self.start;
        let pieces = self.kept.chunks().map(|piece| (&piece[..], Some(piece)));
        for (bytes, shared) in pieces.chain([(self.kept.tail(), None)]) {
            let clip =
                |position: u64| usize::try_from(position.saturating_sub(at)).unwrap_or(usize::MAX).min(bytes.len());
            let range = clip(wanted.start)..clip(wanted.end);
            if !range.is_empty() {
                outbox.push_exact(match shared {
                    Some(piece) => piece.slice(range),
                    None => Bytes::copy_from_slice(&bytes[range]),
                });
            }
            at += bytes.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        codec::{Payload, SHARE_FROM},
        frame::next_frame,
    };

    fn emit(number: usize, length: usize) -> SendBuffer {
        let mut outbox = SendBuffer::default();
        let mut payload = vec![0xff; length.max(8)];
        payload[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let payload = if length < SHARE_FROM { Payload::Copied(&payload) } else { Payload::Shared(payload.into()) };
        outbox.push(Frame::Emit { key: 7 }.header(), &payload);
        outbox
    }

    #[test]
    fn what_was_never_sent_cannot_be_acknowledged() {
        let mut retained = RetransmitBuffer::new(1000);
        retained.push(&emit(0, 10));
        assert!(!retained.acknowledge(retained.end() + 1));
        assert!(retained.acknowledge(retained.end()));
        assert_eq!(retained.len(), 0);
        assert!(retained.acknowledge(0), "an old one, which came late, says nothing");
    }

    #[test]
    fn the_oldest_are_given_up_and_the_rest_can_still_be_sent_again() {
        let mut retained = RetransmitBuffer::new(100);
        (0..100).for_each(|number| retained.push(&emit(number, 8)));
        assert_eq!(retained.len(), 100);
        assert!(retained.retransmit(0, &SendBuffer::default()).is_none());
        let position = retained.end() - 21;
        let mut again = retained.retransmit(position, &SendBuffer::default()).unwrap().outbox.take_all();
        assert_eq!(next_frame(&mut again).unwrap()[9..], 99_u64.to_le_bytes());
        assert!(again.is_empty());
    }

    #[test]
    fn only_whole_frames_are_sent_again_whatever_position_is_named() {
        let kept = || {
            let mut retained = RetransmitBuffer::new(1 << 20);
            for length in [10, SHARE_FROM, 20] {
                retained.push(&emit(0, length));
            }
            retained
        };
        let mut ends = 0;
        for position in 0..=kept().end() {
            let resent = kept().retransmit(position, &SendBuffer::default());
            assert_eq!(
                resent.is_some(),
                kept().can_retransmit_from(position),
                "whether position {position} can be resumed from"
            );
            let Some(resent) = resent else { continue };
            let mut again = { resent.outbox }.take_all();
            let frames = std::iter::from_fn(|| next_frame(&mut again)).count();
            assert!(again.is_empty(), "behind {frames} frames from {position} on there is a part of one");
            ends += 1;
        }
        assert!((4..100).contains(&ends), "{ends} positions");
    }

    #[test]
    fn a_buffer_that_rests_holds_no_memory() {
        let mut retained = RetransmitBuffer::new(1 << 20);
        retained.push(&emit(0, 100));
        retained.shrink();
        assert!(retained.can_retransmit_from(0), "what is kept stays");
        retained.acknowledge(retained.end());
        assert!(retained.kept.capacity() > 0, "more may come at once");
        retained.shrink();
        assert_eq!(retained.kept.capacity(), 0);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Send { length: usize, volatile: bool },
        Acknowledge { upto: prop::sample::Index },
        Break { upto: prop::sample::Index, queued: Vec<usize> },
    }

    fn step() -> impl Strategy<Value = Step> {
        let length = prop_oneof![8..200_usize, 3000..9000_usize];
        prop_oneof![
            4 => (length, prop::bool::weighted(0.3)).prop_map(|(length, volatile)| Step::Send { length, volatile }),
            2 => any::<prop::sample::Index>().prop_map(|upto| Step::Acknowledge { upto }),
            1 => (any::<prop::sample::Index>(), prop::collection::vec(8..5000_usize, 0..3))
                .prop_map(|(upto, queued)| Step::Break { upto, queued }),
        ]
    }

    /// A frame, by its number, where it ends, and whether it is volatile.
    struct Sent {
        number: u64,
        end: u64,
        volatile: bool,
    }

    proptest! {
        /// Whatever is sent, acknowledged and broken off: what is sent again is what the other side does not have, each frame
        /// once and in order, with a word for each volatile one.
        #[test]
        fn what_is_missing_is_sent_again(steps in prop::collection::vec(step(), 1..60)) {
            let mut retained = RetransmitBuffer::new(1 << 20);
            let mut sent: Vec<Sent> = Vec::new();
            let mut acknowledged = 0;
            for step in steps {
                match step {
                    Step::Send { length, volatile } => {
                        let outbox = emit(sent.len(), length);
                        if volatile {
                            retained.record_volatile(retained.end(), outbox.len() - PREFIX);
                        }
                        retained.push(&outbox);
                        sent.push(Sent { number: sent.len() as u64, end: retained.end(), volatile });
                    }
                    Step::Acknowledge { upto } => {
                        let Some(upto) = sent.get(upto.index(sent.len().max(1))) else { continue };
                        acknowledged = acknowledged.max(upto.end);
                        prop_assert!(retained.acknowledge(upto.end));
                        prop_assert_eq!(retained.len() as u64, retained.end() - acknowledged);
                    }
                    Step::Break { upto, queued } => {
                        let Some(upto) = sent.get(upto.index(sent.len().max(1))) else { continue };
                        let position = upto.end.max(acknowledged);
                        acknowledged = position;
                        let mut waiting = SendBuffer::default();
                        let mut end = retained.end();
                        for length in queued {
                            let mut one = emit(sent.len(), length);
                            end += one.len() as u64;
                            sent.push(Sent { number: sent.len() as u64, end, volatile: false });
                            waiting.push_exact(one.take_all());
                        }
                        let Retransmission { mut outbox, .. } = retained.retransmit(position, &waiting).unwrap();
                        prop_assert_eq!(retained.end(), end);
                        let mut again = outbox.take_all();
                        for missing in sent.iter().filter(|sent| sent.end > position) {
                            let mut frame = next_frame(&mut again).unwrap();
                            let header = Frame::decode(&mut frame).unwrap();
                            if missing.volatile {
                                let is_word = matches!(header, Frame::Skipped { .. });
                                prop_assert!(is_word, "{:?}", header);
                            } else {
                                prop_assert_eq!(header, Frame::Emit { key: 7 });
                                prop_assert_eq!(frame[..8].to_vec(), missing.number.to_le_bytes().to_vec());
                            }
                        }
                        prop_assert!(again.is_empty());
                    }
                }
            }
        }
    }
}
