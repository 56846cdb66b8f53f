//! What a workload finds out: a few numbers under a name, which says the unit.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Printed by a client's process as one line of JSON, an object of numbers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Figures(pub Map<String, Value>);

impl Figures {
    pub fn with(mut self, name: &str, value: f64) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// The two percentiles of these times in nanoseconds, as microseconds.
    pub fn with_percentiles(self, mut nanoseconds: Vec<u64>) -> Self {
        nanoseconds.sort_unstable();
        let percentile = |percent: usize| {
            let index = (nanoseconds.len() * percent / 100).min(nanoseconds.len().saturating_sub(1));
            nanoseconds.get(index).map_or(f64::NAN, |&time| time as f64 / 1000.0)
        };
        let (half, most) = (percentile(50), percentile(99));
        self.with("p50 µs", half).with("p99 µs", most)
    }
}
