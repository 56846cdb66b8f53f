//! A value that is no layer, and a layer whose service cannot be cloned.

use std::time::Duration;

fn main() {
    let _ = sockets::Server::builder().layer(Duration::ZERO);
    let _ = sockets::Client::builder().layer_outgoing(tower::limit::RateLimitLayer::new(1, Duration::ZERO));
}
