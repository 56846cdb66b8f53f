//! Socket.IO packets in text messages.
//!
//! `42["news",{…}]` is an event. `421["echo",{…}]` is an event that requests an acknowledgement
//! with the ID 1. `431[{…}]` is this acknowledgement. If a number and `-` precede the JSON, that
//! number of binary messages follow.

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use tokio_tungstenite::tungstenite::Utf8Bytes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A ping of Engine.IO, the protocol below Socket.IO. It keeps the connection alive.
    Ping,
    Connected,
    Event,
    Reply,
    /// A reply that has an attachment in the next message.
    BinaryReply,
}

/// A packet, together with its text.
#[derive(Debug)]
pub struct Packet {
    pub kind: Kind,
    pub id: Option<u32>,
    text: Utf8Bytes,
    /// The position in `text` at which the JSON begins.
    json: usize,
}

impl Packet {
    pub fn parse(text: Utf8Bytes) -> Result<Self> {
        let bytes = text.as_bytes();
        let kind = match bytes {
            [b'2', ..] => Kind::Ping,
            [b'4', b'0', ..] => Kind::Connected,
            [b'4', b'2', ..] => Kind::Event,
            [b'4', b'3', ..] => Kind::Reply,
            [b'4', b'6', b'1', b'-', ..] => Kind::BinaryReply,
            _ => bail!("unknown packet: {text}"),
        };
        let start = if kind == Kind::BinaryReply { 4 } else { 2.min(bytes.len()) };
        let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let json = start + digits;
        let id = if digits == 0 { None } else { Some(text[start..json].parse()?) };
        Ok(Self { kind, id, text, json })
    }

    /// Returns the JSON of the event's single argument. Returns `None` if the event has another
    /// name.
    pub fn argument_of(&self, name: &str) -> Option<&str> {
        let rest = self.text[self.json..].strip_prefix("[\"")?.strip_prefix(name)?;
        rest.strip_prefix("\",")?.strip_suffix(']')
    }

    /// Decodes the value of a reply.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T> {
        let list = &self.text[self.json..];
        let value =
            list.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).context("the payload is not a list")?;
        Ok(serde_json::from_str(value)?)
    }
}
