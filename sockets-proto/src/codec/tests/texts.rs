//! Error messages.

use serde::{Deserialize, Serialize, Serializer, de, ser};

use crate::codec::{DecodeError, decode, encode, encode_into};

#[test]
fn message_of_type_is_kept() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(try_from = "u8")]
    struct Even(u8);

    impl TryFrom<u8> for Even {
        type Error = String;

        fn try_from(number: u8) -> Result<Self, String> {
            if number.is_multiple_of(2) { Ok(Self(number)) } else { Err(format!("{number} is odd")) }
        }
    }

    assert_eq!(decode::<Even>(&[4]), Ok(Even(4)));
    assert_eq!(decode::<Even>(&[5]), Err(DecodeError::Custom("5 is odd".into())));
}

#[test]
fn long_message_is_truncated_to_whole_characters() {
    let cut = |message: &str| <DecodeError as de::Error>::custom(message).to_string();
    assert_eq!(cut(&"a".repeat(256)), "a".repeat(256));
    assert_eq!(cut(&"a".repeat(257)), "a".repeat(256));
    assert_eq!(cut(&"é".repeat(200)), "é".repeat(128));
    assert_eq!(cut(&format!("a{}", "é".repeat(200))), format!("a{}", "é".repeat(127)));
    // The type formats its message in several pieces.
    let pieces = <DecodeError as de::Error>::custom(format_args!("{:>255}{}{}", 1, "é", "b")).to_string();
    assert_eq!(pieces, format!("{:>255}", 1));
}

#[test]
fn encode_error_describes_cause() {
    #[derive(Serialize)]
    struct Flattened {
        #[serde(flatten)]
        inner: Inner,
    }
    #[derive(Serialize)]
    struct Inner {
        number: u8,
    }
    struct Stubborn;

    impl Serialize for Stubborn {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(ser::Error::custom("no"))
        }
    }

    let flattened = encode(&Flattened { inner: Inner { number: 1 } }).unwrap_err();
    assert!(flattened.to_string().contains("#[serde(flatten)]"), "{flattened}");
    let stubborn = encode_into(&Stubborn, vec![1]).unwrap_err();
    assert_eq!(stubborn.to_string(), "the type's own `Serialize` rejected the value");
}
