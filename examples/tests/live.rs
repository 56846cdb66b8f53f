//! Tests of the board, with a client in Rust and with pages in a browser.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "the contract is written as for a separate crate")]

mod common;
#[path = "../live/contract.rs"]
mod contract;

use std::{path::PathBuf, process::Command, time::Duration};

use common::Program;
use contract::{BoardClient, Person, Viewer, ViewerServer};
use sockets::Client;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug, PartialEq)]
enum Seen {
    Here(Vec<String>),
    Pointed(u32, u16, u16),
    Voted(Vec<u32>),
}

/// A handler that records events, and that votes for the first choice.
struct EventRecorder(UnboundedSender<Seen>);

impl Viewer for EventRecorder {
    async fn here(&self, people: Vec<Person>) {
        let names = people.into_iter().map(|person| person.name).collect();
        drop(self.0.send(Seen::Here(names)));
    }

    async fn pointed(&self, id: u32, x: u16, y: u16) {
        drop(self.0.send(Seen::Pointed(id, x, y)));
    }

    async fn vote(&self, _question: &str, _choices: Vec<String>) -> u32 {
        0
    }

    async fn voted(&self, _question: &str, _choices: Vec<String>, votes: Vec<u32>) {
        drop(self.0.send(Seen::Voted(votes)));
    }
}

/// Starts the example. Returns the program and the address of its page.
fn serve() -> (Program, String) {
    let mut program = Program::start("live", &["127.0.0.1:0"]);
    let line = program.line();
    let url =
        line.strip_prefix("The board is at ").unwrap_or_else(|| panic!("unexpected first line {line:?}")).to_owned();
    (program, url)
}

async fn join(url: &str, name: &str) -> (Client, UnboundedReceiver<Seen>) {
    let (events, seen) = unbounded_channel();
    let live = format!("{}live", url.replace("http", "ws"));
    let client =
        Client::builder().auth(name.to_owned()).serve(ViewerServer::new(EventRecorder(events))).connect(&live).await;
    (client.unwrap(), seen)
}

/// Waits for an event. The function ignores other events that arrive before it.
async fn sees(seen: &mut UnboundedReceiver<Seen>, what: &Seen) {
    let until = async { while seen.recv().await.expect("the connection is open") != *what {} };
    timeout(DEADLINE, until).await.unwrap_or_else(|_| panic!("not received: {what:?}"));
}

fn here(names: &[&str]) -> Seen {
    Seen::Here(names.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn viewers_of_the_board_see_each_other() {
    let (_program, url) = serve();
    let (ada, mut seen_by_ada) = join(&url, "Ada").await;
    let (bob, mut seen_by_bob) = join(&url, "Bob").await;
    sees(&mut seen_by_ada, &here(&["Ada", "Bob"])).await;

    let board = BoardClient::new(&bob);
    let me = board.me().await.unwrap();
    board.point(250, 750).await.unwrap();
    sees(&mut seen_by_ada, &Seen::Pointed(me, 250, 750)).await;
    assert_eq!(board.ask("Tea?", vec!["yes".into(), "no".into()]).await, Ok(vec![2, 0]));
    sees(&mut seen_by_ada, &Seen::Voted(vec![2, 0])).await;
    assert!(board.ask("Tea?", vec![]).await.is_err());

    drop(ada);
    sees(&mut seen_by_bob, &here(&["Bob"])).await;
}

/// `.ci/run` installs a browser and sets the variable `CHROMEDRIVER`. If the variable is not set
/// and no browser is installed, the test is skipped.
#[tokio::test]
async fn browser_pages_and_a_rust_client_share_a_room() {
    let required = std::env::var("CHROMEDRIVER").ok();
    let driver = required.clone().unwrap_or_else(|| "chromedriver".into());
    if required.is_none() && !Command::new(&driver).arg("--version").output().is_ok_and(|done| done.status.success()) {
        eprintln!("SKIPPED: no chromedriver; install Debian's chromium and chromium-driver");
        return;
    }
    let (_program, url) = serve();
    let (rust, mut seen) = join(&url, "Rust").await;
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let screenshot = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("live.png");
    let mut pages = tokio::process::Command::new("python3")
        .arg(folder.join("tests/live.py"))
        .args([&driver, &url])
        .arg(&screenshot)
        .kill_on_drop(true)
        .spawn()
        .unwrap();

    sees(&mut seen, &here(&["Rust", "Ada", "Bob"])).await;
    BoardClient::new(&rust).point(500, 500).await.unwrap();
    sees(&mut seen, &Seen::Voted(vec![2, 1])).await;
    let ended = timeout(DEADLINE, pages.wait()).await.expect("the browser ends in time").unwrap();
    assert!(ended.success(), "the pages failed, see the output above");
    assert!(std::fs::read(&screenshot).unwrap().starts_with(b"\x89PNG"));
    println!("Ada's page: {}", screenshot.display());
}
