//! What is on the wire: the length of what follows, the kind, the number of the call, and a payload in postcard.

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// The lengths of the prefix, and of the kind and the number.
pub const PREFIX: usize = 4;
const HEADER: usize = 5;
/// More is refused.
const LONGEST: usize = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// An order, to be returned.
    Echo,
    Emit,
    /// Bytes, to be returned.
    Large,
    Join,
    /// To any of these.
    Reply,
    /// To a room: a message, and an order to be returned in an answer.
    News,
    Question,
    Answer,
}

impl Kind {
    const ALL: [Self; 8] =
        [Self::Echo, Self::Emit, Self::Large, Self::Join, Self::Reply, Self::News, Self::Question, Self::Answer];
}

pub struct Frame<'a> {
    pub kind: Kind,
    pub id: u32,
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// All of the payload is this value.
    pub fn decode<T: Deserialize<'a>>(&self) -> Result<T> {
        let (value, rest) = postcard::take_from_bytes(self.payload)?;
        ensure!(rest.is_empty(), "bytes left over");
        Ok(value)
    }
}

/// How long the frame at the beginning is, all in all; `None` before that has arrived.
pub fn frame_length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(prefix) = bytes.first_chunk::<PREFIX>() else { return Ok(None) };
    let length = u32::from_le_bytes(*prefix) as usize;
    ensure!((HEADER..=LONGEST).contains(&length), "a frame of {length} bytes");
    Ok(Some(PREFIX + length))
}

/// The frame at the beginning, if it is whole; `bytes` are then those behind it.
pub fn take_frame<'a>(bytes: &mut &'a [u8]) -> Result<Option<Frame<'a>>> {
    let Some(length) = frame_length(bytes)? else { return Ok(None) };
    let Some((frame, rest)) = bytes.split_at_checked(length) else { return Ok(None) };
    *bytes = rest;
    let kind = *Kind::ALL.get(frame[PREFIX] as usize).context("an unknown kind")?;
    let (header, payload) = frame.split_at(PREFIX + HEADER);
    let Some(&id) = header.last_chunk::<4>() else { bail!("no id") };
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

/// Appends the beginning of a frame whose payload is so many bytes.
pub fn put_large_header(out: &mut Vec<u8>, kind: Kind, id: u32, bytes: usize) -> Result<()> {
    let start = out.len();
    put_frame(out, kind, id, &bytes)?;
    let length = u32::try_from(out.len() - start - PREFIX + bytes)?;
    out[start..start + PREFIX].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Has postcard append to a buffer.
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

/// Makes the frame at the beginning one of another kind.
pub fn set_kind(frame: &mut [u8], kind: Kind) {
    frame[PREFIX] = kind as u8;
}
