//! The control protocol, by which a client's process sends commands to its server's process.
//!
//! The commands use a separate connection, which the benchmark does not measure. Each command and
//! each outcome is a line of JSON, so that subjects in other languages can use the protocol, too.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    counter::Counter,
    payload::{News, Order},
    subject::Subject,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Waits until the server has handled this number of emits in total since its start.
    Emits(u64),
    Broadcast {
        messages: u64,
        size: usize,
        pace: Pace,
    },
    /// Sends this number of sequential broadcast requests.
    BroadcastRequests(u64),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// The emitter yields after each message.
    Steady,
    /// The emitter does not yield.
    Burst,
    /// The emitter sends this number of messages each second.
    PerSecond(u32),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Done,
    Replies { replies: u64, seconds: f64 },
    Failed(String),
}

/// The client of the control connection.
pub struct Control(BufReader<TcpStream>);

impl Control {
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    pub async fn execute(&mut self, command: &Command) -> Result<Outcome> {
        let line = serde_json::to_string(command)? + "\n";
        self.0.get_mut().write_all(line.as_bytes()).await?;
        let mut outcome = String::new();
        self.0.read_line(&mut outcome).await?;
        match serde_json::from_str(&outcome).context("invalid outcome")? {
            Outcome::Failed(reason) => bail!("the server failed: {reason}"),
            outcome => Ok(outcome),
        }
    }
}

/// Executes the commands of clients. The function never returns without an error.
pub async fn serve<C: Subject>(listener: TcpListener, server: Arc<C::Server>, emits: Arc<Counter>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (server, emits) = (Arc::clone(&server), Arc::clone(&emits));
        tokio::spawn(async move {
            let (read, mut write) = stream.into_split();
            let mut lines = BufReader::new(read).lines();
            while let Some(line) = lines.next_line().await? {
                let outcome = match execute::<C>(&server, &emits, serde_json::from_str(&line)?).await {
                    Ok(outcome) => outcome,
                    Err(error) => Outcome::Failed(format!("{error:#}")),
                };
                write.write_all((serde_json::to_string(&outcome)? + "\n").as_bytes()).await?;
            }
            anyhow::Ok(())
        });
    }
}

async fn execute<C: Subject>(server: &C::Server, emits: &Counter, command: Command) -> Result<Outcome> {
    match command {
        Command::Emits(number) => {
            emits.wait_for(number).await;
            Ok(Outcome::Done)
        }
        Command::Broadcast { messages, size, pace } => {
            let mut ticks = match pace {
                Pace::PerSecond(number) => Some(interval(Duration::from_secs(1) / number)),
                Pace::Steady | Pace::Burst => None,
            };
            if let Some(ticks) = &mut ticks {
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            }
            for _ in 0..messages {
                if let Some(ticks) = &mut ticks {
                    ticks.tick().await;
                }
                C::broadcast(server, News::new(size)).await?;
                if matches!(pace, Pace::Steady) {
                    tokio::task::yield_now().await;
                }
            }
            Ok(Outcome::Done)
        }
        Command::BroadcastRequests(requests) => {
            let (started, mut replies) = (Instant::now(), 0);
            for id in 0..requests {
                replies += C::broadcast_request(server, Order::new(id)).await? as u64;
            }
            Ok(Outcome::Replies { replies, seconds: started.elapsed().as_secs_f64() })
        }
    }
}
