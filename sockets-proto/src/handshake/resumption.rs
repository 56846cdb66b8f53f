//! The parameters of resumption in both hellos.

use serde::{Deserialize, Serialize};

use crate::Token;

/// The session that a client with resumption asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Resumption {
    /// A new session that can be resumed.
    New,
    /// A session to resume.
    Resume(ResumeRequest),
}

/// A client's request to resume a session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResumeRequest {
    /// The resumption token.
    pub token: Token,
    /// The position up to which the client has received everything.
    pub received: u64,
    /// The position from which on the client retains its sent frames.
    pub first_retained: u64,
    /// The number of the attempt, greater than in each earlier request for the session. Requests
    /// may arrive out of order.
    pub attempt: u64,
}

/// A server's response to a client with resumption.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResumeGrant {
    /// The position up to which the server has received everything, or `None` if the session is
    /// new.
    pub received: Option<u64>,
    /// The token for the next resumption.
    pub token: Token,
}
