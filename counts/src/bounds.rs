//! Upper bounds of allocations, which do not depend on the compiler.

use crate::PerPeer;

/// Allocations per request or emit.
///
/// There are none in steady state. The bounds allow for two buffers that grow by doubling: the
/// frames that are not acknowledged, and the send buffer of a client with many calls in flight.
pub const ALLOCATIONS: PerPeer = PerPeer { server: 0.005, client: 0.1 };

/// The server's allocations per additional member of a broadcast: its lists of members grow by
/// doubling.
pub const ALLOCATIONS_PER_MEMBER: f64 = 0.02;
