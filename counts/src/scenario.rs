//! The scenarios. The program counts the cost of each scenario.

use crate::Load;

/// A load, together with a number of rounds.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// The name of the scenario in the report and in the baseline.
    pub name: &'static str,
    /// The load.
    pub load: Load,
    /// The number of rounds of the shorter of two runs. The longer run has twice as many rounds.
    pub rounds: u32,
}

impl Scenario {
    /// All scenarios, in the order of the report.
    pub const ALL: [Self; 6] = [
        Self { name: "1 call in flight", load: Load::Calls { in_flight: 1 }, rounds: 1000 },
        Self { name: "64 calls in flight", load: Load::Calls { in_flight: 64 }, rounds: 50 },
        Self { name: "512 calls in flight", load: Load::Calls { in_flight: 512 }, rounds: 20 },
        Self { name: "16 emits and 1 request", load: Load::Emits, rounds: 500 },
        Self { name: "1 message to 250 members", load: Load::Room { members: 250, messages: 1 }, rounds: 20 },
        Self { name: "16 messages to 250 members", load: Load::Room { members: 250, messages: 16 }, rounds: 5 },
    ];

    /// Returns the scenario with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| scenario.name == name)
    }

    /// Returns the number of calls, emits or deliveries in the shorter run.
    pub fn units(&self) -> u32 {
        self.rounds * self.load.size()
    }
}
