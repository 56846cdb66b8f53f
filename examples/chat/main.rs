//! A chat for terminals: `chat serve` in one of them, `chat join NAME` in the others.

#![expect(unreachable_pub, reason = "the modules are written as they would be in crates of their own")]

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
    /// Run the server that people join
    Serve {
        /// Where to listen, as host:port; with port 0 the system chooses one
        #[arg(default_value = "127.0.0.1:7000")]
        addr: String,
        /// How long people have to answer a vote, in seconds
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=60))]
        vote_time: u64,
    },
    /// Join the chat
    Join {
        /// What the others call you
        name: String,
        /// Where the server is, as host:port
        #[arg(default_value = "127.0.0.1:7000")]
        addr: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let stop = Notify::new();
    tokio::select! {
        // In this order Ctrl-C is listened for before anything else happens.
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

/// The first Ctrl-C asks the program to end; a second one does not wait for that.
async fn watch_ctrl_c(stop: &Notify) -> ExitCode {
    for _ in 0..2 {
        if ctrl_c().await.is_err() {
            // It cannot be listened for, and ends the program without our help.
            return std::future::pending().await;
        }
        // The terminal shows `^C` where the cursor is; what is printed next begins below it.
        if stdout().is_terminal() {
            terminal::print("");
        }
        stop.notify_one();
    }
    ExitCode::from(130)
}
