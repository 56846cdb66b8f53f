//! Whole worlds, each made by a seed: a server with some clients, links that are slow, freeze, heal and break, peers that
//! keep to the protocol as they like, and time that passes in jumps. After every step all promises are looked at from
//! the outside, with accounts of their own. `ARCHITECTURE.md` says how to run more worlds, and one again.

mod acting;
mod choices;
mod engine;
pub(crate) mod fuzzing;
mod hearing;
mod hostile;
mod incoming;
mod link;
mod liveness;
mod outgoing;
mod receiving;
mod resuming;
#[cfg(test)]
mod seeds;
mod side;
mod steps;
mod window;
mod world;
