//! Runs the server and the client under a tool that counts.

use std::{
    env, fs, io,
    path::Path,
    process::{Child, Command, Stdio, id},
};

use sockets_counts::{PerPeer, Scenario};

use crate::Result;

/// The settings of the C library for every run. With them, the C library uses the same string
/// functions and the same strategy for large copies on every processor.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX_Fast_Unaligned_Load,-BMI2,-ERMS,-FSRM,\
    -SSE4_2,-SSSE3:glibc.cpu.x86_non_temporal_threshold=0xc0000";

/// A tool that counts instructions or system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Counts instructions.
    Callgrind,
    /// Counts system calls.
    Strace,
}

/// Returns the cost of a call, emit or delivery.
///
/// The cost is the difference between two runs of different length, so that the costs of the start,
/// the connection and the end cancel out.
pub(crate) fn count(tool: Tool, scenario: &Scenario) -> Result<PerPeer> {
    let fewer = run(tool, scenario.name, scenario.rounds)?;
    let more = run(tool, scenario.name, 2 * scenario.rounds)?;
    let units = f64::from(scenario.units());
    Ok(PerPeer { server: (more.server - fewer.server) / units, client: (more.client - fewer.client) / units })
}

/// Runs the server and the client, and returns the totals of both. The files of the tool remain in
/// the directory of the program.
fn run(tool: Tool, name: &str, rounds: u32) -> Result<PerPeer> {
    let program = env::current_exe()?;
    let counts =
        ["server", "client"].map(|role| program.with_extension(format!("{}.{role}.{tool:?}", name.replace(' ', "-"))));
    // The processes use a Unix socket, because it delivers the bytes immediately. Over loopback
    // TCP, a softirq would deliver the bytes, and the kernel postpones softirqs under load. The
    // length of the path is constant, since the length affects memory addresses.
    let socket = env::temp_dir().join(format!("sockets-counts-{:010}", id()));
    let url = format!("unix://{}", socket.display());
    let (server_input, client_output) = io::pipe()?;
    let (client_input, server_output) = io::pipe()?;
    let mut server = tool.start(&counts[0], &["serve", &url], server_input.into(), server_output.into())?;
    let load = ["load", &url, name, &rounds.to_string()];
    let mut client = tool.start(&counts[1], &load, client_input.into(), client_output.into())?;
    let ended = client.wait()?;
    if !ended.success() {
        // The server may still run, because the failed client may not have stopped it.
        server.kill()?;
    }
    let ends = [ended, server.wait()?];
    if !ends.iter().all(std::process::ExitStatus::success) {
        return Err(format!("{tool:?}, {name}: client and server ended with {ends:?}").into());
    }
    Ok(PerPeer { server: tool.read(&counts[0])?, client: tool.read(&counts[1])? })
}

impl Tool {
    /// Starts this program under the tool. Client and server run alternately, synchronized by
    /// pipes, and the tool does not count the cost of this synchronization.
    fn start(self, counts: &Path, arguments: &[&str], input: Stdio, output: Stdio) -> Result<Child> {
        let mut command = match self {
            Self::Callgrind => {
                let mut command = Command::new("valgrind");
                let file = format!("--callgrind-out-file={}", counts.display());
                command.args(["--quiet", "--tool=callgrind", &file]);
                command.args(["--toggle-collect=*lockstep::yield_to_peer*", "--collect-atstart=yes"]);
                command
            }
            Self::Strace => {
                let mut command = Command::new("strace");
                // Only the pipes between client and server use these two system calls. Sockets use
                // other system calls.
                command.args(["-f", "-c", "-e", "trace=!read,write", "-o"]).arg(counts);
                command
            }
        };
        command.env("GLIBC_TUNABLES", TUNABLES).stdin(input).stdout(output);
        Ok(command.arg(env::current_exe()?).args(arguments).spawn()?)
    }

    /// Reads the total from the tool's file.
    fn read(self, counts: &Path) -> Result<f64> {
        let counts = fs::read_to_string(counts)?;
        match self {
            Self::Callgrind => {
                let total = counts.lines().find_map(|line| line.strip_prefix("totals: "));
                Ok(total.ok_or("callgrind wrote no total")?.trim().parse()?)
            }
            // The columns are the share, the seconds, the microseconds for each call, the calls,
            // the errors and the name. The column of errors is often empty.
            Self::Strace => {
                let lines = counts.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
                let calls = lines.filter(|line| line.len() >= 5 && line.last() != Some(&"total"));
                Ok(calls.filter_map(|line| line[3].parse::<f64>().ok()).sum())
            }
        }
    }
}
