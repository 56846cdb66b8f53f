//! A simulated world. It consists of a server, the server's connections, and a clock.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    choices::Choices,
    endpoint::{Endpoint, Moment},
    engine::{Limits, is_refusal},
    hostile::Hostile,
    keep_alive,
    link::{End, Link, Pipe},
    receiver::{HandlerBehavior, Received},
    resumption::{RETAINED, TokenModel},
};
use sockets_proto::{self as proto, CloseReason, Frame, ProtocolError};

pub(super) const SERVER: usize = 0;
pub(super) const CLIENT: usize = 1;

/// The peers that connect to the server.
#[derive(Clone, Copy)]
pub(super) struct Peers {
    /// The maximum number of connections.
    pub(super) max_links: u32,
    /// The percentage of connections that have a hostile endpoint.
    pub(super) hostile_percent: u64,
    /// `true` if hostile endpoints send random bytes instead of frames.
    pub(super) garbage: bool,
    /// `true` if keep-alive is enabled.
    pub(super) keep_alive: bool,
}

/// The number of times that each event has occurred.
pub(super) type Counts = BTreeMap<&'static str, u64>;

pub(super) struct World<'a> {
    pub(super) choices: Choices<'a>,
    pub(super) now: Instant,
    /// The number of calls and emits so far. The next call or emit has this number.
    pub(super) number: u64,
    pub(super) links: Vec<Link>,
    pub(super) behavior: HandlerBehavior,
    /// `true` if messages may be large. The windows are then large enough for them.
    pub(super) large: bool,
    /// The largest payload in bytes.
    pub(super) max_payload: u64,
    /// The percentage of broadcasts that members may drop.
    pub(super) lossy_percent: u64,
    /// The percentage of long steps among the steps that advance the time.
    pub(super) long_steps_percent: u64,
    pub(super) counts: Counts,
    /// `true` if the world logs its steps.
    pub(super) is_verbose: bool,
    began: Instant,
}

impl<'a> World<'a> {
    /// Creates the world that these choices determine.
    pub(super) fn new(mut choices: Choices<'a>, peers: Peers, is_verbose: bool) -> Self {
        let now = Instant::now();
        let large = choices.percent(3);
        let server = limits(&mut choices, large);
        let links = (0..choices.between(1, peers.max_links)).map(|_| {
            let mut client = limits(&mut choices, large);
            let is_hostile = choices.percent(peers.hostile_percent);
            let retained = RETAINED[choices.index(RETAINED.len())];
            let mut server = server;
            (server.retained, client.retained) = (retained, retained);
            let endpoint = |role, peer_is_honest| {
                let (local, peer) = if role == proto::Role::Server { (server, client) } else { (client, server) };
                End::Honest(Box::new(Endpoint::new(role, local, peer, peer_is_honest, now)))
            };
            let mut ends = [endpoint(proto::Role::Server, !is_hostile), endpoint(proto::Role::Client, !is_hostile)];
            if is_hostile {
                // In some links, the server is the hostile endpoint.
                let at = if choices.percent(35) { SERVER } else { CLIENT };
                ends[at] = End::Hostile(Hostile::new(peers.garbage, choices.below(60), choices.percent(30)));
            }
            let capacity = choices.between(30, 600) as usize;
            Link {
                ends,
                pipes: [Pipe::default(), Pipe::default()],
                capacity,
                drained: false,
                is_detached: false,
                tokens: TokenModel::new(),
            }
        });
        let mut links: Vec<Link> = links.collect();
        let behavior = HandlerBehavior {
            suspend_percent: [0, 50, 80, 100][choices.index(4)],
            max_payload: if large { 6_000 } else { 120 },
        };
        let max_payload = if large { 6_000 } else { choices.between(1, 200).into() };
        let long_steps_percent = [0, 10, 60][choices.index(3)];
        let lossy_percent = [0, 60, 100][choices.index(3)];
        for link in links.iter_mut().filter(|_| peers.keep_alive) {
            keep_alive::enable(link, now, &mut choices);
        }
        Self {
            choices,
            now,
            number: 0,
            links,
            behavior,
            large,
            max_payload,
            lossy_percent,
            long_steps_percent,
            counts: Counts::new(),
            is_verbose,
            began: now,
        }
    }

