//! The shop: the server and its handlers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sockets::{BindError, Refusal, Server, Socket};

use crate::{
    contract::{
        LobbyClient, Login, PurchaseError, Purchases, PurchasesServer, Receipt, RefundError, Refunds, RefundsServer,
    },
    says,
};

/// The room of all customers.
pub const LOBBY: &str = "lobby";

/// The identity of a customer after authentication.
#[derive(Clone, sockets::Identity)]
pub struct Player {
    #[identity(key)]
    pub name: String,
}

/// The state that all handlers of the shop share.
pub struct Shop {
    ledger: Mutex<Ledger>,
}

struct Ledger {
    shelf: HashMap<&'static str, Item>,
    receipts: HashMap<u32, Receipt>,
    sold: u32,
}

struct Item {
    price: u32,
    left: u32,
}

impl Shop {
    pub fn new() -> Self {
        let shelf = HashMap::from([("sword", Item { price: 30, left: 5 }), ("potion", Item { price: 4, left: 20 })]);
        Self { ledger: Mutex::new(Ledger { shelf, receipts: HashMap::new(), sold: 0 }) }
    }

    /// Starts the server at a port that the system chooses.
    pub async fn open(self: &Arc<Self>) -> Result<Server<Player>, BindError> {
        let shop = Arc::clone(self);
        Server::builder()
            .authenticate(|login: Login| async move {
                if login.name.is_empty() {
                    return Err(Refusal::new("the login has no name"));
                }
                Ok(Player { name: login.name })
            })
            // Each customer has a handler, which refers to the customer's socket.
            .serve_each(move |customer| {
                PurchasesServer::new(Counter { customer: customer.clone(), shop: Arc::clone(&shop) })
            })
            // All customers share this handler.
            .serve(RefundsServer::new(Desk { shop: Arc::clone(self) }))
            .connected(|customer: Socket<Player>| async move {
                says("shop", &format!("{} comes in", customer.identity().name));
                Ok(customer.join(LOBBY)?)
            })
            .bind("tcp://127.0.0.1:0")
            .await
    }

    /// Sets a price and notifies the watchers of the item.
    pub async fn set_price(&self, server: &Server<Player>, item: &str, price: u32) -> Result<(), sockets::CallError> {
        if let Some(item) = self.ledger().shelf.get_mut(item) {
            item.price = price;
        }
        LobbyClient::new(&server.room(&watchers_of(item))).price_changed(item, price).await
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the name of the room for customers that watch an item.
fn watchers_of(item: &str) -> String {
    format!("watching/{item}")
}

/// The handler of a single customer's calls.
struct Counter {
    customer: Socket<Player>,
    shop: Arc<Shop>,
}

impl Purchases for Counter {
    async fn get_price(&self, item: &str) -> Option<u32> {
        self.shop.ledger().shelf.get(item).map(|item| item.price)
    }

    async fn buy(&self, item: &str, count: u32) -> Result<Receipt, PurchaseError> {
        let mut ledger = self.shop.ledger();
        let on_shelf = ledger.shelf.get_mut(item).ok_or(PurchaseError::NoSuchItem)?;
        let left = on_shelf.left.checked_sub(count).ok_or(PurchaseError::OutOfStock { left: on_shelf.left })?;
        on_shelf.left = left;
        let paid = on_shelf.price * count;
        ledger.sold += 1;
        let receipt = Receipt { number: ledger.sold, item: item.to_owned(), count, paid };
        ledger.receipts.insert(receipt.number, receipt.clone());
        says("shop", &format!("sells {count} x {item} to {}, {left} left", self.customer.identity().name));
        Ok(receipt)
    }

    async fn watch(&self, item: &str) -> Result<(), PurchaseError> {
        if !self.shop.ledger().shelf.contains_key(item) {
            return Err(PurchaseError::NoSuchItem);
        }
        if let Err(error) = self.customer.join(&watchers_of(item)) {
            says("shop", &format!("{} cannot watch {item}: {error}", self.customer.identity().name));
        }
        Ok(())
    }
}

/// The handler of refunds for all customers.
struct Desk {
    shop: Arc<Shop>,
}

impl Refunds for Desk {
    async fn refund(&self, receipt: &Receipt) -> Result<u32, RefundError> {
        let mut ledger = self.shop.ledger();
        // The customer may have forged the receipt. Therefore the shop compares the receipt with
        // the shop's own record.
        if ledger.receipts.get(&receipt.number) != Some(receipt) {
            return Err(RefundError::UnknownReceipt);
        }
        ledger.receipts.remove(&receipt.number);
        if let Some(item) = ledger.shelf.get_mut(receipt.item.as_str()) {
            item.left += receipt.count;
        }
        Ok(receipt.paid)
    }
}
