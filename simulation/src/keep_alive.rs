//! The model of keep-alive. It records the times at which an endpoint has sent and received.

use std::time::{Duration, Instant};

use crate::{
    choices::Choices,
    endpoint::Endpoint,
    link::Link,
    world::{CLIENT, SERVER, World},
};
use sockets_proto::{CloseReason, KeepAliveConfig};

/// The delay before the core checks again, if the idle timeout has passed but the driver has not
/// processed all received bytes.
const STARVED_RETRY: Duration = Duration::from_millis(10);
/// A duration that is longer than all idle timeouts of this module.
const BEYOND_IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// The model of an endpoint's keep-alive.
pub(super) struct KeepAliveModel {
    /// `true` if both peers have agreed to send heartbeats.
    has_heartbeats: bool,
    /// The endpoint's idle timeout, and its interval of heartbeats.
    idle_timeout: Duration,
    interval: Duration,
    last_received: Instant,
    last_sent: Instant,
    /// The time at which the core last passed bytes to the writer, even if the writer has not
    /// written them yet.
    last_transmit: Instant,
    /// `true` if a part of a frame has arrived.
    has_partial: bool,
    /// The latest time at which the driver had received bytes but had not processed them.
    unprocessed_at: Instant,
}

impl KeepAliveModel {
    /// Records that the core has passed bytes to the writer.
    pub(super) fn on_transmit(&mut self, now: Instant) {
        self.last_transmit = now;
    }

    /// Records that the writer has written bytes.
    pub(super) fn on_sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// Records that a complete frame has arrived.
    pub(super) fn on_received(&mut self, now: Instant) {
        self.last_received = now;
        self.has_partial = false;
    }

    /// Records that the endpoint has another connection.
    pub(super) fn restart(&mut self, now: Instant) {
        (self.last_received, self.last_sent, self.last_transmit, self.unprocessed_at, self.has_partial) =
            (now, now, now, now, false);
    }

    /// Checks that the endpoint may send a heartbeat now.
    pub(super) fn on_heartbeat(&self, now: Instant) {
        assert!(self.has_heartbeats, "the peers have not agreed on heartbeats");
        assert!(now >= self.last_transmit + self.interval / 2, "a heartbeat on a busy connection");
    }

    /// Checks the conditions that must be true after all due timers.
    pub(super) fn check_time(&self, now: Instant, is_to_write: bool) {
        let is_active = !self.has_heartbeats || now < self.last_sent + self.interval || is_to_write;
        assert!(is_active, "no heartbeat was sent in time");
    }
}

/// Enables keep-alive on both endpoints of a link. Each endpoint has its own timeouts.
pub(super) fn enable(link: &mut Link, now: Instant, choices: &mut Choices<'_>) {
    let has_heartbeats = choices.percent(70);
    let limits = [(); 2].map(|()| KeepAliveConfig {
        interval: Duration::from_millis(choices.between(60, 1_000).into()),
        idle_timeout: Duration::from_millis(choices.between(200, 1_500).into()),
    });
    // A frame that is longer than the capacity of a pipe would never arrive.
    link.capacity = link.capacity.max(11_000);
    for end in [SERVER, CLIENT] {
        let (local, peer) = (limits[end], limits[1 - end].idle_timeout);
        let Some(endpoint) = link.endpoint(end) else { continue };
        #[expect(clippy::cast_precision_loss, reason = "a number below 100")]
        let phase = choices.below(100) as f32 / 100.0;
        endpoint.engine.set_keep_alive(now, local, has_heartbeats.then_some(peer), phase);
        let interval = local.interval.min(peer / 2);
        let idle_timeout = local.idle_timeout;
        endpoint.keep_alive = Some(KeepAliveModel {
            has_heartbeats,
            idle_timeout,
            interval,
            last_received: now,
            last_sent: now,
            last_transmit: now,
            has_partial: false,
            unprocessed_at: now,
        });
    }
}

impl Endpoint {
    /// Records that `bytes` bytes of an incomplete frame have arrived.
    pub(super) fn on_partial(&mut self, now: Instant, bytes: usize) {
        let Some(keep_alive) = &mut self.keep_alive else { return };
        if !keep_alive.has_partial {
            keep_alive.last_received = now;
            keep_alive.has_partial = true;
        }
        self.engine.on_partial(now, bytes);
    }

