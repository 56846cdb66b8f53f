//! Paths in the file system for tests.

use std::{
    path::PathBuf,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Returns a unique path for a socket or another file. The file does not exist yet.
pub fn unique_path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("sockets-tests-{}-{number}", process::id()))
}
