//! Places in the file system that are a test's own.

use std::{
    path::PathBuf,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// A path, for a socket or another file, that nothing else has. There is no file yet.
pub fn path_of_its_own() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("sockets-tests-{}-{number}", process::id()))
}
