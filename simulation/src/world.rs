//! One simulated world: a server, its connections, and time.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    choices::Choices,
    engine::Setting,
    hostile::Hostile,
    link::{End, Link, Pipe},
    liveness,
    receiving::{Manner, Received},
    resuming::{KEPT, Tickets},
    side::{Moment, Side},
};
use sockets_proto::{self as proto, CloseReason, Frame, ProtocolError};

pub(super) const SERVER: usize = 0;
pub(super) const CLIENT: usize = 1;

/// Who talks to the server.
#[derive(Clone, Copy)]
pub(super) struct Peers {
    /// At most so many connections.
    pub(super) most: u32,
    /// How many of a hundred have a hostile end.
    pub(super) hostile: u64,
    /// Those say any bytes, and not frames.
    pub(super) babble: bool,
    /// Silence is minded.
    pub(super) minding: bool,
}

/// How often what happened.
pub(super) type Tally = BTreeMap<&'static str, u64>;

pub(super) struct World<'a> {
    pub(super) choices: Choices<'a>,
    pub(super) now: Instant,
    /// Numbers calls and emits in the order in which they are made.
    pub(super) number: u64,
    pub(super) links: Vec<Link>,
    pub(super) manner: Manner,
    /// Messages may be large, and windows are wide enough for them.
    pub(super) large: bool,
    /// The largest payload, and how often a call has one.
    pub(super) largest: u64,
    /// How many of a hundred emits to all may be dropped.
    pub(super) lossy: u64,
    /// How many of a hundred steps in time are long.
    pub(super) patience: u64,
    pub(super) tally: Tally,
    /// Tells what happens.
    pub(super) tells: bool,
    began: Instant,
}

impl<'a> World<'a> {
    /// The world that these choices lead to.
    pub(super) fn new(mut choices: Choices<'a>, peers: Peers, tells: bool) -> Self {
        let now = Instant::now();
        let large = choices.percent(3);
        let server = setting(&mut choices, large);
        let links = (0..choices.between(1, peers.most)).map(|_| {
            let mut client = setting(&mut choices, large);
            let is_hostile = choices.percent(peers.hostile);
            let kept = KEPT[choices.index(KEPT.len())];
            let mut server = server;
            (server.kept, client.kept) = (kept, kept);
            let side = |kind, trusts| {
                let (ours, theirs) = if kind == proto::Role::Server { (server, client) } else { (client, server) };
                End::Honest(Box::new(Side::new(kind, ours, theirs, trusts, now)))
            };
            let mut ends = [side(proto::Role::Server, !is_hostile), side(proto::Role::Client, !is_hostile)];
            if is_hostile {
                // Now and then it is the server that means no good.
                let at = if choices.percent(35) { SERVER } else { CLIENT };
                ends[at] = End::Hostile(Hostile::new(peers.babble, choices.below(60), choices.percent(30)));
            }
            let capacity = choices.between(30, 600) as usize;
            Link {
                ends,
                pipes: [Pipe::default(), Pipe::default()],
                capacity,
                drained: false,
                is_away: false,
                tickets: Tickets::new(),
            }
        });
        let mut links: Vec<Link> = links.collect();
        let manner = Manner { suspend: [0, 50, 80, 100][choices.index(4)], largest: if large { 6_000 } else { 120 } };
        let largest = if large { 6_000 } else { choices.between(1, 200).into() };
        let patience = [0, 10, 60][choices.index(3)];
        let lossy = [0, 60, 100][choices.index(3)];
        for link in links.iter_mut().filter(|_| peers.minding) {
            liveness::mind(link, now, &mut choices);
        }
        Self {
            choices,
            now,
            number: 0,
            links,
            manner,
            large,
            largest,
            lossy,
            patience,
            tally: Tally::new(),
            tells,
            began: now,
        }
    }

    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        if self.tells {
            eprintln!("{:>7} ms  {}", (self.now - self.began).as_millis(), what());
        }
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    pub(super) fn moment(&self) -> Moment {
        Moment { now: self.now, last: self.number }
    }

    /// The moment of one more message.
    pub(super) fn next_moment(&mut self) -> Moment {
        self.number += 1;
        self.moment()
    }

    /// Has a side's bytes written, as far as its connection takes them.
    pub(super) fn write(&mut self, at: usize, end: usize, most: usize) {
        let moment = self.moment();
        let link = &mut self.links[at];
        if link.is_away {
            return;
        }
        let room = link.capacity.saturating_sub(link.pipes[1 - end].len());
        let Some(side) = link.side(end) else { return };
        let bytes = side.write(moment.now, most.min(room));
        let released = side.release(moment, self.manner, &mut self.choices);
        link.pipes[1 - end].put(&bytes);
        if let Err(violation) = released {
            self.broken(at, end, &violation);
        }
    }

