//! Links that break, and are followed by others: what each side still has to hear, and what it is sent again.

use bytes::Bytes;

use crate::{
    engine::Setting,
    link::{End, Link, Pipe},
    liveness,
    outgoing::{Kind, Message},
    side::{Moment, Side, payload_of},
    world::{CLIENT, SERVER, World, setting},
};
use sockets_proto::{self as proto, Frame, PREFIX, SendOutcome, Token, Tokens, next_frame};

/// How many bytes are kept of what was sent, in different worlds; 0 if the end of a link is the end.
pub(super) const KEPT: [usize; 5] = [0, 100, 500, 5_000, 200_000];

/// A frame that was sent, and that the other side has not taken in.
pub(super) struct Sent {
    frame: Bytes,
    volatile: bool,
    /// The link has broken, and it will not be sent again.
    lost: bool,
}

/// The account of a session that goes on over other links.
#[derive(Default)]
pub(super) struct Reliability {
    sent: std::collections::VecDeque<Sent>,
    /// How many bytes this side has taken in, and how many of them the other side has been told of.
    received: u64,
    told: u64,
    /// How many bytes this side has queued for the wire, and how many of them have been taken for it.
    queued: u64,
    taken: u64,
    /// How many were taken last.
    last: u64,
    /// How many were taken last to be sent for the first time.
    first_sent: u64,
    /// The number of the volatile emit that is being queued.
    volatile: Option<u64>,
}

/// With what a client goes on.
pub(super) struct Tickets {
    tokens: Tokens,
    held: Token,
    used: Vec<Token>,
}

impl Tickets {
    pub(super) fn new() -> Self {
        let first = Token::new(1).expect("randomness");
        Self { tokens: Tokens::new(first.clone()), held: first, used: Vec::new() }
    }

    /// The client shows its token and is sent the next one, which it may hear of.
    fn show(&mut self, hears: bool) {
        assert!(self.tokens.verify(&self.held), "the token that a client has is not known");
        let next = Token::new(1).expect("randomness");
        self.tokens.rotate(self.held.clone(), next.clone());
        if hears {
            self.used.push(std::mem::replace(&mut self.held, next));
        }
    }

    /// The client has said something behind the last one.
    fn confirm(&mut self) {
        self.tokens.confirm();
        assert!(!self.used.iter().any(|used| self.tokens.verify(used)), "a used token is good");
    }
}

fn size(frame: &Bytes) -> u64 {
    (PREFIX + frame.len()) as u64
}

impl Side {
    pub(super) fn resumes(&self) -> bool {
        self.ours.kept > 0 && self.theirs.kept > 0
    }

    /// A frame of this side's is in the queue to the wire.
    pub(super) fn note_sent(&mut self, frame: &Bytes, number: Option<u64>) {
        let volatile = number.is_some() && number == self.reliability.volatile;
        self.reliability.queued += size(frame);
        self.reliability.sent.push_back(Sent { frame: frame.clone(), volatile, lost: false });
    }

    /// This side says up to where it has everything.
    pub(super) fn acknowledged(&mut self, position: u64) {
        assert!(self.resumes(), "nobody wants to hear that");
        assert_eq!(position, self.reliability.received, "all is acknowledged that has come, and nothing else");
        self.reliability.told = position;
    }

    /// A frame of this side's has come to the other one: it is the next, and whole.
    pub(super) fn arrived(&mut self, frame: &Bytes) {
        let header = Frame::decode(&mut frame.clone());
        if matches!(header, Ok(Frame::Heartbeat | Frame::Ack { .. })) {
            return;
        }
        let next = self.reliability.sent.pop_front().expect("only what was sent arrives, and once");
        match header {
            Ok(Frame::Skipped { bytes }) => {
                assert!(next.lost && bytes == size(&next.frame), "it was sent, not skipped");
            }
            _ => assert_eq!(next.frame, frame, "frames arrive in their order, and each once"),
        }
    }

    /// All that is queued is taken for the wire.
    fn note_taken(&mut self) {
        let account = &mut self.reliability;
        if account.taken < account.queued {
            account.last = account.queued - account.taken;
        }
        account.taken = account.queued;
    }

    /// All that is queued is taken for the wire, over a link that has carried everything before it.
    pub(super) fn note_first_sent(&mut self) {
        let account = &mut self.reliability;
        if account.taken < account.queued {
            account.first_sent = account.queued - account.taken;
        }
        self.note_taken();
    }

    /// How many bytes may be kept that do not count against the queue's limit.
    pub(super) fn may_keep(&self) -> usize {
        usize::try_from(self.reliability.first_sent).map_or(usize::MAX, |sent| sent.max(self.ours.kept))
    }

    /// The other side has broken the protocol, with a frame that may have been counted.
    pub(super) fn note_violation(&mut self) {
        self.reliability.received = self.engine.received();
    }

    /// Where this side has taken in everything behind this frame. `None` if that cannot be.
    fn received_with(&self, header: Frame, length: usize) -> Option<u64> {
        let bytes = match header {
            Frame::Skipped { bytes } => bytes,
            Frame::Heartbeat | Frame::Ack { .. } => 0,
            _ => (PREFIX + length) as u64,
        };
        self.reliability.received.checked_add(bytes)
    }

