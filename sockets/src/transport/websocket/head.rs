//! Reads the start line and the headers of HTTP/1.1 messages, within a limit.

use std::io;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tungstenite::{
    Error,
    error::{CapacityError, ProtocolError},
    handshake::machine::TryParse,
};

/// The maximum length of a head in bytes. It is large enough for the cookies of a browser.
pub(super) const HEAD_MAX: usize = 16 * 1024;
/// The end of a head.
const END: &[u8] = b"\r\n\r\n";

/// The reason for which a head could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the connection was closed within the HTTP headers")]
    Cut,
    #[error("the peer does not use HTTP/1.1")]
    NotHttp,
    #[error("WebSocket requires HTTP/1.1, and the peer uses HTTP/1.0")]
    Old,
    #[error("the HTTP headers are malformed: {0}")]
    Malformed(Error),
    #[error("the first HTTP line has more than {HEAD_MAX} bytes")]
    LineTooLong,
    #[error("the HTTP headers have more than {HEAD_MAX} bytes")]
    TooLong,
    #[error("there are more than 124 HTTP headers")]
    TooMany,
    #[error("a WebSocket over HTTP/1.1 requires the method GET")]
    NotGet,
}

/// Reads a head. Before the call, `read` holds received bytes. After the call, it holds the bytes
/// that follow the head.
pub(super) async fn read<T: TryParse>(
    reader: &mut (impl AsyncRead + Unpin),
    read: &mut BytesMut,
) -> Result<T, HeadError> {
    let mut searched = 0;
    loop {
        // The head of an HTTP message begins with an uppercase letter, and has no control character
        // in its first four bytes. If the received bytes differ, reject them now, even if the head
        // is incomplete. For example, a client of this library may connect without WebSocket. Its
        // first four bytes are then the length of a frame. The first byte may be an uppercase
        // letter, but the fourth byte is 0.
        let is_foreign = read.first().is_some_and(|first| !first.is_ascii_uppercase());
        if is_foreign || read.iter().take(4).any(u8::is_ascii_control) {
            return Err(HeadError::NotHttp);
        }
        // Each byte is searched once, since the head may arrive byte by byte.
        if read[searched..].windows(END.len()).any(|window| window == END) {
            break;
        }
        searched = read.len().saturating_sub(END.len() - 1);
        let capacity = HEAD_MAX.saturating_sub(read.len());
        if capacity == 0 {
            let has_line = read.windows(2).any(|window| window == b"\r\n");
            return Err(if has_line { HeadError::TooLong } else { HeadError::LineTooLong });
        }
        if reader.read_buf(&mut (&mut *read).limit(capacity)).await? == 0 {
            return Err(HeadError::Cut);
        }
    }
    match T::try_parse(read) {
        Ok(Some((length, head))) => {
            read.advance(length);
            Ok(head)
        }
        Ok(None) => Err(HeadError::NotHttp),
        Err(Error::Protocol(ProtocolError::WrongHttpMethod)) => Err(HeadError::NotGet),
        Err(Error::Protocol(ProtocolError::WrongHttpVersion)) => Err(HeadError::Old),
        Err(Error::Capacity(CapacityError::TooManyHeaders)) => Err(HeadError::TooMany),
        Err(error) => Err(HeadError::Malformed(error)),
    }
}
