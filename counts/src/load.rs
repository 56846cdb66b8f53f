//! The loads that a client puts on a server.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use sockets::{Client, ClientBuilder, Reconnect};
use tokio::{sync::Notify, task::JoinSet};

use crate::{ControlClient, Room, RoomServer, ShopClient, TillClient};

/// The message that the server sends to a room.
pub(crate) const MESSAGE: &str = "a message of a hundred and twenty-eight bytes of text, as long as those that the \
    bench has said in a room of a thousand clients.";
const _: () = assert!(MESSAGE.len() == 128);

/// The work that a client does in each round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Concurrent tasks. Each task makes two requests.
    Calls {
        /// The number of tasks.
        in_flight: u32,
    },
    /// Sixteen consecutive emits.
    Emits,
    /// Messages to a room, which are sent together. A round ends when all members have received the
    /// messages.
    Room {
        /// The number of members.
        members: u32,
        /// The number of messages in a round.
        messages: u32,
    },
}

/// The number of emits in a round. A request follows them and ends the round.
const EMITS: u32 = 16;

impl Load {
    /// Returns the number of calls, emits or deliveries in a round.
    pub fn size(self) -> u32 {
        match self {
            Self::Calls { in_flight } => 2 * in_flight,
            Self::Emits => EMITS,
            Self::Room { members, messages } => members * messages,
        }
    }
}

/// A connected client, together with its load.
pub struct Loader {
    load: Load,
    client: Client,
    members: Vec<Client>,
    received: Arc<Received>,
}

impl Loader {
    /// Connects the client. If the load is a room, also connects the members of the room.
    ///
    /// # Panics
    ///
    /// Panics if a client cannot connect.
    pub async fn connect(url: &str, load: Load) -> Self {
        let client = builder().connect(url).await.expect("the server is running");
        let mut loader = Self { load, client, members: Vec::new(), received: Arc::default() };
        let Load::Room { members, .. } = load else { return loader };
        for _ in 0..members {
            let room = RoomServer::from_arc(Arc::clone(&loader.received));
            let member = builder().serve(room).connect(url).await.expect("the server is running");
            ControlClient::new(&member).join().await.expect("the server adds the member");
            loader.members.push(member);
        }
        loader
    }

    /// Runs this number of rounds.
    ///
    /// # Panics
    ///
    /// Panics if a call fails.
    pub async fn run(&self, rounds: u32) {
        match self.load {
            Load::Calls { in_flight } => {
                // Even a single caller has a task of its own. If `block_on` polled the caller's
                // future directly, each wake would cost an additional system call of tokio.
                let mut callers = JoinSet::new();
                for _ in 0..in_flight {
                    let client = self.client.clone();
                    callers.spawn(async move { call(&client, rounds).await });
                }
                callers.join_all().await;
            }
            Load::Emits => emit(&self.client, rounds).await,
            Load::Room { members, messages } => self.broadcast(rounds, members, messages).await,
        }
    }

    async fn broadcast(&self, rounds: u32, members: u32, messages: u32) {
        let control = ControlClient::new(&self.client);
        for _ in 0..rounds {
            self.received.missing.store(members * messages, Ordering::Relaxed);
            control.broadcast(messages).await.expect("the server broadcasts");
            self.received.all.notified().await;
        }
    }

    /// Stops the server.
    ///
    /// # Panics
    ///
    /// Panics if the server has stopped before.
    pub async fn stop_server(&self) {
        let mut states = self.client.states();
        ControlClient::new(&self.client).stop().await.expect("the server is running");
        // When its connection ends, the client changes its state and tries to reconnect. So the
        // first state change shows that the server has stopped.
        states.next().await;
    }
}

/// Returns a builder of clients that can resume their sessions.
///
/// The environment variable `WITHOUT_RESUMPTION` disables resumption, so that a comparison shows
/// the cost of resumption.
fn builder() -> ClientBuilder {
    let builder = Client::builder();
    if env::var_os("WITHOUT_RESUMPTION").is_some() { builder.reconnect(Reconnect::never()) } else { builder }
}

/// Alternates between two methods of different sizes, with borrowed arguments. On the server, the
/// first method has a single handler for all sockets, whereas the second method has a handler for
/// each socket.
async fn call(client: &Client, rounds: u32) {
    let (shop, till) = (ShopClient::new(client), TillClient::new(client));
    for _ in 0..rounds {
        let price = shop.price("sword").await.expect("a price");
        assert_eq!(price, Some(10));
        let receipt = till.buy("sword", 2, [1, 2, 3, 4]).await.expect("a receipt");
        assert_eq!(receipt.time, 10);
    }
}

async fn emit(client: &Client, rounds: u32) {
    let shop = ShopClient::new(client);
    for _ in 0..rounds {
        for _ in 0..EMITS {
            shop.viewed("sword").await.expect("the emit is sent");
        }
        shop.price("sword").await.expect("a price");
    }
}

/// Counts received messages.
#[derive(Default)]
struct Received {
    missing: AtomicU32,
    all: Notify,
}

impl Room for Received {
    async fn message(&self, text: &str) {
        assert_eq!(text.len(), MESSAGE.len());
        if self.missing.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.all.notify_one();
        }
    }
}
