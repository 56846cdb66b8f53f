//! Keeps sessions whose handlers block their threads from occupying all workers of a runtime.
//!
//! A handler that runs for milliseconds without a suspension cannot be interrupted. A few sessions with such handlers
//! occupy all workers, and then every other session waits for several of these handlers. So handlers of such a session need
//! a permit, and there is one fewer than there are workers, but at least one. If the handlers were slow once more, it is
//! returned only after the worker has run the tasks that were ready, and has polled for I/O.

use std::{
    sync::{
        Arc, LazyLock, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    runtime::{self, Handle},
    sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore},
    task::yield_now,
    time::timeout,
};

use super::Session;
use crate::{clock::now, lock::Mutex};

/// A handler that runs for so long without a suspension is slow.
pub(crate) const SLOW: Duration = Duration::from_millis(2);
/// A session is slow for this long after its last slow handler.
const REMEMBERED: Duration = Duration::from_secs(1);
/// The longest wait for a permit, since a handler may block its thread for ever.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest wait for other tasks: meanwhile the worker may be blocked, and another one idle.
const GO_ON: Duration = Duration::from_millis(2);

/// When the process first needed a time to count from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The permits of each runtime that has slow sessions.
static PERMITS: Mutex<Vec<(runtime::Id, Weak<Semaphore>)>> = Mutex::new(Vec::new());

/// Whether a session is slow, and which of its handlers waits for a permit.
#[derive(Default)]
pub(super) struct Slowness {
    /// Until when it is, in milliseconds since [`START`]; 0 if it never was.
    until: AtomicU64,
    /// One suspended handler at a time waits for a permit, so that each session gets as many, however many it has.
    queue: OnceLock<Box<AsyncMutex<()>>>,
}

impl Session {
    /// Records that a handler has been polled, or that a step of the driver has been taken.
    pub(crate) fn record_poll(&self, began: Instant, ended: Instant) {
        if ended.saturating_duration_since(began) >= SLOW {
            self.slowness.until.store(millis(ended + REMEMBERED).max(1), Ordering::Relaxed);
        }
    }

    /// Returns `true` if handlers of this session have been slow lately. Then they need a [`SlowPermit`].
    pub(crate) fn is_slow(&self) -> bool {
        let until = self.slowness.until.load(Ordering::Relaxed);
        until != 0 && millis(now()) < until
    }

    /// Waits for a permit for a suspended handler.
    pub(super) async fn slow_permit(&self) -> SlowPermit {
        if let Some(permit) = SlowPermit::try_acquire() {
            return permit;
        }
        let _first = self.slowness.queue.get_or_init(Box::default).lock().await;
        SlowPermit::acquire().await
    }
}

fn millis(at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(*START).as_millis()).unwrap_or(u64::MAX)
}

/// Allows to poll handlers of a slow session.
pub(crate) struct SlowPermit {
    permit: Option<OwnedSemaphorePermit>,
    granted: Instant,
}

impl SlowPermit {
    /// Returns a permit if there is one and nothing waits for it.
    pub(crate) fn try_acquire() -> Option<Self> {
        permits().try_acquire_owned().ok().map(|permit| Self::new(Some(permit)))
    }

    /// Waits for a permit. After some time it is granted in any case.
    pub(crate) async fn acquire() -> Self {
        let permit = timeout(PATIENCE, permits().acquire_owned()).await;
        Self::new(permit.ok().and_then(Result::ok))
    }

    fn new(permit: Option<OwnedSemaphorePermit>) -> Self {
        Self { permit, granted: now() }
    }
}

impl Drop for SlowPermit {
    fn drop(&mut self) {
        if now().saturating_duration_since(self.granted) < SLOW {
            // Its session was slow before, but the worker has not been blocked this time.
            return;
        }
        if let (Some(permit), Ok(runtime)) = (self.permit.take(), Handle::try_current()) {
            runtime.spawn(async move {
                after_others().await;
                // The task that has waited for the permit runs at once, before those for which I/O has arrived just now.
                after_others().await;
                drop(permit);
            });
        }
    }
}

/// The permits of this runtime.
fn permits() -> Arc<Semaphore> {
    let runtime = Handle::current();
    let mut known = PERMITS.lock();
    if let Some(permits) = known.iter().find(|(id, _)| *id == runtime.id()).and_then(|(_, permits)| permits.upgrade()) {
        return permits;
    }
    known.retain(|(_, permits)| permits.strong_count() > 0);
    let permits = Arc::new(Semaphore::new(runtime.metrics().num_workers().saturating_sub(1).max(1)));
    known.push((runtime.id(), Arc::downgrade(&permits)));
    permits
}

/// Waits until this worker has run the tasks that are ready, and has polled for I/O.
///
/// A task that wakes itself directly runs before the latter: tokio polls for I/O only after 61 such turns.
pub(crate) async fn after_others() {
    let _ = timeout(GO_ON, yield_now()).await;
}
