//! The asynchronous exchange of the handshake. `sockets_proto::handshake` defines its messages.
//!
//! The messages are typed and rare, so tokio-serde encodes them. They use the same links as all
//! later frames.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::{FutureExt, Sink, SinkExt, StreamExt};
use tokio::time::{Instant, timeout_at};

use crate::{
    codec::{EncodeError, encode},
    connect_error::{AcceptError, ConnectError},
    hooks::contain,
    limits::Limits,
    postcard::Postcard,
    refusal::Refusal,
    scheduler::poll_unconstrained,
    transport::{Compression, Foreign, Link, ReceiveError, close_gracefully},
};
pub(crate) use sockets_proto::handshake::{ClientHello, PeerSettings, ResumeGrant, ResumeRequest, Resumption};
use sockets_proto::{
    CloseReason, Frame, ProtocolError, SendBuffer,
    handshake::{Accepted, Envelope, HelloError, LocalSettings, MAX_SERVER_HELLO, ServerHello, VERSION},
    next_frame,
};

/// Returns the settings that the local endpoint announces to the peer.
fn local_settings(limits: &Limits, compression: &Compression) -> LocalSettings {
    LocalSettings {
        settings: limits.settings(),
        idle_timeout: limits.keep_alive().announced_idle_timeout(),
        supports_compression: compression.is_enabled(),
        retransmit_limit: limits.resume_bytes,
    }
}

/// The result of a probe.
pub(crate) enum ProbeResult {
    /// The server waits for the client hello.
    Available,
    /// The server does not support probes, and has closed the connection.
    Unsupported,
}

/// Tests whether a server responds, without a login.
pub(crate) async fn probe(link: &mut Link) -> Result<ProbeResult, ConnectError> {
    messages(link, MAX_SERVER_HELLO).send(Envelope::probe()).await?;
    let response = receive_response(link).await?;
    Ok(if ServerHello::is_available(&response) { ProbeResult::Available } else { ProbeResult::Unsupported })
}

/// Sends the client hello, and waits for the server hello until `deadline`. If the client cannot
/// reconnect, `resumption` is `None`.
pub(crate) async fn send_hello(
    link: &mut Link,
    limits: &Limits,
    compression: &Compression,
    login: Vec<u8>,
    resumption: Option<Resumption>,
    deadline: Instant,
) -> Result<(PeerSettings, Option<ResumeGrant>), ConnectError> {
    let (can_resume, resumes) = (resumption.is_some(), matches!(resumption, Some(Resumption::Resume(_))));
    let hello = ClientHello::encode(&local_settings(limits, compression), login, resumption.as_ref())
        .map_err(|error| ConnectError::Login(error.into()))?;
    let late = |_| ConnectError::Handshake("the server did not respond in time".into());
    timeout_at(deadline, messages(link, MAX_SERVER_HELLO).send(hello)).await.map_err(late)??;
    let mut guard = AbandonGuard { link, is_armed: can_resume };
    let response = timeout_at(deadline, receive_response(guard.link)).await;
    // If the response to a request to resume is late, the client sends another request. So the
    // session must stay open, and the guard must not send a close frame.
    guard.is_armed = response.is_err() && !resumes;
    drop(guard);
    let response = response.map_err(late)??;
    let Accepted { peer, granted } = ServerHello::decode(&response).map_err(connect_error)?;
    Ok((PeerSettings { retransmit_limit: peer.retransmit_limit.filter(|_| can_resume), ..peer }, granted))
}

fn connect_error(error: HelloError) -> ConnectError {
    match error {
        HelloError::Version { server } => ConnectError::Version { ours: VERSION, theirs: server },
        HelloError::Refused(message) => ConnectError::Refused(Refusal::new(message)),
        HelloError::Retry { message, after } => ConnectError::Refused(Refusal::retry(message).after(after)),
        HelloError::Malformed(error) => {
            ConnectError::Handshake(format!("the server rejected the client hello: {error}"))
        }
        HelloError::UnexpectedProbeResponse => {
            ConnectError::Handshake("the server responded to a probe that was not sent".into())
        }
        HelloError::Invalid(error) => ConnectError::Handshake(error),
    }
}

