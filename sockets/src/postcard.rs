//! The codec of the protocol for tokio-serde, which encodes the messages of the handshake.

use std::{io, marker::PhantomData, pin::Pin};

use bytes::{Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use tokio_serde::{Deserializer, Serializer};

use crate::codec::{decode, encode};

/// Decodes each received message as an `Item`, and encodes each sent `SinkItem`.
pub(crate) struct Postcard<Item, SinkItem> {
    /// The marker of the types of items. It contains no item, so that the codec is `Send` and
    /// `Unpin` for all types of items.
    items: PhantomData<fn(SinkItem) -> Item>,
}

/// The implementation is not derived, since a derive would require `Default` of the items.
impl<Item, SinkItem> Default for Postcard<Item, SinkItem> {
    fn default() -> Self {
        Self { items: PhantomData }
    }
}

impl<Item, SinkItem: Serialize> Serializer<SinkItem> for Postcard<Item, SinkItem> {
    type Error = io::Error;

    fn serialize(self: Pin<&mut Self>, item: &SinkItem) -> io::Result<Bytes> {
        encode(item).map(Bytes::from).map_err(invalid_data)
    }
}

impl<Item: DeserializeOwned, SinkItem> Deserializer<Item> for Postcard<Item, SinkItem> {
    type Error = io::Error;

    fn deserialize(self: Pin<&mut Self>, message: &BytesMut) -> io::Result<Item> {
        decode(message).map_err(invalid_data)
    }
}

fn invalid_data(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use sockets_proto::codec::DecodeError;

    use super::*;

    #[test]
    fn handshake_codec_is_postcard_with_invalid_data_errors() {
        let mut codec = Postcard::<(u16, String), (u16, &str)>::default();
        let encoded = Serializer::serialize(Pin::new(&mut codec), &(300, "hi")).unwrap();
        assert_eq!(*encoded, *encode(&(300_u16, "hi")).unwrap());
        let mut received = BytesMut::from(&encoded[..]);
        let decoded = Deserializer::deserialize(Pin::new(&mut codec), &received).unwrap();
        assert_eq!(decoded, (300, "hi".to_owned()));
        received.truncate(3);
        let error = Deserializer::deserialize(Pin::new(&mut codec), &received).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(error.to_string(), DecodeError::LengthBeyondInput { length: 2, left: 0 }.to_string());
    }
}
