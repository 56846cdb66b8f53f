//! The subject `socket.io`. It is the original server on Node, and its program is node/server.js.

use std::{
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, LazyLock},
};

use anyhow::{Context, Result};
use bytes::Bytes;

use super::{client::Client, socketioxide::Socketioxide};
use crate::{
    counter::{Counter, Member},
    payload::Order,
    subject::Subject,
    workloads::Workload,
};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/node");

/// `true` if Node is installed and the packages in `node/` are installed.
static INSTALLED: LazyLock<bool> = LazyLock::new(|| {
    let node =
        Command::new("node").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    let installed = node && Path::new(DIRECTORY).join("node_modules/socket.io").exists();
    if !installed {
        eprintln!("{} is skipped: install node and run `npm ci` in {DIRECTORY}", SocketIo::NAME);
    }
    installed
});

pub struct SocketIo;

/// The subject uses the same client as [`Socketioxide`].
impl Subject for SocketIo {
    const NAME: &'static str = "socket.io";
    type Client = Client;
    type Server = ();

    fn supports(_: Workload) -> bool {
        *INSTALLED
    }

    /// Replaces this process by Node, so that the orchestrator measures the processor time and
    /// memory of Node.
    async fn serve(_: Arc<Counter>) -> Result<(SocketAddr, ())> {
        Err(Command::new("node").arg("server.js").current_dir(DIRECTORY).exec()).context("node")
    }

    async fn connect(address: SocketAddr, member: Arc<Member>) -> Result<Client> {
        Socketioxide::connect(address, member).await
    }

    async fn echo(client: &Client, order: Order) -> Result<Order> {
        Socketioxide::echo(client, order).await
    }

    async fn emit(client: &Client, emits: u64) -> Result<()> {
        Socketioxide::emit(client, emits).await
    }

    async fn join(client: &Client) -> Result<()> {
        Socketioxide::join(client).await
    }

    async fn large(client: &Client, data: Bytes) -> Result<Bytes> {
        Socketioxide::large(client, data).await
    }
}
