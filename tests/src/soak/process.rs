//! The resources of this process.

use std::fs;

use tokio::runtime::Handle;

/// The resources that this process uses.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    /// The number of tasks that have not ended.
    pub tasks: usize,
    /// The number of open files.
    pub files: usize,
    /// The resident memory, in KiB.
    pub memory: u64,
}

impl Footprint {
    /// Measures the current usage.
    pub(super) fn now() -> Self {
        let files = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = memory.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok());
        Self { tasks: Handle::current().metrics().num_alive_tasks(), files, memory: memory.unwrap_or(0) }
    }
}
