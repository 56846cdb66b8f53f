//! The only door between the simulation and the core: what changes inside of `proto` is met here.

use std::{
    io::IoSlice,
    time::{Duration, Instant},
};

use bytes::Bytes;

use sockets_proto::{
    CallId, CallOrigin, CallResult, CloseReason, Event, Frame, HandlerId, KeepAlive, KeepAliveConfig, Overflow,
    ProtocolError, Response, Role, SendBuffer, SendOutcome, SessionCore, Settings, VolatileEmit, WhenFull,
    WindowPermit, WindowSize,
    codec::{Payload, SHARE_FROM},
    next_frame, shared_emit, shared_request,
};

/// What a side accepts, and how much may wait in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) max_frame: u32,
    pub(super) calls: u32,
    pub(super) bytes: u32,
    pub(super) queue: usize,
    /// How many bytes are kept for another link; 0 if there is none.
    pub(super) kept: usize,
}

impl Setting {
    fn terms(self) -> Settings {
        Settings { max_frame: self.max_frame, window: WindowSize { calls: self.calls, bytes: self.bytes } }
    }
}

/// A message to an audience, encoded once for all members.
#[derive(Clone)]
pub(super) enum Shared {
    Emit(Bytes, u64, Overflow),
    Request(sockets_proto::SharedRequest),
}

impl Shared {
    pub(super) fn emit(key: u64, payload: &[u8], overflow: Overflow) -> Self {
        Self::Emit(shared_emit(key, &Payload::Copied(payload)), key, overflow)
    }

    pub(super) fn request(number: u64, key: u64, timeout: Duration, payload: &[u8]) -> Self {
        Self::Request(shared_request(number, key, timeout, &Payload::Copied(payload)))
    }
}

/// A core whose callers and handlers are numbers.
pub(super) struct Engine {
    core: SessionCore<u64, u64>,
    /// What is being written.
    writer: SendBuffer,
    /// How much of what is to be written has been looked at.
    seen: usize,
}

impl Engine {
    pub(super) fn new(side: Role, ours: Setting, theirs: Setting) -> Self {
        let mut core = SessionCore::new(side, ours.terms(), theirs.terms(), ours.queue);
        if ours.kept > 0 && theirs.kept > 0 {
            core.enable_resumption(ours.kept, theirs.kept);
        }
        Self { core, writer: SendBuffer::default(), seen: 0 }
    }

    /// From now on, silence is minded.
    pub(super) fn mind(&mut self, now: Instant, config: KeepAliveConfig, theirs: Option<Duration>, phase: f32) {
        self.core.set_keep_alive(KeepAlive::new(now, config, theirs, phase));
    }

    /// The frames that are new in the queue to the wire.
    pub(super) fn queued_frames(&mut self) -> Vec<Bytes> {
        let outbox = self.core.outbox();
        if outbox.len() == self.seen {
            return Vec::new();
        }
        let mut new = bytes_of(outbox).split_off(self.seen);
        self.seen = outbox.len();
        let frames = std::iter::from_fn(|| next_frame(&mut new)).collect();
        assert!(new.is_empty(), "only whole frames are queued");
        frames
    }

    /// Takes what is queued for the wire, all of which has been looked at. Gives what is said about the link behind it.
    pub(super) fn hand_over(&mut self) -> Option<Bytes> {
        self.core.poll_transmit(&mut self.writer);
        let seen = std::mem::take(&mut self.seen);
        let mut word = bytes_of(&self.writer).split_off(seen);
        let frame = next_frame(&mut word);
        assert!(word.is_empty(), "only one word is said");
        frame
    }

    /// Writes some of that.
    pub(super) fn write(&mut self, most: usize) -> Bytes {
        let mut bytes = bytes_of(&self.writer);
        bytes.truncate(most);
        self.writer.advance(bytes.len());
        bytes
    }

    /// Something has been written.
    pub(super) fn go_on(&mut self, now: Instant) {
        if self.core.has_evictable() {
            self.core.on_writable(now);
        }
    }

    /// There is a link again, and what has waited for it may go.
    pub(super) fn set_off(&mut self, now: Instant) {
        self.core.on_writable(now);
    }

