//! The settings and extensions that each peer announces in its hello.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use super::extensions::{COMPRESSION, Extensions, KEEP_ALIVE, LZ4, RESUMPTION, RETRIES};
use crate::{Settings, timeout::clamp};

/// The settings that the local endpoint announces to its peer.
#[derive(Clone, Copy, Debug)]
pub struct LocalSettings {
    /// The limits of frames and calls.
    pub settings: Settings,
    /// The idle timeout. If the local endpoint receives no frame for this time, it ends the
    /// connection.
    pub idle_timeout: Duration,
    /// `true` if the local endpoint accepts compressed frames.
    pub supports_compression: bool,
    /// The number of bytes of sent frames that the local endpoint retains for retransmission.
    pub retransmit_limit: u32,
}

impl LocalSettings {
    /// Returns the extensions of a hello. A peer that does not support resumption passes `None` as
    /// `resumption`.
    pub(super) fn extensions(&self, resumption: Option<&impl Serialize>) -> Extensions {
        let mut extensions = Extensions::default();
        let millis = u64::try_from(self.idle_timeout.as_millis()).unwrap_or(u64::MAX);
        extensions.push(KEEP_ALIVE, &millis);
        if self.supports_compression {
            extensions.push(COMPRESSION, &LZ4);
        }
        if let Some(resumption) = resumption {
            extensions.push(RESUMPTION, &(self.retransmit_limit, resumption));
        }
        extensions
    }
}

/// The settings that a peer has announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerSettings {
    /// The limits of frames and calls.
    pub settings: Settings,
    /// The peer's idle timeout, or `None` if the peer does not support heartbeats.
    pub idle_timeout: Option<Duration>,
    /// `true` if the peer accepts compressed frames.
    pub supports_compression: bool,
    /// The number of bytes of sent frames that the peer retains. The field is `None` if the peer
    /// does not support resumption.
    pub retransmit_limit: Option<u32>,
    /// `true` if the peer is a client that supports refusals after which the client may try again.
    pub retries: bool,
}

impl PeerSettings {
    /// Decodes the settings of a hello, and the parameters of resumption that the hello contains.
    pub(super) fn decode<T: DeserializeOwned>(
        settings: Settings,
        extensions: &Extensions,
    ) -> Result<(Self, Option<T>), String> {
        settings.check()?;
        let idle_timeout: Option<u64> = extensions.find(KEEP_ALIVE, "keep-alive")?;
        let compression: Option<u64> = extensions.find(COMPRESSION, "compression")?;
        let resumption: Option<(u32, T)> = extensions.find(RESUMPTION, "resumption")?;
        let retries: Option<()> = extensions.find(RETRIES, "retries")?;
        let (retransmit_limit, resumption) = resumption.unzip();
        let peer = Self {
            settings,
            idle_timeout: idle_timeout.map(|millis| clamp(Duration::from_millis(millis))),
            supports_compression: compression.is_some_and(|algorithms| algorithms & LZ4 != 0),
            retransmit_limit,
            retries: retries.is_some(),
        };
        Ok((peer, resumption))
    }
}
