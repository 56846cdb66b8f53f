//! What a Socket.IO packet in a text message says: `42["news",{…}]` is an event, `421["echo",{…}]` one that is to be
//! acknowledged as 1, `431[{…}]` its acknowledgement. With `-` after a number of attachments, binary messages follow.

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use tokio_tungstenite::tungstenite::Utf8Bytes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of the connection below: is the client there?
    Ping,
    Connected,
    Event,
    Reply,
    /// A reply whose bytes are the next message.
    BinaryReply,
}

/// A packet that keeps the text it came in.
#[derive(Debug)]
pub struct Packet {
    pub kind: Kind,
    pub id: Option<u32>,
    text: Utf8Bytes,
    /// Where the JSON begins.
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
            _ => bail!("an unknown packet: {text}"),
        };
        let start = if kind == Kind::BinaryReply { 4 } else { 2.min(bytes.len()) };
        let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let json = start + digits;
        let id = if digits == 0 { None } else { Some(text[start..json].parse()?) };
        Ok(Self { kind, id, text, json })
    }

    /// The one argument of the event of this name, still in JSON, or `None` if it is another event.
    pub fn argument_of(&self, name: &str) -> Option<&str> {
        let rest = self.text[self.json..].strip_prefix("[\"")?.strip_prefix(name)?;
        rest.strip_prefix("\",")?.strip_suffix(']')
    }

    /// What a reply says.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T> {
        let list = &self.text[self.json..];
        let value = list.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).context("not a list")?;
        Ok(serde_json::from_str(value)?)
    }
}
