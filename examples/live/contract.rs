//! The contracts between the server and the viewers. The file `page.js` repeats the contracts for
//! the pages.

use serde::{Deserialize, Serialize};

/// A viewer of the board.
#[derive(Clone, Debug, sockets::Identity, Serialize, Deserialize)]
pub struct Person {
    #[identity(key)]
    pub id: u32,
    pub name: String,
}

/// The methods that the server serves and viewers call.
#[sockets::group("Board")]
pub trait Board {
    /// Returns the caller's id.
    async fn me(&self) -> u32;

    /// Moves the caller's cursor. The unit is a thousandth of the board's width or height.
    #[emit]
    async fn point(&self, x: u16, y: u16);

    /// Starts a vote of all viewers. Returns the number of votes for each choice, and sends these
    /// numbers to all viewers.
    async fn ask(&self, question: &str, choices: Vec<String>) -> Result<Vec<u32>, String>;
}

/// The methods that viewers serve and the server calls.
#[sockets::group("Viewer")]
pub trait Viewer {
    /// Replaces the list of viewers.
    #[emit]
    async fn here(&self, people: Vec<Person>);

    /// Moves the cursor of a viewer.
    #[emit]
    async fn pointed(&self, id: u32, x: u16, y: u16);

    /// Returns the index of the viewer's choice.
    async fn vote(&self, question: &str, choices: Vec<String>) -> u32;

    /// Shows the result of a vote.
    #[emit]
    async fn voted(&self, question: &str, choices: Vec<String>, votes: Vec<u32>);
}
