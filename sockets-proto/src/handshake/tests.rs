//! Properties of the messages of the handshake.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};

use super::{
    Accepted, ClientHello, Envelope, HelloError, LocalSettings, ResumeGrant, ResumeRequest, Resumption, ServerHello,
    VERSION,
};
use crate::{
    Settings, Token,
    codec::{decode, encode},
};

fn local() -> impl Strategy<Value = LocalSettings> {
    ((256..u32::MAX, 1..u32::MAX, 1..u32::MAX), 0..1_000_000_u64, any::<bool>(), any::<u32>()).prop_map(
        |((max_frame, calls, bytes), millis, supports_compression, retransmit_limit)| LocalSettings {
            settings: Settings::new(max_frame, calls, bytes),
            idle_timeout: Duration::from_millis(millis),
            supports_compression,
            retransmit_limit,
        },
    )
}

fn default() -> LocalSettings {
    LocalSettings {
        settings: Settings::new(4 << 20, 1024, 1 << 20),
        idle_timeout: Duration::from_secs(45),
        supports_compression: false,
        retransmit_limit: 1 << 20,
    }
}

fn request(received: u64, first_retained: u64, attempt: u64) -> ResumeRequest {
    ResumeRequest { token: Token::new(7).unwrap(), received, first_retained, attempt }
}

fn envelope(version: u16, body: Vec<u8>) -> Envelope {
    let mut envelope = Envelope::probe();
    (envelope.version, envelope.body) = (version, body);
    envelope
}

/// Encodes an envelope and decodes the bytes, as two peers do on a connection.
fn transfer(envelope: &Envelope) -> Envelope {
    decode(&encode(envelope).unwrap()).unwrap()
}

fn client_hello(login: &[u8]) -> Envelope {
    ClientHello::encode(&default(), login.to_vec(), Some(&Resumption::New)).unwrap()
}

fn accepted() -> Envelope {
    ServerHello::accept(&default(), None).encode().unwrap()
}

/// Encodes a server hello that accepts a client and contains these extensions.
fn accepted_with(extensions: &[(u32, Vec<u8>)]) -> Envelope {
    let body = encode(&(0_u8, default().settings, extensions)).unwrap();
    envelope(VERSION, body)
}

proptest! {
    #[test]
    fn client_hello_round_trips(
        local in local(), login in vec(any::<u8>(), 0..40), positions in any::<Option<(u64, u64, u64)>>()
    ) {
        let resume = positions.map(|(received, first_retained, attempt)| request(received, first_retained, attempt));
        let resumption = resume.clone().map_or(Resumption::New, Resumption::Resume);
        let envelope = ClientHello::encode(&local, login.clone(), Some(&resumption)).unwrap();
        let hello = ClientHello::decode(&transfer(&envelope)).unwrap();
        prop_assert_eq!(hello.peer.settings, local.settings);
        prop_assert_eq!(hello.peer.idle_timeout, Some(local.idle_timeout));
        prop_assert_eq!(hello.peer.supports_compression, local.supports_compression);
        prop_assert_eq!(hello.peer.retransmit_limit, Some(local.retransmit_limit));
        prop_assert!(hello.peer.retries);
        prop_assert_eq!(hello.login, login);
        prop_assert_eq!(encode(&hello.resume), encode(&resume));
    }

    #[test]
    fn accepting_server_hello_round_trips(local in local(), received in any::<Option<Option<u64>>>()) {
        let granted = received.map(|received| ResumeGrant { received, token: Token::new(7).unwrap() });
        let envelope = ServerHello::accept(&local, granted.as_ref()).encode().unwrap();
        let accepted = ServerHello::decode(&transfer(&envelope)).unwrap();
        prop_assert_eq!(accepted.peer.settings, local.settings);
        prop_assert_eq!(accepted.peer.retransmit_limit, granted.as_ref().map(|_| local.retransmit_limit));
        prop_assert!(!accepted.peer.retries);
        prop_assert_eq!(encode(&accepted.granted), encode(&granted));
    }

    #[test]
    fn arbitrary_bodies_do_not_panic(version in 0..3_u16, body in vec(any::<u8>(), 0..100)) {
        let envelope = envelope(version, body);
        let _ = ClientHello::decode(&envelope);
        let _ = ServerHello::decode(&envelope);
    }

    #[test]
    fn arbitrary_bytes_are_no_envelope(bytes in vec(any::<u8>(), 0..100)) {
        prop_assume!(!bytes.starts_with(b"SKTS"));
        prop_assert!(decode::<Envelope>(&bytes).is_err());
    }

    #[test]
    fn truncated_hello_is_rejected(login in vec(any::<u8>(), 0..20)) {
        for envelope in [client_hello(&login), accepted()] {
            let bytes = encode(&envelope).unwrap();
            for length in 0..bytes.len() {
                prop_assert!(decode::<Envelope>(&bytes[..length]).is_err());
            }
            for length in 0..envelope.body.len() {
                let truncated = self::envelope(VERSION, envelope.body[..length].to_vec());
                prop_assert!(ClientHello::decode(&truncated).is_err());
                prop_assert!(ServerHello::decode(&truncated).is_err());
            }
        }
    }
}

