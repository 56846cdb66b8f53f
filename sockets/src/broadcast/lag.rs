//! The lag of a member, and the time for which emitters wait for it.

use std::time::{Duration, Instant};

use crate::clock::now;

/// Maximum time since the last progress of a member with a full queue. When it has passed, emitters
/// do not wait for this member any more.
const WAIT_FOR_FULL: Duration = Duration::from_secs(1);
/// Maximum time since the last progress of a member with a long queue (see
/// [`Member::long_until`](super::Member::long_until)). When it has passed, emitters do not wait for
/// this member any more. The time corresponds to the round trip to a distant member.
const WAIT_FOR_LONG: Duration = Duration::from_millis(300);

/// The lag of a member.
#[derive(Debug, Default)]
pub(super) enum Lag {
    /// The queue of the member is short.
    #[default]
    None,
    /// The queue of the member is long or full, so the member is among the
    /// [laggards](super::laggards::Laggards) of its shard.
    Lagging(Box<Lagging>),
    /// The queue of the member stayed full while an emitter waited. Until the queue is empty, no
    /// emitter waits for this member. Instead, the overflow policy of each method applies.
    GivenUp,
}

#[derive(Debug)]
pub(super) struct Lagging {
    /// The time at which the member's queue became full. It is `None` if the queue is not full.
    pub(super) full_since: Option<Instant>,
    /// The time at which the member's connection last accepted bytes, as far as its queue shows.
    pub(super) progress: Instant,
}

/// The decision if an emitter waits for a member with a full queue.
pub(crate) enum FullWait {
    /// The emitter waits until this time.
    Until(Instant),
    /// The emitter does not wait any more, and the overflow policies apply.
    GivenUp,
    /// The emitter does not wait, and the member accepts the message.
    Accepts,
}

impl Lag {
    /// Records that the connection has accepted bytes.
    #[inline]
    pub(super) fn note_progress(&mut self) {
        if let Self::Lagging(lagging) = self {
            lagging.progress = now();
        }
    }

    /// Decides if an emitter waits for capacity in the member's full queue. The emitter began to
    /// wait at `began`, and waits at most until `last`. The member's connection last accepted bytes
    /// at `accepted_at`.
    pub(super) fn wait_for_full(
        &mut self,
        now: Instant,
        (began, last): (Instant, Instant),
        accepted_at: Option<Instant>,
        is_over: bool,
    ) -> FullWait {
        let Self::Lagging(lagging) = self else { return FullWait::Accepts };
        let Some(full_since) = lagging.full_since else { return FullWait::Accepts };
        lagging.progress = lagging.progress.max(accepted_at.unwrap_or(lagging.progress));
        let until = last.min(lagging.progress + WAIT_FOR_FULL);
        if now < until && !is_over {
            FullWait::Until(until)
        } else if now < last || full_since <= began || is_over {
            FullWait::GivenUp
        } else {
            FullWait::Accepts
        }
    }

    /// Returns the time until which an emitter that sends many bytes waits for a shorter queue.
    pub(super) fn long_until(&self, now: Instant, accepted_at: Option<Instant>) -> Option<Instant> {
        let Self::Lagging(lagging) = self else { return None };
        let until = lagging.progress.max(accepted_at.unwrap_or(lagging.progress)) + WAIT_FOR_LONG;
        (now < until).then_some(until)
    }
}
