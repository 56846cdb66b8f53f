#![expect(clippy::disallowed_types, reason = "the library's locks are made of these")]
//! Locks under which no user code runs.
//!
//! User code is all code that the library calls and that its users wrote. Examples are handlers,
//! hooks, layers, wakers and subscribers of `tracing`. For the types of users, it includes the
//! implementations of `Clone`, `Eq`, `Hash`, `Serialize`, `Deserialize`, `Debug` and `Drop`. User
//! code may call the library. If the thread held a lock during that call, the call could wait for
//! the same lock for ever.
//!
//! Debug builds count the locks that a thread holds. All code that runs user code calls
//! [`assert_unlocked`] first.
//!
//! A transport is the exception. While a transport is polled, its half of the connection is locked,
//! since only the lock keeps two threads from writing at the same time. [`in_transport`] marks the
//! time of the poll. If the transport calls a library function during the poll, that function never
//! waits for the lock of a transport. It leaves the writing to the driver instead.

use std::{
    cell::Cell,
    fmt,
    ops::{Deref, DerefMut},
    task::Waker,
};

use tokio::sync::futures::Notified;

thread_local! {
    static IN_TRANSPORT: Cell<bool> = const { Cell::new(false) };
}

#[cfg(debug_assertions)]
thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// Asserts, in debug builds, that this thread holds none of the library's locks. User code may then
/// run.
#[inline]
#[track_caller]
pub(crate) fn assert_unlocked() {
    #[cfg(debug_assertions)]
    assert!(
        HELD.get() == 0 || std::thread::panicking(),
        "user code would run while this thread holds {} of the library's locks",
        HELD.get()
    );
}

/// Polls a transport, which may be user code.
#[inline]
pub(crate) fn in_transport<T>(poll: impl FnOnce() -> T) -> T {
    /// Restores the marks, even if the transport panics.
    struct Restore {
        in_transport: bool,
        #[cfg(debug_assertions)]
        held: usize,
    }
    impl Drop for Restore {
        fn drop(&mut self) {
            IN_TRANSPORT.set(self.in_transport);
            #[cfg(debug_assertions)]
            HELD.set(self.held);
        }
    }
    let _restore = Restore {
        in_transport: IN_TRANSPORT.replace(true),
        #[cfg(debug_assertions)]
        held: HELD.replace(0),
    };
    poll()
}

/// Returns `true` while this thread polls a transport.
#[inline]
pub(crate) fn is_in_transport() -> bool {
    IN_TRANSPORT.get()
}

/// Wakes a task.
#[inline]
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "no lock is held")]
pub(crate) fn wake(waker: Waker) {
    assert_unlocked();
    waker.wake();
}

/// Notifies tasks of a change.
#[derive(Default)]
pub(crate) struct Notify(tokio::sync::Notify);

impl Notify {
    pub(crate) const fn new() -> Self {
        Self(tokio::sync::Notify::const_new())
    }

    #[inline]
    pub(crate) fn notified(&self) -> Notified<'_> {
        self.0.notified()
    }

    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "no lock is held")]
    pub(crate) fn notify_waiters(&self) {
        assert_unlocked();
        self.0.notify_waiters();
    }

    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "no lock is held")]
    pub(crate) fn notify_one(&self) {
        assert_unlocked();
        self.0.notify_one();
    }
}

/// A field for a type whose drop may run user code. When the value is dropped, the field asserts
/// that no lock is held.
#[derive(Default)]
pub(crate) struct DroppedUnlocked;

#[cfg(debug_assertions)]
impl Drop for DroppedUnlocked {
    fn drop(&mut self) {
        assert_unlocked();
    }
}

/// Emits an event of `tracing`, as in `event!(debug, field, "message")`. The subscribers of the
/// event are user code.
macro_rules! event {
    ($level:ident, $($arguments:tt)+) => {{
        $crate::lock::assert_unlocked();
        tracing::$level!($($arguments)+);
    }};
}
pub(crate) use event;

/// The registration of a lock that this thread holds.
struct Held;

impl Held {
    #[inline]
    fn new() -> Self {
        #[cfg(debug_assertions)]
        HELD.set(HELD.get() + 1);
        Self
    }
}

