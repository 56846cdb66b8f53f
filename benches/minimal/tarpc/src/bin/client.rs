//! A client with a single call.

use minimal_tarpc::SumsClient;
use tarpc::serde_transport::tcp::connect;
use tarpc::{client, context};
use tokio_serde::formats::Bincode;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let transport = connect("127.0.0.1:7001", Bincode::default).await?;
    let client = SumsClient::new(client::Config::default(), transport).spawn();
    println!("{}", client.add(context::current(), 1, 2).await?);
    Ok(())
}
