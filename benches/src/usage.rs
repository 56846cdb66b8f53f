//! The resource usage of the server's process.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// A process that is identified by its ID.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

impl Process {
    /// Returns the processor time of all threads, in user mode and in kernel mode.
    ///
    /// The file `stat` also contains the processor time, but in units of 10 ms, which are too
    /// coarse. Therefore the method does not read that file.
    pub fn cpu(self) -> Result<Duration> {
        let mut total = Duration::ZERO;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0))? {
            // The thread may have ended since the directory was read.
            let Ok(schedstat) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            let running = schedstat.split_whitespace().next().context("empty schedstat")?;
            total += Duration::from_nanos(running.parse()?);
        }
        Ok(total)
    }

    /// Returns the resident memory in bytes.
    pub fn memory(self) -> Result<u64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.0))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).context("no Rss")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes * 1024)
    }
}
