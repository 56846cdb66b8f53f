//! Compression of large messages.

use sockets::{CallError, Client, ClientBuilder, Limits, Server, ServerBuilder, Socket};
use sockets_tests::*;
use tokio::{
    io::{copy_bidirectional, duplex},
    sync::mpsc::unbounded_channel,
};

/// Adds a listener for `echo` to a server.
fn echoing(server: ServerBuilder) -> ServerBuilder<()> {
    server.connected(|socket: Socket| async move {
        socket.listen("echo", |text: String| async { text });
    })
}

fn server() -> ServerBuilder<()> {
    echoing(Server::builder().compress_from(1000))
}

fn client() -> ClientBuilder {
    Client::builder().compress_from(1000)
}

fn long() -> String {
    "a long story ".repeat(10_000)
}

async fn echo(client: &Client, text: &str) {
    let echoed = client.request::<String>("echo", &text).await.unwrap();
    assert!(echoed == text, "{} bytes of {}", echoed.len(), text.len());
}

/// Returns random text, which compression does not shorten.
fn noise(length: usize) -> String {
    let mut random = fastrand::Rng::with_seed(1);
    std::iter::repeat_with(|| random.alphanumeric()).take(length).collect()
}

every_transport! {
    async fn compressed_messages_of_all_sizes_arrive(net: Transport) {
        let server = net.serve(server()).await;
        let client = net.connect(&server, client()).await;
        for text in [String::new(), "short".into(), long(), noise(5000), noise(100_000), "x".repeat(3 << 20)] {
            echo(&client, &text).await;
        }
    }
}

tcp_and_memory! {
    async fn compression_needs_both_peers(net: Transport) {
        let one = net.serve(server()).await;
        echo(&net.connect(&one, Client::builder()).await, &long()).await;
        let other = net.serve(echoing(Server::builder())).await;
        echo(&net.connect(&other, client()).await, &long()).await;
    }

    async fn room_with_and_without_compression_receives_the_same(net: Transport) {
        let server = net.serve(server()).await;
        let (received, mut receives) = unbounded_channel();
        let mut clients = Vec::new();
        for builder in [client(), Client::builder(), client()] {
            let client = net.connect(&server, builder).await;
            let received = received.clone();
            client.listen("story", move |(number, text): (u32, String)| {
                received.send((number, text)).unwrap();
                async {}
            });
            clients.push(client);
        }
        for number in 0..10_u32 {
            server.all().emit("story", &(number, long())).await.unwrap();
        }
        let mut counts = [0; 10];
        for _ in 0..10 * clients.len() {
            let (number, text) = receives.recv().await.unwrap();
            assert!(text == long());
            counts[number as usize] += 1;
        }
        assert_eq!(counts, [clients.len(); 10]);
    }

    async fn max_frame_limits_the_uncompressed_length(net: Transport) {
        let limits = Limits::new().max_frame(10_000);
        let server = net.serve(server().limits(limits)).await;
        let client = net.connect(&server, client()).await;
        let refused = client.request::<String>("echo", &long()).await;
        assert!(matches!(refused, Err(CallError::TooLarge(_))), "{refused:?}");
        echo(&client, "short").await;
    }
}

#[tokio::test]
async fn compression_reduces_the_bytes_on_the_wire() {
    for (builder, least, most) in [(client(), 1, 20_000), (Client::builder(), 260_000, 300_000)] {
        let server = server().build();
        let ((near, mut middle), (mut other_middle, far)) = (duplex(1024), duplex(1024));
        drop(server.accept(far));
        let relay = tokio::spawn(async move { copy_bidirectional(&mut middle, &mut other_middle).await.unwrap() });
        let client = builder.connect_over(near).await.unwrap();
        echo(&client, &long()).await;
        drop(client);
        let (there, back) = relay.await.unwrap();
        assert!((least..most).contains(&(there + back)), "{there} there and {back} back");
    }
}
