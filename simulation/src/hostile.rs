//! A peer that knows the protocol, and keeps to it as it likes.

use crate::{acting::KEY, choices::Choices, link::Pipe, side};
use sockets_proto::{CallId, CloseReason, FailureCode, Frame, PREFIX, Role};

#[derive(Default)]
pub(super) struct Hostile {
    /// Requests that it has read.
    heard: Vec<CallId>,
    /// Requests that it has made.
    made: Vec<CallId>,
    /// How many of a hundred frames may break the rules.
    malice: u64,
    /// It says any bytes, and not frames.
    babbles: bool,
    /// It has begun a frame that never ends.
    trickles: bool,
    /// It reads nothing.
    pub(super) deaf: bool,
}

impl Hostile {
    pub(super) fn new(babbles: bool, malice: u64, deaf: bool) -> Self {
        Self { malice, babbles, deaf, ..Self::default() }
    }

    /// It reads a frame.
    pub(super) fn hear(&mut self, mut frame: bytes::Bytes) {
        if let Ok(Frame::Request { id, .. }) = Frame::decode(&mut frame) {
            self.heard.push(id);
        }
    }

    /// Its next frame. It knows what the other side has in flight, also what it could not know.
    pub(super) fn speak(&mut self, victim: &side::Side, largest: u64, choices: &mut Choices<'_>) -> Vec<u8> {
        if self.babbles {
            return babble(64, choices);
        }
        let malicious = choices.percent(self.malice);
        let size = choices.index(usize::try_from(largest).unwrap_or(0));
        let legal = |length: usize| victim.incoming.window.admits(length);
        match choices.weighted(&[6, 6, 5, 3, 3, 2, 3, 2, 2]) {
            0 if malicious || legal(9 + size) => frame(Frame::Emit { key: KEY }, &vec![7; size]),
            1 if malicious || legal(29 + size) => {
                let id = self.some_id(malicious, choices);
                self.made.push(id);
                let timeout = [0, 1, 50, 5_000, u64::MAX][choices.index(5)];
                frame(Frame::Request { id, timeout, key: KEY }, &vec![7; size])
            }
            2 => match self.asked(victim, malicious, choices) {
                Some(id) => frame(Frame::Reply { id }, &vec![7; size]),
                None => optional(size),
            },
            3 => match self.asked(victim, malicious, choices) {
                Some(id) => frame(Frame::Failure { id, code: FailureCode::NoSuchMethod }, b"none"),
                None => optional(size),
            },
            4 => {
                let id = match choices.index(self.made.len() + 1) {
                    at if at < self.made.len() => self.made[at],
                    _ => self.some_id(true, choices),
                };
                frame(Frame::Cancel { id }, &[])
            }
            5 => {
                let (calls, bytes) = victim.outgoing.emits();
                let (calls, bytes) = if malicious {
                    (choices.below(8).try_into().unwrap_or(1), choices.below(300))
                } else {
                    (calls, bytes)
                };
                if calls > 0 || malicious { frame(Frame::Credit { calls, bytes }, &[]) } else { optional(size) }
            }
            // What is said before the other side has heard it is said twice.
            6 if victim.kind == Role::Client && !victim.heard_ready => frame(Frame::Ready, &[]),
            6 if malicious => {
                let reasons = [CloseReason::Closed, CloseReason::Kicked, CloseReason::TooSlow];
                let reason = reasons[choices.index(3)];
                let all = [Frame::Ready, Frame::GoAway, Frame::Drained, Frame::Close { reason }];
                frame(all[choices.index(4)], &[])
            }
            7 if malicious => garbage(choices),
            8 => {
                let number = [0, 1, choices.below(500), u64::MAX][choices.index(if malicious { 4 } else { 1 })];
                let said = [Frame::Ack { position: number }, Frame::Skipped { bytes: number }];
                frame(said[choices.index(2)], &[])
            }
            _ => optional(size),
        }
    }

    fn some_id(&self, malicious: bool, choices: &mut Choices<'_>) -> CallId {
        if malicious && !self.made.is_empty() && choices.percent(70) {
            return self.made[choices.index(self.made.len())];
        }
        let number = if malicious { choices.below(1 << 9) } else { self.made.len() as u64 };
        CallId { number, shared: malicious && choices.percent(30) }
    }

    /// Begins a frame that never ends, or says one more byte of it. Says whether there is such a frame.
    pub(super) fn trickle(&mut self, pipe: &mut Pipe, choices: &mut Choices<'_>) -> bool {
        if !self.trickles && choices.percent(2) {
            self.trickles = true;
            pipe.put(&1_000_000_u32.to_le_bytes());
        } else if self.trickles {
            pipe.put(&[7]);
        }
        self.trickles
    }

    /// The id of a request to it, or of one that was never made.
    fn asked(&mut self, victim: &side::Side, malicious: bool, choices: &mut Choices<'_>) -> Option<CallId> {
        if malicious {
            let mut known = victim.outgoing.flights();
            known.push(CallId { number: choices.below(1 << 9), shared: choices.percent(30) });
            return Some(known[choices.index(known.len())]);
        }
        if self.heard.is_empty() {
            return None;
        }
        let at = choices.index(self.heard.len());
        Some(self.heard.swap_remove(at))
    }
}

/// A frame that changes nothing: signatures, a heartbeat, or one of those that nobody knows.
fn optional(size: usize) -> Vec<u8> {
    match size % 3 {
        0 => frame(Frame::Signatures, &vec![7; size / 16 * 16]),
        1 => frame(Frame::Heartbeat, &[]),
        _ => frame(Frame::Unknown { kind: 0xff }, &vec![7; size]),
    }
}

fn frame(header: Frame, payload: &[u8]) -> Vec<u8> {
    [&header.header().prefixed(payload.len())[PREFIX..], payload].concat()
}

/// Bytes that begin like a frame, or do not.
fn garbage(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut bytes = babble(24, choices);
    if let Some(kind) = bytes.first_mut() {
        *kind %= 12;
    }
    bytes
}

fn babble(most: usize, choices: &mut Choices<'_>) -> Vec<u8> {
    let length = choices.index(most);
    (0..length).map(|_| choices.below(256).to_le_bytes()[0]).collect()
}