    /// Returns `true` if the idle timeout has passed. The caller sets `input_drained` if it has
    /// processed all received bytes.
    fn poll_idle_timeout(&mut self, now: Instant, input_drained: bool) -> bool {
        let timed_out = self.engine.poll_idle_timeout(now, input_drained);
        let Some(keep_alive) = &mut self.keep_alive else {
            assert!(!timed_out, "an idle timeout without keep-alive");
            return false;
        };
        let due = (keep_alive.has_heartbeats || keep_alive.has_partial)
            .then_some(keep_alive.last_received + keep_alive.idle_timeout);
        if timed_out {
            assert!(input_drained && due.is_some_and(|due| now >= due), "the idle timeout is early");
        } else if input_drained {
            let is_overdue = due.is_some_and(|due| now >= due.max(keep_alive.unprocessed_at + STARVED_RETRY));
            assert!(!is_overdue, "a dead connection is not detected");
        } else {
            keep_alive.unprocessed_at = now;
        }
        timed_out
    }
}

impl World<'_> {
    /// Returns the time of the next timer of all links with keep-alive.
    pub(super) fn next_keep_alive_timeout(&mut self) -> Option<Instant> {
        let endpoints =
            self.links.iter_mut().flat_map(Link::endpoints).filter(|endpoint| endpoint.keep_alive.is_some());
        endpoints.filter_map(|endpoint| endpoint.engine.next_timeout()).min()
    }

    /// Runs the drivers of both endpoints of a link with keep-alive. Each driver writes, reads, and
    /// closes the connection after an idle timeout.
    pub(super) fn poll_keep_alive(&mut self, at: usize) {
        if self.links[at].endpoints().all(|endpoint| endpoint.keep_alive.is_none()) {
            return;
        }
        for end in [SERVER, CLIENT] {
            self.write(at, end, usize::MAX);
        }
        for end in [SERVER, CLIENT] {
            // In some steps, an endpoint does not read.
            let reads = self.choices.percent(80);
            while reads && self.deliver(at, end) {}
            let pipe = &self.links[at].pipes[end];
            let (input_drained, stuck) = (reads || pipe.frozen || pipe.len() == 0, pipe.stuck);
            let now = self.now;
            let Some(endpoint) = self.links[at].endpoint(end).filter(|endpoint| !endpoint.is_detached) else {
                continue;
            };
            if endpoint.poll_idle_timeout(now, input_drained) {
                assert!(stuck || !endpoint.peer_is_honest, "an idle timeout on a live connection");
                self.log(|| format!("link {at}: end {end} times out"));
                self.count("idle timeout");
                if self.detach(at) {
                    self.count("idle timeout, detached");
                    continue;
                }
                let last = self.links[at].endpoint(end).expect("an open endpoint").close_with(
                    now,
                    CloseReason::IdleTimeout,
                    "",
                );
                self.links[at].close_pipe(end, &last);
            }
        }
    }

    /// Checks connections without a call in flight: idle connections must stay open, and frozen
    /// connections must be closed.
    pub(super) fn check_idle_timeouts(&mut self) {
        let count_alive = |world: &mut Self| {
            let endpoints = world.links.iter_mut().flat_map(Link::endpoints);
            endpoints
                .filter(|endpoint| {
                    !endpoint.is_detached
                        && endpoint.keep_alive.as_ref().is_some_and(|keep_alive| keep_alive.has_heartbeats)
                })
                .count() as u64
        };
        let idle = count_alive(self);
        self.advance(BEYOND_IDLE_TIMEOUT);
        assert_eq!(count_alive(self), idle, "an idle connection times out");
        let endpoints = self.links.iter_mut().flat_map(Link::endpoints);
        let retained: usize = endpoints
            .filter(|endpoint| endpoint.keep_alive.as_ref().is_some_and(|keep_alive| keep_alive.has_heartbeats))
            .map(|endpoint| endpoint.engine.retained())
            .sum();
        assert_eq!(retained, 0, "an idle endpoint retains acknowledged frames");
        *self.counts.entry("idle").or_default() += idle;
        for pipe in self.links.iter_mut().flat_map(|link| &mut link.pipes) {
            pipe.freeze();
        }
        self.advance(BEYOND_IDLE_TIMEOUT);
        assert_eq!(count_alive(self), 0, "a frozen connection is not detected");
    }
}
