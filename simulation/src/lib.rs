//! Simulated servers and clients without I/O, in simulated time.
//!
//! A seed, or the bytes of a fuzzer, determine a world. A world consists of a server, some clients,
//! and the connections between them. The connections are slow, freeze, recover and break. Honest
//! peers act freely within the protocol, and hostile peers break the protocol. After each step,
//! models of the protocol check the guarantees of [`sockets_proto`]. `ARCHITECTURE.md` in the
//! repository describes how to run more worlds, and how to repeat a world.

mod actions;
mod audience;
mod choices;
mod endpoint;
mod engine;
mod fuzz_entries;
mod hostile;
mod incoming;
mod keep_alive;
mod latest;
mod link;
mod outgoing;
mod receiver;
mod resumption;
#[cfg(test)]
mod seeds;
mod steps;
mod window;
mod world;

pub use self::fuzz_entries::{decode_frame, peer_bytes, peer_frames};
