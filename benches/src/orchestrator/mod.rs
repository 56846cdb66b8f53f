//! The command `bench run`. It runs the subjects alternately, in rounds. Each workload runs in two
//! new processes.

mod plan;
mod process;
mod table;

use std::{fs, path::PathBuf};

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use self::{plan::Run, table::Results};
use crate::{Flavour, figures::Figures, workloads::Workload};

#[derive(Args)]
pub struct RunOptions {
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Selects workloads.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Workload>,
    /// Selects subjects.
    #[arg(long, value_delimiter = ',')]
    subjects: Vec<String>,
    /// The runtime of all workloads. By default, each runs on the runtimes for which it has a goal.
    #[arg(long, value_enum)]
    runtime: Option<Flavour>,
    /// Runs all workloads with both processes on a single core.
    #[arg(long)]
    pinned: bool,
    /// Takes a tenth of the usual time, for a check of all workloads.
    #[arg(long)]
    quick: bool,
    /// Also writes the table to this file.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Writes a line for each run to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// A line of the JSON file.
#[derive(Serialize)]
struct Measured<'a> {
    round: usize,
    subject: &'a str,
    run: &'a Run,
    #[serde(skip_serializing_if = "Option::is_none")]
    figures: Option<&'a Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl RunOptions {
    pub fn run(self) -> Result<()> {
        let subjects = plan::subjects(&self.subjects)?;
        let runs = plan::runs(&self.only, self.runtime, self.pinned);
        let mut results = Results::default();
        let mut lines = String::new();
        for round in 1..=self.rounds {
            for run in &runs {
                for &subject in &subjects {
                    if !(subject.supports)(run.workload) {
                        continue;
                    }
                    let measured = process::measure(subject, run, self.quick);
                    let error = measured.as_ref().err().map(|error| format!("{error:#}"));
                    eprintln!("round {round}  {:<28} {:<14} {}", run.title(), subject.name, summary(&measured));
                    let figures = measured.as_ref().ok();
                    let line = Measured { round, subject: subject.name, run, figures, error };
                    lines += &(serde_json::to_string(&line)? + "\n");
                    for (name, value) in figures.into_iter().flat_map(|figures| &figures.0) {
                        results.add(&format!("{}: {name}", run.title()), subject.name, value.as_f64());
                    }
                }
            }
            if let Some(file) = &self.json {
                fs::write(file, &lines)?;
            }
        }
        let names: Vec<_> = subjects.iter().map(|subject| subject.name).collect();
        let table = results.markdown(&names, &table::environment(self.rounds)?);
        print!("{table}");
        if let Some(file) = &self.markdown {
            fs::write(file, &table)?;
        }
        Ok(())
    }
}

fn summary(measured: &Result<Figures>) -> String {
    match measured {
        Ok(figures) => {
            let figures = figures.0.iter().map(|(name, value)| match value.as_f64() {
                Some(value) => format!("{name} {}", table::number(value)),
                None => format!("{name} ?"),
            });
            figures.collect::<Vec<_>>().join(", ")
        }
        Err(error) => format!("FAILED: {error:#}"),
    }
}
