//! Sent frames that the peer has not acknowledged. The buffer retains them for retransmission, up
//! to a limit.
//!
//! A position is a number of bytes from the beginning of the session, including the prefixes of
//! frames. Positions count bytes, so frames need no sequence numbers. Therefore several connections
//! can share the bytes of a frame.

use std::{
    collections::{BTreeSet, VecDeque},
    ops::Range,
};

use bytes::Bytes;

use super::{
    frame::{Frame, PREFIX},
    latest::LatestKey,
    send_buffer::SendBuffer,
};

/// The last part of all sent bytes. It begins with the first byte that can be retransmitted.
#[derive(Debug)]
pub(super) struct RetransmitBuffer {
    /// The position of the first retained byte.
    start: u64,
    retained: SendBuffer,
    /// Maximum number of retained bytes. If another transmission exceeds this number, the buffer
    /// drops the oldest bytes of earlier transmissions.
    limit: usize,
    /// The length of the last transmission. The buffer always retains the whole last transmission,
    /// even beyond `limit`.
    last: usize,
    /// The retained frames that a retransmission may skip, in order.
    skippable: VecDeque<SkippableRange>,
}

#[derive(Debug)]
struct SkippableRange {
    at: Range<u64>,
    /// The key of an emit that is skipped if there is a newer emit with the same key. It is `None`
    /// for a volatile emit, which is always skipped.
    key: Option<LatestKey>,
    /// `true` after the first retransmission that skipped the frame. That retransmission also
    /// returned the frame's share of the window.
    skipped: bool,
}

/// The frames that a session sends first on a new connection.
#[derive(Debug)]
pub(super) struct Retransmission {
    pub(super) send_buffer: SendBuffer,
    /// The lengths of the skipped frames that were lost. The lengths do not include the prefixes,
    /// as in the window.
    pub(super) lost: Vec<usize>,
}

impl RetransmitBuffer {
    pub(super) fn new(limit: usize) -> Self {
        Self { start: 0, retained: SendBuffer::default(), limit, last: 0, skippable: VecDeque::new() }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.retained.len()
    }

    /// Returns the number of bytes by which retransmissions have enlarged the buffer beyond its
    /// limit. The buffer also exceeds its limit if the last transmission is longer than the limit.
    /// Such a transmission does not count, because it cannot make the buffer grow repeatedly.
    pub(super) fn excess(&self) -> usize {
        self.len().saturating_sub(self.limit.max(self.last))
    }

    /// Returns the position after the last retained byte.
    #[inline]
    pub(super) fn end(&self) -> u64 {
        self.start + self.len() as u64
    }

    /// Returns the position of the first retained byte.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Returns `true` if `position` is a frame boundary and the buffer retains all frames after it.
    pub(super) fn can_retransmit_from(&self, position: u64) -> bool {
        (self.start..=self.end()).contains(&position) && self.is_whole_frames_from(position)
    }

    /// Retains the frames in `send_buffer`, which the driver is about to send. If the buffer then
    /// has more than `limit` bytes, it drops the oldest frames.
    #[inline]
    pub(super) fn push(&mut self, send_buffer: &SendBuffer) {
        if send_buffer.is_empty() {
            return;
        }
        let before = self.len();
        self.retained.extend(send_buffer);
        self.last = send_buffer.len();
        // Always retain the whole current transmission, so that a message larger than `limit`
        // survives the loss of the connection.
        self.release(self.len().saturating_sub(self.limit).min(before));
    }

    /// Marks the frame at `position` as volatile. `length` is the length of the frame without its
    /// prefix.
    pub(super) fn record_volatile(&mut self, position: u64, length: usize) {
        self.record_skippable(position..position + (PREFIX + length) as u64, None);
    }

    /// Lets a retransmission skip the frame at these positions, if there is a newer frame with the
    /// same key or if there is no key.
    pub(super) fn record_skippable(&mut self, at: Range<u64>, key: Option<LatestKey>) {
        self.skippable.push_back(SkippableRange { at, key, skipped: false });
    }

    /// Sorts the marks of frames that have not been sent, after marks have been recorded in another
    /// order.
    pub(super) fn sort_skippable(&mut self) {
        let first = self.first_unsent();
        self.skippable.make_contiguous()[first..].sort_unstable_by_key(|frame| frame.at.start);
    }

    fn first_unsent(&self) -> usize {
        let end = self.end();
        self.skippable.len() - self.skippable.iter().rev().take_while(|frame| frame.at.start >= end).count()
    }

    /// Returns `true` if a frame that has not been sent is marked as volatile.
    pub(super) fn has_unsent_volatile(&self) -> bool {
        self.skippable.back().is_some_and(|frame| frame.at.start >= self.end())
    }

