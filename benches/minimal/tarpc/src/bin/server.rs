//! A server with a single request.

use futures::StreamExt;
use minimal_tarpc::Sums;
use tarpc::context::Context;
use tarpc::serde_transport::tcp::listen;
use tarpc::server::{BaseChannel, Channel};
use tokio_serde::formats::Bincode;

#[derive(Clone)]
struct Adder;

impl Sums for Adder {
    async fn add(self, _: Context, a: u32, b: u32) -> u32 {
        a + b
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut incoming = listen("127.0.0.1:7001", Bincode::default).await?;
    while let Some(Ok(transport)) = incoming.next().await {
        let answers = BaseChannel::with_defaults(transport).execute(Adder.serve());
        tokio::spawn(answers.for_each(|answer| async { drop(tokio::spawn(answer)) }));
    }
    Ok(())
}
