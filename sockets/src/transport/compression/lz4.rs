//! The format of a compressed frame: a kind, the length of the original frame, and an LZ4 block of
//! it.

use bytes::Bytes;
use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

use sockets_proto::{PREFIX, ProtocolError};

/// The kind of a compressed frame. It is unknown unless both peers compress.
pub(super) const COMPRESSED: u8 = 0x0b;
/// The length of the header: the kind and the original length.
const HEADER: usize = 1 + 4;
/// The maximum ratio of the original length to the length of an LZ4 block.
const MAX_RATIO: usize = 255;

/// Compresses a frame with its prefix. Returns the result with its prefix, or `None` if it is not
/// shorter.
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
    // The peer has to send a fraction of the memory that is allocated for it.
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
