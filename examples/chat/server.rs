//! The command `chat serve`. The server admits users and serves their calls.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sockets::{Audience, BindError, ConnectInfo, DisconnectReason, Limits, Refusal, Server, Shutdown, Socket};
use tokio::sync::Notify;

use crate::{
    contract::{CHOICES, Chat, ChatError, ChatServer, LOBBY, NAME_RULE, TerminalClient, is_name},
    person::{Names, Person},
    terminal::{bad_address, print},
};

/// Runs the server until `stop` is notified.
pub async fn serve(addr: &str, vote_time: Duration, stop: &Notify) -> Result<(), String> {
    let names = Names::default();
    let server = Server::builder()
        // Lines of text are short, so frames are small. The grace period is short, so that the
        // shutdown does not wait for open votes.
        .limits(Limits::new().max_frame(16 << 10).shutdown_grace(Duration::from_secs(1)))
        .authenticate(move |name: String, info: ConnectInfo| {
            let names = names.clone();
            async move {
                if !is_name(&name) {
                    return Err(Refusal::new(format!("that is not a name for the chat: {NAME_RULE}")));
                }
                // If the session resumes, its user already has the name.
                let person = if info.is_resumption() { names.known(&name) } else { names.take(&name) };
                person.ok_or_else(|| Refusal::new(format!("the name {name} is taken")))
            }
        })
        .connected(move |socket| welcome(socket, vote_time))
        .bind(&format!("tcp://{addr}"))
        .await
        .map_err(|error| match error {
            BindError::Address(_) => bad_address(addr),
            error => format!("The chat cannot be opened: {error}."),
        })?;

    print(&format!("The chat is open at {}. Ctrl-C closes it.", server.local_addr()));
    stop.notified().await;
    print("The chat closes.");
    server.shutdown_with(Shutdown::new().for_good("the chat is closed")).await;
    Ok(())
}

async fn welcome(socket: Socket<Person>, vote_time: Duration) {
    print(&format!("{} comes in", socket.identity().name()));
    let visitor = Arc::new(Visitor { socket: socket.clone(), room: Mutex::default(), vote_time });
    socket.serve(ChatServer::from_arc(Arc::clone(&visitor)));
    visitor.enter(LOBBY);
    visitor.tell_others("comes in").await;
    socket.on_disconnect(move |reason| async move {
        print(&format!("{} goes: {reason}", visitor.name()));
        match reason {
            // The members of the room have been notified, or the server is about to notify them.
            DisconnectReason::Kicked(_) | DisconnectReason::ShuttingDown { .. } => {}
            _ => visitor.tell_others("leaves").await,
        }
    });
}

/// The handler of a user's calls.
struct Visitor {
    socket: Socket<Person>,
    /// The current room of the user. After the session has ended, it is the last room of the user.
    room: Mutex<String>,
    vote_time: Duration,
}

impl Visitor {
    fn name(&self) -> String {
        self.socket.identity().name().to_owned()
    }

    fn lock_room(&self) -> MutexGuard<'_, String> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns all members of the room.
    fn room(&self) -> Audience<Person> {
        self.socket.server().room(&self.lock_room())
    }

    /// Returns all other members of the room.
    fn others(&self) -> Audience<Person> {
        self.room().except(&self.socket)
    }

    /// Returns the members of the room in the order of their arrival.
    fn members(&self) -> Vec<Socket<Person>> {
        let mut members = self.room().sockets();
        members.sort_by_key(|member| member.identity().arrival());
        members
    }

    /// Notifies the other members of an action of this user.
    async fn tell_others(&self, what: &str) {
        tell(&self.others(), &format!("{} {what}", self.name())).await;
    }

    /// Joins a room. The method never awaits, so two changes by the same user cannot interleave.
    fn enter(&self, room: &str) {
        room.clone_into(&mut self.lock_room());
        self.socket.identity().arrives();
        if let Err(error) = self.socket.join(room) {
            eprintln!("{} is not in {room}: {error}", self.name());
        }
    }
}

/// Notifies an audience of an event.
async fn tell(audience: &Audience<Person>, what: &str) {
    if let Err(error) = TerminalClient::new(audience).happened(what).await {
        print(&format!("The members were not notified that {what}: {error}"));
    }
}

impl Chat for Visitor {
    async fn say(&self, text: &str) {
        if let Err(error) = TerminalClient::new(&self.others()).said(&self.name(), text).await {
            print(&format!("The message of {} was not sent: {error}", self.name()));
        }
    }

    async fn join(&self, room: &str) -> Result<(), ChatError> {
        if !is_name(room) {
            return Err(ChatError::RoomName);
        }
        let old = self.lock_room().clone();
        if old == room {
            return Err(ChatError::HereAlready);
        }
        let former_room = self.others();
        self.socket.leave(&old);
        self.enter(room);
        tell(&former_room, &format!("{} goes to {room}", self.name())).await;
        self.tell_others("comes in").await;
        Ok(())
    }

    async fn who(&self) -> (String, Vec<String>) {
        let names = self.members().iter().map(|member| member.identity().name().to_owned()).collect();
        (self.lock_room().clone(), names)
    }

    async fn vote(&self, choices: Vec<String>) -> Result<(), ChatError> {
        if !CHOICES.contains(&choices.len()) {
            return Err(ChatError::Choices);
        }
        let room = self.room();
        let others = TerminalClient::new(&room.except(&self.socket)).with_timeout(self.vote_time);
        let mut votes = others.vote(&self.name(), choices.clone());
        if votes.open() == 0 {
            return Err(ChatError::Alone);
        }
        let mut counts = vec![0; choices.len()];
        let mut silent = Vec::new();
        while let Some((voter, vote)) = votes.next().await {
            let voter = voter.identity();
            let name = voter.name();
            match vote {
                Ok(Some(choice)) if choice < choices.len() => {
                    counts[choice] += 1;
                    tell(&room, &format!("{name} votes for {}", choices[choice])).await;
                }
                // The voter abstained, timed out or left.
                _ => silent.push(name.to_owned()),
            }
        }
        let counted: Vec<_> = choices.iter().zip(counts).map(|(choice, count)| format!("{choice} {count}")).collect();
        let no_answer =
            if silent.is_empty() { String::new() } else { format!(" No answer from {}.", silent.join(", ")) };
        let result = format!("The vote is over: {}.{no_answer}", counted.join(", "));
        tell(&room, &result).await;
        Ok(())
    }

    async fn kick(&self, name: &str, words: &str) -> Result<(), ChatError> {
        let members = self.members();
        match members.first() {
            Some(first) if *first != self.socket => {
                return Err(ChatError::NotFirst(first.identity().name().to_owned()));
            }
            _ => {}
        }
        let kicked = members.iter().find(|member| member.identity().is_called(name)).ok_or(ChatError::NotHere)?;
        if *kicked == self.socket {
            return Err(ChatError::Yourself);
        }
        let what = format!("{} kicks {}", self.name(), kicked.identity().name());
        tell(&self.room().except(kicked), &what).await;
        let words = if words.is_empty() { "without a word" } else { words };
        kicked.disconnect(&format!("{} kicked you: {words}", self.name()));
        Ok(())
    }
}
