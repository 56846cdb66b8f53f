//! `bench run`: all contestants interleaved, in rounds, each workload in fresh processes.

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
    /// These workloads only.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Workload>,
    /// These contestants only.
    #[arg(long, value_delimiter = ',')]
    contestants: Vec<String>,
    /// All workloads on this runtime; by default each on those that it has a goal for.
    #[arg(long, value_enum)]
    runtime: Option<Flavour>,
    /// All workloads with both processes on one core.
    #[arg(long)]
    pinned: bool,
    /// A tenth of the usual time: to see that everything works.
    #[arg(long)]
    quick: bool,
    /// Writes the table to this file too.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Writes a line for every single run to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// One line of the JSON file.
#[derive(Serialize)]
struct Measured<'a> {
    round: usize,
    contestant: &'a str,
    run: &'a Run,
    #[serde(skip_serializing_if = "Option::is_none")]
    figures: Option<&'a Figures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl RunOptions {
    pub fn run(self) -> Result<()> {
        let contestants = plan::contestants(&self.contestants)?;
        let runs = plan::runs(&self.only, self.runtime, self.pinned);
        let mut results = Results::default();
        let mut lines = String::new();
        for round in 1..=self.rounds {
            for run in &runs {
                for &contestant in &contestants {
                    if !(contestant.does)(run.workload) {
                        continue;
                    }
                    let measured = process::measure(contestant, run, self.quick);
                    let error = measured.as_ref().err().map(|error| format!("{error:#}"));
                    eprintln!("round {round}  {:<28} {:<14} {}", run.title(), contestant.name, told(&measured));
                    let figures = measured.as_ref().ok();
                    let line = Measured { round, contestant: contestant.name, run, figures, error };
                    lines += &(serde_json::to_string(&line)? + "\n");
                    for (name, value) in figures.into_iter().flat_map(|figures| &figures.0) {
                        results.add(&format!("{}: {name}", run.title()), contestant.name, value.as_f64());
                    }
                }
            }
            if let Some(file) = &self.json {
                fs::write(file, &lines)?;
            }
        }
        let names: Vec<_> = contestants.iter().map(|contestant| contestant.name).collect();
        let table = results.markdown(&names, &table::circumstances(self.rounds)?);
        print!("{table}");
        if let Some(file) = &self.markdown {
            fs::write(file, &table)?;
        }
        Ok(())
    }
}

fn told(measured: &Result<Figures>) -> String {
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
