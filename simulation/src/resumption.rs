//! The model of resumption. It contains unacknowledged frames, positions and tokens, and simulates
//! the loss of connections.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::{
    endpoint::{Endpoint, Moment, payload_of},
    engine::Limits,
    keep_alive,
    latest::retained_key,
    link::{End, Link, Pipe},
    outgoing::{Message, MessageKind},
    world::{CLIENT, SERVER, World, limits},
};
use sockets_proto::{self as proto, Frame, PREFIX, SendOutcome, Token, Tokens, next_frame};

/// The choices for the number of bytes that an endpoint retains. The choice 0 stands for a session
/// without resumption.
pub(super) const RETAINED: [usize; 5] = [0, 100, 500, 5_000, 200_000];

/// A frame that the endpoint has sent and that the peer has not received.
pub(super) struct Sent {
    pub(super) frame: Bytes,
    volatile: bool,
    /// `true` if the connection was lost and the endpoint does not retransmit the frame.
    lost: bool,
}

/// The model of an endpoint's retransmission.
#[derive(Default)]
pub(super) struct RetransmitModel {
    pub(super) sent: std::collections::VecDeque<Sent>,
    /// The number of received bytes.
    received: u64,
    /// The last position up to which the endpoint has acknowledged received bytes.
    acknowledged: u64,
    /// The number of bytes that the core has queued since the beginning of the session.
    queued: u64,
    /// The number of bytes that the core has transmitted since the beginning of the session.
    transmitted: u64,
    /// The length of the last transmission, in bytes.
    last: u64,
    /// The length in bytes of the last transmission that contained only new frames.
    first_transmission: u64,
    /// The number of the volatile emit that the core is queueing.
    volatile: Option<u64>,
}

/// The model of a session's resumption tokens. It contains the tokens that the server accepts, and
/// the token that the client has.
pub(super) struct TokenModel {
    tokens: Tokens,
    held: Token,
    used: Vec<Token>,
}

impl TokenModel {
    pub(super) fn new() -> Self {
        let first = Token::new(1).expect("randomness");
        Self { tokens: Tokens::new(first.clone()), held: first, used: Vec::new() }
    }

    /// Presents the client's token to the server, which sends the next token. The client stores the
    /// next token only if `is_received` is `true`.
    fn present(&mut self, is_received: bool) {
        assert!(self.tokens.verify(&self.held), "the token of the client is invalid");
        let next = Token::new(1).expect("randomness");
        self.tokens.rotate(self.held.clone(), next.clone());
        if is_received {
            self.used.push(std::mem::replace(&mut self.held, next));
        }
    }

    /// Records that the server has received a frame from the client. The frame confirms that the
    /// client has received the last token.
    fn confirm(&mut self) {
        self.tokens.confirm();
        assert!(!self.used.iter().any(|used| self.tokens.verify(used)), "a used token is valid");
    }
}

fn size(frame: &Bytes) -> u64 {
    (PREFIX + frame.len()) as u64
}

impl RetransmitModel {
    /// Records that the core is about to queue a volatile emit.
    pub(super) fn expect_volatile(&mut self, number: Option<u64>) {
        self.volatile = number.or(self.volatile);
    }

    /// Replaces a queued frame at an index from the end.
    pub(super) fn replace_unsent(&mut self, back: usize, frame: Bytes) {
        let at = self.sent.len() - 1 - back;
        self.queued = self.queued - size(&self.sent[at].frame) + size(&frame);
        self.sent[at].frame = frame;
    }

    /// Removes a queued frame at an index from the end.
    pub(super) fn remove_unsent(&mut self, back: usize) {
        let removed = self.sent.remove(self.sent.len() - 1 - back).expect("a queued frame");
        self.queued -= size(&removed.frame);
    }
}

impl Endpoint {
    pub(super) fn resumes(&self) -> bool {
        self.local.retained > 0 && self.peer.retained > 0
    }

    /// Records a frame that the core has queued.
    pub(super) fn record_queued(&mut self, frame: &Bytes, number: Option<u64>) {
        let volatile = number.is_some() && number == self.retransmit.volatile;
        self.retransmit.queued += size(frame);
        self.retransmit.sent.push_back(Sent { frame: frame.clone(), volatile, lost: false });
    }

    /// Checks an acknowledgement that the endpoint sends.
    pub(super) fn on_ack_sent(&mut self, position: u64) {
        assert!(self.resumes(), "an acknowledgement without resumption");
        assert_eq!(position, self.retransmit.received, "exactly the received bytes are acknowledged");
        self.retransmit.acknowledged = position;
    }

