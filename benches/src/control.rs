//! How a client's process tells the server's process what to do: a connection of its own beside what is measured, one
//! line of JSON for each order and one for its completion. The same for contestants in other languages.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    contestant::Contestant,
    counter::Counter,
    payload::{News, Order},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Wait until so many emits have been handled since the server began.
    Emits(u64),
    Broadcast {
        messages: u64,
        size: usize,
        pace: Pace,
    },
    /// So many questions, one after another.
    Ask(u64),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// The emitter yields after each message.
    Steady,
    /// It does not.
    Burst,
    /// So many a second.
    PerSecond(u32),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Done,
    Replies { replies: u64, seconds: f64 },
    Failed(String),
}

/// The client's end.
pub struct Control(BufReader<TcpStream>);

impl Control {
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    pub async fn order(&mut self, command: &Command) -> Result<Outcome> {
        let line = serde_json::to_string(command)? + "\n";
        self.0.get_mut().write_all(line.as_bytes()).await?;
        let mut answer = String::new();
        self.0.read_line(&mut answer).await?;
        match serde_json::from_str(&answer).context("the server's answer")? {
            Outcome::Failed(reason) => bail!("the server: {reason}"),
            outcome => Ok(outcome),
        }
    }
}

/// The server's end: obeys for ever.
pub async fn obey<C: Contestant>(listener: TcpListener, server: Arc<C::Server>, emits: Arc<Counter>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (server, emits) = (Arc::clone(&server), Arc::clone(&emits));
        tokio::spawn(async move {
            let (read, mut write) = stream.into_split();
            let mut lines = BufReader::new(read).lines();
            while let Some(line) = lines.next_line().await? {
                let outcome = match carry_out::<C>(&server, &emits, serde_json::from_str(&line)?).await {
                    Ok(outcome) => outcome,
                    Err(error) => Outcome::Failed(format!("{error:#}")),
                };
                write.write_all((serde_json::to_string(&outcome)? + "\n").as_bytes()).await?;
            }
            anyhow::Ok(())
        });
    }
}

async fn carry_out<C: Contestant>(server: &C::Server, emits: &Counter, command: Command) -> Result<Outcome> {
    match command {
        Command::Emits(number) => {
            emits.reached(number).await;
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
        Command::Ask(questions) => {
            let (started, mut replies) = (Instant::now(), 0);
            for id in 0..questions {
                replies += C::ask(server, Order::new(id)).await? as u64;
            }
            Ok(Outcome::Replies { replies, seconds: started.elapsed().as_secs_f64() })
        }
    }
}
