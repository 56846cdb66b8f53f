//! What peers that flood a server cost its other clients: a table of the latency of 50 clients, each of whom makes 200
//! calls a second, without and with each flood, in turns.
//!
//! `cargo run --release -p sockets-tests --bin floods` takes about two minutes; `floods WORD` those floods whose names have
//! the word in them. Server, clients and flooder are processes of their own. The flooder has the lowest priority, so that what
//! is seen is the work that it makes for the server, and not the processor's time that it takes itself.

#![allow(clippy::unwrap_used, reason = "a tool for contributors, which ends with a message when something is missing")]

mod clients;
mod flooder;
#[path = "../../../tests/bad_input/raw.rs"]
#[allow(dead_code, reason = "it is made for more than this")]
mod raw;
mod server;

use std::{
    env,
    process::{Child, Command, Stdio},
    time::Duration,
};

use clients::{Clients, Latency};
use flooder::Flood;
use server::Running;

const TURNS: usize = 5;
/// How long a turn takes without and with the flood.
const TURN: Duration = Duration::from_millis(1500);
/// The flood begins before its turn is measured, and ends after it.
const MARGIN: Duration = Duration::from_millis(300);

fn main() {
    let args: Vec<_> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", workers] => server::run(workers.parse().unwrap()),
        ["flooder", name, address] => Flood::named(name).unwrap().run(address.parse().unwrap(), TURN + 2 * MARGIN),
        [] => measure(""),
        [word] => measure(word),
        _ => panic!("see the top of tests/src/bin/floods/main.rs"),
    }
}

fn measure(word: &str) {
    for workers in [1, 2] {
        println!("\na server with {workers} worker(s); times in µs, p50 and p99\n");
        println!(
            "| flood | sent | without | with | p99, ratio | server's memory grows by |\n| --- | ---: | ---: | ---: | ---: | ---: |"
        );
        for flood in Flood::ALL.into_iter().filter(|flood| flood.name().contains(word)) {
            println!("{}", row(flood, workers));
        }
    }
}

fn row(flood: Flood, workers: usize) -> String {
    let server = Running::start(workers);
    let mut clients = Clients::connect(server.address);
    clients.measure(TURN);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let (mut sent, mut grown) = (String::new(), 0);
    for _ in 0..TURNS {
        without.push(clients.measure(TURN));
        let before = server.memory();
        let mut flooder = start(flood, &server);
        std::thread::sleep(MARGIN);
        with.push(clients.measure(TURN));
        sent = wait(&mut flooder);
        grown = grown.max(server.peak().saturating_sub(before));
    }
    let (without, with) = (Latency::median(without), Latency::median(with));
    let ratio = with.p99.as_secs_f64() / without.p99.as_secs_f64();
    format!("| {} | {sent} | {without} | {with} | {ratio:.2} | {} KiB |", flood.name(), grown)
}

fn start(flood: Flood, server: &Running) -> Child {
    let mut command = Command::new("nice");
    command.args(["-n", "19"]).arg(env::current_exe().unwrap());
    command.args(["flooder", flood.name(), &server.address.to_string()]).stdout(Stdio::piped()).spawn().unwrap()
}

/// What the flooder has to say at its end.
fn wait(flooder: &mut Child) -> String {
    let said = std::io::read_to_string(flooder.stdout.take().unwrap()).unwrap();
    flooder.wait().unwrap();
    said.trim().to_owned()
}
