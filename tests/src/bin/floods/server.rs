//! The server, in a process of its own.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use sockets::Server;
use tokio::runtime::Builder;

/// What it serves, to clients and flooders.
#[sockets::group("Bad")]
pub(crate) trait Bad {
    async fn echo(&self, text: &str) -> String;
    async fn wait(&self);
    #[emit]
    async fn note(&self, number: u32);
}

struct Handler;

impl Bad for Handler {
    async fn echo(&self, text: &str) -> String {
        text.to_owned()
    }

    async fn wait(&self) {
        std::future::pending::<()>().await;
    }

    async fn note(&self, _number: u32) {}
}

/// Serves until its standard input ends.
pub(crate) fn run(workers: usize) {
    let runtime = Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap();
    let server = runtime.block_on(Server::builder().serve(BadServer::new(Handler)).bind("tcp://127.0.0.1:0")).unwrap();
    println!("{}", server.local_addr());
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).unwrap();
}

/// The process, which ends when this is dropped.
pub(crate) struct Running {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Running {
    pub(crate) fn start(workers: usize) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["server", &workers.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, address: line.trim().parse().unwrap() }
    }

    /// How many KiB it has now; from here on the peak is measured.
    pub(crate) fn memory(&self) -> u64 {
        // A system without this tells the peak since the start.
        let _ = fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5");
        self.status("VmRSS:")
    }

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
