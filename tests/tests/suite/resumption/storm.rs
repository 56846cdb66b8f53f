//! A server that is killed, and clients that all reconnect to the next server, after random delays.
//!
//! `cargo test` has 200 clients. For 5,000, which need 10,000 open files:
//!
//! ```sh
//! STORM_CLIENTS=5000 cargo test --release -p sockets-tests --test suite storm -- --nocapture
//! ```

use std::{env, time::Instant};

use sockets::{Client, ClientState, Server};
use tokio::{runtime, task::JoinSet};

#[test]
fn clients_of_a_killed_server_all_reconnect() {
    let clients = env::var("STORM_CLIENTS").map_or(200, |clients| clients.parse().unwrap());
    let first = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = first.block_on(Server::builder().bind("tcp://127.0.0.1:0")).unwrap();
    let addr = server.local_addr();

    let ours = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    ours.block_on(async {
        let mut connecting = JoinSet::new();
        for _ in 0..clients {
            connecting.spawn(async move { Client::builder().connect(&format!("tcp://{addr}")).await });
        }
        let clients: Vec<_> = connecting.join_all().await.into_iter().map(Result::unwrap).collect();

        // All of it is gone at once, without a word.
        let died = Instant::now();
        first.shutdown_background();
        let next = loop {
            match Server::builder().bind(&format!("tcp://{addr}")).await {
                Ok(next) => break next,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let mut back = Vec::new();
        for client in &clients {
            let mut states = client.states();
            while client.state() != (ClientState::Connected { session: 2 }) {
                states.next().await.expect("it has not ended");
            }
            back.push(died.elapsed());
        }
        println!("{} clients were back after {:?}", clients.len(), back.last().unwrap());
        assert_eq!(next.sockets().len(), clients.len());
    });
    // Not before: tasks of the server would have sent their close reason.
    drop(server);
}
