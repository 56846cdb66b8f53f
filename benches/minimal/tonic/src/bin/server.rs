//! A server with a single request.

use minimal_tonic::sums_server::{Sums, SumsServer};
use minimal_tonic::{Sum, Terms};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

struct Adder;

#[tonic::async_trait]
impl Sums for Adder {
    async fn add(&self, request: Request<Terms>) -> Result<Response<Sum>, Status> {
        let Terms { a, b } = request.into_inner();
        Ok(Response::new(Sum { sum: a + b }))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    Server::builder().add_service(SumsServer::new(Adder)).serve("127.0.0.1:7002".parse()?).await?;
    Ok(())
}
