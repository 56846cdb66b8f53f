//! What the server and those who look at the board agree on. The pages have the same in `page.js`.

use serde::{Deserialize, Serialize};

/// Somebody who looks at the board.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Person {
    pub id: u32,
    pub name: String,
}

/// Served by the server.
#[sockets::group("Board")]
pub trait Board {
    /// The caller's own id.
    async fn me(&self, call: &sockets::Call) -> u32;

    /// The caller's cursor is there, in thousandths of the board's width and height.
    #[emit]
    async fn point(&self, call: &sockets::Call, x: u16, y: u16);

    /// Asks everybody, and tells how often each of the choices was taken. Everybody is told, too.
    async fn ask(&self, call: &sockets::Call, question: &str, choices: Vec<String>) -> Result<Vec<u32>, String>;
}

/// Served by those who look at the board.
#[sockets::group("Viewer")]
pub trait Viewer {
    /// These are here now.
    #[emit]
    async fn here(&self, people: Vec<Person>);

    /// Somebody's cursor has moved.
    #[emit]
    async fn pointed(&self, id: u32, x: u16, y: u16);

    /// Which of these? The answer is the number of a choice.
    async fn vote(&self, question: &str, choices: Vec<String>) -> u32;

    /// A vote is over.
    #[emit]
    async fn voted(&self, question: &str, choices: Vec<String>, votes: Vec<u32>);
}
