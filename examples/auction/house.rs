//! The server: an axum application and a TCP listener for the same sockets.

use std::{
    collections::BTreeMap,
    error::Error,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, response::Html, routing::get};
use sockets::{
    Refusal, Server, Shutdown, Socket,
    layer::{Request, authorize},
};
use tokio::{net::TcpListener, task::JoinSet, time::interval};

use crate::contract::{Admin, AdminServer, Auction, AuctionError, AuctionServer, BidderClient};

/// The identity of a socket. The devices of a user have the same key.
#[derive(Clone, sockets::Identity)]
pub struct User {
    #[identity(key)]
    name: String,
    is_auctioneer: bool,
}

#[derive(Clone)]
struct Lot {
    price: u32,
    leader: Option<String>,
    is_sold: bool,
}

/// The lots, which outlive a server as a database does.
#[derive(Clone)]
pub struct Lots(Arc<Mutex<BTreeMap<String, Lot>>>);

impl Lots {
    pub fn new<const N: usize>(lots: [(&str, u32); N]) -> Self {
        let lot = |(name, price): (&str, u32)| (name.to_owned(), Lot { price, leader: None, is_sold: false });
        Self(Arc::new(Mutex::new(lots.into_iter().map(lot).collect())))
    }

    fn all(&self) -> BTreeMap<String, Lot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes a lot that is for sale. Returns the changed lot.
    fn change(&self, lot: &str, f: impl FnOnce(&mut Lot) -> Result<(), AuctionError>) -> Result<Lot, AuctionError> {
        let mut lots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lot = lots.get_mut(lot).filter(|lot| !lot.is_sold).ok_or(AuctionError::NotForSale)?;
        f(lot)?;
        Ok(lot.clone())
    }

    fn page(&self) -> Html<String> {
        let line = |(name, lot): (String, Lot)| {
            let state = if lot.is_sold { "sold to" } else { "leading:" };
            format!("<p>{name}: {}, {state} {}\n", lot.price, lot.leader.as_deref().unwrap_or("nobody"))
        };
        Html(format!("<h1>Auction</h1>\n{}", self.all().into_iter().map(line).collect::<String>()))
    }
}

/// Bidders need no password.
async fn authenticate((name, password): (String, String)) -> Result<User, Refusal> {
    let is_auctioneer = name == "Grace";
    if is_auctioneer && password != "gavel" {
        return Err(Refusal::new("the password is wrong"));
    }
    Ok(User { name, is_auctioneer })
}

fn only_auctioneers(request: &Request) -> Result<(), &'static str> {
    let is_allowed = request.socket().is_some_and(|socket: Socket<User>| socket.identity().is_auctioneer);
    if is_allowed || !request.path().starts_with("Admin/") { Ok(()) } else { Err("only auctioneers may do this") }
}

/// The handler of a socket's calls.
struct Desk {
    socket: Socket<User>,
    lots: Lots,
}

impl Auction for Desk {
    async fn watch(&self, lot: &str) -> Result<(), String> {
        self.socket.join(lot).map_err(|error| error.to_string())
    }

    async fn bid(&self, lot: &str, price: u32) -> Result<(), AuctionError> {
        self.lots.change(lot, |lot| {
            if price <= lot.price {
                return Err(AuctionError::TooLow(lot.price));
            }
            (lot.price, lot.leader) = (price, Some(self.socket.identity().name.clone()));
            Ok(())
        })?;
        Ok(())
    }
}

impl Admin for Desk {
    async fn sell(&self, lot: &str) -> Result<Option<String>, AuctionError> {
        let sold = self.lots.change(lot, |lot| {
            lot.is_sold = true;
            Ok(())
        })?;
        let server = self.socket.server();
        // An emit to an audience fails only if its arguments cannot be encoded.
        let _ = BidderClient::new(&server.room(lot)).sold(lot).await;
        let _ = BidderClient::new(&server.users(&sold.leader)).won(lot, sold.price).await;
        Ok(sold.leader)
    }

    async fn expel(&self, name: &str, reason: &str) {
        self.socket.server().users([name]).disconnect(reason);
    }
}

async fn send_prices(server: Server<User>, lots: Lots) {
    let mut frames = interval(Duration::from_secs(1) / 30);
    loop {
        frames.tick().await;
        for (name, lot) in lots.all().into_iter().filter(|(_, lot)| !lot.is_sold) {
            let _ = BidderClient::new(&server.room(&name)).price(&name, lot.price, lot.leader.as_deref()).await;
        }
    }
}

/// A running server.
pub struct House {
    server: Server<User>,
    /// The addresses for TCP, and for the page and its WebSockets.
    pub addresses: (SocketAddr, SocketAddr),
    tasks: JoinSet<()>,
}

impl House {
    pub async fn open(lots: &Lots, (tcp, http): (SocketAddr, SocketAddr)) -> Result<Self, Box<dyn Error>> {
        let of_desks = lots.clone();
        let desk = move |socket: &Socket<User>| Desk { socket: socket.clone(), lots: of_desks.clone() };
        let admin_desk = desk.clone();
        let server = Server::builder()
            .authenticate(authenticate)
            .layer(authorize(only_auctioneers))
            .serve_each(move |socket| AuctionServer::new(desk(socket)))
            .serve_each(move |socket| AdminServer::new(admin_desk(socket)))
            .bind(&format!("tcp://{tcp}"))
            .await?;
        let of_page = lots.clone();
        let app =
            Router::new().route("/", get(async move || of_page.page())).route("/live", sockets::axum_route(&server));
        let listener = TcpListener::bind(http).await?;
        let addresses = (server.local_addr(), listener.local_addr()?);
        let mut tasks = JoinSet::new();
        tasks.spawn(async { axum::serve(listener, app).await.unwrap_or_else(|error| eprintln!("{error}")) });
        tasks.spawn(send_prices(server.clone(), lots.clone()));
        Ok(Self { server, addresses, tasks })
    }

    /// Stops the server for a restart. Its clients wait for the next server.
    pub async fn close(mut self) {
        // The listener of the page is not part of the server, so the program closes it.
        self.tasks.shutdown().await;
        self.server.shutdown_with(Shutdown::new().spread(Duration::from_millis(200))).await;
    }
}