/// Receives the server's response to the client hello, or to a probe.
async fn receive_response(link: &mut Link) -> Result<Envelope, ConnectError> {
    match messages(link, MAX_SERVER_HELLO).next().await {
        Some(Ok(response)) => Ok(response),
        Some(Err(error)) => {
            if let Some(foreign) = too_large(&error).and_then(|(length, _)| Foreign::from_length(length)) {
                return Err(ConnectError::Handshake(foreign.to_string()));
            }
            Err(match error.into() {
                ConnectError::Unreachable(error) if error.kind() == io::ErrorKind::InvalidData => {
                    ConnectError::Handshake(format!("the server uses another protocol: {error}"))
                }
                failed => failed,
            })
        }
        None => Err(ConnectError::Handshake("the server closed the connection without a response".into())),
    }
}

/// A guard that sends a close frame if the client abandons the handshake before the response.
///
/// The server may already have started or resumed a session. Without the close frame, the server
/// would keep the session for a client that does not return.
struct AbandonGuard<'a> {
    link: &'a mut Link,
    is_armed: bool,
}

impl Drop for AbandonGuard<'_> {
    fn drop(&mut self) {
        if self.is_armed {
            let mut send_buffer = SendBuffer::default();
            send_buffer.push_header_only(Frame::Close { reason: CloseReason::Closed });
            let transmitter = &mut self.link.transmitter;
            // `drop` cannot wait. Bytes that the connection does not accept immediately are lost.
            let write = poll_fn(|cx| transmitter.poll_transmit(cx, &mut send_buffer));
            contain(|| _ = poll_unconstrained(write, &mut Context::from_waker(Waker::noop())));
        }
    }
}

/// Receives the client hello, after responding to a probe.
pub(crate) async fn read_hello(link: &mut Link, limits: &Limits) -> Result<ClientHello, AcceptError> {
    let mut received = messages(link, limits.login_bytes as usize).next().await;
    if let Some(Ok(envelope)) = &received
        && envelope.is_probe()
    {
        respond(link, &ServerHello::available()).await?;
        received = messages(link, limits.login_bytes as usize).next().await;
    }
    let rejection = match received {
        None => return Err(AcceptError::Handshake("the client closed the connection without a client hello".into())),
        Some(Err(error)) => match too_large(&error) {
            Some((length, limit)) => describe_too_large(length, limit),
            None if error.kind() == io::ErrorKind::InvalidData => error.to_string(),
            None => return Err(error.into()),
        },
        Some(Ok(envelope)) => match ClientHello::decode(&envelope) {
            Ok(hello) => return Ok(hello),
            Err(error) => error,
        },
    };
    reject_malformed(link, rejection).await
}

/// Returns the length of a frame that was too large, and the limit.
fn too_large(error: &io::Error) -> Option<(usize, usize)> {
    match error.get_ref()?.downcast_ref()? {
        ProtocolError::FrameTooLarge { length, limit } => Some((*length, *limit)),
        _ => None,
    }
}

/// Describes a client hello that is too large. A client that uses another protocol often causes
/// this error, because its first bytes, read as a length, are a large number.
fn describe_too_large(length: usize, limit: usize) -> String {
    match Foreign::from_length(length) {
        Some(foreign) => foreign.to_string(),
        None => format!(
            "the client hello of {length} bytes exceeds `Limits::login_bytes` ({limit}); shorten the login or \
             raise the limit"
        ),
    }
}