    /// Whether what a frame says of positions, and where it takes this side, can be.
    pub(super) fn knows_position(&self, header: Frame, length: usize) -> bool {
        let is_said = !matches!(header, Frame::Ack { position } if position > self.reliability.taken);
        !self.resumes() || is_said && self.received_with(header, length).is_some()
    }

    /// A frame has been taken in.
    pub(super) fn note_received(&mut self, header: Frame, length: usize) {
        if self.resumes() {
            self.reliability.received = self.received_with(header, length).expect("it was looked at");
        }
    }

    /// What has come is acknowledged with what is written; `alone` says that this is nothing else.
    pub(super) fn check_acknowledged(&self, alone: bool) {
        let owed = self.reliability.received - self.reliability.told;
        assert!(!self.is_worth_a_word(alone), "{owed} bytes have come and are not acknowledged");
    }

    /// Where much has come, this side wants to write.
    pub(super) fn check_word(&self) {
        assert!(self.engine.owes_word() || !self.is_worth_a_word(true), "much has come, and there is no word of it");
    }

    fn is_worth_a_word(&self, alone: bool) -> bool {
        let kept = self.theirs.kept;
        let most = if alone { (kept / 4).min(64 * 1024) } else { (kept / 16).min(4 * 1024) };
        self.resumes() && self.reliability.received - self.reliability.told >= most.max(1) as u64
    }

    /// Sends an emit that is not kept; `true` if it is sent.
    pub(super) fn emit_volatile(&mut self, moment: Moment, size: usize) -> bool {
        let (number, payload) = (moment.last, payload_of(moment.last, size));
        let length = 9 + payload.len();
        let goes = self.outgoing.admits(length);
        match self.engine.emit_volatile(&payload) {
            SendOutcome::Sent => {
                assert!(goes, "a volatile emit is sent that would have to wait");
                let message = Message { number, length, kind: Kind::Emit, handler: None, recallable: None, new: true };
                self.outgoing.accept(moment.now, message);
                self.reliability.volatile = Some(number);
                self.settle(moment.now);
                true
            }
            SendOutcome::Dropped => {
                let full = self.backlog() >= self.ours.queue;
                assert!(!goes || full, "a volatile emit is dropped that could be sent");
                false
            }
            SendOutcome::TooLarge { .. } => {
                assert!(length > self.theirs.max_frame as usize, "it is small enough");
                false
            }
            refused => panic!("a volatile emit came to {refused:?}"),
        }
    }

    /// There is another link, to one who has taken in everything up to `position`: it is sent what it has missed, in order.
    fn go_on(&mut self, moment: Moment, position: u64) {
        let mut resent = self.engine.resume(moment.now, position);
        self.is_away = false;
        self.outgoing.wake(moment.now);
        if let Some(vigil) = &mut self.vigil {
            vigil.wake(moment.now);
        }
        let frames: Vec<Bytes> = std::iter::from_fn(|| next_frame(&mut resent)).collect();
        let mut unwritten = Vec::new();
        let mut frames = frames.into_iter();
        for sent in &mut self.reliability.sent {
            let frame = frames.next().expect("all that is missing is sent again");
            let header = Frame::decode(&mut frame.clone()).expect("a core sends frames");
            if sent.volatile {
                assert_eq!(header, Frame::Skipped { bytes: size(&sent.frame) }, "a volatile frame is skipped");
                if !std::mem::replace(&mut sent.lost, true) {
                    let known = self.outgoing.credit(1, sent.frame.len() as u64);
                    assert!(known, "it had a place in the window");
                }
            } else {
                assert_eq!(frame, sent.frame, "it is sent again as it was");
            }
            unwritten.push((matches!(header, Frame::Emit { .. } | Frame::Request { .. }), PREFIX + frame.len()));
        }
        let last = frames.next().expect("an acknowledgement is the last");
        match Frame::decode(&mut last.clone()) {
            Ok(Frame::Ack { position }) => self.acknowledged(position),
            other => panic!("{other:?} is the last"),
        }
        unwritten.push((false, PREFIX + last.len()));
        assert!(frames.next().is_none(), "nothing is sent again but what is missing");
        self.set_unwritten(unwritten);
        self.note_taken();
        self.settle(moment.now);
    }
}

impl Link {
    fn resumes(&mut self) -> bool {
        self.ends.iter().all(|end| matches!(end, End::Honest(side) if side.is_open && side.resumes()))
    }

    /// A frame has come to an end, from the other one.
    pub(super) fn arrived(&mut self, end: usize, frame: &Bytes) {
        if let End::Honest(sender) = &mut self.ends[1 - end]
            && sender.resumes()
        {
            sender.arrived(frame);
            if end == SERVER && matches!(Frame::decode(&mut frame.clone()), Ok(Frame::Ack { .. })) {
                self.tickets.confirm();
            }
        }
    }
}

