//! Emits of which only the latest waits. A newer emit with the same key takes the place of an older
//! emit that waits.
//!
//! An emit waits in the queue of pending messages or in the send buffer. There it is a chunk of its
//! own until the driver takes the send buffer, so that replacing it moves no other bytes.

use std::time::Instant;

use super::{CallOrigin, SendOutcome, SessionCore};
use crate::{
    frame::PREFIX,
    latest::{Buffered, LatestEmit, LatestKey, Place},
    pending::PendingKind,
};

impl<C, H: Clone> SessionCore<C, H> {
    /// Queues an emit. If an emit with the same key waits, the new emit takes its place.
    ///
    /// A queue with its limit of bytes accepts as many bytes again of such emits, since each of
    /// their keys waits only once. Then the method returns `Full`.
    pub fn emit_latest(&mut self, now: Instant, emit: LatestEmit<'_>, by: CallOrigin) -> SendOutcome {
        let LatestEmit { frame, key, is_volatile } = emit;
        let length = frame.len() - PREFIX;
        if length > self.max_frame {
            return SendOutcome::TooLarge { limit: self.max_frame, length };
        }
        let place = self.latest.as_ref().and_then(|latest| latest.place(key));
        let old = match place {
            Some(Place::SendBuffer(chunk)) => self.send_buffer.chunk_len(chunk),
            Some(Place::Pending(number)) => self.pending.len_of(number),
            None => 0,
        };
        let limit = if is_volatile { self.queue_limit } else { self.queue_limit.saturating_mul(2) };
        if frame.len() > old && self.backlog() - old >= limit {
            return self.without_capacity(is_volatile);
        }
        match place {
            Some(Place::Pending(number)) => {
                self.pending.replace(number, frame.clone());
                // The window may have capacity for a shorter frame.
                self.flush_pending(now);
                return SendOutcome::Pending;
            }
            Some(Place::SendBuffer(chunk)) => {
                if self.send_window.resize_emit(old - PREFIX, length) {
                    self.move_volatile(chunk, frame.len());
                    self.send_buffer.replace_chunk(chunk, frame.clone());
                    self.flush_pending(now);
                    return SendOutcome::Sent;
                }
                self.send_window.release_emit(old - PREFIX);
                self.move_volatile(chunk, 0);
                self.send_buffer.remove_chunk(chunk);
                if let Some(latest) = &mut self.latest {
                    latest.remove_buffered(chunk);
                }
                self.flush_pending(now);
            }
            None => {}
        }
        if self.can_send(length) || by == CallOrigin::Preparation && self.can_prepare(length) {
            self.send_window.consume_emit(length);
            self.push_latest(emit);
            SendOutcome::Sent
        } else if is_volatile {
            self.without_capacity(true)
        } else {
            let number = self.push_pending(now, frame.clone(), PendingKind::Latest { key });
            self.latest.get_or_insert_default().insert_pending(key, number);
            SendOutcome::Pending
        }
    }

    fn without_capacity(&mut self, is_volatile: bool) -> SendOutcome {
        if !is_volatile {
            return SendOutcome::Full;
        }
        self.dropped += 1;
        SendOutcome::Dropped
    }

    /// Adds an emit to the send buffer.
    pub(super) fn push_latest(&mut self, emit: LatestEmit<'_>) {
        let LatestEmit { frame, key, is_volatile } = emit;
        let chunk = self.send_buffer.push_chunk(frame.clone());
        self.latest.get_or_insert_default().insert_buffered(Buffered { chunk, key, is_volatile });
    }

    /// Moves the positions of volatile emits after a chunk of the send buffer, whose length is about
    /// to change.
    fn move_volatile(&mut self, chunk: usize, length: usize) {
        if let Some(retransmit) = &mut self.retransmit {
            retransmit.resize_chunk(&self.send_buffer, chunk, length);
        }
    }

    pub(super) fn forget_latest(&mut self, key: LatestKey) {
        if let Some(latest) = &mut self.latest {
            latest.remove(key);
        }
    }

    /// Prepares the send buffer for the driver, which is about to take it. Newer emits do not
    /// replace the emits in it any more.
    pub(super) fn commit_latest(&mut self) {
        let Some(latest) = &mut self.latest else { return };
        let buffered = latest.take_buffered();
        if let Some(retransmit) = &mut self.retransmit {
            retransmit.record_latest(&self.send_buffer, &buffered);
        }
        self.send_buffer.join_chunks();
    }

    /// Makes the emits in the send buffer pending, because the send buffer is about to be dropped.
    pub(super) fn keep_latest(&mut self, now: Instant) {
        let Some(latest) = &mut self.latest else { return };
        for Buffered { chunk, key, is_volatile } in latest.take_buffered() {
            let frame = self.send_buffer.chunk(chunk);
            if !is_volatile {
                let number = self.push_pending(now, frame, PendingKind::Latest { key });
                self.latest.get_or_insert_default().insert_pending(key, number);
            }
        }
    }
}
