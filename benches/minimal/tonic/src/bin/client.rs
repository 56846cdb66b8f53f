//! A client with a single call.

use minimal_tonic::Terms;
use minimal_tonic::sums_client::SumsClient;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut client = SumsClient::connect("http://127.0.0.1:7002").await?;
    println!("{}", client.add(Terms { a: 1, b: 2 }).await?.into_inner().sum);
    Ok(())
}