/// Compares with the bytes in section 17.1 of PROTOCOL.md.
#[test]
fn client_hello_has_documented_bytes() {
    let envelope = ClientHello::encode(&default(), b"\x03ada".to_vec(), None::<&Resumption>).unwrap();
    let expected =
        [&b"SKTS\x01\x16\x80\x80\x80\x02\x80\x08\x80\x80\x40\x04\x03ada\x02"[..], b"\x01\x03\xc8\xdf\x02\x04\x00"];
    assert_eq!(encode(&envelope).unwrap(), expected.concat());
}

#[test]
fn message_without_magic_is_rejected_with_reason() {
    let mut bytes = encode(&accepted()).unwrap();
    bytes[0] = b'X';
    let error = decode::<Envelope>(&bytes).unwrap_err().to_string();
    assert!(error.contains("magic bytes SKTS"), "{error}");
}

#[test]
fn other_version_is_reported_whatever_its_body_is() {
    let other = envelope(2, vec![0xff; 3]);
    assert_eq!(ServerHello::decode(&other).unwrap_err(), HelloError::Version { server: 2 });
    assert!(ClientHello::decode(&other).unwrap_err().contains("version 2"));
    assert!(!ServerHello::is_available(&other));
}

#[test]
fn unknown_extension_is_ignored_and_first_of_known_ones_counts() {
    let extensions = [(99, vec![1, 2, 3]), (1, vec![5]), (1, vec![6])];
    let Accepted { peer, granted } = ServerHello::decode(&accepted_with(&extensions)).unwrap();
    assert_eq!(peer.idle_timeout, Some(Duration::from_millis(5)));
    assert!(granted.is_none());
}

#[test]
fn known_extension_that_does_not_decode_is_invalid() {
    for id in 1..=4 {
        let error = ServerHello::decode(&accepted_with(&[(id, vec![0xff])])).unwrap_err();
        assert!(matches!(error, HelloError::Invalid(_)), "extension {id}: {error:?}");
    }
}

#[test]
fn settings_below_minimum_are_invalid() {
    let local = LocalSettings { settings: Settings::new(255, 1, 1), ..default() };
    assert!(ClientHello::decode(&ClientHello::encode(&local, Vec::new(), None).unwrap()).is_err());
    let envelope = ServerHello::accept(&local, None).encode().unwrap();
    assert!(matches!(ServerHello::decode(&envelope), Err(HelloError::Invalid(_))));
}

#[test]
fn refusal_allows_retry_only_to_client_with_extension() {
    let (second, week) = (Duration::from_secs(1), Duration::from_secs(7 * 24 * 60 * 60));
    let refuse = |after, retries| {
        let envelope = ServerHello::refuse("busy".into(), after, retries).encode().unwrap();
        ServerHello::decode(&envelope).unwrap_err()
    };
    assert_eq!(refuse(None, true), HelloError::Refused("busy".into()));
    assert_eq!(refuse(Some(second), false), HelloError::Refused("busy".into()));
    assert_eq!(refuse(Some(second), true), HelloError::Retry { message: "busy".into(), after: second });
    assert_eq!(refuse(Some(Duration::MAX), true), HelloError::Retry { message: "busy".into(), after: week });
}

#[test]
fn probe_and_its_response_are_recognized() {
    assert!(transfer(&Envelope::probe()).is_probe());
    assert!(!client_hello(b"").is_probe());
    let response = ServerHello::available().encode().unwrap();
    assert!(ServerHello::is_available(&response) && !ServerHello::is_available(&accepted()));
    assert_eq!(ServerHello::decode(&response).unwrap_err(), HelloError::UnexpectedProbeResponse);
    let malformed = ServerHello::malformed("too long".into()).encode().unwrap();
    assert_eq!(ServerHello::decode(&malformed).unwrap_err(), HelloError::Malformed("too long".into()));
}
