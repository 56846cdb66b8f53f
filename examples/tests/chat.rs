//! Tests of the chat, with typed input.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    env,
    io::{self, BufRead, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::{Ended, Program};

/// Starts a server at a free port. Returns the server and its address.
fn serve(args: &[&str]) -> (Program, String) {
    let mut server = Program::start("chat", &[&["serve", "127.0.0.1:0"], args].concat());
    let opening = server.line();
    let addr = opening.strip_prefix("The chat is open at ").and_then(|rest| rest.split_once(". "));
    let addr = addr.unwrap_or_else(|| panic!("unexpected first line {opening:?}")).0.to_owned();
    (server, addr)
}

/// Starts a client, and checks that the other clients are notified of the new user.
fn join(name: &str, addr: &str, others: &mut [&mut Program]) -> Program {
    let mut person = Program::start("chat", &["join", name, addr]);
    person.prints(&["* Welcome. /help shows what you can do."]);
    let members = person.line();
    assert!(members.starts_with("* In lobby: ") && members.ends_with(name), "{members}");
    for other in others {
        other.prints(&[&format!("* {name} comes in")]);
    }
    person
}

fn ended(status: i32, rest: &[&str], errors: &str) -> Ended {
    Ended { status: Some(status), rest: rest.iter().map(ToString::to_string).collect(), errors: errors.into() }
}

fn left() -> Ended {
    ended(0, &["* You have left the chat."], "")
}

#[test]
fn message_reaches_only_members_of_its_room() {
    let (_server, addr) = serve(&[]);
    let mut ada = join("ada", &addr, &mut []);
    let mut ben = join("ben", &addr, &mut [&mut ada]);
    let mut cleo = join("cleo", &addr, &mut [&mut ada, &mut ben]);

    ada.types("hello");
    ben.prints(&["ada: hello"]);
    cleo.prints(&["ada: hello"]);

    cleo.types("/join attic");
    cleo.prints(&["* In attic: cleo"]);
    ada.prints(&["* cleo goes to attic"]);
    ben.prints(&["* cleo goes to attic"]);
    ada.types("she is gone");
    ben.prints(&["ada: she is gone"]);
    ada.types("/join attic");
    ada.prints(&["* In attic: cleo, ada"]);
    ada.types("there you are");
    // A message from the lobby would have arrived before these lines.
    cleo.prints(&["* ada comes in", "ada: there you are"]);

    ben.prints(&["* ada goes to attic"]);
    ben.types("/who");
    ben.prints(&["* In lobby: ben"]);
    ada.types("/leave");
    ada.prints(&["* In lobby: ben, ada"]);
    ada.types("/leave");
    ada.prints(&["* You are there already."]);
}

#[test]
fn vote_ends_when_all_have_answered() {
    let (_server, addr) = serve(&["--vote-time", "60"]);
    let mut ada = join("ada", &addr, &mut []);
    let mut ben = join("ben", &addr, &mut [&mut ada]);
    let mut cleo = join("cleo", &addr, &mut [&mut ada, &mut ben]);

    ada.types("/vote pizza pasta");
    let asked = ["* ada asks you to vote. Type a number:", "*   1  pizza", "*   2  pasta"];
    ben.prints(&asked);
    cleo.prints(&asked);
    ben.types("3");
    ben.prints(&["* A number from 1 to 2, please."]);
    ben.types("2");
    for person in [&mut ada, &mut ben, &mut cleo] {
        person.prints(&["* ben votes for pasta"]);
    }
    cleo.types("2");
    for person in [&mut ada, &mut ben, &mut cleo] {
        person.prints(&["* cleo votes for pasta", "* The vote is over: pizza 0, pasta 2."]);
    }
    // If no vote is open, a number is ordinary text.
    cleo.types("2");
    ada.prints(&["cleo: 2"]);
}

#[test]
fn vote_does_not_wait_for_absent_or_silent_members() {
    let (_server, addr) = serve(&["--vote-time", "4"]);
    let mut ada = join("ada", &addr, &mut []);
    let mut ben = join("ben", &addr, &mut [&mut ada]);
    let mut cleo = join("cleo", &addr, &mut [&mut ada, &mut ben]);

    ada.types("/vote pizza pasta");
    ben.prints(&["* ada asks you to vote. Type a number:"]);
    cleo.prints(&["* ada asks you to vote. Type a number:", "*   1  pizza", "*   2  pasta"]);
    cleo.types("/quit");
    assert_eq!(cleo.end(), left());
    ada.prints(&["* cleo leaves", "* The vote is over: pizza 0, pasta 0. No answer from cleo, ben."]);
}

#[test]
fn vote_without_choices_or_members_is_refused() {
    let (_server, addr) = serve(&[]);
    let mut ada = join("ada", &addr, &mut []);
    ada.types("/vote pizza");
    ada.prints(&["* A vote has 2 to 9 choices."]);
    ada.types("/vote pizza pasta");
    ada.prints(&["* You are alone in this room."]);
}

#[test]
fn kick_requires_the_first_member_of_the_room() {
    let (_server, addr) = serve(&[]);
    let mut ada = join("ada", &addr, &mut []);
    let mut ben = join("ben", &addr, &mut [&mut ada]);
    let mut cleo = join("cleo", &addr, &mut [&mut ada, &mut ben]);

    ben.types("/kick cleo");
    ben.prints(&["* Only the first member of a room may do that. Here it is ada."]);
    ada.types("/kick dora");
    ada.prints(&["* Nobody of that name is in this room."]);
    ada.types("/kick ada");
    ada.prints(&["* Not to yourself. /quit leaves the chat."]);
    ada.types("/kick cleo be nice");
    assert_eq!(cleo.end(), ended(1, &[], "You are out: ada kicked you: be nice\n"));
    ada.prints(&["* ada kicks cleo"]);
    ben.prints(&["* ada kicks cleo"]);

    // The first member is the user that entered the room first, not the user that has been
    // connected longest.
    ben.types("/join attic");
    ben.prints(&["* In attic: ben"]);
    ada.types("/join attic");
    ada.prints(&["* ben goes to attic", "* In attic: ben, ada"]);
    ben.types("/kick ada");
    assert_eq!(ada.end(), ended(1, &[], "You are out: ben kicked you: without a word\n"));
}

#[test]
fn taken_name_is_refused_until_it_is_free() {
    let (_server, addr) = serve(&[]);
    let mut ada = join("ada", &addr, &mut []);
    let mut ben = join("ben", &addr, &mut [&mut ada]);
    let refused = Program::start("chat", &["join", "ADA", &addr]).end();
    assert_eq!(refused, ended(1, &[], "You cannot join the chat: the name ADA is taken.\n"));

    ada.types("/quit");
    assert_eq!(ada.end(), left());
    ben.prints(&["* ada leaves"]);
    let started = Instant::now();
    loop {
        let mut again = Program::start("chat", &["join", "ADA", &addr]);
        again.ends_input();
        if again.end().status == Some(0) {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "the name is not free again");
    }
}

#[test]
fn misleading_name_is_refused() {
    let (_server, addr) = serve(&[]);
    for name in ["", "a b", "ada:", "\u{1b}[31mada", "a-name-of-21-characters"] {
        let ended = Program::start("chat", &["join", name, &addr]).end();
        assert_eq!(ended.status, Some(1), "{name:?}");
        assert!(ended.errors.contains("that is not a name for the chat"), "{}", ended.errors);
    }
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let (_server, addr) = serve(&[]);
    let mut ada = join("ada", &addr, &mut []);
    let mut ben = join("ben", &addr, &mut [&mut ada]);
    ada.types("\u{1b}[2J\u{7}gone\u{9b}31m \u{202e}backwards");
    ben.prints(&["ada: [2Jgone31m backwards"]);
    ada.types("/vote \u{1b}[31mred plain");
    ben.prints(&["* ada asks you to vote. Type a number:", "*   1  [31mred", "*   2  plain"]);
}

#[test]
fn end_of_input_leaves_the_chat() {
    let (mut server, addr) = serve(&[]);
    let mut ada = join("ada", &addr, &mut []);
    ada.ends_input();
    assert_eq!(ada.end(), left());
    server.prints(&["ada comes in", "ada goes: the remote peer closed the connection"]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_client_and_others_are_notified() {
    let (mut server, addr) = serve(&[]);
    let mut ada = join("ada", &addr, &mut []);
    let mut ben = join("ben", &addr, &mut [&mut ada]);
    ben.interrupt();
    assert_eq!(ben.end(), left());
    ada.prints(&["* ben leaves"]);
    server.prints(&["ada comes in", "ben comes in", "ben goes: the remote peer closed the connection"]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_server_and_clients_are_notified() {
    let (mut server, addr) = serve(&[]);
    let mut ada = join("ada", &addr, &mut []);
    let mut ben = join("ben", &addr, &mut [&mut ada]);
    server.prints(&["ada comes in", "ben comes in"]);
    server.interrupt();
    server.prints(&["The chat closes."]);
    for person in [&mut ada, &mut ben] {
        assert_eq!(person.end(), ended(1, &[], "The chat has ended: the server shut down: the chat is closed.\n"));
    }
    let Ended { status, errors, .. } = server.end();
    assert_eq!((status, errors.as_str()), (Some(0), ""));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_server_while_a_vote_is_open() {
    let (mut server, addr) = serve(&["--vote-time", "60"]);
    let mut ada = join("ada", &addr, &mut []);
    let mut ben = join("ben", &addr, &mut [&mut ada]);
    ada.types("/vote pizza pasta");
    ben.prints(&["* ada asks you to vote. Type a number:", "*   1  pizza", "*   2  pasta"]);
    server.interrupt();
    assert_eq!(server.end().status, Some(0));
    assert_eq!(ben.end().errors, "The chat has ended: the server shut down: the chat is closed.\n");
    assert_eq!(ada.end().errors, "The chat has ended: the server shut down: the chat is closed.\n");
}

const BROKEN: &str = "* The connection is lost. Your messages are sent after the reconnection.";

#[test]
fn client_reports_a_server_crash_and_a_new_session() {
    let (mut server, addr) = serve(&[]);
    let mut ada = join("ada", &addr, &mut []);
    server.kill();
    ada.prints(&[BROKEN]);
    server.end();
    let mut server = Program::start("chat", &["serve", &addr]);
    server.line();
    ada.prints(&["* You are back. You have a new session, and are in the lobby."]);
    ada.types("/who");
    ada.prints(&["* In lobby: ada"]);
}

#[test]
fn messages_survive_lost_connections() {
    let (_server, addr) = serve(&[]);
    let mut relay = Relay::new("127.0.0.1:0", &addr);
    let mut ada = join("ada", &relay.addr, &mut []);
    let mut ben = join("ben", &addr, &mut [&mut ada]);
    for round in 0..3 {
        relay.kill();
        ada.prints(&[BROKEN]);
        ada.types(&format!("can you hear me, {round}?"));
        ben.types(&format!("no, {round}"));
        relay = Relay::new(&relay.addr, &addr);
        // Messages that both users sent during the outage are delivered.
        let mut received = [ada.line(), ada.line()];
        received.sort();
        assert_eq!(received, ["* You are back, and have missed nothing.".into(), format!("ben: no, {round}")]);
        ben.prints(&[&format!("ada: can you hear me, {round}?")]);
    }
}

/// A process that relays connections until the test kills it. The process runs the executable of
/// this test.
struct Relay {
    addr: String,
    process: Child,
}

/// The environment variable that contains two addresses. The relay listens at the first address and
/// connects to the second.
const RELAY: &str = "CHAT_RELAY";
const OPEN: &str = "a relay is open at ";

impl Relay {
    fn new(at: &str, to: &str) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", "relay_runs_if_requested", "--nocapture"])
            .env(RELAY, format!("{at} {to}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        // The test harness prints some lines of its own first.
        let addr = lines.find_map(|line| Some(line.split_once(OPEN)?.1.to_owned())).unwrap();
        Self { addr, process }
    }

    /// Kills the process, as `kill -9` does.
    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn relay_runs_if_requested() {
    let Ok(addresses) = env::var(RELAY) else { return };
    let (at, to) = addresses.split_once(' ').unwrap();
    // The port was free for a short time, in which the system may have assigned the port to an
    // outgoing connection. Therefore the relay tries to bind until that connection ends.
    let began = Instant::now();
    let listener = loop {
        match TcpListener::bind(at) {
            Ok(listener) => break listener,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(10), "{error}"),
        }
        thread::sleep(Duration::from_millis(10));
    };
    println!("{OPEN}{}", listener.local_addr().unwrap());
    for near in listener.incoming().map(Result::unwrap) {
        let far = TcpStream::connect(to).unwrap();
        for (from, into) in [(&near, &far), (&far, &near)] {
            let (mut from, mut into) = (from.try_clone().unwrap(), into.try_clone().unwrap());
            thread::spawn(move || io::copy(&mut from, &mut into));
        }
    }
}

#[test]
fn client_without_a_server_states_the_remedy() {
    // No program listens at this port.
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let Ended { status, rest, errors } = Program::start("chat", &["join", "ada", &addr]).end();
    assert_eq!((status, rest), (Some(1), vec![]));
    assert!(errors.starts_with(&format!("There is no chat at {addr}: ")), "{errors}");
    assert!(errors.ends_with(". `chat serve` starts one.\n"), "{errors}");
}

#[test]
fn invalid_address_is_refused_by_client_and_server() {
    for args in [&["serve", "nowhere"][..], &["join", "ada", "nowhere"]] {
        let ended_with = Program::start("chat", args).end();
        let words = "nowhere is not an address. Write host:port, for example 127.0.0.1:7000.\n";
        assert_eq!(ended_with, ended(1, &[], words));
    }
}
