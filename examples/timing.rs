//! A layer that measures the duration of requests. On the server, it measures incoming requests. On
//! the client, it measures outgoing requests.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sockets::{
    Client, Server,
    layer::{CallLayer, Next, Request, Service, layer_fn},
};
use tower::service_fn;

#[sockets::group("Oracle")]
trait Oracle {
    async fn guess(&self) -> u32;
    async fn think(&self, milliseconds: u64) -> u32;
}

struct Delphi;

impl Oracle for Delphi {
    async fn guess(&self) -> u32 {
        42
    }

    async fn think(&self, milliseconds: u64) -> u32 {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        42
    }
}

/// The durations of the calls, for each method.
#[derive(Clone, Default)]
struct Times(Arc<Mutex<BTreeMap<String, Vec<Duration>>>>);

impl Times {
    /// Returns a layer that records the durations of calls.
    fn layer(&self) -> impl CallLayer + use<> {
        let times = self.clone();
        layer_fn(move |next: Next| {
            let times = times.clone();
            service_fn(move |request: Request| {
                let (times, mut next) = (times.clone(), next.clone());
                async move {
                    let (name, started) = (format!("{}.{}", request.path(), request.method()), Instant::now());
                    let response = next.call(request).await;
                    let mut times = times.0.lock().unwrap_or_else(PoisonError::into_inner);
                    times.entry(name).or_default().push(started.elapsed());
                    response
                }
            })
        })
    }

    fn print(&self, whose: &str) {
        for (name, times) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let (count, longest) = (times.len(), times.iter().max().copied().unwrap_or_default());
            let class = if longest < Duration::from_millis(500) { "less" } else { "more" };
            println!("{whose}: {count} of {name}, the longest took {class} than 500 ms");
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (handled, waited) = (Times::default(), Times::default());
    let server =
        Server::builder().layer(handled.layer()).serve(OracleServer::new(Delphi)).bind("tcp://127.0.0.1:0").await?;
    let url = format!("tcp://{}", server.local_addr());
    let client = Client::builder().layer_outgoing(waited.layer()).connect(&url).await?;

    let oracle = OracleClient::new(&client);
    for _ in 0..3 {
        oracle.guess().await?;
    }
    oracle.think(700).await?;
    handled.print("server");
    waited.print("client");
    Ok(())
}
