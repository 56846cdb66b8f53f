//! The server of the board.

use std::time::Duration;

use sockets::{Refusal, Server, Socket};
use tokio::sync::Mutex;

use crate::contract::{Board, Person, ViewerClient};

/// The room of all viewers.
const ROOM: &str = "board";
/// The deadline of a vote.
const VOTE: Duration = Duration::from_secs(20);

/// A lock that serializes updates of the list of viewers. Because of the lock, the last update that
/// viewers receive contains the current list.
static UPDATE: Mutex<()> = Mutex::const_new(());

pub async fn welcome(socket: Socket<Person>) -> Result<(), Refusal> {
    socket.join(ROOM)?;
    let server = socket.server();
    socket.on_disconnect(move |_| async move { send_viewers(&server).await });
    send_viewers(&socket.server()).await;
    Ok(())
}

async fn send_viewers(server: &Server<Person>) {
    let _guard = UPDATE.lock().await;
    let room = server.room(ROOM);
    let people = room.sockets().iter().map(|socket| Person::clone(&socket.identity())).collect();
    // An error is possible only if the list is too large.
    let _ = ViewerClient::new(&room).here(people).await;
}

/// The handler of a viewer's calls.
pub struct BoardHandler {
    pub viewer: Socket<Person>,
}

impl Board for BoardHandler {
    async fn me(&self) -> u32 {
        self.viewer.identity().id
    }

    async fn point(&self, x: u16, y: u16) {
        let others = self.viewer.server().room(ROOM).except(&self.viewer);
        let _ = ViewerClient::new(&others).pointed(self.viewer.identity().id, x, y).await;
    }

    async fn ask(&self, question: &str, choices: Vec<String>) -> Result<Vec<u32>, String> {
        if question.is_empty() || !(2..=5).contains(&choices.len()) {
            return Err("a vote needs a question and two to five choices".into());
        }
        let viewers = ViewerClient::new(&self.viewer.server().room(ROOM));
        let mut votes = vec![0; choices.len()];
        let mut replies = viewers.clone().with_timeout(VOTE).vote(question, choices.clone());
        while let Some((_, choice)) = replies.next().await {
            // The vote does not count failed requests and invalid choices.
            if let Some(count) = choice.ok().and_then(|choice| votes.get_mut(choice as usize)) {
                *count += 1;
            }
        }
        let _ = viewers.voted(question, choices, votes.clone()).await;
        Ok(votes)
    }
}
