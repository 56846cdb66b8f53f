//! The parameters of resumption that both hellos contain.

use serde::{Deserialize, Serialize};

use crate::Token;

/// The session that a client asks for, if the client supports resumption.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Resumption {
    /// A new session that the client can resume later.
    New,
    /// An existing session, which the client wants to resume.
    Resume(ResumeRequest),
}

/// A client's request to resume a session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResumeRequest {
    /// The resumption token.
    pub token: Token,
    /// The position up to which the client has received all bytes.
    pub received: u64,
    /// The position of the first sent byte that the client still retains.
    pub first_retained: u64,
    /// The number of the attempt. Each request has a greater number than all earlier requests for
    /// the session. Requests may arrive out of order, so the server declines a request that is
    /// older than the accepted request.
    pub attempt: u64,
}

/// A server's response to a client that supports resumption.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResumeGrant {
    /// The position up to which the server has received all bytes. The field is `None` if the
    /// session is new.
    pub received: Option<u64>,
    /// The token with which the client can resume the session the next time.
    pub token: Token,
}
