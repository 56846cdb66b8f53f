//! What is counted: the loads that a client puts on a server.

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

/// What is said to a room.
pub(crate) const MESSAGE: &str = "a message of a hundred and twenty-eight bytes of text, as long as those that the \
    bench has said in a room of a thousand clients.";
const _: () = assert!(MESSAGE.len() == 128);

/// What a client does, in rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Two requests by each of so many tasks at once.
    Calls {
        /// How many.
        in_flight: u32,
    },
    /// Sixteen emits in a row.
    Emits,
    /// Messages to a room, said together; the next are said when all members have heard these.
    Room {
        /// How many are in it.
        members: u32,
        /// How many are said together.
        messages: u32,
    },
}

/// Emits in a round, which ends with a request.
const EMITS: u32 = 16;

impl Load {
    /// How many calls, emits or deliveries a round is.
    pub fn size(self) -> u32 {
        match self {
            Self::Calls { in_flight } => 2 * in_flight,
            Self::Emits => EMITS,
            Self::Room { members, messages } => members * messages,
        }
    }
}

/// A client that is ready for its load.
pub struct Loader {
    load: Load,
    client: Client,
    members: Vec<Client>,
    heard: Arc<Heard>,
}

impl Loader {
    /// Connects.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub async fn connect(url: &str, load: Load) -> Self {
        let client = builder().connect(url).await.expect("the server is there");
        let mut loader = Self { load, client, members: Vec::new(), heard: Arc::default() };
        let Load::Room { members, .. } = load else { return loader };
        for _ in 0..members {
            let ears = RoomServer::from_arc(Arc::clone(&loader.heard));
            let member = builder().serve(ears).connect(url).await.expect("the server is there");
            ControlClient::new(&member).join().await.expect("the server lets members in");
            loader.members.push(member);
        }
        loader
    }

    /// Runs so many rounds.
    ///
    /// # Panics
    ///
    /// If a call fails.
    pub async fn run(&self, rounds: u32) {
        match self.load {
            Load::Calls { in_flight } => {
                // Also a lone one in a task of its own: tokio asks the system once more for each wake of the first future.
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
            self.heard.missing.store(members * messages, Ordering::Relaxed);
            control.say(messages).await.expect("the server says it");
            self.heard.all.notified().await;
        }
    }

    /// Ends the server.
    ///
    /// # Panics
    ///
    /// If it has ended before.
    pub async fn stop_server(&self) {
        let mut states = self.client.states();
        ControlClient::new(&self.client).stop().await.expect("the server is there");
        // It is gone, or has said goodbye; this client would wait for its return.
        states.next().await;
    }
}

/// A client whose session outlives its connection, unless `WITHOUT_RESUMPTION` is set: to see what that costs.
fn builder() -> ClientBuilder {
    let builder = Client::builder();
    if env::var_os("WITHOUT_RESUMPTION").is_some() { builder.reconnect(Reconnect::never()) } else { builder }
}

/// Two methods of different sizes in turn, with borrowed arguments; one is served for all, one for this socket.
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
            shop.viewed("sword").await.expect("it is sent");
        }
        shop.price("sword").await.expect("a price");
    }
}

/// How many messages are still to be heard.
#[derive(Default)]
struct Heard {
    missing: AtomicU32,
    all: Notify,
}

impl Room for Heard {
    async fn message(&self, text: &str) {
        assert_eq!(text.len(), MESSAGE.len());
        if self.missing.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.all.notify_one();
        }
    }
}
