//! Prevents handlers that block their threads from occupying all workers of a runtime.
//!
//! A handler that runs for milliseconds without a suspension cannot be interrupted. If a few
//! sessions with such handlers occupied all workers, every other session would wait for several of
//! these handlers. So the handlers of such a slow session need a permit. A runtime has one permit
//! less than it has workers, so that a worker stays free, but at least one permit.
//!
//! A session returns its permit after its handlers have run. If these handlers were slow again, the
//! session returns its permit only after the worker has run the ready tasks and has polled for I/O.
//!
//! A handler may block its thread for ever, or free its worker with `block_in_place`. If such
//! handlers hold all permits, no permit is returned. After [`STUCK`], sessions then continue
//! without a permit.

use std::{
    future::poll_fn,
    mem,
    pin::pin,
    sync::{
        Arc, LazyLock, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{self, Handle},
    sync::{Mutex as AsyncMutex, Semaphore, SemaphorePermit},
    time::{timeout, timeout_at},
};

use crate::{
    clock::now,
    lock::Mutex,
    scheduler::{LONGEST_PAUSE, wake_after_others},
};

/// Minimum time that a slow handler runs without a suspension.
pub(crate) const SLOW: Duration = Duration::from_millis(2);
/// Minimum run time of a handler that makes its session slow immediately. On a busy machine, the
/// system may interrupt a quick handler for a few milliseconds. So a run time between [`SLOW`] and
/// this minimum makes the session slow only if it is repeated.
const VERY_SLOW: Duration = Duration::from_millis(10);
/// The time for which a session remembers a slow handler. If a second handler is slow within this
/// time, the session becomes slow. A slow session remains slow for this time after its last slow
/// handler.
const REMEMBERED: Duration = Duration::from_secs(1);
/// Maximum time without a granted or returned permit. When it has passed, the handlers that hold
/// permits are considered stuck.
const STUCK: Duration = Duration::from_millis(100);

/// The origin of the times in [`Slowness`].
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The permits of each runtime that has slow sessions.
static PERMITS: Mutex<Vec<(runtime::Id, Arc<Permits>)>> = Mutex::new(Vec::new());

/// The state of a session that may be slow, and the queue of its handlers for a permit.
#[derive(Default)]
pub(super) struct Slowness {
    /// The end of the last slow handler, in milliseconds since [`START`]. It is 0 if there was
    /// none.
    last: AtomicU64,
    /// The time until which the session is slow, in milliseconds since [`START`]. It is 0 if the
    /// session was never slow.
    until: AtomicU64,
    /// The queue of the suspended handlers of this session. Only the first handler of the queue
    /// waits for a permit. Otherwise a session with many handlers would get more permits than other
    /// sessions.
    queue: OnceLock<Box<AsyncMutex<()>>>,
}

impl Slowness {
    pub(super) fn record_poll(&self, began: Instant, ended: Instant) {
        let time = ended.saturating_duration_since(began);
        if time < SLOW {
            return;
        }
        let last = self.last.swap(millis(ended).max(1), Ordering::Relaxed);
        // The system may interrupt several handlers of a session at the same time.
        let is_repeated = last != 0 && (last..last + millis_of(REMEMBERED)).contains(&millis(began));
        if time >= VERY_SLOW || is_repeated {
            self.until.store(millis(ended + REMEMBERED).max(1), Ordering::Relaxed);
        }
    }

    pub(super) fn is_slow(&self) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        until != 0 && millis(now()) < until
    }

    /// Waits for a permit for a suspended handler. If no permit is free, the handler first waits
    /// until it is at the front of the session's queue. Returns `None` if the handler at that time
    /// does not need a permit any more.
    pub(super) async fn permit(&self, is_needed: impl Fn() -> bool) -> Option<SlowPermit> {
        if let Some(permit) = SlowPermit::try_acquire() {
            return Some(permit);
        }
        let _first = self.queue.get_or_init(Box::default).lock().await;
        if is_needed() { Some(SlowPermit::acquire().await) } else { None }
    }
}

fn millis(at: Instant) -> u64 {
    millis_of(at.saturating_duration_since(*START))
}

