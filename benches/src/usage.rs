//! What the system says about the server's process.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// A process by its number.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

impl Process {
    /// The processor time that its threads have used, their own and the system's for them. It is in `stat` too, but in
    /// hundredths of a second, which are too coarse here.
    pub fn cpu(self) -> Result<Duration> {
        let mut total = Duration::ZERO;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0))? {
            // It may have ended meanwhile.
            let Ok(schedstat) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            let running = schedstat.split_whitespace().next().context("no times")?;
            total += Duration::from_nanos(running.parse()?);
        }
        Ok(total)
    }

    /// The memory that it occupies, in bytes.
    pub fn memory(self) -> Result<u64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.0))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).context("no Rss")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes * 1024)
    }
}
