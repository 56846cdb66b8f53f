//! Upper bounds of allocations, which do not depend on the compiler.

use crate::Sides;

/// Allocations per request or emit.
///
/// There are none in steady state. The bounds leave room for two lists that grow by doubling: of frames that wait for
/// their acknowledgement, and, on a client with many calls in flight, its send buffer.
pub const ALLOCATIONS: Sides = Sides { server: 0.005, client: 0.1 };

/// The server's allocations per further member of a broadcast: its lists of members grow by doubling.
pub const ALLOCATIONS_PER_MEMBER: f64 = 0.02;
