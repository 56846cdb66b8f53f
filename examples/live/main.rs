//! A board for several viewers. Run `cargo run --example live`, and open the printed address in two
//! browser windows.

#![expect(unreachable_pub, reason = "the modules are written as for separate crates")]

mod board;
mod contract;

use std::{
    error::Error,
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
};

use axum::{
    Router,
    http::header::CONTENT_TYPE,
    response::{Html, IntoResponse},
    routing::get,
};
use sockets::{Refusal, Server, ServerBuilder};
use tokio::net::TcpListener;

use crate::{
    board::BoardHandler,
    contract::{BoardServer, Person},
};

/// Returns a builder of a server. Its authentication maps the name in a login to a viewer with an
/// id.
fn server() -> ServerBuilder<Person> {
    let next = AtomicU32::new(1);
    Server::builder()
        .authenticate(move |name: String| {
            let id = next.fetch_add(1, Ordering::Relaxed);
            async move {
                let name = name.trim().to_owned();
                if name.is_empty() || name.chars().count() > 20 {
                    return Err(Refusal::new("a name has 1 to 20 characters"));
                }
                Ok(Person { id, name })
            }
        })
        .connected(board::welcome)
        .serve_each(|viewer| BoardServer::new(BoardHandler { viewer: viewer.clone() }))
}

fn script(text: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/javascript")], text)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".into());
    let server = server().build();
    let app = Router::new()
        .route("/", get(|| async { Html(include_str!("page.html")) }))
        .route("/page.js", get(|| async { script(include_str!("page.js")) }))
        .route("/sockets.js", get(|| async { script(include_str!("sockets.js")) }))
        .route("/live", sockets::axum_route(&server));
    let listener = TcpListener::bind(&address).await?;
    println!("The board is at http://{}/", listener.local_addr()?);
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}