    /// Moves the marks after `position`, because the length of the frame at `position` changes.
    pub(super) fn move_after(&mut self, position: u64, old: u64, new: u64) {
        let first = self.first_unsent();
        for frame in self.skippable.range_mut(first..).filter(|frame| frame.at.start > position) {
            frame.at = frame.at.start - old + new..frame.at.end - old + new;
        }
    }

    /// Drops all bytes before `position`. Returns `false` if the local endpoint has never sent
    /// bytes up to `position`.
    pub(super) fn acknowledge(&mut self, position: u64) -> bool {
        if position > self.end() {
            return false;
        }
        // The count is 0 if the peer acknowledges bytes that the buffer has already dropped.
        let count = position.saturating_sub(self.start);
        self.release(usize::try_from(count).unwrap_or(usize::MAX));
        true
    }

    #[inline]
    fn release(&mut self, count: usize) {
        self.start += count as u64;
        self.retained.advance(count);
        while self.skippable.front().is_some_and(|frame| frame.at.end <= self.start) {
            self.skippable.pop_front();
        }
    }

    /// Releases memory after a period without sent frames.
    pub(super) fn shrink(&mut self) {
        if self.retained.is_empty() {
            self.retained = SendBuffer::default();
            self.skippable = VecDeque::new();
        }
    }

    /// Returns the frames for a peer that has received all bytes before `position`. The returned
    /// frames end with the frames in `send_buffer`, which the buffer also retains from now on.
    /// Returns `None` if the peer needs a frame that the buffer no longer retains.
    ///
    /// The frames do not contain volatile emits, and emits with the key of a newer emit. The newer
    /// emit may be pending; `is_pending` returns `true` if an emit with the key is pending.
    pub(super) fn retransmit(
        &mut self,
        position: u64,
        send_buffer: &SendBuffer,
        is_pending: impl Fn(LatestKey) -> bool,
    ) -> Option<Retransmission> {
        if !self.can_retransmit_from(position) {
            return None;
        }
        self.acknowledge(position);
        // Retain all frames of `send_buffer`, even beyond `limit`, because the next resumption
        // would fail without them.
        self.retained.extend(send_buffer);
        let mut retransmission = Retransmission { send_buffer: SendBuffer::default(), lost: Vec::new() };
        let mut next = self.start;
        let mut skippable = std::mem::take(&mut self.skippable);
        let mut newer = BTreeSet::new();
        let mut is_skipped =
            |frame: &SkippableRange| frame.key.is_none_or(|key| !newer.insert(key) || frame.skipped || is_pending(key));
        let skipped: Vec<_> = skippable.iter_mut().rev().filter(|frame| is_skipped(frame)).collect();
        for frame in skipped.into_iter().rev() {
            let bytes = frame.at.end - frame.at.start;
            self.copy(next..frame.at.start, &mut retransmission.send_buffer);
            retransmission.send_buffer.push_header_only(Frame::Skipped { bytes });
            next = frame.at.end;
            if !std::mem::replace(&mut frame.skipped, true) {
                retransmission.lost.push(usize::try_from(bytes).unwrap_or(usize::MAX) - PREFIX);
            }
        }
        self.skippable = skippable;
        self.copy(next..self.end(), &mut retransmission.send_buffer);
        Some(retransmission)
    }

    /// Returns `true` if `position` is a frame boundary. A peer may send any number as a position.
    fn is_whole_frames_from(&self, position: u64) -> bool {
        let mut before = usize::try_from(position - self.start).unwrap_or(usize::MAX);
        let (mut prefix, mut prefix_read, mut missing) = ([0; PREFIX], 0, 0);
        for piece in self.retained.chunks().map(|piece| &piece[..]).chain([self.retained.tail()]) {
            let (skipped, mut piece) = piece.split_at(before.min(piece.len()));
            before -= skipped.len();
            while !piece.is_empty() {
                if prefix_read < PREFIX {
                    (prefix[prefix_read], prefix_read, piece) = (piece[0], prefix_read + 1, &piece[1..]);
                    missing = u32::from_le_bytes(prefix) as usize;
                } else {
                    let step = missing.min(piece.len());
                    (missing, piece) = (missing - step, &piece[step..]);
                }
                if prefix_read == PREFIX && missing == 0 {
                    prefix_read = 0;
                }
            }
        }
        prefix_read == 0
    }

