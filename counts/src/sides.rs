//! A figure for each side.

use std::fmt;

/// A figure for the server and the same figure for the client.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Sides {
    /// The server's.
    pub server: f64,
    /// The client's. For a room, the sum over all members.
    pub client: f64,
}

impl Sides {
    /// Returns `true` if neither side exceeds its bound.
    pub fn within(self, bound: Self) -> bool {
        self.server <= bound.server && self.client <= bound.client
    }

    /// Returns the change from `baseline`, where 0.01 is one per cent more.
    pub fn change_from(self, baseline: Self) -> Self {
        Self { server: self.server / baseline.server - 1.0, client: self.client / baseline.client - 1.0 }
    }
}

impl fmt::Display for Sides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.server < 10.0 { 5 } else { 1 };
        write!(f, "{:>7.digits$} {:>7.digits$}", self.server, self.client)
    }
}
