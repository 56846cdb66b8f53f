//! Runs the same workloads with `sockets`, with other libraries and with hand-written code.
//! README.md describes the workloads.

mod control;
mod counter;
mod figures;
mod orchestrator;
mod payload;
mod subject;
mod subjects;
mod usage;
mod wire;
mod workloads;

use std::{io::Write, net::SocketAddr, process::ExitCode, sync::Arc};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};

use crate::{
    counter::Counter,
    subject::Subject,
    subjects::with_subject,
    usage::Process,
    workloads::{Setting, Workload},
};

#[derive(Parser)]
#[command(about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs all workloads, with subjects interleaved in rounds, and prints a table of medians.
    Run(orchestrator::RunOptions),
    /// Runs a server, which prints a line with its two addresses and runs until it is killed.
    Server {
        subject: String,
        #[arg(long, value_enum, default_value_t)]
        runtime: Flavour,
    },
    /// Counts the bytes of calls, emits and messages to a room on the wire.
    Wire {
        /// The subjects. Without any, all.
        subjects: Vec<String>,
    },
    /// Runs a workload against a server, and prints a line of figures.
    Client(ClientOptions),
}

#[derive(Args)]
struct ClientOptions {
    subject: String,
    workload: Workload,
    /// The address that the server printed.
    #[arg(long)]
    address: SocketAddr,
    #[arg(long)]
    control: SocketAddr,
    /// The process ID of the server, whose processor time and memory are measured.
    #[arg(long)]
    server_pid: u32,
    #[arg(long, value_enum, default_value_t)]
    runtime: Flavour,
    /// Takes a tenth of the usual time.
    #[arg(long)]
    quick: bool,
}

/// The tokio runtime of both processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Flavour {
    #[default]
    Multi,
    Current,
}

impl Flavour {
    fn runtime(self) -> Result<Runtime> {
        let mut builder = match self {
            Self::Multi => Builder::new_multi_thread(),
            Self::Current => Builder::new_current_thread(),
        };
        Ok(builder.enable_all().build()?)
    }

    /// Runs a future on a worker thread, as the tasks of a program run. The main thread only waits
    /// for the result.
    fn run<T: Send + 'static>(self, future: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let runtime = self.runtime()?;
        let result = runtime.block_on(async { tokio::spawn(future).await? });
        runtime.shutdown_background();
        result
    }
}

/// The addresses that a server prints.
#[derive(Debug, Serialize, Deserialize)]
struct Addresses {
    address: SocketAddr,
    control: SocketAddr,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(options) => options.run(),
        Command::Server { subject, runtime } => with_subject!(&subject, C => serve::<C>(runtime)),
        Command::Wire { subjects } => wire::run(&subjects),
        Command::Client(options) => with_subject!(&options.subject, C => client::<C>(&options)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve<C: Subject>(flavour: Flavour) -> Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    flavour.run(async {
        let emits = Arc::new(Counter::default());
        let (address, server) = C::serve(Arc::clone(&emits)).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        print_line(&Addresses { address, control: listener.local_addr()? })?;
        control::serve::<C>(listener, Arc::new(server), emits).await
    })
}

fn client<C: Subject>(options: &ClientOptions) -> Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let workload = options.workload;
    let setting = Setting {
        address: options.address,
        control: options.control,
        server: Process(options.server_pid),
        quick: options.quick,
    };
    let figures = options
        .runtime
        .run(workloads::run::<C>(workload, setting))
        .with_context(|| format!("{} {workload:?}", C::NAME))?;
    print_line(&figures)
}

fn print_line(value: &impl Serialize) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(value)?)?;
    Ok(stdout.flush()?)
}
