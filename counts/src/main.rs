//! Counts instructions and system calls per call, and fails where they are out of bounds. See `.ci/counts`.

mod tool;

use std::{env, error::Error, process::ExitCode};

use sockets_counts::{BOUNDS, Loader, runtime, server};

use crate::tool::Tool;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => report(),
        ["serve"] => run_server(),
        ["load", url, name, rounds] => run_client(url, name, rounds.parse()?),
        _ => Err("the two processes that are counted are started by this program itself".into()),
    }
}

/// Prints a table of all figures and their bounds, and then what is out of bounds.
fn report() -> Result<ExitCode> {
    println!("each of a load's calls, emits or deliveries costs, on the server and on the client (and may cost):");
    println!("{:<26} {:<27} system calls", "", "instructions");
    let mut excesses = Vec::new();
    for bound in BOUNDS {
        let instructions = tool::count(Tool::Callgrind, &bound)?;
        let system_calls = tool::count(Tool::Strace, &bound)?;
        println!("{:<26} {instructions} ({}) {system_calls} ({})", bound.name, bound.instructions, bound.system_calls);
        if !instructions.within(bound.instructions) {
            excesses.push(format!("{}: instructions", bound.name));
        }
        if !system_calls.within(bound.system_calls) {
            excesses.push(format!("{}: system calls", bound.name));
        }
    }
    if excesses.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("out of bounds: {}", excesses.join(", "));
    Ok(ExitCode::FAILURE)
}

/// One of the two processes that are counted: it says where it is, and serves until it is told to stop.
fn run_server() -> Result<ExitCode> {
    runtime().block_on(async {
        let (server, stopped) = server();
        server.bind("tcp://127.0.0.1:0").await?;
        println!("tcp://{}", server.local_addr());
        stopped.notified().await;
        drop(server);
        Ok(ExitCode::SUCCESS)
    })
}

/// The other.
fn run_client(url: &str, name: &str, rounds: u32) -> Result<ExitCode> {
    let bound = BOUNDS.iter().find(|bound| bound.name == name).ok_or("there is no such load")?;
    runtime().block_on(async {
        let loader = Loader::connect(url, bound.load).await;
        loader.run(rounds).await;
        loader.stop_server().await;
    });
    Ok(ExitCode::SUCCESS)
}
