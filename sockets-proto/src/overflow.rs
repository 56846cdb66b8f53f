//! Overflow policies of emits to audiences.

/// A method's overflow policy. The policy applies to each member of an audience that has a full
/// queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The member is disconnected.
    #[default]
    Disconnect,
    /// The new message is dropped.
    DropNewest,
    /// The oldest pending messages of the method are dropped until the new message fits.
    DropOldest,
    /// A message is sent immediately or dropped, even if the emit has no audience. After a loss of
    /// the connection, the message is not retransmitted.
    Volatile,
}

/// The treatment of a new message for a member of an audience, if the member has a full queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Applies the method's policy.
    ApplyPolicy,
    /// Accepts the message although the queue is full. Before its next emit, the emitter waits for
    /// this member, so that few messages exceed the limit of the queue.
    Accept,
}

impl Overflow {
    /// Returns `true` if an emit with this policy waits for members that have a full queue.
    /// [`Volatile`](Self::Volatile) needs no wait, since its messages may be lost at any time.
    pub fn waits(self) -> bool {
        self != Self::Volatile
    }
}