fn millis_of(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A permit to poll the handlers of a slow session.
pub(crate) struct SlowPermit {
    /// The permit of the runtime. It is `None` if the handlers that hold the permits are stuck.
    permit: Option<Permit>,
    granted: Instant,
}

impl SlowPermit {
    /// Returns a permit if any is free, or if the handlers that hold permits are stuck.
    pub(crate) fn try_acquire() -> Option<Self> {
        let permits = Permits::current();
        if permits.semaphore.try_acquire().map(SemaphorePermit::forget).is_ok() {
            return Some(Self::new(Some(Permit::new(permits))));
        }
        (permits.stuck_from() <= now()).then(|| Self::new(None))
    }

    /// Waits for a permit, or until the handlers that hold permits are stuck.
    pub(crate) async fn acquire() -> Self {
        let permits = Permits::current();
        let mut acquired = pin!(permits.semaphore.acquire());
        loop {
            let stuck_from = permits.stuck_from();
            match timeout_at(stuck_from.into(), acquired.as_mut()).await {
                Ok(Ok(permit)) => {
                    permit.forget();
                    return Self::new(Some(Permit::new(Arc::clone(&permits))));
                }
                // The semaphore is never closed.
                Ok(Err(_)) => return Self::new(None),
                Err(_) if permits.stuck_from() == stuck_from => return Self::new(None),
                Err(_) => {}
            }
        }
    }

    fn new(permit: Option<Permit>) -> Self {
        Self { permit, granted: now() }
    }
}

impl Drop for SlowPermit {
    fn drop(&mut self) {
        if now().saturating_duration_since(self.granted) < SLOW {
            // The session was slow before, but its handlers have not blocked the worker this time.
            return;
        }
        if let (Some(permit), Ok(runtime)) = (self.permit.take(), Handle::try_current()) {
            runtime.spawn(async move {
                // The drop of the permit wakes a task that waits for a permit. Without this loop,
                // the woken task would run before tasks for which I/O has just arrived. So the loop
                // lets the other tasks run twice before the drop.
                for _ in 0..2 {
                    let mut is_first = true;
                    let woken = poll_fn(|cx| {
                        if !mem::replace(&mut is_first, false) {
                            return Poll::Ready(());
                        }
                        wake_after_others(cx);
                        Poll::Pending
                    });
                    let _ = timeout(LONGEST_PAUSE, woken).await;
                }
                drop(permit);
            });
        }
    }
}

/// The permits of a runtime.
struct Permits {
    semaphore: Semaphore,
    /// The time at which a permit was last granted or returned.
    last_change: Mutex<Instant>,
}

impl Permits {
    /// Returns the permits of this runtime.
    fn current() -> Arc<Self> {
        let runtime = Handle::current();
        let mut known = PERMITS.lock();
        if let Some((_, permits)) = known.iter().find(|(id, _)| *id == runtime.id()) {
            return Arc::clone(permits);
        }
        // A runtime ends without a notice. So the permits of ended runtimes are dropped here, when
        // another runtime needs permits.
        known.retain(|(_, permits)| Arc::strong_count(permits) > 1);
        let count = runtime.metrics().num_workers().saturating_sub(1).max(1);
        let permits = Arc::new(Self { semaphore: Semaphore::new(count), last_change: Mutex::new(now()) });
        known.push((runtime.id(), Arc::clone(&permits)));
        permits
    }

    /// Returns the time at which the handlers that hold permits count as stuck. If a permit is
    /// granted or returned before this time, this time becomes later.
    fn stuck_from(&self) -> Instant {
        *self.last_change.lock() + STUCK
    }

    fn record_change(&self) {
        *self.last_change.lock() = now();
    }
}

/// A permit of a runtime.
struct Permit(Arc<Permits>);

impl Permit {
    fn new(permits: Arc<Permits>) -> Self {
        permits.record_change();
        Self(permits)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.record_change();
        self.0.semaphore.add_permits(1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::future::join_all;
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn permit_of_a_stuck_handler_delays_others_by_100_ms() {
        let stuck = SlowPermit::try_acquire().expect("a permit");
        let began = now();
        join_all((0..3).map(|_| SlowPermit::acquire())).await;
        assert!(now() - began <= STUCK + Duration::from_millis(1), "they waited for {:?}", now() - began);
        assert!(SlowPermit::try_acquire().is_some(), "the permit is still held by the stuck handler");
        drop(stuck);
        let began = now();
        sleep(Duration::from_millis(10)).await;
        let _held = SlowPermit::try_acquire().expect("the permit that was returned");
        assert!(SlowPermit::try_acquire().is_none(), "permits circulate, {:?} later", now() - began);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_handlers_that_return_permits_take_turns() {
        let (running, most, total) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let handlers = async || {
            for _ in 0..10 {
                let _permit = SlowPermit::acquire().await;
                most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                sleep(Duration::from_millis(50)).await;
                running.fetch_sub(1, Ordering::Relaxed);
                total.fetch_add(1, Ordering::Relaxed);
            }
        };
        join_all((0..4).map(|_| handlers())).await;
        assert_eq!((most.into_inner(), total.into_inner()), (1, 40));
    }

    #[tokio::test(start_paused = true)]
    async fn session_is_slow_after_two_slow_handlers_in_a_second() {
        let slowness = Slowness::default();
        let slow_handler = || slowness.record_poll(now(), now() + SLOW);
        slow_handler();
        assert!(!slowness.is_slow(), "the system may have interrupted a quick handler");
        sleep(SLOW + REMEMBERED).await;
        slow_handler();
        assert!(!slowness.is_slow(), "the first one was a second before");
        slow_handler();
        assert!(!slowness.is_slow(), "both were interrupted at the same time");
        sleep(2 * SLOW).await;
        slow_handler();
        assert!(slowness.is_slow());
    }

    #[tokio::test(start_paused = true)]
    async fn handler_needs_no_permit_when_its_session_recovered() {
        let slowness = Slowness::default();
        slowness.record_poll(now(), now() + VERY_SLOW);
        let _held = SlowPermit::try_acquire().expect("a permit");
        let first = slowness.queue.get_or_init(Box::default).lock().await;
        let release = async {
            sleep(VERY_SLOW + REMEMBERED).await;
            // The permit is held by a handler that is not stuck.
            Permits::current().record_change();
            drop(first);
        };
        let (permit, ()) = tokio::join!(slowness.permit(|| slowness.is_slow()), release);
        assert!(permit.is_none(), "the session is not slow any more");
    }
}
