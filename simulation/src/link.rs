//! A connection: two ends, and a pipe to each of them.

use bytes::{Buf, Bytes, BytesMut};

use crate::{hostile::Hostile, resuming::Tickets, side::Side};
use sockets_proto::PREFIX;

pub(super) enum End {
    Honest(Box<Side>),
    Hostile(Hostile),
}

/// Bytes on their way to an end.
#[derive(Default)]
pub(super) struct Pipe {
    bytes: BytesMut,
    /// Nothing arrives for the time being.
    pub(super) frozen: bool,
    /// It has been frozen since a frame arrived last.
    pub(super) stuck: bool,
    /// Nothing comes behind these bytes.
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

    /// What is on its way is lost.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the next frame that is here whole.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let (prefix, behind) = self.bytes.split_first_chunk::<PREFIX>()?;
        let length = u32::from_le_bytes(*prefix) as usize;
        if behind.len() < length {
            return None;
        }
        self.stuck = false;
        self.bytes.advance(PREFIX);
        Some(self.bytes.split_to(length).freeze())
    }
}

pub(super) struct Link {
    /// The server's and the client's.
    pub(super) ends: [End; 2],
    /// To the server and to the client.
    pub(super) pipes: [Pipe; 2],
    /// How many bytes may be on their way to an end.
    pub(super) capacity: usize,
    /// The server has left, after the client had said that no more calls would come and all were answered.
    pub(super) drained: bool,
    /// There is no connection, and there may be another.
    pub(super) is_away: bool,
    pub(super) tickets: Tickets,
}

impl Link {
    /// The honest side at an end, as long as its connection is open.
    pub(super) fn side(&mut self, end: usize) -> Option<&mut Side> {
        match &mut self.ends[end] {
            End::Honest(side) if side.is_open => Some(side),
            _ => None,
        }
    }

    pub(super) fn sides(&mut self) -> impl Iterator<Item = &mut Side> {
        self.ends.iter_mut().filter_map(|end| match end {
            End::Honest(side) if side.is_open => Some(&mut **side),
            _ => None,
        })
    }

    pub(super) fn is_honest(&self) -> bool {
        self.ends.iter().all(|end| matches!(end, End::Honest(_)))
    }

    /// Whether nothing is under way: both ends are quiet, or closed, and so are the pipes to them.
    pub(super) fn is_quiet(&mut self) -> bool {
        let Self { ends, pipes, .. } = self;
        ends.iter_mut().zip(pipes).all(|(end, pipe)| match end {
            End::Honest(side) if side.is_open => pipe.len() == 0 && !pipe.ended && side.is_quiet(),
            _ => true,
        })
    }

    /// An end closes the connection, with these last bytes.
    pub(super) fn hang_up(&mut self, end: usize, last: &[u8]) {
        let pipe = &mut self.pipes[1 - end];
        if !self.is_away {
            pipe.put(last);
        }
        pipe.ended = true;
    }
}
