//! What may be spent, all in one place.

use std::fmt;

use crate::Load;

/// A figure on each side.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Sides {
    /// The server's.
    pub server: f64,
    /// The client's: of a room, all of its members together.
    pub client: f64,
}

const fn sides(server: f64, client: f64) -> Sides {
    Sides { server, client }
}

/// Allocations per request or emit: none for each. What is kept until it is acknowledged is in a list that doubles, at first or when
/// acknowledgements are late. A runtime makes a list, once, of those who let others go first, as a
/// server does when a batch takes it longer than its turn; a client makes some where many calls are in flight, since the
/// buffer that it sends from grows anew when it has been large.
pub const ALLOCATIONS: Sides = sides(0.005, 0.1);

/// The server's allocations per further member of a broadcast, rounded: its lists of members grow by doubling.
pub const ALLOCATIONS_PER_MEMBER: f64 = 0.02;

/// A load and what each call, emit or delivery of it may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Its name in the report.
    pub name: &'static str,
    /// What is done.
    pub load: Load,
    /// In so many rounds, and in twice as many.
    pub rounds: u32,
    /// In user space.
    pub instructions: Sides,
    /// Of any kind.
    pub system_calls: Sides,
}

/// Instructions some 10 % above what they were when last tuned, with sessions that outlive their connections: what is sent is
/// copied once more, which callgrind counts as an instruction a byte where there are 2 KiB and more. Without
/// (`WITHOUT_RESUMPTION=1 bash .ci/counts`) they are about 3 % less for a lone call, 1 % for many, and 250 for a member's part
/// of a broadcast. System calls a little above, for how often the two
/// sides meet each other's messages varies. Both vary with the compiler's version.
pub const BOUNDS: [Bound; 6] = [
    Bound {
        name: "1 call in flight",
        load: Load::Calls { in_flight: 1 },
        rounds: 1000,
        instructions: sides(6200.0, 6800.0),
        system_calls: sides(3.05, 3.05),
    },
    Bound {
        name: "64 calls in flight",
        load: Load::Calls { in_flight: 64 },
        rounds: 50,
        instructions: sides(2200.0, 2500.0),
        system_calls: sides(0.08, 0.09),
    },
    Bound {
        name: "512 calls in flight",
        load: Load::Calls { in_flight: 512 },
        rounds: 10,
        instructions: sides(2150.0, 2400.0),
        system_calls: sides(0.025, 0.035),
    },
    Bound {
        name: "16 emits, one request",
        load: Load::Emits,
        rounds: 500,
        instructions: sides(1700.0, 1290.0),
        system_calls: sides(0.27, 0.27),
    },
    Bound {
        name: "room of 250, a message",
        load: Load::Room { members: 250, messages: 1 },
        rounds: 20,
        instructions: sides(1300.0, 4000.0),
        system_calls: sides(1.1, 1.4),
    },
    Bound {
        name: "room of 250, 16 at once",
        load: Load::Room { members: 250, messages: 16 },
        rounds: 5,
        instructions: sides(370.0, 1580.0),
        system_calls: sides(0.08, 0.1),
    },
];

impl Sides {
    /// Whether neither side is above its bound.
    pub fn within(self, bound: Self) -> bool {
        self.server <= bound.server && self.client <= bound.client
    }
}

impl fmt::Display for Sides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.server < 10.0 { 3 } else { 0 };
        write!(f, "{:>5.digits$} {:>5.digits$}", self.server, self.client)
    }
}
