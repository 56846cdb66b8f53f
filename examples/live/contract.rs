//! The contracts between the server and the viewers. `page.js` repeats them for the pages.

use serde::{Deserialize, Serialize};

/// A viewer of the board.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Person {
    pub id: u32,
    pub name: String,
}

/// Served by the server.
#[sockets::group("Board")]
pub trait Board {
    /// Returns the caller's id.
    async fn me(&self, call: &sockets::Call) -> u32;

    /// Moves the caller's cursor. Units: thousandths of the board's width and height.
    #[emit]
    async fn point(&self, call: &sockets::Call, x: u16, y: u16);

    /// Starts a vote of all viewers. Returns the number of votes for each choice, and sends it to
    /// all viewers.
    async fn ask(&self, call: &sockets::Call, question: &str, choices: Vec<String>) -> Result<Vec<u32>, String>;
}

/// Served by the viewers.
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
