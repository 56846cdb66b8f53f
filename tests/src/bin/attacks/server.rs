//! The server under attack, in a separate process.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, stdin},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use sockets::Server;
use tokio::{runtime::Builder, time::sleep};

const WORKERS: usize = 2;

/// A value that takes 32 bytes in memory. Each of its variants takes a single byte on the wire.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Wide {
    Empty,
    Full(u64, u64, u64),
}

/// The methods that clients and attackers call.
#[sockets::group("Attacked")]
pub(crate) trait Attacked {
    async fn echo(&self, text: &str) -> String;
    /// Never returns.
    async fn wait(&self);
    /// Keeps its argument, and never returns.
    async fn hold(&self, text: String);
    /// Blocks its thread for this number of milliseconds.
    async fn work(&self, millis: u32);
    /// Returns a text of this length after a pause.
    async fn late(&self, millis: u32, bytes: u32) -> String;
    /// Keeps its argument for this number of milliseconds.
    async fn decode(&self, values: Vec<Wide>, millis: u32);
    #[emit]
    async fn note(&self, number: u32);
    /// Returns the time in milliseconds for which `work` has blocked threads.
    async fn worked(&self) -> u64;
}

#[derive(Default)]
struct Handler {
    worked: AtomicU64,
}

impl Attacked for Handler {
    async fn echo(&self, text: &str) -> String {
        text.to_owned()
    }

    async fn wait(&self) {
        std::future::pending::<()>().await;
    }

    async fn hold(&self, text: String) {
        std::future::pending::<()>().await;
        drop(text);
    }

    async fn work(&self, millis: u32) {
        let until = Instant::now() + Duration::from_millis(millis.into());
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        self.worked.fetch_add(millis.into(), Ordering::Relaxed);
    }

    async fn late(&self, millis: u32, bytes: u32) -> String {
        sleep(Duration::from_millis(millis.into())).await;
        "x".repeat(bytes as usize)
    }

    async fn decode(&self, values: Vec<Wide>, millis: u32) {
        sleep(Duration::from_millis(millis.into())).await;
        drop(values);
    }

    async fn note(&self, _number: u32) {}

    async fn worked(&self) -> u64 {
        self.worked.load(Ordering::Relaxed)
    }
}

/// Serves until the standard input ends.
pub(crate) fn run(scheme: &str) {
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().unwrap();
    let builder = Server::builder().serve(AttackedServer::new(Handler::default()));
    let server = runtime.block_on(builder.bind(&format!("{scheme}://127.0.0.1:0"))).unwrap();
    println!("{}", server.local_addr());
    stdin().read_to_end(&mut Vec::new()).unwrap();
    // The exit ends the process, although the server still has the detached sessions of attackers.
    std::process::exit(0);
}

/// The process of the server. It ends when this value is dropped.
pub(crate) struct Running {
    process: Child,
    pub(crate) scheme: &'static str,
    pub(crate) address: SocketAddr,
}

impl Running {
    pub(crate) fn start(scheme: &'static str) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        let mut process =
            command.args(["server", scheme]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, scheme, address: line.trim().parse().unwrap() }
    }

    /// Returns the resident memory in KiB, and resets the peak.
    pub(crate) fn memory(&self) -> u64 {
        // If this write fails, the peak counts from the start of the process.
        let _ = fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5");
        self.status("VmRSS:")
    }

    /// Returns the highest resident memory in KiB since the last call of [`memory`](Self::memory).
    pub(crate) fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
