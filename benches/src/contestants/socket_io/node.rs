//! `socket.io`: the original server on Node, node/server.js.

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
    contestant::Contestant,
    counter::{Counter, Member},
    payload::Order,
    workloads::Workload,
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/node");

/// Whether there is Node, and `npm ci` has been run.
static INSTALLED: LazyLock<bool> = LazyLock::new(|| {
    let node =
        Command::new("node").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    let installed = node && Path::new(FOLDER).join("node_modules/socket.io").exists();
    if !installed {
        eprintln!("{} is left out: it needs node, and `npm ci` in {FOLDER}", SocketIo::NAME);
    }
    installed
});

pub struct SocketIo;

/// The client's side is that of [`Socketioxide`].
impl Contestant for SocketIo {
    const NAME: &'static str = "socket.io";
    type Client = Client;
    type Server = ();

    fn does(_: Workload) -> bool {
        *INSTALLED
    }

    /// Becomes Node, which does all the rest: the same process, so that its processor time and memory are measured.
    async fn serve(_: Arc<Counter>) -> Result<(SocketAddr, ())> {
        Err(Command::new("node").arg("server.js").current_dir(FOLDER).exec()).context("node")
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
