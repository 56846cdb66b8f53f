//! The waits of emitters for lagging members.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Member, Members, laggards::Laggards};
use crate::clock::now;

/// Maximum time for which an emitter waits for members with long queues if other members keep up.
const WAIT_FOR_SOME: Duration = Duration::from_millis(10);
/// Maximum time for which an emitter waits for members with full queues. It is also the maximum
/// time for members with long queues, if all members of the audience are lagging.
const WAIT_FOR_ALL: Duration = Duration::from_secs(1);

/// The waits of an emit for lagging members of its audience. The limits apply to all these waits
/// together.
pub(super) struct Pacing {
    /// The time at which the emitter first found members for which it has to wait.
    began: Option<Instant>,
    /// `true` if the emitter waits for members with long queues, too.
    waits_for_long: bool,
    /// `true` if there is a runtime in which the emitter can wait.
    can_wait: bool,
}

impl Pacing {
    pub(super) fn new(waits_for_long: bool, can_wait: bool) -> Self {
        Self { began: None, waits_for_long, can_wait }
    }

    /// Returns the time until which the emitter waits. Returns `None` if the emitter waits for no
    /// member. `len` is the number of members of the audience. For each shard, `audience` returns
    /// the shard's lagging members and the members of the audience in that shard.
    pub(super) fn wait_until<'a, M: Member, L>(&mut self, len: usize, audience: impl Fn() -> L) -> Option<Instant>
    where
        L: Iterator<Item = (&'a Laggards<M>, &'a Members<M>)>,
    {
        let mut lagging: Vec<Arc<M>> = Vec::new();
        audience().for_each(|(laggards, members)| laggards.full(members, &mut lagging));
        if !lagging.is_empty() {
            let now = now();
            let began = *self.began.get_or_insert(now);
            let last = if self.can_wait { began + WAIT_FOR_ALL } else { now };
            let until = lagging.iter().filter_map(|member| member.full_until(now, began, last)).min();
            if until.is_some() {
                return until;
            }
        }
        if !self.waits_for_long || !self.can_wait {
            return None;
        }
        lagging.clear();
        audience().for_each(|(laggards, members)| laggards.long(members, &mut lagging));
        if lagging.is_empty() {
            return None;
        }
        let now = now();
        let some_keep_up = lagging.len() < len;
        let last = *self.began.get_or_insert(now) + if some_keep_up { WAIT_FOR_SOME } else { WAIT_FOR_ALL };
        let until = lagging.iter().filter_map(|member| member.long_until(now)).min()?.min(last);
        (now < until).then_some(until)
    }
}
