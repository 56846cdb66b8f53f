//! A chat for terminals. Run `chat serve` in a terminal, and run `chat join NAME` in further
//! terminals.

#![expect(unreachable_pub, reason = "the modules are written as for separate crates")]

mod client;
mod contract;
mod person;
mod server;
mod terminal;

use std::{
    io::{IsTerminal, stdout},
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, Subcommand};
use tokio::{signal::ctrl_c, sync::Notify};

/// A chat for terminals
#[derive(Parser)]
#[command(name = "chat")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the chat server
    Serve {
        /// Address to listen at, as host:port; with port 0 the system chooses a port
        #[arg(default_value = "127.0.0.1:7000")]
        addr: String,
        /// Time limit of a vote, in seconds
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=60))]
        vote_time: u64,
    },
    /// Join the chat
    Join {
        /// Your name in the chat
        name: String,
        /// Address of the server, as host:port
        #[arg(default_value = "127.0.0.1:7000")]
        addr: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let stop = Notify::new();
    tokio::select! {
        // The handler of Ctrl-C is polled first, so that it is installed before the program starts.
        biased;
        status = watch_ctrl_c(&stop) => status,
        outcome = run(command, &stop) => match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(words) => {
                terminal::print_error(&words);
                ExitCode::FAILURE
            }
        },
    }
}

async fn run(command: Command, stop: &Notify) -> Result<(), String> {
    match command {
        Command::Serve { addr, vote_time } => server::serve(&addr, Duration::from_secs(vote_time), stop).await,
        Command::Join { name, addr } => client::join(&name, &addr, stop).await,
    }
}

/// Asks the program to end at the first Ctrl-C. The function returns at the second Ctrl-C.
async fn watch_ctrl_c(stop: &Notify) -> ExitCode {
    for _ in 0..2 {
        if ctrl_c().await.is_err() {
            // Without a handler, Ctrl-C has its default effect and ends the program.
            return std::future::pending().await;
        }
        // The terminal has printed `^C`, so the next output has to begin on a new line.
        if stdout().is_terminal() {
            terminal::print("");
        }
        stop.notify_one();
    }
    ExitCode::from(130)
}
