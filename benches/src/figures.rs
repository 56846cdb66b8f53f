//! The results of a workload. Each result is a number with a name, and the name includes the unit.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Named numbers, which a client's process prints as a line of JSON.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Figures(pub Map<String, Value>);

impl Figures {
    pub fn with(mut self, name: &str, value: f64) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// Adds the 50th and the 99th percentile of `nanoseconds`. The figures are in microseconds.
    pub fn with_percentiles(self, mut nanoseconds: Vec<u64>) -> Self {
        nanoseconds.sort_unstable();
        let percentile = |percent: usize| {
            let index = (nanoseconds.len() * percent / 100).min(nanoseconds.len().saturating_sub(1));
            nanoseconds.get(index).map_or(f64::NAN, |&time| time as f64 / 1000.0)
        };
        let (p50, p99) = (percentile(50), percentile(99));
        self.with("p50 µs", p50).with("p99 µs", p99)
    }
}
