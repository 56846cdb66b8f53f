//! The subject `queue`, which is the usual design of rooms. Each member has a bounded queue of
//! shared bytes and a task. When the task is woken, it writes the whole content of the queue in a
//! single write.

use std::{future::poll_fn, net::SocketAddr, sync::Arc};

use anyhow::{Result, bail};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    sync::mpsc,
};

use super::{
    batches::Batches,
    broadcast_requests::BroadcastRequests,
    frame::{Frame, Kind, put_frame},
    incoming::Incoming,
};
use crate::{
    counter::{Counter, Member},
    payload::{News, Order},
    subject::Subject,
    workloads::Workload,
};

/// The capacity of a member's queue, in frames.
const QUEUE: usize = 2 << 10;

pub struct Queue;

type Sender = mpsc::Sender<Bytes>;

#[derive(Default)]
pub struct Server {
    members: Mutex<Vec<Sender>>,
    requests: BroadcastRequests,
}

impl Server {
    /// Sends a frame to all members. Removes the members that have disconnected or have a full
    /// queue.
    fn send(&self, frame: &Bytes) {
        self.members.lock().retain(|member| member.try_send(frame.clone()).is_ok());
    }

    fn handle(&self, frame: &Frame<'_>, sender: &Sender) -> Result<()> {
        let mut reply = Vec::new();
        match frame.kind {
            Kind::Echo => put_frame(&mut reply, Kind::Reply, frame.id, &frame.decode::<Order>()?)?,
            Kind::Join => {
                self.members.lock().push(sender.clone());
                put_frame(&mut reply, Kind::Reply, frame.id, &())?;
            }
            Kind::RoomReply => return self.requests.add_reply(frame.id, frame.decode()?),
            other => bail!("unexpected {other:?} from a client"),
        }
        Ok(sender.try_send(reply.into())?)
    }
}

async fn connection(stream: TcpStream, server: Arc<Server>) -> Result<()> {
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    let (sender, queue) = mpsc::channel(QUEUE);
    tokio::spawn(write_queue(queue, write));
    let mut incoming = Incoming::new(read);
    while poll_fn(|cx| incoming.poll_frames(cx, |received| server.handle(&received.expect_small()?, &sender))).await? {}
    Ok(())
}

async fn write_queue(mut queue: mpsc::Receiver<Bytes>, mut write: OwnedWriteHalf) -> Result<()> {
    let mut batch = Vec::new();
    while let Some(first) = queue.recv().await {
        batch.extend_from_slice(&first);
        while let Ok(next) = queue.try_recv() {
            batch.extend_from_slice(&next);
        }
        write.write_all(&batch).await?;
        batch.clear();
    }
    Ok(())
}

impl Subject for Queue {
    const NAME: &'static str = "queue";
    type Client = Arc<Batches>;
    type Server = Arc<Server>;

    fn supports(workload: Workload) -> bool {
        use Workload::{BroadcastBurst, BroadcastRequest, BroadcastSteady, FixedRate};
        matches!(workload, BroadcastSteady | BroadcastBurst | FixedRate | BroadcastRequest)
    }

    async fn serve(_: Arc<Counter>) -> Result<(SocketAddr, Arc<Server>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = Arc::<Server>::default();
        let accepting = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, Arc::clone(&accepting)));
            }
        });
        Ok((address, server))
    }

    async fn broadcast(server: &Arc<Server>, news: News) -> Result<()> {
        let mut frame = Vec::with_capacity(256);
        put_frame(&mut frame, Kind::News, 0, &news)?;
        server.send(&frame.into());
        Ok(())
    }

    async fn broadcast_request(server: &Arc<Server>, order: Order) -> Result<usize> {
        let send = async |id| {
            let mut frame = Vec::with_capacity(64);
            put_frame(&mut frame, Kind::RoomRequest, id, &order)?;
            server.send(&frame.into());
            Ok(())
        };
        let members = server.members.lock().len();
        Ok(server.requests.request(members, send).await?.len())
    }

    async fn connect(address: SocketAddr, member: Arc<Member>) -> Result<Arc<Batches>> {
        Batches::connect(address, member).await
    }

    async fn echo(client: &Arc<Batches>, order: Order) -> Result<Order> {
        client.echo(order).await
    }

    async fn join(client: &Arc<Batches>) -> Result<()> {
        client.join().await
    }
}
