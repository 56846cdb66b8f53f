//! A link, which consists of two endpoints and a pipe to each endpoint. If the link loses its
//! connection, it may get another connection.

use bytes::{Buf, Bytes, BytesMut};

use crate::{endpoint::Endpoint, hostile::Hostile, resumption::TokenModel};
use sockets_proto::PREFIX;

pub(super) enum End {
    Honest(Box<Endpoint>),
    Hostile(Hostile),
}

/// The bytes that are in transit to an endpoint.
#[derive(Default)]
pub(super) struct Pipe {
    bytes: BytesMut,
    /// `true` if no bytes arrive at present.
    pub(super) frozen: bool,
    /// `true` if the pipe has been frozen at any time since the last frame arrived.
    pub(super) stuck: bool,
    /// `true` if no more bytes follow.
    pub(super) ended: bool,
}

impl Pipe {
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn freeze(&mut self) {
        self.frozen = true;
        self.stuck = true;
    }

    /// Drops the bytes in transit.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the next complete frame.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let (prefix, rest) = self.bytes.split_first_chunk::<PREFIX>()?;
        let length = u32::from_le_bytes(*prefix) as usize;
        if rest.len() < length {
            return None;
        }
        self.stuck = false;
        self.bytes.advance(PREFIX);
        Some(self.bytes.split_to(length).freeze())
    }
}

pub(super) struct Link {
    /// The endpoints, with the server first and the client second.
    pub(super) ends: [End; 2],
    /// The pipes, with the pipe to the server first and the pipe to the client second.
    pub(super) pipes: [Pipe; 2],
    /// The maximum number of bytes in transit to an endpoint.
    pub(super) capacity: usize,
    /// `true` if the server has closed the connection after a go-away. The server does so when the
    /// client makes no more calls and all calls have replies.
    pub(super) drained: bool,
    /// `true` if the connection is lost and another connection may follow.
    pub(super) is_detached: bool,
    pub(super) tokens: TokenModel,
}

impl Link {
    /// Returns the honest endpoint at `end`. Returns `None` if the endpoint is closed or hostile.
    pub(super) fn endpoint(&mut self, end: usize) -> Option<&mut Endpoint> {
        match &mut self.ends[end] {
            End::Honest(endpoint) if endpoint.is_open => Some(endpoint),
            _ => None,
        }
    }

    pub(super) fn endpoints(&mut self) -> impl Iterator<Item = &mut Endpoint> {
        self.ends.iter_mut().filter_map(|end| match end {
            End::Honest(endpoint) if endpoint.is_open => Some(&mut **endpoint),
            _ => None,
        })
    }

    pub(super) fn is_honest(&self) -> bool {
        self.ends.iter().all(|end| matches!(end, End::Honest(_)))
    }

    /// Returns `true` if nothing is in flight on the link. Each honest endpoint must be closed, or
    /// must be quiescent and have an empty pipe towards it.
    pub(super) fn is_quiescent(&mut self) -> bool {
        let Self { ends, pipes, .. } = self;
        ends.iter_mut().zip(pipes).all(|(end, pipe)| match end {
            End::Honest(endpoint) if endpoint.is_open => pipe.len() == 0 && !pipe.ended && endpoint.is_quiescent(),
            _ => true,
        })
    }

    /// Closes the connection at `end`. The endpoint sends the bytes `last` before that.
    pub(super) fn close_pipe(&mut self, end: usize, last: &[u8]) {
        let pipe = &mut self.pipes[1 - end];
        if !self.is_detached {
            pipe.put(last);
        }
        pipe.ended = true;
    }
}
