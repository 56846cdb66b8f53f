//! The format of a compressed frame. The frame contains a kind, the length of the original frame,
//! and an LZ4 block of the original frame.

use bytes::Bytes;
use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

use sockets_proto::{PREFIX, ProtocolError};

/// The kind of a compressed frame. If a peer does not compress, it does not know this kind.
pub(super) const COMPRESSED: u8 = 0x0b;
/// The length of the header: the kind and the original length.
const HEADER: usize = 1 + 4;
/// The maximum ratio of a frame's original length to the length of its LZ4 block.
const MAX_RATIO: usize = 255;

/// Compresses a frame with its prefix. Returns the compressed frame with a prefix of its own.
/// Returns `None` if compression does not make the frame shorter.
pub(super) fn compress(frame: &[u8]) -> Option<Bytes> {
    let original = frame.get(PREFIX..)?;
    let mut compressed = vec![0; PREFIX + HEADER + get_maximum_output_size(original.len())];
    let block = compress_into(original, &mut compressed[PREFIX + HEADER..]).ok()?;
    let length = u32::try_from(HEADER + block).ok()?;
    compressed.truncate(PREFIX + HEADER + block);
    if compressed.len() >= frame.len() {
        return None;
    }
    compressed[..PREFIX].copy_from_slice(&length.to_le_bytes());
    compressed[PREFIX] = COMPRESSED;
    compressed[PREFIX + 1..PREFIX + HEADER].copy_from_slice(&u32::try_from(original.len()).ok()?.to_le_bytes());
    compressed.shrink_to_fit();
    Some(compressed.into())
}

/// Decompresses a frame without its prefix. Returns the original frame with its prefix.
pub(super) fn decompress(compressed: &[u8], max_frame: usize) -> Result<Bytes, ProtocolError> {
    let (length, block) = compressed
        .strip_prefix(&[COMPRESSED])
        .and_then(<[u8]>::split_first_chunk)
        .ok_or(malformed("the length of the original frame is missing"))?;
    let prefix = *length;
    let length = u32::from_le_bytes(prefix) as usize;
    if length > max_frame {
        return Err(ProtocolError::FrameTooLarge { length, limit: max_frame });
    }
    // To cause an allocation, the peer has to send a fraction of the allocated bytes.
    if length > MAX_RATIO * block.len() {
        return Err(malformed("the block is too short for its original length"));
    }
    let mut frame = vec![0; PREFIX + length];
    if !decompress_into(block, &mut frame[PREFIX..]).is_ok_and(|written| written == length) {
        return Err(malformed("the block does not decompress to its original length"));
    }
    if frame.get(PREFIX) == Some(&COMPRESSED) {
        return Err(malformed("the original frame is compressed, too"));
    }
    frame[..PREFIX].copy_from_slice(&prefix);
    Ok(frame.into())
}

fn malformed(what: &'static str) -> ProtocolError {
    ProtocolError::Malformed { kind: COMPRESSED, what }
}