    /// Appends the bytes at the positions `wanted` to `send_buffer`.
    fn copy(&self, wanted: Range<u64>, send_buffer: &mut SendBuffer) {
        let mut at = self.start;
        let pieces = self.retained.chunks().map(|piece| (&piece[..], Some(piece)));
        for (bytes, shared) in pieces.chain([(self.retained.tail(), None)]) {
            let clip =
                |position: u64| usize::try_from(position.saturating_sub(at)).unwrap_or(usize::MAX).min(bytes.len());
            let range = clip(wanted.start)..clip(wanted.end);
            if !range.is_empty() {
                send_buffer.push_exact(match shared {
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
        let mut send_buffer = SendBuffer::default();
        let mut payload = vec![0xff; length.max(8)];
        payload[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let payload = if length < SHARE_FROM { Payload::Copied(&payload) } else { Payload::Shared(payload.into()) };
        send_buffer.push(Frame::Emit { key: 7 }.header(), &payload);
        send_buffer
    }

    #[test]
    fn unsent_position_cannot_be_acknowledged() {
        let mut retained = RetransmitBuffer::new(1000);
        retained.push(&emit(0, 10));
        assert!(!retained.acknowledge(retained.end() + 1));
        assert!(retained.acknowledge(retained.end()));
        assert_eq!(retained.len(), 0);
        assert!(retained.acknowledge(0), "a late, older acknowledgement is ignored");
    }

    #[test]
    fn oldest_frames_are_dropped_and_rest_is_retransmitted() {
        let mut retained = RetransmitBuffer::new(100);
        (0..100).for_each(|number| retained.push(&emit(number, 8)));
        assert_eq!(retained.len(), 100);
        assert!(retained.retransmit(0, &SendBuffer::default(), |_| false).is_none());
        let position = retained.end() - 21;
        let mut again =
            retained.retransmit(position, &SendBuffer::default(), |_| false).unwrap().send_buffer.take_all();
        assert_eq!(next_frame(&mut again).unwrap()[9..], 99_u64.to_le_bytes());
        assert!(again.is_empty());
    }

    #[test]
    fn position_within_frame_is_not_retransmitted() {
        let buffer = || {
            let mut retained = RetransmitBuffer::new(1 << 20);
            for length in [10, SHARE_FROM, 20] {
                retained.push(&emit(0, length));
            }
            retained
        };
        let mut ends = 0;
        for position in 0..=buffer().end() {
            let retransmission = buffer().retransmit(position, &SendBuffer::default(), |_| false);
            assert_eq!(
                retransmission.is_some(),
                buffer().can_retransmit_from(position),
                "whether position {position} can be resumed from"
            );
            let Some(retransmission) = retransmission else { continue };
            let mut again = { retransmission.send_buffer }.take_all();
            let frames = std::iter::from_fn(|| next_frame(&mut again)).count();
            assert!(again.is_empty(), "a partial frame follows {frames} frames from {position}");
            ends += 1;
        }
        assert!((4..100).contains(&ends), "{ends} positions");
    }

    #[test]
    fn shrunk_buffer_holds_no_memory() {
        let mut retained = RetransmitBuffer::new(1 << 20);
        retained.push(&emit(0, 100));
        retained.shrink();
        assert!(retained.can_retransmit_from(0), "retained frames stay");
        retained.acknowledge(retained.end());
        assert!(retained.retained.capacity() > 0, "capacity is kept for further frames");
        retained.shrink();
        assert_eq!(retained.retained.capacity(), 0);
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

    /// A sent frame, with its number, the position of its end, and a flag for volatile frames.
    struct Sent {
        number: u64,
        end: u64,
        volatile: bool,
    }

    proptest! {
        /// After any sequence of steps, a retransmission contains the frames that the peer has not
        /// received, each once and in order. Instead of a volatile frame, it contains a `Skipped`
        /// frame.
        #[test]
        fn missing_frames_are_retransmitted(steps in prop::collection::vec(step(), 1..60)) {
            let mut retained = RetransmitBuffer::new(1 << 20);
            let mut sent: Vec<Sent> = Vec::new();
            let mut acknowledged = 0;
            for step in steps {
                match step {
                    Step::Send { length, volatile } => {
                        let send_buffer = emit(sent.len(), length);
                        if volatile {
                            retained.record_volatile(retained.end(), send_buffer.len() - PREFIX);
                        }
                        retained.push(&send_buffer);
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
                            let mut frame = emit(sent.len(), length);
                            end += frame.len() as u64;
                            sent.push(Sent { number: sent.len() as u64, end, volatile: false });
                            waiting.push_exact(frame.take_all());
                        }
                        let Retransmission { mut send_buffer, .. } = retained.retransmit(position, &waiting, |_| false).unwrap();
                        prop_assert_eq!(retained.end(), end);
                        let mut again = send_buffer.take_all();
                        for missing in sent.iter().filter(|sent| sent.end > position) {
                            let mut frame = next_frame(&mut again).unwrap();
                            let header = Frame::decode(&mut frame).unwrap();
                            if missing.volatile {
                                let is_skipped = matches!(header, Frame::Skipped { .. });
                                prop_assert!(is_skipped, "{:?}", header);
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
