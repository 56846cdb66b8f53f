//! The allocations of layers.

use std::time::Duration;

use allocation_counter::measure;
use sockets::{
    Client, ClientBuilder, Server, ServerBuilder,
    layer::{Request, authorize},
};
use tokio::runtime::Builder;
use tower::ServiceBuilder;

#[sockets::group("Sums")]
trait Sums {
    async fn add(&self, a: u32, b: u32) -> u32;
}

struct Adder;

impl Sums for Adder {
    async fn add(&self, a: u32, b: u32) -> u32 {
        a + b
    }
}

const CALLS: u32 = 1000;

/// Returns the allocations of a call, in hundredths.
fn allocations(server: ServerBuilder, client: ClientBuilder) -> u64 {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (_server, client) = runtime.block_on(async {
        let server = server.serve(SumsServer::new(Adder)).build();
        let client = client.connect_local(&server).await.unwrap();
        (server, client)
    });
    let call = || async {
        for n in 0..CALLS {
            assert_eq!(SumsClient::new(&client).add(n, 1).await, Ok(n + 1));
        }
    };
    runtime.block_on(call());
    measure(|| runtime.block_on(call())).count_total * 100 / u64::from(CALLS)
}

#[test]
fn each_layer_costs_one_allocation_per_call() {
    let passes = || authorize(|_: &Request| Ok::<_, String>(()));
    let stack = || ServiceBuilder::new().load_shed().concurrency_limit(10).timeout(Duration::from_secs(60));
    let bare = allocations(Server::builder(), Client::builder());
    for (layers, server, client) in [
        (1, Server::builder().layer(passes()), Client::builder()),
        (1, Server::builder().layer(stack()), Client::builder()),
        (2, Server::builder().layer(stack()).layer(passes()), Client::builder()),
        (1, Server::builder(), Client::builder().layer_outgoing(stack())),
        (
            3,
            Server::builder(),
            Client::builder().layer_outgoing(passes()).layer_outgoing(stack()).layer_outgoing(passes()),
        ),
    ] {
        let extra = allocations(server, client).saturating_sub(bare);
        assert!(extra.abs_diff(100 * layers) < 5, "{layers} layers cost {extra} hundredths of an allocation");
    }
}
