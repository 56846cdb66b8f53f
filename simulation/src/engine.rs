//! The interface between the simulation and the core. No other module depends on the signatures of
//! the core.

use std::{
    io::IoSlice,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::ser::{Serialize, SerializeTuple, Serializer};
use sockets_proto::{
    CallId, CallOrigin, CallResult, CloseReason, Event, Frame, HandlerId, KeepAlive, KeepAliveConfig, LatestEmit,
    LatestKey, Overflow, ProtocolError, Response, Role, SendBuffer, SendOutcome, SessionCore, Settings, TurnResults,
    VolatileEmit, WhenFull, WindowPermit, WindowSize,
    codec::{Payload, SHARE_FROM},
    next_frame, shared_emit, shared_request,
};

/// The limits that apply to an endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_frame: u32,
    pub(super) calls: u32,
    pub(super) bytes: u32,
    pub(super) queue: usize,
    /// The number of bytes that the endpoint retains for another connection. The number is 0
    /// without resumption.
    pub(super) retained: usize,
}

impl Limits {
    fn settings(self) -> Settings {
        Settings { max_frame: self.max_frame, window: WindowSize { calls: self.calls, bytes: self.bytes } }
    }
}

/// A message to an audience. The message is encoded once for all members.
#[derive(Clone)]
pub(super) enum Shared {
    Emit(Bytes, u64, Overflow),
    /// An emit that replaces older ones of its method. The flag is `true` if it is volatile.
    Latest(Bytes, u64, bool),
    Request(sockets_proto::SharedRequest),
}

impl Shared {
    pub(super) fn emit(key: u64, payload: &[u8], overflow: Overflow) -> Self {
        Self::Emit(shared_emit(key, &Payload::Copied(payload)), key, overflow)
    }

    pub(super) fn latest(key: u64, payload: &[u8], is_volatile: bool) -> Self {
        Self::Latest(shared_emit(key, &Payload::Copied(payload)), key, is_volatile)
    }

    pub(super) fn request(number: u64, key: u64, timeout: Duration, payload: &[u8]) -> Self {
        Self::Request(shared_request(number, key, timeout, &Payload::Copied(payload)))
    }
}

/// A core. Its callers and handlers are numbers.
pub(super) struct Engine {
    core: SessionCore<u64, u64>,
    /// The bytes that the driver is writing.
    writer: SendBuffer,
    /// The number of bytes in the send buffer that the simulation has checked.
    checked: usize,
    /// The results of the handlers that end in their first poll.
    turn: TurnResults,
    replies: u64,
    /// The longest frame that the peer accepts, in bytes.
    peer_max_frame: usize,
}

/// A value whose encoding consists of these bytes.
struct Encoded<'a>(&'a [u8]);

impl Serialize for Encoded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

impl Engine {
    pub(super) fn new(endpoint: Role, local: Limits, peer: Limits) -> Self {
        let mut core = SessionCore::new(endpoint, local.settings(), peer.settings(), local.queue);
        if local.retained > 0 && peer.retained > 0 {
            core.enable_resumption(local.retained, peer.retained);
        }
        Self {
            core,
            writer: SendBuffer::default(),
            checked: 0,
            turn: TurnResults::default(),
            replies: 0,
            peer_max_frame: peer.settings().max_frame as usize,
        }
    }

    /// Enables keep-alive.
    pub(super) fn set_keep_alive(&mut self, now: Instant, config: KeepAliveConfig, peer: Option<Duration>, phase: f32) {
        self.core.set_keep_alive(KeepAlive::new(now, config, peer, phase));
    }

    /// Returns the frames that have been added to the send buffer since the last call.
    pub(super) fn queued_frames(&mut self) -> Vec<Bytes> {
        let buffer = self.core.send_buffer();
        if buffer.len() == self.checked {
            return Vec::new();
        }
        let mut new = bytes_of(buffer).split_off(self.checked);
        self.checked = buffer.len();
        let frames = std::iter::from_fn(|| next_frame(&mut new)).collect();
        assert!(new.is_empty(), "only whole frames are queued");
        frames
    }

    /// Records that a checked frame in the send buffer has another length.
    pub(super) fn resize_checked(&mut self, old: usize, new: usize) {
        self.checked = self.checked - old + new;
    }

    /// Moves the checked frames from the send buffer to the writer. If the core appends a heartbeat
    /// or an acknowledgement, the method returns this frame.
    pub(super) fn transmit(&mut self) -> Option<Bytes> {
        self.core.poll_transmit(&mut self.writer);
        let checked = std::mem::take(&mut self.checked);
        let mut control = bytes_of(&self.writer).split_off(checked);
        let frame = next_frame(&mut control);
        assert!(control.is_empty(), "at most one connection frame");
        frame
    }