    /// Records that a frame has arrived at the peer. The frame must be the next frame in order, and
    /// must be unchanged.
    pub(super) fn on_arrival(&mut self, frame: &Bytes) {
        let header = Frame::decode(&mut frame.clone());
        if matches!(header, Ok(Frame::Heartbeat | Frame::Ack { .. })) {
            return;
        }
        let next = self.retransmit.sent.pop_front().expect("a frame for each arrival");
        match header {
            Ok(Frame::Skipped { bytes }) => {
                assert!(next.lost && bytes == size(&next.frame), "only lost frames are skipped");
            }
            _ => assert_eq!(next.frame, frame, "frames arrive in order and once"),
        }
    }

    /// Records that the core transmits all queued frames.
    fn record_transmission(&mut self) {
        let retransmit = &mut self.retransmit;
        if retransmit.transmitted < retransmit.queued {
            retransmit.last = retransmit.queued - retransmit.transmitted;
        }
        retransmit.transmitted = retransmit.queued;
    }

    /// Records that the core transmits all queued frames for the first time.
    pub(super) fn record_first_transmission(&mut self) {
        let retransmit = &mut self.retransmit;
        if retransmit.transmitted < retransmit.queued {
            retransmit.first_transmission = retransmit.queued - retransmit.transmitted;
        }
        self.record_transmission();
    }

    /// Returns the number of bytes that the endpoint may retain. Further retained bytes count
    /// against the queue's limit.
    pub(super) fn retained_limit(&self) -> usize {
        usize::try_from(self.retransmit.first_transmission).map_or(usize::MAX, |sent| sent.max(self.local.retained))
    }

    /// Records a protocol error. The core may already have counted the bytes of the invalid frame.
    pub(super) fn record_protocol_error(&mut self) {
        self.retransmit.received = self.engine.received();
    }

    /// Returns the received position after this frame, or `None` if the position overflows.
    fn received_with(&self, header: Frame, length: usize) -> Option<u64> {
        let bytes = match header {
            Frame::Skipped { bytes } => bytes,
            Frame::Heartbeat | Frame::Ack { .. } => 0,
            _ => (PREFIX + length) as u64,
        };
        self.retransmit.received.checked_add(bytes)
    }

    /// Returns `true` if the position that a frame contains is valid. The received position after
    /// the frame must be valid, too.
    pub(super) fn is_valid_position(&self, header: Frame, length: usize) -> bool {
        let is_sent = !matches!(header, Frame::Ack { position } if position > self.retransmit.transmitted);
        !self.resumes() || is_sent && self.received_with(header, length).is_some()
    }

    /// Records a frame that the endpoint has received.
    pub(super) fn record_received(&mut self, header: Frame, length: usize) {
        if self.resumes() {
            self.retransmit.received = self.received_with(header, length).expect("a checked position");
        }
    }

    /// Checks after a transmission that no acknowledgement is due. The caller sets `alone` if the
    /// endpoint has sent no other frame.
    pub(super) fn check_acknowledged(&self, alone: bool) {
        let unacknowledged = self.retransmit.received - self.retransmit.acknowledged;
        assert!(!self.is_ack_due(alone), "{unacknowledged} bytes are not acknowledged");
    }

    /// Checks that the core requests a transmission if an acknowledgement is due.
    pub(super) fn check_ack_requested(&self) {
        assert!(
            self.engine.has_control_frames() || !self.is_ack_due(true),
            "an acknowledgement is due, but not requested"
        );
    }

    fn is_ack_due(&self, alone: bool) -> bool {
        let retained = self.peer.retained;
        let threshold = if alone { (retained / 4).min(64 * 1024) } else { (retained / 16).min(4 * 1024) };
        self.resumes() && self.retransmit.received - self.retransmit.acknowledged >= threshold.max(1) as u64
    }

    /// Sends a volatile emit. Returns `true` if the core has sent the emit, and `false` if it has
    /// dropped the emit.
    pub(super) fn emit_volatile(&mut self, moment: Moment, size: usize) -> bool {
        let (number, payload) = (moment.last, payload_of(moment.last, size));
        let length = 9 + payload.len();
        let can_send = self.outgoing.can_send(length);
        match self.engine.emit_volatile(&payload) {
            SendOutcome::Sent => {
                assert!(can_send, "a volatile emit is sent although the window is closed");
                let message =
                    Message { number, length, kind: MessageKind::Emit, handler: None, evictable: None, is_new: true };
                self.outgoing.accept(moment.now, message);
                self.retransmit.volatile = Some(number);
                self.process_queued(moment.now);
                true
            }
            SendOutcome::Dropped => {
                let full = self.backlog() >= self.local.queue;
                assert!(!can_send || full, "a volatile emit is dropped although the window is open");
                false
            }
            SendOutcome::TooLarge { .. } => {
                assert!(length > self.peer.max_frame as usize, "a frame within the limit is rejected");
                false
            }
            refused => panic!("a volatile emit has the outcome {refused:?}"),
        }
    }

