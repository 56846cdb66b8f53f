//! The resumption of sessions. Also clients that reconnect to another server.

mod cuts;
mod delivery;
mod offline_calls;
mod restarts;
mod session;
mod socket_states;
mod storm;
