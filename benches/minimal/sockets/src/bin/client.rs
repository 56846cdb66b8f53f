//! A client with a single call.

use minimal_sockets::SumsClient;
use sockets::Client;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::builder().connect("tcp://127.0.0.1:7000").await?;
    println!("{}", SumsClient::new(&client).add(1, 2).await?);
    Ok(())
}
