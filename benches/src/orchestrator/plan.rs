//! What is run.

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::Serialize;

use crate::{
    Flavour,
    contestants::{ALL, Entry, TRANSPORTS},
    workloads::Workload,
};

/// A workload in certain circumstances.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    pub workload: Workload,
    pub runtime: Flavour,
    /// Both processes on one core.
    pub pinned: bool,
}

impl Run {
    pub fn title(&self) -> String {
        let name = self.workload.name();
        let runtime = if self.runtime == Flavour::Current { ", current-thread" } else { "" };
        let pinned = if self.pinned { ", one core" } else { "" };
        format!("{name}{runtime}{pinned}")
    }
}

/// The workloads asked for, or all, on the runtimes for which there are goals.
pub fn runs(only: &[Workload], runtime: Option<Flavour>, pinned: bool) -> Vec<Run> {
    let mut runs = Vec::new();
    for &workload in Workload::value_variants() {
        if !only.is_empty() && !only.contains(&workload) {
            continue;
        }
        let run = Run { workload, runtime: runtime.unwrap_or_default(), pinned };
        runs.push(run.clone());
        match workload {
            Workload::Latency if !pinned => runs.push(Run { pinned: true, ..run }),
            Workload::Pipeline64 | Workload::Pipeline512 if runtime.is_none() => {
                runs.push(Run { runtime: Flavour::Current, ..run });
            }
            _ => {}
        }
    }
    runs
}

/// The contestants asked for, or all but the other transports, in the order of the table.
pub fn contestants(names: &[String]) -> Result<Vec<&'static Entry>> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let mut chosen: Vec<_> = ALL.iter().chain(TRANSPORTS).collect();
    if let Some(name) = names.iter().find(|name| chosen.iter().all(|entry| entry.name != name.as_str())) {
        bail!("there is no contestant {name}");
    }
    chosen.retain(|entry| names.iter().any(|name| name == entry.name));
    Ok(chosen)
}
