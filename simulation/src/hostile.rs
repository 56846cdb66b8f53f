//! A hostile peer. It knows the protocol and breaks the protocol.

use crate::{actions::KEY, choices::Choices, endpoint, link::Pipe};
use sockets_proto::{CallId, CloseReason, FailureCode, Frame, PREFIX, Role};

#[derive(Default)]
pub(super) struct Hostile {
    /// The ids of the requests that the hostile peer has received.
    received: Vec<CallId>,
    /// The ids of the requests that the hostile peer has sent.
    sent: Vec<CallId>,
    /// The percentage of the hostile peer's frames that may break the protocol.
    malice: u64,
    /// `true` if the hostile peer sends random bytes instead of frames.
    sends_garbage: bool,
    /// `true` if the hostile peer has begun a frame that never ends.
    trickles: bool,
    /// `true` if the hostile peer never reads.
    pub(super) never_reads: bool,
}

impl Hostile {
    pub(super) fn new(sends_garbage: bool, malice: u64, never_reads: bool) -> Self {
        Self { malice, sends_garbage, never_reads, ..Self::default() }
    }

    /// Receives a frame from the honest endpoint.
    pub(super) fn receive(&mut self, mut frame: bytes::Bytes) {
        if let Ok(Frame::Request { id, .. }) = Frame::decode(&mut frame) {
            self.received.push(id);
        }
    }

    /// Returns the hostile peer's next frame. To choose the frame, the method reads the state of
    /// `victim`, although a real peer could not do so.
    pub(super) fn send(&mut self, victim: &endpoint::Endpoint, max_payload: u64, choices: &mut Choices<'_>) -> Vec<u8> {
        if self.sends_garbage {
            return random_bytes(64, choices);
        }
        let malicious = choices.percent(self.malice);
        let size = choices.index(usize::try_from(max_payload).unwrap_or(0));
        let legal = |length: usize| victim.incoming.window.can_fit(length);
        match choices.weighted(&[6, 6, 5, 3, 3, 2, 3, 2, 2]) {
            0 if malicious || legal(9 + size) => frame(Frame::Emit { key: KEY }, &vec![7; size]),
            1 if malicious || legal(29 + size) => {
                let id = self.some_id(malicious, choices);
                self.sent.push(id);
                let timeout = [0, 1, 50, 5_000, u64::MAX][choices.index(5)];
                frame(Frame::Request { id, timeout, key: KEY }, &vec![7; size])
            }
            2 => match self.reply_id(victim, malicious, choices) {
                Some(id) => frame(Frame::Reply { id }, &vec![7; size]),
                None => optional(size),
            },
            3 => match self.reply_id(victim, malicious, choices) {
                Some(id) => frame(Frame::Failure { id, code: FailureCode::NoSuchMethod }, b"none"),
                None => optional(size),
            },
            4 => {
                let id = match choices.index(self.sent.len() + 1) {
                    at if at < self.sent.len() => self.sent[at],
                    _ => self.some_id(true, choices),
                };
                frame(Frame::Cancel { id }, &[])
            }
            5 => {
                let (calls, bytes) = victim.outgoing.emits_in_flight();
                let (calls, bytes) =
                    if malicious { (calls + choices.between(0, 2), choices.below(bytes + 2)) } else { (calls, bytes) };
                if calls > 0 || malicious { frame(Frame::Credit { calls, bytes }, &[]) } else { optional(size) }
            }
            // An honest server sends a ready frame once. A hostile server may send it again, as
            // long as the victim has not received the first copy.
            6 if victim.role == Role::Client && !victim.received_ready => frame(Frame::Ready, &[]),
            6 if malicious => {
                let reasons = [
                    CloseReason::Closed,
                    CloseReason::Kicked,
                    CloseReason::TooSlow,
                    CloseReason::NotReady,
                    CloseReason::Refused,
                ];
                let reason = reasons[choices.index(reasons.len())];
                let all = [Frame::Ready, Frame::GoAway, Frame::Drained, Frame::Close { reason }];
                frame(all[choices.index(4)], &[])
            }
            7 if malicious => garbage(choices),
            8 => {
                let number = [0, 1, choices.below(500), u64::MAX][choices.index(if malicious { 4 } else { 1 })];
                let frames = [Frame::Ack { position: number }, Frame::Skipped { bytes: number }];
                frame(frames[choices.index(2)], &[])
            }
            _ => optional(size),
        }
    }

    fn some_id(&self, malicious: bool, choices: &mut Choices<'_>) -> CallId {
        if malicious && !self.sent.is_empty() && choices.percent(70) {
            return self.sent[choices.index(self.sent.len())];
        }
        let number = if malicious { choices.below(1 << 9) } else { self.sent.len() as u64 };
        CallId { number, shared: malicious && choices.percent(30) }
    }

    /// Begins a frame that never ends, or sends the next byte of such a frame. Returns `true` if
    /// the hostile peer has begun a frame that never ends.
    pub(super) fn trickle(&mut self, pipe: &mut Pipe, choices: &mut Choices<'_>) -> bool {
        if !self.trickles && choices.percent(2) {
            self.trickles = true;
            pipe.put(&1_000_000_u32.to_le_bytes());
        } else if self.trickles {
            pipe.put(&[7]);
        }
        self.trickles
    }

    /// Returns the id of a request that the hostile peer has received, or an id that the victim
    /// never sent.
    fn reply_id(&mut self, victim: &endpoint::Endpoint, malicious: bool, choices: &mut Choices<'_>) -> Option<CallId> {
        if malicious {
            let mut known = victim.outgoing.in_flight_ids();
            known.push(CallId { number: choices.below(1 << 9), shared: choices.percent(30) });
            return Some(known[choices.index(known.len())]);
        }
        if self.received.is_empty() {
            return None;
        }
        let at = choices.index(self.received.len());
        Some(self.received.swap_remove(at))
    }
}

/// Returns an optional frame that has no effect. The frame is a list of signatures, a heartbeat, or
/// a frame of an unknown type.
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

/// Returns random bytes. They often begin in the same way as a frame.
fn garbage(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut bytes = random_bytes(24, choices);
    if let Some(kind) = bytes.first_mut() {
        *kind %= 12;
    }
    bytes
}

fn random_bytes(max: usize, choices: &mut Choices<'_>) -> Vec<u8> {
    let length = choices.index(max);
    (0..length).map(|_| choices.below(256).to_le_bytes()[0]).collect()
}