    /// How many emits were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.core.dropped()
    }

    pub(super) fn unwritten(&mut self) -> usize {
        self.waiting() + self.writer.len()
    }

    /// Bytes that wait for the writer.
    pub(super) fn waiting(&mut self) -> usize {
        self.core.outbox().len()
    }

    /// Whether more is going to be taken for the wire.
    pub(super) fn takes(&self) -> bool {
        self.writer.is_empty()
    }

    /// Whether there is something to say about the link.
    pub(super) fn owes_word(&self) -> bool {
        self.core.has_control_frames()
    }

    pub(super) fn rest(&mut self) {
        self.core.detach();
        self.core.clear_go_away();
    }

    pub(super) fn received(&self) -> u64 {
        self.core.positions().map_or(0, |(received, _)| received)
    }

    pub(super) fn can_resume(&self, position: u64) -> bool {
        self.core.can_resume(position, 0)
    }

    /// Returns how many bytes are held for the other side.
    pub(super) fn held(&self) -> usize {
        self.core.held_bytes()
    }

    /// How many bytes are kept.
    pub(super) fn kept(&self) -> usize {
        self.core.retained()
    }

    /// There is another link, to one who knows nothing of this session. Gives what [`close`](Self::close) does.
    pub(super) fn start_anew(&mut self, now: Instant, ours: Setting, theirs: Setting) -> (Vec<(u64, bool)>, Vec<u64>) {
        let (told, handlers) = self.core.reset(now, ours.terms(), theirs.terms(), theirs.kept);
        self.writer = SendBuffer::default();
        self.seen = 0;
        (disconnected(told), handlers)
    }

    /// There is another link: all that it carries first.
    pub(super) fn resume(&mut self, now: Instant, position: u64) -> Bytes {
        let mut resent = self.core.resume(now, position).expect("it is kept");
        self.seen = 0;
        let all = resent.take_all();
        self.writer = SendBuffer::default();
        self.writer.push_exact(all.clone());
        all
    }

    pub(super) fn emit_volatile(&mut self, payload: &[u8]) -> SendOutcome {
        self.core.emit_volatile(&VolatileEmit::Own(super::acting::KEY, &as_encoded(payload)))
    }

    pub(super) fn handle(&mut self, now: Instant, frame: Bytes) -> Result<Event<u64, u64>, ProtocolError> {
        self.core.handle(now, frame)
    }

    pub(super) fn heard_part(&mut self, now: Instant, bytes: usize) {
        self.core.on_partial(now, bytes);
    }

    pub(super) fn is_silent(&mut self, now: Instant, listened: bool) -> bool {
        self.core.poll_idle_timeout(now, listened)
    }

    pub(super) fn say(&mut self, frame: Frame, text: &str) {
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
    pub(super) fn share(
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
            Shared::Request(ask) => {
                let asked = self.core.request_shared(now, ask, consumer, by);
                asked.map(|()| Some(ask.id())).map_err(|(refused, returned)| {
                    assert_eq!(returned, consumer, "who asks in vain is given back");
                    refused
                })
            }
        }
    }

    pub(super) fn cancel(&mut self, now: Instant, id: CallId) {
        self.core.cancel(now, id);
    }

    pub(super) fn check_id(&self, open: HandlerId) -> Result<(), ProtocolError> {
        self.core.check_id(open)
    }

    pub(super) fn suspend(&mut self, open: HandlerId, handler: u64) {
        self.core.insert_handler(open, handler);
    }

    pub(super) fn answer(&mut self, now: Instant, id: CallId, place: WindowPermit, outcome: &Response<'_>) {
        self.core.respond(now, id, place, outcome);
    }

    pub(super) fn end_emit(&mut self, open: HandlerId, place: WindowPermit) {
        self.core.end_emit(open, place);
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.core.next_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<(u64, CallResult)> {
        self.core.handle_timeout(now)
    }

    /// The callers that were told of the end, with whether their calls may have been executed, and the handlers to stop.
    pub(super) fn close(&mut self) -> (Vec<(u64, bool)>, Vec<u64>) {
        let (told, handlers) = if self.core.is_detached() { self.core.close_detached() } else { self.core.close() };
        (disconnected(told), handlers)
    }

    pub(super) fn queued(&self) -> usize {
        self.core.queued()
    }

    pub(super) fn is_full(&self) -> bool {
        self.core.is_full()
    }

    pub(super) fn unanswered(&self) -> usize {
        self.core.calls_in_flight()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.core.is_idle()
    }
}

fn bytes_of(outbox: &SendBuffer) -> Bytes {
    let mut slices = vec![IoSlice::new(&[]); outbox.len() / 16 + 2];
    let filled = outbox.slices(&mut slices);
    let all: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
    assert_eq!(all.len(), outbox.len(), "an outbox holds as many bytes as it says");
    all.into()
}

/// The callers that were told of the end, with whether their calls may have been executed.
fn disconnected(told: Vec<(u64, CallResult)>) -> Vec<(u64, bool)> {
    let told = told.into_iter().map(|(consumer, answer)| match answer {
        CallResult::Disconnected { maybe_executed } => (consumer, maybe_executed),
        other => panic!("the end is {other:?}"),
    });
    told.collect()
}

/// Whether only a server may say this.
pub(super) fn is_the_servers(farewell: CloseReason) -> bool {
    matches!(
        farewell,
        CloseReason::Kicked
            | CloseReason::ShuttingDown
            | CloseReason::NotReady
            | CloseReason::Superseded
            | CloseReason::Restarting
            | CloseReason::Refused
            | CloseReason::Retry
    )
}

/// As a value of these bytes comes from its encoding.
pub(super) fn as_encoded(payload: &[u8]) -> Payload<'_> {
    if payload.len() < SHARE_FROM { Payload::Copied(payload) } else { Payload::Shared(Bytes::copy_from_slice(payload)) }
}
