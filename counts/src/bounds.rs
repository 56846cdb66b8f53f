//! Upper bounds of the number of allocations. This number does not depend on the compiler.

use crate::PerPeer;

/// The number of allocations for each request or emit.
///
/// In steady state, a call needs no allocation. The bounds are not 0, because two buffers grow by
/// doubling. The first buffer holds the frames that the peer has not acknowledged. The second is
/// the send buffer of a client that has many calls in flight.
pub const ALLOCATIONS: PerPeer = PerPeer { server: 0.005, client: 0.1 };

/// The number of the server's allocations for each additional member of a broadcast. It is not 0,
/// because the server's lists of members grow by doubling.
pub const ALLOCATIONS_PER_MEMBER: f64 = 0.02;