    /// Has the next frame arrive, or the end. Says whether there was one.
    pub(super) fn deliver(&mut self, at: usize, end: usize) -> bool {
        let moment = self.moment();
        let link = &mut self.links[at];
        let pipe = &mut link.pipes[end];
        if pipe.frozen || link.is_away {
            return false;
        }
        let frame = pipe.next();
        let (is_over, begun) = (frame.is_none() && pipe.ended, pipe.len());
        if let Some(frame) = &frame {
            link.arrived(end, frame);
        }
        match (&mut link.ends[end], frame) {
            (End::Hostile(hostile), Some(_)) if hostile.deaf => false,
            (End::Hostile(hostile), Some(frame)) => {
                hostile.hear(frame);
                true
            }
            (End::Honest(side), Some(frame)) if side.is_open => {
                let received = side.receive(moment, frame, self.manner, &mut self.choices);
                self.received(at, end, received);
                true
            }
            (End::Honest(side), None) if is_over && side.is_open => {
                side.close();
                link.hang_up(end, &[]);
                true
            }
            (End::Honest(side), None) if side.is_open && begun > 0 => {
                side.heard_part(moment.now, begun);
                false
            }
            (End::Honest(_), frame) => frame.is_some(),
            (End::Hostile(_), None) => false,
        }
    }

    fn received(&mut self, at: usize, end: usize, received: Received) {
        match received {
            Received::GoesOn => {}
            Received::Broken(violation) => return self.broken(at, end, &violation),
            Received::Left(reason) => {
                self.tell(|| format!("link {at}: end {end} hears a goodbye, {reason:?}"));
                let link = &mut self.links[at];
                let drained = link.drained && reason == CloseReason::ShuttingDown;
                let side = link.side(end).expect("one who hears is open");
                assert!(!drained || side.outgoing.waiting.is_empty(), "the server drained, and callers are left");
                side.close();
                link.hang_up(end, &[]);
                self.count("goodbye");
                return;
            }
        }
        let moment = self.moment();
        let side = self.links[at].side(end).expect("it goes on");
        if let Err(violation) = side.release(moment, self.manner, &mut self.choices) {
            return self.broken(at, end, &violation);
        }
        self.leave_if_drained(at);
    }

    /// A server that goes away leaves when the client has said that no more calls come, and nothing is under way.
    pub(super) fn leave_if_drained(&mut self, at: usize) {
        let now = self.now;
        let Some(server) = self.links[at].side(SERVER) else { return };
        if server.said_going_away && server.heard_drained && server.engine.is_idle() {
            let last = server.leave(now, CloseReason::ShuttingDown, "");
            self.links[at].drained = true;
            self.links[at].hang_up(SERVER, &last);
            self.count("drained");
        }
    }

    fn broken(&mut self, at: usize, end: usize, violation: &ProtocolError) {
        self.tell(|| format!("link {at}: end {end} ends it, {violation}"));
        self.count(match violation {
            ProtocolError::WindowOverrun => "window overrun",
            ProtocolError::CreditOverrun => "credit overrun",
            ProtocolError::DuplicateId => "id in flight",
            ProtocolError::Unexpected(_) => "out of turn",
            ProtocolError::Position => "position that cannot be",
            _ => "malformed",
        });
        let text = violation.to_string();
        let now = self.now;
        let side = self.links[at].side(end).expect("it is open");
        side.note_violation();
        let last = side.leave(now, CloseReason::ProtocolError, &text);
        self.links[at].hang_up(end, &last);
    }

    /// Time passes, and what is due by then is done; on links that are minded, when it is due.
    pub(super) fn advance(&mut self, time: Duration) {
        let then = self.now + time;
        while let Some(at) = self.next_look().filter(|at| *at < then) {
            self.now = at.max(self.now);
            self.keep_time();
        }
        self.now = then;
        self.keep_time();
    }

    fn keep_time(&mut self) {
        let moment = self.moment();
        for at in 0..self.links.len() {
            self.watch(at);
            let tally = &mut self.tally;
            for side in self.links[at].sides() {
                let before = side.outgoing.waiting.len() as u64;
                side.keep_time(moment);
                let (given_up, overtakes) = (&mut side.outgoing.given_up, &mut side.outgoing.overtakes);
                for (what, count) in [
                    ("call given up", std::mem::take(given_up)),
                    ("answer overtakes", std::mem::take(overtakes)),
                    ("held call overdue", std::mem::take(&mut side.incoming.overdue)),
                ] {
                    *tally.entry(what).or_default() += count;
                }
                *tally.entry("ended by time").or_default() += before - side.outgoing.waiting.len() as u64;
                side.expire(moment);
            }
            self.leave_if_drained(at);
        }
    }

    /// The connection breaks: what is under way is lost.
    pub(super) fn cut(&mut self, at: usize) {
        self.tell(|| format!("link {at} is cut"));
        self.count("cut");
        let link = &mut self.links[at];
        link.sides().for_each(Side::close);
        link.pipes.iter_mut().for_each(|pipe| pipe.ended = true);
    }

    /// The server's program is ready for a client's calls.
    pub(super) fn get_ready(&mut self, at: usize) {
        let (moment, manner) = (self.moment(), self.manner);
        let Some(server) = self.links[at].side(SERVER).filter(|server| !server.ready) else { return };
        server.ready = true;
        server.say(moment.now, Frame::Ready, "");
        if let Err(violation) = server.release(moment, manner, &mut self.choices) {
            self.broken(at, SERVER, &violation);
        }
    }
}

/// Small windows and queues, so that all of them are met.
pub(super) fn setting(choices: &mut Choices<'_>, large: bool) -> Setting {
    if large {
        return Setting { max_frame: 10_000, calls: choices.between(1, 8), bytes: 12_000, queue: 40_000, kept: 0 };
    }
    let calls = choices.between(1, 9);
    let bytes = choices.between(10, 400);
    Setting { max_frame: choices.between(60, 300), calls, bytes, queue: choices.between(60, 2_000) as usize, kept: 0 }
}
