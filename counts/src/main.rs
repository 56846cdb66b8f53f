//! Counts the instructions and system calls of each call, and compares the counts with a baseline.
//! The script `.ci/counts` runs this program.

mod baseline;
mod lockstep;
mod tool;
mod toolchain;

use std::{env, error::Error, process::ExitCode};

use sockets_counts::{Loader, Scenario, server};

use crate::{
    baseline::{Baseline, Counts},
    tool::Tool,
    toolchain::Toolchain,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare(),
        ["--renew"] => renew(),
        ["serve", url] => run_server(url),
        ["load", url, name, rounds] => run_client(url, name, rounds.parse()?),
        _ => Err("usage: bash .ci/counts [--renew]".into()),
    }
}

/// Prints the cost of each scenario, and the change of the cost from the baseline. Fails if a
/// figure exceeds the baseline by more than the tolerance.
fn compare() -> Result<ExitCode> {
    let baseline = Baseline::read()?;
    println!("per call, emit or delivery: server and client, and their change from the baseline");
    println!("{:<27} {:<32} system calls", "", "instructions");
    let (mut regressions, mut improvements) = (Vec::new(), Vec::new());
    for scenario in Scenario::ALL {
        let counts = count(&scenario)?;
        let Some(expected) = baseline.counts(scenario.name) else {
            println!("{:<27} {counts} (no baseline)", scenario.name);
            regressions.push(format!("{}: not in the baseline", scenario.name));
            continue;
        };
        println!("{:<27} {}", scenario.name, counts.compared_with(&expected));
        regressions.extend(counts.regressions(&expected).map(|figure| format!("{}: {figure}", scenario.name)));
        improvements.extend(expected.regressions(&counts).map(|figure| format!("{}: {figure}", scenario.name)));
    }
    let toolchain = Toolchain::current()?;
    if baseline.toolchain != toolchain {
        println!("not compared: the baseline is of another toolchain:\n{}", baseline.toolchain);
        println!("the current toolchain is:\n{toolchain}");
        println!("to compare a change: run `bash .ci/counts --renew` before it, and `bash .ci/counts` with it");
        return Ok(ExitCode::SUCCESS);
    }
    if !improvements.is_empty() {
        println!("cheaper than the baseline: {}", improvements.join(", "));
        println!("renew it, so that it detects the next regression: bash .ci/counts --renew");
    }
    if regressions.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("more expensive than the baseline: {}", regressions.join(", "));
    println!(
        "if the cost is justified, renew the baseline, and state the reason in the commit: bash .ci/counts --renew"
    );
    Ok(ExitCode::FAILURE)
}

/// Replaces the baseline by the current counts.
fn renew() -> Result<ExitCode> {
    let mut baseline = Baseline::new(Toolchain::current()?);
    for scenario in Scenario::ALL {
        let counts = count(&scenario)?;
        println!("{:<27} {counts}", scenario.name);
        baseline.insert(scenario.name, counts);
    }
    baseline.write()?;
    Ok(ExitCode::SUCCESS)
}

fn count(scenario: &Scenario) -> Result<Counts> {
    Ok(Counts {
        instructions: tool::count(Tool::Callgrind, scenario)?,
        system_calls: tool::count(Tool::Strace, scenario)?,
    })
}

/// Runs the server. The server has the first time slice. The client starts when the server listens.
fn run_server(url: &str) -> Result<ExitCode> {
    lockstep::runtime().block_on(async {
        let (server, stopped) = server();
        server.bind(url).await?;
        stopped.notified().await;
        drop(server);
        Ok(ExitCode::SUCCESS)
    })
}

fn run_client(url: &str, name: &str, rounds: u32) -> Result<ExitCode> {
    let scenario = Scenario::named(name).ok_or("unknown scenario")?;
    lockstep::wait_for_peer();
    lockstep::runtime().block_on(async {
        let loader = Loader::connect(url, scenario.load).await;
        loader.run(rounds).await;
        loader.stop_server().await;
    });
    Ok(ExitCode::SUCCESS)
}