    /// Takes at most `max` bytes from the writer.
    pub(super) fn write(&mut self, max: usize) -> Bytes {
        let mut bytes = bytes_of(&self.writer);
        bytes.truncate(max);
        self.writer.advance(bytes.len());
        bytes
    }

    /// Notifies the core that the driver has written bytes.
    pub(super) fn on_writable(&mut self, now: Instant) {
        if self.core.has_evictable() {
            self.core.on_writable(now);
        }
    }

    /// Sends the messages that have waited for a connection.
    pub(super) fn flush(&mut self, now: Instant) {
        self.core.on_writable(now);
    }

    /// Returns the number of emits that the core has dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.core.dropped()
    }

    pub(super) fn unwritten(&mut self) -> usize {
        self.unsent_bytes() + self.writer.len()
    }

    /// Returns the number of bytes in the send buffer.
    pub(super) fn unsent_bytes(&mut self) -> usize {
        self.core.send_buffer().len()
    }

    /// Returns `true` if the writer contains no bytes.
    pub(super) fn is_written(&self) -> bool {
        self.writer.is_empty()
    }

    /// Returns `true` if the core has to send a connection frame.
    pub(super) fn has_control_frames(&self) -> bool {
        self.core.has_control_frames()
    }

    pub(super) fn detach(&mut self) {
        self.core.detach();
        self.core.clear_go_away();
    }

    pub(super) fn received(&self) -> u64 {
        self.core.positions().map_or(0, |(received, _)| received)
    }

    pub(super) fn can_resume(&self, position: u64) -> bool {
        self.core.can_resume(position, 0)
    }

    /// Returns the number of bytes that the core holds on behalf of its peer.
    pub(super) fn held_bytes(&self) -> usize {
        self.core.held_bytes()
    }

    /// Returns the number of bytes that the core retains for another connection.
    pub(super) fn retained(&self) -> usize {
        self.core.retained()
    }

    /// Continues with a peer that does not know this session. The result has the same form as that
    /// of [`close`](Self::close).
    pub(super) fn reset(&mut self, now: Instant, local: Limits, peer: Limits) -> (Vec<(u64, bool)>, Vec<u64>) {
        let (ended, handlers) = self.core.reset(now, local.settings(), peer.settings(), peer.retained);
        self.peer_max_frame = peer.settings().max_frame as usize;
        self.writer = SendBuffer::default();
        self.checked = 0;
        (disconnected(ended), handlers)
    }

    /// Resumes the session on another connection. Returns the frames that the driver has to send
    /// first.
    pub(super) fn resume(&mut self, now: Instant, position: u64) -> Bytes {
        let mut retransmission = self.core.resume(now, position).expect("retained frames");
        self.checked = 0;
        let all = retransmission.take_all();
        self.writer = SendBuffer::default();
        self.writer.push_exact(all.clone());
        all
    }

    pub(super) fn emit_volatile(&mut self, payload: &[u8]) -> SendOutcome {
        self.core.emit_volatile(&VolatileEmit::Own(super::actions::KEY, &as_encoded(payload)))
    }

    pub(super) fn handle(&mut self, now: Instant, frame: Bytes) -> Result<Event<u64>, ProtocolError> {
        self.core.handle(now, frame)
    }

    pub(super) fn on_partial(&mut self, now: Instant, bytes: usize) {
        self.core.on_partial(now, bytes);
    }

    pub(super) fn poll_idle_timeout(&mut self, now: Instant, input_drained: bool) -> bool {
        self.core.poll_idle_timeout(now, input_drained)
    }

    pub(super) fn send_control(&mut self, frame: Frame, text: &str) {
        self.core.send_control(frame, text);
    }

    pub(super) fn request(
        &mut self,
        now: Instant,
        key: u64,
        timeout: Duration,
        payload: &[u8],
        consumer: u64,
        by: CallOrigin,
    ) -> Result<CallId, SendOutcome> {
        self.core.request(now, key, timeout, &as_encoded(payload), consumer, by)
    }

    pub(super) fn emit(&mut self, now: Instant, key: u64, payload: &[u8], by: CallOrigin) -> SendOutcome {
        self.core.emit(|| now, key, &as_encoded(payload), by)
    }

    /// Sends a member's copy of a message to an audience.
    pub(super) fn send_shared(
        &mut self,
        now: Instant,
        message: &Shared,
        consumer: u64,
        by: CallOrigin,
        when_full: WhenFull,
    ) -> Result<Option<CallId>, SendOutcome> {
        match message {
            Shared::Emit(frame, key, overflow) => match self.core.broadcast(now, frame, *key, *overflow, when_full) {
                SendOutcome::Sent | SendOutcome::Pending => Ok(None),
                refused => Err(refused),
            },
            Shared::Latest(frame, key, is_volatile) => {
                let emit = LatestEmit { frame, key: LatestKey([*key, 0]), is_volatile: *is_volatile };
                match self.core.emit_latest(now, emit, by) {
                    SendOutcome::Sent | SendOutcome::Pending => Ok(None),
                    refused => Err(refused),
                }
            }
            Shared::Request(request) => {
                let sent = self.core.request_shared(now, request, consumer, by);
                sent.map(|()| Some(request.id())).map_err(|(refused, returned)| {
                    assert_eq!(returned, consumer, "the consumer is returned");
                    refused
                })
            }
        }
    }

    pub(super) fn cancel(&mut self, now: Instant, id: CallId) {
        self.core.cancel(now, id);
    }

    pub(super) fn check_id(&self, handler_id: HandlerId) -> Result<(), ProtocolError> {
        self.core.check_id(handler_id)
    }

    pub(super) fn insert_handler(&mut self, handler_id: HandlerId, handler: u64) {
        self.core.insert_handler(handler_id, handler);
    }

    pub(super) fn respond(&mut self, now: Instant, id: CallId, permit: WindowPermit, outcome: &Response<'_>) {
        // Half of the replies are those of handlers that end in their first poll.
        self.replies += 1;
        if let Response::Reply(payload) = outcome
            && self.replies.is_multiple_of(2)
        {
            let max_frame = self.peer_max_frame;
            if self.turn.reply(id, permit, &Encoded(payload.as_slice()), max_frame).is_ok() {
                return self.core.settle(now, &mut self.turn);
            }
        }
        self.core.respond(now, id, permit, outcome);
    }

    pub(super) fn end_emit(&mut self, now: Instant, handler_id: HandlerId, permit: WindowPermit) {
        if self.core.handler(handler_id).is_some() {
            return self.core.end_emit(handler_id, permit);
        }
        self.turn.end_emit(permit);
        self.core.settle(now, &mut self.turn);
    }

    /// Returns a suspended handler.
    pub(super) fn handler(&self, handler_id: HandlerId) -> Option<u64> {
        self.core.handler(handler_id)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.core.next_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<(u64, CallResult)> {
        self.core.handle_timeout(now)
    }

    /// Ends the session. Returns the number of each waiting call, with `true` if the peer may have
    /// executed the call. Also returns the handlers that the driver has to cancel.
    pub(super) fn close(&mut self) -> (Vec<(u64, bool)>, Vec<u64>) {
        let (ended, handlers) = if self.core.is_detached() { self.core.close_detached() } else { self.core.close() };
        (disconnected(ended), handlers)
    }

    pub(super) fn queued(&self) -> usize {
        self.core.queued()
    }

    pub(super) fn is_full(&self) -> bool {
        self.core.is_full()
    }

    pub(super) fn calls_in_flight(&self) -> usize {
        self.core.calls_in_flight()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.core.is_idle()
    }
}

