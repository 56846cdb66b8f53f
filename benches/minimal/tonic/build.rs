//! The contract, written in Rust and not as a .proto file, so that no `protoc` has to be installed.
//! The crates that are compiled are the same.

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
