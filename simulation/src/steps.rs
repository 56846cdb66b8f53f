//! What can happen in a world, one step at a time.

use std::time::Duration;

use crate::{
    acting::KEY,
    engine::Shared,
    hearing::LOSSY,
    link::{End, Link},
    side::{Side, payload_of},
    world::{CLIENT, SERVER, World},
};
use sockets_proto::{CloseReason, Frame, Overflow};

const KINDS: usize = 17;

/// How often which step is taken.
pub(super) struct Habits([u64; KINDS]);

impl World<'_> {
    /// Some things happen often in one world and never in another, so that rare things meet.
    pub(super) fn habits(&mut self) -> Habits {
        let usual = [10, 8, 3, 3, 3, 6, 6, 14, 16, 20, 4, 2, 12, 1, 2, 5, 4];
        Habits(usual.map(|weight| weight * [0, 1, 1, 1, 1, 4][self.choices.index(6)]))
    }

    /// One thing happens.
    pub(super) fn step(&mut self, habits: &Habits) {
        let at = self.choices.index(self.links.len());
        let end = self.choices.index(2);
        match self.choices.weighted(&habits.0) {
            0 => self.request(at, end, None),
            1 => self.emit(at, end, None),
            2 => self.address_all(false),
            3 => self.address_all(true),
            4 => self.cancel(at, end),
            5 => self.with_a_handler(at, end, Self::emit),
            6 => self.with_a_handler(at, end, Self::request),
            7 => self.end_a_handler(at, end),
            8 => {
                let most = if self.choices.percent(60) { usize::MAX } else { self.choices.index(40) };
                self.write(at, end, most);
            }
            9 => {
                for _ in 0..=self.choices.index(4) {
                    self.deliver(at, end);
                }
            }
            10 => {
                let (least, most) = if self.choices.percent(self.patience) { (100, 6_000) } else { (1, 60) };
                let millis = self.choices.between(least, most);
                self.tell(|| format!("{millis} ms pass"));
                self.advance(Duration::from_millis(millis.into()));
            }
            11 => {
                let pipe = &mut self.links[at].pipes[end];
                if pipe.frozen { pipe.frozen = false } else { pipe.freeze() }
            }
            12 => self.speak(at, end),
            14 => _ = self.break_off(at),
            15 => self.heal(at),
            16 => self.emit_volatile(at, end),
            _ => self.turn(at, end),
        }
    }

    pub(super) fn size(&mut self) -> usize {
        if self.choices.percent(50) { 0 } else { self.choices.index(usize::try_from(self.largest).unwrap_or(0)) }
    }

    fn timeout(&mut self) -> Duration {
        match self.choices.index(20) {
            0 => Duration::MAX,
            1..5 => Duration::from_secs(30),
            5..15 => Duration::from_millis(self.choices.between(1, 3_000).into()),
            _ => Duration::from_millis(self.choices.between(1, 50).into()),
        }
    }

    fn request(&mut self, at: usize, end: usize, by: Option<usize>) {
        let (size, timeout) = (self.size(), self.timeout());
        let moment = self.next_moment();
        let Some(side) = self.links[at].side(end) else { return };
        let made = side.request(moment, size, timeout, by);
        self.tell(|| format!("link {at}: end {end} requests {} (handler {by:?}), made: {made}", moment.last));
        self.count(if made { "request" } else { "request refused" });
    }

    fn emit(&mut self, at: usize, end: usize, by: Option<usize>) {
        let size = self.size();
        let moment = self.next_moment();
        let Some(side) = self.links[at].side(end) else { return };
        let made = side.emit(moment, size, by);
        self.tell(|| format!("link {at}: end {end} emits {} (handler {by:?}), made: {made}", moment.last));
        self.count(if made { "emit" } else { "emit refused" });
    }

    /// The server sends the same bytes to all its clients. Who is too far behind is disconnected.
    fn address_all(&mut self, asks: bool) {
        let (size, timeout) = (self.size(), self.timeout());
        let moment = self.next_moment();
        let (key, overflow) = if asks { (KEY, Overflow::Disconnect) } else { self.policy() };
        let payload = payload_of(moment.last, size);
        let message = if asks {
            Shared::request(moment.last, KEY, timeout, &payload)
        } else {
            Shared::emit(key, &payload, overflow)
        };
        self.tell(|| format!("the server sends {} to all, asks: {asks}, {overflow:?} of {key:x}", moment.last));
        for at in 0..self.links.len() {
            let Some(server) = self.links[at].side(SERVER) else { continue };
            let dropped = server.engine.dropped();
            if !server.share(moment, &message, size, timeout) {
                let last = server.leave(moment.now, CloseReason::TooSlow, "");
                self.links[at].hang_up(SERVER, &last);
                self.count("too slow");
            } else if server.engine.dropped() > dropped {
                self.count(match overflow {
                    Overflow::DropOldest => "oldest dropped",
                    Overflow::Latest => "all but the latest dropped",
                    _ => "newest dropped",
                });
            }
        }
        self.count(if asks { "question to all" } else { "emit to all" });
    }

    /// A method's key, and its policy.
    fn policy(&mut self) -> (u64, Overflow) {
        if !self.choices.percent(self.lossy) {
            return (KEY, Overflow::Disconnect);
        }
        LOSSY[self.choices.index(LOSSY.len())]
    }

    fn cancel(&mut self, at: usize, end: usize) {
        let moment = self.moment();
        let Some(side) = self.links[at].side(end) else { return };
        let waiting: Vec<u64> = side.outgoing.waiting.keys().copied().collect();
        if waiting.is_empty() {
            return;
        }
        let number = waiting[self.choices.index(waiting.len())];
        self.tell(|| format!("link {at}: end {end} cancels {number}"));
        self.links[at].side(end).expect("it is open").cancel(moment, number);
        self.count("cancel");
    }

    /// A suspended handler that waits for nothing does something.
    fn with_a_handler(&mut self, at: usize, end: usize, act: fn(&mut Self, usize, usize, Option<usize>)) {
        if let Some(handler) = self.some_handler(at, end) {
            act(self, at, end, Some(handler));
        }
    }

    fn some_handler(&mut self, at: usize, end: usize) -> Option<usize> {
        let side = self.links[at].side(end)?;
        let count = side.incoming.handlers.len();
        let handler = self.choices.index(count.max(1));
        self.links[at].side(end).filter(|side| count > 0 && side.can_end(handler)).map(|_| handler)
    }

    fn end_a_handler(&mut self, at: usize, end: usize) {
        let (moment, manner) = (self.moment(), self.manner);
        let Some(side) = self.links[at].side(end) else { return };
        side.end_late(moment.now);
        // One that was stopped ends whatever it waits for.
        let stopped = side.incoming.handlers.iter().position(|handler| handler.stopping);
        let Some(handler) = stopped.or_else(|| self.some_handler(at, end)) else { return };
        let End::Honest(side) = &mut self.links[at].ends[end] else { return };
        // A reply waits until there is room for it.
        if side.engine.is_full() && !side.incoming.handlers[handler].stopping {
            return;
        }
        let ending = side.ending_of(handler, manner, &mut self.choices);
        side.end(moment, handler, ending.clone());
        self.tell(|| format!("link {at}: end {end} ends a handler, {ending:?}"));
        self.leave_if_drained(at);
    }

    /// A hostile end says something.
    fn speak(&mut self, at: usize, end: usize) {
        let largest = self.largest;
        let link = &mut self.links[at];
        let [first, second] = &mut link.ends;
        let (speaker, victim) = if end == SERVER { (first, second) } else { (second, first) };
        let (End::Hostile(hostile), End::Honest(victim)) = (speaker, victim) else { return };
        if victim.vigil.is_some() && hostile.trickle(&mut link.pipes[1 - end], &mut self.choices) {
            return;
        }
        let frame = hostile.speak(victim, largest, &mut self.choices);
        let length = u32::try_from(frame.len()).expect("a short frame").to_le_bytes();
        link.pipes[1 - end].put(&[&length[..], &frame].concat());
    }

    /// Something that happens seldom.
    fn turn(&mut self, at: usize, end: usize) {
        let now = self.now;
        match self.choices.index(6) {
            0 => self.cut(at),
            1 => {
                let words = "not now ".repeat(self.choices.index(50));
                let reason = if end == SERVER { CloseReason::Kicked } else { CloseReason::Closed };
                let Some(side) = self.links[at].side(end) else { return };
                let last = side.leave(now, reason, &words);
                self.links[at].hang_up(end, &last);
            }
            2 | 3 => {
                let Some(server) = self.links[at].side(SERVER).filter(|server| !server.said_going_away) else { return };
                server.said_going_away = true;
                server.say(now, Frame::GoAway, "");
                self.tell(|| format!("link {at}: the server goes away"));
            }
            _ => self.get_ready(at),
        }
    }

    /// Lets everything come to its end, and looks whether anything is left.
    pub(super) fn finish(&mut self) {
        for at in 0..self.links.len() {
            self.heal(at);
            self.get_ready(at);
            let link = &mut self.links[at];
            link.capacity = usize::MAX;
            link.pipes.iter_mut().for_each(|pipe| pipe.frozen = false);
            if !link.is_honest() || self.choices.percent(20) {
                self.cut(at);
            }
        }
        for _ in 0..2_000 {
            let is_quiet = self.links.iter_mut().all(Link::is_quiet);
            if is_quiet {
                return self.check_end();
            }
            for at in 0..self.links.len() {
                for end in [SERVER, CLIENT] {
                    self.write(at, end, usize::MAX);
                    while self.deliver(at, end) {}
                    let handlers = self.links[at].side(end).map_or(0, |side| side.incoming.handlers.len());
                    (0..handlers).for_each(|_| self.end_a_handler(at, end));
                }
            }
            self.advance(Duration::from_millis(25));
        }
        panic!("it does not come to an end");
    }

    fn check_end(&mut self) {
        let now = self.now;
        self.links.iter_mut().flat_map(Link::sides).for_each(|side| side.check_freed(now));
        self.outlive();
        self.links.iter_mut().flat_map(Link::sides).for_each(Side::close);
    }
}
