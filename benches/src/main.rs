//! The bench: the same workloads through `sockets`, through its rivals, and by hand. See README.md.

mod contestant;
mod contestants;
mod control;
mod counter;
mod figures;
mod orchestrator;
mod payload;
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
    contestant::Contestant,
    contestants::with_contestant,
    counter::Counter,
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
    /// Everything: contestants interleaved in rounds, medians, and a table.
    Run(orchestrator::RunOptions),
    /// One server. Prints a line with its two addresses, and runs until it is killed.
    Server {
        contestant: String,
        #[arg(long, value_enum, default_value_t)]
        runtime: Flavour,
    },
    /// How many bytes calls, emits and messages to a room are on the wire.
    Wire {
        /// All, or these.
        contestants: Vec<String>,
    },
    /// One workload against a server. Prints a line of figures.
    Client(ClientOptions),
}

#[derive(Args)]
struct ClientOptions {
    contestant: String,
    workload: Workload,
    /// As the server printed it.
    #[arg(long)]
    address: SocketAddr,
    #[arg(long)]
    control: SocketAddr,
    /// The server's process, for its processor time and memory.
    #[arg(long)]
    server_pid: u32,
    #[arg(long, value_enum, default_value_t)]
    runtime: Flavour,
    /// A tenth of the usual time.
    #[arg(long)]
    quick: bool,
}

/// Which of tokio's runtimes both processes have.
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

    /// Runs on a worker, as a program's tasks do, and not on the thread that waits for them.
    fn run<T: Send + 'static>(self, future: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let runtime = self.runtime()?;
        let result = runtime.block_on(async { tokio::spawn(future).await? });
        runtime.shutdown_background();
        result
    }
}

/// What a server prints.
#[derive(Debug, Serialize, Deserialize)]
struct Addresses {
    address: SocketAddr,
    control: SocketAddr,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run(options) => options.run(),
        Command::Server { contestant, runtime } => with_contestant!(&contestant, C => serve::<C>(runtime)),
        Command::Wire { contestants } => wire::run(&contestants),
        Command::Client(options) => with_contestant!(&options.contestant, C => client::<C>(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve<C: Contestant>(flavour: Flavour) -> Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    flavour.run(async {
        let emits = Arc::new(Counter::default());
        let (address, server) = C::serve(Arc::clone(&emits)).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        print_line(&Addresses { address, control: listener.local_addr()? })?;
        control::obey::<C>(listener, Arc::new(server), emits).await
    })
}

fn client<C: Contestant>(options: &ClientOptions) -> Result<()> {
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