fn bytes_of(buffer: &SendBuffer) -> Bytes {
    let mut slices = vec![IoSlice::new(&[]); buffer.len() / 16 + 2];
    let filled = buffer.slices(&mut slices);
    let all: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
    assert_eq!(all.len(), buffer.len(), "a send buffer has the length that it reports");
    all.into()
}

/// Returns each caller, with `true` if the peer may have executed the call.
fn disconnected(ended: Vec<(u64, CallResult)>) -> Vec<(u64, bool)> {
    let ended = ended.into_iter().map(|(consumer, result)| match result {
        CallResult::Disconnected { maybe_executed } => (consumer, maybe_executed),
        other => panic!("unexpected result {other:?} at the end"),
    });
    ended.collect()
}

/// Returns `true` if the reason means that the server has started none of the session's calls.
pub(super) fn is_refusal(reason: CloseReason) -> bool {
    matches!(reason, CloseReason::NotReady | CloseReason::Refused | CloseReason::Retry)
}

/// Returns `true` if only a server may send the reason.
pub(super) fn is_server_only(reason: CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::Kicked
            | CloseReason::ShuttingDown
            | CloseReason::NotReady
            | CloseReason::Superseded
            | CloseReason::Restarting
            | CloseReason::Refused
            | CloseReason::Retry
    )
}

/// Returns the payload in the form that the library uses for an encoded value of these bytes.
pub(super) fn as_encoded(payload: &[u8]) -> Payload<'_> {
    if payload.len() < SHARE_FROM { Payload::Copied(payload) } else { Payload::Shared(Bytes::copy_from_slice(payload)) }
}