impl Drop for Held {
    #[inline]
    fn drop(&mut self) {
        // If a lock is taken outside of a transport, it is never released inside of a transport.
        #[cfg(debug_assertions)]
        HELD.set(HELD.get() - 1);
    }
}

/// Access to a locked value.
pub(crate) struct Guard<G> {
    // This field is dropped first, so the lock is counted until it is released.
    guard: G,
    _held: Held,
}

impl<G> Guard<G> {
    #[inline]
    fn new(guard: G) -> Self {
        Self { guard, _held: Held::new() }
    }
}

impl<G: Deref> Deref for Guard<G> {
    type Target = G::Target;

    #[inline]
    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut> DerefMut for Guard<G> {
    #[inline]
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

impl<T> Guard<parking_lot::MutexGuard<'_, T>> {
    /// Releases the lock, calls `run`, and locks again. `run` may run user code.
    pub(crate) fn unlocked(&mut self, run: impl FnOnce()) {
        /// Counts the lock again, even if `run` panics.
        struct Recount;
        impl Drop for Recount {
            fn drop(&mut self) {
                #[cfg(debug_assertions)]
                HELD.set(HELD.get() + 1);
            }
        }
        parking_lot::MutexGuard::unlocked(&mut self.guard, || {
            #[cfg(debug_assertions)]
            HELD.set(HELD.get() - 1);
            let _recount = Recount;
            run();
        });
    }
}

/// Access to the value of a [`Mutex`].
pub(crate) type MutexGuard<'a, T> = Guard<parking_lot::MutexGuard<'a, T>>;

/// A mutual exclusion lock under which no user code runs.
#[derive(Default)]
pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        Guard::new(self.0.lock())
    }

    #[inline]
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().map(Guard::new)
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

/// A reader-writer lock under which no user code runs.
pub(crate) struct RwLock<T>(parking_lot::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(parking_lot::RwLock::new(value))
    }

    #[inline]
    pub(crate) fn read(&self) -> Guard<parking_lot::RwLockReadGuard<'_, T>> {
        Guard::new(self.0.read())
    }

    #[inline]
    pub(crate) fn write(&self) -> Guard<parking_lot::RwLockWriteGuard<'_, T>> {
        Guard::new(self.0.write())
    }
}

/// A lock that a transport holds while it is polled. [`assert_unlocked`] does not count this lock,
/// since a user's stream may run while the transport holds the lock.
#[cfg(feature = "ws")]
pub(crate) struct TransportMutex<T>(parking_lot::Mutex<T>);

#[cfg(feature = "ws")]
impl<T> TransportMutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    /// Locks the value. Only code that runs inside of [`in_transport`] may call this method.
    #[inline]
    pub(crate) fn lock(&self) -> parking_lot::MutexGuard<'_, T> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        panic::{AssertUnwindSafe, catch_unwind},
        path::Path,
    };

    use super::*;

    /// Asserts that no file in the directory uses the macros of `tracing` directly. Clippy detects
    /// other locks and wakers (see `clippy.toml`), but it does not detect macros.
    fn assert_no_direct_events(directory: &Path) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                assert_no_direct_events(&path);
            } else if !path.ends_with("src/lock.rs") {
                let text = fs::read_to_string(&path).unwrap();
                // A test may subscribe to events.
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                assert!(!code.contains("tracing::"), "use `event!` of `src/lock.rs` in {}", path.display());
            }
        }
    }

    #[test]
    fn events_use_the_macro_that_checks_for_locks() {
        assert_no_direct_events(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    }

    #[test]
    #[cfg(debug_assertions)]
    fn user_code_under_a_lock_panics_in_debug_builds() {
        let (mutex, lock) = (Mutex::new(1), RwLock::new(2));
        let held = (mutex.lock(), lock.read());
        assert!(catch_unwind(assert_unlocked).is_err());
        drop(held);
        assert_unlocked();
    }

    #[test]
    fn panic_of_transport_restores_marks() {
        let mutex = Mutex::new(1);
        let writer = mutex.lock();
        let polled = catch_unwind(AssertUnwindSafe(|| {
            in_transport(|| {
                assert!(is_in_transport());
                assert_unlocked();
                panic!("a transport");
            })
        }));
        assert!(polled.is_err() && !is_in_transport());
        drop(writer);
        assert_unlocked();
    }
}
