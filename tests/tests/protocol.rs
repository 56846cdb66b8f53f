//! The examples of PROTOCOL.md are what a server and a client do: its hex blocks are sent and compared.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(missing_docs, reason = "a test's own group")]

use std::{future, time::Duration};

use sockets::{Client, Reconnect, Refusal, Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::mpsc,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(10);

#[sockets::group("Purchases")]
trait Purchases {
    async fn get_price(&self, item: &str) -> Option<u32>;
    async fn haggle(&self, offer: u32) -> u32;
    #[emit]
    async fn viewed(&self, item: &str);
}

struct Shop {
    viewed: mpsc::UnboundedSender<String>,
}

impl Purchases for Shop {
    async fn get_price(&self, item: &str) -> Option<u32> {
        (item == "sword").then_some(250)
    }

    async fn haggle(&self, _offer: u32) -> u32 {
        future::pending().await
    }

    async fn viewed(&self, item: &str) {
        self.viewed.send(item.to_owned()).unwrap();
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    Client,
    Server,
}

/// What one side says before the other one does.
type Turn = (Side, Vec<u8>);

/// The turns of each example of the document.
fn examples() -> Vec<Vec<Turn>> {
    let document = include_str!("../../PROTOCOL.md");
    let blocks = document.split("```hex\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.map(turns).collect()
}

fn turns(block: &str) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    for line in block.lines().filter(|line| !line.is_empty()) {
        let (side, rest) = line.split_once(' ').unwrap();
        let side = match side {
            "client" => Side::Client,
            "server" => Side::Server,
            other => panic!("{other:?} is no side"),
        };
        let (hex, _meaning) = rest.split_once('|').expect("each line says what its bytes are");
        let bytes = hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap());
        match turns.last_mut() {
            Some((last, turn)) if *last == side => turn.extend(bytes),
            _ => turns.push((side, bytes.collect())),
        }
    }
    turns
}

async fn expect(stream: &mut TcpStream, bytes: &[u8], what: &str) {
    let mut received = vec![0; bytes.len()];
    let read = timeout(PATIENCE, stream.read_exact(&mut received)).await;
    read.unwrap_or_else(|_| panic!("it does not come: {what}")).unwrap();
    assert_eq!(received, bytes, "{what}");
}

async fn expect_end(stream: &mut TcpStream, bytes: &[u8]) {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the other side closes").unwrap();
    assert_eq!(rest, bytes);
}

/// The server of the examples, and what is looked at in its shop.
async fn server(url: &str) -> (Server<String>, mpsc::UnboundedReceiver<String>) {
    let (viewed, views) = mpsc::unbounded_channel();
    let server = Server::builder()
        .authenticate(|login: String| async move {
            if login == "ada" { Ok(login) } else { Err(Refusal::new("only ada may come in")) }
        })
        .serve(PurchasesServer::new(Shop { viewed }))
        .bind(url)
        .await
        .unwrap();
    (server, views)
}

#[tokio::test]
async fn the_examples_are_what_a_server_does() {
    let (server, mut views) = server("tcp://127.0.0.1:0").await;
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();

    let examples = examples();
    assert_eq!(examples.len(), 3);
    for (number, (side, bytes)) in examples.iter().flatten().enumerate() {
        match side {
            Side::Client => stream.write_all(bytes).await.unwrap(),
            Side::Server => expect(&mut stream, bytes, &format!("turn {number}")).await,
        }
    }
    let item = timeout(PATIENCE, views.recv()).await.expect("the emit was heard");
    assert_eq!(item.as_deref(), Some("sword"));
    // Nothing that the document does not tell of came behind.
    expect_end(&mut stream, b"").await;
}

/// `.ci/run` installs it, and says so by the variable. Elsewhere it may be missing.
#[tokio::test]
async fn a_websocket_of_another_library_understands_the_examples() {
    let required = std::env::var("PYTHON_WITH_WEBSOCKETS").ok();
    let python = required.as_deref().unwrap_or("python3");
    let has_websockets = Command::new(python).args(["-c", "import websockets.sync.client"]).output().await;
    if required.is_none() && !has_websockets.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: {python} is not there, or does not have the package of tests/foreign/requirements.txt");
        return;
    }
    let (server, mut views) = server("ws://127.0.0.1:0").await;
    let folder = env!("CARGO_MANIFEST_DIR");
    let client = Command::new(python)
        .arg(format!("{folder}/foreign/client.py"))
        .arg(format!("ws://{}", server.local_addr()))
        .arg(format!("{folder}/../PROTOCOL.md"))
        .output();
    let output = timeout(Duration::from_secs(60), client).await.expect("it ends").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(views.recv().await.as_deref(), Some("sword"));
}

#[tokio::test]
async fn the_examples_are_what_a_client_does() {
    let examples = examples();
    let [(Side::Client, greeting), (Side::Server, welcome)] = &examples[0][..] else { panic!("{:?}", examples[0]) };
    let [(_, request), (_, reply), (_, emit)] = &examples[1][..] else { panic!("{:?}", examples[1]) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        expect(&mut stream, greeting, "the greeting").await;
        stream.write_all(welcome).await.unwrap();
        stream
    };
    let (mut stream, client) =
        tokio::join!(server, Client::builder().reconnect(Reconnect::never()).auth("ada").connect(&url));
    let client = client.unwrap();

    let shop = PurchasesClient::new(&client).with_timeout(Duration::from_secs(5));
    let calls = async {
        assert_eq!(shop.get_price("sword").await, Ok(Some(250)));
        shop.viewed("sword").await.unwrap();
    };
    let answers = async {
        expect(&mut stream, request, "the request").await;
        stream.write_all(reply).await.unwrap();
        expect(&mut stream, emit, "the emit").await;
    };
    timeout(PATIENCE, async { tokio::join!(calls, answers) }).await.expect("both sides follow the document");

    drop(client);
    let (_, goodbye) = examples[2].last().unwrap();
    expect_end(&mut stream, goodbye).await;
}
