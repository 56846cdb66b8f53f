//! What `tonic` is to serve, written in Rust and not as a .proto file, so that no `protoc` has to be installed.

use tonic_prost_build::manual::{Builder, Method, Service};

fn main() {
    let method = |name: &str, route: &str, input: &str, output: &str| {
        let codec = "tonic_prost::ProstCodec";
        Method::builder().name(name).route_name(route).input_type(input).output_type(output).codec_path(codec)
    };
    let (order, blob, news, nothing) = ("super::OrderMessage", "super::Blob", "super::NewsMessage", "super::Nothing");
    let orders = Service::builder()
        .name("Orders")
        .package("bench")
        .method(method("echo", "Echo", order, order).build())
        .method(method("large", "Large", blob, blob).build())
        .method(method("placed", "Placed", order, nothing).client_streaming().build())
        .method(method("join", "Join", nothing, news).server_streaming().build())
        .build();
    Builder::new().compile(&[orders]);
}
