//! Simulated servers and clients without I/O, in simulated time.
//!
//! A seed, or the bytes of a fuzzer, makes a world: a server with some clients, and connections that are slow, freeze,
//! heal and break. Honest peers choose freely within the protocol, and hostile ones ignore it. After each step the
//! guarantees of [`sockets_proto`] are checked from outside, by accounts of the simulation's own. `ARCHITECTURE.md` in
//! the repository shows how to run more worlds, and how to repeat one.

mod acting;
mod choices;
mod engine;
mod fuzzing;
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

pub use self::fuzzing::{decode_frame, peer_bytes, peer_frames};
