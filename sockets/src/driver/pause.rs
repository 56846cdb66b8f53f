//! The pause between two time slices of a driver.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

use tokio::task::JoinHandle;

use crate::{
    lock::wake,
    scheduler::{LONGEST_PAUSE, wake_after_others},
    session::SlowPermit,
};

/// A pause of the driver, which does not end when the driver's task is woken for other reasons.
pub(super) enum Pause {
    /// A pause that ends when the worker has run the ready tasks and has polled for I/O, or at the
    /// contained time if that is earlier.
    Others(Instant),
    /// A pause that ends when a slow session has its permit. A separate task waits for the permit.
    Permit(JoinHandle<SlowPermit>),
}

/// The pauses of a driver.
#[derive(Default)]
pub(super) struct Pauses {
    current: Option<Pause>,
    /// The signal of the last pause. The next pause reuses it, so that no memory is allocated.
    signal: Option<Arc<Signal>>,
}

/// The end of a pause, and the task that waits for it.
struct Signal {
    is_over: AtomicBool,
    driver: Waker,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.is_over.store(true, Ordering::Release);
        wake(self.driver.clone());
    }
}

impl Pauses {
    /// Lets other tasks run before the next time slice.
    pub(super) fn wait_for_others(&mut self, now: Instant, cx: &Context<'_>) {
        let known = self.signal.take().filter(|signal| signal.driver.will_wake(cx.waker()));
        let signal =
            known.unwrap_or_else(|| Arc::new(Signal { is_over: AtomicBool::new(false), driver: cx.waker().clone() }));
        signal.is_over.store(false, Ordering::Release);
        wake_after_others(&mut Context::from_waker(&Waker::from(Arc::clone(&signal))));
        self.signal = Some(signal);
        self.current = Some(Pause::Others(now + LONGEST_PAUSE));
    }

    /// Waits for a permit before the next time slice.
    pub(super) fn wait_for_permit(&mut self, cx: &Context<'_>) {
        let driver = cx.waker().clone();
        self.current = Some(Pause::Permit(tokio::spawn(async move {
            let permit = SlowPermit::acquire().await;
            wake(driver);
            permit
        })));
    }

    /// Waits for the end of the pause, and returns the permit that it has waited for.
    pub(super) fn poll(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<Option<SlowPermit>> {
        let permit = match &mut self.current {
            None => None,
            Some(Pause::Others(until)) => {
                let is_over = self.signal.as_ref().is_none_or(|signal| signal.is_over.load(Ordering::Acquire));
                if !is_over && now < *until {
                    return Poll::Pending;
                }
                if !is_over {
                    // The wake-up of this signal may still arrive during the next pause, and must
                    // not end that pause. So the driver drops the signal instead of reusing it.
                    self.signal = None;
                }
                None
            }
            Some(Pause::Permit(task)) => match Pin::new(task).poll(cx) {
                Poll::Ready(permit) => permit.ok(),
                Poll::Pending => return Poll::Pending,
            },
        };
        self.current = None;
        Poll::Ready(permit)
    }

    /// Returns `true` between two time slices.
    pub(super) fn is_pausing(&self) -> bool {
        self.current.is_some()
    }

    /// Returns the time at which the pause ends in any case.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        match self.current {
            Some(Pause::Others(until)) => Some(until),
            _ => None,
        }
    }

    /// Ends the pause.
    pub(super) fn cancel(&mut self) {
        self.current = None;
    }
}
