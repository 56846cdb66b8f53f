//! Links that may be dead: what a side has heard and said, and when, beside the core's own notes.

use std::time::{Duration, Instant};

use crate::{
    choices::Choices,
    link::Link,
    side::Side,
    world::{CLIENT, SERVER, World},
};
use sockets_proto::{CloseReason, KeepAliveConfig};

/// How long one who could not listen may go on before it says that it has heard nothing.
const MOMENT: Duration = Duration::from_millis(10);
/// Longer than any side here bears silence.
const LONG: Duration = Duration::from_secs(2);

/// One side's account of a link that it minds.
pub(super) struct Vigil {
    /// Both sides have agreed to send heartbeats.
    agreed: bool,
    /// How long this side hears nothing before it gives the link up, and says nothing before it sends a heartbeat.
    silence: Duration,
    interval: Duration,
    heard: Instant,
    said: Instant,
    /// When something was given to the writer last, which may take its time.
    handed_over: Instant,
    /// A frame has begun and is not whole.
    begun: bool,
    /// When something was there last that was not looked at.
    busy: Instant,
}

impl Vigil {
    /// Something was given to the writer.
    pub(super) fn handed_over(&mut self, now: Instant) {
        self.handed_over = now;
    }

    /// Something was written.
    pub(super) fn said(&mut self, now: Instant) {
        self.said = now;
    }

    /// A whole frame has come.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.begun = false;
    }

    /// There is another link.
    pub(super) fn wake(&mut self, now: Instant) {
        (self.heard, self.said, self.handed_over, self.busy, self.begun) = (now, now, now, now, false);
    }

    /// A heartbeat is said.
    pub(super) fn heartbeat_said(&self, now: Instant) {
        assert!(self.agreed, "nobody has agreed to heartbeats");
        assert!(now >= self.handed_over + self.interval / 2, "a busy connection has no heartbeats");
    }

    /// All that was due by now has been done.
    pub(super) fn check_time(&self, now: Instant, is_to_write: bool) {
        let speaks = !self.agreed || now < self.said + self.interval || is_to_write;
        assert!(speaks, "a side says nothing for longer than it may");
    }
}

/// Has the two sides of a link mind silence, each with limits of its own.
pub(super) fn mind(link: &mut Link, now: Instant, choices: &mut Choices<'_>) {
    let agreed = choices.percent(70);
    let limits = [(); 2].map(|()| KeepAliveConfig {
        interval: Duration::from_millis(choices.between(60, 1_000).into()),
        idle_timeout: Duration::from_millis(choices.between(200, 1_500).into()),
    });
    // What a pipe cannot hold would not arrive.
    link.capacity = link.capacity.max(11_000);
    for end in [SERVER, CLIENT] {
        let (ours, theirs) = (limits[end], limits[1 - end].idle_timeout);
        let Some(side) = link.side(end) else { continue };
        #[expect(clippy::cast_precision_loss, reason = "a number below 100")]
        let phase = choices.below(100) as f32 / 100.0;
        side.engine.mind(now, ours, agreed.then_some(theirs), phase);
        let interval = ours.interval.min(theirs / 2);
        let silence = ours.idle_timeout;
        side.vigil =
            Some(Vigil { agreed, silence, interval, heard: now, said: now, handed_over: now, begun: false, busy: now });
    }
}

impl Side {
    /// So much has come of a frame that is not whole.
    pub(super) fn heard_part(&mut self, now: Instant, bytes: usize) {
        let Some(vigil) = &mut self.vigil else { return };
        if !vigil.begun {
            vigil.heard = now;
            vigil.begun = true;
        }
        self.engine.heard_part(now, bytes);
    }

    /// Whether it gives the link up. `listened` says that all that has come was looked at.
    fn gives_up(&mut self, now: Instant, listened: bool) -> bool {
        let gives_up = self.engine.is_silent(now, listened);
        let Some(vigil) = &mut self.vigil else {
            assert!(!gives_up, "a link is given up that nobody minds");
            return false;
        };
        let due = (vigil.agreed || vigil.begun).then_some(vigil.heard + vigil.silence);
        if gives_up {
            assert!(listened && due.is_some_and(|due| now >= due), "a link is given up too early");
        } else if listened {
            let is_late = due.is_some_and(|due| now >= due.max(vigil.busy + MOMENT));
            assert!(!is_late, "a dead link is not given up");
        } else {
            vigil.busy = now;
        }
        gives_up
    }
}

impl World<'_> {
    /// When the next timer goes off on a link that is minded.
    pub(super) fn next_look(&mut self) -> Option<Instant> {
        let sides = self.links.iter_mut().flat_map(Link::sides).filter(|side| side.vigil.is_some());
        sides.filter_map(|side| side.engine.next_timeout()).min()
    }

    /// What the drivers of a link that is minded do meanwhile: they write and read, and give it up if it is silent.
    pub(super) fn watch(&mut self, at: usize) {
        if self.links[at].sides().all(|side| side.vigil.is_none()) {
            return;
        }
        for end in [SERVER, CLIENT] {
            self.write(at, end, usize::MAX);
        }
        for end in [SERVER, CLIENT] {
            // Now and then one is kept from reading.
            let reads = self.choices.percent(80);
            while reads && self.deliver(at, end) {}
            let pipe = &self.links[at].pipes[end];
            let (listened, stuck) = (reads || pipe.frozen || pipe.len() == 0, pipe.stuck);
            let now = self.now;
            let Some(side) = self.links[at].side(end).filter(|side| !side.is_away) else { continue };
            if side.gives_up(now, listened) {
                assert!(stuck || !side.trusts, "a link is given up that is alive");
                self.tell(|| format!("link {at}: end {end} hears nothing"));
                self.count("found dead");
                if self.break_off(at) {
                    self.count("found dead, and broken off");
                    continue;
                }
                let last = self.links[at].side(end).expect("it is open").leave(now, CloseReason::IdleTimeout, "");
                self.links[at].hang_up(end, &last);
            }
        }
    }

    /// Nothing is under way: an idle link is a good one, and one on which nothing is carried is found dead.
    pub(super) fn outlive(&mut self) {
        let minded = |world: &mut Self| {
            let sides = world.links.iter_mut().flat_map(Link::sides);
            sides.filter(|side| !side.is_away && side.vigil.as_ref().is_some_and(|vigil| vigil.agreed)).count() as u64
        };
        let idle = minded(self);
        self.advance(LONG);
        assert_eq!(minded(self), idle, "an idle link is given up");
        let sides = self.links.iter_mut().flat_map(Link::sides);
        let kept: usize = sides
            .filter(|side| side.vigil.as_ref().is_some_and(|vigil| vigil.agreed))
            .map(|side| side.engine.kept())
            .sum();
        assert_eq!(kept, 0, "an idle side keeps what the other one has, or what was not worth it");
        *self.tally.entry("idle").or_default() += idle;
        for pipe in self.links.iter_mut().flat_map(|link| &mut link.pipes) {
            pipe.freeze();
        }
        self.advance(LONG);
        assert_eq!(minded(self), 0, "a link that is frozen is not given up");
    }
}
