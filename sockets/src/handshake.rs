//! The first two messages: the client's greeting with its login, and the server's welcome or refusal.
//!
//! They are typed and rare, so tokio-serde frames them, over the same links that carry everything after them.

mod magic;

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::{FutureExt, Sink, SinkExt, StreamExt};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    task::unconstrained,
    time::{Instant, timeout_at},
};

use self::magic::Magic;
use crate::{
    codec::{EncodeError, decode, encode},
    connect_error::{AcceptError, ConnectError},
    contain::contain,
    limits::Limits,
    postcard::Postcard,
    refusal::Refusal,
    transport::{Compression, Foreign, Link, ReceiveError, close_gracefully},
};
use sockets_proto::{CloseReason, Frame, ProtocolError, SendBuffer, Settings, Token, clamp_timeout, next_frame};

/// The protocol's version.
const VERSION: u16 = 1;
/// The server's answer is read with this limit.
const MAX_SERVER_HELLO: usize = 64 * 1024;

/// Both messages have this form in every version, so that a version can always be told from another.
#[derive(Serialize, Deserialize)]
struct Envelope {
    magic: Magic,
    version: u16,
    body: Vec<u8>,
}

impl Envelope {
    fn new(body: Vec<u8>) -> Self {
        Self { magic: Magic, version: VERSION, body }
    }
}

/// Room for later additions, by number. Those that a side does not know mean nothing to it.
type Extensions = Vec<(u32, Vec<u8>)>;

/// Says that a side knows heartbeats, and how many milliseconds of silence it bears.
const KEEP_ALIVE: u32 = 1;

/// Says that a side compresses, and a number with a bit for each way that it knows.
const COMPRESSION: u32 = 2;
/// The bit for blocks of LZ4.
const LZ4: u64 = 1;

/// Says that a side knows resumption: the client with its [`Resumption`], the server with what it has [`ResumeGrant`].
const RESUMPTION: u32 = 3;

/// Announces that a client knows refusals after which it tries again: the response [`ServerHello::Retry`], and the reasons
/// `Refused` and `Retry` of a goodbye.
const RETRIES: u32 = 4;

/// What a client wants that knows resumption.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Resumption {
    /// A session that can be gone on with.
    New,
    /// To go on with one.
    Resume(ResumeRequest),
}

/// With what a client goes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ResumeRequest {
    pub(crate) token: Token,
    /// Up to where it has received everything.
    pub(crate) received: u64,
    /// From where on it keeps what it has sent.
    pub(crate) kept: u64,
    /// The number of the attempt, greater than in each former claim of the session: a claim may arrive after a later one.
    pub(crate) attempt: u64,
}

/// What a client is told that knows resumption.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ResumeGrant {
    /// If the session goes on: up to where the server has received everything.
    pub(crate) received: Option<u64>,
    /// For the next time.
    pub(crate) token: Token,
}

/// What both say who know resumption: how many bytes they keep of what they have sent, and what is behind that.
type ResumptionExtension<T> = (u32, T);

fn extensions(limits: &Limits, compression: &Compression, resumption: Option<&impl Serialize>) -> Extensions {
    let millis = u64::try_from(limits.keep_alive().announced_idle_timeout().as_millis()).unwrap_or(u64::MAX);
    let said = [(KEEP_ALIVE, Some(millis)), (COMPRESSION, compression.is_enabled().then_some(LZ4))];
    // All of this always encodes.
    let numbers = said.into_iter().filter_map(|(id, number)| Some((id, encode(&number?).ok()?)));
    let resumption = resumption.and_then(|said| encode(&(limits.resume_bytes, said)).ok());
    numbers.chain(resumption.map(|said| (RESUMPTION, said))).collect()
}

/// What a side has said of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerSettings {
    pub(crate) settings: Settings,
    /// How long it bears silence, if it knows heartbeats.
    pub(crate) idle_timeout: Option<Duration>,
    /// It compresses in the way that is known here.
    pub(crate) supports_compression: bool,
    /// How many bytes it keeps of what it has sent, if both sides know resumption.
    pub(crate) retransmit_limit: Option<u32>,
    /// A client knows refusals after which it tries again.
    pub(crate) retries: bool,
}

