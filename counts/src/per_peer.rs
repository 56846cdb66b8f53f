//! Figures that exist for both endpoints.

use std::fmt;

/// A figure of the server, and the same figure of the client.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct PerPeer {
    /// The figure of the server.
    pub server: f64,
    /// The figure of the client. For a room, the figure is the sum over all members.
    pub client: f64,
}

impl PerPeer {
    /// Returns `true` if neither figure exceeds its bound.
    pub fn within(self, bound: Self) -> bool {
        self.server <= bound.server && self.client <= bound.client
    }

    /// Returns the change from `baseline`. The result 0.01 means an increase of 1 per cent.
    pub fn change_from(self, baseline: Self) -> Self {
        Self { server: self.server / baseline.server - 1.0, client: self.client / baseline.client - 1.0 }
    }
}

impl fmt::Display for PerPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.server < 10.0 { 5 } else { 1 };
        write!(f, "{:>7.digits$} {:>7.digits$}", self.server, self.client)
    }
}
