//! The command `bench wire`. It counts the bytes of a call, of an emit and of a message to a room
//! on the wire.
//!
//! The client connects to its server through a proxy. The proxy counts the bytes.

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
    control::{self, Control, Pace},
    counter::{Member, Room},
    payload::Order,
    subject::Subject,
    subjects::{ALL, with_subject},
    workloads::Workload,
};

/// The number of repetitions. The number is large, so that costs of the start, such as the headers
/// of a stream, become negligible.
const REPETITIONS: u64 = 1_000;
const MESSAGE: usize = 128;
const TIMEOUT: Duration = Duration::from_mins(1);

/// Prints the results as a Markdown table.
pub fn run(names: &[String]) -> Result<()> {
    println!("| bytes | request | reply | emit | message of {MESSAGE} bytes to a member |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    for entry in ALL.iter().filter(|entry| names.is_empty() || names.iter().any(|name| name == entry.name)) {
        let name = entry.name.to_owned();
        if (entry.supports)(Workload::Latency) {
            with_subject!(&name, C => Flavour::default().run(count_with_timeout::<C>()))?;
        }
    }
    Ok(())
}

async fn count_with_timeout<C: Subject>() -> Result<()> {
    timeout(TIMEOUT, count::<C>()).await.context(C::NAME)?.context(C::NAME)
}

async fn count<C: Subject>() -> Result<()> {
    let (_server, addresses) = Server::start(C::NAME)?;
    let (proxy, traffic) = Traffic::proxy(addresses.address).await?;
    let mut control = Control::connect(addresses.control).await?;
    let room = Room::new(1, 0);
    let client = C::connect(proxy, Member::new(&room)).await?;
    for id in 0..REPETITIONS / 10 {
        C::echo(&client, Order::new(id)).await?;
    }

    let before = traffic.counts();
    for id in 0..REPETITIONS {
        C::echo(&client, Order::new(id)).await?;
    }
    let [request, reply] = bytes_each(before, traffic.counts());

    let mut emit = None;
    if C::supports(Workload::Emit) {
        let before = traffic.counts();
        C::emit(&client, REPETITIONS).await?;
        control.execute(&control::Command::Emits(REPETITIONS)).await?;
        emit = Some(bytes_each(before, traffic.counts())[0]);
    }

    let mut message = None;
    if C::supports(Workload::FixedRate) {
        C::join(&client).await?;
        room.expect(REPETITIONS);
        let before = traffic.counts();
        control
            .execute(&control::Command::Broadcast { messages: REPETITIONS, size: MESSAGE, pace: Pace::Steady })
            .await?;
        room.complete(1).await;
        message = Some(bytes_each(before, traffic.counts())[1]);
    }

    let cell = |bytes: Option<f64>| bytes.map_or_else(|| "–".into(), |bytes| format!("{bytes:.1}"));
    println!("| {} | {request:.1} | {reply:.1} | {} | {} |", C::NAME, cell(emit), cell(message));
    Ok(())
}

fn bytes_each(before: [u64; 2], after: [u64; 2]) -> [f64; 2] {
    [0, 1].map(|direction| (after[direction] - before[direction]) as f64 / REPETITIONS as f64)
}

/// The number of bytes that clients have sent, and the number of bytes that clients have received.
#[derive(Default)]
struct Traffic([AtomicU64; 2]);

impl Traffic {
    /// Starts a proxy that relays connections to `server`.
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
                tokio::spawn(Arc::clone(&counted).copy(0, from_client, to_server));
                tokio::spawn(Arc::clone(&counted).copy(1, from_server, to_client));
            }
            anyhow::Ok(())
        });
        Ok((address, traffic))
    }

    /// Copies the bytes of one direction. The proxy counts bytes before it writes them, so that it
    /// has already counted all bytes that a peer has received.
    async fn copy(
        self: Arc<Self>,
        direction: usize,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> Result<()> {
        let mut bytes = vec![0; 64 << 10];
        loop {
            let read = from.read(&mut bytes).await?;
            if read == 0 {
                return Ok(to.shutdown().await?);
            }
            self.0[direction].fetch_add(read as u64, Ordering::SeqCst);
            to.write_all(&bytes[..read]).await?;
        }
    }

    fn counts(&self) -> [u64; 2] {
        [0, 1].map(|direction| self.0[direction].load(Ordering::SeqCst))
    }
}

/// The process of a server. Dropping the value kills the process.
struct Server(Child);

impl Server {
    fn start(subject: &str) -> Result<(Self, Addresses)> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["server", subject]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut server = Self(command.spawn()?);
        let mut line = String::new();
        BufReader::new(server.0.stdout.take().context("the server's output is not captured")?).read_line(&mut line)?;
        Ok((server, serde_json::from_str(&line).context("the server did not print its addresses")?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may already have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
