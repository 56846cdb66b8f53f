//! The examples of PROTOCOL.md. The tests send their bytes to a server and to a client, and compare
//! the received bytes.

use std::{collections::HashMap, future, time::Duration};

use bytes::Bytes;
use sockets::{Client, Reconnect, Refusal, Server};
use sockets_proto::{CloseReason, FailureCode, Frame};
use sockets_tests::PATIENCE;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::mpsc,
    time::timeout,
};

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

/// A peer, and the bytes that this peer sends until the other peer sends.
type Turn = (Side, Vec<u8>);

/// Returns the examples of the document. Each example alternates between the bytes of the two
/// peers.
fn examples() -> Vec<Vec<Turn>> {
    let document = include_str!("../../../../PROTOCOL.md");
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
        let (hex, _meaning) = rest.split_once('|').expect("each line describes its bytes");
        match turns.last_mut() {
            Some((last, turn)) if *last == side => turn.extend(bytes(hex)),
            _ => turns.push((side, bytes(hex))),
        }
    }
    turns
}

/// Returns the example of section 17.4. It is a session that uses two connections.
fn resumption() -> &'static str {
    let document = include_str!("../../../../PROTOCOL.md");
    document.split("```hex resumption\n").nth(1).unwrap().split("```").next().unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

async fn expect(stream: &mut TcpStream, bytes: &[u8], what: &str) {
    let mut received = vec![0; bytes.len()];
    let read = timeout(PATIENCE, stream.read_exact(&mut received)).await;
    read.unwrap_or_else(|_| panic!("not received: {what}")).unwrap();
    assert_eq!(received, bytes, "{what}");
}

async fn expect_end(stream: &mut TcpStream, bytes: &[u8]) {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the peer closes").unwrap();
    assert_eq!(rest, bytes);
}

/// Starts the server of the examples. Returns the server, and a receiver of the items that clients
/// view in its shop.
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
async fn documented_examples_match_a_server() {
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
    let item = timeout(PATIENCE, views.recv()).await.expect("the emit was received");
    assert_eq!(item.as_deref(), Some("sword"));
    // The server has sent no other bytes.
    expect_end(&mut stream, b"").await;
}

/// `.ci/run` installs the Python package that the client needs, and sets an environment variable.
/// If the variable is not set and the package is missing, the test is skipped.
#[tokio::test]
async fn documented_examples_match_a_foreign_client() {
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
async fn documented_examples_match_a_client() {
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

/// Sends the client's lines of section 17.4, and compares the server's lines. In the example,
/// `<secret N>` stands for 24 random bytes of the server.
#[tokio::test]
async fn resumption_example_matches_the_server() {
    let (server, _views) = server("tcp://127.0.0.1:0").await;
    let mut secrets: HashMap<&str, Vec<u8>> = HashMap::new();
    let mut connection = None;
    for line in resumption().lines() {
        let (actor, rest) = line.split_once(' ').unwrap();
        let (text, meaning) = rest.split_once('|').unwrap();
        let text = text.trim();
        if actor == "connect" {
            connection = Some(TcpStream::connect(server.local_addr()).await.unwrap());
            continue;
        }
        let stream = connection.as_mut().expect("a connection is open");
        match (actor, text.strip_prefix("<secret ")) {
            ("client", None) => stream.write_all(&bytes(text)).await.unwrap(),
            ("client", Some(secret)) => stream.write_all(secrets.get(secret).unwrap()).await.unwrap(),
            ("server", None) => expect(stream, &bytes(text), meaning).await,
            ("server", Some(secret)) => {
                let mut received = vec![0; 24];
                timeout(PATIENCE, stream.read_exact(&mut received)).await.expect(meaning).unwrap();
                secrets.insert(secret, received);
            }
            _ => panic!("{line}"),
        }
    }
}

/// Returns the lines of a fenced block of section 17.5. Each line has bytes and a description.
fn lines_of(block: &str) -> impl Iterator<Item = (Vec<u8>, &'static str)> {
    let document = include_str!("../../../../PROTOCOL.md");
    let block = document.split(&format!("```{block}\n")).nth(1).unwrap().split("```").next().unwrap();
    block.lines().map(|line| line.split_once('|').unwrap()).map(|(hex, meaning)| (bytes(hex), meaning.trim()))
}

#[test]
fn single_frames_have_the_documented_meaning() {
    for (frame, meaning) in lines_of("frames") {
        let mut payload = Bytes::from(frame);
        let header = Frame::decode(&mut payload).unwrap();
        let text = str::from_utf8(&payload).unwrap();
        let expected = match header {
            Frame::Credit { calls, bytes } => format!("Credit: {calls} calls, {bytes} bytes"),
            Frame::Ack { position } => format!("Ack: position {position}"),
            Frame::Skipped { bytes } => format!("Skipped: {bytes} bytes"),
            Frame::Failure { id, code: FailureCode::ShuttingDown } => {
                format!("Failure: id {}, shutting down", id.number << 1)
            }
            Frame::Close { reason: CloseReason::Retry } => {
                let (delay, message) = text.split_once(' ').unwrap();
                format!("Close: retry after {delay} ms, with the message {message:?}")
            }
            Frame::Close { reason: CloseReason::Restarting } => {
                format!("Close: restarting, reconnect after {text} ms")
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(meaning, expected);
    }
}

#[test]
fn compressed_frame_contains_the_documented_frame() {
    let frame: Vec<u8> = lines_of("compressed").flat_map(|(bytes, _)| bytes).collect();
    let (header, block) = frame.split_first_chunk::<5>().unwrap();
    let [0x0b, length @ ..] = *header else { panic!("{header:?}") };
    let inner = lz4_flex::block::decompress(block, u32::from_le_bytes(length) as usize).unwrap();
    let expected = [&bytes("01 0b c3 4d 03 9c 2e 6a 51")[..], &[0; 300]].concat();
    assert_eq!(inner, expected);
}