impl PeerSettings {
    /// What it says, and behind that what it says of resumption.
    fn check<T: DeserializeOwned>(terms: Settings, extensions: &Extensions) -> Result<(Self, Option<T>), String> {
        terms.check()?;
        let silence: Option<u64> = find_extension(extensions, KEEP_ALIVE, "time of silence")?;
        let compression: Option<u64> = find_extension(extensions, COMPRESSION, "number of its compression")?;
        let resumption: Option<ResumptionExtension<T>> = find_extension(extensions, RESUMPTION, "word of resumption")?;
        let (keeps, resumption) = resumption.unzip();
        let theirs = Self {
            settings: terms,
            idle_timeout: silence.map(|millis| clamp_timeout(Duration::from_millis(millis))),
            supports_compression: compression.is_some_and(|ways| ways & LZ4 != 0),
            retransmit_limit: keeps,
            retries: find_extension::<()>(extensions, RETRIES, "extension of retries")?.is_some(),
        };
        Ok((theirs, resumption))
    }
}

/// What an extension says.
fn find_extension<T: DeserializeOwned>(extensions: &Extensions, id: u32, what: &str) -> Result<Option<T>, String> {
    let said = extensions.iter().find(|(known, _)| *known == id);
    let value = said.map(|(_, value)| decode(value)).transpose();
    value.map_err(|error| format!("the {what} does not decode: {error}"))
}

#[derive(Serialize, Deserialize)]
struct ClientHello {
    terms: Settings,
    login: Vec<u8>,
    extensions: Extensions,
}

#[derive(Serialize, Deserialize)]
enum ServerHello {
    Welcome(Settings, Extensions),
    Refused(String),
    ProtocolError(String),
    /// A refusal after which the client may try again, and the time before which it must not, in milliseconds. It is sent
    /// only to a client that knows [`RETRIES`].
    Retry(String, u64),
    /// Answers a probe.
    Here,
}

impl ServerHello {
    fn refused(refusal: &Refusal, retries: bool) -> Self {
        let message = refusal.message().to_owned();
        match refusal.retry_after().filter(|_| retries) {
            Some(wait) => Self::Retry(message, u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            None => Self::Refused(message),
        }
    }
}

/// The answer to a probe.
pub(crate) enum Probed {
    /// The server waits for the greeting.
    Here,
    /// The server does not know probes, and has closed the connection.
    Unknown,
}

/// Finds out whether a server answers, without a login: a probe is an envelope with an empty body.
pub(crate) async fn probe(link: &mut Link) -> Result<Probed, ConnectError> {
    messages(link, MAX_SERVER_HELLO).send(Envelope::new(Vec::new())).await?;
    let answer = receive_answer(link).await?;
    let is_here = answer.version == VERSION && matches!(decode(&answer.body), Ok(ServerHello::Here));
    Ok(if is_here { Probed::Here } else { Probed::Unknown })
}

/// The client's side: greets, and waits to be welcomed until `deadline`. `resumption` is for one who knows it.
pub(crate) async fn send_hello(
    link: &mut Link,
    limits: &Limits,
    compression: &Compression,
    login: Vec<u8>,
    resumption: Option<Resumption>,
    deadline: Instant,
) -> Result<(PeerSettings, Option<ResumeGrant>), ConnectError> {
    let (asked, claims) = (resumption.is_some(), matches!(resumption, Some(Resumption::Resume(_))));
    let mut extensions = extensions(limits, compression, resumption.as_ref());
    extensions.push((RETRIES, Vec::new()));
    let greeting = ClientHello { terms: limits.settings(), login, extensions };
    let body = encode(&greeting).map_err(|error| ConnectError::Login(error.to_string()))?;
    let late = |_| ConnectError::Handshake("the server did not answer in time".into());
    timeout_at(deadline, messages(link, MAX_SERVER_HELLO).send(Envelope::new(body))).await.map_err(late)??;
    let mut abandoning = Abandoning { link, is_armed: asked };
    let answered = timeout_at(deadline, receive_answer(abandoning.link)).await;
    // After a late answer to a claim, the client claims the session again: a goodbye would end it.
    abandoning.is_armed = answered.is_err() && !claims;
    drop(abandoning);
    let answer = answered.map_err(late)??;
    if answer.version != VERSION {
        return Err(ConnectError::Version { ours: VERSION, theirs: answer.version });
    }
    match decode(&answer.body) {
        Ok(ServerHello::Welcome(terms, extensions)) => {
            let (theirs, granted) = PeerSettings::check(terms, &extensions).map_err(ConnectError::Handshake)?;
            Ok((PeerSettings { retransmit_limit: theirs.retransmit_limit.filter(|_| asked), ..theirs }, granted))
        }
        Ok(ServerHello::Refused(message)) => Err(ConnectError::Refused(Refusal::new(message))),
        Ok(ServerHello::Retry(message, millis)) => {
            let wait = clamp_timeout(Duration::from_millis(millis));
            Err(ConnectError::Refused(Refusal::retry(message).after(wait)))
        }
        Ok(ServerHello::ProtocolError(what)) => {
            Err(ConnectError::Handshake(format!("the server rejected the greeting: {what}")))
        }
        Ok(ServerHello::Here) => Err(ConnectError::Handshake("the server answers a probe that was not sent".into())),
        Err(error) => Err(ConnectError::Handshake(error.to_string())),
    }
}

/// Receives the server's answer to the greeting, or to a probe.
async fn receive_answer(link: &mut Link) -> Result<Envelope, ConnectError> {
    match messages(link, MAX_SERVER_HELLO).next().await {
        Some(Ok(answer)) => Ok(answer),
        Some(Err(error)) => {
            if let Some(foreign) = too_large(&error).and_then(|(length, _)| Foreign::from_length(length)) {
                return Err(ConnectError::Handshake(foreign.to_string()));
            }
            Err(match error.into() {
                ConnectError::Unreachable(error) if error.kind() == io::ErrorKind::InvalidData => {
                    ConnectError::Handshake(format!("the server does not speak this protocol: {error}"))
                }
                failed => failed,
            })
        }
        None => Err(ConnectError::Handshake("the server closed the connection without an answer".into())),
    }
}

/// Ends the session of a client that gives up before it is answered: one that the server may have begun, or the one that
/// the client has claimed. Otherwise the server would keep it for a client that does not come back to it.
struct Abandoning<'a> {
    link: &'a mut Link,
    is_armed: bool,
}

