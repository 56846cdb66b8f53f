//! A server's and a client's process.

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
use crate::{Addresses, contestants::Entry, figures::Figures};

/// No workload of any contestant takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_mins(2);

/// Ends its process when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One run in two fresh processes.
pub fn measure(contestant: &Entry, run: &Run, quick: bool) -> Result<Figures> {
    let mut server = Running(command(contestant, "server", run)?.spawn()?);
    let stdout = server.0.stdout.take().context("the server has no output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let addresses: Addresses = serde_json::from_str(&line).context("the server has not started")?;

    let mut client = command(contestant, "client", run)?;
    client.arg(run.workload.name());
    client.arg("--address").arg(addresses.address.to_string());
    client.arg("--control").arg(addresses.control.to_string());
    client.arg("--server-pid").arg(server.0.id().to_string());
    if quick {
        client.arg("--quick");
    }
    let mut client = Running(client.spawn()?);
    let started = Instant::now();
    loop {
        if let Some(status) = client.0.try_wait()? {
            if !status.success() {
                bail!("the client ended with {status}");
            }
            break;
        }
        if started.elapsed() > PATIENCE {
            bail!("not done after {} s", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(10));
    }
    let mut figures = String::new();
    client.0.stdout.take().context("the client has no output")?.read_to_string(&mut figures)?;
    serde_json::from_str(&figures).context("the client's figures")
}

/// `role` is `server` or `client`.
fn command(contestant: &Entry, role: &str, run: &Run) -> Result<Command> {
    let program = env::current_exe()?;
    let mut command = if run.pinned {
        let mut taskset = Command::new("taskset");
        taskset.args(["-c", "0"]).arg(program);
        taskset
    } else {
        Command::new(program)
    };
    let runtime = run.runtime.to_possible_value().context("a runtime without a name")?;
    command.args([role, contestant.name, "--runtime", runtime.get_name()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    Ok(command)
}
