//! Starts the processes of a server and a client.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::plan::Run;
use crate::{Addresses, figures::Figures, subjects::Entry};

/// The timeout of a run. Every workload of every subject takes less time.
const TIMEOUT: Duration = Duration::from_mins(2);

/// A process. Dropping the value kills the process.
struct ChildProcess(Child);

impl Drop for ChildProcess {
    fn drop(&mut self) {
        // The process may already have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a workload in two new processes.
pub fn measure(subject: &Entry, run: &Run, quick: bool) -> Result<Figures> {
    let mut server = ChildProcess(command(subject, "server", run)?.spawn()?);
    let stdout = server.0.stdout.take().context("the server's output is not captured")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let addresses: Addresses = serde_json::from_str(&line).context("the server did not print its addresses")?;

    let mut client = command(subject, "client", run)?;
    client.arg(run.workload.name());
    client.arg("--address").arg(addresses.address.to_string());
    client.arg("--control").arg(addresses.control.to_string());
    client.arg("--server-pid").arg(server.0.id().to_string());
    if quick {
        client.arg("--quick");
    }
    let mut client = ChildProcess(client.spawn()?);
    let started = Instant::now();
    loop {
        if let Some(status) = client.0.try_wait()? {
            if !status.success() {
                bail!("the client ended with {status}");
            }
            break;
        }
        if started.elapsed() > TIMEOUT {
            bail!("not complete after {} s", TIMEOUT.as_secs());
        }
        thread::sleep(Duration::from_millis(10));
    }
    let mut figures = String::new();
    client.0.stdout.take().context("the client's output is not captured")?.read_to_string(&mut figures)?;
    serde_json::from_str(&figures).context("the client did not print figures")
}

/// Returns the command for a process. `role` is `server` or `client`.
fn command(subject: &Entry, role: &str, run: &Run) -> Result<Command> {
    let program = env::current_exe()?;
    let mut command = if run.pinned {
        let mut taskset = Command::new("taskset");
        taskset.args(["-c", "0"]).arg(program);
        taskset
    } else {
        Command::new(program)
    };
    let runtime = run.runtime.to_possible_value().context("the runtime has no name")?;
    command.args([role, subject.name, "--runtime", runtime.get_name()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    Ok(command)
}