impl World<'_> {
    /// The connection breaks, and both sides wait for another one; `false` if they do not.
    pub(super) fn break_off(&mut self, at: usize) -> bool {
        let link = &mut self.links[at];
        if link.is_away || !link.resumes() {
            return false;
        }
        link.is_away = true;
        link.pipes.iter_mut().for_each(Pipe::clear);
        link.sides().for_each(Side::rest);
        self.tell(|| format!("link {at} breaks off"));
        self.count("broken off");
        true
    }

    /// The client has come back. Some welcomes may be lost on the way, which it does not know.
    pub(super) fn heal(&mut self, at: usize) {
        let link = &mut self.links[at];
        if !link.is_away {
            return;
        }
        if link.side(CLIENT).is_none() {
            // The server waits for it in vain.
            link.is_away = false;
            return self.cut(at);
        }
        // The server may have ended the session meanwhile, or be another one.
        let knows = link.side(SERVER).is_some_and(|server| !server.said_going_away);
        if !knows || self.choices.percent(10) || !self.can_go_on(at) {
            return self.start_anew(at);
        }
        self.claim_any_position(at);
        let lost = self.choices.index(3);
        let moment = self.moment();
        let link = &mut self.links[at];
        link.is_away = false;
        let [server, client] = [SERVER, CLIENT].map(|end| link.side(end).expect("it is open").reliability.received);
        for welcome in 0..=lost {
            link.tickets.show(welcome == lost);
            link.side(SERVER).expect("it is open").go_on(moment, client);
        }
        link.side(CLIENT).expect("it is open").go_on(moment, server);
        self.tell(|| format!("link {at} goes on, after {lost} welcomes that were lost"));
        self.count("gone on");
    }

    /// Whether each side still has what the other has missed.
    fn can_go_on(&mut self, at: usize) -> bool {
        let link = &mut self.links[at];
        let [server, client] = [SERVER, CLIENT].map(|end| {
            let side = link.side(end).expect("it is open");
            assert_eq!(side.engine.received(), side.reliability.received, "all is counted that has come");
            side.reliability.received
        });
        let mut can = true;
        for (end, position) in [(SERVER, client), (CLIENT, server)] {
            let side = link.side(end).expect("it is open");
            let missing: u64 = side.reliability.sent.iter().map(|sent| size(&sent.frame)).sum();
            let possible = side.engine.can_resume(position);
            let kept = side.reliability.last.max(side.ours.kept as u64);
            assert!(possible || missing > kept, "{missing} bytes are missing, and not kept");
            can &= possible;
        }
        if !can {
            self.count("missed too much");
        }
        can
    }

    /// A peer may claim any position. Only one between two frames can be resumed from.
    fn claim_any_position(&mut self, at: usize) {
        for (end, other) in [(SERVER, CLIENT), (CLIENT, SERVER)] {
            let link = &mut self.links[at];
            let position = link.side(other).expect("it is open").reliability.received;
            let side = link.side(end).expect("it is open");
            let sent = usize::try_from(side.reliability.taken - position).expect("few bytes are under way");
            let mut bytes: Vec<u8> = Vec::new();
            for sent in &side.reliability.sent {
                bytes.extend(u32::try_from(sent.frame.len()).expect("a short frame").to_le_bytes());
                bytes.extend(&sent.frame);
            }
            bytes.truncate(sent);
            let skipped = self.choices.index(sent + 1);
            let mut rest = Bytes::from(bytes).split_off(skipped);
            while next_frame(&mut rest).is_some() {}
            let side = self.links[at].side(end).expect("it is open");
            let possible = side.engine.can_resume(position + skipped as u64);
            assert!(!possible || rest.is_empty(), "a claim of a position within a frame can be met");
            assert!(possible || skipped > 0, "what can be resumed from does not change");
            if !possible {
                self.count("claim within a frame");
            }
        }
    }

    /// The client has come back to a server that does not know it, or not well enough.
    fn start_anew(&mut self, at: usize) {
        let server =
            Setting { kept: KEPT[self.choices.between(1, 4) as usize], ..setting(&mut self.choices, self.large) };
        let now = self.now;
        let link = &mut self.links[at];
        if let Some(server) = link.side(SERVER) {
            server.close();
        }
        let client = link.side(CLIENT).expect("it is open");
        let (ours, minds) = (client.ours, client.vigil.is_some());
        client.start_anew(now, server);
        let server = Side::new(proto::Role::Server, server, ours, true, now);
        link.ends[SERVER] = End::Honest(Box::new(server));
        (link.pipes, link.tickets) = (<[Pipe; 2]>::default(), Tickets::new());
        (link.is_away, link.drained) = (false, false);
        if minds {
            liveness::mind(link, now, &mut self.choices);
        }
        self.tell(|| format!("link {at} starts anew"));
        self.count("started anew");
    }

    pub(super) fn emit_volatile(&mut self, at: usize, end: usize) {
        let size = self.size();
        let moment = self.next_moment();
        let Some(side) = self.links[at].side(end) else { return };
        let made = side.emit_volatile(moment, size);
        self.tell(|| format!("link {at}: end {end} emits {}, volatile, made: {made}", moment.last));
        self.count(if made { "volatile emit" } else { "volatile emit dropped" });
    }
}
