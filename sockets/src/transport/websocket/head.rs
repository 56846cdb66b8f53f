//! The heads of HTTP/1.1 messages, read within a limit.

use std::io;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tungstenite::{Error, error::ProtocolError, handshake::machine::TryParse};

/// How many bytes a head may have: room for the cookies of a browser.
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
    #[error("the HTTP headers have more than {HEAD_MAX} bytes")]
    TooLong,
    #[error("a WebSocket begins with GET")]
    NotGet,
}

/// Reads a head, and gives what has been read behind it, too.
pub(super) async fn read<T: TryParse>(reader: &mut (impl AsyncRead + Unpin)) -> Result<(T, BytesMut), HeadError> {
    let mut read = BytesMut::new();
    loop {
        let had = read.len();
        let room = HEAD_MAX - had;
        if room == 0 {
            return Err(HeadError::TooLong);
        }
        if reader.read_buf(&mut (&mut read).limit(room)).await? == 0 {
            return Err(HeadError::Cut);
        }
        // One who speaks another protocol need not be waited for.
        if !read[0].is_ascii_uppercase() {
            return Err(HeadError::NotHttp);
        }
        // What has been looked at is not looked at again: it may come byte by byte.
        let from = had.saturating_sub(END.len() - 1);
        if read[from..].windows(END.len()).any(|window| window == END) {
            return match T::try_parse(&read) {
                Ok(Some((length, head))) => {
                    read.advance(length);
                    Ok((head, read))
                }
                Err(Error::Protocol(ProtocolError::WrongHttpMethod)) => Err(HeadError::NotGet),
                Ok(None) | Err(_) => Err(HeadError::NotHttp),
            };
        }
    }
}
