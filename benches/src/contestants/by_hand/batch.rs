//! `loop`: the limit. The client sends whole batches: one write, and then reads all replies.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

use super::{
    connection,
    frame::{Kind, OrderRef, put_frame, take_frame},
};
use crate::{
    contestant::{Contestant, Stop},
    counter::{Counter, Member},
    payload::Order,
    workloads::Workload,
};

pub struct Loop;

pub struct Batches {
    stream: TcpStream,
    out: Vec<u8>,
    received: Vec<u8>,
}

impl Batches {
    /// Sends what has been encoded, and has `reply` handle so many replies.
    async fn exchange(&mut self, count: usize, mut reply: impl FnMut(u32, OrderRef<'_>) -> Result<()>) -> Result<()> {
        self.stream.write_all(&self.out).await?;
        self.out.clear();
        let mut missing = count;
        while missing > 0 {
            if self.stream.read_buf(&mut self.received).await? == 0 {
                bail!("the server has closed the connection");
            }
            let mut rest = &self.received[..];
            while let Some(frame) = take_frame(&mut rest)? {
                reply(frame.id, frame.decode()?)?;
                missing -= 1;
            }
            let handled = self.received.len() - rest.len();
            self.received.drain(..handled);
        }
        Ok(())
    }
}

impl Contestant for Loop {
    const NAME: &'static str = "loop";
    type Client = Arc<Mutex<Batches>>;
    type Server = ();

    fn does(workload: Workload) -> bool {
        !matches!(
            workload,
            Workload::BroadcastSteady | Workload::BroadcastBurst | Workload::Paced | Workload::Ask | Workload::Large
        )
    }

    async fn serve(emits: Arc<Counter>) -> Result<(SocketAddr, ())> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true)?;
                tokio::spawn(connection::serve(stream, Arc::clone(&emits)));
            }
            anyhow::Ok(())
        });
        Ok((address, ()))
    }

    async fn connect(address: SocketAddr, _: Arc<Member>) -> Result<Self::Client> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Arc::new(Mutex::new(Batches { stream, out: Vec::new(), received: Vec::new() })))
    }

    async fn echo(client: &Self::Client, order: Order) -> Result<Order> {
        let mut client = client.lock().await;
        put_frame(&mut client.out, Kind::Echo, 0, &order)?;
        let mut reply = None;
        client
            .exchange(1, |_, order| {
                let item = order.item.to_owned();
                reply = Some(Order { id: order.id, item, count: order.count, price: order.price });
                Ok(())
            })
            .await?;
        reply.ok_or_else(|| anyhow::anyhow!("no reply"))
    }

    async fn pipeline(client: Self::Client, depth: usize, stop: Stop) -> Result<u64> {
        let mut client = client.lock().await;
        let mut calls = 0;
        while !stop.is_set() {
            for lane in 0..depth {
                let order = OrderRef { id: calls + lane as u64, item: "broadsword", count: 3, price: 12.5 };
                put_frame(&mut client.out, Kind::Echo, u32::try_from(lane)?, &order)?;
            }
            client
                .exchange(depth, |lane, order| {
                    if order.id == calls + u64::from(lane) { Ok(()) } else { bail!("the reply to another call") }
                })
                .await?;
            calls += depth as u64;
        }
        Ok(calls)
    }

    async fn emit(client: &Self::Client, emits: u64) -> Result<()> {
        let mut client = client.lock().await;
        let Batches { stream, out, .. } = &mut *client;
        for id in 0..emits {
            put_frame(out, Kind::Emit, 0, &OrderRef { id, item: "broadsword", count: 3, price: 12.5 })?;
            if out.len() > 32 << 10 || id + 1 == emits {
                stream.write_all(out).await?;
                out.clear();
            }
        }
        Ok(())
    }
}