    /// Resumes the session on another connection, and checks the retransmitted frames. The peer has
    /// received all bytes up to `position`.
    fn resume(&mut self, moment: Moment, position: u64) {
        let mut retransmission = self.engine.resume(moment.now, position);
        self.is_detached = false;
        self.outgoing.restart(moment.now);
        if let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.restart(moment.now);
        }
        let frames: Vec<Bytes> = std::iter::from_fn(|| next_frame(&mut retransmission)).collect();
        let mut unwritten = Vec::new();
        let mut frames = frames.into_iter();
        let mut newer = BTreeSet::new();
        for sent in self.retransmit.sent.iter_mut().rev() {
            if let Some(key) = retained_key(&sent.frame) {
                sent.volatile |= !newer.insert(key) || self.outgoing.latest_length(key).is_some();
            }
        }
        for sent in &mut self.retransmit.sent {
            let frame = frames.next().expect("a frame for each missing one");
            let header = Frame::decode(&mut frame.clone()).expect("a core sends valid frames");
            if sent.volatile {
                assert_eq!(header, Frame::Skipped { bytes: size(&sent.frame) }, "a volatile frame is skipped");
                if !std::mem::replace(&mut sent.lost, true) {
                    let known = self.outgoing.on_credit(1, sent.frame.len() as u64);
                    assert!(known, "the emit is in flight");
                }
            } else {
                assert_eq!(frame, sent.frame, "a frame is retransmitted unchanged");
            }
            unwritten.push((matches!(header, Frame::Emit { .. } | Frame::Request { .. }), PREFIX + frame.len()));
        }
        let last = frames.next().expect("an acknowledgement at the end");
        match Frame::decode(&mut last.clone()) {
            Ok(Frame::Ack { position }) => self.on_ack_sent(position),
            other => panic!("{other:?} at the end"),
        }
        unwritten.push((false, PREFIX + last.len()));
        assert!(frames.next().is_none(), "only missing frames are retransmitted");
        self.set_unwritten(unwritten);
        self.record_transmission();
        self.process_queued(moment.now);
    }
}

impl Link {
    fn resumes(&mut self) -> bool {
        self.ends.iter().all(|end| matches!(end, End::Honest(endpoint) if endpoint.is_open && endpoint.resumes()))
    }

    /// Records that a frame has arrived at the endpoint `end`.
    pub(super) fn on_arrival(&mut self, end: usize, frame: &Bytes) {
        if let End::Honest(sender) = &mut self.ends[1 - end]
            && sender.resumes()
        {
            sender.on_arrival(frame);
            if end == SERVER && matches!(Frame::decode(&mut frame.clone()), Ok(Frame::Ack { .. })) {
                self.tokens.confirm();
            }
        }
    }
}

