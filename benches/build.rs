//! Generates the gRPC service for `tonic`. The service is defined in Rust, because a .proto file
//! would require the program `protoc`.

use tonic_prost_build::manual::{Builder, Method, Service};

fn main() {
    let method = |name: &str, route: &str, input: &str, output: &str| {
        let codec = "tonic_prost::ProstCodec";
        Method::builder().name(name).route_name(route).input_type(input).output_type(output).codec_path(codec)
    };
    let (order, blob, news, empty) = ("super::OrderMessage", "super::Blob", "super::NewsMessage", "super::Empty");
    let orders = Service::builder()
        .name("Orders")
        .package("bench")
        .method(method("echo", "Echo", order, order).build())
        .method(method("large", "Large", blob, blob).build())
        .method(method("placed", "Placed", order, empty).client_streaming().build())
        .method(method("join", "Join", empty, news).server_streaming().build())
        .build();
    Builder::new().compile(&[orders]);
}
