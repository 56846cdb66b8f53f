//! The encoder. It is the encoder of postcard, with more helpful error messages.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use thiserror::Error;

use super::scratch::grow;

/// The reason for which a value could not be encoded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct EncodeError {
    message: String,
}

impl From<postcard::Error> for EncodeError {
    fn from(error: postcard::Error) -> Self {
        let message = match error {
            postcard::Error::SerializeSeqLengthUnknown => {
                "a sequence or map of unknown length cannot be encoded; collect it first, \
                 or if it comes from #[serde(flatten)], list the fields in the struct itself"
                    .to_owned()
            }
            // postcard drops the message that the type's own `Serialize` returned.
            postcard::Error::SerdeSerCustom => "the type's own `Serialize` rejected the value".to_owned(),
            postcard::Error::CollectStrError => "the value's `Display` failed or changed between two calls".to_owned(),
            other => format!("postcard cannot encode the value: {other}"),
        };
        Self { message }
    }
}

/// Encodes a value into a new buffer.
///
/// # Errors
///
/// Returns an error if postcard cannot represent the value, or if the value's own `Serialize`
/// rejects the value.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    encode_into(value, Vec::new())
}

/// Appends an encoded value to `buffer`.
///
/// # Errors
///
/// Returns an error if postcard cannot represent the value, or if the value's own `Serialize`
/// rejects the value.
pub fn encode_into<T: Serialize + ?Sized>(value: &T, mut buffer: Vec<u8>) -> Result<Vec<u8>, EncodeError> {
    append(value, &mut buffer)?;
    Ok(buffer)
}

/// Appends an encoded value to `buffer`. After an error, the buffer may end with a part of the
/// value.
///
/// # Errors
///
/// Returns the same errors as [`encode_into`].
#[inline]
pub fn append<T: Serialize + ?Sized>(value: &T, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
    Ok(postcard::serialize_with_flavor(value, Appender(buffer))?)
}

/// Appends whole slices to a vector.
struct Appender<'a>(&'a mut Vec<u8>);

impl Flavor for Appender<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        if self.0.capacity() - self.0.len() < data.len() {
            grow(self.0, data.len());
        }
        self.0.extend_from_slice(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    #[inline]
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
