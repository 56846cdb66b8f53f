//! The steps of a world.

use std::time::Duration;

use crate::{
    actions::KEY,
    audience::LOSSY_METHODS,
    endpoint::{Endpoint, payload_of},
    engine::Shared,
    latest::LATEST_METHODS,
    link::{End, Link},
    world::{CLIENT, SERVER, World},
};
use sockets_proto::{CloseReason, Frame, Overflow};

const KINDS: usize = 17;

/// The weight of each kind of step.
pub(super) struct StepWeights([u64; KINDS]);

impl World<'_> {
    /// Chooses the weight of each kind of step. A kind of step may be frequent in one world and
    /// absent from another. In some worlds, two kinds that are rare elsewhere are therefore
    /// frequent together.
    pub(super) fn step_weights(&mut self) -> StepWeights {
        let weights = [10, 8, 3, 3, 3, 6, 6, 14, 16, 20, 4, 2, 12, 1, 2, 5, 4];
        StepWeights(weights.map(|weight| weight * [0, 1, 1, 1, 1, 4][self.choices.index(6)]))
    }

    /// Performs one step of the world.
    pub(super) fn step(&mut self, step_weights: &StepWeights) {
        let at = self.choices.index(self.links.len());
        let end = self.choices.index(2);
        match self.choices.weighted(&step_weights.0) {
            0 => self.request(at, end, None),
            1 => self.emit(at, end, None),
            2 => self.broadcast(false),
            3 => self.broadcast(true),
            4 => self.cancel(at, end),
            5 => self.with_handler(at, end, Self::emit),
            6 => self.with_handler(at, end, Self::request),
            7 => self.end_handler(at, end),
            8 => {
                let max = if self.choices.percent(60) { usize::MAX } else { self.choices.index(40) };
                self.write(at, end, max);
            }
            9 => {
                for _ in 0..=self.choices.index(4) {
                    self.deliver(at, end);
                }
            }
            10 => {
                let (min, max) = if self.choices.percent(self.long_steps_percent) { (100, 6_000) } else { (1, 60) };
                let millis = self.choices.between(min, max);
                self.log(|| format!("{millis} ms pass"));
                self.advance(Duration::from_millis(millis.into()));
            }
            11 => {
                let pipe = &mut self.links[at].pipes[end];
                if pipe.frozen { pipe.frozen = false } else { pipe.freeze() }
            }
            12 => self.send_hostile_frame(at, end),
            14 => _ = self.detach(at),
            15 => self.reconnect(at),
            16 => self.emit_volatile(at, end),
            _ => self.rare_step(at, end),
        }
    }

    pub(super) fn size(&mut self) -> usize {
        if self.choices.percent(50) { 0 } else { self.choices.index(usize::try_from(self.max_payload).unwrap_or(0)) }
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
        let Some(endpoint) = self.links[at].endpoint(end) else { return };
        let is_sent = endpoint.request(moment, size, timeout, by);
        self.log(|| format!("link {at}: end {end} requests {} (handler {by:?}), sent: {is_sent}", moment.last));
        self.count(if is_sent { "request" } else { "request rejected" });
    }

    fn emit(&mut self, at: usize, end: usize, by: Option<usize>) {
        let size = self.size();
        let moment = self.next_moment();
        let Some(endpoint) = self.links[at].endpoint(end) else { return };
        let is_sent = endpoint.emit(moment, size, by);
        self.log(|| format!("link {at}: end {end} emits {} (handler {by:?}), sent: {is_sent}", moment.last));
        self.count(if is_sent { "emit" } else { "emit rejected" });
    }

    /// Sends the same message from the server to all clients. If the queue of a client is full, the
    /// server may disconnect that client.
    fn broadcast(&mut self, is_request: bool) {
        let (size, timeout) = (self.size(), self.timeout());
        let moment = self.next_moment();
        let (key, overflow) = if is_request { (KEY, Overflow::Disconnect) } else { self.policy() };
        let payload = payload_of(moment.last, size);
        let message = if is_request {
            Shared::request(moment.last, KEY, timeout, &payload)
        } else if self.choices.percent(30) {
            let (key, is_volatile) = LATEST_METHODS[self.choices.index(LATEST_METHODS.len())];
            Shared::latest(key, &payload, is_volatile)
        } else {
            Shared::emit(key, &payload, overflow)
        };
        self.log(|| format!("the server sends {} to all, request: {is_request}, {overflow:?} of {key:x}", moment.last));
        for at in 0..self.links.len() {
            let Some(server) = self.links[at].endpoint(SERVER) else { continue };
            let dropped = server.engine.dropped();
            server.replacement = None;
            if !server.send_shared(moment, &message, size, timeout) {
                let last = server.close_with(moment.now, CloseReason::TooSlow, "");
                self.links[at].close_pipe(SERVER, &last);
                self.count("too slow");
            } else if let Some(replacement) = server.replacement {
                self.count(replacement);
            } else if server.engine.dropped() > dropped {
                self.count(match overflow {
                    _ if matches!(message, Shared::Latest(..)) => "latest dropped",
                    Overflow::DropOldest => "oldest dropped",
                    _ => "newest dropped",
                });
            }
        }
        self.count(if is_request { "broadcast request" } else { "broadcast" });
    }

    /// Chooses a method and its overflow policy.
    fn policy(&mut self) -> (u64, Overflow) {
        if !self.choices.percent(self.lossy_percent) {
            return (KEY, Overflow::Disconnect);
        }
        LOSSY_METHODS[self.choices.index(LOSSY_METHODS.len())]
    }

    fn cancel(&mut self, at: usize, end: usize) {
        let moment = self.moment();
        let Some(endpoint) = self.links[at].endpoint(end) else { return };
        let waiting: Vec<u64> = endpoint.outgoing.waiting.keys().copied().collect();
        if waiting.is_empty() {
            return;
        }
        let number = waiting[self.choices.index(waiting.len())];
        self.log(|| format!("link {at}: end {end} cancels {number}"));
        self.links[at].endpoint(end).expect("an open endpoint").cancel(moment, number);
        self.count("cancel");
    }

    /// Calls `act` for a suspended handler that does not wait for a request.
    fn with_handler(&mut self, at: usize, end: usize, act: fn(&mut Self, usize, usize, Option<usize>)) {
        if let Some(handler) = self.some_handler(at, end) {
            act(self, at, end, Some(handler));
        }
    }

    fn some_handler(&mut self, at: usize, end: usize) -> Option<usize> {
        let endpoint = self.links[at].endpoint(end)?;
        let count = endpoint.incoming.handlers.len();
        let handler = self.choices.index(count.max(1));
        self.links[at].endpoint(end).filter(|endpoint| count > 0 && endpoint.can_end(handler)).map(|_| handler)
    }

    fn end_handler(&mut self, at: usize, end: usize) {
        let (moment, behavior) = (self.moment(), self.behavior);
        let Some(endpoint) = self.links[at].endpoint(end) else { return };
        endpoint.end_stale_handler(moment.now);
        // A handler that was cancelled ends, even if the handler waits for a request.
        let stopped = endpoint.incoming.handlers.iter().position(|handler| handler.stopping);
        let Some(handler) = stopped.or_else(|| self.some_handler(at, end)) else { return };
        let End::Honest(endpoint) = &mut self.links[at].ends[end] else { return };
        // The handler ends later if the core has no capacity for its reply.
        if endpoint.engine.is_full() && !endpoint.incoming.handlers[handler].stopping {
            return;
        }
        let result = endpoint.result_of(handler, behavior, &mut self.choices);
        endpoint.end(moment, handler, result.clone());
        self.log(|| format!("link {at}: end {end} ends a handler, {result:?}"));
        self.close_if_drained(at);
    }

    /// Makes a hostile endpoint send a frame.
    fn send_hostile_frame(&mut self, at: usize, end: usize) {
        let max_payload = self.max_payload;
        let link = &mut self.links[at];
        let [first, second] = &mut link.ends;
        let (speaker, victim) = if end == SERVER { (first, second) } else { (second, first) };
        let (End::Hostile(hostile), End::Honest(victim)) = (speaker, victim) else { return };
        if victim.keep_alive.is_some() && hostile.trickle(&mut link.pipes[1 - end], &mut self.choices) {
            return;
        }
        let frame = hostile.send(victim, max_payload, &mut self.choices);
        let length = u32::try_from(frame.len()).expect("a short frame").to_le_bytes();
        link.pipes[1 - end].put(&[&length[..], &frame].concat());
    }

    /// Performs a rare step.
    fn rare_step(&mut self, at: usize, end: usize) {
        let now = self.now;
        match self.choices.index(6) {
            0 => self.break_connection(at),
            1 => {
                let text = "not now ".repeat(self.choices.index(50));
                let Some(endpoint) = self.links[at].endpoint(end) else { return };
                let reason = match end {
                    SERVER if !endpoint.ready => CloseReason::Refused,
                    SERVER => CloseReason::Kicked,
                    _ => CloseReason::Closed,
                };
                let last = endpoint.close_with(now, reason, &text);
                self.links[at].close_pipe(end, &last);
            }
            2 | 3 => {
                let Some(server) = self.links[at].endpoint(SERVER).filter(|server| !server.sent_go_away) else {
                    return;
                };
                server.sent_go_away = true;
                server.send_control(now, Frame::GoAway, "");
                self.log(|| format!("link {at}: the server goes away"));
            }
            _ => self.send_ready(at),
        }
    }

    /// Ends all calls of the world, and checks that no state remains.
    pub(super) fn finish(&mut self) {
        for at in 0..self.links.len() {
            self.reconnect(at);
            self.send_ready(at);
            let link = &mut self.links[at];
            link.capacity = usize::MAX;
            link.pipes.iter_mut().for_each(|pipe| pipe.frozen = false);
            if !link.is_honest() || self.choices.percent(20) {
                self.break_connection(at);
            }
        }
        for _ in 0..2_000 {
            let is_quiescent = self.links.iter_mut().all(Link::is_quiescent);
            if is_quiescent {
                return self.check_end();
            }
            for at in 0..self.links.len() {
                for end in [SERVER, CLIENT] {
                    self.write(at, end, usize::MAX);
                    while self.deliver(at, end) {}
                    let handlers = self.links[at].endpoint(end).map_or(0, |endpoint| endpoint.incoming.handlers.len());
                    (0..handlers).for_each(|_| self.end_handler(at, end));
                }
            }
            self.advance(Duration::from_millis(25));
        }
        panic!("the world does not come to an end");
    }

    fn check_end(&mut self) {
        let now = self.now;
        self.links.iter_mut().flat_map(Link::endpoints).for_each(|endpoint| endpoint.check_freed(now));
        self.check_idle_timeouts();
        self.links.iter_mut().flat_map(Link::endpoints).for_each(Endpoint::close);
    }
}