impl Drop for Abandoning<'_> {
    fn drop(&mut self) {
        if self.is_armed {
            let mut outbox = SendBuffer::default();
            outbox.push_header_only(Frame::Close { reason: CloseReason::Closed });
            let transmitter = &mut self.link.transmitter;
            // There is nothing to wait with: what the connection does not take at once is lost.
            contain(|| _ = unconstrained(poll_fn(|cx| transmitter.poll_transmit(cx, &mut outbox))).now_or_never());
        }
    }
}

/// What a client has greeted with.
pub(crate) struct ReceivedHello {
    pub(crate) theirs: PeerSettings,
    pub(crate) login: Vec<u8>,
    pub(crate) claim: Option<ResumeRequest>,
}

impl ReceivedHello {
    fn check(ClientHello { terms, login, extensions }: ClientHello) -> Result<Self, String> {
        let (theirs, resumption) = PeerSettings::check(terms, &extensions)?;
        let claim = match resumption {
            Some(Resumption::Resume(claim)) => Some(claim),
            Some(Resumption::New) | None => None,
        };
        Ok(Self { theirs, login, claim })
    }
}

/// The server's side, first half: hears the greeting.
pub(crate) async fn read_hello(link: &mut Link, limits: &Limits) -> Result<ReceivedHello, AcceptError> {
    let mut heard = messages(link, limits.login_bytes as usize).next().await;
    if let Some(Ok(Envelope { version: VERSION, body, .. })) = &heard
        && body.is_empty()
    {
        respond(link, &ServerHello::Here).await?;
        heard = messages(link, limits.login_bytes as usize).next().await;
    }
    let misunderstood = match heard {
        None => return Err(AcceptError::Handshake("the peer left without a greeting".into())),
        Some(Err(error)) => match too_large(&error) {
            Some((length, limit)) => describe_too_large(length, limit),
            None if error.kind() == io::ErrorKind::InvalidData => error.to_string(),
            None => return Err(error.into()),
        },
        Some(Ok(envelope)) if envelope.version != VERSION => {
            format!("version {} is not spoken here, only version {VERSION}", envelope.version)
        }
        Some(Ok(envelope)) => match decode::<ClientHello>(&envelope.body) {
            Ok(greeting) => match ReceivedHello::check(greeting) {
                Ok(heard) => return Ok(heard),
                Err(what) => what,
            },
            Err(error) => format!("the greeting does not decode: {error}"),
        },
    };
    reject_malformed(link, misunderstood).await
}

/// Returns the length of a frame that was too large, and the limit.
fn too_large(error: &io::Error) -> Option<(usize, usize)> {
    match error.get_ref()?.downcast_ref()? {
        ProtocolError::FrameTooLarge { length, limit } => Some((*length, *limit)),
        _ => None,
    }
}

