//! Running the two processes under a tool that counts.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use sockets_counts::{Bound, Sides};

use crate::Result;

/// What counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Instructions.
    Callgrind,
    /// System calls.
    Strace,
}

/// How many of them each call, emit or delivery costs: the difference between two runs, in which starting, connecting
/// and ending cancel out.
pub(crate) fn count(tool: Tool, bound: &Bound) -> Result<Sides> {
    let fewer = run(tool, bound.name, bound.rounds)?;
    let more = run(tool, bound.name, 2 * bound.rounds)?;
    let units = f64::from(bound.rounds * bound.load.size());
    Ok(Sides { server: (more.server - fewer.server) / units, client: (more.client - fewer.client) / units })
}

/// Runs server and client, and counts all that each does. The tool's files stay beside the program, for a closer look.
fn run(tool: Tool, name: &str, rounds: u32) -> Result<Sides> {
    let this = env::current_exe()?;
    let counts =
        ["server", "client"].map(|side| this.with_extension(format!("{}.{side}.{tool:?}", name.replace(' ', "-"))));
    let mut server = tool.start(&counts[0], &["serve"], Stdio::piped())?;
    let mut url = String::new();
    BufReader::new(server.stdout.take().ok_or("the server has an output")?).read_line(&mut url)?;
    let mut client = tool.start(&counts[1], &["load", url.trim(), name, &rounds.to_string()], Stdio::inherit())?;
    let ends = [client.wait()?, server.wait()?];
    if !ends.iter().all(std::process::ExitStatus::success) {
        return Err(format!("{tool:?}, {name}: client and server ended with {ends:?}").into());
    }
    Ok(Sides { server: tool.read(&counts[0])?, client: tool.read(&counts[1])? })
}

impl Tool {
    fn start(self, counts: &Path, arguments: &[&str], output: Stdio) -> Result<Child> {
        let mut command = match self {
            Self::Callgrind => {
                let mut command = Command::new("valgrind");
                let file = format!("--callgrind-out-file={}", counts.display());
                command.args(["--quiet", "--tool=callgrind", &file]);
                command
            }
            Self::Strace => {
                let mut command = Command::new("strace");
                command.args(["-f", "-c", "-o"]).arg(counts);
                command
            }
        };
        Ok(command.arg(env::current_exe()?).args(arguments).stdout(output).spawn()?)
    }

    /// What the tool has counted.
    fn read(self, counts: &Path) -> Result<f64> {
        let counts = fs::read_to_string(counts)?;
        match self {
            Self::Callgrind => {
                let total = counts.lines().find_map(|line| line.strip_prefix("totals: "));
                Ok(total.ok_or("callgrind gives no total")?.trim().parse()?)
            }
            // A line a system call: its share, seconds, microseconds each, calls, perhaps errors, and its name.
            Self::Strace => {
                let lines = counts.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
                let calls = lines.filter(|line| line.len() >= 5 && line.last() != Some(&"total"));
                Ok(calls.filter_map(|line| line[3].parse::<f64>().ok()).sum())
            }
        }
    }
}
