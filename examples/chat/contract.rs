//! What the server and the terminals have agreed on.

use std::{error::Error, fmt};

use serde::{Deserialize, Serialize};

/// The room where everybody begins.
pub const LOBBY: &str = "lobby";

/// How many choices a vote may have.
pub const CHOICES: std::ops::RangeInclusive<usize> = 2..=9;

/// What [`is_name`] asks for, in words.
pub const NAME_RULE: &str = "use 1 to 20 letters, digits, - or _";

/// Whether a person or a room may have this name.
pub fn is_name(name: &str) -> bool {
    let is_legal = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    (1..=20).contains(&name.chars().count()) && name.chars().all(is_legal)
}

/// Served by the server. Whatever it does, it does in the room that the caller is in.
#[sockets::group("Chat")]
pub trait Chat {
    /// Says something to the others.
    #[emit]
    async fn say(&self, text: &str);
    /// Changes to another room.
    async fn join(&self, room: &str) -> Result<(), ChatError>;
    /// The name of the room and those of its members, the first one first.
    async fn who(&self) -> (String, Vec<String>);
    /// Asks the others to choose, and ends when all have, or the time for it is up.
    #[request(timeout = "2m")]
    async fn vote(&self, choices: Vec<String>) -> Result<(), ChatError>;
    /// Disconnects somebody, with words.
    async fn kick(&self, name: &str, words: &str) -> Result<(), ChatError>;
}

/// Served by every terminal.
#[sockets::group("Terminal")]
pub trait Terminal {
    /// Somebody in the room has said something.
    #[emit]
    async fn said(&self, name: &str, text: &str);
    /// Something has happened in the room.
    #[emit]
    async fn happened(&self, what: &str);
    /// The position of one of the choices; `None` abstains.
    async fn vote(&self, asked_by: &str, choices: Vec<String>) -> Option<usize>;
}

/// Why the server does not do what somebody asked for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChatError {
    /// A room cannot be called that.
    RoomName,
    /// The caller is in that room already.
    HereAlready,
    /// Nobody of that name is in the room.
    NotHere,
    /// Only the first member of a room may do that, who is this one.
    NotFirst(String),
    /// One cannot do that to oneself.
    Yourself,
    /// Nobody else is in the room.
    Alone,
    /// A vote cannot have so many choices, or so few.
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