/// Describes a greeting that is too large. The first bytes of most other protocols are the length of such a frame.
fn describe_too_large(length: usize, limit: usize) -> String {
    match Foreign::from_length(length) {
        Some(foreign) => foreign.to_string(),
        None => format!(
            "the greeting of {length} bytes exceeds `Limits::login_bytes` ({limit}): shorten the login or raise the limit"
        ),
    }
}

/// The server's side, second half: what the peer is told that may come in. The session says it, before everything else
/// and together with that.
pub(crate) fn welcome(
    limits: &Limits,
    compression: &Compression,
    granted: Option<&ResumeGrant>,
) -> Result<Bytes, AcceptError> {
    let envelope = encode_envelope(&ServerHello::Welcome(limits.settings(), extensions(limits, compression, granted)))?;
    let message = encode(&envelope).map_err(unencodable)?;
    let mut outbox = SendBuffer::default();
    outbox.push_message(&message);
    Ok(outbox.take_all())
}

/// Refuses a client. `retries` is set if it knows refusals after which it tries again.
pub(crate) async fn refuse<T>(link: &mut Link, refusal: Refusal, retries: bool) -> Result<T, AcceptError> {
    send_and_close(link, &ServerHello::refused(&refusal, retries)).await?;
    Err(AcceptError::Refused(refusal))
}

/// Tells the peer that it was not understood.
pub(crate) async fn reject_malformed<T>(link: &mut Link, what: String) -> Result<T, AcceptError> {
    send_and_close(link, &ServerHello::ProtocolError(what.clone())).await?;
    Err(AcceptError::Handshake(what))
}

/// Tells the peer, if it can be told at once, that it has to make room for others.
pub(crate) fn evict<T>(link: &mut Link) -> Result<T, AcceptError> {
    let words = "others are waiting, and no greeting came";
    // It may say nothing at all, and then hears nothing either.
    let _ = respond(link, &ServerHello::ProtocolError(words.into())).now_or_never();
    Err(AcceptError::Handshake(words.into()))
}

async fn send_and_close(link: &mut Link, response: &ServerHello) -> Result<(), AcceptError> {
    respond(link, response).await?;
    let Link { receiver, transmitter, .. } = link;
    close_gracefully(&mut **receiver, |cx| transmitter.poll_finish(cx)).await;
    Ok(())
}

async fn respond(link: &mut Link, response: &ServerHello) -> Result<(), AcceptError> {
    let envelope = encode_envelope(response)?;
    Ok(messages(link, MAX_SERVER_HELLO).send(envelope).await?)
}

fn encode_envelope(response: &ServerHello) -> Result<Envelope, AcceptError> {
    encode(response).map(Envelope::new).map_err(unencodable)
}

fn unencodable(error: EncodeError) -> AcceptError {
    AcceptError::Handshake(error.to_string())
}

type Messages<'a> = tokio_serde::Framed<Frames<'a>, Envelope, Envelope, Postcard<Envelope, Envelope>>;

fn messages(link: &mut Link, max_frame: usize) -> Messages<'_> {
    let frames = Frames { link, max_frame, outbox: SendBuffer::default() };
    tokio_serde::Framed::new(frames, Postcard::default())
}

/// A link as a stream and sink of whole messages.
struct Frames<'a> {
    link: &'a mut Link,
    max_frame: usize,
    outbox: SendBuffer,
}

impl Stream for Frames<'_> {
    type Item = io::Result<BytesMut>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let max_frame = self.max_frame;
        loop {
            if let Some(frame) = next_frame(&mut self.link.received) {
                // The transport within a process does not check the limit.
                if frame.len() > max_frame {
                    let violation = ProtocolError::FrameTooLarge { length: frame.len(), limit: max_frame };
                    return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidData, violation))));
                }
                return Poll::Ready(Some(Ok(frame.into())));
            }
            match ready!(self.link.receiver.poll_receive(cx, max_frame)) {
                Ok(batch) => self.link.received = batch,
                Err(ReceiveError::Closed) => return Poll::Ready(None),
                Err(ReceiveError::Io(error)) => return Poll::Ready(Some(Err(error))),
                Err(ReceiveError::Violation(violation)) => {
                    return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidData, violation))));
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
        self.outbox.push_message(&message);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let frames = &mut *self;
        frames.link.transmitter.poll_transmit(cx, &mut frames.outbox)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
