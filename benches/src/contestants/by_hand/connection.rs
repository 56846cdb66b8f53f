//! A connection on the server: one task that reads and writes.

use std::sync::Arc;

use anyhow::{Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::frame::{Kind, OrderRef, put_frame, take_frame};
use crate::counter::Counter;

pub async fn serve(mut stream: TcpStream, emits: Arc<Counter>) -> Result<()> {
    let (mut received, mut replies) = (Vec::with_capacity(64 << 10), Vec::new());
    while stream.read_buf(&mut received).await? > 0 {
        let mut rest = &received[..];
        let mut emitted = 0;
        while let Some(frame) = take_frame(&mut rest)? {
            match frame.kind {
                Kind::Echo => put_frame(&mut replies, Kind::Reply, frame.id, &frame.decode::<OrderRef<'_>>()?)?,
                Kind::Emit => {
                    frame.decode::<OrderRef<'_>>()?;
                    emitted += 1;
                }
                other => bail!("{other:?} from a client"),
            }
        }
        let handled = received.len() - rest.len();
        received.drain(..handled);
        emits.add(emitted);
        stream.write_all(&replies).await?;
        replies.clear();
    }
    Ok(())
}