/// Encodes the acceptance of a client as a frame. The session sends this frame together with its
/// own first frames.
pub(crate) fn encode_accepted(
    limits: &Limits,
    compression: &Compression,
    granted: Option<&ResumeGrant>,
) -> Result<Bytes, AcceptError> {
    let hello = ServerHello::accept(&local_settings(limits, compression), granted);
    let message = encode(&hello.encode().map_err(unencodable)?).map_err(unencodable)?;
    let mut send_buffer = SendBuffer::default();
    send_buffer.push_message(&message);
    Ok(send_buffer.take_all())
}

/// Refuses a client. The caller sets `retries` if the client supports refusals that permit another
/// attempt.
pub(crate) async fn refuse<T>(link: &mut Link, refusal: Refusal, retries: bool) -> Result<T, AcceptError> {
    let hello = ServerHello::refuse(refusal.message().to_owned(), refusal.retry_after(), retries);
    send_and_close(link, &hello).await?;
    Err(AcceptError::Refused(refusal))
}

/// Rejects a client hello as malformed, and closes the connection.
pub(crate) async fn reject_malformed<T>(link: &mut Link, error: String) -> Result<T, AcceptError> {
    send_and_close(link, &ServerHello::malformed(error.clone())).await?;
    Err(AcceptError::Handshake(error))
}

/// Closes a connection that has sent no client hello, because other connections wait.
pub(crate) fn evict<T>(link: &mut Link) -> Result<T, AcceptError> {
    let error = "no client hello arrived in time, and other connections wait";
    // A client that sends nothing may not read either. The function therefore does not wait: it
    // sends the response immediately, or drops it.
    let _ = respond(link, &ServerHello::malformed(error.into())).now_or_never();
    Err(AcceptError::Handshake(error.into()))
}

async fn send_and_close(link: &mut Link, response: &ServerHello) -> Result<(), AcceptError> {
    respond(link, response).await?;
    let Link { receiver, transmitter, .. } = link;
    close_gracefully(&mut **receiver, |cx| transmitter.poll_finish(cx)).await;
    Ok(())
}

async fn respond(link: &mut Link, response: &ServerHello) -> Result<(), AcceptError> {
    let envelope = response.encode().map_err(unencodable)?;
    Ok(messages(link, MAX_SERVER_HELLO).send(envelope).await?)
}

fn unencodable(error: EncodeError) -> AcceptError {
    AcceptError::Handshake(error.to_string())
}

type Messages<'a> = tokio_serde::Framed<Frames<'a>, Envelope, Envelope, Postcard<Envelope, Envelope>>;

fn messages(link: &mut Link, max_frame: usize) -> Messages<'_> {
    let frames = Frames { link, max_frame, send_buffer: SendBuffer::default() };
    tokio_serde::Framed::new(frames, Postcard::default())
}

/// A link as a stream and sink of whole messages.
struct Frames<'a> {
    link: &'a mut Link,
    max_frame: usize,
    send_buffer: SendBuffer,
}

impl Stream for Frames<'_> {
    type Item = io::Result<BytesMut>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let max_frame = self.max_frame;
        loop {
            if let Some(frame) = next_frame(&mut self.link.received) {
                // The in-memory transport does not check the limit.
                if frame.len() > max_frame {
                    let error = ProtocolError::FrameTooLarge { length: frame.len(), limit: max_frame };
                    return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidData, error))));
                }
                return Poll::Ready(Some(Ok(frame.into())));
            }
            match ready!(self.link.receiver.poll_receive(cx, max_frame)) {
                Ok(batch) => self.link.received = batch,
                Err(ReceiveError::Closed) => return Poll::Ready(None),
                Err(ReceiveError::Io(error)) => return Poll::Ready(Some(Err(error))),
                Err(ReceiveError::Violation(error)) => {
                    return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidData, error))));
                }
            }
        }
    }
}

impl Sink<Bytes> for Frames<'_> {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Bytes) -> io::Result<()> {
        self.send_buffer.push_message(&message);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let frames = &mut *self;
        frames.link.transmitter.poll_transmit(cx, &mut frames.send_buffer)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
