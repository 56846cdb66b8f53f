//! The selection of workloads and subjects for a run.

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::Serialize;

use crate::{
    Flavour,
    subjects::{ALL, Entry, TRANSPORTS},
    workloads::Workload,
};

/// A workload and its environment.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    pub workload: Workload,
    pub runtime: Flavour,
    /// `true` if both processes run on a single core.
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

/// Returns the selected workloads, or all workloads if none is selected. Each workload runs on the
/// runtimes for which it has goals.
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

/// Returns the selected subjects in the order of the table. If none is selected, returns all
/// subjects, and the library only over its main transport.
pub fn subjects(names: &[String]) -> Result<Vec<&'static Entry>> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let mut selected: Vec<_> = ALL.iter().chain(TRANSPORTS).collect();
    if let Some(name) = names.iter().find(|name| selected.iter().all(|entry| entry.name != name.as_str())) {
        bail!("unknown subject {name}");
    }
    selected.retain(|entry| names.iter().any(|name| name == entry.name));
    Ok(selected)
}
