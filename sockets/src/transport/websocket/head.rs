//! The heads of HTTP/1.1 messages, read within a limit.

use std::io;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tungstenite::{
    Error,
    error::{CapacityError, ProtocolError},
    handshake::machine::TryParse,
};

/// The limit of a head in bytes. It has room for the cookies of a browser.
pub(super) const HEAD_MAX: usize = 16 * 1024;
/// What ends a head.
const END: &[u8] = b"\r\n\r\n";

/// Why there is no head.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the connection was closed before the HTTP headers had ended")]
    Cut,
    #[error("this is not HTTP/1.1")]
    NotHttp,
    #[error("WebSockets need HTTP/1.1, and this is HTTP/1.0")]
    Old,
    #[error("the HTTP headers are malformed: {0}")]
    Malformed(Error),
    #[error("the first HTTP line has more than {HEAD_MAX} bytes")]
    LineTooLong,
    #[error("the HTTP headers have more than {HEAD_MAX} bytes")]
    TooLong,
    #[error("there are more than 124 HTTP headers")]
    TooMany,
    #[error("a WebSocket begins with GET")]
    NotGet,
}

/// Reads a head. `read` has the bytes that have been read before, and then those after the head.
pub(super) async fn read<T: TryParse>(
    reader: &mut (impl AsyncRead + Unpin),
    read: &mut BytesMut,
) -> Result<T, HeadError> {
    let mut searched = 0;
    loop {
        // Another protocol is recognized by its first bytes, without waiting for more. They may be a length, whose first
        // byte is an uppercase letter and whose last is 0.
        let begins_otherwise = read.first().is_some_and(|first| !first.is_ascii_uppercase());
        if begins_otherwise || read.iter().take(4).any(u8::is_ascii_control) {
            return Err(HeadError::NotHttp);
        }
        // Each byte is searched once: the head may arrive byte by byte.
        if read[searched..].windows(END.len()).any(|window| window == END) {
            break;
        }
        searched = read.len().saturating_sub(END.len() - 1);
        let room = HEAD_MAX.saturating_sub(read.len());
        if room == 0 {
            let has_line = read.windows(2).any(|window| window == b"\r\n");
            return Err(if has_line { HeadError::TooLong } else { HeadError::LineTooLong });
        }
        if reader.read_buf(&mut (&mut *read).limit(room)).await? == 0 {
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
