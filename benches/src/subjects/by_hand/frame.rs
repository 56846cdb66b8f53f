//! The wire format. A frame consists of the length of the rest, the kind, the ID of the call, and a
//! payload in postcard.

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// The length of the prefix, in bytes.
pub const PREFIX: usize = 4;
/// The length of the kind and of the ID, in bytes.
const HEADER: usize = 5;
/// The maximum length of a frame, in bytes.
const MAX_LENGTH: usize = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A call with an order. The reply contains the same order.
    Echo,
    Emit,
    /// A call with bytes. The reply contains the same bytes.
    Large,
    Join,
    /// A reply to a call of any of these kinds.
    Reply,
    /// A message to a room.
    News,
    /// A request to a room with an order. Each reply contains the same order.
    RoomRequest,
    RoomReply,
}

impl Kind {
    const ALL: [Self; 8] =
        [Self::Echo, Self::Emit, Self::Large, Self::Join, Self::Reply, Self::News, Self::RoomRequest, Self::RoomReply];
}

pub struct Frame<'a> {
    pub kind: Kind,
    pub id: u32,
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Decodes the payload. Returns an error if further bytes follow the value.
    pub fn decode<T: Deserialize<'a>>(&self) -> Result<T> {
        let (value, rest) = postcard::take_from_bytes(self.payload)?;
        ensure!(rest.is_empty(), "bytes after the payload");
        Ok(value)
    }
}

/// Returns the total length of the first frame, or `None` if the prefix is incomplete.
pub fn frame_length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(prefix) = bytes.first_chunk::<PREFIX>() else { return Ok(None) };
    let length = u32::from_le_bytes(*prefix) as usize;
    ensure!((HEADER..=MAX_LENGTH).contains(&length), "invalid frame length {length}");
    Ok(Some(PREFIX + length))
}

/// Removes the first frame from `bytes` and returns the frame. Returns `None` if the frame is
/// incomplete.
pub fn take_frame<'a>(bytes: &mut &'a [u8]) -> Result<Option<Frame<'a>>> {
    let Some(length) = frame_length(bytes)? else { return Ok(None) };
    let Some((frame, rest)) = bytes.split_at_checked(length) else { return Ok(None) };
    *bytes = rest;
    let kind = *Kind::ALL.get(frame[PREFIX] as usize).context("unknown kind")?;
    let (header, payload) = frame.split_at(PREFIX + HEADER);
    let Some(&id) = header.last_chunk::<4>() else { bail!("the frame has no ID") };
    Ok(Some(Frame { kind, id: u32::from_le_bytes(id), payload }))
}

/// Appends a frame.
pub fn put_frame(out: &mut Vec<u8>, kind: Kind, id: u32, payload: &impl Serialize) -> Result<()> {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX]);
    out.push(kind as u8);
    out.extend_from_slice(&id.to_le_bytes());
    postcard::serialize_with_flavor(payload, Tail(out))?;
    let length = u32::try_from(out.len() - start - PREFIX)?;
    out[start..start + PREFIX].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Appends the beginning of a large frame, without its payload. The caller appends a payload of
/// `bytes` bytes afterwards.
pub fn put_large_header(out: &mut Vec<u8>, kind: Kind, id: u32, bytes: usize) -> Result<()> {
    let start = out.len();
    put_frame(out, kind, id, &bytes)?;
    let length = u32::try_from(out.len() - start - PREFIX + bytes)?;
    out[start..start + PREFIX].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// A flavor of postcard that appends to a buffer.
struct Tail<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Tail<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Changes the kind of the first frame in `frame`.
pub fn set_kind(frame: &mut [u8], kind: Kind) {
    frame[PREFIX] = kind as u8;
}
