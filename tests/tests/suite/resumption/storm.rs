//! A server is killed, and its clients all reconnect to the next server after random delays.
//!
//! `cargo test` runs 200 clients. This command runs 5,000 clients, which need 10,000 open files:
//!
//! ```sh
//! STORM_CLIENTS=5000 cargo test --release -p sockets-tests --test suite storm -- --nocapture
//! ```

use std::{env, time::Instant};

use sockets::{Client, Server};
use sockets_tests::session_of;
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

        // The first server ends immediately, and sends no close reason.
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
            while session_of(client) != Some(2) {
                states.next().await.expect("it has not ended");
            }
            back.push(died.elapsed());
        }
        println!("{} clients were back after {:?}", clients.len(), back.last().unwrap());
        assert_eq!(next.sockets().len(), clients.len());
    });
    // The test drops the handle only now. If it had dropped the handle earlier, tasks of the server
    // would have sent a close reason, unlike tasks of a killed server.
    drop(server);
}
