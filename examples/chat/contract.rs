//! The contracts between the server and the terminals of its users.

use std::{error::Error, fmt};

use serde::{Deserialize, Serialize};

/// The room that each user joins first.
pub const LOBBY: &str = "lobby";

/// The number of choices that a vote may have.
pub const CHOICES: std::ops::RangeInclusive<usize> = 2..=9;

/// The rule that [`is_name`] checks, as a text for users.
pub const NAME_RULE: &str = "use 1 to 20 letters, digits, - or _";

/// Returns `true` if a user or a room may have this name.
pub fn is_name(name: &str) -> bool {
    let is_legal = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    (1..=20).contains(&name.chars().count()) && name.chars().all(is_legal)
}

/// The methods of the server. They all act on the caller's current room.
#[sockets::group("Chat")]
pub trait Chat {
    /// Sends a line of text to the other members.
    #[emit]
    async fn say(&self, text: &str);
    /// Moves the caller to another room.
    async fn join(&self, room: &str) -> Result<(), ChatError>;
    /// Returns the name of the room, and its members in the order of their arrival.
    async fn who(&self) -> (String, Vec<String>);
    /// Asks the other members to choose. The call returns when each member has answered or has
    /// timed out.
    #[request(timeout = "2m")]
    async fn vote(&self, choices: Vec<String>) -> Result<(), ChatError>;
    /// Disconnects a member, with a message.
    async fn kick(&self, name: &str, words: &str) -> Result<(), ChatError>;
}

/// The methods of every terminal, which the server calls.
#[sockets::group("Terminal")]
pub trait Terminal {
    /// Shows a line of text that a member sent.
    #[emit]
    async fn said(&self, name: &str, text: &str);
    /// Shows an event in the room.
    #[emit]
    async fn happened(&self, what: &str);
    /// Returns the index of a choice, or `None` to abstain.
    async fn vote(&self, asked_by: &str, choices: Vec<String>) -> Option<usize>;
}

/// The error of a call to the server.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChatError {
    /// The name of the room breaks the rule.
    RoomName,
    /// The caller is already a member of that room.
    HereAlready,
    /// The room has no member with that name.
    NotHere,
    /// The caller is not the first member of the room, and only the first member may kick other
    /// members. The variant contains the name of the first member.
    NotFirst(String),
    /// The caller cannot kick itself.
    Yourself,
    /// The room has no other member.
    Alone,
    /// The number of choices is outside of the permitted range.
    Choices,
}

impl fmt::Display for ChatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RoomName => write!(f, "A room cannot be called that: {NAME_RULE}."),
            Self::HereAlready => f.write_str("You are there already."),
            Self::NotHere => f.write_str("Nobody of that name is in this room."),
            Self::NotFirst(first) => write!(f, "Only the first member of a room may do that. Here it is {first}."),
            Self::Yourself => f.write_str("Not to yourself. /quit leaves the chat."),
            Self::Alone => f.write_str("You are alone in this room."),
            Self::Choices => write!(f, "A vote has {} to {} choices.", CHOICES.start(), CHOICES.end()),
        }
    }
}

impl Error for ChatError {}