    pub(super) fn log(&self, what: impl FnOnce() -> String) {
        if self.is_verbose {
            eprintln!("{:>7} ms  {}", (self.now - self.began).as_millis(), what());
        }
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(super) fn moment(&self) -> Moment {
        Moment { now: self.now, last: self.number }
    }

    /// Returns the moment at which an endpoint sends a new message.
    pub(super) fn next_moment(&mut self) -> Moment {
        self.number += 1;
        self.moment()
    }

    /// Writes at most `max` bytes of an endpoint, and at most as many bytes as the connection has
    /// capacity for.
    pub(super) fn write(&mut self, at: usize, end: usize, max: usize) {
        let moment = self.moment();
        let link = &mut self.links[at];
        if link.is_detached {
            return;
        }
        let capacity_left = link.capacity.saturating_sub(link.pipes[1 - end].len());
        let Some(endpoint) = link.endpoint(end) else { return };
        let bytes = endpoint.write(moment.now, max.min(capacity_left));
        let released = endpoint.release(moment, self.behavior, &mut self.choices);
        link.pipes[1 - end].put(&bytes);
        if let Err(error) = released {
            self.on_protocol_error(at, end, &error);
        }
    }

    /// Delivers the next item of the pipe: a frame, or the end of the connection. Returns `true` if
    /// the pipe contained an item.
    pub(super) fn deliver(&mut self, at: usize, end: usize) -> bool {
        let moment = self.moment();
        let link = &mut self.links[at];
        let pipe = &mut link.pipes[end];
        if pipe.frozen || link.is_detached {
            return false;
        }
        let frame = pipe.next();
        let (is_ended, partial) = (frame.is_none() && pipe.ended, pipe.len());
        if let Some(frame) = &frame {
            link.on_arrival(end, frame);
        }
        match (&mut link.ends[end], frame) {
            (End::Hostile(hostile), Some(_)) if hostile.never_reads => false,
            (End::Hostile(hostile), Some(frame)) => {
                hostile.receive(frame);
                true
            }
            (End::Honest(endpoint), Some(frame)) if endpoint.is_open => {
                let received = endpoint.receive(moment, frame, self.behavior, &mut self.choices);
                self.on_received(at, end, received);
                true
            }
            (End::Honest(endpoint), None) if is_ended && endpoint.is_open => {
                endpoint.close();
                link.close_pipe(end, &[]);
                true
            }
            (End::Honest(endpoint), None) if endpoint.is_open && partial > 0 => {
                endpoint.on_partial(moment.now, partial);
                false
            }
            (End::Honest(_), frame) => frame.is_some(),
            (End::Hostile(_), None) => false,
        }
    }

    fn on_received(&mut self, at: usize, end: usize, received: Received) {
        match received {
            Received::Continue => {}
            Received::ProtocolError(error) => return self.on_protocol_error(at, end, &error),
            Received::Closed(reason) => {
                self.log(|| format!("link {at}: end {end} receives a close frame, {reason:?}"));
                let link = &mut self.links[at];
                let drained = link.drained && reason == CloseReason::ShuttingDown;
                let endpoint = link.endpoint(end).expect("an open endpoint");
                assert!(!drained || endpoint.outgoing.waiting.is_empty(), "callers wait after the server drained");
                endpoint.on_closed(reason);
                link.close_pipe(end, &[]);
                self.count(if is_refusal(reason) { "refusal" } else { "close" });
                return;
            }
        }
        let moment = self.moment();
        let endpoint = self.links[at].endpoint(end).expect("an open endpoint");
        if let Err(error) = endpoint.release(moment, self.behavior, &mut self.choices) {
            return self.on_protocol_error(at, end, &error);
        }
        self.close_if_drained(at);
    }

    /// Closes the connection of a server that has sent a go-away. A server closes the connection
    /// when the client makes no more calls and nothing is in flight.
    pub(super) fn close_if_drained(&mut self, at: usize) {
        let now = self.now;
        let Some(server) = self.links[at].endpoint(SERVER) else { return };
        if server.sent_go_away && server.received_drained && server.engine.is_idle() {
            let last = server.close_with(now, CloseReason::ShuttingDown, "");
            self.links[at].drained = true;
            self.links[at].close_pipe(SERVER, &last);
            self.count("drained");
        }
    }

    fn on_protocol_error(&mut self, at: usize, end: usize, error: &ProtocolError) {
        self.log(|| format!("link {at}: end {end} closes, {error}"));
        self.count(match error {
            ProtocolError::WindowOverrun => "window overrun",
            ProtocolError::CreditOverrun => "credit overrun",
            ProtocolError::DuplicateId => "id in flight",
            ProtocolError::Unexpected(_) => "unexpected frame",
            ProtocolError::Position => "invalid position",
            _ => "malformed",
        });
        let text = error.to_string();
        let now = self.now;
        let endpoint = self.links[at].endpoint(end).expect("an open endpoint");
        endpoint.record_protocol_error();
        let last = endpoint.close_with(now, CloseReason::ProtocolError, &text);
        self.links[at].close_pipe(end, &last);
    }

    /// Advances the time and handles the timers that are due. On links with keep-alive, each timer
    /// is handled exactly at its time.
    pub(super) fn advance(&mut self, time: Duration) {
        let then = self.now + time;
        while let Some(at) = self.next_keep_alive_timeout().filter(|at| *at < then) {
            self.now = at.max(self.now);
            self.handle_timeouts();
        }
        self.now = then;
        self.handle_timeouts();
    }

    fn handle_timeouts(&mut self) {
        let moment = self.moment();
        for at in 0..self.links.len() {
            self.poll_keep_alive(at);
            let counts = &mut self.counts;
            for endpoint in self.links[at].endpoints() {
                let before = endpoint.outgoing.waiting.len() as u64;
                endpoint.handle_timeouts(moment);
                let (overloaded, overtakes) = (&mut endpoint.outgoing.overloaded, &mut endpoint.outgoing.overtakes);
                for (what, count) in [
                    ("call overloaded", std::mem::take(overloaded)),
                    ("reply overtakes", std::mem::take(overtakes)),
                    ("held call overdue", std::mem::take(&mut endpoint.incoming.overdue)),
                ] {
                    *counts.entry(what).or_default() += count;
                }
                *counts.entry("timed out").or_default() += before - endpoint.outgoing.waiting.len() as u64;
                endpoint.expire(moment);
            }
            self.close_if_drained(at);
        }
    }

    /// Breaks the connection without resumption. All frames and calls in flight are lost.
    pub(super) fn break_connection(&mut self, at: usize) {
        self.log(|| format!("link {at} is broken"));
        self.count("broken");
        let link = &mut self.links[at];
        link.endpoints().for_each(Endpoint::close);
        link.pipes.iter_mut().for_each(|pipe| pipe.ended = true);
    }

    /// Sends the ready frame of the server to the client.
    pub(super) fn send_ready(&mut self, at: usize) {
        let (moment, behavior) = (self.moment(), self.behavior);
        let Some(server) = self.links[at].endpoint(SERVER).filter(|server| !server.ready) else { return };
        server.ready = true;
        server.send_control(moment.now, Frame::Ready, "");
        if let Err(error) = server.release(moment, behavior, &mut self.choices) {
            self.on_protocol_error(at, SERVER, &error);
        }
    }
}

/// Returns random limits. Windows and queues are small, so that the simulation reaches all limits.
pub(super) fn limits(choices: &mut Choices<'_>, large: bool) -> Limits {
    if large {
        return Limits { max_frame: 10_000, calls: choices.between(1, 8), bytes: 12_000, queue: 40_000, retained: 0 };
    }
    let calls = choices.between(1, 9);
    let bytes = choices.between(10, 400);
    Limits {
        max_frame: choices.between(60, 300),
        calls,
        bytes,
        queue: choices.between(60, 2_000) as usize,
        retained: 0,
    }
}