impl World<'_> {
    /// Ends the connection of a link, so that both endpoints wait for another connection. Returns
    /// `false` if the session cannot be resumed.
    pub(super) fn detach(&mut self, at: usize) -> bool {
        let link = &mut self.links[at];
        if link.is_detached || !link.resumes() {
            return false;
        }
        link.is_detached = true;
        link.pipes.iter_mut().for_each(Pipe::clear);
        link.endpoints().for_each(Endpoint::detach);
        self.log(|| format!("link {at} is detached"));
        self.count("detached");
        true
    }

    /// Reconnects the client. The server hello may be lost after the server has resumed the
    /// session. In that case, the client does not know of the resumption.
    pub(super) fn reconnect(&mut self, at: usize) {
        let link = &mut self.links[at];
        if !link.is_detached {
            return;
        }
        if link.endpoint(CLIENT).is_none() {
            // The client has ended its session and does not reconnect. The server would wait for
            // the client until a timeout; the simulation ends the server's session now.
            link.is_detached = false;
            return self.break_connection(at);
        }
        // The server may have ended the session. The client may also have reached another server.
        let knows = link.endpoint(SERVER).is_some_and(|server| !server.sent_go_away);
        if !knows || self.choices.percent(10) || !self.can_resume(at) {
            return self.reset(at);
        }
        self.check_claimed_positions(at);
        let lost = self.choices.index(3);
        let moment = self.moment();
        let link = &mut self.links[at];
        link.is_detached = false;
        let [server, client] =
            [SERVER, CLIENT].map(|end| link.endpoint(end).expect("an open endpoint").retransmit.received);
        for hello in 0..=lost {
            link.tokens.present(hello == lost);
            link.endpoint(SERVER).expect("an open endpoint").resume(moment, client);
        }
        link.endpoint(CLIENT).expect("an open endpoint").resume(moment, server);
        self.log(|| format!("link {at} resumes, after {lost} lost hellos"));
        self.count("resumed");
    }

    /// Returns `true` if each endpoint still retains the frames that its peer has not received.
    fn can_resume(&mut self, at: usize) -> bool {
        let link = &mut self.links[at];
        let [server, client] = [SERVER, CLIENT].map(|end| {
            let endpoint = link.endpoint(end).expect("an open endpoint");
            assert_eq!(endpoint.engine.received(), endpoint.retransmit.received, "received bytes");
            endpoint.retransmit.received
        });
        let mut can = true;
        for (end, position) in [(SERVER, client), (CLIENT, server)] {
            let endpoint = link.endpoint(end).expect("an open endpoint");
            let missing: u64 = endpoint.retransmit.sent.iter().map(|sent| size(&sent.frame)).sum();
            let possible = endpoint.engine.can_resume(position);
            let retained = endpoint.retransmit.last.max(endpoint.local.retained as u64);
            assert!(possible || missing > retained, "{missing} bytes are missing, and not retained");
            can &= possible;
        }
        if !can {
            self.count("not resumable");
        }
        can
    }

    /// Checks that the endpoint accepts only positions at a frame boundary. The check is needed
    /// because a peer can claim any position when it resumes a session.
    fn check_claimed_positions(&mut self, at: usize) {
        for (end, other) in [(SERVER, CLIENT), (CLIENT, SERVER)] {
            let link = &mut self.links[at];
            let position = link.endpoint(other).expect("an open endpoint").retransmit.received;
            let endpoint = link.endpoint(end).expect("an open endpoint");
            let sent = usize::try_from(endpoint.retransmit.transmitted - position).expect("few bytes in transit");
            let mut bytes: Vec<u8> = Vec::new();
            for sent in &endpoint.retransmit.sent {
                bytes.extend(u32::try_from(sent.frame.len()).expect("a short frame").to_le_bytes());
                bytes.extend(&sent.frame);
            }
            bytes.truncate(sent);
            let skipped = self.choices.index(sent + 1);
            let mut detach = Bytes::from(bytes).split_off(skipped);
            while next_frame(&mut detach).is_some() {}
            let endpoint = self.links[at].endpoint(end).expect("an open endpoint");
            let possible = endpoint.engine.can_resume(position + skipped as u64);
            assert!(!possible || detach.is_empty(), "a position within a frame is accepted");
            assert!(possible || skipped > 0, "a valid position is rejected");
            if !possible {
                self.count("position within a frame");
            }
        }
    }

    /// Reconnects the client to a server that cannot resume the session.
    fn reset(&mut self, at: usize) {
        let server =
            Limits { retained: RETAINED[self.choices.between(1, 4) as usize], ..limits(&mut self.choices, self.large) };
        let now = self.now;
        let link = &mut self.links[at];
        if let Some(server) = link.endpoint(SERVER) {
            server.close();
        }
        let client = link.endpoint(CLIENT).expect("an open endpoint");
        let (local, has_keep_alive) = (client.local, client.keep_alive.is_some());
        client.reset(now, server);
        let server = Endpoint::new(proto::Role::Server, server, local, true, now);
        link.ends[SERVER] = End::Honest(Box::new(server));
        (link.pipes, link.tokens) = (<[Pipe; 2]>::default(), TokenModel::new());
        (link.is_detached, link.drained) = (false, false);
        if has_keep_alive {
            keep_alive::enable(link, now, &mut self.choices);
        }
        self.log(|| format!("link {at} is reset"));
        self.count("reset");
    }

    pub(super) fn emit_volatile(&mut self, at: usize, end: usize) {
        let size = self.size();
        let moment = self.next_moment();
        let Some(endpoint) = self.links[at].endpoint(end) else { return };
        let is_sent = endpoint.emit_volatile(moment, size);
        self.log(|| format!("link {at}: end {end} emits {}, volatile, sent: {is_sent}", moment.last));
        self.count(if is_sent { "volatile emit" } else { "volatile emit dropped" });
    }
}
