//! Tests of the codec's guarantees.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod agreement;
mod depth;
mod refusals;
mod sizes;
mod texts;
