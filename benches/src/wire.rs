//! `bench wire`: how many bytes a call, an emit and a message to a room are on the wire. Counted, not timed: the client
//! talks to its server through a proxy.

use std::{
    env,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{
    Addresses, Flavour,
    contestant::Contestant,
    contestants::{ALL, with_contestant},
    control::{self, Control, Pace},
    counter::{Member, Room},
    payload::Order,
    workloads::Workload,
};

/// What comes once, such as a stream's headers, hardly counts.
const TIMES: u64 = 1_000;
const MESSAGE: usize = 128;
const PATIENCE: Duration = Duration::from_mins(1);

/// Prints a table in Markdown.
pub fn run(names: &[String]) -> Result<()> {
    println!("| bytes | request | reply | emit | message of {MESSAGE} bytes to a member |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for entry in ALL.iter().filter(|entry| names.is_empty() || names.iter().any(|name| name == entry.name)) {
        let name = entry.name.to_owned();
        if (entry.does)(Workload::Latency) {
            with_contestant!(&name, C => Flavour::default().run(count_in_time::<C>()))?;
        }
    }
    Ok(())
}

async fn count_in_time<C: Contestant>() -> Result<()> {
    timeout(PATIENCE, count::<C>()).await.context(C::NAME)?.context(C::NAME)
}

async fn count<C: Contestant>() -> Result<()> {
    let (_server, addresses) = Server::start(C::NAME)?;
    let (proxy, traffic) = Traffic::proxy(addresses.address).await?;
    let mut control = Control::connect(addresses.control).await?;
    let room = Room::new(1, 0);
    let client = C::connect(proxy, Member::new(&room)).await?;
    for id in 0..TIMES / 10 {
        C::echo(&client, Order::new(id)).await?;
    }

    let before = traffic.so_far();
    for id in 0..TIMES {
        C::echo(&client, Order::new(id)).await?;
    }
    let [request, reply] = each(before, traffic.so_far());

    let mut emit = None;
    if C::does(Workload::Emit) {
        let before = traffic.so_far();
        C::emit(&client, TIMES).await?;
        control.order(&control::Command::Emits(TIMES)).await?;
        emit = Some(each(before, traffic.so_far())[0]);
    }

    let mut message = None;
    if C::does(Workload::Paced) {
        C::join(&client).await?;
        room.expect(TIMES);
        let before = traffic.so_far();
        control.order(&control::Command::Broadcast { messages: TIMES, size: MESSAGE, pace: Pace::Steady }).await?;
        room.complete(1).await;
        message = Some(each(before, traffic.so_far())[1]);
    }

    let cell = |bytes: Option<f64>| bytes.map_or_else(|| "–".into(), |bytes| format!("{bytes:.1}"));
    println!("| {} | {request:.1} | {reply:.1} | {} | {} |", C::NAME, cell(emit), cell(message));
    Ok(())
}

fn each(before: [u64; 2], after: [u64; 2]) -> [f64; 2] {
    [0, 1].map(|way| (after[way] - before[way]) as f64 / TIMES as f64)
}

/// The bytes from clients, and those to them.
#[derive(Default)]
struct Traffic([AtomicU64; 2]);

impl Traffic {
    /// Passes connections on to `server`.
    async fn proxy(server: SocketAddr) -> Result<(SocketAddr, Arc<Self>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let traffic = Arc::new(Self::default());
        let counted = Arc::clone(&traffic);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(server).await?;
                client.set_nodelay(true)?;
                server.set_nodelay(true)?;
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                tokio::spawn(Arc::clone(&counted).pass(0, from_client, to_server));
                tokio::spawn(Arc::clone(&counted).pass(1, from_server, to_client));
            }
            anyhow::Ok(())
        });
        Ok((address, traffic))
    }

    /// Counts before it passes on: what has arrived has been counted.
    async fn pass(
        self: Arc<Self>,
        way: usize,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> Result<()> {
        let mut bytes = vec![0; 64 << 10];
        loop {
            let read = from.read(&mut bytes).await?;
            if read == 0 {
                return Ok(to.shutdown().await?);
            }
            self.0[way].fetch_add(read as u64, Ordering::SeqCst);
            to.write_all(&bytes[..read]).await?;
        }
    }

    fn so_far(&self) -> [u64; 2] {
        [0, 1].map(|way| self.0[way].load(Ordering::SeqCst))
    }
}

/// A server's process, killed when it is dropped.
struct Server(Child);

impl Server {
    fn start(contestant: &str) -> Result<(Self, Addresses)> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["server", contestant]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut server = Self(command.spawn()?);
        let mut line = String::new();
        BufReader::new(server.0.stdout.take().context("the server has no output")?).read_line(&mut line)?;
        Ok((server, serde_json::from_str(&line).context("the server has not started")?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
