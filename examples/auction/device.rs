//! A client that reports its events.

use std::sync::atomic::{AtomicU32, Ordering};

use sockets::{Client, ClientState, ConnectError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::contract::{AuctionClient, Bidder, BidderServer};

/// Reports the messages of the server.
struct Screen {
    price: AtomicU32,
    /// A send fails only after the device was dropped.
    messages: UnboundedSender<String>,
}

impl Bidder for Screen {
    async fn price(&self, lot: &str, price: u32, leader: Option<&str>) {
        if self.price.swap(price, Ordering::Relaxed) != price {
            let leader = leader.unwrap_or("nobody");
            let _ = self.messages.send(format!("the {lot} is at {price}, leading: {leader}"));
        }
    }

    async fn sold(&self, lot: &str) {
        let _ = self.messages.send(format!("the {lot} is sold"));
    }

    async fn won(&self, lot: &str, price: u32) {
        let _ = self.messages.send(format!("you have bought the {lot} for {price}"));
    }
}

pub struct Device {
    pub name: String,
    pub client: Client,
    /// The messages of the server. Their order with the states of the connection is not defined.
    pub messages: UnboundedReceiver<String>,
    pub states: UnboundedReceiver<String>,
}

impl Device {
    /// Connects a device that watches a lot.
    pub async fn connect(user: &'static str, kind: &str, lot: &'static str, url: &str) -> Result<Self, ConnectError> {
        let name = format!("{user}'s {kind}");
        let (sender, messages) = unbounded_channel();
        let client = Client::builder()
            .auth((user, ""))
            .serve(BidderServer::new(Screen { price: AtomicU32::new(0), messages: sender }))
            // A server does not know the rooms of the former server, so each session joins again.
            .each_session(move |peer, _| async move {
                if let Err(error) = AuctionClient::new(&peer).watch(lot).await {
                    eprintln!("the {lot} cannot be watched: {error}");
                }
            })
            .connect(url)
            .await?;
        let (sender, states) = unbounded_channel();
        let mut changes = client.states();
        tokio::spawn(async move {
            let mut was_connected = true;
            while let Some(state) = changes.next().await {
                let is_connected = matches!(state, ClientState::Connected { .. });
                let line = match state {
                    ClientState::Connected { session, resumed: false, .. } => format!("connected, session {session}"),
                    ClientState::Reconnecting { reason: Some(reason), .. } if was_connected => reason.to_string(),
                    ClientState::Ended(reason) => reason.to_string(),
                    // The client makes another attempt to reconnect.
                    _ => continue,
                };
                was_connected = is_connected;
                let _ = sender.send(line);
            }
        });
        Ok(Self { name, client, messages, states })
    }
}
