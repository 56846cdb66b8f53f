//! The command `chat join`. It sends typed lines to the server, and prints the messages of the
//! room.

use std::{
    convert::Infallible,
    fmt::Display,
    io::{BufRead, stdin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sockets::{CallError, Client, ClientState, ConnectError, DisconnectReason, States};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::{
    contract::{ChatClient, LOBBY, Terminal, TerminalServer},
    terminal::{bad_address, print},
};

const HELP: &str = "\
* What you type is said to the others in your room, except:
*   /join ROOM          go to another room; whoever comes first to one may kick
*   /leave              go back to the lobby
*   /who                show who is in the room
*   /vote THIS THAT     ask the others to choose
*   /kick NAME [WHY]    throw somebody out
*   /quit               leave the chat (so do Ctrl-C and Ctrl-D)";

/// Runs until the user leaves or the session ends.
pub async fn join(name: &str, addr: &str, stop: &Notify) -> Result<(), String> {
    let screen = Arc::new(Screen::default());
    let client = Client::builder()
        .auth(name.to_owned())
        .serve(TerminalServer::from_arc(Arc::clone(&screen)))
        .connect(&format!("tcp://{addr}"))
        .await
        .map_err(|error| cannot_join(&error, addr))?;

    tokio::select! {
        () = stop.notified() => {}
        () = converse(&client, &screen) => {}
        () = report_state_changes(client.states()) => {}
        reason = client.disconnected() => return Err(end_message(&reason)),
    }
    // The client closes the connection when its last handle is dropped. The program waits for the
    // close with a `Peer`, because a `Peer` does not keep the connection open.
    let connection = client.as_peer().clone();
    drop(client);
    connection.disconnected().await;
    print("* You have left the chat.");
    Ok(())
}

/// Reports the loss of the connection. After a reconnection, reports whether the session has been
/// resumed.
async fn report_state_changes(mut states: States<ClientState>) {
    let (mut current, mut offline) = (1, false);
    while let Some(state) = states.next().await {
        match state {
            ClientState::Connected { session, .. } if session > current => {
                print("* You are back. You have a new session, and are in the lobby.");
                (current, offline) = (session, false);
            }
            ClientState::Connected { .. } if offline => {
                print("* You are back, and have missed nothing.");
                offline = false;
            }
            ClientState::Reconnecting { .. } if !offline => {
                print("* The connection is lost. Your messages are sent after the reconnection.");
                offline = true;
            }
            _ => {}
        }
    }
    // The session has ended, and the caller prints the reason.
    std::future::pending::<()>().await;
}

fn cannot_join(error: &ConnectError, addr: &str) -> String {
    match error {
        ConnectError::Unreachable(error) => format!("There is no chat at {addr}: {error}. `chat serve` starts one."),
        ConnectError::Refused(refusal) => format!("You cannot join the chat: {refusal}."),
        ConnectError::Address(_) => bad_address(addr),
        error => format!("You cannot join the chat: {error}."),
    }
}

fn end_message(reason: &DisconnectReason) -> String {
    match reason {
        DisconnectReason::Kicked(words) => format!("You are out: {words}"),
        reason => format!("The chat has ended: {reason}."),
    }
}

/// Executes typed lines until `/quit` or the end of the input.
async fn converse(client: &Client, screen: &Screen) {
    let chat = ChatClient::new(client);
    print("* Welcome. /help shows what you can do.");
    show_room(&chat).await;
    let mut lines = typed_lines();
    while let Some(line) = lines.recv().await {
        let line = line.trim();
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match (command, rest.trim()) {
            ("", _) => {}
            ("/quit", _) => return,
            ("/help", _) => HELP.lines().for_each(print),
            ("/who", _) => show_room(&chat).await,
            ("/join", "") => print("* Which room? /join ROOM"),
            ("/join", room) => change_room(&chat, room).await,
            ("/leave", _) => change_room(&chat, LOBBY).await,
            ("/vote", choices) => ask(&chat, choices),
            ("/kick", "") => print("* Whom? /kick NAME [WHY]"),
            ("/kick", rest) => {
                let (name, words) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                print_error(chat.kick(name, words.trim()).await);
            }
            (unknown, _) if unknown.starts_with('/') => print(&format!("* There is no {unknown}; /help shows all.")),
            _ if screen.answers_vote(line) => {}
            _ => print_error(chat.say(line).await),
        }
    }
}

/// Returns a channel of the typed lines. A separate thread reads the lines, since a read from a
/// terminal cannot be cancelled. The program can exit while the thread still reads.
fn typed_lines() -> mpsc::Receiver<String> {
    let (typed, lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut line = Vec::new();
        while matches!(stdin().lock().read_until(b'\n', &mut line), Ok(1..)) {
            if typed.blocking_send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    lines
}

async fn show_room(chat: &ChatClient) {
    match chat.who().await {
        Ok((room, members)) => print(&format!("* In {room}: {}", members.join(", "))),
        Err(error) => print_error::<Infallible>(Err(error)),
    }
}

async fn change_room(chat: &ChatClient, room: &str) {
    match chat.join(room).await {
        Ok(()) => show_room(chat).await,
        Err(error) => print_error(Err(error)),
    }
}

/// Starts a vote in the background, so that the user can continue to type.
fn ask(chat: &ChatClient, choices: &str) {
    let choices: Vec<_> = choices.split_whitespace().map(str::to_owned).collect();
    let chat = chat.clone();
    tokio::spawn(async move { print_error(chat.vote(choices).await) });
}

/// Prints the error of a call.
fn print_error<E: Display>(outcome: Result<(), CallError<E>>) {
    match outcome {
        // The function `join` reports the end of the session once.
        Ok(()) | Err(CallError::Disconnected { .. }) => {}
        Err(CallError::Handler(error)) => print(&format!("* {error}")),
        Err(error) => print(&format!("* That did not work: {error}.")),
    }
}

/// The handler of `Terminal`, which the server calls.
#[derive(Default)]
struct Screen {
    ballot: Mutex<Option<Ballot>>,
}

/// A vote that is waiting for the user's choice.
struct Ballot {
    choices: usize,
    answer: oneshot::Sender<usize>,
}

impl Screen {
    fn ballot(&self) -> MutexGuard<'_, Option<Ballot>> {
        self.ballot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes the user's choice to an open vote. Returns `true` if the line is a number and a vote
    /// was open.
    fn answers_vote(&self, line: &str) -> bool {
        let Ok(number) = line.parse::<usize>() else { return false };
        let mut ballot = self.ballot();
        // The receiver is closed if the vote has timed out or if its caller has left.
        let Some(open) = ballot.take_if(|ballot| !ballot.answer.is_closed()) else { return false };
        if (1..=open.choices).contains(&number) {
            // Sending fails if the vote has just timed out.
            let _ = open.answer.send(number - 1);
        } else {
            print(&format!("* A number from 1 to {}, please.", open.choices));
            *ballot = Some(open);
        }
        true
    }
}

impl Terminal for Screen {
    async fn said(&self, name: &str, text: &str) {
        print(&format!("{name}: {text}"));
    }

    async fn happened(&self, what: &str) {
        print(&format!("* {what}"));
    }

    async fn vote(&self, asked_by: &str, choices: Vec<String>) -> Option<usize> {
        let (answer, answered) = oneshot::channel();
        // The client stores the ballot before it prints the choices, so that the ballot exists even
        // if the user answers immediately.
        *self.ballot() = Some(Ballot { choices: choices.len(), answer });
        print(&format!("* {asked_by} asks you to vote. Type a number:"));
        for (number, choice) in (1..).zip(&choices) {
            print(&format!("*   {number}  {choice}"));
        }
        // If the next vote starts before the user has answered, its ballot replaces this ballot.
        // The sender of this vote is then dropped, and the result is `None`.
        answered.await.ok()
    }
}
