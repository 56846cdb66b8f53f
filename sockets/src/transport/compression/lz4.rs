//! One compressed frame: a kind, the length of the frame within, and that frame as an LZ4 block.

use bytes::Bytes;
use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

use sockets_proto::{PREFIX, ProtocolError};

/// The frame's kind, where both sides compress. Elsewhere there is none with this number.
pub(super) const COMPRESSED: u8 = 0x0b;
/// The kind and the length.
const HEADER: usize = 1 + 4;
/// No block becomes more than so many times as long.
const MAX_RATIO: usize = 255;

/// Compresses a frame, both with their prefixes, if it gets any shorter.
pub(super) fn compress(frame: &[u8]) -> Option<Bytes> {
    let frame_alone = frame.get(PREFIX..)?;
    let mut deflated = vec![0; PREFIX + HEADER + get_maximum_output_size(frame_alone.len())];
    let block = compress_into(frame_alone, &mut deflated[PREFIX + HEADER..]).ok()?;
    let length = u32::try_from(HEADER + block).ok()?;
    deflated.truncate(PREFIX + HEADER + block);
    if deflated.len() >= frame.len() {
        return None;
    }
    deflated[..PREFIX].copy_from_slice(&length.to_le_bytes());
    deflated[PREFIX] = COMPRESSED;
    deflated[PREFIX + 1..PREFIX + HEADER].copy_from_slice(&u32::try_from(frame_alone.len()).ok()?.to_le_bytes());
    deflated.shrink_to_fit();
    Some(deflated.into())
}

/// The frame within a compressed one; what is given has no prefix, and what is returned has.
pub(super) fn decompress(compressed: &[u8], max_frame: usize) -> Result<Bytes, ProtocolError> {
    let (length, block) = compressed
        .strip_prefix(&[COMPRESSED])
        .and_then(<[u8]>::split_first_chunk)
        .ok_or(malformed("it has no length"))?;
    let prefix = *length;
    let length = u32::from_le_bytes(prefix) as usize;
    if length > max_frame {
        return Err(ProtocolError::FrameTooLarge { length, limit: max_frame });
    }
    // So a peer has to send a part of what it makes us set aside.
    if length > MAX_RATIO * block.len() {
        return Err(malformed("so little cannot become that much"));
    }
    let mut frame = vec![0; PREFIX + length];
    if !decompress_into(block, &mut frame[PREFIX..]).is_ok_and(|inflated| inflated == length) {
        return Err(malformed("it does not become what it says"));
    }
    if frame.get(PREFIX) == Some(&COMPRESSED) {
        return Err(malformed("there is another one in it"));
    }
    frame[..PREFIX].copy_from_slice(&prefix);
    Ok(frame.into())
}

fn malformed(what: &'static str) -> ProtocolError {
    ProtocolError::Malformed { kind: COMPRESSED, what }
}
