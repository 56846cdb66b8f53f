//! Generates the contract of the client and the server. The contract is written in Rust, so that
//! the machine needs no `protoc`. The result is the same as with a .proto file, for which cargo
//! would compile the same crates.

use tonic_prost_build::manual::{Builder, Method, Service};

fn main() {
    let add = Method::builder()
        .name("add")
        .route_name("Add")
        .input_type("crate::Terms")
        .output_type("crate::Sum")
        .codec_path("tonic_prost::ProstCodec")
        .build();
    Builder::new().compile(&[Service::builder().name("Sums").package("minimal").method(add).build()]);
}
